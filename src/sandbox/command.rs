//! Running one command: its input, its output, its time, and its end.
//!
//! The same code starts commands in a `process` sandbox (inside its init) and in a `local` one. The
//! init waits for the end of one here ([`run`]); how to find and kill a process tree, and what else
//! to look after meanwhile, is told by a [`Ground`]. The program has a runtime that waits.
//!
//! A command is over when its main process has ended, not when its output is closed: a server that
//! it left in the background keeps the pipe open, and must not hang it. What is in the pipe at that
//! moment still belongs to it; what comes later is read and thrown away by the caller, so that the
//! server is not killed by a closed pipe.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitStatus, setrlimit, setsid};
use seccompiler::sock_filter;

use super::spawn::{Start, Unstarted, spawn};
use super::wire::{Job, MAX_REPORT};
use super::{Exit, errno};

/// How often memory is looked at where no control group limits it.
const WATCH: Duration = Duration::from_millis(20);
/// How long a command runs that is over in a moment: too short to fill a machine's memory.
const MOMENT: Duration = Duration::from_millis(5);
/// Bytes read from a pipe at once: as much as a pipe holds.
const CHUNK: usize = 64 << 10;
/// How far commands stand back behind the program and the inits.
const NICENESS: i32 = 5;
/// What a shell answers when there is no such program, and when it cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUNNABLE: i32 = 126;

/// Where commands run: how to see that one has ended, and how to end it.
pub(crate) trait Ground {
    /// The main process of a command has started.
    fn started(&mut self, main: Pid) -> io::Result<()>;
    /// It goes on for more than a moment.
    fn stays(&mut self) {}
    /// Readable when the main process may have ended.
    fn events(&self) -> BorrowedFd<'_>;
    /// Buries the dead. The status of the main process once it is among them.
    fn ended(&mut self) -> Option<WaitStatus>;
    /// Kills the main process and everything that came from it.
    fn kill(&mut self);
    /// Readable when nobody wants the command to go on.
    fn leash(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Adds what else is to be looked after meanwhile: commands that go on in the background, and
    /// output that processes which earlier ones left behind still write to.
    fn watch<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        let _ = polled;
    }
    /// Looks after that, so that nobody waits for room in a pipe.
    fn tend(&mut self) {}
    /// Whether [`Ground::over_memory`] must be asked while a command runs.
    fn watches_memory(&self) -> bool {
        false
    }
    /// Whether the processes hold more memory than they may.
    fn over_memory(&mut self) -> bool {
        false
    }
    /// Ends that.
    fn relieve(&mut self) {
        self.kill();
    }
    /// How often the kernel has killed a process for its memory so far.
    fn memory_kills(&mut self) -> u64 {
        0
    }
}

/// What every command of a sandbox gets.
pub(crate) struct Surroundings {
    /// Variables of every command.
    pub(crate) env: Vec<(String, String)>,
    /// Limits of every process.
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    /// A further filter for commands alone.
    pub(crate) filter: Option<Vec<sock_filter>>,
    /// Bytes of output that are kept.
    pub(crate) output: usize,
    /// Whether processes are counted for these commands alone: then it is their doing when no more
    /// can be started, and else the machine's.
    pub(crate) counted_apart: bool,
    /// Keeps descriptor 3 taken, so that no pipe of ours is there when a command's report is.
    pub(crate) _third: Option<OwnedFd>,
}

impl Surroundings {
    /// Takes descriptor 3 if it is free.
    pub(crate) fn hold_third() -> io::Result<Option<OwnedFd>> {
        let null = File::open("/dev/null")?;
        let third = rustix::io::fcntl_dupfd_cloexec(&null, 3)?;
        Ok((third.as_raw_fd() == 3).then_some(third))
    }
}

/// A command that has ended.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) output: Vec<u8>,
    pub(crate) dropped: u64,
    pub(crate) report: Vec<u8>,
    /// Its output, if processes that it left behind still hold it.
    pub(crate) lingering: Option<OwnedFd>,
}

impl Ended {
    /// A command that could not start: that is its own fault, and told as a shell would.
    fn unstarted(what: &str, errno: Errno) -> Ended {
        let code = if errno == Errno::NOENT { NOT_FOUND } else { NOT_RUNNABLE };
        let output = format!("cannot start {what}: {}\n", errno::text(errno)).into_bytes();
        Ended { exit: Exit::Code(code), output, dropped: 0, report: Vec::new(), lingering: None }
    }
}

