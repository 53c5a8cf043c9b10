//! A project: the folder with `claw.toml`, and what programs in it may read.

mod sources;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::store::Objects;

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
}

/// `[project]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectSettings {
    /// The project's name.
    pub name: Option<String>,
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
            return Ok(Project { root: start, settings: Settings::default() });
        };
        let path = root.join("claw.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ProjectError::Io { path: path.clone(), source })?;
        let settings = toml::from_str(&text)
            .map_err(|err| ProjectError::Settings { path, message: err.to_string() })?;
        Ok(Project { root: root.to_path_buf(), settings })
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

    /// Its `.claw` files, in order: what version control, editors and tools keep beside them
    /// (folders whose names start with a dot) and vendored packages are left out.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, ProjectError> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let io = |source| ProjectError::Io { path: folder.clone(), source };
            for entry in std::fs::read_dir(&folder).map_err(io)? {
                let entry = entry.map_err(io)?;
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                let kind = entry.file_type().map_err(io)?;
                if kind.is_dir() && !name.starts_with('.') && name != "vendor" && name != "target" {
                    folders.push(path);
                } else if kind.is_file() && name.ends_with(".claw") {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Where its results are kept.
    pub fn store(&self) -> PathBuf {
        self.root.join(".claw")
    }

    /// Its files, as the language sees them; what is read is kept in `objects`.
    pub fn sources(&self, objects: Arc<dyn Objects>) -> ProjectSources {
        let std = self.settings.library.std.as_ref().map(|path| self.root.join(path));
        ProjectSources { root: self.root.clone(), std, objects }
    }
}
