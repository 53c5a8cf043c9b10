//! Turns to compute plain rows: as many at once as there are threads, and the stage that stands later
//! in the plan goes first.
//!
//! So rows are read soon after they were made, when the store still has them in memory
//! ([`crate::store`]), and what waits between two stages stays short, without one stage ever having
//! to wait until another has read.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Gives the turns of a run.
pub(super) struct Turns {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    free: usize,
    /// Who waits: the latest line of the plan first, and of a line who came first.
    line: BTreeMap<(Reverse<usize>, u64), oneshot::Sender<Turn>>,
    came: u64,
}

/// Leave to compute, until it is dropped.
pub(super) struct Turn(Arc<Turns>);

impl Turns {
    /// So many at once.
    pub(super) fn new(threads: usize) -> Arc<Turns> {
        let waiting = Waiting { free: threads.max(1), ..Waiting::default() };
        Arc::new(Turns { waiting: Mutex::new(waiting) })
    }

    /// Waits for a turn for the stage on that line of the plan.
    pub(super) async fn take(self: &Arc<Turns>, line: usize) -> Turn {
        let turn = {
            let mut waiting = self.lock();
            if waiting.free > 0 {
                waiting.free -= 1;
                return Turn(self.clone());
            }
            let (give, turn) = oneshot::channel();
            waiting.came += 1;
            let came = waiting.came;
            waiting.line.insert((Reverse(line), came), give);
            turn
        };
        match turn.await {
            Ok(turn) => turn,
            // Turns are only given, never taken away from who waits.
            Err(_) => Turn(self.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut waiting = self.0.lock();
            let next = waiting.line.pop_first();
            if next.is_none() {
                waiting.free += 1;
            }
            next
        };
        if let Some((_, next)) = next {
            // A turn that nobody waits for any more comes back here by being dropped.
            let _ = next.send(Turn(self.0.clone()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_later_stage_goes_first_and_of_one_stage_who_came_first() {
        let turns = Turns::new(1);
        let held = turns.take(9).await;
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        for (name, line) in [("a", 1), ("b", 2), ("c", 1), ("d", 2)] {
            let (turns, told) = (turns.clone(), told.clone());
            tokio::spawn(async move {
                let _turn = turns.take(line).await;
                told.send(name).unwrap();
            });
            tokio::task::yield_now().await;
        }
        drop((held, told));
        let mut order = String::new();
        while let Some(name) = heard.recv().await {
            order += name;
        }
        assert_eq!(order, "bdac");
        assert_eq!(turns.lock().free, 1);
    }

    #[tokio::test]
    async fn who_goes_away_takes_no_turn_along() {
        let turns = Turns::new(2);
        let held = (turns.take(1).await, turns.take(1).await);
        let gone = tokio::spawn({
            let turns = turns.clone();
            async move { drop(turns.take(5).await) }
        });
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        drop(held);
        assert_eq!(turns.lock().free, 2);
        drop(turns.take(1).await);
    }
}
