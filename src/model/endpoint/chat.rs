//! Chat completions from the server's side: a question from its JSON, an answer as JSON or events.

use serde_json::{Map, Value as Json, json};

use crate::model::{Answer, Finish, Message, Request, Settings, ToolCall, ToolSchema};

/// Settings of a question that change what is asked and cannot be handed to every model.
const NOT_PASSED_ON: [&str; 13] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "min_p",
    "modalities",
    "presence_penalty",
    "response_format",
    "top_k",
    "top_logprobs",
    "top_p",
];

/// A question as an agent put it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// What goes to the model; its seed is not yet there.
    pub(super) request: Request,
    /// The temperature that was asked for.
    pub(super) temperature: Option<f64>,
    /// The longest answer that was asked for.
    pub(super) max_tokens: Option<u32>,
    /// Texts in front of which an answer ends.
    pub(super) stop: Vec<String>,
    /// Whether the answer shall come as events.
    pub(super) stream: bool,
    /// Whether a last event shall tell the tokens.
    pub(super) include_usage: bool,
    /// Settings that were asked for and do not reach the model.
    pub(super) ignored: Vec<String>,
}

impl Asked {
    /// Reads the body of a request; or what is wrong with it, and where.
    pub(super) fn of(body: &[u8]) -> Result<Asked, String> {
        let json: Json =
            serde_json::from_slice(body).map_err(|err| format!("the body is no JSON: {err}"))?;
        let Json::Object(fields) = &json else {
            return Err("the body is no JSON object".to_string());
        };
        let present = |name: &&&str| fields.get(**name).is_some_and(is_said);
        let mut ignored: Vec<String> =
            NOT_PASSED_ON.iter().filter(present).map(|name| (*name).to_string()).collect();
        if fields.get("n").and_then(Json::as_u64).is_some_and(|n| n != 1) {
            return Err("`n` must be 1: ask again for another answer".to_string());
        }
        let messages = fields.get("messages").and_then(Json::as_array);
        let messages = messages.ok_or("`messages` is missing or no list")?;
        let messages = messages
            .iter()
            .enumerate()
            .map(|(at, one)| message(one).map_err(|why| format!("`messages[{at}]` {why}")))
            .collect::<Result<Vec<_>, _>>()?;
        if messages.is_empty() {
            return Err("`messages` is empty".to_string());
        }
        let mut tools = match fields.get("tools") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(tools)) => tools
                .iter()
                .enumerate()
                .map(|(at, one)| tool(one).map_err(|why| format!("`tools[{at}]` {why}")))
                .collect::<Result<Vec<_>, _>>()?,
            Some(_) => return Err("`tools` is no list".to_string()),
        };
        match fields.get("tool_choice") {
            None | Some(Json::Null) => {}
            Some(Json::String(choice)) if choice == "auto" => {}
            Some(Json::String(choice)) if choice == "none" => tools.clear(),
            Some(_) => ignored.push("tool_choice".to_string()),
        }
        let length = |name: &str| fields.get(name).and_then(Json::as_u64).filter(|n| *n > 0);
        let max_tokens = length("max_completion_tokens").or_else(|| length("max_tokens"));
        let stop = match fields.get("stop") {
            Some(Json::String(stop)) => vec![stop.clone()],
            Some(Json::Array(stops)) => {
                stops.iter().filter_map(Json::as_str).map(str::to_string).collect()
            }
            _ => Vec::new(),
        };
        let options = fields.get("stream_options");
        let is_true = |value: Option<&Json>| value.and_then(Json::as_bool).unwrap_or(false);
        Ok(Asked {
            request: Request {
                messages,
                tools,
                settings: Settings { temperature: 0.0, max_tokens: 0, seed: 0 },
            },
            temperature: fields.get("temperature").and_then(Json::as_f64),
            max_tokens: max_tokens.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            stop: stop.into_iter().filter(|stop| !stop.is_empty()).collect(),
            stream: is_true(fields.get("stream")),
            include_usage: is_true(options.and_then(|options| options.get("include_usage"))),
            ignored,
        })
    }
}

