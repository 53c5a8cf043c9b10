//! Agents from outside: programs that bring a loop and tools of their own and are run as they are.
//!
//! ```text
//!  sandbox                                    │ the program
//!  agent ──▶ 127.0.0.1:7411 ──(socket)────────┼──▶ recording endpoint ──▶ model
//!    └──▶ /workspace                          │         └──▶ transcript ──▶ trajectory
//! ```
//!
//! Such an agent gets a task, a workspace and the address of the recording endpoint
//! ([`crate::model::endpoint`]); it has no other network. The endpoint's socket listens inside of the
//! sandbox and is accepted on outside, so that nothing has to be opened. What the agent says to its
//! model becomes the trajectory. When it ends, or must, everything it started is killed and its
//! workspace is taken out, as after any episode.

mod openclaw;
mod outing;

pub use openclaw::OpenClaw;
pub use outing::{Outing, outing};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lang::Value;
use crate::model::endpoint::{Allowance, Branch};
use crate::model::{Tokens, ToolSchema};
use crate::sandbox::WORKSPACE;
use crate::store::Digest;

/// An agent from outside, as a program declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideAgent {
    /// What is started.
    pub program: Outsider,
    /// Answers, tokens of one answer, tokens of a conversation, tokens of all answers.
    pub allowance: Allowance,
    /// Wall time in milliseconds.
    pub time_ms: u64,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outsider {
    /// Any command.
    Command {
        /// For `sh -c`, in the workspace.
        line: String,
        /// Files of its own, in the folder that `CLAW_AGENT` names.
        files: Option<Digest>,
    },
    /// OpenClaw, from its npm package.
    OpenClaw(OpenClaw),
}

/// What a trajectory keeps of an agent from outside, beside its conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outside {
    /// The tools that it offered to the model.
    pub tools: Vec<ToolSchema>,
    /// Which messages of the conversation the model said to this agent; others it was told it had said.
    pub own: Vec<usize>,
    /// The tokens of those messages, where the server behind told them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<usize, Tokens>,
    /// What else the agent talked about with its model, in order.
    pub branches: Vec<Branch>,
    /// Settings that it asked for and that did not reach the model, by name.
    pub ignored: Vec<String>,
    /// How its program ended, such as `code 0`.
    pub exit: String,
    /// The end of what its program printed.
    pub output: String,
}

/// A value that is not an agent from outside.
#[derive(Debug, Clone, thiserror::Error)]
#[error("an agent's `{field}` must be {expected}")]
pub struct BadOutsider {
    field: &'static str,
    expected: &'static str,
}

/// A directory of this machine in which somebody installed an agent, and which sandboxes may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The name in `claw.toml`.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
}

/// What is put beside the workspace, and what is then started.
struct Start {
    /// Files below the agent's own folder.
    files: Vec<Placed>,
    /// For `sh -c`, in the workspace; `CLAW_AGENT` names the agent's own folder.
    line: String,
    /// Variables beside those that every agent gets.
    env: Vec<(String, String)>,
}

/// A file below the agent's own folder.
struct Placed {
    path: String,
    bytes: Vec<u8>,
    executable: bool,
}

/// What an agent is told of the endpoint.
struct Address<'a> {
    /// Its URL up to and with `/v1`.
    url: &'a str,
    token: &'a str,
}

impl OutsideAgent {
    const COMMAND: &'static str = "blackbox/1";
    const OPENCLAW: &'static str = "openclaw/1";

    /// The name of its contract, for the trajectory: `blackbox/1`, `openclaw/2026.4.1`.
    pub fn contract(&self) -> String {
        match &self.program {
            Outsider::Command { .. } => OutsideAgent::COMMAND.to_string(),
            Outsider::OpenClaw(openclaw) => format!("openclaw/{}", openclaw.version),
        }
    }

