//! Values: what expressions give, what rows are made of, what operators take and return.
//!
//! A value's bytes are canonical JSON (sorted keys, no spaces, shortest floats), written here and
//! not by a library, because digests and keys are made of them and must never change under us.
//! Things that are not JSON stand as records with one `$` key:
//!
//! | value | JSON |
//! |---|---|
//! | a file | `{"$file":"<digest>","name":"a.txt"}` |
//! | a directory | `{"$dir":"<digest>"}` |
//! | a table | `{"$table":"<digest>","rows":12}` |
//!
//! A field whose own name starts with `$` is written with one `$` more.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::store::{Digest, KeyHasher};

use super::program::Function;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: an optional that is absent.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer. Sizes are bytes, durations milliseconds, money micro-dollars.
    Int(i64),
    /// A float. Percentages are fractions: `20%` is 0.2.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    List(Vec<Value>),
    /// A record: fields by name.
    Record(BTreeMap<String, Value>),
    /// A file by the digest of its bytes.
    File {
        /// The digest of its bytes.
        digest: Digest,
        /// Its name, for people and for the extension.
        name: String,
    },
    /// A directory by the digest of its tree.
    Dir(Digest),
    /// A whole table: its rows stay in the store.
    Table(Arc<Table>),
    /// A function over one value, such as `.prompt`. Never part of a row.
    Function(Arc<Function>),
}

/// The rows of a stage, by digest, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The digest of each row's canonical bytes.
    pub rows: Vec<Digest>,
}

impl Table {
    /// The table's bytes: its rows' digests one after the other.
    pub fn encode(&self) -> Vec<u8> {
        self.rows.iter().flat_map(|row| row.0).collect()
    }

    /// Reads what [`Table::encode`] wrote; `None` when the length is not a multiple of 32.
    pub fn decode(bytes: &[u8]) -> Option<Table> {
        if !bytes.len().is_multiple_of(32) {
            return None;
        }
        Some(Table { rows: bytes.chunks_exact(32).filter_map(Digest::from_slice).collect() })
    }

    /// The table's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }
}

/// JSON that is not a value.
#[derive(Debug, thiserror::Error)]
#[error("not a value: {0}")]
pub struct BadValue(pub String);

impl Value {
    /// A record from fields.
    pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Record(fields.into_iter().map(|(k, v)| (k.to_string(), v)).collect())
    }

    /// Text.
    pub fn str(text: impl Into<String>) -> Value {
        Value::Str(text.into())
    }

    /// A field of a record, or `None`.
    pub fn get(&self, field: &str) -> Option<&Value> {
        match self {
            Value::Record(fields) => fields.get(field),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Str(text) = self { Some(text) } else { None }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(int) = self { Some(*int) } else { None }
    }

    /// The number, if it is one.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Int(int) => Some(*int as f64),
            Value::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The list's items, if it is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Value::List(items) = self { Some(items) } else { None }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out);
        out.into_bytes()
    }

    /// The digest of the canonical bytes: a row's name.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Reads what [`Value::encode`] wrote. A table's rows are not in its bytes; `table` finds them.
    ///
    /// # Errors
    /// When the bytes are not JSON, or a `$` record is malformed.
    pub fn decode(
        bytes: &[u8],
        table: &dyn Fn(&Digest) -> Option<Table>,
    ) -> Result<Value, BadValue> {
        super::decode::decode(bytes, table)
    }

    /// The value of plain JSON, as a model or a file gives it: no `$` record is special.
    pub fn from_json(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Null,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(number) => number
                .as_i64()
                .map(Value::Int)
                .unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN))),
            Json::String(text) => Value::Str(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Value::from_json).collect()),
            Json::Object(fields) => Value::Record(
                fields.iter().map(|(k, v)| (k.clone(), Value::from_json(v))).collect(),
            ),
        }
    }

    /// Plain JSON for programs that read claw's output; files and directories keep their `$` form.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.encode()).unwrap_or(serde_json::Value::Null)
    }

    fn write(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Value::Int(int) => out.push_str(&int.to_string()),
            Value::Float(float) => write_float(*float, out),
            Value::Str(text) => write_text(text, out),
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Value::Record(fields) => {
                out.push('{');
                for (i, (key, field)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    if key.starts_with('$') {
                        write_text(&format!("${key}"), out);
                    } else {
                        write_text(key, out);
                    }
                    out.push(':');
                    field.write(out);
                }
                out.push('}');
            }
            Value::File { digest, name } => {
                out.push_str(&format!("{{\"$file\":\"{digest}\",\"name\":"));
                write_text(name, out);
                out.push('}');
            }
            Value::Dir(digest) => out.push_str(&format!("{{\"$dir\":\"{digest}\"}}")),
            Value::Table(table) => out.push_str(&format!(
                "{{\"$table\":\"{}\",\"rows\":{}}}",
                table.digest(),
                table.rows.len()
            )),
            Value::Function(function) => {
                let mut hasher = KeyHasher::new("claw function 1");
                function.hash_into(&mut hasher);
                out.push_str(&format!("{{\"$function\":\"{}\"}}", hasher.finish()));
            }
        }
    }
}

/// Floats always show that they are floats (`1.0`), so that they read back as floats. JSON has no
/// word for a number that is not finite; it becomes null, and no operator may return one.
fn write_float(float: f64, out: &mut String) {
    if !float.is_finite() {
        out.push_str("null");
        return;
    }
    let text = format!("{float:?}");
    out.push_str(&text);
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Value {
        Value::Int(int)
    }
}

impl From<usize> for Value {
    fn from(int: usize) -> Value {
        Value::Int(int as i64)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Value {
        Value::Float(float)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}