/// Whether a setting asks for something other than what happens without it.
fn is_said(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => false,
        Json::Number(number) => {
            number.as_f64().is_some_and(|number| number != 0.0 && number != 1.0)
        }
        Json::Array(items) => !items.is_empty() && items != &[json!("text")],
        Json::Object(fields) => fields.get("type") != Some(&json!("text")) && !fields.is_empty(),
        _ => true,
    }
}

fn message(json: &Json) -> Result<Message, String> {
    let text = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or_default().to_string();
    let content = content(json.get("content"))?;
    match json.get("role").and_then(Json::as_str) {
        Some("system" | "developer") => Ok(Message::System { content }),
        Some("user") => Ok(Message::User { content }),
        Some("tool") => Ok(Message::Tool { tool_call_id: text("tool_call_id"), content }),
        Some("assistant") => {
            let calls = match json.get("tool_calls") {
                None | Some(Json::Null) => Vec::new(),
                Some(Json::Array(calls)) => calls.iter().map(call).collect::<Result<_, _>>()?,
                Some(_) => return Err("has `tool_calls` that are no list".to_string()),
            };
            let reasoning = match text("reasoning_content") {
                said if said.is_empty() => text("reasoning"),
                said => said,
            };
            let content = if content.is_empty() { text("refusal") } else { content };
            Ok(Message::Assistant { content, reasoning, tool_calls: calls })
        }
        Some(role) => Err(format!("has the role `{role}`, which nobody here has")),
        None => Err("has no `role`".to_string()),
    }
}

/// The text of a message: a string, or parts, which are lines of it.
fn content(json: Option<&Json>) -> Result<String, String> {
    match json {
        None | Some(Json::Null) => Ok(String::new()),
        Some(Json::String(text)) => Ok(text.clone()),
        Some(Json::Array(parts)) => {
            let texts: Result<Vec<&str>, String> = parts.iter().map(part).collect();
            Ok(texts?.join("\n"))
        }
        Some(_) => Err("has a `content` that is neither text nor parts".to_string()),
    }
}

fn part(part: &Json) -> Result<&str, String> {
    let kind = part.get("type").and_then(Json::as_str).unwrap_or("text");
    let text = ["text", "refusal"].iter().find_map(|name| part.get(*name).and_then(Json::as_str));
    match (kind, text) {
        ("text" | "input_text" | "output_text" | "refusal", Some(text)) => Ok(text),
        _ => Err(format!("has a part of the type `{kind}`; only text is passed on")),
    }
}

fn call(json: &Json) -> Result<ToolCall, String> {
    let function = json.get("function").ok_or("has a call without a `function`")?;
    let name = function.get("name").and_then(Json::as_str).ok_or("has a call without a name")?;
    let arguments = match function.get("arguments") {
        Some(Json::String(written)) => match serde_json::from_str(written) {
            Ok(object @ Json::Object(_)) => object,
            _ if written.trim().is_empty() => json!({}),
            _ => Json::String(written.clone()),
        },
        Some(object @ Json::Object(_)) => object.clone(),
        _ => json!({}),
    };
    let id = json.get("id").and_then(Json::as_str).unwrap_or_default();
    Ok(ToolCall { id: id.to_string(), name: name.to_string(), arguments })
}

fn tool(json: &Json) -> Result<ToolSchema, String> {
    let kind = json.get("type").and_then(Json::as_str).unwrap_or("function");
    let function = match (kind, json.get("function")) {
        ("function", Some(function)) => function,
        _ => return Err(format!("is of the type `{kind}`; only functions are passed on")),
    };
    let text = |name: &str| function.get(name).and_then(Json::as_str).unwrap_or_default();
    if text("name").is_empty() {
        return Err("has no name".to_string());
    }
    let parameters = function.get("parameters").filter(|given| given.is_object()).cloned();
    Ok(ToolSchema {
        name: text("name").to_string(),
        description: text("description").to_string(),
        parameters: parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} })),
    })
}

