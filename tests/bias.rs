//! Retries do not bias what is sampled.
//!
//! A rollout that is made again from its beginning is sampled anew, and a long one is interrupted more
//! often: what comes through in the end is too short. So every answer is written down as soon as it is
//! there ([`claw::engine::Journal`]), and a retry hears it again. Here a thousand sampled rollouts end
//! by chance, and the machine fails by chance at every turn; their lengths must be those of a run in
//! which nothing fails. Without the journal the same test finds the bias.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use claw::engine::{
    About, Args, CallError, Cancel, Context, Engine, Kind, Limits, Operator, Operators, Pool,
    RunLog, read_value,
};
use claw::lang::{MemorySources, Value, bind, load};
use claw::plan::{Plan, attempt_key};
use claw::store::{Digest, Store};
use futures::future::BoxFuture;

const ROLLOUTS: u64 = 1000;
const PROGRAM: &str = "
use std/toy
stage runs = for n in 1..=1000 { toy.rollout(n: n) } with { retries: 1000, backoff: 1ms }
output runs
";

/// A rollout that ends after each turn with one chance in eight.
struct Rollout {
    /// Whether the machine fails after each turn with one chance in ten.
    fails: bool,
    /// Whether what was heard is written down.
    journal: bool,
    /// How often each turn of each rollout was asked for: a model says something else each time.
    asked: Mutex<BTreeMap<(i64, u32), u64>>,
}

/// A number below `end` that looks random and is always the same of the same.
fn chance(n: i64, turn: u32, time: u64, end: u64) -> u64 {
    Digest::of(format!("{n} {turn} {time} {end}").as_bytes()).seed() % end
}

impl Rollout {
    /// What the model says: whether the rollout is over.
    fn ask(&self, n: i64, turn: u32) -> (bool, u64) {
        let mut asked = self.asked.lock().expect("a lock");
        let times = asked.entry((n, turn)).or_default();
        *times += 1;
        (chance(n, turn, *times, 8) == 0, *times)
    }
}

impl Operator for Rollout {
    fn about(&self) -> About {
        About { name: "toy.rollout", version: 1, kind: Kind::Recorded, pool: Pool::Elsewhere }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            let n = args.int("n")?;
            let journal = context.journal.as_ref().filter(|_| self.journal);
            for turn in 1.. {
                let key = attempt_key(context.key, turn + 1);
                let heard = match journal {
                    Some(journal) => journal.find(&key)?,
                    None => None,
                };
                let over = match heard {
                    Some(heard) => heard.as_bool() == Some(true),
                    None => {
                        let (over, time) = self.ask(n, turn);
                        if let Some(journal) = journal {
                            journal.keep(key, "toy.model", Vec::new(), &Value::Bool(over), 1)?;
                        }
                        if self.fails && chance(-n, turn, time, 10) == 0 {
                            return Err(CallError::Infrastructure("preempted".to_string()));
                        }
                        over
                    }
                };
                if over {
                    return Ok(Value::record([("turns", Value::Int(i64::from(turn)))]));
                }
            }
            Err(CallError::row("it never ended"))
        })
    }
}

/// How many turns each rollout took, sorted.
fn lengths(folder: &Path, fails: bool, journal: bool) -> Vec<i64> {
    let toys = "type Run = { turns: int }\nextern def rollout(n: int) -> Run\n";
    let sources = MemorySources::new().file("std/toy.claw", toys).file("main.claw", PROGRAM);
    let program = load("main.claw", &sources).program.expect("a program");
    let pipeline = bind(&program, &BTreeMap::new(), &sources).expect("a pipeline");
    let plan = Arc::new(Plan::new(pipeline, &[]).expect("a plan"));
    let store = Arc::new(Store::open(folder, "test").expect("a store"));
    let rollout = Rollout { fails, journal, asked: Mutex::default() };
    let engine = Engine {
        store: store.clone(),
        operators: Operators::new([Arc::new(rollout) as Arc<dyn Operator>]),
        limits: Limits { threads: 2, sandboxes: 2, memory: 1 << 30, gpus: 0 },
        cancel: Cancel::default(),
        log: Arc::new(RunLog::begin(folder, "main.claw", Vec::new()).expect("a log")),
        refresh: Vec::new(),
        budget: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(engine.run(plan.clone(), Engine::board(&plan)));
    assert!(ended.is_whole(), "{:?}", ended.failures);
    let read = |digest: &Digest| read_value(&*store, digest).expect("a value");
    let Value::Table(table) = read(&ended.result("runs").expect("a result")) else {
        panic!("no table");
    };
    let turns = |row: &Digest| read(row).get("turns").and_then(Value::as_int).expect("turns");
    let mut lengths: Vec<i64> = table.rows.iter().map(turns).collect();
    lengths.sort_unstable();
    assert_eq!(lengths.len() as u64, ROLLOUTS);
    lengths
}

/// The largest difference between the shares of what is at most so long: Kolmogorov and Smirnov's.
fn distance(one: &[i64], two: &[i64]) -> f64 {
    let share = |all: &[i64], most: i64| {
        all.partition_point(|length| *length <= most) as f64 / all.len() as f64
    };
    let longest = one.iter().chain(two).copied().max().unwrap_or(0);
    (0..=longest).map(|most| (share(one, most) - share(two, most)).abs()).fold(0.0, f64::max)
}

#[test]
fn what_failed_on_its_way_is_as_long_as_what_did_not() {
    let lengths = |fails, journal| {
        let folder = tempfile::tempdir().expect("a folder");
        lengths(folder.path(), fails, journal)
    };
    let quiet = lengths(false, true);
    let retried = distance(&quiet, &lengths(true, true));
    assert!(retried < 0.02, "{retried}");
    let biased = distance(&quiet, &lengths(true, false));
    assert!(biased > 0.1, "without the journal the bias is found: {biased}");
}
