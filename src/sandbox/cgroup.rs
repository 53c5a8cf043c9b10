//! Control groups: one per sandbox, for memory, where the machine lets us have them.
//!
//! A group is made next to or below the one that the program runs in, so that its limits (a batch
//! job's, say) hold as well. Version 1 needs write access to our own group of the memory
//! controller, which root has. Version 2 keeps processes and sub-groups apart, so the nearest
//! group above ours is used that hands memory down and that we may write to: a user session or a
//! service with `Delegate=yes` has one. Where there is none, the sandbox's init watches instead.
//!
//! To make a group and to remove it takes the kernel longer than to count in it. So one whose
//! sandbox is gone waits for the next with the same limits, which gets it if no process is left in
//! it, next to nothing is still counted there, and the kernel never killed anybody in it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, test_kill_process};

use super::{Limits, confine};

/// What the names of our groups start with; the number of the process and a count follow.
const NAME: &str = "claw-";
/// What an init itself needs on top of what its commands may hold.
const OVERHEAD: u64 = 16 << 20;
/// What may still be counted in a group that is used again: the kernel counts ahead, up to some
/// hundred kilobytes a processor.
const RESIDUE: u64 = 4 << 20;
/// Groups that wait for the next sandbox.
const MAX_WAITING: usize = 32;
/// How many of them are looked at before a new one is made.
const GLANCES: usize = 3;

/// The place where groups are made.
pub(crate) struct Cgroups {
    base: PathBuf,
    version: Version,
    /// Groups without a sandbox, the one that has waited longest in front.
    waiting: Mutex<VecDeque<Group>>,
    /// Groups whose last process had not quite gone when they were to be removed.
    left: Mutex<Vec<PathBuf>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroups {
    /// Finds the place.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(crate) fn find() -> Result<Cgroups, String> {
        let groups = std::fs::read_to_string("/proc/self/cgroup");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo");
        let (Ok(groups), Ok(mounts)) = (groups, mounts) else {
            return Err("this kernel has no control groups".to_string());
        };
        let (base, version) = match place(&groups, &mounts) {
            Some((own, Version::One, _)) => (own, Version::One),
            Some((own, Version::Two, top)) => (
                delegated(&own, &top)
                    .ok_or("no control group above ours hands memory down to us")?,
                Version::Two,
            ),
            None => return Err("no control group of this machine counts memory".to_string()),
        };
        let found = Cgroups { base, version, waiting: Mutex::default(), left: Mutex::default() };
        found.remove_stale();
        match found.make(Bounds { memory: 64 << 20, processes: 16 }) {
            Ok(trial) => found.remove(trial.path),
            Err(err) => return Err(format!("{} is not ours to use: {err}", found.base.display())),
        }
        Ok(found)
    }

    /// A group with these bounds: one that waits, or a new one.
    fn take(&self, bounds: Bounds) -> io::Result<Group> {
        for _ in 0..GLANCES {
            let group = {
                let mut waiting = lock(&self.waiting);
                let fits = waiting.iter().position(|group| group.bounds == bounds);
                fits.and_then(|at| waiting.remove(at))
            };
            let Some(group) = group else { break };
            match self.state(&group) {
                State::Ready => return Ok(group),
                State::Dying => lock(&self.waiting).push_back(group),
                State::Marked => self.remove(group.path),
            }
        }
        self.make(bounds)
    }

    /// Takes a group back whose processes are killed.
    fn give_back(&self, group: Group) {
        let mut waiting = lock(&self.waiting);
        waiting.push_back(group);
        let first = (waiting.len() > MAX_WAITING).then(|| waiting.pop_front()).flatten();
        drop(waiting);
        if let Some(first) = first {
            self.remove(first.path);
        }
    }

    /// What a sandbox left of the group that it had.
    fn state(&self, group: &Group) -> State {
        let counted = || {
            let name = match self.version {
                Version::One => "memory.usage_in_bytes",
                Version::Two => "memory.current",
            };
            std::fs::read_to_string(group.path.join(name)).ok()?.trim().parse::<u64>().ok()
        };
        // Opened each time: a file that stays open says for a second who was there before (version 1).
        let procs = std::fs::read(group.path.join("cgroup.procs"));
        if !procs.is_ok_and(|processes| processes.is_empty()) {
            State::Dying
        } else if counted().is_some_and(|bytes| bytes <= RESIDUE) && group.kills() == Some(0) {
            State::Ready
        } else {
            State::Marked
        }
    }

