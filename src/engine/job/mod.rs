//! The work of one stage in a run: rows as they come, or one value when everything is there.

mod failures;
mod filtered;
mod numbers;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::future::BoxFuture;
use petgraph::graph::NodeIndex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::lang::{
    self, CacheUse, Expr, ExprKind, For, Function, Policy, Stage, Type, Value, references,
};
use crate::plan::{Plan, stage_key};
use crate::store::{Digest, Objects, Receipt, Results};

use super::board::State;
use super::budget::Budget;
use super::call::{RowCaller, Shared};
use super::caught::caught;
use super::evaluate::{Rows, Scope, Stop, evaluate, flatten, rows_of};
use super::log::Event;
use super::operator::{CallError, read_value};
use super::output::{End, Output, Place, Reader, keep_value};
use super::plain::Plain;
use super::turns::Turn;
use super::unanswered::Unanswered;
pub(super) use failures::Origin;

/// Rows of one stage that may be in flight at once when its policy does not say.
const IN_FLIGHT: usize = 64;

/// Rows that are taken from a stage at once, when there are as many.
const AT_ONCE: usize = 256;

/// One stage's work in a run.
pub(super) struct Job {
    plan: Arc<Plan>,
    pub(super) shared: Arc<Shared>,
    node: NodeIndex,
    line: usize,
    policy: Arc<Policy>,
    /// What its policy lets it spend.
    budget: Option<Arc<Budget>>,
    pub(super) output: Arc<Output>,
    /// The row failures that the policy does not forgive.
    failure: std::sync::Mutex<Option<String>>,
    /// Rows whose answers are not recorded, in a run that asks nobody.
    unanswered: Unanswered,
    /// Why the first row failed that failed for a reason outside of it.
    outside: OnceLock<String>,
    /// What its rows came from, once all of them came, and the places of those put aside.
    source: std::sync::Mutex<Option<numbers::Source>>,
    aside: std::sync::Mutex<Vec<Place>>,
    /// Set when a row could not be made because what it reads has no result.
    cut_off: AtomicBool,
    /// Set when no further row should start.
    pub(super) give_up: AtomicBool,
    /// Rows that were started, those that a condition left out among them.
    pub(super) started: AtomicU64,
    /// Set when there is no further row to start.
    all_started: AtomicBool,
    /// Set when the first rows were good enough for the rest.
    gate_passed: AtomicBool,
}

/// The key of a stage, if all that it reads is complete.
pub(super) fn known_key(stage: &Stage, shared: &Shared) -> Option<Digest> {
    let known = &shared.outputs[&stage.name].key;
    if let Some(key) = known.get() {
        return Some(*key);
    }
    let mut upstream = std::collections::HashMap::new();
    for name in references(&stage.expr) {
        match shared.outputs.get(&name)?.ended()? {
            End::Value(digest) => upstream.insert(name, digest),
            End::Nothing => return None,
        };
    }
    let version = |operator: &str| shared.operators.version(operator);
    Some(*known.get_or_init(|| stage_key(&stage.expr, &version, &|name| upstream[name])))
}

/// The rows of a kept result, read from the first bytes of its encoding where it is a table.
pub(super) fn row_count(objects: &dyn Objects, result: &Digest) -> u64 {
    match objects.get(result) {
        Ok(bytes) => table_rows(&bytes).unwrap_or(1),
        Err(_) => 0,
    }
}

/// The number of rows in the encoding of a table value, without reading the table.
pub(super) fn table_rows(encoded: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(encoded).ok()?;
    let rest = text.strip_prefix("{\"$table\":\"")?;
    rest.split_once("\"rows\":")?.1.strip_suffix('}')?.parse().ok()
}

impl Job {
    /// The work of the stage at `node`, whose line on the board is number `line`.
    pub(super) fn new(
        plan: &Arc<Plan>,
        shared: &Arc<Shared>,
        node: NodeIndex,
        line: usize,
        policy: Policy,
    ) -> Job {
        let output = shared.outputs[&plan.stage(node).name].clone();
        Job {
            plan: plan.clone(),
            shared: shared.clone(),
            node,
            line,
            budget: Budget::within(policy.budget, shared.budget.as_ref()),
            policy: Arc::new(policy),
            output,
            failure: Default::default(),
            unanswered: Unanswered::default(),
            outside: OnceLock::new(),
            source: Default::default(),
            aside: Default::default(),
            cut_off: AtomicBool::new(false),
            give_up: AtomicBool::new(false),
            started: AtomicU64::new(0),
            all_started: AtomicBool::new(false),
            gate_passed: AtomicBool::new(false),
        }
    }

    pub(super) fn stage(&self) -> &Stage {
        self.plan.stage(self.node)
    }

