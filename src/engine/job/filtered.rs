//! A stage that is the rows of another one for which tests hold: `s where …`. Its rows are told as
//! they come, many at a time, as those of a plain `for` are ([`super::super::plain`]); one whose test
//! fails is put aside or ends the stage, as `on_error` says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::engine::board::State;
use crate::engine::log::Event;
use crate::engine::operator::{CallError, read_value};
use crate::engine::output::Place;
use crate::engine::plain::BATCH;
use crate::lang::{Expr, ExprKind, Function, Stage, Type, Value};
use crate::plan::Plan;
use crate::store::Digest;

use super::{Job, Origin, passes, row_count};

/// The stage that an expression takes rows from, and what they must pass on the way: `s`,
/// `s where …`.
pub(super) fn source(rows: &Expr) -> Option<(&str, Vec<&Function>)> {
    match &rows.kind {
        ExprKind::Stage(name) => Some((name, Vec::new())),
        ExprKind::Filter(of, test) => {
            let (name, mut tests) = source(of)?;
            tests.push(test);
            Some((name, tests))
        }
        _ => None,
    }
}

/// Whether a stage's rows can be taken as they come.
pub(super) fn streams(plan: &Plan, stage: &Stage) -> bool {
    let is_table = |name| plan.node(name).is_some_and(|node| has_rows(plan.stage(node)));
    match &stage.expr.kind {
        ExprKind::For(_) => true,
        ExprKind::Filter(..) => source(&stage.expr).is_some_and(|(name, _)| is_table(name)),
        _ => false,
    }
}

fn has_rows(stage: &Stage) -> bool {
    matches!(stage.ty, Type::List(_))
}

/// Rows to test.
type Rows = Vec<(Place, Digest)>;

impl Job {
    /// Takes the rows that pass, from a stage whose rows can be taken as they come. Gives the result
    /// when it is in the store.
    pub(super) async fn filtered(self: &Arc<Self>) -> Result<Option<Digest>, CallError> {
        let expr = &self.stage().expr;
        let Some((of, tests)) = source(expr) else {
            return Err(CallError::row("not the rows of a stage"));
        };
        let tests: Arc<Vec<Function>> = Arc::new(tests.into_iter().cloned().collect());
        let mut batches = JoinSet::new();
        let taken = match self.stream_of(expr) {
            Some((mut reader, _)) => loop {
                let rows = reader.next(BATCH).await;
                if rows.is_empty() || self.is_over() {
                    if reader.failed() {
                        break Err(CallError::Cancelled);
                    }
                    self.came_from(reader, &[]);
                    break Ok(());
                }
                if let Err(err) = self.test(&tests, rows, &mut batches).await {
                    break Err(err);
                }
            },
            None => {
                let Value::Table(table) = self.whole(of).await? else {
                    return Err(CallError::row("`where` needs a table"));
                };
                if let Some(result) = self.found()? {
                    return Ok(Some(result));
                }
                let mut taken = Ok(());
                for (number, rows) in table.rows.chunks(BATCH).enumerate() {
                    if self.is_over() || taken.is_err() {
                        break;
                    }
                    let first = (number * BATCH) as u32;
                    let place = |(row, at): (&Digest, u32)| (Place::from_slice(&[at]), *row);
                    let rows = rows.iter().zip(first..).map(place).collect();
                    taken = self.test(&tests, rows, &mut batches).await;
                }
                taken
            }
        };
        // Whatever happened, what was started is waited for.
        let mut tested = Ok(());
        while let Some(done) = batches.join_next().await {
            tested = tested.and(ended(done));
        }
        taken.and(tested)?;
        self.all_started();
        let line = self.board();
        if line.failed.load(Ordering::Relaxed) > 0 {
            return Ok(None);
        }
        // Only now it may be known what the stage is made of.
        let result = self.look_up()?;
        if result.is_some() {
            line.cached.store(line.ran.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(result)
    }

    async fn whole(&self, stage: &str) -> Result<Value, CallError> {
        self.shared.outputs[stage].value(&*self.shared.store).await
    }

    /// The stage's result, where the store has it; readers of its rows are given them.
    fn found(&self) -> Result<Option<Digest>, CallError> {
        let Some(result) = self.look_up()? else {
            return Ok(None);
        };
        let store = &*self.shared.store;
        if let Value::Table(table) = read_value(store, &result)? {
            self.output.add(&Place::new(), &table.rows);
        }
        let rows = row_count(store, &result);
        self.board().total.store(rows, Ordering::Relaxed);
        self.board().cached.store(rows, Ordering::Relaxed);
        Ok(Some(result))
    }

    /// Starts to test rows when it is the stage's turn.
    async fn test(
        self: &Arc<Self>,
        tests: &Arc<Vec<Function>>,
        rows: Rows,
        batches: &mut JoinSet<Result<(), CallError>>,
    ) -> Result<(), CallError> {
        if batches.len() >= self.shared.pools.threads()
            && let Some(done) = batches.join_next().await
        {
            ended(done)?;
        }
        self.board().set(State::Running);
        let turn = self.turn().await;
        let (job, tests) = (self.clone(), tests.clone());
        batches.spawn_blocking(move || {
            let _turn = turn;
            job.batch_of(&tests, rows)
        });
        Ok(())
    }

    fn batch_of(&self, tests: &[Function], rows: Rows) -> Result<(), CallError> {
        let began = Instant::now();
        let tests: Vec<&Function> = tests.iter().collect();
        let mut passed = Vec::new();
        let count = rows.len() as u64;
        for (place, digest) in rows {
            let row = read_value(&*self.shared.store, &digest)?;
            match passes(&tests, &row) {
                Ok(true) => passed.push((place, digest)),
                Ok(false) => {}
                Err(err) => {
                    self.board().total.fetch_add(1, Ordering::Relaxed);
                    let names = vec![("row".to_string(), row)];
                    self.row_failed(&place, &err, &Origin { input: Some(digest), names });
                }
            }
        }
        self.started.fetch_add(count, Ordering::Relaxed);
        if let Some((place, _)) = passed.first() {
            let count = passed.len() as u64;
            self.board().total.fetch_add(count, Ordering::Relaxed);
            self.board().ran.fetch_add(count, Ordering::Relaxed);
            self.shared.log.write(&Event::Rows {
                stage: self.stage().name.clone(),
                place: place.to_vec(),
                ran: count,
                rows: count,
                took_ms: began.elapsed().as_millis() as u64,
            });
            self.output.add_all(passed.into_iter());
        }
        Ok(())
    }
}

fn ended(done: Result<Result<(), CallError>, tokio::task::JoinError>) -> Result<(), CallError> {
    done.map_err(|err| CallError::Infrastructure(format!("testing rows: {err}")))?
}
