//! One command of a `local` sandbox, from its start to its end.
//!
//! No thread waits for it: the runtime is told by the kernel when it has ended or printed something.
//! For a short command, waking a thread that waits would cost more than all else around it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::super::Exit;
use super::super::command::{self, Ended, Heard, Streams, Surroundings};
use super::super::wire::Job;
use super::group::Group;

/// Runs a command to its end, which comes by signal 9 when it has been enough or when this is
/// dropped. Says its process group too, if it left anybody in it.
///
/// # Errors
/// When the machinery fails.
pub(super) async fn run(
    job: &Job,
    workdir: &Path,
    stdin: OwnedFd,
    around: &Surroundings,
    mut enough: BoxFuture<'_, ()>,
) -> io::Result<(Ended, Option<Pid>)> {
    let begun = match command::begin(job, workdir, stdin, around, 0)? {
        Ok(begun) => begun,
        Err(ended) => return Ok((ended, None)),
    };
    let mut group = Group::of(begun.main)?;
    let mut heard = Heard::of(around.output);
    // A copy: the group keeps its own.
    let end = told(group.events().try_clone_to_owned()?)?;
    let mut output = Some(told(begun.output)?);
    let mut report = begun.report.map(told).transpose()?;
    let mut deadline = std::pin::pin!(tokio::time::sleep(Duration::from_millis(job.timeout_ms)));
    let mut killed = None;
    let status = loop {
        tokio::select! {
            biased;
            ready = end.readable() => {
                let mut ready = ready?;
                match group.ended() {
                    Some(status) => break status,
                    None => ready.clear_ready(),
                }
            }
            () = &mut enough, if killed.is_none() => {
                killed = Some(Exit::Signal(Signal::KILL.as_raw()));
                group.kill();
            }
            () = &mut deadline, if killed.is_none() => {
                killed = Some(Exit::TimedOut);
                group.kill();
            }
            ready = readable(&output) => {
                let ready = ready?;
                let count = heard.output(ready.get_inner())?;
                if is_over(ready, count) {
                    output = None;
                }
            }
            ready = readable(&report) => {
                let ready = ready?;
                let count = heard.report(ready.get_inner())?;
                if is_over(ready, count) {
                    report = None;
                }
            }
        }
    };
    let [output, report] = [output, report].map(|pipe| pipe.map(AsyncFd::into_inner));
    let exit = killed.unwrap_or_else(|| command::natural(status, false));
    let left = group.left_behind();
    match (Streams { output, report, heard }).end(exit) {
        Ok(ended) => Ok((ended, left)),
        Err(err) => {
            if let Some(left) = left {
                let _ = kill_process_group(left, Signal::KILL);
            }
            Err(err)
        }
    }
}

/// Has the runtime told when there is something to read.
#[expect(unsafe_code, reason = "the runtime trusts what it is given to be one open descriptor")]
fn told(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open, and the same, as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Waits until a pipe has something; for ever where there is none.
async fn readable(pipe: &Option<AsyncFd<OwnedFd>>) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
    match pipe {
        Some(pipe) => pipe.readable().await,
        None => std::future::pending().await,
    }
}

/// Whether a pipe from which so much was read is over.
fn is_over(mut ready: AsyncFdReadyGuard<'_, OwnedFd>, count: Option<usize>) -> bool {
    if count.is_none() {
        ready.clear_ready();
    }
    count == Some(0)
}
