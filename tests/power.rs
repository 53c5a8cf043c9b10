//! Power cuts: what a disk holds that lost everything which was not synced.
//!
//! A run is recorded with strace, every write with its bytes and every sync. [`disk`] plays the
//! record to a disk of which the power is cut at any place: of a file only what was synced is there,
//! and whatever the disk wrote of its own accord besides; a name is there when its folder was synced.
//! From there the store must check clean, the next run must give the same digests, and what a run
//! said was done must not be done again.
//!
//! The same is asked of records in which the syncs are missing, or receipts stand in front of their
//! objects: there it must find something, or it would find nothing ever.

mod disk;

use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::project::{Project, checkout};

use disk::{Disk, Kept, Step, Trace};

/// Places at which the power is cut in every test run; `CLAW_CUTS=1000` takes more of them.
const CUTS: usize = 8;
/// Longer than what a pack takes, so that it is a file of its own.
const LARGE: usize = 4_300_000;

fn write(project: &Project) {
    let from = checkout().join("benches/faults");
    for path in ["main.claw", "data/a/x.txt", "data/y.txt"] {
        project.write(path, &std::fs::read_to_string(from.join(path)).expect("a file"));
    }
    project.write("big.txt", &"x".repeat(LARGE));
}

/// A project, what a run of it did, and what came out.
struct Recorded {
    project: Project,
    trace: Trace,
    results: Json,
}

/// Records a run; `None` where nothing can be traced.
#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn recorded() -> Option<Recorded> {
    let project = Project::new();
    write(&project);
    let path = project.path("trace.txt");
    let run = Command::new("strace")
        .args(["-f", "-qq", "-y", "-xx", "-s", "100000000", "-o"])
        .arg(&path)
        .args(["-e", &format!("trace={}", disk::CALLS.join(","))])
        .arg(env!("CARGO_BIN_EXE_claw"))
        .args(["run", "main.claw", "--json"])
        .current_dir(project.path(""))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output();
    let Some(run) = run.ok().filter(|run| run.status.success()) else {
        eprintln!("SKIPPED: strace is missing or may not trace here; no power was cut");
        return None;
    };
    let told: Json = serde_json::from_slice(&run.stdout).expect("JSON");
    let text = std::fs::read_to_string(path).expect("a trace");
    let folder = project.path("").canonicalize().expect("a path");
    let trace = Trace::read(&text, &folder);
    Some(Recorded { project, trace, results: told["results"].clone() })
}

/// What is wrong on a disk of which the power was cut: `None` when nothing is. `done` when the run
/// had said that it was.
fn wrong(recorded: &Recorded, disk: &Disk, kept: Kept, done: bool) -> Option<String> {
    let project = Project::new();
    write(&project);
    disk.after_a_cut(kept, &project.path(""));
    let check = project.claw(&["store", "check"]);
    if !check.status.success() {
        return Some(format!("store check: {}", String::from_utf8_lossy(&check.stdout)));
    }
    let run = project.claw(&["run", "main.claw", "--json"]);
    let told: Json = match serde_json::from_slice(&run.stdout) {
        Ok(told) => told,
        Err(_) => return Some(String::from_utf8_lossy(&run.stderr).into_owned()),
    };
    if told["results"] != recorded.results {
        return Some(format!("other results: {told}"));
    }
    let stages = told["stages"].as_array().expect("stages");
    let ran: u64 = stages.iter().filter_map(|stage| stage["ran"].as_u64()).sum();
    if done && ran > 0 {
        return Some(format!("{ran} rows were made again"));
    }
    let check = project.claw(&["store", "check"]);
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    (!check.status.success()).then_some(text)
}

/// Plays a record and cuts the power at about so many places, always also at its end.
fn faults(recorded: &Recorded, trace: &Trace, cuts: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut disk = Disk::new(&recorded.project.path("").canonicalize().expect("a path"));
    let places: Vec<usize> =
        (0..trace.steps.len()).filter(|place| trace.steps[*place].is_in_store()).collect();
    let every = (places.len() / cuts).max(1);
    let mut number = 0;
    for (place, step) in trace.steps.iter().enumerate() {
        disk.play(step);
        let Ok(nth) = places.binary_search(&place) else { continue };
        if nth % every != 0 {
            continue;
        }
        let kept = [Kept::Synced, Kept::Half, Kept::Index][number % 3];
        number += 1;
        if let Some(why) = wrong(recorded, &disk, kept, false) {
            found.push(format!("cut after step {place}, {kept:?}: {why}"));
        }
    }
    if let Some(why) = wrong(recorded, &disk, Kept::Synced, true) {
        found.push(format!("cut after the end: {why}"));
    }
    found
}

fn cuts() -> usize {
    std::env::var("CLAW_CUTS").map_or(CUTS, |text| text.parse().expect("a number"))
}

#[test]
fn a_power_cut_anywhere_costs_nothing_that_was_said_to_be_done() {
    let Some(recorded) = recorded() else { return };
    let steps = &recorded.trace.steps;
    let count = |what: fn(&Step) -> bool| steps.iter().filter(|step| what(step)).count();
    assert!(count(|step| matches!(step, Step::Write { .. })) > 20, "the record is empty");
    assert!(count(|step| matches!(step, Step::Sync(_))) > 4, "nothing was synced");
    assert_eq!(faults(&recorded, &recorded.trace, cuts()), [] as [&str; 0]);
}

#[test]
fn without_syncs_a_power_cut_is_found_to_cost_something() {
    let Some(recorded) = recorded() else { return };
    let without = |part: &str| {
        let steps = recorded.trace.steps.iter();
        let kept = steps.filter(|step| match step {
            Step::Sync(path) => !path.to_string_lossy().contains(part),
            _ => true,
        });
        Trace { steps: kept.cloned().collect() }
    };
    // Of the packs: the rows of a run that ended are gone.
    let packs = faults(&recorded, &without("/.claw/packs/"), 1);
    assert!(packs.iter().any(|fault| fault.contains("rows were made again")), "{packs:?}");
    // Of large files: a name without its bytes, or bytes without a name.
    let objects = faults(&recorded, &without("/.claw/objects/"), 1);
    assert!(!objects.is_empty());
}

/// The order in which records are written is what makes a torn append harmless.
#[test]
fn receipts_in_front_of_their_objects_are_found_by_a_power_cut() {
    let Some(recorded) = recorded() else { return };
    let torn = |receipts_first: bool| {
        let mut disk = Disk::new(&recorded.project.path("").canonicalize().expect("a path"));
        disk::torn_append(&recorded.trace, receipts_first).iter().for_each(|step| disk.play(step));
        wrong(&recorded, &disk, Kept::Synced, false)
    };
    assert_eq!(torn(false), None);
    let found = torn(true).expect("a fault");
    assert!(found.starts_with("store check"), "{found}");
}
