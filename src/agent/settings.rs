//! What an `Agent` value says: which contract, and how much an episode may use.

use crate::lang::Value;

use super::contract::UnknownContract;
use super::contract::contract;

/// How a model acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// The tool contract's name.
    pub contract: String,
    /// Answers of the model at most.
    pub max_steps: u32,
    /// Tokens of one answer at most.
    pub step_tokens: u32,
    /// Tokens of the whole conversation at most.
    pub context: u64,
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
}

impl AgentSettings {
    /// The value that stands for it in a program: a record with the field `agent`.
    pub fn to_value(&self) -> Value {
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
        Ok(AgentSettings {
            contract: contract(name)?.name().to_string(),
            max_steps: small("max_steps")?,
            step_tokens: small("step_tokens")?,
            context: number("context")?,
            exec_ms: number("exec_time")?,
            time_ms: number("time")?,
        })
    }
}
