//! What differs in what two runs were asked: parameters, stages, versions of operators and models.
//!
//! A stage differs when what its key is made of does, so that formatting, comments and names of
//! locals make no difference, and a prompt file or an operator's version does. Of a run that has not
//! ended only the text and the versions are known; then those are compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::plan::{Difference, PartKind, Reason, compare};

use super::side::{Made, Side};

/// A value that differs; absent on the side that has none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Changed {
    pub(super) name: String,
    pub(super) old: Option<serde_json::Value>,
    pub(super) new: Option<serde_json::Value>,
}

/// How a stage of the program differs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StageChange {
    pub(super) stage: String,
    pub(super) change: Change,
    /// What its old name was, where it has another.
    pub(super) was: Option<String>,
    /// What it depends on that changed.
    pub(super) reasons: Vec<Reason>,
    /// Its text, where that changed and both are known.
    pub(super) text: Option<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Added,
    Removed,
    Changed,
    Renamed,
}

/// A stage as it was written, before and after.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Text {
    pub(super) old: String,
    pub(super) new: String,
}

/// The parameters that differ.
pub(super) fn params(old: &Side, new: &Side) -> Vec<Changed> {
    let of = |side: &Side| side.info.params.iter().cloned().collect::<BTreeMap<_, _>>();
    changed(&of(old), &of(new))
}

/// The models that an endpoint serves under another name, and the version of claw.
pub(super) fn versions(old: &Side, new: &Side) -> Vec<Changed> {
    let (Some(old), Some(new)) = (&old.program, &new.program) else {
        return Vec::new();
    };
    let text = |text: &String| serde_json::Value::from(text.as_str());
    let mut found = Vec::new();
    for (name, was) in &old.models {
        if let Some(now) = new.models.get(name).filter(|now| *now != was) {
            let name = format!("model {name}");
            found.push(Changed { name, old: Some(text(was)), new: Some(text(now)) });
        }
    }
    if old.claw != new.claw {
        let (was, now) = (Some(text(&old.claw)), Some(text(&new.claw)));
        found.push(Changed { name: "claw".to_string(), old: was, new: now });
    }
    found
}

fn changed(
    old: &BTreeMap<String, serde_json::Value>,
    new: &BTreeMap<String, serde_json::Value>,
) -> Vec<Changed> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Changed {
            name: name.clone(),
            old: old.get(name).cloned(),
            new: new.get(name).cloned(),
        })
        .collect()
}

/// The stages that differ, in the new order, those that are gone last. `difference` says what differs
/// between two files or directories.
pub(super) fn stages(
    old: &Side,
    new: &Side,
    difference: &dyn Fn(&str, &str) -> Difference,
) -> Vec<StageChange> {
    let mut gone: Vec<&Made> =
        old.stages.iter().filter(|made| new.stage(&made.stage).is_none()).collect();
    let mut found = Vec::new();
    for now in &new.stages {
        let plain = |change, was: Option<String>| StageChange {
            stage: now.stage.clone(),
            change,
            was,
            reasons: Vec::new(),
            text: None,
        };
        if let Some(was) = old.stage(&now.stage) {
            let reasons = reasons(old, new, was, now, difference);
            if !reasons.is_empty() {
                let text = text(old, new, &now.stage);
                found.push(StageChange { reasons, text, ..plain(Change::Changed, None) });
            }
            continue;
        }
        // A stage's key is made of its meaning: the same key under another name is the same stage.
        match gone.iter().position(|was| was.key.is_some() && was.key == now.key) {
            Some(place) => {
                let was = gone.remove(place).stage.clone();
                found.push(plain(Change::Renamed, Some(was)));
            }
            None => found.push(plain(Change::Added, None)),
        }
    }
    found.extend(gone.into_iter().map(|was| StageChange {
        stage: was.stage.clone(),
        change: Change::Removed,
        was: None,
        reasons: Vec::new(),
        text: None,
    }));
    found
}

fn reasons(
    old: &Side,
    new: &Side,
    was: &Made,
    now: &Made,
    difference: &dyn Fn(&str, &str) -> Difference,
) -> Vec<Reason> {
    if let (Some(before), Some(after)) = (&was.parts, &now.parts) {
        let mut reasons = compare(before, after, difference);
        // What it reads from other stages is told there.
        reasons.retain(|reason| matches!(reason, Reason::Changed { .. }));
        return reasons;
    }
    let part = |kind, name: &str, was: String, now: String| Reason::Changed {
        kind,
        name: name.to_string(),
        was,
        now,
        files: Vec::new(),
        lines: None,
    };
    let mut reasons = Vec::new();
    let stage = &now.stage;
    let record = |side: &Side| {
        let stages = &side.program.as_ref()?.stages;
        stages.iter().find(|text| text.stage == *stage).cloned()
    };
    if let (Some(before), Some(after)) = (record(old), record(new)) {
        for (operator, version) in &after.operators {
            if let Some(was) = before.operators.get(operator).filter(|was| *was != version) {
                let (was, now) = (format!("version {was}"), format!("version {version}"));
                reasons.push(part(PartKind::Operator, operator, was, now));
            }
        }
        if words(&before.text) != words(&after.text) {
            let name = "its expression";
            reasons.push(part(PartKind::Expression, name, String::new(), String::new()));
        }
    }
    reasons
}

/// The text without what formatting changes.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn text(old: &Side, new: &Side, stage: &str) -> Option<Text> {
    let (old, new) = (old.text(stage)?, new.text(stage)?);
    (old != new).then(|| Text { old: old.to_string(), new: new.to_string() })
}
