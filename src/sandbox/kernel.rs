//! The few kernel calls that rustix does not offer, or not as safe functions.
//!
//! All of them are for the helper and for what it clones, which have one thread each.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Clones this process, as `fork` does, with the `CLONE_*` bits of `flags`. The child gets `None`.
///
/// # Errors
/// When the kernel refuses, for instance because new namespaces are forbidden.
#[expect(unsafe_code, reason = "rustix has no fork and no clone")]
pub(crate) fn clone_process(flags: u64) -> io::Result<Option<Pid>> {
    let flags = flags | libc::SIGCHLD as u64;
    // SAFETY: no new stack is given, so the child runs on a copy of this one, as after a fork. The
    // callers have one thread, so that no lock can be held by a thread that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid as i32)),
    }
}

/// Moves this process into new namespaces.
#[expect(unsafe_code, reason = "unshare is unsafe for programs that share descriptors by thread")]
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the descriptor table is not unshared, and there is only this thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Closes every descriptor from `first` on that this process inherited, and has no use for.
#[expect(unsafe_code, reason = "rustix has no close_range")]
pub(crate) fn close_inherited(first: u32) -> io::Result<()> {
    // SAFETY: called first thing in a process, when nothing that it uses owns such a descriptor.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives memory that was freed back to the kernel, where the C library keeps some for later.
#[cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "rustix has no allocator"))]
pub(crate) fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets children of this process wait to be buried by it, even where the program was started by one
/// that does not care for its own.
#[expect(unsafe_code, reason = "rustix does not set signal dispositions")]
pub(crate) fn keep_dead_children() {
    // SAFETY: the default disposition is no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// A descriptor that becomes readable when a child ends. Read it to arm it again.
#[expect(unsafe_code, reason = "rustix has no signalfd and no signal masks")]
pub(crate) fn child_events() -> io::Result<OwnedFd> {
    keep_dead_children();
    // SAFETY: the set is initialised by sigemptyset before it is used, and a descriptor that
    // signalfd returns belongs to nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// The version of the Landlock interface, if the kernel has it.
#[expect(unsafe_code, reason = "rustix has no Landlock")]
pub(crate) fn landlock_version() -> Option<i64> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the call takes no attributes and only answers a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION)
    };
    (version > 0).then_some(version)
}
