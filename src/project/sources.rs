//! The files of a project, its packages and the standard library, as the language sees them.

use std::fs::{FileType, Metadata};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::lang::{SourceError, Sources, package_root};
use crate::store::{Digest, Entry, Objects, StoreError, Tree};

use super::links::Links;
use super::packages::Shelf;

/// The standard library as it was when this program was built.
static LIBRARY: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/stdlib");

/// Folders that are never part of a `dir()`: version control, our own store, compiled Python.
const LEFT_OUT: [&str; 3] = [".git", ".claw", "__pycache__"];

/// The files of a project, its packages and the standard library.
pub struct ProjectSources {
    pub(super) root: PathBuf,
    pub(super) std: Option<PathBuf>,
    pub(super) objects: Arc<dyn Objects>,
    pub(super) shelf: Shelf,
    pub(super) links: Links,
}

impl ProjectSources {
    /// The path on disk; `None` for a path into the library that is built in.
    pub(super) fn locate(&self, path: &str) -> Result<Option<PathBuf>, SourceError> {
        let (base, rest) = match path.strip_prefix("std/") {
            Some(rest) => match &self.std {
                Some(std) => (std, rest),
                None => return Ok(None),
            },
            None => (&self.root, path),
        };
        let outside = Path::new(rest).components().any(|part| {
            matches!(part, Component::ParentDir | Component::RootDir | Component::Prefix(_))
        });
        if outside {
            return Err(SourceError::Unreadable {
                path: path.to_string(),
                why: "it lies outside the project; copy it in, or move `claw.toml` up".to_string(),
            });
        }
        Ok(Some(base.join(rest)))
    }
}

impl ProjectSources {
    /// The same for what is read: what is there, with where. Links on the way may not lead out, for
    /// that is no more of the project than a path that says so.
    fn found(&self, path: &str) -> Result<Option<(PathBuf, Metadata)>, SourceError> {
        let Some(place) = self.locate(path)? else {
            return Ok(None);
        };
        let base = match (&self.std, path.starts_with("std/")) {
            (Some(std), true) => std,
            _ => &self.root,
        };
        let base = self.links.folder(base).map_err(|err| unreadable(path, &err))?;
        let found = self.links.follow(&place).map_err(|err| unreadable(path, &err))?;
        let Some(meta) = found.there else {
            // Why not: it may be that a folder on the way cannot be entered.
            let err = place.metadata().err();
            return Err(err.map_or_else(
                || SourceError::Missing(path.to_string()),
                |err| unreadable(path, &err),
            ));
        };
        if found.real.starts_with(&base) {
            return Ok(Some((place, meta)));
        }
        Err(SourceError::Unreadable {
            path: path.to_string(),
            why: format!(
                "it is a link that leads out of the project, to {}; copy it in",
                found.real.display()
            ),
        })
    }
}

/// Reads a regular file; whatever else may never end.
fn read_file(path: &str, file: &Path, kind: FileType) -> Result<Vec<u8>, SourceError> {
    if kind.is_file() {
        return std::fs::read(file).map_err(|err| unreadable(path, &err));
    }
    let what = if kind.is_dir() {
        "a directory; use `dir(…)`"
    } else if kind.is_fifo() {
        "a named pipe, and only regular files are read"
    } else if kind.is_socket() {
        "a socket, and only regular files are read"
    } else {
        "a device, and only regular files are read"
    };
    Err(SourceError::Unreadable { path: path.to_string(), why: format!("it is {what}") })
}

fn kept(path: &str, err: &StoreError) -> SourceError {
    SourceError::Unreadable { path: path.to_string(), why: err.to_string() }
}

/// A folder of the library that is built in; `std` is the library itself.
fn library_folder(path: &str) -> Option<&'static Dir<'static>> {
    match path.trim_start_matches("std").trim_matches('/') {
        "" => Some(&LIBRARY),
        inner => LIBRARY.get_dir(inner),
    }
}

fn unreadable(path: &str, err: &std::io::Error) -> SourceError {
    match err.kind() {
        std::io::ErrorKind::NotFound => SourceError::Missing(path.to_string()),
        _ => SourceError::Unreadable { path: path.to_string(), why: err.to_string() },
    }
}

impl Sources for ProjectSources {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, SourceError> {
        if let Some((package, inside)) = self.shelf.open(path)? {
            return package.file(inside).ok_or_else(|| SourceError::Missing(path.to_string()));
        }
        match self.found(path)? {
            Some((file, meta)) => Ok(read_file(path, &file, meta.file_type())?.into()),
            None => {
                let file = LIBRARY.get_file(path.trim_start_matches("std/"));
                let file = file.ok_or_else(|| SourceError::Missing(path.to_string()))?;
                Ok(file.contents().into())
            }
        }
    }

    fn file(&self, path: &str) -> Result<Digest, SourceError> {
        self.objects.put(&self.read(path)?).map_err(|err| kept(path, &err))
    }

