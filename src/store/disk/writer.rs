//! The background writer of a store: one thread that appends, and one that tells the index and syncs.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::store::digest::Digest;
use crate::store::index::Batch;
use crate::store::objects::StoreError;
use crate::store::pack::{self, Kind, Place};

use super::{Shared, Waiting, Work, io, lock};

/// How long written bytes may wait for a sync.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// Most bytes that one append takes.
const BATCH_BYTES: usize = 8 << 20;
/// Entries of which the index is told at once, at the latest. Until then they are known in memory;
/// every reader, and the next writer after a crash, gets them from the end of the packs, which of so
/// many takes milliseconds.
const INDEXING: usize = 16 << 10;
/// Bytes of packs that may be unindexed likewise, about.
const UNINDEXED: u64 = 16 << 20;
/// After how often telling the index it is made to last, which waits for the disk: as often as short
/// segments are merged into one, so that it is one that is synced. A crash leaves that much to read.
const SAVING: u32 = 8;
/// How many times as much may wait for the index before appending waits too.
const BEHIND: usize = 8;
/// How long the first record of an append waits for others. Waking a thread for each costs more than
/// the record does, on both sides.
const GATHER: Duration = Duration::from_millis(1);
/// Bytes that need not wait for others.
const PLENTY: usize = 64 << 10;

/// The background writer: owns the pack that is being appended to, and does nothing but append, so
/// that what is done is out of this process at once. What takes longer is the [`Settler`]'s.
pub(super) struct Appender {
    shared: Arc<Shared>,
    file: Arc<File>,
    pack: u32,
    offset: u64,
    handover: Arc<Handover>,
    settling: JoinHandle<()>,
}

/// What was appended and is not yet in the index, nor safe from a power cut.
#[derive(Default)]
struct Appended {
    /// Packs with bytes that a power cut would take.
    files: Vec<Arc<File>>,
    /// Where the packs end with it.
    end: (u32, u64),
    bytes: u64,
    entries: Batch,
    replies: Vec<Sender<()>>,
}

impl Appended {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.replies.is_empty()
    }

    /// Whether it is so much that the index should be told.
    fn is_much(&self) -> bool {
        self.is_times(1)
    }

    /// Whether it is that many times as much.
    fn is_times(&self, many: usize) -> bool {
        self.entries.len() >= many * INDEXING || self.bytes >= many as u64 * UNINDEXED
    }

    /// Adds what was appended after it.
    fn add(&mut self, later: Appended) {
        for file in later.files {
            if !self.files.iter().any(|known| Arc::ptr_eq(known, &file)) {
                self.files.push(file);
            }
        }
        self.end = later.end;
        self.bytes += later.bytes;
        self.entries.objects.extend(later.entries.objects);
        self.entries.receipts.extend(later.entries.receipts);
        self.replies.extend(later.replies);
    }
}

/// Where the [`Appender`] leaves what the [`Settler`] takes when it is time.
#[derive(Default)]
struct Handover {
    left: Mutex<Left>,
    changed: Condvar,
}

#[derive(Default)]
struct Left {
    appended: Appended,
    /// Whether nothing more will come.
    closed: bool,
}

