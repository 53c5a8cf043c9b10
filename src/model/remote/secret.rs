//! A key to an endpoint: read from the environment, sent, and shown to nobody.

use std::fmt;

use reqwest::header::HeaderValue;

/// What stands where a key was.
const HIDDEN: &str = "[key]";

/// A key. Printing it shows nothing of it.
pub(super) struct Secret(String);

impl Secret {
    /// The key in an environment variable.
    ///
    /// # Errors
    /// When the variable is not set, is empty, or cannot be sent.
    pub(super) fn of_variable(name: &str) -> Result<Secret, String> {
        let value = std::env::var(name).unwrap_or_default();
        let value = value.trim();
        if value.is_empty() {
            return Err(format!(
                "its key is in the environment variable {name}, which is not set\n  help: set it \
                 before the run: `{name}=… claw run …`"
            ));
        }
        let secret = Secret(value.to_string());
        match secret.header() {
            Some(_) => Ok(secret),
            None => Err(format!("what the environment variable {name} holds cannot be a key")),
        }
    }

    /// The value of the header `Authorization`; `None` when it has characters that no header has.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut header = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Text from a server, without the key: some repeat it in what they say of a bad one.
    pub(super) fn hidden(&self, text: &str) -> String {
        text.replace(&self.0, HIDDEN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}
