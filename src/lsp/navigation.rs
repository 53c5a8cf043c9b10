//! Going to what a name means, and finding everywhere that it is named.

use std::collections::BTreeMap;
use std::rc::Rc;

use gen_lsp_types::{Location, ReferenceParams, TextDocumentPositionParams};

use crate::lang::{Declaration, DeclarationKind, Span};

use super::program::Program;
use super::workspace::{View, Workspace};

/// Where what stands at a place is declared.
pub(super) fn definition(
    workspace: &mut Workspace,
    asked: &TextDocumentPositionParams,
) -> Option<Location> {
    let view = workspace.view(asked)?;
    let (place, _) = view.program.index.at(view.file, view.offset)?;
    let mut of = &view.program.index.declarations[place];
    if let Some(target) = of.target {
        of = &view.program.index.declarations[target];
    }
    workspace.location(&view.program, of.span)
}

/// Everywhere that what stands at a place is named, in all files of the project.
pub(super) fn references(
    workspace: &mut Workspace,
    asked: &ReferenceParams,
) -> Option<Vec<Location>> {
    let view = workspace.view(&asked.text_document_position_params)?;
    let (place, _) = view.program.index.at(view.file, view.offset)?;
    let named = Named::find(workspace, &view, place);
    let mut uses = named.uses;
    if let (true, Some((program, span))) = (asked.context.include_declaration, named.declared) {
        uses.insert((program.name(span.file).to_string(), span.start), (program, span));
    }
    let places = uses.values().filter_map(|(program, span)| workspace.location(program, *span));
    Some(places.collect())
}

/// A place in a program, one of several that may read the same file.
type Spot = (Rc<Program>, Span);

/// A declaration and its uses across a project.
pub(super) struct Named {
    /// Where its name stands; `None` for a file, which has none.
    pub(super) declared: Option<Spot>,
    /// Uses by file and place, each told once however many programs read it.
    pub(super) uses: BTreeMap<(String, u32), Spot>,
    /// The programs that know the declaration.
    pub(super) programs: Vec<Rc<Program>>,
}

impl Named {
    /// Finds a declaration of a view in every program of its project that reads its file.
    pub(super) fn find(workspace: &mut Workspace, view: &View, place: usize) -> Named {
        let of = &view.program.index.declarations[place];
        let is_file = of.kind == DeclarationKind::Module;
        let declared = (!is_file).then(|| (view.program.clone(), of.span));
        let file = view.program.name(of.span.file).to_string();
        let mut named = Named { declared, uses: BTreeMap::new(), programs: Vec::new() };
        // What is local to a block is named in its own file only.
        let programs = match of.kind {
            DeclarationKind::Local => vec![view.program.clone()],
            _ => {
                let project = view.program.project.clone();
                let mut all = workspace.all(&project);
                if !all.iter().any(|program| Rc::ptr_eq(program, &view.program)) {
                    all.push(view.program.clone());
                }
                all
            }
        };
        for program in programs {
            let Some(place) = same(&program, &file, of) else { continue };
            for span in program.index.references_of(place) {
                let key = (program.name(span.file).to_string(), span.start);
                named.uses.entry(key).or_insert_with(|| (program.clone(), span));
            }
            named.programs.push(program);
        }
        named
    }
}

/// The declaration of another program that is the same: of the same kind at the same place.
fn same(program: &Program, file: &str, of: &Declaration) -> Option<usize> {
    let file = program.file(file)?;
    at(program, Span { file, ..of.span }, of.kind)
}

/// The declaration of a kind at a place.
pub(super) fn at(program: &Program, span: Span, kind: DeclarationKind) -> Option<usize> {
    program.index.declarations.iter().position(|of| of.kind == kind && of.span == span)
}
