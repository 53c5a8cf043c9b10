//! Whose a container is, and removing those of processes that are gone.
//!
//! A container ends by itself when the process that ordered it does: the engine closes its
//! standard input, and removes it. Labels are for what that misses: an engine that was stopped at
//! that moment, a container that was made and never started. They name the kernel and the process
//! namespace that a process lives in, and the process with its starting time, so that nobody takes
//! a living stranger's containers for leftovers of its own.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

/// The label that says what a container or a volume is for.
pub(super) const PART: &str = "claw.part";
const HOME: &str = "claw.home";
const PROCESS: &str = "claw.process";

/// What a container is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Sandbox,
    Loader,
}

/// The labels of a container of ours.
pub(super) fn labels(part: Part) -> HashMap<String, String> {
    let part = match part {
        Part::Sandbox => "sandbox",
        Part::Loader => "loader",
    };
    let process = std::process::id();
    let labels = [
        (PART, part.to_string()),
        (HOME, home()),
        (PROCESS, format!("{process}/{}", started(process).unwrap_or_default())),
    ];
    labels.map(|(name, value)| (name.to_string(), value)).into()
}

/// The kernel, since it started, and the namespace that process numbers are from.
fn home() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), namespace.display())
}

/// When a process started, in clock ticks since the machine did. `None` when there is none.
fn started(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(19)?.parse().ok()
}

/// Whether the process that a label names is gone for certain.
fn is_gone(label: &str) -> bool {
    let Some((process, start)) = label.split_once('/') else {
        return false;
    };
    match (process.parse(), start.parse()) {
        (Ok(process), Ok(start)) => started(process) != Some(start),
        _ => false,
    }
}

/// Removes the containers of processes of this machine that are gone. What cannot be asked or
/// removed is left for the next time.
pub(super) async fn remove_leftovers(docker: &Docker) {
    // One by one: Podman has a state, on the way out, whose name Docker's interface does not know,
    // and a list with one of those cannot be read.
    for state in ["created", "running", "paused", "exited"] {
        let label = format!("{HOME}={}", home());
        let filters: HashMap<_, _> =
            [("label", vec![label]), ("status", vec![state.to_string()])].into();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = docker.list_containers(Some(options)).await.unwrap_or_default();
        for container in found {
            let labels = container.labels.unwrap_or_default();
            if let (Some(id), Some(process)) = (&container.id, labels.get(PROCESS))
                && is_gone(process)
            {
                remove(docker, id).await;
            }
        }
    }
}

/// Removes a container, whether it runs or not. One that is gone already, or going, is fine.
pub(super) async fn remove(docker: &Docker, name: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let _ = docker.remove_container(name, Some(options)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_gone_for_certain_is_gone() {
        let own = std::process::id();
        let start = started(own).expect("it runs");
        assert!(!is_gone(&format!("{own}/{start}")));
        assert!(is_gone(&format!("{own}/{}", start + 1)), "another one with the same number");
        assert!(is_gone("4194399/12"), "numbers end before that");
        for odd in ["", "/", "12", "x/1", "1/x"] {
            assert!(!is_gone(odd), "{odd}");
        }
    }
}
