//! Colours by meaning: what a name is, beyond what its letters say.

use std::collections::BTreeMap;
use std::path::Path;

use gen_lsp_types::{SemanticToken, SemanticTokens, SemanticTokensLegend};

use crate::lang::DeclarationKind as K;

use super::text::Encoding;
use super::workspace::Workspace;

/// The kinds of names, as the protocol calls them; a token says its place in this list.
const KINDS: [&str; 8] =
    ["namespace", "type", "parameter", "variable", "property", "enumMember", "function", "event"];

/// Bits of a token: what is declared there, what never changes, what is the library's.
const MODIFIERS: [&str; 3] = ["declaration", "readonly", "defaultLibrary"];

pub(super) fn legend() -> SemanticTokensLegend {
    SemanticTokensLegend {
        token_types: KINDS.map(str::to_string).to_vec(),
        token_modifiers: MODIFIERS.map(str::to_string).to_vec(),
    }
}

pub(super) fn tokens(workspace: &mut Workspace, path: &Path) -> Option<SemanticTokens> {
    let (program, file) = workspace.file(path)?;
    let index = &program.index;
    let mut found: BTreeMap<u32, (u32, usize, bool)> = BTreeMap::new();
    for (place, of) in index.declarations.iter().enumerate() {
        let is_named = !matches!(of.kind, K::Module | K::Test);
        if of.span.file == file && is_named {
            found.insert(of.span.start, (of.span.end, place, true));
        }
    }
    for (span, place) in &index.references {
        if span.file == file {
            found.entry(span.start).or_insert((span.end, *place, false));
        }
    }
    let mut data = Vec::new();
    let (mut line, mut character) = (0, 0);
    for (start, (end, place, is_declared)) in found {
        let of = &index.declarations[place];
        let position = workspace.position(&program, file, start);
        let words = program.text(file).text.get(start as usize..end as usize).unwrap_or("");
        let length = match workspace.encoding {
            Encoding::Utf8 => words.len(),
            Encoding::Utf16 => words.encode_utf16().count(),
        };
        let token_type = match of.kind {
            K::Module | K::Alias | K::Test => 0,
            K::Type => 1,
            K::Argument => 2,
            K::Local | K::Let | K::Param => 3,
            K::Field => 4,
            K::Word => 5,
            K::Def | K::Operator => 6,
            K::Stage => 7,
        };
        let constant = matches!(of.kind, K::Let | K::Param);
        let library = program.is_library(of.span.file);
        let bits = u32::from(is_declared) | u32::from(constant) << 1 | u32::from(library) << 2;
        let same_line = position.line == line;
        data.push(SemanticToken {
            delta_line: position.line - line,
            delta_start: if same_line {
                position.character - character
            } else {
                position.character
            },
            length: length as u32,
            token_type,
            token_modifiers_bitset: bits,
        });
        (line, character) = (position.line, position.character);
    }
    Some(SemanticTokens { result_id: None, data })
}
