//! Trajectories: what happened in an episode, to the letter.
//!
//! A trajectory's bytes are canonical JSON, written by the same code that writes rows. It holds
//! neither times nor process numbers, so that an episode that is repeated gives the same digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lang::Value;
use crate::model::{Message, Usage};
use crate::store::Digest;

use super::outside::Outside;

/// How an episode ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The model called the contract's tool for being done.
    Submitted,
    /// The model answered without calling a tool.
    Answered,
    /// It used all its steps.
    MaxSteps,
    /// An answer was longer than a step's tokens, or all of them together used what the agent may.
    MaxTokens,
    /// The episode ran past its wall time.
    Timeout,
    /// The conversation no longer fits.
    Context,
    /// The program of an agent from outside ended with an error of its own.
    Failed,
    /// The model could not be asked: infrastructure, never a score.
    ModelError,
    /// The sandbox broke: infrastructure, never a score.
    SandboxError,
}

impl Ending {
    /// Its name, as in the column `ending`.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Submitted => "submitted",
            Ending::Answered => "answered",
            Ending::MaxSteps => "max_steps",
            Ending::MaxTokens => "max_tokens",
            Ending::Timeout => "timeout",
            Ending::Context => "context",
            Ending::Failed => "failed",
            Ending::ModelError => "model_error",
            Ending::SandboxError => "sandbox_error",
        }
    }

    /// Whether the model ended the episode itself.
    pub fn finished(self) -> bool {
        matches!(self, Ending::Submitted | Ending::Answered)
    }

    /// Whether the world failed, not the model.
    pub fn is_infrastructure(self) -> bool {
        matches!(self, Ending::ModelError | Ending::SandboxError)
    }
}

/// One episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// The tool contract, with its version.
    pub contract: String,
    /// The model's name.
    pub model: String,
    /// The settings that may have changed its answers, as the program says them.
    pub settings: serde_json::Value,
    /// The conversation: system, user, then answers and observations by turns.
    pub messages: Vec<Message>,
    /// The calls whose results the contract marked as errors, by id.
    pub errors: Vec<String>,
    /// Tokens of each answer.
    pub usage: Vec<Usage>,
    /// How it ended.
    pub ending: Ending,
    /// The workspace before.
    pub before: Digest,
    /// The workspace after; absent while the sandbox is open.
    pub after: Option<Digest>,
    /// What could not be taken out of the workspace, each with its reason.
    pub refused: Vec<String>,
    /// Versions of what took part, by name.
    pub versions: BTreeMap<String, String>,
    /// What else there is to say of an agent from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
}

/// Bytes that are not a trajectory.
#[derive(Debug, thiserror::Error)]
#[error("not a trajectory: {0}")]
pub struct BadTrajectory(String);

impl Trajectory {
    /// The version of the form that [`Trajectory::encode`] writes.
    pub const FORM: &'static str = "1";

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_value(self).expect("its keys are texts and its numbers finite");
        Value::from_json(&json).encode()
    }

    /// Reads what [`Trajectory::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Trajectory, BadTrajectory> {
        let bad = |what: String| BadTrajectory(what);
        let value = Value::decode(bytes, &|_| None).map_err(|err| bad(err.to_string()))?;
        serde_json::from_value(plain_json(&value)).map_err(|err| bad(err.to_string()))
    }

    /// Answers of the model.
    pub fn steps(&self) -> usize {
        self.usage.len()
    }

    /// Tokens of all answers together.
    pub fn tokens(&self) -> Usage {
        self.usage.iter().fold(Usage::default(), |sum, step| Usage {
            input: sum.input + step.input,
            output: sum.output + step.output,
        })
    }

    /// The conversation to learn from: up to the last answer that the model brought to its end. What
    /// came after it (observations that nobody answered, an answer that was cut off) teaches nothing.
    pub fn training_messages(&self) -> Vec<Message> {
        let is_answer = |message: &Message| matches!(message, Message::Assistant { .. });
        let mut messages = self.messages.clone();
        // One that was cut off is the last thing that was said. An agent from outside is ended between
        // its answers, not in one.
        if self.ending == Ending::MaxTokens
            && self.outside.is_none()
            && messages.last().is_some_and(is_answer)
        {
            messages.pop();
        }
        match messages.iter().rposition(is_answer) {
            Some(last) => messages.truncate(last + 1),
            None => messages.clear(),
        }
        messages
    }
}

/// A value as the JSON that it was made from.
pub(super) fn plain_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::List(items) => Json::Array(items.iter().map(plain_json).collect()),
        Value::Record(fields) => {
            Json::Object(fields.iter().map(|(k, v)| (k.clone(), plain_json(v))).collect())
        }
        other => other.to_json(),
    }
}
