//! One of the two runs: what it was asked and what it came to, from its log alone. A run that still
//! goes on, or was killed, tells as far as it got.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::{Event, ProgramRecord, RunInfo, read_run, read_stage_ends};
use crate::plan::Part;
use crate::store::Digest;

use super::super::Failure;

/// A run.
pub(super) struct Side {
    pub(super) info: RunInfo,
    /// `done`, `failed`, `stopped`; `running or killed` while it has not ended.
    pub(super) outcome: String,
    /// Its program; older runs left none.
    pub(super) program: Option<ProgramRecord>,
    /// Its stages, in the order in which they ran or would have.
    pub(super) stages: Vec<Made>,
}

/// What a run made of one stage.
#[derive(Default)]
pub(super) struct Made {
    pub(super) stage: String,
    pub(super) key: Option<Digest>,
    pub(super) result: Option<Digest>,
    /// Rows that failed.
    pub(super) put_aside: u64,
    /// What its key was made of; none while the run goes on.
    pub(super) parts: Option<Vec<Part>>,
}

impl Side {
    /// Reads a run's log.
    pub(super) fn read(store: &Path, id: &str) -> Result<Side, Failure> {
        let run = read_run(store, id, false).ok_or_else(|| {
            Failure::input(format!(
                "the log of run {id} cannot be read\n  help: `claw runs` lists those that can"
            ))
        })?;
        let program = ProgramRecord::read(store, id);
        let mut outcome = "running or killed".to_string();
        let mut ends: BTreeMap<String, (Option<Digest>, u64)> = BTreeMap::new();
        for event in read_stage_ends(store, id) {
            match event {
                Event::StageCached { stage, result, .. } => drop(ends.insert(stage, (result, 0))),
                Event::StageEnded { stage, result, failed, .. } => {
                    ends.insert(stage, (result, failed));
                }
                Event::RunEnded { outcome: how, .. } => outcome = how,
                _ => {}
            }
        }
        let put_aside = |stage: &str| ends.get(stage).map_or(0, |(_, failed)| *failed);
        let stages = if run.stages.is_empty() {
            let known = program.iter().flat_map(|program| &program.stages);
            let mut names: Vec<String> = known.map(|stage| stage.stage.clone()).collect();
            names.extend(
                ends.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>(),
            );
            let made = |stage: String| Made {
                result: ends.get(&stage).and_then(|(result, _)| *result),
                put_aside: put_aside(&stage),
                stage,
                ..Made::default()
            };
            names.into_iter().map(made).collect()
        } else {
            let made = |record: crate::engine::StageRecord| Made {
                put_aside: put_aside(&record.stage),
                stage: record.stage,
                key: record.key,
                result: record.result,
                parts: Some(record.parts),
            };
            run.stages.into_iter().map(made).collect()
        };
        Ok(Side { info: run.info, outcome, program, stages })
    }

    /// A stage by its name.
    pub(super) fn stage(&self, name: &str) -> Option<&Made> {
        self.stages.iter().find(|made| made.stage == name)
    }

    /// A stage as it was written.
    pub(super) fn text(&self, stage: &str) -> Option<&str> {
        let stages = &self.program.as_ref()?.stages;
        stages.iter().find(|text| text.stage == stage).map(|text| text.text.as_str())
    }
}
