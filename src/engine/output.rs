//! A stage's result while it is being made: rows as they come, the whole when it is complete.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use smallvec::SmallVec;
use tokio::sync::watch;

use crate::lang::{Table, Value};
use crate::store::{Digest, Objects};

use super::operator::{CallError, read_value};

/// A row's place among the rows of its stage: one number a generator, and its number among the
/// rows that one call gave. Rows are put in the order of their places, whenever they come.
pub type Place = SmallVec<[u32; 4]>;

/// One stage's result.
pub(super) struct Output {
    state: Mutex<Made>,
    changed: watch::Sender<u64>,
    /// Stages that take rows one after the other.
    readers: AtomicUsize,
    /// What its receipt answers to, once all that the stage reads is complete.
    pub(super) key: OnceLock<Digest>,
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

/// Takes a stage's rows in the order in which they come.
pub(super) struct Reader {
    output: Arc<Output>,
    cursor: usize,
}

impl Reader {
    /// The next rows, at least one and at most `most`, as soon as there are any; none at the end.
    pub(super) async fn next(&mut self, most: usize) -> Vec<(Place, Digest)> {
        let mut changes = self.output.changed.subscribe();
        loop {
            {
                let made = self.output.lock();
                let rows = &made.rows[self.cursor..];
                if !rows.is_empty() || made.end.is_some() {
                    let rows = rows[..rows.len().min(most)].to_vec();
                    self.cursor += rows.len();
                    return rows;
                }
            }
            if changes.changed().await.is_err() {
                return Vec::new();
            }
        }
    }

    /// All rows in the order of their places, when the stage has its result.
    pub(super) fn all(&self) -> Option<Vec<(Place, Digest)>> {
        let made = self.output.lock();
        let mut rows = matches!(made.end, Some(End::Value(_))).then(|| made.rows.clone())?;
        drop(made);
        rows.sort_unstable();
        Some(rows)
    }

    /// Whether the stage ended without a result.
    pub(super) fn failed(&self) -> bool {
        matches!(self.output.ended(), Some(End::Nothing))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.output.readers.fetch_sub(1, Ordering::SeqCst);
        self.output.let_go();
    }
}

impl Output {
    pub(super) fn new() -> Output {
        Output {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            readers: AtomicUsize::new(0),
            key: OnceLock::new(),
        }
    }

    /// Adds rows that one call gave.
    pub(super) fn add(&self, place: &Place, rows: &[Digest]) {
        self.add_all(rows.iter().enumerate().map(|(number, row)| {
            let mut place = place.clone();
            place.push(number as u32);
            (place, *row)
        }));
    }

    /// Adds rows, each with its whole place.
    pub(super) fn add_all(&self, rows: impl Iterator<Item = (Place, Digest)>) {
        self.lock().rows.extend(rows);
        self.changed.send_modify(|version| *version += 1);
    }

    /// The rows so far, in the order of their places.
    pub(super) fn table(&self) -> Table {
        let made = self.lock();
        let rows = &made.rows;
        if rows.is_sorted() {
            return Table { rows: rows.iter().map(|(_, row)| *row).collect() };
        }
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_unstable_by(|a, b| rows[*a as usize].cmp(&rows[*b as usize]));
        Table { rows: order.into_iter().map(|at| rows[at as usize].1).collect() }
    }

    /// Ends it.
    pub(super) fn end(&self, end: End) {
        self.lock().end = Some(end);
        self.let_go();
        self.changed.send_modify(|version| *version += 1);
    }

    /// Lets go of rows that nobody will ask for any more.
    fn let_go(&self) {
        let mut made = self.lock();
        // A stage without a result still gives the rows that it made.
        if matches!(made.end, Some(End::Value(_))) && self.readers.load(Ordering::SeqCst) == 0 {
            made.rows = Vec::new();
        }
    }

    /// A reader of its rows as they come, unless there is a whole result.
    pub(super) fn reader(self: &Arc<Output>) -> Option<Reader> {
        let made = self.lock();
        if matches!(made.end, Some(End::Value(_))) {
            return None;
        }
        self.readers.fetch_add(1, Ordering::SeqCst);
        drop(made);
        Some(Reader { output: self.clone(), cursor: 0 })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<End> {
        self.lock().end.clone()
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

/// Keeps the bytes of the tables in a value, which names them by digest.
pub(super) fn keep_tables(objects: &dyn Objects, value: &Value) -> Result<(), CallError> {
    match value {
        Value::Table(table) => objects.put(&table.encode()).map(drop)?,
        Value::List(items) => {
            items.iter().try_for_each(|item| keep_tables(objects, item))?;
        }
        Value::Record(fields) => {
            fields.values().try_for_each(|field| keep_tables(objects, field))?;
        }
        _ => {}
    }
    Ok(())
}

/// Turns a list of rows into a table, and keeps the bytes of the tables in a value.
fn as_tables(objects: &dyn Objects, value: Value, is_table: bool) -> Result<Value, CallError> {
    match value {
        Value::List(items) if is_table => {
            let rows = objects.put_all(items.iter().map(Value::encode).collect())?;
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