/// An answer on its way to the agent.
pub(super) struct Told<'a> {
    pub(super) answer: &'a Answer,
    /// Which answer of its session it is; from this comes its id.
    pub(super) number: usize,
    /// The model's name.
    pub(super) model: &'a str,
}

impl Told<'_> {
    /// As one JSON text. It is made at no time: results hold no clock.
    pub(super) fn whole(&self) -> Vec<u8> {
        let mut said = self.said();
        said.insert("role".to_string(), json!("assistant"));
        let choice = json!({
            "index": 0, "message": said, "finish_reason": self.finish(), "logprobs": null,
        });
        let mut body = self.body("chat.completion", json!([choice]));
        body["usage"] = self.usage();
        body.to_string().into_bytes()
    }

    /// As events. The whole answer is there at once, so that its texts are not cut into pieces.
    pub(super) fn events(&self, include_usage: bool) -> Vec<u8> {
        let mut text = String::new();
        let mut event = |body: Json| text.push_str(&format!("data: {body}\n\n"));
        let chunk = |delta: Json, finish: Json| {
            let choice =
                json!({ "index": 0, "delta": delta, "finish_reason": finish, "logprobs": null });
            self.body("chat.completion.chunk", json!([choice]))
        };
        event(chunk(json!({ "role": "assistant", "content": "" }), Json::Null));
        for (name, value) in self.said() {
            match (name.as_str(), value) {
                ("tool_calls", Json::Array(calls)) => {
                    for (index, mut call) in calls.into_iter().enumerate() {
                        call["index"] = json!(index);
                        event(chunk(json!({ "tool_calls": [call] }), Json::Null));
                    }
                }
                (_, Json::Null) => {}
                (name, value) => event(chunk(json!({ name: value }), Json::Null)),
            }
        }
        event(chunk(json!({}), json!(self.finish())));
        if include_usage {
            let mut last = self.body("chat.completion.chunk", json!([]));
            last["usage"] = self.usage();
            event(last);
        }
        text.push_str("data: [DONE]\n\n");
        text.into_bytes()
    }

    fn body(&self, kind: &str, choices: Json) -> Json {
        json!({
            "id": format!("chatcmpl-{}", self.number), "object": kind, "created": 0,
            "model": self.model, "choices": choices,
        })
    }

    fn said(&self) -> Map<String, Json> {
        let mut said = Map::new();
        let content = &self.answer.content;
        let silent = content.is_empty() && !self.answer.tool_calls.is_empty();
        said.insert("content".to_string(), if silent { Json::Null } else { json!(content) });
        if !self.answer.reasoning.is_empty() {
            said.insert("reasoning_content".to_string(), json!(self.answer.reasoning));
        }
        let call = |call: &ToolCall| {
            let arguments = match &call.arguments {
                Json::String(written) => written.clone(),
                object => object.to_string(),
            };
            let function = json!({ "name": call.name, "arguments": arguments });
            json!({ "id": call.id, "type": "function", "function": function })
        };
        if !self.answer.tool_calls.is_empty() {
            let calls = self.answer.tool_calls.iter().map(call).collect();
            said.insert("tool_calls".to_string(), Json::Array(calls));
        }
        said
    }

    fn finish(&self) -> &'static str {
        match self.answer.finish {
            Finish::Stop => "stop",
            Finish::ToolCalls => "tool_calls",
            // An answer that ended because nothing more fits never comes this far.
            Finish::Length | Finish::Context => "length",
        }
    }

    fn usage(&self) -> Json {
        let usage = self.answer.usage;
        json!({
            "prompt_tokens": usage.input, "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
        })
    }
}

/// The body of an error.
pub(super) fn error(kind: &str, code: &str, message: &str) -> Vec<u8> {
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    json!({ "error": error }).to_string().into_bytes()
}

/// The list of the one model that a session has.
pub(super) fn models(name: &str) -> Vec<u8> {
    let model = json!({ "id": name, "object": "model", "created": 0, "owned_by": "claw" });
    json!({ "object": "list", "data": [model] }).to_string().into_bytes()
}
