//! The rows that a generator goes over, each read when it is looked at.

use std::sync::Arc;

use crate::lang::{IntRange, Table, Value};
use crate::store::{Digest, Snapshot};

use super::super::operator::read_value;

/// The rows of a generator.
#[derive(Default)]
pub(super) struct Items {
    parts: Vec<Part>,
    /// Rows beyond those, which were not looked at.
    pub(super) unseen: u64,
}

enum Part {
    Table(Arc<Table>),
    /// Rows of which some are not known.
    Rows(Arc<[Option<Digest>]>),
    /// Values, of which some are not known.
    Values(Vec<Option<Value>>),
    Range(IntRange),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Table(table) => table.rows.len() as u64,
            Part::Rows(rows) => rows.len() as u64,
            Part::Values(values) => values.len() as u64,
            Part::Range(range) => range.len(),
        }
    }
}

impl Items {
    /// The rows of a table.
    pub(super) fn of_table(table: Arc<Table>) -> Items {
        Items { parts: vec![Part::Table(table)], unseen: 0 }
    }

    /// Rows of which some are not known, and so many that were not looked at.
    pub(super) fn of_rows(rows: Arc<[Option<Digest>]>, unseen: u64) -> Items {
        Items { parts: vec![Part::Rows(rows)], unseen }
    }

    /// Values of which some are not known, and so many that were not looked at.
    pub(super) fn of_values(values: Vec<Option<Value>>, unseen: u64) -> Items {
        Items { parts: vec![Part::Values(values)], unseen }
    }

    /// The numbers of a range.
    pub(super) fn of_range(range: IntRange) -> Items {
        Items { parts: vec![Part::Range(range)], unseen: 0 }
    }

    /// These and then those.
    pub(super) fn and(mut self, other: Items) -> Items {
        self.parts.extend(other.parts);
        self.unseen += other.unseen;
        self
    }

    /// How many there are beside those that were not looked at.
    pub(super) fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).fold(0, u64::saturating_add)
    }

    /// The row number `index`, read from the store where it stands there; `None` when it is not
    /// known.
    pub(super) fn get(&self, index: u64, store: &Snapshot) -> Option<Value> {
        let mut index = index;
        for part in &self.parts {
            if index >= part.len() {
                index -= part.len();
                continue;
            }
            let at = usize::try_from(index).ok()?;
            return match part {
                Part::Table(table) => read_value(store, &table.rows[at]).ok(),
                Part::Rows(rows) => read_value(store, &rows[at]?).ok(),
                Part::Values(values) => values[at].clone(),
                Part::Range(range) => range.get(index).map(Value::Int),
            };
        }
        None
    }
}
