//! The commands of a `local` sandbox that go on while others run.
//!
//! There is no init to look after them, so a thread of the program does, from the first such command
//! to the end of the sandbox. It keeps them in the same way ([`Jobs`]) and answers one request after
//! another; whoever asks rings a bell, which the thread hears while it waits for anything else.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use tokio::sync::oneshot;

use super::super::command::{self, Surroundings};
use super::super::jobs::{self, Attend, Jobs, TakenOn, Word};
use super::super::wire::Job;
use super::super::{Heard, Launched, Outcome, Patience, SandboxError, Unfed};
use super::group::Group;

/// How long a process that was killed may take to end.
const BURIAL: Duration = Duration::from_secs(2);

/// The thread, as its sandbox sees it. Dropping it kills what still goes on.
pub(super) struct Keeper {
    /// The bell, and the requests; gone when the thread is to end.
    line: Option<(PipeWriter, mpsc::Sender<Ask>)>,
    thread: Option<JoinHandle<()>>,
}

enum Ask {
    Start(Box<Start>, oneshot::Sender<io::Result<Launched>>),
    Hear { number: u32, wait_ms: u64, answer: oneshot::Sender<Option<Heard>> },
    Feed { number: u32, bytes: Vec<u8>, close: bool, answer: oneshot::Sender<Result<(), Errno>> },
    Stop { number: u32, answer: oneshot::Sender<()> },
}

