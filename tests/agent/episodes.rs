//! The loop: order, endings, limits, and the bytes of what is kept.

use std::sync::Arc;

use claw::agent::{
    AgentSettings, Bounds, CallLimits, Contract, Ending, Episode, ToolResult, Trajectory, episode,
};
use claw::engine::{CallError, Cancel};
use claw::model::{Answer, Finish, Message, Model, ModelError, ToolCall, ToolSchema, Usage};
use claw::sandbox::{Command, Outcome, Sandbox, SandboxError};
use claw::store::{Digest, MemoryObjects};
use futures::future::BoxFuture;
use serde_json::json;

use super::fake::{FakeSandbox, Files, Script, calls, says};

fn settings() -> AgentSettings {
    AgentSettings {
        contract: "claw/2026.4".to_string(),
        tools: None,
        own: Vec::new(),
        max_steps: 5,
        step_tokens: 64,
        context: 1_000,
        tokens: None,
        exec_ms: 1_000,
        time_ms: 600_000,
    }
}

async fn play_with(
    sandbox: &mut FakeSandbox,
    model: Arc<dyn Model>,
    settings: &AgentSettings,
    bounds: &Bounds,
) -> Option<(Trajectory, Option<CallError>)> {
    let tools = settings.open(&MemoryObjects::default()).unwrap();
    let plan = Episode {
        contract: &*tools,
        settings,
        model,
        model_name: "script".to_string(),
        model_settings: json!({ "model": "script", "$odd": 1.0 }),
        temperature: 0.5,
        prompt: "Tidy up.",
        before: Digest::of(b"before"),
        seed: 7,
    };
    episode(&plan, sandbox, bounds).await
}

async fn play(sandbox: &mut FakeSandbox, model: Arc<Script>) -> (Trajectory, Option<CallError>) {
    let bounds = Bounds::from_now(600_000, Cancel::default());
    play_with(sandbox, model, &settings(), &bounds).await.unwrap()
}

fn read(path: &str) -> serde_json::Value {
    json!({ "path": path })
}

#[tokio::test]
async fn calls_of_one_turn_are_done_in_order_and_seen_together() {
    let mut sandbox = FakeSandbox::new(&[("a", "old")]);
    let model = Script::new(vec![
        calls(&[
            ("x", "read", read("a")),
            ("y", "write", json!({ "path": "a", "content": "new" })),
            ("z", "read", read("a")),
            ("w", "browse", json!({})),
        ]),
        says("Tidied."),
    ]);
    let (trajectory, fault) = play(&mut sandbox, model.clone()).await;
    assert_eq!(trajectory.ending, Ending::Answered);
    assert!(fault.is_none());
    let Message::System { content: system } = &trajectory.messages[0] else { panic!() };
    assert!(system.contains("/workspace"));
    let tool = |id: &str, content: &str| Message::Tool {
        tool_call_id: id.to_string(),
        content: content.to_string(),
    };
    assert_eq!(trajectory.messages[1], Message::User { content: "Tidy up.".to_string() });
    assert_eq!(
        trajectory.messages[3..],
        [
            tool("x", "old"),
            tool("y", "Successfully wrote 3 bytes to a"),
            tool("z", "new"),
            tool("w", "Tool browse not found"),
            Message::Assistant {
                content: "Tidied.".to_string(),
                reasoning: String::new(),
                tool_calls: vec![]
            },
        ]
    );
    assert_eq!(trajectory.errors, ["w"]);
    assert_eq!(trajectory.steps(), 2);
    assert_eq!(trajectory.tokens(), Usage { input: 220, output: 15 });
    let asked = model.asked.lock().unwrap();
    assert_eq!(asked[1].messages, trajectory.messages[..trajectory.messages.len() - 1]);
    assert_eq!(asked[0].tools.len(), 4);
    assert_eq!(asked[0].settings.max_tokens, 64);
    assert_eq!(asked[0].settings.temperature, 0.5);
    assert_ne!(asked[0].settings.seed, asked[1].settings.seed, "each step draws anew");
}

#[tokio::test]
async fn ids_are_made_where_the_model_gives_none_or_the_same() {
    let mut sandbox = FakeSandbox::new(&[("a", "1")]);
    let model = Script::new(vec![
        calls(&[("", "read", read("a")), ("k", "read", read("a")), ("k", "read", read("a"))]),
        calls(&[("call_1", "read", read("a"))]),
        says("Done."),
    ]);
    let (trajectory, _) = play(&mut sandbox, model).await;
    let mut asked = Vec::new();
    let mut answered = Vec::new();
    for message in &trajectory.messages {
        match message {
            Message::Assistant { tool_calls, .. } => {
                asked.extend(tool_calls.iter().map(|call| call.id.clone()));
            }
            Message::Tool { tool_call_id, .. } => answered.push(tool_call_id.clone()),
            _ => {}
        }
    }
    assert_eq!(asked, answered);
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 4);
}

