//! Formatting a file: one edit that replaces what is different.

use std::path::Path;

use gen_lsp_types::TextEdit;

use crate::lang;

use super::workspace::Workspace;

/// The edits that format an open file; none for one that does not parse, which stays as it is.
pub(super) fn format(workspace: &Workspace, path: &Path) -> Option<Vec<TextEdit>> {
    let text = &workspace.document(path)?.text;
    let formatted = lang::format(&text.text).ok()?;
    if *formatted == *text.text {
        return Some(Vec::new());
    }
    let range = text.range(0, text.text.len() as u32, workspace.encoding);
    Some(vec![TextEdit { range, new_text: formatted }])
}
