//! `claw plan`: what a run would do, why, and what it would cost.

mod cost;

use std::sync::Arc;

use serde_json::json;

use crate::engine::{self, Bound, Forecast, RunRecord};
use crate::plan::{PartKind, Plan, Reason};
use crate::store::Snapshot;

use super::{Exit, Failure, arguments, load, print, served};
use crate::project::Project;

/// Looks ahead and tells.
pub(super) fn plan(args: &arguments::Plan) -> Result<Exit, Failure> {
    let (project, entry) = Project::of(&args.pipeline.pipeline)?;
    let store = Arc::new(Snapshot::open(&project.store())?);
    let pipeline = load::bind(&project, &entry, &args.pipeline, store.clone())?;
    let plan = load::plan(pipeline, &args.only)?;
    load::refreshed(&plan, &args.refresh)?;
    let last = last_run(&project, &entry);
    let before = last.as_ref().map(|run| run.stages.clone()).unwrap_or_default();
    let changed = last.map(|run| changed_params(&run, &plan)).unwrap_or_default();
    let operators = load::operators(&project, true)?;
    let program = served::program(&project, &plan, &operators);
    served::tell_of_others(&project, &entry, &plan, &program, None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|err| Failure::work(format!("starting the runtime: {err}")))?;
    let ahead = engine::forecast(&plan, &operators, store, &before, &args.refresh);
    let stages = runtime.block_on(ahead)?;
    let models = &project.settings.models;
    if args.json {
        let stage = |stage: &Forecast| {
            let mut told = json!(stage);
            told["exact"] = json!(stage.bound == Bound::Exact);
            told["asks"] = cost::of_stage(stage, models);
            told
        };
        print::json(&json!({
            "pipeline": entry, "params": changed,
            "stages": stages.iter().map(stage).collect::<Vec<_>>(),
            "models": cost::sums(&stages, models),
        }));
    } else {
        if !changed.is_empty() {
            print::line(&format!("Since the last run: {}.\n", changed.join(", ")));
        }
        print::out(&tell(&stages));
        print::out(&cost::tell(&stages, models));
    }
    Ok(Exit::Done)
}

/// The last run of this pipeline that left its stages.
fn last_run(project: &Project, entry: &str) -> Option<RunRecord> {
    engine::run_ids(&project.store())
        .iter()
        .filter_map(|id| engine::read_run(&project.store(), id, false))
        .find(|run| run.info.pipeline == entry && !run.stages.is_empty())
}

/// Parameters that differ from those of a run, each as `people 80 → 81`.
fn changed_params(run: &RunRecord, plan: &Plan) -> Vec<String> {
    let mut changed = Vec::new();
    for (name, value) in &plan.pipeline.params {
        let now = value.to_json();
        match run.info.params.iter().find(|(other, _)| other == name) {
            Some((_, was)) if *was == now => {}
            Some((_, was)) => {
                let (was, now) = (print::brief(was), print::brief(&now));
                changed.push(format!("{name} {was} → {now}"));
            }
            None => changed.push(format!("{name} is new")),
        }
    }
    changed
}

fn tell(stages: &[Forecast]) -> String {
    let running: Vec<&Forecast> = stages.iter().filter(|stage| stage.runs()).collect();
    if running.is_empty() {
        let (rows, count) = (print::number(sum(stages, |stage| stage.cached)), stages.len());
        return format!("Nothing to run: all {count} stages ({rows} rows) are in the store.\n");
    }
    let unseen = sum(stages, |stage| stage.unseen);
    let mut heads = vec!["stage", "will run", "cached"];
    if unseen > 0 {
        heads.push("not looked at");
    }
    heads.push("why");
    let mut rows = Vec::new();
    for stage in stages {
        let mut row = vec![
            stage.stage.clone(),
            bounded(stage.bound, stage.will_run),
            print::number(stage.cached),
        ];
        if unseen > 0 {
            row.push(print::number(stage.unseen));
        }
        let mut reasons = stage.reasons.iter().map(reason);
        row.push(reasons.next().unwrap_or_default());
        rows.push(row);
        for more in reasons {
            let mut row = vec![String::new(); heads.len() - 1];
            row.push(more);
            rows.push(row);
        }
    }
    let heads: Vec<String> = heads.into_iter().map(str::to_string).collect();
    let mut out = print::columns(&heads, &rows);
    let total = sum(stages, |stage| stage.will_run);
    let bound = running.iter().fold(Bound::Exact, |bound, stage| bound | stage.bound);
    let plural = if total == 1 { "row" } else { "rows" };
    out.push_str(&format!(
        "\n{} of {} stages will run, {} {plural}.\n",
        running.len(),
        stages.len(),
        bounded(bound, total)
    ));
    if unseen > 0 {
        out.push_str(&format!(
            "{} rows were not looked at: a plan looks at the first thousands of a stage. A run finds \
             out what of them is in the store.\n",
            print::number(unseen)
        ));
    }
    out
}

/// The sum of a count over all stages; as much as there can be where it is more.
fn sum(stages: &[Forecast], count: impl Fn(&Forecast) -> u64) -> u64 {
    stages.iter().map(count).fold(0, u64::saturating_add)
}

/// A number with what is known of it: `5`, `at most 5`.
fn bounded(bound: Bound, count: u64) -> String {
    let count = print::number(count);
    match bound {
        Bound::Exact => count,
        Bound::AtMost => format!("at most {count}"),
        Bound::AtLeast => format!("at least {count}"),
        Bound::About => format!("about {count}"),
    }
}

/// A reason in words.
pub(super) fn reason(reason: &Reason) -> String {
    match reason {
        Reason::New => "never ran".to_string(),
        Reason::Unfinished => "rows are missing".to_string(),
        Reason::Remade { stages } => format!("rows of {} are made again", stages.join(", ")),
        Reason::Refresh => "asked for with `--refresh`".to_string(),
        Reason::Policy { cache } => format!("its policy says `cache: {cache}`"),
        Reason::Upstream { stages } => format!("rows of {} change", stages.join(", ")),
        Reason::Changed { kind: PartKind::Path, name, files, .. } if !files.is_empty() => {
            let shown: Vec<String> =
                files.iter().take(3).map(|file| format!("{name}/{file}")).collect();
            let more = match files.len().saturating_sub(3) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{}{more} changed", shown.join(", "))
        }
        Reason::Changed { kind: PartKind::Path, name, lines: Some((first, last)), .. } => {
            match last - first {
                0 => format!("{name} changed (line {first})"),
                _ => format!("{name} changed (lines {first}-{last})"),
            }
        }
        Reason::Changed { kind, name, was, now, .. } => {
            let what = match kind {
                PartKind::Argument => format!("argument `{name}`"),
                PartKind::Operator => format!("operator `{name}`"),
                PartKind::Parameter => format!("param `{name}`"),
                PartKind::Constant => format!("`let {name}`"),
                PartKind::Definition => format!("`def {name}`"),
                _ => name.clone(),
            };
            match (was.as_str(), now.as_str()) {
                ("", "") => format!("{what} changed"),
                ("", now) => format!("{what} is new: {now}"),
                (was, "") => format!("{what} is gone (was {was})"),
                (was, now) if *kind != PartKind::Path => format!("{what}: {was} → {now}"),
                _ => format!("{what} changed"),
            }
        }
    }
}
