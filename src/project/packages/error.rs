//! What can be wrong with a package, and what to do about it.

use std::path::Path;

use crate::lang::SourceError;

/// In which way a package cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// claw.lock does not pin what claw.toml asks for.
    NotPinned,
    /// The content is not the one that was pinned or published.
    Mismatch,
    /// The content is not on this machine and cannot be fetched.
    Absent,
    /// It is there, but it is no package, or asks for what a package may not have.
    Unusable,
}

impl Trouble {
    /// The code of the page that explains it.
    pub fn code(self) -> &'static str {
        match self {
            Trouble::NotPinned => "E0801",
            Trouble::Mismatch => "E0802",
            Trouble::Absent => "E0803",
            Trouble::Unusable => "E0805",
        }
    }
}

/// Why a package cannot be used, added, published or copied.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct PackageError {
    /// In which way.
    pub trouble: Trouble,
    /// What is wrong, on what.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}

impl PackageError {
    pub(super) fn new(trouble: Trouble, message: impl Into<String>) -> PackageError {
        PackageError { trouble, message: message.into(), help: String::new() }
    }

    pub(super) fn not_pinned(message: impl Into<String>) -> PackageError {
        PackageError::new(Trouble::NotPinned, message)
    }

    pub(super) fn mismatch(message: impl Into<String>) -> PackageError {
        PackageError::new(Trouble::Mismatch, message)
    }

    pub(super) fn absent(message: impl Into<String>) -> PackageError {
        PackageError::new(Trouble::Absent, message)
    }

    pub(super) fn unusable(message: impl Into<String>) -> PackageError {
        PackageError::new(Trouble::Unusable, message)
    }

    /// Says what to do.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> PackageError {
        self.help = help.into();
        self
    }

    /// What the disk answered while something was done to a path.
    pub(super) fn io(doing: &str, path: &Path) -> impl Fn(std::io::Error) -> PackageError {
        let what = format!("{doing} {}", path.display());
        move |err| PackageError::absent(format!("{what}: {err}"))
    }
}

impl From<PackageError> for SourceError {
    fn from(err: PackageError) -> SourceError {
        SourceError::Package { code: err.trouble.code(), message: err.message, help: err.help }
    }
}