    pub(super) fn board(&self) -> &super::board::Line {
        &self.shared.board.lines[self.line]
    }

    /// Waits for this stage's turn to compute rows.
    pub(super) async fn turn(&self) -> Turn {
        self.shared.turns.take(self.line).await
    }

    pub(super) fn caller(&self) -> RowCaller {
        RowCaller {
            shared: self.shared.clone(),
            line: self.line,
            policy: self.policy.clone(),
            budget: self.budget.clone(),
            ran: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            gave_up: Default::default(),
        }
    }

    /// Makes the stage; says why it has no result when that is its own fault.
    pub(super) async fn work(self: &Arc<Self>) -> Option<String> {
        let made = caught(async {
            match &self.stage().expr.kind {
                ExprKind::For(_) => self.rows().await,
                ExprKind::Filter(..) if filtered::streams(&self.plan, self.stage()) => {
                    self.rows().await
                }
                _ => self.one().await,
            }
        });
        let made = made.await;
        let count = self.board().count();
        let (result, rows, message) = match made {
            Ok((digest, rows)) => (Some(digest), rows, None),
            Err(CallError::Cancelled) => (None, 0, None),
            // What is recorded elsewhere is still made.
            Err(err @ CallError::Offline(_)) => (None, 0, Some(err.to_string())),
            Err(err) => {
                self.shared.cancel.cancel();
                (None, 0, Some(err.to_string()))
            }
        };
        self.board().set(if result.is_some() { State::Done } else { State::Failed });
        self.shared.log.write(&Event::StageEnded {
            stage: self.stage().name.clone(),
            rows,
            ran: count.ran,
            cached: count.cached,
            failed: count.failed,
            result,
        });
        self.output.end(result.map_or(End::Nothing, End::Value));
        message
    }

    /// Any other stage: one value, made when everything it reads is complete.
    async fn one(self: &Arc<Self>) -> Result<(Digest, u64), CallError> {
        for name in references(&self.stage().expr) {
            self.shared.outputs[&name].digest().await?;
        }
        if let Some(result) = self.look_up()? {
            let rows = row_count(&*self.shared.store, &result);
            self.board().total.store(rows, Ordering::Relaxed);
            self.board().cached.store(rows, Ordering::Relaxed);
            return Ok((result, rows));
        }
        self.board().total.store(1, Ordering::Relaxed);
        self.board().set(State::Running);
        let began = Instant::now();
        let caller = self.caller();
        let stage = self.stage();
        match evaluate(&caller, &stage.expr, Scope::default()).await {
            Ok(value) => {
                let is_table = matches!(stage.ty, Type::List(_));
                let (digest, rows) = keep_value(&*self.shared.store, value, is_table)?;
                let line = self.board();
                line.total.store(rows, Ordering::Relaxed);
                let counter = if caller.made() { &line.ran } else { &line.cached };
                counter.store(rows, Ordering::Relaxed);
                if caller.ran.load(Ordering::Relaxed) {
                    self.shared.log.write(&Event::Row {
                        stage: stage.name.clone(),
                        place: Vec::new(),
                        rows: vec![digest],
                        took_ms: began.elapsed().as_millis() as u64,
                    });
                }
                self.keep(digest, began)?;
                Ok((digest, rows))
            }
            Err(Stop::Failed(err)) => {
                if !matches!(err, CallError::Cancelled) {
                    self.board().failed.fetch_add(1, Ordering::Relaxed);
                    self.put_aside(&Place::new(), &err, &Origin::default());
                }
                Err(err)
            }
            Err(Stop::Unknown) => Err(CallError::row("a run met a value that is not known")),
        }
    }

    /// A `for` stage, or another one's rows that pass a test: rows as they come.
    async fn rows(self: &Arc<Self>) -> Result<(Digest, u64), CallError> {
        let began = Instant::now();
        self.board().reaches(self.most());
        let started = match &self.stage().expr.kind {
            ExprKind::For(each) => self.each(each).await,
            _ => match self.filtered().await {
                Ok(Some(result)) => return Ok((result, row_count(&*self.shared.store, &result))),
                taken => taken.map(drop),
            },
        };
        self.number_aside();
        if let Some(message) = self.lock_failure().clone() {
            return Err(CallError::row(message));
        }
        started?;
        // A table that lacks rows for such reasons would be taken for the real one.
        if self.shared.cancel.is_cancelled() || self.cut_off.load(Ordering::Relaxed) {
            return Err(CallError::Cancelled);
        }
        self.unanswered.told()?;
        if let Some(message) = self.past_tolerance() {
            return Err(CallError::row(message));
        }
        let table = self.output.table();
        let rows = table.rows.len() as u64;
        // Whatever `on_error` says of single rows: that all failed says that nothing could be done.
        let count = self.board().count();
        if let (0, Some(why)) = (count.ran + count.cached, self.outside.get()) {
            return Err(CallError::Infrastructure(format!(
                "none of its rows could be made: {why}"
            )));
        }
        let value = Value::Table(Arc::new(table));
        let (digest, _) = keep_value(&*self.shared.store, value, true)?;
        // A table with rows put aside is not the stage's result for good: they are tried again.
        if self.board().failed.load(Ordering::Relaxed) == 0 {
            self.keep(digest, began)?;
        }
        Ok((digest, rows))
    }

