//! The packages of a project, as its programs use them: found, verified, held in memory.
//!
//! A package is looked for in `vendor/`, then in the folder that claw.toml names, then in the cache,
//! and is fetched last and only when that is allowed. Wherever it is found, its digest must be the
//! one in `claw.lock`: what was verified is kept in memory, and programs read that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::lang::{SourceError, package_root};
use crate::project::Project;
use crate::store::Digest;

use super::content::Content;
use super::error::{PackageError, Trouble};
use super::lock::{Lock, Locked, Pin};
use super::origin::{Asker, Origin};
use super::resolve::fetch;
use super::{cache, vendor};

/// The file that a `use` of a package alone reads.
pub const MAIN: &str = "lib.claw";

/// A package once it was asked for.
type Loaded = Result<Arc<Content>, PackageError>;

/// The packages of a project.
pub struct Shelf {
    root: PathBuf,
    asked: BTreeMap<String, Origin>,
    lock: Result<Lock, PackageError>,
    fetching: bool,
    vendored: bool,
    loaded: Mutex<BTreeMap<Digest, Loaded>>,
}

impl Shelf {
    /// The packages of a project; with `fetching`, what is not on this machine is fetched.
    pub fn of(project: &Project, fetching: bool) -> Shelf {
        Shelf {
            root: project.root.clone(),
            asked: project.packages.clone(),
            lock: Lock::read(&project.root),
            fetching,
            vendored: true,
            loaded: Mutex::default(),
        }
    }

    /// The packages from where they come from, as if there were no `vendor/`.
    pub(super) fn without_vendor(project: &Project) -> Shelf {
        Shelf { vendored: false, ..Shelf::of(project, true) }
    }

    /// The file that a `use` names, for a file in the folder `from`.
    ///
    /// # Errors
    /// When no package has this name, it is not pinned, or its content is not what was pinned.
    pub fn module(&self, from: &str, path: &str) -> Result<String, SourceError> {
        let asker = package_root(from).and_then(|(root, _)| self.rooted(root));
        let known: Vec<&String> = match &asker {
            Some((_, package)) => package.packages.keys().collect(),
            None => self.asked.keys().collect(),
        };
        let starts = |name: &&&String| {
            path.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let Some(name) = known.iter().filter(starts).max_by_key(|name| name.len()) else {
            let known = known.into_iter().cloned().collect();
            let by = asker.map(|(_, package)| package.name.clone());
            return Err(SourceError::NoPackage { known, by });
        };
        let digest = match &asker {
            Some((_, package)) => package.packages[name.as_str()],
            None => self.pinned(name)?.digest,
        };
        let (lock, content) = (self.lock.as_ref().map_err(Clone::clone)?, self.content(&digest)?);
        let package = lock.packages.get(&digest).ok_or_else(|| not_pinned(name))?;
        let rest = path[name.len()..].trim_start_matches('/');
        let file = if rest.is_empty() { MAIN.to_string() } else { format!("{rest}.claw") };
        if rest.is_empty() && content.file(MAIN).is_none() {
            let modules: Vec<String> = content
                .pieces()
                .keys()
                .filter_map(|file| Some(format!("`use {name}/{}`", file.strip_suffix(".claw")?)))
                .collect();
            let help = if modules.is_empty() {
                "it has no modules at all".to_string()
            } else {
                format!("it has {}", modules.join(", "))
            };
            let message = format!("{} has no {MAIN}, which `use {name}` reads", package.title());
            return Err(PackageError::unusable(message).help(help).into());
        }
        Ok(format!("{}/{file}", root_of(package, &digest)))
    }

    /// The package that a path starts with, and the path in it; `None` for paths of the project.
    ///
    /// # Errors
    /// When its content is not what was pinned.
    pub fn open<'p>(&self, path: &'p str) -> Result<Option<(Arc<Content>, &'p str)>, SourceError> {
        let Some((root, rest)) = package_root(path) else {
            return Ok(None);
        };
        let Some((digest, _)) = self.rooted(root) else {
            return Ok(None);
        };
        Ok(Some((self.content(&digest)?, rest)))
    }

    /// The folder on this disk that a package is read from, if there is one: for tools that show
    /// files to people.
    pub fn folder(&self, root: &str) -> Option<PathBuf> {
        let (digest, package) = self.rooted(root)?;
        self.places(&digest, package)
            .into_iter()
            .map(|(place, _)| place)
            .find(|place| place.is_dir())
    }

    /// The package that is known by a root such as `acme/finance@3f2a9c1b2d4e`.
    fn rooted(&self, root: &str) -> Option<(Digest, &Locked)> {
        let lock = self.lock.as_ref().ok()?;
        let mut packages = lock.packages.iter();
        let (digest, package) = packages.find(|(digest, of)| root_of(of, digest) == root)?;
        Some((*digest, package))
    }

    /// What the lock says of a package of the project; it must be what claw.toml asks for.
    pub(super) fn pinned(&self, name: &str) -> Result<&Pin, PackageError> {
        let lock = self.lock.as_ref().map_err(Clone::clone)?;
        let pin = lock.project.get(name).ok_or_else(|| not_pinned(name))?;
        match self.asked.get(name) {
            Some(origin) if *origin != pin.origin => Err(PackageError::not_pinned(format!(
                "claw.toml and claw.lock disagree about the package `{name}`"
            ))
            .help(format!(
                "claw.toml asks for  {origin}\nclaw.lock pins      {}\n\
                 run `claw update {name}` to pin what claw.toml asks for",
                pin.origin
            ))),
            _ => Ok(pin),
        }
    }

