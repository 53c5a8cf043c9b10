//! What a program looked at outside, and whether any of it may have changed.
//!
//! [`Watched`] passes every question of the language on and remembers it. [`Look::take`] then keeps
//! how each file and folder looks to the system (device, inode, size, times): as long as that is the
//! same, nobody wrote to it, and what was read from it need not be read again. Clocks of file systems
//! tick coarsely, so a file that was written in the moment before a look could have been written
//! again right after it and look the same; such a look is never believed (see [`Look::holds`]).

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::lang::{SourceError, Sources, package_root};
use crate::store::Digest;

use super::ProjectSources;

/// How long before a look a file must have been left alone, in nanoseconds: two ticks of the
/// coarsest kernel clock, and what a network file system may be behind.
const SETTLED_NS: i128 = 50_000_000;

/// How a file looks to the system: device, inode, size, change times of content and of all else in
/// nanoseconds. `None` when nothing is there.
type Stamp = Option<(u64, u64, u64, i128, i128)>;

/// What was looked at, by path, and how it looked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Look {
    /// When it was taken, in nanoseconds since 1970.
    taken: i128,
    entries: Vec<(PathBuf, Stamp)>,
}

fn now() -> i128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as i128)
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some((
        meta.dev(),
        meta.ino(),
        meta.len(),
        ns(meta.mtime(), meta.mtime_nsec()),
        ns(meta.ctime(), meta.ctime_nsec()),
    ))
}

impl Look {
    /// Looks at these paths. `since` is the time from which on nothing that was read may have been
    /// written: the start of the reading.
    pub fn take(paths: BTreeSet<PathBuf>, since: SystemTime) -> Look {
        let since = since.duration_since(SystemTime::UNIX_EPOCH);
        let taken = since.map_or(0, |since| since.as_nanos() as i128);
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let entries =
            paths.into_par_iter().map(|path| (path.clone(), stamp(&path))).collect::<Vec<_>>();
        Look { taken, entries }
    }

    /// Whether everything certainly is as it was.
    pub fn holds(&self) -> bool {
        self.taken <= now()
            && self.entries.par_iter().all(|(path, then)| {
                let settled = then.is_none_or(|(.., changed)| changed < self.taken - SETTLED_NS);
                settled && stamp(path) == *then
            })
    }
}

/// The files of a project, every question remembered.
pub struct Watched {
    sources: ProjectSources,
    asked: Mutex<BTreeSet<PathBuf>>,
    variables: Mutex<BTreeSet<String>>,
}

impl Watched {
    /// Nothing was asked yet.
    pub fn new(sources: ProjectSources) -> Watched {
        Watched { sources, asked: Mutex::default(), variables: Mutex::default() }
    }

    /// Every file and folder that was asked for.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every environment variable that was asked for, and a digest of its value.
    pub fn variables(&self) -> Vec<(String, Option<Digest>)> {
        let asked = self.variables.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|name| (name.clone(), variable(name))).collect()
    }

    fn remember(&self, path: &str) {
        if let Some(place) = self.sources.on_disk(path) {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
        }
    }

    /// Remembers a folder with everything in it.
    fn remember_all(&self, path: &str) {
        let Some(place) = self.sources.on_disk(path) else {
            return;
        };
        let mut folders = vec![place];
        let mut found = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            if let Ok(entries) = std::fs::read_dir(&folder) {
                for entry in entries.flatten() {
                    match entry.file_type() {
                        Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                        _ => drop(found.insert(entry.path())),
                    }
                }
            }
            found.insert(folder);
        }
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }
}

/// The digest of an environment variable's value; `None` when it is not set.
pub fn variable(name: &str) -> Option<Digest> {
    std::env::var(name).ok().map(|value| Digest::of(value.as_bytes()))
}

impl Sources for Watched {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, SourceError> {
        self.remember(path);
        self.sources.read(path)
    }

    fn file(&self, path: &str) -> Result<Digest, SourceError> {
        self.remember(path);
        self.sources.file(path)
    }

    fn package(&self, from: &str, path: &str) -> Result<String, SourceError> {
        let file = self.sources.package(from, path)?;
        // The whole folder is held against its digest, so any file in it matters.
        if let Some((root, _)) = package_root(&file) {
            self.remember_all(root);
        }
        Ok(file)
    }

    fn dir(&self, path: &str) -> Result<Digest, SourceError> {
        // Asked first: what leads out of the project is refused, and never walked through.
        let digest = self.sources.dir(path)?;
        self.remember_all(path);
        Ok(digest)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.variables.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_string());
        self.sources.env(name)
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.sources.secret(name)
    }

    fn has_file(&self, path: &str) -> Result<(), SourceError> {
        self.remember(path);
        self.sources.has_file(path)
    }

    fn has_dir(&self, path: &str) -> Result<(), SourceError> {
        self.remember(path);
        self.sources.has_dir(path)
    }

    fn names(&self, path: &str) -> Vec<String> {
        self.remember(path);
        self.sources.names(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_look_holds_until_something_changes_and_never_too_soon() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, absent) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&file, "one").expect("a file");
        let long_ago = SystemTime::now() - Duration::from_secs(100);
        let times = std::fs::FileTimes::new().set_modified(long_ago);
        File::options().write(true).open(&file).and_then(|f| f.set_times(times)).expect("times");
        let paths = BTreeSet::from([file.clone(), absent.clone()]);
        // Its change time is now, so a look that was taken now cannot be believed.
        assert!(!Look::take(paths.clone(), SystemTime::now()).holds());
        let look = Look { taken: now(), ..Look::take(paths.clone(), SystemTime::now()) };
        let mut later = look.clone();
        for (_, stamp) in later.entries.iter_mut() {
            if let Some((.., changed)) = stamp {
                *changed -= 1;
            }
        }
        assert!(!later.holds(), "another change time is another file");
        std::thread::sleep(Duration::from_millis(60));
        let look = Look::take(paths, SystemTime::now());
        assert!(look.holds());
        std::fs::write(&absent, "two").expect("a file");
        assert!(!look.holds(), "something came");
        std::fs::remove_file(&absent).expect("removed");
        assert!(look.holds());
        std::fs::write(&file, "two").expect("a file");
        assert!(!look.holds(), "something was written to, in the same size");
    }

    use std::fs::File;
}
