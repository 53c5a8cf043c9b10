//! What a sandbox may use, and what happens to its neighbours when it uses more.

use std::time::Duration;

use claw::sandbox::{Backend, Command, Exit, Limits};

use super::{backends, command, isolated, kinds, ok, open_with, python, sh, shell, told, watched};

#[tokio::test]
async fn a_fork_bomb_stays_in_its_sandbox() {
    for backend in isolated() {
        let limits = Limits { processes: 40, ..Limits::default() };
        let (mut sandbox, _) = open_with(backend, &[], &limits).await;
        let (mut neighbour, _) = open_with(backend, &[], &limits).await;
        let bomb = "import os, time\nprint('lit', flush=True)\nwhile True:\n    \
            try: os.fork()\n    except OSError: time.sleep(0.01)\n";
        let job = Command { timeout_ms: 1500, ..python(bomb) };
        let peace = shell("sleep 0.7; sh -c 'echo fine'");
        let (exploded, calm) = tokio::join!(sandbox.exec(&job), neighbour.exec(&peace));
        assert_eq!(told(calm.expect("works")), ok("fine\n"));
        let exploded = exploded.expect("works");
        assert_eq!(exploded.exit, Exit::TimedOut);
        assert!(exploded.output.starts_with(b"lit\n"));
        // It is over, and the sandbox can be used again.
        let (_, left) = sh(&mut sandbox, "ls -d /proc/[0-9]* | wc -l").await;
        assert!(left.trim().parse::<u32>().expect("a number") <= 5, "{left}");
        let count = "import os, time\nn = 0\ntry:\n    while True:\n        \
            if os.fork() == 0: time.sleep(60)\n        n += 1\nexcept OSError: print(n)\n";
        let (_, said) = told(sandbox.exec(&python(count)).await.expect("works"));
        assert_eq!(said, "39\n", "with itself that is the limit");
    }
}

#[tokio::test]
async fn a_memory_bomb_is_killed_and_the_next_sandbox_unharmed() {
    for backend in isolated() {
        let limits = Limits { memory: 64 << 20, disk: 16 << 20, ..Limits::default() };
        let (mut sandbox, _) = open_with(backend, &[], &limits).await;
        let (mut neighbour, _) = open_with(backend, &[], &limits).await;
        let bomb = "print('lit', flush=True)\nkept = []\n\
            while True: kept.append(bytearray(b'x' * (1 << 20)))\n";
        let outcome = sandbox.exec(&python(bomb)).await.expect("works");
        assert_eq!(told(outcome), (Exit::OutOfMemory, "lit\n".to_string()));
        // Many small ones together as well.
        let many = "import os, time\nfor i in range(16):\n    if os.fork() == 0:\n        \
            x = bytearray(b'x' * (20 << 20)); time.sleep(600)\n\
            for i in range(16):\n    _, status = os.wait()\n    if status == 9: os._exit(1)\n";
        let outcome = sandbox.exec(&python(many)).await.expect("works");
        assert_eq!(outcome.exit, Exit::OutOfMemory);
        assert_eq!(sh(&mut sandbox, "echo alive").await, ok("alive\n"));
        // What is shared after a fork counts once, and what is within the limit is nobody's fault.
        let shared = "import os, time\nx = bytearray(b'x' * (25 << 20))\n\
            pids = [os.fork() for _ in range(3)]\ntime.sleep(0.3)\nprint('fine') if all(pids) else 0\n";
        let outcome = neighbour.exec(&python(shared)).await.expect("works");
        assert_eq!(told(outcome), ok("fine\n"));
    }
}

#[tokio::test]
async fn a_full_disk_is_full_inside_only() {
    for backend in kinds() {
        full_disk(backend).await;
    }
}

