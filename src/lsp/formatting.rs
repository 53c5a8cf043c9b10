//! Formatting a file: one edit that replaces what is different.

use std::path::Path;

use gen_lsp_types::TextEdit;

use super::workspace::Workspace;

/// How a text is formatted: `None` for one that does not parse, which stays as it is.
type Formatter = fn(&str) -> Option<String>;

/// THE PLACE to wire the formatter in: `Some(|text| crate::lang::format(text).ok())`. While this is
/// `None` the server does not offer formatting to the editor.
const FORMATTER: Option<Formatter> = None;

/// Whether files can be formatted.
pub(super) fn is_offered() -> bool {
    FORMATTER.is_some()
}

/// The edits that format an open file.
pub(super) fn format(workspace: &Workspace, path: &Path) -> Option<Vec<TextEdit>> {
    let text = &workspace.document(path)?.text;
    let formatted = FORMATTER?(&text.text)?;
    if *formatted == *text.text {
        return Some(Vec::new());
    }
    let range = text.range(0, text.text.len() as u32, workspace.encoding);
    Some(vec![TextEdit { range, new_text: formatted }])
}