impl Handover {
    /// Leaves something; waits first while there is much that was not taken yet.
    fn leave(&self, one: Appended) {
        let mut left = lock(&self.left);
        while left.appended.is_times(BEHIND) {
            left = self.changed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        let was_empty = left.appended.is_empty();
        left.appended.add(one);
        if was_empty || !left.appended.replies.is_empty() || left.appended.is_much() {
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        lock(&self.left).closed = true;
        self.changed.notify_all();
    }

    /// What was left by `due`; sooner when somebody waits for it or it is much; none when all is
    /// taken and nothing will come.
    fn take(&self, due: Instant) -> Option<Appended> {
        let mut left = lock(&self.left);
        loop {
            let now = &left.appended;
            if left.closed || now.is_much() || !now.replies.is_empty() {
                break;
            }
            let patience = match now.is_empty() {
                true => None,
                false => Some(due.saturating_duration_since(Instant::now())),
            };
            left = match patience {
                None => self.changed.wait(left).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(patience) => {
                    let waited = self.changed.wait_timeout(left, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let one = std::mem::take(&mut left.appended);
        self.changed.notify_all();
        (!one.is_empty()).then_some(one)
    }
}

impl Appender {
    pub(super) fn open(
        shared: Arc<Shared>,
        pack: u32,
        offset: u64,
    ) -> Result<Appender, StoreError> {
        let file = open_pack(&shared.folder, pack)?;
        let handover = Arc::new(Handover::default());
        let settling = Settler {
            shared: shared.clone(),
            handover: handover.clone(),
            unindexed: Appended { end: (pack, offset), ..Appended::default() },
            unsaved: 0,
        };
        let settling = std::thread::Builder::new()
            .name("claw-settle".into())
            .spawn(move || settling.work())
            .map_err(io("starting the writer of", &shared.folder))?;
        Ok(Appender { shared, file, pack, offset, handover, settling })
    }

    pub(super) fn work(mut self, receiver: &Receiver<Work>) {
        while let Ok(first) = receiver.recv() {
            if first.size() < PLENTY {
                std::thread::sleep(GATHER);
            }
            let (out, mut appended) = self.take(first, receiver);
            let path = self.shared.folder.join("packs");
            let written = self.shared.attempt(|| {
                (&*self.file).write_all(&out).map_err(io("writing", &path))?;
                self.offset += out.len() as u64;
                Ok(())
            });
            // What could not be written stays in memory, where this run still finds it.
            if written {
                self.shared.stand(&appended.entries);
                appended.files.push(self.file.clone());
                appended.bytes = out.len() as u64;
            } else {
                appended.entries = Batch::default();
            }
            appended.end = (self.pack, self.offset);
            self.handover.leave(appended);
            if self.offset > pack::PACK_SIZE {
                self.shared.attempt(|| {
                    self.file = open_pack(&self.shared.folder, self.pack + 1)?;
                    (self.pack, self.offset) = (self.pack + 1, 0);
                    Ok(())
                });
            }
        }
        self.handover.close();
        let _ = self.settling.join();
    }

    /// `first` and whatever else is waiting, as bytes to append.
    fn take(&self, first: Work, receiver: &Receiver<Work>) -> (Vec<u8>, Appended) {
        let mut out = Vec::new();
        let mut appended = Appended::default();
        let mut next = Some(first);
        while let Some(work) = next.take() {
            match work {
                Work::Objects(objects) => {
                    for (digest, bytes) in objects {
                        let offset = self.offset + out.len() as u64;
                        let stored = pack::append(&mut out, Kind::Object, &digest, &bytes);
                        let place = Place { pack: self.pack, offset, stored };
                        appended.entries.objects.push((digest, place));
                    }
                }
                Work::Receipt(key, bytes) => {
                    let offset = self.offset + out.len() as u64;
                    let stored = pack::append(&mut out, Kind::Receipt, &key, &bytes);
                    let place = Place { pack: self.pack, offset, stored };
                    appended.entries.receipts.push((key, place));
                }
                Work::Sync(reply) => {
                    appended.replies.push(reply);
                    break;
                }
            }
            if out.len() < BATCH_BYTES {
                next = receiver.try_recv().ok();
            }
        }
        (out, appended)
    }
}

/// The other half of the writer: tells the index what was appended, and syncs.
struct Settler {
    shared: Arc<Shared>,
    handover: Arc<Handover>,
    /// What the index does not know yet. It is told of much at once: each telling costs it more than
    /// a record does.
    unindexed: Appended,
    /// How often it was told since it was made to last.
    unsaved: u32,
}

impl Settler {
    fn work(mut self) {
        let mut synced = Instant::now();
        while let Some(mut one) = self.handover.take(synced + SYNC_EVERY) {
            for file in one.files.drain(..) {
                let packs = self.shared.folder.join("packs");
                self.shared.attempt(|| file.sync_data().map_err(io("syncing", &packs)));
            }
            synced = Instant::now();
            let replies = std::mem::take(&mut one.replies);
            self.unindexed.add(one);
            if self.unindexed.is_much() {
                self.index();
            }
            for reply in replies {
                let _ = reply.send(());
            }
        }
        self.index();
        if self.unsaved > 0 {
            self.save();
        }
    }

    /// Tells the index; from then on it answers, and memory need not.
    fn index(&mut self) {
        let Appended { end, entries, .. } = std::mem::take(&mut self.unindexed);
        self.unindexed.end = end;
        if entries.len() == 0 {
            return;
        }
        if self.shared.attempt(|| self.shared.index.add(&entries, end)) {
            forget_standing(&mut lock(&self.shared.objects), &entries.objects);
            forget_standing(&mut lock(&self.shared.receipts), &entries.receipts);
            self.unsaved += 1;
        }
        if self.unsaved >= SAVING {
            self.save();
        }
    }

    fn save(&mut self) {
        self.unsaved = 0;
        self.shared.attempt(|| self.shared.index.save());
    }
}

/// Leaves to the index what it was told; what was brought once more since then stands elsewhere.
fn forget_standing<T>(waiting: &mut HashMap<Digest, Waiting<T>>, told: &[(Digest, Place)]) {
    for (name, told) in told {
        if matches!(waiting.get(name), Some(Waiting::At(place)) if place == told) {
            waiting.remove(name);
        }
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
