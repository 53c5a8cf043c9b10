//! Building a sandbox: what its first process does before it serves anybody.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, chdir, setrlimit, setsid, umask};
use rustix::system::sethostname;
use rustix::thread::UnshareFlags;

use crate::sandbox::command::Surroundings;
use crate::sandbox::confine::{self, Filters};
use crate::sandbox::defence::Defence;
use crate::sandbox::helper::map_inside;
use crate::sandbox::wire::{Failure, Setup};
use crate::sandbox::{WORKSPACE, kernel, landlock};

use super::plan::Plan;
use super::{HOME, Senses};

/// Builds the sandbox around this process and gives up the power to do so.
pub(super) fn build(
    plan: Plan,
    attached: Vec<OwnedFd>,
    filters: &Filters,
    setup: &Setup,
) -> Result<(Surroundings, Senses), Failure> {
    let step = |name: &'static str| move |err: io::Error| Failure::new(name, &err);
    let Plan { order, places, processes, mut around } = plan;
    let mut attached = attached.into_iter().map(File::from);
    let counter =
        join_group(order.counted, &mut attached).map_err(step("joining its control group"))?;
    map_inside().map_err(step("mapping the user of a sandbox"))?;
    sethostname(b"sandbox").map_err(|err| step("naming the host")(err.into()))?;
    let holds = |defence| !setup.without.contains(&defence);
    mount_own(&places)?;
    // Giving memory back that the helper took writes to pages that are not written to else.
    std::mem::forget((places, attached));
    chdir(WORKSPACE).map_err(|err| step("entering /workspace")(err.into()))?;

    let last = || -> io::Result<(Surroundings, Senses)> {
        around._third = Surroundings::hold_third()?;
        // No user namespaces inside, even if a filter should have a hole.
        std::fs::write("/proc/sys/user/max_user_namespaces", "0")?;
        std::fs::create_dir(HOME)?;
        setsid()?;
        umask(Mode::WGRP | Mode::WOTH);
        rustix::thread::set_name(c"init")?;
        if let Some(processes) = processes {
            setrlimit(Resource::Nproc, processes)?;
        }
        let children = kernel::child_events()?;
        confine::give_up_privileges()?;
        if holds(Defence::Landlock) {
            landlock::restrict()?;
        }
        if holds(Defence::Filter) {
            filters.install_last()?;
        }
        let (limits, without) = (order.limits, setup.without.clone());
        Ok((around, Senses { children, counter, limits, files: 0, without }))
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

/// Mounts what no two sandboxes share over the places that the root has for it.
fn mount_own(places: &[(&'static str, &'static CStr, CString)]) -> Result<(), Failure> {
    let told = |what: &'static str| move |err: Errno| Failure::new(what, &err.into());
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    for (what, place, options) in places {
        mount(c"tmpfs", *place, c"tmpfs", plain, Some(options.as_c_str())).map_err(told(what))?;
    }
    let closed = plain | MountFlags::NOEXEC;
    mount(c"proc", c"/proc", c"proc", closed, None).map_err(told("mounting /proc"))
}
