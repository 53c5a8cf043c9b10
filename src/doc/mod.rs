//! The reference of a project as a folder of pages: what its modules and those of the standard
//! library declare, the language manual and the error codes.
//!
//! ```text
//! files ──collect──▶ outlines ──index──▶ who is where ──pages──▶ HTML, by path
//! ```
//!
//! [`collect`] finds the modules and makes their [`Outline`]s; [`Site`] knows on which page each
//! name stands, so that types, functions and names in documentation become links; [`Site::pages`]
//! fills the templates in `site/` and gives every file of the site by its path. [`write`] puts them
//! into a folder. Pages hold no time, no path of this machine and nothing from the network: the same
//! modules give the same bytes, and the site works from `file://`.
//!
//! [`Outline`]: crate::lang::Outline

mod collect;
mod folder;
mod highlight;
mod index;
mod markdown;
mod pages;
mod search;

pub use collect::{Modules, collect};
pub use folder::write;
pub use highlight::{CONSTANTS, KEYWORDS, TYPES};
pub use index::Site;

use std::path::PathBuf;

/// Why a site cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DocError {
    /// A path that was asked for is not there.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// A path that was asked for does not lie in the project.
    #[error(
        "{0} lies outside the project\n  help: start `claw doc` in the project that it belongs to"
    )]
    Outside(PathBuf),
    /// The folder holds what `claw doc` did not write.
    #[error(
        "{0} holds files that `claw doc` did not write, so nothing was written\n  help: choose an \
         empty folder with `--out`, or empty this one"
    )]
    Foreign(PathBuf),
    /// The project's files cannot be listed.
    #[error(transparent)]
    Project(#[from] crate::project::ProjectError),
    /// The disk said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A template does not render.
    #[error("making {page}: {message}")]
    Template {
        /// The page.
        page: String,
        /// What the template engine said.
        message: String,
    },
}
