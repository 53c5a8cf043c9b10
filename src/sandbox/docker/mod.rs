//! The `docker` backend: a sandbox is a container of a Docker or a Podman engine.
//!
//! It is for work that needs an image of its own: other versions, other programs than this machine
//! has. The engine isolates; inside, the same init does the same work as in a `process` sandbox:
//!
//! ```text
//! claw ── HTTP ──> engine ── makes ──> container: read-only image, tmpfs workspace, no network
//!   └── the container's stdin and stdout ──> init: this program, from a volume
//!                                              └── commands
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `engine` | where the engine is, and what it says when it refuses |
//! | `image` | the image, named by its content |
//! | `program` | puts this program, with its libraries, into a volume |
//! | `container` | what a container is allowed, and the sandbox that it makes |
//! | `line` | the container's streams as one |
//! | `inside` | the init |
//! | `owner` | labels; leftovers are removed |

mod container;
mod engine;
mod hand;
mod image;
mod inside;
mod line;
mod owner;
mod program;

pub use inside::{CONTAINER_ARGUMENT, container_main};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::Docker;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::workspace::verify;
use super::{Backend, Limits, Sandbox, SandboxError};
use crate::store::{Objects, Tree};

use container::{Container, Plan};
use image::{Image, Pinned};
use program::Program;

/// Says where the engine of this machine is, and which it is.
///
/// # Errors
/// When there is none, or it does not answer.
pub(super) async fn engine_of_this_machine() -> Result<String, SandboxError> {
    let address = engine::address()?;
    let docker = engine::connect(&address).await?;
    let version = docker.version().await.map_err(engine::broken("asking for its version"))?;
    let (engine, api) = (version.version.unwrap_or_default(), version.api_version);
    Ok(format!("engine {engine}, API {}, at {address}", api.unwrap_or_default()))
}

/// Opens sandboxes that are containers. Nothing is asked of an engine before the first of them.
pub struct DockerBackend {
    shared: Arc<Shared>,
    image: Option<Pinned>,
}

/// What backends for different images have in common.
struct Shared {
    program: PathBuf,
    address: Option<String>,
    engine: Mutex<Option<Engine>>,
}

/// An engine that has been found in order.
#[derive(Clone)]
struct Engine {
    docker: Docker,
    podman: bool,
    /// Whether it speaks over a socket of this machine.
    local: bool,
    program: Option<Program>,
    images: BTreeMap<Pinned, Image>,
}

impl DockerBackend {
    /// A backend that puts the program at `program` into its containers as their init, and asks the
    /// engine that `DOCKER_HOST` names or that is in one of the usual places.
    pub fn new(program: impl Into<PathBuf>) -> DockerBackend {
        let (program, address, engine) = (program.into(), None, Mutex::new(None));
        DockerBackend { shared: Arc::new(Shared { program, address, engine }), image: None }
    }

    /// A backend for the engine at `address`, e.g. `unix:///var/run/docker.sock`.
    pub fn at(program: impl Into<PathBuf>, address: impl Into<String>) -> DockerBackend {
        let (program, address) = (program.into(), Some(address.into()));
        let shared = Shared { program, address, engine: Mutex::new(None) };
        DockerBackend { shared: Arc::new(shared), image: None }
    }

    /// A backend whose init is this very program.
    pub fn current() -> DockerBackend {
        DockerBackend::new("/proc/self/exe")
    }

    /// The same engine with sandboxes made from `image`: `NAME@sha256:DIGEST`.
    ///
    /// # Errors
    /// When the image is not named by its content.
    pub fn with_image(&self, image: &str) -> Result<DockerBackend, SandboxError> {
        let image = Some(Pinned::parse(image)?);
        Ok(DockerBackend { shared: Arc::clone(&self.shared), image })
    }

    async fn open_with(
        &self,
        tree: &Tree,
        objects: &dyn Objects,
        limits: &Limits,
    ) -> Result<Container, SandboxError> {
        let Some(image) = &self.image else {
            return Err(engine::unavailable(
                "a docker sandbox has no image",
                "write sandbox(\"docker\", image: \"NAME@sha256:…\")",
            ));
        };
        verify(tree, limits).map_err(SandboxError::Workspace)?;
        let (docker, plan) = self.shared.ready(image).await?;
        let mut one = Container::begin(&docker, &plan, limits, tree).await?;
        one.fill(tree, objects).await?;
        Ok(one)
    }
}

impl Shared {
    /// The engine with the program and the image on it. Asked for once.
    async fn ready(&self, image: &Pinned) -> Result<(Docker, Plan), SandboxError> {
        let mut known = self.engine.lock().await;
        if known.is_none() {
            let address = self.address.clone().map_or_else(engine::address, Ok)?;
            let docker = engine::connect(&address).await?;
            owner::remove_leftovers(&docker).await;
            let podman = engine::is_podman(&docker).await?;
            let local = engine::is_socket(&address);
            let images = BTreeMap::new();
            *known = Some(Engine { docker, podman, local, program: None, images });
        }
        let Some(engine) = known.as_mut() else {
            return Err(SandboxError::Broken("the engine went away".to_string()));
        };
        let found = match engine.images.get(image) {
            Some(found) => found.clone(),
            None => {
                let found = image.find(&engine.docker).await?;
                engine.images.insert(image.clone(), found.clone());
                found
            }
        };
        let program = match &engine.program {
            Some(program) => program.clone(),
            None => {
                let program = Program::install(&engine.docker, &self.program, &found.id).await?;
                engine.program.insert(program).clone()
            }
        };
        let (podman, local) = (engine.podman, engine.local);
        Ok((engine.docker.clone(), Plan { image: found, program, podman, local }))
    }
}

impl Backend for DockerBackend {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn of_image(&self, image: &str) -> Option<Result<Arc<dyn Backend>, SandboxError>> {
        Some(self.with_image(image).map(|backend| Arc::new(backend) as Arc<dyn Backend>))
    }

    fn open<'a>(
        &'a self,
        workspace: &'a Tree,
        objects: &'a dyn Objects,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(async move {
            let sandbox = self.open_with(workspace, objects, limits).await?;
            Ok(Box::new(sandbox) as Box<dyn Sandbox>)
        })
    }
}
