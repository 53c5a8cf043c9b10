//! `exec` and `process` of `claw/2026.4` with commands that go on in the background, in a real
//! sandbox: what a model is told, to the letter.

use claw::agent::{CallLimits, Contract, contract};
use claw::model::ToolCall;
use claw::sandbox::{Backend, Limits, Sandbox};
use claw::store::{MemoryObjects, Tree};
use serde_json::{Value as Json, json};

use super::fake::FakeSandbox;
use crate::sandbox::shared;

/// One episode: the contract that it uses, and its sandbox.
struct Scene {
    tools: Box<dyn Contract>,
    sandbox: Box<dyn Sandbox>,
}

impl Scene {
    async fn open() -> Option<Scene> {
        let objects = MemoryObjects::default();
        let empty = Tree::default();
        let backend = shared()?;
        let sandbox = backend.open(&empty, &objects, &Limits::default()).await.expect("opens");
        Some(Scene { tools: contract("claw/2026.4").unwrap(), sandbox })
    }

    async fn call(&mut self, name: &str, arguments: Json) -> String {
        let call = ToolCall { id: "call_1".to_string(), name: name.to_string(), arguments };
        let limits = CallLimits { exec_ms: 120_000, ..CallLimits::default() };
        let result = self.tools.call(&mut *self.sandbox, &call, &limits).await.unwrap();
        assert!(!result.is_error, "{}", result.text);
        result.text
    }

    async fn exec(&mut self, command: &str) -> String {
        self.call("exec", json!({ "command": command })).await
    }

    /// The session of a command that goes on, whose line is checked.
    async fn background(&mut self, mut arguments: Json) -> String {
        arguments["background"] = json!(true);
        session(&self.call("exec", arguments).await)
    }

    async fn process(&mut self, action: &str, id: &str) -> String {
        self.call("process", json!({ "action": action, "sessionId": id })).await
    }

    /// Polls until it has ended, and puts together what it said on the way.
    async fn wait_for_the_end(&mut self, id: &str) -> (String, String) {
        let mut said = Vec::new();
        loop {
            let poll = json!({ "action": "poll", "sessionId": id, "timeout": 60_000 });
            let text = self.call("process", poll).await;
            let (words, state) = text.rsplit_once("\n\n").unwrap();
            if words != "(no new output)" {
                said.push(words.trim_end().to_string());
            }
            if state != "Process still running." {
                return (said.join("\n"), state.to_string());
            }
        }
    }
}

/// The name in the line about a command that goes on.
fn session(text: &str) -> String {
    let line = text.rsplit_once("\n\n").map_or(text, |(_, line)| line);
    let rest = line.strip_prefix("Command still running (session ").expect(text);
    let (id, rest) = rest.split_once(", pid ").unwrap();
    let (pid, rest) = rest.split_once(')').unwrap();
    assert!(pid.parse::<u32>().unwrap() > 1, "{text}");
    assert_eq!(rest, ". Use process (list/poll/log/write/kill/clear/remove) for follow-up.");
    id.to_string()
}

#[tokio::test]
async fn a_quick_command_is_told_as_ever() {
    let Some(mut scene) = Scene::open().await else { return };
    assert_eq!(
        scene.exec("echo out; echo err >&2; exit 3").await,
        "out\nerr\n\n(Command exited with code 3)"
    );
    assert_eq!(scene.exec("true").await, "(no output)");
    let timed = json!({ "command": "echo on; sleep 600", "timeout": 0.3 });
    assert_eq!(
        scene.call("exec", timed).await,
        "on\n\nCommand timed out after 0.3 seconds. If this command is expected to take longer, \
         re-run with a higher timeout (e.g., exec timeout=300)."
    );
    // Without a terminal standard input is empty.
    assert_eq!(scene.exec("cat; echo end").await, "end");
    let list = scene.call("process", json!({ "action": "list" })).await;
    assert_eq!(list, "No running or recent sessions.");
}

