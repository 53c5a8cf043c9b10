//! The `local` backend: no isolation at all.
//!
//! Commands run as this user, on this machine, in a temporary directory. It is for machines where
//! nothing better works, behind a flag that says so. It behaves like the others where it can: the
//! same environment, the same output, report, time and file limits, the same way of taking the
//! workspace out. It cannot hide the machine, limit memory together or the number of processes,
//! cut off the network, or find processes that left their command's process group.
//!
//! The workspace is not at `/workspace`: file operations translate that path, and commands start
//! in it, but a command that names `/workspace` itself does not find it.

mod ground;
mod group;
mod keeper;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::future::BoxFuture;
use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags, memfd_create, unlinkat};
use rustix::process::{Pid, Signal, kill_process_group};

use super::command::{self, Surroundings};
use super::talk::job;
use super::wire::Item;
use super::workspace::{self, Filler, items, verify};
use super::{
    Backend, Background, Closed, Command, FileError, Heard, Launched, Limits, Outcome, Patience,
    Sandbox, SandboxError, Unfed, WORKSPACE, confine, files, find_python, spawn,
};
use crate::store::{Digest, Entry, Objects, Tree};
use ground::ground;
use keeper::Keeper;

/// Opens temporary directories. Isolates nothing.
#[derive(Debug, Default)]
pub struct LocalBackend;

impl Backend for LocalBackend {
    fn name(&self) -> &'static str {
        "local"
    }

    fn open<'a>(
        &'a self,
        workspace: &'a Tree,
        objects: &'a dyn Objects,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(async move {
            let sandbox = LocalSandbox::open(workspace, objects, limits)?;
            Ok(Box::new(sandbox) as Box<dyn Sandbox>)
        })
    }
}

struct LocalSandbox {
    /// The home of its commands, with the workspace in it. Removed when dropped.
    base: tempfile::TempDir,
    root: OwnedFd,
    around: Arc<Surroundings>,
    limits: Limits,
    known: BTreeSet<Digest>,
    /// The paths of what was put in.
    put: Vec<String>,
    /// The process groups that its commands left processes behind in.
    groups: Vec<Pid>,
    /// Output that such processes still write to. Dropping it ends the tasks that read it.
    lingering: tokio::task::JoinSet<()>,
    /// Looks after commands that go on while others run, from the first of them on.
    keeper: Option<Keeper>,
}

impl LocalSandbox {
    fn open(
        tree: &Tree,
        objects: &dyn Objects,
        limits: &Limits,
    ) -> Result<LocalSandbox, SandboxError> {
        let unreadable =
            |err: &dyn std::fmt::Display| SandboxError::Workspace(format!("cannot be read: {err}"));
        verify(tree, limits).map_err(SandboxError::Workspace)?;
        let mut sandbox = LocalSandbox::prepare(limits, tree.files().map(|(_, digest)| *digest))
            .map_err(|err| SandboxError::Broken(format!("making its directory: {err}")))?;
        let root = sandbox.root.try_clone().map_err(|err| unreadable(&err))?;
        let mut filler = Filler::new(root);
        for (item, digest) in items(tree) {
            let content = digest.map(|digest| objects.get(&digest)).transpose();
            let content = content.map_err(|err| unreadable(&err))?.unwrap_or_default();
            if let Item::File { path, size, .. } = &item
                && content.len() as u64 != *size
            {
                let what = format!("says that {path} has {size} bytes; it has {}", content.len());
                return Err(SandboxError::Workspace(what));
            }
            filler.put(&item, &mut &content[..]).map_err(SandboxError::Workspace)?;
        }
        filler.settle().map_err(SandboxError::Workspace)?;
        sandbox.put = tree.entries.keys().cloned().collect();
        let runs = |entry: &Entry| matches!(entry, Entry::File { executable: true, .. });
        if tree.entries.values().any(runs) {
            spawn::settle();
        }
        Ok(sandbox)
    }

