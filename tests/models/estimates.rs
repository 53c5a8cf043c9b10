//! `claw plan` on model calls: from recorded ones where there are some, else roughly; and it stays a
//! look, however many rows there are.

use serde_json::{Value as Json, json};

use crate::cli::shown;
use crate::project::Project;

use super::server::{Server, says};

const JOKES: &str = r#"
use std/llm
stage jokes = for topic in ["rain", "trains", "tea"] {
  llm.text(model: model("teacher", max_tokens: 50), prompt: "A joke about {topic}.")
}
stage better = for joke in jokes {
  llm.text(model: model("teacher", max_tokens: 80), prompt: "Make it better: {joke}")
}
stage free = for joke in jokes { llm.text(model: model("local"), prompt: "Again: {joke}") }
output better as "better.jsonl"
output free as "free.jsonl"
"#;

fn project(server: &Server, program: &str) -> Project {
    let project = Project::new();
    let url = &server.url;
    project.write(
        "claw.toml",
        &format!(
            "[models.teacher]\nendpoint = \"{url}\"\nmodel = \"served\"\n\
             prices = {{ input = 2.0, output = 10.0 }}\n\
             [models.local]\nendpoint = \"{url}\"\nmodel = \"small\"\n"
        ),
    );
    project.write("main.claw", program);
    project
}

#[test]
fn calls_are_estimated_from_prompts_and_then_from_what_was_paid() {
    let server = Server::new(|_, body| {
        let prompt = body["messages"][0]["content"].as_str().expect("a prompt");
        says(prompt.split(' ').next_back().expect("a word"))
    });
    let project = project(&server, JOKES);
    insta::assert_snapshot!("plan_of_prompts", shown(&project, &["plan", "main.claw"]));
    assert!(!project.path(".claw").exists(), "nothing is written");
    project.ok(&["run", "main.claw", "--quiet"]);
    let nothing = shown(&project, &["plan", "main.claw"]);
    assert!(nothing.contains("Nothing to run") && !nothing.contains("model"), "{nothing}");
    let edited =
        JOKES.replace("\"tea\"]", "\"tea\", \"cats\"]").replace("max_tokens: 80", "max_tokens: 90");
    project.write("main.claw", &edited);
    insta::assert_snapshot!("plan_of_recorded_calls", shown(&project, &["plan", "main.claw"]));
    let told = project.json(&["plan", "main.claw"]);
    let jokes = &told["stages"][0]["asks"][0];
    assert_eq!(jokes["basis"], json!({ "from": "recorded", "recorded": 3 }));
    assert_eq!((&jokes["calls"], &jokes["answers"]), (&json!(1), &json!(1)));
    // 12 tokens at 2 and 5 at 10 micro-dollars.
    assert_eq!(jokes["cost_micro_dollars"], json!(74));
    assert_eq!(told["models"]["cost_known"], json!(false), "one model has no prices");
    assert_eq!(server.count(), 9, "a plan asks nobody");
}

/// What is asked again costs again, and is told before.
#[test]
fn what_is_made_again_is_asked_again() {
    let server = Server::of(vec![says("Ha!")]);
    let program = r#"
use std/llm
stage jokes = for of in ["cats", "dogs", "cats"] { llm.text(model: model("teacher"), prompt: "On {of}.") }
stage loud = for j in jokes { llm.text(model: model("teacher"), prompt: "Louder: {j}") }
output loud as "loud.jsonl"
"#;
    let project = project(&server, program);
    project.ok(&["run", "main.claw", "--quiet"]);
    let asked = server.count();
    assert_eq!(asked, 3, "equal prompts are asked once");
    let told = project.json(&["plan", "main.claw", "--refresh", "jokes"]);
    let jokes = &told["stages"][0];
    assert_eq!((&jokes["will_run"], &jokes["bound"]), (&json!(3), &json!("at_most")), "{jokes}");
    assert_eq!(jokes["asks"][0]["calls"], json!(2), "{jokes}");
    // Answers may come out as they were: then what reads them is in the store.
    let loud = &told["stages"][1];
    assert_eq!((&loud["will_run"], &loud["bound"]), (&json!(3), &json!("at_most")), "{loud}");
    assert_eq!(server.count(), asked, "a plan asks nobody");
    project.ok(&["run", "main.claw", "--quiet", "--refresh", "jokes"]);
    assert_eq!(server.count(), asked + 2);
}

