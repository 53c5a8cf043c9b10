//! One writer per store. Readers never wait: they read packs and run logs, which are only appended.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::objects::StoreError;

/// How often, and how many milliseconds apart, the lock is tried. A process that was just started
/// by the holder shares its lock until it begins its own program; that passes in a moment.
const TRIES: (u32, u64) = (20, 15);

/// Held while a process writes to the store; the system lets go of it when the process dies.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock and leaves a note of who holds it.
    pub(super) fn take(store: &Path, who: &str) -> Result<Lock, StoreError> {
        let path = store.join("lock");
        let io =
            |source| StoreError::Io { doing: "opening", path: path.display().to_string(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        if !wait_for(&file) {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.lines().next().unwrap_or_default().trim();
            let holder = if holder.is_empty() { "another claw process" } else { holder };
            return Err(StoreError::Locked(holder.to_string()));
        }
        // First the note, then its end: somebody who reads it meanwhile never finds it empty.
        let note = format!("process {} ({who})\n", std::process::id());
        file.write_all_at(note.as_bytes(), 0).map_err(io)?;
        file.set_len(note.len() as u64).map_err(io)?;
        Ok(Lock { _file: file })
    }
}

fn wait_for(file: &File) -> bool {
    for attempt in 0..TRIES.0 {
        if attempt > 0 {
            std::thread::sleep(std::time::Duration::from_millis(TRIES.1));
        }
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
    }
    false
}
