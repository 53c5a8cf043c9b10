//! The scheduler, simulated: random programs with random misfortunes in virtual time.
//!
//! A seed makes a program ([`graph`]) and everything that happens while it runs ([`world`]): how long
//! each call takes, which fail, hang or panic, when the run is asked to stop or torn away, and what
//! the store loses then. Time is tokio's paused clock, so an hour passes in no time; on one thread the
//! same seed gives the same story, but for the order of what wakes at the same instant, which is
//! tokio's. After each story:
//!
//! * the results are those of plain loops over plain numbers, or the run failed where they fail;
//! * a run that was stopped, and went on, gives the digests of one that was not, and made nothing
//!   twice;
//! * no limit was passed, and the log tells what happened ([`history`]).
//!
//! `CLAW_SEED=17 cargo test simulation` tells the story of one seed (many times), `CLAW_SEEDS=10000`
//! those of so many.

mod chance;
mod graph;
mod history;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use claw::engine::{Cancel, Ended, Engine, Limits, RunLog};
use claw::lang::{MemorySources, Severity, Value, bind, load};
use claw::plan::Plan;
use claw::store::{Digest, Store};

use chance::Chance;
use graph::{Graph, Made};
use world::World;

const TOYS: &str = r#"
type Number = { n: int }
extern def number(n: int) -> Number
extern def double(of: Number) -> Number
extern def half(of: Number) -> Number?
extern def split(of: Number) -> [Number]
extern def add(of: Number, to: Number) -> Number
extern def total(of: [Number]) -> Number
extern def sorted(of: [Number]) -> [Number]
extern def shaky(of: Number, tag: int) -> Number
"#;

/// Seeds that every test run goes through, in as many threads.
const SEEDS: u64 = 160;
const THREADS: u64 = 4;
/// How often the story of one seed is told when it is asked for.
const AGAIN: usize = 20;
/// Runs after which a story must have come to its end.
const MOST_RUNS: u32 = 60;

fn plan(text: &str) -> Plan {
    let sources = MemorySources::new().file("std/toy.claw", TOYS).file("main.claw", text);
    let checked = load("main.claw", &sources);
    let errors: Vec<_> =
        checked.diagnostics.iter().filter(|one| one.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let program = checked.program.expect("a program");
    let pipeline = bind(&program, &BTreeMap::new(), &sources).expect("a pipeline");
    Plan::new(pipeline, &[]).expect("a plan")
}

/// Where stories take place: one store for many of them, whose keys differ.
struct Place {
    folder: tempfile::TempDir,
    store: Option<Arc<Store>>,
}

impl Place {
    fn new() -> Place {
        // In memory where there is such a folder: no disk is under test here.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Place { folder: folder.expect("a folder"), store: None }
    }

    fn store(&mut self) -> Arc<Store> {
        let path = self.folder.path();
        self.store
            .get_or_insert_with(|| Arc::new(Store::open(path, "simulation").expect("a store")))
            .clone()
    }

    fn close(&mut self) {
        let store = self.store.take();
        assert!(
            store.is_none_or(|store| Arc::try_unwrap(store).is_ok()),
            "somebody holds the store"
        );
    }

    /// The power goes: the end of the last pack is lost, and sometimes the index.
    fn cut(&mut self, chance: &mut Chance) {
        self.close();
        let packs = std::fs::read_dir(self.folder.path().join("packs")).expect("packs");
        let mut packs: Vec<PathBuf> = packs.map(|entry| entry.expect("an entry").path()).collect();
        packs.sort();
        let last = packs.last().expect("a pack");
        let length = std::fs::metadata(last).expect("a pack").len();
        let file = std::fs::OpenOptions::new().write(true).open(last).expect("a pack");
        file.set_len(chance.below(length + 1)).expect("cut");
        if chance.one_in(2) {
            let _ = std::fs::remove_dir_all(self.folder.path().join("index"));
        }
    }
}

/// How a run is disturbed.
#[derive(Clone, Copy)]
enum Stop {
    Never,
    /// Asked to stop after so many milliseconds.
    Asked(u64),
    /// Torn away after so many.
    Torn(u64),
}

/// One run of a story; `None` when it was torn away.
fn run(
    place: &mut Place,
    world: &Arc<World>,
    graph: &Graph,
    limits: Limits,
    stop: Stop,
) -> Option<Ended> {
    let store = place.store();
    let folder = place.folder.path().to_path_buf();
    let plan = Arc::new(plan(&graph.text()));
    world.begin();
    let engine = Engine {
        store: store.clone(),
        operators: world.operators(),
        limits,
        cancel: Cancel::default(),
        log: Arc::new(RunLog::begin(&folder, "main.claw", Vec::new()).expect("a log")),
        refresh: Vec::new(),
        budget: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let ended = runtime.block_on(async {
        let work = engine.run(plan.clone(), Engine::board(&plan));
        match stop {
            Stop::Never => Some(work.await),
            Stop::Torn(after) => {
                tokio::time::timeout(Duration::from_millis(after), work).await.ok()
            }
            Stop::Asked(after) => {
                let cancel = engine.cancel.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    cancel.cancel();
                });
                Some(work.await)
            }
        }
    });
    drop(runtime);
    history::check(&store, &folder, &engine.log.info.id, graph, ended.as_ref());
    assert_eq!(world.wrong(), None);
    // What was only cut off by a stop has not failed. Where a stage above fails in the end, a row may
    // fail before.
    let right = graph.results();
    for (stage, message) in ended.iter().flat_map(|ended| &ended.failures) {
        let may = matches!(right[place_of(stage)], Made::Fails | Made::Nothing);
        assert!(may, "{stage} failed: {message}");
    }
    ended
}

