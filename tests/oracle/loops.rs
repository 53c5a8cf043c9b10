//! The loop: what a model is sent, and how a refused request is asked again.

use std::sync::{Arc, Mutex};

use claw::agent::{
    AgentSettings, Bounds, Contract, Defect, Ending, Episode, Prompts, SandboxTools, Trajectory,
    contract, episode,
};
use claw::engine::Cancel;
use claw::model::{Answer, Finish, Message, Model, ModelError, Request, ToolCall, Usage};
use claw::store::Digest;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::tools::open;
use super::{Came, cases, explain, settle, text};

/// A model that answers, or refuses, as a case says; it counts four characters as a token.
struct Script {
    lines: Vec<Json>,
    asked: Mutex<Vec<Request>>,
}

impl Script {
    fn new(lines: &Json) -> Arc<Script> {
        let lines = lines.as_array().expect("a script").clone();
        Arc::new(Script { lines, asked: Mutex::new(Vec::new()) })
    }

    fn says(&self, number: usize, request: &Request) -> Result<Answer, ModelError> {
        let line = match self.lines.get(number) {
            Some(Json::String(refusal)) => {
                return Err(ModelError::Refused {
                    message: refusal.clone(),
                    output: String::new(),
                });
            }
            Some(line) => line,
            None => return Err(ModelError::Unavailable("the script is over".to_string())),
        };
        let calls = line.get("tool_calls").and_then(Json::as_array).cloned().unwrap_or_default();
        let tool_calls: Vec<ToolCall> = calls
            .iter()
            .map(|call| ToolCall {
                id: text(call, "id").to_string(),
                name: text(call, "name").to_string(),
                arguments: match &call["arguments"] {
                    Json::String(text) => match serde_json::from_str::<Json>(text) {
                        Ok(Json::Object(fields)) => Json::Object(fields),
                        _ => Json::String(text.clone()),
                    },
                    other => other.clone(),
                },
            })
            .collect();
        let finish = if tool_calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
        let usage = Usage { input: held(&request.messages), output: 0 };
        Ok(Answer {
            content: text(line, "content").to_string(),
            reasoning: String::new(),
            tool_calls,
            finish,
            usage,
        })
    }
}

fn held(messages: &[Message]) -> u64 {
    let content = |message: &Message| match message {
        Message::System { content }
        | Message::User { content }
        | Message::Assistant { content, .. }
        | Message::Tool { content, .. } => content.chars().count() as u64,
    };
    messages.iter().map(content).sum::<u64>() / 4
}

impl Model for Script {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        let mut asked = self.asked.lock().expect("nobody panicked");
        let answer = self.says(asked.len(), request);
        asked.push(request.clone());
        Box::pin(async move { answer })
    }
}

async fn play(
    tools: &dyn Contract,
    model: Arc<Script>,
    prompt: &str,
    settings: &AgentSettings,
    temperature: f64,
) -> Trajectory {
    let plan = Episode {
        contract: tools,
        settings,
        model,
        model_name: "script".to_string(),
        model_settings: json!({ "model": "script" }),
        temperature,
        prompt,
        before: Digest::of(b"before"),
        seed: 7,
    };
    let bounds = Bounds::from_now(600_000, Cancel::default());
    let mut sandbox = open().await;
    episode(&plan, &mut *sandbox, &bounds).await.expect("nobody cancels").0
}

fn settings(config: &Json, steps: u64, tokens: &str) -> AgentSettings {
    let number = |name: &str, usual: u64| config.get(name).and_then(Json::as_u64).unwrap_or(usual);
    AgentSettings {
        contract: "sandbox/0.2".to_string(),
        tools: None,
        own: Vec::new(),
        max_steps: number("max_steps", steps) as u32,
        step_tokens: number(tokens, 65_536) as u32,
        context: number("max_token_limit", 65_536),
        tokens: None,
        exec_ms: 120_000,
        time_ms: 600_000,
    }
}

