//! The store: digests to bytes, and what has been computed already.
//!
//! ```text
//! .claw/
//!   packs/00000001.pack   small objects and receipts, appended, each with a checksum: the truth
//!   objects/ab/cdef…      large objects, a file each
//!   index/                where things stand in the packs; made anew when it is lost:
//!                         sled for receipts, `segments/` for objects, and for readers
//!   runs/<id>/            what each run did, appended line by line
//!   suspect               there when damage was found: the next run verifies what it uses
//!   lock                  one writer; readers need no lock
//! ```
//!
//! [`Store`] is the one writer, [`Snapshot`] any number of readers; both are [`Objects`] and
//! [`Results`].

mod check;
mod collect;
mod digest;
mod disk;
mod filesystem;
mod filter;
mod index;
mod lock;
mod manifest;
mod objects;
mod pack;
mod receipt;
mod references;
mod segment;
mod segments;
mod size;
mod snapshot;
mod suspect;
mod tree;

pub use check::{Bad, Checked, Need, check, remember};
pub use collect::{Collected, Keep, collect};
pub use digest::{Digest, KeyHasher, NotADigest};
pub use disk::{Rebuilt, Store, rebuild};
pub use objects::{MemoryObjects, Objects, StoreError};
pub use receipt::{Receipt, Results};
pub use references::{Reference, Role};
pub use size::{Amount, Size, size};
pub use snapshot::Snapshot;
pub use tree::{BadTree, Entry, Tree};
