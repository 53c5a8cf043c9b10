//! The store on disk, as its one writer sees it.
//!
//! `put` and `keep` hand their bytes to a background thread and return at once; the thread appends
//! them to a pack in the order in which they came and syncs a few times a second. What is still on
//! its way is answered from memory. A process that is killed loses nothing that was appended; a
//! machine that loses power loses at most what was not synced yet, never half of anything.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::digest::Digest;
use super::index::{Batch, Index};
use super::lock::Lock;
use super::objects::{Objects, StoreError};
use super::pack::{self, Kind, Place};
use super::receipt::{Receipt, Results};

/// Objects longer than this are files of their own.
pub(super) const LARGE: usize = 4 << 20;
/// How long written bytes may wait for a sync.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// Most bytes that one append takes.
const BATCH_BYTES: usize = 8 << 20;

/// An open store that may be written to.
pub struct Store {
    shared: Arc<Shared>,
    sender: Option<Sender<Work>>,
    writer: Option<JoinHandle<()>>,
    /// What had to be mended at opening, one line each, for the person.
    pub notices: Vec<String>,
    _lock: Lock,
}

struct Shared {
    folder: PathBuf,
    index: Index,
    objects: Mutex<HashMap<Digest, Arc<[u8]>>>,
    receipts: Mutex<HashMap<Digest, Receipt>>,
    packs: Mutex<HashMap<u32, Arc<File>>>,
    failure: Mutex<Option<String>>,
}

enum Work {
    Object(Digest, Arc<[u8]>),
    Receipt(Digest, Vec<u8>),
    Sync(Sender<()>),
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
        let (pack, offset) = catch_up(folder, &index, &mut notices)?;
        let shared = Arc::new(Shared {
            folder: folder.to_path_buf(),
            index,
            objects: Mutex::default(),
            receipts: Mutex::default(),
            packs: Mutex::default(),
            failure: Mutex::default(),
        });
        let (sender, receiver) = channel();
        let mut appender = Appender::open(shared.clone(), pack, offset)?;
        let writer = std::thread::Builder::new()
            .name("claw-store".into())
            .spawn(move || appender.work(&receiver))
            .map_err(io("starting the writer of", folder))?;
        Ok(Store { shared, sender: Some(sender), writer: Some(writer), notices, _lock: held })
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
        self.send(Work::Sync(reply))?;
        let _ = answer.recv();
        self.shared.healthy()
    }

    fn send(&self, work: Work) -> Result<(), StoreError> {
        self.shared.healthy()?;
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(work).is_ok());
        if sent { Ok(()) } else { Err(StoreError::Stopped("the writer is gone".into())) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Closing the channel lets the writer finish what it has and sync.
        drop(self.sender.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Reads what the packs hold beyond what the index knows; says where to append.
fn catch_up(
    folder: &Path,
    index: &Index,
    notices: &mut Vec<String>,
) -> Result<(u32, u64), StoreError> {
    let packs = pack::list(folder);
    let known = index.end().filter(|(pack, offset)| {
        let length = std::fs::metadata(pack::path(folder, *pack)).map_or(0, |meta| meta.len());
        *offset <= length
    });
    let length =
        |pack: u32| std::fs::metadata(pack::path(folder, pack)).map_or(0, |meta| meta.len());
    if known.is_none() && packs.iter().any(|pack| length(*pack) > 0) {
        notices.push("the index was missing or out of date and was made anew".to_string());
    }
    let (first, from) = known.unwrap_or((1, 0));
    let mut end = (first, from);
    for number in packs.into_iter().filter(|number| *number >= first) {
        let start = if number == first { from } else { 0 };
        let mut batch = Batch::default();
        let good = pack::scan(folder, number, start, |record, _| match record.kind {
            Kind::Object => batch.object(&record.name, record.place),
            Kind::Receipt => batch.receipt(&record.name, record.place),
        })?;
        let length = std::fs::metadata(pack::path(folder, number)).map_or(0, |meta| meta.len());
        // A torn end stays where it is; appending goes on in a new pack.
        end = if good < length { (number + 1, 0) } else { (number, good) };
        index.add(batch, end)?;
    }
    Ok(end)
}

impl Shared {
    fn healthy(&self) -> Result<(), StoreError> {
        match &*lock(&self.failure) {
            Some(why) => Err(StoreError::Stopped(why.clone())),
            None => Ok(()),
        }
    }

    fn pack(&self, number: u32) -> Result<Arc<File>, StoreError> {
        let mut packs = lock(&self.packs);
        if let Some(file) = packs.get(&number) {
            return Ok(file.clone());
        }
        let path = pack::path(&self.folder, number);
        let file = Arc::new(File::open(&path).map_err(io("opening", &path))?);
        packs.insert(number, file.clone());
        Ok(file)
    }
}

/// Path of a large object.
pub(super) fn large_path(folder: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    folder.join("objects").join(&name[..2]).join(&name[2..])
}

/// Reads a large object and checks it.
pub(super) fn read_large(folder: &Path, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
    let path = large_path(folder, digest);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Missing(*digest));
        }
        Err(err) => return Err(io("reading", &path)(err)),
    };
    if Digest::of(&bytes) != *digest {
        return Err(StoreError::Damaged { digest: *digest, what: "its bytes differ".into() });
    }
    Ok(bytes.into())
}

