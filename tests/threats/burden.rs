//! Taking more than one's share: processes, memory, disk, time.

use std::time::{Duration, Instant};

use claw::sandbox::{Backend, Command, Defence, Exit, Limits, Outcome};

use super::super::sandbox::{
    HELPER, eventually, kinds, ok, open_with, python, runs, sh, shell, told,
};
use super::{small, unharmed, without};

/// Forks more often than is allowed, and says how often that worked.
const FORKS: &str = "import os, time\nn = 0\ntry:\n    while n < 80:\n        \
    if os.fork() == 0: time.sleep(20); os._exit(0)\n        n += 1\nexcept OSError: pass\nprint(n)\n";

#[tokio::test]
async fn a_fork_bomb_runs_into_the_limit() {
    for backend in kinds() {
        let (mut sandbox, _) = small(backend).await;
        let (_, said) = told(sandbox.exec(&python(FORKS)).await.expect("works"));
        assert_eq!(said, "39\n", "{}: with itself that is the limit", backend.name());
        drop(sandbox);
        let (mut sandbox, _) = small(backend).await;
        let bomb = "import os, time\nwhile True:\n    try: os.fork()\n    \
            except OSError: time.sleep(0.01)\n";
        let job = Command { timeout_ms: 1000, ..python(bomb) };
        assert_eq!(sandbox.exec(&job).await.expect("works").exit, Exit::TimedOut);
        assert_eq!(sh(&mut sandbox, "echo alive").await, ok("alive\n"));
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn more_processes_start_where_they_are_not_counted() {
    let Some(backend) = without(&[Defence::Processes]) else { return };
    // Version 2 of control groups counts processes too.
    let backend = backend.without_cgroups();
    let (mut sandbox, _) = small(&backend).await;
    assert_eq!(told(sandbox.exec(&python(FORKS)).await.expect("works")), ok("80\n"));
}

/// Takes 400 MiB where 64 are allowed.
const HOARD: &str = "kept = []\nfor i in range(400): kept.append(bytearray(b'x' * (1 << 20)))\n\
    print('hoarded')\n";

#[tokio::test]
async fn a_memory_bomb_is_killed_and_named() {
    for backend in kinds() {
        let (mut sandbox, _) = small(backend).await;
        let outcome = sandbox.exec(&python(HOARD)).await.expect("works");
        assert_eq!(told(outcome), (Exit::OutOfMemory, String::new()), "{}", backend.name());
        assert_eq!(sh(&mut sandbox, "echo alive").await, ok("alive\n"));
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn memory_is_taken_where_it_is_not_limited() {
    let Some(backend) = without(&[Defence::Memory]) else { return };
    let (mut sandbox, _) = small(&backend).await;
    assert_eq!(told(sandbox.exec(&python(HOARD)).await.expect("works")), ok("hoarded\n"));
}

/// Little memory and much room for files.
fn roomy() -> Limits {
    Limits { memory: 32 << 20, disk: 256 << 20, ..Limits::default() }
}

/// The same 400 MiB as memory that processes share, and as memory of a child that hides from looks.
const SHARED: &str = "import mmap\nkept = mmap.mmap(-1, 400 << 20)\n\
    for i in range(0, 400 << 20, 4096): kept[i] = 1\nprint('hoarded')\n";
const HIDDEN: &str = "import ctypes, os\nctypes.CDLL(None).prctl(4, 0)\nkept = []\n\
    for i in range(400): kept.append(bytearray(b'x' * (1 << 20)))\nprint('hoarded')\n";

/// Whether files are told from memory that a program maps them into: a watch alone cannot.
fn counted(backend: &dyn Backend) -> bool {
    let mut doctor = std::process::Command::new(HELPER);
    let said = doctor.arg("doctor").output().expect("claw starts").stdout;
    backend.name() == "docker"
        || String::from_utf8_lossy(&said).contains("memory is counted by control groups")
}

#[tokio::test]
async fn the_room_for_files_is_no_room_for_a_memory_bomb() {
    for backend in kinds() {
        for bomb in [HOARD, SHARED, HIDDEN] {
            let (mut sandbox, _) = open_with(backend, &[], &roomy()).await;
            let outcome = sandbox.exec(&python(bomb)).await.expect("works");
            assert_eq!(told(outcome).0, Exit::OutOfMemory, "{}: {bomb}", backend.name());
            assert_eq!(sh(&mut sandbox, "echo alive").await, ok("alive\n"));
        }
        // Files may have it, and a program that reads them by way of its memory as well.
        let (mut sandbox, _) = open_with(backend, &[], &roomy()).await;
        let fill = "head -c 200M /dev/zero > full && sleep 0.1 && wc -c < full";
        assert_eq!(sh(&mut sandbox, fill).await, ok("209715200\n"), "{}", backend.name());
        if counted(backend) {
            let map = "import mmap, time\nfile = open('full', 'r+b')\n\
                kept = mmap.mmap(file.fileno(), 0)\n\
                for i in range(0, len(kept), 4096): kept[i] = 1\ntime.sleep(0.1)\nprint('mapped')\n";
            let outcome = sandbox.exec(&python(map)).await.expect("works");
            assert_eq!(told(outcome), ok("mapped\n"), "{}", backend.name());
        }
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn it_is_room_for_one_where_nobody_looks() {
    let Some(backend) = without(&[Defence::Memory]) else { return };
    let (mut sandbox, _) = open_with(&backend, &[], &roomy()).await;
    for bomb in [HOARD, SHARED, HIDDEN] {
        assert_eq!(told(sandbox.exec(&python(bomb)).await.expect("works")), ok("hoarded\n"));
    }
}

/// Fills a place with 24 MB in files where 4 MiB are allowed, and then with 900 empty files.
const FILL: &str = "import os\n\
    for place in ('/workspace', '/tmp'):\n    os.chdir(place)\n    taken = 0\n    \
        try:\n        for i in range(8):\n            open('f%d' % i, 'wb').write(b'x' * 3_000_000)\n            \
        taken += 3\n    except OSError as e: print(e.strerror)\n    \
        for i in range(8):\n        try: os.remove('f%d' % i)\n        except OSError: pass\n    \
        made = 0\n    \
        try:\n        while made < 900: open('n%d' % made, 'w').close(); made += 1\n    \
        except OSError as e: print(e.strerror)\n    \
        print('filled' if taken == 24 and made == 900 else 'full')\n";

#[tokio::test]
async fn a_full_disk_is_full_inside_only() {
    let full = "No space left on device\nNo space left on device\nfull\n";
    for backend in kinds() {
        let (mut sandbox, objects) = small(backend).await;
        let said = told(sandbox.exec(&python(FILL)).await.expect("works"));
        assert_eq!(said, ok(&format!("{full}{full}")), "{}", backend.name());
        // It can still be closed, and what fits comes out.
        let closed = sandbox.close(&objects).await.expect("closes");
        assert!(closed.refused.is_empty(), "{:?}", closed.refused);
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_disk_is_filled_where_it_is_not_limited() {
    let Some(backend) = without(&[Defence::Disk]) else { return };
    let (mut sandbox, objects) = small(&backend).await;
    assert_eq!(told(sandbox.exec(&python(FILL)).await.expect("works")), ok("filled\nfilled\n"));
    // What is taken out is bounded all the same, and says so.
    let closed = sandbox.close(&objects).await.expect("closes");
    assert!(closed.refused.iter().any(|one| one.contains("(more than 200 files)")));
}

/// Spins for some seconds, deaf to every signal that can be ignored.
const SPIN: &str = "import signal, time\n\
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\n\
    print('spinning', flush=True)\nend = time.time() + 4\nwhile time.time() < end: pass\n\
    print('survived')\n";

async fn spin(backend: &dyn Backend) -> Outcome {
    let (mut sandbox, _) = small(backend).await;
    let job = Command { timeout_ms: 1500, ..python(SPIN) };
    sandbox.exec(&job).await.expect("works")
}

#[tokio::test]
async fn a_spinning_program_that_ignores_signals_ends_in_time() {
    for backend in kinds() {
        let begun = Instant::now();
        let outcome = spin(backend).await;
        let said = told(outcome);
        assert_eq!(said, (Exit::TimedOut, "spinning\n".to_string()), "{}", backend.name());
        assert!(begun.elapsed() < Duration::from_secs(60));
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn it_goes_on_without_a_limit_or_when_it_is_only_asked() {
    for defence in [Defence::Time, Defence::Tree] {
        let Some(backend) = without(&[defence]) else { return };
        let outcome = spin(&backend).await;
        assert!(outcome.output.ends_with(b"survived\n"), "{defence:?}: {outcome:?}");
    }
}

/// Leaves a process behind that has left session, group and parents, and waits for the end.
fn daemon(cookie: &str) -> Command {
    let program = format!(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        \
         os.setsid()\n        for fd in range(3): os.close(fd)\n        \
         os.execvp('sleep', ['sleep', '{cookie}'])\n    os._exit(0)\nos.wait()\ntime.sleep(600)\n"
    );
    Command { timeout_ms: 1500, ..python(&program) }
}

#[tokio::test]
async fn a_daemon_goes_with_the_command_that_started_it() {
    let cookie = format!("864{}", std::process::id());
    for backend in kinds() {
        let (mut sandbox, _) = small(backend).await;
        let outcome = sandbox.exec(&daemon(&cookie)).await.expect("works");
        assert_eq!(outcome.exit, Exit::TimedOut);
        assert!(!runs(&cookie), "{}", backend.name());
        // One that a command left on purpose goes with the sandbox.
        let line = format!("setsid sleep {cookie} >/dev/null 2>&1 &");
        assert_eq!(sandbox.exec(&shell(&line)).await.expect("works").exit, Exit::Code(0));
        assert!(eventually(|| runs(&cookie)));
        drop(sandbox);
        assert!(eventually(|| !runs(&cookie)), "{}", backend.name());
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_daemon_stays_where_only_the_command_is_killed() {
    let Some(backend) = without(&[Defence::Tree]) else { return };
    let cookie = format!("865{}", std::process::id());
    let (mut sandbox, _) = small(&backend).await;
    assert_eq!(sandbox.exec(&daemon(&cookie)).await.expect("works").exit, Exit::TimedOut);
    assert!(runs(&cookie));
    drop(sandbox);
    assert!(eventually(|| !runs(&cookie)), "the end of the sandbox is another defence");
}
