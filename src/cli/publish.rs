//! `claw publish`: a package becomes a version that others can name.

use std::sync::Arc;

use super::{Exit, Failure, arguments, load, print};
use crate::project::Project;
use crate::project::packages::{self, Publication};
use crate::store::MemoryObjects;

/// Checks every module of the package, and publishes it when there is no error.
pub(super) fn publish(args: &arguments::Publish) -> Result<Exit, Failure> {
    let project = Project::around(&args.package)?;
    let publication = Publication::of(&project)?;
    let mut wrong = 0;
    for module in publication.modules() {
        let objects = Arc::new(MemoryObjects::default());
        match load::check(&project, &module, objects) {
            Ok(loaded) => load::tell(&loaded.diagnostics, &loaded.sources),
            Err((diagnostics, sources)) => {
                load::tell(&diagnostics, &sources);
                wrong += 1;
            }
        }
    }
    if wrong > 0 {
        let plural = if wrong == 1 { "module has" } else { "modules have" };
        return Err(Failure::input(format!(
            "{wrong} {plural} errors, so nothing was published\n  help: what others use must check"
        )));
    }
    let published = packages::publish(&publication, &args.to)?;
    let (name, to) = (&publication.name, args.to.display());
    let count = publication.file_count();
    print::line(&format!("published {name} {} into {to} ({count} files)", published.version));
    print::line(&format!("digest {}", published.digest));
    print::line(&format!("\nclaw add {name} --registry {to}@{}", published.version));
    Ok(Exit::Done)
}
