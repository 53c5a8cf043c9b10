//! One model behind an endpoint: what is sent, what is made of what comes, what is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claw::engine::{Budget, CallError, Context};
use claw::lang::Value;
use claw::model::{
    Answer, Configured, Finish, Message, Model, ModelError, Request, Settings, ToolCall,
    ToolSchema, Usage,
};
use claw::project::ModelSettings;
use claw::store::{Digest, MemoryObjects};
use serde_json::json;

use super::server::{
    Server, Step, calls, delta, done, finish, says, send, status, stream, usage, wait,
};

fn settings(url: &str, more: &str) -> ModelSettings {
    let text = format!(
        "endpoint = \"{url}\"\nmodel = \"served\"\nbackoff_seconds = 0.01\nretries = 2\n{more}"
    );
    toml::from_str(&text).expect("settings")
}

fn request() -> Request {
    Request {
        messages: vec![Message::User { content: "Hello?".to_string() }],
        tools: Vec::new(),
        settings: Settings { temperature: 0.5, max_tokens: 16, seed: 7 },
    }
}

fn open_with(url: &str, more: &str, budget: Option<Arc<Budget>>) -> Arc<dyn Model> {
    let mut context = Context::quiet(Arc::new(MemoryObjects::default()), Digest::of(b"a call"));
    context.budget = budget;
    let remote = Configured::new("teacher", &settings(url, more));
    remote.open(&Value::str("teacher"), &context).expect("it opens")
}

async fn ask_with(url: &str, more: &str) -> Result<Answer, ModelError> {
    open_with(url, more, None).answer(&request()).await
}

async fn ask(server: &Server) -> Result<Answer, ModelError> {
    ask_with(&server.url, "").await
}

fn said(text: &str) -> Answer {
    Answer {
        content: text.to_string(),
        reasoning: String::new(),
        tool_calls: Vec::new(),
        finish: Finish::Stop,
        usage: Usage { input: 12, output: 5 },
    }
}

