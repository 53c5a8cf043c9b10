//! Every policy of `with { … }` through the real program, against a server that does as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use crate::project::Project;

use super::server::{Server, Step, says, status, wait};

/// A project whose model asks once and leaves the rest to the stage's policy.
fn project(server: &Server, program: &str) -> Project {
    let project = Project::new();
    project.write(
        "claw.toml",
        &format!(
            "[models.m]\nendpoint = \"{}\"\nmodel = \"served\"\nretries = 0\nconcurrency = 64\n",
            server.url
        ),
    );
    project.write("main.claw", program);
    project
}

/// Runs it; gives the exit code and what was said.
fn run(project: &Project, args: &[&str]) -> (Option<i32>, String) {
    let output = project.claw(&[&["run", "main.claw", "--quiet"], args].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[track_caller]
fn ok(project: &Project) {
    let (code, said) = run(project, &[]);
    assert_eq!(code, Some(0), "{said}");
}

fn prompt(body: &Json) -> String {
    body["messages"][0]["content"].as_str().expect("a prompt").to_string()
}

/// The prompts that were sent, sorted, with how often each was.
fn prompts(server: &Server) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for asked in server.asked() {
        *out.entry(prompt(&asked.body)).or_default() += 1;
    }
    out
}

fn down() -> Vec<Step> {
    status("503 Service Unavailable", "", "{}")
}

/// A stage that asks for JSON about each of these numbers.
fn asks(numbers: &str, policy: &str) -> String {
    format!(
        "use std/llm\nstage a = for n in {numbers} {{ llm.json(model: model(\"m\"), prompt: \
         \"{{n}}\") }} with {{ {policy} }}\noutput a as \"a.jsonl\"\n"
    )
}

#[test]
fn retries_and_backoff() {
    let server = Server::new(|number, _| if number < 2 { down() } else { says("[1]") });
    let project = project(&server, &asks("[1]", "retries: 1, backoff: 200ms"));
    let (code, said) = run(&project, &[]);
    assert_eq!((code, server.count()), (Some(1), 2), "{said}");
    let asked = server.asked();
    // The first pause is between one and two backoffs; then it doubles.
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(200));
    ok(&project);
    let log = project.json(&["runs"])[1]["id"].as_str().expect("an id").to_string();
    let events = project.path(".claw/runs").join(log).join("events.jsonl");
    let events = std::fs::read_to_string(events).expect("a log");
    assert_eq!(events.matches("\"event\":\"retry\"").count(), 1, "{events}");
}

#[test]
fn timeout() {
    let server = Server::new(|number, _| if number == 0 { vec![Step::Gate] } else { says("[1]") });
    let project = project(&server, &asks("[1]", "timeout: 1500ms"));
    let (code, said) = run(&project, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("took longer than the stage's timeout of 1500 ms"), "{said}");
    ok(&project);
}

/// Answers JSON, or words where the number is small.
fn words_up_to(last: u64) -> Server {
    Server::new(move |_, body| {
        let number: u64 = prompt(body).parse().expect("a number");
        says(if number <= last { "in words" } else { "[1]" })
    })
}

#[test]
fn on_error_stops_as_soon_as_the_share_cannot_be_kept() {
    let server = words_up_to(50);
    let one_by_one = "concurrency: 1, on_error: drop(at_most: 5%)";
    let project = project(&server, &asks("1..=100", one_by_one));
    let (code, said) = run(&project, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("6 of 100 rows failed, more than the 5 % that"), "{said}");
    assert_eq!(server.count(), 6, "the sixth was one too many, and nothing more was asked");

    // Fifty of a hundred may fail: every row is tried, and what is good is kept.
    project.write("main.claw", &asks("1..=100", "on_error: drop(at_most: 50%)"));
    ok(&project);
    assert_eq!(server.count(), 106);
    let rows = std::fs::read_to_string(project.path("a.jsonl")).expect("rows");
    assert_eq!(rows.lines().count(), 50);

    // With `keep` any number may; those that failed are tried again, the others are not.
    project.write("main.claw", &asks("1..=100", "on_error: keep"));
    ok(&project);
    assert_eq!(server.count(), 156);

    // Without a word the first one is one too many.
    project.write("main.claw", &asks("1..=100", "concurrency: 1"));
    let (code, said) = run(&project, &[]);
    assert_eq!((code, server.count()), (Some(1), 157), "{said}");
    assert!(said.contains("is not JSON"), "{said}");
}

