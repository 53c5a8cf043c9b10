//! The engine with toy operators: what is cached, retried, put aside, streamed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use claw::engine::{
    About, Args, Bound, CallError, Cancel, Context, Ended, Engine, Kind, Limits, Operator,
    Operators, Pool, RunLog, State, forecast, read_run, run_ids,
};
use claw::lang::{MemorySources, Value, bind, load};
use claw::plan::Plan;
use claw::store::{Results, Snapshot, Store};
use futures::future::BoxFuture;

const TOYS: &str = r#"
type Number = { n: int }
extern def number(n: int) -> Number
extern def double(of: Number) -> Number
extern def clamp(of: Number, at_most: int) -> Number
extern def flaky(of: Number) -> Number
extern def sum(of: [Number]) -> Number
extern def odd(of: Number) -> Number?
extern def twice(of: Number) -> [Number]
extern def guess(hint: str?) -> Number
extern def meet(n: int) -> Number
"#;

type Work = dyn Fn(&Args, &Context) -> Result<Value, CallError> + Send + Sync;

/// A toy operator: a name and what it does; counts its calls.
struct Toy {
    name: &'static str,
    version: u32,
    pool: Pool,
    calls: Arc<AtomicU64>,
    work: Box<Work>,
}

impl Operator for Toy {
    fn about(&self) -> About {
        About {
            name: self.name,
            version: self.version,
            // A guess is what a model says: another one each time, and kept for ever.
            kind: if self.name == "toy.guess" { Kind::Recorded } else { Kind::Pure },
            pool: self.pool,
        }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { (self.work)(args, context) })
    }
}

fn n(value: &Value) -> i64 {
    value.get("n").and_then(Value::as_int).expect("a number")
}

fn number(n: i64) -> Value {
    Value::record([("n", Value::Int(n))])
}

/// The toys, and how often each was called.
struct Toys {
    operators: Operators,
    calls: BTreeMap<&'static str, Arc<AtomicU64>>,
}

impl Toys {
    /// `failing`: how many times `flaky` fails for each number before it works; numbers from 1,000
    /// on never work.
    fn new(failing: u64, version: u32) -> Toys {
        let mut calls = BTreeMap::new();
        let mut all: Vec<Arc<dyn Operator>> = Vec::new();
        let mut toy = |name: &'static str, pool: Pool, work: Box<Work>| {
            let count = Arc::new(AtomicU64::new(0));
            calls.insert(name, count.clone());
            all.push(Arc::new(Toy { name, version, pool, calls: count, work }));
        };
        toy("toy.number", Pool::Instant, Box::new(|args, _| Ok(number(args.int("n")?))));
        toy("toy.double", Pool::Cpu, Box::new(|args, _| Ok(number(2 * n(args.get("of")?)))));
        toy(
            "toy.clamp",
            Pool::Instant,
            Box::new(|args, _| Ok(number(n(args.get("of")?).min(args.int("at_most")?)))),
        );
        let tried = std::sync::Mutex::new(BTreeMap::<i64, u64>::new());
        toy(
            "toy.flaky",
            Pool::Cpu,
            Box::new(move |args, _| {
                let at = n(args.get("of")?);
                if at >= 1000 {
                    return Err(CallError::Row {
                        message: "too large".into(),
                        output: "1e3".into(),
                    });
                }
                let mut tried = tried.lock().expect("a lock");
                let times = tried.entry(at).or_default();
                *times += 1;
                if *times <= failing {
                    return Err(CallError::Infrastructure("the line is down".into()));
                }
                Ok(number(at))
            }),
        );
        toy(
            "toy.sum",
            Pool::Cpu,
            Box::new(|args, context| {
                Ok(number(args.rows("of", &*context.objects)?.iter().map(n).sum()))
            }),
        );
        toy(
            "toy.odd",
            Pool::Instant,
            Box::new(|args, _| {
                let at = n(args.get("of")?);
                Ok(if at % 2 == 1 { number(at) } else { Value::Null })
            }),
        );
        toy(
            "toy.twice",
            Pool::Instant,
            Box::new(|args, _| {
                let at = n(args.get("of")?);
                Ok(Value::List(vec![number(at), number(-at)]))
            }),
        );
        let guesses = AtomicU64::new(0);
        toy(
            "toy.guess",
            Pool::Instant,
            Box::new(move |args, _| match guesses.fetch_add(1, Ordering::SeqCst) + 1 {
                2 => Err(CallError::row("a bad guess")),
                _ if args.get("hint")?.as_str() == Some("give up") => Ok(number(0)),
                guess => Ok(number(guess as i64)),
            }),
        );
        let there = (std::sync::Mutex::new(0), std::sync::Condvar::new());
        toy(
            "toy.meet",
            Pool::Instant,
            Box::new(move |args, _| {
                // Who has nobody to meet.
                if args.int("n")? == 0 {
                    return Ok(number(1));
                }
                let (count, came) = &there;
                let mut count = count.lock().expect("a lock");
                *count += 1;
                came.notify_all();
                let patience = std::time::Duration::from_secs(30);
                let met = came.wait_timeout_while(count, patience, |count| *count < 2);
                match met.expect("a lock").1.timed_out() {
                    true => Err(CallError::row("nobody else came")),
                    false => Ok(number(2)),
                }
            }),
        );
        Toys { operators: Operators::new(all), calls }
    }

    fn calls(&self, name: &str) -> u64 {
        self.calls[name].load(Ordering::SeqCst)
    }
}

