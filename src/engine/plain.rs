//! Plain rows: those that expressions alone make, without a call.
//!
//! Such a row takes microseconds, less than a task, a look-up or a line in the log of its own would.
//! So they are made many at a time: a batch of rows is evaluated, encoded and kept in one go on a
//! thread that computes. Nothing is looked up for a single row, since making it again costs no more;
//! the receipt of the whole stage answers for all of them. Rows that hold tables (as `group` gives
//! them) need the store, and go the way of other rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::lang::{self, EvalError, Expr, ExprKind, For, Function, Policy, Table, Value};
use crate::store::{Digest, Objects};

use super::board::State;
use super::call::RowCaller;
use super::evaluate::{Rows, Scope, fanned, flatten, rows_of};
use super::job::{Job, Origin, Starting, failure, passes};
use super::log::Event;
use super::operator::{CallError, read_value};
use super::output::Place;

/// Rows of a batch.
pub(super) const BATCH: usize = 512;

/// Items of inner generators that are gone over before what they gave is kept: one row of a batch may meet
/// millions of others in the generators that come after.
const AT_ONCE: u64 = 8192;

/// A `for` whose rows are plain.
#[derive(Clone)]
pub(super) struct Plain {
    name: String,
    rows: Expr,
    each: Arc<For>,
}

impl Plain {
    /// The `for` as plain rows, unless it holds anything that only a run can evaluate. A canary
    /// wants its rows one by one.
    pub(super) fn of(each: &For, policy: &Policy) -> Option<Plain> {
        let inner = each.generators.iter().skip(1).all(|(_, rows)| is_plain(rows));
        let condition = each.condition.as_ref().is_none_or(|condition| is_plain(condition));
        let all_plain = inner && condition && is_plain(&each.body);
        let (name, rows) = each.generators.first()?;
        (all_plain && policy.canary.is_none()).then(|| Plain {
            name: name.clone(),
            rows: rows.clone(),
            each: Arc::new(each.clone()),
        })
    }
}

/// Whether the language's own evaluator can do an expression.
fn is_plain(expr: &Expr) -> bool {
    let here = !matches!(
        expr.kind,
        ExprKind::Call(_)
            | ExprKind::For(_)
            | ExprKind::Try(_)
            | ExprKind::Stage(_)
            | ExprKind::Source(..)
            | ExprKind::Param(_)
    );
    here && expr.children().into_iter().all(is_plain)
}

/// Rows to make others from.
enum Batch {
    /// Rows of a stage, read when they are needed.
    Stored(Vec<(Place, Digest)>),
    /// Values, the first of which has this number.
    Values(usize, Vec<Value>),
}

/// What a batch gave, kept as it comes.
struct Batched<'j> {
    job: &'j Job,
    began: Instant,
    made: Made,
    /// Items of inner generators since it was last looked whether to go on.
    steps: u64,
    /// Why no more of it is made.
    ended: Option<CallError>,
}

/// Rows that are made and not kept yet.
#[derive(Default)]
struct Made {
    places: Vec<Place>,
    rows: Vec<Vec<u8>>,
    /// Combinations of the generators.
    seen: u64,
    /// Those of them for which the condition held.
    taken: u64,
    failed: Vec<(Place, CallError, Origin)>,
}

impl Job {
    /// Makes the rows of a plain `for`.
    pub(super) async fn plain_rows(self: &Arc<Self>, plain: Plain) -> Result<(), CallError> {
        let mut work = Work {
            job: self,
            caller: self.caller(),
            flight: Arc::new(Semaphore::new(self.shared.pools.threads())),
            batches: JoinSet::new(),
            rows: JoinSet::new(),
        };
        let made = work.all(&plain).await;
        // Whatever happened, what was started is waited for.
        let settled = work.finish(&plain).await;
        made.and(settled)?;
        self.all_started();
        Ok(())
    }

    /// Makes the rows of one batch and keeps them.
    /// Gives back those that are not plain.
    fn batch(
        &self,
        plain: &Plain,
        tests: &[Function],
        batch: Batch,
    ) -> Result<Vec<Odd>, CallError> {
        let tests: Vec<&Function> = tests.iter().collect();
        let mut made = Batched {
            job: self,
            began: Instant::now(),
            made: Made::default(),
            steps: 0,
            ended: None,
        };
        let mut odd = Vec::new();
        match batch {
            Batch::Stored(rows) => {
                for (place, digest) in rows {
                    let row = read_value(&*self.shared.store, &digest)?;
                    if !passes(&tests, &row)? {
                        continue;
                    }
                    match holds_table(&row) {
                        true => odd.push((place, row, Some(digest))),
                        false => made.row(plain, place, row, Some(digest)),
                    }
                }
            }
            Batch::Values(first, values) => {
                for (number, value) in values.into_iter().enumerate() {
                    let place = Place::from_slice(&[(first + number) as u32]);
                    match holds_table(&value) {
                        true => odd.push((place, value, None)),
                        false => made.row(plain, place, value, None),
                    }
                }
            }
        }
        made.keep()?;
        match made.ended {
            Some(err) => Err(err),
            None => Ok(odd),
        }
    }
}

