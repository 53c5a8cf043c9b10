//! Cheating the judge: tampering with the checker, its program, or what it says.

use std::sync::Arc;

use claw::lang::Value;
use claw::operators::verify::{Bench, Checker, judge};
use claw::sandbox::{Backend, Command, Exit, Limits, Sandbox, SandboxError};
use claw::store::{Digest, MemoryObjects, Objects, Tree};
use futures::future::BoxFuture;

use super::super::sandbox::{command, eventually, kinds, ok, open, runs, sh};
use super::unharmed;

/// A backend of the tests, where an owned one is asked for.
struct Lent(&'static dyn Backend);

impl Backend for Lent {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn open<'a>(
        &'a self,
        workspace: &'a Tree,
        objects: &'a dyn Objects,
        limits: &'a Limits,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        self.0.open(workspace, objects, limits)
    }
}

/// Looks for an answer, and says what it found on descriptor 3.
const CHECK: &str = "import json, os, sys\n\
    found = os.path.exists(sys.argv[3] + '/answer.txt')\n\
    os.write(3, json.dumps({'answered': found}).encode())\n";
/// Stands in for a module that every checker imports.
const FORGED: &str = "import os\nos.write(3, b'{\"answered\": 1}')\nos._exit(0)\n";

fn checker(objects: &dyn Objects) -> Checker {
    let program = objects.put(CHECK.as_bytes()).expect("kept");
    let program = Value::File { digest: program, name: "check.py".to_string() };
    let none = Value::List(Vec::new());
    let checks = Value::record([("gates", none.clone()), ("points", none)]);
    let checker = Value::record([("checks", checks), ("program", program)]);
    let task = Value::record([("checker", checker), ("params", Value::record([]))]);
    let before = objects.put_tree(&Tree::default()).expect("kept");
    Checker::of(&task, before).expect("a task")
}

async fn reward(backend: &'static dyn Backend, after: &Digest, objects: &dyn Objects) -> f64 {
    let bench = Bench::new(Arc::new(Lent(backend)), Limits::default(), 60_000);
    let verdict = judge(&checker(objects), after, objects, Some(&bench)).await;
    verdict.expect("a verdict").reward
}

/// Writes into every place that a checker might look at, and leaves somebody to go on with it.
async fn cheat(sandbox: &mut Box<dyn Sandbox>, cookie: &str) {
    for name in ["json.py", "sitecustomize.py", "usercustomize.py", "conftest.py", "os.py"] {
        for place in ["", "/tmp/checker/", "/tmp/", "/tmp/home/.local/lib/python3/site-packages/"] {
            sandbox.write(&format!("{place}{name}"), FORGED.as_bytes()).await.expect("written");
        }
    }
    sandbox.write("/tmp/checker/check.py", FORGED.as_bytes()).await.expect("written");
    sandbox.write("verdict.json", b"{\"answered\": 1}").await.expect("written");
    let line = format!(
        "printf '#!/bin/sh\\necho cheat >&3\\n' > python3; chmod +x python3; cp python3 /tmp/; \
         (for f in /usr/bin/python3 /usr/lib/python3*/json/__init__.py /usr/lib/python3*/os.py; do \
           echo 'raise SystemExit' >> $f; done) 2>/dev/null; \
         (while :; do cp json.py /tmp/checker/check.py; sleep {cookie}; done) >/dev/null 2>&1 &"
    );
    assert_eq!(sh(sandbox, &line).await.0, Exit::Code(0));
}

#[tokio::test]
async fn an_agent_that_writes_everywhere_is_judged_by_its_work() {
    let cookie = format!("866{}", std::process::id());
    for backend in kinds() {
        let (mut sandbox, objects) = open(backend, &[]).await;
        cheat(&mut sandbox, &cookie).await;
        assert!(eventually(|| runs(&cookie)));
        let closed = sandbox.close(&objects).await.expect("closes");
        assert!(eventually(|| !runs(&cookie)), "nobody of it is left");
        let left = objects.put_tree(&closed.workspace).expect("kept");
        assert_eq!(reward(backend, &left, &objects).await, 0.0, "{}", backend.name());
        // The same work with an answer.
        let mut tree = closed.workspace;
        let answer = objects.put_files(&[("answer.txt".into(), b"42".to_vec())]).expect("kept");
        tree.entries.extend(objects.tree(&answer).expect("kept").entries);
        let done = objects.put_tree(&tree).expect("kept");
        assert_eq!(reward(backend, &done, &objects).await, 1.0);
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_checker_among_the_agents_files_says_what_the_agent_wants() {
    for backend in kinds() {
        let files: &[(&str, &[u8])] =
            &[("json.py", FORGED.as_bytes()), ("check.py", CHECK.as_bytes())];
        let (mut sandbox, _) = open(backend, files).await;
        let naive = |argv: &[&str]| Command { report: true, ..command(argv) };
        let job = naive(&["python3", "check.py", "-", "-", "/workspace"]);
        let outcome = sandbox.exec(&job).await.expect("works");
        assert_eq!(outcome.report, b"{\"answered\": 1}", "{}", backend.name());
        let job = naive(&["python3", "-I", "-S", "check.py", "-", "-", "/workspace"]);
        let outcome = sandbox.exec(&job).await.expect("works");
        assert_eq!(outcome.report, b"{\"answered\": false}");
    }
}

#[tokio::test]
async fn a_verdict_is_not_given_by_anything_but_the_checker() {
    let objects = MemoryObjects::default();
    let forged = objects
        .put_files(&[
            (".claw-verdict".into(), b"{\"answered\": 1}".to_vec()),
            ("reward.txt".into(), b"1".to_vec()),
        ])
        .expect("kept");
    for backend in kinds() {
        assert_eq!(reward(backend, &forged, &objects).await, 0.0);
        // Nor is there a descriptor to write to for a command that is not asked for a report.
        let (mut sandbox, _) = open(backend, &[]).await;
        let said = sh(&mut sandbox, "(echo '{\"answered\": 1}' >&3) 2>/dev/null || echo closed");
        assert_eq!(said.await, ok("closed\n"));
    }
}
