//! What the store remembers of a stage: read beside a run that goes on, without any lock.

use crate::engine::{Event, read_run, read_stage_ends, run_ids};
use crate::project::Project;

/// How many runs are looked back at.
const LOOK_BACK: usize = 50;

/// The last result of a stage.
pub(super) struct LastResult {
    /// Rows that it has.
    rows: u64,
    /// Rows that were put aside.
    failed: u64,
    /// When the run began that made it, in RFC 3339.
    began: String,
    /// That run's id.
    run: String,
}

impl LastResult {
    /// The last result of a stage of a pipeline (its file relative to the project).
    pub(super) fn of(project: &Project, pipeline: &str, stage: &str) -> Option<LastResult> {
        let store = project.store();
        run_ids(&store).into_iter().take(LOOK_BACK).find_map(|id| {
            let info = read_run(&store, &id, false)?.info;
            if info.pipeline != pipeline {
                return None;
            }
            // A stage that was answered whole from the store is counted where it was made.
            read_stage_ends(&store, &id).into_iter().rev().find_map(|event| match event {
                Event::StageEnded { stage: of, rows, failed, result: Some(_), .. }
                    if of == stage =>
                {
                    Some(LastResult { rows, failed, began: info.began.clone(), run: id.clone() })
                }
                _ => None,
            })
        })
    }

    /// In one line: `40 rows in the store, made 2026-11-22 19:04 UTC (run 2026-…)`.
    pub(super) fn line(&self) -> String {
        let rows = if self.rows == 1 { "1 row".to_string() } else { format!("{} rows", self.rows) };
        let aside = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} put aside"),
        };
        let began = self.began.get(..16).unwrap_or(&self.began).replace('T', " ");
        format!("{rows} in the store{aside}, made {began} UTC (run `{}`)", self.run)
    }
}
