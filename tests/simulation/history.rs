//! Whether the log of a run tells of it what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use claw::engine::{Ended, Event, read_run};
use claw::lang::Value;
use claw::store::{Digest, Store};

use super::graph::Graph;

/// What the log tells of one stage.
#[derive(Default)]
struct Told {
    rows: BTreeMap<Vec<u32>, Vec<Digest>>,
    /// Of plain rows, which are told together: how many ran, and how many rows they gave.
    plain: (u64, u64),
    failed: BTreeSet<Vec<u32>>,
    ended: bool,
}

/// Checks the log of a run that came to its end, or (`ended` is `None`) was torn away in the middle.
pub(super) fn check(store: &Store, folder: &Path, run: &str, graph: &Graph, ended: Option<&Ended>) {
    let record = read_run(folder, run, true).expect("the run has a log");
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut over = false;
    for event in &record.events {
        assert!(!over, "something happened after the end of the run: {event:?}");
        match event {
            Event::Row { stage, place, rows, .. } => {
                let told = told.entry(stage.clone()).or_default();
                assert!(!told.ended, "a row of {stage} after its end");
                let twice = told.rows.insert(place.clone(), rows.clone());
                assert_eq!(twice, None, "{stage} {place:?} twice");
            }
            Event::Rows { stage, ran, rows, .. } => {
                let told = told.entry(stage.clone()).or_default();
                assert!(!told.ended, "rows of {stage} after its end");
                told.plain = (told.plain.0 + ran, told.plain.1 + rows);
            }
            Event::RowFailed { stage, place, .. } => {
                let told = told.entry(stage.clone()).or_default();
                assert!(!told.ended, "a row of {stage} failed after its end");
                assert!(told.failed.insert(place.clone()), "{stage} {place:?} failed twice");
                assert!(!told.rows.contains_key(place), "{stage} {place:?} is there and failed");
            }
            Event::Numbered { stage, numbers } => {
                let failed = &told.entry(stage.clone()).or_default().failed;
                for (place, _) in numbers {
                    assert!(failed.contains(place), "{stage} {place:?} has a number, and is there");
                }
                let distinct: BTreeSet<&Vec<u32>> = numbers.iter().map(|(_, to)| to).collect();
                assert_eq!(distinct.len(), numbers.len(), "two rows of {stage} with one number");
            }
            Event::StageCached { stage, .. } => {
                let told = told.entry(stage.clone()).or_default();
                assert!(!told.ended && told.rows.is_empty());
                told.ended = true;
            }
            Event::StageEnded { stage, rows, ran, cached, failed, result } => {
                let told = told.entry(stage.clone()).or_default();
                assert!(!told.ended, "{stage} ended twice");
                told.ended = true;
                if graph.fans_out(super::place_of(stage)) {
                    let tasks = told.rows.len() as u64 + told.plain.0;
                    assert_eq!(tasks, *ran, "rows of {stage} that ran");
                    assert_eq!(told.failed.len() as u64, *failed, "rows of {stage} that failed");
                    if let (Some(result), 0) = (result, *cached) {
                        let all: Vec<Digest> = told.rows.values().flatten().copied().collect();
                        assert_eq!(all.len() as u64 + told.plain.1, *rows);
                        if told.plain.0 == 0 {
                            assert_eq!(table(store, result), all, "the rows of {stage}");
                        }
                    }
                }
                if let Some(ended) = ended {
                    assert_eq!(ended.result(stage), *result);
                }
            }
            Event::RunEnded { outcome, .. } => {
                over = true;
                let ended = ended.expect("a run that was torn away does not say how it ended");
                let right = match (ended.stopped, ended.is_whole()) {
                    (true, _) => "stopped",
                    (false, true) => "done",
                    (false, false) => "failed",
                };
                assert_eq!(outcome, right);
            }
            Event::Retry { .. } | Event::RowDropped { .. } => {}
        }
    }
    assert_eq!(over, ended.is_some(), "the end of the run");
    if let Some(ended) = ended {
        for stage in ended.results.keys() {
            assert!(told.get(stage).is_some_and(|told| told.ended), "{stage} has no end");
        }
    }
}

fn table(store: &Store, result: &Digest) -> Vec<Digest> {
    match claw::engine::read_value(store, result).expect("a value") {
        Value::Table(table) => table.rows.clone(),
        other => panic!("no table: {other:?}"),
    }
}
