//! Agents: contracts, episodes, trajectories, the solver, rollouts and their evaluation.

mod episodes;
mod evaluation;
mod fake;
mod own;
mod process;
mod rollouts;
mod solver;
mod tools;

use std::sync::Arc;

use claw::engine::Operator;

/// The operator `rollout.NAME` of those that say how a model acts.
fn agent_operator(name: &str) -> Arc<dyn Operator> {
    let named = format!("rollout.{name}");
    let all = claw::operators::rollout::agents();
    all.into_iter()
        .find(|operator| operator.about().name == named)
        .expect("an operator of this name")
}
