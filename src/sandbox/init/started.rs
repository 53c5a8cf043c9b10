//! Commands that may go on while others run: starting one, waiting for it, telling of it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;

use super::super::command::{self, Ground};
use super::super::jobs::{self, Attend, TakenOn, Word};
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
        let kills = yard.memory_kills();
        let begun = match command::begin(job, &workdir, stdin, &self.around, kills) {
            Ok(Ok(begun)) => begun,
            Ok(Err(ended)) => return self.tell(ended),
            Err(err) => return self.say(&Reply::Broken(format!("starting a command: {err}"))),
        };
        yard.started(begun.main)?;
        yard.stays();
        let timeout = timeout_ms.map(Duration::from_millis);
        match self.take_on(begun, input, self.around.output, wait_ms, timeout) {
            Ok(TakenOn::Runs { number, pid }) => self.say(&Reply::Runs { number, pid }),
            Ok(TakenOn::Ended(ended)) => self.tell(ended),
            Err(err) => Err(err),
        }
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
