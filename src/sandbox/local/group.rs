//! The process group of a command in a `local` sandbox: how it is ended, and how its end is seen.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, waitpid,
};

/// The process group of one command, which its main process leads. Dropping one that has not been
/// seen to end kills it.
pub(super) struct Group {
    main: Pid,
    events: OwnedFd,
    status: Option<WaitStatus>,
}

impl Group {
    /// That of a command that has just begun.
    ///
    /// # Errors
    /// When it cannot be looked after; then it is killed.
    pub(super) fn of(main: Pid) -> io::Result<Group> {
        match pidfd_open(main, PidfdFlags::empty()) {
            Ok(events) => Ok(Group { main, events, status: None }),
            Err(err) => {
                end(main);
                Err(err.into())
            }
        }
    }

    /// The main process.
    pub(super) fn main(&self) -> Pid {
        self.main
    }

    /// Readable when the main process has ended.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// How the main process ended, if it has; it is buried then.
    pub(super) fn ended(&mut self) -> Option<WaitStatus> {
        if self.status.is_none()
            && let Ok(Some((_, status))) = waitpid(Some(self.main), WaitOptions::NOHANG)
        {
            self.status = Some(status);
        }
        self.status
    }

    /// Kills what is in the group.
    pub(super) fn kill(&mut self) {
        let _ = kill_process_group(self.main, Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended().is_none() {
            end(self.main);
        }
    }
}

/// Kills a group whose main process nobody has buried, and sees to that without being waited for.
fn end(main: Pid) {
    let _ = kill_process_group(main, Signal::KILL);
    let bury = move || {
        let _ = waitpid(Some(main), WaitOptions::empty());
    };
    // Without a thread it stays a zombie until the program ends.
    let _ = std::thread::Builder::new().name("burial".to_string()).spawn(bury);
}
