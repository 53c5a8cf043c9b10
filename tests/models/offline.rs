//! `claw run --offline`: recorded answers are all there is, no key is needed, and what is missing is
//! told while everything else is made.

use serde_json::{Value as Json, json};

use crate::project::Project;

use super::rollout::PROGRAM;
use super::server::{Server, calls, says};

const KEY: &str = "sk-loopback-offline-77";

const JOKES: &str = r#"
use std/llm
stage jokes = for topic in ["rain", "trains"] {
  llm.text(model: model("teacher", max_tokens: 50), system: "Be brief.", prompt: "A joke about {topic}.")
}
stage lengths = for joke in jokes { { joke: joke, length: len(joke) } }
stage total = { jokes: len(jokes) }
stage other = for n in 1..=3 { { n: n * n } }
output lengths as "lengths.jsonl"
output total as "total.json"
output other as "other.jsonl"
"#;

/// A project with a model that needs a key, and its server.
fn project(program: &str, server: &Server) -> Project {
    let project = Project::new();
    project.write(
        "claw.toml",
        &format!(
            "[models.teacher]\nendpoint = \"{}\"\nmodel = \"served\"\nkey_env = \"OFFLINE_KEY\"\n\
             retries = 0\n",
            server.url
        ),
    );
    project.write("main.claw", program);
    project
}

/// Runs it with the key.
#[track_caller]
fn online(project: &Project) {
    let output = project.command(&["run", "main.claw", "--quiet"]).env("OFFLINE_KEY", KEY).output();
    let output = output.expect("claw starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read(project: &Project, path: &str) -> String {
    std::fs::read_to_string(project.path(path)).unwrap_or_default()
}

fn stage<'a>(run: &'a Json, name: &str) -> &'a Json {
    let stages = run["stages"].as_array().expect("stages");
    stages.iter().find(|stage| stage["stage"] == name).expect("the stage")
}

#[test]
fn what_is_recorded_needs_neither_a_network_nor_a_key() {
    let server = Server::of(vec![says("Ha!")]);
    let project = project(JOKES, &server);
    online(&project);
    assert_eq!(server.count(), 2);
    let lengths = read(&project, "lengths.jsonl");
    // Other work on the same answers, and the run's shortcut out of the way.
    project.write("main.claw", &JOKES.replace("n * n", "n + n"));
    project.ok(&["run", "main.claw", "--offline", "--quiet"]);
    assert_eq!(read(&project, "lengths.jsonl"), lengths);
    assert_eq!(read(&project, "other.jsonl"), "{\"n\":2}\n{\"n\":4}\n{\"n\":6}\n");
    // Whatever a stage says of its cache: there is nobody else to ask.
    let off = JOKES.replace("about {topic}.\")\n}", "about {topic}.\")\n} with { cache: off }");
    assert_ne!(off, JOKES);
    project.write("main.claw", &off);
    project.ok(&["run", "main.claw", "--offline", "--quiet"]);
    assert_eq!(server.count(), 2, "nobody was asked");
}

