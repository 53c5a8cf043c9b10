//! The store on disk, as its one writer sees it.
//!
//! `put` leaves its bytes in a queue, and `keep` appends them to a pack with the receipt that names
//! them, in the order in which they came ([`writer`]). A thread tells the index what was appended and
//! syncs a few times a second ([`settler`]), so that appending waits for neither. What is still on
//! its way is answered from memory. A process that is killed loses nothing that was appended; a machine
//! that loses power loses at most what was not synced yet, never half of anything.

mod large;
mod recent;
mod settler;
mod writer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::digest::{ByDigest, Digest};
use super::index::{Batch, Index};
use super::lock::Lock;
use super::objects::{Objects, StoreError};
use super::pack::{self, Kind, Place};
use super::receipt::{Receipt, Results};
use super::references::{Role, Walk};
use super::{filesystem, suspect};

use large::write_large;
pub(super) use large::{LARGE, large_path, read_large};
use recent::Recent;
use settler::Settler;
use writer::{Work, Writer};

/// An open store that may be written to.
pub struct Store {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    settling: Option<JoinHandle<()>>,
    /// What had to be mended at opening, one line each, for the person.
    pub notices: Vec<String>,
    _lock: Lock,
}

struct Shared {
    folder: PathBuf,
    index: Index,
    /// What the index does not know yet.
    objects: Mutex<ByDigest<Waiting<Arc<[u8]>>>>,
    receipts: Mutex<ByDigest<Waiting<Receipt>>>,
    recent: Recent,
    packs: Mutex<HashMap<u32, Arc<File>>>,
    failure: Mutex<Option<Failed>>,
    /// Whether damage was found, now or earlier (see [`suspect`]).
    suspect: AtomicBool,
    /// Whether it was found since the store was opened.
    found: AtomicBool,
    /// Where the keys of the receipts that a run uses are noted.
    uses: Mutex<Option<BufWriter<File>>>,
}

/// Why nothing more is written.
struct Failed {
    why: String,
    help: Option<&'static str>,
}

/// What was brought and is not in the index yet.
#[derive(Clone)]
enum Waiting<T> {
    /// It is on its way to the pack.
    Here(T),
    /// It stands there.
    At(Place),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io<'a>(doing: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { doing, path: path.display().to_string(), source }
}