fn plan(text: &str) -> Plan {
    let sources = MemorySources::new().file("std/toy.claw", TOYS).file("main.claw", text);
    let checked = load("main.claw", &sources);
    assert!(
        !checked.diagnostics.iter().any(|one| one.severity == claw::lang::Severity::Error),
        "{:?}",
        checked.diagnostics
    );
    let program = checked.program.expect("a program");
    let pipeline = bind(&program, &BTreeMap::new(), &sources).expect("a pipeline");
    Plan::new(pipeline, &[]).expect("a plan")
}

fn run(folder: &Path, toys: &Toys, text: &str, threads: usize) -> (Ended, Arc<Store>) {
    let store = Arc::new(Store::open(folder, "test").expect("a store"));
    let plan = Arc::new(plan(text));
    let engine = Engine {
        store: store.clone(),
        operators: toys.operators.clone(),
        limits: Limits { threads, sandboxes: 4, memory: 8 << 30, gpus: 0 },
        cancel: Cancel::default(),
        log: Arc::new(RunLog::begin(folder, "main.claw", Vec::new()).expect("a log")),
        refresh: Vec::new(),
        budget: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(engine.run(plan.clone(), Engine::board(&plan)));
    (ended, store)
}

fn value(store: &Store, ended: &Ended, stage: &str) -> Value {
    claw::engine::read_value(store, &ended.result(stage).expect("a result")).expect("a value")
}

fn rows(store: &Store, ended: &Ended, stage: &str) -> Vec<i64> {
    let Value::Table(table) = value(store, ended, stage) else { panic!("no table") };
    table.rows.iter().map(|row| n(&claw::engine::read_value(store, row).expect("a row"))).collect()
}

const CHAIN: &str = "
use std/toy
stage numbers = for i in 1..=20 { toy.number(n: i) }
stage doubled = for x in numbers { toy.double(of: x) }
stage total = toy.sum(of: doubled)
output total
";

#[test]
fn rows_keep_their_order_and_nothing_is_made_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let (ended, store) = run(folder.path(), &toys, CHAIN, 4);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(rows(&store, &ended, "doubled"), (1..=20).map(|n| 2 * n).collect::<Vec<_>>());
    assert_eq!(n(&value(&store, &ended, "total")), 420);
    drop(store);
    let (again, _store) = run(folder.path(), &toys, CHAIN, 1);
    assert_eq!(again.results, ended.results);
    assert!(again.counts.iter().all(|count| count.state == State::Cached));
    assert_eq!(toys.calls("toy.double"), 20);
    assert_eq!(toys.calls("toy.sum"), 1);
}

#[test]
fn names_and_layout_are_not_part_of_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    drop(run(folder.path(), &toys, CHAIN, 2));
    let renamed = "
use std/toy as t
// The same, said in other words.
stage a = for k in 1..=20 {
  t.number(n: k)
}
stage total = t.sum(of: b)
stage b = for row in a { t.double(of: row) }
output total
";
    let (ended, _store) = run(folder.path(), &toys, renamed, 2);
    assert!(ended.counts.iter().all(|count| count.ran == 0), "{:?}", ended.counts);
}

