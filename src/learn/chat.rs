//! Conversations to tokens and back, in the form of Hermes and Qwen.
//!
//! ```text
//! <|im_start|>user
//! Count the lines of a.txt.<|im_end|>
//! <|im_start|>assistant
//! <tool_call>
//! {"name":"exec","arguments":{"command":"wc -l < a.txt"}}
//! </tool_call><|im_end|>
//! <|im_start|>user
//! <tool_response>
//! 3
//! </tool_response><|im_end|>
//! <|im_start|>assistant
//! 3<|im_end|>
//! ```
//!
//! Training and answering both go through [`render`], so that a model sees at work what it saw when
//! it learnt. System messages and the schemas of tools are left out: a model this small has no use for
//! pages of instructions that are the same every time, and its tools are in its weights.
//! [`CHAT_TEMPLATE`] says the same to other engines.

use serde::Serialize;
use serde_json::Value;

use super::Tokenizer;
use crate::model::{Message, ToolCall};

/// The form of [`render`] as a Jinja template for `tokenizer_config.json`.
pub const CHAT_TEMPLATE: &str = r#"{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' -}}
{%- elif message.role == 'assistant' -%}
{{- '<|im_start|>assistant\n' -}}
{%- set said = (message.content or '') | trim -%}
{%- generation -%}
{{- said -}}
{%- for call in message.tool_calls or [] -%}
{%- set function = call.function or call -%}
{{- '\n' if said or not loop.first else '' -}}
{%- if function.name -%}
{{- '<tool_call>\n{"name":' + function.name | tojson + ',"arguments":' -}}
{{- function.arguments | tojson(separators=(',', ':'), sort_keys=true) + '}\n</tool_call>' -}}
{%- else -%}
{{- '<tool_call>\n' + function.arguments + '\n</tool_call>' -}}
{%- endif -%}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endgeneration -%}
{{- '\n' -}}
{%- elif message.role == 'tool' -%}
{{- '<|im_start|>user' if loop.first or loop.previtem.role != 'tool' else '' -}}
{{- '\n<tool_response>\n' + message.content + '\n</tool_response>' -}}
{{- '<|im_end|>\n' if loop.last or loop.nextitem.role != 'tool' else '' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- endif -%}"#;

/// A conversation as tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// For each, whether the assistant wrote it: its turns and the mark that ends each of them.
    pub counts: Vec<bool>,
}

/// Tokens in the making: text is gathered until a mark ends it, because tokens are of whole runs.
struct Writer<'a> {
    tokenizer: &'a Tokenizer,
    text: String,
    counts: bool,
    out: Rendered,
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn mark(&mut self, id: u32) {
        self.flush();
        self.put(&[id]);
    }

    /// What follows is (or is not) the assistant's.
    fn turn_to(&mut self, counts: bool) {
        self.flush();
        self.counts = counts;
    }

    fn flush(&mut self) {
        let tokens = self.tokenizer.encode(&self.text);
        self.text.clear();
        self.put(&tokens);
    }

    fn put(&mut self, tokens: &[u32]) {
        self.out.tokens.extend_from_slice(tokens);
        self.out.counts.resize(self.out.tokens.len(), self.counts);
    }
}

