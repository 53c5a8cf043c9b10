//! Calls as a look ahead answers them: from the store, by instant work, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use crate::lang::{CacheUse, Call, Value};
use crate::store::{Digest, Results};

use super::super::evaluate::{Caller, Stop};
use super::super::operator::{Args, Asks, Context, Kind, Pool, read_value};
use super::look::Look;
use super::written::place_of;
use super::{Ahead, STAGE_ROWS, Seen};

/// The caller of one row, or of one whole-table stage.
pub(super) struct AheadCaller<'a> {
    ahead: &'a Ahead<'a>,
    stage: Arc<str>,
    /// Whether the stage believes what the store has.
    cache: CacheUse,
    ran: AtomicBool,
    /// Whether a call was answered from the store.
    answered: AtomicBool,
    /// Calls made and rows read.
    steps: AtomicU64,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// The calls that were reached.
    met: BTreeSet<usize>,
    /// What those that are not in the store would ask, by operator.
    asked: Vec<(String, Asks)>,
    /// Whether one of those would be made by another row already.
    shared: bool,
}

impl Ahead<'_> {
    pub(super) fn caller<'a>(&'a self, look: &Look) -> AheadCaller<'a> {
        AheadCaller {
            ahead: self,
            stage: look.stage.clone(),
            cache: look.cache,
            ran: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            heard: Mutex::default(),
        }
    }
}

impl Ahead<'_> {
    /// Whether a call with this key is the first that would be made: equal ones are made once. Which
    /// of two stages makes it is not known before.
    fn is_first(&self, key: Digest, stage: &Arc<str>) -> bool {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = asking.by.get(&key).cloned() else {
            asking.by.insert(key, stage.clone());
            return true;
        };
        asking.shared.insert(first);
        false
    }
}

/// The calls that would be made, by key.
#[derive(Default)]
pub(super) struct Asking {
    /// The stage that was looked at first of those that make it.
    by: BTreeMap<Digest, Arc<str>>,
    /// Stages whose calls are made by others too.
    pub(super) shared: BTreeSet<Arc<str>>,
}

impl AheadCaller<'_> {
    /// Whether a run would count what was evaluated as made (as `RowCaller::made` does).
    pub(super) fn made(&self) -> bool {
        self.ran.load(Ordering::Relaxed) || !self.answered.load(Ordering::Relaxed)
    }

    /// Whether a call would be made that another row makes too: it is then made once.
    pub(super) fn shares(&self) -> bool {
        self.heard().shared
    }

    /// Whether it was stopped because it went too far.
    pub(super) fn is_over(&self) -> bool {
        self.steps.load(Ordering::Relaxed) > STAGE_ROWS
    }

    /// Whether a call was reached.
    pub(super) fn met(&self, place: usize) -> bool {
        self.heard().met.contains(&place)
    }

    /// What would be asked of models.
    pub(super) fn asked(&self) -> Vec<(String, Asks)> {
        self.heard().asked.clone()
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call or a row more; too many are unknown.
    fn step(&self) -> Result<(), Stop> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        if self.is_over() { Err(Stop::Unknown) } else { Ok(()) }
    }

    /// Marks the look as one that went too far.
    fn stop(&self) {
        self.steps.store(STAGE_ROWS + 1, Ordering::Relaxed);
    }
}

/// Whether a call's arguments hold more rows than are looked at.
fn is_large(args: &Args) -> bool {
    args.0.values().any(|arg| match arg {
        Value::Table(table) => table.rows.len() as u64 > STAGE_ROWS,
        Value::List(items) => items.len() as u64 > STAGE_ROWS,
        _ => false,
    })
}

impl Caller for AheadCaller<'_> {
    fn call<'a>(
        &'a self,
        call: &'a Call,
        args: Args,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Value, Stop>> {
        Box::pin(async move {
            self.heard().met.insert(place_of(call));
            self.step()?;
            let store = &self.ahead.store;
            let operator = self.ahead.operators.get(&call.operator)?;
            let narrowed = operator.reads(&args, &**store)?;
            let key = operator.key(&narrowed, attempt);
            let kind = operator.about().kind;
            // What is made again gives the same where it is pure; what a model says may be new.
            let same = self.cache == CacheUse::On || kind == Kind::Pure;
            if kind != Kind::Effect
                && same
                && let Ok(Some(receipt)) = store.receipt(&key)
                && let Ok(value) = read_value(&**store, &receipt.result)
            {
                let again = self.cache != CacheUse::On;
                if self.cache == CacheUse::Refresh {
                    self.heard().shared |= !self.ahead.is_first(key, &self.stage);
                }
                let what = if again { &self.ran } else { &self.answered };
                what.store(true, Ordering::Relaxed);
                return Ok(value);
            }
            self.ran.store(true, Ordering::Relaxed);
            // Equal calls are made once, unless the stage keeps nothing.
            let keeps = kind != Kind::Effect && self.cache != CacheUse::Off;
            let is_first = !keeps || self.ahead.is_first(key, &self.stage);
            self.heard().shared |= !is_first;
            if kind == Kind::Pure && operator.pool_of(&args) == Pool::Instant {
                if is_large(&args) {
                    self.stop();
                    return Err(Stop::Unknown);
                }
                let context = Context::quiet(store.clone(), key);
                return Ok(operator.call(&args, &context).await?);
            }
            if let Some(asks) = operator.asks(&args)
                && is_first
            {
                self.heard().asked.push((call.operator.clone(), asks));
            }
            Err(Stop::Unknown)
        })
    }

    fn stage<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Value, Stop>> {
        Box::pin(async move {
            match self.ahead.seen.get(name) {
                Some(Seen::Value(value)) => Ok(value.clone()),
                Some(Seen::Rows(_, unseen)) if *unseen > 0 => {
                    self.stop();
                    Err(Stop::Unknown)
                }
                _ => Err(Stop::Unknown),
            }
        })
    }

    fn hold(&self, items: u64) -> Result<(), Stop> {
        if items > STAGE_ROWS {
            self.stop();
            return Err(Stop::Unknown);
        }
        Ok(())
    }

    fn row(&self, digest: &Digest) -> Result<Value, Stop> {
        self.step()?;
        Ok(read_value(&*self.ahead.store, digest)?)
    }
}
