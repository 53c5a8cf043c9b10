//! The index: where each object and receipt stands, and only what packs can tell.
//!
//! sled holds the receipts, and in one entry up to where the packs have been indexed and which
//! [`Segments`] hold the places of objects up to there. What packs hold beyond is read from them at
//! opening. An index that is missing, damaged or from an older copy is thereby mended without a
//! question, and no result ever depends on sled being durable.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::digest::Digest;
use super::objects::StoreError;
use super::pack::Place;
use super::segments::Segments;

/// Version of what the trees hold; another one means that the index is made anew.
const FORMAT: &[u8] = b"claw index 2";

/// The index of one store. One process at a time.
pub(super) struct Index {
    /// There until it is dropped.
    trees: Option<Trees>,
    /// Where sled writes.
    file: PathBuf,
    segments: Segments,
}

struct Trees {
    db: sled::Db,
    receipts: sled::Tree,
    /// Objects that count as absent, and the place that was found to be bad.
    forgotten: sled::Tree,
}

/// What sled says of the whole, in one entry.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct State {
    /// Pack and offset up to which everything is indexed.
    end: (u32, u64),
    /// Whether there are receipts among it.
    receipts: bool,
    /// The numbers of the segments, the oldest first.
    segments: Vec<u32>,
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
        let trees = self.trees.take();
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
    pub(super) objects: Vec<(Digest, Place)>,
    pub(super) receipts: Vec<(Digest, Place)>,
}

impl Batch {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.objects.len() + self.receipts.len()
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
        let (trees, mut state) = guarded(|| {
            let db = sled::Config::new()
                .path(&path)
                .cache_capacity(256 << 20)
                .flush_every_ms(Some(1000))
                .open()?;
            let receipts = db.open_tree("receipts")?;
            let forgotten = db.open_tree("forgotten")?;
            let state = db.get("state")?;
            let state = state.and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
            // A tree that lost everything while the state survived must not pass for an empty one.
            let hollow = state.as_ref().is_some_and(|state| state.receipts && receipts.is_empty());
            let known = db.get("format")?.as_deref() == Some(FORMAT);
            if known && !hollow {
                return Ok((Trees { db, receipts, forgotten }, state));
            }
            db.remove("state")?;
            receipts.clear()?;
            forgotten.clear()?;
            db.insert("format", FORMAT)?;
            Ok((Trees { db, receipts, forgotten }, None))
        })?;
        let folder = path.join("segments");
        let named = state.take().map_or_else(Vec::new, |state| state.segments);
        let segments = Segments::open(&folder, &named)?;
        Ok(Index { trees: Some(trees), file: path.join("db"), segments })
    }

    fn trees(&self) -> &Trees {
        self.trees.as_ref().expect("open until it is dropped")
    }

    fn state(&self) -> Option<State> {
        let bytes = guarded(|| self.trees().db.get("state")).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Up to which pack and offset the packs have been indexed.
    pub(super) fn end(&self) -> Option<(u32, u64)> {
        Some(self.state()?.end)
    }

    pub(super) fn object(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        let Some(place) = self.segments.find(digest)? else {
            return Ok(None);
        };
        let forgotten = guarded(|| {
            let forgotten = &self.trees().forgotten;
            if forgotten.is_empty() { Ok(None) } else { forgotten.get(digest.0) }
        })?;
        Ok((forgotten.as_deref() != Some(&place.encode())).then_some(place))
    }

    pub(super) fn receipt(&self, key: &Digest) -> Result<Option<Place>, StoreError> {
        let found = guarded(|| self.trees().receipts.get(key.0))?;
        Ok(found.and_then(|bytes| Place::decode(&bytes)))
    }

    /// How many objects and receipts it knows. Counts the receipts one by one.
    pub(super) fn count(&self) -> Result<(usize, usize), StoreError> {
        let receipts = guarded(|| Ok(self.trees().receipts.len()))?;
        Ok((self.segments.count() as usize, receipts))
    }

    /// Forgets everything.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        guarded(|| {
            self.trees().db.remove("state")?;
            self.trees().forgotten.clear()?;
            self.trees().receipts.clear()
        })?;
        self.segments.clear();
        Ok(())
    }

    /// Forgets an object, so that it counts as absent.
    pub(super) fn forget_object(&self, digest: &Digest) {
        if let Ok(Some(place)) = self.segments.find(digest) {
            let _ = guarded(|| self.trees().forgotten.insert(digest.0, &place.encode()));
        }
    }

    /// Forgets a receipt likewise.
    pub(super) fn forget_receipt(&self, key: &Digest) {
        let _ = guarded(|| self.trees().receipts.remove(key.0));
    }

    /// Adds entries and then says that everything up to `end` is indexed.
    pub(super) fn add(&self, batch: &Batch, end: (u32, u64)) -> Result<(), StoreError> {
        let had = self.state().is_some_and(|state| state.receipts);
        let receipts = had || !batch.receipts.is_empty();
        let mut entries = sled::Batch::default();
        batch.receipts.iter().for_each(|(key, place)| entries.insert(&key.0, &place.encode()));
        let segments = self.segments.add(batch.objects.clone())?;
        let state = serde_json::to_vec(&State { end, receipts, segments })
            .map_err(|err| StoreError::Index(err.to_string()))?;
        guarded(|| {
            self.trees().receipts.apply_batch(entries)?;
            self.trees().db.insert("state", state)?;
            self.trees().db.flush().map(drop)
        })?;
        // sled's own flush leaves it to the system when the bytes reach the disk.
        let synced = std::fs::File::open(&self.file).and_then(|file| file.sync_data());
        if synced.is_ok() {
            self.segments.sweep();
        }
        Ok(())
    }
}
