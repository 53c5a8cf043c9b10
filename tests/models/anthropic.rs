//! A model behind Anthropic's messages: requests and answers in the shapes of the real API.

use std::sync::Arc;

use claw::engine::{Budget, Context};
use claw::lang::Value;
use claw::model::{
    Answer, Configured, Finish, Message, Model, ModelError, Request, Settings, ToolCall,
    ToolSchema, Usage,
};
use claw::project::ModelSettings;
use claw::store::{Digest, MemoryObjects};
use serde_json::{Value as Json, json};

use super::server::{Server, Step, send, status};

fn open(url: &str, more: &str, budget: Option<Arc<Budget>>) -> Arc<dyn Model> {
    let text = format!(
        "provider = \"anthropic\"\nendpoint = \"{url}\"\nmodel = \"claude-haiku-4-5\"\n\
         backoff_seconds = 0.01\nretries = 2\n{more}"
    );
    let settings: ModelSettings = toml::from_str(&text).expect("settings");
    let mut context = Context::quiet(Arc::new(MemoryObjects::default()), Digest::of(b"a call"));
    context.budget = budget;
    let remote = Configured::new("judge", &settings);
    remote.open(&Value::str("judge"), &context).expect("it opens")
}

async fn ask(server: &Server) -> Result<Answer, ModelError> {
    open(&server.url, "", None).answer(&request()).await
}

fn request() -> Request {
    Request {
        messages: vec![Message::User { content: "Hello?".to_string() }],
        tools: Vec::new(),
        settings: Settings { temperature: 0.5, max_tokens: 64, seed: 7 },
    }
}

fn user(content: &str) -> Message {
    Message::User { content: content.to_string() }
}

fn assistant(content: &str, calls: &[(&str, Json)]) -> Message {
    let call = |(id, arguments): &(&str, Json)| ToolCall {
        id: (*id).to_string(),
        name: "read".to_string(),
        arguments: arguments.clone(),
    };
    Message::Assistant {
        content: content.to_string(),
        reasoning: "Hm.".to_string(),
        tool_calls: calls.iter().map(call).collect(),
    }
}

fn result(id: &str, content: &str) -> Message {
    Message::Tool { tool_call_id: id.to_string(), content: content.to_string() }
}

/// A stream of named events, as the API sends them.
fn stream(events: &[Json]) -> Vec<Step> {
    let mut text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                    request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\nconnection: close\r\n\r\n"
        .to_string();
    for event in events {
        let name = event["type"].as_str().expect("a type");
        text.push_str(&format!("event: {name}\ndata: {event}\n\n"));
    }
    vec![send(&text)]
}

fn start(input: u64) -> Json {
    json!({ "type": "message_start", "message": {
        "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", "type": "message", "role": "assistant",
        "content": [], "model": "claude-haiku-4-5", "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": input, "cache_creation_input_tokens": 3,
                   "cache_read_input_tokens": 100, "output_tokens": 1 },
    } })
}

fn block(index: u64, block: Json) -> Json {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: u64, delta: Json) -> Json {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn stop(index: u64) -> Json {
    json!({ "type": "content_block_stop", "index": index })
}

fn end(reason: &str, output: u64) -> Json {
    json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
            "usage": { "output_tokens": output } })
}

fn says(text: &str, reason: &str) -> Vec<Step> {
    stream(&[
        start(12),
        block(0, json!({ "type": "text", "text": "" })),
        json!({ "type": "ping" }),
        delta(0, json!({ "type": "text_delta", "text": text })),
        stop(0),
        end(reason, 5),
        json!({ "type": "message_stop" }),
    ])
}

fn error(kind: &str, message: &str) -> String {
    json!({ "type": "error", "error": { "type": kind, "message": message },
            "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy" })
    .to_string()
}

