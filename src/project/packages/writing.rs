//! Files and folders that come into being whole, or not at all.

use std::io::Write;
use std::path::Path;

use super::content::Content;
use super::error::PackageError;

fn temporary(above: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile, PackageError> {
    std::fs::create_dir_all(above).map_err(PackageError::io("making", above))?;
    let io = PackageError::io("writing into", above);
    let mut file = tempfile::NamedTempFile::new_in(above).map_err(&io)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file.path(), readable).map_err(&io)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(&io)?;
    Ok(file)
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Replaces a file, if its bytes are others.
///
/// # Errors
/// When the disk refuses.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let file = temporary(above(path), bytes)?;
    file.persist(path).map_err(|err| PackageError::io("writing", path)(err.error))?;
    Ok(())
}

/// Writes a file that is not there yet; says whether it was not.
///
/// # Errors
/// When the disk refuses.
pub(super) fn create_new(path: &Path, bytes: &[u8]) -> Result<bool, PackageError> {
    let file = temporary(above(path), bytes)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(err) if err.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(err) => Err(PackageError::io("writing", path)(err.error)),
    }
}

/// An empty folder beside `path`, gone when it is dropped.
///
/// # Errors
/// When the disk refuses.
pub(super) fn folder_beside(path: &Path) -> Result<tempfile::TempDir, PackageError> {
    let above = above(path);
    std::fs::create_dir_all(above).map_err(PackageError::io("making", above))?;
    tempfile::Builder::new()
        .prefix(".claw-")
        .tempdir_in(above)
        .map_err(PackageError::io("making a folder in", above))
}

/// Puts `new` where `path` is; what is there goes away.
///
/// # Errors
/// When the disk refuses.
pub(super) fn swap_folder(new: &Path, path: &Path) -> Result<(), PackageError> {
    let old = folder_beside(path)?;
    let away = old.path().join("old");
    match std::fs::rename(path, &away) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
            return Err(PackageError::io("moving", path)(err));
        }
        _ => {}
    }
    std::fs::rename(new, path).map_err(|err| {
        let _ = std::fs::rename(&away, path);
        PackageError::io("writing", path)(err)
    })
}

/// Writes a package's files to a folder; the folder is there whole or not at all.
///
/// # Errors
/// When the disk refuses.
pub(super) fn put_content(content: &Content, path: &Path) -> Result<(), PackageError> {
    let staging = folder_beside(path)?;
    let new = staging.path().join("new");
    std::fs::create_dir(&new).map_err(PackageError::io("making", &new))?;
    content.write_to(&new)?;
    swap_folder(&new, path)
}
