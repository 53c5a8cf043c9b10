//! Landlock, one more lock where the kernel has it: what is in a sandbox may write below its own
//! places and to the devices, and nowhere else, whatever the mounts say. A process under it can
//! also mount nothing.
//!
//! Only writing is named, so nothing changes for programs that read; and where both refuse, the
//! read-only mounts refuse first, so errors read the same with and without it. Version 1 cannot
//! allow a file to be renamed from one directory into another, so version 2 is needed.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

use super::{WORKSPACE, kernel};

/// The oldest version that sandboxes can live with.
pub(crate) const OLDEST: i64 = 2;

/// The rights as the kernel numbers them.
const WRITE_FILE: u64 = 1 << 1;
/// From removing a directory to making a link, in one row.
const CHANGE_FOLDER: u64 = ((1 << 13) - 1) & !((1 << 4) - 1);
const REFER: u64 = 1 << 13;
/// Since version 3.
const TRUNCATE: u64 = 1 << 14;

/// What a sandbox has for itself.
const OWN: &[&str] = &[WORKSPACE, "/tmp", "/dev/shm"];
/// Files of devices, and of the kernel about processes.
const OTHERS: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/proc"];

#[repr(C)]
struct Ruleset {
    handled: u64,
}

#[repr(C, packed)]
struct Below {
    allowed: u64,
    parent: i32,
}

/// Puts this process, and all that come from it, under Landlock. Whether the kernel has it; the
/// process must have given up new privileges.
///
/// # Errors
/// When the kernel has it and refuses.
pub(crate) fn restrict() -> io::Result<bool> {
    let version = kernel::landlock_version().unwrap_or(0);
    if version < OLDEST {
        return Ok(false);
    }
    let truncate = if version >= 3 { TRUNCATE } else { 0 };
    let all = WRITE_FILE | CHANGE_FOLDER | REFER | truncate;
    let ruleset = create(all)?;
    for place in OWN {
        allow(&ruleset, place, all)?;
    }
    for place in OTHERS {
        allow(&ruleset, place, WRITE_FILE | truncate)?;
    }
    enforce(&ruleset)?;
    Ok(true)
}

#[expect(unsafe_code, reason = "rustix has no Landlock")]
fn create(handled: u64) -> io::Result<OwnedFd> {
    let rules = Ruleset { handled };
    let size = size_of::<Ruleset>();
    // SAFETY: the kernel reads `size` bytes of the structure, and the descriptor that it answers
    // belongs to nobody else.
    unsafe {
        let fd = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size, 0u32);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

#[expect(unsafe_code, reason = "rustix has no Landlock")]
fn allow(ruleset: &OwnedFd, place: &str, allowed: u64) -> io::Result<()> {
    const BELOW_A_PATH: u32 = 1;
    let parent = open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let rule = Below { allowed, parent: parent.as_raw_fd() };
    // SAFETY: the kernel reads the structure, and both descriptors are open.
    let done = unsafe {
        let (ruleset, rule) = (ruleset.as_raw_fd(), &raw const rule);
        libc::syscall(libc::SYS_landlock_add_rule, ruleset, BELOW_A_PATH, rule, 0u32)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "rustix has no Landlock")]
fn enforce(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: the call takes a descriptor and a number.
    let done =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
