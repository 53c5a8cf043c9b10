//! `claw/2026.4`, text by text: what a model is told in each situation.

use claw::agent::{CallLimits, ToolResult, contract};
use claw::model::ToolCall;
use claw::sandbox::{Command, Exit, Outcome, SandboxError};
use serde_json::{Value as Json, json};

use super::fake::{FakeSandbox, Files, outcome};

async fn call(sandbox: &mut FakeSandbox, name: &str, arguments: Json) -> ToolResult {
    let call = ToolCall { id: "call_1".to_string(), name: name.to_string(), arguments };
    let tools = contract("claw/2026.4").unwrap();
    tools.call(sandbox, &call, &CallLimits::default()).await.unwrap()
}

/// The text of a call that is not marked as an error.
async fn told(sandbox: &mut FakeSandbox, name: &str, arguments: Json) -> String {
    let result = call(sandbox, name, arguments).await;
    assert!(!result.is_error && !result.submitted, "{}", result.text);
    result.text
}

/// The message inside the JSON form of failures, whose layout is checked to the letter.
async fn failure(sandbox: &mut FakeSandbox, name: &str, arguments: Json) -> String {
    let text = told(sandbox, name, arguments).await;
    let json: Json = serde_json::from_str(&text).unwrap();
    let message = json["error"].as_str().unwrap().to_string();
    let quoted = Json::from(message.as_str());
    let expected =
        format!("{{\n  \"status\": \"error\",\n  \"tool\": \"{name}\",\n  \"error\": {quoted}\n}}");
    assert_eq!(text, expected);
    message
}

#[test]
fn the_schemas_are_those_of_the_release() {
    let contract = contract("claw/2026.4").unwrap();
    let tools = contract.tools();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read", "edit", "write", "exec", "process"]);
    let fields = |i: usize| -> Vec<String> {
        let mut fields: Vec<String> =
            tools[i].parameters["properties"].as_object().unwrap().keys().cloned().collect();
        fields.sort();
        fields
    };
    let aliases = ["file", "filePath", "file_path", "path"];
    for (i, own) in [(0, vec!["limit", "offset"]), (1, vec!["edits"]), (2, vec!["content"])] {
        let mut expected: Vec<&str> = aliases.iter().chain(&own).copied().collect();
        expected.sort();
        assert_eq!(fields(i), expected);
    }
    assert_eq!(tools[0].parameters["required"], json!([]));
    assert_eq!(tools[1].parameters["required"], json!(["edits"]));
    assert_eq!(tools[1].parameters["additionalProperties"], json!(false));
    assert_eq!(tools[2].parameters["required"], json!(["content"]));
    assert_eq!(tools[3].parameters["required"], json!(["command"]));
    let mut exec = vec![
        "command",
        "workdir",
        "env",
        "yieldMs",
        "background",
        "timeout",
        "pty",
        "elevated",
        "host",
        "security",
        "ask",
        "node",
    ];
    exec.sort();
    assert_eq!(fields(3), exec);
    assert_eq!(tools[4].parameters["required"], json!(["action"]));
    let mut process = vec![
        "action",
        "sessionId",
        "data",
        "keys",
        "hex",
        "literal",
        "text",
        "bracketed",
        "eof",
        "offset",
        "limit",
        "timeout",
    ];
    process.sort();
    assert_eq!(fields(4), process);
}

#[test]
fn contracts_are_found_by_name() {
    assert_eq!(contract("claw/2026.4").unwrap().name(), "claw/2026.4");
    let err = contract("claw/1999.1").err().unwrap().to_string();
    assert_eq!(
        err,
        "there is no tool contract `claw/1999.1`; the known ones are: claw/2026.4, \
         sandbox/0.2, sandbox/0.2-legacy, sandbox/0.2-vanilla"
    );
}

