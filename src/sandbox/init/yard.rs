//! The ground that commands run on inside a sandbox.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, WaitStatus};

use super::super::command::{self, Ground};
use super::super::defence::Defence;
use super::super::jobs::Jobs;
use super::super::processes;
use super::{Senses, bury};

/// Where commands run inside a sandbox.
pub(super) struct Yard<'a> {
    senses: &'a Senses,
    control: BorrowedFd<'a>,
    lingering: &'a mut Vec<OwnedFd>,
    jobs: &'a mut Jobs,
    main: Option<Pid>,
    status: Option<WaitStatus>,
}

impl<'a> Yard<'a> {
    /// For one command that begins.
    pub(super) fn of(
        senses: &'a Senses,
        control: &'a File,
        lingering: &'a mut Vec<OwnedFd>,
        jobs: &'a mut Jobs,
    ) -> Yard<'a> {
        Yard { senses, control: control.as_fd(), lingering, jobs, main: None, status: None }
    }
}

impl Ground for Yard<'_> {
    fn started(&mut self, main: Pid) -> io::Result<()> {
        self.main = Some(main);
        Ok(())
    }

    /// Commands are to be killed first when memory runs out, here or on the whole machine, and this
    /// process never for them: it says so of each that takes longer than a moment.
    fn stays(&mut self) {
        if let Some(main) = self.main {
            processes::go_first(main);
        }
    }

    fn events(&self) -> BorrowedFd<'_> {
        self.senses.children.as_fd()
    }

    fn ended(&mut self) -> Option<WaitStatus> {
        let (senses, jobs, main, found) =
            (self.senses, &mut *self.jobs, self.main, &mut self.status);
        bury(senses, &mut |pid, status| {
            if Some(pid) == main {
                *found = Some(status);
            } else {
                jobs.note(pid, status, senses.memory_kills());
            }
        });
        self.status
    }

    fn kill(&mut self) {
        let Some(main) = self.main else { return };
        if self.senses.without.contains(&Defence::Tree) {
            let _ = rustix::process::kill_process(main, rustix::process::Signal::TERM);
            return;
        }
        let alone = !self.jobs.any_beside(None);
        let mut burying = || {
            self.ended();
        };
        if alone {
            processes::kill_since(main, &mut burying);
        } else {
            processes::kill_tree(main, &mut burying);
        }
    }

    fn leash(&self) -> Option<BorrowedFd<'_>> {
        Some(self.control)
    }

    fn watch<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        polled.extend(self.lingering.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        self.jobs.watch(polled);
    }

    fn tend(&mut self) {
        command::empty(self.lingering);
        self.jobs.tend(self.lingering);
    }

    fn watches_memory(&self) -> bool {
        self.senses.watches_memory()
    }

    fn over_memory(&mut self) -> bool {
        self.senses.over_memory()
    }

    /// The command goes first; when something older is to blame, that goes too.
    fn relieve(&mut self) {
        self.kill();
        if self.senses.over_memory() {
            processes::kill_all();
        }
    }

    fn memory_kills(&mut self) -> u64 {
        self.senses.memory_kills()
    }
}
