//! The second round: types as they are written, and the arguments of defs.

use std::sync::Arc;

use crate::lang::index::DeclarationKind as K;
use crate::lang::source::Span;
use crate::lang::syntax::ast::{self, ItemKind, TypeKind};
use crate::lang::types::Type;

use super::Survey;

impl Survey<'_> {
    pub(super) fn types_of_item(&mut self, module: usize, place: usize, item: &ast::Item) {
        let Some(declaration) = self.places[module].items.get(place).copied().flatten() else {
            return;
        };
        self.parent = Some(declaration);
        let known = self.index.declarations[declaration].ty.clone();
        match &item.kind {
            ItemKind::Param(param) => {
                self.index.declarations[declaration].annotated = true;
                self.written(module, &param.ty, Some(&known), None);
            }
            ItemKind::Type(of) => self.written(module, &of.ty, Some(&known), Some(&of.name.text)),
            ItemKind::Let(binding) => self.annotation(module, declaration, binding.ty.as_ref()),
            ItemKind::Stage(stage) => self.annotation(module, declaration, stage.ty.as_ref()),
            ItemKind::Def(def) => self.def(module, declaration, def, item.span),
            ItemKind::Use(_) | ItemKind::Output(_) | ItemKind::Test(_) => {}
        }
        self.parent = None;
    }

    fn annotation(&mut self, module: usize, declaration: usize, ty: Option<&ast::TypeExpr>) {
        if let Some(ty) = ty {
            self.index.declarations[declaration].annotated = true;
            self.written(module, ty, None, None);
        }
    }

    fn def(&mut self, module: usize, declaration: usize, def: &ast::Def, item: Span) {
        let signature = self.index.declarations[declaration].signature;
        for arg in &def.args {
            let end = arg.default.as_ref().map_or(arg.ty.span.end, |default| default.span.end);
            let whole = Span { end, ..arg.name.span };
            let place = self.declare(K::Argument, &arg.name, whole, &arg.doc);
            let known = signature.and_then(|signature| {
                let args = &mut self.index.signatures[signature].args;
                let slot = args.iter_mut().find(|slot| slot.name == arg.name.text)?;
                slot.declaration.get_or_insert(place);
                Some(slot.ty.clone())
            });
            let of = &mut self.index.declarations[place];
            of.annotated = true;
            of.ty = known.clone().unwrap_or(Type::Unknown);
            of.scope = Some(item);
            self.written(module, &arg.ty, known.as_ref(), None);
        }
        let returns = signature.map(|place| self.index.signatures[place].returns.clone());
        self.written(module, &def.returns, returns.as_ref(), None);
    }

    /// A type as it is written, beside the type that it was understood as: names in it are
    /// references, fields and words in it are declarations.
    pub(super) fn written(
        &mut self,
        module: usize,
        written: &ast::TypeExpr,
        known: Option<&Type>,
        name: Option<&str>,
    ) {
        match (&written.kind, known) {
            (TypeKind::Name(None, of), _) => {
                self.index.type_names.push(of.span);
                if let Some(target) = self.places[module].types.get(&of.text).copied() {
                    self.refer(of.span, target);
                }
            }
            (TypeKind::Name(Some(alias), of), _) => self.foreign_type(module, alias, of),
            (TypeKind::List(of), Some(Type::List(known))) => {
                self.written(module, of, Some(known), None);
            }
            // `T??` says no more than `T?`.
            (TypeKind::Optional(of), Some(Type::Optional(known))) => {
                let nested = matches!(of.kind, TypeKind::Optional(_));
                let known = if nested { Type::Optional(known.clone()) } else { (**known).clone() };
                self.written(module, of, Some(&known), None);
            }
            (TypeKind::List(of) | TypeKind::Optional(of), _) => {
                self.written(module, of, None, None);
            }
            (TypeKind::Function(from, to), Some(Type::Function(a, b))) => {
                self.written(module, from, Some(a), None);
                self.written(module, to, Some(b), None);
            }
            (TypeKind::Function(from, to), _) => {
                self.written(module, from, None, None);
                self.written(module, to, None, None);
            }
            (TypeKind::Record(fields), known) => self.record_type(module, fields, known, name),
            (TypeKind::Enum(words), known) => self.enumeration(words, written.span, known),
        }
    }

    fn foreign_type(&mut self, module: usize, alias: &ast::Name, of: &ast::Name) {
        let Some(place) = self.places[module].aliases.get(&alias.text).copied() else {
            return;
        };
        self.refer(alias.span, place);
        let used = self.world.modules[module].uses.get(&alias.text);
        let target = used.and_then(|used| used.module);
        let receiver = target.and_then(|target| self.file_declaration(target));
        self.index.members.push(crate::lang::index::Member {
            span: of.span,
            of: crate::lang::index::Receiver::Module(receiver),
            base: Some(alias.text.clone()),
        });
        self.index.type_names.push(of.span);
        let known = target.and_then(|target| self.places[target].types.get(&of.text).copied());
        if let Some(known) = known {
            self.refer(of.span, known);
        }
    }

    fn record_type(
        &mut self,
        module: usize,
        fields: &[ast::FieldType],
        known: Option<&Type>,
        name: Option<&str>,
    ) {
        let record = match known {
            Some(Type::Record(record)) => Some(record.clone()),
            _ => None,
        };
        let mut declared = Vec::new();
        for field in fields {
            let whole = Span { end: field.ty.span.end, ..field.name.span };
            let ty = record.as_ref().and_then(|record| record.field(&field.name.text)).cloned();
            let place = self.declare(K::Field, &field.name, whole, &field.doc);
            let of = &mut self.index.declarations[place];
            of.annotated = true;
            of.ty = ty.clone().unwrap_or(Type::Unknown);
            declared.push(place);
            self.written(module, &field.ty, ty.as_ref(), None);
        }
        let names = fields.iter().map(|field| field.name.text.clone()).collect();
        let shapes = &mut self.index.shapes;
        shapes
            .records_by_parts
            .entry((name.map(str::to_string), names))
            .or_insert_with(|| declared.clone());
        if let Some(record) = record {
            shapes.records.entry(Arc::as_ptr(&record).addr()).or_insert(declared);
            shapes.kept.push(Type::Record(record));
        }
    }

    /// The words of an enumeration: the tree keeps what they say, the text where they stand.
    fn enumeration(&mut self, words: &[String], span: Span, known: Option<&Type>) {
        let mut declared = Vec::new();
        let text = self.world.sources.text(span.file);
        let mut at = span.start as usize;
        for word in words {
            let quoted = format!("\"{word}\"");
            let rest = text.get(at..span.end as usize).unwrap_or("");
            let Some(found) = rest.find(&quoted) else { continue };
            let start = at + found;
            at = start + quoted.len();
            let span = Span { start: start as u32 + 1, end: at as u32 - 1, ..span };
            let name = ast::Name { text: word.clone(), span };
            let place = self.declare(K::Word, &name, span, "");
            if let Some(known) = known {
                self.index.declarations[place].ty = known.clone();
            }
            declared.push(place);
        }
        let shapes = &mut self.index.shapes;
        shapes.enums_by_parts.entry(words.to_vec()).or_insert_with(|| declared.clone());
        if let Some(Type::Enum(known)) = known {
            shapes.enums.entry(Arc::as_ptr(known).addr()).or_insert(declared);
            shapes.kept.push(Type::Enum(known.clone()));
        }
    }
}
