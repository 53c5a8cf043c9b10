//! What all backends have in common: commands, files, output.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use claw::sandbox::{Command, Exit, FileError, Limits};

use super::{backends, command, ok, open, open_with, sh, shared, shell, told, watched};

#[tokio::test]
async fn commands_run_and_say_how_they_ended() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        assert_eq!(sh(&mut sandbox, "echo hello; echo world >&2").await, ok("hello\nworld\n"));
        assert_eq!(sh(&mut sandbox, "exit 7").await.0, Exit::Code(7));
        assert_eq!(sh(&mut sandbox, "kill -USR1 $$").await.0, Exit::Signal(10));
        let (exit, said) = told(sandbox.exec(&command(&["no-such-program"])).await.expect("works"));
        assert_eq!(exit, Exit::Code(127));
        assert_eq!(said, "cannot start `no-such-program`: ENOENT: no such file or directory\n");
        let elsewhere = Command { workdir: Some("/nowhere".into()), ..shell("true") };
        let (exit, said) = told(sandbox.exec(&elsewhere).await.expect("works"));
        assert_eq!((exit, said.contains("/nowhere")), (Exit::Code(127), true));
        // The order of the two streams is kept.
        let said = sh(&mut sandbox, "for i in 1 2 3; do echo o$i; echo e$i >&2; done").await;
        assert_eq!(said, ok("o1\ne1\no2\ne2\no3\ne3\n"));
    }
}

#[tokio::test]
async fn a_command_gets_its_surroundings_and_no_others() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[("sub/here", b"")]).await;
        let job = Command {
            workdir: Some("/workspace/sub".into()),
            env: vec![("EXTRA".into(), "a b".into()), ("TERM".into(), "vt100".into())],
            stdin: b"line 1\nline 2\n".to_vec(),
            ..shell(
                "ls; env | sed 's/=.*//' | sort | tr '\\n' ' '; echo $EXTRA $TERM; wc -l; umask",
            )
        };
        let (exit, said) = told(sandbox.exec(&job).await.expect("works"));
        let expected = "here\nEXTRA HOME LANG PATH PWD TERM TZ a b vt100\n2\n0022\n";
        assert_eq!((exit, said.as_str()), (Exit::Code(0), expected), "{}", backend.name());
        // Without input there is an end of it, and no descriptor but the three.
        assert_eq!(sh(&mut sandbox, "cat").await, ok(""));
        let listed = sh(&mut sandbox, "cd /proc/self/fd && echo *").await;
        assert_eq!(listed.0, Exit::Code(0));
        if backend.name() != "local" {
            // 3 is the directory that the shell itself lists.
            assert_eq!(listed.1, "0 1 2 3\n");
        }
        let large = vec![b'x'; 3 << 20];
        let job = Command { stdin: large, ..shell("wc -c") };
        assert_eq!(told(sandbox.exec(&job).await.expect("works")), ok("3145728\n"));
    }
}

#[tokio::test]
async fn files_are_read_and_written_and_errors_have_names() {
    for backend in backends() {
        let (mut sandbox, objects) = open(backend, &[("a/b.txt", b"0123456789")]).await;
        assert_eq!(sandbox.read("a/b.txt", 100).await.expect("read"), b"0123456789");
        assert_eq!(sandbox.read("/workspace/a/b.txt", 4).await.expect("read"), b"0123");
        sandbox.write("new/er/file", b"content\0\xff").await.expect("written");
        sandbox.write("/workspace/a/b.txt", b"short").await.expect("written");
        assert_eq!(sandbox.read("a/b.txt", 100).await.expect("read"), b"short");
        assert_eq!(
            sh(&mut sandbox, "mkfifo pipe; ln -s loop loop; ln -s a/b.txt link").await,
            ok("")
        );
        assert_eq!(sandbox.read("link", 100).await.expect("read"), b"short");
        let failed = |result: Result<Vec<u8>, FileError>| result.expect_err("an error").to_string();
        for (path, words) in [
            ("missing", "ENOENT: no such file or directory"),
            ("", "EISDIR: illegal operation on a directory"),
            ("a", "EISDIR: illegal operation on a directory"),
            ("a/b.txt/c", "ENOTDIR: not a directory"),
            ("loop", "ELOOP: too many symbolic links encountered"),
            ("pipe", "EINVAL: invalid argument"),
            ("/dev/zero", "EINVAL: invalid argument"),
            ("/proc/self/environ", "EACCES: permission denied"),
            ("nul\0", "EINVAL: invalid argument"),
        ] {
            assert_eq!(failed(sandbox.read(path, 100).await), words, "{path}");
        }
        for (path, words) in [
            ("a", "EISDIR: illegal operation on a directory"),
            ("a/b.txt/c", "EEXIST: file already exists"),
            ("a/b.txt/c/d", "ENOTDIR: not a directory"),
            ("pipe", "ENXIO: no such device or address"),
        ] {
            assert_eq!(failed(sandbox.write(path, b"x").await.map(|()| vec![])), words, "{path}");
        }
        if backend.name() != "local" {
            let readonly = "EROFS: read-only file system";
            assert_eq!(failed(sandbox.write("/usr/x", b"").await.map(|()| vec![])), readonly);
            assert_eq!(failed(sandbox.write("/x", b"").await.map(|()| vec![])), readonly);
            let own = sandbox.write("/proc/self/comm", b"x").await.map(|()| vec![]);
            assert_eq!(failed(own), "EACCES: permission denied");
        }
        let closed = sandbox.close(&objects).await.expect("closes");
        let after = closed.workspace;
        assert!(after.entries.contains_key("new/er/file"));
    }
}