impl Store {
    /// Opens the store in `folder` (`.claw`), making it if need be. `who` is shown to a second
    /// writer.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process writes to it; when the disk refuses.
    pub fn open(folder: &Path, who: &str) -> Result<Store, StoreError> {
        for part in ["packs", "objects", "runs"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(io("making", &path))?;
        }
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").map_err(io("writing", &ignore))?;
        }
        let held = Lock::take(folder, who)?;
        let index = Index::open(folder)?;
        let mut notices = Vec::new();
        notices.extend(filesystem::notice(folder));
        let (pack, offset) = catch_up(folder, &index, &mut notices)?;
        let suspected = suspect::read(folder).is_some();
        if suspected {
            notices.push("damage was found in the store; results are verified before use".into());
        }
        let shared = Arc::new(Shared {
            folder: folder.to_path_buf(),
            index,
            objects: Mutex::default(),
            receipts: Mutex::default(),
            recent: Recent::default(),
            packs: Mutex::default(),
            failure: Mutex::default(),
            suspect: AtomicBool::new(suspected),
            found: AtomicBool::new(false),
            uses: Mutex::default(),
        });
        let writer = Arc::new(Writer::open(shared.clone(), pack, offset)?);
        let settler = Settler::new(shared.clone(), writer.clone(), (pack, offset));
        let settling = std::thread::Builder::new()
            .name("claw-settle".into())
            .spawn(move || settler.work())
            .map_err(io("starting the writer of", folder))?;
        Ok(Store { shared, writer, settling: Some(settling), notices, _lock: held })
    }

    /// The folder it lives in.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Waits until everything that was put is safe even from a power cut.
    ///
    /// # Errors
    /// When the disk refused any of it.
    pub fn sync(&self) -> Result<(), StoreError> {
        let (reply, answer) = channel();
        self.bring(Work::Sync(reply))?;
        let _ = answer.recv();
        self.shared.healthy()
    }

    /// Whether the disk refused something, so that nothing more is written.
    pub fn has_failed(&self) -> bool {
        self.shared.healthy().is_err()
    }

    /// What to do about the error that stopped the store, if one did.
    pub fn help(&self) -> Option<&'static str> {
        lock(&self.shared.failure).as_ref()?.help
    }

    /// Whether a missing or damaged object was met since the store was opened. Whoever was stopped
    /// by one can start again: it will be made anew.
    pub fn found_damage(&self) -> bool {
        self.shared.found.load(Ordering::Relaxed)
    }

    /// After a run that has everything it needs: takes the note of damage away if what it names is
    /// good again. Says how many are not, for they belong to something else.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn trust_again(&self) -> Result<usize, StoreError> {
        if !self.shared.suspect.load(Ordering::Relaxed) {
            return Ok(0);
        }
        self.sync()?;
        let good = |digest: &Digest| {
            self.read_back(digest).is_ok() || matches!(self.kept(digest), Ok(Some(_)))
        };
        let named = suspect::read(self.folder()).unwrap_or_default();
        let left = named.iter().filter(|digest| !good(digest)).count();
        if left == 0 {
            suspect::clear(self.folder())?;
            self.shared.suspect.store(false, Ordering::Relaxed);
        }
        Ok(left)
    }

    /// Notes in this file the key of every receipt that is used or kept from now on: 32 bytes each,
    /// in no order, some twice. What a run used is what `claw gc` keeps for it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn note_uses(&self, path: &Path) -> Result<(), StoreError> {
        let file = File::create(path).map_err(io("writing", path))?;
        *lock(&self.shared.uses) = Some(BufWriter::new(file));
        Ok(())
    }

    /// Ends [`Store::note_uses`]; says whether the note is complete.
    pub fn end_uses(&self) -> bool {
        lock(&self.shared.uses).take().is_some_and(|mut uses| uses.flush().is_ok())
    }

    fn used(&self, key: &Digest) {
        let mut uses = lock(&self.shared.uses);
        if uses.as_mut().is_some_and(|uses| uses.write_all(&key.0).is_err()) {
            // A note with a gap would be worse than none.
            *uses = None;
        }
    }

    fn is_suspect(&self) -> bool {
        self.shared.suspect.load(Ordering::Relaxed)
    }

    /// Remembers that an object, or the receipt with a key, is missing or damaged.
    fn suspect(&self, what: &Digest) {
        self.shared.suspect.store(true, Ordering::Relaxed);
        self.shared.found.store(true, Ordering::Relaxed);
        // Without the note the next run meets the damage as this one did.
        let _ = suspect::add(self.folder(), [*what]);
    }

    /// An object, with nothing done about one that is bad.
    fn read(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        match self.shared.recent.get(digest) {
            Some(bytes) => Ok(bytes),
            None => self.read_back(digest),
        }
    }

    /// An object as it lies in the store, verified.
    fn read_back(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        match self.shared.find(digest)? {
            Some(Waiting::Here(bytes)) => Ok(bytes),
            Some(Waiting::At(place)) => {
                let file = self.shared.pack(place.pack, digest)?;
                Ok(pack::read(&file, place, digest)?.into())
            }
            None => read_large(&self.shared.folder, digest),
        }
    }

    /// The length of an object that is there, as its header or the file system tells it.
    fn length(&self, digest: &Digest) -> Result<u64, StoreError> {
        match self.shared.find(digest)? {
            Some(Waiting::Here(bytes)) => Ok(bytes.len() as u64),
            Some(Waiting::At(place)) => {
                pack::length(&*self.shared.pack(place.pack, digest)?, place, digest)
            }
            None => {
                let path = large_path(&self.shared.folder, digest);
                let there = std::fs::metadata(&path).map_err(|_| StoreError::Missing(*digest))?;
                Ok(there.len())
            }
        }
    }

    /// A receipt as it was kept, whether or not its result still is there.
    fn kept(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        let waiting = match lock(&self.shared.receipts).get(key) {
            Some(Waiting::Here(receipt)) => return Ok(Some(receipt.clone())),
            Some(Waiting::At(place)) => Some(*place),
            None => None,
        };
        let place = match waiting {
            Some(place) => Some(place),
            None => self.shared.index.receipt(key)?,
        };
        let Some(place) = place else {
            return Ok(None);
        };
        let read = self.shared.pack(place.pack, key).and_then(|file| pack::read(&file, place, key));
        let bytes = match read {
            Err(err @ StoreError::Io { .. }) => return Err(err),
            read => read.ok(),
        };
        let receipt = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if receipt.is_none() {
            lock(&self.shared.receipts).remove(key);
            self.shared.index.forget_receipt(key);
        }
        Ok(receipt)
    }

    /// Whether a result is there, down to its files.
    fn holds(&self, result: &Digest) -> bool {
        Walk::new(self).is_whole((Role::Value, *result))
    }

    /// Brings small objects, those that are not on their way already.
    fn bring_objects(&self, mut new: Vec<(Digest, Arc<[u8]>)>) -> Result<(), StoreError> {
        self.shared.healthy()?;
        let mut waiting = lock(&self.shared.objects);
        new.retain(|(digest, bytes)| match waiting.entry(*digest) {
            // One that stands in a pack but was found bad there is written again.
            Entry::Occupied(there) if matches!(there.get(), Waiting::Here(_)) => false,
            Entry::Occupied(mut there) => {
                there.insert(Waiting::Here(bytes.clone()));
                true
            }
            Entry::Vacant(room) => {
                room.insert(Waiting::Here(bytes.clone()));
                true
            }
        });
        if new.is_empty() {
            return Ok(());
        }
        self.shared.recent.add(&new);
        // Queued before anybody else can take them for brought: a receipt that names them comes later.
        let due = self.writer.queue(Work::Objects(new));
        drop(waiting);
        self.writer.go_on(due);
        Ok(())
    }

    fn append(&self, receipt: &Receipt) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(receipt)
            .map_err(|err| StoreError::Index(format!("a receipt cannot be written: {err}")))?;
        lock(&self.shared.receipts).insert(receipt.key, Waiting::Here(receipt.clone()));
        self.bring(match receipt.is_stage() {
            true => Work::StageReceipt(receipt.key, bytes),
            false => Work::CallReceipt(receipt.key, bytes),
        })
    }

    fn bring(&self, work: Work) -> Result<(), StoreError> {
        self.shared.healthy()?;
        let due = self.writer.queue(work);
        self.writer.go_on(due);
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The settler has what still waits written, syncs, and ends.
        self.writer.handover.close();
        if let Some(settling) = self.settling.take() {
            let _ = settling.join();
        }
    }
}

