//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process open as many files as the machine allows it to. What it may open without asking
/// is often 1024; a rollout takes up to five of them (its sandbox's socket and control group, its
/// model's connection). Commands in sandboxes have a limit of their own.
pub(super) fn allow_many() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where this is refused, things go on as they are, and opening one too many says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}