#[tokio::test]
async fn a_conversation_takes_the_form_that_the_api_wants() {
    let server = Server::of(vec![says("Yes.", "end_turn")]);
    let mut request = request();
    request.messages = vec![
        Message::System { content: "Be brief.".to_string() },
        user("Look at x and y."),
        assistant("", &[("call.1", json!({ "path": "x" })), ("b", json!("{broken"))]),
        result("call.1", "text"),
        result("b", ""),
        user("Go on."),
        assistant(" ", &[]),
        user("Well?"),
        assistant("I look.", &[("c", json!({})), ("d", json!({}))]),
        result("c", "one"),
        user("And?"),
    ];
    request.tools = vec![ToolSchema {
        name: "read".to_string(),
        description: "Reads.".to_string(),
        parameters: json!({ "type": "object" }),
    }];
    open(&server.url, "", None).answer(&request).await.unwrap();
    let asked = &server.asked()[0];
    assert!(asked.head.starts_with("post /v1/messages "), "{}", asked.head);
    assert!(asked.head.contains("anthropic-version: 2023-06-01\r\n"), "{}", asked.head);
    assert!(!asked.head.contains("x-api-key") && !asked.head.contains("authorization"));
    let text = |text: &str| json!({ "type": "text", "text": text });
    let call = |id: &str, input: Json| json!({ "type": "tool_use", "id": id, "name": "read", "input": input });
    let result = |id: &str, content: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": content });
    assert_eq!(
        asked.body,
        json!({
            "model": "claude-haiku-4-5",
            "max_tokens": 64,
            "temperature": 0.5,
            "stream": true,
            "system": "Be brief.",
            "tools": [{
                "name": "read", "description": "Reads.", "input_schema": { "type": "object" },
            }],
            "messages": [
                { "role": "user", "content": [text("Look at x and y.")] },
                { "role": "assistant", "content": [
                    call("call_1", json!({ "path": "x" })),
                    call("b", json!({ "arguments": "{broken" })),
                ] },
                { "role": "user", "content": [
                    result("call_1", "text"), result("b", ""), text("Go on."), text("Well?"),
                ] },
                { "role": "assistant", "content": [
                    text("I look."), call("c", json!({})), call("d", json!({})),
                ] },
                { "role": "user", "content": [
                    result("d", "This call was not made."), result("c", "one"), text("And?"),
                ] },
            ],
        })
    );
}

/// An integer that no number here can hold is kept as it was written.
#[tokio::test]
async fn arguments_lose_no_digits() {
    let written = "{\"n\":-9223372036854775809}";
    let steps = stream(&[
        start(20),
        block(0, json!({ "type": "tool_use", "id": "toolu_01", "name": "read", "input": {} })),
        delta(0, json!({ "type": "input_json_delta", "partial_json": written })),
        stop(0),
        end("tool_use", 33),
        json!({ "type": "message_stop" }),
    ]);
    let answer = ask(&Server::of(vec![steps])).await.unwrap();
    assert_eq!(answer.tool_calls[0].arguments, json!(written));
}

#[tokio::test]
async fn an_answer_is_the_same_wherever_its_stream_is_cut() {
    let steps = stream(&[
        start(20),
        block(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "Let me look." })),
        delta(0, json!({ "type": "signature_delta", "signature": "EqQBCgIYAhIM" })),
        stop(0),
        block(1, json!({ "type": "text", "text": "" })),
        delta(1, json!({ "type": "text_delta", "text": "Grüße — " })),
        delta(1, json!({ "type": "text_delta", "text": "日本語 👋" })),
        stop(1),
        json!({ "type": "ping" }),
        block(2, json!({ "type": "tool_use", "id": "toolu_01", "name": "read", "input": {} })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "" })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"path\": \"ü" })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "\"}" })),
        stop(2),
        block(3, json!({ "type": "tool_use", "id": "toolu_02", "name": "list", "input": {} })),
        stop(3),
        end("tool_use", 33),
        json!({ "type": "message_stop" }),
    ]);
    let Step::Send(bytes) = &steps[0] else { panic!() };
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let call = |id: &str, name: &str, arguments| ToolCall {
        id: id.to_string(),
        name: name.to_string(),
        arguments,
    };
    let whole = Answer {
        content: "Grüße — 日本語 👋".to_string(),
        reasoning: "Let me look.".to_string(),
        tool_calls: vec![
            call("toolu_01", "read", json!({ "path": "ü" })),
            call("toolu_02", "list", json!({})),
        ],
        finish: Finish::ToolCalls,
        usage: Usage { input: 123, output: 33 },
    };
    for size in [1, 7, 64, 4096] {
        let mut cut = vec![Step::Send(bytes[..head].to_vec())];
        cut.extend(bytes[head..].chunks(size).map(|piece| Step::Send(piece.to_vec())));
        assert_eq!(ask(&Server::of(vec![cut])).await.unwrap(), whole, "in pieces of {size}");
    }
    // A server in front of the API may not stream.
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5",
        "content": [
            { "type": "thinking", "thinking": "Let me look.", "signature": "EqQBCgIYAhIM" },
            { "type": "text", "text": "Grüße — 日本語 👋" },
            { "type": "tool_use", "id": "toolu_01", "name": "read", "input": { "path": "ü" } },
            { "type": "tool_use", "id": "toolu_02", "name": "list", "input": {} },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 23, "cache_read_input_tokens": 100, "output_tokens": 33 },
    });
    let server = Server::of(vec![status("200 OK", "", &body.to_string())]);
    assert_eq!(ask(&server).await.unwrap(), whole);
}

#[tokio::test]
async fn every_way_to_stop_has_its_meaning() {
    for (reason, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("pause_turn", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Context),
    ] {
        let answer = ask(&Server::of(vec![says("So", reason)])).await.unwrap();
        assert_eq!((answer.content.as_str(), answer.finish), ("So", finish), "{reason}");
        assert_eq!(answer.usage, Usage { input: 115, output: 5 });
    }
    let refused = ask(&Server::of(vec![says("I will", "refusal")])).await.unwrap_err();
    let ModelError::Refused { message, output } = refused else { panic!("{refused}") };
    assert_eq!(message, "the model `judge`: it refuses to go on with this conversation");
    assert_eq!(output, "I will");
}

