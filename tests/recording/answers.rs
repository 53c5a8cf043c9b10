//! Questions and answers on the line.

use std::sync::Arc;
use std::time::Duration;

use claw::engine::Context;
use claw::lang::Value;
use claw::model::endpoint::Endpoint;
use claw::model::{
    Answer, Configured, Finish, Message, ModelError, Request, Settings, ToolCall, ToolSchema, Usage,
};
use claw::project::ModelSettings;
use claw::store::{Digest, MemoryObjects};
use serde_json::{Value as Json, json};

use super::client::{PLENTY, Scripted, Served, calling, session, words};

fn user(content: &str) -> Message {
    Message::User { content: content.to_string() }
}

/// Our own client, which other tests hold against other servers, hears what the model said.
#[tokio::test]
async fn an_answer_comes_through_whole() {
    let call = |id: &str, arguments: Json| ToolCall {
        id: id.to_string(),
        name: "read".to_string(),
        arguments,
    };
    let answer = Answer {
        content: "Grüße 👋\n".to_string(),
        reasoning: "Hm.".to_string(),
        tool_calls: vec![call("a", json!({ "path": "ü" })), call("b", json!("{broken"))],
        finish: Finish::ToolCalls,
        usage: Usage { input: 31, output: 9 },
    };
    let said = answer.clone();
    let model = Scripted::new(move |_, _| Ok(said.clone()));
    let session = session(&model, PLENTY);
    let served = Served::with(&session);
    let key = std::env::var("PATH").expect("a variable");
    served.endpoint.open(&key, session.clone());
    let settings: ModelSettings = toml::from_str(&format!(
        "endpoint = \"{}\"\nmodel = \"any\"\nkey_env = \"PATH\"\n",
        served.url
    ))
    .unwrap();
    let context = Context::quiet(Arc::new(MemoryObjects::default()), Digest::of(b"a call"));
    let remote = Configured::new("teacher", &settings);
    let remote = remote.open(&Value::str("teacher"), &context).unwrap();
    let request = Request {
        messages: vec![
            Message::System { content: "Be brief.".to_string() },
            user("Look."),
            Message::Assistant {
                content: String::new(),
                reasoning: String::new(),
                tool_calls: vec![call("c", json!({ "path": "x" }))],
            },
            Message::Tool { tool_call_id: "c".to_string(), content: "text".to_string() },
        ],
        tools: vec![ToolSchema {
            name: "read".to_string(),
            description: "Reads.".to_string(),
            parameters: json!({ "type": "object", "properties": {} }),
        }],
        settings: Settings { temperature: 0.25, max_tokens: 99, seed: 3 },
    };
    assert_eq!(remote.answer(&request).await.unwrap(), answer);
    let asked = &model.asked()[0];
    assert_eq!((&asked.messages, &asked.tools), (&request.messages, &request.tools));
    assert_eq!((asked.settings.temperature, asked.settings.max_tokens), (0.25, 99));
    let branches = session.record().transcript.branches();
    assert_eq!(branches.len(), 1);
    assert_eq!(branches[0].messages.len(), 5);
    assert_eq!(branches[0].own, [4]);
}

#[tokio::test]
async fn an_answer_is_told_as_one_text_or_as_events() {
    let model = Scripted::new(|number, _| {
        Ok(if number == 0 { calling("a", "read", json!({ "path": "x" })) } else { words("Yes.") })
    });
    let session = session(&model, PLENTY);
    let served = Served::with(&session);
    let question = json!({ "messages": [{ "role": "user", "content": "Hello?" }] });
    let (status, said) = served.question("token", &question).await;
    assert_eq!(status, 200);
    assert_eq!(
        said,
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "scripted",
            "choices": [{
                "index": 0, "finish_reason": "tool_calls", "logprobs": null,
                "message": { "role": "assistant", "content": null, "tool_calls": [{
                    "id": "a", "type": "function",
                    "function": { "name": "read", "arguments": "{\"path\":\"x\"}" },
                }] },
            }],
            "usage": { "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14 },
        })
    );
    let mut streamed = question.clone();
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let (status, said) = served.question("token", &streamed).await;
    assert_eq!(status, 200);
    let events: Vec<&str> =
        said.as_str().unwrap().split("\n\n").filter_map(|one| one.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let events: Vec<Json> =
        events[..events.len() - 1].iter().map(|one| serde_json::from_str(one).unwrap()).collect();
    let choice = |at: usize| &events[at]["choices"][0];
    assert_eq!(choice(0)["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(choice(1)["delta"], json!({ "content": "Yes." }));
    assert_eq!(choice(2)["delta"], json!({}));
    assert_eq!(choice(2)["finish_reason"], json!("stop"));
    assert_eq!(events[3]["choices"], json!([]));
    assert_eq!(events[3]["usage"]["total_tokens"], json!(14));
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"));
}

#[tokio::test]
async fn who_waits_for_events_is_told_that_somebody_is_there() {
    struct Slow;
    impl claw::model::Model for Slow {
        fn answer<'a>(
            &'a self,
            request: &'a Request,
        ) -> futures::future::BoxFuture<'a, Result<Answer, ModelError>> {
            let refuses = request.messages == [user("No?")];
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(60)).await;
                let refusal = ModelError::Refused { message: "no".into(), output: String::new() };
                if refuses { Err(refusal) } else { Ok(words("At last.")) }
            })
        }
    }
    let session = claw::model::endpoint::Session::new(Arc::new(Slow), "slow", None, 7, PLENTY);
    let served = Served::new(Endpoint::new().reassuring_each(Duration::from_millis(10)));
    served.endpoint.open("token", session);
    let ask =
        |text: &str| json!({ "stream": true, "messages": [{ "role": "user", "content": text }] });
    let (status, said) = served.question("token", &ask("Hello?")).await;
    let said = said.as_str().unwrap();
    assert_eq!(status, 200);
    assert!(said.starts_with(": at work\n\n: still at work\n\n"), "{said}");
    assert!(said.contains("At last.") && said.ends_with("data: [DONE]\n\n"), "{said}");
    // It has said that all is well already: what is wrong comes as an event.
    let (status, said) = served.question("token", &ask("No?")).await;
    let said = said.as_str().unwrap();
    assert_eq!(status, 200);
    assert!(said.contains("data: {\"error\":{\"code\":\"refused\""), "{said}");
}

