//! `claw runs`: what was run, newest first.

use serde_json::json;

use crate::engine::{Event, RunRecord, read_run, read_stage_ends, run_ids};

use super::{Exit, Failure, arguments, print};
use crate::project::Project;

/// Lists the runs of a project.
pub(super) fn runs(args: &arguments::Runs) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let store = project.store();
    let runs: Vec<RunRecord> = run_ids(&store)
        .iter()
        .take(args.limit)
        .filter_map(|id| {
            let run = read_run(&store, id, false)?;
            Some(RunRecord { events: read_stage_ends(&store, id), ..run })
        })
        .collect();
    if args.json {
        let all: Vec<_> = runs
            .iter()
            .map(|run| {
                let told = summary(run);
                json!({
                    "id": run.info.id, "pipeline": run.info.pipeline, "began": run.info.began,
                    "params": run.info.params, "outcome": told.outcome, "took_ms": told.took_ms,
                    "ran": told.ran, "cached": told.cached, "failed": told.failed,
                })
            })
            .collect();
        print::json(&all);
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        print::line("No runs yet. Start one with `claw run PIPELINE`.");
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let told = summary(run);
            vec![
                run.info.id.clone(),
                run.info.pipeline.clone(),
                told.outcome,
                told.took_ms.map(print::duration).unwrap_or_default(),
                print::number(told.ran),
                print::number(told.cached),
                print::number(told.failed),
            ]
        })
        .collect();
    let heads = ["run", "pipeline", "outcome", "took", "ran", "cached", "failed"];
    print::out(&print::columns(&heads.map(str::to_string), &rows));
    Ok(Exit::Done)
}

struct Summary {
    outcome: String,
    took_ms: Option<u64>,
    ran: u64,
    cached: u64,
    failed: u64,
}

fn summary(run: &RunRecord) -> Summary {
    let mut told = Summary {
        outcome: "running or killed".to_string(),
        took_ms: None,
        ran: 0,
        cached: 0,
        failed: 0,
    };
    let mut cached_stages = 0;
    for event in &run.events {
        match event {
            Event::StageEnded { ran, cached, failed, .. } => {
                told.ran += ran;
                told.cached += cached;
                told.failed += failed;
            }
            Event::StageCached { rows, .. } => {
                cached_stages += 1;
                told.cached += rows;
            }
            Event::RunEnded { outcome, took_ms } => {
                told.outcome = outcome.clone();
                told.took_ms = Some(*took_ms);
            }
            _ => {}
        }
    }
    if told.ran == 0 && told.outcome == "done" && cached_stages > 0 {
        told.outcome = "nothing to do".to_string();
    }
    told
}
