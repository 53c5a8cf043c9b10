//! What sandboxes promise, tried out: the same behaviour from every backend, and of those that
//! isolate that nothing gets out and nothing is left behind.
//!
//! Where this machine forbids namespaces, the tests of the `process` backend say so and pass. The
//! `docker` backend is tried where `CLAW_TEST_DOCKER` names an engine and `CLAW_TEST_IMAGE` an image
//! on it that has python3: `.ci/docker up DIR` makes both. A Podman engine will do as well, but for the
//! tests that count files.

#![allow(clippy::disallowed_methods, reason = "tests look at the machine and the clock")]

mod background;
mod behaviour;
mod containment;
mod docker;
mod lifetime;
mod limits;
mod machine;
mod price;
mod reach;
mod workspaces;

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use claw::sandbox::{
    Backend, Command, DockerBackend, Exit, Limits, LocalBackend, Outcome, ProcessBackend, Sandbox,
    probe_with,
};
use claw::store::{MemoryObjects, Objects};

pub const HELPER: &str = env!("CARGO_BIN_EXE_claw");
/// Long enough never to be the reason for anything on an overloaded machine.
const LONG: u64 = 120_000;
pub fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(|word| word.to_string()).collect(),
        workdir: None,
        env: Vec::new(),
        stdin: Vec::new(),
        timeout_ms: LONG,
        report: false,
    }
}

pub fn shell(line: &str) -> Command {
    command(&["sh", "-c", line])
}

pub fn python(program: &str) -> Command {
    command(&["python3", "-I", "-S", "-c", program])
}

pub async fn sh(sandbox: &mut Box<dyn Sandbox>, line: &str) -> (Exit, String) {
    told(sandbox.exec(&shell(line)).await.expect("the sandbox works"))
}

pub fn told(outcome: Outcome) -> (Exit, String) {
    (outcome.exit, String::from_utf8_lossy(&outcome.output).into_owned())
}

pub fn ok(text: &str) -> (Exit, String) {
    (Exit::Code(0), text.to_string())
}

/// One `process` backend for all tests that do not need their own, or why there is none.
pub fn shared() -> Option<&'static ProcessBackend> {
    static BACKEND: OnceLock<ProcessBackend> = OnceLock::new();
    allowed().then(|| BACKEND.get_or_init(|| ProcessBackend::new(HELPER)))
}

/// One that uses no control groups.
fn watched() -> Option<&'static ProcessBackend> {
    static BACKEND: OnceLock<ProcessBackend> = OnceLock::new();
    allowed().then(|| BACKEND.get_or_init(|| ProcessBackend::new(HELPER).without_cgroups()))
}

/// A `docker` backend for all tests, or why there is none.
pub fn docker() -> Option<&'static DockerBackend> {
    static BACKEND: OnceLock<Option<DockerBackend>> = OnceLock::new();
    let make = || {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(address), Some(image)) = (set("CLAW_TEST_DOCKER"), set("CLAW_TEST_IMAGE")) else {
            skip(
                "all tests of the docker backend",
                "CLAW_TEST_DOCKER (the address of an engine) and CLAW_TEST_IMAGE (an image with \
                 python3, by its content) are not set; `.ci/docker up DIR` makes both",
            );
            return None;
        };
        let backend = DockerBackend::at(HELPER, address).with_image(&image);
        Some(backend.expect("CLAW_TEST_IMAGE is named by its content"))
    };
    BACKEND.get_or_init(make).as_ref()
}

#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
pub fn skip(what: &str, why: &str) {
    eprintln!("SKIPPED {what}: {why}");
}

/// Whether the process backend works here; says loudly when it does not.
pub fn works() -> bool {
    allowed()
}

pub fn allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let probes = probe_with(Path::new(HELPER));
        let refused = probes.iter().find(|probe| probe.name == "process sandbox" && !probe.ok);
        if let Some(probe) = refused {
            skip("all tests of the process backend", &format!("{}; {}", probe.detail, probe.help));
        }
        refused.is_none()
    })
}

/// All backends, for what they have in common.
fn backends() -> Vec<&'static dyn Backend> {
    [&LocalBackend as &dyn Backend].into_iter().chain(isolated()).collect()
}

/// Those that isolate.
fn isolated() -> Vec<&'static dyn Backend> {
    let process = [shared(), watched()].into_iter().flatten();
    let docker = docker().map(|backend| backend as &dyn Backend);
    process.map(|backend| backend as &dyn Backend).chain(docker).collect()
}

/// One of each kind that isolates.
pub fn kinds() -> Vec<&'static dyn Backend> {
    let process = shared().map(|backend| backend as &dyn Backend);
    process.into_iter().chain(docker().map(|backend| backend as &dyn Backend)).collect()
}

pub async fn open(
    backend: &dyn Backend,
    files: &[(&str, &[u8])],
) -> (Box<dyn Sandbox>, MemoryObjects) {
    open_with(backend, files, &Limits::default()).await
}

pub async fn open_with(
    backend: &dyn Backend,
    files: &[(&str, &[u8])],
    limits: &Limits,
) -> (Box<dyn Sandbox>, MemoryObjects) {
    let objects = MemoryObjects::default();
    let files: Vec<_> =
        files.iter().map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect();
    let tree = objects.put_files(&files).expect("kept");
    let tree = objects.tree(&tree).expect("kept");
    let sandbox = backend.open(&tree, &objects, limits).await.expect("a sandbox opens");
    (sandbox, objects)
}

/// Whether a process on this machine has `cookie` among its arguments.
pub fn runs(cookie: &str) -> bool {
    let entries = std::fs::read_dir("/proc").expect("a process table");
    entries.flatten().any(|entry| {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == cookie.as_bytes())
    })
}

/// Waits, for a minute at most, until something is so.
pub fn eventually(mut so: impl FnMut() -> bool) -> bool {
    let patience = Instant::now() + Duration::from_secs(60);
    while !so() {
        if Instant::now() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Runs a test of this file in a process of its own, where nothing else opens descriptors.
pub fn alone(test: &str, more: &[&str], user: Option<u32>) -> std::process::Output {
    let this = std::env::current_exe().expect("a path");
    let mut run = match user {
        Some(user) => {
            let mut run = std::process::Command::new("setpriv");
            let user = user.to_string();
            run.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(this);
            // An engine's socket is for whom its owner says.
            run.env_remove("CLAW_TEST_DOCKER");
            run
        }
        None => std::process::Command::new(this),
    };
    run.args([&[test, "--nocapture", "--test-threads", "2"], more].concat());
    run.env("CLAW_TEST_ALONE", "1").output().expect("a run")
}

pub fn is_alone() -> bool {
    std::env::var_os("CLAW_TEST_ALONE").is_some()
}
