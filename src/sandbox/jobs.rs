//! The commands of a sandbox that go on while others run, as its init keeps them, or whoever else
//! attends to them ([`Attend`]).
//!
//! Nobody waits for them in particular: whenever the init waits for anything, it also reads what
//! they print, hands on what is written to them, and ends those whose time is up. Output is kept
//! until it is fetched, and of much output the end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitStatus};

use super::Exit;
use super::command::{self, Begun, Ended, Tail};

/// Bytes that wait for a command that does not read its input.
const MAX_WAITING: usize = 1 << 20;

/// All of them.
#[derive(Default)]
pub(super) struct Jobs {
    count: u32,
    going: Vec<Going>,
}

/// One of them, until its end has been told.
struct Going {
    number: u32,
    main: Pid,
    began: Instant,
    deadline: Option<Instant>,
    /// Processes that had been killed for their memory when it began.
    kills: u64,
    output: Option<OwnedFd>,
    unheard: Tail,
    input: Option<Input>,
    /// Why it was killed, if it was.
    killed: Option<Exit>,
    ended: Option<(Exit, Duration)>,
}

/// Its standard input.
struct Input {
    pipe: OwnedFd,
    waiting: VecDeque<u8>,
    /// To be closed when nothing waits any more.
    close: bool,
}

/// Whether a standard input stays open.
#[derive(PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

/// What is told of a job.
pub(super) struct Word {
    pub(super) output: Vec<u8>,
    pub(super) dropped: u64,
    pub(super) ran: Duration,
    pub(super) exit: Option<Exit>,
}

/// Whoever looks after the jobs of a sandbox.
pub(super) trait Attend {
    /// The jobs.
    fn jobs(&mut self) -> &mut Jobs;

    /// Waits for something to do, at most so long, and does it. Whether a request came.
    fn idle(&mut self, patience: Option<Duration>) -> io::Result<bool>;

    /// Reads what has come, without waiting.
    fn tend(&mut self);

    /// Waits for the end of a job.
    ///
    /// # Errors
    /// When somebody asks while an answer is due: whoever waited has gone away.
    fn attend(&mut self, number: u32, wait_ms: u64) -> io::Result<()> {
        let until = Instant::now().checked_add(Duration::from_millis(wait_ms));
        while !self.jobs().has_ended(number) {
            let left = until
                .map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            // Once more even when there is no time: what has happened already counts.
            if self.idle(Some(left))? {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if left.is_zero() {
                break;
            }
        }
        self.tend();
        Ok(())
    }

    /// Takes a command on that has just begun, and waits for its end as long as its starter does.
    fn take_on(
        &mut self,
        begun: Begun,
        input: Option<OwnedFd>,
        limit: usize,
        wait_ms: u64,
        timeout: Option<Duration>,
    ) -> io::Result<TakenOn> {
        let pid = begun.main.as_raw_nonzero().get();
        let number = self.jobs().add(begun, input, limit, timeout);
        // Without patience it goes on, however quick it may be: nothing else would be the same twice.
        if wait_ms > 0 {
            self.attend(number, wait_ms)?;
        }
        if wait_ms == 0 || !self.jobs().has_ended(number) {
            return Ok(TakenOn::Runs { number, pid });
        }
        match self.jobs().hear(number) {
            Some(Word { exit: Some(exit), output, dropped, .. }) => {
                let report = Vec::new();
                Ok(TakenOn::Ended(Ended { exit, output, dropped, report, lingering: None }))
            }
            _ => Err(io::Error::other("a command that ended without an end")),
        }
    }
}

/// What has become of a command when its starter stops waiting.
pub(super) enum TakenOn {
    /// It goes on.
    Runs { number: u32, pid: i32 },
    /// It has ended.
    Ended(Ended),
}

impl Jobs {
    /// Takes a command on that has just begun, keeps `limit` bytes of its output, and ends it after
    /// `timeout`. Its number.
    fn add(
        &mut self,
        begun: Begun,
        input: Option<OwnedFd>,
        limit: usize,
        timeout: Option<Duration>,
    ) -> u32 {
        self.count += 1;
        let began = Instant::now();
        self.going.push(Going {
            number: self.count,
            main: begun.main,
            began,
            deadline: timeout.and_then(|timeout| began.checked_add(timeout)),
            kills: begun.kills,
            output: Some(begun.output),
            unheard: Tail::of(limit),
            input: input.map(|pipe| Input { pipe, waiting: VecDeque::new(), close: false }),
            killed: None,
            ended: None,
        });
        self.count
    }

    /// Whether there is any that has not ended, beside the one of this number.
    pub(super) fn any_beside(&self, number: Option<u32>) -> bool {
        self.going.iter().any(|job| job.ended.is_none() && Some(job.number) != number)
    }

