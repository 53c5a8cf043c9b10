//! Models: the one door through which every stage, judge and agent asks for text.

mod configured;
pub mod endpoint;
mod offline;
mod recorded;
mod remote;
mod script;

pub use configured::Configured;
pub use offline::Offline;
pub use recorded::Recorded;
pub use remote::Remote;
pub use script::Script;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::engine::{CallError, OverBudget};

/// One message of a conversation, in the shape that chat completions use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum Message {
    /// What the program says about the setting.
    System {
        /// The text.
        content: String,
    },
    /// What the person asks.
    User {
        /// The text.
        content: String,
    },
    /// What the model answered.
    Assistant {
        /// Text, perhaps empty.
        content: String,
        /// What it thought before, where a server tells that apart from the text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reasoning: String,
        /// Tools it wants called, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall>,
    },
    /// What a tool gave back.
    Tool {
        /// The call that it answers.
        tool_call_id: String,
        /// The text that the model sees.
        content: String,
    },
}

/// A model's wish to have a tool called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Names the call within its conversation: `call_1`, `call_2`, …
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Arguments as JSON; a JSON string when the model's text was not an object.
    pub arguments: serde_json::Value,
}

/// A tool as it is offered to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSchema {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: serde_json::Value,
}

/// One question to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Tools on offer.
    pub tools: Vec<ToolSchema>,
    /// Sampling settings that may change the answer: `temperature`, `max_tokens`, `seed`.
    pub settings: Settings,
}

/// Sampling settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// 0 is greedy.
    pub temperature: f64,
    /// Tokens of one answer at most.
    pub max_tokens: u32,
    /// Seed of the sampling, made from the call key and the trial.
    pub seed: u64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done.
    Stop,
    /// The model wants tools called.
    ToolCalls,
    /// It hit `max_tokens`.
    Length,
    /// The conversation no longer fits the model's context.
    Context,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Text, perhaps empty.
    pub content: String,
    /// What it thought before, where a server tells that apart from the text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Tools it wants called, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens.
    pub usage: Usage,
}

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
}

/// The tokens of an answer, as its server told them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    /// Their ids, as they were written; none when the server tells only how likely they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u32>,
    /// The natural logarithm of each one's probability when it was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_probs: Vec<f64>,
}

/// Why a model did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ModelError {
    /// It could not be asked, or its answer was lost: the world's failure, never a score.
    #[error("{0}")]
    Unavailable(String),
    /// It will not answer this request, whoever asks how often: the row's failure.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What it said, whole, as far as it said anything.
        output: String,
    },
    /// Nobody may be asked, and its answer is not recorded.
    #[error("{0}")]
    Offline(String),
    /// The stage may not spend what the answer may cost.
    #[error(transparent)]
    Budget(#[from] OverBudget),
}

impl From<ModelError> for CallError {
    fn from(err: ModelError) -> CallError {
        match err {
            ModelError::Unavailable(message) => CallError::Infrastructure(message),
            ModelError::Refused { message, output } => CallError::Row { message, output },
            ModelError::Offline(message) => CallError::Offline(message),
            ModelError::Budget(over) => CallError::Budget(over),
        }
    }
}

/// Something that answers.
pub trait Model: Send + Sync {
    /// Answers one request.
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>>;

    /// Answers one request, and tells the tokens of the answer where they are known.
    fn answer_in_tokens<'a>(
        &'a self,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<(Answer, Option<Tokens>), ModelError>> {
        Box::pin(async move { Ok((self.answer(request).await?, None)) })
    }
}
