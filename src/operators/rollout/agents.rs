//! The operators that say how a model acts: they look at their arguments and give a value that
//! `rollout.run` takes.

use std::sync::Arc;

use futures::future::{BoxFuture, ready};

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;

use super::{outside, tools};

type Work = fn(&Args, &Context) -> Result<Value, CallError>;

/// One way to act.
struct AgentOperator {
    about: About,
    work: Work,
}

/// Every way to act.
pub fn all() -> Vec<Arc<dyn Operator>> {
    let listed: [(&'static str, u32, Work); 5] = [
        ("rollout.blackbox", 1, outside::blackbox),
        // 2: the contract has `process`, and an agent may have some of its tools and others beside.
        ("rollout.claw_tools", 2, tools::claw),
        ("rollout.command_tool", 1, tools::command),
        ("rollout.openclaw", 1, outside::openclaw),
        ("rollout.sandbox_tools", 1, tools::sandbox),
    ];
    let operator = |(name, version, work)| {
        let about = About { name, version, kind: Kind::Pure, pool: Pool::Instant };
        Arc::new(AgentOperator { about, work }) as Arc<dyn Operator>
    };
    listed.map(operator).into()
}

impl Operator for AgentOperator {
    fn about(&self) -> About {
        self.about
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(ready((self.work)(args, context)))
    }
}

/// The limit that a program gives under `name`, or the usual one where it gives none.
pub(super) fn limit(args: &Args, name: &str, usual: u64) -> Result<u64, CallError> {
    if !args.0.contains_key(name) {
        return Ok(usual);
    }
    match args.int(name)? {
        given if given >= 1 => Ok(given as u64),
        given => Err(CallError::row(format!("`{name}` must be at least 1, not {given}"))),
    }
}

/// The limit `tokens`, which need not be there.
///
/// # Errors
/// When it is no whole number of at least 1.
pub(super) fn tokens(args: &Args) -> Result<Option<u64>, CallError> {
    match args.0.get("tokens") {
        None | Some(Value::Null) => Ok(None),
        Some(_) => limit(args, "tokens", 1).map(Some),
    }
}

/// A limit on something that is counted in 32 bits.
pub(super) fn small_limit(args: &Args, name: &str, usual: u32) -> Result<u32, CallError> {
    u32::try_from(limit(args, name, usual.into())?)
        .map_err(|_| CallError::row(format!("`{name}` must be at most {}", u32::MAX)))
}
