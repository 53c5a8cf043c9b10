//! Training in this process: small transformers in the Qwen3 shape, from text to checkpoint and back.
//!
//! ```text
//!   messages ──chat──► tokens + loss mask ──sft──► weights ──checkpoint──► Hugging Face files
//!      ▲                    (tokenizer)    trainer, optimiser, network            │
//!      └──── chat ◄──── decode ◄──── model (answers requests) ◄───────────────────┘
//! ```
//!
//! Nothing here builds a graph of operations: `network` is one hand-written forward and backward
//! pass over flat buffers of `f32`, with its matrix products done by the `gemm` crate. That is what
//! makes training affordable on two cores.
//!
//! The same inputs give the same weights, bit for bit, whatever the number of threads: a batch is
//! always cut into the same shards, a shard is computed by one thread, and the gradients of the
//! shards are added in their order. Nothing reads a clock or a global generator.

mod base;
mod chat;
mod checkpoint;
mod config;
mod decode;
mod model;
mod muon;
mod network;
mod optimiser;
mod sft;
mod tokenizer;
mod trainer;

pub use base::{BaseSettings, pretrain};
pub use chat::{CHAT_TEMPLATE, ParsedCall, Rendered, parse, render};
pub use checkpoint::{Checkpoint, Point, Stage};
pub use config::Config;
pub use decode::{Cache, Decoder, Sampling};
pub use model::CheckpointModel;
pub use sft::{SftSettings, fine_tune};
pub use tokenizer::Tokenizer;
pub use trainer::{Example, Trainer};

/// What a training asks of its surroundings.
pub struct Run<'a> {
    /// Threads to compute with, at least one. They change the speed and nothing else; more than
    /// [`Trainer::SHARDS`] are of no use.
    pub threads: usize,
    /// Asked before every step; `true` ends the training with [`LearnError::Cancelled`].
    pub cancel: &'a dyn Fn() -> bool,
    /// Told after every step: steps done, steps in all, and the loss of the step's batch.
    pub progress: &'a dyn Fn(usize, usize, f64),
}

/// Why there is no checkpoint.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LearnError {
    /// It was asked to stop.
    #[error("training was cancelled after {step} of {steps} steps")]
    Cancelled {
        /// Steps that were done.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
    /// The data cannot be learnt from.
    #[error("the training data {what}\n  help: {help}")]
    Data {
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// A setting is out of its range.
    #[error("{0}")]
    Setting(String),
    /// The loss is no longer a number.
    #[error("training diverged: the loss of step {step} is not a number\n  help: lower the rate")]
    Diverged {
        /// The step.
        step: usize,
    },
    /// Files that should be a checkpoint are not, or are one of a kind that is not supported.
    #[error("{file}: {what}")]
    Checkpoint {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The threads could not be started.
    #[error("could not start {threads} threads to train with: {cause}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        cause: String,
    },
}

impl LearnError {
    fn checkpoint(file: &str, what: impl Into<String>) -> LearnError {
        LearnError::Checkpoint { file: file.to_string(), what: what.into() }
    }
}
