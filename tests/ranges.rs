//! Ranges: as small as their ends, however many items they have, and how far a stage is with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use claw::engine::{
    About, Args, Board, CallError, Cancel, Context, Engine, Kind, Limits, Operator, Operators,
    Pool, RunLog,
};
use claw::lang::{MemorySources, Value, bind, load};
use claw::plan::Plan;
use claw::store::Store;
use futures::future::BoxFuture;

use crate::cli::shown;
use crate::project::Project;

/// Neither a plan nor a run makes a range before it goes over it; what would have to be there whole
/// is refused, and so is what no run comes to the end of.
#[test]
fn ranges_cost_nothing_before_they_are_gone_over() {
    let project = Project::new();
    let stages = [
        ("endless", "stage rows = for i in 1..99_999_999_999 { { n: i } }"),
        ("long", "stage rows = for i in 1..4_000_000_000 { { n: i } }"),
        ("nested", "stage rows = for i in 1..=60_000, j in 1..=60_000 { { n: i * j } }"),
        ("whole", "stage rows = 1..99_999_999"),
        ("joined", "stage rows = for i in [0] + (1..99_999_999) { { n: i } }"),
        (
            "chosen",
            "stage rows = for i in 1..3, j in (if i == 1 then 1..40_000_000 else [1]) { j }",
        ),
    ];
    let mut text = String::new();
    for (name, stage) in stages {
        project.write(&format!("{name}.claw"), &format!("{stage}\noutput rows\n"));
        text.push_str(&format!("{stage}\n"));
        text.push_str(&shown(&project, &["plan", &format!("{name}.claw")]));
        if ["endless", "whole", "joined", "chosen"].contains(&name) {
            let said = shown(&project, &["run", &format!("{name}.claw"), "--quiet"]);
            text.extend(
                said.lines()
                    .filter(|line| !line.contains(" made, "))
                    .map(|line| format!("{line}\n")),
            );
        }
    }
    insta::assert_snapshot!("ranges_without_an_end", text);
}

/// Few rows of many combinations, in generators that come after the first.
#[test]
fn inner_ranges_are_gone_over_one_by_one() {
    let project = Project::new();
    project.write(
        "main.claw",
        "stage rows = for i in 1..=3, j in 1..=30_000, k in j..=j where j > 29_998 \
         { { i: i, j: j, k: k } }\noutput rows as \"rows.jsonl\"\n",
    );
    project.ok(&["run", "main.claw", "--quiet"]);
    let rows = std::fs::read_to_string(project.path("rows.jsonl")).expect("rows");
    let first = "{\"i\":1,\"j\":29999,\"k\":29999}\n{\"i\":1,\"j\":30000,\"k\":30000}\n";
    assert!(rows.starts_with(first), "{rows}");
    assert_eq!(rows.lines().count(), 6);
}

#[test]
fn more_threads_than_any_machine_has_are_refused() {
    let project = Project::new();
    project.write("main.claw", "stage a = for i in 1..=2 { { n: i } }\noutput a\n");
    insta::assert_snapshot!(
        "too_many_threads",
        shown(&project, &["run", "main.claw", "-j", "100000"])
    );
    project.ok(&["run", "main.claw", "-j", "300"]);
}

/// How many rows were done and how many there could be, at each call.
type Seen = Vec<(u64, Option<u64>)>;

/// Sees at each call how far the board says that the first stage is.
struct Look {
    board: Arc<OnceLock<Arc<Board>>>,
    seen: Arc<Mutex<Seen>>,
}

impl Operator for Look {
    fn about(&self) -> About {
        About { name: "toy.look", version: 1, kind: Kind::Pure, pool: Pool::Instant }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        _context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            let count = self.board.get().expect("a board").lines[0].count();
            self.seen.lock().expect("a lock").push((count.ran + count.failed, count.extent));
            Ok(Value::Int(args.int("n")?))
        })
    }
}

/// What was seen of the progress of `rows`, a `for` whose rows call `toy.look`.
fn looks(rows: &str) -> Seen {
    let text = format!("use std/toy\nstage rows = {rows}\noutput rows\n");
    let sources = MemorySources::new()
        .file("std/toy.claw", "extern def look(n: int) -> int\n")
        .file("main.claw", text.as_str());
    let program = load("main.claw", &sources).program.expect("a program");
    let pipeline = bind(&program, &BTreeMap::new(), &sources).expect("a pipeline");
    let plan = Arc::new(Plan::new(pipeline, &[]).expect("a plan"));
    let look = Look { board: Arc::default(), seen: Arc::default() };
    let (board, seen) = (look.board.clone(), look.seen.clone());
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine {
        store: Arc::new(Store::open(folder.path(), "test").expect("a store")),
        operators: Operators::new([Arc::new(look) as Arc<dyn Operator>]),
        limits: Limits { threads: 2, sandboxes: 4, memory: 8 << 30, gpus: 0 },
        cancel: Cancel::default(),
        log: Arc::new(RunLog::begin(folder.path(), "main.claw", Vec::new()).expect("a log")),
        refresh: Vec::new(),
        budget: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let shown = Engine::board(&plan);
    board.set(shown.clone()).expect("one board");
    assert!(runtime.block_on(engine.run(plan, shown)).is_whole());
    let seen = seen.lock().expect("a lock");
    seen.clone()
}

/// From the first row on the number of rows to come is the one that there will be, and where a
/// condition leaves rows out it only falls.
#[test]
fn the_rows_to_come_are_known_from_the_first_on() {
    let all = |rows: &str, most: u64| {
        let looks = looks(rows);
        assert_eq!(looks.len() as u64, most, "{rows}");
        for (done, extent) in looks {
            assert_eq!(extent, Some(most), "{rows}, after {done}");
        }
    };
    all("for i in 1..=20, j in [3, 4, 5] { toy.look(n: i * 10 + j) }", 60);
    all("for i in 1..=20, j in 1..=i { toy.look(n: i * 100 + j) }", 210);
    all("for i in [1, 2], j in [i, i + 5], k in 0..j { toy.look(n: i * 100 + j * 10 + k) }", 16);
    let looks = looks("for i in 1..=40, j in 1..=2 where i > 30 { toy.look(n: i * 10 + j) }");
    assert_eq!(looks.len(), 20);
    for (done, extent) in looks {
        let extent = extent.expect("an extent");
        assert!((20..=80).contains(&extent) && done <= extent, "{done} of {extent}");
    }
}
