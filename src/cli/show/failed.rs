//! Rows that were put aside: which they are, what they were to be made from, and why they were not.

use std::collections::BTreeMap;

use serde_json::json;

use crate::engine::{Event, RunRecord, read_value};
use crate::lang::Value;
use crate::store::{Digest, Objects};

use super::super::{Exit, Failure, arguments, load, print};
use super::value;

/// Fields of an input that are shown in a line.
const FIELDS: usize = 6;

/// A row that was put aside.
struct Aside<'r> {
    /// Its number among the rows that the stage went over, and those of further generators.
    place: Vec<u32>,
    error: &'r str,
    output: &'r str,
    /// The row of the first generator, where it lies in the store.
    input: Option<Digest>,
    /// What each name of its `for` stood for; `None` where that is in the store no more.
    inputs: Vec<(&'r str, Option<Value>)>,
}

impl Aside<'_> {
    /// The row's number, such as `3`, or `3.1` with a second generator: a place has a 0 for each
    /// stage that its row streamed through, and those at its end tell nothing.
    fn number(&self) -> String {
        let end = self.place.iter().rposition(|number| *number > 0).map_or(1, |last| last + 1);
        let numbers: Vec<String> = self.place.iter().take(end).map(u32::to_string).collect();
        numbers.join(".")
    }

    /// The value of a field: of a name of the `for`, or of what such a name stands for.
    fn field(&self, path: &str, store: &dyn Objects) -> Option<Value> {
        let known = || self.inputs.iter().filter_map(|(name, of)| Some((*name, of.as_ref()?)));
        let names: BTreeMap<String, Value> =
            known().map(|(name, of)| (name.to_string(), of.clone())).collect();
        let found = |of: &Value| match value::follow(of, path, store) {
            Ok(value::Found::Value(value)) => Some(value),
            _ => None,
        };
        found(&Value::Record(names)).or_else(|| known().find_map(|(_, of)| found(of)))
    }

    fn tell(&self, whole: bool, store: &dyn Objects) -> Result<(), Failure> {
        print::line(&format!("row {}: {}", self.number(), print::safe(self.error)));
        for (name, of) in &self.inputs {
            match of {
                None => print::line(&format!("  {name}: in the store no more")),
                Some(of @ Value::Record(_)) if whole => {
                    print::line(&format!("  {name}:"));
                    for line in value::show(of, store, usize::MAX)?.lines() {
                        print::line(&format!("    {line}"));
                    }
                }
                Some(of) => print::line(&format!("  {name}: {}", in_line(of))),
            }
        }
        for line in print::safe(self.output).lines() {
            print::line(&format!("  | {line}"));
        }
        Ok(())
    }
}

/// A value in a line: of a record the fields that tell which one it is.
fn in_line(value: &Value) -> String {
    let Value::Record(fields) = value else {
        return print::cell(value);
    };
    let tells = |value: &Value| match value {
        Value::Str(text) => text.chars().count() <= 60 && !text.contains('\n'),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::File { .. } => true,
        _ => false,
    };
    let mut told: Vec<(&String, &Value)> = fields.iter().filter(|(_, of)| tells(of)).collect();
    told.sort_by_key(|(name, _)| (!matches!(name.as_str(), "id" | "name"), *name));
    let more = fields.len() > told.len().min(FIELDS);
    let mut words: Vec<String> =
        told.iter().take(FIELDS).map(|(name, of)| format!("{name} {}", print::cell(of))).collect();
    words.extend(more.then(|| "…".to_string()));
    words.join(", ")
}

