//! One sandbox of the `docker` backend: a container, and the conversation with its init.

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, StartContainerOptions,
};
use futures::future::BoxFuture;
use tokio::net::UnixStream;

use super::super::helper::INSIDE;
use super::super::talk::Talk;
use super::super::wire::Order;
use super::super::{
    Background, Closed, Command, FileError, Limits, Outcome, Sandbox, SandboxError, WORKSPACE,
    confine,
};
use super::engine::{broken, unavailable};
use super::hand::Hand;
use super::image::Image;
use super::line::{Attached, Said};
use super::owner::{self, Part};
use super::program::Program;
use crate::store::{Objects, Tree};

/// What the init itself needs on top of what its commands may hold: other than that of a `process`
/// sandbox, it shares no memory with a helper.
const OVERHEAD: u64 = 48 << 20;

/// What a container is made from.
pub(super) struct Plan {
    pub(super) image: Image,
    pub(super) program: Program,
    pub(super) podman: bool,
    /// Whether the engine speaks over a socket of this machine.
    pub(super) local: bool,
}

/// A container that runs.
pub(super) struct Container {
    docker: Docker,
    id: String,
    talk: Option<Talk>,
    /// What its init hands descriptors over with, where the engine allows for that.
    hand: Option<UnixStream>,
    said: Said,
    memory: u64,
}

impl Drop for Container {
    fn drop(&mut self) {
        // Closing the line ends its init, and with it everything inside; the engine removes it then.
        self.talk = None;
        // That must not depend on the init, which may be out of memory.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move { owner::remove(&docker, &id).await });
        }
    }
}

impl Container {
    /// Makes a container for a workspace that will hold `tree`, starts it, and waits for its init.
    pub(super) async fn begin(
        docker: &Docker,
        plan: &Plan,
        limits: &Limits,
        tree: &Tree,
    ) -> Result<Container, SandboxError> {
        let (id, hand) = make(docker, plan, limits, tree).await?;
        let said = Said::default();
        // From here on it is removed when something fails.
        let memory = limits.memory;
        let docker = docker.clone();
        let mut one = Container { docker, id, talk: None, hand: None, said, memory };
        // What it says is wanted from its first byte on, so the line comes before the start.
        let options =
            AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stderr(true);
        let options = options.stream(true).build();
        let streams = one.docker.attach_container(&one.id, Some(options)).await;
        let streams = streams.map_err(broken("attaching to a container"))?;
        let started = one.docker.start_container(&one.id, None::<StartContainerOptions>).await;
        started.map_err(|err| {
            unavailable(
                format!("a container does not start: {}", super::engine::told(&err)),
                "try `docker run --rm --network none IMAGE true`; it says the same, and more",
            )
        })?;
        let line = Attached::new(streams, one.said.clone());
        let mut talk = Talk::new(Box::new(line), limits.clone(), tree);
        let env = plan.image.env.clone();
        let order = Order { limits: limits.clone(), counted: true, env };
        let stands = talk.order(&order).await;
        one.talk = Some(talk);
        one.explained(stands)?;
        one.hand = hand.and_then(Hand::taken);
        Ok(one)
    }

    /// Puts the workspace in.
    pub(super) async fn fill(
        &mut self,
        tree: &Tree,
        objects: &dyn Objects,
    ) -> Result<(), SandboxError> {
        let filled = self.talk()?.fill(tree, objects).await;
        self.explained(filled)
    }

    fn talk(&mut self) -> Result<&mut Talk, SandboxError> {
        let gone = || SandboxError::Broken("the container has been closed".to_string());
        self.talk.as_mut().ok_or_else(gone)
    }

    /// Adds what the container said itself.
    fn explained<T>(&self, result: Result<T, SandboxError>) -> Result<T, SandboxError> {
        result.map_err(|err| self.why(err))
    }

    fn why(&self, err: SandboxError) -> SandboxError {
        let said = self.said.line();
        match err {
            SandboxError::Broken(what) if !said.is_empty() => {
                SandboxError::Broken(format!("{what}; the container said: {said}"))
            }
            SandboxError::Broken(what) if what.ends_with("it has ended") => {
                SandboxError::Broken(format!(
                    "{what}; was its memory of {} bytes too little, which files in the workspace \
                     and in /tmp count towards?",
                    self.memory
                ))
            }
            err => err,
        }
    }

    fn explained_file<T>(&self, result: Result<T, FileError>) -> Result<T, FileError> {
        result.map_err(|err| match err {
            FileError::Sandbox(err) => FileError::Sandbox(self.why(err)),
            err => err,
        })
    }
}

