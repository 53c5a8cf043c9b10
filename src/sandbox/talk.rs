//! The conversation with the init of a sandbox, whatever line it goes over.
//!
//! The init is trusted to be alive and well only as far as that can be checked: every answer has a
//! time limit, and what it says about the workspace is verified here.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::control::{receive_with, word};
use super::probe::explain;
use super::wire::{self, Failure, Item, Job, Reply, Request, Wanted};
use super::workspace::{items, verify};
use super::{
    Background, Closed, Command, FileError, Heard, Launched, Limits, Outcome, Patience,
    SandboxError, Unfed, WORKSPACE,
};
use crate::store::{Digest, Entry, Objects, Tree};

/// How long an init may take for what takes it milliseconds, on a machine that is overloaded.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long after a command's time an init may still take to kill and bury its processes.
const GRACE: Duration = Duration::from_secs(20);
/// Bytes of file contents that go into one frame, unless a single file has more.
const BATCH: u64 = 1 << 20;
/// Bytes of a reply that nobody asked to be long.
const MAX_PAYLOAD: u64 = 256 << 20;

/// What the two sides speak over.
pub(super) trait Line: AsyncRead + AsyncWrite + Send + Unpin {
    /// Waits for a reply without a payload, and takes the descriptor that is attached to it, where
    /// the line can carry one.
    fn receive_with(&mut self) -> BoxFuture<'_, io::Result<(Reply, Option<OwnedFd>)>>;
}

/// A conversation: one request and one reply at a time.
pub(super) struct Talk {
    control: Box<dyn Line>,
    limits: Limits,
    /// Files that were put in, and so need not come back.
    known: BTreeSet<Digest>,
    /// An operation is under way. When it still is as the next one begins, the first was given up
    /// half way, and the two sides no longer understand each other.
    busy: bool,
}

impl Talk {
    /// With the init of a sandbox that will get `tree` as its workspace.
    pub(super) fn new(control: Box<dyn Line>, limits: Limits, tree: &Tree) -> Talk {
        let known = tree.files().map(|(_, digest)| *digest).collect();
        Talk { control, limits, known, busy: false }
    }

    /// The first word over a line that carries no descriptors: what to build, and that it stands.
    pub(super) async fn order(&mut self, order: &wire::Order) -> Result<(), SandboxError> {
        let control = &mut self.control;
        let talk = async {
            send(control, order, &[]).await?;
            match receive::<Reply>(control).await?.0 {
                Reply::Ready => Ok(()),
                Reply::Failed(failure) => Err(io::Error::other(Refusal(failure))),
                reply => Err(io::Error::other(format!("an unexpected reply: {reply:?}"))),
            }
        };
        within(PATIENCE, talk).await
    }

