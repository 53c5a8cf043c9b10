//! `claw gc`: what nobody needs any more goes.
//!
//! What is kept is decided elsewhere (the runs and pins of a project); here it is carried out. Packs
//! in which everything survives stay. The survivors of all others are written into new packs, which
//! are synced and published before the first old pack goes; old packs go newest first, so that a
//! receipt never outlives what it names. Stopped anywhere, the store holds both or the old ones, and
//! the next collection clears up. Readers are not disturbed: they hold their packs open.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::check::large_files;
use super::digest::Digest;
use super::disk::{large_path, rebuild_held};
use super::index::Index;
use super::lock::Lock;
use super::objects::StoreError;
use super::pack::{self, Kind};
use super::receipt::Receipt;
use super::references::{Reference, Role, Walk};
use super::snapshot::Snapshot;
use super::suspect;

/// What is to be kept.
pub struct Keep<'a> {
    /// Receipts, by their keys, with all that they name.
    pub receipts: Box<dyn Fn(&Receipt) -> bool + 'a>,
    /// Objects with all that they name.
    pub objects: Vec<Reference>,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Receipts that stay.
    pub kept_receipts: u64,
    /// Receipts that go.
    pub receipts: u64,
    /// Receipts among these that had lost their results.
    pub broken: u64,
    /// Objects that stay.
    pub kept_objects: u64,
    /// Objects that go, large ones among them.
    pub objects: u64,
    /// Bytes of the disk that this frees.
    pub freed: u64,
}

/// Throws away what is not to be kept; with `dry`, only says what would go. `keep` is called once
/// the store can no longer change.
///
/// # Errors
/// [`StoreError::Locked`] when somebody writes to the store; when the disk refuses.
pub fn collect<'a>(
    folder: &Path,
    who: &str,
    dry: bool,
    keep: impl FnOnce(&Snapshot) -> Keep<'a>,
) -> Result<Collected, StoreError> {
    // Looking needs no lock.
    let _held = if dry { None } else { Some(Lock::take(folder, who)?) };
    let snapshot = Snapshot::whole(folder)?;
    let all = snapshot.all()?;
    let keep = keep(&snapshot);
    let mut done = Collected::default();
    let there =
        |digest: &Digest| all.place(digest).is_some() || large_path(folder, digest).exists();
    let mut walk = Walk::asking(&snapshot, &there);
    let mut receipts: HashSet<Digest> = HashSet::new();
    for receipt in all.receipts().filter(|receipt| (keep.receipts)(receipt)) {
        // One that lost its result is worth nothing; without it the work is done again.
        if walk.is_whole((Role::Value, receipt.result)) {
            receipts.insert(receipt.key);
        } else {
            done.broken += 1;
        }
    }
    for object in &keep.objects {
        walk.is_whole(*object);
    }
    let objects: HashSet<Digest> = walk.met().map(|(_, digest)| *digest).collect();
    let survives = |record: &pack::Scanned| match record.kind {
        Kind::Object => {
            objects.contains(&record.name) && all.place(&record.name) == Some(record.place)
        }
        Kind::Receipt => {
            receipts.contains(&record.name) && all.receipt_place(&record.name) == Some(record.place)
        }
    };

    let numbers = pack::list(folder);
    let mut going: Vec<u32> = Vec::new();
    for number in &numbers {
        let length = std::fs::metadata(pack::path(folder, *number)).map_or(0, |meta| meta.len());
        let mut whole = 0u64;
        pack::scan(folder, *number, 0, |record, _| {
            let bytes = pack::record_length(record.place.stored);
            let stays = survives(&record);
            whole += if stays { bytes } else { 0 };
            let count = match (record.kind, stays) {
                (Kind::Object, true) => &mut done.kept_objects,
                (Kind::Object, false) => &mut done.objects,
                (Kind::Receipt, true) => &mut done.kept_receipts,
                (Kind::Receipt, false) => &mut done.receipts,
            };
            *count += 1;
        })?;
        if whole < length {
            going.push(*number);
            done.freed += length - whole;
        }
    }
    let large: Vec<(Digest, PathBuf)> =
        large_files(folder).into_iter().filter(|(digest, _)| !objects.contains(digest)).collect();
    for (_, path) in &large {
        done.objects += 1;
        done.freed += std::fs::metadata(path).map_or(0, |meta| meta.len());
    }
    done.kept_objects += (large_files(folder).len() - large.len()) as u64;
    if dry {
        return Ok(done);
    }

    if !going.is_empty() {
        // Their shortcuts look at packs that go away.
        suspect::forget_settled(folder)?;
        let first = numbers.last().map_or(1, |last| last + 1);
        rewrite(folder, &going, first, &survives)?;
        // From here on the index is no index: it knows what is about to go.
        Index::move_aside(folder)?;
        for number in going.iter().rev() {
            remove(&pack::path(folder, *number))?;
        }
        sync(&folder.join("packs"))?;
    }
    for (_, path) in &large {
        remove(path)?;
    }
    if !going.is_empty() {
        rebuild_held(folder)?;
        let aside = folder.join("index.damaged");
        let _ = std::fs::remove_dir_all(aside);
    }
    // Whatever was damaged went with the packs it stood in.
    suspect::clear(folder)?;
    Ok(done)
}

