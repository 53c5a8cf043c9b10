//! Where a package comes from, as `claw.toml` says it.
//!
//! ```toml
//! [packages]
//! finance = { path = "../finance" }
//! "acme/reports" = { git = "https://example.org/reports.git", rev = "v1.2.0" }
//! "acme/money" = { archive = "https://example.org/money-1.0.0.tar.gz" }
//! "acme/taxes" = { registry = "/shared/registry", version = "2.0.0" }
//! old-taxes = { registry = "/shared/registry", package = "acme/taxes", version = "1.4.0" }
//! ```

use std::fmt;

use serde::Deserialize;

use super::error::PackageError;
use super::names::{Version, check_name};

/// An entry of `[packages]`, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenOrigin {
    path: Option<String>,
    git: Option<String>,
    rev: Option<String>,
    archive: Option<String>,
    registry: Option<String>,
    package: Option<String>,
    version: Option<String>,
}

/// Where a package comes from. Relative places are relative to the project whose `claw.lock` pins
/// it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A folder. It is read anew each time.
    Path(String),
    /// A revision of a git repository.
    Git {
        /// The repository.
        url: String,
        /// A commit, tag or branch.
        rev: String,
    },
    /// A `.tar.gz`, `.tar.zst` or `.tar`: a file or a URL.
    Archive(String),
    /// A package that was published.
    Registry {
        /// The folder or URL that it was published to.
        registry: String,
        /// Its name there.
        package: String,
        /// Its version.
        version: String,
    },
}

/// Whose `claw.toml` an origin stands in.
#[derive(Debug, Clone)]
pub(super) enum Asker {
    /// A folder, relative to the project.
    Folder(String),
    /// A package that was taken from this registry.
    Registry(String),
    /// A package that was fetched from elsewhere.
    Away,
}

impl Origin {
    /// The origin of the package `name`, of what is written in a `claw.toml`.
    ///
    /// # Errors
    /// When it says nothing, too much, or something that cannot be.
    pub fn of(name: &str, written: &WrittenOrigin) -> Result<Origin, PackageError> {
        check_name(name)?;
        let refused = |why: &str| {
            PackageError::unusable(format!("package `{name}` {why}")).help(
                "it is one of { path = \"…\" }, { git = \"…\", rev = \"…\" }, { archive = \"…\" }, \
                 { registry = \"…\", version = \"…\" }",
            )
        };
        match written.clone() {
            WrittenOrigin {
                path: Some(path),
                git: None,
                rev: None,
                archive: None,
                registry: None,
                package: None,
                version: None,
            } => Ok(Origin::Path(path)),
            WrittenOrigin {
                path: None,
                git: Some(url),
                rev: Some(rev),
                archive: None,
                registry: None,
                package: None,
                version: None,
            } => {
                if rev.is_empty() || rev.starts_with('-') {
                    return Err(refused(&format!("has the revision `{rev}`")));
                }
                if !is_repository(&url) {
                    return Err(PackageError::unusable(format!(
                        "package `{name}`: `{url}` is no address of a git repository"
                    ))
                    .help("it starts with https://, ssh:// or file://, or is like git@host:path"));
                }
                Ok(Origin::Git { url, rev })
            }
            WrittenOrigin {
                path: None,
                git: None,
                rev: None,
                archive: Some(archive),
                registry: None,
                package: None,
                version: None,
            } => Ok(Origin::Archive(archive)),
            WrittenOrigin {
                path: None,
                git: None,
                rev: None,
                archive: None,
                registry: Some(registry),
                package,
                version: Some(version),
            } => {
                version.parse::<Version>()?;
                let package = package.unwrap_or_else(|| name.to_string());
                check_name(&package)?;
                Ok(Origin::Registry { registry, package, version })
            }
            WrittenOrigin { git: Some(_), rev: None, .. } => {
                Err(refused("has no `rev`: a commit, a tag or a branch"))
            }
            WrittenOrigin { registry: Some(_), version: None, .. } => {
                Err(refused("has no `version`"))
            }
            _ => Err(refused("must say one place to come from")),
        }
    }

