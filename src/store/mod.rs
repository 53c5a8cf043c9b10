//! The store: digests to bytes, and what has been computed already.

mod digest;
mod objects;
mod tree;

pub use digest::{Digest, KeyHasher, NotADigest};
pub use objects::{MemoryObjects, Objects, StoreError};
pub use tree::{BadTree, Entry, Tree};
