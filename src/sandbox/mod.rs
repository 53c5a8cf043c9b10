//! Sandboxes: where commands that a model wrote run.
//!
//! One trait, several backends, the same behaviour. A [`Sandbox`] is one isolated world with one
//! workspace, which lives from [`Backend::open`] to [`Sandbox::close`]; everything in it dies then.
//!
//! The `process` backend ([`ProcessBackend`]) builds its worlds from Linux namespaces without root,
//! a daemon or an image:
//!
//! ```text
//! claw ── starts once ──> helper: one thread, own user and mount namespace, the read-only root
//!   │                       │ clones, for every sandbox, into six new namespaces and a network
//!   └── socket ───────────> init (pid 1): private workspace, /tmp, /proc; no capabilities
//!                             └── commands
//! ```
//!
//! The `docker` backend ([`DockerBackend`]) orders containers from an engine, for work that needs an
//! image of its own. The `local` backend ([`LocalBackend`]) isolates nothing and is for machines where
//! nothing else works. All share the code that fills a workspace, runs a command and takes the
//! workspace out. What each keeps out, and which test shows it, is told in `docs/sandbox.md`.

mod background;
mod cgroup;
mod command;
mod confine;
mod control;
mod defence;
mod docker;
mod errno;
mod files;
mod helper;
mod init;
mod jobs;
mod kernel;
mod landlock;
mod launch;
mod local;
mod networks;
mod probe;
mod process;
mod processes;
mod python;
mod root;
mod session;
mod spawn;
mod talk;
mod wire;
mod workspace;

pub use background::{Background, Heard, Launched, Patience, Unfed};
#[doc(hidden)]
pub use defence::Defence;
pub use docker::{CONTAINER_ARGUMENT, DockerBackend, container_main};
pub use helper::{HELPER_ARGUMENT, helper_main};
pub use local::LocalBackend;
pub use probe::{Probe, probe, probe_with};
pub use process::ProcessBackend;
pub use python::{Python, find_python};

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::store::{Objects, Tree};

/// What a sandbox may use.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Memory of all its processes together, in bytes.
    pub memory: u64,
    /// Processes and threads alive at once.
    pub processes: u32,
    /// Bytes that the workspace and `/tmp` may hold, each.
    pub disk: u64,
    /// Files and directories that the workspace and `/tmp` may hold, each.
    pub files: u64,
    /// Open files of one process.
    pub open_files: u64,
    /// CPU seconds of one command.
    pub cpu_seconds: u64,
    /// Bytes kept of a command's output; of a longer one the end is kept.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory: 1 << 30,
            processes: 128,
            disk: 256 << 20,
            files: 20_000,
            open_files: 1024,
            cpu_seconds: 120,
            output: 200_000,
        }
    }
}

/// A command to run in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program (absolute, or looked up in `PATH`) and arguments. `["sh", "-c", text]` for a shell line.
    pub argv: Vec<String>,
    /// Working directory, absolute inside the sandbox; the workspace when `None`.
    pub workdir: Option<String>,
    /// Variables on top of the sandbox's own small environment.
    pub env: Vec<(String, String)>,
    /// What it reads from standard input.
    pub stdin: Vec<u8>,
    /// Wall time in milliseconds, after which its process tree is killed.
    pub timeout_ms: u64,
    /// Whether descriptor 3 is a pipe whose bytes come back in [`Outcome::report`]: how a checker
    /// gives its verdict where nothing in the workspace can reach it.
    pub report: bool,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed because it ran past its wall time.
    TimedOut,
    /// Killed because it ran past the memory limit.
    OutOfMemory,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// Standard output and standard error as they came, the last [`Limits::output`] bytes.
    pub output: Vec<u8>,
    /// Bytes of output that were dropped from the front.
    pub dropped: u64,
    /// What it wrote to descriptor 3 (at most 1 MiB), when [`Command::report`] was set.
    pub report: Vec<u8>,
}

/// Why a sandbox could not do what it was asked: the infrastructure's fault, never the agent's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SandboxError {
    /// The machine lacks something; the text says what, and what to do about it.
    #[error("{what}\n  help: {help}")]
    Unavailable {
        /// What is missing.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// It broke while it was in use.
    #[error("the sandbox broke: {0}")]
    Broken(String),
    /// The workspace could not be put in or taken out.
    #[error("the workspace {0}")]
    Workspace(String),
}

/// Why a file operation inside the sandbox failed: the agent's to see, with the system's words.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// As the system says it, e.g. `ENOENT: no such file or directory`.
    #[error("{code}: {message}")]
    System {
        /// The name of the error, such as `ENOENT`.
        code: String,
        /// Its text in lower case, such as `no such file or directory`.
        message: String,
    },
    /// The sandbox itself broke.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Where the workspace stands inside every sandbox.
pub const WORKSPACE: &str = "/workspace";

/// A backend opens sandboxes.
pub trait Backend: Send + Sync {
    /// Its name, as in `sandbox("process")`.
    fn name(&self) -> &'static str;

    /// The same backend with sandboxes made from `image`; `None` where sandboxes have no image.
    fn of_image(&self, image: &str) -> Option<Result<Arc<dyn Backend>, SandboxError>> {
        let _ = image;
        None
    }

    /// Opens a sandbox whose workspace (at [`WORKSPACE`], writable) holds the tree `workspace`.
    fn open<'a>(
        &'a self,
        workspace: &'a Tree,
        objects: &'a dyn Objects,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>>;
}

/// One open sandbox. Dropping it kills everything in it.
pub trait Sandbox: Send {
    /// Runs a command to its end.
    fn exec<'a>(
        &'a mut self,
        command: &'a Command,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        self.exec_until(command, Box::pin(futures::future::pending()))
    }

    /// Runs a command to its end, or until `enough` is ready: its process tree is killed then, and it
    /// ends by signal 9.
    fn exec_until<'a>(
        &'a mut self,
        command: &'a Command,
        enough: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>>;

    /// Listens inside, on 127.0.0.1: what commands connect to there is accepted by the program,
    /// outside. So they reach the one thing that is offered to them and no network. A sandbox with
    /// a network of its own listens on `port`; one that shares the machine's takes any port.
    fn listen(&mut self, port: u16) -> BoxFuture<'_, Result<std::net::TcpListener, SandboxError>> {
        let _ = port;
        Box::pin(std::future::ready(Err(SandboxError::Unavailable {
            what: "commands in this kind of sandbox cannot be listened to".to_string(),
            help: "use `sandbox(\"process\")`".to_string(),
        })))
    }

    /// The commands that go on while others run; `None` from a backend that has no such thing.
    fn background(&mut self) -> Option<&mut dyn Background> {
        None
    }

    /// The bytes of a file; `path` is absolute, or relative to the workspace. At most `limit` bytes.
    fn read<'a>(
        &'a mut self,
        path: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>>;

    /// Writes a file, making the folders above it.
    fn write<'a>(
        &'a mut self,
        path: &'a str,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>>;

    /// Kills every process in it, then keeps the workspace's files in `objects` and says its tree.
    /// Only regular files, directories and links that stay inside come back.
    fn close<'a>(
        self: Box<Self>,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>>;

    /// The same where only one regular file is wanted: when it is there, the rest need not be said.
    fn close_for<'a>(
        self: Box<Self>,
        _path: &'a str,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        self.close(objects)
    }
}

/// What is left when a sandbox is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The workspace. Its files are kept; the tree itself is for whoever wants it again.
    pub workspace: Tree,
    /// What was refused, each with its reason: `pipe (a FIFO)`, `out (a link to /etc)`.
    pub refused: Vec<String>,
}
