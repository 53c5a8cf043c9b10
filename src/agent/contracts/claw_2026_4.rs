//! `claw/2026.4`: the coding tools of OpenClaw 2026.4.1.
//!
//! Five tools (`read`, `edit`, `write`, `exec`, `process`) with the parameters, aliases and result
//! texts of that release, so that a model trained here meets the same texts there. An agent may be
//! given only some of them. Without `process`, `exec` behaves as the original does when that tool is
//! denied: it says that it runs the command in the foreground, and does.
//!
//! Two kinds of failure look different to the model. Arguments that break the schema, and tools that
//! do not exist, are marked as errors. Everything else (no such file, text not found) is told as a
//! small JSON text that is *not* marked, as in the original.
//!
//! Beyond the original: bare `oldText` and `newText` beside `path` are taken as one edit (its next
//! release does so too), and `write` may write an empty file.

mod edit;
pub(in crate::agent) mod exec;
mod keys;
mod names;
mod process;
mod read;
mod sessions;

use std::sync::LazyLock;

use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};
use tokio::sync::Mutex;

use crate::agent::contract::{CallLimits, Contract, ToolResult};
use crate::agent::schema;
use crate::model::{ToolCall, ToolSchema};
use crate::sandbox::{FileError, Sandbox, SandboxError};

use sessions::Sessions;

/// The contract, as one episode uses it.
pub(crate) struct ClawTools2026 {
    tools: Vec<ToolSchema>,
    /// What `exec` left running in this episode.
    sessions: Mutex<Sessions>,
}

/// Why a tool could not do what it was asked.
#[derive(Debug)]
enum Fault {
    /// Told to the model.
    Told(String),
    /// The sandbox broke.
    Broken(SandboxError),
}

impl From<SandboxError> for Fault {
    fn from(err: SandboxError) -> Fault {
        Fault::Broken(err)
    }
}

type Arguments = Map<String, Json>;

/// The names under which models write the path.
const PATHS: [&str; 4] = ["path", "file_path", "filePath", "file"];

impl ClawTools2026 {
    pub(crate) const NAME: &'static str = "claw/2026.4";

    /// The tools of agents from before there was a choice.
    pub(crate) const FIRST: [&'static str; 4] = ["read", "edit", "write", "exec"];

    /// For one episode, with those of its tools that `offered` names.
    pub(crate) fn open(offered: &dyn Fn(&str) -> bool) -> ClawTools2026 {
        let tools = all().iter().filter(|tool| offered(&tool.name)).cloned().collect();
        ClawTools2026 { tools, sessions: Mutex::default() }
    }

    /// The names of all its tools, in the order in which models are told of them.
    pub(crate) fn names() -> Vec<&'static str> {
        all().iter().map(|tool| tool.name.as_str()).collect()
    }

    fn offers(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.name == name)
    }

    async fn run(
        &self,
        sandbox: &mut dyn Sandbox,
        call: &ToolCall,
        limits: &CallLimits,
    ) -> Result<ToolResult, SandboxError> {
        let name = call.name.as_str();
        let Some(tool) = self.tools.iter().find(|tool| tool.name == name) else {
            return Ok(ToolResult::error(format!("Tool {name} not found")));
        };
        let mut arguments = call.arguments.clone();
        if name == "edit" {
            edit::gather(&mut arguments);
        }
        let violations = schema::check(&tool.parameters, &mut arguments);
        let arguments = match arguments {
            Json::Object(fields) if violations.is_empty() => fields,
            _ => {
                let text = schema::validation_failed(name, &violations, &call.arguments);
                return Ok(ToolResult::error(text));
            }
        };
        let done = match name {
            "read" => read::read(sandbox, &arguments, limits).await,
            "edit" => edit::edit(sandbox, &arguments, limits).await,
            "write" => write(sandbox, &arguments).await,
            "process" => {
                process::process(sandbox, &mut *self.sessions.lock().await, &arguments).await
            }
            _ => {
                let mut sessions = self.sessions.lock().await;
                let sessions = self.offers("process").then_some(&mut *sessions);
                exec::exec(sandbox, sessions, &arguments, limits).await
            }
        };
        match done {
            Ok(text) => Ok(ToolResult::told(text)),
            Err(Fault::Told(message)) => Ok(ToolResult::told(error_form(name, &message))),
            Err(Fault::Broken(err)) => Err(err),
        }
    }
}

