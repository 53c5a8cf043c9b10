//! What a stage may spend: reserved before a call, settled after it.
//!
//! Before a request is sent, the most that it can cost is set aside; when the answer is there, what
//! it did cost is counted and the rest is free again. So a stage never spends more than its budget,
//! however many of its calls are under way. A call that finds too little waits as long as others
//! hold reservations, for most of them will cost less than they might.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The budget of one stage in one run. Amounts are micro-dollars.
#[derive(Debug)]
pub struct Budget {
    limit: i64,
    counts: Mutex<Counts>,
    /// Told whenever a reservation ends.
    freed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    spent: i64,
    reserved: i64,
}

/// A budget that does not cover one more call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stage's budget of {} does not cover the next call: {} are spent, and it may cost {}",
    dollars(*.limit), dollars(*.spent), dollars(*.asked)
)]
pub struct OverBudget {
    /// The budget.
    pub limit: i64,
    /// What calls have cost so far.
    pub spent: i64,
    /// What the refused call may cost.
    pub asked: i64,
}

/// An amount set aside. Dropped without [`Reservation::settle`], it is free again.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    amount: i64,
}

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(limit: i64) -> Budget {
        Budget { limit, counts: Mutex::default(), freed: Notify::new() }
    }

    /// Sets `amount` aside, waiting for reservations that may yet be freed.
    ///
    /// # Errors
    /// When what is spent leaves less than `amount`.
    pub async fn reserve(self: &Arc<Self>, amount: i64) -> Result<Reservation, OverBudget> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on a reservation that ends is not missed.
            freed.as_mut().enable();
            {
                let mut counts = self.counts();
                if counts.spent.saturating_add(counts.reserved).saturating_add(amount) <= self.limit
                {
                    counts.reserved += amount;
                    return Ok(Reservation { budget: self.clone(), amount });
                }
                let spent = counts.spent;
                if counts.reserved == 0 || spent.saturating_add(amount) > self.limit {
                    return Err(OverBudget { limit: self.limit, spent, asked: amount });
                }
            }
            freed.await;
        }
    }

    /// What calls have cost so far.
    pub fn spent(&self) -> i64 {
        self.counts().spent
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// What was set aside.
    pub fn amount(&self) -> i64 {
        self.amount
    }

    /// Ends it: `cost` is spent, the rest free.
    pub fn settle(self, cost: i64) {
        let mut counts = self.budget.counts();
        counts.spent = counts.spent.saturating_add(cost);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.counts().reserved -= self.amount;
        self.budget.freed.notify_waiters();
    }
}

/// Micro-dollars as a person writes them: cents, and finer where that says more.
pub fn dollars(micro: i64) -> String {
    let text = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    let cents = text.len() - 4;
    let rest = text[cents..].trim_end_matches('0').len();
    format!("${}", &text[..cents + rest])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reservations_never_exceed_the_limit() {
        let budget = Arc::new(Budget::new(100));
        let first = budget.reserve(60).await.unwrap();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(60).await.map(|held| held.amount()) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the first may yet cost less");
        first.settle(10);
        assert_eq!(waiting.await.unwrap(), Ok(60));
        assert_eq!(budget.spent(), 10);
        let held = budget.reserve(90).await.unwrap();
        drop(held);
        let refused = budget.reserve(91).await.unwrap_err();
        assert_eq!(refused, OverBudget { limit: 100, spent: 10, asked: 91 });
    }

    #[tokio::test]
    async fn a_call_that_can_never_fit_does_not_wait() {
        let budget = Arc::new(Budget::new(100));
        let held = budget.reserve(60).await.unwrap();
        assert!(budget.reserve(101).await.is_err());
        held.settle(60);
    }

    #[test]
    fn amounts_are_dollars() {
        let cases = [(0, "$0.00"), (20_000_000, "$20.00"), (1_230_000, "$1.23"), (45, "$0.000045")];
        for (micro, text) in cases {
            assert_eq!(dollars(micro), text);
        }
    }
}
