//! What differs in what two runs made of one stage: its rows, with examples, and its numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use crate::engine::{changed_files, read_value};
use crate::lang::Value;
use crate::store::{Digest, Objects, StoreError};

use super::leaves::{leaves, name_of, number};
use super::rows::{Pairing, pair};
use super::side::Made;

/// Rows of a table whose numbers are averaged at most.
const AVERAGED: usize = 100_000;

/// Fields of a changed row that are shown at most.
const FIELDS: usize = 8;

/// How the two results of a stage stand to each other.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StageDiff {
    pub(super) stage: String,
    pub(super) state: State,
    /// Rows of the old result; 1 when it is one value.
    pub(super) old: Option<usize>,
    /// Rows of the new one.
    pub(super) new: Option<usize>,
    pub(super) same: usize,
    pub(super) changed: usize,
    pub(super) added: usize,
    pub(super) removed: usize,
    /// Rows that failed: before and now.
    pub(super) put_aside: (u64, u64),
    pub(super) examples: Vec<Example>,
    pub(super) scores: Vec<Score>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// The same result, byte for byte.
    Same,
    /// The same rows in another order.
    Reordered,
    /// Other rows.
    Different,
    /// One of the runs has no result: the stage failed, is not reached yet, or is not in its program.
    NoResult,
    /// The results differ, but one of them is not in the store any more.
    Gone,
}

/// One row that differs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Example {
    /// `changed`, `added`, `removed`.
    pub(super) what: &'static str,
    /// Its number, from 0: in the new result, or in the old one when it was removed. None when the
    /// stage is one value.
    pub(super) row: Option<usize>,
    /// What names it, such as its `id`.
    pub(super) name: Option<String>,
    /// What differs in a changed row.
    pub(super) fields: Vec<Field>,
    /// Fields that differ beyond those.
    pub(super) more_fields: usize,
    /// An added or removed row.
    pub(super) value: Option<Json>,
}

/// A field that differs; absent on the side that has none.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Field {
    pub(super) path: String,
    #[serde(serialize_with = "as_json")]
    pub(super) old: Option<Value>,
    #[serde(serialize_with = "as_json")]
    pub(super) new: Option<Value>,
    /// The files that differ, where both are directories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<String>,
}

fn as_json<S: serde::Serializer>(value: &Option<Value>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(Value::to_json).serialize(to)
}

/// A number that differs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Score {
    /// Where it stands in the value, or which field of the rows it is.
    pub(super) of: String,
    /// `value`; over rows `mean`, and `share` of those where something holds.
    pub(super) what: &'static str,
    pub(super) old: f64,
    pub(super) new: f64,
    pub(super) difference: f64,
}

/// Compares what two runs made of a stage; with at most `shown` examples of each kind.
pub(super) fn compare(
    stage: &str,
    old: Option<&Made>,
    new: Option<&Made>,
    store: &dyn Objects,
    shown: usize,
) -> Result<StageDiff, StoreError> {
    let result = |made: Option<&Made>| made.and_then(|made| made.result);
    let mut diff = StageDiff {
        stage: stage.to_string(),
        state: State::NoResult,
        old: None,
        new: None,
        same: 0,
        changed: 0,
        added: 0,
        removed: 0,
        put_aside: (old.map_or(0, |made| made.put_aside), new.map_or(0, |made| made.put_aside)),
        examples: Vec::new(),
        scores: Vec::new(),
    };
    let (was, now) = (result(old), result(new));
    let (was_value, now_value) = (whole(was, store)?, whole(now, store)?);
    diff.old = was_value.as_ref().map(count);
    diff.new = now_value.as_ref().map(count);
    if was.is_none() || now.is_none() {
        // Two runs without a result do not differ in it.
        if was == now {
            diff.state = State::Same;
        }
        return Ok(diff);
    }
    if was == now {
        diff.state = State::Same;
        diff.same = diff.new.unwrap_or_default();
        return Ok(diff);
    }
    let (Some(before), Some(after)) = (was_value, now_value) else {
        diff.state = State::Gone;
        return Ok(diff);
    };
    diff.state = State::Different;
    match (&before, &after) {
        (Value::Table(old), Value::Table(new)) => {
            let pairing = pair(&old.rows, &new.rows, store);
            diff.counted(&pairing);
            diff.examples = examples(&pairing, &old.rows, &new.rows, store, shown);
            diff.scores = means(&old.rows, &new.rows, store);
        }
        _ => {
            diff.changed = 1;
            diff.examples = vec![changed(None, &before, &after, store)];
            diff.scores = values(&before, &after);
        }
    }
    Ok(diff)
}

impl StageDiff {
    fn counted(&mut self, pairing: &Pairing) {
        self.same = pairing.same;
        self.changed = pairing.changed.len();
        self.added = pairing.added.len();
        self.removed = pairing.removed.len();
        if self.changed + self.added + self.removed == 0 {
            self.state = State::Reordered;
        }
    }

