//! What a person reads: help, plans, graphs and refusals, as snapshots.

use std::process::Output;

use crate::project::Project;

/// Standard output, standard error and the exit code, with what differs from run to run masked.
pub(crate) fn shown(project: &Project, args: &[&str]) -> String {
    let output: Output = project.claw(args);
    let folder = project.path("").to_string_lossy().trim_end_matches('/').to_string();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder, "<project>");
    let mut out = format!("$ claw {}\n{}", args.join(" "), text(&output.stdout));
    let errors = text(&output.stderr);
    if !errors.is_empty() {
        out.push_str(&format!("--- stderr\n{errors}"));
    }
    out.push_str(&format!("--- exit {}\n", output.status.code().unwrap_or(-1)));
    out
}

#[test]
fn help() {
    let project = Project::new();
    for command in ["", "run", "check", "plan", "show", "runs", "graph", "doctor", "explain", "fmt"]
    {
        let args: Vec<&str> =
            [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let name = if command.is_empty() { "claw" } else { command };
        insta::assert_snapshot!(format!("help_{name}"), shown(&project, &args));
    }
}

const TASKS: &str = "
use std/persona
use std/skill
use std/task

/// How many.
param people: int = 2 where people >= 1

stage folk = persona.imagine(count: people)
stage errands = for p in folk, n in 1..=2 { skill.ground(persona: p, index: n) }
stage tasks = for e in errands { task.write(grounding: e) }

output tasks as \"out/tasks.jsonl\"
";

#[test]
fn plans_and_runs() {
    let project = Project::new();
    project.write("tasks.claw", TASKS);
    insta::assert_snapshot!("plan_of_what_never_ran", shown(&project, &["plan", "tasks.claw"]));
    project.ok(&["run", "tasks.claw", "--quiet"]);
    let rows = std::fs::read_to_string(project.path("out/tasks.jsonl")).expect("rows");
    assert_eq!(rows.lines().count(), 4);
    insta::assert_snapshot!("plan_of_what_is_done", shown(&project, &["plan", "tasks.claw"]));
    insta::assert_snapshot!(
        "plan_of_one_more_person",
        shown(&project, &["plan", "tasks.claw", "-p", "people=3"])
    );
    project.write("tasks.claw", &TASKS.replace("index: n)", "index: n, operations: 2)"));
    insta::assert_snapshot!("plan_of_an_argument", shown(&project, &["plan", "tasks.claw"]));
    for form in ["text", "mermaid", "dot"] {
        insta::assert_snapshot!(
            format!("graph_{form}"),
            shown(&project, &["graph", "tasks.claw", "--form", form])
        );
    }
}

#[test]
fn refusals_say_what_to_do() {
    let project = Project::new();
    project.write("tasks.claw", TASKS);
    project.write("typo.claw", &TASKS.replace("persona: p", "persno: p"));
    project.write("toml/claw.toml", "[project]\nnam = \"x\"\n");
    project.write("toml/a.claw", TASKS);
    project.write("open.claw", &format!("{TASKS}\nparam box: Sandbox = sandbox(\"local\")\n\
        use std/eval\nuse std/workspace\n\
        stage worlds = for t in tasks {{ workspace.mock(task: t) }}\n\
        stage report = eval.measure(models: [model(\"builtin/solver\")], worlds: worlds, sandbox: box)\n\
        output report\n"));
    let asked: [(&str, &[&str]); 10] = [
        ("missing_pipeline", &["run", "nowhere.claw"]),
        ("typo", &["check", "typo.claw"]),
        ("unknown_parameter", &["run", "tasks.claw", "-p", "peple=3"]),
        ("parameter_out_of_bounds", &["run", "tasks.claw", "-p", "people=0"]),
        ("parameter_without_value", &["run", "tasks.claw", "-p", "people"]),
        ("unknown_stage", &["run", "tasks.claw", "--only", "task"]),
        ("no_run_to_show", &["show", "tasks"]),
        ("wrong_settings", &["check", "toml/a.claw"]),
        ("unknown_code", &["explain", "E9999"]),
        ("unsandboxed", &["run", "open.claw"]),
    ];
    for (name, args) in asked {
        insta::assert_snapshot!(format!("refusal_{name}"), shown(&project, args));
    }
}

/// A second run on a store that is being written to says who writes.
#[test]
fn a_second_run_is_told_about_the_first() {
    let project = Project::new();
    project.write("tasks.claw", TASKS);
    project.ok(&["run", "tasks.claw", "--quiet"]);
    let store = claw::store::Store::open(&project.path(".claw"), "claw run other.claw");
    let store = store.expect("the store");
    let output = project.claw(&["run", "tasks.claw"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("claw run other.claw") && text.contains("help:"), "{text}");
    // Readers do not wait.
    project.ok(&["show", "tasks"]);
    project.ok(&["plan", "tasks.claw"]);
    project.ok(&["runs"]);
    drop(store);
}

#[test]
fn every_example_runs() {
    let project = Project::new();
    let examples =
        std::fs::read_dir(crate::project::checkout().join("examples")).expect("examples");
    for data in std::fs::read_dir(crate::project::checkout().join("examples/data")).expect("data") {
        let path = data.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        project.write(&format!("data/{name}"), &std::fs::read_to_string(&path).expect("text"));
    }
    crate::project::copy(
        &crate::project::checkout().join("examples/agents"),
        &project.path("agents"),
    );
    let replies = crate::project::checkout().join("examples/replies.jsonl");
    project.write("replies.jsonl", &std::fs::read_to_string(replies).expect("text"));
    project.write(
        "claw.toml",
        "[models.stand_in]\nprovider = \"script\"\nreplies = \"replies.jsonl\"\n",
    );
    let mut count = 0;
    for example in examples {
        let path = example.expect("an example").path();
        if path.extension().is_some_and(|extension| extension == "claw") {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_string();
            project.write(&name, &std::fs::read_to_string(&path).expect("text"));
            project.ok(&["run", &name, "--quiet"]);
            count += 1;
        }
    }
    assert!(count >= 2);
}
