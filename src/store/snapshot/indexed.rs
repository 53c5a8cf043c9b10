//! A store as its index tells it, and the end of its packs that the index was not told of yet.

use std::collections::HashMap;
use std::path::Path;

use crate::store::digest::Digest;
use crate::store::index::Known;
use crate::store::objects::StoreError;
use crate::store::pack::{self, Kind, Place};
use crate::store::receipt::Receipt;

use super::{Packs, TRIES};

/// Where things stand, as far as it is believed: whoever reads there finds out.
pub(super) struct Indexed {
    known: Known,
    /// What stands behind that.
    objects: HashMap<Digest, Place>,
    receipts: HashMap<Digest, Place>,
    packs: Packs,
}

impl Indexed {
    /// Opens what is there; none when that is nothing to go by. Any trouble is a reason to read the
    /// packs, which tells what is really wrong.
    pub(super) fn open(folder: &Path) -> Option<Indexed> {
        // The writer merges segments and `claw gc` packs: those that were named a moment ago may be
        // gone, or others.
        (0..TRIES).find_map(|tried| Indexed::open_once(folder, tried + 1 == TRIES).ok()?)
    }

    /// Gives none when the index changed meanwhile, unless it is the last try: then it was right a
    /// moment ago, and only what it says of packs that are gone is not.
    fn open_once(folder: &Path, last: bool) -> Result<Option<Indexed>, StoreError> {
        let Some(known) = Known::open(folder)? else {
            return Ok(None);
        };
        let packs = Packs::open(folder)?;
        if known.is_old(folder) && !last {
            return Ok(None);
        }
        let (first, from) = known.manifest.end;
        let (mut objects, mut receipts) = (HashMap::new(), HashMap::new());
        let mut behind: Vec<_> = packs.0.iter().filter(|(number, _)| **number >= first).collect();
        // Of two receipts for a key the later one counts.
        behind.sort_unstable_by_key(|(number, _)| **number);
        for (number, file) in behind {
            let start = if *number == first { from } else { 0 };
            pack::skim(folder, (*number, file), start, |record| {
                let places = match record.kind {
                    Kind::Object => &mut objects,
                    Kind::Receipt => &mut receipts,
                };
                places.insert(record.name, record.place);
            })?;
        }
        Ok(Some(Indexed { known, objects, receipts, packs }))
    }

    /// How many entries the index was not told of.
    #[cfg(test)]
    pub(super) fn behind(&self) -> usize {
        self.objects.len() + self.receipts.len()
    }

    /// The bytes of an object in a pack, verified; none when no pack holds it.
    ///
    /// # Errors
    /// When the index or the pack is not what it was: all packs should be read then.
    pub(super) fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let place = match self.objects.get(digest) {
            Some(place) => Some(*place),
            None => self.known.object(digest)?,
        };
        place.map(|place| self.packs.read(place, digest)).transpose()
    }

    /// The receipt for a key, verified.
    ///
    /// # Errors
    /// As [`Indexed::object`].
    pub(super) fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        let place = match self.receipts.get(key) {
            Some(place) => Some(*place),
            None => self.known.receipt(key)?,
        };
        let Some(place) = place else {
            return Ok(None);
        };
        let bytes = self.packs.read(place, key)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|err| StoreError::Damaged { digest: *key, what: err.to_string() })
    }
}
