//! `claw serve` through the real program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value as Json, json};

use crate::models::server::{Server, says};
use crate::project::Project;

fn ask(address: &str, key: &str, text: &str) -> String {
    let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
    let mut stream = TcpStream::connect(address).expect("a connection");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("it is read");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    said
}

#[test]
fn a_model_is_served_to_anybody_with_a_key_and_what_was_said_is_written() {
    let server = Server::new(|_, body| {
        says(&format!("You said: {}", body["messages"][0]["content"].as_str().expect("text")))
    });
    let project = Project::new();
    project.write(
        "claw.toml",
        &format!("[models.teacher]\nendpoint = \"{}\"\nmodel = \"served\"\n", server.url),
    );
    let missing = project.claw(&["serve", "teachr"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(2));
    assert!(said.contains("did you mean `teacher`?"), "{said}");

    let args = ["serve", "teacher", "--port", "0", "--sessions", "2", "--answers", "2"];
    let mut child = project
        .command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("claw starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut told = |name: &str| {
        let line = lines.next().expect("a line").expect("text");
        line.strip_prefix(&format!("export {name}=")).expect("a variable").to_string()
    };
    let url = told("OPENAI_BASE_URL");
    let address = url.trim_start_matches("http://").trim_end_matches("/v1");
    let (one, other) = (told("OPENAI_API_KEY"), told("OPENAI_API_KEY"));
    assert_ne!(one, other);
    assert!(ask(address, "claw-guessed", "x").starts_with("HTTP/1.0 401"));
    for (key, text) in [(&one, "a"), (&other, "b"), (&one, "c")] {
        let said = ask(address, key, text);
        assert!(said.contains(&format!("You said: {text}")), "{said}");
    }
    assert!(ask(address, &one, "d").starts_with("HTTP/1.0 403"), "it has had its two answers");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let text = std::fs::read_to_string(project.path("conversations.jsonl")).expect("the record");
    let lines: Vec<Json> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = |session: u64, text: &str| {
        json!({
            "session": session, "model": "teacher", "tools": [], "own": [1],
            "messages": [
                { "role": "user", "content": text },
                { "role": "assistant", "content": format!("You said: {text}") },
            ],
        })
    };
    assert_eq!(lines, [line(1, "a"), line(1, "c"), line(2, "b")]);
}
