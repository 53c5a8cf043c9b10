//! `vendor/`: copies of all packages inside the project, for machines without a network.

use std::path::{Path, PathBuf};

use crate::project::Project;

use super::error::PackageError;
use super::lock::Lock;
use super::shelf::{Shelf, root_of};
use super::writing;

/// Its name.
pub(super) const FOLDER: &str = "vendor";

/// A file in it that says whose it is; a `vendor/` without it is not ours to replace.
const MARK: &str = "packages.md";

/// Where the package with this root is, if it was copied.
pub(super) fn place(project: &Path, root: &str) -> PathBuf {
    project.join(FOLDER).join(root)
}

/// Copies every package that `claw.lock` pins into `vendor/`, which then holds these and nothing
/// else. Says what it copied.
///
/// # Errors
/// When a package cannot be had, or `vendor/` holds something else.
pub fn vendor(project: &Project) -> Result<Vec<String>, PackageError> {
    let lock = Lock::read(&project.root)?;
    // What is in vendor/ already needs no network, but it may be damaged.
    let (here, elsewhere) = (Shelf::of(project, true), Shelf::without_vendor(project));
    for name in project.packages.keys() {
        here.pinned(name)?;
    }
    let needed = lock.needed(&project.packages.keys().map(String::as_str).collect());
    let folder = project.root.join(FOLDER);
    let ours = folder.join(MARK).is_file();
    let empty = std::fs::read_dir(&folder).map_or(true, |mut entries| entries.next().is_none());
    if !ours && !empty {
        return Err(PackageError::unusable(format!(
            "{FOLDER}/ is there already, and it was not made by `claw vendor`"
        ))
        .help("move it away; `claw vendor` replaces the whole folder"));
    }
    let staging = writing::folder_beside(&folder)?;
    let new = staging.path().join("new");
    std::fs::create_dir(&new).map_err(PackageError::io("making", &new))?;
    let mut list =
        "Copies of this project's packages, written by `claw vendor`. Do not edit them.\n\n"
            .to_string();
    let mut copied = Vec::new();
    let mut sorted: Vec<_> =
        lock.packages.iter().filter(|(digest, _)| needed.contains(*digest)).collect();
    sorted.sort_by_key(|(digest, package)| root_of(package, digest));
    for (digest, package) in sorted {
        let content = here.content(digest).or_else(|_| elsewhere.content(digest))?;
        let root = root_of(package, digest);
        let place = new.join(&root);
        std::fs::create_dir_all(&place).map_err(PackageError::io("making", &place))?;
        content.write_to(&place)?;
        list.push_str(&format!("* {root}: {digest}\n"));
        copied.push(format!("{} ({})", package.title(), digest.short()));
    }
    let mark = new.join(MARK);
    std::fs::write(&mark, list).map_err(PackageError::io("writing", &mark))?;
    writing::swap_folder(&new, &folder)?;
    Ok(copied)
}
