//! Other users, other machines: where sandboxes work, and what is said where they do not.

use std::path::Path;

use claw::sandbox::{Backend, Limits, ProcessBackend, SandboxError, probe_with};
use claw::store::{MemoryObjects, Tree};

use super::{HELPER, allowed, alone, is_alone, skip};

#[test]
fn all_of_it_works_for_a_plain_user() {
    let what = "all_of_it_works_for_a_plain_user";
    if is_alone() {
        return;
    }
    let root = std::process::Command::new("id").arg("-u").output().expect("id");
    if root.stdout != b"0\n" {
        return skip(what, "the other tests run as a plain user already");
    }
    // The two programs, where that user can reach them.
    let mut readable = std::process::Command::new("setpriv");
    readable.args(["--reuid", "1234", "--regid", "1234", "--clear-groups", HELPER]);
    if !readable.status().is_ok_and(|status| status.success()) {
        return skip(what, "there is no setpriv, or user 1234 may not execute the program");
    }
    let run = alone("sandbox::", &[], Some(1234));
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{said}\n{errors}");
    assert!(
        said.contains("limits::a_memory_bomb_is_killed_and_the_next_sandbox_unharmed"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_missing_is_said_with_what_to_do() {
    let objects = MemoryObjects::default();
    let empty = Tree::default();
    // A program that is not a helper, and one that is not there.
    for program in ["/bin/true", "/no/such/program"] {
        let backend = ProcessBackend::new(program);
        match backend.open(&empty, &objects, &Limits::default()).await.map(|_| ()) {
            Err(SandboxError::Unavailable { what, help }) => {
                assert!(what.contains("helper") && !help.is_empty(), "{what}: {help}");
            }
            other => panic!("{other:?}"),
        }
    }
    let backend = ProcessBackend::new(HELPER).show("/no/such/directory");
    let err = backend.open(&empty, &objects, &Limits::default()).await.map(|_| ()).expect_err("no");
    assert!(err.to_string().contains("/no/such/directory cannot be shown"), "{err}");
}

#[test]
fn the_doctor_finds_a_machine_that_works() {
    if !allowed() {
        return;
    }
    let probes = probe_with(Path::new(HELPER));
    let names: Vec<&str> = probes.iter().map(|probe| probe.name).collect();
    assert_eq!(
        names,
        ["kernel", "process sandbox", "python", "memory limit", "seccomp", "landlock", "docker"]
    );
    let (docker, needed) = probes.split_last().expect("some");
    assert!(needed.iter().all(|probe| probe.ok), "{probes:#?}");
    if !docker.ok {
        assert!(docker.help.contains("only sandbox(\"docker\") needs one"), "{docker:?}");
    }
    assert!(probes[2].detail.starts_with("Python 3."), "{probes:#?}");
}

/// Runs a test of this file as `unshare` would have it, after a line of shell.
fn in_namespace(line: &str, test: &str) -> Option<std::process::Output> {
    let this = std::env::current_exe().expect("a path");
    let mut run = std::process::Command::new("unshare");
    run.args(["-Ur", "sh", "-c", &format!("{line} && exec \"$0\" \"$@\"")]);
    run.arg(this).args([test, "--include-ignored", "--nocapture"]);
    let run = run.env("CLAW_TEST_ALONE", "1").output().ok()?;
    // 127 and 1 are what unshare and the shell answer; a failed test answers 101.
    matches!(run.status.code(), Some(0 | 101)).then_some(run)
}

#[test]
#[ignore = "run by `where_namespaces_are_forbidden_that_is_said`"]
fn namespaces_are_forbidden_here() {
    let probes = probe_with(Path::new(HELPER));
    let probe = &probes[1];
    assert!(!probe.ok && probe.name == "process sandbox", "{probes:#?}");
    assert!(probe.detail.contains("user.max_user_namespaces is 0"), "{probes:#?}");
    assert!(probe.help.contains("sysctl -w user.max_user_namespaces=15000"), "{probes:#?}");
    assert!(probe.help.contains("--allow-unsandboxed"), "{probes:#?}");
}

#[test]
fn where_namespaces_are_forbidden_that_is_said() {
    if is_alone() || !allowed() {
        return;
    }
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces";
    match in_namespace(forbid, "sandbox::machine::namespaces_are_forbidden_here") {
        Some(run) => {
            let said = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(run.status.success() && said.contains("1 passed"), "{said}");
        }
        None => skip("where_namespaces_are_forbidden_that_is_said", "there is no unshare"),
    }
}

#[test]
fn a_root_that_cannot_be_another_user_stays_itself() {
    if is_alone() || !allowed() {
        return;
    }
    // Root of a namespace with no other user in it, as in some containers.
    match in_namespace("true", "sandbox::containment::secrets_of_the_machine_are_out_of_reach") {
        Some(run) => {
            let said = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(run.status.success() && said.contains("1 passed"), "{said}");
            let errors = String::from_utf8_lossy(&run.stderr).into_owned();
            assert!(!errors.contains("SKIPPED"), "{errors}");
        }
        None => skip("a_root_that_cannot_be_another_user_stays_itself", "there is no unshare"),
    }
}