/// The place of the stage called `s7`.
fn place_of(stage: &str) -> usize {
    stage[1..].parse().expect("a place")
}

/// What each stage of a run came to.
fn values(store: &Store, ended: &Ended) -> BTreeMap<String, Made> {
    let mut out = BTreeMap::new();
    for (stage, result) in &ended.results {
        let Some(digest) = result else { continue };
        let read = |digest: &Digest| claw::engine::read_value(store, digest).expect("a value");
        let made = match read(digest) {
            Value::Table(table) => {
                Made::Table(table.rows.iter().map(|row| world::number(&read(row))).collect())
            }
            value => Made::One(world::number(&value)),
        };
        out.insert(stage.clone(), made);
    }
    out
}

/// Compares a run that was not stopped with what was worked out by hand.
fn assert_right(store: &Store, ended: &Ended, graph: &Graph) {
    let right = graph.results();
    for (stage, made) in values(store, ended) {
        assert_eq!(made, right[place_of(&stage)], "{stage}");
    }
    let fails = ended.results.iter().any(|(stage, _)| right[place_of(stage)] == Made::Fails);
    assert_eq!(ended.is_whole(), !fails, "{:?}", ended.failures);
    assert_eq!(ended.failures.is_empty(), !fails, "{:?}", ended.failures);
    assert!(!ended.stopped);
}

/// Everything that happens to one seed's program.
fn story(seed: u64, shared: &mut Place) {
    let graph = Arc::new(Graph::random(seed));
    let mut chance = Chance::new(!seed);
    let mut limits = || Limits {
        threads: 2 + chance.below(3) as usize,
        sandboxes: 1 + chance.below(8) as usize,
        memory: (3 + chance.below(4)) << 30,
        gpus: 0,
    };
    let (quiet, disturbed) = (limits(), limits());
    let version = seed as u32 * 2;

    let world = World::new(graph.clone(), seed, version, quiet);
    let ended = run(shared, &world, &graph, quiet, Stop::Never).expect("it was not torn away");
    assert_right(&shared.store(), &ended, &graph);
    if ended.is_whole() {
        let again = run(shared, &world, &graph, quiet, Stop::Never).expect("it was not torn away");
        assert_eq!(again.results, ended.results, "the same once more");
    }

    // Other delays, other limits, and no peace. Some lose a part of their store each time.
    let loses = seed % 8 == 3;
    let mut own = loses.then(Place::new);
    let place = own.as_mut().unwrap_or(shared);
    let mut world = World::new(graph.clone(), !seed, version + 1, disturbed);
    let mut runs = 0;
    let whole = loop {
        runs += 1;
        assert!(runs < MOST_RUNS, "it never ends");
        // Each run gets a little further, so that the story ends.
        let after = chance.below(400 * u64::from(runs) * u64::from(runs));
        let stop = match chance.below(5) {
            0 => Stop::Never,
            1 | 2 => Stop::Asked(after),
            _ => Stop::Torn(after),
        };
        match run(place, &world, &graph, disturbed, stop) {
            Some(ended) if !ended.stopped => break ended,
            _ => {}
        }
        if loses {
            place.cut(&mut chance);
            // What was lost is made again, and may be.
            world = World::new(graph.clone(), !seed ^ u64::from(runs), version + 1, disturbed);
        }
    };
    assert_right(&place.store(), &whole, &graph);
    if ended.is_whole() {
        assert_eq!(whole.results, ended.results, "after {runs} runs");
    }
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match (number("CLAW_SEED"), number("CLAW_SEEDS")) {
        (Some(seed), _) => vec![seed; AGAIN],
        (None, count) => (1..=count.unwrap_or(SEEDS)).collect(),
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the seed that failed must be told")]
fn any_story_ends_right() {
    let seeds = seeds();
    std::thread::scope(|scope| {
        for part in 0..THREADS {
            let seeds: Vec<u64> =
                seeds.iter().copied().filter(|seed| seed % THREADS == part).collect();
            scope.spawn(move || {
                let mut place = Place::new();
                let alone = seeds.len() > 1 && seeds[0] == seeds[1];
                for seed in seeds {
                    if alone {
                        place = Place::new();
                    }
                    let told = std::panic::AssertUnwindSafe(|| story(seed, &mut place));
                    if let Err(panic) = std::panic::catch_unwind(told) {
                        eprintln!(
                            "\nseed {seed} failed; `CLAW_SEED={seed} cargo test simulation` \
                             repeats it:\n\n{}",
                            Graph::random(seed).text()
                        );
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}
