//! A project: the folder with `claw.toml`, and what programs in it may read.

mod files;
mod links;
mod models;
pub mod packages;
mod sources;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::store::Objects;

use packages::{Origin, WrittenOrigin};

pub use files::claw_files;
pub use links::{Links, Place};
pub use models::{ModelSettings, Prices, ProviderName};
pub use sources::ProjectSources;
pub use watch::{Look, Watched, variable};

/// What `claw.toml` says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who it is.
    #[serde(default)]
    pub project: ProjectSettings,
    /// Where libraries come from.
    #[serde(default)]
    pub library: LibrarySettings,
    /// The packages that it uses, by the names that it knows them by.
    #[serde(default)]
    pub packages: BTreeMap<String, WrittenOrigin>,
    /// The models that it asks, by the names that its programs give to `model`.
    #[serde(default)]
    pub models: BTreeMap<String, ModelSettings>,
    /// The agents that are installed on this machine and that it lets act as they are.
    #[serde(default)]
    pub agents: BTreeMap<String, AgentPlace>,
}

/// `[agents.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentPlace {
    /// The directory that it is installed in, which the sandboxes of rollouts see read-only.
    pub path: PathBuf,
}

/// `[project]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectSettings {
    /// The project's name; of one that is published, the package's: `acme/finance`.
    pub name: Option<String>,
    /// Its version, such as `1.2.0`.
    pub version: Option<String>,
    /// What it is for, in a sentence.
    pub description: Option<String>,
}

/// `[library]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibrarySettings {
    /// A folder to read `std/…` from instead of the library that is built in: for working on the
    /// library itself.
    pub std: Option<PathBuf>,
}

/// A project on disk.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its folder, absolute.
    pub root: PathBuf,
    /// What its `claw.toml` says.
    pub settings: Settings,
    /// Where the packages come from that it names.
    pub packages: BTreeMap<String, Origin>,
}

/// Why a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The pipeline is not there.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// `claw.toml` is not what it should be.
    #[error("{path}: {message}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// The disk said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
}

impl Project {
    /// The project around `start`: the nearest folder at or above it with a `claw.toml`, else the
    /// folder itself.
    ///
    /// # Errors
    /// See [`ProjectError`].
    pub fn around(start: &Path) -> Result<Project, ProjectError> {
        let start = start
            .canonicalize()
            .map_err(|source| ProjectError::Io { path: start.to_path_buf(), source })?;
        let root = start.ancestors().find(|folder| folder.join("claw.toml").is_file());
        let Some(root) = root else {
            let (settings, packages) = (Settings::default(), BTreeMap::new());
            return Ok(Project { root: start, settings, packages });
        };
        let path = root.join("claw.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ProjectError::Io { path: path.clone(), source })?;
        let wrong = |message: String| ProjectError::Settings { path: path.clone(), message };
        let mut settings: Settings = toml::from_str(&text).map_err(|err| wrong(err.to_string()))?;
        for (name, model) in &mut settings.models {
            model.check(name).map_err(|err| wrong(format!("[models.{name}]: {err}")))?;
            model.settle(root);
        }
        let packages = settings
            .packages
            .iter()
            .map(|(name, written)| Ok((name.clone(), Origin::of(name, written)?)))
            .collect::<Result<_, packages::PackageError>>()
            .map_err(|err| wrong(format!("{}\n  help: {}", err.message, err.help)))?;
        Ok(Project { root: root.to_path_buf(), settings, packages })
    }

    /// The project of a pipeline file, and the file's path relative to the project.
    ///
    /// # Errors
    /// See [`ProjectError`].
    pub fn of(pipeline: &Path) -> Result<(Project, String), ProjectError> {
        let file =
            pipeline.canonicalize().map_err(|_| ProjectError::Missing(pipeline.to_path_buf()))?;
        let project = Project::around(file.parent().unwrap_or(Path::new("/")))?;
        let entry = file.strip_prefix(&project.root).unwrap_or(&file);
        Ok((project, entry.to_string_lossy().replace('\\', "/")))
    }

    /// Its own `.claw` files, in order.
    ///
    /// # Errors
    /// See [`claw_files`].
    pub fn files(&self) -> Result<Vec<PathBuf>, ProjectError> {
        claw_files(&self.root)
    }

    /// Where its results are kept.
    pub fn store(&self) -> PathBuf {
        self.root.join(".claw")
    }

    /// Its files, as the language sees them; what is read is kept in `objects`.
    pub fn sources(&self, objects: Arc<dyn Objects>) -> ProjectSources {
        let std = self.settings.library.std.as_ref().map(|path| self.root.join(path));
        let shelf = packages::Shelf::of(self, false);
        ProjectSources { root: self.root.clone(), std, objects, shelf, links: Links::default() }
    }

    /// The same; packages that are pinned and not on this machine are fetched when they are used.
    pub fn fetching_sources(&self, objects: Arc<dyn Objects>) -> ProjectSources {
        ProjectSources { shelf: packages::Shelf::of(self, true), ..self.sources(objects) }
    }
}
