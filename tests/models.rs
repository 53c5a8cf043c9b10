//! Remote models, asked over real connections: a server on loopback that behaves as badly as told.

mod anthropic;
mod at_hand;
mod endpoint;
mod estimates;
mod offline;
pub(crate) mod pipelines;
mod policies;
mod readers;
mod rollout;
mod secrets;
pub(crate) mod server;
