//! What a stage may spend, and a whole run: reserved before a call, settled after it.
//!
//! Before a request is sent, the most that it can cost is set aside; when the answer is there, what
//! it did cost is counted and the rest is free again. So a stage never spends more than its budget,
//! however many of its calls are under way. A call that finds too little waits as long as others
//! hold reservations, for most of them will cost less than they might. A stage of a run that has a
//! budget itself reserves from both.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The budget of one stage in one run, or of the run. Amounts are micro-dollars.
#[derive(Debug)]
pub struct Budget {
    limit: i64,
    counts: Mutex<Counts>,
    /// Told whenever a reservation ends.
    freed: Notify,
    /// The run's, where this is a stage's.
    above: Option<Arc<Budget>>,
    whose: Whose,
}

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of one stage, from its policy.
    Stage,
    /// Of the whole run, from its command.
    Run,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    spent: i64,
    reserved: i64,
}

/// A budget that does not cover one more call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {}'s budget of {} does not cover the next call: {} are spent, and it may cost {}",
    match .whose { Whose::Stage => "stage", Whose::Run => "run" }, dollars(*.limit), dollars(*.spent), dollars(*.asked)
)]
pub struct OverBudget {
    /// Whose it is.
    pub whose: Whose,
    /// The budget.
    pub limit: i64,
    /// What calls have cost so far.
    pub spent: i64,
    /// What the refused call may cost.
    pub asked: i64,
}

impl OverBudget {
    /// What can be raised.
    pub(super) fn setting(&self) -> &'static str {
        match self.whose {
            Whose::Stage => "`budget`",
            Whose::Run => "`--budget`",
        }
    }
}

/// An amount set aside. Dropped without [`Reservation::settle`], it is free again.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    amount: i64,
    /// The same of the run's budget.
    above: Option<Box<Reservation>>,
}

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(limit: i64) -> Budget {
        Budget::made(limit, None, Whose::Stage)
    }

    /// The budget of a whole run.
    pub fn of_run(limit: i64) -> Budget {
        Budget::made(limit, None, Whose::Run)
    }

    /// A stage's budget in a run that has one; the run's alone where the stage has none.
    pub(super) fn within(limit: Option<i64>, run: Option<&Arc<Budget>>) -> Option<Arc<Budget>> {
        match limit {
            None => run.cloned(),
            Some(limit) => Some(Arc::new(Budget::made(limit, run.cloned(), Whose::Stage))),
        }
    }

    fn made(limit: i64, above: Option<Arc<Budget>>, whose: Whose) -> Budget {
        Budget { limit, counts: Mutex::default(), freed: Notify::new(), above, whose }
    }

    /// Sets `amount` aside, waiting for reservations that may yet be freed.
    ///
    /// # Errors
    /// When what is spent leaves less than `amount`.
    pub async fn reserve(self: &Arc<Self>, amount: i64) -> Result<Reservation, OverBudget> {
        let mut own = self.reserve_own(amount).await?;
        if let Some(above) = &self.above {
            own.above = Some(Box::new(above.reserve_own(amount).await?));
        }
        Ok(own)
    }

    async fn reserve_own(self: &Arc<Self>, amount: i64) -> Result<Reservation, OverBudget> {
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
                    return Ok(Reservation { budget: self.clone(), amount, above: None });
                }
                let spent = counts.spent;
                if counts.reserved == 0 || spent.saturating_add(amount) > self.limit {
                    let (whose, limit) = (self.whose, self.limit);
                    return Err(OverBudget { whose, limit, spent, asked: amount });
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
    pub fn settle(mut self, cost: i64) {
        if let Some(above) = self.above.take() {
            above.settle(cost);
        }
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
        let whose = Whose::Stage;
        assert_eq!(refused, OverBudget { whose, limit: 100, spent: 10, asked: 91 });
    }

    #[tokio::test]
    async fn a_call_that_can_never_fit_does_not_wait() {
        let budget = Arc::new(Budget::new(100));
        let held = budget.reserve(60).await.unwrap();
        assert!(budget.reserve(101).await.is_err());
        held.settle(60);
    }

    #[tokio::test]
    async fn stages_share_the_budget_of_their_run() {
        let run = Arc::new(Budget::of_run(100));
        let of = |limit| Budget::within(limit, Some(&run)).unwrap();
        let (small, large, free) = (of(Some(40)), of(Some(1000)), of(None));
        assert_eq!(small.reserve(41).await.unwrap_err().whose, Whose::Stage);
        small.reserve(40).await.unwrap().settle(30);
        let refused = large.reserve(71).await.unwrap_err();
        let whose = Whose::Run;
        assert_eq!(refused, OverBudget { whose, limit: 100, spent: 30, asked: 71 });
        large.reserve(70).await.unwrap().settle(50);
        free.reserve(20).await.unwrap().settle(20);
        assert!(free.reserve(1).await.is_err() && small.reserve(1).await.is_err());
        assert_eq!((run.spent(), small.spent(), large.spent()), (100, 30, 50));
        assert!(Budget::within(None, None).is_none());
    }

    #[test]
    fn amounts_are_dollars() {
        let cases = [(0, "$0.00"), (20_000_000, "$20.00"), (1_230_000, "$1.23"), (45, "$0.000045")];
        for (micro, text) in cases {
            assert_eq!(dollars(micro), text);
        }
    }
}