#[test]
fn a_change_that_makes_no_difference_stops_early() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let text = |limit: i64| {
        format!(
            "use std/toy
stage numbers = for i in 1..=5 {{ toy.number(n: i) }}
stage clamped = for x in numbers {{ toy.clamp(of: x, at_most: {limit}) }}
stage doubled = for x in clamped {{ toy.double(of: x) }}
stage total = toy.sum(of: doubled)
output total"
        )
    };
    drop(run(folder.path(), &toys, &text(10), 2));
    let (same, store) = run(folder.path(), &toys, &text(11), 2);
    assert_eq!(same.counts[1].ran, 5, "the clamp itself ran again");
    assert_eq!(toys.calls("toy.double"), 5, "and nothing below it");
    drop((same, store));
    let (changed, _store) = run(folder.path(), &toys, &text(4), 2);
    assert_eq!(changed.counts[2].ran, 0, "5 became 4, whose double is known");
    assert_eq!(toys.calls("toy.sum"), 2);
}

#[test]
fn another_version_of_an_operator_runs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(run(folder.path(), &Toys::new(0, 1), CHAIN, 2));
    let newer = Toys::new(0, 2);
    let (ended, _store) = run(folder.path(), &newer, CHAIN, 2);
    assert!(ended.is_whole());
    assert_eq!(newer.calls("toy.number"), 20);
    assert_eq!(newer.calls("toy.double"), 20);
}

#[test]
fn optional_and_many_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "
use std/toy
stage numbers = for i in 1..=4 { toy.number(n: i) }
stage odd = for x in numbers { toy.odd(of: x) }
stage both = for x in odd { toy.twice(of: x) }
stage pairs = for x in both, y in odd where x.n > 0 { toy.clamp(of: x, at_most: y.n) }
output pairs
";
    let (ended, store) = run(folder.path(), &Toys::new(0, 1), text, 3);
    assert_eq!(rows(&store, &ended, "odd"), [1, 3]);
    assert_eq!(rows(&store, &ended, "both"), [1, -1, 3, -3]);
    assert_eq!(rows(&store, &ended, "pairs"), [1, 1, 1, 3]);
}

const FLAKY: &str = "
use std/toy
stage numbers = for i in 998..=1001 { toy.number(n: i) }
stage tried = for x in numbers { toy.flaky(of: x) } with { retries: 3, backoff: 1ms, on_error: POLICY }
stage total = toy.sum(of: tried)
output total
";

#[test]
fn infrastructure_failures_are_retried_and_rows_that_fail_are_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(2, 1);
    let text = FLAKY.replace("POLICY", "drop(at_most: 50%)");
    let (ended, store) = run(folder.path(), &toys, &text, 2);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(rows(&store, &ended, "tried"), [998, 999]);
    assert_eq!(toys.calls("toy.flaky"), 2 * 3 + 2, "a pure failure is not tried again");
    drop(store);
    let run_id = &run_ids(folder.path())[0];
    let record = read_run(folder.path(), run_id, true).expect("a run");
    let log = format!("{:?}", record.events);
    assert!(log.contains("too large") && log.contains("1e3") && log.contains("the line is down"));

    // The rows that were put aside are tried again, the others are not.
    let (again, _store) = run(folder.path(), &toys, &text, 2);
    assert!(again.is_whole());
    assert_eq!(toys.calls("toy.flaky"), 8 + 2);
}

#[test]
fn a_stage_of_which_no_row_could_be_made_has_no_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |last: i64| {
        format!(
            "
use std/toy
stage numbers = for i in 1..={last} {{ toy.number(n: 997 + i) }}
stage tried = for x in numbers {{ toy.flaky(of: x) }} with {{ on_error: keep }}
output tried
"
        )
    };
    // The line is down for all of them: nothing is known, which is not the same as no rows.
    let toys = Toys::new(9, 1);
    let (ended, store) = run(folder.path(), &toys, &text(2), 2);
    let told = "none of its rows could be made: the line is down";
    assert_eq!(ended.failures, [("tried".to_string(), told.to_string())]);
    assert_eq!(ended.result("tried"), None);
    let tried = &ended.counts[1];
    assert_eq!((tried.failed, tried.outside), (2, 2));
    drop(store);
    // What fails for its own reasons is put aside, however much that is.
    let toys = Toys::new(0, 1);
    let (ended, store) = run(folder.path(), &toys, &text(4), 2);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(rows(&store, &ended, "tried"), [998, 999]);
    let tried = &ended.counts[1];
    assert_eq!((tried.failed, tried.outside), (2, 0));
}

