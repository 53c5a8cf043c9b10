//! What was found so far in looking at one stage.

use std::sync::Arc;

use crate::lang::{CacheUse, ExprKind, Stage};

use super::super::estimate::Asked;
use super::super::plain::Plain;
use super::bound::Bound;
use super::caller::AheadCaller;
use super::written::{Written, written};
use super::{Ahead, Forecast, STAGE_ROWS, first_operator};

/// A look at one stage.
pub(super) struct Look {
    pub(super) stage: Arc<str>,
    pub(super) told: Forecast,
    /// What is known of the number of rows that the stage will have.
    pub(super) number: Bound,
    /// Whether the stage believes what the store has.
    pub(super) cache: CacheUse,
    /// Whether all its rows are made whenever one is: they hold no call that the store could answer.
    pub(super) is_plain: bool,
    /// Rows of it that were not looked at.
    pub(super) beyond: u64,
    asked: Asked,
    /// Rows of it that may still be looked at.
    pub(super) left: u64,
    /// The calls in it that ask a model, for rows of which nothing is known.
    calls: Vec<Written>,
}

impl Look {
    /// Nothing was looked at yet.
    pub(super) fn new(stage: &Stage, ahead: &Ahead<'_>) -> Look {
        let told = Forecast {
            stage: stage.name.clone(),
            operator: first_operator(stage),
            cached: 0,
            will_run: 0,
            unseen: 0,
            bound: Bound::Exact,
            reasons: Vec::new(),
            asks: Vec::new(),
        };
        let calls = written(stage, ahead);
        let is_plain = match &stage.expr.kind {
            ExprKind::For(each) => Plain::of(each, &stage.policy()).is_some(),
            _ => false,
        };
        Look {
            stage: stage.name.as_str().into(),
            told,
            number: Bound::Exact,
            cache: ahead.cache(stage),
            is_plain,
            beyond: 0,
            asked: Asked::default(),
            left: STAGE_ROWS,
            calls,
        }
    }

    /// Takes in what an evaluation would have asked; one that did not come to its `end` would go on
    /// to the calls that it did not reach.
    pub(super) fn heard(&mut self, caller: &AheadCaller<'_>, end: bool) {
        if caller.shares() {
            self.told.bound |= Bound::AtMost;
        }
        for (operator, asks) in caller.asked() {
            self.asked.add(&operator, &asks, 1);
        }
        if !end {
            self.asks_for(1, &|place| !caller.met(place));
        }
    }

    /// Counts rows that will run, of which nothing is known.
    pub(super) fn unknown(&mut self, rows: u64) {
        self.told.will_run = self.told.will_run.saturating_add(rows);
        self.asks_for(rows, &|_| true);
    }

    /// Counts rows that are not looked at. At most, each of them asks what is written; those that
    /// nothing can leave out or answer are certainly made.
    pub(super) fn unseen(&mut self, rows: u64, certain: bool) {
        self.beyond = self.beyond.saturating_add(rows);
        if certain && self.is_plain {
            self.told.will_run = self.told.will_run.saturating_add(rows);
        } else {
            self.told.unseen = self.told.unseen.saturating_add(rows);
            self.told.bound |= Bound::AtLeast;
        }
        self.asks_for(rows, &|_| true);
    }

    fn asks_for(&mut self, rows: u64, of: &dyn Fn(usize) -> bool) {
        for call in self.calls.iter_mut().filter(|call| of(call.place)) {
            call.rows = call.rows.saturating_add(rows);
        }
    }

    /// What was found. The calls of rows of which nothing is known are shared among the ways in which
    /// they can be read.
    pub(super) fn end(mut self) -> (Forecast, Asked) {
        for call in self.calls {
            for asks in &call.asks {
                self.asked.add(&call.operator, asks, call.rows.div_ceil(call.ways as u64));
            }
        }
        (self.told, self.asked)
    }
}
