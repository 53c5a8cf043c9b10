//! Chat completions as they go over the line: a request's bytes, and an answer from its pieces.
//!
//! What comes back is read with patience: servers that call themselves compatible leave fields out,
//! send null for them, or send a whole message where pieces were asked for.

use serde_json::{Map, Value as Json, json};

use crate::lang::large_integer;
use crate::model::{Answer, Finish, Message, ModelError, Request, Tokens, ToolCall, Usage};
use crate::project::ModelSettings;

/// The bytes of a request. Its seed has 31 bits: more than that not every server takes.
pub(super) fn body(settings: &ModelSettings, request: &Request) -> Vec<u8> {
    let mut body = json!({
        "model": settings.model,
        "messages": request.messages.iter().map(message).collect::<Vec<_>>(),
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if settings.sampling {
        body["temperature"] = json!(request.settings.temperature);
        body["seed"] = json!(request.settings.seed & 0x7fff_ffff);
    }
    if settings.token_ids {
        body["logprobs"] = json!(true);
        // vLLM's name for it; servers that do not know it pass over it.
        body["return_token_ids"] = json!(true);
    }
    body[&settings.token_field] = json!(request.settings.max_tokens);
    if !request.tools.is_empty() {
        let tool = |tool| json!({ "type": "function", "function": tool });
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    body.to_string().into_bytes()
}

/// A count of tokens, which some servers write as a float.
pub(super) fn tokens(count: &Json) -> Option<u64> {
    let whole = |count: &f64| count.fract() == 0.0 && (0.0..1e15).contains(count);
    count.as_u64().or_else(|| count.as_f64().filter(whole).map(|count| count as u64))
}

fn message(message: &Message) -> Json {
    match message {
        Message::System { content } => json!({ "role": "system", "content": content }),
        Message::User { content } => json!({ "role": "user", "content": content }),
        Message::Tool { tool_call_id, content } => {
            json!({ "role": "tool", "tool_call_id": tool_call_id, "content": content })
        }
        // What it thought is not sent back: most servers want it left out, and some refuse it.
        Message::Assistant { content, tool_calls, .. } if tool_calls.is_empty() => {
            json!({ "role": "assistant", "content": content })
        }
        Message::Assistant { content, tool_calls, .. } => {
            let content = if content.is_empty() { Json::Null } else { json!(content) };
            let calls: Vec<Json> = tool_calls.iter().map(call).collect();
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
    }
}

fn call(call: &ToolCall) -> Json {
    // Servers parse the arguments of earlier calls again, and refuse the whole request for broken
    // ones. So those go back as an object that holds what the model wrote.
    let arguments = match &call.arguments {
        Json::Object(_) => call.arguments.to_string(),
        other => json!({ "arguments": other }).to_string(),
    };
    let function = json!({ "name": call.name, "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

/// A piece of an answer that is none.
pub(super) enum Wrong {
    /// The server tells an error.
    Error(Said),
    /// It is no JSON, or not of the form that it should have.
    Json(String),
}

/// What a server says is wrong.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) message: String,
    /// A word such as `context_length_exceeded`.
    code: String,
    /// The status that it would have had, where an answer had begun already.
    pub(super) status: Option<u16>,
}

impl Said {
    /// Whether the conversation does not fit. There is no one way to say it.
    pub(super) fn is_about_context(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        let words = [
            "context length",
            "context size",
            "context window",
            "prompt is too long",
            "too many tokens",
        ];
        self.code.contains("context") || words.iter().any(|words| message.contains(words))
    }

    pub(super) fn of(error: &Json) -> Said {
        let text = |name: &str| error.get(name).and_then(Json::as_str).unwrap_or_default();
        let message = error.as_str().unwrap_or_else(|| text("message"));
        let code = if text("code").is_empty() { text("type") } else { text("code") };
        let status = error.get("code").or_else(|| error.get("status")).and_then(Json::as_u64);
        Said {
            message: if message.is_empty() { error.to_string() } else { message.to_string() },
            code: code.to_string(),
            status: status.and_then(|status| u16::try_from(status).ok()),
        }
    }
}

/// What the body of an error says: OpenAI's form, its relatives, or any text.
pub(super) fn said(body: &[u8]) -> Said {
    let text = String::from_utf8_lossy(body);
    let Ok(json) = serde_json::from_slice::<Json>(body) else {
        return Said { message: text.into_owned(), ..Said::default() };
    };
    let inner = ["error", "detail"].iter().find_map(|name| json.get(name).filter(|e| !e.is_null()));
    Said::of(inner.unwrap_or(&json))
}

/// An answer that comes in pieces.
pub(super) trait Reading: Send {
    /// Takes a piece: the data of an event, or a whole answer.
    fn take(&mut self, data: &[u8]) -> Result<(), Wrong>;

    /// Whether the server said that this was all.
    fn is_done(&self) -> bool;

    /// Whether any of the answer itself came.
    fn has_begun(&self) -> bool;

    /// The tokens of the answer so far, where the server tells them.
    fn tokens(&self) -> Option<Tokens> {
        None
    }

    /// The answer, when the stream is over; every text goes through `hidden`. With its usage, where
    /// the server tells it.
    fn answer(
        self: Box<Self>,
        hidden: &dyn Fn(&str) -> String,
    ) -> Result<(Answer, Option<Usage>), ModelError>;
}

/// An answer as far as it came.
#[derive(Default)]
pub(super) struct Gathered {
    content: String,
    reasoning: String,
    refusal: String,
    calls: Vec<Call>,
    finish: Option<String>,
    usage: Option<Usage>,
    tokens: Tokens,
    begun: bool,
    done: bool,
}

#[derive(Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Gathered {
    /// What a choice tells of its tokens.
    fn weighed(&mut self, choice: &Json) {
        let ids = choice.get("token_ids").and_then(Json::as_array).into_iter().flatten();
        let ids = ids.filter_map(|id| u32::try_from(id.as_u64()?).ok());
        self.tokens.ids.extend(ids);
        let each = choice.get("logprobs").and_then(|logprobs| logprobs.get("content"));
        let each = each.and_then(Json::as_array).into_iter().flatten();
        let each = each.filter_map(|token| token.get("logprob")?.as_f64());
        self.tokens.log_probs.extend(each);
    }

    fn said(&mut self, said: &Map<String, Json>) {
        let text = |name: &str| said.get(name).and_then(Json::as_str).unwrap_or_default();
        match said.get("content") {
            Some(Json::Array(parts)) => {
                let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
                texts.for_each(|text| self.content.push_str(text));
            }
            _ => self.content.push_str(text("content")),
        }
        // Servers have two names for it; one that sends both sends the same twice.
        let named = ["reasoning_content", "reasoning"];
        let thought = named.map(text).into_iter().find(|text| !text.is_empty());
        self.reasoning.push_str(thought.unwrap_or_default());
        self.refusal.push_str(text("refusal"));
        for call in said.get("tool_calls").and_then(Json::as_array).into_iter().flatten() {
            self.call(call);
        }
    }

    /// A piece of a call. It belongs to the call with its index; some servers send no index, and
    /// some the same one for calls that only their ids tell apart.
    fn call(&mut self, piece: &Json) {
        let text = |of: &Json, name: &str| {
            of.get(name).and_then(Json::as_str).unwrap_or_default().to_string()
        };
        let function = piece.get("function").unwrap_or(&Json::Null);
        let index = piece.get("index").and_then(Json::as_u64);
        let (id, name) = (text(piece, "id"), text(function, "name"));
        let mine = |call: &Call| match index {
            Some(_) => {
                call.index == index && (id.is_empty() || call.id.is_empty() || call.id == id)
            }
            None if id.is_empty() => name.is_empty(),
            None => call.id == id,
        };
        let place = self.calls.iter().rposition(mine).unwrap_or_else(|| {
            self.calls.push(Call { index, ..Call::default() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[place];
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        match function.get("arguments") {
            Some(Json::String(arguments)) => call.arguments.push_str(arguments),
            Some(whole @ Json::Object(_)) => call.arguments = whole.to_string(),
            _ => {}
        }
    }
}

impl Reading for Gathered {
    fn take(&mut self, data: &[u8]) -> Result<(), Wrong> {
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        if self.done || data.is_empty() {
            return Ok(());
        }
        let json: Json =
            serde_json::from_slice(data).map_err(|err| Wrong::Json(err.to_string()))?;
        let Json::Object(piece) = &json else {
            return Err(Wrong::Json("it is no JSON object".to_string()));
        };
        if let Some(error) = piece.get("error").filter(|error| !error.is_null()) {
            return Err(Wrong::Error(Said::of(error)));
        }
        if let Some(usage) = piece.get("usage").and_then(Json::as_object) {
            let count = |name: &str| usage.get(name).and_then(tokens);
            // Half of it says nothing of what the answer cost.
            if let (Some(input), Some(output)) =
                (count("prompt_tokens"), count("completion_tokens"))
            {
                self.usage = Some(Usage { input, output });
            }
        }
        let choices = piece.get("choices").and_then(Json::as_array);
        let first = |choice: &&Json| choice.get("index").and_then(Json::as_u64).unwrap_or(0) == 0;
        for choice in choices.into_iter().flatten().filter(first) {
            self.begun = true;
            if let Some(Json::Object(said)) = choice.get("delta").or_else(|| choice.get("message"))
            {
                self.said(said);
            }
            self.weighed(choice);
            if let Some(finish) = choice.get("finish_reason").and_then(Json::as_str) {
                self.finish = Some(finish.to_string());
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn tokens(&self) -> Option<Tokens> {
        (self.tokens != Tokens::default()).then(|| self.tokens.clone())
    }

    fn has_begun(&self) -> bool {
        self.begun
    }

    fn answer(
        self: Box<Self>,
        hidden: &dyn Fn(&str) -> String,
    ) -> Result<(Answer, Option<Usage>), ModelError> {
        if !self.begun {
            return Err(ModelError::Unavailable("its answer holds no choice".to_string()));
        }
        let content = hidden(&self.content);
        let refused = |message: &str, output: String| {
            Err(ModelError::Refused { message: message.to_string(), output })
        };
        if self.finish.as_deref() == Some("content_filter") {
            return refused("a content filter stopped its answer", content);
        }
        if content.is_empty() && self.calls.is_empty() && !self.refusal.is_empty() {
            let why = hidden(&self.refusal);
            return refused(&format!("it refuses: {why}"), why.clone());
        }
        let finish = match self.finish.as_deref() {
            Some("length") => Finish::Length,
            None if !self.done => {
                let why = "its answer broke off in the middle: the connection was closed";
                return Err(ModelError::Unavailable(why.to_string()));
            }
            _ if self.calls.is_empty() => Finish::Stop,
            _ => Finish::ToolCalls,
        };
        let tool_call = |call: Call| {
            let written = hidden(&call.arguments);
            let arguments = match serde_json::from_str(&written) {
                // Numbers that would lose digits are kept as they are written.
                Ok(object @ Json::Object(_)) if large_integer(&written).is_none() => object,
                _ if written.trim().is_empty() => json!({}),
                _ => Json::String(written),
            };
            ToolCall { id: hidden(&call.id), name: hidden(&call.name), arguments }
        };
        let answer = Answer {
            content,
            reasoning: hidden(&self.reasoning),
            tool_calls: self.calls.into_iter().map(tool_call).collect(),
            finish,
            usage: self.usage.unwrap_or_default(),
        };
        Ok((answer, self.usage))
    }
}
