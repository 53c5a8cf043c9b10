//! claw: a declarative pipeline engine for the whole life of file-workspace agents.
//!
//! The rooms of the house, top to bottom; each imports only rooms below it (`tests/rooms.rs` checks
//! that). All but `lang`, `plan` and `stats` touch the world and say with what; those three take
//! what they need from outside through a value that is handed in (see clippy.toml).
//!
//! The path of a program: [`lang::load`] and [`lang::bind`] make a [`lang::Pipeline`] of text,
//! [`plan::Plan`] a graph of that, [`engine::Engine`] rows of the graph through the operators in
//! [`operators`], and [`store::Store`] keeps them.

// The parser that pest derives names it, since pest is used without `std`.
extern crate alloc;

#[allow(clippy::disallowed_methods, reason = "commands read files, clocks and the environment")]
pub mod cli;
#[allow(clippy::disallowed_methods, reason = "editors talk to it, and projects are files")]
pub mod lsp;
#[allow(clippy::disallowed_methods, reason = "pages are read and written as files")]
pub mod doc;
#[allow(clippy::disallowed_methods, reason = "operators act on the world")]
pub mod operators;
#[allow(clippy::disallowed_methods, reason = "episodes have time limits")]
pub mod agent;
#[allow(clippy::disallowed_methods, reason = "training reports its speed")]
pub mod learn;
pub mod stats;
#[allow(clippy::disallowed_methods, reason = "models are reached over the network")]
pub mod model;
#[allow(clippy::disallowed_methods, reason = "sandboxes start processes")]
pub mod sandbox;
#[allow(clippy::disallowed_methods, reason = "runs are logged with the time")]
pub mod engine;
pub mod plan;
#[allow(clippy::disallowed_methods, reason = "a project is files")]
pub mod project;
pub mod lang;
#[allow(clippy::disallowed_methods, reason = "the store is files")]
pub mod store;
