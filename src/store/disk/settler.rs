//! What was appended is settled in the background: a thread of its own syncs it and tells the index,
//! a few times a second, so that whoever appends waits for neither.

use std::fs::File;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::digest::{ByDigest, Digest};
use crate::store::index::Batch;
use crate::store::pack::Place;

use super::writer::Writer;
use super::{Shared, Waiting, io, lock};

/// How long written bytes may wait for a sync.
const SYNC_EVERY: Duration = Duration::from_millis(200);
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

/// What was appended and is not yet in the index, nor safe from a power cut.
#[derive(Default)]
pub(super) struct Appended {
    /// Packs with bytes that a power cut would take.
    pub(super) files: Vec<Arc<File>>,
    /// Where the packs end with it.
    pub(super) end: (u32, u64),
    pub(super) bytes: u64,
    pub(super) entries: Batch,
    pub(super) replies: Vec<Sender<()>>,
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

/// Where a [`Writer`] leaves what the [`Settler`] takes when it is time.
#[derive(Default)]
pub(super) struct Handover {
    left: Mutex<Left>,
    changed: Condvar,
}

#[derive(Default)]
struct Left {
    appended: Appended,
    /// Whether something waits to be appended, and nobody may come to do it.
    expecting: bool,
    /// Whether nothing more will come.
    closed: bool,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.appended.is_empty() && !self.expecting
    }

    fn is_due(&self) -> bool {
        self.closed || self.appended.is_much() || !self.appended.replies.is_empty()
    }
}

impl Handover {
    /// Leaves what was appended.
    pub(super) fn leave(&self, one: Appended) {
        let mut left = lock(&self.left);
        let was_empty = left.is_empty();
        left.appended.add(one);
        if was_empty || left.is_due() {
            self.changed.notify_all();
        }
    }

    /// Says that something waits to be appended.
    pub(super) fn expect(&self) {
        let mut left = lock(&self.left);
        let was_empty = left.is_empty();
        left.expecting = true;
        if was_empty {
            self.changed.notify_all();
        }
    }

    /// Waits while there is too much that was not taken yet.
    pub(super) fn keep_up(&self) {
        let mut left = lock(&self.left);
        while left.appended.is_times(BEHIND) {
            left = self.changed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        lock(&self.left).closed = true;
        self.changed.notify_all();
    }

    /// Waits until there is something and it is `due`; not so long when somebody waits for it or it
    /// is much. Whether more may come.
    fn wait(&self, due: Instant) -> bool {
        let mut left = lock(&self.left);
        while !left.is_due() {
            let patience = match left.is_empty() {
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
        left.expecting = false;
        !left.closed
    }

    fn take(&self) -> Option<Appended> {
        let one = std::mem::take(&mut lock(&self.left).appended);
        self.changed.notify_all();
        (!one.is_empty()).then_some(one)
    }
}

/// The other half of the writer: tells the index what was appended, and syncs.
pub(super) struct Settler {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    /// What the index does not know yet. It is told of much at once: each telling costs it more than
    /// a record does.
    unindexed: Appended,
    /// How often it was told since it was made to last.
    unsaved: u32,
}

impl Settler {
    /// Settles what a writer appended up to there and appends from now on.
    pub(super) fn new(shared: Arc<Shared>, writer: Arc<Writer>, end: (u32, u64)) -> Settler {
        Settler { shared, writer, unindexed: Appended { end, ..Appended::default() }, unsaved: 0 }
    }

    pub(super) fn work(mut self) {
        let mut synced = Instant::now();
        let mut open = true;
        while open {
            open = self.writer.handover.wait(synced + SYNC_EVERY);
            // Objects that no receipt has named yet.
            self.writer.write_unless_busy();
            let Some(mut one) = self.writer.handover.take() else {
                continue;
            };
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
fn forget_standing<T>(waiting: &mut ByDigest<Waiting<T>>, told: &[(Digest, Place)]) {
    for (name, told) in told {
        if matches!(waiting.get(name), Some(Waiting::At(place)) if place == told) {
            waiting.remove(name);
        }
    }
}
