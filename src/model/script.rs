//! A model whose replies stand in a file: for trying a pipeline without a key, and for tests.
//!
//! Each line of the file is a reply as JSON. The first one that fits answers: whose `when` stands in
//! what the model was told so far, and whose `turn` is the number of this answer in its conversation.
//!
//! ```text
//! {"when": "rain", "turn": 1, "calls": [{"name": "read", "arguments": {"path": "in.txt"}}]}
//! {"text": "Done."}
//! ```

use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Answer, Finish, Message, Model, ModelError, Request, ToolCall, Usage};

/// Characters of a question that are shown.
const SHOWN: usize = 200;

/// The replies of a file.
pub struct Script {
    path: PathBuf,
    replies: Vec<Reply>,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    /// What must have been said to the model; nothing in particular when it is left out.
    when: Option<String>,
    /// Which answer of its conversation it is, from 1; any when it is left out.
    turn: Option<usize>,
    #[serde(default)]
    text: String,
    /// Tools that are called.
    #[serde(default)]
    calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Map<String, Json>,
}

impl Script {
    /// Reads the replies; says what is wrong, and in which line.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is no reply.
    pub fn read(path: &Path) -> Result<Script, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|err| format!("its replies cannot be read: {shown}: {err}"))?;
        let mut replies = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let reply: Reply = serde_json::from_str(line).map_err(|err| {
                let what = err.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                format!("{shown}:{number}:{}: {what}", err.column())
            })?;
            if reply.text.is_empty() && reply.calls.is_empty() {
                return Err(format!("{shown}:{number}: a reply has a `text`, or `calls`"));
            }
            replies.push(reply);
        }
        Ok(Script { path: path.to_path_buf(), replies })
    }

    /// How many replies there are.
    pub fn count(&self) -> usize {
        self.replies.len()
    }

    fn reply(&self, request: &Request) -> Result<Answer, ModelError> {
        let answered = |message: &&Message| matches!(message, Message::Assistant { .. });
        let turn = 1 + request.messages.iter().filter(answered).count();
        let told: Vec<&str> = request.messages.iter().filter_map(told).collect();
        let fits = |reply: &&Reply| {
            let said = |when: &String| told.iter().any(|text| text.contains(when.as_str()));
            reply.turn.is_none_or(|wanted| wanted == turn) && reply.when.as_ref().is_none_or(said)
        };
        let Some(reply) = self.replies.iter().find(fits) else {
            let last = told.last().copied().unwrap_or_default();
            let shown: String = last.chars().take(SHOWN).collect();
            let more = if shown.len() < last.len() { "…" } else { "" };
            return Err(ModelError::Refused {
                message: format!(
                    "{} has no reply for turn {turn}, in which it was told {:?}\n  help: add a line \
                     such as {{\"turn\": {turn}, \"when\": \"…\", \"text\": \"…\"}}",
                    self.path.display(),
                    shown + more
                ),
                output: String::new(),
            });
        };
        let call = |(number, call): (usize, &Call)| ToolCall {
            id: format!("call_{turn}_{number}"),
            name: call.name.clone(),
            arguments: Json::Object(call.arguments.clone()),
        };
        Ok(Answer {
            content: reply.text.clone(),
            reasoning: String::new(),
            tool_calls: (1..).zip(&reply.calls).map(call).collect(),
            finish: if reply.calls.is_empty() { Finish::Stop } else { Finish::ToolCalls },
            // It reads and writes no tokens, and costs nothing.
            usage: Usage::default(),
        })
    }
}

/// What a message tells the model; nothing for its own.
fn told(message: &Message) -> Option<&str> {
    match message {
        Message::System { content } | Message::User { content } | Message::Tool { content, .. } => {
            Some(content)
        }
        Message::Assistant { .. } => None,
    }
}

impl Model for Script {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        Box::pin(async move { self.reply(request) })
    }
}