#[tokio::test]
async fn a_request_says_what_the_endpoint_needs_and_nothing_else() {
    let server = Server::of(vec![says("Yes.")]);
    let mut request = request();
    let call = |arguments| ToolCall { id: "a".to_string(), name: "read".to_string(), arguments };
    request.messages.extend([
        Message::Assistant {
            content: String::new(),
            reasoning: "Hm.".to_string(),
            tool_calls: vec![call(json!({ "path": "x" })), call(json!("{broken"))],
        },
        Message::Tool { tool_call_id: "a".to_string(), content: "text".to_string() },
    ]);
    request.tools = vec![ToolSchema {
        name: "read".to_string(),
        description: "Reads.".to_string(),
        parameters: json!({ "type": "object" }),
    }];
    request.settings.seed = u64::MAX;
    open_with(&server.url, "", None).answer(&request).await.unwrap();
    let asked = &server.asked()[0];
    assert!(asked.head.starts_with("post /v1/chat/completions "), "{}", asked.head);
    assert!(!asked.head.contains("authorization"), "no key is configured");
    let function = |arguments: &str| {
        json!({ "id": "a", "type": "function",
                "function": { "name": "read", "arguments": arguments } })
    };
    assert_eq!(
        asked.body,
        json!({
            "model": "served",
            "messages": [
                { "role": "user", "content": "Hello?" },
                { "role": "assistant", "content": null, "tool_calls": [
                    function(r#"{"path":"x"}"#),
                    function(r#"{"arguments":"{broken"}"#),
                ] },
                { "role": "tool", "tool_call_id": "a", "content": "text" },
            ],
            "tools": [{ "type": "function", "function": {
                "name": "read", "description": "Reads.", "parameters": { "type": "object" },
            } }],
            "temperature": 0.5,
            "max_tokens": 16,
            "seed": 0x7fff_ffff,
            "stream": true,
            "stream_options": { "include_usage": true },
        })
    );
}

#[tokio::test]
async fn an_answer_is_the_same_wherever_its_stream_is_cut() {
    let text = "Grüße — 日本語 👋";
    let call = |index: u64, id: &str, name: &str, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        delta(json!({ "tool_calls": [{ "index": index, "id": id, "function": function }] }))
    };
    let more = |index: u64, arguments: &str| {
        let function = json!({ "arguments": arguments });
        delta(json!({ "tool_calls": [{ "index": index, "function": function }] }))
    };
    let mut steps = stream(&[
        delta(json!({ "reasoning_content": "Thin" })),
        delta(json!({ "reasoning_content": "king." })),
        delta(json!({ "content": text })),
        call(0, "a", "read", ""),
        call(1, "b", "write", "{\"path\": "),
        more(0, "{\"path\""),
        more(1, "\"ü\"}"),
        more(0, ": \"x\"}"),
        call(2, "c", "broken", "{\"path\": "),
        call(3, "d", "nothing", ""),
        finish("tool_calls"),
        usage(3, 4),
    ]);
    steps.push(done());
    let bytes: Vec<u8> = steps
        .iter()
        .flat_map(|step| match step {
            Step::Send(bytes) => bytes.clone(),
            _ => Vec::new(),
        })
        .collect();
    let tool = |id: &str, name: &str, arguments| ToolCall {
        id: id.to_string(),
        name: name.to_string(),
        arguments,
    };
    let expected = Answer {
        content: text.to_string(),
        reasoning: "Thinking.".to_string(),
        tool_calls: vec![
            tool("a", "read", json!({ "path": "x" })),
            tool("b", "write", json!({ "path": "ü" })),
            tool("c", "broken", json!("{\"path\": ")),
            tool("d", "nothing", json!({})),
        ],
        finish: Finish::ToolCalls,
        usage: Usage { input: 3, output: 4 },
    };
    for size in [1, 7, 64] {
        let pieces: Vec<Step> =
            bytes.chunks(size).map(|piece| Step::Send(piece.to_vec())).collect();
        let server = Server::of(vec![pieces]);
        assert_eq!(ask(&server).await.unwrap(), expected, "in pieces of {size}");
    }
}

#[tokio::test]
async fn servers_that_do_not_stream_are_understood() {
    let calls = json!([
        { "id": "a", "type": "function", "function": { "name": "read", "arguments": "{}" } },
        { "id": "b", "type": "function", "function": { "name": "read", "arguments": { "n": 1 } } },
        { "id": "c", "type": "function",
            "function": { "name": "read", "arguments": "{\"id\": 18446744073709551616}" } },
    ]);
    let message = json!({ "role": "assistant", "content": "Look.", "tool_calls": calls });
    let body = json!({
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": null },
    });
    let server = Server::of(vec![status("200 OK", "", &body.to_string())]);
    let answer = ask(&server).await.unwrap();
    assert_eq!((answer.content.as_str(), answer.finish), ("Look.", Finish::ToolCalls));
    let ids: Vec<_> =
        answer.tool_calls.iter().map(|call| (call.id.as_str(), call.arguments.clone())).collect();
    // An integer that no number here can hold is kept as it was written.
    let long = json!("{\"id\": 18446744073709551616}");
    assert_eq!(ids, [("a", json!({})), ("b", json!({ "n": 1 })), ("c", long)]);
    assert_eq!(answer.usage, Usage { input: 1, output: 2 });
}

/// Tokens that cannot be read cost what was reserved for them: a budget holds all the same.
#[test]
fn a_budget_holds_whatever_the_server_says_of_tokens() {
    for (usage, made) in [
        // 10 and 5 tokens at these prices are two cents, and 19 are reserved for each request.
        (json!({ "prompt_tokens": 10, "completion_tokens": 5 }), 4),
        (json!({ "prompt_tokens": 10.0, "completion_tokens": 5.0 }), 4),
        // What cannot be read costs what was reserved.
        (json!({ "prompt_tokens": 10 }), 1),
        (json!({ "prompt_tokens": "10", "completion_tokens": "5" }), 1),
        (json!({ "prompt_tokens": -10, "completion_tokens": 5 }), 1),
        (json!({ "prompt_tokens": 1e30, "completion_tokens": 5 }), 1),
        (json!({}), 1),
    ] {
        let message = json!({ "role": "assistant", "content": "hi" });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        let body = json!({ "choices": [choice], "usage": usage }).to_string();
        let server = Server::new(move |_, _| status("200 OK", "", &body));
        let project = crate::project::Project::new();
        project.write(
            "claw.toml",
            &format!(
                "[models.m]\nendpoint = \"{}\"\nmodel = \"m\"\nprices = {{ input = 1000, output = \
                 2000 }}\n",
                server.url
            ),
        );
        project.write(
            "main.claw",
            "use std/llm\nstage a = for i in 1..=9 { llm.text(model: model(\"m\", max_tokens: 10), \
             prompt: \"hello {i}\") } with { budget: $0.25, concurrency: 1 }\noutput a\n",
        );
        let ran = project.claw(&["run", "main.claw", "--quiet"]);
        assert_eq!(ran.status.code(), Some(1), "{usage}");
        assert_eq!(server.count(), made, "{usage}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[tokio::test]
async fn ends_are_told_apart() {
    let ended = |why: &str| {
        let mut steps = stream(&[delta(json!({ "content": "Well" })), finish(why)]);
        steps.push(done());
        steps
    };
    let server = Server::of(vec![ended("length")]);
    assert_eq!(ask(&server).await.unwrap().finish, Finish::Length);
    let long = r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#;
    let server = Server::of(vec![status("400 Bad Request", "", long)]);
    assert_eq!(ask(&server).await.unwrap().finish, Finish::Context);
    let refused = |answer: Result<Answer, ModelError>| match answer {
        Err(ModelError::Refused { message, output }) => (message, output),
        other => panic!("{other:?}"),
    };
    let server = Server::of(vec![ended("content_filter")]);
    let (message, output) = refused(ask(&server).await);
    assert_eq!(message, "the model `teacher`: a content filter stopped its answer");
    assert_eq!(output, "Well");
    let mut steps = stream(&[delta(json!({ "refusal": "I must not." })), finish("stop")]);
    steps.push(done());
    let server = Server::of(vec![steps]);
    assert_eq!(refused(ask(&server).await).0, "the model `teacher`: it refuses: I must not.");
    let wrong = r#"{"error":{"message":"no such\ntool"}}"#;
    let server = Server::of(vec![status("400 Bad Request", "", wrong)]);
    let (message, _) = refused(ask(&server).await);
    assert_eq!(message, "the model `teacher`: it answered 400 Bad Request: no such tool");
    assert_eq!(server.count(), 1, "it would be wrong every time");
}

#[tokio::test]
async fn what_may_go_away_is_tried_again() {
    let busy = |headers: &str| status("429 Too Many Requests", headers, "{}");
    let server = Server::of(vec![busy("retry-after: 1\r\n"), says("Now.")]);
    let began = Instant::now();
    assert_eq!(ask(&server).await.unwrap(), said("Now."));
    assert!(began.elapsed() >= Duration::from_secs(1), "it waits as it was asked to");
    for broken in [
        busy(""),
        status("408 Request Timeout", "", ""),
        status("409 Conflict", "", ""),
        status("500 Internal Server Error", "", "oops"),
        status("503 Service Unavailable", "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n", ""),
        Vec::new(),
        vec![send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\n",
        )],
        stream(&[json!({ "error": { "message": "overloaded", "code": 503 } })]),
    ] {
        let server = Server::of(vec![broken, says("Now.")]);
        assert_eq!(ask(&server).await.unwrap(), said("Now."));
        assert_eq!(server.count(), 2);
    }
}

fn unavailable(answer: Result<Answer, ModelError>) -> String {
    match answer {
        Err(ModelError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    let server = Server::of(vec![status("500 Internal Server Error", "", "out of\tmemory")]);
    assert_eq!(
        unavailable(ask(&server).await),
        "the model `teacher`: it answered 500 Internal Server Error: out of memory (asked 3 times)"
    );
    assert_eq!(server.count(), 3);
    let server = Server::of(vec![status("429 Too Many Requests", "retry-after: 9999\r\n", "")]);
    assert_eq!(
        unavailable(ask(&server).await),
        "the model `teacher`: it answered 429 Too Many Requests (it asks to wait 9999 s)"
    );
    assert_eq!(server.count(), 1);
    // A port that nobody listens on any more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let why = unavailable(ask_with(&url, "").await);
    assert!(why.contains("onnection refused") && why.contains("(asked 3 times)"), "{why}");
    for (line, help) in [
        ("401 Unauthorized", "name the variable that holds its key"),
        ("404 Not Found", "look at `endpoint` and `model`"),
        ("302 Found", "it answered 302 Found"),
    ] {
        let server = Server::of(vec![status(line, "location: http://elsewhere/\r\n", "{}")]);
        let why = unavailable(ask(&server).await);
        assert!(why.contains(help), "{why}");
        assert_eq!(server.count(), 1);
    }
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>";
    let server = Server::of(vec![vec![send(html)]]);
    let why = unavailable(ask(&server).await);
    assert!(why.contains("it answered text/html, not an answer"), "{why}");
}

#[tokio::test]
async fn an_answer_that_broke_off_is_not_asked_for_again() {
    let begun = || stream(&[delta(json!({ "content": "Once upon" }))]);
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: \
                   chunked\r\n\r\n";
    let event = format!("data: {}\n\n", delta(json!({ "content": "Once" })));
    let cut = format!("{chunked}{:x}\r\n{event}\r\n", event.len());
    let slow = [begun(), vec![wait(3_000), done()]].concat();
    let torn = [begun(), vec![send("data: {\"choices\": [\n\n")]].concat();
    let failed = [begun(), vec![send("data: {\"error\": {\"message\": \"died\"}}\n\n")]].concat();
    for (steps, why) in [
        (begun(), "its answer broke off in the middle: the connection was closed"),
        (vec![send(&cut)], "its answer broke off in the middle: "),
        (slow, "its answer stopped in the middle for 0.2 s"),
        (torn, "its answer is not what it should be: EOF while parsing a list"),
        (failed, "it answered 502 Bad Gateway: died"),
    ] {
        let server = Server::of(vec![steps]);
        let told = unavailable(ask_with(&server.url, "idle_seconds = 0.2").await);
        assert!(told.contains(why), "{told}");
        assert_eq!(server.count(), 1, "{told}");
    }
}

#[tokio::test]
async fn an_answer_must_begin_and_must_end() {
    let server = Server::of(vec![vec![wait(3_000)], says("Now.")]);
    let answer = ask_with(&server.url, "first_byte_seconds = 0.3").await.unwrap();
    assert_eq!(answer, said("Now."));
    // Slow, but never silent for long.
    let mut steps = stream(&[]);
    for word in ["a", "b", "c", "d", "e", "f"] {
        steps
            .extend([wait(100), send(&format!("data: {}\n\n", delta(json!({ "content": word }))))]);
    }
    steps.extend([send(&format!("data: {}\n\n", finish("stop"))), done()]);
    let server = Server::of(vec![steps]);
    let more = "idle_seconds = 20\nfirst_byte_seconds = 20";
    assert_eq!(ask_with(&server.url, more).await.unwrap().content, "abcdef");
    let event = format!("data: {}\n\n", delta(json!({ "content": "x".repeat(1 << 20) })));
    let flood = std::iter::once(stream(&[]).remove(0)).chain((0..8).map(|_| send(&event)));
    let server = Server::of(vec![flood.collect()]);
    match ask(&server).await {
        Err(ModelError::Refused { message, .. }) => {
            assert_eq!(
                message,
                "the model `teacher`: its answer is larger than 4 MiB, for 16 tokens at most"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn concurrency_is_a_bound() {
    let server = Server::new(|_, _| [vec![Step::Gate], says("Yes.")].concat());
    let model = open_with(&server.url, "concurrency = 3", None);
    let many: Vec<_> = (0..9)
        .map(|_| {
            let model = model.clone();
            tokio::spawn(async move { model.answer(&request()).await })
        })
        .collect();
    while server.count() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.count(), 3, "the others wait");
    server.open_gate();
    for one in many {
        assert_eq!(one.await.unwrap().unwrap(), said("Yes."));
    }
    assert_eq!((server.count(), server.most()), (9, 3));
}

#[tokio::test]
async fn requests_keep_their_distance() {
    let server = Server::of(vec![says("Yes.")]);
    let model = open_with(&server.url, "requests_per_minute = 300", None);
    let many = (0..5).map(|_| {
        let model = model.clone();
        async move { model.answer(&request()).await }
    });
    let began = Instant::now();
    for one in futures::future::join_all(many).await {
        one.unwrap();
    }
    // Five beginnings at 200 ms each: the last one 800 ms after the first.
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    let asked = server.asked();
    assert!(asked[4].at - asked[0].at >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_not_asked_by_others_either() {
    let busy = status("429 Too Many Requests", "retry-after: 1\r\n", "");
    let server = Server::of(vec![busy, says("Yes.")]);
    let model = open_with(&server.url, "concurrency = 1", None);
    let ask = || async { model.answer(&request()).await.unwrap() };
    futures::future::join_all([ask(), ask(), ask()]).await;
    let asked = server.asked();
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(900), "nobody came before");
}

const PRICES: &str = "prices = { input = 2.0, output = 10.0 }";

#[tokio::test]
async fn a_budget_is_reserved_and_settled() {
    let server = Server::of(vec![says("Yes.")]);
    let budget = Arc::new(Budget::new(1_000));
    let model = open_with(&server.url, PRICES, Some(budget.clone()));
    model.answer(&request()).await.unwrap();
    // 12 tokens at 2 and 5 at 10 micro-dollars.
    assert_eq!(budget.spent(), 74);
    let mut asked = 1;
    let over = loop {
        match model.answer(&request()).await {
            Ok(_) => asked += 1,
            Err(err) => break CallError::from(err),
        }
    };
    assert!(matches!(over, CallError::Budget(_)));
    assert!(over.to_string().contains("the stage's budget of $0.001 does not cover"), "{over}");
    assert_eq!((server.count(), budget.spent()), (asked, 74 * asked as i64));
    assert!(asked > 1 && budget.spent() <= 1_000);
    // What broke off is paid as if it had been said to the end; what never began is not.
    let broken = Server::of(vec![
        status("400 Bad Request", "", "no"),
        stream(&[delta(json!({ "content": "Once" }))]),
    ]);
    let budget = Arc::new(Budget::new(10_000));
    let model = open_with(&broken.url, PRICES, Some(budget.clone()));
    model.answer(&request()).await.unwrap_err();
    assert_eq!(budget.spent(), 0);
    model.answer(&request()).await.unwrap_err();
    assert!(budget.spent() > 16 * 10, "{}", budget.spent());
    let model = open_with(&server.url, "", Some(budget));
    let why = unavailable(model.answer(&request()).await);
    assert!(why.contains("does not say what the model `teacher` costs"), "{why}");
}

#[tokio::test]
async fn calls_of_tools_come_through() {
    let server = Server::of(vec![calls("a", "read", &json!({ "path": "x" }))]);
    let answer = ask(&server).await.unwrap();
    assert_eq!(answer.finish, Finish::ToolCalls);
    assert_eq!(answer.tool_calls[0].arguments, json!({ "path": "x" }));
}
