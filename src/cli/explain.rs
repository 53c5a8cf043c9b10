//! `claw explain`: what an error code means.

use super::{Exit, Failure, arguments, print};

/// Prints the page of a code.
pub(super) fn explain(args: &arguments::Explain) -> Result<Exit, Failure> {
    let code = args.code.trim_start_matches("claw::").to_uppercase();
    match crate::lang::explain(&code) {
        Some(page) => {
            print::out(page);
            Ok(Exit::Done)
        }
        None => Err(Failure::input(format!(
            "there is no error code `{}`; codes look like E0304 and stand at the top of an error",
            args.code
        ))),
    }
}