const MANY: &str = r#"
use std/llm
stage numbers = for n in 0..1_000_000 { { n: n } }
stage few = for n in numbers, times in 1..=3 where n.n < 10 { { n: n.n * times } }
stage said = for n in numbers { llm.text(model: model("teacher"), prompt: "{n.n}?") }
output few as "few.jsonl"
output said as "said.jsonl"
"#;

#[test]
fn a_plan_of_a_million_rows_looks_at_some() {
    let server = Server::of(vec![says("Ha!")]);
    let project = project(&server, MANY);
    insta::assert_snapshot!("plan_of_a_million_rows", shown(&project, &["plan", "main.claw"]));
    let told = project.json(&["plan", "main.claw"]);
    for stage in told["stages"].as_array().expect("stages") {
        let count = |name: &str| stage[name].as_u64().expect("a count");
        let rows = count("cached") + count("will_run") + count("unseen");
        let least = if stage["stage"] == "few" { 30 } else { 1_000_000 };
        assert!(rows >= least, "every row is counted: {stage}");
        // Rows of expressions that nothing leaves out need not be looked at to be counted.
        let plain = stage["stage"] == "numbers";
        assert!(plain || count("cached") + count("will_run") <= 5_000, "{stage}");
        assert_eq!(stage["exact"], Json::Bool(plain));
    }
    assert!(!project.path(".claw").exists(), "nothing is written");
}

#[test]
fn a_stage_that_is_kept_whole_is_one_look_up_however_many_rows_it_has() {
    let server = Server::of(vec![says("Ha!")]);
    let program = "stage numbers = for n in 0..12_000 { { n: n } }\n\
                   stage doubled = for n in numbers { { n: n.n * 2 } }\noutput doubled as \"d.jsonl\"\n";
    let project = project(&server, program);
    project.ok(&["run", "main.claw", "--quiet"]);
    let told = project.json(&["plan", "main.claw"]);
    for stage in told["stages"].as_array().expect("stages") {
        assert_eq!((&stage["cached"], &stage["unseen"]), (&json!(12_000), &json!(0)), "{stage}");
    }
    project.write("main.claw", &program.replace("n.n * 2", "n.n * 3"));
    let told = project.json(&["plan", "main.claw"]);
    let stages = &told["stages"];
    assert_eq!((&stages[0]["cached"], &stages[0]["unseen"]), (&json!(12_000), &json!(0)));
    assert_eq!(stages[1]["will_run"], json!(12_000), "{stages}");
}

/// Whoever is asked is known although no row is: from a list of models, and through a def.
#[test]
fn models_are_known_before_the_rows_are() {
    let server = Server::of(vec![says("Ha!")]);
    let program = r#"
use std/llm
def judged(joke: str, judge: Model) -> str {
  let opinion = llm.text(model: judge, prompt: "Is this funny? {joke}")
  llm.text(model: judge, prompt: "In one word: {opinion}")
}
stage jokes = for n in 1..=4 { llm.text(model: model("teacher"), prompt: "Joke {n}.") }
stage asked = for m in [model("teacher"), model("local")], joke in jokes {
  llm.text(model: m, prompt: "Is this funny? {joke}")
}
stage words = for joke in jokes { judged(joke, judge: model("local")) }
output asked as "asked.jsonl"
output words as "words.jsonl"
"#;
    let project = project(&server, program);
    let told = project.json(&["plan", "main.claw"]);
    let calls = |stage: usize| {
        let asks = told["stages"][stage]["asks"].as_array().expect("a list").iter();
        let mut calls: Vec<(String, u64)> = asks
            .map(|ask| (ask["model"].as_str().unwrap().to_string(), ask["calls"].as_u64().unwrap()))
            .collect();
        calls.sort();
        calls
    };
    let model = |name: &str, count| (name.to_string(), count);
    assert_eq!(calls(0), [model("teacher", 4)]);
    assert_eq!(calls(1), [model("local", 4), model("teacher", 4)], "{told}");
    assert_eq!(calls(2), [model("local", 8)], "{told}");
    assert_eq!(told["models"]["calls"], json!(20));
}
