//! From what `claw.toml` asks for to what `claw.lock` pins.
//!
//! A package is fetched, its content hashed, its own `claw.toml` read, and so on with the packages
//! that this names. There is nothing to choose: each `claw.toml` says exactly which revision, version
//! or folder it means, and two that mean different ones both get theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::project::{Project, Settings};
use crate::store::Digest;

use super::archive::{MAX_PACKED, unpack};
use super::content::Content;
use super::download::bytes;
use super::error::PackageError;
use super::lock::{Lock, Locked, Pin};
use super::names::{Version, check_name};
use super::origin::{Asker, Origin};
use super::{cache, git, registry};

/// Which packages are fetched anew. Those that claw.toml asks for in another way than claw.lock
/// pinned always are.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Every one.
    All,
    /// The one that claw.toml calls so.
    Only(&'a str),
}

/// What was fetched from an origin.
pub(super) struct Fetched {
    pub(super) content: Content,
    pub(super) commit: Option<String>,
}

/// Fetches what is at an origin now.
///
/// # Errors
/// When it cannot be had, or is no package.
pub(super) fn fetch(root: &Path, origin: &Origin) -> Result<Fetched, PackageError> {
    let content = match origin {
        Origin::Path(path) => {
            let folder = root.join(path);
            if !folder.is_dir() {
                return Err(PackageError::absent(format!(
                    "there is no folder {}",
                    folder.display()
                ))
                .help("a `path` in claw.toml is relative to the folder of claw.toml"));
            }
            Content::of_folder(&folder)?
        }
        Origin::Git { url, rev } => {
            let (content, commit) = git::fetch(url, rev)?;
            return Ok(Fetched { content, commit: Some(commit) });
        }
        Origin::Archive(place) => unpack(&bytes(root, place, MAX_PACKED)?)
            .map_err(|why| PackageError::unusable(format!("{place} is no package: {why}")))?,
        Origin::Registry { registry, package, version } => {
            registry::fetch(root, registry, package, version)?
        }
    };
    Ok(Fetched { content, commit: None })
}

/// What a package's own `claw.toml` says; nothing when it has none.
///
/// # Errors
/// When it is not what it should be.
pub(super) fn settings(title: &str, content: &Content) -> Result<Settings, PackageError> {
    let Some(bytes) = content.file("claw.toml") else {
        return Ok(Settings::default());
    };
    toml::from_str(&String::from_utf8_lossy(&bytes))
        .map_err(|err| PackageError::unusable(format!("claw.toml of {title}: {err}")))
}

/// The lock for what a project's `claw.toml` asks for now. What is not fetched anew stays as the
/// lock so far has it.
///
/// # Errors
/// The first package that cannot be had; nothing is written then, but to the cache.
pub fn resolve(project: &Project, so_far: &Lock, which: Which<'_>) -> Result<Lock, PackageError> {
    let mut lock = Lock::default();
    let stays = |name: &str, origin: &Origin| {
        let again = match which {
            Which::All => true,
            Which::Only(only) => only == name,
        };
        let pin = so_far.project.get(name)?;
        (!again && pin.origin == *origin).then(|| pin.clone())
    };
    let mut kept = BTreeSet::new();
    for (name, origin) in &project.packages {
        if let Some(pin) = stays(name, origin) {
            kept.insert(name.as_str());
            lock.project.insert(name.clone(), pin);
        }
    }
    for digest in so_far.needed(&kept) {
        if let Some(package) = so_far.packages.get(&digest) {
            lock.packages.insert(digest, package.clone());
        }
    }
    let mut visit = Visit { root: &project.root, lock, done: BTreeMap::new(), stack: Vec::new() };
    for (name, origin) in &project.packages {
        if visit.lock.project.contains_key(name) {
            continue;
        }
        let asked = origin.clone().seen_from_project(name, &Asker::Folder(String::new()))?;
        let digest = visit.package(name, asked)?;
        let pin = Pin { origin: origin.clone(), digest };
        visit.lock.project.insert(name.clone(), pin);
    }
    visit.lock.check().map_err(PackageError::unusable)?;
    Ok(visit.lock)
}

struct Visit<'a> {
    root: &'a Path,
    lock: Lock,
    done: BTreeMap<Origin, Digest>,
    /// The packages that led here, to tell a circle.
    stack: Vec<(String, Origin)>,
}

impl Visit<'_> {
    /// Fetches a package and those that it needs; gives its digest.
    fn package(&mut self, name: &str, origin: Origin) -> Result<Digest, PackageError> {
        if let Some(digest) = self.done.get(&origin) {
            return Ok(*digest);
        }
        if let Some(start) = self.stack.iter().position(|(_, earlier)| *earlier == origin) {
            let circle: Vec<&str> =
                self.stack[start..].iter().map(|(name, _)| name.as_str()).chain([name]).collect();
            return Err(PackageError::unusable(format!(
                "packages need each other in a circle: {}",
                circle.join(" -> ")
            ))
            .help("move what both need into a third package"));
        }
        self.stack.push((name.to_string(), origin.clone()));
        let fetched = fetch(self.root, &origin)?;
        let digest = fetched.content.digest();
        let settings = settings(name, &fetched.content)?;
        let asker = origin.as_asker();
        let mut packages = BTreeMap::new();
        for (own, written) in &settings.packages {
            let asked = Origin::of(own, written)
                .and_then(|origin| origin.seen_from_project(own, &asker))
                .map_err(|err| PackageError {
                    message: format!("{name}: {}", err.message),
                    ..err
                })?;
            packages.insert(own.clone(), self.package(own, asked)?);
        }
        if !matches!(origin, Origin::Path(_)) {
            cache::keep(&fetched.content, &digest)?;
        }
        let own_name = settings.project.name.filter(|own| check_name(own).is_ok());
        let locked = Locked {
            name: own_name.unwrap_or_else(|| name.to_string()),
            version: settings.project.version.filter(|own| own.parse::<Version>().is_ok()),
            origin: origin.clone(),
            commit: fetched.commit,
            packages,
        };
        match self.lock.packages.get(&digest) {
            Some(earlier) if earlier.packages != locked.packages => {
                return Err(PackageError::unusable(format!(
                    "{} and {} hold the same files, but different packages beside them",
                    earlier.origin, locked.origin
                ))
                .help("name those packages by git, archive or registry, not by path"));
            }
            Some(_) => {}
            None => {
                self.lock.packages.insert(digest, locked);
            }
        }
        self.stack.pop();
        self.done.insert(origin, digest);
        Ok(digest)
    }
}
