//! A store in which damage was found.
//!
//! Results are normally believed by their receipts: one look-up, however many rows. Once an object
//! turned out to be missing or damaged, that is not enough, for any result may have lost a part. The
//! finder (a run, or `claw store check`) leaves a note, `.claw/suspect`, with the digests it found
//! bad. A run that finds the note takes no whole stage from the store, follows every other result
//! down to its files before it believes it, and reads what it would otherwise not write a second
//! time. So everything that the pipeline needs is made again. The note goes when what it names is
//! good again.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::objects::StoreError;

fn path(folder: &Path) -> PathBuf {
    folder.join("suspect")
}

/// The digests (and keys of receipts) that were found bad; none when there is no note.
pub(super) fn read(folder: &Path) -> Option<BTreeSet<Digest>> {
    let text = std::fs::read_to_string(path(folder)).ok()?;
    Some(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Adds to the note. Also takes away what finished runs left to be quick by: it vouches for results
/// without looking at them.
pub(super) fn add(folder: &Path, bad: impl IntoIterator<Item = Digest>) -> Result<(), StoreError> {
    let path = path(folder);
    let io = |source| StoreError::Io { doing: "writing", path: path.display().to_string(), source };
    let lines: String = bad.into_iter().map(|digest| format!("{digest}\n")).collect();
    let mut note = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
    note.write_all(lines.as_bytes()).map_err(io)?;
    forget_settled(folder)
}

/// Takes the note away.
pub(super) fn clear(folder: &Path) -> Result<(), StoreError> {
    gone(std::fs::remove_file(path(folder)), &path(folder))
}

/// Takes away the notes of runs that ended with nothing left to do.
pub(super) fn forget_settled(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join("settled");
    gone(std::fs::remove_dir_all(&path), &path)
}

fn gone(removed: std::io::Result<()>, path: &Path) -> Result<(), StoreError> {
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Io { doing: "removing", path: path.display().to_string(), source })
        }
        _ => Ok(()),
    }
}
