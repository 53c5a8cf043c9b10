//! Where outputs land once the links on the way are followed.
//!
//! The language refuses paths that say themselves that they lead out of the project, or to what is
//! not theirs (E0507, E0509). Links are seen only on the disk, so they are followed here: before
//! anything runs, and once more before something is written.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::lang::{Diagnostic, Output, SourceMap, taken};
use crate::project::Project;

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
    let real = || -> BTreeSet<PathBuf> {
        let real = read.iter().filter_map(|path| path.canonicalize().ok());
        real.filter(|path| path.is_file()).collect()
    };
    let mut found = Vec::new();
    for output in outputs {
        let Some(path) = &output.path else { continue };
        let why = match landing(project, path) {
            Err(why) => why,
            Ok(place) if !place.exists() => continue,
            Ok(place) => {
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
pub(super) fn landing(project: &Project, path: &str) -> Result<PathBuf, String> {
    let target = project.root.join(path);
    let (there, real) = nearest(&target)?;
    let rest = target.strip_prefix(&there).unwrap_or(Path::new(""));
    // Joining nothing would leave a slash at the end.
    let place = if rest == Path::new("") { real } else { real.join(rest) };
    let Ok(inside) = place.strip_prefix(&project.root) else {
        return Err(format!("a link leads out of the project, to {}", place.display()));
    };
    match taken(&inside.to_string_lossy()) {
        Some(why) => Err(format!("a link leads to {}: {why}", place.display())),
        None => Ok(place),
    }
}

/// The nearest of a path and the folders above it that is there, and where it really is.
fn nearest(target: &Path) -> Result<(PathBuf, PathBuf), String> {
    for there in target.ancestors() {
        match there.canonicalize() {
            Ok(real) => return Ok((there.to_path_buf(), real)),
            Err(err) if err.kind() == ErrorKind::NotFound && there.is_symlink() => {
                return Err(format!("{} is a link that leads nowhere", there.display()));
            }
            // It is made, or writing says why it cannot be.
            Err(_) => {}
        }
    }
    Err(format!("{} is not there", target.display()))
}
