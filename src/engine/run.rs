//! A run: every needed stage, from the store or by work, rows streaming from stage to stage.
//!
//! First the stages are asked for whole, in order: one whose inputs are known and whose key has a
//! receipt costs one look-up, however many rows it has. What is left runs at the same time: each
//! stage is a task that takes rows as soon as they exist and hands its own on at once. Only an
//! expression that needs a whole table waits for one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use tokio::task::JoinSet;

use crate::lang::{CacheUse, Stage};
use crate::plan::Plan;
use crate::store::{Digest, Objects, Results, Store};

use super::board::{Board, Count, State};
use super::budget::Budget;
use super::call::{Operators, Shared};
use super::job::{Job, known_key, row_count};
use super::log::{Event, RunLog, StageRecord};
use super::operator::Cancel;
use super::output::{End, Output};
use super::pools::{Limits, Pools};
use super::turns::Turns;

/// What a run is made of.
pub struct Engine {
    /// Where results are.
    pub store: Arc<Store>,
    /// What stages can do.
    pub operators: Operators,
    /// How much may go on at once.
    pub limits: Limits,
    /// Asks the run to stop.
    pub cancel: Cancel,
    /// Where it writes what happens.
    pub log: Arc<RunLog>,
    /// Stages that run again although they are in the store.
    pub refresh: Vec<String>,
    /// The most that all stages together may spend on models, in micro-dollars.
    pub budget: Option<i64>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Each stage's counters, in the order of the plan.
    pub counts: Vec<Count>,
    /// Each stage's result, if it has one.
    pub results: BTreeMap<String, Option<Digest>>,
    /// The first failure of each stage that failed: stage and message.
    pub failures: Vec<(String, String)>,
    /// Whether it was asked to stop.
    pub stopped: bool,
}

impl Ended {
    /// Whether every stage has its result, and everything that had to be written was.
    pub fn is_whole(&self) -> bool {
        let complete = self.results.values().all(Option::is_some);
        !self.stopped && complete && self.failures.is_empty()
    }

    /// The digest of a stage's result.
    pub fn result(&self, stage: &str) -> Option<Digest> {
        *self.results.get(stage)?
    }
}

impl Engine {
    /// A board for a plan: one line a stage, in order.
    pub fn board(plan: &Plan) -> Arc<Board> {
        Arc::new(Board::new(plan.order.iter().map(|node| plan.stage(*node).name.clone())))
    }

    /// Runs a plan. Must be called within a tokio runtime.
    pub async fn run(&self, plan: Arc<Plan>, board: Arc<Board>) -> Ended {
        let began = Instant::now();
        let uses = self.log.folder().join("used.new");
        let noted = self.store.note_uses(&uses);
        let outputs: HashMap<String, Arc<Output>> = plan
            .order
            .iter()
            .map(|node| (plan.stage(*node).name.clone(), Arc::new(Output::new())))
            .collect();
        let shared = Arc::new(Shared {
            store: self.store.clone(),
            operators: self.operators.clone(),
            pools: Pools::new(self.limits),
            turns: Turns::new(self.limits.threads),
            // A stage that fails stops the run; being asked to stop is something else.
            cancel: self.cancel.child(),
            board: board.clone(),
            log: self.log.clone(),
            outputs,
            budget: self.budget.map(|limit| Arc::new(Budget::of_run(limit))),
            secrets: plan.pipeline.secrets.clone(),
            working: Default::default(),
            renewed: Default::default(),
        });
        let mut jobs = JoinSet::new();
        for (line, node) in plan.order.iter().enumerate() {
            let stage = plan.stage(*node);
            let output = shared.outputs[&stage.name].clone();
            if let Some(result) = self.whole(stage, &shared) {
                let rows = row_count(&*self.store, &result);
                board.lines[line].total.store(rows, Ordering::Relaxed);
                board.lines[line].cached.store(rows, Ordering::Relaxed);
                board.lines[line].set(State::Cached);
                let stage = stage.name.clone();
                self.log.write(&Event::StageCached { stage, result: Some(result), rows });
                output.end(End::Value(result));
                continue;
            }
            let mut policy = stage.policy();
            if self.refresh.contains(&stage.name) {
                policy.cache = CacheUse::Refresh;
            }
            let job = Arc::new(Job::new(&plan, &shared, *node, line, policy));
            jobs.spawn(async move {
                let name = job.stage().name.clone();
                (name, job.work().await)
            });
        }
        let failures = failures(jobs).await;
        let ended = self.end(&plan, &shared, failures, began);
        // Without the list `claw gc` keeps more than it must, and nothing else.
        if noted.is_ok() && self.store.end_uses() {
            let _ = std::fs::rename(&uses, self.log.folder().join("used"));
        }
        ended
    }

