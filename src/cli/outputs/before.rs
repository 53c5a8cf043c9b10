//! What stood where an output goes before claw ever wrote there. It is somebody's own, so it is kept:
//! below `before/` in the store's folder, by the path that it had.

use std::io;
use std::path::{Path, PathBuf};

use crate::project::Project;

use super::Hurdle;

/// Keeps the file at a path of the project, and says where.
///
/// # Errors
/// When the disk refuses; then it must not be written over.
pub(super) fn keep(project: &Project, path: &str) -> Result<String, Hurdle> {
    let kept = kept(project, path).map_err(|err| {
        Hurdle::place(format!("what stands there is not claw's, and cannot be kept: {err}"))
    })?;
    let kept = kept.strip_prefix(&project.root).unwrap_or(&kept);
    Ok(format!("{path} was not written by claw; what it held is kept as {}", kept.display()))
}

fn kept(project: &Project, path: &str) -> io::Result<PathBuf> {
    let before = project.store().join("before");
    let target = project.root.join(path);
    let names = (2..).map(|number| format!("{path}.{number}"));
    for name in std::iter::once(path.to_string()).chain(names) {
        let place = before.join(name);
        std::fs::create_dir_all(place.parent().unwrap_or(&before))?;
        match std::fs::hard_link(&target, &place) {
            Ok(()) => return Ok(place),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            // On another disk, or one that has no such links.
            Err(_) if place.symlink_metadata().is_err() => {
                return std::fs::copy(&target, &place).map(|_| place);
            }
            Err(err) => return Err(err),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether a file stands there that may be somebody's work.
pub(super) fn is_there(target: &Path) -> bool {
    target.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0)
}
