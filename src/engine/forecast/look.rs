//! What was found so far in looking at one stage.

use crate::lang::{Call, ExprKind, Stage};
use crate::plan::walk;

use super::super::call::Operators;
use super::super::estimate::Asked;
use super::super::operator::{Args, Asks};
use super::caller::AheadCaller;
use super::{Forecast, STAGE_ROWS, first_operator};

/// A look at one stage.
pub(super) struct Look {
    pub(super) told: Forecast,
    pub(super) asked: Asked,
    /// Rows of it that may still be looked at.
    pub(super) left: u64,
    /// The calls in it that ask a model, as far as their constant arguments tell.
    calls: Vec<Written>,
}

/// A call as it stands in the program.
struct Written {
    place: usize,
    operator: String,
    asks: Asks,
}

/// What tells one call of a program from another, for as long as the program stays where it is.
pub(super) fn place_of(call: &Call) -> usize {
    std::ptr::from_ref(call) as usize
}

impl Look {
    /// Nothing was looked at yet.
    pub(super) fn new(stage: &Stage, operators: &Operators) -> Look {
        let mut calls = Vec::new();
        walk(&stage.expr, &mut |expr| {
            let ExprKind::Call(call) = &expr.kind else { return };
            let constant = |(name, arg): &(String, crate::lang::Expr)| match &arg.kind {
                ExprKind::Const(value) => Some((name.clone(), value.clone())),
                _ => None,
            };
            let args = Args(call.args.iter().filter_map(constant).collect());
            let Ok(operator) = operators.get(&call.operator) else { return };
            if let Some(asks) = operator.asks(&args) {
                calls.push(Written {
                    place: place_of(call),
                    operator: call.operator.clone(),
                    asks,
                });
            }
        });
        let told = Forecast {
            stage: stage.name.clone(),
            operator: first_operator(stage),
            cached: 0,
            will_run: 0,
            unseen: 0,
            exact: true,
            reasons: Vec::new(),
            asks: Vec::new(),
        };
        Look { told, asked: Asked::default(), left: STAGE_ROWS, calls }
    }

    /// Takes in what an evaluation would have asked; one that did not come to its `end` would go on
    /// to the calls that it did not reach.
    pub(super) fn heard(&mut self, caller: &AheadCaller<'_>, end: bool) {
        for (operator, asks) in caller.asked() {
            self.asked.add(&operator, &asks, 1);
        }
        if !end {
            for call in self.calls.iter().filter(|call| !caller.met(call.place)) {
                self.asked.add(&call.operator, &call.asks, 1);
            }
        }
    }

    /// Counts rows that will run, of which nothing is known.
    pub(super) fn unknown(&mut self, rows: u64) {
        self.told.will_run += rows;
        self.asks_for(rows);
    }

    /// Counts rows that are not looked at. At most, each of them asks what is written.
    pub(super) fn unseen(&mut self, rows: u64) {
        self.told.unseen += rows;
        self.told.exact = false;
        self.asks_for(rows);
    }

    fn asks_for(&mut self, rows: u64) {
        for call in &self.calls {
            self.asked.add(&call.operator, &call.asks, rows);
        }
    }
}
