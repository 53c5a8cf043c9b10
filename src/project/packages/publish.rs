//! `claw publish`: a folder becomes a version that others can name.

use std::path::Path;

use crate::project::Project;

use super::content::Content;
use super::error::PackageError;
use super::names::{Version, check_name};
use super::origin::Origin;
use super::registry::{self, Published};

/// A package that is ready to be published.
#[derive(Debug)]
pub struct Publication {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    content: Content,
}

impl Publication {
    /// Reads a package's folder and refuses what others could not use.
    ///
    /// # Errors
    /// When claw.toml does not say name, version and description, there is no module, a file leaves
    /// the folder, or a package is named by a folder.
    pub fn of(project: &Project) -> Result<Publication, PackageError> {
        let about = &project.settings.project;
        let title = about.name.clone().unwrap_or_else(|| project.root.display().to_string());
        let lacks = |what: &str, example: &str| {
            PackageError::unusable(format!("claw.toml of {title} has no {what}"))
                .help(format!("write `{what} = \"{example}\"` below [project]"))
        };
        let name = about.name.clone().ok_or_else(|| lacks("name", "acme/finance"))?;
        check_name(&name)?;
        let version = about.version.clone().ok_or_else(|| lacks("version", "1.0.0"))?.parse()?;
        if about.description.as_deref().is_none_or(|text| text.trim().is_empty()) {
            return Err(lacks("description", "what it is for, in a sentence"));
        }
        for (own, origin) in &project.packages {
            let travels = match origin {
                Origin::Path(_) => false,
                Origin::Archive(place) => super::origin::is_url(place),
                Origin::Git { .. } | Origin::Registry { .. } => true,
            };
            if !travels {
                return Err(PackageError::unusable(format!(
                    "claw.toml of {name} names the package `{own}` by the place {origin}, which \
                     others do not have"
                ))
                .help("publish that package first, and name it by registry and version"));
            }
        }
        let content = Content::of_folder(&project.root)?;
        let publication = Publication { name, version, content };
        if publication.modules().is_empty() {
            return Err(PackageError::unusable(format!(
                "{} holds no .claw file",
                publication.name
            ))
            .help("its main module is lib.claw"));
        }
        Ok(publication)
    }

    /// Its modules, as paths in its folder.
    pub fn modules(&self) -> Vec<String> {
        let paths = self.content.pieces().keys();
        paths.filter(|path| path.ends_with(".claw")).cloned().collect()
    }

    /// How many files it has.
    pub fn file_count(&self) -> usize {
        self.content.pieces().len()
    }
}

/// Publishes into a registry's folder.
///
/// # Errors
/// When this version is there already, or the disk refuses.
pub fn publish(publication: &Publication, registry: &Path) -> Result<Published, PackageError> {
    if super::origin::is_url(&registry.to_string_lossy()) {
        return Err(PackageError::unusable(format!(
            "{} is a URL; packages are published into a folder",
            registry.display()
        ))
        .help("publish into the folder that the web server serves"));
    }
    registry::publish(registry, &publication.name, &publication.version, &publication.content)
}
