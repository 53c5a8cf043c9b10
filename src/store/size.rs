//! `claw store size`: what takes how much room.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::{large_files, roles};
use super::digest::Digest;
use super::objects::StoreError;
use super::pack::{self, Kind};
use super::references::Role;
use super::snapshot::Snapshot;

/// How many there are, and how many bytes they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Their bytes as they were put.
    pub bytes: u64,
    /// The bytes that they take on disk.
    pub stored: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64, stored: u64) {
        self.count += 1;
        self.bytes += bytes;
        self.stored += stored;
    }
}

/// What a store is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Objects by what they are; `unused` is what no result names (sources of programs, rows of
    /// stages that did not end).
    pub objects: BTreeMap<&'static str, Amount>,
    /// Receipts.
    pub receipts: Amount,
    /// Pack files.
    pub packs: Amount,
    /// Objects that are files of their own; counted in `objects` too.
    pub large: Amount,
    /// The index's files.
    pub index: Amount,
    /// The run logs' files.
    pub runs: Amount,
}

impl Size {
    /// Bytes on disk.
    pub fn stored(&self) -> u64 {
        [&self.packs, &self.large, &self.index, &self.runs].map(|one| one.stored).iter().sum()
    }

    /// How many bytes of content one byte of packs holds.
    pub fn ratio(&self) -> f64 {
        let content: u64 = self.objects.values().map(|one| one.bytes).sum::<u64>()
            - self.large.bytes
            + self.receipts.bytes;
        content as f64 / self.packs.stored.max(1) as f64
    }
}

/// Measures the store in `folder`.
///
/// # Errors
/// When the disk refuses.
pub fn size(folder: &Path) -> Result<Size, StoreError> {
    let snapshot = Snapshot::whole(folder)?;
    let roles = roles(&snapshot, folder)?;
    let word = |digest: &Digest| match roles.get(digest) {
        Some(Role::Value) => "rows and results",
        Some(Role::Table) => "tables",
        Some(Role::Tree) => "directories",
        Some(Role::File) => "files",
        None => "unused",
    };
    let mut size = Size::default();
    for number in pack::list(folder) {
        pack::scan(folder, number, 0, |record, payload| {
            let stored = pack::record_length(record.place.stored);
            let bytes = payload().map_or(0, |bytes| bytes.len() as u64);
            match record.kind {
                Kind::Object => {
                    size.objects.entry(word(&record.name)).or_default().add(bytes, stored);
                }
                Kind::Receipt => size.receipts.add(bytes, stored),
            }
        })?;
        let length = std::fs::metadata(pack::path(folder, number)).map_or(0, |meta| meta.len());
        size.packs.add(length, length);
    }
    for (digest, path) in large_files(folder) {
        let length = std::fs::metadata(path).map_or(0, |meta| meta.len());
        size.large.add(length, length);
        size.objects.entry(word(&digest)).or_default().add(length, length);
    }
    measure(&folder.join("index"), &mut size.index);
    measure(&folder.join("runs"), &mut size.runs);
    Ok(size)
}

/// The files below a folder.
fn measure(folder: &Path, amount: &mut Amount) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => measure(&entry.path(), amount),
            Ok(meta) => amount.add(meta.len(), meta.len()),
            // It went away meanwhile.
            Err(_) => {}
        }
    }
}
