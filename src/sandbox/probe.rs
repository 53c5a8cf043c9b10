//! What this machine can do for sandboxes, and what to change where it cannot.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::cgroup::Cgroups;
use super::wire::Failure;
use super::{
    Backend, Command, Limits, ProcessBackend, SandboxError, errno, find_python, kernel, landlock,
};
use crate::store::{MemoryObjects, Tree};

/// One thing that `claw doctor` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was looked at, e.g. `process sandbox`.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when there is nothing to do.
    pub help: String,
}

/// What to do when nothing else helps. The words are those of the command line.
const UNISOLATED: &str = "or run without isolation, on your own responsibility: \
    -p box='sandbox(\"local\")' --allow-unsandboxed";

/// How long an engine may take to say its version.
const ENGINE: std::time::Duration = std::time::Duration::from_secs(5);

/// Looks at everything, with this very program as the helper. Takes some tens of milliseconds.
pub fn probe() -> Vec<Probe> {
    probe_with(Path::new("/proc/self/exe"))
}

/// As [`probe`], with the program at `helper` as the helper.
pub fn probe_with(helper: &Path) -> Vec<Probe> {
    // A thread of its own: the caller may be in the middle of another runtime.
    let helper = PathBuf::from(helper);
    let sandboxes = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .map_or_else(|err| lost(&err.to_string()), |runtime| runtime.block_on(trial(&helper)))
    })
    .join()
    .unwrap_or_else(|_| lost("it ended unexpectedly"));
    let containers = std::thread::spawn(containers).join();
    let containers = containers.unwrap_or_else(|_| no_containers("it ended unexpectedly", ""));
    [vec![system()], sandboxes, vec![memory(), system_calls(), landlock(), containers]].concat()
}

/// Whether there is an engine for `sandbox("docker")`. No sandbox but that needs one.
fn containers() -> Probe {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.map_err(|err| err.to_string()).map(|runtime| {
        runtime.block_on(async {
            let engine = tokio::time::timeout(ENGINE, super::docker::engine_of_this_machine());
            engine.await.unwrap_or_else(|_| {
                Err(SandboxError::Unavailable {
                    what: format!("the container engine is silent for {} s", ENGINE.as_secs()),
                    help: "is it overloaded, or is DOCKER_HOST another machine?".to_string(),
                })
            })
        })
    });
    match asked {
        Ok(Ok(detail)) => Probe { name: "docker", ok: true, detail, help: String::new() },
        Ok(Err(SandboxError::Unavailable { what, help })) => no_containers(&what, &help),
        Ok(Err(err)) => no_containers(&err.to_string(), ""),
        Err(err) => no_containers(&err, ""),
    }
}

fn no_containers(what: &str, help: &str) -> Probe {
    let help = format!("only sandbox(\"docker\") needs one: {help}");
    Probe { name: "docker", ok: false, detail: what.to_string(), help }
}

fn lost(what: &str) -> Vec<Probe> {
    let detail = format!("the trial could not be made: {what}");
    vec![Probe { name: "process sandbox", ok: false, detail, help: UNISOLATED.to_string() }]
}

fn system() -> Probe {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let ok = version >= (5, 9);
    let help = if ok { "" } else { "sandboxes need Linux 5.9 or newer" };
    Probe { name: "kernel", ok, detail: format!("Linux {release}"), help: help.to_string() }
}

/// Opens a sandbox, as a run would, and starts Python in it.
async fn trial(helper: &Path) -> Vec<Probe> {
    let name = "process sandbox";
    let failed = |err: SandboxError| match err {
        SandboxError::Unavailable { what, help } => Probe { name, ok: false, detail: what, help },
        err => Probe { name, ok: false, detail: err.to_string(), help: UNISOLATED.to_string() },
    };
    let backend = ProcessBackend::new(helper);
    let objects = MemoryObjects::default();
    let empty = Tree::default();
    let mut sandbox = match backend.open(&empty, &objects, &Limits::default()).await {
        Ok(sandbox) => sandbox,
        Err(err) => return vec![failed(err)],
    };
    let argv = ["python3", "-I", "-S", "-c", "import sys; print(sys.version.split()[0])"];
    let command = Command {
        argv: argv.map(str::to_string).to_vec(),
        workdir: None,
        env: Vec::new(),
        stdin: Vec::new(),
        timeout_ms: 30_000,
        report: false,
    };
    let outcome = match sandbox.exec(&command).await {
        Ok(outcome) => outcome,
        Err(err) => return vec![failed(err)],
    };
    let detail = "own user, mount, pid, ipc, uts and net namespaces".to_string();
    let sandbox = Probe { name, ok: true, detail, help: String::new() };
    let ok = outcome.exit == super::Exit::Code(0);
    let said = String::from_utf8_lossy(&outcome.output).trim().to_string();
    let (detail, help) = match find_python() {
        Some(python) if ok => {
            (format!("Python {said} at {}", python.program.display()), String::new())
        }
        Some(python) => {
            let detail = format!("{} does not run in a sandbox: {said}", python.program.display());
            (detail, "install Python 3 in /usr".to_string())
        }
        None => (
            "there is no python3".to_string(),
            "install Python 3 in /usr; checkers need it".to_string(),
        ),
    };
    vec![sandbox, Probe { name: "python", ok, detail, help }]
}

fn memory() -> Probe {
    let name = "memory limit";
    match Cgroups::find() {
        Ok(groups) => Probe { name, ok: true, detail: groups.describe(), help: String::new() },
        Err(why) => Probe {
            name,
            ok: true,
            detail: format!("{why}; the processes of a sandbox are watched instead"),
            help: "a watch can be outrun for some milliseconds; for a strict limit run as a user \
                   with a delegated control group (systemd-run --user --scope -p Delegate=yes)"
                .to_string(),
        },
    }
}