/// A message as the cases write it, with arguments as what they are, not as text.
fn shape(message: &Json) -> Json {
    let calls = message.get("tool_calls").and_then(Json::as_array).cloned().unwrap_or_default();
    let call = |call: &Json| {
        let function = call.get("function").unwrap_or(call);
        let arguments = match &function["arguments"] {
            Json::String(text) => serde_json::from_str(text).unwrap_or(json!(text)),
            other => other.clone(),
        };
        json!({ "id": call["id"], "name": function["name"], "arguments": arguments })
    };
    json!({
        "role": message["role"],
        "content": text(message, "content"),
        "tool_call_id": message.get("tool_call_id"),
        "tool_calls": calls.iter().map(call).collect::<Vec<Json>>(),
    })
}

/// What a request says that is a contract's to decide.
fn sent(request: &Request) -> Json {
    let messages: Vec<Json> = request
        .messages
        .iter()
        .map(|message| shape(&serde_json::to_value(message).expect("JSON")))
        .collect();
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    json!({
        "messages": messages,
        "tools": names,
        "max_tokens": request.settings.max_tokens,
        "temperature": request.settings.temperature,
    })
}

/// The observed requests in the same shape. A provider's own settings (its address, its patience,
/// whether it is told a temperature at all) are not a contract's.
fn observed(calls: &[Json], temperature: f64) -> Vec<Json> {
    let mut messages: Vec<Json> = Vec::new();
    let mut observed = Vec::new();
    for call in calls {
        match call.get("messages_append").and_then(Json::as_array) {
            Some(more) => {
                messages.truncate(call["messages_keep"].as_u64().expect("a number") as usize);
                messages.extend(more.iter().map(shape));
            }
            None => {
                let all = call["messages"].as_array().expect("messages");
                messages = all.iter().map(shape).collect();
            }
        }
        observed.push(json!({
            "messages": messages,
            "tools": call.get("tool_names").cloned().unwrap_or(json!([])),
            "max_tokens": call["max_tokens"],
            "temperature": call.get("temperature").cloned().unwrap_or(json!(temperature)),
        }));
    }
    observed
}

fn same(what: &str, expected: &Json, actual: &Json) -> Result<(), String> {
    if expected == actual {
        return Ok(());
    }
    let short = |json: &Json| json.to_string().chars().take(1_500).collect::<String>();
    Err(format!("{what}\n  observed {}\n  here     {}", short(expected), short(actual)))
}

/// The steps as the original keeps them, without what it knows and a trajectory here does not.
fn steps(trajectory: &Trajectory) -> Vec<Json> {
    let mut steps = Vec::new();
    for (at, message) in trajectory.messages.iter().enumerate() {
        let Message::Assistant { content, tool_calls, .. } = message else { continue };
        let observation = match trajectory.messages.get(at + 1) {
            Some(Message::Tool { content, .. } | Message::User { content }) => {
                let cut = content.rfind("\nSteps Remaining: ");
                let asked_again = at + 2 < trajectory.messages.len();
                cut.filter(|_| asked_again).map_or(content.as_str(), |cut| &content[..cut])
            }
            _ => "",
        };
        let (name, arguments) = match tool_calls.first() {
            Some(call) => {
                let arguments = match &call.arguments {
                    Json::String(text) => serde_json::from_str(text).unwrap_or(json!(text)),
                    other => other.clone(),
                };
                (call.name.as_str(), arguments)
            }
            None => ("", json!({})),
        };
        steps.push(json!({
            "thought": content, "function": name, "parameters": arguments,
            "observation": observation,
        }));
    }
    steps
}

