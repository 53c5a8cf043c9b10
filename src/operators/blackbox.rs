//! `rollout.blackbox` and `rollout.openclaw`: agents that bring a loop and tools of their own.

use futures::future::BoxFuture;

use crate::agent::{OpenClaw, OutsideAgent, Outsider};
use crate::engine::{Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::model::endpoint::Allowance;

/// `rollout.blackbox`: any command, with limits.
pub struct BlackBox;

/// `rollout.openclaw`: OpenClaw in a version, with limits.
pub struct OpenClawAgent;

/// Limits where a program does not say.
struct Usual {
    max_steps: i64,
    step_tokens: i64,
    context: i64,
    time_ms: i64,
}

const USUAL: Usual =
    Usual { max_steps: 50, step_tokens: 4_096, context: 131_072, time_ms: 600_000 };

fn agent(program: Outsider, args: &Args) -> Result<Value, CallError> {
    let at_least_one = |name: &str, usual: i64| {
        let given = if args.0.contains_key(name) { args.int(name)? } else { usual };
        u64::try_from(given)
            .ok()
            .filter(|given| *given >= 1)
            .ok_or_else(|| CallError::row(format!("`{name}` must be at least 1, not {given}")))
    };
    let step_tokens = at_least_one("step_tokens", USUAL.step_tokens)?;
    let answer_tokens = u32::try_from(step_tokens)
        .map_err(|_| CallError::row(format!("`step_tokens` must be at most {}", u32::MAX)))?;
    let tokens = match args.0.get("tokens") {
        None | Some(Value::Null) => None,
        Some(_) => Some(at_least_one("tokens", 1)?),
    };
    let allowance = Allowance {
        answers: at_least_one("max_steps", USUAL.max_steps)?,
        answer_tokens,
        context: at_least_one("context", USUAL.context)?,
        tokens,
    };
    let time_ms = at_least_one("time", USUAL.time_ms)?;
    Ok(OutsideAgent { program, allowance, time_ms }.to_value())
}

impl BlackBox {
    fn agent(args: &Args) -> Result<Value, CallError> {
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
}

impl Operator for BlackBox {
    fn name(&self) -> &'static str {
        "rollout.blackbox"
    }

    fn version(&self) -> u32 {
        1
    }

    fn kind(&self) -> Kind {
        Kind::Pure
    }

    fn pool(&self) -> Pool {
        Pool::Instant
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        _context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(std::future::ready(BlackBox::agent(args)))
    }
}

impl OpenClawAgent {
    fn agent(args: &Args) -> Result<Value, CallError> {
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
}

impl Operator for OpenClawAgent {
    fn name(&self) -> &'static str {
        "rollout.openclaw"
    }

    fn version(&self) -> u32 {
        1
    }

    fn kind(&self) -> Kind {
        Kind::Pure
    }

    fn pool(&self) -> Pool {
        Pool::Instant
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        _context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(std::future::ready(OpenClawAgent::agent(args)))
    }
}
