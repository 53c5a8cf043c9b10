//! Where the workspaces of `local` sandboxes are made, and what becomes of those whose program was
//! killed.
//!
//! They are in memory where there is plenty and programs may be run from it, as the `process` backend
//! has them there too: a disk's file system takes long to make and remove many small folders. `TMPDIR`
//! has its way. Memory is not given back when a program is killed, nor does anybody clear it as
//! `/tmp` is cleared. So each workspace is locked as long as its program lives, and the next program
//! removes those that nobody holds.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{FlockOperation, StatVfsMountFlags, flock};

use crate::sandbox::Limits;

/// What the names of their folders begin with.
pub(super) const PREFIX: &str = "claw-workspace-";
/// Memory that is a folder, on Linux.
const SHARED_MEMORY: &str = "/dev/shm";
/// How many full workspaces must have room in memory for one to be put there.
const ROOMY: u64 = 4;
/// How old a folder is before it is taken for left behind: a new one is locked a moment after it was
/// made.
const SETTLED: Duration = Duration::from_secs(60);

/// Where the workspace of a sandbox with these limits is made.
pub(super) fn ground(limits: &Limits) -> PathBuf {
    static FIT: OnceLock<bool> = OnceLock::new();
    let fit = *FIT.get_or_init(|| {
        let fit = std::env::var_os("TMPDIR").is_none() && is_fit();
        if fit {
            sweep(Path::new(SHARED_MEMORY), SETTLED);
        }
        fit
    });
    // Asked each time: the workspaces that are there already take what there is.
    let free = || {
        let system = rustix::fs::statfs(SHARED_MEMORY).ok()?;
        Some(system.f_bavail.saturating_mul(system.f_bsize as u64))
    };
    if fit && free().is_some_and(|free| free / ROOMY >= limits.disk) {
        PathBuf::from(SHARED_MEMORY)
    } else {
        std::env::temp_dir()
    }
}

/// Whether the memory is a folder, and programs may be run from it.
fn is_fit() -> bool {
    let unfit = StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY;
    let kind = rustix::fs::statfs(SHARED_MEMORY).map(|system| system.f_type);
    let flags = rustix::fs::statvfs(SHARED_MEMORY).map(|system| system.f_flag);
    kind.is_ok_and(|kind| kind == libc::TMPFS_MAGIC)
        && flags.is_ok_and(|flags| !flags.intersects(unfit))
}

/// Says that the workspace that was opened has a program. What that starts does not hold it.
pub(super) fn claim(workspace: impl AsFd) -> std::io::Result<()> {
    Ok(flock(workspace, FlockOperation::NonBlockingLockShared)?)
}

/// Removes the folders of workspaces that nobody has claimed for some time.
fn sweep(place: &Path, settled: Duration) {
    let Ok(entries) = std::fs::read_dir(place) else {
        return;
    };
    let ours = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let is_workspace = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let old = |meta: &std::fs::Metadata| {
            let age = meta.modified().ok().and_then(|changed| changed.elapsed().ok());
            meta.is_dir()
                && std::os::unix::fs::MetadataExt::uid(meta) == ours
                && age.is_some_and(|age| age >= settled)
        };
        if !is_workspace || !entry.metadata().is_ok_and(|meta| old(&meta)) {
            continue;
        }
        let free = std::fs::File::open(entry.path().join("workspace"))
            .is_ok_and(|held| flock(held, FlockOperation::NonBlockingLockExclusive).is_ok());
        if free {
            // What cannot be removed now is met again by the next program.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_any_more_is_removed() {
        let place = tempfile::tempdir().expect("a folder");
        let made = |name: &str| {
            let workspace = place.path().join(name).join("workspace");
            std::fs::create_dir_all(&workspace).expect("made");
            std::fs::write(workspace.join("large"), "of a rollout").expect("written");
            workspace
        };
        let (held, left, other) =
            (made("claw-workspace-a"), made("claw-workspace-b"), made("claw-other"));
        let program = std::fs::File::open(&held).expect("opened");
        claim(&program).expect("claimed");
        sweep(place.path(), SETTLED);
        assert!(left.exists(), "it may be about to be claimed");
        sweep(place.path(), Duration::ZERO);
        assert_eq!([&held, &left, &other].map(|path| path.exists()), [true, false, true]);
        drop(program);
        sweep(place.path(), Duration::ZERO);
        assert!(!held.exists());
    }
}
