//! Commands that go on while others run.

use std::time::Duration;

use claw::sandbox::{Background, Exit, Heard, Launched, Limits, Patience, Sandbox, Unfed};

use super::{LONG, backends, ok, open, open_with, sh, shell};

const AT_ONCE: Patience = Patience { wait_ms: 0, timeout_ms: None, open_input: false };

fn background(sandbox: &mut Box<dyn Sandbox>) -> &mut dyn Background {
    sandbox.background().expect("this backend has it")
}

async fn start(sandbox: &mut Box<dyn Sandbox>, line: &str, patience: Patience) -> u32 {
    match background(sandbox).start(&shell(line), &patience).await.expect("works") {
        Launched::Runs { number, .. } => number,
        ended => panic!("{line}: {ended:?}"),
    }
}

async fn hear(sandbox: &mut Box<dyn Sandbox>, number: u32, wait_ms: u64) -> Heard {
    background(sandbox).listen(number, wait_ms).await.expect("works")
}

fn text(heard: &Heard) -> &str {
    std::str::from_utf8(&heard.output).unwrap()
}

#[tokio::test]
async fn a_command_that_ends_in_time_is_like_any_other() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        for (line, exit, output) in [
            ("echo out; echo err >&2; exit 3", Exit::Code(3), "out\nerr\n"),
            ("kill -SEGV $$", Exit::Signal(11), ""),
            ("cat", Exit::Code(0), ""),
        ] {
            let patience = Patience { wait_ms: LONG, timeout_ms: Some(LONG), open_input: false };
            let started =
                background(&mut sandbox).start(&shell(line), &patience).await.expect("works");
            let Launched::Ended(outcome) = started else { panic!("{line}") };
            assert_eq!((outcome.exit, outcome.output), (exit, output.as_bytes().to_vec()));
        }
        let patience = Patience { wait_ms: LONG, timeout_ms: Some(200), open_input: false };
        let started = background(&mut sandbox).start(&shell("echo on; sleep 600"), &patience).await;
        let Launched::Ended(outcome) = started.expect("works") else { panic!("it goes on") };
        assert_eq!((outcome.exit, outcome.output), (Exit::TimedOut, b"on\n".to_vec()));
    }
}

#[tokio::test]
async fn others_run_meanwhile_and_nothing_that_is_said_is_lost() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let line = "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 5";
        let number = start(&mut sandbox, line, AT_ONCE).await;
        let mut said = String::new();
        while said != "one\n" {
            let heard = hear(&mut sandbox, number, 20).await;
            assert_eq!(heard.exit, None);
            said.push_str(text(&heard));
        }
        assert_eq!(sh(&mut sandbox, "echo other; touch go").await, ok("other\n"));
        let heard = hear(&mut sandbox, number, LONG).await;
        assert_eq!((text(&heard), &heard.exit), ("two\n", &Some(Exit::Code(5))));
        // It has been told; there is no such command any more.
        assert!(background(&mut sandbox).listen(number, 0).await.is_err());
    }
}

#[tokio::test]
async fn what_ends_while_another_runs_is_known_after_that() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let number = start(&mut sandbox, "echo gone", AT_ONCE).await;
        assert_eq!(sh(&mut sandbox, "sleep 0.3").await, ok(""));
        let heard = hear(&mut sandbox, number, 0).await;
        assert_eq!((text(&heard), &heard.exit), ("gone\n", &Some(Exit::Code(0))));
        assert!(heard.ran_ms < 60_000);
    }
}