/// Publishes a large object create-only: temporary file, sync, link, sync of the folder.
fn write_large(folder: &Path, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
    let path = large_path(folder, digest);
    let above = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(above).map_err(io("making", above))?;
    let mut temporary = tempfile::NamedTempFile::new_in(above).map_err(io("writing in", above))?;
    temporary.write_all(bytes).map_err(io("writing", &path))?;
    temporary.as_file().sync_all().map_err(io("syncing", &path))?;
    match temporary.persist_noclobber(&path) {
        Ok(_) => {}
        Err(err) if err.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(err) => return Err(io("publishing", &path)(err.error)),
    }
    File::open(above).and_then(|dir| dir.sync_all()).map_err(io("syncing", above))
}

impl Objects for Store {
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        if let Some(bytes) = lock(&self.shared.objects).get(digest) {
            return Ok(bytes.clone());
        }
        match self.shared.index.object(digest)? {
            Some(place) => {
                let file = self.shared.pack(place.pack)?;
                Ok(pack::read(&file, place, digest)?.into())
            }
            None => read_large(&self.shared.folder, digest),
        }
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if bytes.len() > LARGE {
            if !large_path(&self.shared.folder, &digest).exists() {
                write_large(&self.shared.folder, &digest, bytes)?;
            }
            return Ok(digest);
        }
        if lock(&self.shared.objects).contains_key(&digest)
            || self.shared.index.object(&digest)?.is_some()
        {
            return Ok(digest);
        }
        let bytes: Arc<[u8]> = bytes.into();
        if lock(&self.shared.objects).insert(digest, bytes.clone()).is_none() {
            self.send(Work::Object(digest, bytes))?;
        }
        Ok(digest)
    }
}

impl Results for Store {
    fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        if let Some(receipt) = lock(&self.shared.receipts).get(key) {
            return Ok(Some(receipt.clone()));
        }
        let Some(place) = self.shared.index.receipt(key)? else {
            return Ok(None);
        };
        let file = self.shared.pack(place.pack)?;
        Ok(pack::read(&file, place, key).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn keep(&self, receipt: &Receipt) -> Result<bool, StoreError> {
        if self.receipt(&receipt.key)?.is_some() {
            return Ok(false);
        }
        let bytes = serde_json::to_vec(receipt)
            .map_err(|err| StoreError::Index(format!("a receipt cannot be written: {err}")))?;
        lock(&self.shared.receipts).insert(receipt.key, receipt.clone());
        self.send(Work::Receipt(receipt.key, bytes))?;
        Ok(true)
    }
}

/// The background writer: owns the pack that is being appended to.
struct Appender {
    shared: Arc<Shared>,
    file: File,
    pack: u32,
    offset: u64,
}

impl Appender {
    fn open(shared: Arc<Shared>, pack: u32, offset: u64) -> Result<Appender, StoreError> {
        let path = pack::path(&shared.folder, pack);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io("opening", &path))?;
        let above = shared.folder.join("packs");
        File::open(&above).and_then(|dir| dir.sync_all()).map_err(io("syncing", &above))?;
        Ok(Appender { shared, file, pack, offset })
    }

