//! The init of a sandbox: its first process, which builds it, serves it, and takes it along when
//! it ends.
//!
//! Cloned by the helper into new namespaces, it mounts what is the sandbox's own, gives up all
//! privileges and then answers the program's requests one by one. Commands run as its children and
//! cannot reach it: it is invisible to `ptrace`, deaf to signals from inside, and shares no
//! descriptor with them. When the program closes the socket, or kills it, the kernel kills
//! everything in the sandbox.

mod build;
mod plan;
mod started;
mod yard;

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, getpid, pidfd_open, wait};

use super::command::{self, Ended, Surroundings};
use super::confine::{self, Filters};
use super::defence::{Defence, Without};
use super::jobs::{Attend, Jobs};
use super::kernel;
use super::networks::FIRST_DESCRIPTOR;
use super::processes;
use super::wire::{self, Item, Job, Reply, Request, Setup, Wanted};
use super::workspace::{self, Filler};
use super::{Limits, WORKSPACE, files};
use build::build;
pub(super) use plan::Plan;
use yard::Yard;

/// The namespaces that a sandbox is cloned into. That of its network comes before, from the helper's
/// [`Networks`](super::networks::Networks); the one of control groups later, when the init has moved
/// to its group.
pub(super) const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS) as u64;

/// The home of commands: private, writable and, other than the workspace, never taken out, so that
/// caches and histories do not become part of a result.
pub(super) const HOME: &str = "/tmp/home";
/// How often the memory of what was left in the background is looked at.
const GLANCE: Duration = Duration::from_millis(100);
/// And how often while somebody waits for a command.
const CLOSE_GLANCE: Duration = Duration::from_millis(20);

/// Becomes the init of a sandbox.
pub(super) fn run(
    plan: Plan,
    mut control: UnixStream,
    attached: Vec<OwnedFd>,
    filters: &Filters,
    setup: &Setup,
) -> ! {
    // The helper's loop must not go on in its clone, whatever happens here.
    let life = std::panic::AssertUnwindSafe(move || {
        // The networks of others.
        kernel::close_inherited(FIRST_DESCRIPTOR)?;
        let limits = plan.limits();
        let built = build(plan, attached, filters, setup);
        let (around, senses) = match built {
            Ok(built) => built,
            Err(failure) => return wire::send(&mut control, &Reply::Failed(failure), &[]),
        };
        let output = File::from(OwnedFd::from(control.try_clone()?));
        let control = Line { input: File::from(OwnedFd::from(control)), output, hand: None };
        let mut init = Init::new(control, limits, around, senses);
        init.untold = true;
        init.serve()
    });
    let ended = std::panic::catch_unwind(life);
    std::process::exit(i32::from(!matches!(ended, Ok(Ok(())))))
}

/// What an init knows its processes by.
pub(super) struct Senses {
    /// Readable when a child has ended.
    pub(super) children: OwnedFd,
    /// The control group's count of processes killed for memory.
    pub(super) counter: Option<File>,
    pub(super) limits: Limits,
    /// Bytes of files that the program put in, which do not count.
    pub(super) files: u64,
    /// Defences that a test has taken away.
    pub(super) without: Without,
}

impl Senses {
    /// Whether memory is looked at while a command runs: where no control group limits it, and where
    /// one has so much room for files that processes could take far more than theirs in it.
    fn watches_memory(&self) -> bool {
        let lax = self.counter.is_none() || confine::needs_watch(&self.limits);
        lax && !self.without.contains(&Defence::Memory)
    }

    /// Whether it is looked at while no command is waited for as well. A control group holds against
    /// the machine, so that there what is left behind waits for the next command.
    fn watches_idle(&self, jobs: &Jobs) -> bool {
        match self.counter {
            None => self.watches_memory() && processes::any(),
            Some(_) => jobs.any_beside(None) && self.watches_memory(),
        }
    }

    fn over_memory(&self) -> bool {
        let files = processes::held_by_files(&[WORKSPACE, "/tmp", "/dev/shm"]);
        if self.counter.is_some() {
            return processes::own_more_than(self.limits.memory, files);
        }
        let allowed = confine::memory_beside(&self.limits, files.saturating_sub(self.files));
        processes::hold_more_than(allowed)
    }

