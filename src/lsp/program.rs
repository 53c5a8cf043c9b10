//! A program as the server knows it: an entry, what checking it came to, and its index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lang::{self, Checked, FileId, Index, SourceError, Sources, Span};
use crate::project::{Project, ProjectSources};
use crate::store::{Digest, MemoryObjects};

use super::library;
use super::text::Text;

/// A file that was checked as an entry, with all that it uses.
pub(super) struct Program {
    pub(super) project: Arc<Project>,
    /// The entry, as the language calls it.
    pub(super) entry: String,
    pub(super) checked: Checked,
    pub(super) index: Index,
    /// The files of the program, by number.
    texts: Vec<Text>,
}

impl Program {
    /// Checks `entry` with `open` laid over the disk.
    pub(super) fn check(
        project: &Arc<Project>,
        entry: &str,
        open: BTreeMap<String, Arc<str>>,
    ) -> Program {
        let disk = project.sources(Arc::new(MemoryObjects::default()));
        let (checked, index) = lang::load_with_index(entry, &Overlay { disk, open });
        let texts = checked.sources.files.iter().map(|(_, text)| Text::new(text.clone())).collect();
        Program { project: project.clone(), entry: entry.to_string(), checked, index, texts }
    }

    /// A file of the program.
    pub(super) fn text(&self, file: FileId) -> &Text {
        &self.texts[file.0 as usize]
    }

    /// What stands at a place.
    pub(super) fn words(&self, span: Span) -> &str {
        self.text(span.file).text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The number of a file by what the language calls it.
    pub(super) fn file(&self, name: &str) -> Option<FileId> {
        let place = self.checked.sources.files.iter().position(|(path, _)| path == name)?;
        Some(FileId(place as u32))
    }

    /// What the language calls a file of the program.
    pub(super) fn name(&self, file: FileId) -> &str {
        self.checked.sources.path(file)
    }

    /// Whether it reads a file of that name.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    /// Whether a file belongs to the language's own library.
    pub(super) fn is_library(&self, file: FileId) -> bool {
        self.name(file).starts_with("std/")
    }

    /// Where a file of the program is to be opened; a file of the library is written for it.
    pub(super) fn path(&self, file: FileId) -> Option<PathBuf> {
        let name = self.name(file);
        match name.strip_prefix("std/") {
            Some(_) => library::open(&self.project, name),
            None => Some(self.project.root.join(name)),
        }
    }
}

/// What the language calls a file on disk.
pub(super) fn name_of(project: &Project, path: &Path) -> String {
    library::name_of(project, path).unwrap_or_else(|| {
        let path = path.strip_prefix(&project.root).unwrap_or(path);
        path.to_string_lossy().replace('\\', "/")
    })
}

/// The project's files with those that are open laid over them.
pub(super) struct Overlay {
    disk: ProjectSources,
    open: BTreeMap<String, Arc<str>>,
}

impl Sources for Overlay {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, SourceError> {
        match self.open.get(path) {
            Some(text) => Ok(text.as_bytes().into()),
            None => self.disk.read(path),
        }
    }

    fn dir(&self, path: &str) -> Result<Digest, SourceError> {
        self.disk.dir(path)
    }

    fn has_file(&self, path: &str) -> Result<(), SourceError> {
        if self.open.contains_key(path) { Ok(()) } else { self.disk.has_file(path) }
    }

    fn has_dir(&self, path: &str) -> Result<(), SourceError> {
        self.disk.has_dir(path)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.disk.env(name)
    }

    fn names(&self, path: &str) -> Vec<String> {
        self.disk.names(path)
    }
}
