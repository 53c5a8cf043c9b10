//! `rows.*`: whole tables in, whole tables out. Rows are moved by digest; only those whose content
//! decides are read.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::engine::{Args, CallError, Context, Kind, Operator, Pool, read_value};
use crate::lang::{self, Function, Table, Value};
use crate::store::{Digest, KeyHasher, Objects};

/// The rows of an argument by digest; those of a list are kept first.
fn rows(args: &Args, objects: &dyn Objects) -> Result<Vec<Digest>, CallError> {
    match args.get("rows")? {
        Value::Table(table) => Ok(table.rows.clone()),
        Value::List(items) => {
            Ok(items.iter().map(|item| objects.put(&item.encode())).collect::<Result<_, _>>()?)
        }
        _ => Err(CallError::row("argument `rows` is not a table")),
    }
}

fn table(rows: Vec<Digest>) -> Value {
    Value::Table(Arc::new(Table { rows }))
}

/// The text that a function such as `.family` gives for a row.
fn key_of(function: &Function, row: &Digest, objects: &dyn Objects) -> Result<String, CallError> {
    let row = read_value(objects, row)?;
    let key = lang::apply(function, &row).map_err(|err| CallError::row(err.to_string()))?;
    Ok(lang::text(&key))
}

fn function<'a>(args: &'a Args, name: &str) -> Result<&'a Function, CallError> {
    match args.get(name)? {
        Value::Function(function) => Ok(function),
        _ => Err(CallError::row(format!("argument `{name}` is not a function such as `.id`"))),
    }
}

macro_rules! operator {
    ($(#[$doc:meta])* $type:ident, $name:literal, $call:ident) => {
        $(#[$doc])*
        pub struct $type;

        impl Operator for $type {
            fn name(&self) -> &'static str {
                $name
            }

            fn version(&self) -> u32 {
                1
            }

            fn kind(&self) -> Kind {
                Kind::Pure
            }

            fn pool(&self) -> Pool {
                Pool::Instant
            }

            fn call<'a>(
                &'a self,
                args: &'a Args,
                context: &'a Context,
            ) -> BoxFuture<'a, Result<Value, CallError>> {
                Box::pin(async move { $call(args, &*context.objects) })
            }
        }
    };
}

operator!(
    /// `rows.holdout`: two tables, by a hash of `by`.
    Holdout, "rows.holdout", holdout
);
operator!(
    /// `rows.sample`: the `count` rows with the smallest hashes.
    Sample, "rows.sample", sample
);
operator!(
    /// `rows.take`: the first rows.
    Take, "rows.take", take
);
operator!(
    /// `rows.dedup`: the first row of each group.
    Dedup, "rows.dedup", dedup
);

fn holdout(args: &Args, objects: &dyn Objects) -> Result<Value, CallError> {
    let share = args.float("test")?;
    let by = function(args, "by")?;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for row in rows(args, objects)? {
        let mut hasher = KeyHasher::new("claw holdout 1");
        hasher.number(args.int("seed")? as u64).text(&key_of(by, &row, objects)?);
        // 53 bits make an even share of 0..1 in a float.
        let draw = (hasher.finish().seed() >> 11) as f64 / (1u64 << 53) as f64;
        if draw < share { test.push(row) } else { train.push(row) }
    }
    Ok(Value::record([("train", table(train)), ("test", table(test))]))
}

fn sample(args: &Args, objects: &dyn Objects) -> Result<Value, CallError> {
    let count = usize::try_from(args.int("count")?)
        .map_err(|_| CallError::row("`count` must not be negative"))?;
    let seed = args.int("seed")? as u64;
    let mut drawn: Vec<(Digest, usize, Digest)> = rows(args, objects)?
        .into_iter()
        .enumerate()
        .map(|(place, row)| {
            let mut hasher = KeyHasher::new("claw sample 1");
            hasher.number(seed).digest(&row);
            (hasher.finish(), place, row)
        })
        .collect();
    drawn.sort();
    drawn.truncate(count);
    drawn.sort_by_key(|(_, place, _)| *place);
    Ok(table(drawn.into_iter().map(|(_, _, row)| row).collect()))
}

fn take(args: &Args, objects: &dyn Objects) -> Result<Value, CallError> {
    let count = usize::try_from(args.int("count")?)
        .map_err(|_| CallError::row("`count` must not be negative"))?;
    let mut rows = rows(args, objects)?;
    rows.truncate(count);
    Ok(table(rows))
}

fn dedup(args: &Args, objects: &dyn Objects) -> Result<Value, CallError> {
    let on = function(args, "on")?;
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for row in rows(args, objects)? {
        if seen.insert(key_of(on, &row, objects)?) {
            kept.push(row);
        }
    }
    Ok(table(kept))
}