    /// Makes the rows of a `for`.
    async fn each(self: &Arc<Self>, each: &For) -> Result<(), CallError> {
        if let Some(plain) = Plain::of(each, &self.policy) {
            return self.plain_rows(plain).await;
        }
        let in_flight = self.policy.concurrency.unwrap_or(IN_FLIGHT);
        let flight = Arc::new(Semaphore::new(in_flight));
        let mut tasks = JoinSet::new();
        let started = self.start_rows(each, &flight, &mut tasks).await;
        while tasks.join_next().await.is_some() {}
        started
    }

    /// Starts a task for each row, as many at once as `flight` lets.
    async fn start_rows(
        self: &Arc<Self>,
        each: &For,
        flight: &Arc<Semaphore>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), CallError> {
        let caller = self.caller();
        let (name, rows) = &each.generators[0];
        // With a canary the order of the rows counts, which their coming does not tell.
        match self.stream_of(rows).filter(|_| self.policy.canary.is_none()) {
            Some((mut reader, tests)) => {
                loop {
                    let rows = reader.next(AT_ONCE).await;
                    if rows.is_empty() {
                        break;
                    }
                    for (place, digest) in rows {
                        self.board().set(State::Running);
                        let row = read_value(&*self.shared.store, &digest)?;
                        if !passes(&tests, &row)? {
                            continue;
                        }
                        let scope = Scope::default().with(name, row);
                        let row = Starting { place, scope, input: Some(digest) };
                        if !self.start_inner(each, 1, row, &caller, flight, tasks).await? {
                            return Ok(());
                        }
                    }
                }
                if reader.failed() {
                    return Err(CallError::Cancelled);
                }
                self.came_from(reader, &tests.into_iter().cloned().collect::<Vec<_>>());
            }
            None => {
                let row = Starting { place: Place::new(), scope: Scope::default(), input: None };
                if !self.start_inner(each, 0, row, &caller, flight, tasks).await? {
                    return Ok(());
                }
            }
        }
        self.all_started();
        Ok(())
    }

    /// There is no further row to start: how many there are is known now, if it was not before.
    pub(super) fn all_started(&self) {
        self.all_started.store(true, Ordering::Relaxed);
        self.judge();
    }