    /// The same place as seen from the project.
    pub(super) fn seen_from_project(
        self,
        name: &str,
        asker: &Asker,
    ) -> Result<Origin, PackageError> {
        let local = |place: &str, what: &str| match asker {
            _ if is_url(place) || place.starts_with('/') => Ok(place.to_string()),
            Asker::Folder(folder) => Ok(beside(folder, place)),
            Asker::Registry(_) | Asker::Away => Err(PackageError::unusable(format!(
                "package `{name}` is named by the {what} `{place}`, which only its author has"
            ))
            .help("a package that others fetch names its own packages by URL, git or registry")),
        };
        Ok(match self {
            Origin::Path(path) => match asker {
                Asker::Folder(_) => Origin::Path(local(&path, "folder")?),
                Asker::Registry(_) | Asker::Away => {
                    return Err(PackageError::unusable(format!(
                        "package `{name}` is named by the folder `{path}`, which only its author has"
                    ))
                    .help(
                        "a package that others fetch names its own packages by URL, git or registry",
                    ));
                }
            },
            Origin::Archive(archive) => Origin::Archive(local(&archive, "file")?),
            Origin::Registry { registry, package, version } => {
                // What is published together stays together, wherever the registry is moved.
                let registry = match asker {
                    Asker::Registry(own) if !is_url(&registry) && !registry.starts_with('/') => {
                        own.clone()
                    }
                    _ => local(&registry, "registry")?,
                };
                Origin::Registry { registry, package, version }
            }
            git @ Origin::Git { .. } => git,
        })
    }

    /// Who asks when a package from here names packages of its own.
    pub(super) fn as_asker(&self) -> Asker {
        match self {
            Origin::Path(path) => Asker::Folder(path.clone()),
            Origin::Registry { registry, .. } => Asker::Registry(registry.clone()),
            Origin::Git { .. } | Origin::Archive(_) => Asker::Away,
        }
    }

    /// As people read it beside the name and version of the package, which it then leaves out.
    pub fn place(&self, package: &str) -> String {
        match self {
            Origin::Registry { registry, package: there, .. } if there == package => {
                registry.clone()
            }
            other => other.to_string(),
        }
    }

    /// The keys and values that say it in TOML, for the package `name`.
    pub fn fields(&self, name: &str) -> Vec<(&'static str, String)> {
        match self {
            Origin::Path(path) => vec![("path", path.clone())],
            Origin::Git { url, rev } => vec![("git", url.clone()), ("rev", rev.clone())],
            Origin::Archive(archive) => vec![("archive", archive.clone())],
            Origin::Registry { registry, package, version } => {
                let mut fields = vec![("registry", registry.clone())];
                if package != name {
                    fields.push(("package", package.clone()));
                }
                fields.push(("version", version.clone()));
                fields
            }
        }
    }
}

/// As people read it: `../finance`, `acme/money 1.0.0 of /shared/registry`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Path(path) if path.is_empty() => write!(f, "."),
            Origin::Path(path) | Origin::Archive(path) => write!(f, "{path}"),
            Origin::Git { url, rev } => write!(f, "{url} at {rev}"),
            Origin::Registry { registry, package, version } => {
                write!(f, "{package} {version} of {registry}")
            }
        }
    }
}

/// Whether a place is reached over HTTP.
pub(super) fn is_url(place: &str) -> bool {
    place.starts_with("https://") || place.starts_with("http://")
}

fn is_repository(url: &str) -> bool {
    let known = ["https://", "ssh://", "file://"].iter().any(|scheme| url.starts_with(scheme));
    // `git@host:path`, which git reads as ssh.
    let short = !url.contains("://")
        && !url.contains("::")
        && !url.starts_with(['-', '/', '.'])
        && url.split_once(':').is_some_and(|(host, path)| !host.contains('/') && !path.is_empty());
    known || short
}

/// A path relative to a folder, without `.` and, as far as possible, without `..`.
pub(super) fn beside(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_string();
    }
    let start = if folder.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if !start.is_empty() => {}
            part => parts.push(part),
        }
    }
    format!("{start}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_project() {
        assert_eq!(beside("", "../finance"), "../finance");
        assert_eq!(beside("../finance", "../money"), "../money");
        assert_eq!(beside("packages/a", "./b"), "packages/a/b");
        assert_eq!(beside("a", "../.."), "..");
        assert_eq!(beside("/a/b", "../c"), "/a/c");
        assert_eq!(beside("a", "/x"), "/x");
    }

    #[test]
    fn addresses_of_repositories() {
        for good in ["https://h/x", "ssh://h/x", "file:///x", "git@h:acme/x.git", "h:x"] {
            assert!(is_repository(good), "{good}");
        }
        for bad in ["ext::sh -c x", "--upload-pack=x", "../x", "/x", "x", "git://h/x", "http://h/x"]
        {
            assert!(!is_repository(bad), "{bad}");
        }
    }
}
