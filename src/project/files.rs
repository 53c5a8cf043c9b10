//! The `.claw` files of a folder.

use std::path::{Path, PathBuf};

use super::ProjectError;

/// Folders in which nobody's own programs are: packages that were copied in,
/// results, what tools make.
const LEFT_OUT: [&str; 5] = ["vendor", "out", "target", "node_modules", "__pycache__"];

/// The `.claw` files in `folder` and below it, in order. Hidden folders, vendored packages, results
/// (`out`) and what tools make are left out; links are not followed, for they may lead out or round in a circle.
/// Paths begin with `folder` as it was given.
///
/// # Errors
/// When a folder cannot be read.
pub fn claw_files(folder: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let io = |source| ProjectError::Io { path: folder.clone(), source };
        let read = if folder == Path::new("") { Path::new(".") } else { &folder };
        for entry in std::fs::read_dir(read).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let kind = entry.file_type().map_err(io)?;
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if kind.is_dir() && !hidden && !LEFT_OUT.iter().any(|out| name == *out) {
                folders.push(folder.join(name));
            } else if kind.is_file()
                && Path::new(&name).extension().is_some_and(|end| end == "claw")
            {
                files.push(folder.join(name));
            }
        }
    }
    files.sort();
    Ok(files)
}