#[test]
fn what_is_not_recorded_is_told_and_the_rest_is_made() {
    let server = Server::of(vec![says("Ha!")]);
    let project = project(JOKES, &server);
    online(&project);
    for policy in
        ["", " with { on_error: keep, retries: 5 }", " with { on_error: drop(at_most: 90%) }"]
    {
        let more = JOKES
            .replace("\"rain\", \"trains\"", "\"tea\", \"rain\", \"cats\", \"trains\"")
            .replace("about {topic}.\")\n}", &format!("about {{topic}}.\")\n}}{policy}"))
            .replace("n * n", "n * n * n");
        let _ = std::fs::remove_file(project.path("other.jsonl"));
        let before = (read(&project, "lengths.jsonl"), read(&project, "total.json"));
        project.write("main.claw", &more);
        let output = project.claw(&["run", "main.claw", "--offline", "--json"]);
        let told: Json = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.code(), Some(1), "{told}");
        let jokes = stage(&told, "jokes");
        assert_eq!(
            (&jokes["cached"], &jokes["failed"]),
            (&json!(2), &json!(2)),
            "{policy}: {jokes}"
        );
        let lengths = stage(&told, "lengths");
        let made = lengths["ran"].as_u64().unwrap() + lengths["cached"].as_u64().unwrap();
        assert_eq!(made, 2, "the rows whose answers are there went on: {lengths}");
        let failures = told["failures"].as_array().expect("failures");
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0]["stage"], "jokes");
        let message = failures[0]["message"].as_str().expect("a message");
        assert!(message.starts_with("row 0: no answer is recorded"), "{message}");
        assert!(
            message.contains("`llm.text` would ask `teacher`: \"Be brief.\\nA joke about tea.\"")
        );
        assert!(message.ends_with("(and so for 1 more row)"), "{message}");
        // What does not need them is there; what lacks rows is not taken for a result.
        assert!(read(&project, "other.jsonl").contains("27"), "{policy}");
        assert_eq!((read(&project, "lengths.jsonl"), read(&project, "total.json")), before);
    }
    let aside = project.ok(&["show", "jokes", "--failed"]);
    assert!(aside.contains("A joke about tea.") && aside.contains("A joke about cats."), "{aside}");
    let output = project.claw(&["run", "main.claw", "--offline", "--quiet"]);
    let text = String::from_utf8_lossy(&output.stderr).replace(&server.url, "<url>");
    insta::assert_snapshot!("offline_misses", text);
    assert_eq!(server.count(), 2, "nobody was asked");
    online(&project);
    assert_eq!(server.count(), 4, "with a network they are asked, and only they");
}

#[test]
fn what_reads_a_stage_without_a_result_has_none() {
    let server = Server::of(vec![says("Ha!")]);
    let program = |topics: &str| {
        JOKES.replace("\"rain\", \"trains\"", topics)
            + "stage joined = for n in [1, 2] { { n: n, jokes: len(jokes) } }\n\
               output joined as \"joined.jsonl\"\n"
    };
    let project = project(&program("\"rain\", \"trains\""), &server);
    online(&project);
    let before = read(&project, "joined.jsonl");
    assert_eq!(before, "{\"jokes\":2,\"n\":1}\n{\"jokes\":2,\"n\":2}\n");
    project.write("main.claw", &program("\"rain\", \"trains\", \"tea\""));
    let output = project.claw(&["run", "main.claw", "--offline", "--json"]);
    let told: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told["results"]["joined"], Json::Null);
    assert_eq!(read(&project, "joined.jsonl"), before, "what was there stays");
}

#[test]
fn a_miss_in_a_try_is_no_attempt() {
    let server = Server::of(vec![says("{}")]);
    let program = r#"
use std/llm
def name(trade: str) -> Json? {
  try 3 with feedback {
    let draft = llm.json(model: model("teacher"), prompt: "A name for a {trade}. {feedback}")
    accept draft when len(draft) == 1
    feedback = "there must be one field"
  }
}
stage names = for trade in ["baker"] { name(trade) }
output names as "names.jsonl"
"#;
    let project = project(program, &server);
    let output = project.claw(&["run", "main.claw", "--offline", "--quiet"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("\"A name for a baker. \""), "the first question: {told}");
    assert_eq!(server.count(), 0);
}

#[test]
fn an_episode_is_played_again_from_its_recorded_answers() {
    if !crate::sandbox::works() {
        return;
    }
    let server = Server::new(|number, _| match number {
        0 => calls("a", "exec", &json!({ "command": "echo hello > hello.txt" })),
        _ => says("Done."),
    });
    let project = project(PROGRAM, &server);
    let output = project.claw(&["run", "main.claw", "--offline", "--quiet"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("stage `runs`: row 0: no answer is recorded"), "{told}");
    assert!(told.contains("`teacher` would be asked with 2 messages"), "{told}");
    online(&project);
    let (grades, asked) = (read(&project, "grades.jsonl"), server.count());
    // Without the receipts of the episode itself: it is played, and hears what it heard.
    let again = PROGRAM.replace(
        "model(\"teacher\"), sandbox: box,\n  )\n}",
        "model(\"teacher\"), sandbox: box,\n  )\n} with { cache: off }",
    );
    assert_ne!(again, PROGRAM);
    project.write("main.claw", &again);
    let told = project.json(&["run", "main.claw", "--offline"]);
    assert_eq!(stage(&told, "runs")["ran"], json!(1), "{told}");
    assert_eq!(read(&project, "grades.jsonl"), grades);
    assert_eq!(server.count(), asked, "nobody was asked");
}
