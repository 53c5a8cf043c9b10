//! Which program answers for a model value.
//!
//! A model value is a record with the field `model` (`"builtin/solver"`) and the settings beside it,
//! or a checkpoint: a record with the fields `checkpoint` and `name`. Who can open which of them is
//! put together at start, in a [`Registry`]; agents know only the trait.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Context;
use crate::lang::Value;
use crate::model::{Model, ModelError};

use super::solver::open_solver;

/// Opens models.
pub trait Models: Send + Sync {
    /// Opens the model that `value` names, to act on `task` (null where there is none) for the call
    /// with this context. A sampling model draws from its key.
    ///
    /// # Errors
    /// When nobody knows the model, or its settings or files cannot be used.
    fn open(
        &self,
        value: &Value,
        task: &Value,
        context: &Context,
    ) -> Result<Arc<dyn Model>, ModelError>;
}

/// Opens models of one kind; the arguments are those of [`Models::open`].
pub type Opener =
    dyn Fn(&Value, &Value, &Context) -> Result<Arc<dyn Model>, ModelError> + Send + Sync;

/// The kinds of models that this program knows.
///
/// A name is looked up whole (`builtin/solver`), then by what stands before its first `/` (`openai`).
/// Checkpoints are opened by whoever is registered as `checkpoint`.
#[derive(Default)]
pub struct Registry {
    openers: BTreeMap<String, Box<Opener>>,
}

impl Registry {
    /// A registry that knows `builtin/solver`.
    pub fn builtin() -> Registry {
        Registry::default().with("builtin/solver", Box::new(open_solver))
    }

    /// With one more kind; a later one of the same name takes the place of an earlier one.
    #[must_use]
    pub fn with(mut self, name: &str, opener: Box<Opener>) -> Registry {
        self.openers.insert(name.to_string(), opener);
        self
    }

    fn unknown(&self, name: &str) -> ModelError {
        let known: Vec<&str> = self.openers.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
        ModelError::Unavailable(format!(
            "no provider can open the model `{name}`\n  help: the known ones are: {known}"
        ))
    }
}

impl Models for Registry {
    fn open(
        &self,
        value: &Value,
        task: &Value,
        context: &Context,
    ) -> Result<Arc<dyn Model>, ModelError> {
        let name = if value.get("checkpoint").is_some() {
            "checkpoint"
        } else {
            provider(value).ok_or_else(|| {
                ModelError::Unavailable(
                    "a model is a record with the field `model` or `checkpoint`".to_string(),
                )
            })?
        };
        let kind = name.split_once('/').map_or(name, |(kind, _)| kind);
        let opener = self.openers.get(name).or_else(|| self.openers.get(kind));
        opener.ok_or_else(|| self.unknown(name))?(value, task, context)
    }
}

/// The model's name for rows and reports: its checkpoint's name, or the name in the program with
/// the settings that tell it from its like: `builtin/solver(error_rate: 0.1)`.
pub fn model_name(value: &Value) -> Option<String> {
    if value.get("checkpoint").is_some() {
        return Some(value.get("name")?.as_str()?.to_string());
    }
    let name = provider(value)?;
    let Value::Record(fields) = value else {
        return Some(name.to_string());
    };
    let settings: Vec<String> = fields
        .iter()
        .filter(|(field, _)| *field != "model")
        .map(|(field, value)| {
            format!("{field}: {}", String::from_utf8_lossy(&value.encode()).trim_matches('"'))
        })
        .collect();
    if settings.is_empty() {
        return Some(name.to_string());
    }
    Some(format!("{name}({})", settings.join(", ")))
}

fn provider(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("model").and_then(Value::as_str))
}
