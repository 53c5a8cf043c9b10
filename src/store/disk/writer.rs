//! The writer of a store: whoever brings something writes it.
//!
//! What is brought waits in a queue, objects until a call's receipt names them or there is plenty.
//! Whoever makes it due appends all that is there to the pack, in the order in which it came, in one
//! write; who comes meanwhile leaves that to them. So a call's receipt is out of this process as soon
//! as it is kept, and no thread has to be woken for that, which would cost more than the record does.
//! A whole stage's receipt says nothing that its calls' do not: it waits for the next of those, or
//! for the settler.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use crate::store::digest::Digest;
use crate::store::index::Batch;
use crate::store::objects::StoreError;
use crate::store::pack::{self, Kind, Place};

use super::settler::{Appended, Handover};
use super::{Shared, Waiting, io, lock};

/// Bytes that do not wait for a receipt to name them.
const PLENTY: usize = 64 << 10;
/// Bytes at which whoever brings more waits until they are written.
const MUCH: usize = 8 << 20;

/// Something to write.
pub(super) enum Work {
    /// Objects by their digests.
    Objects(Vec<(Digest, Arc<[u8]>)>),
    /// A call's receipt, encoded, by the key it answers.
    CallReceipt(Digest, Vec<u8>),
    /// A whole stage's, likewise.
    StageReceipt(Digest, Vec<u8>),
    /// Somebody waits until all that was brought before is synced.
    Sync(Sender<()>),
}

/// What was brought and is not written yet.
#[derive(Default)]
struct Queue {
    works: Vec<Work>,
    bytes: usize,
    /// Whether there is something that should not wait for company.
    urgent: bool,
}

impl Queue {
    fn push(&mut self, work: Work) {
        self.bytes += match &work {
            Work::Objects(objects) => objects.iter().map(|(_, bytes)| bytes.len()).sum(),
            Work::CallReceipt(_, bytes) | Work::StageReceipt(_, bytes) => bytes.len(),
            Work::Sync(_) => 0,
        };
        self.urgent |= matches!(work, Work::CallReceipt(..) | Work::Sync(_));
        self.works.push(work);
    }

    fn is_due(&self) -> bool {
        self.urgent || self.bytes >= PLENTY
    }
}

/// When what waits is to be written.
#[derive(Clone, Copy)]
pub(super) enum Due {
    /// With what comes later, or when the settler looks.
    Later,
    /// At once, by whoever writes.
    Soon,
    /// Before anything more is brought.
    Now,
}

/// Appends to the packs of a store.
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    appender: Mutex<Appender>,
    /// Where what was appended is left to be settled.
    pub(super) handover: Handover,
}

/// The pack that is being appended to.
struct Appender {
    file: Arc<File>,
    pack: u32,
    offset: u64,
    encoder: pack::Encoder,
}

