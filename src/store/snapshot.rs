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

/// How often packs that go away while they are read are looked for again.
const TRIES: u32 = 5;

/// A read-only view. What is `put` or kept in it stays in memory: looking ahead changes nothing.
pub struct Snapshot {
    folder: PathBuf,
    objects: HashMap<Digest, Place>,
    receipts: HashMap<Digest, (Place, Receipt)>,
    packs: Mutex<HashMap<u32, Arc<File>>>,
    added: MemoryObjects,
}

impl Snapshot {
    /// Reads the store in `folder`; one that does not exist yet is empty.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(folder: &Path) -> Result<Snapshot, StoreError> {
        let mut tries = 0;
        loop {
            match Snapshot::open_once(folder) {
                // `claw gc` took a pack away between its name and its bytes: what survived of it
                // stands in a newer one.
                Err(StoreError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && tries < TRIES =>
                {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    fn open_once(folder: &Path) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot {
            folder: folder.to_path_buf(),
            objects: HashMap::new(),
            receipts: HashMap::new(),
            packs: Mutex::default(),
            added: MemoryObjects::default(),
        };
        for number in pack::list(folder) {
            // Held open from now on, so that it can be read even after it was collected.
            snapshot.pack(number)?;
            pack::scan(folder, number, 0, |record, payload| match record.kind {
                Kind::Object => {
                    snapshot.objects.insert(record.name, record.place);
                }
                Kind::Receipt => {
                    let receipt = payload().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                    if let Some(receipt) = receipt {
                        // A second one for a key is there because the first had lost its result.
                        snapshot.receipts.insert(record.name, (record.place, receipt));
                    }
                }
            })?;
        }
        Ok(snapshot)
    }

    fn pack(&self, number: u32) -> Result<Arc<File>, StoreError> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = packs.get(&number) {
            return Ok(file.clone());
        }
        let path = pack::path(&self.folder, number);
        let file = Arc::new(File::open(&path).map_err(|source| StoreError::Io {
            doing: "opening",
            path: path.display().to_string(),
            source,
        })?);
        packs.insert(number, file.clone());
        Ok(file)
    }

    /// Where a receipt stands.
    pub(super) fn receipt_place(&self, key: &Digest) -> Option<Place> {
        self.receipts.get(key).map(|(place, _)| *place)
    }

    /// Where an object stands in the packs; none for one that is a file of its own.
    pub(super) fn place(&self, digest: &Digest) -> Option<Place> {
        self.objects.get(digest).copied()
    }

    /// Every receipt, in no order.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts.values().map(|(_, receipt)| receipt)
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
        let file = self.pack(place.pack)?;
        Ok(pack::read(&file, *place, digest)?.into())
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.added.put(bytes)
    }
}

impl Results for Snapshot {
    fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        Ok(self.receipts.get(key).map(|(_, receipt)| receipt.clone()))
    }

    fn keep(&self, _receipt: &Receipt) -> Result<bool, StoreError> {
        Ok(false)
    }
}