    fn make(&self, bounds: Bounds) -> io::Result<Group> {
        // Of the whole process: several backends may make groups in one place.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.base.join(format!("{NAME}{}-{number}", std::process::id()));
        match std::fs::create_dir(&path) {
            // Of an earlier process with our number, and so a stale one.
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let made = limit(&path, self.version, bounds).and_then(|counter| {
            let procs = OpenOptions::new().write(true).open(path.join("cgroup.procs"))?;
            Ok((procs, File::open(path.join(counter))?))
        });
        match made {
            Ok((procs, counter)) => Ok(Group { path, procs, counter, bounds }),
            Err(err) => {
                self.remove(path);
                Err(err)
            }
        }
    }

    /// Where groups are made, for a person.
    pub(crate) fn describe(&self) -> String {
        let version = if self.version == Version::One { 1 } else { 2 };
        format!(
            "memory is counted by control groups (version {version}) in {}",
            self.base.display()
        )
    }

    /// Removes the groups of programs that were killed.
    fn remove_stale(&self) {
        let Ok(entries) = std::fs::read_dir(&self.base) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(NAME));
            let pid = rest.and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
            let alive = |pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH);
            if pid.and_then(Pid::from_raw).is_some_and(|pid| !alive(pid)) {
                // A group with processes in it stays: removing is refused.
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }

    fn remove(&self, path: PathBuf) {
        let mut left = lock(&self.left);
        left.push(path);
        left.retain(|path| {
            std::fs::remove_dir(path).is_err_and(|err| err.kind() != io::ErrorKind::NotFound)
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut *lock(&self.left));
        left.extend(lock(&self.waiting).drain(..).map(|group| group.path));
        // The processes have been killed; the kernel takes a moment to let go of their memory.
        for _ in 0..100 {
            left.retain(|path| {
                std::fs::remove_dir(path).is_err_and(|err| err.kind() != io::ErrorKind::NotFound)
            });
            if left.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

/// What is left of a sandbox in the group that it had.
enum State {
    /// Nothing.
    Ready,
    /// Processes that were killed and have not quite gone.
    Dying,
    /// Memory that is counted still, or a count that does not begin at nothing.
    Marked,
}

/// What those in a group may have together.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bounds {
    /// Bytes.
    memory: u64,
    /// Where the version counts them.
    processes: u64,
}

struct Group {
    path: PathBuf,
    procs: File,
    counter: File,
    bounds: Bounds,
}

impl Group {
    /// How many processes the kernel has killed for memory in it, if that can be read.
    fn kills(&self) -> Option<u64> {
        let mut text = [0; 4096];
        let count = self.counter.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..count]).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
    }
}

/// A sandbox's group, which is dropped with it.
pub(crate) struct Cgroup {
    /// Some until it is dropped.
    group: Option<Group>,
    /// Whether an init has moved in. An order may still be under way to one that will.
    pub(crate) entered: bool,
    all: Arc<Cgroups>,
}

impl Cgroup {
    /// Makes a group for a sandbox with a workspace of `files` bytes, which lie in memory too.
    pub(crate) fn new(all: &Arc<Cgroups>, limits: &Limits, files: u64) -> io::Result<Cgroup> {
        let memory = confine::whole_memory(limits).saturating_add(files).saturating_add(OVERHEAD);
        let bounds = Bounds { memory, processes: u64::from(limits.processes).saturating_add(1) };
        Ok(Cgroup { group: Some(all.take(bounds)?), entered: false, all: Arc::clone(all) })
    }

    /// What its init needs of it: a file that moves in who writes `0` to it, and one that tells how
    /// many of its processes the kernel has killed for memory.
    pub(crate) fn files(&self) -> Option<[&File; 2]> {
        self.group.as_ref().map(|group| [&group.procs, &group.counter])
    }