struct Start {
    job: Job,
    workdir: PathBuf,
    around: Arc<Surroundings>,
    patience: Patience,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn new() -> io::Result<Keeper> {
        let (bell, ring) = io::pipe()?;
        let (asks, asked) = mpsc::channel();
        let mut keeping = Keeping {
            bell,
            jobs: Jobs::default(),
            going: Vec::new(),
            lingering: Vec::new(),
            left: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("local jobs".to_string());
        let thread = thread.spawn(move || {
            // When waiting fails there is nothing to be done but to end everything.
            let _ = keeping.serve(&asked);
            keeping.end();
        })?;
        Ok(Keeper { line: Some((ring, asks)), thread: Some(thread) })
    }

    pub(super) async fn start(
        &mut self,
        job: Job,
        workdir: PathBuf,
        around: Arc<Surroundings>,
        patience: Patience,
    ) -> Result<Launched, SandboxError> {
        let start = Box::new(Start { job, workdir, around, patience });
        let started = self.ask(|answer| Ask::Start(start, answer)).await?;
        started.map_err(|err| SandboxError::Broken(format!("starting a command: {err}")))
    }

    pub(super) async fn hear(&mut self, number: u32, wait_ms: u64) -> Result<Heard, SandboxError> {
        let heard = self.ask(|answer| Ask::Hear { number, wait_ms, answer }).await?;
        heard.ok_or_else(|| SandboxError::Broken(format!("there is no command {number}")))
    }

    pub(super) async fn feed(
        &mut self,
        number: u32,
        bytes: Vec<u8>,
        close: bool,
    ) -> Result<Result<(), Unfed>, SandboxError> {
        let fed = self.ask(|answer| Ask::Feed { number, bytes, close, answer }).await?;
        Ok(fed.map_err(Unfed::from))
    }

    pub(super) async fn stop(&mut self, number: u32) -> Result<(), SandboxError> {
        self.ask(|answer| Ask::Stop { number, answer }).await
    }

    async fn ask<T>(
        &mut self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, SandboxError> {
        let gone = || SandboxError::Broken("the commands in the background are gone".to_string());
        let (answer, answered) = oneshot::channel();
        let (bell, asks) = self.line.as_mut().ok_or_else(gone)?;
        // The request first: for every ring there is one.
        asks.send(ask(answer)).map_err(|_| gone())?;
        bell.write_all(&[0]).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.line.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been told by its own message.
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Keeping {
    bell: PipeReader,
    jobs: Jobs,
    /// The main processes that have not been seen to end.
    going: Vec<Group>,
    /// Output that what ended commands left behind still writes to.
    lingering: Vec<OwnedFd>,
    /// The process groups of those that have ended.
    left: Vec<Pid>,
}

impl Keeping {
    fn serve(&mut self, asked: &mpsc::Receiver<Ask>) -> io::Result<()> {
        loop {
            if !self.idle(None)? {
                continue;
            }
            // The end of the line is heard as well; then there is nothing to read.
            if self.bell.read(&mut [0])? == 0 {
                return Ok(());
            }
            match asked.recv() {
                Ok(ask) => self.answer(ask)?,
                Err(mpsc::RecvError) => return Ok(()),
            }
        }
    }

    /// Whoever asked may have gone away in the meantime; then nobody hears the answer.
    fn answer(&mut self, ask: Ask) -> io::Result<()> {
        match ask {
            Ask::Start(start, answer) => {
                let _ = answer.send(self.start(*start));
            }
            Ask::Hear { number, wait_ms, answer } => {
                self.attend(number, wait_ms)?;
                let heard = self.jobs.hear(number).map(|Word { output, dropped, ran, exit }| {
                    let ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
                    Heard { output, dropped, ran_ms, exit }
                });
                let _ = answer.send(heard);
            }
            Ask::Feed { number, bytes, close, answer } => {
                let _ = answer.send(self.jobs.feed(number, &bytes, close));
            }
            Ask::Stop { number, answer } => {
                if let Some(main) = self.jobs.main_of(number) {
                    self.kill(main);
                    self.tend();
                }
                let _ = answer.send(());
            }
        }
        Ok(())
    }

    fn start(&mut self, start: Start) -> io::Result<Launched> {
        let Start { job, workdir, around, patience } = start;
        let (stdin, input) = match patience.open_input {
            true => {
                let (theirs, ours) = jobs::input_pipe()?;
                (theirs, Some(ours))
            }
            false => (OwnedFd::from(File::open("/dev/null")?), None),
        };
        let ended = match command::begin(&job, &workdir, stdin, &around, 0)? {
            Ok(begun) => {
                self.going.push(Group::of(begun.main)?);
                let timeout = patience.timeout_ms.map(Duration::from_millis);
                match self.take_on(begun, input, around.output, patience.wait_ms, timeout)? {
                    TakenOn::Runs { number, pid } => return Ok(Launched::Runs { number, pid }),
                    TakenOn::Ended(ended) => ended,
                }
            }
            Err(ended) => ended,
        };
        let command::Ended { exit, output, dropped, report, .. } = ended;
        Ok(Launched::Ended(Outcome { exit, output, dropped, report }))
    }

    /// Kills a command with its process group, and waits for its end.
    fn kill(&mut self, main: Pid) {
        let Some(group) = self.going.iter_mut().find(|group| group.main() == main) else {
            return;
        };
        group.kill();
        let mut end = [PollFd::from_borrowed_fd(group.events(), PollFlags::IN)];
        // One that cannot end yet is noticed later.
        let _ = poll(&mut end, Timespec::try_from(BURIAL).ok().as_ref());
    }

    /// Buries those that have ended.
    fn bury(&mut self) {
        let (jobs, left) = (&mut self.jobs, &mut self.left);
        self.going.retain_mut(|group| {
            let Some(status) = group.ended() else {
                return true;
            };
            jobs.note(group.main(), status, 0);
            left.extend(group.left_behind());
            false
        });
    }

    /// Kills everything.
    fn end(&mut self) {
        let going: Vec<Pid> = self.going.iter().map(Group::main).collect();
        going.into_iter().for_each(|main| self.kill(main));
        self.bury();
        for group in self.left.drain(..) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Attend for Keeping {
    fn jobs(&mut self) -> &mut Jobs {
        &mut self.jobs
    }

    fn idle(&mut self, patience: Option<Duration>) -> io::Result<bool> {
        let mut polled = vec![PollFd::new(&self.bell, PollFlags::IN)];
        let ends = self.going.iter().map(|group| group.events());
        polled.extend(ends.map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)));
        polled.extend(self.lingering.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        self.jobs.watch(&mut polled);
        let patience = [patience, self.jobs.soonest()].into_iter().flatten().min();
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut polled, patience.as_ref()) {
            Err(Errno::INTR) => return Ok(false),
            other => other?,
        };
        let rung = !polled[0].revents().is_empty();
        drop(polled);
        self.tend();
        while let Some((_, main)) = self.jobs.overdue() {
            self.kill(main);
            self.tend();
        }
        Ok(rung)
    }

    fn tend(&mut self) {
        self.bury();
        command::empty(&mut self.lingering);
        self.jobs.tend(&mut self.lingering);
    }
}
