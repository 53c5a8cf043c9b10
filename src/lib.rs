//! claw: a declarative pipeline engine for the whole life of file-workspace agents.
//!
//! The rooms of the house, top to bottom; each imports only rooms below it (a test checks that):

// The rooms below touch the world; the pure ones (lang, plan, stats) may not, see clippy.toml.
#[allow(clippy::disallowed_methods, reason = "episodes have time limits")]
pub mod agent;
#[allow(clippy::disallowed_methods, reason = "commands read files, clocks and the environment")]
pub mod cli;
#[allow(clippy::disallowed_methods, reason = "runs are logged with the time")]
pub mod engine;
pub mod lang;
#[allow(clippy::disallowed_methods, reason = "training reports its speed")]
pub mod learn;
#[allow(clippy::disallowed_methods, reason = "models are reached over the network")]
pub mod model;
#[allow(clippy::disallowed_methods, reason = "operators act on the world")]
pub mod operators;
pub mod plan;
#[allow(clippy::disallowed_methods, reason = "sandboxes start processes")]
pub mod sandbox;
pub mod stats;
#[allow(clippy::disallowed_methods, reason = "the store is files")]
pub mod store;