/// Runs a command to its end, which comes by signal 9 when the leash is pulled.
///
/// # Errors
/// When the machinery fails.
pub(crate) fn run(
    job: &Job,
    workdir: &Path,
    stdin: OwnedFd,
    around: &Surroundings,
    ground: &mut dyn Ground,
) -> io::Result<Ended> {
    let begun = match begin(job, workdir, stdin, around, ground.memory_kills())? {
        Ok(begun) => begun,
        Err(ended) => return Ok(ended),
    };
    ground.started(begun.main)?;
    let deadline = Instant::now().checked_add(Duration::from_millis(job.timeout_ms));
    let heard = Heard::of(around.output);
    let mut streams = Streams { output: Some(begun.output), report: begun.report, heard };
    let (status, killed) = wait(&mut streams, deadline, ground)?;
    let exit = match killed {
        Some(exit) => exit,
        None => natural(status, ground.memory_kills() > begun.kills),
    };
    streams.end(exit)
}

/// A command that has just started.
pub(crate) struct Begun {
    /// Its main process.
    pub(crate) main: Pid,
    /// What it prints; does not block.
    pub(crate) output: OwnedFd,
    /// What it writes to descriptor 3; does not block.
    pub(crate) report: Option<OwnedFd>,
    /// Processes that had been killed for their memory just before.
    pub(crate) kills: u64,
}

/// Starts a command, `kills` processes having been killed for their memory so far; that it cannot
/// start is its own fault, and told as its end.
pub(crate) fn begin(
    job: &Job,
    workdir: &Path,
    stdin: OwnedFd,
    around: &Surroundings,
    kills: u64,
) -> io::Result<Result<Begun, Ended>> {
    let Some(program) = job.argv.first() else {
        return Ok(Err(Ended::unstarted("a command without a name", Errno::NOENT)));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if let Err(errno) = rustix::fs::open(workdir, flags, rustix::fs::Mode::empty()) {
        if matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM) {
            return Err(errno.into());
        }
        return Ok(Err(Ended::unstarted(&format!("in `{}`", job.workdir), errno)));
    }
    let (output, output_end) = reading_pipe()?;
    let report = if job.report { Some(reading_pipe()?) } else { None };
    let (report, report_end) = report.unzip();

    let given = around.env.iter().chain(&job.env);
    let mut env: Vec<(&str, &str)> = Vec::new();
    for (name, value) in given {
        // A command's own variable takes the place of the sandbox's.
        env.retain(|(known, _)| known != name);
        env.push((name, value));
    }
    let mut act = || become_command(around, report_end.as_ref());
    let start = Start {
        argv: &job.argv,
        env,
        workdir,
        streams: [stdin.as_fd(), output_end.as_fd(), output_end.as_fd()],
        act: &mut act,
    };
    let main = match spawn(start) {
        Ok(main) => main,
        Err(Unstarted::Kernel(err)) if !around.counted_apart => return Err(err),
        Err(Unstarted::Kernel(err) | Unstarted::Program(err)) => {
            return Ok(Err(Ended::unstarted(&format!("`{program}`"), errno::of(&err))));
        }
    };
    Ok(Ok(Begun { main, output, report, kills }))
}

/// A pipe whose reading end does not block.
fn reading_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((read, write))
}

/// What the new process does to itself before it becomes the program: plain system calls only.
#[expect(unsafe_code, reason = "descriptor 3 has no owner to ask")]
fn become_command(around: &Surroundings, report: Option<&OwnedFd>) -> Result<(), Errno> {
    setsid()?;
    // The program and the inits go first on a machine that commands keep busy.
    rustix::process::nice(NICENESS)?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    if let Some(report) = report {
        // SAFETY: descriptor 3 belongs to nobody in this process, which is about to become
        // another program; it is never closed from here.
        let mut third = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(3) });
        rustix::io::dup2(report, &mut third)?;
    }
    for (resource, limit) in &around.rlimits {
        setrlimit(*resource, *limit)?;
    }
    if let Some(filter) = &around.filter {
        seccompiler::apply_filter(filter).map_err(|_| Errno::PERM)?;
    }
    Ok(())
}

