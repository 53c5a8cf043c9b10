//! How sandboxes begin and end, and that nothing of them stays.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use claw::sandbox::{Backend, Command, Exit, Limits, LocalBackend, ProcessBackend, SandboxError};

use super::{
    HELPER, alone, backends, command, eventually, is_alone, kinds, ok, open, open_with, python,
    runs, sh, shared, shell, told,
};

#[tokio::test]
async fn time_is_up_for_the_whole_tree_but_not_for_what_was_there_before() {
    for backend in kinds() {
        time_is_up(backend).await;
    }
}

async fn time_is_up(backend: &dyn Backend) {
    let (mut sandbox, _) = open(backend, &[]).await;
    assert_eq!(sh(&mut sandbox, "sleep 86001 >/dev/null 2>&1 &").await, ok(""));
    // Clock ticks are a hundredth of a second: the older one must be seen to be older.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let daemon = "import os, sys, time\n\
        if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        \
        os.execvp('sleep', ['sleep', '86002'])\n    os._exit(0)\n\
        print('waiting', flush=True)\n\
        import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n";
    let job = Command { timeout_ms: 1500, ..python(daemon) };
    let outcome = sandbox.exec(&job).await.expect("works");
    assert_eq!(told(outcome), (Exit::TimedOut, "waiting\n".to_string()));
    let (_, left) = sh(&mut sandbox, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await;
    assert!(left.contains("sleep 86001") && !left.contains("sleep 86002"), "{left}");
    // The sandbox goes on.
    assert_eq!(sh(&mut sandbox, "echo on").await, ok("on\n"));
}

#[tokio::test]
async fn the_local_backend_kills_a_timed_out_group() {
    let (mut sandbox, _) = open(&LocalBackend, &[]).await;
    let cookie = format!("860{}", std::process::id());
    let job = Command { timeout_ms: 300, ..shell(&format!("sleep {cookie} & sleep {cookie}")) };
    let outcome = sandbox.exec(&job).await.expect("works");
    assert_eq!(outcome.exit, Exit::TimedOut);
    assert!(eventually(|| !runs(&cookie)));
    // And what a command left behind, when it is dropped.
    assert_eq!(
        sh(&mut sandbox, &format!("sleep {cookie} >/dev/null 2>&1 &")).await.0,
        Exit::Code(0)
    );
    assert!(eventually(|| runs(&cookie)));
    drop(sandbox);
    assert!(eventually(|| !runs(&cookie)));
}

#[tokio::test]
async fn dropping_a_sandbox_kills_everything_in_it() {
    let Some(_) = shared() else { return };
    let cookie = format!("861{}", std::process::id());
    for backend in kinds() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let (exit, _) = sh(&mut sandbox, &format!("setsid sleep {cookie} >/dev/null 2>&1 &")).await;
        assert_eq!(exit, Exit::Code(0));
        assert!(eventually(|| runs(&cookie)));
        drop(sandbox);
        assert!(eventually(|| !runs(&cookie)), "{}", backend.name());
    }

    // Also when a command is running and nobody waits for it any more.
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let job = command(&["sleep", &cookie]);
        let given_up = tokio::time::timeout(Duration::from_millis(300), sandbox.exec(&job)).await;
        assert!(given_up.is_err());
        if backend.name() != "local" {
            let err = sandbox.exec(&shell("true")).await.expect_err("out of step");
            assert!(err.to_string().contains("given up"), "{err}");
        }
        drop(sandbox);
        assert!(eventually(|| !runs(&cookie)), "{}", backend.name());
    }

    // And when the backend goes first.
    let own = ProcessBackend::new(HELPER);
    let (mut sandbox, _) = open(&own, &[]).await;
    assert_eq!(
        sh(&mut sandbox, &format!("sleep {cookie} >/dev/null 2>&1 &")).await.0,
        Exit::Code(0)
    );
    drop(own);
    assert_eq!(sh(&mut sandbox, "echo still here").await, ok("still here\n"));
    drop(sandbox);
    assert!(eventually(|| !runs(&cookie)));
}

