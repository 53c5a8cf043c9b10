//! Models that nobody is asked for: replies from a file, and answers that were recorded.

use serde_json::{Value as Json, json};

use crate::project::Project;

use super::rollout::PROGRAM;
use super::server::{Server, says};

const JOKES: &str = r#"
use std/llm
stage jokes = for topic in ["rain", "tea"] {
  llm.text(model: model("teacher"), system: "Be brief.", prompt: "A joke about {topic}.")
}
output jokes as "jokes.jsonl"
"#;

const SCRIPT: &str = "[models.teacher]\nprovider = \"script\"\nreplies = \"replies.jsonl\"\n";

fn jokes() -> Project {
    let project = Project::new();
    project.write("claw.toml", SCRIPT);
    project.write("main.claw", JOKES);
    project
}

/// How a command ended, and what it said of it.
fn said(project: &Project, args: &[&str]) -> (Option<i32>, String) {
    let output = project.claw(args);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn run(project: &Project) -> (Option<i32>, String) {
    said(project, &["run", "main.claw", "--quiet"])
}

#[test]
fn a_script_answers_and_a_change_of_it_is_told() {
    let project = jokes();
    let replies = "{\"when\": \"rain\", \"text\": \"It fell for me.\"}\n\n{\"text\": \"Late.\"}\n";
    project.write("replies.jsonl", replies);
    project.ok(&["run", "main.claw", "--quiet"]);
    let read = || std::fs::read_to_string(project.path("jokes.jsonl")).unwrap();
    assert_eq!(read(), "\"It fell for me.\"\n\"Late.\"\n");
    assert_eq!(run(&project), (Some(0), String::new()));
    project.write("replies.jsonl", &replies.replace("Late", "Early"));
    let (code, told) = run(&project);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("note: model `teacher` was replies.jsonl (")
            && told.contains("claw run main.claw --refresh jokes"),
        "{told}"
    );
    project.ok(&["run", "main.claw", "--quiet", "--refresh", "jokes"]);
    assert_eq!(read(), "\"It fell for me.\"\n\"Early.\"\n");
    // It costs nothing, and so may be asked where there is a budget.
    project.write("main.claw", &JOKES.replace("\n}\n", "\n} with { budget: $1 }\n"));
    project.ok(&["run", "main.claw", "--quiet", "--refresh", "jokes"]);
    let plan = project.json(&["plan", "main.claw", "--refresh", "jokes"]);
    assert_eq!(plan["models"]["cost_micro_dollars"], json!(0), "{plan}");
}

#[test]
fn what_a_script_lacks_is_told_with_what_was_asked() {
    let project = jokes();
    project.write("replies.jsonl", "{\"turn\": 2, \"text\": \"Later.\"}\n");
    let (code, told) = run(&project);
    assert_eq!(code, Some(1));
    assert!(told.contains("replies.jsonl has no reply for turn 1"), "{told}");
    assert!(told.contains("it was told \"A joke about "), "{told}");
    for (line, why) in [
        ("{\"text\": 3}", "replies.jsonl:2:10: invalid type: integer `3`, expected a string"),
        ("{\"when\": \"a\"}", "replies.jsonl:2: a reply has a `text`, or `calls`"),
        ("{\"says\": \"a\"}", "replies.jsonl:2:7: unknown field `says`"),
        ("{\"text\": \"a\"", "replies.jsonl:2:12: EOF while parsing an object"),
    ] {
        project.write("replies.jsonl", &format!("\n{line}\n"));
        let (code, told) = run(&project);
        assert!(code == Some(1) && told.contains(why), "{told}");
        let found = project.json(&["doctor"]);
        let found = found.as_array().unwrap().iter().find(|one| one["name"] == "model teacher");
        let found = found.unwrap();
        assert_eq!(found["ok"], json!(false), "{found}");
        assert!(found["detail"].as_str().unwrap().contains(why), "{found}");
    }
    std::fs::remove_file(project.path("replies.jsonl")).unwrap();
    let (_, told) = run(&project);
    assert!(told.contains("replies.jsonl: No such file"), "{told}");
}

#[test]
fn a_script_acts_with_tools() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    project.write("claw.toml", SCRIPT);
    project.write("replies.jsonl", "{\"text\": \"I do nothing.\"}\n");
    project.write("main.claw", PROGRAM);
    project.ok(&["run", "main.claw", "--quiet"]);
    let grade = || -> Json {
        let text = std::fs::read_to_string(project.path("grades.jsonl")).unwrap();
        serde_json::from_str(text.lines().next().unwrap()).unwrap()
    };
    assert_eq!(grade()["reward"], json!(0.0));
    let tasks = std::fs::read_to_string(project.path("tasks.jsonl")).unwrap();
    let task: Json = serde_json::from_str(tasks.lines().next().unwrap()).unwrap();
    let mut replies = String::new();
    for (turn, step) in (1..).zip(task["solution"]["calls"].as_array().unwrap()) {
        let call = json!({ "name": step["name"], "arguments": step["arguments"] });
        replies += &format!("{}\n", json!({ "turn": turn, "calls": [call] }));
    }
    let answer = task["solution"]["answer"].as_str().unwrap_or("Done.");
    replies += &json!({ "text": answer }).to_string();
    project.write("replies.jsonl", &replies);
    project.ok(&["run", "main.claw", "--quiet", "--refresh", "runs"]);
    assert_eq!(grade()["reward"], json!(1.0), "{}", grade());
}

