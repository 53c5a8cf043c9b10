//! All integration tests, in one binary: each further one would link the whole program again.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::iter_over_hash_type,
    unreachable_pub,
    reason = "tests touch the world, and one that meets no value has failed"
)]

mod project;

mod agent;
mod aside;
mod bias;
mod blocks;
mod check;
mod cli;
mod diff;
mod doc;
mod early;
mod engine;
mod exec;
mod files;
mod families;
mod faults;
mod foresight;
mod format;
mod lang;
mod fuzz;
mod integers;
mod keys;
mod learn;
mod manual;
mod mishaps;
mod models;
mod packages;
mod power;
mod lsp;
mod oracle;
mod outputs;
mod outside;
mod quickstart;
mod reasons;
mod ranges;
mod recording;
mod rooms;
mod rows;
mod secrets;
mod run_log;
mod sandbox;
mod threats;
mod settled;
mod simulation;
mod sources;
mod small_print;
mod stats;
mod store;
mod values;
