//! Published packages: a registry is a plain folder, on a shared disk or behind any web server.
//!
//! ```text
//! registry/acme/finance/index.jsonl        a line a version: its digest, its archive's digest
//! registry/acme/finance/1.2.0.tar.zst      the package
//! ```
//!
//! What is published stays as it is. The archive comes into being under its name at once and only if
//! there is none yet, so of two who publish one version at the same time one is refused; the index is
//! only appended to.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::Digest;

use super::archive::{MAX_PACKED, pack, unpack};
use super::content::Content;
use super::download::{below, bytes};
use super::error::PackageError;
use super::names::Version;
use super::writing;

/// The most bytes that an index may have.
const MAX_INDEX: u64 = 16 << 20;

/// A version in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its version.
    pub version: String,
    /// The digest of its content.
    pub digest: Digest,
    /// The digest of its archive.
    pub archive: Digest,
}

/// The versions of a package, in the order in which they were published.
fn index(root: &Path, registry: &str, package: &str) -> Result<Vec<Published>, PackageError> {
    let place = below(registry, &format!("{package}/index.jsonl"));
    let text = bytes(root, &place, MAX_INDEX).map_err(|err| {
        PackageError::absent(format!(
            "the registry {registry} has no package `{package}`: {}",
            err.message
        ))
        .help("look at the name and at the registry's folder or URL")
    })?;
    let text = String::from_utf8_lossy(&text);
    // A line is written in one go with its end; one without an end is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            serde_json::from_str(line).map_err(|err| {
                PackageError::unusable(format!("{place} is damaged: {err}"))
                    .help("the registry must be repaired from a copy")
            })
        })
        .collect()
}

/// The newest final version of a package; the newest of all when none is final.
///
/// # Errors
/// When the registry has no such package.
pub fn newest(root: &Path, registry: &str, package: &str) -> Result<Version, PackageError> {
    let versions = index(root, registry, package)?;
    let versions = versions.iter().filter_map(|one| one.version.parse::<Version>().ok());
    versions.max_by_key(|version| (version.is_final(), version.clone())).ok_or_else(|| {
        PackageError::absent(format!("the registry {registry} has no version of `{package}`"))
    })
}

/// The content of a published version, which must be what was published.
///
/// # Errors
/// When there is no such version, or its archive is not the one that was published.
pub(super) fn fetch(
    root: &Path,
    registry: &str,
    package: &str,
    version: &str,
) -> Result<Content, PackageError> {
    let versions = index(root, registry, package)?;
    let Some(published) = versions.iter().find(|one| one.version == version) else {
        let mut known: Vec<Version> =
            versions.iter().filter_map(|one| one.version.parse().ok()).collect();
        known.sort();
        let known: Vec<String> = known.iter().map(Version::to_string).collect();
        return Err(PackageError::absent(format!(
            "the registry {registry} has no version {version} of `{package}`"
        ))
        .help(format!("there is {}", known.join(", "))));
    };
    let place = below(registry, &format!("{package}/{version}.tar.zst"));
    let packed = bytes(root, &place, MAX_PACKED)?;
    let changed = |what: &str, expected: &Digest, found: &Digest| {
        PackageError::mismatch(format!(
            "{package} {version} is not what was published: {what} {place} was changed"
        ))
        .help(format!(
            "expected {expected}\nfound    {found}\n\
             do not use it; ask who keeps the registry {registry}"
        ))
    };
    let found = Digest::of(&packed);
    if found != published.archive {
        return Err(changed("the archive", &published.archive, &found));
    }
    let content = unpack(&packed)
        .map_err(|why| PackageError::unusable(format!("{place} is no package: {why}")))?;
    let found = content.digest();
    if found != published.digest {
        return Err(changed("the content of", &published.digest, &found));
    }
    Ok(content)
}

/// Publishes a version into a registry's folder.
///
/// # Errors
/// When the version is there already, or the disk refuses.
pub(super) fn publish(
    folder: &Path,
    package: &str,
    version: &Version,
    content: &Content,
) -> Result<Published, PackageError> {
    let place = folder.join(package);
    std::fs::create_dir_all(&place).map_err(PackageError::io("making", &place))?;
    let archive = place.join(format!("{version}.tar.zst"));
    let packed = pack(content).map_err(PackageError::io("packing", &archive))?;
    let published = Published {
        version: version.to_string(),
        digest: content.digest(),
        archive: Digest::of(&packed),
    };
    let listed = if place.join("index.jsonl").exists() {
        index(Path::new(""), &folder.to_string_lossy(), package)?
    } else {
        Vec::new()
    };
    let taken = |digest: &str| {
        PackageError::unusable(format!("{package} {version} is published already{digest}"))
            .help("what is published stays as it is: raise `version` in claw.toml and publish that")
    };
    if let Some(earlier) = listed.iter().find(|one| one.version == published.version) {
        return Err(taken(&format!(" (digest {})", earlier.digest)));
    }
    if !writing::create_new(&archive, &packed)? {
        // Left by a publication that was cut short before it was listed: the same bytes are
        // finished now, others are somebody else's.
        let there = std::fs::read(&archive).map_err(PackageError::io("reading", &archive))?;
        if Digest::of(&there) != published.archive {
            return Err(taken(""));
        }
    }
    let list = place.join("index.jsonl");
    let line = serde_json::to_string(&published)
        .map_err(|err| PackageError::unusable(format!("{}: {err}", list.display())))?;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&list)
        .map_err(PackageError::io("opening", &list))?;
    file.write_all(format!("{line}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(PackageError::io("writing", &list))?;
    Ok(published)
}