#[tokio::test]
async fn write_tells_how_much() {
    let mut sandbox = FakeSandbox::new(&[]);
    let content = "line1\nline2\nline3\nline4\n";
    let text = told(&mut sandbox, "write", json!({ "path": "a.txt", "content": content })).await;
    assert_eq!(text, "Successfully wrote 24 bytes to a.txt");
    assert_eq!(sandbox.text("a.txt"), content);
    // Outside the workspace is allowed: it is where paths start, not a jail.
    let text = told(&mut sandbox, "write", json!({ "path": "/tmp/b", "content": "x" })).await;
    assert_eq!(text, "Successfully wrote 1 bytes to /tmp/b");
    assert_eq!(sandbox.files["/tmp/b"], b"x");
    // UTF-16 units are counted: one for `é`, two for the face.
    let text = told(&mut sandbox, "write", json!({ "path": "c", "content": "é🙂" })).await;
    assert_eq!(text, "Successfully wrote 3 bytes to c");
    let text = told(&mut sandbox, "write", json!({ "path": "./d/../e", "content": "" })).await;
    assert_eq!(text, "Successfully wrote 0 bytes to ./d/../e");
    assert_eq!(sandbox.text("e"), "");
    let message =
        failure(&mut sandbox, "write", json!({ "path": "a.txt/b", "content": "x" })).await;
    assert_eq!(message, "ENOTDIR: not a directory, mkdir '/workspace/a.txt'");
}

#[tokio::test]
async fn every_alias_of_the_path_works() {
    let mut sandbox = FakeSandbox::new(&[("a.txt", "hello")]);
    for alias in ["path", "file_path", "filePath", "file"] {
        assert_eq!(told(&mut sandbox, "read", json!({ alias: "a.txt" })).await, "hello");
    }
    let text = told(&mut sandbox, "read", json!({ "path": "", "file": "/workspace/a.txt" })).await;
    assert_eq!(text, "hello");
    assert_eq!(told(&mut sandbox, "read", json!({ "path": "@a.txt" })).await, "hello");
    let missing = "Missing required parameter: path alias";
    let advice = "Supply correct parameters before retrying.";
    assert_eq!(failure(&mut sandbox, "read", json!({})).await, format!("{missing}. {advice}"));
    assert_eq!(
        failure(&mut sandbox, "write", json!({ "filename": "a", "content": "b" })).await,
        format!("{missing} (received: content, filename). {advice}")
    );
    assert_eq!(
        failure(&mut sandbox, "read", json!({ "path": " ", "limit": 3 })).await,
        format!("{missing} (received: limit=<number>, path=<empty-string>). {advice}")
    );
}

#[tokio::test]
async fn read_gives_slices() {
    let mut sandbox = FakeSandbox::new(&[("a.txt", "line1\nline2\nline3\nline4\n")]);
    let text = told(&mut sandbox, "read", json!({ "path": "a.txt" })).await;
    assert_eq!(text, "line1\nline2\nline3\nline4\n");
    let slice = json!({ "path": "a.txt", "offset": 2, "limit": 1 });
    assert_eq!(
        told(&mut sandbox, "read", slice).await,
        "line2\n\n[3 more lines in file. Use offset=3 to continue.]"
    );
    let rest = json!({ "path": "a.txt", "offset": "4", "limit": 10 });
    assert_eq!(told(&mut sandbox, "read", rest).await, "line4\n");
    let past = json!({ "path": "a.txt", "offset": 99 });
    assert_eq!(
        failure(&mut sandbox, "read", past).await,
        "Offset 99 is beyond end of file (5 lines total)"
    );
    assert_eq!(
        told(&mut sandbox, "read", json!({ "path": "a.txt", "offset": 3 })).await,
        "line3\nline4\n"
    );
    let nothing = json!({ "path": "a.txt", "offset": 0, "limit": 0 });
    assert_eq!(told(&mut sandbox, "read", nothing).await, "line1\nline2\nline3\nline4\n");
}

#[tokio::test]
async fn read_tells_what_is_not_there() {
    let mut sandbox = FakeSandbox::new(&[("notes/a.txt", "x")]);
    assert_eq!(
        failure(&mut sandbox, "read", json!({ "path": "missing.txt" })).await,
        "ENOENT: no such file or directory, access '/workspace/missing.txt'"
    );
    assert_eq!(
        failure(&mut sandbox, "read", json!({ "path": "../etc/none" })).await,
        "ENOENT: no such file or directory, access '/etc/none'"
    );
    assert_eq!(
        failure(&mut sandbox, "read", json!({ "path": "notes" })).await,
        "EISDIR: illegal operation on a directory, read"
    );
}