impl Writer {
    /// A writer that goes on there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn open(shared: Arc<Shared>, pack: u32, offset: u64) -> Result<Writer, StoreError> {
        let file = open_pack(&shared.folder, pack)?;
        let encoder = pack::Encoder::new();
        Ok(Writer {
            shared,
            queue: Mutex::default(),
            appender: Mutex::new(Appender { file, pack, offset, encoder }),
            handover: Handover::default(),
        })
    }

    /// Takes something to write. [`Writer::go_on`] with what it says must follow.
    pub(super) fn queue(&self, work: Work) -> Due {
        let mut queue = lock(&self.queue);
        queue.push(work);
        match (queue.is_due(), queue.bytes >= MUCH) {
            (false, _) => Due::Later,
            (true, false) => Due::Soon,
            (true, true) => Due::Now,
        }
    }

    /// Writes what waits when it is time.
    pub(super) fn go_on(&self, due: Due) {
        match due {
            Due::Later => return self.handover.expect(),
            Due::Soon => self.write_unless_busy(),
            Due::Now => self.write(lock(&self.appender)),
        }
        self.handover.keep_up();
    }

    /// Writes what waits, due or not, unless somebody is writing.
    pub(super) fn write_unless_busy(&self) {
        match self.appender.try_lock() {
            Ok(appender) => self.write(appender),
            Err(TryLockError::Poisoned(appender)) => self.write(appender.into_inner()),
            // They look once more before they go.
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn write<'a>(&'a self, mut appender: MutexGuard<'a, Appender>) {
        loop {
            let works = std::mem::take(&mut *lock(&self.queue)).works;
            if !works.is_empty() {
                let appended = appender.append(works, &self.shared);
                self.handover.leave(appended);
            }
            drop(appender);
            // What came since was left to this thread if it came before the lock was given up.
            let (due, empty) = {
                let queue = lock(&self.queue);
                (queue.is_due(), queue.works.is_empty())
            };
            if !due {
                // The settler may have come by when this thread was busy, and gone again.
                if !empty {
                    self.handover.expect();
                }
                return;
            }
            appender = match self.appender.try_lock() {
                Ok(appender) => appender,
                Err(TryLockError::Poisoned(appender)) => appender.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
        }
    }
}

impl Appender {
    fn append(&mut self, works: Vec<Work>, shared: &Shared) -> Appended {
        let (out, mut appended) = self.encode(works);
        let path = shared.folder.join("packs");
        let written = shared.attempt(|| {
            (&*self.file).write_all(&out).map_err(io("writing", &path))?;
            self.offset += out.len() as u64;
            Ok(())
        });
        // What could not be written stays in memory, where this run still finds it.
        if written {
            shared.stand(&appended.entries);
            appended.files.push(self.file.clone());
            appended.bytes = out.len() as u64;
        } else {
            appended.entries = Batch::default();
        }
        appended.end = (self.pack, self.offset);
        if self.offset > pack::PACK_SIZE {
            shared.attempt(|| {
                self.file = open_pack(&shared.folder, self.pack + 1)?;
                (self.pack, self.offset) = (self.pack + 1, 0);
                Ok(())
            });
        }
        appended
    }

    /// All of it as bytes to append, and where each will stand.
    fn encode(&mut self, works: Vec<Work>) -> (Vec<u8>, Appended) {
        let mut out = Vec::new();
        let mut appended = Appended::default();
        let (pack, start) = (self.pack, self.offset);
        let mut record = |kind, name: &Digest, bytes: &[u8]| {
            let offset = start + out.len() as u64;
            let stored = self.encoder.append(&mut out, kind, name, bytes);
            (*name, Place { pack, offset, stored })
        };
        for work in works {
            match work {
                Work::Objects(objects) => {
                    let placed =
                        objects.iter().map(|(name, bytes)| record(Kind::Object, name, bytes));
                    appended.entries.objects.extend(placed);
                }
                Work::CallReceipt(key, bytes) | Work::StageReceipt(key, bytes) => {
                    appended.entries.receipts.push(record(Kind::Receipt, &key, &bytes));
                }
                Work::Sync(reply) => appended.replies.push(reply),
            }
        }
        (out, appended)
    }
}

impl Shared {
    /// Remembers where entries stand, in place of what they are.
    fn stand(&self, entries: &Batch) {
        let mut waiting = lock(&self.objects);
        for (digest, place) in &entries.objects {
            waiting.insert(*digest, Waiting::At(*place));
        }
        drop(waiting);
        let mut waiting = lock(&self.receipts);
        for (key, place) in &entries.receipts {
            waiting.insert(*key, Waiting::At(*place));
        }
    }
}

fn open_pack(folder: &Path, number: u32) -> Result<Arc<File>, StoreError> {
    let path = pack::path(folder, number);
    let file =
        OpenOptions::new().create(true).append(true).open(&path).map_err(io("opening", &path))?;
    let above = folder.join("packs");
    File::open(&above).and_then(|dir| dir.sync_all()).map_err(io("syncing", &above))?;
    Ok(Arc::new(file))
}
