//! The plan: a checked program as a graph of stages, the keys of its calls, and the reasons why a
//! stage runs. Pure: the same program and the same store give the same plan.

mod graph;
mod key;
mod reason;
mod walk;

pub use graph::{Plan, PlanError};
pub use key::{attempt_key, call_key, stage_key};
pub use reason::{Difference, Part, PartKind, Reason, compare, parts};
pub use walk::{operators, walk};