/// Waits until the main process has ended, by itself or because it had to.
fn wait(
    streams: &mut Streams,
    deadline: Option<Instant>,
    ground: &mut dyn Ground,
) -> io::Result<(WaitStatus, Option<Exit>)> {
    let mut killed = None;
    let began = Instant::now();
    let mut looked = began;
    let mut stays = false;
    loop {
        if let Some(status) = ground.ended() {
            return Ok((status, killed));
        }
        let now = Instant::now();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        if killed.is_none() && left.is_some_and(|left| left.is_zero()) {
            killed = Some(Exit::TimedOut);
            ground.kill();
            continue;
        }
        if !stays && now.duration_since(began) >= MOMENT {
            stays = true;
            ground.stays();
        }
        let watching = killed.is_none() && ground.watches_memory();
        if watching && now.duration_since(looked) >= WATCH {
            looked = now;
            if ground.over_memory() {
                killed = Some(Exit::OutOfMemory);
                ground.relieve();
                continue;
            }
        }
        let left = if killed.is_some() { None } else { left };
        let next = [left, watching.then_some(WATCH), (!stays).then_some(MOMENT)];
        let patience = next.into_iter().flatten().min();
        let leashed = streams.step(ground, patience, killed.is_none())?;
        if leashed {
            killed = Some(Exit::Signal(Signal::KILL.as_raw()));
            ground.kill();
        }
    }
}

/// How a command ended that nobody killed. A shell that lives on after the kernel has killed what
/// it ran for its memory, and then fails, has failed for that reason.
pub(crate) fn natural(status: WaitStatus, memory_kill: bool) -> Exit {
    let exit = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    };
    if memory_kill && exit != Exit::Code(0) { Exit::OutOfMemory } else { exit }
}

/// What comes from a running command.
pub(crate) struct Streams {
    /// What it prints, until everybody has closed it.
    pub(crate) output: Option<OwnedFd>,
    /// What it writes to descriptor 3, likewise.
    pub(crate) report: Option<OwnedFd>,
    /// What has come.
    pub(crate) heard: Heard,
}

/// What has come from a command.
pub(crate) struct Heard {
    kept: Tail,
    told: Vec<u8>,
    chunk: Vec<u8>,
}

impl Heard {
    /// Nothing yet; of what is printed so many bytes are kept.
    pub(crate) fn of(limit: usize) -> Heard {
        Heard { kept: Tail::of(limit), told: Vec::new(), chunk: Vec::new() }
    }

    /// Reads once from what is printed. How many bytes came, none at its end; `None` when there is
    /// nothing yet.
    pub(crate) fn output(&mut self, pipe: &OwnedFd) -> io::Result<Option<usize>> {
        let count = read_some(pipe, &mut self.chunk)?;
        if count.is_some() {
            self.kept.push(&self.chunk);
        }
        Ok(count)
    }

    /// Reads once from descriptor 3's pipe, likewise.
    pub(crate) fn report(&mut self, pipe: &OwnedFd) -> io::Result<Option<usize>> {
        let count = read_some(pipe, &mut self.chunk)?;
        if count.is_some() {
            let room = MAX_REPORT - self.told.len();
            self.told.extend_from_slice(&self.chunk[..self.chunk.len().min(room)]);
        }
        Ok(count)
    }
}