#[tokio::test]
async fn arguments_that_are_no_object_go_back_to_the_model() {
    let mut sandbox = FakeSandbox::new(&[]);
    let model = Script::new(vec![calls(&[("x", "read", json!("{\"path\": "))]), says("Sorry.")]);
    let (trajectory, _) = play(&mut sandbox, model).await;
    let Message::Tool { content, .. } = &trajectory.messages[3] else { panic!() };
    assert!(content.starts_with("Validation failed for tool \"read\":\n  - root: must be object"));
    assert_eq!(trajectory.errors, ["x"]);
    assert_eq!(trajectory.ending, Ending::Answered);
}

fn ends(finish: Finish, content: &str) -> Result<Answer, ModelError> {
    Ok(Answer { finish, ..says(content).unwrap() })
}

#[tokio::test]
async fn every_end_has_its_name() {
    let look = || calls(&[("", "read", read("a"))]);
    // Out of steps: the calls of the last step are still done.
    let mut sandbox = FakeSandbox::new(&[("a", "1")]);
    let model = Script::new(vec![look(), look(), look(), look(), look()]);
    let (trajectory, _) = play(&mut sandbox, model).await;
    assert_eq!(trajectory.ending, Ending::MaxSteps);
    assert_eq!(trajectory.steps(), 5);
    assert!(matches!(trajectory.messages.last(), Some(Message::Tool { .. })));
    // Cut off: calls in it are not done.
    let cut = Answer { finish: Finish::Length, ..look().unwrap() };
    let (trajectory, _) =
        play(&mut FakeSandbox::new(&[]), Script::new(vec![look(), Ok(cut)])).await;
    assert_eq!(trajectory.ending, Ending::MaxTokens);
    assert_eq!(trajectory.messages.len(), 5);
    // All answers together used what there was, before the next one is asked for.
    let dear = || Ok(Answer { usage: Usage { input: 90, output: 10 }, ..look().unwrap() });
    let settings = AgentSettings { tokens: Some(200), ..settings() };
    let bounds = Bounds::from_now(600_000, Cancel::default());
    let model = Script::new(vec![dear(), dear(), dear()]);
    let mut sandbox = FakeSandbox::new(&[("a", "1")]);
    let (trajectory, _) = play_with(&mut sandbox, model, &settings, &bounds).await.unwrap();
    assert_eq!((trajectory.ending, trajectory.steps()), (Ending::MaxTokens, 2));
    // Its last answer was whole, and is learned from.
    assert_eq!(trajectory.training_messages(), trajectory.messages[..5]);
    // The model says that it does not fit, or its tokens say so.
    let model = Script::new(vec![look(), ends(Finish::Context, "")]);
    let (trajectory, _) = play(&mut FakeSandbox::new(&[]), model).await;
    assert_eq!(trajectory.ending, Ending::Context);
    assert_eq!(trajectory.messages.len(), 4);
    let full = Answer { usage: Usage { input: 990, output: 10 }, ..look().unwrap() };
    let (trajectory, _) = play(&mut FakeSandbox::new(&[]), Script::new(vec![Ok(full)])).await;
    assert_eq!((trajectory.ending, trajectory.steps()), (Ending::Context, 1));
    // The world's failures come with their words.
    let model =
        Script::new(vec![look(), Err(ModelError::Unavailable("connection refused".to_string()))]);
    let (trajectory, fault) = play(&mut FakeSandbox::new(&[]), model).await;
    assert_eq!(trajectory.ending, Ending::ModelError);
    assert_eq!(fault.unwrap().to_string(), "connection refused");
    fn broken(_: &mut Files, _: &Command) -> Result<Outcome, SandboxError> {
        Err(SandboxError::Broken("its init died".to_string()))
    }
    let model = Script::new(vec![calls(&[("", "exec", json!({ "command": "ls" }))])]);
    let (trajectory, fault) = play(&mut FakeSandbox::with_shell(&[], broken), model).await;
    assert_eq!(trajectory.ending, Ending::SandboxError);
    assert_eq!(fault.unwrap().to_string(), "the sandbox broke: its init died");
    for ending in [Ending::ModelError, Ending::SandboxError] {
        assert!(ending.is_infrastructure() && !ending.finished());
    }
}

/// A contract with one tool, which says that the work is done.
struct Submitting;

impl Contract for Submitting {
    fn name(&self) -> &'static str {
        "submitting/1"
    }

    fn tools(&self) -> &[ToolSchema] {
        &[]
    }

    fn system(&self) -> String {
        "Submit.".to_string()
    }

    fn call<'a>(
        &'a self,
        _: &'a mut dyn Sandbox,
        call: &'a ToolCall,
        _: &'a CallLimits,
    ) -> BoxFuture<'a, Result<ToolResult, SandboxError>> {
        let submitted = call.name == "submit";
        Box::pin(async move { Ok(ToolResult { submitted, ..ToolResult::told("noted") }) })
    }
}

