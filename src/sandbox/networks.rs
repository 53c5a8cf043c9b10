//! The networks of sandboxes: the helper makes them, and lends one to each.
//!
//! Making a network is the dearest part of a sandbox: the kernel builds tables, settings and
//! counters anew, and takes them down again. Most commands never touch it. So a network comes back
//! when the sandbox that had it is gone, and the next sandbox gets it, if nothing tells it from a new
//! one: no socket is open in it, no packet has passed its interface, and every counter stands where
//! it stands in a new one, those of what was tried in vain among them. A network that was used at all
//! is never used again. No two sandboxes have the same one at once, and since it belongs to the
//! helper's user namespace, nothing in a sandbox has any power over it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::kernel;
use super::wire::Failure;

/// Descriptors of networks are not below this one: what else the helper has open is, so that an init
/// can close them all at once.
pub(super) const FIRST_DESCRIPTOR: u32 = 64;
/// Networks that wait for the next sandbox. Each is some hundred kilobytes of the kernel's memory.
const MAX_WAITING: usize = 32;
/// Networks whose files are kept open. Each init is cloned with all descriptors of the helper, and
/// closes them, which with many networks takes longer than opening files does.
const MAX_OPEN: usize = 32;
/// The network of this process.
const OWN: &str = "/proc/self/ns/net";
/// The sockets that are open in a network, and how it begins where none is. What follows tells of the
/// whole machine, or of packets, as others do.
const SOCKETS: &str = "/proc/self/net/sockstat";
const NO_SOCKET: &[u8] = b"sockets: used 0\n";
/// What else tells of the use of a network: packets, counters, labels of flows.
const TRACES: [&str; 5] = [
    "/proc/self/net/dev",
    "/proc/self/net/snmp",
    "/proc/self/net/netstat",
    "/proc/self/net/snmp6",
    "/proc/self/net/ip6_flowlabel",
];

/// All networks of a helper.
#[derive(Default)]
pub(super) struct Networks {
    /// What can be read of one that nobody has used.
    unused: Option<Vec<u8>>,
    waiting: Vec<Held>,
    lent: BTreeMap<i32, Held>,
}

/// A network that is kept.
struct Held {
    network: OwnedFd,
    /// Its files, where they are kept too.
    files: Option<Files>,
}

/// A network that was entered.
pub(super) struct Network(Option<Held>);

impl Networks {
    /// Moves this process into a network that nobody has used; what it clones next has it too. Only a
    /// test does not look (`trusting`).
    ///
    /// # Errors
    /// When the kernel makes no new one.
    pub(super) fn enter(&mut self, trusting: bool) -> Result<Network, Failure> {
        while let Some(held) = self.waiting.pop() {
            if move_into(&held.network).is_ok() && (trusting || self.is_unused(&held)) {
                return Ok(Network(Some(held)));
            }
        }
        let step = |name: &'static str| move |err: io::Error| Failure::new(name, &err);
        kernel::unshare(UnshareFlags::NEWNET)
            .map_err(step("creating the network namespace of a sandbox"))?;
        raise_loopback().map_err(step("raising the loopback interface"))?;
        let mut files = Files::open().ok();
        if self.unused.is_none()
            && let Some(files) = &files
        {
            let mut traces = Vec::new();
            let read = files.read_traces(&mut |part| traces.extend_from_slice(part));
            self.unused = read.ok().map(|()| traces);
        }
        if self.waiting.len() + self.lent.len() >= MAX_OPEN {
            files = None;
        }
        // One that cannot be held, where descriptors are few, goes with its sandbox.
        let network = File::open(OWN).and_then(above_all_others);
        Ok(Network(network.ok().map(|network| Held { network, files })))
    }

    /// Whether nothing tells the network that this process is in from a new one.
    fn is_unused(&self, held: &Held) -> bool {
        let Some(unused) = &self.unused else {
            return false;
        };
        let opened;
        let files = match &held.files {
            Some(files) => files,
            None => match Files::open() {
                Ok(files) => {
                    opened = files;
                    &opened
                }
                Err(_) => return false,
            },
        };
        let mut rest = Some(unused.as_slice());
        let mut each = |part: &[u8]| rest = rest.and_then(|rest| rest.strip_prefix(part));
        files.has_no_socket().is_ok_and(|none| none)
            && files.read_traces(&mut each).is_ok()
            && rest.is_some_and(<[u8]>::is_empty)
    }

    /// The network that was entered belongs to the sandbox of this init until that has ended.
    pub(super) fn lend(&mut self, network: Network, init: Pid) {
        if let Network(Some(held)) = network {
            self.lent.insert(init.as_raw_nonzero().get(), held);
        }
    }

    /// Takes the network of an init back, after its end.
    pub(super) fn take_back(&mut self, init: Pid) {
        let held = self.lent.remove(&init.as_raw_nonzero().get());
        if self.waiting.len() < MAX_WAITING {
            self.waiting.extend(held);
        }
    }
}

fn move_into(network: &OwnedFd) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(network.as_fd(), kind)?)
}

/// Gives a descriptor a number from which on all are closed at once.
fn above_all_others(file: File) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(file, FIRST_DESCRIPTOR as i32)?)
}

/// The files that tell of a network. Each is of the network that its opener was in, and says how that
/// is whenever it is read from its beginning.
struct Files {
    sockets: File,
    traces: [Option<File>; TRACES.len()],
}

impl Files {
    /// Those of the network that this process is in.
    fn open() -> io::Result<Files> {
        let open = |name: &str| File::open(name).and_then(above_all_others).map(File::from);
        let mut traces = [const { None }; TRACES.len()];
        for (trace, name) in traces.iter_mut().zip(TRACES) {
            *trace = match open(name) {
                // Kernels without IPv6 have no files of it.
                Err(err) if err.kind() == io::ErrorKind::NotFound && name.contains('6') => None,
                opened => Some(opened?),
            };
        }
        Ok(Files { sockets: open(SOCKETS)?, traces })
    }

    fn has_no_socket(&self) -> io::Result<bool> {
        let mut start = [0; NO_SOCKET.len()];
        self.sockets.read_exact_at(&mut start, 0)?;
        Ok(start == *NO_SOCKET)
    }

    /// Reads what tells of the use of the network, piece by piece.
    fn read_traces(&self, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        // On the stack: the helper shares other memory with the inits that it has cloned, and the
        // kernel copies what is written to.
        let mut chunk = [0; 4 << 10];
        for file in self.traces.iter().flatten() {
            let mut at = 0;
            loop {
                let count = file.read_at(&mut chunk, at)?;
                if count == 0 {
                    break;
                }
                each(&chunk[..count]);
                at += count as u64;
            }
        }
        Ok(())
    }
}

/// Raises `lo`, the only network interface of a sandbox, with one message to the kernel.
fn raise_loopback() -> io::Result<()> {
    const NEW_LINK: u16 = 16;
    const REQUEST_WITH_ANSWER: u16 = 1 | 4;
    const LOOPBACK: i32 = 1;
    const UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    // The header: length, kind, flags, sequence number, sender.
    message.extend_from_slice(&32u32.to_ne_bytes());
    message.extend_from_slice(&NEW_LINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST_WITH_ANSWER.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    // The interface: family and kind (any), index, flags, and which flags are meant.
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&LOOPBACK.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes());

    // Protocol 0 of this family is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0u8; 64];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    // An error message: its header, then the negated number of the error, 0 for none.
    match answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) if length >= 20 => Ok(()),
        Some(code) if length >= 20 => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
