//! Commands that go on while others run: what a backend can do with them.
//!
//! A command is started with some patience. When it ends within that, its outcome is known at once,
//! as after [`Sandbox::exec`](super::Sandbox::exec); else it goes on by itself, and is listened to,
//! written to and stopped later. It belongs to its sandbox and dies with it.

use futures::future::BoxFuture;
use rustix::io::Errno;

use super::{Command, Exit, Outcome, SandboxError};

/// How a command is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Milliseconds that the starter waits for its end; with 0 the command goes on in any case.
    pub wait_ms: u64,
    /// Milliseconds after which it is killed, whether anybody still waits or not. `None` lets it run
    /// for as long as its sandbox is open.
    pub timeout_ms: Option<u64>,
    /// Whether its standard input stays open, for [`Background::feed`]. [`Command::stdin`] is not
    /// used.
    pub open_input: bool,
}

/// What had become of a command when its starter stopped waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launched {
    /// It ended.
    Ended(Outcome),
    /// It goes on.
    Runs {
        /// What it is called from now on.
        number: u32,
        /// The number of its main process, as commands in the sandbox see it.
        pid: i32,
    },
}

/// What a command has said since it was last listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Standard output and standard error as they came, the last
    /// [`Limits::output`](super::Limits::output) bytes.
    pub output: Vec<u8>,
    /// Bytes that were dropped from the front of it.
    pub dropped: u64,
    /// Milliseconds that it has been running, or ran.
    pub ran_ms: u64,
    /// How it ended. There is nothing more to hear then.
    pub exit: Option<Exit>,
}

/// Why input did not reach a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfed {
    /// Its standard input is not open.
    Closed,
    /// Nobody reads at the other end.
    Broken,
    /// It does not read, and as much as can wait for it is waiting.
    Full,
}

impl From<Errno> for Unfed {
    fn from(errno: Errno) -> Unfed {
        match errno {
            Errno::AGAIN => Unfed::Full,
            Errno::PIPE => Unfed::Broken,
            _ => Unfed::Closed,
        }
    }
}

/// The commands of one sandbox that go on while others run.
pub trait Background: Send {
    /// Starts a command.
    fn start<'a>(
        &'a mut self,
        command: &'a Command,
        patience: &'a Patience,
    ) -> BoxFuture<'a, Result<Launched, SandboxError>>;

    /// What the command has said since it was last asked; waits `wait_ms` milliseconds for its end.
    fn listen(&mut self, number: u32, wait_ms: u64) -> BoxFuture<'_, Result<Heard, SandboxError>>;

    /// Writes to its standard input, and closes it after that when `close` is set.
    fn feed<'a>(
        &'a mut self,
        number: u32,
        bytes: &'a [u8],
        close: bool,
    ) -> BoxFuture<'a, Result<Result<(), Unfed>, SandboxError>>;

    /// Kills it and what came from it.
    fn stop(&mut self, number: u32) -> BoxFuture<'_, Result<(), SandboxError>>;
}
