//! The board: how far each stage is, for whoever looks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Where a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not reached yet.
    Waiting,
    /// Rows are being made.
    Running,
    /// Its whole result was in the store.
    Cached,
    /// Its result is complete.
    Done,
    /// It ended without a result.
    Failed,
}

/// The counters of one stage.
#[derive(Debug)]
pub struct Line {
    /// The stage's name.
    pub stage: String,
    /// Rows known to come so far.
    pub total: AtomicU64,
    /// Rows that there can be at most, as far as that is known; [`UNKNOWN`] where it is not.
    extent: AtomicU64,
    /// Rows answered from the store.
    pub cached: AtomicU64,
    /// Rows made in this run.
    pub ran: AtomicU64,
    /// Rows put aside.
    pub failed: AtomicU64,
    /// Those of them that failed for reasons outside of them: an endpoint, a sandbox, the disk.
    pub outside: AtomicU64,
    /// Rows for which no attempt of a `try` was accepted.
    pub dropped: AtomicU64,
    state: Mutex<(State, String)>,
}

/// A copy of a stage's counters.
#[derive(Debug, Clone, Serialize)]
pub struct Count {
    /// The stage's name.
    pub stage: String,
    /// Where it is.
    pub state: State,
    /// Rows known to come so far.
    pub total: u64,
    /// Rows that there can be at most, as far as that is known.
    #[serde(skip)]
    pub extent: Option<u64>,
    /// Rows answered from the store.
    pub cached: u64,
    /// Rows made in this run.
    pub ran: u64,
    /// Rows put aside.
    pub failed: u64,
    /// Those of them that failed for reasons outside of them: an endpoint, a sandbox, the disk.
    pub outside: u64,
    /// Rows for which no attempt of a `try` was accepted.
    pub dropped: u64,
    /// A word on how far a long call is, such as `step 40/1000, loss 0.61`.
    pub note: String,
}

/// All stages of a run, in the order in which they are shown.
#[derive(Debug, Default)]
pub struct Board {
    /// One line a stage.
    pub lines: Vec<Line>,
}

impl Board {
    /// A board on which nothing has begun.
    pub fn new(stages: impl Iterator<Item = String>) -> Board {
        let line = |stage| Line {
            stage,
            total: AtomicU64::new(0),
            extent: AtomicU64::new(UNKNOWN),
            cached: AtomicU64::new(0),
            ran: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            outside: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            state: Mutex::new((State::Waiting, String::new())),
        };
        Board { lines: stages.map(line).collect() }
    }

    /// The counters as they are now.
    pub fn counts(&self) -> Vec<Count> {
        self.lines.iter().map(Line::count).collect()
    }
}

/// An extent that is not known.
const UNKNOWN: u64 = u64::MAX;

impl Line {
    /// Rows that there can be at most, as far as that is known.
    pub fn extent(&self) -> Option<u64> {
        Some(self.extent.load(Ordering::Relaxed)).filter(|extent| *extent != UNKNOWN)
    }

    /// Says how many rows there can be at most, where that is known.
    pub fn reaches(&self, extent: Option<u64>) {
        self.extent.store(extent.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// Says that so many rows fewer can come: a condition left them out.
    pub fn leaves_out(&self, rows: u64) {
        let less = |extent| (extent != UNKNOWN).then_some(u64::saturating_sub(extent, rows));
        let _ = self.extent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Moves the stage to another state.
    pub fn set(&self, state: State) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = state;
    }

    /// Says how far a long call is.
    pub fn note(&self, note: String) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = note;
    }

    /// A copy of the counters.
    pub fn count(&self) -> Count {
        let (state, note) = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Count {
            stage: self.stage.clone(),
            state,
            total: self.total.load(Ordering::Relaxed),
            extent: self.extent(),
            cached: self.cached.load(Ordering::Relaxed),
            ran: self.ran.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            outside: self.outside.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            note,
        }
    }
}