    /// How often the kernel has killed a process of the control group for its memory.
    fn memory_kills(&self) -> u64 {
        let Some(counter) = &self.counter else {
            return 0;
        };
        let mut text = [0; 4096];
        let count = counter.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..count]);
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }
}

/// The line to the program: both ends of a socket, or the pipes that are the standard input and
/// output of a container.
pub(super) struct Line {
    pub(super) input: File,
    pub(super) output: File,
    /// What descriptors go over, where the line itself cannot carry any.
    pub(super) hand: Option<UnixStream>,
}

/// Tells the program that the sandbox stands, and hands it the means to kill it.
fn announce(control: &File) -> io::Result<()> {
    let pidfd = pidfd_open(getpid(), PidfdFlags::empty())?;
    hand_over(control, &Reply::Ready, pidfd.as_fd())
}

/// Sends a reply with a descriptor attached. Refused where the line is no socket.
fn hand_over(control: impl AsFd, reply: &Reply, fd: BorrowedFd<'_>) -> io::Result<()> {
    let bytes = wire::head(reply, 0)?;
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(control, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// What answers the program, in a sandbox of whatever make.
pub(super) struct Init {
    control: Line,
    limits: Limits,
    around: Surroundings,
    senses: Senses,
    filler: Option<Filler>,
    misfit: Option<String>,
    /// The program still has to be told that the sandbox stands: that is the answer to the first
    /// workspace.
    untold: bool,
    /// Output that processes in the background still write to, and nobody reads any more.
    lingering: Vec<OwnedFd>,
    /// Commands that go on while others run.
    jobs: Jobs,
}

impl Init {
    /// An init that has built its sandbox.
    pub(super) fn new(control: Line, limits: Limits, around: Surroundings, senses: Senses) -> Init {
        let (filler, misfit, untold) = (None, None, false);
        let (lingering, jobs) = (Vec::new(), Jobs::default());
        Init { control, limits, around, senses, filler, misfit, untold, lingering, jobs }
    }

    /// Listens for commands. Whoever holds the socket accepts in this network namespace, wherever it
    /// lives itself.
    fn listen(&mut self, port: u16) -> io::Result<()> {
        match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => match &self.control.hand {
                Some(hand) => {
                    hand_over(hand, &Reply::Done, listener.as_fd())?;
                    self.say(&Reply::Done)
                }
                None => hand_over(&self.control.output, &Reply::Done, listener.as_fd()),
            },
            Err(err) => self.say(&Reply::Refused(super::errno::of(&err).raw_os_error())),
        }
    }

    /// Answers requests until the program closes the line.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        loop {
            if !self.idle(None)? {
                continue;
            }
            let Some((request, payload)) = wire::receive::<Request>(&self.control.input)? else {
                return Ok(());
            };
            self.answer(request, payload)?;
        }
    }

    /// Ends what holds too much memory: the youngest command in the background, and everything when
    /// that was not to blame.
    fn relieve(&mut self) {
        if let Some((number, main)) = self.jobs.youngest() {
            self.kill(number, main);
            if !self.senses.over_memory() {
                return;
            }
        }
        processes::kill_all();
    }

    /// Kills a command in the background and what came from it.
    fn kill(&mut self, number: u32, main: Pid) {
        let mut dead = Vec::new();
        let senses = &self.senses;
        let mut burying = || bury(senses, &mut |pid, status| dead.push((pid, status)));
        if self.jobs.any_beside(Some(number)) {
            processes::kill_tree(main, &mut burying);
        } else {
            processes::kill_since(main, &mut burying);
        }
        for (pid, status) in dead {
            self.jobs.note(pid, status, senses.memory_kills());
        }
        self.jobs.tend(&mut self.lingering);
    }

    fn answer(&mut self, request: Request, payload: u64) -> io::Result<()> {
        match request {
            Request::Put(items) => self.put(&items, payload),
            Request::Settle => self.settle(),
            Request::Run(mut job) => {
                if self.senses.without.contains(&Defence::Time) {
                    job.timeout_ms = u64::MAX;
                }
                self.run(&job, payload)
            }
            // The command has ended in the meantime.
            Request::Stop => Ok(()),
            Request::Listen { port } => self.listen(port),
            Request::Start { job, wait_ms, timeout_ms, open_input } => {
                self.start(&job, wait_ms, timeout_ms, open_input)
            }
            Request::Hear { number, wait_ms } => {
                self.attend(number, wait_ms)?;
                self.tell_job(number)
            }
            Request::Feed { number, close } => {
                let mut bytes = Vec::new();
                (&self.control.input).take(payload).read_to_end(&mut bytes)?;
                match self.jobs.feed(number, &bytes, close) {
                    Ok(()) => self.say(&Reply::Done),
                    Err(errno) => self.say(&Reply::Refused(errno.raw_os_error())),
                }
            }
            Request::Kill { number } => {
                if let Some(main) = self.jobs.main_of(number) {
                    self.kill(number, main);
                }
                self.say(&Reply::Done)
            }
            Request::Read { path, limit } => match files::read(&placed(&path), limit) {
                Ok(bytes) => wire::send(&self.control.output, &Reply::Done, &[&bytes]),
                Err(errno) => self.say(&Reply::Refused(errno.raw_os_error())),
            },
            Request::Write { path } => {
                let mut content = (&self.control.input).take(payload);
                let written = files::write(&placed(&path), &mut content);
                io::copy(&mut content, &mut io::sink())?;
                match written {
                    Ok(()) => self.say(&Reply::Done),
                    Err(errno) => self.say(&Reply::Refused(errno.raw_os_error())),
                }
            }
            Request::Collect => self.collect(),
            Request::Fetch(wanted) => self.fetch(&wanted),
        }
    }

    fn say(&mut self, reply: &Reply) -> io::Result<()> {
        wire::send(&self.control.output, reply, &[])
    }

    fn put(&mut self, items: &[Item], payload: u64) -> io::Result<()> {
        let filler = match &mut self.filler {
            Some(filler) => filler,
            None => self.filler.insert(Filler::new(workspace_folder()?)),
        };
        let mut content = (&self.control.input).take(payload);
        for item in items {
            if self.misfit.is_none() {
                self.misfit = filler.put(item, &mut content).err();
            }
        }
        io::copy(&mut content, &mut io::sink())?;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        let misfit = self.misfit.take();
        let settled = match (misfit, &mut self.filler) {
            (Some(misfit), _) => Err(misfit),
            (None, Some(filler)) => filler.settle(),
            (None, None) => Ok(()),
        };
        self.filler = None;
        self.senses.files = processes::held_by_files(&[WORKSPACE, "/tmp"]);
        match settled {
            Ok(()) if std::mem::take(&mut self.untold) => announce(&self.control.output),
            Ok(()) => self.say(&Reply::Done),
            Err(why) => self.say(&Reply::Misfit(why)),
        }
    }

    fn run(&mut self, job: &Job, payload: u64) -> io::Result<()> {
        let mut input = (&self.control.input).take(payload);
        let stdin = match payload {
            0 => OwnedFd::from(File::open("/dev/null")?),
            _ => {
                let mut file = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
                io::copy(&mut input, &mut file)?;
                io::Seek::rewind(&mut file)?;
                file.into()
            }
        };
        let mut yard =
            Yard::of(&self.senses, &self.control.input, &mut self.lingering, &mut self.jobs);
        let workdir = placed(&job.workdir);
        match command::run(job, &workdir, stdin, &self.around, &mut yard) {
            // When the program has gone away, telling it fails, and that is the end.
            Ok(ended) => self.tell(ended),
            Err(err) => self.say(&Reply::Broken(format!("running a command: {err}"))),
        }
    }

    fn tell(&mut self, ended: Ended) -> io::Result<()> {
        self.lingering.extend(ended.lingering);
        let (output, report) = (ended.output.len() as u64, ended.report.len() as u64);
        let reply = Reply::Ended { exit: ended.exit, dropped: ended.dropped, output, report };
        wire::send(&self.control.output, &reply, &[&ended.output, &ended.report])
    }

    fn collect(&mut self) -> io::Result<()> {
        processes::kill_all();
        // Everything is dying; what loses its parent becomes our child and is waited for as well.
        while wait(WaitOptions::empty()).is_ok_and(|ended| ended.is_some()) {}
        self.lingering.clear();
        let links = !self.senses.without.contains(&Defence::Links);
        self.jobs.clear();
        match workspace::collect(workspace_folder()?.as_fd(), &self.limits, links, None) {
            Ok((tree, refused)) => {
                wire::send(&self.control.output, &Reply::Listing { refused }, &[&tree.encode()])
            }
            Err(err) => self.say(&Reply::Broken(format!("listing the workspace: {err}"))),
        }
    }

    /// Sends the contents of files, exactly as many bytes as were announced: a file that cannot be
    /// read any more ends the sandbox, which the program sees as an early end of the stream.
    fn fetch(&mut self, wanted: &[Wanted]) -> io::Result<()> {
        let root = workspace_folder()?;
        let total = wanted.iter().map(|file| file.size).sum();
        io::Write::write_all(&mut self.control.output, &wire::head(&Reply::Done, total)?)?;
        for file in wanted {
            let content = workspace::open_file(root.as_fd(), &file.path)?;
            let copied = io::copy(&mut content.take(file.size), &mut self.control.output)?;
            if copied != file.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl Attend for Init {
    fn jobs(&mut self) -> &mut Jobs {
        &mut self.jobs
    }

    /// Waits for something to do, at most so long: buries the dead, empties lingering pipes, looks
    /// after what goes on in the background. Whether a request came.
    fn idle(&mut self, patience: Option<Duration>) -> io::Result<bool> {
        let mut polled = vec![
            PollFd::from_borrowed_fd(self.control.input.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.senses.children.as_fd(), PollFlags::IN),
        ];
        polled.extend(self.lingering.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        self.jobs.watch(&mut polled);
        // Where no control group does, we look after what is in the background.
        let watching = self.senses.watches_idle(&self.jobs);
        let glance = if patience.is_some() { CLOSE_GLANCE } else { GLANCE };
        let reasons = [patience, self.jobs.soonest(), watching.then_some(glance)];
        let patience = reasons.into_iter().flatten().min();
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut polled, patience.as_ref()) {
            Err(Errno::INTR) => return Ok(false),
            other => other?,
        };
        let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(polled);
        if watching && self.senses.over_memory() {
            self.relieve();
        }
        if ready[1] {
            let (senses, jobs) = (&self.senses, &mut self.jobs);
            bury(senses, &mut |pid, status| jobs.note(pid, status, senses.memory_kills()));
        }
        if ready[2..].contains(&true) {
            self.tend();
        }
        while let Some((number, main)) = self.jobs.overdue() {
            self.kill(number, main);
        }
        Ok(ready[0])
    }

    fn tend(&mut self) {
        command::empty(&mut self.lingering);
        self.jobs.tend(&mut self.lingering);
    }
}

/// The workspace, which a command may have taken away every right to: it is ours all the same.
fn workspace_folder() -> io::Result<OwnedFd> {
    let open = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(WORKSPACE, flags, Mode::empty())
    };
    match open() {
        Err(Errno::ACCESS) => {
            rustix::fs::chmod(WORKSPACE, Mode::RWXU)?;
            Ok(open()?)
        }
        opened => Ok(opened?),
    }
}

/// An absolute path: relative ones start in the workspace.
fn placed(path: &str) -> PathBuf {
    Path::new(WORKSPACE).join(path)
}

/// Waits for all children that have ended, and tells of each.
fn bury(senses: &Senses, told: &mut dyn FnMut(Pid, WaitStatus)) {
    let mut events = [0u8; 1024];
    while matches!(rustix::io::read(&senses.children, &mut events), Ok(count) if count > 0) {}
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        told(pid, status);
    }
}