    /// How many processes the kernel has killed for memory in it.
    pub(crate) fn kills(&self) -> u64 {
        self.group.as_ref().and_then(Group::kills).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        match self.group.take() {
            Some(group) if self.entered => self.all.give_back(group),
            Some(group) => self.all.remove(group.path),
            None => {}
        }
    }
}

/// Sets the limits of a group. The name of the file that counts kills.
fn limit(path: &Path, version: Version, bounds: Bounds) -> io::Result<&'static str> {
    let Bounds { memory, processes } = bounds;
    let set = |name: &str, value: u64| std::fs::write(path.join(name), value.to_string());
    // Some kernels are built without counting swap, or without this controller: then the other
    // limits hold by themselves.
    let try_set = |name: &str, value: u64| match set(name, value) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    match version {
        Version::One => {
            set("memory.limit_in_bytes", memory)?;
            try_set("memory.memsw.limit_in_bytes", memory)?;
            Ok("memory.oom_control")
        }
        Version::Two => {
            set("memory.max", memory)?;
            try_set("memory.swap.max", 0)?;
            try_set("pids.max", processes)?;
            Ok("memory.events")
        }
    }
}

/// Our own group of the hierarchy that counts memory, which version that is, and its top.
fn place(groups: &str, mounts: &str) -> Option<(PathBuf, Version, PathBuf)> {
    let mut first = None;
    let mut second = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if controllers.split(',').any(|name| name == "memory") {
            first = Some(path);
        } else if number == "0" {
            second = Some(path);
        }
    }
    let (path, version) = match (first, second) {
        (Some(path), _) => (path, Version::One),
        (None, path) => (path?, Version::Two),
    };
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut kind = right.split(' ');
        let fits = match (version, kind.next()?) {
            (Version::One, "cgroup") => kind.nth(1)?.split(',').any(|option| option == "memory"),
            (Version::Two, "cgroup2") => true,
            _ => false,
        };
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        fits.then(|| (Path::new(point).join(below), version, PathBuf::from(point)))
    })
}

/// The nearest group above `own` that hands memory down and that we may make groups in.
fn delegated(own: &Path, top: &Path) -> Option<PathBuf> {
    own.ancestors().skip(1).take_while(|path| path.starts_with(top)).find_map(|path| {
        let handed = std::fs::read_to_string(path.join("cgroup.subtree_control")).ok()?;
        let writable = rustix::fs::access(path.join("cgroup.procs"), rustix::fs::Access::WRITE_OK);
        let fits = handed.split_whitespace().any(|name| name == "memory") && writable.is_ok();
        fits.then(|| path.to_path_buf())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::print_stderr, reason = "nobody should take it for tested")]
    fn a_group_that_nothing_is_left_in_is_used_again() {
        let all = match Cgroups::find() {
            Ok(all) => Arc::new(all),
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let new = |processes: u32| {
            let limits = Limits { processes, ..Limits::default() };
            let mut one = Cgroup::new(&all, &limits, 0).expect("a group");
            one.entered = true;
            one
        };
        let path = |one: &Cgroup| one.group.as_ref().map(|group| group.path.clone());
        let first = new(9);
        let second = new(9);
        let used = path(&first);
        assert_ne!(used, path(&second), "each has its own");
        drop(first);
        assert_ne!(used, path(&new(7)), "other limits are another group's");

        // Somebody who has not gone yet keeps it from the next.
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().expect("starts");
        let procs = used.clone().expect("a path").join("cgroup.procs");
        std::fs::write(procs, sleeper.id().to_string()).expect("moved in");
        let third = new(9);
        assert_ne!(used, path(&third));
        sleeper.kill().expect("killed");
        sleeper.wait().expect("gone");
        let fourth = new(9);
        assert_eq!(used, path(&fourth), "now nobody is there");

        let paths = [&second, &third, &fourth].map(|one| path(one).expect("a path"));
        drop((second, third, fourth, all));
        assert!(paths.iter().all(|path| !path.exists()), "nothing stays");
    }

    #[test]
    fn our_own_group_is_found_in_either_version() {
        let mounts = "25 20 0:22 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            30 20 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            31 20 0:28 /docker /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        let hybrid = "4:memory:/docker/a:b\n1:cpu:/\n0::/\n";
        let found = place(hybrid, mounts).map(|(path, version, _)| (path, version == Version::One));
        assert_eq!(found, Some((PathBuf::from("/sys/fs/cgroup/memory/a:b"), true)));

        let found = place("0::/user.slice/x\n", mounts)
            .map(|(path, version, _)| (path, version == Version::Two));
        assert_eq!(found, Some((PathBuf::from("/sys/fs/cgroup/unified/user.slice/x"), true)));
        assert!(place("1:cpu:/\n", mounts).is_none());
    }
}