/// Copies the survivors of `packs` into new packs from number `first` on.
fn rewrite(
    folder: &Path,
    packs: &[u32],
    first: u32,
    survives: &dyn Fn(&pack::Scanned) -> bool,
) -> Result<(), StoreError> {
    let mut new = NewPacks { folder, next: first, encoder: pack::Encoder::new(), open: None };
    for number in packs {
        let mut failed = None;
        pack::scan(folder, *number, 0, |record, payload| {
            if failed.is_none()
                && survives(&record)
                && let Some(payload) = payload()
            {
                failed = new.append(record.kind, &record.name, &payload).err();
            }
        })?;
        if let Some(err) = failed {
            return Err(err);
        }
    }
    new.publish()
}

/// Packs that are being written, each under a name that nobody reads until it is whole.
struct NewPacks<'a> {
    folder: &'a Path,
    next: u32,
    encoder: pack::Encoder,
    open: Option<(tempfile::NamedTempFile, BufWriter<File>, u64)>,
}

impl NewPacks<'_> {
    fn append(&mut self, kind: Kind, name: &Digest, payload: &[u8]) -> Result<(), StoreError> {
        let mut record = Vec::new();
        self.encoder.append(&mut record, kind, name, payload);
        let packs = self.folder.join("packs");
        let io = |source| StoreError::Io {
            doing: "writing in",
            path: packs.display().to_string(),
            source,
        };
        if self.open.is_none() {
            let file = tempfile::Builder::new().prefix("new-").tempfile_in(&packs).map_err(io)?;
            let writer = BufWriter::new(file.as_file().try_clone().map_err(io)?);
            self.open = Some((file, writer, 0));
        }
        if let Some((_, writer, length)) = &mut self.open {
            writer.write_all(&record).map_err(io)?;
            *length += record.len() as u64;
            if *length > pack::PACK_SIZE {
                self.publish()?;
            }
        }
        Ok(())
    }

    /// Syncs the pack that is being written and gives it its name.
    fn publish(&mut self) -> Result<(), StoreError> {
        let Some((file, mut writer, _)) = self.open.take() else {
            return Ok(());
        };
        let path = pack::path(self.folder, self.next);
        let io = |source| StoreError::Io {
            doing: "publishing",
            path: path.display().to_string(),
            source,
        };
        writer.flush().map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist_noclobber(&path).map_err(|err| io(err.error))?;
        self.next += 1;
        sync(&self.folder.join("packs"))
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    std::fs::remove_file(path).map_err(|source| StoreError::Io {
        doing: "removing",
        path: path.display().to_string(),
        source,
    })
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|dir| dir.sync_all()).map_err(|source| StoreError::Io {
        doing: "syncing",
        path: folder.display().to_string(),
        source,
    })
}
