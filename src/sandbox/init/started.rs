//! Commands that may go on while others run: starting one, waiting for it, telling of it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::super::command::{self, Ended};
use super::super::jobs::{self, Word};
use super::super::wire::{self, Job, Reply};
use super::yard::Yard;
use super::{Init, placed};

impl Init {
    /// Starts a command that may go on while others run.
    pub(super) fn start(
        &mut self,
        job: &Job,
        wait_ms: u64,
        timeout_ms: Option<u64>,
        open_input: bool,
    ) -> io::Result<()> {
        let (stdin, input) = match open_input {
            true => {
                let (theirs, ours) = jobs::input_pipe()?;
                (theirs, Some(ours))
            }
            false => (OwnedFd::from(File::open("/dev/null")?), None),
        };
        let mut yard =
            Yard::of(&self.senses, &self.control.input, &mut self.lingering, &mut self.jobs);
        let workdir = placed(&job.workdir);
        let begun = match command::begin(job, &workdir, stdin, &self.around, &mut yard) {
            Ok(Ok(begun)) => begun,
            Ok(Err(ended)) => return self.tell(ended),
            Err(err) => return self.say(&Reply::Broken(format!("starting a command: {err}"))),
        };
        let pid = begun.main.as_raw_nonzero().get();
        let timeout = timeout_ms.map(Duration::from_millis);
        let number = self.jobs.add(begun, input, self.around.output, timeout);
        // Without patience it goes on, however quick it may be: nothing else would be the same twice.
        if wait_ms > 0 {
            self.attend(number, wait_ms)?;
        }
        if wait_ms == 0 || !self.jobs.has_ended(number) {
            return self.say(&Reply::Runs { number, pid });
        }
        match self.jobs.hear(number) {
            Some(Word { exit: Some(exit), output, dropped, .. }) => {
                self.tell(Ended { exit, output, dropped, report: Vec::new(), lingering: None })
            }
            _ => self.say(&Reply::Broken("a command that ended without an end".to_string())),
        }
    }

    /// Waits for the end of a started command.
    pub(super) fn attend(&mut self, number: u32, wait_ms: u64) -> io::Result<()> {
        let until = Instant::now().checked_add(Duration::from_millis(wait_ms));
        while !self.jobs.has_ended(number) {
            let left = until
                .map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            // Once more even when there is no time: what has happened already counts.
            let came = self.idle(Some(left))?;
            if came {
                // Nobody asks while an answer is due: the program has gone away.
                return Err(io::ErrorKind::Interrupted.into());
            }
            if left.is_zero() {
                break;
            }
        }
        self.jobs.tend(&mut self.lingering);
        Ok(())
    }

    pub(super) fn tell_job(&mut self, number: u32) -> io::Result<()> {
        match self.jobs.hear(number) {
            Some(Word { output, dropped, ran, exit }) => {
                let ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
                wire::send(
                    &self.control.output,
                    &Reply::Heard { exit, dropped, ran_ms },
                    &[&output],
                )
            }
            None => self.say(&Reply::Refused(Errno::SRCH.raw_os_error())),
        }
    }
}
