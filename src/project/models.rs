//! `[models.NAME]`: where a model is that programs name, and how it may be used.
//!
//! Nothing here is a secret: a key is named by the environment variable that holds it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A model behind an endpoint; one whose replies stand in a file; or one that is only replayed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The language that the endpoint speaks, or that there is none.
    #[serde(default)]
    pub provider: ProviderName,
    /// Where it is asked: the part of the URL in front of `/chat/completions` or `/messages`.
    #[serde(default)]
    pub endpoint: String,
    /// The name that the endpoint knows it by.
    #[serde(default)]
    pub model: String,
    /// The file with the replies of a script.
    pub replies: Option<PathBuf>,
    /// The environment variable with the key; without one, none is sent.
    pub key_env: Option<String>,
    /// Requests under way at once, of the whole run.
    #[serde(default = "eight")]
    pub concurrency: usize,
    /// Requests begun in a minute, of the whole run, evenly spaced.
    pub requests_per_minute: Option<f64>,
    /// What it costs; needed where a stage has a budget.
    pub prices: Option<Prices>,
    /// Further attempts after an answer that says "later", or none at all.
    #[serde(default = "five")]
    pub retries: u32,
    /// Seconds before the first further attempt; doubled each time, up to a minute.
    #[serde(default = "half")]
    pub backoff_seconds: f64,
    /// Seconds until the answer begins.
    #[serde(default = "five_minutes")]
    pub first_byte_seconds: f64,
    /// Seconds between two pieces of an answer.
    #[serde(default = "a_minute")]
    pub idle_seconds: f64,
    /// The field of a request that bounds the answer: some endpoints want `max_completion_tokens`.
    #[serde(default = "max_tokens")]
    pub token_field: String,
    /// Whether temperature and seed are sent: some models take neither.
    #[serde(default = "yes")]
    pub sampling: bool,
    /// Whether it is asked for the ids and log-probabilities of the tokens of its answers.
    #[serde(default)]
    pub token_ids: bool,
}

/// The language of an endpoint, or who answers in the place of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// OpenAI's chat completions, which most servers speak.
    #[default]
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Replies that stand in a file.
    Script,
    /// Answers that are recorded, and no others.
    Replay,
}

/// Dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of those that it reads.
    pub input: f64,
    /// Of those that it writes.
    pub output: f64,
}

fn yes() -> bool {
    true
}

fn eight() -> usize {
    8
}

fn five() -> u32 {
    5
}

fn half() -> f64 {
    0.5
}

fn five_minutes() -> f64 {
    300.0
}

fn a_minute() -> f64 {
    60.0
}

fn max_tokens() -> String {
    "max_tokens".to_string()
}

/// The longest time that a setting may ask for.
const DAY: f64 = 86_400.0;

impl ModelSettings {
    /// The settings of a model of the project in that folder. Who asks nobody pays nobody.
    pub(super) fn settle(&mut self, root: &Path) {
        if let Some(replies) = &mut self.replies {
            *replies = root.join(&*replies);
        }
        if matches!(self.provider, ProviderName::Script | ProviderName::Replay) {
            self.prices = Some(Prices { input: 0.0, output: 0.0 });
        }
    }

    /// Whether it can be used, as the model `name`; says what is wrong.
    ///
    /// # Errors
    /// When a setting is out of its bounds.
    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        if name.is_empty() || name == "checkpoint" || name.starts_with("builtin/") {
            return Err("the name is claw's own; give it another one".to_string());
        }
        match self.provider {
            ProviderName::OpenAi | ProviderName::Anthropic => self.check_endpoint(),
            ProviderName::Script | ProviderName::Replay => self.check_nobody(),
        }
    }

    /// Whether a model that nobody is asked for has what it needs, and nothing that says otherwise.
    fn check_nobody(&self) -> Result<(), String> {
        let (word, wants) = match self.provider {
            ProviderName::Script => ("script", "a script has `replies`, a file"),
            _ => ("replay", "what was recorded is found by the model's name alone"),
        };
        let given = [
            ("endpoint", !self.endpoint.is_empty()),
            ("model", !self.model.is_empty()),
            ("key_env", self.key_env.is_some()),
            ("replies", self.replies.is_some() && self.provider == ProviderName::Replay),
        ];
        if let Some((setting, _)) = given.iter().find(|(_, given)| *given) {
            return Err(format!("`{setting}` is not for provider = \"{word}\": {wants}"));
        }
        if self.provider == ProviderName::Script && self.replies.is_none() {
            let example = r#"replies = "replies.jsonl""#;
            return Err(format!("a script needs its replies: `{example}`"));
        }
        Ok(())
    }

    /// Whether an endpoint can be asked.
    fn check_endpoint(&self) -> Result<(), String> {
        if self.replies.is_some() {
            return Err("`replies` are for provider = \"script\"".to_string());
        }
        if self.endpoint.is_empty() {
            return Err("`endpoint` is missing: a URL such as http://localhost:8000/v1".into());
        }
        if self.model.is_empty() {
            return Err("`model` is missing: the name that the endpoint knows it by".to_string());
        }
        let rest = ["https://", "http://"].iter().find_map(|way| self.endpoint.strip_prefix(way));
        let rest = rest.ok_or("`endpoint` must begin with https:// or http://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err(
                "`endpoint` must not hold a password; name its variable in `key_env`".into()
            );
        }
        if host.is_empty() || self.endpoint.contains(['?', '#', ' ']) {
            return Err("`endpoint` must be a URL such as http://localhost:8000/v1".to_string());
        }
        if let Some(key) = &self.key_env {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !begins || !key.chars().all(word) {
                // It may be the key itself, by mistake: it is not shown.
                return Err("`key_env` must be the name of an environment variable, such as \
                            OPENAI_API_KEY, not the key"
                    .to_string());
            }
        }
        if self.concurrency == 0 {
            return Err("`concurrency` must be at least 1".to_string());
        }
        if self.requests_per_minute.is_some_and(|rate| !rate.is_finite() || rate < 0.01) {
            return Err("`requests_per_minute` must be more than nothing".to_string());
        }
        let prices = self.prices.iter().flat_map(|prices| [prices.input, prices.output]);
        if prices.into_iter().any(|price| !(0.0..=1e6).contains(&price)) {
            return Err(
                "`prices` are dollars for a million tokens, from 0 to a million".to_string()
            );
        }
        for (setting, seconds) in [
            ("backoff_seconds", self.backoff_seconds),
            ("first_byte_seconds", self.first_byte_seconds),
            ("idle_seconds", self.idle_seconds),
        ] {
            if !(0.001..=DAY).contains(&seconds) {
                return Err(format!("`{setting}` must lie between 0.001 and a day"));
            }
        }
        if !["max_tokens", "max_completion_tokens"].contains(&self.token_field.as_str()) {
            return Err("`token_field` is `max_tokens` or `max_completion_tokens`".to_string());
        }
        if self.provider == ProviderName::Anthropic && self.token_ids {
            return Err("`token_ids` is for chat completions; messages do not tell them".into());
        }
        if self.provider == ProviderName::Anthropic && self.token_field != max_tokens() {
            return Err("`token_field` is for chat completions; messages have `max_tokens`".into());
        }
        Ok(())
    }
}
