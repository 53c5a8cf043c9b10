//! The numbers of rows that were put aside.
//!
//! A stage that takes rows as they come knows them by their places in the stage that they come from,
//! which are no numbers that anybody could count. When all of them are there, those that were put
//! aside are told once more, by their numbers among the rows that the stage went over.

use std::sync::PoisonError;

use crate::engine::log::Event;
use crate::engine::operator::read_value;
use crate::engine::output::{Place, Reader};
use crate::lang::Function;

use super::{Job, passes};

/// What a stage took rows from, and what they had to pass on the way.
pub(super) struct Source {
    reader: Reader,
    tests: Vec<Function>,
}

impl Job {
    /// Holds on to what the rows came from, until it is known which were put aside.
    pub(in crate::engine) fn came_from(&self, reader: Reader, tests: &[Function]) {
        let source = Source { reader, tests: tests.to_vec() };
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// Remembers that a row was put aside.
    pub(super) fn note_aside(&self, place: &Place) {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner).push(place.clone());
    }

    /// Tells the numbers of rows that were put aside. Of rows that nobody can read any more none are
    /// told.
    pub(super) fn number_aside(&self) {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        let aside = std::mem::take(&mut *self.aside.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(Source { reader, tests }) = source else { return };
        if aside.is_empty() {
            return;
        }
        let Some(mut rows) = reader.all() else { return };
        let tests: Vec<&Function> = tests.iter().collect();
        if !tests.is_empty() {
            let store = &*self.shared.store;
            rows.retain(|(_, row)| {
                read_value(store, row).is_ok_and(|row| passes(&tests, &row).unwrap_or(false))
            });
        }
        let length = rows.first().map_or(0, |(place, _)| place.len());
        let number = |place: Place| {
            let (of, inner) = place.split_at_checked(length)?;
            let at = rows.binary_search_by(|(known, _)| known[..].cmp(of)).ok()?;
            let numbers = [&[at as u32], inner].concat();
            Some((place.to_vec(), numbers))
        };
        let numbers = aside.into_iter().filter_map(number).collect();
        self.shared.log.write(&Event::Numbered { stage: self.stage().name.clone(), numbers });
    }
}
