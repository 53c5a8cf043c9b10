//! The run log on a disk that refuses it: the run says so, and what it made is right.

use std::process::Command;

use crate::faults::may_trace;
use crate::project::Project;

const SQUARES: &str = "stage squares = for n in 1..=20 { { n: n * n } }\n\
                       stage sums = for s in squares { { sum: s.n + 1 } }\noutput sums as \"s.jsonl\"\n";

#[test]
fn a_log_that_cannot_be_written_is_told() {
    if !may_trace() {
        return;
    }
    let (project, right) = (Project::new(), Project::new());
    for project in [&project, &right] {
        project.write("main.claw", SQUARES);
    }
    let results = right.json(&["run", "main.claw"])["results"].clone();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write"]);
    strace.args(["-e", "inject=write:error=ENOSPC:when=1"]);
    // The log's path holds the second in which the run begins: all that it may be.
    let now = jiff::Timestamp::now();
    for later in 0..120 {
        let at = now + jiff::SignedDuration::from_secs(later);
        let id: String = at.to_string().chars().take(19).collect();
        let path = format!(".claw/runs/{}/events.jsonl", id.replace(':', "-"));
        strace.arg("-P").arg(project.path(&path));
    }
    strace.arg(env!("CARGO_BIN_EXE_claw")).args(["run", "main.claw", "--quiet"]);
    let output = strace.current_dir(project.path("")).output().expect("strace starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("the run log: writing ").count(), 1, "{text}");
    assert!(text.contains("its results are kept and right"), "{text}");
    let run = std::fs::read_dir(project.path(".claw/runs")).expect("runs").next().expect("a run");
    let log = std::fs::read_to_string(run.expect("a run").path().join("events.jsonl"));
    for line in log.expect("a log").lines().filter(|line| !line.is_empty()) {
        let event: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(event.is_ok(), "what is there is whole: {line}");
    }
    let again = project.json(&["run", "main.claw"]);
    assert_eq!(again["results"], results);
    assert!(
        again["stages"].as_array().expect("stages").iter().all(|stage| stage["state"] == "cached")
    );
    let written = |project: &Project| std::fs::read(project.path("s.jsonl")).expect("an output");
    assert_eq!(written(&project), written(&right));
}