/// Writes a conversation as tokens. With `open`, the beginning of an assistant's turn follows: what a
/// model is to continue.
pub fn render(tokenizer: &Tokenizer, messages: &[Message], open: bool) -> Rendered {
    let marks = tokenizer.marks();
    let mut writer =
        Writer { tokenizer, text: String::new(), counts: false, out: Rendered::default() };
    for (index, message) in messages.iter().enumerate() {
        match message {
            Message::System { .. } => {}
            Message::User { content } => {
                writer.mark(marks.turn);
                writer.text("user\n");
                writer.text(content);
                writer.mark(marks.end_of_turn);
                writer.text("\n");
            }
            Message::Assistant { content, tool_calls, .. } => {
                writer.mark(marks.turn);
                writer.text("assistant\n");
                writer.turn_to(true);
                let content = content.trim();
                writer.text(content);
                for (nth, call) in tool_calls.iter().enumerate() {
                    if !content.is_empty() || nth > 0 {
                        writer.text("\n");
                    }
                    writer.mark(marks.call);
                    writer.text(&format!("\n{}\n", call_text(call)));
                    writer.mark(marks.end_of_call);
                }
                writer.mark(marks.end_of_turn);
                writer.turn_to(false);
                writer.text("\n");
            }
            Message::Tool { content, .. } => {
                let is_tool = |m: Option<&Message>| matches!(m, Some(Message::Tool { .. }));
                if !is_tool(index.checked_sub(1).and_then(|i| messages.get(i))) {
                    writer.mark(marks.turn);
                    writer.text("user");
                }
                writer.text("\n");
                writer.mark(marks.response);
                writer.text(&format!("\n{content}\n"));
                writer.mark(marks.end_of_response);
                if !is_tool(messages.get(index + 1)) {
                    writer.mark(marks.end_of_turn);
                    writer.text("\n");
                }
            }
        }
    }
    if open {
        writer.mark(marks.turn);
        writer.text("assistant\n");
    }
    writer.flush();
    writer.out
}

/// A call as its text: compact JSON, the name first, the arguments' keys sorted. A call without a
/// name was broken, and its text is given back as it was.
fn call_text(call: &ToolCall) -> String {
    #[derive(Serialize)]
    struct Written<'a> {
        name: &'a str,
        arguments: &'a Value,
    }
    match &call.arguments {
        Value::String(broken) if call.name.is_empty() => broken.clone(),
        arguments => {
            let written = Written { name: &call.name, arguments: &sorted(arguments) };
            serde_json::to_string(&written).unwrap_or_default()
        }
    }
}

/// The value with the keys of all objects sorted, should a dependency ever turn on the feature of
/// serde_json that keeps them in another order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            Value::Object(pairs.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// A tool call that was read from a model's text; it has no id yet.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedCall {
    /// The tool's name, empty when it could not be made out.
    pub name: String,
    /// The arguments: an object, or a string with the text that should have been one.
    pub arguments: Value,
}

/// Reads what a model wrote: its text, and the calls in it.
///
/// As tolerant as Hermes' parsers are: the text is what stands before the first call, a call that is
/// not closed ends with the text, `parameters` may stand for `arguments`, and arguments may be an
/// object or a string that holds one. A call whose JSON is broken is kept: its arguments are then
/// a string, so that the model can be told.
pub fn parse(text: &str) -> (String, Vec<ParsedCall>) {
    let (said, mut rest) = match text.split_once("<tool_call>") {
        Some((said, rest)) => (said, Some(rest)),
        None => (text, None),
    };
    let mut calls = Vec::new();
    while let Some(open) = rest {
        let (body, after) = match open.split_once("</tool_call>") {
            Some((body, after)) => (body, after.split_once("<tool_call>").map(|(_, next)| next)),
            None => (open, None),
        };
        calls.push(parse_call(body.trim()));
        rest = after;
    }
    (said.trim().to_string(), calls)
}

fn parse_call(body: &str) -> ParsedCall {
    let broken = || ParsedCall { name: String::new(), arguments: body.into() };
    // The first value only: text after it is forgiven.
    let first = serde_json::Deserializer::from_str(body).into_iter::<Value>().next();
    let Some(Ok(Value::Object(mut call))) = first else { return broken() };
    let Some(Value::String(name)) = call.remove("name") else { return broken() };
    if name.is_empty() {
        return broken();
    }
    let arguments = call.remove("arguments").or_else(|| call.remove("parameters"));
    let arguments = match arguments {
        None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
        Some(Value::String(text)) => match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => Value::String(text),
        },
        Some(Value::Object(object)) => Value::Object(object),
        Some(other) => Value::String(other.to_string()),
    };
    ParsedCall { name, arguments }
}
