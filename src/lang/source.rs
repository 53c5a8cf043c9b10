//! Where source text and files come from, and places in them.
//!
//! The language is pure: it reads nothing by itself. Everything from outside (module text, `file()`,
//! `dir()`, `env()`) comes through a [`Sources`] that is handed in.

use std::sync::Arc;

use crate::store::Digest;

/// A source file of one program, by its place in the [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A place in a source file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// The files of a program: path as shown to people, and text.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    /// `(path, text)` by [`FileId`].
    pub files: Vec<(String, Arc<str>)>,
}

impl SourceMap {
    /// The text of a file.
    pub fn text(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].1
    }

    /// The path of a file.
    pub fn path(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].0
    }

    /// Adds a file.
    pub fn add(&mut self, path: &str, text: Arc<str>) -> FileId {
        self.files.push((path.to_string(), text));
        FileId(self.files.len() as u32 - 1)
    }

    /// Line and column (both from 1) of a span's start.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let text = self.text(span.file);
        let before = &text[..(span.start as usize).min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// What the outside answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// Nothing stands there.
    #[error("{0} does not exist")]
    Missing(String),
    /// It is there but cannot be used.
    #[error("{path}: {why}")]
    Unreadable {
        /// The path as asked for.
        path: String,
        /// Why.
        why: String,
    },
}

/// The world outside, as the language may see it.
///
/// Paths are `/`-separated. Those that start with `std/` name the language's own library
/// (`std/persona.claw`, `std/tasks`); all others are relative to the project's root.
pub trait Sources: Send + Sync {
    /// The bytes of a file.
    ///
    /// # Errors
    /// When it is not there, is not a file, or is outside the project.
    fn read(&self, path: &str) -> Result<Arc<[u8]>, SourceError>;

    /// The digest of a directory's tree.
    ///
    /// # Errors
    /// When it is not there, is not a directory, or is outside the project.
    fn dir(&self, path: &str) -> Result<Digest, SourceError>;

    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;
}
