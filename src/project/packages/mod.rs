//! Packages: other people's modules, each pinned by the digest of its content.
//!
//! ```text
//! claw.toml ──resolve──▶ claw.lock ──shelf──▶ files that programs read
//!  asks for              digests              verified against the digests
//! ```
//!
//! [`resolve`] fetches what `claw.toml` asks for (an [`Origin`]: a folder, a git revision, an
//! archive, a published version), hashes it and writes a [`Lock`]. The [`Shelf`] gives programs the
//! files of what is locked and nothing else. A [`Content`] is a package's files in between; the
//! network is touched by `git` and `download` alone, and only when a package is on no disk.

mod archive;
mod cache;
mod content;
mod download;
mod error;
mod git;
mod lock;
mod manifest;
mod names;
mod origin;
mod publish;
mod registry;
mod resolve;
mod shelf;
mod vendor;
mod writing;

pub use content::{Content, Piece};
pub use error::{PackageError, Trouble};
pub use lock::{Lock, Locked, Pin};
pub use manifest::add;
pub use names::{Version, check_name};
pub use origin::{Origin, WrittenOrigin};
pub use publish::{Publication, publish};
pub use registry::{Published, newest};
pub use resolve::{Which, resolve};
pub use shelf::{MAIN, Shelf};
pub use vendor::vendor;
