//! `rollout.blackbox` and `rollout.openclaw`: agents that bring a loop and tools of their own.

use crate::agent::{OpenClaw, OutsideAgent, Outsider};
use crate::engine::{Args, CallError, Context};
use crate::lang::Value;
use crate::model::endpoint::Allowance;

use super::agents::{limit, small_limit, tokens};

/// Any command, with limits.
pub(super) fn blackbox(args: &Args, _: &Context) -> Result<Value, CallError> {
    let line = args.str("command")?.to_string();
    if line.trim().is_empty() {
        return Err(CallError::row("`command` is empty"));
    }
    let files = match args.0.get("files") {
        None | Some(Value::Null) => None,
        Some(Value::Dir(files)) => Some(*files),
        Some(_) => return Err(CallError::row("`files` is not a directory")),
    };
    agent(Outsider::Command { line, files }, args)
}

/// OpenClaw in a version, with limits.
pub(super) fn openclaw(args: &Args, _: &Context) -> Result<Value, CallError> {
    let version = args.str("version")?.trim();
    let number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let numbers = version.split(['.', '-']).take(3);
    if !numbers.clone().all(number) || numbers.count() != 3 {
        return Err(CallError::row(format!(
            "`version` is one of the package's versions, such as 2026.4.1, not `{version}`"
        )));
    }
    agent(Outsider::OpenClaw(OpenClaw { version: version.to_string() }), args)
}

fn agent(program: Outsider, args: &Args) -> Result<Value, CallError> {
    let allowance = Allowance {
        answers: limit(args, "max_steps", 50)?,
        answer_tokens: small_limit(args, "step_tokens", 4_096)?,
        context: limit(args, "context", 131_072)?,
        tokens: tokens(args)?,
    };
    let time_ms = limit(args, "time", 600_000)?;
    Ok(OutsideAgent { program, allowance, time_ms }.to_value())
}
