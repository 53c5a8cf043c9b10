//! Building a sandbox: what its first process does before it serves anybody.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, unmount};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};
use rustix::process::{Resource, chdir, pivot_root, setrlimit, setsid, umask};
use rustix::system::sethostname;
use rustix::thread::UnshareFlags;

use crate::sandbox::command::Surroundings;
use crate::sandbox::confine::{self, Filters};
use crate::sandbox::defence::Defence;
use crate::sandbox::helper::{INSIDE, map_self};
use crate::sandbox::root::ROOT;
use crate::sandbox::wire::{Failure, Order, Setup};
use crate::sandbox::{Limits, WORKSPACE, kernel, landlock};

use super::{HOME, Senses};

/// Builds the sandbox around this process and gives up the power to do so.
pub(super) fn build(
    order: &Order,
    attached: Vec<OwnedFd>,
    filters: Filters,
    setup: &Setup,
) -> Result<(Surroundings, Senses), Failure> {
    let step = |name: &'static str| move |err: io::Error| Failure::new(name, &err);
    let limits = &order.limits;
    let mut attached = attached.into_iter().map(File::from);
    let counter =
        join_group(order.counted, &mut attached).map_err(step("joining its control group"))?;
    map_self(INSIDE, INSIDE).map_err(step("mapping the user of a sandbox"))?;
    sethostname(b"sandbox").map_err(|err| step("naming the host")(err.into()))?;
    let holds = |defence| !setup.without.contains(&defence);
    if holds(Defence::Network) {
        raise_loopback().map_err(step("raising the loopback interface"))?;
    }
    mount_own(limits, holds(Defence::Disk))?;
    enter_root().map_err(step("entering the root"))?;

    let last = || -> io::Result<(Surroundings, Senses)> {
        let third = Surroundings::hold_third()?;
        // No user namespaces inside, even if a filter should have a hole.
        std::fs::write("/proc/sys/user/max_user_namespaces", "0")?;
        std::fs::create_dir(HOME)?;
        setsid()?;
        umask(Mode::WGRP | Mode::WOTH);
        rustix::thread::set_name(c"init")?;
        let own = u64::from(limits.processes).saturating_add(1);
        if holds(Defence::Processes) {
            setrlimit(Resource::Nproc, confine::bounded(Resource::Nproc, own))?;
        }
        let children = kernel::child_events()?;
        confine::give_up_privileges()?;
        if holds(Defence::Landlock) {
            landlock::restrict()?;
        }
        if holds(Defence::Filter) {
            filters.install_last()?;
        }
        let text = |text: &str| text.to_string();
        let around = Surroundings {
            env: [
                ("PATH", setup.path.as_str()),
                ("HOME", HOME),
                ("LANG", "C.UTF-8"),
                ("TZ", "UTC"),
                ("TERM", "dumb"),
            ]
            .map(|(name, value)| (text(name), text(value)))
            .into(),
            rlimits: {
                let mut all = confine::process_limits(limits, order.counted);
                all.retain(|(resource, _)| match resource {
                    Resource::Data => holds(Defence::Memory),
                    Resource::Fsize => holds(Defence::Disk),
                    _ => true,
                });
                all
            },
            filter: (!order.counted && holds(Defence::Filter)).then_some(filters.uncounted),
            output: limits.output,
            _third: third,
        };
        Ok((
            around,
            Senses {
                children,
                counter,
                limits: limits.clone(),
                files: 0,
                without: setup.without.clone(),
            },
        ))
    };
    last().map_err(step("giving up privileges"))
}

/// Moves into the control group whose files came with the order, and hides its place among others.
fn join_group(counted: bool, attached: &mut dyn Iterator<Item = File>) -> io::Result<Option<File>> {
    let counter = match (counted, attached.next(), attached.next()) {
        (true, Some(procs), Some(counter)) => {
            io::Write::write_all(&mut &procs, b"0")?;
            Some(counter)
        }
        (true, ..) => return Err(io::ErrorKind::InvalidInput.into()),
        (false, ..) => None,
    };
    // Kernels without this namespace are fine: nothing inside shows control groups but a text.
    let _ = kernel::unshare(UnshareFlags::NEWCGROUP);
    Ok(counter)
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

/// Mounts what no two sandboxes share.
fn mount_own(limits: &Limits, limited: bool) -> Result<(), Failure> {
    let told = |what: &'static str| move |err: Errno| Failure::new(what, &err.into());
    // A copy of the inherited mounts, which alone may become a root.
    mount_bind_recursive(ROOT, ROOT).map_err(told("binding the root"))?;
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    let own = |place: &str, size: u64, mode: &str| {
        // The root of a tmpfs counts as one of its files.
        let count = limits.files.saturating_add(1);
        let (size, count) = if limited { (size, count) } else { (1 << 30, 1 << 20) };
        let options =
            format!("size={size},nr_inodes={count},mode={mode},uid={INSIDE},gid={INSIDE}");
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        mount("tmpfs", format!("{ROOT}{place}"), "tmpfs", plain, Some(options.as_c_str()))
    };
    own(WORKSPACE, limits.disk, "0755").map_err(told("mounting /workspace"))?;
    own("/tmp", limits.disk, "1777").map_err(told("mounting /tmp"))?;
    own("/dev/shm", confine::shared_memory(limits), "1777").map_err(told("mounting /dev/shm"))?;
    let closed = plain | MountFlags::NOEXEC;
    mount("proc", format!("{ROOT}/proc"), "proc", closed, None).map_err(told("mounting /proc"))
}

fn enter_root() -> io::Result<()> {
    chdir(ROOT)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir(WORKSPACE)?;
    Ok(())
}
