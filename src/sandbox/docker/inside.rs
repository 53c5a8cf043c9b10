//! The init of a container: this program as the first process inside.
//!
//! The engine has built the world already: own namespaces, a read-only root, no network, no
//! capabilities, limits. What is left is what the init of a `process` sandbox does as well: the
//! same filters of system calls, and the same answers to the same requests, here over the
//! container's standard input and output. When the program closes them, or dies, this process
//! ends, and the kernel kills everything in the container.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::fs::Mode;
use rustix::process::umask;

use super::super::command::Surroundings;
use super::super::confine::{self, Filters};
use super::super::defence::Without;
use super::super::init::{HOME, Init, Line, Senses};
use super::super::wire::{self, Failure, Order, Reply};
use super::super::{kernel, landlock};
use super::hand;

/// The argument that makes the program the init of a container. Not for people.
pub const CONTAINER_ARGUMENT: &str = "__sandbox-init";

/// Where control groups count the kills for memory: in version 1, in version 2.
const COUNTERS: &[&str] =
    &["/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"];
/// The value of `PATH` for an image that says none.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Runs as the init of a container until the other side closes standard input. Must be called
/// before the process has a second thread.
pub fn container_main() -> ! {
    std::process::exit(i32::from(live().is_err()))
}

fn live() -> io::Result<()> {
    kernel::close_inherited(3)?;
    let third = Surroundings::hold_third()?;
    let line = Line {
        input: taken(io::stdin().as_fd())?,
        output: taken(io::stdout().as_fd())?,
        // Where there is none, the program does not ask for what needs it.
        hand: UnixStream::connect(hand::PLACE).ok(),
    };
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    let Some((order, _)) = wire::receive::<Order>(&line.input)? else {
        return Ok(());
    };
    match settle(&order, third) {
        Ok((around, senses)) => {
            wire::send(&line.output, &Reply::Ready, &[])?;
            Init::new(line, order.limits, around, senses).serve()
        }
        Err(err) => {
            let failure = Failure::new("giving up privileges in a container", &err);
            wire::send(&line.output, &Reply::Failed(failure), &[])
        }
    }
}

fn taken(stream: std::os::fd::BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(stream.try_clone_to_owned()?))
}

/// Gives up what is left to give up.
fn settle(
    order: &Order,
    third: Option<std::os::fd::OwnedFd>,
) -> io::Result<(Surroundings, Senses)> {
    let filters = Filters::compile()?;
    let counter = COUNTERS.iter().find_map(|path| File::open(path).ok());
    std::fs::create_dir(HOME)?;
    umask(Mode::WGRP | Mode::WOTH);
    rustix::thread::set_name(c"init")?;
    let children = kernel::child_events()?;
    confine::give_up_privileges()?;
    landlock::restrict()?;
    filters.install_early()?;
    filters.install_last()?;
    let own = [("HOME", HOME), ("LANG", "C.UTF-8"), ("TZ", "UTC"), ("TERM", "dumb")];
    let mut env = vec![("PATH".to_string(), PATH.to_string())];
    env.extend(order.env.iter().cloned());
    env.extend(own.map(|(name, value)| (name.to_string(), value.to_string())));
    let limits = order.limits.clone();
    let around = Surroundings {
        env,
        rlimits: confine::process_limits(&limits, counter.is_some()),
        filter: counter.is_none().then_some(filters.uncounted),
        output: limits.output,
        counted_apart: true,
        _third: third,
    };
    Ok((around, Senses { children, counter, limits, files: 0, without: Without::new() }))
}
