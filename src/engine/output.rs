//! A stage's result while it is being made: rows as they come, the whole when it is complete.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::lang::{Table, Value};
use crate::store::{Digest, Objects};

use super::operator::{CallError, read_value};

/// A row's place among the rows of its stage: one number a generator, and its number among the
/// rows that one call gave. Rows are put in the order of their places, whenever they come.
pub type Place = Vec<u32>;

/// One stage's result.
pub(super) struct Output {
    state: Mutex<Made>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Made {
    /// Rows in the order in which they came.
    rows: Vec<(Place, Digest)>,
    end: Option<End>,
}

/// How a stage ended.
#[derive(Clone)]
pub(super) enum End {
    /// With this result, by the digest of its value.
    Value(Digest),
    /// Without one; whoever waits for it cannot go on.
    Nothing,
}

/// What a reader gets next.
pub(super) enum Next {
    Row(Place, Digest),
    End,
}

impl Output {
    pub(super) fn new() -> Output {
        Output { state: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Adds rows that one call gave.
    pub(super) fn add(&self, place: &Place, rows: &[Digest]) {
        let mut made = self.lock();
        for (number, row) in rows.iter().enumerate() {
            let mut place = place.clone();
            place.push(number as u32);
            made.rows.push((place, *row));
        }
        drop(made);
        self.changed.send_modify(|version| *version += 1);
    }

    /// The rows so far, in the order of their places.
    pub(super) fn table(&self) -> Table {
        let mut rows = self.lock().rows.clone();
        rows.sort();
        Table { rows: rows.into_iter().map(|(_, row)| row).collect() }
    }

    /// Ends it.
    pub(super) fn end(&self, end: End) {
        self.lock().end = Some(end);
        self.changed.send_modify(|version| *version += 1);
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<End> {
        self.lock().end.clone()
    }

    /// The row number `cursor` in the order of arrival, as soon as there is one.
    pub(super) async fn next(&self, cursor: usize) -> Next {
        let mut changes = self.changed.subscribe();
        loop {
            {
                let made = self.lock();
                if let Some((place, row)) = made.rows.get(cursor) {
                    return Next::Row(place.clone(), *row);
                }
                if made.end.is_some() {
                    return Next::End;
                }
            }
            if changes.changed().await.is_err() {
                return Next::End;
            }
        }
    }

    /// The digest of the whole result, when it is complete.
    pub(super) async fn digest(&self) -> Result<Digest, CallError> {
        let mut changes = self.changed.subscribe();
        loop {
            match self.ended() {
                Some(End::Value(digest)) => return Ok(digest),
                Some(End::Nothing) => return Err(CallError::Cancelled),
                None => {}
            }
            if changes.changed().await.is_err() {
                return Err(CallError::Cancelled);
            }
        }
    }

    /// The whole result, when it is complete.
    pub(super) async fn value(&self, objects: &dyn Objects) -> Result<Value, CallError> {
        read_value(objects, &self.digest().await?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Made> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a stage's value: rows as objects of their own, tables by digest. Gives the digest of the
/// value and the number of its rows (1 when it is not a table).
pub(super) fn keep_value(
    objects: &dyn Objects,
    value: Value,
    is_table: bool,
) -> Result<(Digest, u64), CallError> {
    let value = as_tables(objects, value, is_table)?;
    let rows = match &value {
        Value::Table(table) => table.rows.len() as u64,
        _ => 1,
    };
    Ok((objects.put(&value.encode())?, rows))
}

/// Turns a list of rows into a table, and keeps the bytes of the tables in a value.
fn as_tables(objects: &dyn Objects, value: Value, is_table: bool) -> Result<Value, CallError> {
    match value {
        Value::List(items) if is_table => {
            let rows = items
                .iter()
                .map(|item| objects.put(&item.encode()))
                .collect::<Result<Vec<_>, _>>()?;
            as_tables(objects, Value::Table(Arc::new(Table { rows })), true)
        }
        Value::Table(table) => {
            objects.put(&table.encode())?;
            Ok(Value::Table(table))
        }
        Value::Record(fields) => {
            let mut out = std::collections::BTreeMap::new();
            for (name, field) in fields {
                out.insert(name, as_tables(objects, field, false)?);
            }
            Ok(Value::Record(out))
        }
        other => Ok(other),
    }
}
