//! A model that says what it is told to, and a client that speaks plain HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use claw::model::endpoint::{Allowance, Endpoint, Serving, Session};
use claw::model::{Answer, Finish, Model, ModelError, Request, ToolCall, Usage};
use futures::future::BoxFuture;
use serde_json::Value as Json;

type Says = dyn Fn(usize, &Request) -> Result<Answer, ModelError> + Send + Sync;

/// Gets the number of the question, from 0, and the question.
pub(super) struct Scripted {
    says: Box<Says>,
    pub(super) asked: Mutex<Vec<Request>>,
}

impl Scripted {
    pub(super) fn new(
        says: impl Fn(usize, &Request) -> Result<Answer, ModelError> + Send + Sync + 'static,
    ) -> Arc<Scripted> {
        Arc::new(Scripted { says: Box::new(says), asked: Mutex::default() })
    }

    pub(super) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Model for Scripted {
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        let answer = (self.says)(number, request);
        Box::pin(async move { answer })
    }
}

pub(super) fn words(text: &str) -> Answer {
    Answer {
        content: text.to_string(),
        reasoning: String::new(),
        tool_calls: Vec::new(),
        finish: Finish::Stop,
        usage: Usage { input: 10, output: 4 },
    }
}

pub(super) fn calling(id: &str, name: &str, arguments: Json) -> Answer {
    let call = ToolCall { id: id.to_string(), name: name.to_string(), arguments };
    Answer { finish: Finish::ToolCalls, tool_calls: vec![call], ..words("") }
}

pub(super) const PLENTY: Allowance =
    Allowance { answers: 100, answer_tokens: 512, context: 100_000, tokens: None };

pub(super) fn session(model: &Arc<Scripted>, allowance: Allowance) -> Arc<Session> {
    Session::new(model.clone(), "scripted", None, 7, allowance)
}

/// An endpoint that is served, and where.
pub(super) struct Served {
    pub(super) endpoint: Endpoint,
    pub(super) url: String,
    _serving: Serving,
}

impl Served {
    pub(super) fn new(endpoint: Endpoint) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let serving = endpoint.serve(listener).expect("it serves");
        Served { endpoint, url, _serving: serving }
    }

    pub(super) fn with(session: &Arc<Session>) -> Served {
        let served = Served::new(Endpoint::new());
        served.endpoint.open("token", session.clone());
        served
    }

    /// Asks on a connection of its own: the status, the head and the body of what comes.
    pub(super) async fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, String, String) {
        let address = self.url.trim_start_matches("http://").trim_end_matches("/v1").to_string();
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.0\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        let said = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(text.as_bytes()).expect("it is read");
            let mut said = Vec::new();
            stream.read_to_end(&mut said).expect("an answer");
            String::from_utf8(said).expect("text")
        });
        let said = said.await.expect("a thread");
        let (head, body) = said.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), body.to_string())
    }

    /// Asks a question with this token.
    pub(super) async fn question(&self, token: &str, body: &Json) -> (u16, Json) {
        let headers = format!("authorization: Bearer {token}\r\n");
        let line = "POST /v1/chat/completions";
        let (status, _, said) = self.ask(line, &headers, &body.to_string()).await;
        (status, serde_json::from_str(&said).unwrap_or(Json::String(said)))
    }
}
