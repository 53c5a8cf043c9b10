//! All integration tests, in one binary: each further one would link the whole program again.

mod project;

mod agent;
mod engine;
mod families;
mod lang;
mod learn;
mod quickstart;
mod rooms;
mod sandbox;
mod stats;
mod store;
