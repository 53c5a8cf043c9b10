//! The concrete tree: every token and comment of a file by its place, for the formatter.

use pest::iterators::Pairs;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::source::FileId;

use super::MAX_FILE;
use super::build::module;
use super::parser::{Rule, parse};

/// What is wrong with values rather than with the form of a text: a number without its unit, an
/// unknown escape. Such a text has a tree all the same.
const ABOUT_VALUES: [&str; 2] = ["E0006", "E0007"];

/// The pairs of a text that parses whole and nests within the limits.
///
/// # Errors
/// Everything that is wrong with its form, or that it is too large.
pub(crate) fn concrete(text: &str, file: FileId) -> Result<Pairs<'_, Rule>, Vec<Diagnostic>> {
    if text.len() > MAX_FILE {
        let size = text.len() as f64 / f64::from(1 << 20);
        return Err(vec![
            Diagnostic::error("E0003", format!("this file is {size:.0} MiB large"))
                .help("source files are at most 8 MiB; data belongs in `file()` or `dir()`"),
        ]);
    }
    let mut found = Vec::new();
    module(text, file, &mut found);
    found.retain(|diagnostic| !ABOUT_VALUES.contains(&diagnostic.code));
    if !found.is_empty() {
        return Err(found);
    }
    parse(Rule::file, text, file, 0).map_err(|diagnostic| vec![diagnostic])
}
