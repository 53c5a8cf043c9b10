//! Panics as failures: a mistake in claw costs the row that met it, and is told, never hidden.
//!
//! A task that panics ends without a word. Its row would be missing from the stage's table, and who
//! waits for a stage would wait for ever.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::operator::CallError;

/// Does the work; a panic in it is a failure of the machine.
pub(super) async fn caught<T>(
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => Err(CallError::Infrastructure(format!(
            "claw met a mistake of its own: {}\n  help: please report it with the pipeline; rows \
             that are done are kept",
            said(&*panic)
        ))),
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
