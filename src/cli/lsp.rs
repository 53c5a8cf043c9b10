//! `claw lsp`: the language server, for editors.

use super::{Exit, Failure};
use crate::lsp::{ServeError, serve};

/// Serves an editor on standard input and output until it says `exit`.
pub(super) fn lsp() -> Result<Exit, Failure> {
    match serve() {
        Ok(()) => Ok(Exit::Done),
        // The protocol asks for 1 when an editor leaves without `shutdown`; nobody is told.
        Err(ServeError::Gone) => Ok(Exit::Failed),
        Err(err) => Err(Failure::work(err.to_string())),
    }
}
