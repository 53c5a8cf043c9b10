//! Agents: a model acts on a workspace through tools, until it is done.
//!
//! ```text
//!             ┌────────────── episode ──────────────┐
//! prompt ──▶  │ model ──calls──▶ contract ──▶ sandbox │ ──▶ trajectory, ending
//!             │   ▲                 │                │
//!             │   └────observations─┘                │
//!             └──────────────────────────────────────┘
//! ```
//!
//! A [`Contract`] is a named, versioned set of tools with exact schemas and exact result texts, so
//! that what a model learns on one machine holds on another. An episode is the loop above; what
//! happened in it is its [`Trajectory`], which holds no clock and no process number: the same
//! episode twice gives the same bytes.

mod allowance;
mod contract;
mod contracts;
mod episode;
mod mistake;
mod models;
mod outside;
mod schema;
mod settings;
mod solver;
mod trajectory;

pub use contract::{
    CallLimits, Contract, Manners, ToolResult, UnknownContract, contract, contract_names,
    workspace_path,
};
pub use contracts::{BadTool, CommandTool, Defect, Prompts, SandboxTools};
pub use episode::{Bounds, Episode, episode};
pub use models::{Models, Opener, Registry, model_name};
pub use outside::{
    BadOutsider, Installed, OpenClaw, Outing, Outside, OutsideAgent, Outsider, outing,
};
pub use settings::{AgentSettings, BadSettings};
pub use solver::{Solver, open_solver};
pub use trajectory::{BadTrajectory, Ending, Trajectory};
