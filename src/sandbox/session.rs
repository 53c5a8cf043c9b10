//! One sandbox of the `process` backend, as the program sees it: a conversation with its init.
//!
//! The init is trusted to be alive and well only as far as that can be checked: every answer has a
//! time limit, and what it says about the workspace is verified here.

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Signal, pidfd_send_signal};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::cgroup::Cgroup;
use super::launch::Helper;
use super::probe::explain;
use super::wire::{self, Failure, Item, Job, Reply, Request, Wanted};
use super::workspace::{items, verify};
use super::{Closed, Command, FileError, Limits, Outcome, Sandbox, SandboxError, WORKSPACE};
use crate::store::{Digest, Entry, Objects, Tree};

/// How long an init may take for what takes it milliseconds, on a machine that is overloaded.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after a command's time an init may still take to kill and bury its processes.
const GRACE: Duration = Duration::from_secs(20);
/// Bytes of file contents that go into one frame, unless a single file has more.
const BATCH: u64 = 1 << 20;
/// Bytes of a reply that nobody asked to be long.
const MAX_PAYLOAD: u64 = 256 << 20;

/// A sandbox of this backend.
pub(super) struct ProcessSandbox {
    control: UnixStream,
    init: OwnedFd,
    limits: Limits,
    /// Files that were put in, and so need not come back.
    known: BTreeSet<Digest>,
    /// An operation is under way. When it still is as the next one begins, the first was given up
    /// half way, and the two sides no longer understand each other.
    busy: bool,
    cgroup: Option<Cgroup>,
    _helper: Arc<Helper>,
}

impl Drop for ProcessSandbox {
    fn drop(&mut self) {
        // The closed socket would end it too, but a kill cannot be late or refused. When it has
        // ended already there is nothing to kill.
        let _ = pidfd_send_signal(&self.init, Signal::KILL);
    }
}

impl ProcessSandbox {
    /// Waits until the ordered sandbox stands; `tree` is what will be put into it.
    pub(super) async fn begin(
        control: UnixStream,
        limits: Limits,
        tree: &Tree,
        cgroup: Option<Cgroup>,
        helper: Arc<Helper>,
    ) -> Result<ProcessSandbox, SandboxError> {
        let init = within(PATIENCE, receive_ready(&control)).await?;
        let known = tree.files().map(|(_, digest)| *digest).collect();
        let busy = false;
        Ok(ProcessSandbox { control, init, limits, known, busy, cgroup, _helper: helper })
    }

