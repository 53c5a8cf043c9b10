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
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

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
/// The network of this process.
const OWN: &str = "/proc/self/ns/net";
/// The sockets that are open in a network, and how it begins where none is. What follows tells of the
/// whole machine, or of packets, as others do.
const SOCKETS: &str = "/proc/self/net/sockstat";
const NO_SOCKET: &[u8] = b"sockets: used 0\n";
/// What else tells of the use of a network: packets, counters, labels of flows.
const TRACES: &[&str] = &[
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
    waiting: Vec<OwnedFd>,
    lent: BTreeMap<i32, OwnedFd>,
}

impl Networks {
    /// Moves this process into a network that nobody has used; what it clones next has it too. Only a
    /// test does not look (`trusting`).
    ///
    /// # Errors
    /// When the kernel makes no new one.
    pub(super) fn enter(&mut self, trusting: bool) -> Result<Network, Failure> {
        while let Some(network) = self.waiting.pop() {
            if move_into(&network).is_ok() && (trusting || self.is_unused()) {
                return Ok(Network(Some(network)));
            }
        }
        let step = |name: &'static str| move |err: io::Error| Failure::new(name, &err);
        kernel::unshare(UnshareFlags::NEWNET)
            .map_err(step("creating the network namespace of a sandbox"))?;
        raise_loopback().map_err(step("raising the loopback interface"))?;
        if self.unused.is_none() {
            let mut traces = Vec::new();
            self.unused =
                read_traces(&mut |part| traces.extend_from_slice(part)).ok().map(|()| traces);
        }
        // One that cannot be held, where descriptors are few, goes with its sandbox.
        let held = File::open(OWN).and_then(|own| {
            let first = FIRST_DESCRIPTOR as i32;
            Ok(rustix::io::fcntl_dupfd_cloexec(own, first)?)
        });
        Ok(Network(held.ok()))
    }

    /// Whether nothing tells the network that this process is in from a new one.
    fn is_unused(&self) -> bool {
        let Some(unused) = &self.unused else {
            return false;
        };
        let mut start = [0; NO_SOCKET.len()];
        let read = File::open(SOCKETS).and_then(|mut file| file.read_exact(&mut start));
        if read.is_err() || start != *NO_SOCKET {
            return false;
        }
        let mut rest = Some(unused.as_slice());
        let read = read_traces(&mut |part| rest = rest.and_then(|rest| rest.strip_prefix(part)));
        read.is_ok() && rest.is_some_and(<[u8]>::is_empty)
    }

    /// The network that was entered belongs to the sandbox of this init until that has ended.
    pub(super) fn lend(&mut self, network: Network, init: Pid) {
        if let Network(Some(network)) = network {
            self.lent.insert(init.as_raw_nonzero().get(), network);
        }
    }

    /// Takes the network of an init back, after its end.
    pub(super) fn take_back(&mut self, init: Pid) {
        let network = self.lent.remove(&init.as_raw_nonzero().get());
        if self.waiting.len() < MAX_WAITING {
            self.waiting.extend(network);
        }
    }
}

fn move_into(network: &OwnedFd) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(network.as_fd(), kind)?)
}

/// A network that was entered.
pub(super) struct Network(Option<OwnedFd>);

/// Reads what tells of the use of the network that this process is in, piece by piece.
fn read_traces(each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    // On the stack: the helper shares other memory with the inits that it has cloned, and the kernel
    // copies what is written to.
    let mut chunk = [0; 4 << 10];
    for name in TRACES {
        let mut file = match File::open(name) {
            // Kernels without IPv6 have no files of it.
            Err(err) if err.kind() == io::ErrorKind::NotFound && name.contains('6') => continue,
            opened => opened?,
        };
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            each(&chunk[..count]);
        }
    }
    Ok(())
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
