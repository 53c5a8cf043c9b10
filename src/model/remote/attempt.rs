//! One attempt at one request, and what its failure means.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};

use crate::model::{Answer, Finish, ModelError, Tokens, Usage};
use crate::project::ModelSettings;

use super::Line;
use super::events::Events;
use super::wire::{Reading, Said, Wrong, said};

/// Bytes of an answer beside those of its tokens.
const ROOM: usize = 4 << 20;

/// Bytes that one token may take in a stream: an event with all its wrapping.
const TOKEN_BYTES: usize = 4096;

/// How long a body may take to end when all of the answer was said.
const FAREWELL: Duration = Duration::from_millis(200);

/// Bytes of an error's text that are read.
const ERROR_BYTES: usize = 64 << 10;

/// Characters of an error's text that are shown.
const ERROR_SHOWN: usize = 600;

/// One attempt.
pub(super) struct Attempt<'a> {
    pub(super) line: &'a Line,
    pub(super) settings: &'a ModelSettings,
    pub(super) body: &'a [u8],
    pub(super) max_tokens: u32,
}

/// What an attempt gave.
pub(super) struct Heard {
    pub(super) answer: Answer,
    /// Where the server tells it.
    pub(super) usage: Option<Usage>,
    /// Where the server tells them.
    pub(super) tokens: Option<Tokens>,
}

/// An attempt that gave no answer.
pub(super) struct Failed {
    pub(super) error: ModelError,
    pub(super) later: Later,
    /// Whether an answer had begun, which may have to be paid.
    pub(super) begun: bool,
}

/// Whether the same request may do better later.
pub(super) enum Later {
    Never,
    Backoff,
    /// The server says when.
    After(Duration),
}

fn lost(why: String, later: Later) -> Failed {
    Failed { error: ModelError::Unavailable(why), later, begun: false }
}

fn broken_off(why: String) -> Failed {
    Failed { error: ModelError::Unavailable(why), later: Later::Never, begun: true }
}