    /// A package's content, verified.
    ///
    /// # Errors
    /// When it is not here, or not what was pinned.
    pub fn content(&self, digest: &Digest) -> Loaded {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.entry(*digest).or_insert_with(|| self.load(digest).map(Arc::new)).clone()
    }

    /// Where a package may be, best first, and whose fault it is when it was changed there.
    fn places(&self, digest: &Digest, package: &Locked) -> Vec<(PathBuf, Keeper)> {
        let mut places = Vec::new();
        if self.vendored {
            places.push((vendor::place(&self.root, &root_of(package, digest)), Keeper::Vendor));
        }
        if let Origin::Path(path) = &package.origin {
            places.push((self.root.join(path), Keeper::Author));
        } else if let Ok(place) = cache::place(digest) {
            places.push((place, Keeper::Cache));
        }
        places
    }

    fn load(&self, digest: &Digest) -> Result<Content, PackageError> {
        let lock = self.lock.as_ref().map_err(Clone::clone)?;
        let package = lock.packages.get(digest).ok_or_else(|| {
            PackageError::not_pinned(format!("claw.lock does not list {digest}"))
                .help("run `claw update`")
        })?;
        let mut damaged = None;
        for (place, keeper) in self.places(digest, package) {
            if !place.is_dir() {
                continue;
            }
            let error = match Content::of_folder(&place) {
                Ok(content) if content.digest() == *digest => return Ok(content),
                Ok(content) => self.changed(package, digest, &content.digest(), &place, keeper),
                Err(err) => err,
            };
            if keeper != Keeper::Cache {
                return Err(error);
            }
            damaged = Some(error);
        }
        if let Origin::Path(path) = &package.origin {
            return Err(PackageError::absent(format!(
                "{} is not there: it was pinned from the folder {path}",
                package.title()
            ))
            .help(
                "bring the folder back, or name another place in claw.toml and run `claw update`",
            ));
        }
        let fetched = if self.fetching {
            match self.fetched(digest, package) {
                Err(err) if err.trouble == Trouble::Absent => Some(err),
                other => return other,
            }
        } else {
            None
        };
        Err(match (damaged, fetched) {
            (Some(damaged), Some(err)) => {
                let help = format!("{}\nit cannot be fetched again: {}", damaged.help, err.message);
                damaged.help(help)
            }
            (Some(damaged), None) => {
                let help = format!("{}\n`claw check` fetches it again", damaged.help);
                damaged.help(help)
            }
            (None, Some(err)) => PackageError {
                message: format!(
                    "{} ({}) is not on this machine, and cannot be fetched: {}",
                    package.title(),
                    digest.short(),
                    err.message
                ),
                ..err
            },
            (None, None) => PackageError::absent(format!(
                "{} ({}) is pinned, but not on this machine",
                package.title(),
                digest.short()
            ))
            .help(format!("`claw check` fetches it from {}", package.origin)),
        })
    }

    /// Fetches a package again; it must still be what was pinned.
    fn fetched(&self, digest: &Digest, package: &Locked) -> Result<Content, PackageError> {
        // The commit that was pinned rather than the branch or tag, which may have moved.
        let origin = match (&package.origin, &package.commit) {
            (Origin::Git { url, .. }, Some(commit)) => {
                Origin::Git { url: url.clone(), rev: commit.clone() }
            }
            (origin, _) => {
                origin.clone().seen_from_project(&package.name, &Asker::Folder(String::new()))?
            }
        };
        let content = fetch(&self.root, &origin)?.content;
        let found = content.digest();
        if found != *digest {
            return Err(mismatch(package, &package.origin.place(&package.name)).help(format!(
                "{}\nwhat is there now is not what was pinned; look at what changed, and if you \
                 trust it run `claw update`",
                digests(digest, &found)
            )));
        }
        cache::keep(&content, digest)?;
        Ok(content)
    }

    fn changed(
        &self,
        package: &Locked,
        expected: &Digest,
        found: &Digest,
        place: &std::path::Path,
        keeper: Keeper,
    ) -> PackageError {
        let direct = self.lock.iter().flat_map(|lock| &lock.project);
        let name = direct
            .filter(|(_, pin)| pin.digest == *expected)
            .map(|(name, _)| format!(" {name}"))
            .next()
            .unwrap_or_default();
        let remedy = match keeper {
            Keeper::Vendor => {
                let folder = vendor::FOLDER;
                format!("what is in {folder}/ is not edited: `claw vendor` writes it anew")
            }
            Keeper::Author => {
                format!("if the change is meant, run `claw update{name}` to pin it")
            }
            Keeper::Cache => String::new(),
        };
        let shown = match (&package.origin, keeper) {
            (_, Keeper::Cache) => "the cache".to_string(),
            (Origin::Path(path), Keeper::Author) => path.clone(),
            _ => place.strip_prefix(&self.root).unwrap_or(place).display().to_string(),
        };
        mismatch(package, &shown)
            .help(format!("{}\n{remedy}", digests(expected, found)).trim_end().to_string())
    }
}

/// Who answers for a folder with a package.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Vendor,
    Author,
    Cache,
}

fn mismatch(package: &Locked, place: &str) -> PackageError {
    PackageError::mismatch(format!("{} in {place} is not what claw.lock pins", package.title()))
}

fn digests(expected: &Digest, found: &Digest) -> String {
    format!("expected {expected}\nfound    {found}")
}

fn not_pinned(name: &str) -> PackageError {
    PackageError::not_pinned(format!("claw.lock does not pin the package `{name}`"))
        .help(format!("run `claw update {name}`, and commit claw.lock"))
}

/// How a program's paths name a package: `acme/finance@3f2a9c1b2d4e`.
pub(super) fn root_of(package: &Locked, digest: &Digest) -> String {
    format!("{}@{}", package.name, digest.short())
}