    /// The value that stands for it in a program: a record with the field `agent`.
    pub fn to_value(&self) -> Value {
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let mut fields = vec![
            ("max_steps", number(self.allowance.answers)),
            ("step_tokens", number(u64::from(self.allowance.answer_tokens))),
            ("context", number(self.allowance.context)),
            ("time", number(self.time_ms)),
        ];
        fields.extend(self.allowance.tokens.map(|tokens| ("tokens", number(tokens))));
        match &self.program {
            Outsider::Command { line, files } => {
                fields.push(("agent", Value::str(OutsideAgent::COMMAND)));
                fields.push(("command", Value::str(line.as_str())));
                fields.extend(files.map(|files| ("files", Value::Dir(files))));
            }
            Outsider::OpenClaw(openclaw) => {
                fields.push(("agent", Value::str(OutsideAgent::OPENCLAW)));
                fields.push(("version", Value::str(openclaw.version.as_str())));
            }
        }
        let fields = fields.into_iter().map(|(name, value)| (name.to_string(), value));
        Value::Record(fields.collect())
    }

    /// Reads what [`OutsideAgent::to_value`] gave; `None` for agents of another kind.
    ///
    /// # Errors
    /// When a field is missing or out of bounds.
    pub fn from_value(value: &Value) -> Result<Option<OutsideAgent>, BadOutsider> {
        let bad = |field, expected| BadOutsider { field, expected };
        let text = |field: &'static str| {
            value.get(field).and_then(Value::as_str).map(str::to_string).ok_or(bad(field, "text"))
        };
        let program = match value.get("agent").and_then(Value::as_str) {
            Some(OutsideAgent::COMMAND) => {
                let files = match value.get("files") {
                    None | Some(Value::Null) => None,
                    Some(Value::Dir(files)) => Some(*files),
                    Some(_) => return Err(bad("files", "a directory")),
                };
                Outsider::Command { line: text("command")?, files }
            }
            Some(OutsideAgent::OPENCLAW) => {
                Outsider::OpenClaw(OpenClaw { version: text("version")? })
            }
            _ => return Ok(None),
        };
        let number = |field: &'static str| {
            let number = value.get(field).and_then(Value::as_int).filter(|number| *number >= 1);
            number.map(|number| number as u64).ok_or(bad(field, "a whole number of at least 1"))
        };
        let answer_tokens = u32::try_from(number("step_tokens")?)
            .map_err(|_| bad("step_tokens", "at most 4294967295"))?;
        let tokens = match value.get("tokens") {
            None | Some(Value::Null) => None,
            Some(_) => Some(number("tokens")?),
        };
        let (answers, context) = (number("max_steps")?, number("context")?);
        let allowance = Allowance { answers, answer_tokens, context, tokens };
        Ok(Some(OutsideAgent { program, allowance, time_ms: number("time")? }))
    }

    /// How it is started; or what is missing.
    fn start(
        &self,
        task: &str,
        address: &Address<'_>,
        installed: &[Installed],
        objects: &dyn crate::store::Objects,
    ) -> Result<Start, String> {
        match &self.program {
            Outsider::Command { line, files } => {
                let files = match files {
                    Some(files) => placed(files, objects)?,
                    None => Vec::new(),
                };
                Ok(Start { files, line: line.clone(), env: Vec::new() })
            }
            Outsider::OpenClaw(openclaw) => openclaw.start(self, task, address, installed),
        }
    }
}

/// The files of a tree. Links are followed nowhere, so they are refused.
fn placed(tree: &Digest, objects: &dyn crate::store::Objects) -> Result<Vec<Placed>, String> {
    use crate::store::Entry;
    let unreadable = |err: &dyn std::fmt::Display| format!("the agent's files: {err}");
    let tree = objects.tree(tree).map_err(|err| unreadable(&err))?;
    let mut files = Vec::new();
    for (path, entry) in &tree.entries {
        match entry {
            Entry::File { digest, executable, .. } => {
                let bytes = objects.get(digest).map_err(|err| unreadable(&err))?.to_vec();
                files.push(Placed { path: path.clone(), bytes, executable: *executable });
            }
            Entry::EmptyDir => {}
            Entry::Link(to) => {
                return Err(format!(
                    "the agent's files: {path} is a link to {to}; put the file itself there"
                ));
            }
        }
    }
    Ok(files)
}

/// Where the workspace is, for an agent that must be told.
fn workspace() -> &'static Path {
    Path::new(WORKSPACE)
}