/// A row that is not plain: its place, itself, and the row it is.
type Odd = (Place, Value, Option<Digest>);

/// Whether a value holds rows that lie in the store.
fn holds_table(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::List(items) => items.iter().any(holds_table),
        Value::Record(fields) => fields.values().any(holds_table),
        _ => false,
    }
}

/// The batches of one stage that are being made.
struct Work<'a> {
    job: &'a Arc<Job>,
    caller: RowCaller,
    flight: Arc<Semaphore>,
    batches: JoinSet<Result<Vec<Odd>, CallError>>,
    rows: JoinSet<()>,
}

impl Work<'_> {
    async fn all(&mut self, plain: &Plain) -> Result<(), CallError> {
        let job = self.job;
        if let Some((mut reader, tests)) = job.stream_of(&plain.rows) {
            let tests: Arc<Vec<Function>> = Arc::new(tests.into_iter().cloned().collect());
            loop {
                let rows = reader.next(BATCH).await;
                if rows.is_empty() || job.is_over() {
                    break;
                }
                self.start(plain, &tests, Batch::Stored(rows)).await?;
            }
            if reader.failed() {
                return Err(CallError::Cancelled);
            }
            job.came_from(reader, &tests);
            return Ok(());
        }
        let rows = rows_of(&self.caller, &plain.rows, Scope::default()).await.map_err(failure)?;
        let none = Arc::new(Vec::new());
        let mut next = 0;
        while next < rows.len() && !job.is_over() {
            let end = rows.len().min(next + BATCH);
            let stored = |table: &Table| {
                let at = |at: usize| (Place::from_slice(&[at as u32]), table.rows[at]);
                Batch::Stored((next..end).map(at).collect())
            };
            let batch = match &rows {
                Rows::Table(table) => stored(table),
                Rows::List(items) => Batch::Values(next, items[next..end].to_vec()),
                Rows::Range(range) => {
                    let numbers = (next..end).filter_map(|at| range.get(at as u64));
                    Batch::Values(next, numbers.map(Value::Int).collect())
                }
            };
            self.start(plain, &none, batch).await?;
            next = end;
        }
        Ok(())
    }

    /// Starts a batch when a thread has time for it.
    async fn start(
        &mut self,
        plain: &Plain,
        tests: &Arc<Vec<Function>>,
        batch: Batch,
    ) -> Result<(), CallError> {
        if self.batches.len() >= self.job.shared.pools.threads() {
            self.settle(plain).await?;
        }
        self.job.board().set(State::Running);
        let turn = self.job.turn().await;
        let (job, plain, tests) = (self.job.clone(), plain.clone(), tests.clone());
        self.batches.spawn_blocking(move || {
            let _turn = turn;
            job.batch(&plain, &tests, batch)
        });
        Ok(())
    }

    /// Waits for one batch, and starts the rows of it that are not plain.
    async fn settle(&mut self, plain: &Plain) -> Result<(), CallError> {
        let Some(done) = self.batches.join_next().await else {
            return Ok(());
        };
        let odd =
            done.map_err(|err| CallError::Infrastructure(format!("making rows: {err}")))??;
        for (place, value, input) in odd {
            let row = Starting { place, scope: Scope::default().with(&plain.name, value), input };
            let job = self.job;
            let started =
                job.start_inner(&plain.each, 1, row, &self.caller, &self.flight, &mut self.rows);
            started.await?;
        }
        Ok(())
    }

    async fn finish(&mut self, plain: &Plain) -> Result<(), CallError> {
        let mut settled = Ok(());
        while !self.batches.is_empty() {
            settled = settled.and(self.settle(plain).await);
        }
        while self.rows.join_next().await.is_some() {}
        settled
    }
}

