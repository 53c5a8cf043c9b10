//! Anthropic's messages as they go over the line: a request's bytes, and an answer from its events.
//!
//! A conversation has another form there than in chat completions: what the program says stands
//! beside it, people and assistant take strict turns made of blocks, what tools gave is said by the
//! person, and every call of an answer must have its result in the very next turn.

use serde_json::{Map, Value as Json, json};

use crate::lang::large_integer;
use crate::model::{Answer, Finish, Message, ModelError, Request, ToolCall, Usage};
use crate::project::ModelSettings;

use super::wire::{Reading, Said, Wrong, tokens};

/// What is said of a call that nobody made: every call must have a result.
const NOT_MADE: &str = "This call was not made.";

/// The bytes of a request. There is no seed to send.
pub(super) fn body(settings: &ModelSettings, request: &Request) -> Vec<u8> {
    let mut body = json!({
        "model": settings.model,
        "messages": turns(&request.messages),
        "max_tokens": request.settings.max_tokens,
        "stream": true,
    });
    if settings.sampling {
        body["temperature"] = json!(request.settings.temperature);
    }
    let system: Vec<&str> = request
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::System { content } => Some(content.as_str()),
            _ => None,
        })
        .collect();
    if !system.is_empty() {
        body["system"] = json!(system.join("\n\n"));
    }
    if !request.tools.is_empty() {
        let tool = |tool: &crate::model::ToolSchema| {
            let (name, about) = (&tool.name, &tool.description);
            json!({ "name": name, "description": about, "input_schema": tool.parameters })
        };
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    body.to_string().into_bytes()
}

/// The turns of a conversation, each with its blocks.
fn turns(messages: &[Message]) -> Vec<Json> {
    let mut turns: Vec<(&str, Vec<Json>)> = Vec::new();
    let mut say = |role: &'static str, blocks: Vec<Json>| match turns.last_mut() {
        Some((speaker, said)) if *speaker == role => said.extend(blocks),
        _ if blocks.is_empty() => {}
        _ => turns.push((role, blocks)),
    };
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::System { .. } => {}
            Message::User { content } => say("user", text(content)),
            Message::Tool { tool_call_id, content } => {
                say("user", vec![result(tool_call_id, content)])
            }
            Message::Assistant { content, tool_calls, .. } => {
                let mut blocks = text(content);
                blocks.extend(tool_calls.iter().map(call));
                say("assistant", blocks);
                let answered = answered(&messages[at + 1..]);
                let open = tool_calls.iter().filter(|call| !answered.contains(&call.id.as_str()));
                if at + 1 < messages.len() {
                    say("user", open.map(|call| result(&call.id, NOT_MADE)).collect());
                }
            }
        }
    }
    let turn = |(role, blocks)| json!({ "role": role, "content": blocks });
    turns.into_iter().map(turn).collect()
}

/// The calls that the results right behind an answer belong to.
fn answered(behind: &[Message]) -> Vec<&str> {
    behind
        .iter()
        .map_while(|message| match message {
            Message::Tool { tool_call_id, .. } => Some(tool_call_id.as_str()),
            _ => None,
        })
        .collect()
}

/// A text, which may not be empty there.
fn text(content: &str) -> Vec<Json> {
    if content.trim().is_empty() {
        return Vec::new();
    }
    vec![json!({ "type": "text", "text": content })]
}

fn call(call: &ToolCall) -> Json {
    // Only objects may be sent: broken arguments go back as one that holds what the model wrote.
    let input = match &call.arguments {
        object @ Json::Object(_) => object.clone(),
        other => json!({ "arguments": other }),
    };
    json!({ "type": "tool_use", "id": id(&call.id), "name": call.name, "input": input })
}

fn result(call: &str, content: &str) -> Json {
    json!({ "type": "tool_result", "tool_use_id": id(call), "content": content })
}

