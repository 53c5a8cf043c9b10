//! The formatter: one style for every `.claw` file, and nothing to configure.
//!
//! ```text
//! text ──tree──▶ tokens with their comments ──layout──▶ document ──printer──▶ text
//! ```
//!
//! [`tree`] lifts the parser's concrete tree into tokens that own the comments around them, so that
//! whatever is done with a token, its comments come along. [`layout`] says for each form of the
//! grammar where it may break over lines, as a [`document`]; [`printer`] breaks what does not fit
//! into [`WIDTH`] columns.
//!
//! Two things are the author's and stay: one blank line between parts, and a bracket that was opened
//! onto a new line, which stays open. Everything else follows from the tokens. Because a comment
//! keeps the token that it belongs to, formatting a formatted text changes nothing; because no token
//! but the commas before closing brackets comes or goes, it changes no meaning and no key.

mod bracket;
mod document;
mod expression;
mod layout;
mod printer;
mod tree;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::source::FileId;
use crate::lang::stack::roomy;
use crate::lang::syntax;

/// Columns that a line may take. Only what cannot be broken (a string, a name, a comment) goes past.
const WIDTH: usize = 100;

/// Spaces a level of indentation.
const INDENT: usize = 2;

/// The text of a file in the one style. Strings, numbers, comments and parentheses stay as they are.
///
/// # Errors
/// When the text does not parse: everything that is wrong with its form, at places of the file
/// `FileId(0)`. Mistakes of meaning (names, types, units) are no obstacle.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    roomy(|| {
        let tree = tree::Tree::of(syntax::concrete(text, FileId(0))?, text);
        Ok(printer::print(&layout::file(&tree)))
    })
}