#[tokio::test]
async fn long_lines_and_long_files_are_paged() {
    let wide = "x".repeat(120_000);
    let lines: String = (1..=3_000).map(|i| format!("row {i}\n")).collect();
    let endless: String = (1..=20_000).map(|i| format!("row {i}\n")).collect();
    let mut sandbox =
        FakeSandbox::new(&[("wide.txt", &wide), ("long.txt", &lines), ("endless.txt", &endless)]);
    assert_eq!(
        told(&mut sandbox, "read", json!({ "path": "wide.txt" })).await,
        "[Line 1 is 117.2KB, exceeds 50.0KB limit. Use bash: sed -n '1p' wide.txt | head -c 51200]"
    );
    // Three thousand short lines come whole, with the joint between the two pages.
    let text = told(&mut sandbox, "read", json!({ "path": "long.txt" })).await;
    assert_eq!(text.replace("row 2000\n\nrow 2001", "row 2000\nrow 2001"), lines);
    // With a limit there is one page.
    let text = told(&mut sandbox, "read", json!({ "path": "long.txt", "limit": 2500 })).await;
    assert!(
        text.ends_with("row 2000\n\n[Showing lines 1-2000 of 3001. Use offset=2001 to continue.]"),
        "{}",
        &text[text.len() - 100..]
    );
    // Far longer ones end where the room ends, and going on from there misses nothing.
    let (mut offset, mut seen) = (1, Vec::new());
    loop {
        let text =
            told(&mut sandbox, "read", json!({ "path": "endless.txt", "offset": offset })).await;
        seen.extend(text.lines().filter(|l| l.starts_with("row")).map(str::to_string));
        assert!(text.len() < 33 << 10);
        let marker = "[Read output capped at 32KB for this call. Use offset=";
        match text.rsplit_once(marker) {
            Some((_, rest)) => offset = rest.split_once(' ').unwrap().0.parse().unwrap(),
            None => break,
        }
    }
    let expected: Vec<String> = endless.lines().map(str::to_string).collect();
    assert!(seen == expected, "{} rows instead of {}", seen.len(), expected.len());
    // Lines of a kilobyte fill a page by size.
    let kilobyte: String = (0..100).map(|_| "y".repeat(1_023) + "\n").collect();
    let mut sandbox = FakeSandbox::new(&[("k.txt", &kilobyte)]);
    let text = told(&mut sandbox, "read", json!({ "path": "k.txt", "limit": 90 })).await;
    assert!(
        text.ends_with(
            "\n\n[Showing lines 1-50 of 101 (50.0KB limit). Use offset=51 to continue.]"
        ),
        "{}",
        &text[text.len() - 100..]
    );
}

#[tokio::test]
async fn images_are_named_not_shown() {
    let mut sandbox = FakeSandbox::new(&[]);
    sandbox.files.insert("/workspace/p.png".into(), b"\x89PNG\r\n\x1a\nrest".to_vec());
    let text = told(&mut sandbox, "read", json!({ "path": "p.png" })).await;
    assert_eq!(text, "Read image file [image/png]");
}

#[tokio::test]
async fn edit_replaces() {
    let mut sandbox = FakeSandbox::new(&[("a.txt", "one\ntwo\nthree\n")]);
    let one = json!({ "path": "a.txt", "edits": [{ "oldText": "two", "newText": "2" }] });
    let text = told(&mut sandbox, "edit", one).await;
    assert_eq!(text, "Successfully replaced 1 block(s) in a.txt.");
    assert_eq!(sandbox.text("a.txt"), "one\n2\nthree\n");
    let two = json!({ "file": "a.txt", "edits": [
        { "oldText": "three", "newText": "one" }, { "oldText": "one", "newText": "three" }] });
    let text = told(&mut sandbox, "edit", two).await;
    assert_eq!(text, "Successfully replaced 2 block(s) in a.txt.");
    assert_eq!(sandbox.text("a.txt"), "three\n2\none\n");
    // Bare texts, and a list written as text, are the same edit.
    let bare = json!({ "path": "a.txt", "oldText": "2", "newText": "two" });
    told(&mut sandbox, "edit", bare).await;
    let text = json!({ "path": "a.txt", "edits": "[{\"oldText\":\"one\",\"newText\":\"1\"}]" });
    told(&mut sandbox, "edit", text).await;
    assert_eq!(sandbox.text("a.txt"), "three\ntwo\n1\n");
}