/// Makes a container, if possible with a hand.
async fn make(
    docker: &Docker,
    plan: &Plan,
    limits: &Limits,
    tree: &Tree,
) -> Result<(String, Option<Hand>), SandboxError> {
    let options = None::<CreateContainerOptions>;
    if plan.local
        && let Ok(hand) = Hand::new()
    {
        let mut body = body(plan, limits, tree);
        if let Some(host) = &mut body.host_config {
            host.mounts = Some(vec![hand.mount()]);
        }
        // An engine that does not see this machine's files refuses.
        if let Ok(made) = docker.create_container(options.clone(), body).await {
            return Ok((made.id, Some(hand)));
        }
    }
    let made = docker.create_container(options, body(plan, limits, tree)).await;
    Ok((made.map_err(broken("making a container"))?.id, None))
}

/// The container as the engine is asked for it: nothing is allowed that is not needed.
fn body(plan: &Plan, limits: &Limits, tree: &Tree) -> ContainerCreateBody {
    let Plan { image, program, podman, .. } = plan;
    let memory = confine::whole_memory(limits)
        .saturating_add(tree.size())
        .saturating_add(OVERHEAD)
        .try_into()
        .unwrap_or(i64::MAX);
    // The root of a tmpfs counts as one of its files. Podman cannot limit their number, knows no
    // owner but the container's own user, and would fill it from the image.
    let count = limits.files.saturating_add(1);
    let accent = match podman {
        true => "U,notmpcopyup".to_string(),
        false => format!("nr_inodes={count},uid={INSIDE},gid={INSIDE}"),
    };
    // The engines' own default is `noexec`.
    let size = limits.disk;
    let own = |mode: &str| format!("rw,exec,nosuid,nodev,size={size},mode={mode},{accent}");
    let tmpfs = [(WORKSPACE, own("0755")), ("/tmp", own("1777"))];
    let text = |text: &str| Some(text.to_string());
    let host = HostConfig {
        memory: Some(memory),
        memory_swap: Some(memory),
        // The init is one of them.
        pids_limit: Some(i64::from(limits.processes).saturating_add(1)),
        // Commands stand back behind what else the machine does.
        cpu_shares: Some(512),
        network_mode: text("none"),
        ipc_mode: text("private"),
        readonly_rootfs: Some(true),
        tmpfs: Some(tmpfs.map(|(place, options)| (place.to_string(), options)).into()),
        shm_size: Some(confine::shared_memory(limits).try_into().unwrap_or(i64::MAX)),
        cap_drop: Some(vec!["ALL".to_string()]),
        security_opt: Some(vec!["no-new-privileges".to_string()]),
        binds: Some(vec![program.bind.clone()]),
        auto_remove: Some(true),
        // What goes over its streams is the conversation: no log of it.
        log_config: Some(HostConfigLogConfig { typ: text("none"), config: None }),
        ..HostConfig::default()
    };
    let (entry, rest) = program.argv.split_at(1);
    ContainerCreateBody {
        image: Some(image.id.clone()),
        entrypoint: Some(entry.to_vec()),
        cmd: Some(rest.to_vec()),
        user: Some(format!("{INSIDE}:{INSIDE}")),
        hostname: text("sandbox"),
        working_dir: text(WORKSPACE),
        // A library that the image preloads is for its own programs, not for the init.
        env: Some(vec!["LD_PRELOAD=".to_string()]),
        // Nothing but commands runs inside.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_string()]),
            ..HealthConfig::default()
        }),
        labels: Some(owner::labels(Part::Sandbox)),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        tty: Some(false),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

impl Sandbox for Container {
    fn exec_until<'a>(
        &'a mut self,
        command: &'a Command,
        enough: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        Box::pin(async move {
            let ended = self.talk()?.run(command, enough).await;
            self.explained(ended)
        })
    }

    fn listen(&mut self, port: u16) -> BoxFuture<'_, Result<std::net::TcpListener, SandboxError>> {
        Box::pin(async move {
            let hand = self.hand.take().ok_or_else(|| {
                unavailable(
                    "commands in this container cannot be listened to: it does not reach a socket \
                     of this machine",
                    "use an engine on this machine that sees its temporary files, or \
                     sandbox(\"process\")",
                )
            })?;
            let listening = self.talk()?.listen(port, Some(&hand)).await;
            self.hand = Some(hand);
            self.explained(listening)
        })
    }

    fn background(&mut self) -> Option<&mut dyn Background> {
        self.talk.as_mut().map(|talk| talk as &mut dyn Background)
    }

    fn read<'a>(
        &'a mut self,
        path: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>> {
        Box::pin(async move {
            let read = self.talk()?.read(path, limit).await;
            self.explained_file(read)
        })
    }

    fn write<'a>(
        &'a mut self,
        path: &'a str,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>> {
        Box::pin(async move {
            let written = self.talk()?.write(path, bytes).await;
            self.explained_file(written)
        })
    }

    fn close<'a>(
        mut self: Box<Self>,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        Box::pin(async move {
            let closed = self.talk()?.collect(objects).await;
            self.explained(closed)
        })
    }
}
