//! The store as a reader sees it: without the lock, without sled, at any time.
//!
//! A snapshot believes what the index left for readers as to where things stand in the packs
//! ([`Indexed`]), and reads by itself only the end of the packs that the index was not told of yet.
//! So opening one costs no more in a large store than in a small one. It sees what was appended until
//! then, also while a run goes on.
//!
//! Everything is verified when it is read. Where the index cannot be had, or what it says turns out
//! not to be so, all packs are read once ([`Scanned`]), and from then on only they are believed.

mod indexed;
mod scanned;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::digest::Digest;
use super::disk::read_large;
use super::objects::{MemoryObjects, Objects, StoreError};
use super::pack::{self, Place};
use super::receipt::{Receipt, Results};

use indexed::Indexed;
pub(super) use scanned::Scanned;

/// How often files that go away while they are opened are looked for again.
const TRIES: u32 = 5;

/// A read-only view. What is `put` or kept in it stays in memory: looking ahead changes nothing.
pub struct Snapshot {
    folder: PathBuf,
    /// What is believed until all packs were read.
    indexed: Option<Indexed>,
    scanned: OnceLock<Scanned>,
    /// Held while they are read, so that it is done once.
    scanning: Mutex<()>,
    added: MemoryObjects,
}

impl Snapshot {
    /// Opens the store in `folder`; one that does not exist yet is empty.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(folder: &Path) -> Result<Snapshot, StoreError> {
        let snapshot = Snapshot::new(folder, Indexed::open(folder));
        if snapshot.indexed.is_none() {
            snapshot.all()?;
        }
        Ok(snapshot)
    }

    /// Reads all packs of the store in `folder`, for what has to look at everything there is.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn whole(folder: &Path) -> Result<Snapshot, StoreError> {
        let snapshot = Snapshot::new(folder, None);
        snapshot.all()?;
        Ok(snapshot)
    }

    fn new(folder: &Path, indexed: Option<Indexed>) -> Snapshot {
        Snapshot {
            folder: folder.to_path_buf(),
            indexed,
            scanned: OnceLock::new(),
            scanning: Mutex::default(),
            added: MemoryObjects::default(),
        }
    }

    /// What the index says, unless it is believed no more.
    fn indexed(&self) -> Option<&Indexed> {
        self.indexed.as_ref().filter(|_| self.scanned.get().is_none())
    }

    /// What all packs say. Reads them unless that was done already.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn all(&self) -> Result<&Scanned, StoreError> {
        if let Some(scanned) = self.scanned.get() {
            return Ok(scanned);
        }
        let _scanning = self.scanning.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scanned) = self.scanned.get() {
            return Ok(scanned);
        }
        let scanned = Scanned::read(&self.folder)?;
        Ok(self.scanned.get_or_init(|| scanned))
    }

    /// Every receipt, in no order. Reads all packs: a second or more for a million.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn receipts(&self) -> Result<impl Iterator<Item = &Receipt>, StoreError> {
        Ok(self.all()?.receipts())
    }
}

/// Packs that were opened, so that they can be read even after they were collected.
#[derive(Default)]
struct Packs(HashMap<u32, File>);

impl Packs {
    fn open(folder: &Path) -> Result<Packs, StoreError> {
        let open = |number: u32| {
            let path = pack::path(folder, number);
            let file = File::open(&path).map_err(|source| StoreError::Io {
                doing: "opening",
                path: path.display().to_string(),
                source,
            });
            Ok((number, file?))
        };
        pack::list(folder).into_iter().map(open).collect::<Result<_, _>>().map(Packs)
    }

    /// The payload of a record, checked.
    fn read(&self, place: Place, name: &Digest) -> Result<Vec<u8>, StoreError> {
        let file = self.0.get(&place.pack).ok_or_else(|| {
            let what = format!("pack {} is gone", place.pack);
            StoreError::Damaged { digest: *name, what }
        })?;
        pack::read(file, place, name)
    }
}

impl Objects for Snapshot {
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        if let Ok(bytes) = self.added.get(digest) {
            return Ok(bytes);
        }
        match self.indexed().map(|indexed| indexed.object(digest)) {
            Some(Ok(Some(bytes))) => return Ok(bytes.into()),
            Some(Ok(None)) => return read_large(&self.folder, digest),
            // The packs know better.
            Some(Err(_)) | None => {}
        }
        match self.all()?.object(digest)? {
            Some(bytes) => Ok(bytes.into()),
            None => read_large(&self.folder, digest),
        }
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.added.put(bytes)
    }
}

impl Results for Snapshot {
    fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        if let Some(Ok(receipt)) = self.indexed().map(|indexed| indexed.receipt(key)) {
            return Ok(receipt);
        }
        Ok(self.all()?.receipt(key).cloned())
    }

    fn keep(&self, _receipt: &Receipt) -> Result<bool, StoreError> {
        Ok(false)
    }
}
