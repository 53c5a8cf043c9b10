//! The index of a checked program: the tree is walked once more, with what the checker knows.
//!
//! Names are resolved here by the same rules as in the checker (locals, then the file's own values,
//! then files), because scopes in the tree are simple; types come from the checker's notes. The
//! walk goes in three rounds, so that everything is declared before anything is named: files and
//! items, then types and arguments, then expressions.

mod declared;
mod expression;
mod types;

use std::collections::BTreeMap;

use crate::lang::index::{Declaration, DeclarationKind, Index, IndexedFile};
use crate::lang::source::{FileId, Span};
use crate::lang::syntax::ast;
use crate::lang::types::Type;

use super::fit::{Vars, fits};
use super::notes::Notes;
use super::world::World;
use super::{policy, resolve};

/// Whether a value of type `given` stands where `wanted` is asked for.
pub fn stands_for(given: &Type, wanted: &Type) -> bool {
    fits(given, wanted, &mut Vars::new()).is_ok()
}

/// The names of all policies.
pub fn policy_names() -> &'static [&'static str] {
    policy::POLICIES
}

/// The names of the types that the language itself knows.
pub fn builtin_types() -> impl Iterator<Item = &'static str> {
    resolve::TYPES.iter().map(|(name, _)| *name)
}

/// Makes the index of a world that was checked.
pub(super) fn survey(world: World) -> Index {
    let mut world = world;
    let notes = world.notes.take().unwrap_or_default().into_inner();
    let mut survey = Survey {
        world: &world,
        notes: &notes,
        index: Index::default(),
        places: Vec::new(),
        signatures: Vec::new(),
        locals: Vec::new(),
        parent: None,
    };
    survey.files();
    for module in 0..world.modules.len() {
        survey.items(module);
    }
    survey.bare_functions();
    for module in 0..world.modules.len() {
        for (place, item) in world.modules[module].ast.items.iter().enumerate() {
            survey.types_of_item(module, place, item);
        }
    }
    for module in 0..world.modules.len() {
        for (place, item) in world.modules[module].ast.items.iter().enumerate() {
            survey.names_of_item(module, place, item);
        }
    }
    let mut index = survey.index;
    index.references.sort_by_key(|(span, _)| (span.file, span.start, span.end));
    index.references.dedup();
    index.types = notes.types;
    index
}

/// Where the declarations of a file are.
#[derive(Default)]
struct Places {
    file: Option<FileId>,
    /// The declaration of each item, by its place among the file's items.
    items: Vec<Option<usize>>,
    values: BTreeMap<String, usize>,
    types: BTreeMap<String, usize>,
    defs: BTreeMap<String, usize>,
    aliases: BTreeMap<String, usize>,
}

struct Survey<'w> {
    world: &'w World,
    notes: &'w Notes,
    index: Index,
    /// By module.
    places: Vec<Places>,
    /// The place in [`Index::signatures`] of each signature of the world.
    signatures: Vec<Option<usize>>,
    /// Locals and their declarations, innermost last.
    locals: Vec<(String, usize)>,
    /// The item that is walked.
    parent: Option<usize>,
}

impl Survey<'_> {
    fn declare(&mut self, kind: DeclarationKind, name: &ast::Name, item: Span, doc: &str) -> usize {
        self.index.declarations.push(Declaration {
            kind,
            name: name.text.clone(),
            span: name.span,
            item,
            scope: None,
            parent: self.parent,
            target: None,
            doc: doc.to_string(),
            ty: Type::Unknown,
            annotated: false,
            signature: None,
        });
        self.index.declarations.len() - 1
    }

    fn refer(&mut self, span: Span, target: usize) {
        self.index.references.push((span, target));
    }

    /// The files themselves, and what they call each other.
    fn files(&mut self) {
        for module in &self.world.modules {
            let sources = &self.world.sources.files;
            let Some(place) = sources.iter().position(|(path, _)| *path == module.path) else {
                self.places.push(Places::default());
                continue;
            };
            let file = FileId(place as u32);
            let (start, end) = (Span { file, start: 0, end: 0 }, sources[place].1.len() as u32);
            let name = ast::Name { text: module.name.clone(), span: start };
            let item = Span { end, ..start };
            let declaration = self.declare(DeclarationKind::Module, &name, item, &module.ast.doc);
            self.index.files.push(IndexedFile {
                file,
                path: module.path.clone(),
                doc: module.ast.doc.clone(),
                library: module.library,
                broken: module.broken.clone(),
                aliases: BTreeMap::new(),
                declaration,
            });
            self.places.push(Places { file: Some(file), ..Places::default() });
        }
    }

    /// The declaration of a module's file.
    fn file_declaration(&self, module: usize) -> Option<usize> {
        let file = self.places.get(module)?.file?;
        self.index.file_of(file).map(|of| of.declaration)
    }
}
