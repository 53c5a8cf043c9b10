//! What becomes of rows that fail: they are put aside, or end the stage, as its policy says.

use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use crate::engine::call::RowCaller;
use crate::engine::canary;
use crate::engine::log::Event;
use crate::engine::operator::CallError;
use crate::engine::output::Place;
use crate::engine::output::keep_tables;
use crate::engine::tolerance::{self, Extent};
use crate::lang::{ExprKind, For, OnError, Value};
use crate::store::{Digest, Objects};

use super::Job;

/// What a row was to be made from.
#[derive(Default)]
pub(in crate::engine) struct Origin {
    /// The row of the first generator, where it lies in the store.
    pub(in crate::engine) input: Option<Digest>,
    /// What the generators gave, by name.
    pub(in crate::engine) names: Vec<(String, Value)>,
}

impl Origin {
    /// The values of a `for`'s names as far as `named` knows them.
    pub(in crate::engine) fn of<'v>(
        each: &For,
        named: impl Fn(&str) -> Option<&'v Value>,
        input: Option<Digest>,
    ) -> Origin {
        let value = |(name, _): &(String, _)| Some((name.clone(), named(name)?.clone()));
        Origin { input, names: each.generators.iter().filter_map(value).collect() }
    }
}

impl Job {
    /// Does with a row that failed what the policy says.
    pub(in crate::engine) fn row_failed(&self, place: &Place, err: &CallError, from: &Origin) {
        match err {
            // It says nothing about the row, so whatever `on_error` says, the row is not put aside.
            CallError::Budget(_) => self.fail(err.to_string()),
            // Nor does this; the other rows go on, for their answers may be recorded.
            CallError::Offline(_) => {
                self.board().failed.fetch_add(1, Ordering::Relaxed);
                self.put_aside(place, err, from);
                self.unanswered.add(place, err);
            }
            err => {
                self.board().failed.fetch_add(1, Ordering::Relaxed);
                let mut fails = self.policy.on_error == OnError::Fail;
                if let CallError::Infrastructure(why) = err {
                    self.board().outside.fetch_add(1, Ordering::Relaxed);
                    self.outside.get_or_init(|| why.clone());
                    // A store that takes nothing more is no failure of the row.
                    fails |= self.shared.store.has_failed();
                }
                self.put_aside(place, err, from);
                if fails {
                    self.fail(err.to_string());
                }
                self.judge();
            }
        }
    }

    /// Tells of a row for which no attempt of a `try` was accepted.
    pub(super) fn dropped(&self, place: &Place, rows: &[Digest], caller: &RowCaller) {
        let gave_up = caller.gave_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let (true, Some((attempts, feedback))) = (rows.is_empty(), &*gave_up) {
            self.board().dropped.fetch_add(1, Ordering::Relaxed);
            self.shared.log.write(&Event::RowDropped {
                stage: self.stage().name.clone(),
                place: place.to_vec(),
                attempts: *attempts,
                feedback: feedback.clone(),
            });
        }
    }

    pub(super) fn put_aside(&self, place: &Place, err: &CallError, from: &Origin) {
        self.note_aside(place);
        let output = match err {
            CallError::Row { output, .. } => output.clone(),
            _ => String::new(),
        };
        self.shared.log.write(&Event::RowFailed {
            stage: self.stage().name.clone(),
            place: place.to_vec(),
            error: err.to_string(),
            output,
            outside: matches!(err, CallError::Infrastructure(_)),
            input: from.input,
            inputs: self.keep_inputs(&from.names),
        });
    }

    /// Keeps what a row was made from, so that it can be shown. What the store does not take is not
    /// shown, and the row's own failure stays what is told.
    fn keep_inputs(&self, names: &[(String, Value)]) -> Vec<(String, Digest)> {
        let keep = |(name, value): &(String, Value)| {
            keep_tables(&*self.shared.store, value).ok()?;
            Some((name.clone(), self.shared.store.put(&value.encode()).ok()?))
        };
        names.iter().filter_map(keep).collect()
    }

    /// Ends the stage, and the run with it: no row is started any more, and what is in flight is
    /// asked to stop.
    fn fail(&self, message: String) {
        self.give_up.store(true, Ordering::Relaxed);
        self.lock_failure().get_or_insert(message);
        self.shared.cancel.cancel();
    }

    pub(super) fn lock_failure(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets the first rows decide, once they are finished, whether the rest is started.
    pub(super) async fn pass_gate(&self, tasks: &mut JoinSet<()>) {
        let Some(canary) = self.policy.canary else { return };
        let enough = || self.board().total.load(Ordering::Relaxed) >= canary;
        if self.gate_passed.load(Ordering::Relaxed) || !enough() {
            return;
        }
        while tasks.join_next().await.is_some() {}
        if self.shared.cancel.is_cancelled() {
            // Some of them were cut off, and what is there of the others says nothing.
            return;
        }
        // The condition may have left some of them out; others take their places.
        if enough() {
            self.gate_passed.store(true, Ordering::Relaxed);
            if let Err(message) = canary::gate(&self.policy, &self.board().count()) {
                self.fail(message);
            }
        }
    }

    /// Ends the stage when so many rows failed that `on_error` can no longer be kept.
    pub(super) fn judge(&self) {
        if self.board().failed.load(Ordering::Relaxed) > 0
            && let Some(message) = self.past_tolerance()
        {
            self.fail(message);
        }
    }

    pub(super) fn past_tolerance(&self) -> Option<String> {
        if !matches!(self.policy.on_error, OnError::Drop { .. }) {
            return None;
        }
        let failed = self.board().failed.load(Ordering::Relaxed);
        tolerance::past(self.policy.on_error, failed, self.most())
    }

    /// The most rows that the stage can have, where that is known.
    pub(super) fn most(&self) -> Option<u64> {
        let started = self.started.load(Ordering::Relaxed);
        let total = self.board().total.load(Ordering::Relaxed);
        if self.all_started.load(Ordering::Relaxed) {
            return Some(total);
        }
        let ExprKind::For(each) = &self.stage().expr.kind else {
            return None;
        };
        let left_out = started.saturating_sub(total);
        Some(Extent::new(&self.plan, &self.shared).of_for(each)?.saturating_sub(left_out))
    }
}