#[tokio::test]
async fn a_tool_may_end_it_after_the_calls_of_its_turn() {
    let settings = settings();
    let turn = calls(&[("a", "submit", json!({})), ("b", "note", json!({}))]);
    let plan = Episode {
        contract: &Submitting,
        settings: &settings,
        model: Script::new(vec![calls(&[("n", "note", json!({}))]), turn]),
        model_name: "script".to_string(),
        model_settings: json!(null),
        temperature: 0.0,
        prompt: "Go.",
        before: Digest::of(b""),
        seed: 1,
    };
    let bounds = Bounds::from_now(600_000, Cancel::default());
    let mut sandbox = FakeSandbox::new(&[]);
    let (trajectory, _) = episode(&plan, &mut sandbox, &bounds).await.unwrap();
    assert_eq!(trajectory.ending, Ending::Submitted);
    assert!(trajectory.ending.finished());
    assert_eq!(trajectory.contract, "submitting/1");
    let last = Message::Tool { tool_call_id: "b".to_string(), content: "noted".to_string() };
    assert_eq!(trajectory.messages.last(), Some(&last));
}

#[tokio::test]
async fn time_and_cancelling_stop_it_between_calls() {
    let mut sandbox = FakeSandbox::new(&[]);
    let spent = Bounds::from_now(0, Cancel::default());
    let (trajectory, _) =
        play_with(&mut sandbox, Script::new(vec![]), &settings(), &spent).await.unwrap();
    assert_eq!((trajectory.ending, trajectory.steps()), (Ending::Timeout, 0));
    let cancel = Cancel::default();
    cancel.cancel();
    let bounds = Bounds::from_now(600_000, cancel);
    let played = play_with(&mut sandbox, Script::new(vec![]), &settings(), &bounds).await;
    assert!(played.is_none());
}

#[tokio::test]
async fn the_same_episode_gives_the_same_bytes_which_read_back() {
    let answers = || {
        vec![
            calls(&[
                ("x", "exec", json!({ "command": "cat a", "env": { "$file": "0" } })),
                (
                    "y",
                    "write",
                    json!({ "path": "b", "content": "\u{1}\"é\n", "n": [1, 2.5, null] }),
                ),
            ]),
            says("Done."),
        ]
    };
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let mut sandbox = FakeSandbox::new(&[("a", "1")]);
        let (mut trajectory, _) = play(&mut sandbox, Script::new(answers())).await;
        trajectory.after = Some(Digest::of(b"after"));
        bytes.push(trajectory.encode());
        assert_eq!(Trajectory::decode(&bytes[0]).unwrap(), trajectory);
    }
    assert_eq!(bytes[0], bytes[1]);
    let text = String::from_utf8(bytes[0].clone()).unwrap();
    assert!(text.starts_with("{\"after\":\"") && text.contains("\"ending\":\"answered\""));
    assert!(Trajectory::decode(b"{}").is_err());
    assert!(Trajectory::decode(b"not json").is_err());
}

#[tokio::test]
async fn training_stops_at_the_last_whole_answer() {
    let look = || calls(&[("", "read", read("a"))]);
    let mut sandbox = FakeSandbox::new(&[("a", "1")]);
    let answered = play(&mut sandbox, Script::new(vec![look(), says("Done.")])).await.0;
    assert_eq!(answered.training_messages(), answered.messages);
    let cut = Answer { finish: Finish::Length, ..look().unwrap() };
    let cut = play(&mut sandbox, Script::new(vec![look(), Ok(cut)])).await.0;
    assert_eq!(cut.training_messages(), cut.messages[..3]);
    let model = Script::new(vec![look(), look(), look(), look(), look()]);
    let spent = play(&mut sandbox, model).await.0;
    assert_eq!(spent.training_messages(), spent.messages[..spent.messages.len() - 1]);
    let nothing = play(&mut sandbox, Script::new(vec![ends(Finish::Length, "la la")])).await.0;
    assert!(nothing.training_messages().is_empty());
}

#[test]
fn settings_go_through_their_value() {
    let settings = settings();
    assert_eq!(AgentSettings::from_value(&settings.to_value()).unwrap(), settings);
    let bounded = AgentSettings { tokens: Some(9), ..settings.clone() };
    assert_eq!(AgentSettings::from_value(&bounded.to_value()).unwrap(), bounded);
    let claw::lang::Value::Record(mut fields) = settings.to_value() else { panic!() };
    fields.insert("max_steps".to_string(), claw::lang::Value::Int(0));
    let err = AgentSettings::from_value(&claw::lang::Value::Record(fields.clone())).unwrap_err();
    assert_eq!(err.to_string(), "an agent's `max_steps` must be a whole number of at least 1");
    fields.insert("agent".to_string(), claw::lang::Value::str("claw/0"));
    let err = AgentSettings::from_value(&claw::lang::Value::Record(fields)).unwrap_err();
    assert!(err.to_string().contains("there is no tool contract `claw/0`"));
}
