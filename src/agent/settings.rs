//! What an `Agent` value says: which contract, and how much an episode may use.

use crate::lang::Value;
use crate::store::Objects;

use super::contract::{Contract, UnknownContract, contract, contract_with};
use super::contracts::{BadTool, ClawTools2026, CommandTool, WithOwn};

/// How a model acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// The tool contract's name.
    pub contract: String,
    /// Which of its tools are offered; `None` for all of a contract that has no choice, and for the
    /// four of `claw/2026.4` that were there before its `process`. The latter so that an agent with
    /// those four is the same value as ever, and what was made with it has the same keys and seeds.
    pub tools: Option<Vec<String>>,
    /// Tools of the project's own, beside the contract's.
    pub own: Vec<CommandTool>,
    /// Answers of the model at most.
    pub max_steps: u32,
    /// Tokens of one answer at most.
    pub step_tokens: u32,
    /// Tokens of the whole conversation at most.
    pub context: u64,
    /// Tokens that all answers together may read and write; `None` for as many as it takes.
    pub tokens: Option<u64>,
    /// Wall time of one command in milliseconds.
    pub exec_ms: u64,
    /// Wall time of the whole episode in milliseconds, looked at between calls.
    pub time_ms: u64,
}

/// An `Agent` value that is not one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BadSettings {
    /// A field is missing or is something else.
    #[error("an agent's `{field}` must be {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Its contract is unknown.
    #[error(transparent)]
    Contract(#[from] UnknownContract),
    /// The choice among the contract's tools, or the tools beside them, cannot be used.
    #[error("{0}")]
    Tools(String),
    /// A tool of the project's own cannot be used.
    #[error(transparent)]
    Own(#[from] BadTool),
}

impl AgentSettings {
    /// The value that stands for it in a program: a record with the field `agent`.
    pub fn to_value(&self) -> Value {
        let mut value = self.limits_value();
        if let Value::Record(fields) = &mut value {
            if let Some(tools) = &self.tools {
                fields.insert("tools".to_string(), Value::from(tools.clone()));
            }
            if let Some(tokens) = self.tokens {
                let tokens = Value::Int(i64::try_from(tokens).unwrap_or(i64::MAX));
                fields.insert("tokens".to_string(), tokens);
            }
            if !self.own.is_empty() {
                let own = self.own.iter().map(CommandTool::to_value).collect();
                fields.insert("own".to_string(), Value::List(own));
            }
        }
        value
    }

    fn limits_value(&self) -> Value {
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        Value::record([
            ("agent", Value::str(self.contract.as_str())),
            ("max_steps", number(u64::from(self.max_steps))),
            ("step_tokens", number(u64::from(self.step_tokens))),
            ("context", number(self.context)),
            ("exec_time", number(self.exec_ms)),
            ("time", number(self.time_ms)),
        ])
    }

    /// Reads what [`AgentSettings::to_value`] gave.
    ///
    /// # Errors
    /// When a field is missing or out of bounds, or the contract is unknown.
    pub fn from_value(value: &Value) -> Result<AgentSettings, BadSettings> {
        let bad = |field, expected| BadSettings::Field { field, expected };
        let number = |field: &'static str| {
            let number = value.get(field).and_then(Value::as_int).filter(|number| *number >= 1);
            number.map(|number| number as u64).ok_or(bad(field, "a whole number of at least 1"))
        };
        let small = |field: &'static str| {
            u32::try_from(number(field)?).map_err(|_| bad(field, "at most 4294967295"))
        };
        let name = value.get("agent").and_then(Value::as_str);
        let name = name.ok_or(bad("agent", "the name of a tool contract"))?;
        let tools = match value.get("tools") {
            None => None,
            Some(Value::List(names)) => {
                let name = |name: &Value| name.as_str().map(str::to_string);
                let names: Option<Vec<String>> = names.iter().map(name).collect();
                Some(names.ok_or(bad("tools", "a list of names"))?)
            }
            Some(_) => return Err(bad("tools", "a list of names")),
        };
        let own = match value.get("own") {
            None => Vec::new(),
            Some(Value::List(own)) => {
                own.iter().map(CommandTool::from_value).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(bad("own", "a list of tools")),
        };
        Ok(AgentSettings {
            contract: contract(name)?.name().to_string(),
            tools,
            own,
            max_steps: small("max_steps")?,
            step_tokens: small("step_tokens")?,
            context: number("context")?,
            tokens: value.get("tokens").map(|_| number("tokens")).transpose()?,
            exec_ms: number("exec_time")?,
            time_ms: number("time")?,
        })
    }

    /// The choice that `only` makes among the tools of `claw/2026.4`, in the contract's order, as it
    /// stands in [`AgentSettings::tools`]; all of them when it makes none.
    ///
    /// # Errors
    /// When a name is no tool's, or what is left makes no sense.
    pub fn choose(only: Option<&[String]>) -> Result<Option<Vec<String>>, BadSettings> {
        let all = ClawTools2026::names();
        let known = all.join(", ");
        let wrong = |what: String| Err(BadSettings::Tools(what));
        if let Some(only) = only {
            if let Some(odd) = only.iter().find(|name| !all.contains(&name.as_str())) {
                let near =
                    all.iter().max_by(|a, b| strsim::jaro(a, odd).total_cmp(&strsim::jaro(b, odd)));
                let near = near.filter(|near| strsim::jaro(near, odd) > 0.7);
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                return wrong(format!(
                    "`only` names the tool `{odd}`, which {} does not have\n  help: {near}its tools \
                     are {known}",
                    ClawTools2026::NAME
                ));
            }
            if only.is_empty() {
                return wrong(format!("`only` leaves no tool\n  help: choose among {known}"));
            }
            let has = |name: &str| only.iter().any(|one| one == name);
            if has("process") && !has("exec") {
                return wrong(
                    "`only` has `process` without `exec`, whose commands it looks after\n  help: name \
                     both or neither"
                        .to_string(),
                );
            }
        }
        let chosen = |name: &&str| only.is_none_or(|only| only.iter().any(|one| one == name));
        let chosen: Vec<&str> = all.into_iter().filter(chosen).collect();
        if chosen == ClawTools2026::FIRST {
            return Ok(None);
        }
        Ok(Some(chosen.into_iter().map(str::to_string).collect()))
    }

    /// The tools for one episode.
    ///
    /// # Errors
    /// When a file of the project's own tools is not in `objects`.
    pub fn open(&self, objects: &dyn Objects) -> Result<Box<dyn Contract>, BadSettings> {
        let offered = |name: &str| match &self.tools {
            Some(tools) => tools.iter().any(|tool| tool == name),
            None => self.contract != ClawTools2026::NAME || ClawTools2026::FIRST.contains(&name),
        };
        let contract = contract_with(&self.contract, &offered)?;
        if self.own.is_empty() {
            return Ok(contract);
        }
        Ok(Box::new(WithOwn::new(contract, &self.own, objects)?))
    }
}
