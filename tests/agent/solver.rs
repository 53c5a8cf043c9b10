//! The programmatic teacher: right without errors, wrong with them, and always the same.

use claw::agent::{Models, Registry, Solver};
use claw::engine::Context;
use claw::lang::Value;
use claw::model::{Finish, Message, Model, Request, Settings};
use claw::store::{Digest, MemoryObjects};
use serde_json::{Value as Json, json};

fn solution() -> Json {
    json!([
        { "tool": "read", "arguments": { "path": "notes/list.md" } },
        { "tool": "exec", "arguments": { "command": "sort data.csv > out.csv" } },
        { "tool": "edit", "arguments": { "path": "a.json", "edits": [
            { "oldText": "1", "newText": "22" }] } },
        { "tool": "write", "arguments": { "path": "report.txt", "content": "three lines" } },
        { "answer": "The report is in report.txt." }
    ])
}

fn planned(rate: f64, seed: u64) -> Vec<(String, Json)> {
    let solver = Solver::new(&solution(), rate, seed).unwrap();
    solver.calls().map(|(tool, arguments)| (tool.to_string(), arguments.clone())).collect()
}

fn right() -> Vec<(String, Json)> {
    let solution = solution();
    let steps = solution.as_array().unwrap().iter().filter(|step| step.get("tool").is_some());
    steps.map(|s| (s["tool"].as_str().unwrap().to_string(), s["arguments"].clone())).collect()
}

#[test]
fn without_errors_it_plays_the_solution() {
    for seed in 0..20 {
        assert_eq!(planned(0.0, seed), right());
    }
}

#[test]
fn with_certain_errors_every_step_goes_wrong() {
    let right = right();
    for seed in 0..200 {
        let calls = planned(1.0, seed);
        let mut at = 0;
        for (tool, arguments) in &right {
            let (wrong_tool, wrong) = &calls[at];
            assert_eq!(wrong_tool, tool);
            assert_ne!(wrong, arguments);
            at += 1;
            // Noticed: the right call follows.
            if calls.get(at).is_some_and(|next| next == &(tool.clone(), arguments.clone())) {
                at += 1;
            }
        }
        assert_eq!(at, calls.len());
    }
}

#[test]
fn half_of_the_errors_are_noticed_and_the_rate_is_kept() {
    let (mut steps, mut wrong, mut noticed) = (0, 0, 0);
    for seed in 0..2_000 {
        let calls = planned(0.2, seed);
        let right = right();
        steps += right.len();
        let mistakes = calls.iter().filter(|call| !right.contains(call)).count();
        wrong += mistakes;
        noticed += calls.len() - right.len();
    }
    let share = wrong as f64 / steps as f64;
    assert!((share - 0.2).abs() < 0.02, "{share}");
    let mended = noticed as f64 / wrong as f64;
    assert!((mended - 0.5).abs() < 0.05, "{mended}");
}

#[test]
fn a_higher_rate_keeps_the_mistakes_of_a_lower_one() {
    for seed in 0..100 {
        let low = planned(0.2, seed);
        let high = planned(0.6, seed);
        for call in low.iter().filter(|call| !right().contains(call)) {
            assert!(high.contains(call));
        }
    }
}

#[test]
fn mistakes_are_of_many_kinds() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..200 {
        for (tool, arguments) in planned(1.0, seed) {
            if !right().contains(&(tool.clone(), arguments.clone())) {
                kinds.insert(arguments.to_string());
            }
        }
    }
    assert!(kinds.contains(&json!({ "path": "notes/list.txt" }).to_string()), "{kinds:?}");
    assert!(kinds.contains(&json!({ "filename": "notes/list.md" }).to_string()));
    assert!(kinds.contains(&json!({ "cmd": "sort data.csv > out.csv" }).to_string()));
    assert!(kinds.contains(&json!({ "command": "sort data.csv > out.cv" }).to_string()));
    assert!(kinds.len() > 20);
}

#[tokio::test]
async fn it_decides_by_its_own_turns_alone() {
    let solver = Solver::new(&solution(), 0.0, 1).unwrap();
    let mut request = Request {
        messages: vec![Message::User { content: "Do it.".to_string() }],
        tools: Vec::new(),
        settings: Settings { temperature: 0.0, max_tokens: 1, seed: 0 },
    };
    for (turn, (tool, arguments)) in right().iter().enumerate() {
        // Asked twice, it says the same: nothing is kept between questions.
        let answer = solver.answer(&request).await.unwrap();
        assert_eq!(solver.answer(&request).await.unwrap(), answer);
        assert_eq!(answer.finish, Finish::ToolCalls);
        assert_eq!(answer.tool_calls.len(), 1);
        assert_eq!(answer.tool_calls[0].id, format!("call_{}", turn + 1));
        assert_eq!(
            (&answer.tool_calls[0].name, &answer.tool_calls[0].arguments),
            (tool, arguments)
        );
        request.messages.push(Message::Assistant {
            content: answer.content,
            reasoning: String::new(),
            tool_calls: answer.tool_calls,
        });
        request.messages.push(Message::Tool {
            tool_call_id: format!("call_{}", turn + 1),
            content: "anything".to_string(),
        });
    }
    let answer = solver.answer(&request).await.unwrap();
    assert_eq!(answer.content, "The report is in report.txt.");
    assert_eq!((answer.finish, answer.tool_calls.len()), (Finish::Stop, 0));
}

#[test]
fn solutions_come_as_lists_or_records_and_bad_ones_are_refused() {
    let record = json!({ "calls": [{ "name": "read", "arguments": {} }], "answer": "Ready." });
    assert_eq!(Solver::new(&record, 0.0, 0).unwrap().calls().count(), 1);
    for bad in [json!(null), json!("read"), json!([{ "arguments": {} }])] {
        let err = Solver::new(&bad, 0.0, 0).unwrap_err().to_string();
        assert!(err.contains("the task's solution cannot be played"), "{err}");
    }
}

#[test]
fn the_registry_opens_what_it_knows() {
    let objects = std::sync::Arc::new(MemoryObjects::default());
    let context = Context::quiet(objects, Digest::of(b"a call"));
    let task = Value::record([("solution", Value::from_json(&solution()))]);
    let model = |name: &str| Value::record([("model", Value::str(name))]);
    let registry = Registry::builtin();
    assert!(registry.open(&model("builtin/solver"), &task, &context).is_ok());
    assert!(registry.open(&Value::str("builtin/solver"), &task, &context).is_ok());
    let err = |value: &Value| registry.open(value, &task, &context).err().unwrap().to_string();
    assert_eq!(
        err(&model("openai/gpt")),
        "no provider can open the model `openai/gpt`\n  help: the known ones are: builtin/solver"
    );
    assert!(err(&Value::Int(3)).contains("a model is a record"));
    let wild =
        Value::record([("model", Value::str("builtin/solver")), ("error_rate", Value::Float(1.5))]);
    assert!(err(&wild).contains("`error_rate` must be a share"));
    let checkpoint = Value::record([("checkpoint", Value::Null), ("name", Value::str("tiny"))]);
    assert!(err(&checkpoint).contains("the model `checkpoint`"));
    // A kind that is registered by its first word opens every model below it.
    let registry = registry.with("openai", Box::new(claw::agent::open_solver));
    assert!(registry.open(&model("openai/gpt"), &task, &context).is_ok());
}