    /// Puts the workspace in.
    pub(super) async fn fill(
        &mut self,
        tree: &Tree,
        objects: &dyn Objects,
    ) -> Result<(), SandboxError> {
        let mut batch = Vec::new();
        let mut contents = Vec::new();
        let mut size = 0;
        for (item, digest) in items(tree) {
            if let (Item::File { path, size: listed, .. }, Some(digest)) = (&item, digest) {
                let content = objects.get(&digest).map_err(|err| {
                    SandboxError::Workspace(format!("cannot be read: {path}: {err}"))
                })?;
                if content.len() as u64 != *listed {
                    let what =
                        format!("says that {path} has {listed} bytes; it has {}", content.len());
                    return Err(SandboxError::Workspace(what));
                }
                size += *listed;
                contents.push(content);
            }
            batch.push(item);
            if size >= BATCH {
                self.put(std::mem::take(&mut batch), &std::mem::take(&mut contents)).await?;
                size = 0;
            }
        }
        if !batch.is_empty() {
            self.put(batch, &contents).await?;
        }
        match self.ask(Request::Settle, &[], PATIENCE).await? {
            (Reply::Done, _) => Ok(()),
            (Reply::Misfit(what), _) => Err(SandboxError::Workspace(what)),
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    async fn put(&mut self, items: Vec<Item>, contents: &[Arc<[u8]>]) -> Result<(), SandboxError> {
        let parts: Vec<&[u8]> = contents.iter().map(AsRef::as_ref).collect();
        let sent = within(PATIENCE, send(&mut self.control, &Request::Put(items), &parts)).await;
        self.explained(sent)
    }

    /// Sends a request and waits for the whole reply.
    async fn ask(
        &mut self,
        request: Request,
        payload: &[u8],
        patience: Duration,
    ) -> Result<(Reply, Vec<u8>), SandboxError> {
        self.take_turn()?;
        let control = &mut self.control;
        let talk = async {
            send(control, &request, &[payload]).await?;
            let (reply, length) = receive::<Reply>(control).await?;
            if length > MAX_PAYLOAD {
                return Err(io::Error::other(format!("a reply of {length} bytes")));
            }
            let mut payload = vec![0; length as usize];
            control.read_exact(&mut payload).await?;
            Ok((reply, payload))
        };
        let answer = within(patience, talk).await;
        self.busy = answer.is_err();
        match self.explained(answer)? {
            (Reply::Broken(what), _) => Err(SandboxError::Broken(what)),
            answer => Ok(answer),
        }
    }

    fn take_turn(&mut self) -> Result<(), SandboxError> {
        if std::mem::replace(&mut self.busy, true) {
            let what = "an earlier operation was given up or failed";
            return Err(SandboxError::Broken(what.to_string()));
        }
        Ok(())
    }

    /// When an init has gone, memory is the likeliest reason.
    fn explained<T>(&self, result: Result<T, SandboxError>) -> Result<T, SandboxError> {
        let Err(SandboxError::Broken(what)) = result else {
            return result;
        };
        let kills = self.cgroup.as_ref().map_or(0, Cgroup::kills);
        let why = match kills {
            0 => what,
            kills => format!(
                "{what}; {kills} of its processes were killed at the memory limit of {} bytes, which \
                 files in the workspace and in /tmp count towards",
                self.limits.memory
            ),
        };
        Err(SandboxError::Broken(why))
    }

    async fn run(&mut self, command: &Command) -> Result<Outcome, SandboxError> {
        let job = Job {
            argv: command.argv.clone(),
            workdir: command.workdir.clone().unwrap_or_else(|| WORKSPACE.to_string()),
            env: command.env.clone(),
            timeout_ms: command.timeout_ms,
            report: command.report,
        };
        let patience = Duration::from_millis(command.timeout_ms).saturating_add(GRACE);
        match self.ask(Request::Run(job), &command.stdin, patience).await? {
            (Reply::Ended { exit, dropped, output, report }, mut payload) => {
                if output.checked_add(report) != Some(payload.len() as u64) {
                    return Err(SandboxError::Broken("an outcome of a wrong length".to_string()));
                }
                let report = payload.split_off(output as usize);
                Ok(Outcome { exit, output: payload, dropped, report })
            }
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    async fn file(&mut self, request: Request, content: &[u8]) -> Result<Vec<u8>, FileError> {
        match self.ask(request, content, PATIENCE).await? {
            (Reply::Done, bytes) => Ok(bytes),
            (Reply::Refused(number), _) => Err(Errno::from_raw_os_error(number).into()),
            (reply, _) => Err(unexpected(&reply).into()),
        }
    }

    /// Takes the workspace out. Nothing that comes from inside is believed: paths, links, sizes
    /// and digests are all checked here.
    async fn collect(&mut self, objects: &dyn Objects) -> Result<Closed, SandboxError> {
        let (refused, bytes) = match self.ask(Request::Collect, &[], PATIENCE).await? {
            (Reply::Listing { refused }, bytes) => (refused, bytes),
            (reply, _) => return Err(unexpected(&reply)),
        };
        let tree = Tree::decode(&bytes)
            .map_err(|err| SandboxError::Workspace(format!("came back damaged: {err}")))?;
        verify(&tree, &self.limits).map_err(SandboxError::Workspace)?;
        let mut wanted = Vec::new();
        let mut digests = Vec::new();
        for (path, entry) in &tree.entries {
            if let Entry::File { digest, size, .. } = entry
                && self.known.insert(*digest)
            {
                wanted.push(Wanted { path: path.clone(), size: *size });
                digests.push((path, *size, *digest));
            }
        }
        if !wanted.is_empty() {
            self.take_turn()?;
            let fetch = self.fetch(wanted, &digests, objects);
            let fetched = tokio::time::timeout(PATIENCE, fetch).await;
            let late = |_| SandboxError::Broken("taking out the files took too long".to_string());
            self.explained(fetched.map_err(late).flatten())?;
            self.busy = false;
        }
        let kept = objects.put_tree(&tree);
        let workspace =
            kept.map_err(|err| SandboxError::Workspace(format!("cannot be kept: {err}")))?;
        Ok(Closed { workspace, refused })
    }

    async fn fetch(
        &mut self,
        wanted: Vec<Wanted>,
        digests: &[(&String, u64, Digest)],
        objects: &dyn Objects,
    ) -> Result<(), SandboxError> {
        let control = &mut self.control;
        let lost = broken("taking out files");
        send(control, &Request::Fetch(wanted), &[]).await.map_err(&lost)?;
        let (reply, length) = receive::<Reply>(control).await.map_err(&lost)?;
        let total: u64 = digests.iter().map(|(_, size, _)| size).sum();
        if !matches!(reply, Reply::Done) || length != total {
            return Err(unexpected(&reply));
        }
        for (path, size, digest) in digests {
            let mut content = vec![0; *size as usize];
            control.read_exact(&mut content).await.map_err(&lost)?;
            let kept = objects
                .put(&content)
                .map_err(|err| SandboxError::Workspace(format!("cannot be kept: {err}")))?;
            if kept != *digest {
                let what = format!("came back with a wrong digest for {path}");
                return Err(SandboxError::Workspace(what));
            }
        }
        Ok(())
    }

    async fn close(mut self, objects: &dyn Objects) -> Result<Closed, SandboxError> {
        let closed = self.collect(objects).await;
        let _ = pidfd_send_signal(&self.init, Signal::KILL);
        // With the init gone, everything in the sandbox is gone and its control group is empty.
        for _ in 0..PATIENCE.as_millis() {
            if has_ended(&self.init) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        closed
    }
}

impl Sandbox for ProcessSandbox {
    fn exec<'a>(
        &'a mut self,
        command: &'a Command,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        Box::pin(self.run(command))
    }

    fn read<'a>(
        &'a mut self,
        path: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>> {
        let limit = (limit as u64).min(MAX_PAYLOAD);
        Box::pin(self.file(Request::Read { path: path.to_string(), limit }, &[]))
    }

    fn write<'a>(
        &'a mut self,
        path: &'a str,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>> {
        Box::pin(async move {
            self.file(Request::Write { path: path.to_string() }, bytes).await.map(|_| ())
        })
    }

    fn close<'a>(
        self: Box<Self>,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        Box::pin((*self).close(objects))
    }
}

/// Whether the process of a pidfd has ended.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let at_once = rustix::event::Timespec::default();
    !matches!(poll(&mut polled, Some(&at_once)), Ok(0))
}

/// Waits for the first word of an init: that its sandbox stands, and the pidfd.
async fn receive_ready(control: &UnixStream) -> io::Result<OwnedFd> {
    let mut bytes = vec![0; 4096];
    let mut pidfd = None;
    let read = control.async_io(Interest::READABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(control, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                pidfd = fds.last().or(pidfd.take());
            }
        }
        Ok(received.bytes)
    });
    let length = read.await?;
    let words = &bytes[..length];
    let Some((prefix, json)) = words.split_first_chunk::<{ wire::PREFIX }>() else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    wire::lengths(prefix)?;
    match (wire::parse(json)?, pidfd) {
        (Reply::Ready, Some(pidfd)) => Ok(pidfd),
        (Reply::Failed(failure), _) => Err(io::Error::other(Refusal(failure))),
        _ => Err(io::Error::other("an init without a pidfd")),
    }
}

