//! Values from their canonical bytes, straight from the text: rows are read far more often than
//! they are written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::store::Digest;

use super::value::{BadValue, Table, Value};

/// Finds the rows of a table by its digest.
type Tables<'a> = &'a dyn Fn(&Digest) -> Option<Table>;

/// Reads a value; see [`Value::decode`].
pub(super) fn decode(bytes: &[u8], tables: Tables<'_>) -> Result<Value, BadValue> {
    let bad = |err: serde_json::Error| BadValue(err.to_string());
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Reader(tables).deserialize(&mut json).map_err(bad)?;
    json.end().map_err(bad)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Reader<'a>(Tables<'a>);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(Value::Int(int))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Value, E> {
        // Ours are never that large; somebody else's JSON may hold them.
        Ok(i64::try_from(int).map_or(Value::Float(int as f64), Value::Int))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Value, E> {
        Ok(Value::Float(float))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Str(text.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0));
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut record = BTreeMap::new();
        while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
            // Keys are sorted, and `$` sorts before letters: a special record shows in its first.
            let value = match &*key {
                "$file" if record.is_empty() => return file(fields),
                "$dir" if record.is_empty() => {
                    let digest = fields.next_value()?;
                    finish(fields)?;
                    return Ok(Value::Dir(digest));
                }
                "$table" if record.is_empty() => {
                    let digest: Digest = fields.next_value()?;
                    finish(fields)?;
                    let table = (self.0)(&digest);
                    let table = table.ok_or_else(|| A::Error::custom(format!("table {digest}")))?;
                    return Ok(Value::Table(Arc::new(table)));
                }
                _ => fields.next_value_seed(self)?,
            };
            let key = key.strip_prefix('$').unwrap_or(&key).to_string();
            record.insert(key, value);
        }
        Ok(Value::Record(record))
    }
}

fn file<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Value, A::Error> {
    let digest = fields.next_value()?;
    let mut name = String::new();
    while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
        match &*key {
            "name" => name = fields.next_value()?,
            _ => drop(fields.next_value::<serde::de::IgnoredAny>()?),
        }
    }
    Ok(Value::File { digest, name })
}

fn finish<'de, A: MapAccess<'de>>(mut fields: A) -> Result<(), A::Error> {
    while fields.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
    Ok(())
}
