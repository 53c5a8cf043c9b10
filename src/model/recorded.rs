//! A model whose answers are kept: what was asked once is not asked, or paid, again.
//!
//! An episode asks many times before it is a result. When it breaks off (the sandbox died, the run
//! was stopped), the next attempt begins at its first question, and hears what was said before: the
//! key is made of the model's name and settings, the whole conversation, the tools and the sampling
//! settings with their seed, and so of trial and step. Bad answers are answers: they are kept too.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::engine::Journal;
use crate::lang::Value;
use crate::store::{Digest, KeyHasher};

use super::{Answer, Model, ModelError, Request, Tokens};

/// What receipts of answers say in the place of an operator.
const OPERATOR: &str = "model.answer";

/// A model with a journal.
pub struct Recorded {
    inner: Arc<dyn Model>,
    /// The model as the program says it: name and settings.
    model: Digest,
    journal: Journal,
}

/// What is kept: an answer, and its tokens where they are known.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    answer: Answer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
}

impl Recorded {
    /// Keeps what `inner` answers in `journal`; `model` is the value that names it in the program.
    pub fn new(inner: Arc<dyn Model>, model: &Value, journal: Journal) -> Recorded {
        Recorded { inner, model: model.digest(), journal }
    }

    async fn heard(&self, request: &Request) -> Result<Kept, ModelError> {
        let asked = |json: serde_json::Result<Vec<u8>>| {
            json.map(|bytes| Digest::of(&bytes))
                .map_err(|err| ModelError::Unavailable(format!("a request is no JSON: {err}")))
        };
        let parts = vec![
            ("messages".to_string(), asked(serde_json::to_vec(&request.messages))?),
            ("model".to_string(), self.model),
            ("settings".to_string(), asked(serde_json::to_vec(&request.settings))?),
            ("tools".to_string(), asked(serde_json::to_vec(&request.tools))?),
        ];
        let mut hasher = KeyHasher::new("claw answer 1");
        for (_, part) in &parts {
            hasher.digest(part);
        }
        let key = hasher.finish();
        let broken = |what: &str, err: &dyn std::fmt::Display| {
            ModelError::Unavailable(format!("{what} a recorded answer: {err}"))
        };
        let found = self.journal.find(&key).map_err(|err| broken("reading", &err))?;
        // An answer is kept as its JSON in a text: as a record its numbers might change their form.
        if let Some(Value::Str(text)) = &found
            && let Ok(kept) = serde_json::from_str(text)
        {
            return Ok(kept);
        }
        let began = Instant::now();
        let (answer, tokens) = self.inner.answer_in_tokens(request).await?;
        let kept = Kept { answer, tokens };
        let text = serde_json::to_string(&kept).map_err(|err| broken("keeping", &err))?;
        let took_ms = began.elapsed().as_millis() as u64;
        self.journal
            .keep(key, OPERATOR, parts, &Value::Str(text), took_ms)
            .map_err(|err| broken("keeping", &err))?;
        Ok(kept)
    }
}

impl Model for Recorded {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        Box::pin(async move { Ok(self.heard(request).await?.answer) })
    }

    fn answer_in_tokens<'a>(
        &'a self,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<(Answer, Option<Tokens>), ModelError>> {
        Box::pin(async move {
            let Kept { answer, tokens } = self.heard(request).await?;
            Ok((answer, tokens))
        })
    }
}
