//! JSON: lines of it, and lists.

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use crate::engine::{Args, CallError, Context, read_value};
use crate::lang::{Value, large_integer};
use crate::store::Objects;

use super::{Made, Source, each_row, file};

pub(super) fn read_lines(args: &Args, context: &Context) -> Result<Value, CallError> {
    let source = Source::open(args, &*context.objects)?;
    let mut made = Made::new(context);
    for (number, line) in source.text()?.split('\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let json: Json =
            serde_json::from_str(line).map_err(|err| source.wrong_json(line, number + 1, &err))?;
        if let Some(large) = large_integer(line) {
            return Err(source.too_large(line, number + 1, &large));
        }
        made.add(&Value::from_json(&json))?;
    }
    Ok(made.table())
}

pub(super) fn read(args: &Args, context: &Context) -> Result<Value, CallError> {
    let source = Source::open(args, &*context.objects)?;
    let text = source.text()?;
    let mut items = Items { made: Made::new(context), failed: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_any(&mut items).and_then(|()| json.end());
    match (read, items.failed) {
        (_, Some(failed)) => Err(failed),
        (Err(err), None) => Err(source.wrong_json(text, 1, &err)),
        (Ok(()), None) => match large_integer(text) {
            Some(large) => Err(source.too_large(text, 1, &large)),
            None => Ok(items.made.table()),
        },
    }
}

/// Takes the items of a list as they are read.
struct Items<'a> {
    made: Made<'a>,
    /// Why an item could not be kept.
    failed: Option<CallError>,
}

impl<'de> Visitor<'de> for &mut Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Json>()? {
            if let Err(err) = self.made.add(&Value::from_json(&item)) {
                self.failed = Some(err);
                return Err(A::Error::custom("an item could not be kept"));
            }
        }
        Ok(())
    }
}

pub(super) fn write_lines(args: &Args, context: &Context) -> Result<Value, CallError> {
    let mut bytes = Vec::new();
    each_row(args, context, |_, row| {
        bytes.extend_from_slice(plain(row, &*context.objects)?.to_string().as_bytes());
        bytes.push(b'\n');
        Ok(())
    })?;
    file(args, context, &bytes)
}

pub(super) fn write(args: &Args, context: &Context) -> Result<Value, CallError> {
    let mut bytes = b"[".to_vec();
    each_row(args, context, |place, row| {
        bytes.extend_from_slice(if place == 0 { b"\n  " } else { b",\n  " });
        bytes.extend_from_slice(plain(row, &*context.objects)?.to_string().as_bytes());
        Ok(())
    })?;
    bytes.extend_from_slice(if bytes.len() == 1 { b"]\n" } else { b"\n]\n" });
    file(args, context, &bytes)
}

/// A value as JSON for other programs: fields under their own names, tables with their rows. Files
/// and directories stand as `{"$file": digest, "name": name}` and `{"$dir": digest}`.
pub(super) fn plain(value: &Value, objects: &dyn Objects) -> Result<Json, CallError> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(whole) => Json::Number(Number::from(*whole)),
        Value::Float(float) => Number::from_f64(*float).map_or(Json::Null, Json::Number),
        Value::Str(text) => Json::String(text.clone()),
        Value::List(items) => {
            Json::Array(items.iter().map(|item| plain(item, objects)).collect::<Result<_, _>>()?)
        }
        Value::Record(fields) => {
            let mut object = Map::new();
            for (name, field) in fields {
                object.insert(name.clone(), plain(field, objects)?);
            }
            Json::Object(object)
        }
        Value::Table(table) => {
            let row = |row| plain(&read_value(objects, row)?, objects);
            Json::Array(table.rows.iter().map(row).collect::<Result<_, CallError>>()?)
        }
        Value::File { .. } | Value::Dir(_) => value.to_json(),
        Value::Function(_) => return Err(CallError::row("a function cannot be written to a file")),
    })
}