    fn prepare(limits: &Limits, known: impl Iterator<Item = Digest>) -> io::Result<LocalSandbox> {
        hold_third()?;
        let base = tempfile::Builder::new().prefix(ground::PREFIX).tempdir_in(ground(limits))?;
        std::fs::create_dir(base.path().join("workspace"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(base.path().join("workspace"), flags, Mode::empty())?;
        ground::claim(&root)?;
        let python = find_python().filter(|python| python.prefix.is_some());
        let mut path = "/usr/local/bin:/usr/bin:/bin".to_string();
        if let Some(folder) = python.as_ref().and_then(|python| python.program.parent()) {
            path = format!("{}:{path}", folder.display());
        }
        let text = |text: &str| text.to_string();
        let around = Surroundings {
            env: vec![
                (text("PATH"), path),
                (text("HOME"), base.path().display().to_string()),
                (text("LANG"), text("C.UTF-8")),
                (text("TZ"), text("UTC")),
                (text("TERM"), text("dumb")),
            ],
            rlimits: confine::process_limits(limits, false),
            filter: None,
            output: limits.output,
            counted_apart: false,
            _third: None,
        };
        Ok(LocalSandbox {
            base,
            root,
            around: Arc::new(around),
            limits: limits.clone(),
            known: known.collect(),
            put: Vec::new(),
            groups: Vec::new(),
            lingering: tokio::task::JoinSet::new(),
            keeper: None,
        })
    }

    /// Where a path of the sandbox is on the machine.
    fn placed(&self, path: &str) -> PathBuf {
        let workspace = self.base.path().join("workspace");
        let path = Path::new(path);
        match path.strip_prefix(WORKSPACE) {
            Ok(below) => workspace.join(below),
            Err(_) => workspace.join(path),
        }
    }

    async fn run(
        &mut self,
        command: &Command,
        enough: BoxFuture<'_, ()>,
    ) -> Result<Outcome, SandboxError> {
        let broken = |err: io::Error| SandboxError::Broken(format!("running a command: {err}"));
        let job = job(command);
        let placed = self.placed(&job.workdir);
        let stdin = input(&command.stdin).map_err(broken)?;
        let (ended, left) =
            run::run(&job, &placed, stdin, &self.around, enough).await.map_err(broken)?;
        self.groups.extend(left);
        if let Some(pipe) = ended.lingering
            && let Ok(mut pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe)
        {
            self.lingering.spawn(async move {
                // Read and thrown away until it ends, however it does.
                let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
            });
        }
        let command::Ended { exit, output, dropped, report, .. } = ended;
        Ok(Outcome { exit, output, dropped, report })
    }

    /// Keeps what is in the workspace, or one file of it if it is there and nothing else is wanted.
    fn collect(
        &mut self,
        wanted: Option<&str>,
        objects: &dyn Objects,
    ) -> Result<Closed, SandboxError> {
        self.kill();
        let damaged = |err: io::Error| SandboxError::Workspace(format!("cannot be read: {err}"));
        let unkept = |err| SandboxError::Workspace(format!("cannot be kept: {err}"));
        let mut kept = Ok(());
        let known = &mut self.known;
        // What is short is read once, its digest and its content together.
        let mut take = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            if kept.is_ok() && known.insert(digest) {
                kept = objects.put(&bytes).map(drop);
            }
            digest
        };
        let root = self.root.as_fd();
        let file = wanted.and_then(|path| {
            let entry = workspace::collect_file(root, path, &self.limits, &mut take)?;
            Some(Tree { entries: BTreeMap::from([(path.to_string(), entry)]) })
        });
        let (mut tree, refused) = match file {
            Some(tree) => (tree, Vec::new()),
            None => {
                workspace::collect(root, &self.limits, true, Some(&mut take)).map_err(damaged)?
            }
        };
        kept.map_err(unkept)?;
        for (path, entry) in &mut tree.entries {
            if let Entry::File { digest, size, .. } = entry
                && self.known.insert(*digest)
            {
                let file = workspace::open_file(self.root.as_fd(), path).map_err(damaged)?;
                let mut bytes = Vec::new();
                file.take(self.limits.disk).read_to_end(&mut bytes).map_err(damaged)?;
                // A process that escaped may have changed it since; what is kept is what counts.
                *size = bytes.len() as u64;
                *digest = objects.put(&bytes).map_err(unkept)?;
            }
        }
        if refused.is_empty() {
            self.clear(&tree);
        }
        Ok(Closed { workspace: tree, refused })
    }

    /// Removes what a small workspace mostly consists of, what was put in and what came out; whatever
    /// else there is is looked for when this is dropped.
    fn clear(&self, tree: &Tree) {
        for path in self.put.iter().chain(tree.entries.keys()).filter(|path| !path.contains('/')) {
            let _ = unlinkat(&self.root, path.as_str(), AtFlags::empty());
        }
        let _ = std::fs::remove_dir(self.base.path().join("workspace"));
        let _ = std::fs::remove_dir(self.base.path());
    }

    fn keeper(&mut self) -> Result<&mut Keeper, SandboxError> {
        if self.keeper.is_none() {
            let broken = |err| SandboxError::Broken(format!("starting a thread: {err}"));
            self.keeper = Some(Keeper::new().map_err(broken)?);
        }
        let none = || SandboxError::Broken("nobody looks after commands".to_string());
        self.keeper.as_mut().ok_or_else(none)
    }

    fn kill(&mut self) {
        self.keeper = None;
        for group in self.groups.drain(..) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for LocalSandbox {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a command reads from standard input.
fn input(bytes: &[u8]) -> io::Result<OwnedFd> {
    if bytes.is_empty() {
        return Ok(nothing()?.try_clone()?.into());
    }
    let mut file = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    io::Write::write_all(&mut file, bytes)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

/// `/dev/null`, opened once.
fn nothing() -> io::Result<&'static File> {
    static NOTHING: OnceLock<File> = OnceLock::new();
    match NOTHING.get() {
        Some(nothing) => Ok(nothing),
        None => File::open("/dev/null").map(|file| NOTHING.get_or_init(|| file)),
    }
}

/// Keeps descriptor 3 taken as long as the program runs, see [`Surroundings`].
fn hold_third() -> io::Result<()> {
    /// None until it was tried; what is in it is the descriptor, if it was free.
    static THIRD: Mutex<Option<Option<OwnedFd>>> = Mutex::new(None);
    // Two that try at once could both give it back.
    let mut third = THIRD.lock().unwrap_or_else(PoisonError::into_inner);
    if third.is_none() {
        *third = Some(Surroundings::hold_third()?);
    }
    Ok(())
}

impl Background for LocalSandbox {
    fn start<'a>(
        &'a mut self,
        command: &'a Command,
        patience: &'a Patience,
    ) -> BoxFuture<'a, Result<Launched, SandboxError>> {
        let job = job(command);
        let (placed, around) = (self.placed(&job.workdir), Arc::clone(&self.around));
        Box::pin(async move { self.keeper()?.start(job, placed, around, *patience).await })
    }

    fn listen(&mut self, number: u32, wait_ms: u64) -> BoxFuture<'_, Result<Heard, SandboxError>> {
        Box::pin(async move { self.keeper()?.hear(number, wait_ms).await })
    }

    fn feed<'a>(
        &'a mut self,
        number: u32,
        bytes: &'a [u8],
        close: bool,
    ) -> BoxFuture<'a, Result<Result<(), Unfed>, SandboxError>> {
        Box::pin(async move { self.keeper()?.feed(number, bytes.to_vec(), close).await })
    }

    fn stop(&mut self, number: u32) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async move { self.keeper()?.stop(number).await })
    }
}

