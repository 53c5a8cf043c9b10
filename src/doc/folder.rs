//! Puts a site into a folder.
//!
//! The folder belongs to `claw doc` once it has written there: a list of what it wrote stands in
//! `.claw-doc`, pages that are gone from the site are taken away the next time, and a folder with
//! anybody else's files is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::DocError;

/// The list of what was written, one path a line.
const LIST: &str = ".claw-doc";

/// Writes the files of a site, by path, and takes away those of an earlier one that it has no more.
///
/// # Errors
/// When the folder holds files of somebody else, or cannot be written to.
pub fn write(out: &Path, files: &BTreeMap<String, String>) -> Result<(), DocError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DocError::Io { path, source }
    };
    let list = out.join(LIST);
    let earlier: BTreeSet<String> = match std::fs::read_to_string(&list) {
        Ok(text) => text.lines().map(str::to_string).collect(),
        Err(_) => {
            let is_empty = match std::fs::read_dir(out) {
                Ok(mut entries) => entries.next().is_none(),
                Err(err) => err.kind() == std::io::ErrorKind::NotFound,
            };
            if !is_empty {
                return Err(DocError::Foreign(out.to_path_buf()));
            }
            BTreeSet::new()
        }
    };
    for (path, text) in files {
        let file = out.join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(io(folder))?;
        }
        std::fs::write(&file, text).map_err(io(&file))?;
    }
    for path in earlier.iter().filter(|path| !files.contains_key(*path) && is_inside(path)) {
        let file = out.join(path);
        match std::fs::remove_file(&file) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(io(&file)(err)),
            _ => {}
        }
        // Folders go with their last page; one that is not empty stays.
        let mut folder = file.parent();
        while let Some(inner) = folder.filter(|inner| *inner != out) {
            if std::fs::remove_dir(inner).is_err() {
                break;
            }
            folder = inner.parent();
        }
    }
    let lines: String = files.keys().map(|path| format!("{path}\n")).collect();
    std::fs::write(&list, lines).map_err(io(&list))
}

/// Whether a line of the list is a path that a site can have.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}
