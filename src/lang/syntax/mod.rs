//! Text to a syntax tree: `grammar/claw.pest`, and a builder that turns its pairs into [`ast`].
//!
//! [`module`] never gives up on a file: what does not parse costs one message an item, and the rest
//! of the tree is still there. Whatever the text, the work is bounded: nesting is counted before
//! the parser runs ([`nesting`]) and again while the tree is built, so that nothing that walks a
//! tree later can run out of stack.

pub(crate) mod ast;
mod build;
mod concrete;
mod expression;
mod literal;
mod nesting;
mod parser;
mod pieces;

pub use build::{is_declaration, is_name};
pub(crate) use build::{lone_expression, module};
pub(crate) use concrete::concrete;
pub(crate) use parser::Rule;

/// How deep an expression or a type may nest. Everything that recurses over trees relies on it.
pub(crate) const MAX_DEPTH: usize = 128;

/// How many arguments, bindings, generators or words stand in one call, def, block, `for` or
/// enumeration. They are looked up by going through them.
pub(crate) const MAX_PARTS: usize = 1_000;

/// Files above this size, in bytes, are not source text.
pub(crate) const MAX_FILE: usize = 8 << 20;