impl Streams {
    /// Waits until something happens and reads what came. Whether the leash was pulled, if that is
    /// still of interest.
    fn step(
        &mut self,
        ground: &mut dyn Ground,
        patience: Option<Duration>,
        leashed: bool,
    ) -> io::Result<bool> {
        let patience = patience.map(|time| {
            time.try_into().unwrap_or(rustix::event::Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        let events = ground.events();
        let leash = if leashed { ground.leash() } else { None };
        let mut polled = vec![PollFd::from_borrowed_fd(events, PollFlags::IN)];
        for fd in [
            leash,
            self.output.as_ref().map(|fd| fd.as_fd()),
            self.report.as_ref().map(|fd| fd.as_fd()),
        ]
        .into_iter()
        .flatten()
        {
            polled.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let own = polled.len();
        ground.watch(&mut polled);
        match poll(&mut polled, patience.as_ref()) {
            Err(Errno::INTR) => return Ok(false),
            other => other?,
        };
        let others = polled[own..].iter().any(|fd| !fd.revents().is_empty());
        let mut ready = polled[..own].iter().skip(1).map(|fd| !fd.revents().is_empty());
        let leashed = leash.is_some() && ready.next().unwrap_or(false);
        let output = self.output.is_some() && ready.next().unwrap_or(false);
        let report = self.report.is_some() && ready.next().unwrap_or(false);
        if others {
            ground.tend();
        }
        if output {
            self.read_output()?;
        }
        if report {
            self.read_report()?;
        }
        Ok(leashed)
    }

    /// Reads once from the output. How many bytes came.
    fn read_output(&mut self) -> io::Result<usize> {
        let count = self.output.as_ref().map(|pipe| self.heard.output(pipe)).transpose()?.flatten();
        if count == Some(0) {
            self.output = None;
        }
        Ok(count.unwrap_or(0))
    }

    /// Reads once from descriptor 3's pipe. How many bytes came.
    fn read_report(&mut self) -> io::Result<usize> {
        let count = self.report.as_ref().map(|pipe| self.heard.report(pipe)).transpose()?.flatten();
        if count == Some(0) {
            self.report = None;
        }
        Ok(count.unwrap_or(0))
    }

    /// All of a command whose main process has ended.
    ///
    /// # Errors
    /// When a pipe cannot be read.
    pub(crate) fn end(mut self, exit: Exit) -> io::Result<Ended> {
        self.drain()?;
        Ok(Ended {
            exit,
            output: self.heard.kept.bytes.into(),
            dropped: self.heard.kept.dropped,
            report: self.heard.told,
            lingering: self.output,
        })
    }

    /// Reads what is in the pipes now, and no more: a process left behind may write for ever.
    fn drain(&mut self) -> io::Result<()> {
        let mut left = waiting(self.output.as_ref())?;
        while left > 0 && self.output.is_some() {
            left = match self.read_output()? {
                0 => 0,
                count => left.saturating_sub(count as u64),
            };
        }
        let mut left = waiting(self.report.as_ref())?;
        while left > 0 && self.report.is_some() {
            left = match self.read_report()? {
                0 => 0,
                count => left.saturating_sub(count as u64),
            };
        }
        // One more look tells a pipe that everybody has closed from one that is still held.
        if self.output.is_some() && waiting(self.output.as_ref())? == 0 {
            self.read_output()?;
        }
        Ok(())
    }
}

/// Bytes that can be read from a pipe at once.
fn waiting(pipe: Option<&OwnedFd>) -> io::Result<u64> {
    Ok(pipe.map(rustix::io::ioctl_fionread).transpose()?.unwrap_or(0))
}

/// Reads once from each pipe, throws away what comes, and lets go of those that have ended.
pub(crate) fn empty(pipes: &mut Vec<OwnedFd>) {
    if pipes.is_empty() {
        return;
    }
    let mut chunk = Vec::new();
    pipes.retain(|pipe| !matches!(read_some(pipe, &mut chunk), Ok(Some(0)) | Err(_)));
}

/// Reads once into `chunk`, in place of what is there; `None` when nothing is there yet.
fn read_some(pipe: &OwnedFd, chunk: &mut Vec<u8>) -> io::Result<Option<usize>> {
    chunk.clear();
    // Memory that nothing is read into is not touched: in an init that has just been cloned each page
    // of it costs.
    chunk.reserve(CHUNK);
    match rustix::io::read(pipe, spare_capacity(chunk)) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// Reads from a pipe into a tail until nothing is there for now, or as much as a pipe holds has been
/// read. Whether everybody has closed the pipe.
pub(crate) fn read_into(pipe: &OwnedFd, tail: &mut Tail) -> io::Result<bool> {
    let mut chunk = Vec::new();
    let mut left = CHUNK;
    while left > 0 {
        match read_some(pipe, &mut chunk)? {
            None => return Ok(false),
            Some(0) => return Ok(true),
            Some(count) => {
                tail.push(&chunk);
                left = left.saturating_sub(count);
            }
        }
    }
    Ok(false)
}

/// The end of something long.
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    dropped: u64,
}

impl Tail {
    /// An empty one that keeps so many bytes.
    pub(crate) fn of(limit: usize) -> Tail {
        Tail { bytes: VecDeque::new(), limit, dropped: 0 }
    }

    /// What it holds and how much it has dropped; it is empty after that.
    pub(crate) fn take(&mut self) -> (Vec<u8>, u64) {
        (std::mem::take(&mut self.bytes).into(), std::mem::take(&mut self.dropped))
    }

    fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.bytes.extend(kept);
        self.dropped += (bytes.len() - kept.len() + excess) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end_and_counts_the_rest() {
        let mut tail = Tail::of(5);
        for part in ["ab", "", "cdef", "0123456789", "x"] {
            tail.push(part.as_bytes());
        }
        let kept: Vec<u8> = tail.bytes.into();
        assert_eq!((kept.as_slice(), tail.dropped), (&b"6789x"[..], 12));
    }
}