    fn work(&mut self, receiver: &Receiver<Work>) {
        let mut dirty = false;
        loop {
            let first = match receiver.recv_timeout(SYNC_EVERY) {
                Ok(work) => Some(work),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let Some(first) = first else {
                if dirty {
                    self.attempt(Appender::sync);
                    dirty = false;
                }
                continue;
            };
            dirty = true;
            let replies = self.take(first, receiver);
            if !replies.is_empty() {
                self.attempt(Appender::sync);
                dirty = false;
            }
            for reply in replies {
                let _ = reply.send(());
            }
        }
        if dirty {
            self.attempt(Appender::sync);
        }
    }

    /// Appends `first` and whatever else is waiting; gives the waiting syncs.
    fn take(&mut self, first: Work, receiver: &Receiver<Work>) -> Vec<Sender<()>> {
        let mut out = Vec::new();
        let mut batch = Batch::default();
        let mut objects = Vec::new();
        let mut receipts = Vec::new();
        let mut replies = Vec::new();
        let mut next = Some(first);
        while let Some(work) = next.take() {
            let offset = self.offset + out.len() as u64;
            match work {
                Work::Object(digest, bytes) => {
                    let stored = pack::append(&mut out, Kind::Object, &digest, &bytes);
                    batch.object(&digest, Place { pack: self.pack, offset, stored });
                    objects.push(digest);
                }
                Work::Receipt(key, bytes) => {
                    let stored = pack::append(&mut out, Kind::Receipt, &key, &bytes);
                    batch.receipt(&key, Place { pack: self.pack, offset, stored });
                    receipts.push(key);
                }
                Work::Sync(reply) => {
                    replies.push(reply);
                    break;
                }
            }
            if out.len() < BATCH_BYTES {
                next = receiver.try_recv().ok();
            }
        }
        self.attempt(|appender| appender.append(&out, batch));
        if lock(&self.shared.failure).is_none() {
            let mut pending = lock(&self.shared.objects);
            objects.iter().for_each(|digest| drop(pending.remove(digest)));
            let mut pending = lock(&self.shared.receipts);
            receipts.iter().for_each(|key| drop(pending.remove(key)));
        }
        replies
    }

    fn append(&mut self, out: &[u8], batch: Batch) -> Result<(), StoreError> {
        let path = pack::path(&self.shared.folder, self.pack);
        self.file.write_all(out).map_err(io("writing", &path))?;
        self.offset += out.len() as u64;
        self.shared.index.add(batch, (self.pack, self.offset))?;
        if self.offset > pack::PACK_SIZE {
            self.sync()?;
            *self = Appender::open(self.shared.clone(), self.pack + 1, 0)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let path = pack::path(&self.shared.folder, self.pack);
        self.file.sync_data().map_err(io("syncing", &path))
    }

    /// Does something unless an earlier attempt failed; remembers a failure, after which nothing
    /// more is written (a half-written record is the end of its pack).
    fn attempt(&mut self, what: impl FnOnce(&mut Appender) -> Result<(), StoreError>) {
        if lock(&self.shared.failure).is_some() {
            return;
        }
        if let Err(err) = what(self) {
            *lock(&self.shared.failure) = Some(err.to_string());
        }
    }
}
