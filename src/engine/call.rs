//! One call of a run: key, look-up, else the work, with retries, in its pool.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::lang::{CacheUse, Call, Policy, Secrets, Value};
use crate::store::{Digest, Objects, Receipt, Results, Store};

use super::board::Board;
use super::budget::Budget;
use super::evaluate::{Caller, Stop};
use super::journal::Journal;
use super::log::{Event, RunLog};
use super::operator::{Args, CallError, Cancel, Context, Kind, Operator, read_value};
use super::output::{Output, keep_tables};
use super::pools::{Held, Pools};
use super::secrets::{CallSecrets, Guarded};
use super::turns::Turns;

/// The pause before a first further attempt when the stage's policy does not say.
const BACKOFF_MS: u64 = 500;

/// The operators that a program may call, by name.
#[derive(Clone, Default)]
pub struct Operators {
    by_name: HashMap<&'static str, Arc<dyn Operator>>,
    offline: bool,
}

impl Operators {
    /// A registry of these.
    pub fn new(operators: impl IntoIterator<Item = Arc<dyn Operator>>) -> Operators {
        let by_name =
            operators.into_iter().map(|operator| (operator.about().name, operator)).collect();
        Operators { by_name, offline: false }
    }

    /// The same where nobody outside may be asked: what is recorded is answered from the store, or
    /// not at all; what is pure is computed.
    #[must_use]
    pub fn offline(self) -> Operators {
        Operators { offline: true, ..self }
    }

    /// The operator of that name.
    ///
    /// # Errors
    /// When the library declares an operator that this program does not have.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Operator>, CallError> {
        self.by_name.get(name).ok_or_else(|| {
            CallError::row(format!("the library declares `{name}`, which this claw does not have"))
        })
    }

    /// An operator's version; 0 for an unknown one.
    pub fn version(&self, name: &str) -> u32 {
        self.by_name.get(name).map_or(0, |operator| operator.about().version)
    }
}

/// What all calls of a run share.
pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    pub(super) operators: Operators,
    pub(super) pools: Pools,
    /// Turns to compute rows that no call makes.
    pub(super) turns: Arc<Turns>,
    pub(super) cancel: Cancel,
    pub(super) board: Arc<Board>,
    pub(super) log: Arc<RunLog>,
    pub(super) outputs: HashMap<String, Arc<Output>>,
    /// What the run may spend.
    pub(super) budget: Option<Arc<Budget>>,
    /// What the program's secrets are.
    pub(super) secrets: Arc<Secrets>,
    /// Keys that are being worked on, so that equal calls are made once.
    pub(super) working: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    /// Keys whose results this run has renewed: equal calls share the new one.
    pub(super) renewed: Mutex<HashSet<Digest>>,
}

impl Shared {
    /// Keeps a receipt as the stage's policy says: beside earlier ones (of which the first counts),
    /// in place of them, or not at all.
    pub(super) fn keep(&self, receipt: &Receipt, cache: CacheUse) -> Result<(), CallError> {
        match cache {
            CacheUse::Off => {}
            CacheUse::On => drop(self.store.keep(receipt)?),
            CacheUse::Refresh => {
                self.store.renew(receipt)?;
                let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
                renewed.insert(receipt.key);
            }
        }
        Ok(())
    }
}

/// The caller of one row, or of one whole-table stage.
pub(super) struct RowCaller {
    pub(super) shared: Arc<Shared>,
    /// The stage's line on the board.
    pub(super) line: usize,
    pub(super) policy: Arc<Policy>,
    /// What the stage may spend.
    pub(super) budget: Option<Arc<Budget>>,
    /// Set when any call was not answered from the store.
    pub(super) ran: AtomicBool,
    /// Set when any call was.
    pub(super) answered: AtomicBool,
    /// The last `try` that gave nothing: how many attempts it made, and what was wrong.
    pub(super) gave_up: Mutex<Option<(u32, String)>>,
}

impl Caller for RowCaller {
    fn call<'a>(
        &'a self,
        call: &'a Call,
        args: Args,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Value, Stop>> {
        Box::pin(async move { Ok(self.answer(call, args, attempt).await?) })
    }