    fn dir(&self, path: &str) -> Result<Digest, SourceError> {
        let kept = |err| kept(path, &err);
        if let Some((package, inside)) = self.shelf.open(path)? {
            let kept = package.keep_folder(inside, self.objects.as_ref()).map_err(kept)?;
            return kept.ok_or_else(|| SourceError::Missing(path.to_string()));
        }
        let mut tree = Tree::default();
        match self.found(path)? {
            Some((folder, meta)) => {
                if !meta.is_dir() {
                    return Err(SourceError::Unreadable {
                        path: path.to_string(),
                        why: "it is a file; use `file(…)`".to_string(),
                    });
                }
                self.walk(path, &folder, "", &mut tree)?;
            }
            None => {
                let path_in = path.trim_start_matches("std/").trim_end_matches('/');
                let folder = LIBRARY.get_dir(path_in);
                let folder = folder.ok_or_else(|| SourceError::Missing(path.to_string()))?;
                let mut waiting = vec![folder];
                while let Some(folder) = waiting.pop() {
                    waiting.extend(folder.dirs());
                    for file in folder.files() {
                        let Ok(name) = file.path().strip_prefix(path_in) else {
                            continue;
                        };
                        let digest = self.objects.put(file.contents()).map_err(kept)?;
                        let size = file.contents().len() as u64;
                        let entry = Entry::File { digest, size, executable: false };
                        tree.entries.insert(name.to_string_lossy().into_owned(), entry);
                    }
                }
            }
        }
        self.objects.put_tree(&tree).map_err(kept)
    }

    fn has_file(&self, path: &str) -> Result<(), SourceError> {
        if package_root(path).is_none()
            && let Some((_, meta)) = self.found(path)?
            && meta.is_file()
        {
            return Ok(());
        }
        // In memory, or not as it should be, which reading has the words for.
        self.read(path).map(|_| ())
    }

    fn has_dir(&self, path: &str) -> Result<(), SourceError> {
        if let Some((package, inside)) = self.shelf.open(path)? {
            let there = package.is_folder(inside);
            return if there { Ok(()) } else { Err(SourceError::Missing(path.to_string())) };
        }
        let there = match self.found(path)? {
            Some((_, meta)) => meta.is_dir(),
            None => {
                LIBRARY.get_dir(path.trim_start_matches("std/").trim_end_matches('/')).is_some()
            }
        };
        if there { Ok(()) } else { Err(SourceError::Missing(path.to_string())) }
    }

    fn names(&self, path: &str) -> Vec<String> {
        if let Ok(Some((package, inside))) = self.shelf.open(path) {
            return package.names(inside);
        }
        // The library itself is asked for as `std`, without a slash.
        let inside = if path == "std" { "std/" } else { path };
        let mut names: Vec<String> = match self.locate(inside) {
            Ok(Some(folder)) => match std::fs::read_dir(folder) {
                Ok(entries) => {
                    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
                }
                Err(_) => Vec::new(),
            },
            Ok(None) => library_folder(path)
                .map(|folder| {
                    folder
                        .entries()
                        .iter()
                        .filter_map(|entry| entry.path().file_name()?.to_str().map(str::to_string))
                        .collect()
                })
                .unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        names.sort();
        names
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn package(&self, from: &str, path: &str) -> Result<String, SourceError> {
        self.shelf.module(from, path)
    }
}

impl ProjectSources {
    /// Where a path of a program is on this disk; `None` in the library that is built in. For tools
    /// that open files for people: programs read through [`Sources`], which verifies packages.
    pub fn on_disk(&self, path: &str) -> Option<PathBuf> {
        if let Some((root, inside)) = package_root(path)
            && let Some(folder) = self.shelf.folder(root)
        {
            return Some(folder.join(inside));
        }
        self.locate(path).ok().flatten()
    }

    fn walk(
        &self,
        asked: &str,
        folder: &Path,
        prefix: &str,
        tree: &mut Tree,
    ) -> Result<(), SourceError> {
        let entries = std::fs::read_dir(folder).map_err(|err| unreadable(asked, &err))?;
        let mut empty = true;
        for entry in entries {
            let entry = entry.map_err(|err| unreadable(asked, &err))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(SourceError::Unreadable {
                    path: asked.to_string(),
                    why: format!("{name:?} is not UTF-8"),
                });
            };
            if LEFT_OUT.contains(&name) {
                continue;
            }
            empty = false;
            let path = entry.path();
            let inner = if prefix.is_empty() { name.into() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(|err| unreadable(asked, &err))?;
            if kind.is_dir() {
                self.walk(asked, &path, &inner, tree)?;
            } else if kind.is_symlink() {
                let target = std::fs::read_link(&path).map_err(|err| unreadable(asked, &err))?;
                let target = target.to_string_lossy().into_owned();
                tree.entries.insert(inner, Entry::Link(target));
            } else if kind.is_file() {
                let bytes = std::fs::read(&path).map_err(|err| unreadable(asked, &err))?;
                let digest = self.objects.put(&bytes).map_err(|err| SourceError::Unreadable {
                    path: asked.to_string(),
                    why: err.to_string(),
                })?;
                let size = bytes.len() as u64;
                let executable = executable(&path);
                tree.entries.insert(inner, Entry::File { digest, size, executable });
            }
        }
        if empty && !prefix.is_empty() {
            tree.entries.insert(prefix.to_string(), Entry::EmptyDir);
        }
        Ok(())
    }
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}
