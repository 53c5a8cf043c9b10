//! A value taken apart into its leaves, each under a path that stays the same when other parts of
//! the value come and go: two values are then compared leaf by leaf.
//!
//! An item of a list stands under what names it (its `id`, `name`, `model`, …) where those names are
//! there and all different, else under its number.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::Value;

/// Fields that name a record, in the order in which they make its label.
const NAMING: [&str; 8] = ["id", "name", "group", "model", "base", "family", "stage", "trial"];

/// The leaves of a value by path: `reward`, `run.steps`, `models[tiny].pass_rate`. A value that is a
/// leaf itself stands under the empty path.
pub(super) fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    gather(value, String::new(), &mut found);
    found
}

fn gather(value: &Value, path: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Record(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                gather(field, path, found);
            }
        }
        Value::List(items) if items.iter().any(|item| matches!(item, Value::Record(_))) => {
            for (label, item) in labels(items).into_iter().zip(items) {
                gather(item, format!("{path}[{label}]"), found);
            }
        }
        leaf => drop(found.insert(path, leaf.clone())),
    }
}

/// What the items of a list are called.
fn labels(items: &[Value]) -> Vec<String> {
    let named: Vec<String> = items.iter().map(|item| name_of(item).unwrap_or_default()).collect();
    let different: BTreeSet<&String> = named.iter().filter(|name| !name.is_empty()).collect();
    if different.len() == items.len() {
        return named;
    }
    (0..items.len()).map(|number| number.to_string()).collect()
}

/// What names a record among its like.
pub(super) fn name_of(value: &Value) -> Option<String> {
    if let Some(Value::Str(id)) = value.get("id") {
        return Some(id.clone());
    }
    let parts: Vec<String> = NAMING
        .iter()
        .filter_map(|name| match value.get(name)? {
            Value::Str(text) if text.chars().count() <= 60 => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A number, or whether something holds as 0 or 1.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(holds) => Some(f64::from(u8::from(*holds))),
        other => other.as_float().filter(|number| number.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Vec<String> {
        let json = serde_json::from_str(json).unwrap_or_default();
        leaves(&Value::from_json(&json)).into_keys().collect()
    }

    #[test]
    fn items_stand_under_their_names() {
        let report = r#"{"models": [{"model": "a", "rate": 1}, {"model": "b", "rate": 2}]}"#;
        let paths = ["models[a].model", "models[a].rate", "models[b].model", "models[b].rate"];
        assert_eq!(of(report), paths);
        let twice = r#"{"models": [{"model": "a", "rate": 1}, {"model": "a", "rate": 2}]}"#;
        let paths = ["models[0].model", "models[0].rate", "models[1].model", "models[1].rate"];
        assert_eq!(of(twice), paths);
    }

    #[test]
    fn a_leaf_is_its_own_leaf() {
        assert_eq!(of("3"), [""]);
        assert_eq!(of("[1, 2]"), [""]);
        assert_eq!(of("{}"), [""]);
    }
}
