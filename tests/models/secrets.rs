//! Keys and secrets: whatever a server says and however a run ends, they are sent to the endpoint
//! and kept nowhere: not in the store, not in a log, not in an output, not on the screen.

use serde_json::json;

use crate::project::Project;

use super::pipelines::bytes_below;
use super::rollout;
use super::server::{Server, Step, calls, delta, done, finish, says, send, status, stream, usage};

const KEY: &str = "sk-Loopback/9f+31C6aD0=x";
const TOKEN: &str = "tok-5b1e77Aa-secret-parameter";
const VARIABLE: &str = "var-0c94De21-secret-variable";

/// Everything that a project keeps and said, in lower case: a header may come in another one.
fn kept(project: &Project, said: &str) -> Vec<u8> {
    let mut kept = Vec::new();
    bytes_below(&project.path(""), &mut kept);
    kept.extend(said.as_bytes());
    kept.to_ascii_lowercase()
}

#[track_caller]
fn assert_hidden(kept: &[u8], secrets: &[&str]) {
    for secret in secrets {
        let secret = secret.to_ascii_lowercase();
        let found = kept.windows(secret.len()).position(|bytes| bytes == secret.as_bytes());
        if let Some(at) = found {
            let around = &kept[at.saturating_sub(80)..(at + secret.len() + 20).min(kept.len())];
            panic!("a secret is kept: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Runs commands with all secrets in the environment; gives all that they print.
fn run(project: &Project, commands: &[&[&str]]) -> String {
    let mut said = String::new();
    for args in commands {
        let mut command = project.command(args);
        command.env("SECRET_KEY", KEY).env("SECRET_VARIABLE", VARIABLE).env("API_TOKEN", TOKEN);
        let output = command.output().expect("claw starts");
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }
    said
}

fn project(server: &Server, program: &str) -> Project {
    let project = Project::new();
    project.write(
        "claw.toml",
        &format!(
            "[models.teacher]\nendpoint = \"{}\"\nmodel = \"served\"\nkey_env = \"SECRET_KEY\"\n\
             retries = 0\nbackoff_seconds = 0.01\nprices = {{ input = 1, output = 1 }}\n",
            server.url
        ),
    );
    project.write("main.claw", program);
    project
}

/// Ways in which a server can repeat what it was sent.
fn echoes() -> Vec<Vec<Step>> {
    let error =
        json!({ "error": { "message": format!("bad Bearer {KEY}"), "code": KEY } }).to_string();
    let header =
        format!("x-echo: {KEY}\r\nwww-authenticate: Bearer {KEY}\r\nset-cookie: k={KEY}\r\n");
    let answer = |content: &str| {
        let mut steps = stream(&[
            delta(json!({ "reasoning_content": format!("the key is {KEY}") })),
            delta(json!({ "content": content })),
            finish("stop"),
            usage(3, 4),
        ]);
        steps.push(done());
        steps
    };
    let escaped: String = KEY.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    let unicode = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n{header}\r\n\
         {{\"choices\": [{{\"message\": {{\"content\": \"[\\\"{escaped}\\\"]\"}}, \
         \"finish_reason\": \"stop\"}}]}}"
    );
    let kind =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/{KEY}\r\nconnection: close\r\n\r\n{KEY}");
    let (half, rest) = KEY.split_at(9);
    let mut halves = stream(&[
        delta(json!({ "content": format!("[\"{half}") })),
        delta(json!({ "content": format!("{rest}\"]") })),
        finish("stop"),
    ]);
    halves.push(done());
    let mut refusal =
        stream(&[delta(json!({ "refusal": format!("not for {KEY}") })), finish("stop")]);
    refusal.push(done());
    let mut filtered = stream(&[delta(json!({ "content": KEY })), finish("content_filter")]);
    filtered.push(done());
    vec![
        status("500 Internal Server Error", &header, &error),
        status("401 Unauthorized", &header, &error),
        status("400 Bad Request", &header, &error),
        status("429 Too Many Requests", &format!("retry-after: {KEY}\r\n"), &error),
        status("302 Found", &format!("location: http://127.0.0.1/?key={KEY}\r\n"), &error),
        status("418 I'm a teapot", &header, &format!("plain {KEY} text")),
        answer(&format!("no JSON: {KEY}")),
        answer(&format!("{{\"{KEY}\": \"{KEY}\"}}")),
        vec![send(&unicode)],
        vec![send(&kind)],
        halves,
        refusal,
        filtered,
        stream(&[json!({ "error": { "message": format!("died of {KEY}") } })]),
        stream(&[delta(json!({ "content": format!("broken off {KEY}") }))]),
        vec![send(&format!("{KEY}\r\n\r\n"))],
    ]
}

#[test]
fn nothing_that_a_server_repeats_is_kept() {
    let echoes = echoes();
    let count = echoes.len();
    let server = Server::new(move |_, body| {
        let asked = body["messages"][0]["content"].as_str().expect("a prompt");
        let number: usize = asked.trim_end_matches('?').parse().expect("a number");
        echoes[number].clone()
    });
    let program = format!(
        "use std/llm\nstage a = for n in 0..{count} {{ llm.json(model: model(\"teacher\"), prompt: \
         \"{{n}}?\") }} with {{ on_error: keep, retries: 1, backoff: 1ms }}\noutput a as \"a.jsonl\"\n"
    );
    let project = project(&server, &program);
    let said = run(
        &project,
        &[
            &["run", "main.claw"],
            &["show", "a"],
            &["show", "a", "--failed"],
            &["show", "a", "--failed", "--json"],
            &["run", "main.claw", "--json"],
            &["diff"],
            &["plan", "main.claw"],
            &["runs", "--json"],
            &["doctor"],
            &["store", "check"],
        ],
    );
    let head = &server.asked()[0].head;
    assert!(
        head.contains(&format!("bearer {}", KEY.to_ascii_lowercase())),
        "the key is sent: {head}"
    );
    assert!(server.count() >= count, "everything was asked");
    let kept = kept(&project, &said);
    let has = |word: &str| kept.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    for word in ["bad bearer [key]", "text/[key]", "died of [key]", "not for [key]", "{\"[key]\":"]
    {
        assert!(has(word), "what was said is kept without it: {word}");
    }
    assert_hidden(&kept, &[KEY]);
}

#[test]
fn nor_what_it_repeats_in_an_episode() {
    if !crate::sandbox::works() {
        return;
    }
    let server = Server::new(|number, _| match number {
        0 => calls(
            KEY,
            "exec",
            &json!({ "command": format!("echo {KEY} > key.txt; env; cat key.txt") }),
        ),
        1 => calls("b", KEY, &json!({ "command": "true" })),
        _ => says(&format!("The key is {KEY}.")),
    });
    let project = project(&server, rollout::PROGRAM);
    let said = run(&project, &[&["run", "main.claw"], &["show", "runs", "--row", "0"], &["diff"]]);
    assert!(server.count() >= 3, "{said}");
    assert!(said.contains("[key]"), "{said}");
    assert_hidden(&kept(&project, &said), &[KEY, VARIABLE, TOKEN]);
}

#[test]
fn secret_parameters_and_variables_are_kept_nowhere() {
    let server = Server::of(vec![says("Ha!")]);
    let program = r#"
use std/llm
secret param token: str = env("API_TOKEN")
secret param given: str
stage jokes = for topic in ["rain"] {
  llm.text(model: model("teacher"), prompt: "A joke about {topic}.")
}
output jokes as "jokes.jsonl"
"#;
    let project = project(&server, program);
    let given = format!("given={VARIABLE}");
    let mut said = run(&project, &[&["run", "main.claw", "-p", &given], &["runs", "--json"]]);
    assert_eq!(server.count(), 1, "{said}");
    // Where a value would go into a row, a run must not go on with it.
    for used in ["token", "secret(\"SECRET_VARIABLE\")"] {
        let program =
            format!("{program}\nstage leak = [{{ id: {used} }}]\noutput leak as \"leak.jsonl\"\n");
        project.write("main.claw", &program);
        said += &run(
            &project,
            &[
                &["check", "main.claw"],
                &["plan", "main.claw"],
                &["run", "main.claw", "-p", &given],
                &["show"],
                &["diff"],
            ],
        );
    }
    // A text that does not parse must not be repeated either.
    let broken = format!("token=\"{VARIABLE}");
    said += &run(&project, &[&["run", "main.claw", "-p", &broken]]);
    assert_hidden(&kept(&project, &said), &[KEY, TOKEN, VARIABLE]);
}
