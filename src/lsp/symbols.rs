//! The outline of a file.

use std::path::Path;

use gen_lsp_types::{DocumentSymbol, SymbolKind};

use crate::lang::{DeclarationKind as K, Type};

use super::hover::shown;
use super::program::Program;
use super::workspace::Workspace;

pub(super) fn symbols(workspace: &mut Workspace, path: &Path) -> Option<Vec<DocumentSymbol>> {
    let (program, file) = workspace.file(path)?;
    let mut symbols: Vec<DocumentSymbol> =
        program.index.items_of(file).map(|(place, _)| symbol(workspace, &program, place)).collect();
    symbols.sort_by_key(|symbol| symbol.range.start);
    Some(symbols)
}

fn symbol(workspace: &Workspace, program: &Program, place: usize) -> DocumentSymbol {
    let of = &program.index.declarations[place];
    // Only these have parts; a file of thousands of stages is not searched for each of them.
    let is_made_of_parts = matches!(of.kind, K::Type | K::Def | K::Operator);
    let all = if is_made_of_parts { program.index.declarations.as_slice() } else { &[] };
    let parts = all.iter().enumerate().filter(|(_, part)| {
        part.parent == Some(place)
            && part.span.file == of.span.file
            && match of.kind {
                K::Type => part.kind == K::Field || part.kind == K::Word,
                K::Def | K::Operator => part.kind == K::Argument,
                _ => false,
            }
    });
    let children: Vec<DocumentSymbol> =
        parts.map(|(part, _)| symbol(workspace, program, part)).collect();
    let detail = match of.kind {
        K::Test | K::Type | K::Word => None,
        K::Def | K::Operator => of.signature.map(|at| program.index.signatures[at].text()),
        _ => Some(shown(&of.ty)),
    };
    #[allow(deprecated, reason = "the protocol's struct still has the field")]
    DocumentSymbol {
        name: of.name.clone(),
        detail,
        kind: kind(of.kind, &of.ty),
        tags: None,
        deprecated: None,
        range: workspace.range(program, of.item),
        selection_range: workspace.range(program, of.span),
        children: (!children.is_empty()).then_some(children),
    }
}

fn kind(kind: K, ty: &Type) -> SymbolKind {
    match kind {
        K::Module | K::Alias => SymbolKind::Module,
        K::Param | K::Argument | K::Local => SymbolKind::Variable,
        K::Let => SymbolKind::Constant,
        K::Type if matches!(ty, Type::Enum(_)) => SymbolKind::Enum,
        K::Type => SymbolKind::Struct,
        K::Def | K::Operator => SymbolKind::Function,
        K::Stage => SymbolKind::Event,
        K::Field => SymbolKind::Field,
        K::Word => SymbolKind::EnumMember,
        K::Test => SymbolKind::Method,
    }
}
