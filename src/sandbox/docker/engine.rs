//! The engine that containers are ordered from: Docker's, or Podman's, which speaks the same.

use std::path::{Path, PathBuf};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::super::SandboxError;

/// Seconds that the engine may take to answer anything.
const PATIENCE: u64 = 120;

/// Where the engine is: what `DOCKER_HOST` says, else the first socket that exists in the usual
/// places.
///
/// # Errors
/// When there is none.
pub(crate) fn address() -> Result<String, SandboxError> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(host) = set("DOCKER_HOST") {
        return Ok(host);
    }
    let runtime = set("XDG_RUNTIME_DIR").map(PathBuf::from);
    let home = set("HOME").map(PathBuf::from);
    let below = |folder: &Option<PathBuf>, name| folder.as_ref().map(|path| path.join(name));
    let usual = [
        Some(PathBuf::from("/var/run/docker.sock")),
        below(&runtime, "docker.sock"),
        below(&home, ".docker/run/docker.sock"),
        below(&runtime, "podman/podman.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
    ];
    let found = usual.into_iter().flatten().find(|path| path.exists());
    found.map(|path| format!("unix://{}", path.display())).ok_or_else(|| {
        unavailable(
            "there is no Docker or Podman engine: DOCKER_HOST is not set, and there is no socket in \
             the usual places",
            "start dockerd or `podman system service`, or set DOCKER_HOST to its socket",
        )
    })
}

/// Connects to the engine at `address` (`unix:///path`, `tcp://host:port`, or a path), and agrees on
/// a version of the interface.
///
/// # Errors
/// When nobody answers there.
pub(crate) async fn connect(address: &str) -> Result<Docker, SandboxError> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    let silent = |err: Error| {
        let reached = !path.starts_with('/') || Path::new(path).exists();
        let help = if reached {
            "is the engine running, and may this user open its socket (group `docker`)?"
        } else {
            "start dockerd or `podman system service`, or set DOCKER_HOST to its socket"
        };
        unavailable(
            format!("the container engine at {address} does not answer: {}", told(&err)),
            help,
        )
    };
    let docker = if path.starts_with('/') {
        Docker::connect_with_unix(path, PATIENCE, API_DEFAULT_VERSION)
    } else {
        Docker::connect_with_http(address, PATIENCE, API_DEFAULT_VERSION)
    };
    docker.map_err(silent)?.negotiate_version().await.map_err(silent)
}

/// Whether an address is a socket of this machine.
pub(super) fn is_socket(address: &str) -> bool {
    address.starts_with('/') || address.starts_with("unix://")
}

/// Whether it is Podman, which speaks Docker's language with an accent.
///
/// # Errors
/// When it does not say what it is.
pub(super) async fn is_podman(docker: &Docker) -> Result<bool, SandboxError> {
    let version = docker.version().await.map_err(broken("asking for its version"))?;
    let parts = version.components.unwrap_or_default();
    Ok(parts.iter().any(|part| part.name.contains("Podman")))
}

/// What the engine said, without the library's frame around it.
pub(super) fn told(err: &Error) -> String {
    match err {
        Error::DockerResponseServerError { message, .. } => message.trim().to_string(),
        err => err.to_string(),
    }
}

/// Whether the engine said so with this HTTP status.
pub(super) fn has_status(err: &Error, status: u16) -> bool {
    matches!(err, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

pub(super) fn unavailable(what: impl Into<String>, help: impl Into<String>) -> SandboxError {
    SandboxError::Unavailable { what: what.into(), help: help.into() }
}

pub(super) fn broken(doing: &str) -> impl Fn(Error) -> SandboxError {
    move |err| SandboxError::Broken(format!("{doing}: {}", told(&err)))
}