/// A failure to build a sandbox on its way through an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.step)]
struct Refusal(Failure);

async fn send<T: Serialize>(
    control: &mut UnixStream,
    message: &T,
    parts: &[&[u8]],
) -> io::Result<()> {
    let payload = parts.iter().map(|part| part.len() as u64).sum();
    control.write_all(&wire::head(message, payload)?).await?;
    for part in parts {
        control.write_all(part).await?;
    }
    Ok(())
}

async fn receive<T: serde::de::DeserializeOwned>(control: &mut UnixStream) -> io::Result<(T, u64)> {
    let mut prefix = [0; wire::PREFIX];
    control.read_exact(&mut prefix).await?;
    let (head, payload) = wire::lengths(&prefix)?;
    let mut json = vec![0; head];
    control.read_exact(&mut json).await?;
    Ok((wire::parse(&json)?, payload))
}

/// Gives up after a while, and turns I/O errors into the sandbox's.
async fn within<T>(
    patience: Duration,
    talk: impl Future<Output = io::Result<T>>,
) -> Result<T, SandboxError> {
    match tokio::time::timeout(patience, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(err)) => Err(match err.downcast::<Refusal>() {
            Ok(Refusal(failure)) => explain(&failure),
            Err(err) => broken("talking to its init")(err),
        }),
        Err(_) => {
            let seconds = patience.as_secs();
            Err(SandboxError::Broken(format!("its init did not answer within {seconds} s")))
        }
    }
}

pub(super) fn broken(doing: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |err| {
        let gone = matches!(
            err.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
        );
        let why = if gone { "it has ended".to_string() } else { err.to_string() };
        SandboxError::Broken(format!("{doing}: {why}"))
    }
}

fn unexpected(reply: &Reply) -> SandboxError {
    SandboxError::Broken(format!("an unexpected reply: {reply:?}"))
}