#[test]
fn equal_calls_that_share_nothing_do_not_wait_for_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let text = "
use std/toy
stage met = for i in 1..=2 { toy.meet(n: 1) } with { cache: off }
output met
";
    let (ended, _store) = run(folder.path(), &toys, text, 2);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(toys.calls("toy.meet"), 2);
}

#[test]
fn rows_that_pass_a_filter_are_there_before_the_last_one_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    // The second row of `made` is not done before a row that was made of the first one meets it.
    let text = "
use std/toy
stage made = for i in 1..=2 { toy.meet(n: i - 1) }
stage some = made where .n < 3
stage none = some where .n > 5
stage later = for x in some where x.n == 1 { toy.meet(n: 5) }
output later
output none
";
    let (ended, store) = run(folder.path(), &toys, text, 4);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(rows(&store, &ended, "some"), [1, 2]);
    assert!(rows(&store, &ended, "none").is_empty());
    assert_eq!(rows(&store, &ended, "later"), [2]);
}

#[test]
fn a_filter_gives_the_same_whether_its_rows_come_or_are_there() {
    let text = |test: &str| {
        format!(
            "
use std/toy
stage numbers = for i in 1..=2000 {{ {{ n: i }} }}
stage some = numbers where .n % 3 == 0 where {test}
stage more = for x in some {{ {{ n: x.n + 1 }} }}
output more
"
        )
    };
    let toys = Toys::new(0, 1);
    let fresh = tempfile::tempdir().expect("a folder");
    let (first, store) = run(fresh.path(), &toys, &text(".n > 1000"), 2);
    let expected: Vec<i64> = (1001..=2000).filter(|n| n % 3 == 0).collect();
    assert_eq!(rows(&store, &first, "some"), expected);
    drop(store);
    // The numbers are there, and only the test is another.
    let known = tempfile::tempdir().expect("a folder");
    drop(run(known.path(), &toys, &text(".n > 500"), 2));
    let (second, store) = run(known.path(), &toys, &text(".n > 1000"), 2);
    assert_eq!(second.results, first.results);
    let counts =
        |ended: &Ended| ended.counts.iter().map(|one| (one.ran, one.cached)).collect::<Vec<_>>();
    assert_eq!(counts(&first), [(2000, 0), (333, 0), (333, 0)]);
    assert_eq!(counts(&second), [(0, 2000), (333, 0), (333, 0)]);
    drop(store);
    // Numbers that are made once more and are the same cut off what follows.
    let (third, _store) =
        run(known.path(), &toys, &text(".n > 1000").replace("{ n: i }", "{ n: 0 + i }"), 2);
    assert_eq!(third.results, first.results);
    assert_eq!(counts(&third)[..2], [(2000, 0), (0, 333)]);
}

#[test]
fn a_stage_past_its_tolerance_ends_the_run_and_keeps_what_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    for policy in ["fail", "drop(at_most: 5%)"] {
        let toys = Toys::new(0, 1);
        let (ended, store) = run(folder.path(), &toys, &FLAKY.replace("POLICY", policy), 2);
        assert!(!ended.is_whole());
        assert_eq!(ended.failures.len(), 1, "{:?}", ended.failures);
        assert_eq!(ended.failures[0].0, "tried");
        assert_eq!(ended.result("total"), None);
        drop(store);
    }
}

#[test]
fn a_gate_that_does_not_hold_stops_before_the_rest() {
    let text = |gate: &str| {
        format!(
            "use std/toy
stage numbers = for i in 998..=1040 {{ toy.number(n: i) }}
stage tried = for x in numbers {{ toy.flaky(of: x) }}
  with {{ canary: 4, gate: {gate}, on_error: keep }}
output tried"
        )
    };
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let (ended, store) = run(folder.path(), &toys, &text(".failed_share < 20%"), 2);
    assert!(!ended.is_whole());
    assert!(ended.failures[0].1.contains("gate"), "{:?}", ended.failures);
    assert_eq!(toys.calls("toy.flaky"), 4, "the first four rows, of which at most two work");
    drop(store);
    let (ended, _store) = run(folder.path(), &toys, &text(".rows == 4"), 2);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert!(
        (4 + 41..=4 + 43).contains(&toys.calls("toy.flaky")),
        "what had worked is not repeated"
    );
}

