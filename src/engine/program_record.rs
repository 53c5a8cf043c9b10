//! What a run was asked to do, as its program said it: kept beside the run's log, so that two runs
//! can be compared after the files have changed, and while one of them still goes on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::lang::{ExprKind, Stage, Value};
use crate::plan::{Plan, operators, walk};

use super::call::Operators;

/// The file of it in a run's folder.
pub(super) const FILE: &str = "program.json";

/// The program of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgramRecord {
    /// The version of claw that ran it.
    pub claw: String,
    /// The stages that were needed, each after what it reads.
    pub stages: Vec<StageText>,
    /// The models over the network that it names: what each endpoint knows it by.
    pub models: BTreeMap<String, String>,
}

/// A stage as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageText {
    /// Its name.
    pub stage: String,
    /// Its expression, as it stands in the file.
    pub text: String,
    /// The operators in it and their versions.
    pub operators: BTreeMap<String, u32>,
}

impl ProgramRecord {
    /// The record of a plan. `served` says by what name an endpoint knows a model of the project.
    pub fn of(
        plan: &Plan,
        known: &Operators,
        served: &dyn Fn(&str) -> Option<String>,
    ) -> ProgramRecord {
        let mut models = BTreeMap::new();
        let stages = plan.order.iter().map(|node| {
            let stage = plan.stage(*node);
            each_model(stage, &mut |name| {
                models.extend(served(name).map(|served| (name.to_string(), served)));
            });
            let span = stage.expr.span;
            let source = plan.pipeline.sources.text(span.file);
            let text = source.get(span.start as usize..span.end as usize).unwrap_or_default();
            StageText {
                stage: stage.name.clone(),
                text: text.to_string(),
                operators: operators(&stage.expr)
                    .into_iter()
                    .map(|name| (name.clone(), known.version(&name)))
                    .collect(),
            }
        });
        let stages = stages.collect();
        ProgramRecord { claw: env!("CARGO_PKG_VERSION").to_string(), stages, models }
    }

    /// The record of a run; `None` when it left none, as older ones did.
    pub fn read(store: &Path, run: &str) -> Option<ProgramRecord> {
        let bytes = std::fs::read(store.join("runs").join(run).join(FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// The needed stages that name a model, in order.
pub fn stages_with_model<'p>(plan: &'p Plan, model: &str) -> Vec<&'p str> {
    let names = |stage: &&Stage| {
        let mut found = false;
        each_model(stage, &mut |name| found |= name == model);
        found
    };
    let stages = plan.order.iter().map(|node| plan.stage(*node)).filter(names);
    stages.map(|stage| stage.name.as_str()).collect()
}

/// Tells of each model that a stage names, as often as it does.
fn each_model(stage: &Stage, told: &mut dyn FnMut(&str)) {
    walk(&stage.expr, &mut |expr| {
        if let ExprKind::Const(value) = &expr.kind {
            models_in(value).for_each(&mut *told);
        }
    });
}

/// The names of the models in a constant: itself one, or a list of them.
fn models_in(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::List(items) => Box::new(items.iter().flat_map(models_in)),
        Value::Record(_) => Box::new(value.get("model").and_then(Value::as_str).into_iter()),
        _ => Box::new(std::iter::empty()),
    }
}
