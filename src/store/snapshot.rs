//! The store as a reader sees it: without the lock, without the index, at any time.
//!
//! A snapshot reads the packs' records once when it is opened and then holds where everything
//! stands. It sees what was appended until then, also while a run goes on.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::digest::Digest;
use super::disk::read_large;
use super::objects::{MemoryObjects, Objects, StoreError};
use super::pack::{self, Kind, Place};
use super::receipt::{Receipt, Results};

/// A read-only view. What is `put` or kept in it stays in memory: looking ahead changes nothing.
pub struct Snapshot {
    folder: PathBuf,
    objects: HashMap<Digest, Place>,
    receipts: HashMap<Digest, Receipt>,
    packs: Mutex<HashMap<u32, Arc<File>>>,
    added: MemoryObjects,
}

impl Snapshot {
    /// Reads the store in `folder`; one that does not exist yet is empty.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(folder: &Path) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot {
            folder: folder.to_path_buf(),
            objects: HashMap::new(),
            receipts: HashMap::new(),
            packs: Mutex::default(),
            added: MemoryObjects::default(),
        };
        for number in pack::list(folder) {
            pack::scan(folder, number, 0, |record, payload| match record.kind {
                Kind::Object => {
                    snapshot.objects.insert(record.name, record.place);
                }
                Kind::Receipt => {
                    let receipt = payload().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                    if let Some(receipt) = receipt {
                        snapshot.receipts.entry(record.name).or_insert(receipt);
                    }
                }
            })?;
        }
        Ok(snapshot)
    }

    /// Every receipt, in no order.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts.values()
    }

    /// How many objects the packs hold.
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }
}

impl Objects for Snapshot {
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        if let Ok(bytes) = self.added.get(digest) {
            return Ok(bytes);
        }
        let Some(place) = self.objects.get(digest) else {
            return read_large(&self.folder, digest);
        };
        let file = {
            let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
            match packs.get(&place.pack) {
                Some(file) => file.clone(),
                None => {
                    let path = pack::path(&self.folder, place.pack);
                    let file = Arc::new(File::open(&path).map_err(|source| StoreError::Io {
                        doing: "opening",
                        path: path.display().to_string(),
                        source,
                    })?);
                    packs.insert(place.pack, file.clone());
                    file
                }
            }
        };
        Ok(pack::read(&file, *place, digest)?.into())
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.added.put(bytes)
    }
}

impl Results for Snapshot {
    fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        Ok(self.receipts.get(key).cloned())
    }

    fn keep(&self, _receipt: &Receipt) -> Result<bool, StoreError> {
        Ok(false)
    }
}
