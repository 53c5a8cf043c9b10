//! The helper: a small process with one thread that makes sandboxes.
//!
//! The program itself has many threads, so it may not fork; and it sees the whole machine. It
//! therefore starts this helper once (`claw __sandbox-helper`, an empty environment, a socket as
//! standard input). The helper moves into a user and a mount namespace of its own, builds the
//! read-only root that all sandboxes share, and lets go of the rest of the file system. Then it
//! clones one init for every order. It ends when the program closes the socket, and everything it
//! made ends with it.
//!
//! Started by root, it takes an unprivileged identity for itself and its sandboxes: files that
//! only root may read stay unreadable, and limits that do not hold root hold them.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use rustix::process::{
    DumpableBehavior, Pid, WaitOptions, getegid, geteuid, getpid, set_dumpable_behavior, wait,
    waitpid,
};
use rustix::thread::{
    CapabilitiesSecureBits, UnshareFlags, set_capabilities_secure_bits, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::confine::Filters;
use super::defence::Defence;
use super::init::{self, Plan};
use super::kernel;
use super::networks::Networks;
use super::root;
use super::wire::{self, Failure, Hello, Reply, Setup};

/// The argument that makes the program a helper. Not for people.
pub const HELPER_ARGUMENT: &str = "__sandbox-helper";

/// A second argument, with which a test keeps inherited descriptors open.
pub(super) const KEEP_ARGUMENT: &str = "keep-descriptors";

/// The user and group that commands run as, inside a sandbox.
pub(super) const INSIDE: u32 = 1000;
/// Who that is outside when root runs the program: `nobody`.
const NOBODY: u32 = 65534;
/// No datagram is longer.
const MAX_DATAGRAM: usize = 64 << 10;
/// Descriptors that come with an order: a socket and two files of a control group.
const MAX_DESCRIPTORS: usize = 3;
/// How often inits that have ended are looked for while nothing is ordered.
const GLANCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Runs the helper until the program that started it closes the socket. Must be called before
/// the process has a second thread; speaks the private protocol of this version of the program.
pub fn helper_main() -> ! {
    let code = match serve() {
        Ok(()) => 0,
        Err(_) => 1,
    };
    std::process::exit(code)
}

fn serve() -> io::Result<()> {
    if std::env::args_os().nth(2).is_none_or(|arg| arg != KEEP_ARGUMENT) {
        kernel::close_inherited(3)?;
    }
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);

    // One for all messages: an init that is cloned meanwhile shares its pages, and writing to them
    // makes the kernel copy each.
    let mut buffer = vec![0; MAX_DATAGRAM];
    let Some((words, _)) = receive(&socket, &mut buffer)? else {
        return Ok(());
    };
    let setup: Setup = wire::parse(words)?;
    let hello = prepare(&setup);
    let filters = match hello {
        Ok(filters) => filters,
        Err(failure) => return tell(&socket, &Hello::Failed(failure)),
    };
    tell(&socket, &Hello::Ready)?;
    let mut inits = Inits::default();
    // Mostly one order is like the last.
    let mut known: Option<(Vec<u8>, Plan)> = None;
    loop {
        inits.bury_until_spoken_to(&socket)?;
        let Some((words, mut attached)) = receive(&socket, &mut buffer)? else {
            return Ok(());
        };
        if attached.is_empty() {
            continue;
        }
        let mut control = UnixStream::from(attached.remove(0));
        if known.as_ref().is_none_or(|(last, _)| last != words) {
            known = Some((words.to_vec(), Plan::of(wire::parse(words)?, &setup, &filters)?));
        }
        match inits.clone_one(&setup) {
            Ok(false) => {}
            Ok(true) => {
                drop(socket);
                if let Some((_, plan)) = known {
                    init::run(plan, control, attached, &filters, &setup)
                }
                return Ok(());
            }
            // When the program has gone away in the meantime there is nobody to tell.
            Err(failure) => {
                let _ = wire::send(&mut control, &Reply::Failed(failure), &[]);
            }
        }
    }
}

/// The inits that live, and the networks that they have.
#[derive(Default)]
struct Inits {
    living: usize,
    networks: Networks,
}

impl Inits {
    /// Clones one. Whether this process is it.
    fn clone_one(&mut self, setup: &Setup) -> Result<bool, Failure> {
        let network = match setup.without.contains(&Defence::Network) {
            true => None,
            false => Some(self.networks.enter(setup.without.contains(&Defence::NewNetwork))?),
        };
        let init = kernel::clone_process(init::NAMESPACES)
            .map_err(|err| Failure::new("creating the namespaces of a sandbox", &err))?;
        let Some(init) = init else {
            return Ok(true);
        };
        self.living += 1;
        if let Some(network) = network {
            self.networks.lend(network, init);
        }
        Ok(false)
    }

    /// Waits until something can be received. Inits that have ended meanwhile are buried, soon if not
    /// at once.
    fn bury_until_spoken_to(&mut self, socket: &OwnedFd) -> io::Result<()> {
        loop {
            let mut polled = [PollFd::new(socket, PollFlags::IN)];
            let patience = (self.living > 0).then_some(&GLANCE);
            let ready = rustix::io::retry_on_intr(|| poll(&mut polled, patience))?;
            while let Ok(Some((init, _))) = wait(WaitOptions::NOHANG) {
                self.living = self.living.saturating_sub(1);
                self.networks.take_back(init);
            }
            if ready > 0 {
                return Ok(());
            }
        }
    }
}

