//! `claw vendor`: copies of all packages inside the project.

use super::{Exit, Failure, arguments, print};
use crate::project::{Project, packages};

/// Writes `vendor/` anew.
pub(super) fn vendor(args: &arguments::Vendor) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let copied = packages::vendor(&project)?;
    if copied.is_empty() {
        print::line("claw.lock pins no package; vendor/ is empty");
    }
    for package in copied {
        print::line(&format!("copied {package}"));
    }
    Ok(Exit::Done)
}
