//! One sandbox of the `process` backend, as the program sees it: the conversation with its init, and
//! the means to kill it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use futures::future::BoxFuture;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use super::cgroup::Cgroup;
use super::launch::Helper;
use super::talk::{Line, PATIENCE, Talk};
use super::wire::{self, Reply};
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
        control: UnixStream,
        limits: Limits,
        tree: &Tree,
        objects: &dyn Objects,
        cgroup: Option<Cgroup>,
        helper: Arc<Helper>,
    ) -> Result<ProcessSandbox, SandboxError> {
        let memory = limits.memory;
        let mut talk = Talk::new(Box::new(control), limits, tree);
        // The workspace waits in the socket until the sandbox stands: one wait instead of two. When
        // there will be none, sending it fails; why is what the init has said.
        let sent = talk.send_workspace(tree, objects).await;
        let init = talk.stands().await?;
        let mut sandbox = ProcessSandbox { talk, init, memory, cgroup, _helper: helper };
        let filled = match sent {
            Ok(()) => sandbox.talk.settled().await,
            Err(err) => Err(err),
        };
        sandbox.explained(filled)?;
        Ok(sandbox)
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
        let kills = self.cgroup.as_ref().map_or(0, Cgroup::kills);
        match err {
            SandboxError::Broken(what) if kills > 0 => SandboxError::Broken(format!(
                "{what}; {kills} of its processes were killed at the memory limit of {} bytes, \
                 which files in the workspace and in /tmp count towards",
                self.memory
            )),
            err => err,
        }
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

/// Waits until the process of a pidfd has ended.
#[expect(unsafe_code, reason = "tokio takes the word of the caller that a descriptor stays open")]
async fn end_of(pidfd: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for as long as the registration lives.
    let registered = unsafe { AsyncFd::register_with_interest(pidfd.as_fd(), Interest::READABLE) };
    registered?.readable().await.map(|_| ())
}

impl Line for UnixStream {
    fn receive_with(&mut self) -> BoxFuture<'_, io::Result<(Reply, Option<OwnedFd>)>> {
        Box::pin(receive_with(self))
    }
}

/// Waits for a reply without a payload, and takes the descriptor that is attached to it.
pub(super) async fn receive_with(control: &UnixStream) -> io::Result<(Reply, Option<OwnedFd>)> {
    let mut bytes = vec![0; 4096];
    let mut attached = None;
    let read = control.async_io(Interest::READABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(control, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                attached = fds.last().or(attached.take());
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
    Ok((wire::parse(json)?, attached))
}
