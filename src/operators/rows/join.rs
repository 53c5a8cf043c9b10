//! `join` and `left_join`: pairs of rows that agree, found through a table of hashes.

use std::collections::HashMap;

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;
use crate::store::{Digest, Objects};

use super::{OfRow, identity, rows, table};

/// More pairs than this, and than there are rows, come from a key that says too little.
const MOST: usize = 10_000_000;

pub(super) fn join(args: &Args, context: &Context) -> Result<Value, CallError> {
    pairs(args, context, false)
}

pub(super) fn left_join(args: &Args, context: &Context) -> Result<Value, CallError> {
    pairs(args, context, true)
}

/// The pairs in the order of the left rows; of one left row in the order of the right ones.
fn pairs(args: &Args, context: &Context, keep_left: bool) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let (left, right) = (rows(args, "left", objects)?, rows(args, "right", objects)?);
    let (left_on, right_on) =
        (OfRow::new(args, "left_on", objects)?, OfRow::new(args, "right_on", objects)?);
    let mut known: HashMap<Vec<u8>, Vec<Digest>> = HashMap::new();
    for (place, row) in right.iter().enumerate() {
        // What has no key agrees with nothing.
        let key = right_on.value(place, row)?;
        if key != Value::Null {
            known.entry(identity(&key)).or_default().push(*row);
        }
    }
    let most = MOST.max(left.len() + right.len());
    let mut made = Vec::new();
    for (place, row) in left.iter().enumerate() {
        let key = left_on.value(place, row)?;
        let found = if key == Value::Null { None } else { known.get(&identity(&key)) };
        let found = found.map_or(&[][..], Vec::as_slice);
        if made.len() + found.len() > most {
            return Err(left_on.wrong(
                place,
                &format!(
                    "the tables make more than {most} pairs; {} rows on the right have this key",
                    found.len()
                ),
            ));
        }
        for other in found {
            made.push(pair(row, Some(other), objects)?);
        }
        if found.is_empty() && keep_left {
            made.push(pair(row, None, objects)?);
        }
    }
    Ok(table(made))
}

/// The row `{ left: …, right: … }`, put together from the bytes of both: they are canonical, and so
/// is what they make, for `left` stands before `right`.
fn pair(left: &Digest, right: Option<&Digest>, objects: &dyn Objects) -> Result<Digest, CallError> {
    let mut bytes = b"{\"left\":".to_vec();
    bytes.extend_from_slice(&objects.get(left)?);
    bytes.extend_from_slice(b",\"right\":");
    match right {
        Some(right) => bytes.extend_from_slice(&objects.get(right)?),
        None => bytes.extend_from_slice(b"null"),
    }
    bytes.push(b'}');
    Ok(objects.put(&bytes)?)
}