#[tokio::test]
async fn edit_tells_why_not() {
    let mut sandbox = FakeSandbox::new(&[("a.txt", "cat dog cat\nfish\n")]);
    let edit = |old: &str, new: &str| json!({ "path": "a.txt", "edits": [{ "oldText": old, "newText": new }] });
    assert_eq!(
        failure(&mut sandbox, "edit", edit("cat", "cow")).await,
        "Found 2 occurrences of the text in a.txt. The text must be unique. Please provide more \
         context to make it unique."
    );
    assert_eq!(
        failure(&mut sandbox, "edit", edit("bird", "cow")).await,
        "Could not find the exact text in a.txt. The old text must match exactly including all \
         whitespace and newlines.\nCurrent file contents:\ncat dog cat\nfish\n"
    );
    assert_eq!(
        failure(&mut sandbox, "edit", edit("dog", "dog")).await,
        "No changes made to a.txt. The replacement produced identical content. This might indicate \
         an issue with special characters or the text not existing as expected."
    );
    assert_eq!(
        failure(&mut sandbox, "edit", edit("", "x")).await,
        "oldText must not be empty in a.txt."
    );
    assert_eq!(
        failure(&mut sandbox, "edit", json!({ "path": "a.txt", "edits": [] })).await,
        "Edit tool input is invalid. edits must contain at least one replacement."
    );
    let missing = json!({ "path": "b.txt", "edits": [{ "oldText": "a", "newText": "b" }] });
    assert_eq!(failure(&mut sandbox, "edit", missing).await, "File not found: b.txt");
    let pair = |first: &str, second: &str| {
        json!({ "path": "a.txt", "edits": [
            { "oldText": first, "newText": "x" }, { "oldText": second, "newText": "y" }] })
    };
    assert_eq!(
        failure(&mut sandbox, "edit", pair("fish", "bird")).await,
        "Could not find edits[1] in a.txt. The oldText must match exactly including all whitespace \
         and newlines."
    );
    assert_eq!(
        failure(&mut sandbox, "edit", pair("cat", "fish")).await,
        "Found 2 occurrences of edits[0] in a.txt. Each oldText must be unique. Please provide more \
         context to make it unique."
    );
    assert_eq!(
        failure(&mut sandbox, "edit", pair("dog cat", "cat dog")).await,
        "edits[1] and edits[0] overlap in a.txt. Merge them into one edit or target disjoint regions."
    );
    assert_eq!(sandbox.text("a.txt"), "cat dog cat\nfish\n", "nothing was changed");
}

#[tokio::test]
async fn a_failed_edit_quotes_the_start_of_the_file() {
    let long = "é".repeat(900);
    let mut sandbox = FakeSandbox::new(&[("a.txt", &long)]);
    let edit = json!({ "path": "a.txt", "edits": [{ "oldText": "q", "newText": "r" }] });
    let message = failure(&mut sandbox, "edit", edit).await;
    let quoted = message.split_once("Current file contents:\n").unwrap().1;
    assert_eq!(quoted, format!("{}\n... (truncated)", "é".repeat(800)));
}