#[test]
fn a_stage_that_fails_stops_the_whole_run() {
    let failed = Arc::new(AtomicBool::new(false));
    let seen = failed.clone();
    let server = Server::new(move |_, body| {
        let prompt = prompt(body);
        if prompt == "bad" {
            seen.store(true, Ordering::SeqCst);
            return says("in words");
        }
        while !seen.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        [vec![wait(20)], says("[1]")].concat()
    });
    let program = "use std/llm\n\
        stage slow = for n in 1..=200 { llm.text(model: model(\"m\"), prompt: \"{n}\") } with \
        { concurrency: 1 }\n\
        stage bad = llm.json(model: model(\"m\"), prompt: \"bad\")\n\
        output slow\noutput bad\n";
    let project = project(&server, program);
    let (code, said) = run(&project, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stage `bad`") && !said.contains("stage `slow`"), "{said}");
    let before = server.count();
    assert!(before < 100, "{before} were asked; another stage went on");
    // What was done is kept.
    let slow = program.replace("output bad\n", "");
    project.write("main.claw", &slow);
    ok(&project);
    let again = prompts(&server).values().filter(|times| **times > 1).count();
    assert!(again <= 1, "{again} prompts were asked twice; one was in flight");
}

#[test]
fn concurrency_and_resources_bound_what_is_under_way() {
    for policy in ["concurrency: 2", "resources: { cpu: 2 }", "resources: { cpu: 1.5 }"] {
        let server = Server::new(|_, _| [vec![wait(20)], says("[1]")].concat());
        let project = project(&server, &asks("1..=12", policy));
        let (code, said) = run(&project, &["--threads", "4"]);
        assert_eq!((code, server.count()), (Some(0), 12), "{said}");
        assert!(server.most() <= 2, "{} at once with {policy}", server.most());
    }
    // Without a bound there are more: the server can tell.
    let server = Server::new(|_, _| [vec![wait(200)], says("[1]")].concat());
    let project = project(&server, &asks("1..=12", "retries: 0"));
    ok(&project);
    assert!(server.most() > 2, "{}", server.most());
}

#[test]
fn what_does_not_fit_the_machine_is_refused_before_anything_is_asked() {
    let cases = [
        ("memory: 900000GiB", "900000.0 GiB of memory, and there are "),
        ("cpu: 5", "5 processors, and there are 4"),
        ("gpu: 1000", "1000 graphics processors, and there are "),
    ];
    for (resources, told) in cases {
        let server = Server::of(vec![says("[1]")]);
        let project = project(&server, &asks("[1]", &format!("resources: {{ {resources} }}")));
        let (code, said) = run(&project, &["--threads", "4"]);
        assert_eq!((code, server.count()), (Some(2), 0), "{said}");
        assert!(said.contains(&format!("a call of stage `a` needs {told}")), "{said}");
        assert!(said.contains("ask for less in `resources`"), "{said}");
    }
}

#[test]
fn cache_on_off_and_refresh() {
    let server = Server::new(|number, _| says(&format!("[{number}]")));
    let answers = |policy: &str| {
        let project = project(&server, &asks("[1]", policy));
        move |policy: &str| {
            project.write("main.claw", &asks("[1]", policy));
            ok(&project);
            std::fs::read_to_string(project.path("a.jsonl")).expect("rows").trim().to_string()
        }
    };
    let with = answers("cache: on");
    assert_eq!(with("cache: on"), "[0]");
    assert_eq!(with("cache: on"), "[0]");
    assert_eq!(with("cache: off"), "[1]");
    assert_eq!(with("cache: off"), "[2]");
    assert_eq!(with("cache: on"), "[0]", "what was made with `off` is not kept");
    assert_eq!(with("cache: refresh"), "[3]");
    assert_eq!(with("cache: on"), "[3]", "what was made with `refresh` took its place");
    assert_eq!(server.count(), 4);
}

/// The rows come in the opposite order, and the canary looks at the first ones all the same.
#[test]
fn a_canary_is_the_first_rows_in_their_order() {
    let server = Server::new(|_, body| {
        let prompt = prompt(body);
        match prompt.strip_prefix("first ") {
            Some(number) => {
                let number: u64 = number.parse().expect("a number");
                [vec![wait(60 * (6 - number))], says(&format!("second {number}"))].concat()
            }
            None => says(if prompt.as_str() <= "second 2" { "in words" } else { "[1]" }),
        }
    });
    let program = |policy: &str| {
        format!(
            "use std/llm\n\
             stage first = for n in 1..=6 {{ llm.text(model: model(\"m\"), prompt: \"first {{n}}\") \
             }}\n\
             stage second = for prompt in first {{ llm.json(model: model(\"m\"), prompt: prompt) \
             }} with {{ \
             on_error: keep, {policy} }}\noutput second as \"second.jsonl\"\n"
        )
    };
    let project = project(&server, &program("canary: 2, gate: .failed_share < 50%"));
    let (code, said) = run(&project, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the gate does not hold after the first 2 rows (2 of them failed)"),
        "{said}"
    );
    let asked = prompts(&server);
    let second: Vec<&str> =
        asked.keys().filter(|one| one.starts_with("second")).map(String::as_str).collect();
    assert_eq!(second, ["second 1", "second 2"]);

    // Without a gate it is enough that one of them came through.
    project.write("main.claw", &program("canary: 3"));
    ok(&project);
    assert_eq!(prompts(&server).len(), 12);
    let rows = std::fs::read_to_string(project.path("second.jsonl")).expect("rows");
    assert_eq!(rows.lines().count(), 4);
}