impl Batched<'_> {
    /// Keeps what was made so far, and counts it.
    fn keep(&mut self) -> Result<(), CallError> {
        let (job, made) = (self.job, std::mem::take(&mut self.made));
        let digests = job.shared.store.put_all(made.rows)?;
        let ran = made.taken - made.failed.len() as u64;
        let line = job.board();
        line.total.fetch_add(made.taken, Ordering::Relaxed);
        line.ran.fetch_add(ran, Ordering::Relaxed);
        line.leaves_out(made.seen.saturating_sub(made.taken));
        job.started.fetch_add(made.seen, Ordering::Relaxed);
        for (place, err, from) in &made.failed {
            job.row_failed(place, err, from);
        }
        if ran > 0 {
            let first = made.places.first();
            job.shared.log.write(&Event::Rows {
                stage: job.stage().name.clone(),
                place: first.map_or_else(Vec::new, |first| first.to_vec()),
                ran,
                rows: digests.len() as u64,
                took_ms: self.began.elapsed().as_millis() as u64,
            });
            job.output.add_all(made.places.into_iter().zip(digests));
            self.began = Instant::now();
        }
        Ok(())
    }

    /// Whether to go on; now and then what was made is kept.
    fn goes_on(&mut self) -> bool {
        self.steps += 1;
        if self.ended.is_none() && self.steps >= AT_ONCE {
            self.steps = 0;
            self.ended = self.keep().err();
            if self.ended.is_none() && self.job.is_over() {
                self.ended = Some(CallError::Cancelled);
            }
        }
        self.ended.is_none()
    }

    /// Adds the rows that one input gives.
    fn row(&mut self, plain: &Plain, place: Place, value: Value, input: Option<Digest>) {
        let mut scope = lang::Scope::new();
        scope.push(&plain.name, value);
        self.inner(&plain.each, 1, place, &mut scope, input);
    }

    /// Fans out over the generators from `level` on.
    fn inner(
        &mut self,
        each: &For,
        level: usize,
        place: Place,
        scope: &mut lang::Scope<'_>,
        input: Option<Digest>,
    ) {
        let Some((name, rows)) = each.generators.get(level) else {
            return self.body(each, place, scope, input);
        };
        // Of a range only the ends are evaluated.
        if let ExprKind::Range { from, to, inclusive } = &rows.kind {
            let ends = lang::evaluate(from, scope)
                .and_then(|from| Ok((from, lang::evaluate(to, scope)?)))
                .map_err(|err| CallError::row(err.to_string()))
                .and_then(|(from, to)| fanned(&from, &to, *inclusive));
            return match ends {
                Ok(range) => {
                    let numbers = (0..range.len()).map_while(|at| range.get(at)).map(Value::Int);
                    self.each(each, level, name, numbers, &place, scope, input);
                }
                Err(err) => self.fail(
                    place,
                    &err.to_string(),
                    Origin::of(each, |name| scope.local(name), input),
                ),
            };
        }
        match lang::evaluate(rows, scope) {
            Ok(Value::List(items)) => {
                self.each(each, level, name, items.into_iter(), &place, scope, input);
            }
            Ok(_) => self.fail(
                place,
                "`for` needs a table or a list",
                Origin::of(each, |name| scope.local(name), input),
            ),
            Err(err) => self.fail(
                place,
                &err.to_string(),
                Origin::of(each, |name| scope.local(name), input),
            ),
        }
    }

    /// Goes over the items of the generator at `level`.
    #[allow(clippy::too_many_arguments, reason = "it is the inside of a loop")]
    fn each(
        &mut self,
        each: &For,
        level: usize,
        name: &str,
        items: impl Iterator<Item = Value>,
        place: &Place,
        scope: &mut lang::Scope<'_>,
        input: Option<Digest>,
    ) {
        for (number, item) in items.enumerate() {
            if !self.goes_on() {
                return;
            }
            let mut place = place.clone();
            place.push(number as u32);
            scope.push(name, item);
            self.inner(each, level + 1, place, scope, input);
            scope.pop();
        }
    }

    fn body(
        &mut self,
        each: &For,
        place: Place,
        scope: &mut lang::Scope<'_>,
        input: Option<Digest>,
    ) {
        self.made.seen += 1;
        let holds = |condition, scope: &mut lang::Scope<'_>| -> Result<bool, EvalError> {
            Ok(lang::evaluate(condition, scope)?.as_bool() == Some(true))
        };
        match each.condition.as_ref().map_or(Ok(true), |condition| holds(condition, scope)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(err) => {
                return self.fail(
                    place,
                    &err.to_string(),
                    Origin::of(each, |name| scope.local(name), input),
                );
            }
        }
        match lang::evaluate(&each.body, scope) {
            Ok(value) => {
                let mut rows = Vec::new();
                // What holds a table is not plain, and goes the way of other rows.
                let read = |_: &Digest| Err("a plain row holds a table");
                if let Err(why) = flatten(value, &each.body, &mut rows, &read) {
                    let from = Origin::of(each, |name| scope.local(name), input);
                    return self.fail(place, why, from);
                }
                self.made.taken += 1;
                for (number, row) in rows.iter().enumerate() {
                    let mut place = place.clone();
                    place.push(number as u32);
                    self.made.places.push(place);
                    self.made.rows.push(row.encode());
                }
            }
            Err(err) => self.fail(
                place,
                &err.to_string(),
                Origin::of(each, |name| scope.local(name), input),
            ),
        }
    }

    fn fail(&mut self, place: Place, why: &str, from: Origin) {
        self.made.taken += 1;
        self.made.failed.push((place, CallError::row(why), from));
    }
}