    fn gave_up(&self, attempts: u32, why: &str) {
        let mut gave_up = self.gave_up.lock().unwrap_or_else(PoisonError::into_inner);
        *gave_up = Some((attempts, why.to_string()));
    }

    fn stage<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Value, Stop>> {
        Box::pin(async move {
            let output =
                self.shared.outputs.get(name).ok_or_else(|| {
                    CallError::row(format!("stage `{name}` is not part of this run"))
                })?;
            Ok(output.value(&*self.shared.store).await?)
        })
    }

    fn row(&self, digest: &Digest) -> Result<Value, Stop> {
        Ok(read_value(&*self.shared.store, digest)?)
    }
}

impl RowCaller {
    /// Whether what was evaluated counts as made, and not as from the store: a call of it was made, or
    /// it holds none.
    pub(super) fn made(&self) -> bool {
        self.ran.load(Ordering::Relaxed) || !self.answered.load(Ordering::Relaxed)
    }

    fn stage_name(&self) -> String {
        self.shared.board.lines[self.line].stage.clone()
    }

    async fn answer(&self, call: &Call, args: Args, attempt: u32) -> Result<Value, CallError> {
        let shared = &self.shared;
        let operator = shared.operators.get(&call.operator)?;
        let narrowed = operator.reads(&args, &*shared.store)?;
        let key = operator.key(&narrowed, attempt);
        let kept = operator.about().kind != Kind::Effect;
        // Without a network a recorded answer is all there is, whatever the policy says.
        let only_recorded = shared.operators.offline && operator.about().kind == Kind::Recorded;
        // Before the store is asked: an equal call that is being made will have kept its result.
        let shares = kept && (only_recorded || self.policy.cache != CacheUse::Off);
        let _turn = if shares { Some(Turn::of(shared, key).await) } else { None };
        if kept
            && (only_recorded || self.believes(&key))
            && let Some(value) = self.look_up(&key)?
        {
            self.answered.store(true, Ordering::Relaxed);
            return Ok(value);
        }
        if only_recorded {
            return Err(not_recorded(&**operator, &args));
        }
        let secrets = CallSecrets::of(call, &args, &shared.secrets)?;
        self.ran.store(true, Ordering::Relaxed);
        let began = Instant::now();
        let value = self.attempts(operator, &args, key, secrets).await?;
        // Whatever the receipt names, down to the rows, is on its way before it.
        keep_tables(&*shared.store, &value)?;
        let result = shared.store.put(&value.encode())?;
        if kept {
            let receipt = Receipt {
                key,
                operator: operator.about().name.to_string(),
                version: operator.about().version,
                parts: narrowed.0.iter().map(|(name, arg)| (name.clone(), arg.digest())).collect(),
                result,
                took_ms: began.elapsed().as_millis() as u64,
                run: shared.log.info.id.clone(),
            };
            shared.keep(&receipt, self.policy.cache)?;
        }
        Ok(value)
    }

    /// Whether a kept result under this key may be used.
    fn believes(&self, key: &Digest) -> bool {
        let renewed = || self.shared.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        match self.policy.cache {
            CacheUse::On => true,
            CacheUse::Off => false,
            CacheUse::Refresh => renewed().contains(key),
        }
    }

    /// The kept result. One whose bytes are gone or damaged counts as absent.
    fn look_up(&self, key: &Digest) -> Result<Option<Value>, CallError> {
        let Some(receipt) = self.shared.store.receipt(key)? else {
            return Ok(None);
        };
        Ok(read_value(&*self.shared.store, &receipt.result).ok())
    }