/// The schemas, which are data beside this file.
fn all() -> &'static [ToolSchema] {
    static TOOLS: LazyLock<Vec<ToolSchema>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("claw_2026_4/tools.json"))
            .expect("the schemas are part of the program and a test reads them")
    });
    &TOOLS
}

impl Contract for ClawTools2026 {
    fn name(&self) -> &'static str {
        ClawTools2026::NAME
    }

    fn tools(&self) -> &[ToolSchema] {
        &self.tools
    }

    fn system(&self) -> String {
        include_str!("claw_2026_4/system.txt").trim_end().to_string()
    }

    fn call<'a>(
        &'a self,
        sandbox: &'a mut dyn Sandbox,
        call: &'a ToolCall,
        limits: &'a CallLimits,
    ) -> BoxFuture<'a, Result<ToolResult, SandboxError>> {
        Box::pin(self.run(sandbox, call, limits))
    }
}

async fn write(sandbox: &mut dyn Sandbox, arguments: &Arguments) -> Result<String, Fault> {
    let path = path(arguments)?;
    let content = arguments.get("content").and_then(Json::as_str).unwrap_or_default();
    let full = crate::agent::contract::workspace_path(path);
    sandbox.write(&full, content.as_bytes()).await.map_err(|err| {
        let what = if matches!(&err, FileError::System { code, .. } if code == "ENOTDIR") {
            let folder = full.rsplit_once('/').map_or("/", |(folder, _)| folder);
            format!("mkdir '{folder}'")
        } else {
            format!("open '{full}'")
        };
        system_fault(err, &what)
    })?;
    // The original counts UTF-16 units and calls them bytes.
    Ok(format!("Successfully wrote {} bytes to {path}", content.encode_utf16().count()))
}

/// The path of a call, by whichever name it was written.
fn path(arguments: &Arguments) -> Result<&str, Fault> {
    let text = |name: &&str| arguments.get(*name).and_then(Json::as_str);
    if let Some(path) = PATHS.iter().filter_map(text).find(|path| !path.trim().is_empty()) {
        // Some models write `@notes.txt` for a file that they mention.
        return Ok(path.strip_prefix('@').unwrap_or(path));
    }
    let received: Vec<String> = arguments
        .iter()
        .filter_map(|(name, value)| match value {
            Json::Null => None,
            Json::String(text) if text.trim().is_empty() => Some(format!("{name}=<empty-string>")),
            Json::String(_) => Some(name.clone()),
            Json::Array(_) => Some(format!("{name}=<array>")),
            Json::Object(_) => Some(format!("{name}=<object>")),
            Json::Number(_) => Some(format!("{name}=<number>")),
            Json::Bool(_) => Some(format!("{name}=<boolean>")),
        })
        .collect();
    let hint = match received.is_empty() {
        true => String::new(),
        false => format!(" (received: {})", received.join(", ")),
    };
    Err(Fault::Told(format!(
        "Missing required parameter: path alias{hint}. Supply correct parameters before retrying."
    )))
}

/// The text of a failure that is not marked as an error, with its keys in the original's order.
fn error_form(tool: &str, message: &str) -> String {
    let quote = |text: &str| Json::String(text.to_string()).to_string();
    format!(
        "{{\n  \"status\": \"error\",\n  \"tool\": {},\n  \"error\": {}\n}}",
        quote(tool),
        quote(message)
    )
}

/// A failed file operation in Node's words: `ENOENT: no such file or directory, access '/a'`.
fn system_fault(err: FileError, what: &str) -> Fault {
    match err {
        FileError::Sandbox(err) => Fault::Broken(err),
        FileError::System { code, message } => {
            let words = match code.as_str() {
                "ENOENT" => "no such file or directory",
                "EISDIR" => "illegal operation on a directory",
                "ENOTDIR" => "not a directory",
                "EACCES" => "permission denied",
                "EPERM" => "operation not permitted",
                "ELOOP" => "too many symbolic links encountered",
                "ENAMETOOLONG" => "name too long",
                "ENOSPC" => "no space left on device",
                "EROFS" => "read-only file system",
                "EFBIG" => "file too large",
                _ => message.as_str(),
            };
            Fault::Told(format!("{code}: {words}, {what}"))
        }
    }
}
