//! A model that `claw.toml` names: behind an endpoint, from a file, or from the store alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::engine::Context;
use crate::lang::Value;
use crate::project::{ModelSettings, ProviderName};

use super::{Model, ModelError, Offline, Recorded, Remote, Script};

/// One of `[models.NAME]`, shared by all calls of a run.
pub struct Configured {
    name: String,
    way: Way,
}

type Read = OnceLock<Result<Arc<Script>, String>>;

/// How it answers.
enum Way {
    Endpoint(Arc<Remote>),
    /// From a file, which is read when it is asked first.
    Script(PathBuf, Read),
    /// From what was recorded.
    Replay,
}

impl Configured {
    /// The model that programs call `name`. Nothing is looked at before the first call.
    pub fn new(name: &str, settings: &ModelSettings) -> Configured {
        let way = match settings.provider {
            ProviderName::OpenAi | ProviderName::Anthropic => {
                Way::Endpoint(Arc::new(Remote::new(name, settings)))
            }
            ProviderName::Script => {
                Way::Script(settings.replies.clone().unwrap_or_default(), OnceLock::new())
            }
            ProviderName::Replay => Way::Replay,
        };
        Configured { name: name.to_string(), way }
    }

    /// The model for one call, whose context says what may be spent and where answers are kept;
    /// `value` is what names the model in the program.
    ///
    /// # Errors
    /// When its key is not in the environment (without a network none is needed), its replies cannot
    /// be read, or `value` names another model.
    pub fn open(&self, value: &Value, context: &Context) -> Result<Arc<dyn Model>, ModelError> {
        let named = value.as_str().or_else(|| value.get("model").and_then(Value::as_str));
        if named != Some(&self.name) {
            return Err(ModelError::Unavailable(format!(
                "claw.toml has no [models.\"{}\"]",
                named.unwrap_or_default()
            )));
        }
        let inner: Arc<dyn Model> = match &self.way {
            // What it says is free and at hand: nothing is gained by keeping each answer.
            Way::Script(replies, read) => return self.script(replies, read),
            Way::Replay => Arc::new(Offline::replay(&self.name)),
            Way::Endpoint(_) if context.offline => Arc::new(Offline::new(&self.name)),
            Way::Endpoint(remote) => remote.caller(context.budget.clone())?,
        };
        Ok(match &context.journal {
            Some(journal) => Arc::new(Recorded::new(inner, value, journal.clone())),
            None => inner,
        })
    }

    fn script(&self, replies: &Path, read: &Read) -> Result<Arc<dyn Model>, ModelError> {
        match read.get_or_init(|| Script::read(replies).map(Arc::new)) {
            Ok(script) => Ok(script.clone()),
            Err(why) => Err(ModelError::Unavailable(format!("the model `{}`: {why}", self.name))),
        }
    }
}