    async fn attempts(
        &self,
        operator: &Arc<dyn Operator>,
        args: &Args,
        key: Digest,
        secrets: CallSecrets,
    ) -> Result<Value, CallError> {
        let shared = &self.shared;
        let line = self.line;
        let board = shared.board.clone();
        let mut context = Context {
            objects: shared.store.clone(),
            key,
            threads: shared.pools.threads(),
            held: Held::default(),
            cancel: shared.cancel.clone(),
            budget: self.budget.clone(),
            journal: (self.policy.cache == CacheUse::On || shared.operators.offline)
                .then(|| Journal::new(shared.store.clone(), shared.log.info.id.clone())),
            offline: shared.operators.offline,
            secrets,
            progress: Arc::new(move |done, total, word| {
                board.lines[line].note(format!("{done}/{total} {word}"));
            }),
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let made = if context.secrets.is_empty() {
                self.once(operator, args, &context).await
            } else {
                let guard = Arc::new(Guarded::new(shared.store.clone(), context.secrets.clone()));
                context.objects = guard.clone();
                let made = self.once(operator, args, &context).await;
                context.secrets.cleared(made, &guard)
            };
            let err = match made {
                Ok(value) => return Ok(value),
                Err(err) => err,
            };
            // A pure call that failed would fail again in the same way.
            let again = match &err {
                CallError::Infrastructure(_) => true,
                CallError::Row { .. } => operator.about().kind == Kind::Recorded,
                CallError::Budget(_) | CallError::Offline(_) | CallError::Cancelled => false,
            };
            if !again || attempt > self.policy.retries {
                return Err(err);
            }
            if shared.cancel.is_cancelled() {
                // It may well have worked at the next attempt: that is no failure.
                return Err(CallError::Cancelled);
            }
            shared.log.write(&Event::Retry {
                stage: self.stage_name(),
                attempt,
                error: err.to_string(),
            });
            tokio::time::sleep(pause(self.policy.backoff_ms.unwrap_or(BACKOFF_MS), attempt, &key))
                .await;
        }
    }

    async fn once(
        &self,
        operator: &Arc<dyn Operator>,
        args: &Args,
        context: &Context,
    ) -> Result<Value, CallError> {
        let pool = operator.pool_of(args);
        let held = self.shared.pools.take(pool, &self.policy.resources).await?;
        let context = &Context { held, ..context.clone() };
        if self.shared.cancel.is_cancelled() {
            return Err(CallError::Cancelled);
        }
        let work = operator.call(args, context);
        match self.policy.timeout_ms {
            None => work.await,
            Some(limit) => match tokio::time::timeout(Duration::from_millis(limit), work).await {
                Ok(done) => done,
                Err(_) => Err(CallError::Infrastructure(format!(
                    "`{}` took longer than the stage's timeout of {limit} ms",
                    operator.about().name
                ))),
            },
        }
    }
}

/// The turn to make a call: equal calls of a run wait for one another.
struct Turn<'a> {
    shared: &'a Shared,
    key: Digest,
    _mine: tokio::sync::OwnedMutexGuard<()>,
}

impl<'a> Turn<'a> {
    async fn of(shared: &'a Shared, key: Digest) -> Turn<'a> {
        let one = {
            let mut working = shared.working.lock().unwrap_or_else(PoisonError::into_inner);
            working.entry(key).or_default().clone()
        };
        Turn { shared, key, _mine: one.lock_owned().await }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut working = self.shared.working.lock().unwrap_or_else(PoisonError::into_inner);
        // The list has it and this turn; who else has it waits.
        if working.get(&self.key).is_some_and(|one| Arc::strong_count(one) == 2) {
            working.remove(&self.key);
        }
    }
}

/// Characters of a question that are shown.
const QUESTION: usize = 200;

/// What a call would have asked, had it been allowed to.
fn not_recorded(operator: &dyn Operator, args: &Args) -> CallError {
    let name = operator.about().name;
    let asks = operator.asks(args);
    let whom = asks.as_ref().and_then(|asks| asks.remote()).unwrap_or("a model");
    let mut question = asks.as_ref().and_then(|asks| asks.text.clone()).unwrap_or_default();
    if let Some((end, _)) = question.char_indices().nth(QUESTION) {
        question.truncate(end);
        question.push('…');
    }
    CallError::Offline(format!(
        "no answer is recorded, and without a network none can be had: `{name}` would ask `{whom}`: \
         {question:?}"
    ))
}

/// Exponential backoff with jitter from the key, so that rows that failed together do not come back
/// together.
fn pause(backoff_ms: u64, attempt: u32, key: &Digest) -> Duration {
    let full = backoff_ms.saturating_mul(1 << attempt.min(10)).min(60_000);
    let jitter = key.seed().wrapping_add(u64::from(attempt)) % (full / 2 + 1);
    Duration::from_millis(full / 2 + jitter)
}
