//! What is open, and the programs that were checked for it.
//!
//! Every open file is checked as an entry of its own. A file that others use is also a part of their
//! programs, so a change drops every program that reads it; they are made anew when somebody asks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use gen_lsp_types::{Location, Position, Range, TextDocumentPositionParams, Uri};

use crate::lang::{FileId, Span};
use crate::project::Project;

use super::program::{Program, name_of};
use super::text::{Encoding, Text};
use super::{library, uri};

/// The most files that a question about a whole project looks at.
const MAX_FILES: usize = 2_000;

/// A file as the editor holds it.
pub(super) struct Document {
    pub(super) uri: String,
    pub(super) version: i32,
    pub(super) text: Text,
}

/// What is open and what is known about it.
pub(super) struct Workspace {
    pub(super) encoding: Encoding,
    /// Whether the editor fills in snippets.
    pub(super) snippets: bool,
    documents: BTreeMap<PathBuf, Document>,
    programs: BTreeMap<PathBuf, Rc<Program>>,
    /// The last program of each entry that parsed whole.
    whole: BTreeMap<PathBuf, Rc<Program>>,
}

/// A place in a program that the editor asks about.
pub(super) struct View {
    pub(super) path: PathBuf,
    pub(super) program: Rc<Program>,
    pub(super) file: FileId,
    pub(super) offset: u32,
}

impl Workspace {
    pub(super) fn new(encoding: Encoding, snippets: bool) -> Workspace {
        Workspace {
            encoding,
            snippets,
            documents: BTreeMap::new(),
            programs: BTreeMap::new(),
            whole: BTreeMap::new(),
        }
    }

    /// The path of a URI, the same however it is written; `None` for what is no file.
    pub(super) fn path(uri: &str) -> Option<PathBuf> {
        let path = uri::to_path(uri)?;
        let (folder, name) = (path.parent()?, path.file_name()?);
        // The file itself need not exist yet.
        Some(folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()).join(name))
    }

    pub(super) fn open(&mut self, uri: &str, version: i32, text: String) {
        if let Some(path) = Self::path(uri) {
            let text = Text::new(text.into());
            self.documents.insert(path, Document { uri: uri.to_string(), version, text });
            // It may be one that others were missing.
            self.forget();
        }
    }

    pub(super) fn edit(&mut self, uri: &str, version: i32, text: String) {
        let Some(path) = Self::path(uri) else { return };
        if let Some(document) = self.documents.get_mut(&path) {
            document.version = version;
            document.text = Text::new(text.into());
            let changed = |entry: &PathBuf, program: &Program| {
                *entry == path || program.reads(&name_of(&program.project, &path))
            };
            self.programs.retain(|entry, program| !changed(entry, program));
        }
    }

    pub(super) fn close(&mut self, uri: &str) -> Option<PathBuf> {
        let path = Self::path(uri)?;
        self.documents.remove(&path)?;
        self.whole.remove(&path);
        self.forget();
        Some(path)
    }

    /// Forgets all programs: something changed on disk.
    pub(super) fn forget(&mut self) {
        self.programs.clear();
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = (&PathBuf, &Document)> {
        self.documents.iter()
    }

    pub(super) fn document(&self, path: &Path) -> Option<&Document> {
        self.documents.get(path)
    }

    /// The project around a file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn project(path: &Path) -> Result<Arc<Project>, String> {
        // A file of the library that was written into a store belongs to the store's project.
        let store = path.ancestors().find(|folder| folder.ends_with(".claw/library"));
        let around = store.and_then(|library| library.parent()?.parent()).or(path.parent());
        let around = around.unwrap_or(Path::new("/"));
        Project::around(around).map(Arc::new).map_err(|err| err.to_string())
    }

    /// The open files of a project, by what the language calls them.
    pub(super) fn overlay(&self, project: &Project) -> BTreeMap<String, Arc<str>> {
        let open = self.documents.iter().filter(|(path, _)| path.starts_with(&project.root));
        open.map(|(path, document)| (name_of(project, path), document.text.text.clone()))
            .filter(|(name, _)| !(name.starts_with("std/") && library::is_built_in(project)))
            .collect()
    }

    /// The program whose entry is the file at `path`.
    ///
    /// # Errors
    /// What is wrong with its project, in words.
    pub(super) fn program(&mut self, path: &Path) -> Result<Rc<Program>, String> {
        if let Some(known) = self.programs.get(path) {
            return Ok(known.clone());
        }
        let project = Self::project(path)?;
        let entry = name_of(&project, path);
        let program = Rc::new(Program::check(&project, &entry, self.overlay(&project)));
        let is_whole = program.index.files.first().is_some_and(|file| file.broken.is_empty());
        if is_whole && self.documents.contains_key(path) {
            self.whole.insert(path.to_path_buf(), program.clone());
        }
        self.programs.insert(path.to_path_buf(), program.clone());
        Ok(program)
    }

    /// The last program of an entry that parsed whole.
    pub(super) fn last_whole(&self, path: &Path) -> Option<&Rc<Program>> {
        self.whole.get(path)
    }

    /// What the editor asks about; `None` when the file is not open.
    pub(super) fn view(&mut self, asked: &TextDocumentPositionParams) -> Option<View> {
        let path = Self::path(&asked.text_document.uri.0)?;
        let offset = self.documents.get(&path)?.text.offset(asked.position, self.encoding);
        let (program, file) = self.file(&path)?;
        Some(View { path, program, file, offset })
    }

    /// The program of an open file, and the file in it.
    pub(super) fn file(&mut self, path: &Path) -> Option<(Rc<Program>, FileId)> {
        self.documents.get(path)?;
        let program = self.program(path).ok()?;
        let file = program.file(&program.entry)?;
        Some((program, file))
    }

    /// The programs of all files of a project, as they are now on disk and in the editor.
    pub(super) fn all(&mut self, project: &Project) -> Vec<Rc<Program>> {
        let open = &self.documents;
        self.programs.retain(|path, _| open.contains_key(path));
        let mut paths = project.files().unwrap_or_default();
        paths.extend(open.keys().filter(|path| path.starts_with(&project.root)).cloned());
        paths.sort();
        paths.dedup();
        paths.truncate(MAX_FILES);
        let programs: Vec<_> = paths.iter().filter_map(|path| self.program(path).ok()).collect();
        programs.into_iter().filter(|program| program.project.root == project.root).collect()
    }

    /// The URI of a file, as the editor wrote it where it is open.
    pub(super) fn uri(&self, path: &Path) -> Uri {
        let open = self.documents.get(path).map(|document| document.uri.clone());
        Uri(open.unwrap_or_else(|| uri::of_path(path)))
    }

    pub(super) fn range(&self, program: &Program, span: Span) -> Range {
        program.text(span.file).range(span.start, span.end, self.encoding)
    }

    pub(super) fn position(&self, program: &Program, file: FileId, offset: u32) -> Position {
        program.text(file).position(offset, self.encoding)
    }

    pub(super) fn location(&self, program: &Program, span: Span) -> Option<Location> {
        let path = program.path(span.file)?;
        Some(Location { uri: self.uri(&path), range: self.range(program, span) })
    }
}
