//! Control groups: one per sandbox, for memory, where the machine lets us have them.
//!
//! A group is made next to or below the one that the program runs in, so that its limits (a batch
//! job's, say) hold as well. Version 1 needs write access to our own group of the memory
//! controller, which root has. Version 2 keeps processes and sub-groups apart, so the nearest
//! group above ours is used that hands memory down and that we may write to: a user session or a
//! service with `Delegate=yes` has one. Where there is none, the sandbox's init watches instead.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, test_kill_process};

use super::{Limits, confine};

/// What the names of our groups start with; the number of the process and a count follow.
const NAME: &str = "claw-";
/// What an init itself needs on top of what its commands may hold.
const OVERHEAD: u64 = 16 << 20;

/// The place where groups are made.
pub(crate) struct Cgroups {
    base: PathBuf,
    version: Version,
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
        let found = Cgroups { base, version, left: Mutex::new(Vec::new()) };
        found.remove_stale();
        let trial = Arc::new(found);
        if let Err(err) = Cgroup::make(&trial, 64 << 20, 16) {
            return Err(format!("{} is not ours to use: {err}", trial.base.display()));
        }
        Arc::into_inner(trial).ok_or_else(|| "the trial group is still there".to_string())
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
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(path);
        left.retain(|path| {
            std::fs::remove_dir(path).is_err_and(|err| err.kind() != io::ErrorKind::NotFound)
        });
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let mut left =
            std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
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

/// A sandbox's group. Removed when it is dropped, or as soon after as its processes have gone.
pub(crate) struct Cgroup {
    path: PathBuf,
    /// Writing `0` to it moves the writer in.
    pub(crate) procs: File,
    /// Tells how many of its processes the kernel has killed for memory.
    pub(crate) counter: File,
    all: Arc<Cgroups>,
}

impl Cgroup {
    /// Makes a group for a sandbox with a workspace of `files` bytes, which lie in memory too.
    pub(crate) fn new(all: &Arc<Cgroups>, limits: &Limits, files: u64) -> io::Result<Cgroup> {
        let memory = confine::whole_memory(limits).saturating_add(files).saturating_add(OVERHEAD);
        Cgroup::make(all, memory, u64::from(limits.processes).saturating_add(1))
    }

    fn make(all: &Arc<Cgroups>, memory: u64, processes: u64) -> io::Result<Cgroup> {
        // Of the whole process: several backends may make groups in one place.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = all.base.join(format!("{NAME}{}-{number}", std::process::id()));
        match std::fs::create_dir(&path) {
            // Of an earlier process with our number, and so a stale one.
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let made = limit(&path, all.version, memory, processes).and_then(|counter| {
            let procs = OpenOptions::new().write(true).open(path.join("cgroup.procs"))?;
            Ok((procs, File::open(path.join(counter))?))
        });
        match made {
            Ok((procs, counter)) => Ok(Cgroup { path, procs, counter, all: Arc::clone(all) }),
            Err(err) => {
                all.remove(path);
                Err(err)
            }
        }
    }

    /// How many processes the kernel has killed for memory in it.
    pub(crate) fn kills(&self) -> u64 {
        let name =
            if self.all.version == Version::One { "memory.oom_control" } else { "memory.events" };
        let text = std::fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.all.remove(std::mem::take(&mut self.path));
    }
}

/// Sets the limits of a group. The name of the file that counts kills.
fn limit(path: &Path, version: Version, memory: u64, processes: u64) -> io::Result<&'static str> {
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