#[tokio::test]
async fn a_report_comes_over_descriptor_3_and_nowhere_else() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let job =
            Command { report: true, ..shell("echo loud; printf '{\"score\": 1}' >&3; exit 3") };
        let outcome = sandbox.exec(&job).await.expect("works");
        assert_eq!(outcome.report, b"{\"score\": 1}");
        assert_eq!((outcome.exit, outcome.output), (Exit::Code(3), b"loud\n".to_vec()));
        let (exit, _) = sh(&mut sandbox, "echo x >&3").await;
        assert_eq!(exit, Exit::Code(2), "without a report there is no descriptor 3");
        let job = Command { report: true, ..shell("head -c 3000000 /dev/zero >&3") };
        let outcome = sandbox.exec(&job).await.expect("works");
        assert_eq!((outcome.exit, outcome.report.len()), (Exit::Code(0), 1 << 20));
    }
}

#[tokio::test]
async fn of_long_output_the_end_is_kept() {
    for backend in backends() {
        let limits = Limits { output: 1000, ..Limits::default() };
        let (mut sandbox, _) = open_with(backend, &[], &limits).await;
        let outcome = sandbox.exec(&shell("seq 100000; echo end >&2")).await.expect("works");
        assert_eq!(outcome.output.len(), 1000);
        assert!(outcome.output.ends_with(b"99999\n100000\nend\n"));
        assert_eq!(outcome.dropped, 588_895 + 4 - 1000);
        let job = Command { timeout_ms: 300, ..shell("exec yes") };
        let outcome = sandbox.exec(&job).await.expect("works");
        assert_eq!((outcome.exit, outcome.output.len()), (Exit::TimedOut, 1000));
        assert_eq!(outcome.dropped % 2, 0);
    }
}

#[tokio::test]
async fn a_command_in_the_background_neither_hangs_the_next_nor_dies_of_it() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let begun = Instant::now();
        // It keeps the output open and goes on writing to it, more than any pipe holds.
        let server = "(i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo a line that fills the \
            pipe, again and again and again, number $i; done; touch done; sleep 600) & echo started";
        let (exit, said) = sh(&mut sandbox, server).await;
        assert_eq!((exit, said.contains("started\n")), (Exit::Code(0), true));
        let (exit, _) = sh(&mut sandbox, "while [ ! -e done ]; do sleep 0.01; done").await;
        assert_eq!(exit, Exit::Code(0), "{}", backend.name());
        assert!(begun.elapsed() < Duration::from_secs(300));
    }
}

#[tokio::test]
async fn the_same_commands_say_the_same_everywhere() {
    let mut said = BTreeSet::new();
    for backend in [shared(), watched(), shared()].into_iter().flatten() {
        let (mut sandbox, _) = open(backend, &[("b/c", b"1"), ("a", b"2")]).await;
        let look = "echo $$; pwd; hostname; whoami; ls -lR --time-style=+%s; env | sort; \
            cat /proc/self/cgroup | grep -v ':/$'; date +%Z; python3 -c 'import os; print(os.getpid())'; \
            ls -ld /tmp /workspace ~ --time-style=+; cat /proc/sys/kernel/ns_last_pid";
        said.insert(sh(&mut sandbox, look).await.1);
    }
    assert!(said.len() <= 1, "{said:#?}");
}