async fn full_disk(backend: &dyn Backend) {
    let limits = Limits { disk: 4 << 20, files: 100, ..Limits::default() };
    for place in ["/workspace", "/tmp", "/dev/shm"] {
        let (mut sandbox, _) = open_with(backend, &[], &limits).await;
        let fill = format!(
            "cd {place}; for i in 1 2 3; do head -c 3000000 /dev/zero > f$i || break; done 2>&1"
        );
        let (_, said) = sh(&mut sandbox, &fill).await;
        assert!(said.contains("No space left on device"), "{place}: {said}");
        let err = sandbox.write("/tmp/x", &vec![1; 5 << 20]).await.expect_err("too much");
        assert_eq!(err.to_string(), "ENOSPC: no space left on device");
        let inodes = format!(
            "cd {place}; rm -f f* /tmp/x; i=0; while [ $i -lt 200 ]; do i=$((i+1)); : > n$i || exit 9; done 2>/dev/null"
        );
        let full = sh(&mut sandbox, &inodes).await.0;
        if place != "/dev/shm" {
            assert_ne!(full, Exit::Code(0), "{place} holds a limited number of files");
        }
    }
    let (mut sandbox, objects) = open_with(backend, &[], &limits).await;
    let (exit, _) = sh(&mut sandbox, "head -c 5000000 /dev/zero > big; ls -s big").await;
    assert_eq!(exit, Exit::Code(0));
    let closed = sandbox.close(&objects).await.expect("closes");
    assert_eq!(closed.refused, Vec::<String>::new());
}

#[tokio::test]
async fn processor_time_and_open_files_are_limited() {
    for backend in backends() {
        let limits = Limits { cpu_seconds: 1, open_files: 64, ..Limits::default() };
        let (mut sandbox, _) = open_with(backend, &[], &limits).await;
        let outcome = sandbox.exec(&command(&["sh", "-c", "while :; do :; done"])).await;
        assert_eq!(outcome.expect("works").exit, Exit::Signal(24), "SIGXCPU");
        let (_, said) = sh(&mut sandbox, "ulimit -n; ulimit -c").await;
        assert_eq!(said, "64\n0\n");
    }
}

#[tokio::test]
async fn memory_is_watched_between_commands_too() {
    let Some(backend) = watched() else { return };
    let limits = Limits { memory: 64 << 20, disk: 16 << 20, ..Limits::default() };
    let (mut sandbox, _) = open_with(backend, &[], &limits).await;
    let slow = "import time\nkept = []\nwhile True: kept.append(bytearray(b'x' * (1 << 20))); \
        time.sleep(0.02)\n";
    let line = format!("python3 -I -S -c \"{slow}\" >/dev/null 2>&1 & echo $!");
    let (_, pid) = sh(&mut sandbox, &line).await;
    // It passes the limit after more than a second in which no command runs.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut gone = false;
    for _ in 0..600 {
        gone |= sh(&mut sandbox, &format!("kill -0 {pid}")).await.0 != Exit::Code(0);
        if gone {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(gone);
}

#[tokio::test]
async fn what_was_left_in_the_workspace_never_breaks_the_sandbox() {
    // A sandbox that an agent could break would count as a fault of the machine, not as a failure.
    for backend in isolated() {
        let limits = Limits { memory: 48 << 20, disk: 32 << 20, ..Limits::default() };
        let (mut sandbox, objects) = open_with(backend, &[("kept", b"k")], &limits).await;
        let fill = "for d in /tmp /dev/shm /workspace; do \
            head -c 100000000 /dev/zero > $d/zeros 2>/dev/null; done; rm /workspace/zeros";
        sandbox.exec(&shell(fill)).await.expect("works");
        assert_eq!(sh(&mut sandbox, "echo alive").await, ok("alive\n"));
        // Long names far below, as many as fit: 2,000 of 20,000 bytes.
        let names = "import os\nd = os.open('.', 0)\nfor i in range(80):\n    \
            os.mkdir('n' * 250, dir_fd=d); d = os.open('n' * 250, 0, dir_fd=d)\n\
            for i in range(2000): os.close(os.open('f%04d' % i, os.O_CREAT, dir_fd=d))\n";
        assert_eq!(sandbox.exec(&python(names)).await.expect("works").exit, Exit::Code(0));
        let closed = sandbox.close(&objects).await.expect("closes");
        let after = closed.workspace;
        let names: usize = after.entries.keys().map(String::len).sum();
        assert!(names <= 8 << 20 && after.entries.len() > 100, "{names}");
        assert!(after.entries.contains_key("kept"));
        assert_eq!(closed.refused.len(), 1001);
        assert!(closed.refused[1000].starts_with("and "), "{}", closed.refused[1000]);
    }
}