/// An id with the characters that are allowed there.
fn id(given: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    given.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// An answer as far as it came.
#[derive(Default)]
pub(super) struct Gathered {
    blocks: Vec<Block>,
    stop: Option<String>,
    input: u64,
    output: u64,
    told_input: bool,
    told_output: bool,
    begun: bool,
    done: bool,
}

/// A block of an answer.
struct Block {
    index: u64,
    kind: Kind,
    /// Its text; a call's arguments as they are written.
    text: String,
}

enum Kind {
    Text,
    Thinking,
    Call {
        id: String,
        name: String,
        /// Arguments that came whole.
        input: Json,
    },
    /// Something that was not asked for.
    Other,
}

impl Gathered {
    /// Takes a whole message, as servers send it that do not stream.
    fn whole(&mut self, message: &Map<String, Json>) {
        self.begun = true;
        let blocks = message.get("content").and_then(Json::as_array).into_iter().flatten();
        for (index, block) in blocks.enumerate() {
            self.open(index as u64, block);
        }
        self.counted(message.get("usage"));
        self.stopped(message);
        self.done = true;
    }

    fn open(&mut self, index: u64, block: &Json) {
        let text = |name: &str| block.get(name).and_then(Json::as_str).unwrap_or_default();
        let (kind, text) = match text("type") {
            "text" => (Kind::Text, text("text").to_string()),
            "thinking" => (Kind::Thinking, text("thinking").to_string()),
            "tool_use" => {
                let input = block.get("input").cloned().unwrap_or(Json::Null);
                let (id, name) = (text("id").to_string(), text("name").to_string());
                (Kind::Call { id, name, input }, String::new())
            }
            _ => (Kind::Other, String::new()),
        };
        self.blocks.push(Block { index, kind, text });
    }

    fn more(&mut self, index: u64, delta: &Json) {
        let text = |name: &str| delta.get(name).and_then(Json::as_str);
        let piece = match text("type") {
            Some("text_delta") => text("text"),
            Some("thinking_delta") => text("thinking"),
            Some("input_json_delta") => text("partial_json"),
            _ => None,
        };
        let block = self.blocks.iter_mut().rfind(|block| block.index == index);
        if let (Some(block), Some(piece)) = (block, piece) {
            block.text.push_str(piece);
        }
    }

    /// Tokens that were read are told in parts: those that a cache had, and the others.
    fn counted(&mut self, usage: Option<&Json>) {
        let Some(usage) = usage.and_then(Json::as_object) else { return };
        let count = |name: &str| usage.get(name).and_then(tokens);
        if let Some(plain) = count("input_tokens") {
            let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
            let cached: u64 = cached.into_iter().filter_map(count).sum();
            self.input = self.input.max(plain.saturating_add(cached));
            self.told_input = true;
        }
        if let Some(output) = count("output_tokens") {
            self.output = output;
            self.told_output = true;
        }
    }

    fn stopped(&mut self, message: &Map<String, Json>) {
        if let Some(stop) = message.get("stop_reason").and_then(Json::as_str) {
            self.stop = Some(stop.to_string());
        }
    }
}

impl Reading for Gathered {
    fn take(&mut self, data: &[u8]) -> Result<(), Wrong> {
        let data = data.trim_ascii();
        if self.done || data.is_empty() {
            return Ok(());
        }
        let json: Json =
            serde_json::from_slice(data).map_err(|err| Wrong::Json(err.to_string()))?;
        let Json::Object(event) = &json else {
            return Err(Wrong::Json("it is no JSON object".to_string()));
        };
        let index = event.get("index").and_then(Json::as_u64).unwrap_or(0);
        match event.get("type").and_then(Json::as_str) {
            Some("message") => self.whole(event),
            Some("message_start") => {
                self.begun = true;
                self.counted(event.get("message").and_then(|message| message.get("usage")));
            }
            Some("content_block_start") => {
                self.begun = true;
                self.open(index, event.get("content_block").unwrap_or(&Json::Null));
            }
            Some("content_block_delta") => {
                self.more(index, event.get("delta").unwrap_or(&Json::Null));
            }
            Some("message_delta") => {
                if let Some(Json::Object(delta)) = event.get("delta") {
                    self.stopped(delta);
                }
                self.counted(event.get("usage"));
            }
            Some("message_stop") => self.done = true,
            Some("error") => {
                return Err(Wrong::Error(Said::of(event.get("error").unwrap_or(&json))));
            }
            // Pings, ends of blocks, and what may come to be: the API asks to pass over it.
            Some(_) => {}
            None if event.contains_key("error") => {
                return Err(Wrong::Error(Said::of(&json["error"])));
            }
            None => return Err(Wrong::Json("it has no `type`".to_string())),
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn has_begun(&self) -> bool {
        self.begun
    }

    fn answer(
        self: Box<Self>,
        hidden: &dyn Fn(&str) -> String,
    ) -> Result<(Answer, Option<Usage>), ModelError> {
        if !self.begun {
            return Err(ModelError::Unavailable("its answer holds no message".to_string()));
        }
        let (mut content, mut reasoning, mut calls) = (String::new(), String::new(), Vec::new());
        for block in self.blocks {
            match block.kind {
                Kind::Text => content.push_str(&hidden(&block.text)),
                Kind::Thinking => reasoning.push_str(&hidden(&block.text)),
                Kind::Call { id, name, input } => {
                    let written = hidden(&block.text);
                    let arguments = match serde_json::from_str(&written) {
                        Ok(object @ Json::Object(_)) if large_integer(&written).is_none() => object,
                        _ if !written.trim().is_empty() => Json::String(written),
                        _ if input.is_object() => input,
                        _ => json!({}),
                    };
                    calls.push(ToolCall { id, name, arguments });
                }
                Kind::Other => {}
            }
        }
        let finish = match self.stop.as_deref() {
            Some("refusal") => {
                let message = "it refuses to go on with this conversation".to_string();
                return Err(ModelError::Refused { message, output: content });
            }
            Some("max_tokens") => Finish::Length,
            Some("model_context_window_exceeded") => Finish::Context,
            None if !self.done => {
                let why = "its answer broke off in the middle: the connection was closed";
                return Err(ModelError::Unavailable(why.to_string()));
            }
            _ if calls.is_empty() => Finish::Stop,
            _ => Finish::ToolCalls,
        };
        let usage = Usage { input: self.input, output: self.output };
        let answer = Answer { content, reasoning, tool_calls: calls, finish, usage };
        Ok((answer, (self.told_input && self.told_output).then_some(usage)))
    }
}
