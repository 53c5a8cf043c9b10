//! Tools of a project's own: commands that a model may call beside a contract's tools.
//!
//! A tool is a shell line of the project, run in the rollout's sandbox. What the model says never
//! becomes a part of that line: the arguments arrive as JSON on standard input, and those that are
//! texts, numbers or truth values in variables beside (`ARG_path`). A file of the project can come
//! along; the variable `TOOL` says where it stands. What the tool prints is what the model sees.
//!
//! The file stands in the sandbox, where the model's commands can reach it. It is looked at before
//! every call and put back when it has been changed.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value as Json;

use crate::agent::contract::{CallLimits, Contract, Manners, ToolResult};
use crate::agent::schema;
use crate::agent::trajectory::plain_json;
use crate::lang::Value;
use crate::model::{ToolCall, ToolSchema};
use crate::sandbox::{Command, Exit, FileError, Outcome, Sandbox, SandboxError};
use crate::store::{Digest, Objects};

use super::claw_2026_4::exec::{printed, signal_name};

/// Where the files of tools stand.
const PLACE: &str = "/tmp/tools";
/// The longest text that is also in a variable, in bytes: the kernel takes no much longer ones.
const LONGEST_VARIABLE: usize = 32 << 10;

/// A tool of a project's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTool {
    /// What the model calls it.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Json,
    /// The shell line.
    pub command: String,
    /// The file that comes along: its content and its name.
    pub file: Option<(Digest, String)>,
}

/// A tool that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTool(String);

impl CommandTool {
    /// The value that stands for it in a program: a record with the field `tool`.
    pub fn to_value(&self) -> Value {
        let file = match &self.file {
            Some((digest, name)) => Value::File { digest: *digest, name: name.clone() },
            None => Value::Null,
        };
        Value::record([
            ("tool", Value::str(self.name.as_str())),
            ("description", Value::str(self.description.as_str())),
            ("parameters", Value::from_json(&self.parameters)),
            ("command", Value::str(self.command.as_str())),
            ("file", file),
        ])
    }

    /// Reads what [`CommandTool::to_value`] gave.
    ///
    /// # Errors
    /// When a field is missing, or no model could use the tool.
    pub fn from_value(value: &Value) -> Result<CommandTool, BadTool> {
        let text = |field: &str| {
            let text = value.get(field).and_then(Value::as_str).map(str::to_string);
            text.ok_or_else(|| BadTool(format!("a tool's `{field}` must be text")))
        };
        let file = match value.get("file") {
            None | Some(Value::Null) => None,
            Some(Value::File { digest, name }) => Some((*digest, name.clone())),
            Some(_) => return Err(BadTool("a tool's `file` must be a file".to_string())),
        };
        let parameters = value.get("parameters").map_or(Json::Null, plain_json);
        let tool = CommandTool {
            name: text("tool")?,
            description: text("description")?,
            parameters,
            command: text("command")?,
            file,
        };
        tool.check()?;
        Ok(tool)
    }

    /// Whether a model could use it.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    pub fn check(&self) -> Result<(), BadTool> {
        let name = &self.name;
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
            return Err(BadTool(format!(
                "`{name}` cannot be a tool's name\n  help: use 1 to 64 of the characters a-z, A-Z, 0-9, \
                 `_` and `-`, as models are used to"
            )));
        }
        let wrong = |what: &str| Err(BadTool(format!("the tool `{name}` {what}")));
        if self.description.trim().is_empty() {
            return wrong("has no description, by which a model would know when to call it");
        }
        if self.command.trim().is_empty() {
            return wrong("has no command");
        }
        if self.parameters.get("type").and_then(Json::as_str) != Some("object") {
            return wrong(
                "has parameters that are no schema of an object\n  help: write `parameters: { type: \
                 \"object\", properties: { path: { type: \"string\" } }, required: [\"path\"] }`",
            );
        }
        let empty = Default::default();
        let properties = match self.parameters.get("properties") {
            None => &empty,
            Some(Json::Object(properties)) => properties,
            Some(_) => return wrong("has `properties` that are no record of schemas"),
        };
        if let Some((odd, _)) = properties.iter().find(|(_, schema)| !schema.is_object()) {
            return wrong(&format!(
                "has a parameter `{odd}` whose schema is no record such as {{ type: \"string\" }}"
            ));
        }
        if let Some(why) = schema::unheld(&self.parameters, "") {
            return wrong(&format!("has parameters that cannot be held: {why}"));
        }
        let required = self.parameters.get("required").and_then(Json::as_array);
        let unknown = required
            .into_iter()
            .flatten()
            .find(|name| name.as_str().is_none_or(|name| !properties.contains_key(name)));
        match unknown {
            Some(odd) => wrong(&format!("requires {odd}, which is none of its `properties`")),
            None => Ok(()),
        }
    }

    fn schema(&self) -> ToolSchema {
        ToolSchema {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: self.parameters.clone(),
        }
    }
}

/// A contract with tools beside its own.
pub(in crate::agent) struct WithOwn {
    contract: Box<dyn Contract>,
    tools: Vec<ToolSchema>,
    own: Vec<Ready>,
}