#[tokio::test]
async fn stopping_takes_the_whole_tree_and_spares_the_others() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        // Commands in the `local` backend see the whole machine, where other tests run.
        let own = format!("9{}", std::process::id());
        let line = |one, two| format!("sleep {own}{one} & sleep {own}{two}");
        let first = start(&mut sandbox, &line(1, 2), AT_ONCE).await;
        let second = start(&mut sandbox, &line(3, 4), AT_ONCE).await;
        let seen = format!(
            "sleep 0.1; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | \
             grep -o 'sleep [9]{}.' | sort -u",
            std::process::id()
        );
        let pair = |one, two| ok(&format!("sleep {own}{one}\nsleep {own}{two}\n"));
        let (_, before) = sh(&mut sandbox, &seen).await;
        assert_eq!(before, pair(1, 2).1 + &pair(3, 4).1, "{}", backend.name());
        background(&mut sandbox).stop(first).await.expect("works");
        assert_eq!(hear(&mut sandbox, first, 0).await.exit, Some(Exit::Signal(9)));
        assert_eq!(sh(&mut sandbox, &seen).await, pair(3, 4), "{}", backend.name());
        assert_eq!(hear(&mut sandbox, second, 0).await.exit, None);
        // Time that is up for one command is not up for the others.
        let patience = Patience { wait_ms: LONG, timeout_ms: Some(200), open_input: false };
        let sleeper = shell(&format!("sleep {own}5 & wait"));
        let started = background(&mut sandbox).start(&sleeper, &patience).await;
        let Launched::Ended(outcome) = started.expect("works") else { panic!("it goes on") };
        assert_eq!(outcome.exit, Exit::TimedOut);
        assert_eq!(sh(&mut sandbox, &seen).await, pair(3, 4), "{}", backend.name());
        // One that nobody waits for has its time as well.
        let patience = Patience { wait_ms: 0, timeout_ms: Some(100), open_input: false };
        let third = start(&mut sandbox, &format!("sleep {own}6"), patience).await;
        assert_eq!(hear(&mut sandbox, third, LONG).await.exit, Some(Exit::TimedOut));
    }
}

#[tokio::test]
async fn input_reaches_a_command_until_it_is_closed() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let patience = Patience { open_input: true, ..AT_ONCE };
        let number =
            start(&mut sandbox, "read line; echo \"got $line\"; cat; echo end", patience).await;
        let jobs = background(&mut sandbox);
        assert_eq!(jobs.feed(number, b"hello\n", false).await.expect("works"), Ok(()));
        // More than a pipe holds is handed on as it is read.
        let long = vec![b'x'; 150_000];
        assert_eq!(jobs.feed(number, &long, true).await.expect("works"), Ok(()));
        assert_eq!(jobs.feed(number, b"late", false).await.expect("works"), Err(Unfed::Closed));
        let mut said = Vec::new();
        let exit = loop {
            let heard = jobs.listen(number, 50).await.expect("works");
            said.extend(heard.output);
            if let Some(exit) = heard.exit {
                break exit;
            }
        };
        assert_eq!(exit, Exit::Code(0));
        assert_eq!(said, [b"got hello\n", long.as_slice(), b"end\n"].concat());
        // Without open input there is none.
        let number = start(&mut sandbox, "sleep 600", AT_ONCE).await;
        let unfed = background(&mut sandbox).feed(number, b"x", false).await.expect("works");
        assert_eq!(unfed, Err(Unfed::Closed));
        // What does not read gets only so much.
        let number = start(&mut sandbox, "sleep 600", patience).await;
        let jobs = background(&mut sandbox);
        assert_eq!(jobs.feed(number, &[0; 1 << 20], false).await.expect("works"), Ok(()));
        assert_eq!(jobs.feed(number, &[0; 1 << 20], false).await.expect("works"), Err(Unfed::Full));
    }
}

#[tokio::test]
async fn a_chatterer_is_cut_and_stops_nobody() {
    for backend in backends() {
        let limits = Limits { output: 10_000, ..Limits::default() };
        let (mut sandbox, _) = open_with(backend, &[], &limits).await;
        let number = start(&mut sandbox, "while :; do echo line; done", AT_ONCE).await;
        assert_eq!(sh(&mut sandbox, "sleep 0.2; echo calm").await, ok("calm\n"));
        let heard = hear(&mut sandbox, number, 0).await;
        assert_eq!(heard.output.len(), 10_000);
        assert!(heard.dropped > 0 && heard.exit.is_none());
        tokio::time::timeout(Duration::from_secs(60), background(&mut sandbox).stop(number))
            .await
            .expect("in time")
            .expect("works");
    }
}

#[tokio::test]
async fn they_die_with_their_sandbox_and_leave_their_files() {
    for backend in backends() {
        let (mut sandbox, objects) = open(backend, &[]).await;
        let cookie = format!("863{}", std::process::id());
        let line = format!("echo mine > file; exec sleep {cookie}");
        start(&mut sandbox, &line, AT_ONCE).await;
        assert!(super::eventually(|| super::runs(&cookie)));
        let closed = sandbox.close(&objects).await.expect("closes");
        assert!(super::eventually(|| !super::runs(&cookie)));
        let tree = closed.workspace;
        assert_eq!(tree.entries.keys().collect::<Vec<_>>(), ["file"]);
    }
}
