//! Readers never wait: while a run holds the store, four kinds of readers read it over and over.

use std::time::Duration;

use claw::store::{Store, StoreError};

use crate::project::Project;

use super::server::{Server, Step, says};

const PROGRAM: &str = r#"
use std/llm
stage numbers = for n in 1..=200 { { n: n, text: "number {n}" } }
stage said = for n in 1..=4 { llm.text(model: model("teacher"), prompt: "{n}?") }
output numbers as "numbers.jsonl"
output said as "said.jsonl"
"#;

#[test]
fn readers_read_while_a_run_goes_on() {
    let server = Server::new(|_, _| [vec![Step::Gate], says("Yes.")].concat());
    let project = Project::new();
    project.write(
        "claw.toml",
        &format!("[models.teacher]\nendpoint = \"{}\"\nmodel = \"served\"\n", server.url),
    );
    project.write("main.claw", PROGRAM);
    project.ok(&["run", "main.claw", "--quiet", "--only", "numbers"]);
    let mut run = project.command(&["run", "main.claw", "--quiet"]);
    run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut run = run.spawn().expect("claw starts");
    while server.count() < 4 {
        assert!(run.try_wait().expect("a child").is_none(), "the run waits for its model");
        std::thread::sleep(Duration::from_millis(5));
    }
    let holder = || std::fs::read_to_string(project.path(".claw/lock")).expect("the lock");
    let held = holder();
    assert!(held.contains(&format!("process {} ", run.id())), "{held}");
    let readers: [&[&str]; 4] = [
        &["show", "numbers", "--limit", "3"],
        &["runs"],
        &["plan", "main.claw"],
        &["store", "check"],
    ];
    std::thread::scope(|scope| {
        for args in readers {
            let project = &project;
            scope.spawn(move || {
                for _ in 0..5 {
                    let said = project.ok(args);
                    assert!(!said.is_empty(), "{args:?}");
                }
            });
        }
    });
    // The run held the lock all the time, so that nobody who wanted it could have gone on.
    assert!(run.try_wait().expect("a child").is_none(), "the run still waits for its model");
    assert_eq!(holder(), held, "nobody else took the lock");
    assert!(matches!(Store::open(&project.path(".claw"), "a test"), Err(StoreError::Locked(_))));
    let told = project.claw(&["diff", "--json"]);
    assert_eq!(told.status.code(), Some(1), "a run that goes on can be compared");
    server.open_gate();
    assert!(run.wait().expect("a child").success());
}
