//! The index: where each object and receipt stands. Kept in sled, and only what packs can tell.
//!
//! sled is treated as a cache of the packs: `end` says up to where they have been indexed, the rest
//! is read from them at opening. An index that is missing, damaged or from an older copy is thereby
//! mended without a question, and no result ever depends on sled being durable.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Once;

use super::digest::Digest;
use super::objects::StoreError;
use super::pack::Place;

/// Version of what the trees hold; another one means that the index is made anew.
const FORMAT: &[u8] = b"claw index 1";

/// The index of one store. One process at a time.
pub(super) struct Index(Option<Trees>);

struct Trees {
    db: sled::Db,
    objects: sled::Tree,
    receipts: sled::Tree,
}

thread_local! {
    /// Whether this thread is inside sled, whose panics are answers here and no news for a person.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Asks sled something. It panics on some kinds of damage, and when a disk refuses to sync, instead
/// of returning an error; that is caught here and told as one.
fn guarded<T>(ask: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StoreError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                before(panic);
            }
        }));
    });
    INSIDE.set(true);
    let answer = std::panic::catch_unwind(AssertUnwindSafe(ask));
    INSIDE.set(false);
    match answer {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(StoreError::Index("sled could not go on with its files".to_string())),
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let trees = self.0.take();
        // What sled cannot save now is read from the packs at the next opening.
        let _ = guarded(|| {
            drop(trees);
            Ok(())
        });
    }
}

/// Entries to add together.
#[derive(Default)]
pub(super) struct Batch {
    objects: sled::Batch,
    receipts: sled::Batch,
}

impl Batch {
    pub(super) fn object(&mut self, digest: &Digest, place: Place) {
        self.objects.insert(&digest.0, &place.encode());
    }

    pub(super) fn receipt(&mut self, key: &Digest, place: Place) {
        self.receipts.insert(&key.0, &place.encode());
    }
}

fn failed(err: sled::Error) -> StoreError {
    match err {
        sled::Error::Io(source) => {
            StoreError::Io { doing: "using", path: "the index".to_string(), source }
        }
        other => StoreError::Index(other.to_string()),
    }
}

/// Whether an error of the system tells of the files' content: sled reports a short or senseless
/// file as an error of reading.
fn is_damage(err: &StoreError) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    let StoreError::Io { source, .. } = err else { return true };
    source.raw_os_error().is_none()
        && matches!(source.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

impl Index {
    /// Opens the index below the store's folder; one that cannot be opened is moved aside and made
    /// anew (the caller then finds `end()` empty and reads the packs).
    pub(super) fn open(store: &Path) -> Result<Index, StoreError> {
        match Index::open_once(store) {
            Ok(index) => Ok(index),
            // The disk said no; that says nothing about the index.
            Err(err @ StoreError::Io { .. }) if !is_damage(&err) => Err(err),
            Err(_) => {
                Index::move_aside(store)?;
                Index::open_once(store)
            }
        }
    }

    /// Moves the index to `index.damaged`; says whether there was one.
    pub(super) fn move_aside(store: &Path) -> Result<bool, StoreError> {
        let (path, aside) = (store.join("index"), store.join("index.damaged"));
        let _ = std::fs::remove_dir_all(&aside);
        match std::fs::rename(&path, &aside) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => {
                Err(StoreError::Io { doing: "moving", path: path.display().to_string(), source })
            }
        }
    }

    fn open_once(store: &Path) -> Result<Index, StoreError> {
        let path = store.join("index");
        let trees = guarded(|| {
            let db = sled::Config::new()
                .path(&path)
                .cache_capacity(256 << 20)
                .flush_every_ms(Some(1000))
                .open()?;
            let trees = Trees {
                objects: db.open_tree("objects")?,
                receipts: db.open_tree("receipts")?,
                db,
            };
            // A tree that lost everything while `end` survived must not pass for an empty store.
            let end = trees.db.get("end")?.and_then(|bytes| Place::decode(&bytes));
            let begun = end.is_some_and(|end| (end.pack, end.offset) != (1, 0));
            let hollow = begun && trees.objects.is_empty() && trees.receipts.is_empty();
            if hollow || trees.db.get("format")?.as_deref() != Some(FORMAT) {
                trees.objects.clear()?;
                trees.receipts.clear()?;
                trees.db.remove("end")?;
                trees.db.insert("format", FORMAT)?;
            }
            Ok(trees)
        })?;
        Ok(Index(Some(trees)))
    }

    fn trees(&self) -> &Trees {
        self.0.as_ref().expect("open until it is dropped")
    }

    /// Up to which pack and offset the packs have been indexed.
    pub(super) fn end(&self) -> Option<(u32, u64)> {
        let place = Place::decode(&guarded(|| self.trees().db.get("end")).ok()??)?;
        Some((place.pack, place.offset))
    }

    pub(super) fn object(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        let found = guarded(|| self.trees().objects.get(digest.0))?;
        Ok(found.and_then(|bytes| Place::decode(&bytes)))
    }

    pub(super) fn receipt(&self, key: &Digest) -> Result<Option<Place>, StoreError> {
        let found = guarded(|| self.trees().receipts.get(key.0))?;
        Ok(found.and_then(|bytes| Place::decode(&bytes)))
    }

    /// How many objects and receipts it knows. Counts them one by one.
    pub(super) fn count(&self) -> Result<(usize, usize), StoreError> {
        guarded(|| Ok((self.trees().objects.len(), self.trees().receipts.len())))
    }

    /// Forgets everything.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        guarded(|| {
            self.trees().db.remove("end")?;
            self.trees().objects.clear()?;
            self.trees().receipts.clear()
        })
    }

    /// Forgets an object, so that it counts as absent.
    pub(super) fn forget_object(&self, digest: &Digest) {
        let _ = guarded(|| self.trees().objects.remove(digest.0));
    }

    /// Forgets a receipt likewise.
    pub(super) fn forget_receipt(&self, key: &Digest) {
        let _ = guarded(|| self.trees().receipts.remove(key.0));
    }

    /// Adds entries and then says that everything up to `end` is indexed.
    pub(super) fn add(&self, batch: Batch, end: (u32, u64)) -> Result<(), StoreError> {
        let place = Place { pack: end.0, offset: end.1, stored: 0 };
        guarded(|| {
            self.trees().objects.apply_batch(batch.objects)?;
            self.trees().receipts.apply_batch(batch.receipts)?;
            self.trees().db.insert("end", &place.encode()).map(drop)
        })
    }
}
