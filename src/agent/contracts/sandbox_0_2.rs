//! `sandbox/0.2`: the tools, texts and loop of LLM-in-Sandbox 0.2.0.
//!
//! Three tools (`str_replace_editor`, `execute_bash`, `submit`), a prompt around the task, a count of
//! the answers that are left at the end of every message, and a reminder for a model that answers
//! without a call. Schemas, prompts and results are those of that release, so that its published
//! models meet here what they know. What a tool says is data beside this file where it is constant.
//!
//! The original has defects that cost a model its work: it rewrites the whole file for one replaced
//! word, loses tabs, hides most files. Here they are mended, one [`Defect`] each. The contract
//! `sandbox/0.2-legacy` has them all, for those who want to repeat a published number.
//! `sandbox/0.2-vanilla` is the baseline without tools: the task alone, and one answer.

mod editor;
mod files;
mod shell;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::agent::contract::{CallLimits, Contract, Manners, ToolResult};
use crate::model::{ToolCall, ToolSchema};
use crate::sandbox::{Sandbox, SandboxError, WORKSPACE};

/// What the original does wrong, and this contract only where it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// The editor reads and writes files through shell text: every write adds a newline, a text that
    /// starts with `-n` is lost, a path with a space is two, and a missing file is one that holds
    /// `cat`'s complaint.
    ShellFiles,
    /// The editor turns every tab of a file into spaces, and shows none.
    Tabs,
    /// `view` shows nothing but `.py` and `.rst` files, and lists no others.
    PythonOnly,
    /// `create` overwrites, though its description says that it does not.
    Overwrite,
    /// A text that is not text is written as Python would print it, not as JSON.
    PythonText,
    /// A command that ends with 124 by itself is told as one that took too long, and one that did has
    /// printed nothing.
    TimeoutByCode,
    /// Arguments that are not an object are told as a command that printed nothing.
    BlankArguments,
    /// Only the first call of an answer is done.
    FirstCall,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 8] = [
        Defect::ShellFiles,
        Defect::Tabs,
        Defect::PythonOnly,
        Defect::Overwrite,
        Defect::PythonText,
        Defect::TimeoutByCode,
        Defect::BlankArguments,
        Defect::FirstCall,
    ];
}

/// The words around a task, with `{problem_statement}` where it stands; a brace is written twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    system: String,
    before: String,
    /// What follows the task; `None` when the template does not hold it.
    after: Option<String>,
}

/// A prompt template that asks for what nobody has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a prompt has the placeholder `{{{0}}}`, which stands for nothing\n  help: write `{{{{` and `}}}}` for braces of its own"
)]
pub struct BadPrompt(String);

impl Prompts {
    /// From the templates of the system message and of the message with the task.
    ///
    /// # Errors
    /// When a template has another placeholder than `{working_dir}`, `{input_dir}`, `{output_dir}` and
    /// (in `instance`) `{problem_statement}`, or a single brace.
    pub fn new(system: &str, instance: &str) -> Result<Prompts, BadPrompt> {
        let (system, rest) = filled(system)?;
        if rest.is_some() {
            return Err(BadPrompt("problem_statement".to_string()));
        }
        let (before, after) = filled(instance)?;
        Ok(Prompts { system, before, after })
    }

    /// The prompts of the original's `general.yaml`.
    pub fn general() -> Prompts {
        let texts = &*TEXTS;
        Prompts::new(&texts.system, &texts.instance)
            .expect("the prompts are part of the program and a test reads them")
    }
}

/// A template's text up to the task and after it.
fn filled(template: &str) -> Result<(String, Option<String>), BadPrompt> {
    let mut parts = vec![String::new()];
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let text = parts.last_mut().expect("there is always one");
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let end = if brace == "{" { rest.find('}') } else { None };
        let name = &rest[..end.unwrap_or(0)];
        match (end, name) {
            (Some(_), "working_dir") => text.push_str(WORKSPACE),
            (Some(_), "input_dir") => text.push_str(&format!("{WORKSPACE}/input")),
            (Some(_), "output_dir") => text.push_str(&format!("{WORKSPACE}/output")),
            (Some(_), "problem_statement") if parts.len() == 1 => parts.push(String::new()),
            // The original has these two, and always leaves them empty.
            (Some(_), "command_docs" | "demo") => {}
            _ => return Err(BadPrompt(name.to_string())),
        }
        rest = &rest[end.map_or(0, |end| end + 1)..];
    }
    parts.last_mut().expect("there is always one").push_str(rest);
    let mut parts = parts.into_iter();
    Ok((parts.next().unwrap_or_default(), parts.next()))
}

#[derive(Deserialize)]
struct Texts {
    system: String,
    instance: String,
    nudge: String,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    toml::from_str(include_str!("sandbox_0_2/texts.toml"))
        .expect("the texts are part of the program and a test reads them")
});

