//! Where outputs land once the links on the way are followed.
//!
//! The language refuses paths that say themselves that they lead out of the project, or to what is
//! not theirs (E0507, E0509). Links are seen only on the disk, so they are followed here: before
//! anything runs, and once more before something is written.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::lang::{Diagnostic, Output, SourceMap, taken};
use crate::project::{Links, Place, Project};

use crate::cli::{Failure, load};

/// Refuses outputs that land outside of the project or over what is needed; `read` is what the
/// program looked at, as far as it is known. Tells each with its place.
pub(in crate::cli) fn refuse(
    project: &Project,
    outputs: &[Output],
    sources: &SourceMap,
    read: &BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    let found = misplaced(project, outputs, read);
    if found.is_empty() {
        return Ok(());
    }
    load::tell(&found, sources);
    Err(load::told(found.len()))
}

/// What [`refuse`] tells.
pub(in crate::cli) fn misplaced(
    project: &Project,
    outputs: &[Output],
    read: &BTreeSet<PathBuf>,
) -> Vec<Diagnostic> {
    // Looked up when first needed: there may be many, and mostly nothing is there to be written over.
    let files = OnceCell::new();
    let links = Links::default();
    let real = || -> BTreeSet<PathBuf> {
        let real = read.iter().filter_map(|path| links.follow(path).ok());
        real.filter(|place| place.there.as_ref().is_some_and(|meta| meta.is_file()))
            .map(|place| place.real)
            .collect()
    };
    let mut found = Vec::new();
    for output in outputs {
        let Some(path) = &output.path else { continue };
        let why = match landing(project, path, &links) {
            Err(why) => why,
            Ok(Place { there: None, .. }) => continue,
            Ok(Place { real: place, .. }) => {
                // What lies in a folder stands right behind it.
                let over = files.get_or_init(real).range(place.clone()..).next();
                match over.filter(|file| file.starts_with(&place)) {
                    Some(file) => format!("the program reads {}", file.display()),
                    None => continue,
                }
            }
        };
        found.push(
            Diagnostic::error(
                "E0509",
                format!("output `{}` cannot be written to `{path}`", output.stage),
            )
            .at(output.span, why)
            .help("outputs belong where nothing else is, such as in a folder `out`"),
        );
    }
    found
}

/// Where an output is written, every link followed; else why nothing may be written there.
pub(super) fn landing(project: &Project, path: &str, links: &Links) -> Result<Place, String> {
    let place = links.follow(&project.root.join(path)).map_err(|err| err.to_string())?;
    let Ok(inside) = place.real.strip_prefix(&project.root) else {
        return Err(format!("a link leads out of the project, to {}", place.real.display()));
    };
    match taken(&inside.to_string_lossy()) {
        Some(why) => Err(format!("a link leads to {}: {why}", place.real.display())),
        None => Ok(place),
    }
}
