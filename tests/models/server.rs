//! A server on loopback that says what a test tells it to, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// What the server does on a connection, in order; then it closes it.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Until the test opens the gate.
    Gate,
}

/// What it was asked.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Json,
    pub(crate) at: Instant,
}

/// Gets the number of the request, from 0, and its body.
type Handler = dyn Fn(usize, &Json) -> Vec<Step> + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    asked: Mutex<Vec<Asked>>,
    gate: AtomicBool,
    closed: AtomicBool,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A server; it ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Server {
    pub(crate) fn new(
        handler: impl Fn(usize, &Json) -> Vec<Step> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            asked: Mutex::default(),
            gate: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let own = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.closed.load(Ordering::SeqCst) {
                    break;
                }
                let own = own.clone();
                // A client that goes away in the middle is part of the tests.
                std::thread::spawn(move || drop(own.serve(&stream.expect("a connection"))));
            }
        });
        Server { url, shared }
    }

    /// The same answers for ever, the last one again and again.
    pub(crate) fn of(replies: Vec<Vec<Step>>) -> Server {
        Server::new(move |number, _| replies[number.min(replies.len() - 1)].clone())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked().len()
    }

    /// The most requests that were under way at once.
    pub(crate) fn most(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    pub(crate) fn open_gate(&self) {
        self.shared.gate.store(true, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.open_gate();
        self.shared.closed.store(true, Ordering::SeqCst);
        // The listener hears of it with its next connection.
        drop(TcpStream::connect(self.url.trim_start_matches("http://").trim_end_matches("/v1")));
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            head.push_str(&line.to_ascii_lowercase());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let Some(length) = length else { return Ok(()) };
        let mut body = vec![0; length.trim().parse().expect("a length")];
        reader.read_exact(&mut body)?;
        let body: Json = serde_json::from_slice(&body).expect("a request is JSON");
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(Asked { head, body: body.clone(), at: Instant::now() });
            asked.len() - 1
        };
        let steps = (self.handler)(number, &body);
        let mut said = Ok(());
        for (place, step) in steps.iter().enumerate() {
            // Before the client can know that it is over, it is.
            if place + 1 == steps.len() {
                self.now.fetch_sub(1, Ordering::SeqCst);
            }
            match step {
                Step::Send(bytes) if said.is_ok() => said = stream.write_all(bytes),
                Step::Send(_) => {}
                Step::Wait(time) => std::thread::sleep(*time),
                Step::Gate => {
                    while !self.gate.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            }
        }
        if steps.is_empty() {
            self.now.fetch_sub(1, Ordering::SeqCst);
        }
        said
    }
}

pub(crate) fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

pub(crate) fn wait(ms: u64) -> Step {
    Step::Wait(Duration::from_millis(ms))
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// A stream's head, and then these events.
pub(crate) fn stream(events: &[Json]) -> Vec<Step> {
    let mut text = STREAM.to_string();
    for event in events {
        text.push_str(&format!("data: {event}\n\n"));
    }
    vec![send(&text)]
}

pub(crate) fn delta(delta: Json) -> Json {
    json!({ "id": "x", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

pub(crate) fn finish(why: &str) -> Json {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": why }] })
}

pub(crate) fn usage(input: u64, output: u64) -> Json {
    json!({ "choices": [], "usage": { "prompt_tokens": input, "completion_tokens": output } })
}

pub(crate) fn done() -> Step {
    send("data: [DONE]\n\n")
}

/// A whole answer in words: 12 tokens read, 5 written.
pub(crate) fn says(text: &str) -> Vec<Step> {
    let mut steps = stream(&[
        delta(json!({ "role": "assistant", "content": "" })),
        delta(json!({ "content": text })),
        finish("stop"),
        usage(12, 5),
    ]);
    steps.push(done());
    steps
}

/// An answer that calls one tool.
pub(crate) fn calls(id: &str, name: &str, arguments: &Json) -> Vec<Step> {
    let function = json!({ "name": name, "arguments": arguments.to_string() });
    let call = json!({ "index": 0, "id": id, "type": "function", "function": function });
    let mut steps = stream(&[
        delta(json!({ "role": "assistant", "content": null, "tool_calls": [call] })),
        finish("tool_calls"),
        usage(20, 7),
    ]);
    steps.push(done());
    steps
}

pub(crate) fn status(line: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![send(&format!(
        "HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n{headers}\r\n{body}"
    ))]
}
