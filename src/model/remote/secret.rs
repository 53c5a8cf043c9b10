//! A key to an endpoint: read from the environment, sent, and shown to nobody.

use std::fmt;

use reqwest::header::HeaderValue;

/// What stands where a key was.
const HIDDEN: &str = "[key]";

/// Characters that a key has at least. Shorter ones are words such as `none` and `EMPTY`, which servers
/// at home are given because something must be sent; answers may hold those.
const SECRET: usize = 12;

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
        match secret.header("") {
            Some(_) => Ok(secret),
            None => Err(format!("what the environment variable {name} holds cannot be a key")),
        }
    }

    /// The value of a header that has the key behind `before`; `None` when it has characters that no
    /// header has.
    pub(super) fn header(&self, before: &str) -> Option<HeaderValue> {
        let mut header = HeaderValue::from_str(&format!("{before}{}", self.0)).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Text from a server, without the key: some repeat it in what they say of a bad one.
    pub(super) fn hidden(&self, text: &str) -> String {
        if self.0.len() < SECRET { text.to_string() } else { text.replace(&self.0, HIDDEN) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hidden_and_words_are_not() {
        let key = Secret("sk-0123456789".to_string());
        assert_eq!(key.hidden("a sk-0123456789, b"), "a [key], b");
        assert_eq!(format!("{key:?}"), "[key]");
        assert_eq!(Secret("none".to_string()).hidden("none of them"), "none of them");
        assert!(Secret("two\nlines".to_string()).header("Bearer ").is_none());
    }
}
