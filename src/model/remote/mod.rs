//! Models behind an endpoint that speaks chat completions (OpenAI's own and every compatible one:
//! vLLM, SGLang, llama.cpp, OpenRouter, …) or Anthropic's messages.
//!
//! ```text
//! request ─▶ budget ─▶ pace ─▶ attempt ──▶ events ──▶ answer
//!                       ▲         │ later?
//!                       └─────────┘
//! ```
//!
//! All calls of a run to one model go through one [`Remote`]: it holds how many requests may be
//! under way and how fast they may follow each other, tries again what may go away, and reserves
//! and settles what a call costs. Answers are streamed, so that a server that is still at work can
//! be told from one that is not; nobody sees a part of an answer. An attempt that failed after its
//! answer had begun is not made again here: those tokens are paid, and whether to pay again is for
//! the stage's policy to say (`retries`).

mod attempt;
mod events;
mod messages;
mod pace;
mod provider;
mod secret;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::Url;

use crate::engine::{Budget, Reservation};
use crate::project::ModelSettings;

use super::{Answer, Model, ModelError, Request, Tokens, Usage};

use attempt::{Attempt, Failed, Heard, Later};
use pace::Pace;
use provider::Provider;
use secret::Secret;

/// The longest pause between two attempts when the server does not ask for one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause that a server may ask for; beyond it the call fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a server may take to be reached.
const CONNECT: Duration = Duration::from_secs(30);

/// One configured model, shared by all calls of a run.
pub struct Remote {
    name: String,
    settings: ModelSettings,
    pace: Pace,
    line: OnceLock<Result<Line, String>>,
}

/// What requests are sent with.
struct Line {
    provider: Provider,
    client: reqwest::Client,
    url: Url,
    key: Option<Secret>,
}

impl Remote {
    /// The model that programs call `name`. Nothing is looked at before the first call.
    pub fn new(name: &str, settings: &ModelSettings) -> Remote {
        Remote {
            name: name.to_string(),
            settings: settings.clone(),
            pace: Pace::new(settings.concurrency, settings.requests_per_minute),
            line: OnceLock::new(),
        }
    }

    /// The model for one call, which may spend so much.
    ///
    /// # Errors
    /// When its key is not in the environment.
    pub fn caller(
        self: &Arc<Remote>,
        budget: Option<Arc<Budget>>,
    ) -> Result<Arc<dyn Model>, ModelError> {
        self.line()?;
        Ok(Arc::new(Caller { remote: self.clone(), budget }))
    }

    fn line(&self) -> Result<&Line, ModelError> {
        let line = self.line.get_or_init(|| {
            let key = match &self.settings.key_env {
                Some(variable) => Some(Secret::of_variable(variable)?),
                None => None,
            };
            let provider = Provider::of(&self.settings);
            let endpoint = self.settings.endpoint.trim_end_matches('/');
            let url = Url::parse(&format!("{endpoint}{}", provider.path()))
                .map_err(|err| format!("its endpoint is no URL: {err}"))?;
            let client = client(&url).map_err(|err| attempt::because(&err))?;
            Ok(Line { provider, client, url, key })
        });
        line.as_ref()
            .map_err(|why| ModelError::Unavailable(format!("the model `{}`: {why}", self.name)))
    }

    async fn answer(
        &self,
        request: &Request,
        budget: Option<&Arc<Budget>>,
    ) -> Result<(Answer, Option<Tokens>), ModelError> {
        let line = self.line()?;
        let body = line.provider.body(&self.settings, request);
        let reserved = match budget {
            Some(budget) => Some(budget.reserve(self.most(&body, request)?).await?),
            None => None,
        };
        let mut tried = 0;
        loop {
            let failed = {
                let _place = self.pace.enter().await;
                let attempt = Attempt {
                    line,
                    settings: &self.settings,
                    body: &body,
                    max_tokens: request.settings.max_tokens,
                };
                match attempt.make().await {
                    Ok(Heard { answer, usage, tokens }) => {
                        self.settle(reserved, usage);
                        return Ok((answer, tokens));
                    }
                    Err(failed) => failed,
                }
            };
            tried += 1;
            let pause = match &failed.later {
                Later::Never => None,
                Later::After(pause) if *pause > PATIENCE => None,
                Later::After(pause) => {
                    // Whoever else is about to ask would hear the same.
                    self.pace.rest(*pause);
                    Some(*pause)
                }
                Later::Backoff => Some(self.backoff(tried, request.settings.seed)),
            };
            match pause {
                Some(pause) if tried <= self.settings.retries => tokio::time::sleep(pause).await,
                _ => {
                    if failed.begun {
                        // What was said before it broke off has its price, and nobody tells it.
                        self.settle(reserved, None);
                    }
                    return Err(self.told(failed, tried));
                }
            }
        }
    }

