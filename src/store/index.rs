//! The index: where each object and receipt stands, and only what packs can tell.
//!
//! sled holds the receipts, and in one entry a [`Manifest`]: up to where the packs have been indexed
//! and which [`Segments`] hold the places of objects up to there. What packs hold beyond is read from
//! them at opening. An index that is missing, damaged or from an older copy is thereby mended without
//! a question, and no result ever depends on sled being durable.
//!
//! sled opens for one process. Readers get what they need beside it ([`Known`]): the manifest as a
//! file, and the places of receipts in segments too. They are told often, which syncs nothing; what
//! sled says is made to last now and then.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use super::digest::Digest;
use super::manifest::{self, Manifest};
use super::objects::StoreError;
use super::pack::Place;
use super::segments::Segments;

/// The index of one store. One process at a time.
pub(super) struct Index {
    /// There until it is dropped.
    trees: Option<Trees>,
    /// Whether anything may be forgotten, without which sled is not asked for every object.
    forgets: AtomicBool,
    /// Where sled writes.
    file: PathBuf,
    store: PathBuf,
    objects: Segments,
    /// What readers have in place of sled; never asked here.
    receipts: Segments,
    /// What was added since it was saved, and whether readers were told.
    told: Mutex<Option<(Manifest, bool)>>,
}

struct Trees {
    db: sled::Db,
    receipts: sled::Tree,
    /// Objects that count as absent, and the place that was found to be bad.
    forgotten: sled::Tree,
}

/// The folder of the segments and of what names them.
fn segments(store: &Path) -> PathBuf {
    store.join("index").join("segments")
}

/// What the index knows, for a reader: without sled, and without the lock.
pub(super) struct Known {
    /// What it was read from.
    pub(super) manifest: Manifest,
    objects: Segments,
    receipts: Segments,
}

impl Known {
    /// Opens what the writer left; `None` when nothing is there, or it is not for these packs.
    ///
    /// # Errors
    /// [`StoreError::Index`] when a segment that is named is gone or damaged.
    pub(super) fn open(store: &Path) -> Result<Option<Known>, StoreError> {
        let folder = segments(store);
        let Some(manifest) = Manifest::read(&folder).filter(|known| known.matches(store)) else {
            return Ok(None);
        };
        let objects = Segments::read(&folder.join("objects"), &manifest.objects)?;
        let receipts = Segments::read(&folder.join("receipts"), &manifest.receipts)?;
        Ok(Some(Known { manifest, objects, receipts }))
    }

    /// Whether the writer has left another one meanwhile.
    pub(super) fn is_old(&self, store: &Path) -> bool {
        Manifest::read(&segments(store)).as_ref() != Some(&self.manifest)
    }

    /// Where an object stands. Whether it is there, and is it, is for the pack to say.
    ///
    /// # Errors
    /// [`StoreError::Index`] when what had to be read is damaged.
    pub(super) fn object(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        self.objects.find(digest)
    }