    /// Whether anything differs.
    pub(super) fn differs(&self) -> bool {
        self.state != State::Same || self.put_aside.0 != self.put_aside.1
    }
}

/// A result; `None` when it, or its table, is not in the store any more.
fn whole(result: Option<Digest>, store: &dyn Objects) -> Result<Option<Value>, StoreError> {
    let Some(digest) = result else { return Ok(None) };
    match store.get(&digest) {
        Ok(_) => Ok(read_value(store, &digest).ok()),
        Err(StoreError::Missing(_) | StoreError::Damaged { .. }) => Ok(None),
        Err(err) => Err(err),
    }
}

fn count(value: &Value) -> usize {
    if let Value::Table(table) = value { table.rows.len() } else { 1 }
}

fn examples(
    pairing: &Pairing,
    old: &[Digest],
    new: &[Digest],
    store: &dyn Objects,
    shown: usize,
) -> Vec<Example> {
    let row = |digest: &Digest| read_value(store, digest).ok();
    let mut found = Vec::new();
    for (was, now) in pairing.changed.iter().take(shown) {
        if let (Some(before), Some(after)) = (row(&old[*was]), row(&new[*now])) {
            found.push(changed(Some(*now), &before, &after, store));
        }
    }
    let mut one_sided = |what, places: &[usize], rows: &[Digest]| {
        for place in places.iter().take(shown) {
            if let Some(value) = row(&rows[*place]) {
                found.push(Example {
                    what,
                    row: Some(*place),
                    name: name_of(&value),
                    fields: Vec::new(),
                    more_fields: 0,
                    value: Some(value.to_json()),
                });
            }
        }
    };
    one_sided("added", &pairing.added, new);
    one_sided("removed", &pairing.removed, old);
    found
}

fn changed(row: Option<usize>, before: &Value, after: &Value, store: &dyn Objects) -> Example {
    let (old, new) = (leaves(before), leaves(after));
    let mut fields: Vec<Field> = Vec::new();
    for (path, value) in &old {
        if new.get(path) != Some(value) {
            let (old, new) = (Some(value.clone()), new.get(path).cloned());
            fields.push(Field { path: path.clone(), old, new, files: Vec::new() });
        }
    }
    for (path, value) in new.iter().filter(|(path, _)| !old.contains_key(*path)) {
        let new = Some(value.clone());
        fields.push(Field { path: path.clone(), old: None, new, files: Vec::new() });
    }
    fields.sort_by(|a, b| a.path.cmp(&b.path));
    let more_fields = fields.len().saturating_sub(FIELDS);
    fields.truncate(FIELDS);
    for field in &mut fields {
        if let (Some(Value::Dir(old)), Some(Value::Dir(new))) = (&field.old, &field.new) {
            field.files = changed_files(store, &old.to_string(), &new.to_string());
        }
    }
    let name = row.and_then(|_| name_of(after));
    Example { what: "changed", row, name, fields, more_fields, value: None }
}

/// The numbers of one value that differ.
fn values(before: &Value, after: &Value) -> Vec<Score> {
    let (old, new) = (leaves(before), leaves(after));
    old.iter()
        .filter_map(|(path, was)| {
            let (was, now) = (was.as_float()?, new.get(path)?.as_float()?);
            score(path, "value", was, now)
        })
        .collect()
}

/// The means of the fields of rows that differ. Nothing when there are too many rows, or some cannot
/// be read.
fn means(old: &[Digest], new: &[Digest], store: &dyn Objects) -> Vec<Score> {
    if old.len().max(new.len()) > AVERAGED {
        return Vec::new();
    }
    let (Some(old), Some(new)) = (sums(old, store), sums(new, store)) else {
        return Vec::new();
    };
    old.iter()
        .filter_map(|(field, was)| {
            let now = new.get(field)?;
            let what = if was.truths && now.truths { "share" } else { "mean" };
            score(field, what, was.mean(), now.mean())
        })
        .collect()
}

fn score(of: &str, what: &'static str, old: f64, new: f64) -> Option<Score> {
    let differ = old != new && old.is_finite() && new.is_finite();
    differ.then(|| Score { of: of.to_string(), what, old, new, difference: new - old })
}

struct Sum {
    total: f64,
    count: usize,
    /// Whether all of it is true or false.
    truths: bool,
}

impl Sum {
    fn mean(&self) -> f64 {
        self.total / self.count as f64
    }
}

fn sums(rows: &[Digest], store: &dyn Objects) -> Option<BTreeMap<String, Sum>> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for row in rows {
        let Value::Record(fields) = read_value(store, row).ok()? else { continue };
        for (name, value) in &fields {
            let Some(number) = number(value) else { continue };
            let sum =
                sums.entry(name.clone()).or_insert(Sum { total: 0.0, count: 0, truths: true });
            sum.total += number;
            sum.count += 1;
            sum.truths &= matches!(value, Value::Bool(_));
        }
    }
    Some(sums)
}
