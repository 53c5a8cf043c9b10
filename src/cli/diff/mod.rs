//! `claw diff`: what differs between two runs, in what they were asked and in what they made.
//!
//! It reads run logs and the store as it stands, without its index and without its lock, so that it
//! works while a run goes on.

mod leaves;
mod program;
mod rows;
mod side;
mod stages;
mod tell;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::engine::{difference, read_run, run_ids};
use crate::project::Project;
use crate::store::Snapshot;

use super::{Exit, Failure, print, run_names};

use program::{Changed, StageChange};
use side::Side;
use stages::StageDiff;

/// `claw diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The earlier run [default: the one before the later run of the same pipeline]
    old: Option<String>,

    /// The later run
    #[arg(default_value = "latest")]
    new: String,

    /// Only this stage; may be repeated
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,

    /// Examples of each kind for a stage, at most
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Everything that differs.
#[derive(Debug, Serialize)]
struct Difference {
    params: Vec<Changed>,
    versions: Vec<Changed>,
    program: Vec<StageChange>,
    stages: Vec<StageDiff>,
}

impl Difference {
    fn is_none(&self) -> bool {
        self.params.is_empty()
            && self.versions.is_empty()
            && self.program.is_empty()
            && !self.stages.iter().any(StageDiff::differs)
    }
}

/// Compares two runs. Ends like `diff` does: with 0 when they are the same, with 1 when they differ,
/// with 2 when they cannot be compared.
pub(super) fn diff(args: &Args) -> Result<Exit, Failure> {
    // 1 says that they differ, and nothing else may.
    compare(args).map_err(|failure| Failure { exit: Exit::BadInput, ..failure })
}

fn compare(args: &Args) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let folder = project.store();
    let later = run_names::find(&folder, &args.new)?;
    let earlier = match &args.old {
        Some(name) => run_names::find(&folder, name)?,
        None => before(&folder, &later)?,
    };
    let (old, new) = (Side::read(&folder, &earlier)?, Side::read(&folder, &later)?);
    for name in &args.only {
        let names: Vec<&str> =
            new.stages.iter().chain(&old.stages).map(|made| made.stage.as_str()).collect();
        if !names.contains(&name.as_str()) {
            return Err(Failure::input(super::load::unknown("stage", name, &names)));
        }
    }
    let store = Snapshot::open(&folder)?;
    let wanted = |stage: &str| args.only.is_empty() || args.only.iter().any(|name| name == stage);
    let mut program = program::stages(&old, &new, &|was, now| difference(&store, was, now));
    let old_name = |stage: &str| {
        let renamed = program.iter().find(|change| change.stage == stage);
        renamed.and_then(|change| change.was.clone()).unwrap_or_else(|| stage.to_string())
    };
    let mut made = Vec::new();
    for stage in new.stages.iter().filter(|made| wanted(&made.stage)) {
        // A stage that one of the programs does not have is told there.
        if let Some(was) = old.stage(&old_name(&stage.stage)) {
            let (was, now) = (Some(was), Some(stage));
            made.push(stages::compare(&stage.stage, was, now, &store, args.examples)?);
        }
    }
    program.retain(|change| wanted(&change.stage));
    let params = program::params(&old, &new);
    let versions = program::versions(&old, &new);
    let difference = Difference { params, versions, program, stages: made };
    let same = difference.is_none();
    if args.json {
        let side = |side: &Side| {
            json!({
                "id": side.info.id, "pipeline": side.info.pipeline, "began": side.info.began,
                "outcome": side.outcome,
            })
        };
        print::json(&json!({
            "same": same, "old": side(&old), "new": side(&new), "difference": difference,
        }));
    } else {
        print::out(&tell::tell(&old, &new, &difference));
    }
    Ok(if same { Exit::Done } else { Exit::Failed })
}

/// The run of the same pipeline before this one.
fn before(store: &Path, run: &str) -> Result<String, Failure> {
    let pipeline = |id: &str| read_run(store, id, false).map(|run| run.info.pipeline);
    let wanted = pipeline(run);
    let ids = run_ids(store);
    let earlier = ids.iter().skip_while(|id| *id != run).skip(1);
    let mut same = earlier.filter(|id| wanted.is_some() && pipeline(id) == wanted);
    same.next().cloned().ok_or_else(|| {
        Failure::input(format!(
            "there is no run of {} before {run}, so there is nothing to compare it with\n  help: \
             name two runs: `claw diff OLD NEW`; `claw runs` lists them",
            wanted.as_deref().unwrap_or("its pipeline")
        ))
    })
}