#[tokio::test]
async fn edit_sees_through_what_an_eye_does_not_see() {
    let mut sandbox = FakeSandbox::new(&[("a.txt", "say \u{201c}hi\u{201d}  \nend\n")]);
    let edit =
        json!({ "path": "a.txt", "edits": [{ "oldText": "say \"hi\"\nend", "newText": "bye" }] });
    told(&mut sandbox, "edit", edit).await;
    assert_eq!(sandbox.text("a.txt"), "bye\n");
    // Line ends and the byte-order mark stay as they were.
    let mut sandbox = FakeSandbox::new(&[("w.txt", "\u{feff}a\r\nb\r\nc\r\n")]);
    let edit = json!({ "path": "w.txt", "edits": [{ "oldText": "a\nb", "newText": "x\ny" }] });
    told(&mut sandbox, "edit", edit).await;
    assert_eq!(sandbox.text("w.txt"), "\u{feff}x\r\ny\r\nc\r\n");
    // Spaces alone are looked for to the letter.
    let mut sandbox = FakeSandbox::new(&[("s.txt", "a   b")]);
    let edit = json!({ "path": "s.txt", "edits": [{ "oldText": "   ", "newText": " " }] });
    told(&mut sandbox, "edit", edit).await;
    assert_eq!(sandbox.text("s.txt"), "a b");
    let again = json!({ "path": "s.txt", "edits": [{ "oldText": "  ", "newText": "-" }] });
    assert!(
        failure(&mut sandbox, "edit", again).await.starts_with("Could not find the exact text")
    );
}

#[tokio::test]
async fn a_broken_schema_is_an_error_with_what_was_received() {
    let mut sandbox = FakeSandbox::new(&[]);
    let result = call(&mut sandbox, "edit", json!({ "path": "a.txt" })).await;
    assert!(result.is_error);
    assert_eq!(
        result.text,
        "Validation failed for tool \"edit\":\n  - edits: must have required property 'edits'\n\n\
         Received arguments:\n{\n  \"path\": \"a.txt\"\n}"
    );
    let result = call(&mut sandbox, "edit", json!({ "oldText": "a", "path": "a.txt" })).await;
    assert_eq!(
        result.text,
        "Validation failed for tool \"edit\":\n  - edits: must have required property 'edits'\n  - \
         root: must NOT have additional properties\n\nReceived arguments:\n{\n  \"oldText\": \
         \"a\",\n  \"path\": \"a.txt\"\n}"
    );
    let result = call(&mut sandbox, "exec", json!("ls -l")).await;
    assert!(result.is_error);
    assert_eq!(
        result.text,
        "Validation failed for tool \"exec\":\n  - root: must be object\n\nReceived \
         arguments:\n\"ls -l\""
    );
    assert!(sandbox.commands.is_empty());
}

#[tokio::test]
async fn unknown_tools_are_errors() {
    let result = call(&mut FakeSandbox::new(&[]), "browse", json!({})).await;
    assert_eq!(result, ToolResult::error("Tool browse not found"));
}

fn shell(_files: &mut Files, command: &Command) -> Result<Outcome, SandboxError> {
    Ok(match command.argv[2].as_str() {
        "both" => outcome(Exit::Code(3), "out\nerr\n"),
        "silent" => outcome(Exit::Code(0), ""),
        "silent failure" => outcome(Exit::Code(1), "\n"),
        "unknown" => outcome(Exit::Code(127), "sh: 1: unknown: not found\n"),
        "./data" => outcome(Exit::Code(126), ""),
        "slow" => outcome(Exit::TimedOut, ""),
        "slow talk" => outcome(Exit::TimedOut, "tick\n"),
        "hungry" => outcome(Exit::OutOfMemory, "half\n"),
        "crash" => outcome(Exit::Signal(11), ""),
        "huge" => outcome(Exit::Code(0), format!("start{}end", "é".repeat(199_997))),
        "cut" => Outcome {
            dropped: 7,
            ..outcome(Exit::Code(0), [&[0xa9u8][..], "a\u{200b}b\u{7}\tc".as_bytes()].concat())
        },
        "cd -- \"$0\"" => match command.argv[3].as_str() {
            "/workspace/sub" => outcome(Exit::Code(0), ""),
            _ => outcome(Exit::Code(2), "sh: 1: cd: can't cd to it\n"),
        },
        _ => return Err(SandboxError::Broken("no such line".to_string())),
    })
}