#[tokio::test]
async fn a_helper_that_was_killed_is_replaced() {
    let Some(_) = shared() else { return };
    let backend = ProcessBackend::new(HELPER);
    let (mut first, _) = open(&backend, &[]).await;
    let mine = std::process::id().to_string();
    let children = |parent: &str| {
        let entries = std::fs::read_dir("/proc").expect("a process table").flatten();
        let parents = entries.filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_string();
            Some((parent, entry.file_name().to_str()?.to_string()))
        });
        parents.filter(|(of, _)| of == parent).map(|(_, pid)| pid).collect::<BTreeSet<_>>()
    };
    // Of the helpers of all tests it is the one with the init that answers to our command.
    let cookie = format!("862{}", std::process::id());
    assert_eq!(sh(&mut first, &format!("sleep {cookie} >/dev/null 2>&1 &")).await.0, Exit::Code(0));
    let holds = |pid: &String| {
        let inits = children(pid);
        let processes = inits.iter().flat_map(|init| children(init));
        processes.into_iter().any(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            line.unwrap_or_default().contains(&cookie)
        })
    };
    let helper = children(&mine).into_iter().find(holds).expect("a helper");
    let killed = std::process::Command::new("kill").args(["-9", &helper]).status().expect("kill");
    assert!(killed.success());
    assert!(eventually(|| !runs(&cookie)), "its sandboxes died with it");
    let err = first.exec(&shell("true")).await.expect_err("gone");
    assert!(matches!(err, SandboxError::Broken(_)), "{err}");
    assert!(eventually(|| !Path::new(&format!("/proc/{helper}/exe")).exists()));
    let (mut second, _) = open(&backend, &[]).await;
    assert_eq!(sh(&mut second, "echo again").await, ok("again\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_two_at_once_work() {
    let Some(backend) = shared() else { return };
    let tasks = (0..32).map(|i| async move {
        let limits = Limits { memory: 128 << 20, ..Limits::default() };
        let content = format!("{i}");
        let (mut sandbox, objects) =
            open_with(backend, &[("n", content.as_bytes())], &limits).await;
        let said =
            sh(&mut sandbox, "echo $(cat n) $(ls /proc | grep -c '^[0-9]') > out; cat out").await;
        assert_eq!(said.0, Exit::Code(0));
        assert!(said.1.starts_with(&content), "{said:?}");
        let closed = sandbox.close(&objects).await.expect("closes");
        let tree = closed.workspace;
        assert!(tree.entries.contains_key("out"));
    });
    let tasks: Vec<_> =
        tasks.map(|task| Box::pin(task) as futures::future::BoxFuture<()>).collect();
    futures::future::join_all(tasks).await;
}

/// Descriptors of this process and processes below it, as sets of numbers.
fn holdings() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("a list").count();
    let mine = std::process::id().to_string();
    let children = std::fs::read_dir("/proc").expect("a process table").flatten().filter(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parent == Some(mine.as_str())
    });
    (descriptors, children.count())
}

#[test]
#[ignore = "run by `nothing_is_left_behind`, in a process of its own"]
fn two_hundred_in_sequence() {
    let Some(backend) = shared() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let cycle = || async {
        let (mut sandbox, objects) = open(backend, &[("f", b"1")]).await;
        assert_eq!(sh(&mut sandbox, "sleep 600 >/dev/null 2>&1 & echo").await, ok("\n"));
        sandbox.close(&objects).await.expect("closes");
        let (dropped, _) = open(backend, &[]).await;
        drop(dropped);
    };
    runtime.block_on(cycle());
    let mounts =
        || std::fs::read_to_string("/proc/self/mountinfo").expect("mounts").lines().count();
    let before = (holdings(), mounts());
    let rounds = std::env::var("CLAW_TEST_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    for _ in 0..rounds {
        runtime.block_on(cycle());
    }
    assert_eq!((holdings(), mounts()), before);
}

#[test]
fn nothing_is_left_behind() {
    if is_alone() {
        return;
    }
    let run = alone("sandbox::lifetime::two_hundred_in_sequence", &["--ignored"], None);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
}
