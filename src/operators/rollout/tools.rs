//! `rollout.claw_tools`, `rollout.sandbox_tools` and `rollout.command_tool`: our loop with tools of a
//! contract, or of the project's own.

use crate::agent::{AgentSettings, BadSettings, CommandTool};
use crate::engine::{Args, CallError, Context};
use crate::lang::Value;

use super::agents::{limit, small_limit, tokens};

/// The `claw/2026.4` contract with limits.
pub(super) fn claw(args: &Args, context: &Context) -> Result<Value, CallError> {
    let wrong = |err: BadSettings| CallError::row(err.to_string());
    let only = match args.0.get("only") {
        None | Some(Value::Null) => None,
        Some(Value::List(names)) => Some(
            names
                .iter()
                .map(|name| name.as_str().map(str::to_string))
                .collect::<Option<Vec<String>>>()
                .ok_or_else(|| CallError::row("`only` must be a list of names"))?,
        ),
        Some(_) => return Err(CallError::row("`only` must be a list of names")),
    };
    let own = match args.0.get("own") {
        None => Vec::new(),
        Some(Value::List(own)) => own
            .iter()
            .map(CommandTool::from_value)
            .collect::<Result<_, _>>()
            .map_err(|err| wrong(err.into()))?,
        Some(_) => return Err(CallError::row("`own` must be a list of tools")),
    };
    let settings = AgentSettings {
        contract: "claw/2026.4".to_string(),
        tools: AgentSettings::choose(only.as_deref()).map_err(wrong)?,
        own,
        max_steps: small_limit(args, "max_steps", 12)?,
        step_tokens: small_limit(args, "step_tokens", 512)?,
        context: limit(args, "context", 131_072)?,
        tokens: tokens(args)?,
        exec_ms: limit(args, "exec_time", 20_000)?,
        time_ms: limit(args, "time", 600_000)?,
    };
    // Names that clash are told here, not in every rollout.
    settings.open(&*context.objects).map_err(wrong)?;
    Ok(settings.to_value())
}

/// The `sandbox/0.2` contract with limits.
pub(super) fn sandbox(args: &Args, _: &Context) -> Result<Value, CallError> {
    let said = |name: &str, usual: bool| match args.0.get(name) {
        Some(Value::Bool(said)) => Ok(*said),
        Some(_) => Err(CallError::row(format!("`{name}` must be true or false"))),
        None => Ok(usual),
    };
    let contract = match (said("tools", true)?, said("legacy", false)?) {
        (true, false) => "sandbox/0.2",
        (true, true) => "sandbox/0.2-legacy",
        (false, false) => "sandbox/0.2-vanilla",
        (false, true) => {
            return Err(CallError::row(
                "`legacy` is about tools, and `tools: false` takes them away\n  help: leave \
                 one of the two out",
            ));
        }
    };
    let settings = AgentSettings {
        contract: contract.to_string(),
        tools: None,
        own: Vec::new(),
        max_steps: small_limit(args, "max_steps", 100)?,
        step_tokens: small_limit(args, "step_tokens", 65_536)?,
        context: limit(args, "context", 65_536)?,
        tokens: tokens(args)?,
        exec_ms: limit(args, "exec_time", 120_000)?,
        time_ms: limit(args, "time", 5_400_000)?,
    };
    Ok(settings.to_value())
}

/// A tool of the project's own.
pub(super) fn command(args: &Args, _: &Context) -> Result<Value, CallError> {
    let given = |name: &str| args.0.get(name).cloned().unwrap_or(Value::Null);
    let tool = Value::record([
        ("tool", args.get("name")?.clone()),
        ("description", args.get("description")?.clone()),
        ("parameters", given("parameters")),
        ("command", args.get("command")?.clone()),
        ("file", given("file")),
    ]);
    let tool = CommandTool::from_value(&tool).map_err(|err| CallError::row(err.to_string()))?;
    Ok(tool.to_value())
}
