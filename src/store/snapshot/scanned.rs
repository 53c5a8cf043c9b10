//! A store as its packs tell it, every record of them read and checked.

use std::collections::HashMap;
use std::path::Path;

use crate::store::digest::Digest;
use crate::store::objects::StoreError;
use crate::store::pack::{self, Kind, Place};
use crate::store::receipt::Receipt;

use super::{Packs, TRIES};

/// Where everything stands, and all receipts.
#[derive(Default)]
pub(in crate::store) struct Scanned {
    objects: HashMap<Digest, Place>,
    receipts: HashMap<Digest, (Place, Receipt)>,
    packs: Packs,
}

impl Scanned {
    /// Reads the packs of the store in `folder`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn read(folder: &Path) -> Result<Scanned, StoreError> {
        let mut tries = 0;
        loop {
            match Scanned::read_once(folder) {
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

    fn read_once(folder: &Path) -> Result<Scanned, StoreError> {
        let packs = Packs::open(folder)?;
        let mut scanned = Scanned { packs, ..Scanned::default() };
        let mut numbers: Vec<u32> = scanned.packs.0.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            pack::scan(folder, number, 0, |record, payload| match record.kind {
                Kind::Object => {
                    scanned.objects.insert(record.name, record.place);
                }
                Kind::Receipt => {
                    let receipt = payload().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                    if let Some(receipt) = receipt {
                        // A second one for a key is there because the first had lost its result.
                        scanned.receipts.insert(record.name, (record.place, receipt));
                    }
                }
            })?;
        }
        Ok(scanned)
    }

    /// Where an object stands in the packs; none for one that is a file of its own.
    pub(in crate::store) fn place(&self, digest: &Digest) -> Option<Place> {
        self.objects.get(digest).copied()
    }

    /// Where a receipt stands.
    pub(in crate::store) fn receipt_place(&self, key: &Digest) -> Option<Place> {
        self.receipts.get(key).map(|(place, _)| *place)
    }

    /// Every receipt, in no order.
    pub(in crate::store) fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts.values().map(|(_, receipt)| receipt)
    }

    /// The receipt for a key.
    pub(super) fn receipt(&self, key: &Digest) -> Option<&Receipt> {
        self.receipts.get(key).map(|(_, receipt)| receipt)
    }

    /// The bytes of an object in a pack, verified; none when no pack holds it.
    pub(super) fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.place(digest).map(|place| self.packs.read(place, digest)).transpose()
    }
}