    /// Waits for the first word over a line that carries descriptors: that the sandbox stands with
    /// the workspace that was sent in it, and the means to kill it.
    pub(super) async fn stands(&mut self) -> Result<OwnedFd, SandboxError> {
        let first = async {
            match self.control.receive_with().await? {
                (Reply::Failed(failure), _) => Err(io::Error::other(Refusal(failure))),
                word => Ok(word),
            }
        };
        match within(PATIENCE, first).await? {
            (Reply::Ready, Some(pidfd)) => {
                self.busy = false;
                Ok(pidfd)
            }
            (Reply::Misfit(what), _) => Err(SandboxError::Workspace(what)),
            (Reply::Broken(what), _) => Err(SandboxError::Broken(what)),
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    /// Puts the workspace in.
    pub(super) async fn fill(
        &mut self,
        tree: &Tree,
        objects: &dyn Objects,
    ) -> Result<(), SandboxError> {
        self.send_workspace(tree, objects).await?;
        self.settled().await
    }

    /// Sends the workspace, without waiting for an answer: an init may still be building when it
    /// comes. [`Talk::settled`] is next, or [`Talk::stands`].
    pub(super) async fn send_workspace(
        &mut self,
        tree: &Tree,
        objects: &dyn Objects,
    ) -> Result<(), SandboxError> {
        self.take_turn()?;
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
        within(PATIENCE, send(&mut self.control, &Request::Settle, &[])).await
    }

    /// Waits until the workspace that was sent is in.
    async fn settled(&mut self) -> Result<(), SandboxError> {
        let (reply, _) = within(PATIENCE, receive::<Reply>(&mut self.control)).await?;
        self.busy = false;
        match reply {
            Reply::Done => Ok(()),
            Reply::Misfit(what) => Err(SandboxError::Workspace(what)),
            Reply::Broken(what) => Err(SandboxError::Broken(what)),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn put(&mut self, items: Vec<Item>, contents: &[Arc<[u8]>]) -> Result<(), SandboxError> {
        let parts: Vec<&[u8]> = contents.iter().map(AsRef::as_ref).collect();
        within(PATIENCE, send(&mut self.control, &Request::Put(items), &parts)).await
    }

    /// Sends a request and waits for the whole reply.
    async fn ask(
        &mut self,
        request: Request,
        payload: &[u8],
        patience: Duration,
    ) -> Result<(Reply, Vec<u8>), SandboxError> {
        self.ask_until(request, payload, patience, Box::pin(futures::future::pending())).await
    }

    /// The same; when `enough` is ready before the reply, the init is asked to stop.
    async fn ask_until(
        &mut self,
        request: Request,
        payload: &[u8],
        patience: Duration,
        enough: BoxFuture<'_, ()>,
    ) -> Result<(Reply, Vec<u8>), SandboxError> {
        self.take_turn()?;
        let (mut from, mut to) = tokio::io::split(&mut self.control);
        let talk = async {
            send(&mut to, &request, &[payload]).await?;
            let reply = async {
                let (reply, length) = receive::<Reply>(&mut from).await?;
                if length > MAX_PAYLOAD {
                    return Err(io::Error::other(format!("a reply of {length} bytes")));
                }
                let mut payload = vec![0; length as usize];
                from.read_exact(&mut payload).await?;
                Ok((reply, payload))
            };
            tokio::pin!(reply);
            tokio::select! {
                biased;
                reply = &mut reply => return reply,
                () = enough => {}
            }
            send(&mut to, &Request::Stop, &[]).await?;
            reply.await
        };
        let answer = within(patience, talk).await;
        self.busy = answer.is_err();
        match answer? {
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

    /// Has the init listen on a port inside, and takes the socket: from the line, or from `hand`
    /// where the line carries no descriptors.
    pub(super) async fn listen(
        &mut self,
        port: u16,
        hand: Option<&UnixStream>,
    ) -> Result<std::net::TcpListener, SandboxError> {
        self.take_turn()?;
        let control = &mut self.control;
        let talk = async {
            send(control, &Request::Listen { port }, &[]).await?;
            let Some(hand) = hand else {
                return control.receive_with().await;
            };
            match receive::<Reply>(control).await?.0 {
                Reply::Done => {
                    let come = hand.async_io(Interest::READABLE, || receive_with(hand)).await;
                    come.and_then(word)
                }
                reply => Ok((reply, None)),
            }
        };
        let answer = within(PATIENCE, talk).await;
        self.busy = answer.is_err();
        match answer? {
            (Reply::Done, Some(socket)) => Ok(socket.into()),
            (Reply::Refused(number), _) => {
                let why = io::Error::from_raw_os_error(number);
                Err(SandboxError::Broken(format!("listening on port {port} inside: {why}")))
            }
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    /// Runs a command to its end, or until `enough` is ready.
    pub(super) async fn run(
        &mut self,
        command: &Command,
        enough: BoxFuture<'_, ()>,
    ) -> Result<Outcome, SandboxError> {
        let patience = Duration::from_millis(command.timeout_ms).saturating_add(GRACE);
        let run = Request::Run(job(command));
        outcome(self.ask_until(run, &command.stdin, patience, enough).await?)
    }

    async fn launch(
        &mut self,
        command: &Command,
        patience: &Patience,
    ) -> Result<Launched, SandboxError> {
        let request = Request::Start {
            job: job(command),
            wait_ms: patience.wait_ms,
            timeout_ms: patience.timeout_ms,
            open_input: patience.open_input,
        };
        let wait = Duration::from_millis(patience.wait_ms).saturating_add(GRACE);
        match self.ask(request, &[], wait).await? {
            (Reply::Runs { number, pid }, _) => Ok(Launched::Runs { number, pid }),
            answer => outcome(answer).map(Launched::Ended),
        }
    }

    async fn hear(&mut self, number: u32, wait_ms: u64) -> Result<Heard, SandboxError> {
        let wait = Duration::from_millis(wait_ms).saturating_add(GRACE);
        match self.ask(Request::Hear { number, wait_ms }, &[], wait).await? {
            (Reply::Heard { exit, dropped, ran_ms }, output) => {
                Ok(Heard { output, dropped, ran_ms, exit })
            }
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    async fn give(
        &mut self,
        number: u32,
        bytes: &[u8],
        close: bool,
    ) -> Result<Result<(), Unfed>, SandboxError> {
        match self.ask(Request::Feed { number, close }, bytes, PATIENCE).await? {
            (Reply::Done, _) => Ok(Ok(())),
            (Reply::Refused(number), _) => Ok(Err(Errno::from_raw_os_error(number).into())),
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    /// The first `limit` bytes of a file.
    pub(super) async fn read(&mut self, path: &str, limit: usize) -> Result<Vec<u8>, FileError> {
        let limit = (limit as u64).min(MAX_PAYLOAD);
        self.file(Request::Read { path: path.to_string(), limit }, &[]).await
    }

    /// Writes a file.
    pub(super) async fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.file(Request::Write { path: path.to_string() }, bytes).await.map(|_| ())
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
    pub(super) async fn collect(&mut self, objects: &dyn Objects) -> Result<Closed, SandboxError> {
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
            fetched.map_err(late).flatten()?;
            self.busy = false;
        }
        Ok(Closed { workspace: tree, refused })
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
}

impl Background for Talk {
    fn start<'a>(
        &'a mut self,
        command: &'a Command,
        patience: &'a Patience,
    ) -> BoxFuture<'a, Result<Launched, SandboxError>> {
        Box::pin(self.launch(command, patience))
    }

    fn listen(&mut self, number: u32, wait_ms: u64) -> BoxFuture<'_, Result<Heard, SandboxError>> {
        Box::pin(self.hear(number, wait_ms))
    }

    fn feed<'a>(
        &'a mut self,
        number: u32,
        bytes: &'a [u8],
        close: bool,
    ) -> BoxFuture<'a, Result<Result<(), Unfed>, SandboxError>> {
        Box::pin(self.give(number, bytes, close))
    }

    fn stop(&mut self, number: u32) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async move {
            match self.ask(Request::Kill { number }, &[], PATIENCE).await? {
                (Reply::Done, _) => Ok(()),
                (reply, _) => Err(unexpected(&reply)),
            }
        })
    }
}

/// The command as an init is told of it.
pub(super) fn job(command: &Command) -> Job {
    Job {
        argv: command.argv.clone(),
        workdir: command.workdir.clone().unwrap_or_else(|| WORKSPACE.to_string()),
        env: command.env.clone(),
        timeout_ms: command.timeout_ms,
        report: command.report,
    }
}

/// The outcome that a reply tells of.
fn outcome((reply, mut payload): (Reply, Vec<u8>)) -> Result<Outcome, SandboxError> {
    let Reply::Ended { exit, dropped, output, report } = reply else {
        return Err(unexpected(&reply));
    };
    if output.checked_add(report) != Some(payload.len() as u64) {
        return Err(SandboxError::Broken("an outcome of a wrong length".to_string()));
    }
    let report = payload.split_off(output as usize);
    Ok(Outcome { exit, output: payload, dropped, report })
}

/// A failure to build a sandbox on its way through an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.step)]
struct Refusal(Failure);

async fn send<T: Serialize>(
    control: &mut (impl AsyncWrite + Unpin + ?Sized),
    message: &T,
    parts: &[&[u8]],
) -> io::Result<()> {
    let payload = parts.iter().map(|part| part.len() as u64).sum();
    control.write_all(&wire::head(message, payload)?).await?;
    for part in parts {
        control.write_all(part).await?;
    }
    control.flush().await
}

async fn receive<T: DeserializeOwned>(
    control: &mut (impl AsyncRead + Unpin + ?Sized),
) -> io::Result<(T, u64)> {
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