#[test]
fn only_what_an_output_needs_is_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let text = CHAIN.replace("output total", "output numbers");
    let (ended, _store) = run(folder.path(), &toys, &text, 2);
    assert_eq!(ended.results.len(), 1);
    assert_eq!(toys.calls("toy.double"), 0);
}

#[test]
fn a_look_ahead_counts_what_a_run_makes_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let look = |text: &str| {
        let store = Arc::new(Snapshot::open(folder.path()).expect("a snapshot"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let plan = plan(text);
        let told =
            runtime.block_on(forecast(&plan, &toys.operators, store, &[], &[])).expect("told");
        told.into_iter()
            .map(|one| (one.stage, one.will_run, one.bound == Bound::Exact))
            .collect::<Vec<_>>()
    };
    let all = |rows: u64, total: u64| {
        vec![
            ("numbers".to_string(), rows, true),
            ("doubled".to_string(), rows, true),
            ("total".to_string(), total, true),
        ]
    };
    assert_eq!(look(CHAIN), all(20, 1));
    assert!(!folder.path().join("packs").exists(), "nothing was written");
    drop(run(folder.path(), &toys, CHAIN, 2));
    assert_eq!(look(CHAIN), all(0, 0));
    assert_eq!(look(&CHAIN.replace("1..=20", "1..=23")), all(3, 1));
    assert_eq!(toys.calls("toy.double"), 20, "looking ahead called nothing that is not instant");
}

#[test]
fn receipts_tell_what_a_result_was_made_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ended, store) = run(folder.path(), &Toys::new(0, 1), CHAIN, 2);
    drop(store);
    let store = Snapshot::open(folder.path()).expect("a snapshot");
    let total = ended.result("total").expect("a result");
    let made = store
        .receipts()
        .expect("read")
        .find(|receipt| receipt.operator == "toy.sum")
        .expect("a receipt");
    assert_eq!(made.result, total);
    assert_eq!(made.parts.len(), 1);
    assert_eq!(made.parts[0].0, "of");
    assert!(store.receipt(&made.key).expect("read").is_some());
}

/// A guess that is good from the third on; the second one fails.
const GUESS: &str = "
use std/toy
def good(least: int) -> toy.Number? {
  try 4 with feedback {
    let guess = toy.guess(hint: feedback)
    accept guess when guess.n >= least
    feedback = \"{guess.n} is less than {least}\"
  }
}
stage goals = for least in [3, 99] { good(least: least) }
output goals
";

#[test]
fn a_try_ends_at_the_first_good_attempt_and_its_attempts_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let text = GUESS.replace("[3, 99]", "[3]");
    let (ended, store) = run(folder.path(), &toys, &text, 1);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(rows(&store, &ended, "goals"), [3]);
    assert_eq!(toys.calls("toy.guess"), 3, "1 is too small, 2 fails, 3 is good");
    drop((ended, store));
    // Another stage asks for less: the first attempt that is kept is good enough for it.
    let (ended, store) = run(folder.path(), &toys, &text.replace("[3]", "[1]"), 1);
    assert_eq!(rows(&store, &ended, "goals"), [1]);
    assert_eq!(toys.calls("toy.guess"), 3);
}

#[test]
fn a_try_without_a_good_attempt_drops_its_row_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let text = GUESS.replace("[3, 99]", "[99, 3]");
    let (ended, store) = run(folder.path(), &toys, &text, 1);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(rows(&store, &ended, "goals").len(), 1);
    assert_eq!(ended.counts[0].dropped, 1);
    let ids = run_ids(folder.path());
    let record = read_run(folder.path(), &ids[0], true).expect("a run");
    let dropped = record.events.iter().find_map(|event| match event {
        claw::engine::Event::RowDropped { place, attempts, feedback, .. } => {
            Some((place.clone(), *attempts, feedback.clone()))
        }
        _ => None,
    });
    let (place, attempts, feedback) = dropped.expect("an event");
    assert_eq!((place, attempts), (vec![0], 4));
    assert!(feedback.ends_with("is less than 99"), "{feedback}");
}

#[test]
fn without_feedback_a_later_attempt_is_a_call_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let toys = Toys::new(0, 1);
    let text = "
use std/toy
stage guess = try 3 {
  let guess = toy.guess(hint: null)
  accept guess when guess.n >= 3
}
output guess
";
    let (ended, store) = run(folder.path(), &toys, text, 2);
    assert!(ended.is_whole(), "{:?}", ended.failures);
    assert_eq!(n(&value(&store, &ended, "guess")), 3);
}
