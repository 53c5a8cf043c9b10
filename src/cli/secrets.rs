//! Secrets that have no value: told before anything runs, where something that would run needs them.
//!
//! Who runs again what is in the store needs no keys. So a program's secrets may be unset as long as
//! every call that names one is answered from there, which a look ahead says.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::{self, Operators};
use crate::lang::{Diagnostic, Pipeline, Stage, each_secret, holds_secret, references};
use crate::plan::Plan;
use crate::project::Project;
use crate::store::Snapshot;

use super::{Failure, load};

/// Refuses a run that would need secrets that have no value.
pub(super) fn refuse_missing(
    project: &Project,
    plan: &Plan,
    operators: &Operators,
    refreshed: &[String],
) -> Result<(), Failure> {
    let missing = missing(project, plan, operators, refreshed)?;
    if missing.is_empty() {
        return Ok(());
    }
    load::tell(&missing, &plan.pipeline.sources);
    Err(load::told(missing.len()))
}

/// What is wrong with the secrets of stages that would run.
pub(super) fn missing(
    project: &Project,
    plan: &Plan,
    operators: &Operators,
    refreshed: &[String],
) -> Result<Vec<Diagnostic>, Failure> {
    let pipeline = &plan.pipeline;
    let lacks =
        |name: &String| pipeline.secrets.get(name).is_none_or(|secret| secret.usable().is_none());
    let mut asking: Vec<(&Stage, BTreeSet<String>)> = Vec::new();
    if !pipeline.secrets.is_empty() {
        for node in &plan.order {
            let stage = plan.stage(*node);
            let mut names = BTreeSet::new();
            named(pipeline, stage, &mut names);
            names.retain(lacks);
            if !names.is_empty() {
                asking.push((stage, names));
            }
        }
    }
    if asking.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|err| Failure::work(format!("starting the runtime: {err}")))?;
    let store = Arc::new(Snapshot::open(&project.store())?);
    let ahead = runtime.block_on(engine::forecast(plan, operators, store, &[], refreshed))?;
    let mut told: BTreeSet<&String> = BTreeSet::new();
    let mut found = Vec::new();
    for (stage, names) in &asking {
        let runs = ahead.iter().any(|seen| seen.stage == stage.name && seen.will_run > 0);
        if !runs {
            continue;
        }
        for name in names {
            let Some(secret) = pipeline.secrets.get(name).filter(|_| told.insert(name)) else {
                continue;
            };
            found.push(
                Diagnostic::error("E0506", secret.lack())
                    .at(secret.span, format!("stage `{}` would run and needs this", stage.name))
                    .help(secret.help()),
            );
        }
    }
    Ok(found)
}

/// The secrets that a stage names, by way of the parts that its defs were written out into too.
fn named(pipeline: &Pipeline, stage: &Stage, names: &mut BTreeSet<String>) {
    each_secret(&stage.expr, &mut |name, _| {
        names.insert(name);
    });
    for other in references(&stage.expr) {
        let part = pipeline.stages.iter().find(|stage| stage.name == other);
        if let Some(part) = part.filter(|part| holds_secret(&part.ty)) {
            named(pipeline, part, names);
        }
    }
}
