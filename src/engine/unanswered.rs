//! Rows of a stage whose answers are not recorded, in a run that may ask nobody.
//!
//! Such a row is not the row's failure, whatever `on_error` says: the stage has no result without it,
//! for a result that lacks rows would be taken for the real one. All others are made, so that
//! everything that is recorded is seen, and one run tells how much is missing.

use std::sync::{Mutex, PoisonError};

use super::operator::CallError;
use super::output::Place;

/// The rows, as far as they are told.
#[derive(Default)]
pub(super) struct Unanswered(Mutex<Option<Rows>>);

struct Rows {
    count: u64,
    /// The first in the order of the rows, whichever came first.
    first: (Place, String),
}

impl Unanswered {
    /// Adds a row.
    pub(super) fn add(&self, place: &Place, err: &CallError) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let this = (place.clone(), err.to_string());
        match &mut *rows {
            None => *rows = Some(Rows { count: 1, first: this }),
            Some(rows) => {
                rows.count += 1;
                if this.0 < rows.first.0 {
                    rows.first = this;
                }
            }
        }
    }

    /// # Errors
    /// When there are any: how many, and what the first of them would have asked.
    pub(super) fn told(&self) -> Result<(), CallError> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Rows { count, first: (place, why) }) = &*rows else { return Ok(()) };
        // A place has a 0 for each stage that its row streamed through: they tell nothing.
        let end = place.iter().rposition(|number| *number > 0).map_or(1, |last| last + 1);
        let place: Vec<String> = place.iter().take(end).map(u32::to_string).collect();
        let rest = match count - 1 {
            0 => String::new(),
            1 => " (and so for 1 more row)".to_string(),
            more => format!(" (and so for {more} more rows)"),
        };
        Err(CallError::Offline(format!("row {}: {why}{rest}", place.join("."))))
    }
}