/// What [`rebuild`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Packs that were read.
    pub packs: usize,
    /// Objects found in them.
    pub objects: usize,
    /// Receipts found in them.
    pub receipts: usize,
    /// Whether an index was there, and now is in `index.damaged`.
    pub moved_aside: bool,
}

/// Makes the index anew from the packs; the one that was there is moved aside.
///
/// # Errors
/// [`StoreError::Locked`] when somebody writes to the store; when the disk refuses.
pub fn rebuild(folder: &Path, who: &str) -> Result<Rebuilt, StoreError> {
    let _held = Lock::take(folder, who)?;
    rebuild_held(folder)
}

/// The same by whoever holds the lock.
pub(super) fn rebuild_held(folder: &Path) -> Result<Rebuilt, StoreError> {
    let moved_aside = Index::move_aside(folder)?;
    let index = Index::open(folder)?;
    catch_up(folder, &index, &mut Vec::new())?;
    let (objects, receipts) = index.count()?;
    Ok(Rebuilt { packs: pack::list(folder).len(), objects, receipts, moved_aside })
}

/// Reads what the packs hold beyond what the index knows; says where to append.
fn catch_up(
    folder: &Path,
    index: &Index,
    notices: &mut Vec<String>,
) -> Result<(u32, u64), StoreError> {
    let packs = pack::list(folder);
    let known = index.end();
    let length =
        |pack: u32| std::fs::metadata(pack::path(folder, pack)).map_or(0, |meta| meta.len());
    if known.is_none() {
        // What it says of packs that are not there any more must not be believed.
        index.clear()?;
        if packs.iter().any(|pack| length(*pack) > 0) {
            notices.push("the index was missing or out of date and was made anew".to_string());
        }
    }
    let (first, from) = known.unwrap_or((1, 0));
    let mut end = (first, from);
    for number in packs.into_iter().filter(|number| *number >= first) {
        let start = if number == first { from } else { 0 };
        let mut batch = Batch::default();
        let good = pack::scan(folder, number, start, |record, _| match record.kind {
            Kind::Object => batch.objects.push((record.name, record.place)),
            Kind::Receipt => batch.receipts.push((record.name, record.place)),
        })?;
        let length = std::fs::metadata(pack::path(folder, number)).map_or(0, |meta| meta.len());
        // A torn end stays where it is; appending goes on in a new pack.
        end = if good < length { (number + 1, 0) } else { (number, good) };
        if batch.len() > 0 || known != Some(end) {
            index.add(&batch, end)?;
            index.save()?;
        }
    }
    Ok(end)
}

impl Shared {
    fn healthy(&self) -> Result<(), StoreError> {
        match &*lock(&self.failure) {
            Some(failed) => Err(StoreError::Stopped(failed.why.clone())),
            None => Ok(()),
        }
    }

    /// Does something unless an earlier attempt failed, and says whether it was done; remembers a
    /// failure, after which nothing more is written (a half-written record is the end of its pack).
    fn attempt(&self, what: impl FnOnce() -> Result<(), StoreError>) -> bool {
        if lock(&self.failure).is_some() {
            return false;
        }
        match what() {
            Ok(()) => true,
            Err(err) => {
                *lock(&self.failure) = Some(Failed { why: err.to_string(), help: err.help() });
                false
            }
        }
    }

