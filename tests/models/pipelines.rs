//! `llm.text` and `llm.json` through the real program.

use std::path::Path;

use serde_json::json;

use crate::project::Project;

use super::server::{Server, says, status};

const KEY: &str = "sk-loopback-3f9a61c0d2";

fn project(server: &Server, more: &str, program: &str) -> Project {
    let project = Project::new();
    project.write(
        "claw.toml",
        &format!(
            "[models.teacher]\nendpoint = \"{}\"\nmodel = \"served\"\nbackoff_seconds = 0.01\n\
             retries = 1\n{more}",
            server.url
        ),
    );
    project.write("main.claw", program);
    project
}

fn run(project: &Project) -> (Option<i32>, String) {
    let output = project.command(&["run", "main.claw", "--quiet"]).env("TEACHER_KEY", KEY).output();
    let output = output.expect("claw starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[track_caller]
fn ok(project: &Project) -> String {
    let (code, said) = run(project);
    assert_eq!(code, Some(0), "{said}");
    said
}

const JOKES: &str = r#"
use std/llm
param teacher: Model = model("teacher", temperature: 0.7, max_tokens: 50)
stage jokes = for topic in ["rain", "trains", "tea"] {
  llm.text(model: teacher, system: "Be brief.", prompt: "A joke about {topic}.")
}
output jokes as "jokes.jsonl"
"#;

/// Every byte under a folder, the compressed ones as they were before too.
pub(crate) fn bytes_below(folder: &Path, found: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            bytes_below(&path, found);
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        for at in 0..bytes.len().saturating_sub(4) {
            if bytes[at..].starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
                let reader = zstd::stream::Decoder::new(&bytes[at..]);
                if let Ok(reader) = reader {
                    let _ = std::io::copy(&mut reader.single_frame(), found);
                }
            }
        }
        found.extend(bytes);
    }
}