#[tokio::test]
async fn exec_tells_what_happened() {
    let mut sandbox = FakeSandbox::with_shell(&[], shell);
    for (command, expected) in [
        ("both", "out\nerr\n\n(Command exited with code 3)"),
        ("silent", "(no output)"),
        ("silent failure", "(no output)\n\n(Command exited with code 1)"),
        ("unknown", "sh: 1: unknown: not found\n\nCommand not found"),
        ("./data", "Command not executable (permission denied)"),
        ("hungry", "half\n\nCommand aborted by signal SIGKILL"),
        ("crash", "Command aborted by signal SIGSEGV"),
        ("cut", "ab\tc"),
    ] {
        assert_eq!(told(&mut sandbox, "exec", json!({ "command": command })).await, expected);
    }
    assert_eq!(
        failure(&mut sandbox, "exec", json!({ "command": "" })).await,
        "Provide a command to start."
    );
}

#[tokio::test]
async fn exec_keeps_the_end_of_a_huge_output() {
    let mut sandbox = FakeSandbox::with_shell(&[], shell);
    let text = told(&mut sandbox, "exec", json!({ "command": "huge" })).await;
    assert_eq!(text.chars().count(), 200_000);
    assert!(text.ends_with("éend") && text.starts_with('é'));
}

#[tokio::test]
async fn exec_is_stopped_in_time() {
    let mut sandbox = FakeSandbox::with_shell(&[], shell);
    let advice = "If this command is expected to take longer, re-run with a higher timeout (e.g., \
                  exec timeout=300).";
    let slow = json!({ "command": "slow", "timeout": 1 });
    assert_eq!(
        told(&mut sandbox, "exec", slow).await,
        format!("Command timed out after 1 seconds. {advice}")
    );
    let talk = json!({ "command": "slow talk", "timeout": 300 });
    assert_eq!(
        told(&mut sandbox, "exec", talk).await,
        format!("tick\n\nCommand timed out after 20 seconds. {advice}")
    );
    told(&mut sandbox, "exec", json!({ "command": "silent", "timeout": 0.5 })).await;
    told(&mut sandbox, "exec", json!({ "command": "silent", "timeout": 0 })).await;
    let times: Vec<u64> = sandbox.commands.iter().map(|command| command.timeout_ms).collect();
    assert_eq!(times, [1_000, 20_000, 500, 20_000]);
}

#[tokio::test]
async fn exec_passes_folder_and_environment() {
    let mut sandbox = FakeSandbox::with_shell(&[], shell);
    let there = json!({ "command": "silent", "workdir": "sub", "env": { "N": 1, "M": "x" } });
    assert_eq!(told(&mut sandbox, "exec", there).await, "(no output)");
    let command = sandbox.commands.last().unwrap();
    assert_eq!(command.argv, ["sh", "-c", "silent"]);
    assert_eq!(command.workdir.as_deref(), Some("/workspace/sub"));
    let env = [("M", "x"), ("N", "1")].map(|(k, v)| (k.to_string(), v.to_string()));
    assert_eq!(command.env, env);
    let nowhere = json!({ "command": "silent", "workdir": "gone" });
    assert_eq!(
        told(&mut sandbox, "exec", nowhere).await,
        "Warning: workdir \"gone\" is unavailable; using \"/workspace\".\n\n(no output)"
    );
    assert_eq!(sandbox.commands.last().unwrap().workdir, None);
    let background = json!({ "command": "both", "background": true });
    assert_eq!(
        told(&mut sandbox, "exec", background).await,
        "Warning: background execution is disabled; running synchronously.\n\nout\nerr\n\n(Command \
         exited with code 3)"
    );
}

#[tokio::test]
async fn a_broken_sandbox_is_not_the_models_fault() {
    let mut sandbox = FakeSandbox::with_shell(&[], shell);
    let call = ToolCall {
        id: "call_1".to_string(),
        name: "exec".to_string(),
        arguments: json!({ "command": "anything else" }),
    };
    let tools = contract("claw/2026.4").unwrap();
    let err = tools.call(&mut sandbox, &call, &CallLimits::default()).await.unwrap_err();
    assert_eq!(err.to_string(), "the sandbox broke: no such line");
}