#[test]
fn a_replayed_model_says_what_was_recorded_and_nothing_else() {
    let server = Server::new(|_, _| says("ha"));
    let project = Project::new();
    project.write(
        "claw.toml",
        &format!("[models.teacher]\nendpoint = \"{}\"\nmodel = \"served\"\n", server.url),
    );
    project.write("main.claw", JOKES);
    project.ok(&["run", "main.claw", "--quiet"]);
    project.write("claw.toml", "[models.teacher]\nprovider = \"replay\"\n");
    assert_eq!(run(&project), (Some(0), String::new()));
    project.write("main.claw", &JOKES.replace("\"tea\"", "\"snow\", \"tea\""));
    let (code, told) = run(&project);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("no answer is recorded, and its provider is `replay`, which asks nobody")
            && told.contains("A joke about snow."),
        "{told}"
    );
    assert_eq!(server.count(), 2);
}

#[test]
fn settings_that_nobody_needs_are_refused() {
    let project = Project::new();
    project.write("main.claw", "stage a = 1\noutput a\n");
    for (settings, why) in [
        ("provider = \"script\"", "a script needs its replies"),
        (
            "provider = \"script\"\nreplies = \"r\"\nmodel = \"m\"",
            "`model` is not for provider = \"script\": a script has `replies`, a file",
        ),
        ("provider = \"replay\"\nreplies = \"r\"", "`replies` is not for provider = \"replay\""),
        ("model = \"m\"", "`endpoint` is missing"),
        ("endpoint = \"http://host/v1\"", "`model` is missing"),
        (
            "endpoint = \"http://host/v1\"\nmodel = \"m\"\nreplies = \"r\"",
            "`replies` are for provider = \"script\"",
        ),
    ] {
        project.write("claw.toml", &format!("[models.teacher]\n{settings}\n"));
        let (code, told) = said(&project, &["check", "main.claw"]);
        assert!(code == Some(2) && told.contains(why), "{told}");
    }
}

/// A model that cannot be opened is no failure of the row: no attempt goes on after it, nothing is
/// kept, and a stage that only had such rows has no result.
#[test]
fn a_model_that_cannot_be_opened_is_no_failure_of_the_row() {
    if !crate::sandbox::works() {
        return;
    }
    for (settings, why) in [
        (String::new(), "no provider can open the model `teacher`"),
        (SCRIPT.to_string(), "replies.jsonl: No such file"),
        (
            "[models.teacher]\nendpoint = \"http://127.0.0.1:9\"\nmodel = \"m\"\nkey_env = \
             \"NOT_SET_HERE\"\n"
                .to_string(),
            "NOT_SET_HERE",
        ),
    ] {
        let project = Project::new();
        project.write("claw.toml", &settings);
        let program = PROGRAM.replace(
            "stage runs = for w in worlds {\n  rollout.run(",
            "def played(w: workspace.World) -> rollout.Run? {\n  try 2 {\n    let r = rollout.run(",
        );
        let program = program.replace(
            "sandbox: box,\n  )\n}\n",
            "sandbox: sandbox(\"process\", memory: 512MiB, time: 30s),\n  )\n    accept r when \
             r.finished\n  }\n}\nstage runs = for w in worlds { played(w: w) } with { on_error: keep }\n",
        );
        project.write("main.claw", &program);
        for _ in 0..2 {
            let (code, told) = run(&project);
            assert_eq!(code, Some(1), "{told}");
            assert!(
                told.contains("none of its rows could be made") && told.contains(why),
                "{told}"
            );
        }
        project.write("claw.toml", SCRIPT);
        project.write("replies.jsonl", "{\"text\": \"Done.\"}\n");
        let (code, told) = run(&project);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(project.json(&["show", "runs"]).as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_workspace_that_a_model_took_the_rights_to_is_taken_out() {
    if !crate::sandbox::works() {
        return;
    }
    for mode in ["0", "100", "400", "300"] {
        let project = Project::new();
        project.write("claw.toml", SCRIPT);
        let command = format!("echo here > left.txt; chmod {mode} .");
        let call = json!({ "name": "exec", "arguments": { "command": command } });
        let replies =
            format!("{}\n{}\n", json!({ "turn": 1, "calls": [call] }), r#"{"text": "Done."}"#);
        project.write("replies.jsonl", &replies);
        project.write("main.claw", PROGRAM);
        let (code, told) = run(&project);
        assert_eq!(code, Some(0), "{mode}: {told}");
        let left = project.claw(&["show", "runs", "--row", "0", "after/left.txt"]);
        assert_eq!(String::from_utf8_lossy(&left.stdout), "here\n", "{mode}");
    }
}