/// Shows the rows of a stage that were put aside in a run, those that are asked for.
pub(super) fn failed(
    run: &RunRecord,
    stage: &str,
    args: &arguments::Show,
    store: &dyn Objects,
) -> Result<Exit, Failure> {
    known(run, stage)?;
    let mut aside: Vec<Aside<'_>> =
        run.events.iter().filter_map(|event| of_event(event, stage, store)).collect();
    for event in &run.events {
        if let Event::Numbered { stage: of, numbers } = event
            && of == stage
        {
            let numbers: BTreeMap<&Vec<u32>, &Vec<u32>> =
                numbers.iter().map(|(place, number)| (place, number)).collect();
            for one in &mut aside {
                if let Some(number) = numbers.get(&one.place) {
                    one.place = number.to_vec();
                }
            }
        }
    }
    aside.sort_by(|one, other| one.place.cmp(&other.place));
    let all = aside.len();
    if let Some(number) = &args.row {
        aside.retain(|one| one.place.starts_with(&number.0));
        if aside.is_empty() && all > 0 {
            return Err(Failure::input(format!(
                "row {number} of `{stage}` was not put aside in run {}\n  help: `claw show {stage} \
                 --failed` lists those that were",
                run.info.id
            )));
        }
    }
    for filter in super::filters(args)? {
        let (field, want) = filter;
        let with: Vec<Option<Value>> = aside.iter().map(|one| one.field(field, store)).collect();
        if !aside.is_empty() && with.iter().all(Option::is_none) {
            return Err(Failure::input(format!(
                "no row of `{stage}` that was put aside was made from anything with a field \
                 `{field}`\n  help: `claw show {stage} --failed` shows what they were made from"
            )));
        }
        let mut with = with.into_iter();
        aside.retain(|_| with.next().flatten().is_some_and(|value| super::is(&value, want)));
    }
    if args.json {
        let rows: Vec<_> = aside.iter().take(args.limit).map(told_json).collect();
        print::json(&rows);
        return Ok(Exit::Done);
    }
    if all == 0 {
        print::line(&format!("No row of `{stage}` was put aside in run {}.", run.info.id));
        return Ok(Exit::Done);
    }
    for one in aside.iter().take(args.limit) {
        one.tell(args.row.is_some(), store)?;
    }
    let shown = aside.len().min(args.limit);
    let rest = match aside.len() - shown {
        0 => String::new(),
        more => format!(", {more} more (--limit)"),
    };
    if args.row.is_none() {
        print::line(&format!(
            "\n{shown} of {all} rows put aside{rest}. One with all of its inputs: `claw show {stage} \
             --failed --row N`."
        ));
    }
    Ok(Exit::Done)
}

fn told_json(one: &Aside<'_>) -> serde_json::Value {
    let inputs: serde_json::Map<String, serde_json::Value> = one
        .inputs
        .iter()
        .map(|(name, of)| (name.to_string(), of.as_ref().map_or(json!(null), Value::to_json)))
        .collect();
    json!({
        "place": &one.place, "error": one.error, "output": one.output, "input": one.input,
        "inputs": inputs,
    })
}

fn of_event<'r>(event: &'r Event, stage: &str, store: &dyn Objects) -> Option<Aside<'r>> {
    let Event::RowFailed { stage: at, place, error, output, input, inputs, .. } = event else {
        return None;
    };
    let read =
        |(name, digest): &'r (String, Digest)| (name.as_str(), read_value(store, digest).ok());
    (at == stage).then(|| Aside {
        place: place.clone(),
        error,
        output,
        input: *input,
        inputs: match (inputs.as_slice(), input) {
            // Runs of an earlier claw left only this one.
            ([], Some(digest)) => vec![("from", read_value(store, digest).ok())],
            (inputs, _) => inputs.iter().map(read).collect(),
        },
    })
}

/// Refuses a stage that the run does not have. One that is killed, or goes on, left no list of its
/// stages; those of which something is told are known all the same.
fn known(run: &RunRecord, stage: &str) -> Result<(), Failure> {
    let mut names: Vec<&str> = run.stages.iter().map(|record| record.stage.as_str()).collect();
    if names.is_empty() {
        names = run.events.iter().filter_map(named).collect();
        names.sort_unstable();
        names.dedup();
    }
    if names.is_empty() || names.contains(&stage) {
        return Ok(());
    }
    Err(Failure::input(load::unknown("stage", stage, &names)))
}

fn named(event: &Event) -> Option<&str> {
    match event {
        Event::StageCached { stage, .. }
        | Event::StageEnded { stage, .. }
        | Event::Row { stage, .. }
        | Event::Rows { stage, .. }
        | Event::RowFailed { stage, .. } => Some(stage),
        _ => None,
    }
}
