//! The recording endpoint: any model that the project knows, behind OpenAI's chat completions.
//!
//! ```text
//! agent ──HTTP──▶ token? ─▶ session ─▶ allowance ─▶ model (with its journal and budget)
//!                  │ no                   │
//!                  ▼                      ▼
//!                 401                 transcript: a tree of conversations
//! ```
//!
//! An agent that speaks to such an endpoint needs no change to be trained or measured: it is told the
//! endpoint's address and a token, and what it says to its model is kept to the letter. A token names
//! one [`Session`]; who has none, or another's, is told nothing, and nothing is kept of what it said.
//!
//! Answers are asked for whole. To an agent that wants events they are sent as events, all at once;
//! while it waits it gets comments, which keep connections open and which clients pass over.

mod chat;
mod http;
mod session;
mod transcript;

pub use http::{Endpoint, Serving};
pub use session::{Allowance, Over, Record, Session};
pub use transcript::{Branch, Transcript};
