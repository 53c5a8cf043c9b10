//! A remote model solves a task in the process sandbox, and what it said is not asked for again.

use serde_json::{Value as Json, json};

use crate::project::Project;

use super::server::{Server, calls, says, status};

pub(super) const PROGRAM: &str = r#"
use std/persona
use std/rollout
use std/skill
use std/task
use std/verify
use std/workspace

let box = sandbox("process", memory: 512MiB, time: 30s)
stage people = persona.imagine(count: 1, seed: 3)
stage errands = for p in people { skill.ground(persona: p) }
stage tasks = for e in errands { task.write(grounding: e) }
stage worlds = for t in tasks { workspace.mock(task: t) }
stage runs = for w in worlds {
  rollout.run(
    world: w, agent: rollout.claw_tools(max_steps: 30), model: model("teacher"), sandbox: box,
  )
}
stage grades = for r in runs { verify.grade(run: r, sandbox: box) }
output tasks as "tasks.jsonl"
output grades as "grades.jsonl"
"#;

fn toml(url: &str) -> String {
    format!("[models.teacher]\nendpoint = \"{url}\"\nmodel = \"served\"\nretries = 0\n")
}

#[test]
fn a_rollout_that_broke_off_hears_again_what_was_said() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    project.write("claw.toml", &toml("http://127.0.0.1:9"));
    project.write("main.claw", PROGRAM);
    project.ok(&["run", "main.claw", "--quiet", "--only", "tasks"]);
    let task: Json = {
        let rows = project.json(&["show", "tasks", "0"]);
        let row = if rows.is_array() { rows[0].clone() } else { rows };
        if row.get("row").is_some() { row["row"].clone() } else { row }
    };
    let solution = task["solution"].clone();
    let steps = solution["calls"].as_array().expect("calls").clone();
    assert!(!steps.is_empty(), "{solution}");
    let last = steps.len();
    let server = Server::new(move |number, body| {
        let messages = body["messages"].as_array().expect("messages");
        let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
        // Just before the end the machine behind it is gone for a while.
        if number == last {
            return status("503 Service Unavailable", "", "gone");
        }
        match steps.get(turn) {
            Some(step) => calls(
                &format!("call_{turn}"),
                step["name"].as_str().expect("a name"),
                &step["arguments"],
            ),
            None => says(solution["answer"].as_str().unwrap_or("Done.")),
        }
    });
    project.write("claw.toml", &toml(&server.url));
    let broken = project.claw(&["run", "main.claw", "--quiet"]);
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert_eq!(broken.status.code(), Some(1), "{said}");
    assert!(said.contains("it answered 503 Service Unavailable: gone"), "{said}");
    assert_eq!(server.count(), last + 1);
    project.ok(&["run", "main.claw", "--quiet"]);
    assert_eq!(server.count(), last + 2, "only what was not answered is asked");
    let again = &server.asked()[last + 1].body["messages"];
    assert_eq!(again, &server.asked()[last].body["messages"], "the same question");
    let grades = std::fs::read_to_string(project.path("grades.jsonl")).expect("grades");
    let grade: Json = serde_json::from_str(grades.lines().next().expect("a grade")).expect("JSON");
    assert_eq!(grade["reward"], json!(1.0), "{grade}");
    assert_eq!(grade["run"]["model"], json!("teacher"), "{grade}");
    project.ok(&["run", "main.claw", "--quiet"]);
    assert_eq!(server.count(), last + 2);
}
