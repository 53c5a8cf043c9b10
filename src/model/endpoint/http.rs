//! The endpoint on the line: HTTP/1.1 on a listener that somebody else made.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::store::Digest;

use super::chat::{Asked, Told, error, models};
use super::session::{Refusal, Session};

/// The largest question, in bytes.
const MAX_BODY: usize = 8 << 20;

/// Connections of one listener at once; more wait.
const MAX_CONNECTIONS: usize = 32;

/// How long an agent that wants events waits before it is told that there is nothing yet.
const REASSURES: Duration = Duration::from_secs(10);

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Answering = Pin<Box<dyn Future<Output = Result<Vec<u8>, Refusal>> + Send>>;

/// The sessions that can be spoken to, by the digests of their tokens.
#[derive(Clone)]
pub struct Endpoint {
    sessions: Arc<Mutex<BTreeMap<Digest, Arc<Session>>>>,
    reassures: Duration,
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint { sessions: Arc::default(), reassures: REASSURES }
    }
}

/// A listener that is served; no more when this is dropped, and open connections are closed.
pub struct Serving {
    _connections: JoinSet<()>,
}

impl Endpoint {
    /// An endpoint without sessions.
    pub fn new() -> Endpoint {
        Endpoint::default()
    }

    /// With another pause between the comments that an agent gets which waits for events.
    #[must_use]
    pub fn reassuring_each(mut self, pause: Duration) -> Endpoint {
        self.reassures = pause;
        self
    }

    /// Lets whoever knows `token` speak in `session`.
    pub fn open(&self, token: &str, session: Arc<Session>) {
        self.sessions().insert(Digest::of(token.as_bytes()), session);
    }

    /// Lets nobody speak with this token any more.
    pub fn close(&self, token: &str) {
        self.sessions().remove(&Digest::of(token.as_bytes()));
    }

    /// Serves a listener, until what this gives is dropped.
    ///
    /// # Errors
    /// When the listener cannot be waited on.
    pub fn serve(&self, listener: std::net::TcpListener) -> io::Result<Serving> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let endpoint = self.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            let mut connections = JoinSet::new();
            loop {
                // It is never closed, so that a place comes.
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    // Most likely too many open files: others will close some.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let endpoint = endpoint.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| endpoint.clone().reply(request));
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that goes away in the middle has its reasons.
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    drop(place);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Serving { _connections: serving })
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a request. Tokens are looked up by their digests, so that no comparison takes
    /// longer the more of a token was guessed.
    fn session(&self, request: &Request<Incoming>) -> Option<Arc<Session>> {
        let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let (way, token) = header.split_once(' ')?;
        let token = Digest::of(token.trim().as_bytes());
        way.eq_ignore_ascii_case("bearer").then(|| self.sessions().get(&token).cloned()).flatten()
    }

    async fn reply(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let Some(session) = self.session(&request) else {
            let why = "the key in the header `Authorization` belongs to no session";
            let body = error("invalid_request_error", "invalid_api_key", why);
            return Ok(json(StatusCode::UNAUTHORIZED, body));
        };
        let path = request.uri().path().trim_end_matches('/').to_string();
        let reply = match (request.method().clone(), path.as_str()) {
            (Method::POST, "/v1/chat/completions") => {
                complete(session, request, self.reassures).await
            }
            (Method::GET, "/v1/models") => json(StatusCode::OK, models(session.name())),
            (_, "/v1/chat/completions" | "/v1/models") => {
                let why = format!("{} cannot be asked for by {}", path, request.method());
                let body = error("invalid_request_error", "method_not_allowed", &why);
                json(StatusCode::METHOD_NOT_ALLOWED, body)
            }
            _ => {
                let why = format!(
                    "there is no {path} here; there are POST /v1/chat/completions and GET /v1/models"
                );
                json(StatusCode::NOT_FOUND, error("invalid_request_error", "not_found", &why))
            }
        };
        Ok(reply)
    }
}

async fn complete(
    session: Arc<Session>,
    request: Request<Incoming>,
    reassures: Duration,
) -> Response<Body> {
    let bad = |status: StatusCode, why: &str| {
        json(status, error("invalid_request_error", "invalid_request", why))
    };
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(err) if err.is::<http_body_util::LengthLimitError>() => {
            let why = format!("a question has at most {} MiB", MAX_BODY >> 20);
            return bad(StatusCode::PAYLOAD_TOO_LARGE, &why);
        }
        Err(err) => return bad(StatusCode::BAD_REQUEST, &format!("the body broke off: {err}")),
    };
    let asked = match Asked::of(&body) {
        Ok(asked) => asked,
        Err(why) => return bad(StatusCode::BAD_REQUEST, &why),
    };
    drop(body);
    let stream = asked.stream;
    let mut answering: Answering = Box::pin(async move {
        let (answer, number) = session.answer(&asked).await?;
        let told = Told { answer: &answer, number, model: session.name() };
        Ok(if asked.stream { told.events(asked.include_usage) } else { told.whole() })
    });
    if !stream {
        return match answering.await {
            Ok(answer) => json(StatusCode::OK, answer),
            Err(refusal) => refused(&refusal),
        };
    }
    match tokio::time::timeout(reassures, &mut answering).await {
        Ok(Ok(events)) => as_events(Full::new(events.into()).boxed_unsync()),
        // It did not begin yet, so that its status can tell what is wrong.
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => as_events(waited_for(answering, reassures)),
    }
}

/// The events of an answer that takes its time, with a comment now and then before them.
fn waited_for(answering: Answering, reassures: Duration) -> Body {
    let pieces = stream::unfold(Some(answering), move |answering| async move {
        let mut answering = answering?;
        let (piece, rest) = match tokio::time::timeout(reassures, &mut answering).await {
            Ok(Ok(events)) => (events, None),
            Ok(Err(refusal)) => {
                let said = [b"data: ", &told(&refusal).1[..], b"\n\ndata: [DONE]\n\n"].concat();
                (said, None)
            }
            Err(_) => (b": still at work\n\n".to_vec(), Some(answering)),
        };
        Some((Ok(Frame::data(Bytes::from(piece))), rest))
    });
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(b": at work\n\n")))]);
    StreamBody::new(first.chain(pieces)).boxed_unsync()
}

fn as_events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = hyper::header::HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let (status, body) = told(refusal);
    let mut response = json(status, body);
    // OpenAI's own clients look at this before they ask again.
    let no = hyper::header::HeaderValue::from_static("false");
    response.headers_mut().insert("x-should-retry", no);
    response
}

fn told(refusal: &Refusal) -> (StatusCode, Vec<u8>) {
    let (status, kind, code, why) = match refusal {
        Refusal::Bad(why) => {
            (StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request", why)
        }
        Refusal::Context(why) => {
            (StatusCode::BAD_REQUEST, "invalid_request_error", "context_length_exceeded", why)
        }
        Refusal::Refused(why) => (StatusCode::BAD_REQUEST, "invalid_request_error", "refused", why),
        Refusal::Over(why) => (StatusCode::FORBIDDEN, "session_over", "session_over", why),
    };
    (status, error(kind, code, why))
}
