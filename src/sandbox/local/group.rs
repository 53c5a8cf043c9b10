//! The process group of a command in a `local` sandbox: how it is ended, and how its end is seen.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open,
    test_kill_process_group, waitpid,
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
                let _ = kill_process_group(main, Signal::KILL);
                bury(main);
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

    /// The group, if the main process has ended and left others in it: then nobody else gets its
    /// number. One that nobody is left in is never named again.
    pub(super) fn left_behind(&self) -> Option<Pid> {
        (self.status.is_some() && test_kill_process_group(self.main).is_ok()).then_some(self.main)
    }

    /// Kills what is in the group, whose main process has not been seen to end.
    pub(super) fn kill(&mut self) {
        let _ = kill_process_group(self.main, Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        // First, as long as the number is certainly theirs.
        self.kill();
        if self.ended().is_none() {
            bury(self.main);
        }
    }
}

/// Sees to the burial of a main process that was killed, without being waited for.
fn bury(main: Pid) {
    let bury = move || {
        let _ = waitpid(Some(main), WaitOptions::empty());
    };
    // Without a thread it stays a zombie until the program ends.
    let _ = std::thread::Builder::new().name("burial".to_string()).spawn(bury);
}
