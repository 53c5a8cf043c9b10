//! The recording endpoint: what agents can ask it, what it keeps, and who may speak.

mod answers;
mod client;
mod serve;
mod sessions;
mod transcript;
