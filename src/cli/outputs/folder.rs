//! A result that is a folder, written as it was made: files with their executable bits, links, and
//! folders with nothing in them.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::store::{Entry, Objects, Tree};

use super::record::{is_file, leads_to};
use super::{Hurdle, READABLE, replace};

/// The mode of files that may be executed.
const EXECUTABLE: u32 = 0o755;

/// Writes a folder; whether there was anything to write.
pub(super) fn folder(target: &Path, tree: &Tree, store: &dyn Objects) -> Result<bool, Hurdle> {
    if target.symlink_metadata().is_ok() && !target.is_dir() {
        return Err(Hurdle::place(
            "a file stands there that claw did not write, or that was changed since; move it away",
        ));
    }
    let mut changed = !target.is_dir();
    std::fs::create_dir_all(target)?;
    let mut made = BTreeSet::new();
    for (path, entry) in &tree.entries {
        changed |= folders(target, path, &mut made)
            .and_then(|()| piece(&target.join(path), entry, store))
            .map_err(|hurdle| hurdle.inside(path))?;
    }
    Ok(changed)
}

/// Makes the folders that a path lies in. A link in place of one would lead somewhere else.
fn folders<'t>(target: &Path, path: &'t str, made: &mut BTreeSet<&'t str>) -> Result<(), Hurdle> {
    for (end, _) in path.match_indices('/') {
        let above = &path[..end];
        if !made.insert(above) {
            continue;
        }
        let place = target.join(above);
        match place.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return Err(Hurdle::place(format!(
                    "{above} should be a folder, and something else stands there that claw did not \
                     write, or that was changed since; move it away"
                )));
            }
            Err(_) => std::fs::create_dir(&place)?,
        }
    }
    Ok(())
}

/// Writes what belongs at one path; whether there was anything to write.
fn piece(place: &Path, entry: &Entry, store: &dyn Objects) -> Result<bool, Hurdle> {
    let there = place.symlink_metadata().ok();
    let is_folder = there.as_ref().is_some_and(|meta| meta.is_dir());
    if is_folder && *entry != Entry::EmptyDir {
        return Err(Hurdle::place(
            "a folder stands there that holds what claw did not write; move it away",
        ));
    }
    match entry {
        Entry::File { digest, executable, .. } => {
            let mode = if *executable { EXECUTABLE } else { READABLE };
            if !is_file(place, digest) {
                replace(place, mode, &store.get(digest)?)?;
            } else if there.is_some_and(|meta| is_executable(&meta) != *executable) {
                std::fs::set_permissions(place, Permissions::from_mode(mode))?;
            } else {
                return Ok(false);
            }
        }
        Entry::Link(to) if !leads_to(place, to) => {
            if there.is_some() {
                std::fs::remove_file(place)?;
            }
            symlink(to, place)?;
        }
        Entry::EmptyDir if !is_folder => {
            if there.is_some() {
                return Err(Hurdle::place("a file stands where a folder belongs; move it away"));
            }
            std::fs::create_dir(place)?;
        }
        Entry::Link(_) | Entry::EmptyDir => return Ok(false),
    }
    Ok(true)
}

fn is_executable(meta: &std::fs::Metadata) -> bool {
    meta.permissions().mode() & 0o111 != 0
}