/// An episode of a case, and what its model was sent.
async fn episode_of(case: &Json, defects: &[Defect]) -> Result<(Trajectory, Vec<Json>), String> {
    let config = &case["config"];
    let prompts = Prompts::new(text(config, "system_prompt"), text(config, "instance_prompt"));
    let tools = SandboxTools::new(prompts.map_err(|err| err.to_string())?, defects.to_vec());
    let model = Script::new(&case["llm_script"]);
    let temperature = config["temperature"].as_f64().expect("a number");
    let settings = settings(config, 30, "max_tokens_per_call");
    let trajectory =
        play(&tools, model.clone(), text(config, "problem"), &settings, temperature).await;
    let asked = model.asked.lock().expect("nobody panicked").iter().map(sent).collect();
    Ok((trajectory, asked))
}

fn expected_calls(case: &Json) -> Vec<Json> {
    let temperature = case["config"]["temperature"].as_f64().expect("a number");
    observed(case["llm_calls"].as_array().expect("calls"), temperature)
}

async fn loop_as(case: &Json, defects: &[Defect]) -> Result<(), String> {
    if let Some(raises) = case.get("raises") {
        return Err(format!("the original breaks down: {raises}"));
    }
    let (trajectory, asked) = episode_of(case, defects).await?;
    let expected = expected_calls(case);
    for (number, (expected, asked)) in expected.iter().zip(&asked).enumerate() {
        same(&format!("request {}", number + 1), expected, asked)?;
    }
    same("requests", &json!(expected.len()), &json!(asked.len()))?;
    let expected: Vec<Json> = case["trajectory"]["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| {
            json!({
                "thought": step["thought"],
                "function": step["action"]["function"],
                "parameters": step["action"]["parameters"],
                "observation": step["observation"],
            })
        })
        .collect();
    same("steps", &json!(expected), &json!(steps(&trajectory)))
}

/// Why the loop itself goes another way, where it does so with any tools.
async fn other_way(case: &Json) -> Option<&'static str> {
    let script = case["llm_script"].as_array().expect("a script");
    let Ok((trajectory, asked)) = episode_of(case, &[]).await else {
        return case.get("raises").map(|_| "breaks_down");
    };
    let expected = expected_calls(case);
    let refused = matches!(script.get(asked.len().checked_sub(1)?), Some(Json::String(_)));
    if trajectory.ending == Ending::ModelError && refused && expected.starts_with(&asked) {
        return Some("asked_again_elsewhere");
    }
    let calls: Vec<&Json> = script
        .iter()
        .filter_map(|line| line.get("tool_calls").and_then(Json::as_array))
        .flatten()
        .collect();
    // A call without an id gets one, and so an answer, and the loop goes on.
    if calls.iter().any(|call| call["id"].is_null())
        && trajectory.messages.iter().all(
            |message| !matches!(message, Message::Tool { tool_call_id, .. } if tool_call_id.is_empty()),
        )
        && trajectory.ending == Ending::Submitted
    {
        return Some("calls_without_id");
    }
    let unreadable = |call: &&Json| {
        let text = call["arguments"].as_str();
        text.is_some_and(|text| serde_json::from_str::<Json>(text).is_err())
    };
    if calls.iter().any(unreadable) && !trajectory.errors.is_empty() {
        return Some("unreadable_arguments");
    }
    let limit = case["config"]["max_token_limit"].as_u64().expect("a number");
    let last = asked.last()?["messages"].to_string().len() as u64 / 4;
    if asked.starts_with(&expected) && last > limit {
        return Some("context_counted_by_the_model");
    }
    case.get("raises").map(|_| "breaks_down")
}

#[tokio::test]
async fn agent_loop() {
    let mut came = Vec::new();
    for case in cases("agent_loop") {
        let how = explain(|defects| {
            let case = case.clone();
            async move { loop_as(&case, &defects).await }
        })
        .await;
        let how = match how {
            Came::Wrong(why) => match other_way(&case).await {
                Some(reason) => Came::Differently(vec![reason.to_string()]),
                None => Came::Wrong(why),
            },
            how => how,
        };
        came.push((text(&case, "id").to_string(), how));
    }
    settle("agent_loop", came);
}