#[tokio::test]
async fn the_key_is_sent_in_its_header_and_shown_to_nobody() {
    // It is set wherever tests run; a test must not change the environment of its neighbours.
    let key = std::env::var("PATH").expect("a variable");
    let body = error("authentication_error", &format!("invalid x-api-key {key}"));
    let server = Server::of(vec![status("401 Unauthorized", "", &body)]);
    let failed = open(&server.url, "key_env = \"PATH\"\n", None).answer(&request()).await;
    let failed = failed.unwrap_err().to_string();
    let head = &server.asked()[0].head;
    assert!(head.contains(&format!("x-api-key: {}\r\n", key.to_ascii_lowercase())), "{head}");
    assert!(!head.contains("authorization"), "{head}");
    assert_eq!(
        failed,
        "the model `judge`: it answered 401 Unauthorized: invalid x-api-key [key]\n  help: look at \
         the key in PATH"
    );
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn what_may_go_away_is_asked_again_and_the_rest_is_not() {
    let busy = status("529 ", "", &error("overloaded_error", "Overloaded"));
    let slow =
        status("429 Too Many Requests", "retry-after: 0\r\n", &error("rate_limit_error", "x"));
    let server = Server::of(vec![busy.clone(), slow, says("Yes.", "end_turn")]);
    assert_eq!(ask(&server).await.unwrap().content, "Yes.");
    assert_eq!(server.count(), 3);
    let failed = ask(&Server::of(vec![busy])).await.unwrap_err();
    assert!(matches!(failed, ModelError::Unavailable(_)));
    let failed = failed.to_string();
    assert!(failed.contains("529") && failed.contains("Overloaded (asked 3 times)"), "{failed}");

    // The server may find out in the middle, after a head that says that all is well.
    let early = stream(&[serde_json::from_str(&error("overloaded_error", "Overloaded")).unwrap()]);
    let server = Server::of(vec![early, says("Yes.", "end_turn")]);
    assert_eq!(ask(&server).await.unwrap().content, "Yes.");
    let mut late = vec![start(12), block(0, json!({ "type": "text", "text": "" }))];
    late.push(serde_json::from_str(&error("api_error", "Internal server error")).unwrap());
    let server = Server::of(vec![stream(&late), says("Yes.", "end_turn")]);
    let failed = ask(&server).await.unwrap_err().to_string();
    assert!(failed.contains("Internal server error"), "{failed}");
    assert_eq!(server.count(), 1, "its tokens are paid");
    let server = Server::of(vec![stream(&late[..2]), says("Yes.", "end_turn")]);
    let failed = ask(&server).await.unwrap_err().to_string();
    assert!(failed.contains("broke off in the middle"), "{failed}");
    assert_eq!(server.count(), 1);

    let long = error("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum");
    let server = Server::of(vec![status("400 Bad Request", "", &long)]);
    assert_eq!(ask(&server).await.unwrap().finish, Finish::Context);
    let odd = error("invalid_request_error", "messages: at least one message is required");
    let server = Server::of(vec![status("400 Bad Request", "", &odd)]);
    let refused = ask(&server).await.unwrap_err();
    assert!(matches!(&refused, ModelError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("at least one message is required"), "{refused}");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_budget_counts_cached_tokens_and_sampling_can_be_left_out() {
    let server = Server::of(vec![says("Yes.", "end_turn")]);
    let budget = Arc::new(Budget::new(1_000_000));
    let more = "prices = { input = 1.0, output = 5.0 }\nsampling = false\n";
    open(&server.url, more, Some(budget.clone())).answer(&request()).await.unwrap();
    assert_eq!(budget.spent(), 115 + 5 * 5);
    let body = &server.asked()[0].body;
    assert!(body.get("temperature").is_none() && body.get("seed").is_none(), "{body}");
}

#[test]
fn settings_of_another_language_are_refused() {
    let project = crate::project::Project::new();
    project.write("main.claw", "stage one = 1\noutput one\n");
    for (settings, told) in [
        ("token_field = \"max_completion_tokens\"", "messages have `max_tokens`"),
        ("provider = \"antropic\"", "unknown variant `antropic`"),
    ] {
        let provider =
            if settings.starts_with("provider") { "" } else { "provider = \"anthropic\"\n" };
        project.write(
            "claw.toml",
            &format!(
                "[models.judge]\n{provider}endpoint = \"https://api.anthropic.com/v1\"\n\
                 model = \"m\"\n{settings}\n"
            ),
        );
        let output = project.claw(&["check", "main.claw"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(told), "{said}");
    }
}
