//! Where source text and files come from, and places in them.
//!
//! The language is pure: it reads nothing by itself. Everything from outside (module text, `file()`,
//! `dir()`, `env()`) comes through a [`Sources`] that is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::store::{Digest, Entry, Tree};

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

    /// Line and column (both from 1, columns in characters) of a span's start.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        self.position(span.file, span.start)
    }

    /// Line and column (both from 1, columns in characters) of a byte of a file. A place inside of a
    /// character is where the character begins; one past the end is the end.
    pub fn position(&self, file: FileId, offset: u32) -> (usize, usize) {
        let text = self.text(file);
        let mut at = (offset as usize).min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
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
    /// No package has the name that a `use` gives.
    #[error("there is no such package")]
    NoPackage {
        /// The names that are known to who asked.
        known: Vec<String>,
        /// The package that asked; `None` for the project itself.
        by: Option<String>,
    },
    /// A package cannot be used.
    #[error("{message}")]
    Package {
        /// The code of the page that explains it.
        code: &'static str,
        /// What is wrong, on what.
        message: String,
        /// What to do; may be empty.
        help: String,
    },
}

/// Splits a path into the package that it lies in and the path in there; `None` when it lies in
/// none.
///
/// The files of a package stand below a root that says the package's name and the first digits of
/// its digest, `acme/finance@3f2a9c1b2d4e/reports.claw`: so two versions of a package are told apart,
/// and people who read a message know which one it is about.
pub fn package_root(path: &str) -> Option<(&str, &str)> {
    let mut end = 0;
    for part in path.split('/').take(2) {
        end += part.len();
        let digits = part.split_once('@').filter(|(name, _)| !name.is_empty()).map(|(_, end)| end);
        if digits.is_some_and(|digits| {
            digits.len() == 12
                && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        }) {
            return Some((&path[..end], path[end..].trim_start_matches('/')));
        }
        end += 1;
    }
    None
}

/// The world outside, as the language may see it.
///
/// Paths are `/`-separated. Those that start with `std/` name the language's own library
/// (`std/persona.claw`, `std/tasks`), those below a [`package_root`] a package's files; all others
/// are relative to the project's root.
pub trait Sources: Send + Sync {
    /// The bytes of a file.
    ///
    /// # Errors
    /// When it is not there, is not a file, or is outside the project.
    fn read(&self, path: &str) -> Result<Arc<[u8]>, SourceError>;

    /// The digest of a file that a program holds as a value; from then on its bytes can be had by
    /// it, where there is a store.
    ///
    /// # Errors
    /// As [`Sources::read`].
    fn file(&self, path: &str) -> Result<Digest, SourceError> {
        self.read(path).map(|bytes| Digest::of(&bytes))
    }

    /// Whether [`Sources::file`] would find a file; checking a program asks this, so that it need not
    /// read what it does not use.
    ///
    /// # Errors
    /// As [`Sources::read`], as far as it can be told without reading.
    fn has_file(&self, path: &str) -> Result<(), SourceError> {
        self.read(path).map(|_| ())
    }

    /// The digest of a directory's tree.
    ///
    /// # Errors
    /// When it is not there, is not a directory, or is outside the project.
    fn dir(&self, path: &str) -> Result<Digest, SourceError>;

    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// An environment variable that holds a secret: nobody takes note of what it was.
    fn secret(&self, name: &str) -> Option<String> {
        self.env(name)
    }

    /// The path of the file that `use acme/finance/reports` names in a file of the folder `from`.
    ///
    /// # Errors
    /// When no package there has this name, or the package cannot be used.
    fn package(&self, from: &str, path: &str) -> Result<String, SourceError> {
        let _ = (from, path);
        Err(SourceError::NoPackage { known: Vec::new(), by: None })
    }

    /// Whether [`Sources::dir`] would find a directory; checking a program asks this, so that it
    /// need not read what it does not use.
    ///
    /// # Errors
    /// As [`Sources::dir`].
    fn has_dir(&self, path: &str) -> Result<(), SourceError> {
        self.dir(path).map(|_| ())
    }

    /// The names directly in a directory, for offering the nearest one. May be empty.
    fn names(&self, path: &str) -> Vec<String> {
        let _ = path;
        Vec::new()
    }
}

/// Sources held in memory: files by path, and variables. For tests and for embedding.
#[derive(Debug, Clone, Default)]
pub struct MemorySources {
    files: BTreeMap<String, Arc<[u8]>>,
    variables: BTreeMap<String, String>,
}

impl MemorySources {
    /// Nothing at all.
    pub fn new() -> MemorySources {
        MemorySources::default()
    }

    /// Adds a file. The directories on its path exist from then on.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> MemorySources {
        self.files.insert(path.to_string(), bytes.into().into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> MemorySources {
        self.variables.insert(name.to_string(), value.to_string());
        self
    }

    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Arc<[u8]>)> {
        let path = path.trim_end_matches('/');
        let start = if path.is_empty() { String::new() } else { format!("{path}/") };
        self.files.iter().filter_map(move |(file, bytes)| Some((file.strip_prefix(&start)?, bytes)))
    }
}

impl Sources for MemorySources {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, SourceError> {
        self.files.get(path).cloned().ok_or_else(|| SourceError::Missing(path.to_string()))
    }

    fn dir(&self, path: &str) -> Result<Digest, SourceError> {
        let entries: BTreeMap<String, Entry> = self
            .below(path)
            .map(|(name, bytes)| {
                let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
                (name.to_string(), Entry::File { digest, size, executable: false })
            })
            .collect();
        if entries.is_empty() {
            return Err(SourceError::Missing(path.to_string()));
        }
        Ok(Tree { entries }.digest())
    }

    fn env(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let names: BTreeSet<String> = self
            .below(path)
            .filter_map(|(name, _)| name.split('/').next().map(str::to_string))
            .collect();
        names.into_iter().collect()
    }
}