/// Waits for a datagram; `None` when the program has closed the socket.
fn receive<'a>(
    socket: &OwnedFd,
    buffer: &'a mut [u8],
) -> io::Result<Option<(&'a [u8], Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut slices = [IoSliceMut::new(buffer)];
        recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut attached = Vec::with_capacity(MAX_DESCRIPTORS);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            attached.extend(fds);
        }
    }
    Ok(Some((&buffer[..received.bytes], attached)))
}

fn tell(socket: &OwnedFd, hello: &Hello) -> io::Result<()> {
    let bytes = serde_json::to_vec(hello).map_err(io::Error::other)?;
    send(socket, &bytes, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Makes the helper ready to clone sandboxes.
fn prepare(setup: &Setup) -> Result<Filters, Failure> {
    let step = |name: &'static str| move |err: io::Error| Failure::new(name, &err);
    kernel::keep_dead_children();
    let from_root = own_namespaces()?;
    root::build(setup)?;
    if from_root {
        become_nobody().map_err(step("taking an unprivileged identity"))?;
    }
    let filtered = || {
        let filters = Filters::compile()?;
        if !setup.without.contains(&Defence::Filter) {
            filters.install_early()?;
        }
        Ok(filters)
    };
    let filters = filtered().map_err(step("filtering system calls"))?;
    // Every init is a copy of this process: what is not there need not be copied.
    kernel::release_free_memory();
    Ok(filters)
}

/// Moves into a user and a mount namespace. Whether the user inside is still the machine's root,
/// with an unprivileged identity to change to.
fn own_namespaces() -> Result<bool, Failure> {
    const NEW: &str = "creating a user namespace";
    const MAP: &str = "mapping the user of a user namespace";
    let (uid, gid) = (geteuid(), getegid());
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    if uid.is_root() {
        // Where a container forbids this, the groups are root's own anyway.
        let _ = set_thread_groups(&[]);
        let (wait, go) = std::io::pipe().map_err(|err| Failure::new(NEW, &err))?;
        let helper = getpid();
        let mapper = kernel::clone_process(0).map_err(|err| Failure::new(NEW, &err))?;
        let Some(mapper) = mapper else {
            drop(go);
            std::process::exit(i32::from(map_from_outside(helper, wait).is_err()));
        };
        kernel::unshare(flags).map_err(|err| Failure::new(NEW, &err))?;
        let mapped = tell_to_map(go, mapper).map_err(|err| Failure::new(MAP, &err))?;
        if mapped {
            return Ok(true);
        }
    } else {
        kernel::unshare(flags).map_err(|err| Failure::new(NEW, &err))?;
    }
    // Without the right to map anybody else: the user is who started us.
    map_self(uid.as_raw(), gid.as_raw()).map_err(|err| Failure::new(MAP, &err))?;
    Ok(false)
}

/// Writes the map of the helper's user namespace, which only a process outside of it may do when
/// it names more than one user: root, to build with, and the unprivileged one.
fn map_from_outside(helper: Pid, mut wait: std::io::PipeReader) -> io::Result<()> {
    let mut word = [0];
    io::Read::read_exact(&mut wait, &mut word)?;
    let map = format!("0 0 1\n{INSIDE} {NOBODY} 1\n");
    let helper = helper.as_raw_nonzero();
    std::fs::write(format!("/proc/{helper}/uid_map"), &map)?;
    std::fs::write(format!("/proc/{helper}/gid_map"), &map)
}

fn tell_to_map(mut go: std::io::PipeWriter, mapper: Pid) -> io::Result<bool> {
    // When the mapper is gone already, its status says what that means.
    let _ = io::Write::write_all(&mut go, &[1]);
    let status = rustix::io::retry_on_intr(|| waitpid(Some(mapper), WaitOptions::empty()))?;
    Ok(status.is_some_and(|(_, status)| status.exit_status() == Some(0)))
}

/// Maps [`INSIDE`] to `uid` and `gid` of the namespace above, for this process's own namespace.
fn map_self(uid: u32, gid: u32) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{INSIDE} {uid} 1\n"))?;
    std::fs::write("/proc/self/gid_map", format!("{INSIDE} {gid} 1\n"))
}

/// Maps [`INSIDE`] to the same user and group of the helper's namespace, for a new sandbox's.
pub(super) fn map_inside() -> io::Result<()> {
    const MAP: &str = "1000 1000 1\n";
    const _: () = assert!(INSIDE == 1000, "as the map says");
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", MAP)?;
    std::fs::write("/proc/self/gid_map", MAP)
}

/// Becomes the unprivileged user of the namespace, keeping the capabilities over the namespace
/// that making sandboxes needs.
fn become_nobody() -> io::Result<()> {
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    let gid = rustix::process::Gid::from_raw(INSIDE);
    let uid = rustix::process::Uid::from_raw(INSIDE);
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // A change of identity hides a process from its own /proc files, which map users.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    Ok(())
}