/// How the baseline without tools asks, and what it is told in the end.
async fn vanilla_of(script: &Json, problem: &str, config: &Json) -> (Trajectory, Vec<Json>) {
    let model = Script::new(script);
    let temperature = config.get("temperature").and_then(Json::as_f64).unwrap_or(1.0);
    let settings = settings(config, 1, "max_response_len");
    let tools = contract("sandbox/0.2-vanilla").expect("a contract");
    let trajectory = play(&*tools, model.clone(), problem, &settings, temperature).await;
    let asked = model.asked.lock().expect("nobody panicked").iter().map(sent).collect();
    (trajectory, asked)
}

fn answer(trajectory: &Trajectory) -> Option<&str> {
    match trajectory.messages.last() {
        Some(Message::Assistant { content, .. }) => Some(content),
        _ => None,
    }
}

#[tokio::test]
async fn vanilla() {
    let mut came = Vec::new();
    for case in cases("vanilla") {
        let config = &case["agent_config"];
        let calls = case["calls"].as_array().expect("calls");
        let problem = text(&calls[0]["messages"][0], "content");
        let (trajectory, asked) = vanilla_of(&case["script"], problem, config).await;
        let temperature = config.get("temperature").and_then(Json::as_f64).unwrap_or(1.0);
        let expected = observed(calls, temperature);
        let requests = same("requests", &json!(expected), &json!(asked));
        let told = match case.get("answer").and_then(Json::as_str) {
            Some(expected) => same("answer", &json!(expected), &json!(answer(&trajectory))),
            None => same("ending", &json!("model_error"), &json!(trajectory.ending)),
        };
        let how = match requests.and(told) {
            Ok(()) => Came::Same,
            Err(_) if trajectory.ending == Ending::ModelError && expected.starts_with(&asked) => {
                Came::Differently(vec!["asked_again_elsewhere".to_string()])
            }
            Err(why) => Came::Wrong(why),
        };
        came.push((text(&case, "id").to_string(), how));
    }
    settle("vanilla", came);
}

#[tokio::test]
async fn retry() {
    let mut came = Vec::new();
    for case in cases("retry") {
        let mut script = case["errors"].as_array().expect("refusals").clone();
        script.push(json!({ "content": "ok" }));
        let script = json!(script);
        let config = json!({ "max_response_len": case["max_tokens_start"] });
        let (trajectory, asked) = vanilla_of(&script, "Q?", &config).await;
        let expected = case["max_tokens_sequence"].as_array().expect("numbers");
        let lengths: Vec<Json> = asked.iter().map(|asked| asked["max_tokens"].clone()).collect();
        let ended = trajectory.ending == Ending::Answered;
        let ok = text(&case, "result") == "ok";
        let refusal = |number: usize| case["errors"].get(number).and_then(Json::as_str);
        let last = lengths.len() - 1;
        let how = if *expected == lengths && ok == ended {
            Came::Same
        } else if !ended && expected.starts_with(&lengths) {
            // The last refusal was not about the length, and is the model's to get over.
            let about_rate = refusal(last).is_some_and(|text| text.contains("RateLimit"));
            let about_key = refusal(last).is_some_and(|text| {
                let text = text.to_lowercase();
                text.contains("authentication") || text.contains("api key")
            });
            let reason = if about_rate || about_key {
                "other_limits_are_not_lengths"
            } else {
                "asked_again_elsewhere"
            };
            Came::Differently(vec![reason.to_string()])
        } else if ended && ok && lengths.len() <= expected.len() {
            // More room was found than half of what there was: the refusal says how much.
            Came::Differently(vec!["refusals_are_read".to_string()])
        } else {
            Came::Wrong(format!("observed {expected:?}, here {lengths:?}"))
        };
        came.push((text(&case, "id").to_string(), how));
    }
    settle("retry", came);
}
