//! `rows.*`: whole tables in, whole tables out. Rows are moved by digest; only those whose content
//! decides are read.
//!
//! | file | operators |
//! |---|---|
//! | `choose.rs` | `holdout`, `split`, `sample`, `take`, `shuffle` |
//! | `dedup.rs` | `dedup`, with `near.rs` for texts that are almost the same |
//! | `vectors.rs` | `dedup_vectors` |
//! | `order.rs` | `sort` |
//! | `group.rs` | `group` |
//! | `join.rs` | `join`, `left_join` |
//! | `typed.rs` | `typed` |

mod choose;
mod dedup;
mod group;
mod join;
mod near;
mod order;
mod typed;
mod vectors;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool, read_value};
use crate::lang::{self, Function, Table, Value};
use crate::store::{Digest, Objects};

type Work = fn(&Args, &Context) -> Result<Value, CallError>;
type PoolOf = fn(&Args) -> Pool;

/// An operator over whole tables: what it does, and how much work that is.
struct TableOperator {
    name: &'static str,
    version: u32,
    pool: PoolOf,
    work: Work,
}

/// Every operator over whole tables.
pub fn all() -> Vec<Arc<dyn Operator>> {
    let quick = |_: &Args| Pool::Instant;
    let machine = |_: &Args| Pool::Machine;
    let listed: [(&'static str, PoolOf, Work); 12] = [
        ("rows.holdout", quick, choose::holdout),
        ("rows.split", quick, choose::split),
        ("rows.sample", quick, choose::sample),
        ("rows.take", quick, choose::take),
        ("rows.shuffle", quick, choose::shuffle),
        ("rows.dedup", dedup::pool, dedup::dedup),
        ("rows.dedup_vectors", machine, vectors::dedup_vectors),
        ("rows.sort", quick, order::sort),
        ("rows.group", quick, group::group),
        ("rows.join", quick, join::join),
        ("rows.left_join", quick, join::left_join),
        ("rows.typed", quick, typed::typed),
    ];
    let operator = |(name, pool, work)| TableOperator { name, version: 1, pool, work };
    listed.map(operator).into_iter().map(|one| Arc::new(one) as Arc<dyn Operator>).collect()
}

impl Operator for TableOperator {
    fn about(&self) -> About {
        About { name: self.name, version: self.version, kind: Kind::Pure, pool: Pool::Machine }
    }

    fn pool_of(&self, args: &Args) -> Pool {
        (self.pool)(args)
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            if self.pool_of(args) == Pool::Instant {
                return (self.work)(args, context);
            }
            // Long computing has a thread of its own, so that the rest of the run goes on.
            let (work, args, context) = (self.work, args.clone(), context.clone());
            match tokio::task::spawn_blocking(move || work(&args, &context)).await {
                Ok(done) => done,
                Err(err) => {
                    Err(CallError::Infrastructure(format!("`{}` broke off: {err}", self.name)))
                }
            }
        })
    }
}

/// The rows of an argument by digest; those of a list are kept first.
fn rows(args: &Args, name: &str, objects: &dyn Objects) -> Result<Vec<Digest>, CallError> {
    match args.get(name)? {
        Value::Table(table) => Ok(table.rows.clone()),
        Value::List(items) => {
            Ok(items.iter().map(|item| objects.put(&item.encode())).collect::<Result<_, _>>()?)
        }
        _ => Err(CallError::row(format!("argument `{name}` is not a table"))),
    }
}

fn table(rows: Vec<Digest>) -> Value {
    Value::Table(Arc::new(Table { rows }))
}

/// A table that stands inside of a row: its own bytes are kept too, since a row names it by digest.
fn inner_table(rows: Vec<Digest>, objects: &dyn Objects) -> Result<Value, CallError> {
    let table = Table { rows };
    objects.put(&table.encode())?;
    Ok(Value::Table(Arc::new(table)))
}

/// An argument that is a function of a row, such as `.family`.
struct OfRow<'a> {
    name: &'a str,
    function: &'a Function,
    objects: &'a dyn Objects,
}

impl<'a> OfRow<'a> {
    fn new(args: &'a Args, name: &'a str, objects: &'a dyn Objects) -> Result<Self, CallError> {
        match args.get(name)? {
            Value::Function(function) => Ok(OfRow { name, function, objects }),
            _ => Err(CallError::row(format!("argument `{name}` is not a function such as `.id`"))),
        }
    }

    /// What it gives for a row; `place` is the row's number from 0.
    fn value(&self, place: usize, row: &Digest) -> Result<Value, CallError> {
        let row = read_value(self.objects, row)?;
        lang::apply(self.function, &row).map_err(|err| self.wrong(place, &err.to_string()))
    }

    /// The same as text.
    fn text(&self, place: usize, row: &Digest) -> Result<String, CallError> {
        Ok(lang::text(&self.value(place, row)?))
    }

    /// A mistake in what it gives.
    fn wrong(&self, place: usize, why: &str) -> CallError {
        CallError::row(format!("`{}` of row {place}: {why}", self.name))
    }
}

/// What two values share exactly when `==` says that they are equal: `1` and `1.0` are.
fn identity(value: &Value) -> Vec<u8> {
    fn plain(value: &Value) -> Value {
        match value {
            // Floats are whole numbers up to 2^53 without a doubt.
            Value::Float(float)
                if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 =>
            {
                Value::Int(*float as i64)
            }
            Value::List(items) => Value::List(items.iter().map(plain).collect()),
            Value::Record(fields) => {
                Value::Record(fields.iter().map(|(name, of)| (name.clone(), plain(of))).collect())
            }
            other => other.clone(),
        }
    }
    plain(value).encode()
}

/// A number of rows.
fn count(args: &Args, name: &str) -> Result<usize, CallError> {
    usize::try_from(args.int(name)?)
        .map_err(|_| CallError::row(format!("`{name}` must not be negative")))
}

/// Threads for one call; how many there are changes no result.
fn threads(context: &Context) -> Result<rayon::ThreadPool, CallError> {
    rayon::ThreadPoolBuilder::new().num_threads(context.threads.max(1)).build().map_err(|err| {
        CallError::Infrastructure(format!("could not start {} threads: {err}", context.threads))
    })
}
