//! A model that nobody may ask: what stands behind recorded answers when a run has no network, or the
//! model is there to be replayed alone.

use futures::future::BoxFuture;

use super::{Answer, Message, Model, ModelError, Request};

/// Characters of a message that are shown.
const SHOWN: usize = 200;

/// A model of that name, out of reach.
pub struct Offline {
    name: String,
    why: &'static str,
}

impl Offline {
    /// The model that programs call `name`.
    pub fn new(name: &str) -> Offline {
        Offline { name: name.to_string(), why: "without a network none can be had" }
    }

    /// Likewise, of a model that claw.toml wants replayed.
    pub fn replay(name: &str) -> Offline {
        Offline { name: name.to_string(), why: "its provider is `replay`, which asks nobody" }
    }
}

impl Model for Offline {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        let (who, said) = match request.messages.last() {
            None => ("nobody", ""),
            Some(Message::System { content }) => ("the system", content.as_str()),
            Some(Message::User { content }) => ("the user", content.as_str()),
            Some(Message::Assistant { content, .. }) => ("the model", content.as_str()),
            Some(Message::Tool { content, .. }) => ("a tool", content.as_str()),
        };
        let shown: String = said.chars().take(SHOWN).collect();
        let more = if shown.len() < said.len() { "…" } else { "" };
        let message = format!(
            "no answer is recorded, and {}: `{}` would be asked with {} messages, the last one by \
             {who}: {:?}",
            self.why,
            self.name,
            request.messages.len(),
            shown + more
        );
        Box::pin(async move { Err(ModelError::Offline(message)) })
    }
}