impl Sandbox for LocalSandbox {
    fn exec_until<'a>(
        &'a mut self,
        command: &'a Command,
        enough: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        Box::pin(self.run(command, enough))
    }

    fn listen(&mut self, _port: u16) -> BoxFuture<'_, Result<std::net::TcpListener, SandboxError>> {
        // The loopback interface is the machine's: a port of our own choice may be taken.
        let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0));
        let broken = |err| SandboxError::Broken(format!("listening: {err}"));
        Box::pin(std::future::ready(listener.map_err(broken)))
    }

    fn background(&mut self) -> Option<&mut dyn Background> {
        Some(self)
    }

    fn read<'a>(
        &'a mut self,
        path: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>> {
        Box::pin(async move { Ok(files::read(&self.placed(path), limit as u64)?) })
    }

    fn write<'a>(
        &'a mut self,
        path: &'a str,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>> {
        Box::pin(async move {
            files::write(&self.placed(path), &mut &*bytes)?;
            // It may be a program, or be made one.
            spawn::settle();
            Ok(())
        })
    }

    fn close<'a>(
        mut self: Box<Self>,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        Box::pin(async move { self.collect(None, objects) })
    }

    fn close_for<'a>(
        mut self: Box<Self>,
        path: &'a str,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        Box::pin(async move { self.collect(Some(path), objects) })
    }
}
