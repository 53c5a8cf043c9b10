//! Tool contracts: what a model may call, and what exactly it is told then.

use futures::future::BoxFuture;

use crate::model::{ToolCall, ToolSchema};
use crate::sandbox::{Sandbox, SandboxError, WORKSPACE};

use super::contracts::{ClawTools2026, SandboxTools};

/// What one tool call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The text that the model sees.
    pub text: String,
    /// Whether the contract marks it as an error. (Many failures are told in the text alone.)
    pub is_error: bool,
    /// Whether the call ends the episode: the model says that it is done.
    pub submitted: bool,
}

impl ToolResult {
    /// An answer that is not marked as an error.
    pub fn told(text: impl Into<String>) -> ToolResult {
        ToolResult { text: text.into(), is_error: false, submitted: false }
    }

    /// An answer that is.
    pub fn error(text: impl Into<String>) -> ToolResult {
        ToolResult { text: text.into(), is_error: true, submitted: false }
    }
}

/// What a single tool call may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// Wall time of a command in milliseconds. A model may ask for less, not for more.
    pub exec_ms: u64,
    /// Bytes of a file that one `read` gives before it says where to go on.
    pub read_bytes: usize,
    /// Bytes of the largest file that is read at all.
    pub file_bytes: usize,
}

impl Default for CallLimits {
    fn default() -> CallLimits {
        CallLimits { exec_ms: 20_000, read_bytes: 32 << 10, file_bytes: 16 << 20 }
    }
}

/// How an episode under a contract goes, beside its tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manners {
    /// Before each answer the model is told how many it has left, at the end of the last message.
    pub countdown: bool,
    /// What a model is told that answers without calling a tool. `None` when such an answer is its
    /// last word.
    pub nudge: Option<&'static str>,
    /// Only the first call of an answer is done; nobody answers the others.
    pub first_call_alone: bool,
}

/// A named, versioned set of tools, opened for one episode: what the calls of an episode know of each
/// other (commands that were left running) is kept in it.
pub trait Contract: Send + Sync {
    /// Name and version: `claw/2026.4`. A change of any text that a model sees is a new version.
    fn name(&self) -> &'static str;

    /// The tools, in the order in which a model is told about them.
    fn tools(&self) -> &[ToolSchema];

    /// What the model is told about its setting before the task; nothing when it is empty.
    fn system(&self) -> String;

    /// The words in which a task is put to the model.
    fn ask(&self, task: &str) -> String {
        task.to_string()
    }

    /// How an episode under this contract goes.
    fn manners(&self) -> Manners {
        Manners::default()
    }

    /// Does one call. Whatever the model got wrong is told in the result; an error here means that
    /// the sandbox broke.
    fn call<'a>(
        &'a self,
        sandbox: &'a mut dyn Sandbox,
        call: &'a ToolCall,
        limits: &'a CallLimits,
    ) -> BoxFuture<'a, Result<ToolResult, SandboxError>>;
}

/// A contract that nobody wrote.
#[derive(Debug, Clone, thiserror::Error)]
#[error("there is no tool contract `{0}`; the known ones are: {known}", known = contract_names().join(", "))]
pub struct UnknownContract(pub String);

/// The names of all contracts.
pub fn contract_names() -> Vec<&'static str> {
    let mut names = vec![ClawTools2026::NAME];
    names.extend(SandboxTools::NAMES);
    names
}

/// The contract of this name with all its tools, for one episode.
///
/// # Errors
/// When there is none; the error lists those that exist.
pub fn contract(name: &str) -> Result<Box<dyn Contract>, UnknownContract> {
    contract_with(name, &|_| true)
}

/// The same, with those of its tools that `offered` names. (All, of one that has no choice.)
pub(super) fn contract_with(
    name: &str,
    offered: &dyn Fn(&str) -> bool,
) -> Result<Box<dyn Contract>, UnknownContract> {
    match name {
        ClawTools2026::NAME => Ok(Box::new(ClawTools2026::open(offered))),
        _ => match SandboxTools::named(name) {
            Some(tools) => Ok(Box::new(tools)),
            None => Err(UnknownContract(name.to_string())),
        },
    }
}

/// One that keeps nothing between calls serves any number of episodes.
impl<T: Contract> Contract for &'static T {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn tools(&self) -> &[ToolSchema] {
        (**self).tools()
    }

    fn system(&self) -> String {
        (**self).system()
    }

    fn ask(&self, task: &str) -> String {
        (**self).ask(task)
    }

    fn manners(&self) -> Manners {
        (**self).manners()
    }

    fn call<'a>(
        &'a self,
        sandbox: &'a mut dyn Sandbox,
        call: &'a ToolCall,
        limits: &'a CallLimits,
    ) -> BoxFuture<'a, Result<ToolResult, SandboxError>> {
        (**self).call(sandbox, call, limits)
    }
}

/// A path as a model writes it (absolute, or relative to the workspace), made absolute. `.` and `..`
/// are taken away by their text, as Node's `path.resolve` does, which the messages quote.
pub fn workspace_path(path: &str) -> String {
    let full = if path.starts_with('/') { path.to_string() } else { format!("{WORKSPACE}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in full.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