/// A tool whose file is at hand.
struct Ready {
    tool: CommandTool,
    /// Where its file is to stand, and what is in it.
    file: Option<(String, Arc<[u8]>)>,
}

impl WithOwn {
    /// The contract with these tools after its own.
    pub(in crate::agent) fn new(
        contract: Box<dyn Contract>,
        own: &[CommandTool],
        objects: &dyn Objects,
    ) -> Result<WithOwn, BadTool> {
        let mut tools = contract.tools().to_vec();
        for tool in own {
            if tools.iter().any(|known| known.name == tool.name) {
                return Err(BadTool(format!(
                    "there are two tools named `{}`\n  help: give yours another name, or leave the \
                     contract's out with `only`",
                    tool.name
                )));
            }
            tools.push(tool.schema());
        }
        let ready = |tool: &CommandTool| {
            let file = match &tool.file {
                Some((digest, name)) => {
                    let bytes = objects.get(digest).map_err(|err| {
                        BadTool(format!(
                            "the file of the tool `{}` cannot be read: {err}",
                            tool.name
                        ))
                    })?;
                    Some((format!("{PLACE}/{}/{name}", digest.short()), bytes))
                }
                None => None,
            };
            Ok(Ready { tool: tool.clone(), file })
        };
        let own = own.iter().map(ready).collect::<Result<_, BadTool>>()?;
        Ok(WithOwn { contract, tools, own })
    }
}

impl Ready {
    async fn call(
        &self,
        sandbox: &mut dyn Sandbox,
        call: &ToolCall,
        limits: &CallLimits,
    ) -> Result<ToolResult, SandboxError> {
        let tool = &self.tool;
        let mut arguments = call.arguments.clone();
        let violations = schema::check(&tool.parameters, &mut arguments);
        if !violations.is_empty() {
            let text = schema::validation_failed(&tool.name, &violations, &call.arguments);
            return Ok(ToolResult::error(text));
        }
        let mut env = variables(&arguments);
        if let Some((path, bytes)) = &self.file {
            if let Err(err) = put(sandbox, path, bytes).await {
                return match err {
                    FileError::Sandbox(err) => Err(err),
                    err => {
                        Ok(ToolResult::error(format!("The tool could not be put in place: {err}.")))
                    }
                };
            }
            env.push(("TOOL".to_string(), path.clone()));
        }
        let command = Command {
            argv: vec!["sh".to_string(), "-c".to_string(), tool.command.clone()],
            workdir: None,
            env,
            stdin: arguments.to_string().into_bytes(),
            timeout_ms: limits.exec_ms,
            report: false,
        };
        let outcome = sandbox.exec(&command).await?;
        Ok(told(&outcome, limits.exec_ms))
    }
}

/// Puts a file where it belongs, unless it stands there already as it should.
async fn put(sandbox: &mut dyn Sandbox, path: &str, bytes: &[u8]) -> Result<(), FileError> {
    match sandbox.read(path, bytes.len() + 1).await {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) | Err(FileError::System { .. }) => sandbox.write(path, bytes).await,
        Err(err) => Err(err),
    }
}

/// The arguments that fit into variables, as such. All of them are on standard input.
fn variables(arguments: &Json) -> Vec<(String, String)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fields = arguments.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| name.chars().all(word))
        .filter_map(|(name, value)| {
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                Json::Bool(truth) => truth.to_string(),
                _ => return None,
            };
            let fits = text.len() <= LONGEST_VARIABLE && !text.contains('\0');
            fits.then(|| (format!("ARG_{name}"), text))
        })
        .collect()
}

/// What the model sees: what the tool printed, and how it ended if not with 0.
fn told(outcome: &Outcome, timeout_ms: u64) -> ToolResult {
    let printed = printed(outcome);
    let ended = match outcome.exit {
        Exit::Code(0) if printed.is_empty() => return ToolResult::told("(no output)"),
        Exit::Code(0) => return ToolResult::told(printed),
        Exit::Code(code) => format!("(The tool exited with code {code})"),
        Exit::Signal(signal) => format!("(The tool was ended by {})", signal_name(signal)),
        Exit::TimedOut => {
            format!("(The tool was stopped after {} seconds)", timeout_ms as f64 / 1000.0)
        }
        Exit::OutOfMemory => "(The tool used more memory than there is)".to_string(),
    };
    let text = if printed.is_empty() { ended } else { format!("{printed}\n\n{ended}") };
    ToolResult::error(text)
}

impl Contract for WithOwn {
    fn name(&self) -> &'static str {
        self.contract.name()
    }

    fn tools(&self) -> &[ToolSchema] {
        &self.tools
    }

    fn system(&self) -> String {
        self.contract.system()
    }

    fn ask(&self, task: &str) -> String {
        self.contract.ask(task)
    }

    fn manners(&self) -> Manners {
        self.contract.manners()
    }

    fn call<'a>(
        &'a self,
        sandbox: &'a mut dyn Sandbox,
        call: &'a ToolCall,
        limits: &'a CallLimits,
    ) -> BoxFuture<'a, Result<ToolResult, SandboxError>> {
        match self.own.iter().find(|own| own.tool.name == call.name) {
            Some(own) => Box::pin(own.call(sandbox, call, limits)),
            None => self.contract.call(sandbox, call, limits),
        }
    }
}
