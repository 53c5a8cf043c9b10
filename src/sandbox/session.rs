//! One sandbox of the `process` backend, as the program sees it: the conversation with its init, and
//! the means to kill it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use futures::future::BoxFuture;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::Cgroup;
use super::control::Control;
use super::launch::Helper;
use super::talk::{PATIENCE, Talk};
use super::{Background, Closed, Command, FileError, Limits, Outcome, Sandbox, SandboxError};
use crate::store::{Objects, Tree};

/// A sandbox of this backend.
pub(super) struct ProcessSandbox {
    talk: Talk,
    init: OwnedFd,
    memory: u64,
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
    /// Waits until the ordered sandbox stands, with `tree` in it.
    pub(super) async fn begin(
        control: Control,
        limits: Limits,
        tree: &Tree,
        objects: &dyn Objects,
        mut cgroup: Option<Cgroup>,
        helper: Arc<Helper>,
    ) -> Result<ProcessSandbox, SandboxError> {
        let memory = limits.memory;
        let mut talk = Talk::new(Box::new(control), limits, tree);
        // The workspace waits in the socket until the sandbox stands: one wait instead of two. When
        // there will be none, sending it fails; why is what the init has said.
        let stands = match talk.send_workspace(tree, objects).await {
            Err(err @ SandboxError::Workspace(_)) => Err(err),
            Err(lost) => talk.stands().await.and(Err(lost)),
            Ok(()) => talk.stands().await,
        };
        let init = stands.map_err(|err| why(err, cgroup.as_ref(), memory))?;
        if let Some(cgroup) = &mut cgroup {
            cgroup.entered = true;
        }
        Ok(ProcessSandbox { talk, init, memory, cgroup, _helper: helper })
    }

    /// When an init has gone, memory is the likeliest reason.
    fn explained<T>(&self, result: Result<T, SandboxError>) -> Result<T, SandboxError> {
        result.map_err(|err| self.why(err))
    }

    fn explained_file<T>(&self, result: Result<T, FileError>) -> Result<T, FileError> {
        result.map_err(|err| match err {
            FileError::Sandbox(err) => FileError::Sandbox(self.why(err)),
            err => err,
        })
    }

    fn why(&self, err: SandboxError) -> SandboxError {
        why(err, self.cgroup.as_ref(), self.memory)
    }

    async fn close(mut self, objects: &dyn Objects) -> Result<Closed, SandboxError> {
        let closed = self.talk.collect(objects).await;
        let closed = self.explained(closed);
        let _ = pidfd_send_signal(&self.init, Signal::KILL);
        // With the init gone, everything in the sandbox is gone and its control group is empty.
        // When it takes too long, that is removed later.
        let _ = tokio::time::timeout(PATIENCE, end_of(&self.init)).await;
        closed
    }
}

impl Sandbox for ProcessSandbox {
    fn exec_until<'a>(
        &'a mut self,
        command: &'a Command,
        enough: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        Box::pin(async move {
            let ended = self.talk.run(command, enough).await;
            self.explained(ended)
        })
    }

    fn listen(&mut self, port: u16) -> BoxFuture<'_, Result<std::net::TcpListener, SandboxError>> {
        Box::pin(async move {
            let listening = self.talk.listen(port, None).await;
            self.explained(listening)
        })
    }

    fn background(&mut self) -> Option<&mut dyn Background> {
        Some(&mut self.talk)
    }

    fn read<'a>(
        &'a mut self,
        path: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>> {
        Box::pin(async move {
            let read = self.talk.read(path, limit).await;
            self.explained_file(read)
        })
    }

    fn write<'a>(
        &'a mut self,
        path: &'a str,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>> {
        Box::pin(async move {
            let written = self.talk.write(path, bytes).await;
            self.explained_file(written)
        })
    }

    fn close<'a>(
        self: Box<Self>,
        objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        Box::pin((*self).close(objects))
    }
}

/// What broke, and that memory did it where it did.
fn why(err: SandboxError, cgroup: Option<&Cgroup>, memory: u64) -> SandboxError {
    let kills = cgroup.map_or(0, Cgroup::kills);
    match err {
        SandboxError::Broken(what) if kills > 0 => SandboxError::Broken(format!(
            "{what}; {kills} of its processes were killed at the memory limit of {memory} bytes, \
             which files in the workspace and in /tmp count towards"
        )),
        err => err,
    }
}

/// Waits until the process of a pidfd has ended.
#[expect(unsafe_code, reason = "tokio takes the word of the caller that a descriptor stays open")]
async fn end_of(pidfd: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for as long as the registration lives.
    let registered = unsafe { AsyncFd::register_with_interest(pidfd.as_fd(), Interest::READABLE) };
    registered?.readable().await.map(|_| ())
}
