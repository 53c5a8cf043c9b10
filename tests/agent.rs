//! Agents: contracts, episodes, trajectories, the solver, rollouts and their evaluation.

mod episodes;
mod evaluation;
mod fake;
mod own;
mod process;
mod rollouts;
mod solver;
mod tools;
