//! Objects that are files of their own: those too long for a pack, each under its digest.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::digest::Digest;
use crate::store::objects::StoreError;

use super::io;

/// Objects longer than this are files of their own.
pub(in crate::store) const LARGE: usize = 4 << 20;

/// Path of a large object.
pub(in crate::store) fn large_path(folder: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    folder.join("objects").join(&name[..2]).join(&name[2..])
}

/// Reads a large object and checks it.
pub(in crate::store) fn read_large(
    folder: &Path,
    digest: &Digest,
) -> Result<Arc<[u8]>, StoreError> {
    let path = large_path(folder, digest);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Missing(*digest));
        }
        Err(err) => return Err(io("reading", &path)(err)),
    };
    if Digest::of(&bytes) != *digest {
        return Err(StoreError::Damaged { digest: *digest, what: "its bytes differ".into() });
    }
    Ok(bytes.into())
}

/// Publishes a large object create-only: temporary file, sync, link, sync of the folder.
pub(super) fn write_large(folder: &Path, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
    let path = large_path(folder, digest);
    let above = path.parent().unwrap_or(folder);
    if !above.is_dir() {
        std::fs::create_dir_all(above).map_err(io("making", above))?;
        let objects = folder.join("objects");
        File::open(&objects).and_then(|dir| dir.sync_all()).map_err(io("syncing", &objects))?;
    }
    let mut temporary = tempfile::NamedTempFile::new_in(above).map_err(io("writing in", above))?;
    temporary.write_all(bytes).map_err(io("writing", &path))?;
    temporary.as_file().sync_all().map_err(io("syncing", &path))?;
    match temporary.persist_noclobber(&path) {
        Ok(_) => {}
        Err(err) if err.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(err) => return Err(io("publishing", &path)(err.error)),
    }
    File::open(above).and_then(|dir| dir.sync_all()).map_err(io("syncing", above))
}