impl Attempt<'_> {
    /// Asks.
    pub(super) async fn make(&self) -> Result<Heard, Failed> {
        let begins = Instant::now() + Duration::from_secs_f64(self.settings.first_byte_seconds);
        let late = || {
            let seconds = self.settings.first_byte_seconds;
            lost(format!("no answer began within {seconds} s"), Later::Backoff)
        };
        let mut request = self
            .line
            .client
            .post(self.line.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream, application/json")
            .body(self.body.to_vec());
        for (name, value) in self.line.provider.headers(self.line.key.as_ref()) {
            request = request.header(name, value);
        }
        let sent = timeout_at(begins, request.send()).await.map_err(|_| late())?;
        let response =
            sent.map_err(|err| lost(format!("asking it: {}", because(&err)), Later::Backoff))?;
        if !response.status().is_success() {
            return self.refused(response).await;
        }
        self.read(response, begins, &late).await
    }

    async fn read(
        &self,
        mut response: Response,
        begins: Instant,
        late: &(dyn Fn() -> Failed + Sync),
    ) -> Result<Heard, Failed> {
        // Hidden first: a server may repeat what it was sent in any header.
        let kind = self.hidden(text_of(response.headers(), CONTENT_TYPE.as_str()));
        let kind = kind.to_ascii_lowercase();
        let whole = kind.contains("json");
        if !whole && !kind.is_empty() && !kind.contains("text/event-stream") {
            return Err(lost(format!("it answered {kind}, not an answer"), Later::Never));
        }
        let idle = Duration::from_secs_f64(self.settings.idle_seconds);
        let most = ROOM + self.max_tokens as usize * TOKEN_BYTES;
        let (mut read, mut text) = (0, Vec::new());
        let mut events = Events::default();
        let mut gathered: Box<dyn Reading> = self.line.provider.reading();
        loop {
            let piece = if read == 0 {
                timeout_at(begins, response.chunk()).await.map_err(|_| late())?
            } else {
                timeout(idle, response.chunk()).await.map_err(|_| {
                    let seconds = self.settings.idle_seconds;
                    broken_off(format!("its answer stopped in the middle for {seconds} s"))
                })?
            };
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(err) if read == 0 => {
                    return Err(lost(format!("its answer: {}", because(&err)), Later::Backoff));
                }
                Err(err) => {
                    let why = because(&err);
                    return Err(broken_off(format!("its answer broke off in the middle: {why}")));
                }
            };
            read += piece.len();
            if read > most {
                let message = format!(
                    "its answer is larger than {} MiB, for {} tokens at most",
                    most >> 20,
                    self.max_tokens
                );
                let error = ModelError::Refused { message, output: String::new() };
                return Err(Failed { error, later: Later::Never, begun: true });
            }
            if whole {
                text.extend_from_slice(&piece);
                continue;
            }
            let mut wrong = None;
            events.take(&piece, &mut |data| {
                if wrong.is_none() {
                    wrong = gathered.take(data).err();
                }
            });
            if let Some(wrong) = wrong {
                return self.wrong(wrong, gathered.has_begun());
            }
            if gathered.is_done() {
                // With the end of the body read, the connection can be used again.
                let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
                let _ = timeout(FAREWELL, rest).await;
                break;
            }
        }
        let mut wrong = None;
        if whole {
            wrong = gathered.take(&text).err();
        } else {
            events.end(&mut |data| {
                if wrong.is_none() {
                    wrong = gathered.take(data).err();
                }
            });
        }
        if let Some(wrong) = wrong {
            return self.wrong(wrong, gathered.has_begun());
        }
        if read == 0 {
            return Err(lost("its answer is empty".to_string(), Later::Backoff));
        }
        let tokens = gathered.tokens();
        let heard = gathered.answer(&|text| self.hidden(text));
        heard.map(|(answer, usage)| Heard { answer, usage, tokens }).map_err(|error| Failed {
            error,
            later: Later::Never,
            begun: true,
        })
    }

    /// A body of an answer that is none.
    fn wrong(&self, wrong: Wrong, begun: bool) -> Result<Heard, Failed> {
        match wrong {
            Wrong::Json(why) => {
                Err(broken_off(format!("its answer is not what it should be: {why}")))
            }
            Wrong::Error(said) => {
                let status = said.status.and_then(|code| StatusCode::from_u16(code).ok());
                let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
                let failed = match self.meaning(status, said, None) {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
                let later = if begun { Later::Never } else { failed.later };
                Err(Failed { later, begun, ..failed })
            }
        }
    }

    /// An answer whose status says that it is none.
    async fn refused(&self, mut response: Response) -> Result<Heard, Failed> {
        let status = response.status();
        let after = retry_after(response.headers());
        let idle = Duration::from_secs_f64(self.settings.idle_seconds);
        let mut body = Vec::new();
        while body.len() < ERROR_BYTES {
            match timeout(idle, response.chunk()).await {
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
                _ => break,
            }
        }
        self.meaning(status, said(&body), after)
    }

    fn meaning(
        &self,
        status: StatusCode,
        said: Said,
        after: Option<Duration>,
    ) -> Result<Heard, Failed> {
        let code = status.as_u16();
        let text: String = self
            .hidden(said.message.trim())
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(ERROR_SHOWN)
            .collect();
        let told = if text.is_empty() {
            format!("it answered {status}")
        } else {
            format!("it answered {status}: {text}")
        };
        match code {
            408 | 409 | 429 | 500..=599 => {
                Err(lost(told, after.map_or(Later::Backoff, Later::After)))
            }
            400 | 413 | 422 if said.is_about_context() => {
                let answer = Answer {
                    content: String::new(),
                    reasoning: String::new(),
                    tool_calls: Vec::new(),
                    finish: Finish::Context,
                    usage: Usage::default(),
                };
                Ok(Heard { answer, usage: Some(Usage::default()), tokens: None })
            }
            // The request is at fault, and would be every time.
            400 | 413 | 422 => {
                let error = ModelError::Refused { message: told, output: text };
                Err(Failed { error, later: Later::Never, begun: false })
            }
            401 | 403 => {
                let help = match &self.settings.key_env {
                    Some(variable) => format!("look at the key in {variable}"),
                    None => "name the variable that holds its key in `key_env`".to_string(),
                };
                Err(lost(format!("{told}\n  help: {help}"), Later::Never))
            }
            404 => {
                let help = "look at `endpoint` and `model` in claw.toml";
                Err(lost(format!("{told}\n  help: {help}"), Later::Never))
            }
            _ => Err(lost(told, Later::Never)),
        }
    }

    fn hidden(&self, text: &str) -> String {
        self.line.key.as_ref().map_or_else(|| text.to_string(), |key| key.hidden(text))
    }
}

/// The innermost reason says most: `connection refused` rather than `error sending request`.
pub(super) fn because(err: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = err;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    // Only reqwest's own error would tell the URL.
    let text = reason.to_string();
    err.url().map_or_else(|| text.clone(), |url| text.replace(url.as_str(), "its endpoint"))
}

fn text_of<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// How long the server asks to wait: seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str, unit: f64| {
        let number: f64 = text_of(headers, name).parse().ok()?;
        Duration::try_from_secs_f64(number * unit).ok()
    };
    number("retry-after-ms", 0.001).or_else(|| number("retry-after", 1.0)).or_else(|| {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let date = parser.parse_timestamp(text_of(headers, "retry-after")).ok()?;
        let left = date.duration_since(jiff::Timestamp::now());
        Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use super::*;

    fn after(name: &'static str, value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        retry_after(&headers)
    }

    #[test]
    fn servers_say_when_in_seconds_or_dates() {
        assert_eq!(after("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(after("retry-after", "0.25"), Some(Duration::from_millis(250)));
        assert_eq!(after("retry-after-ms", "40"), Some(Duration::from_millis(40)));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(after("retry-after", past), Some(Duration::ZERO));
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1_000);
        let date = later.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let wait = after("retry-after", &date).unwrap().as_secs();
        assert!((900..=1_000).contains(&wait), "{wait}");
        for odd in ["", "soon", "-3", "NaN", "inf"] {
            assert_eq!(after("retry-after", odd), None, "{odd}");
        }
    }
}
