//! Where paths really are, once the links on the way are followed.
//!
//! Asking the system for each path whole goes over the same folders again and again; here each folder
//! is asked for once.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Follows links; remembers where folders are, as they were when they were met first.
#[derive(Debug, Default)]
pub struct Links {
    folders: Mutex<HashMap<PathBuf, Folder>>,
}

/// Where a folder really is, if it is there, or else would be.
#[derive(Debug, Clone)]
struct Folder {
    real: PathBuf,
    is_there: bool,
}

/// Where a path leads.
#[derive(Debug)]
pub struct Place {
    /// The path without any link in it.
    pub real: PathBuf,
    /// What is there; `None` for nothing.
    pub there: Option<Metadata>,
}

impl Links {
    /// Where an absolute path without `..` leads. Its end need not be there.
    ///
    /// # Errors
    /// When a link on the way leads nowhere, or in a circle.
    pub fn follow(&self, path: &Path) -> io::Result<Place> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Place { real: path.to_path_buf(), there: path.metadata().ok() });
        };
        let above = self.known(above)?;
        // Where there is no folder, nothing is in it.
        let there = if above.is_there { path.symlink_metadata().ok() } else { None };
        if !there.as_ref().is_some_and(Metadata::is_symlink) {
            return Ok(Place { real: above.real.join(name), there });
        }
        let real = path.canonicalize().map_err(|err| {
            let why = match err.kind() {
                io::ErrorKind::NotFound => "leads nowhere".to_string(),
                _ => format!("cannot be followed: {err}"),
            };
            io::Error::new(err.kind(), format!("{} is a link that {why}", path.display()))
        })?;
        let there = real.metadata().ok();
        Ok(Place { real, there })
    }

    /// The same for a folder that more is asked of.
    ///
    /// # Errors
    /// See [`Links::follow`].
    pub fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.known(path)?.real)
    }

    fn known(&self, path: &Path) -> io::Result<Folder> {
        let folders = || self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folders().get(path) {
            return Ok(folder.clone());
        }
        let Place { real, there } = self.follow(path)?;
        let folder = Folder { real, is_there: there.is_some() };
        folders().insert(path.to_path_buf(), folder.clone());
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_lead_where_the_system_says() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path().canonicalize().expect("it is there");
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        std::fs::write(root.join("a/b/file"), "1").expect("written");
        symlink("a", root.join("l")).expect("linked");
        symlink("../l/b/file", root.join("a/m")).expect("linked");
        symlink("nowhere", root.join("n")).expect("linked");
        symlink("o", root.join("o")).expect("linked");
        let links = Links::default();
        for path in ["a/b/file", "l/b/file", "l/m", "a/m", "l", "l/b", "a/b/file"] {
            let path = root.join(path);
            let found = links.follow(&path).expect("it is there");
            assert_eq!(found.real, path.canonicalize().expect("it is there"));
            assert_eq!(found.there.map(|meta| meta.is_dir()), Some(path.is_dir()));
        }
        let absent = links.follow(&root.join("l/c/d")).expect("no link is broken");
        assert_eq!((absent.real, absent.there.is_none()), (root.join("a/c/d"), true));
        for (path, why) in [("n", "leads nowhere"), ("n/x", "leads nowhere"), ("o", "followed")] {
            let told = links.follow(&root.join(path)).expect_err("a broken link").to_string();
            assert!(told.contains(why), "{told}");
        }
    }
}