    /// Where the last receipt for a key stands, likewise.
    ///
    /// # Errors
    /// As [`Known::object`].
    pub(super) fn receipt(&self, key: &Digest) -> Result<Option<Place>, StoreError> {
        self.receipts.find(key)
    }
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
            // Readers must not find it again after a power cut: what comes next may be other packs.
            Ok(()) => {
                let synced = std::fs::File::open(store).and_then(|folder| folder.sync_all());
                synced.map(|()| true).map_err(removing(store))
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => {
                Err(StoreError::Io { doing: "moving", path: path.display().to_string(), source })
            }
        }
    }

    fn open_once(store: &Path) -> Result<Index, StoreError> {
        let path = store.join("index");
        let (trees, state) = guarded(|| {
            let db = sled::Config::new()
                .path(&path)
                .cache_capacity(256 << 20)
                .flush_every_ms(Some(1000))
                .open()?;
            let receipts = db.open_tree("receipts")?;
            let forgotten = db.open_tree("forgotten")?;
            let state = db.get("state")?;
            let state = state.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
            // A tree that lost everything while the state survived must not pass for an empty one.
            let hollow = |state: &Manifest| !state.receipts.is_empty() && receipts.is_empty();
            let hollow = state.as_ref().is_some_and(hollow);
            let known = db.get("format")?.as_deref() == Some(manifest::FORMAT.as_bytes());
            if known && !hollow {
                return Ok((Trees { db, receipts, forgotten }, state));
            }
            db.remove("state")?;
            receipts.clear()?;
            forgotten.clear()?;
            db.insert("format", manifest::FORMAT)?;
            Ok((Trees { db, receipts, forgotten }, None))
        })?;
        let folder = segments(store);
        match &state {
            // What readers were left may be older, and name what is swept now.
            Some(state) if Manifest::read(&folder).as_ref() != Some(state) => {
                remove(&folder)?;
                let _ = state.leave(&folder);
            }
            Some(_) => {}
            None => empty(&folder)?,
        }
        let state = state.unwrap_or_default();
        let objects = Segments::open(&folder.join("objects"), &state.objects)?;
        let receipts = Segments::open(&folder.join("receipts"), &state.receipts)?;
        let (file, store) = (path.join("db"), store.to_path_buf());
        let forgets = AtomicBool::new(guarded(|| Ok(!trees.forgotten.is_empty()))?);
        Ok(Index {
            trees: Some(trees),
            forgets,
            file,
            store,
            objects,
            receipts,
            told: Mutex::default(),
        })
    }

    fn trees(&self) -> &Trees {
        self.trees.as_ref().expect("open until it is dropped")
    }

    /// Up to which pack and offset the packs have been indexed; none when it was other packs.
    pub(super) fn end(&self) -> Option<(u32, u64)> {
        let bytes = guarded(|| self.trees().db.get("state")).ok()??;
        let state: Manifest = serde_json::from_slice(&bytes).ok()?;
        state.matches(&self.store).then_some(state.end)
    }

    pub(super) fn object(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        let place = match self.objects.find(digest) {
            // Damaged since it was opened: what it knew counts as absent and is made again.
            Ok(None) | Err(StoreError::Index(_)) => return Ok(None),
            Ok(Some(place)) => place,
            Err(err) => return Err(err),
        };
        if !self.forgets.load(Ordering::Relaxed) {
            return Ok(Some(place));
        }
        let forgotten = guarded(|| self.trees().forgotten.get(digest.0))?;
        Ok((forgotten.as_deref() != Some(&place.encode())).then_some(place))
    }

    pub(super) fn receipt(&self, key: &Digest) -> Result<Option<Place>, StoreError> {
        let found = guarded(|| self.trees().receipts.get(key.0))?;
        Ok(found.and_then(|bytes| Place::decode(&bytes)))
    }

    /// How many objects and receipts it knows. Counts the receipts one by one.
    pub(super) fn count(&self) -> Result<(usize, usize), StoreError> {
        let receipts = guarded(|| Ok(self.trees().receipts.len()))?;
        Ok((self.objects.count() as usize, receipts))
    }

    /// Forgets everything.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // First what readers believe.
        remove(&segments(&self.store))?;
        guarded(|| {
            self.trees().db.remove("state")?;
            self.trees().forgotten.clear()?;
            self.trees().receipts.clear()
        })?;
        self.objects.clear();
        self.receipts.clear();
        Ok(())
    }

    /// Forgets an object, so that it counts as absent.
    pub(super) fn forget_object(&self, digest: &Digest) {
        if let Ok(Some(place)) = self.objects.find(digest) {
            self.forgets.store(true, Ordering::Relaxed);
            let _ = guarded(|| self.trees().forgotten.insert(digest.0, &place.encode()));
        }
    }

    /// Forgets a receipt likewise.
    pub(super) fn forget_receipt(&self, key: &Digest) {
        let _ = guarded(|| self.trees().receipts.remove(key.0));
    }

    /// Adds entries and tells readers that everything up to `end` is indexed. It stands in the packs
    /// already. Whoever opens the index next knows of it after [`Index::save`].
    pub(super) fn add(&self, batch: &Batch, end: (u32, u64)) -> Result<(), StoreError> {
        let mut entries = sled::Batch::default();
        batch.receipts.iter().for_each(|(key, place)| entries.insert(&key.0, &place.encode()));
        guarded(|| self.trees().receipts.apply_batch(entries))?;
        let manifest = Manifest {
            end,
            witness: manifest::witness(&self.store, end),
            objects: self.objects.add(batch.objects.clone())?,
            receipts: self.receipts.add(batch.receipts.clone())?,
        };
        let left = manifest.leave(&segments(&self.store)).is_ok();
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((manifest, left));
        Ok(())
    }

    /// Makes what was added last until after a power cut. Takes a disk's time.
    pub(super) fn save(&self) -> Result<(), StoreError> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((manifest, left)) = told else {
            return Ok(());
        };
        self.objects.sync()?;
        self.receipts.sync()?;
        let bytes =
            serde_json::to_vec(&manifest).map_err(|err| StoreError::Index(err.to_string()))?;
        guarded(|| {
            self.trees().db.insert("state", bytes)?;
            self.trees().db.flush().map(drop)
        })?;
        // sled's own flush leaves it to the system when the bytes reach the disk.
        let synced = std::fs::File::open(&self.file).and_then(|file| file.sync_data());
        // What was merged goes when neither sled nor a reader names it any more.
        if synced.is_ok() && left {
            self.objects.sweep();
            self.receipts.sweep();
        }
        Ok(())
    }
}

/// Takes away what readers believe.
fn remove(folder: &Path) -> Result<(), StoreError> {
    Manifest::remove(folder).map_err(removing(folder))
}

/// Takes away all segments, and what names them.
fn empty(folder: &Path) -> Result<(), StoreError> {
    remove(folder)?;
    match std::fs::remove_dir_all(folder) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(removing(folder)(err)),
        _ => Ok(()),
    }
}

fn removing(folder: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    move |source| StoreError::Io { doing: "removing", path: folder.display().to_string(), source }
}