#[tokio::test]
async fn a_slow_command_becomes_a_session() {
    let Some(mut scene) = Scene::open().await else { return };
    let yields = json!({
        "command": "for i in 1 2 3; do echo tick $i; done; while [ ! -e go ]; do sleep 0.05; done; \
                    echo done; exit 4",
        "yieldMs": 300,
    });
    let id = session(&scene.call("exec", yields).await);
    let list = scene.call("process", json!({ "action": "list" })).await;
    let (front, back) = list.split_once(" :: ").unwrap();
    assert_eq!(back, "for i");
    let (name, ran) = front.split_once(" running   ").unwrap();
    assert!(name == id && ran.ends_with('s'), "{list}");
    assert_eq!(
        scene.process("poll", &id).await,
        "tick 1\ntick 2\ntick 3\n\nProcess still running."
    );
    assert_eq!(scene.process("poll", &id).await, "(no new output)\n\nProcess still running.");
    scene.exec("touch go").await;
    let ended = scene.wait_for_the_end(&id).await;
    assert!(ended.0.ends_with("done"), "{}", ended.0);
    assert_eq!(ended.1, "Process exited with code 4.");
    let list = scene.call("process", json!({ "action": "list" })).await;
    // A poll that waits for the end looks at the code; whoever comes later finds it "completed".
    let ended = ["failed   ", "completed"].map(|status| format!("{id} {status} "));
    assert!(ended.iter().any(|ended| list.starts_with(ended)), "{list}");
    assert_eq!(scene.process("log", &id).await, "tick 1\ntick 2\ntick 3\ndone");
    // One that has ended is told from its last words, however often.
    for _ in 0..2 {
        assert_eq!(
            scene.process("poll", &id).await,
            "tick 1\ntick 2\ntick 3\ndone\n\n\nProcess exited with code 4."
        );
    }
    assert_eq!(scene.process("kill", &id).await, format!("No active session found for {id}"));
    assert_eq!(scene.process("clear", &id).await, format!("Cleared session {id}."));
    assert_eq!(scene.process("log", &id).await, format!("No session found for {id}"));
}

#[tokio::test]
async fn sessions_are_killed_and_removed() {
    let Some(mut scene) = Scene::open().await else { return };
    let first = scene.background(json!({ "command": "sleep 600" })).await;
    let second = scene.background(json!({ "command": "sleep 600" })).await;
    assert_ne!(first, second);
    assert_eq!(
        scene.process("clear", &first).await,
        format!("No finished session found for {first}")
    );
    assert_eq!(
        scene.process("kill", &first).await,
        format!("Termination requested for session {first}.")
    );
    assert_eq!(
        scene.process("poll", &first).await,
        "(no output recorded)\n\nProcess exited with signal SIGKILL."
    );
    let list = scene.call("process", json!({ "action": "list" })).await;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with(&format!("{second} running   ")), "{list}");
    assert!(lines[1].starts_with(&format!("{first} failed    ")), "{list}");
    assert!(list.lines().all(|line| line.ends_with(" :: sleep 600")), "{list}");
    assert_eq!(
        scene.process("remove", &second).await,
        format!("Removed session {second} (termination requested).")
    );
    assert_eq!(scene.process("remove", &first).await, format!("Removed session {first}."));
    assert_eq!(scene.process("remove", &first).await, format!("No session found for {first}"));
    let alive = scene.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 60[0]'").await;
    assert_eq!(alive, "0\n\n(Command exited with code 1)");
}

#[tokio::test]
async fn what_is_written_reaches_a_session_that_asked_for_a_terminal() {
    let Some(mut scene) = Scene::open().await else { return };
    let reader = "while read line; do echo \"<$line>\"; done; echo over";
    let started = json!({ "command": reader, "pty": true, "background": true });
    let text = scene.call("exec", started).await;
    assert!(
        text.starts_with(&format!(
            "Warning: PTY spawn failed (Error: no terminals in this sandbox); retrying without PTY \
             for `{reader}`.\n\nCommand still running"
        )),
        "{text}"
    );
    let id = session(&text);
    let mut say = async |arguments: Json| -> String {
        let mut arguments = arguments;
        arguments["sessionId"] = json!(id);
        scene.call("process", arguments).await
    };
    for (arguments, expected) in [
        (json!({ "action": "write", "data": "one\n" }), format!("Wrote 4 bytes to session {id}.")),
        (
            json!({ "action": "send-keys", "literal": "two", "hex": ["0a", "zz"], "keys": ["x"] }),
            format!("Sent 5 bytes to session {id}.\nWarnings:\n- Invalid hex byte: zz"),
        ),
        (
            json!({ "action": "send-keys", "keys": ["Up"] }),
            format!(
                "Session {id} cursor key mode is not known yet. Poll or log until startup output \
                 appears, then retry send-keys."
            ),
        ),
        (json!({ "action": "send-keys" }), "No key data provided.".to_string()),
        (
            json!({ "action": "paste", "text": "three", "bracketed": false }),
            format!("Pasted 5 chars to session {id}."),
        ),
        (json!({ "action": "paste", "bracketed": false }), "No paste text provided.".to_string()),
        (json!({ "action": "submit" }), format!("Submitted session {id} (sent CR).")),
        (
            json!({ "action": "write", "data": "\n", "eof": true }),
            format!("Wrote 1 bytes to session {id} (stdin closed)."),
        ),
        (json!({ "action": "dance" }), "Unknown action dance".to_string()),
    ] {
        assert_eq!(say(arguments).await, expected);
    }
    let (said, end) = scene.wait_for_the_end(&id).await;
    assert_eq!(
        (said.as_str(), end.as_str()),
        ("<one>\n<two>\n<xthree\r>\nover", "Process exited with code 0.")
    );
    let list = scene.call("process", json!({ "action": "list" })).await;
    assert!(list.starts_with(&format!("{id} completed ")), "{list}");
    // What has been closed stays closed.
    let started = json!({ "command": "sleep 600", "pty": true, "background": true });
    let id = session(&scene.call("exec", started).await);
    let last = json!({ "action": "write", "sessionId": id, "data": "x", "eof": true });
    assert_eq!(
        scene.call("process", last).await,
        format!("Wrote 1 bytes to session {id} (stdin closed).")
    );
    assert_eq!(scene.process("write", &id).await, format!("Session {id} stdin is not writable."));
    // Any other command's input is closed from the start.
    let id = scene.background(json!({ "command": "sleep 600" })).await;
    assert_eq!(scene.process("write", &id).await, format!("Session {id} stdin is not writable."));
}

