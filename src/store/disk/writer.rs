//! The background writer of a store: one thread that appends, and one that tells the index and syncs.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
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
/// Entries of which the index is told at once, at the latest. Until then they are known in memory,
/// and after a crash from reading the end of the packs.
const INDEXING: usize = 64 << 10;
/// Bytes of packs that a crash may leave unindexed, about.
const UNINDEXED: u64 = 256 << 20;
/// Appends that may wait for the index.
const SETTLING: usize = 64;

/// The background writer: owns the pack that is being appended to, and does nothing but append, so
/// that what is done is out of this process at once. What takes longer is the [`Settler`]'s.
pub(super) struct Appender {
    shared: Arc<Shared>,
    file: Arc<File>,
    pack: u32,
    offset: u64,
    settler: SyncSender<Appended>,
    settling: JoinHandle<()>,
}

/// What was appended and is not yet in the index, nor safe from a power cut.
struct Appended {
    file: Arc<File>,
    /// Where the packs end with it.
    end: (u32, u64),
    bytes: u64,
    entries: Batch,
    replies: Vec<Sender<()>>,
}

impl Appender {
    pub(super) fn open(
        shared: Arc<Shared>,
        pack: u32,
        offset: u64,
    ) -> Result<Appender, StoreError> {
        let file = open_pack(&shared.folder, pack)?;
        let (settler, appended) = sync_channel(SETTLING);
        let settling = Settler {
            shared: shared.clone(),
            unsynced: Vec::new(),
            entries: Batch::default(),
            bytes: 0,
            end: (pack, offset),
        };
        let settling = std::thread::Builder::new()
            .name("claw-settle".into())
            .spawn(move || settling.work(&appended))
            .map_err(io("starting the writer of", &shared.folder))?;
        Ok(Appender { shared, file, pack, offset, settler, settling })
    }

    pub(super) fn work(mut self, receiver: &Receiver<Work>) {
        while let Ok(first) = receiver.recv() {
            let (out, mut appended) = self.take(first, receiver);
            let path = pack::path(&self.shared.folder, self.pack);
            let written = self.shared.attempt(|| {
                (&*self.file).write_all(&out).map_err(io("writing", &path))?;
                self.offset += out.len() as u64;
                Ok(())
            });
            // What could not be written stays in memory, where this run still finds it.
            if written {
                self.shared.stand(&appended.entries);
                appended.bytes = out.len() as u64;
            } else {
                let replies = std::mem::take(&mut appended.replies);
                appended = Appended { replies, ..self.nothing() };
            }
            appended.end = (self.pack, self.offset);
            if self.settler.send(appended).is_err() {
                break;
            }
            if self.offset > pack::PACK_SIZE {
                self.shared.attempt(|| {
                    self.file = open_pack(&self.shared.folder, self.pack + 1)?;
                    (self.pack, self.offset) = (self.pack + 1, 0);
                    Ok(())
                });
            }
        }
        drop(self.settler);
        let _ = self.settling.join();
    }

    fn nothing(&self) -> Appended {
        Appended {
            file: self.file.clone(),
            end: (self.pack, self.offset),
            bytes: 0,
            entries: Batch::default(),
            replies: Vec::new(),
        }
    }

    /// `first` and whatever else is waiting, as bytes to append.
    fn take(&self, first: Work, receiver: &Receiver<Work>) -> (Vec<u8>, Appended) {
        let mut out = Vec::new();
        let mut appended = self.nothing();
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
    /// Packs with bytes that a power cut would take.
    unsynced: Vec<Arc<File>>,
    /// What the index does not know yet, and up to where the packs go with it. It is told of many
    /// at once: each telling costs it more than a record does.
    entries: Batch,
    bytes: u64,
    end: (u32, u64),
}

impl Settler {
    fn work(mut self, appended: &Receiver<Appended>) {
        let mut synced = Instant::now();
        loop {
            let next = if self.unsynced.is_empty() {
                appended.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                appended.recv_timeout(SYNC_EVERY.saturating_sub(synced.elapsed()))
            };
            let mut replies = Vec::new();
            match next {
                Ok(one) => replies = self.settle(one),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !replies.is_empty() || synced.elapsed() >= SYNC_EVERY {
                self.sync();
                synced = Instant::now();
            }
            for reply in replies {
                let _ = reply.send(());
            }
        }
        self.sync();
        self.index();
    }

    fn settle(&mut self, one: Appended) -> Vec<Sender<()>> {
        let Appended { file, end, bytes, entries, replies } = one;
        if !self.unsynced.iter().any(|known| Arc::ptr_eq(known, &file)) {
            self.unsynced.push(file);
        }
        self.entries.objects.extend(entries.objects);
        self.entries.receipts.extend(entries.receipts);
        self.bytes += bytes;
        self.end = end;
        if self.entries.len() >= INDEXING || self.bytes >= UNINDEXED {
            self.index();
        }
        replies
    }

    /// Tells the index; from then on it answers, and memory need not.
    fn index(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.bytes = 0;
        if entries.len() == 0 {
            return;
        }
        if self.shared.attempt(|| self.shared.index.add(&entries, self.end)) {
            forget_standing(&mut lock(&self.shared.objects), &entries.objects);
            forget_standing(&mut lock(&self.shared.receipts), &entries.receipts);
        }
    }

    fn sync(&mut self) {
        for file in self.unsynced.drain(..) {
            let packs = self.shared.folder.join("packs");
            self.shared.attempt(|| file.sync_data().map_err(io("syncing", &packs)));
        }
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
