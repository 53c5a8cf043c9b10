//! What a call heard from outside on its way, kept at once.
//!
//! A long call asks a model many times before it has a result of its own. Each answer is written
//! down as soon as it is there, under a key made of everything that was asked; when the call is
//! made again, after a failure of the machine or in a later run, it hears the same once more, and
//! nothing is asked or paid twice.

use std::sync::Arc;

use crate::lang::Value;
use crate::store::{Digest, KeyHasher, Receipt, Results};

use super::operator::{CallError, read_value};

/// What receipts of a call's usage say in the place of an operator.
pub(super) const USAGE: &str = "model.usage";

/// What one call asked of a model, all its answers together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Answers.
    pub answers: u64,
    /// Tokens that the model read.
    pub input: u64,
    /// Tokens that it wrote.
    pub output: u64,
}

impl Spent {
    fn value(self, operator: &str, model: &str) -> Value {
        let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        Value::record([
            ("operator", Value::str(operator)),
            ("model", Value::str(model)),
            ("answers", count(self.answers)),
            ("tokens_in", count(self.input)),
            ("tokens_out", count(self.output)),
        ])
    }

    /// Reads what [`Journal::spent`] kept: the operator, the model's name, and what was spent.
    pub(super) fn of(value: &Value) -> Option<(&str, &str, Spent)> {
        let text = |name: &str| value.get(name)?.as_str();
        let count = |name: &str| u64::try_from(value.get(name)?.as_int()?).ok();
        let spent = Spent {
            answers: count("answers")?,
            input: count("tokens_in")?,
            output: count("tokens_out")?,
        };
        Some((text("operator")?, text("model")?, spent))
    }
}

/// The journal of a run's calls.
#[derive(Clone)]
pub struct Journal {
    results: Arc<dyn Results>,
    run: String,
}

impl Journal {
    /// A journal in this store, written by the run of that id.
    pub fn new(results: Arc<dyn Results>, run: String) -> Journal {
        Journal { results, run }
    }

    /// What was heard under `key`. An entry whose bytes are gone or damaged counts as absent.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&self, key: &Digest) -> Result<Option<Value>, CallError> {
        let Some(receipt) = self.results.receipt(key)? else {
            return Ok(None);
        };
        Ok(read_value(&*self.results, &receipt.result).ok())
    }

    /// Writes down what the call with this key spent on the model of that name and digest.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(super) fn spent(
        &self,
        call: &Digest,
        operator: &str,
        (name, model): (&str, Digest),
        spent: Spent,
    ) -> Result<(), CallError> {
        let key = KeyHasher::new("claw usage 1").digest(call).finish();
        let parts = vec![("call".to_string(), *call), ("model".to_string(), model)];
        self.keep(key, USAGE, parts, &spent.value(operator, name), 0)
    }

    /// Writes down what was heard under `key`, from whom (`operator`) and in answer to what
    /// (`parts`, labelled).
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep(
        &self,
        key: Digest,
        operator: &str,
        parts: Vec<(String, Digest)>,
        heard: &Value,
        took_ms: u64,
    ) -> Result<(), CallError> {
        let result = self.results.put(&heard.encode())?;
        self.results.keep(&Receipt {
            key,
            operator: operator.to_string(),
            version: 1,
            parts,
            result,
            took_ms,
            run: self.run.clone(),
        })?;
        Ok(())
    }
}