/// The contract.
#[derive(Debug, Clone)]
pub struct SandboxTools {
    name: &'static str,
    tools: Vec<ToolSchema>,
    prompts: Option<Prompts>,
    defects: BTreeSet<Defect>,
}

impl SandboxTools {
    const PLAIN: &'static str = "sandbox/0.2";
    const LEGACY: &'static str = "sandbox/0.2-legacy";
    const VANILLA: &'static str = "sandbox/0.2-vanilla";

    /// The names under which [`crate::agent::contract`] finds it.
    pub(crate) const NAMES: [&'static str; 3] = [Self::PLAIN, Self::LEGACY, Self::VANILLA];

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<&'static SandboxTools> {
        static PLAIN: LazyLock<SandboxTools> =
            LazyLock::new(|| SandboxTools::new(Prompts::general(), []));
        static LEGACY: LazyLock<SandboxTools> =
            LazyLock::new(|| SandboxTools::new(Prompts::general(), Defect::ALL));
        static VANILLA: LazyLock<SandboxTools> = LazyLock::new(|| SandboxTools {
            name: SandboxTools::VANILLA,
            tools: Vec::new(),
            prompts: None,
            defects: BTreeSet::new(),
        });
        match name {
            Self::PLAIN => Some(&PLAIN),
            Self::LEGACY => Some(&LEGACY),
            Self::VANILLA => Some(&VANILLA),
            _ => None,
        }
    }

    /// With these prompts, and with these of the original's defects.
    pub fn new(prompts: Prompts, defects: impl IntoIterator<Item = Defect>) -> SandboxTools {
        let tools = include_str!("sandbox_0_2/tools.json").replace("{working_dir}", WORKSPACE);
        let tools = serde_json::from_str(&tools)
            .expect("the schemas are part of the program and a test reads them");
        let defects: BTreeSet<Defect> = defects.into_iter().collect();
        let name = if defects.is_empty() { Self::PLAIN } else { Self::LEGACY };
        SandboxTools { name, tools, prompts: Some(prompts), defects }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }

    async fn run(
        &self,
        sandbox: &mut dyn Sandbox,
        call: &ToolCall,
        limits: &CallLimits,
    ) -> Result<ToolResult, SandboxError> {
        let name = call.name.as_str();
        let blank = self.has(Defect::BlankArguments) && !call.arguments.is_object();
        if !self.tools.iter().any(|tool| tool.name == name) && !blank {
            return Ok(ToolResult::error(format!("Unknown action: {name}")));
        }
        let Json::Object(arguments) = &call.arguments else {
            return Ok(self.not_an_object(name, &call.arguments));
        };
        Ok(match name {
            "submit" => ToolResult {
                text: "<<< Finished >>>".to_string(),
                is_error: false,
                submitted: true,
            },
            "execute_bash" => {
                let by_code = self.has(Defect::TimeoutByCode);
                ToolResult::told(shell::execute(sandbox, arguments, limits, by_code).await?)
            }
            _ => {
                let text = editor::edit(sandbox, arguments, limits, &self.defects).await?;
                ToolResult::told(format!("Execution output of \\[str_replace_editor]:\n{text}"))
            }
        })
    }

    /// What a model is told whose arguments are not an object.
    fn not_an_object(&self, name: &str, arguments: &Json) -> ToolResult {
        let is_json = match arguments {
            Json::String(text) => serde_json::from_str::<Json>(text).is_ok(),
            _ => true,
        };
        if self.has(Defect::BlankArguments) && is_json {
            let submitted = name == "submit";
            let text = match name {
                "submit" => "<<< Finished >>>".to_string(),
                "execute_bash" | "bash" => {
                    format!("Exit code: 0\nExecution output of \\[{name}]:\n")
                }
                _ => format!("Execution output of \\[{name}]:\n"),
            };
            return ToolResult { text, is_error: false, submitted };
        }
        let what = if is_json { "a JSON object" } else { "JSON" };
        ToolResult::error(format!(
            "Error: the arguments of {name} are not {what}, so nothing was done."
        ))
    }
}

impl Contract for SandboxTools {
    fn name(&self) -> &'static str {
        self.name
    }

    fn tools(&self) -> &[ToolSchema] {
        &self.tools
    }

    fn system(&self) -> String {
        self.prompts.as_ref().map(|prompts| prompts.system.clone()).unwrap_or_default()
    }

    fn ask(&self, task: &str) -> String {
        match &self.prompts {
            Some(Prompts { before, after: Some(after), .. }) => format!("{before}{task}{after}"),
            Some(Prompts { before, after: None, .. }) if !before.is_empty() => before.clone(),
            _ => task.to_string(),
        }
    }

    fn manners(&self) -> Manners {
        if self.prompts.is_none() {
            return Manners::default();
        }
        Manners {
            countdown: true,
            nudge: Some(&TEXTS.nudge),
            first_call_alone: self.has(Defect::FirstCall),
        }
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