#[tokio::test]
async fn a_log_is_paged() {
    let Some(mut scene) = Scene::open().await else { return };
    let id = scene.background(json!({ "command": "seq 1 250; sleep 600" })).await;
    let mut log = String::new();
    while !log.contains("250 lines") {
        log = scene.process("log", &id).await;
    }
    let tail: Vec<String> = (51..=250).map(|n| n.to_string()).collect();
    assert_eq!(
        log,
        tail.join("\n") + "\n\n[showing last 200 of 250 lines; pass offset/limit to page]"
    );
    let slice = json!({ "action": "log", "sessionId": id, "offset": 9, "limit": 2 });
    assert_eq!(scene.call("process", slice).await, "10\n11");
    let slice = json!({ "action": "log", "sessionId": id, "limit": 2 });
    assert_eq!(scene.call("process", slice).await, "249\n250");
    let slice = json!({ "action": "log", "sessionId": id, "offset": 300 });
    assert_eq!(scene.call("process", slice).await, "(no output yet)");
}

#[tokio::test]
async fn nothing_is_there_that_nobody_started() {
    let Some(mut scene) = Scene::open().await else { return };
    assert_eq!(
        scene.call("process", json!({ "action": "poll" })).await,
        "sessionId is required for this action."
    );
    for (action, expected) in [
        ("poll", "No session found for nonexistent"),
        ("log", "No session found for nonexistent"),
        ("remove", "No session found for nonexistent"),
        ("write", "No active session found for nonexistent"),
        ("send-keys", "No active session found for nonexistent"),
        ("submit", "No active session found for nonexistent"),
        ("paste", "No active session found for nonexistent"),
        ("kill", "No active session found for nonexistent"),
        ("clear", "No finished session found for nonexistent"),
        ("dance", "Unknown action dance"),
    ] {
        assert_eq!(scene.process(action, "nonexistent").await, expected);
    }
}

/// Sessions have the same names whenever an episode is repeated, and belong to it alone.
#[tokio::test]
async fn names_come_from_the_episode() {
    let (Some(mut one), Some(mut two)) = (Scene::open().await, Scene::open().await) else {
        return;
    };
    let mut names = Vec::new();
    for command in ["sleep 600", "sleep 600", "sleep 601"] {
        let id = one.background(json!({ "command": command })).await;
        assert_eq!(two.background(json!({ "command": command })).await, id);
        names.push(id);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
}

/// A backend that cannot leave commands running behaves as the original does when it may not.
#[tokio::test]
async fn where_nothing_goes_on_there_are_no_sessions() {
    let mut sandbox = FakeSandbox::new(&[("a", "hello")]);
    let tools = contract("claw/2026.4").unwrap();
    let mut call = async |name: &str, arguments: Json| -> String {
        let call = ToolCall { id: "call_1".to_string(), name: name.to_string(), arguments };
        tools.call(&mut sandbox, &call, &CallLimits::default()).await.unwrap().text
    };
    assert_eq!(
        call("exec", json!({ "command": "cat a", "background": true })).await,
        "Warning: background execution is disabled; running synchronously.\n\nhello"
    );
    assert_eq!(
        call("process", json!({ "action": "list" })).await,
        "No running or recent sessions."
    );
    assert_eq!(
        call("process", json!({ "action": "poll", "sessionId": "x" })).await,
        "No session found for x"
    );
}