#[test]
fn answers_are_kept_and_the_key_is_not() {
    // It repeats the key, as servers do that refuse one.
    let server = Server::new(|number, body| match number {
        0 => status(
            "500 Internal Server Error",
            "",
            &format!("{{\"error\":{{\"message\":\"what is Bearer {KEY}?\"}}}}"),
        ),
        _ => {
            let asked = body["messages"][1]["content"].as_str().expect("a question").to_string();
            says(&format!("{asked} {} {KEY}!", "Ha! ".repeat(200)))
        }
    });
    let project = project(&server, "key_env = \"TEACHER_KEY\"\nconcurrency = 1\n", JOKES);
    // Without retries the first answer shows what is told.
    let toml = std::fs::read_to_string(project.path("claw.toml")).expect("settings");
    project.write("claw.toml", &toml.replace("retries = 1", "retries = 0"));
    let (code, said) = run(&project);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("what is Bearer [key]?"), "{said}");
    project.write("claw.toml", &toml);
    let mut told = said + &ok(&project);
    let asked = server.count();
    assert!(asked >= 4, "{asked}");
    let first = &server.asked()[1];
    assert!(first.head.contains(&format!("authorization: bearer {KEY}")), "{}", first.head);
    assert_eq!(first.body["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    assert_eq!((&first.body["max_tokens"], &first.body["temperature"]), (&json!(50), &json!(0.7)));
    let rows = std::fs::read_to_string(project.path("jokes.jsonl")).expect("jokes");
    assert!(rows.contains("A joke about rain.") && rows.contains("[key]!"), "{rows}");
    // Once more, and with rows that are taken from the store one by one: nobody is asked.
    told += &ok(&project);
    project.write("main.claw", &JOKES.replace("\"tea\"]", "\"tea\", \"rain\"]"));
    told += &ok(&project);
    assert_eq!(server.count(), asked);
    // Another endpoint is the same model; other settings are another question.
    let moved = toml.replace(&server.url, &format!("{}/", server.url));
    project.write("claw.toml", &moved.replace("concurrency = 1", "concurrency = 2"));
    told += &ok(&project);
    assert_eq!(server.count(), asked);
    project.write("main.claw", &JOKES.replace("0.7", "0.8"));
    told += &ok(&project);
    assert_eq!(server.count(), asked + 3);
    for args in [&["show", "jokes"][..], &["runs", "--json"], &["doctor"], &["plan", "main.claw"]] {
        let output = project.command(args).env("TEACHER_KEY", KEY).output().expect("claw starts");
        told += &String::from_utf8_lossy(&output.stdout);
        told += &String::from_utf8_lossy(&output.stderr);
    }
    let mut kept = Vec::new();
    bytes_below(&project.path(""), &mut kept);
    kept.extend(told.as_bytes());
    let has = |word: &str| kept.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    assert!(has("A joke about rain. Ha! Ha!"), "the search finds what is kept");
    assert!(!has(KEY), "the key is somewhere");
    let mut store = Vec::new();
    bytes_below(&project.path(".claw"), &mut store);
    let address = server.url.replace("http://", "").replace("/v1", "");
    let moves = store.windows(address.len()).any(|bytes| bytes == address.as_bytes());
    assert!(!moves, "where the model is, is not kept");
}

#[test]
fn a_key_that_is_not_set_is_told_before_anything_is_asked() {
    let server = Server::of(vec![says("Yes.")]);
    let project = project(&server, "key_env = \"CLAW_NO_SUCH_KEY\"\n", JOKES);
    let (code, said) = run(&project);
    assert_eq!((code, server.count()), (Some(1), 0));
    assert!(said.contains("environment variable CLAW_NO_SUCH_KEY, which is not set"), "{said}");
}

const NAMES: &str = r#"
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

#[test]
fn an_attempt_is_told_what_was_wrong_with_the_last_one() {
    let server = Server::of(vec![
        says("I would call her Ada."),
        says("```json\n{\"name\": \"Ada\", \"age\": 7}\n```"),
        says("Sure:\n```json\n{\"name\": \"Ada\"}\n```\n"),
    ]);
    let project = project(&server, "", NAMES);
    ok(&project);
    let rows = std::fs::read_to_string(project.path("names.jsonl")).expect("names");
    assert_eq!(rows, "{\"name\":\"Ada\"}\n");
    let asked = server.asked();
    let prompts: Vec<&str> = asked
        .iter()
        .map(|one| one.body["messages"][0]["content"].as_str().expect("a prompt"))
        .collect();
    assert_eq!(prompts[0], "A name for a baker. ");
    assert_eq!(
        prompts[1],
        "A name for a baker. the answer of `teacher` is not JSON: expected value at line 1 column 1"
    );
    assert_eq!(prompts[2], "A name for a baker. there must be one field");
    let seeds: Vec<_> = asked.iter().map(|one| one.body["seed"].clone()).collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
    ok(&project);
    assert_eq!(server.count(), 3);
}

#[test]
fn an_integer_that_would_lose_digits_fails_its_row() {
    let server = Server::of(vec![says("```json\n{\"id\": 18446744073709551615}\n```")]);
    let program = "use std/llm\nstage a = for word in [\"one\"] { llm.json(model: \
                   model(\"teacher\"), prompt: word) } with { on_error: keep }\noutput a\n";
    let project = project(&server, "", program);
    project.claw(&["run", "main.claw", "--quiet"]);
    let failed = project.ok(&["show", "a", "--failed"]);
    let why =
        "in the answer of `teacher`, field `id`: the integer 18446744073709551615 does not fit";
    assert!(failed.contains(why), "{failed}");
}

#[test]
fn answers_that_cannot_be_used_fail_their_row_with_what_was_said() {
    let server = Server::new(|_, body| {
        let good = body["messages"][0]["content"].as_str().expect("a prompt").contains("good");
        says(if good { "[1]" } else { "{\"cut\": " })
    });
    let program = "use std/llm\nstage a = for word in [\"good\", \"bad\"] { llm.json(model: \
                   model(\"teacher\"), prompt: word) } with { on_error: keep, retries: 1, \
                   backoff: 1ms }\noutput a as \"a.jsonl\"\n";
    let project = project(&server, "", program);
    ok(&project);
    assert_eq!(std::fs::read_to_string(project.path("a.jsonl")).expect("rows"), "[1]\n");
    assert_eq!(server.count(), 3, "the stage's policy asks once more");
    let failed = project.ok(&["show", "a", "--failed"]);
    assert!(failed.contains("is not JSON: EOF while parsing a value"), "{failed}");
    assert!(failed.contains("{\"cut\": "), "{failed}");
    ok(&project);
    assert_eq!(server.count(), 5, "rows that failed are tried again, the others are not");
}

#[test]
fn a_stage_does_not_spend_more_than_its_budget() {
    let server = Server::of(vec![says("Yes.")]);
    let program = "use std/llm\nstage a = for n in 1..=40 { llm.text(model: model(\"teacher\", \
                   max_tokens: 20), prompt: \"{n}?\") } with { budget: $BUDGET, on_error: keep, \
                   concurrency: 4 }\noutput a as \"a.jsonl\"\n";
    let prices = "prices = { input = 0, output = 1000 }\n";
    // An answer costs 5 tokens at $0.001 each, and is reserved at 20.
    let project = project(&server, prices, &program.replace("BUDGET", "0.10"));
    let (code, said) = run(&project);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the stage's budget of $0.10 does not cover the next call"), "{said}");
    let asked = server.count();
    assert_eq!(asked, 17, "0.085 are spent, and 0.02 more would be too much");
    project.write("main.claw", &program.replace("BUDGET", "5"));
    ok(&project);
    assert_eq!(server.count(), 40, "what was paid is kept");
}

#[test]
fn a_run_does_not_spend_more_than_its_budget() {
    let server = Server::of(vec![says("Yes.")]);
    let stage = |name: &str| {
        format!(
            "stage {name} = for n in 1..=20 {{ llm.text(model: model(\"teacher\", max_tokens: 20), \
             prompt: \"{name} {{n}}?\") }} with {{ on_error: keep, concurrency: 4 }}\noutput {name}\n"
        )
    };
    let program = format!("use std/llm\n{}{}", stage("a"), stage("b"));
    // An answer costs 5 tokens at $0.001 each, and is reserved at 20.
    let project = project(&server, "prices = { input = 0, output = 1000 }\n", &program);
    let run = |budget: &str| {
        let output = project.claw(&["run", "main.claw", "--quiet", "--budget", budget]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run("0.10");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the run's budget of $0.10 does not cover the next call"), "{said}");
    assert!(said.contains("raise `--budget` and run again"), "{said}");
    let asked = server.count();
    assert!((10..=20).contains(&asked), "{asked} answers of half a cent");
    assert_eq!(run("$5").0, Some(0));
    assert_eq!(server.count(), 40, "what was paid is kept");
    let (code, said) = run("much");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("an amount of dollars, such as 2.50"), "{said}");
}

#[test]
fn doctor_lists_models_and_whether_their_key_is_there() {
    let server = Server::of(vec![says("Yes.")]);
    let project = project(
        &server,
        "key_env = \"TEACHER_KEY\"\n[models.local]\nendpoint = \
                           \"http://localhost:1/v1\"\nmodel = \"small\"\n",
        "",
    );
    let look = |key: &str| {
        let output = project.command(&["doctor", "--json"]).env("TEACHER_KEY", key).output();
        let found: serde_json::Value =
            serde_json::from_slice(&output.expect("claw starts").stdout).expect("JSON");
        let found = found.as_array().expect("a list").clone();
        found
            .into_iter()
            .filter(|one| one["name"].as_str().unwrap().starts_with("model "))
            .collect()
    };
    let found: Vec<serde_json::Value> = look(KEY);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["name"], "model local");
    assert_eq!(found[0]["detail"], "small at http://localhost:1/v1, without a key");
    assert_eq!(
        (&found[1]["ok"], found[1]["detail"].as_str().unwrap().contains("is set")),
        (&json!(true), true)
    );
    let found: Vec<serde_json::Value> = look("");
    assert_eq!(found[1]["ok"], json!(false));
    assert!(found[1]["detail"].as_str().unwrap().contains("TEACHER_KEY is not set"));
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let cases = [
        ("endpoint = \"localhost:8000\"\nmodel = \"m\"", "must begin with https:// or http://"),
        ("endpoint = \"http://me:pass@host/v1\"\nmodel = \"m\"", "must not hold a password"),
        ("endpoint = \"http://host/v1\"\nmodel = \"m\"\nkey_env = \"sk-123\"", "not the key"),
        ("endpoint = \"http://host/v1\"\nmodel = \"m\"\nconcurrency = 0", "at least 1"),
        ("endpoint = \"http://host/v1\"\nmodel = \"m\"\nidle_seconds = 0", "`idle_seconds`"),
        (
            "endpoint = \"http://host/v1\"\nmodel = \"m\"\nprices = { input = -1, output = 0 }",
            "dollars",
        ),
        ("endpoint = \"http://host/v1\"\nmodel = \"m\"\napi_key = \"x\"", "unknown field"),
    ];
    let project = Project::new();
    project.write("main.claw", "stage a = 1\noutput a\n");
    for (settings, why) in cases {
        project.write("claw.toml", &format!("[models.teacher]\n{settings}\n"));
        let output = project.claw(&["check", "main.claw"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(why) && !said.contains("sk-123"), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
}

#[test]
fn another_model_behind_the_same_name_is_told() {
    let server = Server::new(|_, _| says("ha"));
    let project = project(&server, "", JOKES);
    assert!(!ok(&project).contains("note:"));
    assert!(!ok(&project).contains("note:"));
    let settings = std::fs::read_to_string(project.path("claw.toml")).expect("settings");
    project.write("claw.toml", &settings.replace("\"served\"", "\"other\""));
    let note = "note: model `teacher` was served in the last run and is other now; answers are kept \
                under the name\n  help: give it another name, or renew what it said with `claw run \
                main.claw --refresh jokes`\n";
    let planned = project.command(&["plan", "main.claw"]).output().expect("claw starts");
    assert_eq!(String::from_utf8_lossy(&planned.stderr), note);
    assert!(ok(&project).contains(note));
    assert_eq!(server.asked().len(), 3, "what was said stands");
    let renewed = project.claw(&["run", "main.claw", "--quiet", "--refresh", "jokes"]);
    assert!(renewed.status.success() && renewed.stderr.is_empty(), "{renewed:?}");
    assert_eq!(server.asked().len(), 6);
}