    /// The stage that rows can be streamed from, with the filters on the way: `s`, `s where …`.
    pub(super) fn stream_of<'a>(&self, rows: &'a Expr) -> Option<(Reader, Vec<&'a Function>)> {
        let (name, tests) = filtered::source(rows)?;
        if !filtered::streams(&self.plan, self.plan.stage(self.plan.node(name)?)) {
            return None;
        }
        // One that ended without a result still has the rows that it made, whether it ended before
        // this stage began or not.
        Some((self.shared.outputs.get(name)?.reader()?, tests))
    }

    /// Fans out over the generators from `level` on. Says whether to go on.
    pub(super) fn start_inner<'a>(
        self: &'a Arc<Self>,
        each: &'a For,
        level: usize,
        row: Starting,
        caller: &'a RowCaller,
        flight: &'a Arc<Semaphore>,
        tasks: &'a mut JoinSet<()>,
    ) -> BoxFuture<'a, Result<bool, CallError>> {
        Box::pin(async move {
            let Some((name, rows)) = each.generators.get(level) else {
                return Ok(self.start(row, flight, tasks).await);
            };
            let rows = rows_of(caller, rows, row.scope.clone()).await.map_err(failure)?;
            for index in 0..rows.len() {
                if self.shared.cancel.is_cancelled() {
                    return Ok(false);
                }
                let value = rows.get(index, caller).map_err(failure)?;
                let mut place = row.place.clone();
                place.push(index as u32);
                let input = match &rows {
                    Rows::Table(table) if level == 0 => Some(table.rows[index]),
                    _ => row.input,
                };
                let inner = Starting { place, scope: row.scope.with(name, value), input };
                if !self.start_inner(each, level + 1, inner, caller, flight, tasks).await? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Starts one row when there is room; says whether to go on.
    async fn start(
        self: &Arc<Self>,
        row: Starting,
        flight: &Arc<Semaphore>,
        tasks: &mut JoinSet<()>,
    ) -> bool {
        self.pass_gate(tasks).await;
        let permit = flight.clone().acquire_owned().await;
        if self.shared.cancel.is_cancelled() || self.give_up.load(Ordering::Relaxed) {
            return false;
        }
        while tasks.try_join_next().is_some() {}
        self.board().set(State::Running);
        self.board().total.fetch_add(1, Ordering::Relaxed);
        self.started.fetch_add(1, Ordering::Relaxed);
        let job = self.clone();
        tasks.spawn(async move {
            job.row(row).await;
            drop(permit);
        });
        true
    }

    /// Makes one row.
    async fn row(&self, row: Starting) {
        let began = Instant::now();
        let caller = self.caller();
        match caught(self.make(&row, &caller)).await {
            Ok(None) => {
                // The condition left it out: it was never one of the stage's rows.
                self.board().total.fetch_sub(1, Ordering::Relaxed);
                self.board().leaves_out(1);
                self.judge();
            }
            Ok(Some(rows)) => {
                self.output.add(&row.place, &rows);
                self.dropped(&row.place, &rows, &caller);
                let line = self.board();
                let counter = if caller.made() { &line.ran } else { &line.cached };
                counter.fetch_add(1, Ordering::Relaxed);
                // What no call made is made again sooner than a line of the log is read.
                if caller.ran.load(Ordering::Relaxed) {
                    self.shared.log.write(&Event::Row {
                        stage: self.stage().name.clone(),
                        place: row.place.to_vec(),
                        rows,
                        took_ms: began.elapsed().as_millis() as u64,
                    });
                }
            }
            Err(CallError::Cancelled) => self.cut_off.store(true, Ordering::Relaxed),
            Err(err) => {
                let ExprKind::For(each) = &self.stage().expr.kind else { return };
                let from = Origin::of(each, |name| row.scope.get(name), row.input);
                self.row_failed(&row.place, &err, &from);
            }
        }
    }

    async fn make(
        &self,
        row: &Starting,
        caller: &RowCaller,
    ) -> Result<Option<Vec<Digest>>, CallError> {
        let ExprKind::For(each) = &self.stage().expr.kind else {
            return Ok(None);
        };
        if let Some(condition) = &each.condition {
            let holds = evaluate(caller, condition, row.scope.clone()).await.map_err(failure)?;
            if holds.as_bool() != Some(true) {
                return Ok(None);
            }
        }
        let value = evaluate(caller, &each.body, row.scope.clone()).await.map_err(failure)?;
        let mut rows = Vec::new();
        let read = |row: &Digest| read_value(&*self.shared.store, row);
        flatten(value, &each.body, &mut rows, &read)?;
        let store = &self.shared.store;
        let digests =
            rows.iter().map(|row| store.put(&row.encode())).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(digests))
    }

    /// Whether no more rows are to be started.
    pub(super) fn is_over(&self) -> bool {
        self.shared.cancel.is_cancelled() || self.give_up.load(Ordering::Relaxed)
    }

    fn look_up(&self) -> Result<Option<Digest>, CallError> {
        if self.policy.cache != CacheUse::On {
            return Ok(None);
        }
        let Some(key) = known_key(self.stage(), &self.shared) else {
            return Ok(None);
        };
        let Some(receipt) = self.shared.store.receipt(&key)? else {
            return Ok(None);
        };
        Ok(self.shared.store.get(&receipt.result).is_ok().then_some(receipt.result))
    }

    /// Leaves a receipt for the whole stage.
    fn keep(&self, result: Digest, began: Instant) -> Result<(), CallError> {
        if let Some(key) = known_key(self.stage(), &self.shared) {
            let receipt = Receipt {
                key,
                operator: "stage".to_string(),
                version: 1,
                parts: Vec::new(),
                result,
                took_ms: began.elapsed().as_millis() as u64,
                run: self.shared.log.info.id.clone(),
            };
            self.shared.keep(&receipt, self.policy.cache)?;
        }
        Ok(())
    }
}

/// A row that is about to be made.
pub(super) struct Starting {
    pub(super) place: Place,
    pub(super) scope: Scope,
    /// The row of the first generator that it is made from.
    pub(super) input: Option<Digest>,
}

pub(super) fn failure(stop: Stop) -> CallError {
    match stop {
        Stop::Failed(err) => err,
        Stop::Unknown => CallError::row("a run met a value that is not known"),
    }
}

pub(super) fn passes(tests: &[&Function], row: &Value) -> Result<bool, CallError> {
    for test in tests {
        let holds = lang::apply(test, row).map_err(|err| CallError::row(err.to_string()))?;
        if holds.as_bool() != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}
