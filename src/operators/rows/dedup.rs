//! `dedup`: the first row of each group that agrees in a text, or almost agrees.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::engine::{Args, CallError, Context, Pool};
use crate::lang::Value;

use super::near::{LEAST, Near, Shingles};
use super::{OfRow, rows, table, threads};

/// Rows of which the texts are read at once.
const AT_ONCE: usize = 2048;

/// Looking for texts that are almost the same is work for the whole machine; looking for equal ones
/// is none.
pub(super) fn pool(args: &Args) -> Pool {
    match args.get("above") {
        Ok(Value::Null) | Err(_) => Pool::Instant,
        Ok(_) => Pool::Machine,
    }
}

pub(super) fn dedup(args: &Args, context: &Context) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let on = OfRow::new(args, "on", objects)?;
    let rows = rows(args, "rows", objects)?;
    if *args.get("above")? != Value::Null {
        return near(args, context, &on, rows);
    }
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for (place, row) in rows.into_iter().enumerate() {
        if seen.insert(on.text(place, &row)?) {
            kept.push(row);
        }
    }
    Ok(table(kept))
}

fn near(
    args: &Args,
    context: &Context,
    on: &OfRow<'_>,
    rows: Vec<crate::store::Digest>,
) -> Result<Value, CallError> {
    let above = args.float("above")?;
    if !(LEAST..=1.0).contains(&above) {
        return Err(CallError::row(format!("`above` must be from {LEAST} to 1")));
    }
    let shingles = Shingles::of(args.str("shingles")?)
        .ok_or_else(|| CallError::row("`shingles` must be \"words\" or \"characters\""))?;
    let threads = threads(context)?;
    let mut near = Near::new(above);
    let mut kept = Vec::new();
    for (block, some) in rows.chunks(AT_ONCE).enumerate() {
        if context.cancel.is_cancelled() {
            return Err(CallError::Cancelled);
        }
        let done = block * AT_ONCE;
        (context.progress)(done as u64, rows.len() as u64, "rows");
        let read = |(place, row)| {
            let set = shingles.of_text(&on.text(done + place, row)?);
            let keys = near.keys(&set);
            Ok::<_, CallError>((set, keys))
        };
        let read: Vec<_> =
            threads.install(|| some.par_iter().enumerate().map(read).collect::<Result<_, _>>())?;
        // The first of two that are alike stays, so this goes in order.
        for (row, (set, keys)) in some.iter().zip(read) {
            if near.add_unless_known(set, &keys) {
                kept.push(*row);
            }
        }
    }
    Ok(table(kept))
}