fn system_calls() -> Probe {
    let name = "seccomp";
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    let ok =
        actions.as_ref().is_ok_and(|actions| actions.split_whitespace().any(|one| one == "errno"));
    let (detail, help) = if ok {
        ("system calls can be filtered", "")
    } else {
        ("the kernel does not filter system calls", "use a kernel with CONFIG_SECCOMP_FILTER")
    };
    Probe { name, ok, detail: detail.to_string(), help: help.to_string() }
}

fn landlock() -> Probe {
    let detail = match kernel::landlock_version() {
        Some(version) if version >= landlock::OLDEST => {
            format!("version {version}: a second lock on what sandboxes may write")
        }
        Some(version) => format!("version {version} is too old; sandboxes do without"),
        None => "absent; sandboxes do without: what they must not write is read-only".to_string(),
    };
    Probe { name: "landlock", ok: true, detail, help: String::new() }
}

/// Why a sandbox could not be built, from the step that failed and the settings that are known to
/// make it fail.
pub(crate) fn explain(failure: &Failure) -> SandboxError {
    let setting = |name: &str| {
        let path = format!("/proc/sys/{name}");
        std::fs::read_to_string(path).ok().map(|text| text.trim().to_string())
    };
    let seccomp = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?;
        Some(line.trim() != "0")
    });
    let (why, cure) = diagnose(failure, &setting, seccomp.unwrap_or(false));
    let errno = errno::text(Errno::from_raw_os_error(failure.errno));
    SandboxError::Unavailable {
        what: format!(
            "this machine does not allow sandboxes: {} failed ({errno}){why}",
            failure.step
        ),
        help: format!("{cure}; {UNISOLATED}"),
    }
}

/// The reason, as an appendix to a sentence, and what to change.
fn diagnose(
    failure: &Failure,
    setting: &dyn Fn(&str) -> Option<String>,
    filtered: bool,
) -> (String, String) {
    let set_to = |name: &str, value: &str| setting(name).is_some_and(|now| now == value);
    if set_to("kernel/unprivileged_userns_clone", "0") {
        let why = ": kernel.unprivileged_userns_clone is 0";
        return (why.into(), "as root: sysctl -w kernel.unprivileged_userns_clone=1".into());
    }
    if set_to("user/max_user_namespaces", "0") {
        let why = ": user.max_user_namespaces is 0";
        return (why.into(), "as root: sysctl -w user.max_user_namespaces=15000".into());
    }
    let too_many = Errno::from_raw_os_error(failure.errno) == Errno::NOSPC;
    if too_many && failure.step.contains("namespace") {
        let limit = setting("user/max_user_namespaces").unwrap_or_default();
        let why =
            format!(": all namespaces that user.max_* allows are taken ({limit} user namespaces)");
        return (
            why,
            "raise user.max_user_namespaces and its siblings, or run fewer sandboxes".into(),
        );
    }
    if set_to("kernel/apparmor_restrict_unprivileged_userns", "1") {
        let why = ": kernel.apparmor_restrict_unprivileged_userns is 1";
        let cure = "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give the \
                    program an AppArmor profile with the rule `userns,`";
        return (why.into(), cure.into());
    }
    if failure.step.contains("/proc") {
        let why = ": parts of /proc are hidden here, as in a container";
        let cure = "start the container with --security-opt systempaths=unconfined (Docker) or \
                    --security-opt unmask=ALL (Podman)";
        return (why.into(), cure.into());
    }
    if filtered {
        let why = ": a filter of system calls is in force here, as in a container";
        let cure = "start the container with --security-opt seccomp=unconfined, or with a profile \
                    that allows clone, unshare, mount and pivot_root";
        return (why.into(), cure.into());
    }
    let cure = "is this a chroot, or a kernel without CONFIG_USER_NS? `claw doctor` tells more";
    (String::new(), cure.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_obstacle_is_named_with_its_cure() {
        let told = |step: &str, errno: Errno, setting: (&str, &str), filtered: bool| {
            let failure = Failure { step: step.to_string(), errno: errno.raw_os_error() };
            let known = |name: &str| (name == setting.0).then(|| setting.1.to_string());
            diagnose(&failure, &known, filtered)
        };
        let new = "creating a user namespace";
        for name in ["unprivileged_userns_clone", "apparmor_restrict_unprivileged_userns"] {
            let value = if name.starts_with('u') { "0" } else { "1" };
            let (why, cure) = told(new, Errno::PERM, (&format!("kernel/{name}"), value), false);
            assert!(why.contains(name) && cure.contains(name), "{why} / {cure}");
        }
        let (why, cure) = told(new, Errno::NOSPC, ("user/max_user_namespaces", "0"), false);
        assert!(why.contains("is 0") && cure.contains("=15000"), "{why} / {cure}");
        let (why, _) = told(new, Errno::NOSPC, ("user/max_user_namespaces", "32"), false);
        assert!(why.contains("taken (32"), "{why}");
        let (why, cure) = told(new, Errno::PERM, ("", ""), true);
        assert!(why.contains("filter") && cure.contains("seccomp=unconfined"), "{why} / {cure}");
        let (why, cure) = told("mounting /proc", Errno::PERM, ("", ""), true);
        assert!(why.contains("/proc") && cure.contains("unmask"), "{why} / {cure}");
        assert_eq!(told(new, Errno::PERM, ("", ""), false).0, "");
    }
}