    /// The result of a stage that is in the store whole: its inputs are known and its key has a
    /// receipt.
    fn whole(&self, stage: &Stage, shared: &Shared) -> Option<Digest> {
        if stage.policy().cache != CacheUse::On || self.refresh.contains(&stage.name) {
            return None;
        }
        let key = known_key(stage, shared)?;
        let receipt = self.store.receipt(&key).ok()??;
        self.store.get(&receipt.result).ok()?;
        Some(receipt.result)
    }

    fn end(
        &self,
        plan: &Plan,
        shared: &Shared,
        mut failures: HashMap<String, String>,
        began: Instant,
    ) -> Ended {
        let paths = plan.paths();
        let path = |digest: &Digest| paths.get(digest).map(|path| path.to_string());
        let digest_of = |name: &str| match shared.outputs.get(name)?.ended() {
            Some(End::Value(digest)) => Some(digest),
            _ => None,
        };
        let record = |node: &NodeIndex| {
            let stage = plan.stage(*node);
            let version = |operator: &str| self.operators.version(operator);
            StageRecord {
                stage: stage.name.clone(),
                key: known_key(stage, shared),
                result: digest_of(&stage.name),
                parts: crate::plan::parts(stage, &version, &path, &digest_of),
            }
        };
        let records = || {
            let records: Vec<StageRecord> = plan.order.par_iter().map(record).collect();
            let left = self.log.leave_stages(&records);
            (records, left)
        };
        // The one waits for the disk, the other computes.
        let (synced, (records, left)) = rayon::join(|| self.store.sync(), records);
        let results: BTreeMap<String, Option<Digest>> =
            records.iter().map(|record| (record.stage.clone(), record.result)).collect();
        let stopped = self.cancel.is_cancelled();
        let whole = !stopped && results.values().all(Option::is_some);
        if let Err(err) = synced {
            failures.insert("the store".to_string(), err.to_string());
        }
        if let Err(err) = left {
            failures.insert("the run log".to_string(), err.to_string());
        }
        let outcome = if stopped {
            "stopped"
        } else if whole && failures.is_empty() {
            "done"
        } else {
            "failed"
        };
        let took_ms = began.elapsed().as_millis() as u64;
        self.log.write(&Event::RunEnded { outcome: outcome.to_string(), took_ms });
        if let Some(failure) = self.log.failure() {
            failures.entry("the run log".to_string()).or_insert(failure);
        }
        let mut ordered: Vec<(String, String)> = plan
            .order
            .iter()
            .filter_map(|node| failures.remove_entry(&plan.stage(*node).name))
            .collect();
        let mut others: Vec<(String, String)> = failures.into_iter().collect();
        others.sort();
        ordered.extend(others);
        Ended { counts: shared.board.counts(), results, failures: ordered, stopped }
    }
}

/// Waits for all jobs: the message of each that failed, by its stage. Dropping this ends them.
async fn failures(mut jobs: JoinSet<(String, Option<String>)>) -> HashMap<String, String> {
    let own = |err: tokio::task::JoinError| ("claw itself".to_string(), err.to_string());
    // Waits on a thread of the runtime, as the jobs do: to wake the thread that the run began on for
    // every stage that ends takes longer than many a stage.
    let mut waiting = JoinSet::new();
    waiting.spawn(async move {
        let mut failures = HashMap::new();
        while let Some(ended) = jobs.join_next().await {
            match ended {
                Ok((stage, Some(message))) => drop(failures.insert(stage, message)),
                Ok((_, None)) => {}
                Err(err) => failures.extend([own(err)]),
            }
        }
        failures
    });
    match waiting.join_next().await {
        Some(Ok(failures)) => failures,
        Some(Err(err)) => HashMap::from([own(err)]),
        None => HashMap::new(),
    }
}
