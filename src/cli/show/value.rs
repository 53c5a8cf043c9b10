//! One value: found by a path, and shown.

use crate::engine::read_value;
use crate::lang::Value;
use crate::store::{Entry, Objects};

use super::super::{Failure, load, print};

/// Where a path led.
pub(super) enum Found {
    /// To a value.
    Value(Value),
    /// To the bytes of a file.
    Bytes(Vec<u8>),
}

/// Follows `run.after/notes/a.txt`: fields joined by dots, then a path inside a directory.
pub(super) fn follow(value: &Value, path: &str, store: &dyn Objects) -> Result<Found, Failure> {
    let (fields, inside) = match path.split_once('/') {
        Some((fields, inside)) => (fields, Some(inside)),
        None => (path, None),
    };
    let mut at = value.clone();
    for field in fields.split('.').filter(|field| !field.is_empty()) {
        at = match (&at, field.parse::<usize>()) {
            (Value::Record(record), _) => record.get(field).cloned().ok_or_else(|| {
                let names: Vec<&str> = record.keys().map(String::as_str).collect();
                Failure::input(load::unknown("field", field, &names))
            })?,
            (Value::List(items), Ok(number)) => items.get(number).cloned().ok_or_else(|| {
                Failure::input(format!("there are {} items, not number {number}", items.len()))
            })?,
            (Value::Table(table), Ok(number)) => match table.rows.get(number) {
                Some(row) => read_value(store, row)?,
                None => {
                    return Err(Failure::input(format!(
                        "there are {} rows, not number {number}",
                        table.rows.len()
                    )));
                }
            },
            _ => {
                return Err(Failure::input(format!(
                    "`{field}` cannot be looked up in {}",
                    print::cell(&at)
                )));
            }
        };
    }
    match (&at, inside) {
        (Value::File { digest, .. }, None) => Ok(Found::Bytes(store.get(digest)?.to_vec())),
        (Value::Dir(digest), Some(inside)) => {
            let tree = store.tree(digest)?;
            match tree.entries.get(inside) {
                Some(Entry::File { digest, .. }) => Ok(Found::Bytes(store.get(digest)?.to_vec())),
                _ => {
                    let names: Vec<&str> = tree.entries.keys().map(String::as_str).collect();
                    Err(Failure::input(load::unknown("file", inside, &names)))
                }
            }
        }
        (_, Some(inside)) => {
            Err(Failure::input(format!("`{fields}` is no directory, so `{inside}` is not in it")))
        }
        _ => Ok(Found::Value(at)),
    }
}

/// A row as one line of a table: its number, and its plain fields; a record is shown by its `id`.
pub(super) fn flat(number: usize, row: &Value) -> Value {
    let mut fields = match row {
        Value::Record(fields) => fields.clone(),
        other => [("value".to_string(), other.clone())].into(),
    };
    fields.insert("#".to_string(), Value::Int(number as i64));
    Value::Record(fields)
}

/// A value for a person.
///
/// # Errors
/// When something that it names is not in the store.
pub(crate) fn show(value: &Value, store: &dyn Objects, limit: usize) -> Result<String, Failure> {
    Ok(match value {
        Value::Table(table) => {
            let mut rows = Vec::new();
            for (number, row) in table.rows.iter().take(limit).enumerate() {
                rows.push(flat(number, &read_value(store, row)?));
            }
            let more = match table.rows.len().saturating_sub(limit) {
                0 => String::new(),
                more => format!("… and {more} more rows\n"),
            };
            print::records(&rows) + &more
        }
        Value::List(items) if is_records(value) => print::records(items),
        Value::Record(fields) if !fields.is_empty() && fields.values().all(is_records) => {
            // A report: one table a field, the longest first.
            let mut tables: Vec<(&String, &[Value])> = fields
                .iter()
                .filter_map(|(name, field)| Some((name, field.as_list()?)))
                .filter(|(_, rows)| !rows.is_empty())
                .collect();
            tables.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
            let shown: Vec<String> = tables
                .iter()
                .map(|(name, rows)| format!("{name}\n{}", print::records(rows)))
                .collect();
            shown.join("\n")
        }
        Value::Dir(digest) => listing(&store.tree(digest)?),
        other => indented(other, store, 0)?,
    })
}

fn is_records(value: &Value) -> bool {
    matches!(value, Value::List(items) if items.iter().all(|item| matches!(item, Value::Record(_))))
}

/// The files of a directory.
fn listing(tree: &crate::store::Tree) -> String {
    let rows: Vec<Vec<String>> = tree
        .entries
        .iter()
        .map(|(path, entry)| match entry {
            Entry::File { size, .. } => vec![print::number(*size), print::safe(path)],
            Entry::Link(to) => vec!["link".into(), print::safe(&format!("{path} -> {to}"))],
            Entry::EmptyDir => vec!["dir".into(), print::safe(path)],
        })
        .collect();
    print::columns(&["bytes", "path"].map(str::to_string), &rows)
}

fn indented(value: &Value, store: &dyn Objects, depth: usize) -> Result<String, Failure> {
    let pad = "  ".repeat(depth);
    Ok(match value {
        Value::Record(fields) => {
            let mut out = String::new();
            for (name, field) in fields {
                match field {
                    Value::Record(inner) if !inner.is_empty() => {
                        out.push_str(&format!("{pad}{name}:\n"));
                        out.push_str(&indented(field, store, depth + 1)?);
                    }
                    Value::Str(text) if text.contains('\n') => {
                        out.push_str(&format!("{pad}{name}:\n"));
                        for line in print::safe(text).lines() {
                            out.push_str(&format!("{pad}  | {line}\n"));
                        }
                    }
                    Value::Dir(digest) => {
                        let tree = store.tree(digest)?;
                        let count = tree.files().count();
                        let size = print::number(tree.size());
                        out.push_str(&format!("{pad}{name}: {count} files, {size} bytes\n"));
                    }
                    Value::List(items)
                        if items.iter().any(|item| matches!(item, Value::Record(_))) =>
                    {
                        out.push_str(&format!("{pad}{name}:\n"));
                        for line in print::records(items).lines() {
                            out.push_str(&format!("{pad}  {line}\n"));
                        }
                    }
                    Value::Str(text) => {
                        out.push_str(&format!("{pad}{name}: {}\n", print::safe(text)));
                    }
                    other => out.push_str(&format!("{pad}{name}: {}\n", print::cell(other))),
                }
            }
            out
        }
        Value::Str(text) => format!("{pad}{}\n", print::safe(text)),
        other => format!("{pad}{}\n", print::cell(other)),
    })
}
