//! Questions to an [`Index`].

use std::sync::Arc;

use crate::lang::source::{FileId, Span};
use crate::lang::types::Type;

use super::{CallSite, Declaration, DeclarationKind, Index, IndexedFile, Signature};

/// Whether an offset touches a span: also right behind it, where a cursor stands after typing.
fn touches(span: Span, file: FileId, offset: u32) -> bool {
    span.file == file && span.start <= offset && offset <= span.end
}

impl Index {
    /// A file by its path.
    pub fn file(&self, path: &str) -> Option<&IndexedFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The file of a place.
    pub fn file_of(&self, file: FileId) -> Option<&IndexedFile> {
        self.files.iter().find(|of| of.file == file)
    }

    /// What is declared or named at an offset, and where its name stands there.
    pub fn at(&self, file: FileId, offset: u32) -> Option<(usize, Span)> {
        let from =
            self.references.partition_point(|(span, _)| (span.file, span.end) < (file, offset));
        let named = self.references[from..]
            .iter()
            .take_while(|(span, _)| span.file == file && span.start <= offset)
            .find(|(span, _)| touches(*span, file, offset));
        if let Some((span, target)) = named {
            return Some((*target, *span));
        }
        self.declarations
            .iter()
            .position(|of| of.kind != DeclarationKind::Module && touches(of.span, file, offset))
            .map(|place| (place, self.declarations[place].span))
    }

    /// Everywhere a declaration is named, the declaration itself left out.
    pub fn references_of(&self, declaration: usize) -> impl Iterator<Item = Span> {
        self.references
            .iter()
            .filter(move |(_, target)| *target == declaration)
            .map(|(span, _)| *span)
    }

    /// What was found out about an expression.
    pub fn type_of(&self, span: Span) -> Option<&Type> {
        self.types.get(&span).map(|(ty, _)| ty)
    }

    /// The type that is asked for where an expression stands.
    pub fn wanted(&self, span: Span) -> Option<&Type> {
        self.types.get(&span)?.1.as_ref()
    }

    /// The innermost call whose brackets hold the offset.
    pub fn call_around(&self, file: FileId, offset: u32) -> Option<&CallSite> {
        self.calls
            .iter()
            .filter(|call| {
                call.span.file == file && call.name.end < offset && offset < call.span.end
            })
            .min_by_key(|call| call.span.end - call.span.start)
    }

    /// What can be named at an offset: the file's own values and the locals around, innermost last.
    pub fn names_at(&self, file: FileId, offset: u32) -> Vec<usize> {
        use DeclarationKind as K;
        let seen = |of: &Declaration| {
            of.span.file == file
                && match (of.kind, of.scope) {
                    (K::Param | K::Let | K::Stage, _) => true,
                    (K::Argument | K::Local, Some(scope)) => touches(scope, file, offset),
                    _ => false,
                }
        };
        (0..self.declarations.len()).filter(|place| seen(&self.declarations[*place])).collect()
    }

    /// What a file declares for all of itself, in the order in which it stands there.
    pub fn items_of(&self, file: FileId) -> impl Iterator<Item = (usize, &Declaration)> {
        use DeclarationKind as K;
        self.declarations.iter().enumerate().filter(move |(_, of)| {
            of.span.file == file
                && matches!(
                    of.kind,
                    K::Param | K::Let | K::Type | K::Def | K::Operator | K::Stage | K::Test
                )
        })
    }

    /// A declaration of a file by its name.
    pub fn item(&self, path: &str, name: &str) -> Option<&Declaration> {
        let file = self.file(path)?.file;
        self.items_of(file).map(|(_, of)| of).find(|of| of.name == name)
    }

    /// The declarations of the fields of a record type, in order.
    pub fn fields_of(&self, ty: &Type) -> &[usize] {
        let Type::Record(record) = bare(ty) else {
            return &[];
        };
        let known = self.shapes.records.get(&(Arc::as_ptr(record).addr()));
        let known = known.or_else(|| {
            let names = record.fields.iter().map(|(name, _)| name.clone()).collect();
            self.shapes.records_by_parts.get(&(record.name.clone(), names))
        });
        known.map_or(&[], Vec::as_slice)
    }

    /// The declaration of a field of a record type.
    pub fn field_of(&self, ty: &Type, name: &str) -> Option<usize> {
        let fields = self.fields_of(ty);
        fields.iter().copied().find(|field| self.declarations[*field].name == name)
    }

    /// The declaration of a word of an enumeration.
    pub fn word_of(&self, ty: &Type, word: &str) -> Option<usize> {
        let Type::Enum(words) = bare(ty) else {
            return None;
        };
        let known = self.shapes.enums.get(&(Arc::as_ptr(words).addr()));
        let known = known.or_else(|| self.shapes.enums_by_parts.get(&**words))?;
        known.iter().copied().find(|of| self.declarations[*of].name == word)
    }
}

/// What an optional type is when it is there.
fn bare(ty: &Type) -> &Type {
    if let Type::Optional(of) = ty { of } else { ty }
}

impl Signature {
    /// As it is shown: `rollout.run(world: World, trial: int = 1) -> Run`.
    pub fn text(&self) -> String {
        let args: Vec<String> = self.args.iter().map(super::SignatureArgument::text).collect();
        format!("{}({}) -> {}", self.shown, args.join(", "), self.returns)
    }
}

impl super::SignatureArgument {
    /// As it is shown: `trial: int = 1`.
    pub fn text(&self) -> String {
        match &self.default {
            Some(default) if !default.is_empty() => {
                format!("{}: {} = {default}", self.name, self.ty)
            }
            _ => format!("{}: {}", self.name, self.ty),
        }
    }
}