#[tokio::test]
async fn questions_are_read_with_patience_and_odd_ones_are_refused() {
    let model = Scripted::new(|_, _| Ok(words("One. Two.")));
    let session = session(&model, PLENTY);
    let served = Served::with(&session);
    let question = json!({
        "model": "gpt-anything",
        "messages": [
            { "role": "developer", "content": [{ "type": "text", "text": "Be brief." }] },
            { "role": "user", "content": [
                { "type": "text", "text": "Hello" }, { "type": "text", "text": "there" },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "a", "type": "function",
                  "function": { "name": "f", "arguments": "" } },
            ] },
            { "role": "tool", "tool_call_id": "a", "content": null },
            { "role": "assistant", "refusal": "No.", "content": null },
            { "role": "user", "content": "Why?", "name": "ada" },
        ],
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "tool_choice": "required", "temperature": 0.5, "max_completion_tokens": 9_000,
        "stop": [" Two"], "top_p": 0.9, "n": 1, "logprobs": false, "presence_penalty": 0,
        "response_format": { "type": "json_object" }, "store": false, "user": "x", "seed": 4,
    });
    let (status, said) = served.question("token", &question).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(said["choices"][0]["message"]["content"], json!("One."), "it ends where it must");
    let asked = &model.asked()[0];
    let no_call = ToolCall { id: "a".into(), name: "f".into(), arguments: json!({}) };
    assert_eq!(
        asked.messages,
        [
            Message::System { content: "Be brief.".into() },
            user("Hello\nthere"),
            Message::Assistant {
                content: String::new(),
                reasoning: String::new(),
                tool_calls: vec![no_call],
            },
            Message::Tool { tool_call_id: "a".into(), content: String::new() },
            Message::Assistant {
                content: "No.".into(),
                reasoning: String::new(),
                tool_calls: Vec::new(),
            },
            user("Why?"),
        ]
    );
    assert_eq!(asked.tools[0].parameters, json!({ "type": "object", "properties": {} }));
    assert_eq!((asked.settings.temperature, asked.settings.max_tokens), (0.5, 512));
    assert_eq!(session.record().ignored, ["response_format", "tool_choice", "top_p"]);

    let one = |message: Json| json!({ "messages": [message] });
    let image = json!({ "type": "image_url", "image_url": { "url": "data:," } });
    for (question, told) in [
        (json!([]), "the body is no JSON object"),
        (json!({}), "`messages` is missing or no list"),
        (json!({ "messages": [] }), "`messages` is empty"),
        (one(json!({ "content": "x" })), "`messages[0]` has no `role`"),
        (one(json!({ "role": "function", "content": "x" })), "has the role `function`"),
        (
            one(json!({ "role": "user", "content": [image] })),
            "`messages[0]` has a part of the type `image_url`; only text is passed on",
        ),
        (json!({ "messages": [{ "role": "user", "content": "x" }], "n": 2 }), "`n` must be 1"),
        (
            json!({ "messages": [{ "role": "user", "content": "x" }],
                    "tools": [{ "type": "web_search" }] }),
            "`tools[0]` is of the type `web_search`; only functions are passed on",
        ),
    ] {
        let (status, said) = served.question("token", &question).await;
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(told), "{question}: {status} {said}");
    }
    let headers = "authorization: bearer token\r\n";
    let (status, ..) = served.ask("POST /v1/chat/completions", headers, "{broken").await;
    assert_eq!(status, 400);
    assert_eq!(model.asked().len(), 1);
    let record = session.record();
    assert_eq!((record.transcript.answers(), record.usage.len()), (1, 1));
}

#[tokio::test]
async fn other_paths_say_what_there_is() {
    let model = Scripted::new(|_, _| Ok(words("Yes.")));
    let served = Served::with(&session(&model, PLENTY));
    let key = "authorization: Bearer token\r\n";
    let (status, head, body) = served.ask("GET /v1/models", key, "").await;
    assert!(status == 200 && head.contains("content-type: application/json"), "{head}");
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        json!({ "object": "list", "data": [
            { "id": "scripted", "object": "model", "created": 0, "owned_by": "claw" },
        ] })
    );
    for (line, status, told) in [
        ("GET /v1/chat/completions", 405, "cannot be asked for by GET"),
        ("POST /v1/responses", 404, "there are POST /v1/chat/completions and GET /v1/models"),
    ] {
        let (got, _, body) = served.ask(line, key, "{}").await;
        assert!(got == status && body.contains(told), "{line}: {got} {body}");
    }
}
