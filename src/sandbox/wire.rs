//! What the program, the helper and a sandbox's init say to each other.
//!
//! The program and the helper speak in datagrams: [`Setup`] once, then an [`Order`] a sandbox, with
//! the sandbox's end of a socket pair attached. The program and an init speak over that socket in
//! frames, one request and one reply at a time:
//!
//! ```text
//! u32 (little-endian) length of the head | u64 length of the payload | head (JSON) | payload
//! ```
//!
//! The program and the init of a container speak in the same frames, over the container's standard
//! input and output; the first of them is the [`Order`].
//!
//! Heads are small; file contents, input and output travel as payload and are never escaped.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::defence::Without;
use super::{Exit, Limits};

/// Bytes in front of a frame: two lengths.
pub(crate) const PREFIX: usize = 12;
/// No head is longer: 64 MiB is room for a listing of refusals of any workspace.
pub(crate) const MAX_HEAD: usize = 64 << 20;
/// The most that comes back from descriptor 3.
pub(crate) const MAX_REPORT: usize = 1 << 20;

/// What the helper needs to build the root that all sandboxes share.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Directories outside the system's own that are shown too, read-only, under their own paths.
    pub(crate) shown: Vec<PathBuf>,
    /// The value of `PATH` inside.
    pub(crate) path: String,
    /// Defences that a test has taken away.
    pub(crate) without: Without,
}

/// The helper's answer to [`Setup`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Hello {
    /// Orders are welcome.
    Ready,
    /// There will be no sandboxes.
    Failed(Failure),
}

/// A step of building a namespace, a root or a sandbox that the kernel refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// What was being done, e.g. `creating a user namespace`.
    pub(crate) step: String,
    /// The number of the system's error.
    pub(crate) errno: i32,
}

impl Failure {
    /// A failure of `step`.
    pub(crate) fn new(step: impl Into<String>, err: &io::Error) -> Failure {
        Failure { step: step.into(), errno: super::errno::of(err).raw_os_error() }
    }
}

/// A sandbox to make. Attached: its end of the socket, then, if `counted`, the `cgroup.procs` and
/// the out-of-memory counter of its control group.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// What it may use.
    pub(crate) limits: Limits,
    /// Whether a control group holds it to the memory limit; else its init must watch.
    pub(crate) counted: bool,
    /// Variables of every command beside the sandbox's own; those of an image.
    #[serde(default)]
    pub(crate) env: Vec<(String, String)>,
}

/// What the program asks of an init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Put these into the workspace; the payload is the content of the files, one after another.
    Put(Vec<Item>),
    /// All is put: fix the times and say whether everything went well.
    Settle,
    /// Run a command; the payload is its standard input.
    Run(Job),
    /// End the command that runs, if one still does. There is no reply but the command's.
    Stop,
    /// Listen on this port of 127.0.0.1; attached to the reply is the socket.
    Listen { port: u16 },
    /// Start a command that may go on while others run; `timeout_ms` of the job is not used.
    Start { job: Job, wait_ms: u64, timeout_ms: Option<u64>, open_input: bool },
    /// What a started command has printed since the last time; wait so long for its end.
    Hear { number: u32, wait_ms: u64 },
    /// Write the payload to the standard input of a started command.
    Feed { number: u32, close: bool },
    /// Kill a started command.
    Kill { number: u32 },
    /// The first `limit` bytes of a file.
    Read { path: String, limit: u64 },
    /// Write the payload to a file.
    Write { path: String },
    /// Kill every other process and list the workspace.
    Collect,
    /// The contents of these files of the listing, one after another.
    Fetch(Vec<Wanted>),
}

/// A file of the listing, as it was listed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Its path in the workspace.
    pub(crate) path: String,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// One thing of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// A file with `size` bytes of content.
    File { path: String, size: u64, executable: bool },
    /// A symbolic link.
    Link { path: String, target: String },
    /// An empty directory.
    Dir { path: String },
}

/// A command to run; see [`super::Command`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Where it starts.
    pub(crate) workdir: String,
    /// Its variables, on top of the sandbox's own.
    pub(crate) env: Vec<(String, String)>,
    /// Wall time in milliseconds.
    pub(crate) timeout_ms: u64,
    /// Whether descriptor 3 is a pipe.
    pub(crate) report: bool,
}

/// What an init answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The sandbox stands, with its workspace in it; attached is a pidfd of its init. In a container,
    /// whose line carries none, it stands and the workspace is next.
    Ready,
    /// It could not be made.
    Failed(Failure),
    /// Done, and nothing more to say; for a read, the payload is the content.
    Done,
    /// A file operation failed, with the number of the system's error.
    Refused(i32),
    /// The workspace could not be put in.
    Misfit(String),
    /// The command ended; the payload is its output and then its report.
    Ended { exit: Exit, dropped: u64, output: u64, report: u64 },
    /// The started command goes on.
    Runs { number: u32, pid: i32 },
    /// What a started command has printed is the payload.
    Heard { exit: Option<Exit>, dropped: u64, ran_ms: u64 },
    /// What is in the workspace: the payload is the encoded tree.
    Listing { refused: Vec<String> },
    /// It broke.
    Broken(String),
}

/// The bytes in front of a payload of `payload` bytes.
pub(crate) fn head<T: Serialize>(message: &T, payload: u64) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(PREFIX + json.len());
    bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&payload.to_le_bytes());
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// The lengths of head and payload.
pub(crate) fn lengths(prefix: &[u8; PREFIX]) -> io::Result<(usize, u64)> {
    let (head, payload) = prefix.split_at(4);
    let head = u32::from_le_bytes(head.try_into().map_err(io::Error::other)?) as usize;
    let payload = u64::from_le_bytes(payload.try_into().map_err(io::Error::other)?);
    if head > MAX_HEAD {
        return Err(io::Error::other(format!("a message head of {head} bytes")));
    }
    Ok((head, payload))
}

/// Reads a head.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> io::Result<T> {
    serde_json::from_slice(json).map_err(io::Error::other)
}

/// Waits for a frame and reads its head; the payload, whose length is returned, is next in the
/// stream. `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(mut stream: impl Read) -> io::Result<Option<(T, u64)>> {
    let mut prefix = [0; PREFIX];
    match stream.read_exact(&mut prefix) {
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let (head, payload) = lengths(&prefix)?;
    let mut json = vec![0; head];
    stream.read_exact(&mut json)?;
    Ok(Some((parse(&json)?, payload)))
}

/// Sends a frame whose payload is the `parts`, one after another.
pub(crate) fn send<T: Serialize>(
    mut stream: impl Write,
    message: &T,
    parts: &[&[u8]],
) -> io::Result<()> {
    let payload = parts.iter().map(|part| part.len() as u64).sum();
    stream.write_all(&head(message, payload)?)?;
    parts.iter().try_for_each(|part| stream.write_all(part))
}