    /// The error as the caller sees it: which model, after how many attempts.
    fn told(&self, failed: Failed, tried: u32) -> ModelError {
        let again = match (&failed.later, tried) {
            (Later::Never, 0 | 1) => String::new(),
            (Later::After(pause), 0 | 1) => format!(" (it asks to wait {} s)", pause.as_secs()),
            (_, 1) => " (asked once)".to_string(),
            (_, tried) => format!(" (asked {tried} times)"),
        };
        match failed.error {
            ModelError::Unavailable(why) => {
                ModelError::Unavailable(format!("the model `{}`: {why}{again}", self.name))
            }
            ModelError::Refused { message, output } => {
                let message = format!("the model `{}`: {message}{again}", self.name);
                ModelError::Refused { message, output }
            }
            other @ (ModelError::Budget(_) | ModelError::Offline(_)) => other,
        }
    }

    /// The most that a request can cost, in micro-dollars: a token that is read is at least a byte.
    fn most(&self, body: &[u8], request: &Request) -> Result<i64, ModelError> {
        if self.settings.prices.is_none() {
            return Err(ModelError::Unavailable(format!(
                "there is a budget, and claw.toml does not say what the model `{name}` costs\n  \
                 help: add `prices = {{ input = 0.0, output = 0.0 }}` (dollars for a million tokens) \
                 to [models.{name}]",
                name = self.name
            )));
        }
        let output = u64::from(request.settings.max_tokens);
        Ok(self.cost(Usage { input: body.len() as u64, output }))
    }

    /// Micro-dollars: a dollar for a million tokens is a micro-dollar for one.
    fn cost(&self, usage: Usage) -> i64 {
        let prices =
            self.settings.prices.map_or((0.0, 0.0), |prices| (prices.input, prices.output));
        let cost = usage.input as f64 * prices.0 + usage.output as f64 * prices.1;
        cost.ceil() as i64
    }

    /// Settles what a call cost; all that was reserved when its server does not say.
    fn settle(&self, reserved: Option<Reservation>, usage: Option<Usage>) {
        if let Some(reserved) = reserved {
            let cost = usage.map_or(reserved.amount(), |usage| self.cost(usage));
            reserved.settle(cost);
        }
    }

    /// Exponential, with jitter from the call's own seed: calls that failed together come back apart.
    fn backoff(&self, tried: u32, seed: u64) -> Duration {
        let doubled = self.settings.backoff_seconds * f64::from(1_u32 << tried.min(16)) / 2.0;
        let full = doubled.min(LONGEST_PAUSE.as_secs_f64());
        let share = (seed.rotate_left(tried) % 1024) as f64 / 1024.0;
        Duration::from_secs_f64(full * (0.5 + 0.5 * share))
    }
}

/// A remote model as one call uses it.
struct Caller {
    remote: Arc<Remote>,
    budget: Option<Arc<Budget>>,
}

impl Model for Caller {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        Box::pin(async move { Ok(self.answer_in_tokens(request).await?.0) })
    }

    fn answer_in_tokens<'a>(
        &'a self,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<(Answer, Option<Tokens>), ModelError>> {
        Box::pin(self.remote.answer(request, self.budget.as_ref()))
    }
}

fn client(url: &Url) -> reqwest::Result<reqwest::Client> {
    // Only the first call installs it; later ones are told so, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .user_agent(concat!("claw/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        // A redirect might carry prompts to where nobody meant them to go.
        .redirect(reqwest::redirect::Policy::none());
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if local { client.no_proxy().build() } else { client.build() }
}
