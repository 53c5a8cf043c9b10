//! `group`: the rows that agree in something, together.

use std::collections::HashMap;

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;
use crate::store::Digest;

use super::{OfRow, identity, inner_table, rows};

pub(super) fn group(args: &Args, context: &Context) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let by = OfRow::new(args, "by", objects)?;
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut groups: Vec<(Value, Vec<Digest>)> = Vec::new();
    for (place, row) in rows(args, "rows", objects)?.into_iter().enumerate() {
        let key = by.value(place, &row)?;
        let at = *places.entry(identity(&key)).or_insert(groups.len());
        if at == groups.len() {
            groups.push((key, Vec::new()));
        }
        groups[at].1.push(row);
    }
    let mut made = Vec::with_capacity(groups.len());
    for (key, rows) in groups {
        made.push(Value::record([("key", key), ("rows", inner_table(rows, objects)?)]));
    }
    Ok(Value::List(made))
}
