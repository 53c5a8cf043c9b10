//! `claw.lock`: which content each package stands for.
//!
//! The file is a flat list. The project names packages by digest, and each package names its own by
//! digest, so two versions of one package stand side by side, each known to who asked for it. It is
//! written sorted and without times or places of this machine: when nothing changes, no byte does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use crate::store::Digest;

use super::error::PackageError;
use super::origin::{Origin, WrittenOrigin};
use super::writing;

/// Its name.
pub(super) const FILE: &str = "claw.lock";

const HEAD: &str = "\
# Which content each package of claw.toml stands for, by blake3. Commit this file; it is written by
# `claw add` and `claw update`.
lock = 1
";

/// What `claw.lock` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The packages that the project itself names.
    pub project: BTreeMap<String, Pin>,
    /// Every package that anything needs.
    pub packages: BTreeMap<Digest, Locked>,
}

/// A package of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Where `claw.toml` said that it comes from when it was pinned.
    pub origin: Origin,
    /// Its content.
    pub digest: Digest,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Its name: the one that it gives itself, else the one that it was first asked for by.
    pub name: String,
    /// The version that it gives itself.
    pub version: Option<String>,
    /// Where it can be fetched again.
    pub origin: Origin,
    /// The commit that it was read from, when it is from git.
    pub commit: Option<String>,
    /// Its own packages, by the names that it knows them by.
    pub packages: BTreeMap<String, Digest>,
}

impl Locked {
    /// Its name and version, as people read it.
    pub fn title(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.name),
            None => self.name.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    lock: u32,
    #[serde(default)]
    project: BTreeMap<String, WrittenPin>,
    #[serde(default)]
    package: Vec<WrittenPackage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPin {
    from: WrittenOrigin,
    digest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPackage {
    name: String,
    version: Option<String>,
    digest: Digest,
    from: WrittenOrigin,
    commit: Option<String>,
    #[serde(default)]
    packages: BTreeMap<String, Digest>,
}

impl Lock {
    /// The lock of a project; an empty one when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read or is not what we write.
    pub fn read(root: &Path) -> Result<Lock, PackageError> {
        let path = root.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(err) => return Err(PackageError::io("reading", &path)(err)),
        };
        Lock::parse(&text).map_err(|why| {
            PackageError::not_pinned(format!("{FILE} cannot be used: {why}"))
                .help("take it from version control again, or delete it and run `claw update`")
        })
    }

    fn parse(text: &str) -> Result<Lock, String> {
        let written: Written = toml::from_str(text).map_err(|err| err.to_string())?;
        if written.lock != 1 {
            return Err(format!("it is of kind {}, and this claw reads kind 1", written.lock));
        }
        let mut lock = Lock::default();
        for package in written.package {
            let origin = Origin::of(&package.name, &package.from).map_err(|err| err.message)?;
            let locked = Locked {
                name: package.name,
                version: package.version,
                origin,
                commit: package.commit,
                packages: package.packages,
            };
            if lock.packages.insert(package.digest, locked).is_some() {
                return Err(format!("it lists {} twice", package.digest));
            }
        }
        for (name, pin) in written.project {
            let origin = Origin::of(&name, &pin.from).map_err(|err| err.message)?;
            lock.project.insert(name, Pin { origin, digest: pin.digest });
        }
        lock.check()?;
        Ok(lock)
    }

    /// Whether every digest that is named is listed, and the short ones tell packages apart.
    pub(super) fn check(&self) -> Result<(), String> {
        let pins = self.project.values().map(|pin| &pin.digest);
        let named = pins.chain(self.packages.values().flat_map(|of| of.packages.values()));
        for digest in named {
            if !self.packages.contains_key(digest) {
                return Err(format!("it names {digest} and does not list it"));
            }
        }
        let mut short = BTreeSet::new();
        for digest in self.packages.keys() {
            if !short.insert(digest.short()) {
                return Err(format!(
                    "two packages have digests that start with {}",
                    digest.short()
                ));
            }
        }
        Ok(())
    }

    /// The packages that `names` of the project need, directly or through others.
    pub(super) fn needed(&self, names: &BTreeSet<&str>) -> BTreeSet<Digest> {
        let pins = self.project.iter().filter(|(name, _)| names.contains(name.as_str()));
        let mut open: Vec<Digest> = pins.map(|(_, pin)| pin.digest).collect();
        let mut needed = BTreeSet::new();
        while let Some(digest) = open.pop() {
            if needed.insert(digest)
                && let Some(package) = self.packages.get(&digest)
            {
                open.extend(package.packages.values());
            }
        }
        needed
    }

    /// Writes the lock of a project, if it says something else than the one that is there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, root: &Path) -> Result<(), PackageError> {
        let path = root.join(FILE);
        if self.project.is_empty() && !path.exists() {
            return Ok(());
        }
        writing::replace(&path, self.text().as_bytes())
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_string();
        // Writing to a string cannot fail.
        if !self.project.is_empty() {
            text.push_str("\n[project]\n");
        }
        for (name, pin) in &self.project {
            let from = inline(&pin.origin.fields(name));
            let _ = writeln!(
                text,
                "{} = {{ from = {from}, digest = \"{}\" }}",
                quoted(name),
                pin.digest
            );
        }
        let mut packages: Vec<(&Digest, &Locked)> = self.packages.iter().collect();
        packages.sort_by_key(|(digest, package)| (&package.name, &package.version, **digest));
        for (digest, package) in packages {
            let _ = writeln!(text, "\n[[package]]\nname = {}", quoted(&package.name));
            if let Some(version) = &package.version {
                let _ = writeln!(text, "version = {}", quoted(version));
            }
            let from = inline(&package.origin.fields(&package.name));
            let _ = writeln!(text, "digest = \"{digest}\"\nfrom = {from}");
            if let Some(commit) = &package.commit {
                let _ = writeln!(text, "commit = {}", quoted(commit));
            }
            if !package.packages.is_empty() {
                text.push_str("\n[package.packages]\n");
                for (name, digest) in &package.packages {
                    let _ = writeln!(text, "{} = \"{digest}\"", quoted(name));
                }
            }
        }
        text
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn inline(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    format!("{{ {} }}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut lock = Lock::default();
        let git = Origin::Git { url: "https://h/\"x\".git".into(), rev: "v1".into() };
        lock.project.insert("acme/finance".into(), Pin { origin: git.clone(), digest: a });
        let registry = Origin::Registry {
            registry: "../r".into(),
            package: "acme/money".into(),
            version: "1.0.0".into(),
        };
        lock.packages.insert(
            a,
            Locked {
                name: "acme/finance".into(),
                version: Some("1.0.0".into()),
                origin: git,
                commit: Some("0123".into()),
                packages: [("money".to_string(), b)].into(),
            },
        );
        lock.packages.insert(
            b,
            Locked {
                name: "acme/money".into(),
                version: None,
                origin: registry,
                commit: None,
                packages: BTreeMap::new(),
            },
        );
        assert_eq!(Lock::parse(&lock.text()), Ok(lock.clone()));
        lock.packages.remove(&b);
        assert!(Lock::parse(&lock.text()).is_err());
    }
}