    /// An object that is on its way, or where in a pack it should be; none when it is in no pack.
    fn find(&self, digest: &Digest) -> Result<Option<Waiting<Arc<[u8]>>>, StoreError> {
        if let Some(waiting) = lock(&self.objects).get(digest) {
            return Ok(Some(waiting.clone()));
        }
        Ok(self.index.object(digest)?.map(Waiting::At))
    }

    /// Whether an object is on its way or in a pack that is there.
    fn knows(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(match self.find(digest)? {
            Some(Waiting::Here(_)) => true,
            Some(Waiting::At(place)) => self.pack(place.pack, digest).is_ok(),
            None => false,
        })
    }

    /// A pack, for reading the record of that name in it.
    fn pack(&self, number: u32, name: &Digest) -> Result<Arc<File>, StoreError> {
        let mut packs = lock(&self.packs);
        if let Some(file) = packs.get(&number) {
            return Ok(file.clone());
        }
        let path = pack::path(&self.folder, number);
        let file = match File::open(&path) {
            Ok(file) => Arc::new(file),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("pack {number} is gone");
                return Err(StoreError::Damaged { digest: *name, what });
            }
            Err(err) => return Err(io("opening", &path)(err)),
        };
        packs.insert(number, file.clone());
        Ok(file)
    }
}

impl Objects for Store {
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        let read = self.read(digest);
        if let Err(StoreError::Missing(_) | StoreError::Damaged { .. }) = &read {
            // A bad object counts as absent: whoever makes it again may keep it again.
            lock(&self.shared.objects).remove(digest);
            self.shared.index.forget_object(digest);
            let _ = std::fs::remove_file(large_path(self.folder(), digest));
            self.suspect(digest);
        }
        read
    }

    fn size(&self, digest: &Digest) -> Result<u64, StoreError> {
        // What looks bad is met, and dealt with, by reading it.
        self.length(digest).or_else(|_| Ok(self.get(digest)?.len() as u64))
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let large = bytes.len() > LARGE;
        let known = if large {
            large_path(&self.shared.folder, &digest).exists()
        } else {
            self.shared.knows(&digest)?
        };
        if known && (!self.is_suspect() || self.get(&digest).is_ok()) {
            return Ok(digest);
        }
        if large {
            self.shared.healthy()?;
            // What the disk refuses once ends the run, as with small ones: no row is to blame.
            let mut failed = None;
            self.shared.attempt(|| {
                write_large(&self.shared.folder, &digest, bytes).inspect_err(|err| {
                    failed = Some(err.to_string());
                })
            });
            return failed.map_or(Ok(digest), |why| Err(StoreError::Stopped(why)));
        }
        self.bring_objects(vec![(digest, bytes.into())])?;
        Ok(digest)
    }

    fn put_all(&self, all: Vec<Vec<u8>>) -> Result<Vec<Digest>, StoreError> {
        let mut digests = Vec::with_capacity(all.len());
        let mut new = Vec::with_capacity(all.len());
        for bytes in all {
            let digest = Digest::of(&bytes);
            digests.push(digest);
            if bytes.len() > LARGE || self.is_suspect() {
                self.put(&bytes)?;
            } else if !self.shared.knows(&digest)? {
                new.push((digest, bytes.into()));
            }
        }
        self.bring_objects(new)?;
        Ok(digests)
    }
}

impl Results for Store {
    fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        let receipt = self.kept(key)?.filter(|receipt| {
            let mine = || lock(&self.shared.receipts).contains_key(key);
            let doubted = self.is_suspect() && !mine();
            !doubted || (!receipt.is_stage() && self.holds(&receipt.result))
        });
        if receipt.is_some() {
            self.used(key);
        }
        Ok(receipt)
    }

    fn keep(&self, receipt: &Receipt) -> Result<bool, StoreError> {
        self.used(&receipt.key);
        // One that lost its result, and cannot get it back by this work, makes room.
        if let Some(first) = self.kept(&receipt.key)?
            && (first.result == receipt.result || !self.is_suspect() || self.holds(&first.result))
        {
            return Ok(false);
        }
        self.append(receipt)?;
        Ok(true)
    }

    fn renew(&self, receipt: &Receipt) -> Result<(), StoreError> {
        self.used(&receipt.key);
        match self.kept(&receipt.key)? {
            Some(first) if first.result == receipt.result => Ok(()),
            // Of two in the packs the later one counts.
            _ => self.append(receipt),
        }
    }
}