    /// Adds what they wait for to what is polled.
    pub(super) fn watch<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        for job in &self.going {
            polled.extend(job.output.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            let waiting = job.input.iter().filter(|input| !input.waiting.is_empty());
            polled.extend(waiting.map(|input| PollFd::new(&input.pipe, PollFlags::OUT)));
        }
    }

    /// Reads what they have printed and writes what they can take. What an ended one's children
    /// still print to goes to `lingering`.
    pub(super) fn tend(&mut self, lingering: &mut Vec<OwnedFd>) {
        for job in &mut self.going {
            job.read();
            if let Some(input) = &mut job.input
                && input.push() != Ok(Open::Yes)
            {
                job.input = None;
            }
            if job.ended.is_some() {
                lingering.extend(job.output.take());
            }
        }
    }

    /// A process has ended. If it was the main one of a job, that is over.
    pub(super) fn note(&mut self, pid: Pid, status: WaitStatus, kills: u64) {
        let Some(job) = self.going.iter_mut().find(|job| job.main == pid && job.ended.is_none())
        else {
            return;
        };
        let exit = match job.killed.take() {
            Some(exit) => exit,
            None => command::natural(status, kills > job.kills),
        };
        job.ended = Some((exit, job.began.elapsed()));
        job.input = None;
        job.read();
    }

    /// How long until the time of one is up.
    pub(super) fn soonest(&self) -> Option<Duration> {
        let live = self.going.iter().filter(|job| job.ended.is_none() && job.killed.is_none());
        let next = live.filter_map(|job| job.deadline).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// One whose time is up, and its main process; it counts as killed for that.
    pub(super) fn overdue(&mut self) -> Option<(u32, Pid)> {
        let now = Instant::now();
        let late = |job: &&mut Going| {
            job.ended.is_none()
                && job.killed.is_none()
                && job.deadline.is_some_and(|deadline| deadline <= now)
        };
        let job = self.going.iter_mut().find(late)?;
        job.killed = Some(Exit::TimedOut);
        Some((job.number, job.main))
    }

    /// The youngest that lives, and its main process; it counts as killed for its memory.
    pub(super) fn youngest(&mut self) -> Option<(u32, Pid)> {
        let live = |job: &&mut Going| job.ended.is_none() && job.killed.is_none();
        let job = self.going.iter_mut().rev().find(live)?;
        job.killed = Some(Exit::OutOfMemory);
        Some((job.number, job.main))
    }

    /// The main process of one that lives.
    pub(super) fn main_of(&self, number: u32) -> Option<Pid> {
        let job = self.going.iter().find(|job| job.number == number)?;
        job.ended.is_none().then_some(job.main)
    }

    /// Whether it has ended, or is unknown.
    fn has_ended(&self, number: u32) -> bool {
        self.main_of(number).is_none()
    }

    /// What it has printed since the last time; `None` when there is no such job. One that has
    /// ended is forgotten after this.
    pub(super) fn hear(&mut self, number: u32) -> Option<Word> {
        let at = self.going.iter().position(|job| job.number == number)?;
        let job = &mut self.going[at];
        let (output, dropped) = job.unheard.take();
        let (exit, ran) = match &job.ended {
            Some((exit, ran)) => (Some(exit.clone()), *ran),
            None => (None, job.began.elapsed()),
        };
        if exit.is_some() {
            self.going.remove(at);
        }
        Some(Word { output, dropped, ran, exit })
    }

    /// Has bytes written to its standard input.
    pub(super) fn feed(&mut self, number: u32, bytes: &[u8], close: bool) -> Result<(), Errno> {
        let job = self.going.iter_mut().find(|job| job.number == number);
        let job = job.ok_or(Errno::SRCH)?;
        let input = job.input.as_mut().filter(|input| !input.close).ok_or(Errno::BADF)?;
        if input.waiting.len() + bytes.len() > MAX_WAITING {
            return Err(Errno::AGAIN);
        }
        input.waiting.extend(bytes);
        input.close |= close;
        let pushed = input.push();
        if pushed != Ok(Open::Yes) {
            job.input = None;
        }
        pushed.map(|_| ())
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        self.going.clear();
    }
}

impl Going {
    /// Reads until there is nothing for now. A command may print for ever, so a pipe is read at most
    /// as often as a full one needs.
    fn read(&mut self) {
        let Some(pipe) = &self.output else { return };
        match command::read_into(pipe, &mut self.unheard) {
            Ok(false) => {}
            Ok(true) | Err(_) => self.output = None,
        }
    }
}

impl Input {
    /// Writes what the pipe has room for, and says whether it stays open.
    fn push(&mut self) -> Result<Open, Errno> {
        while !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match rustix::io::write(&self.pipe, front) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Open::Yes),
                Err(err) => return Err(err),
            }
        }
        Ok(if self.close { Open::No } else { Open::Yes })
    }
}

/// A pipe for a command's standard input: its end, and ours, which does not block.
pub(super) fn input_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&write, rustix::fs::OFlags::NONBLOCK)?;
    Ok((read, write))
}
