//! `rollout.blackbox` in the process sandbox, and in a container.

use serde_json::{Value as Json, json};

use crate::models::server::{Server, delta, done, finish, status, stream, usage};
use crate::project::{Project, checkout, copy};

/// Worlds, and what is done with the runs of an agent on them.
pub(super) fn program(agent: &str, model: &str, count: usize, box_: &str) -> String {
    format!(
        r#"
use std/persona
use std/rollout
use std/skill
use std/task
use std/verify
use std/workspace

let box = sandbox("process", {box_})
stage people = persona.imagine(count: {count}, seed: 3)
stage errands = for p in people {{ skill.ground(persona: p) }}
stage tasks = for e in errands {{ task.write(grounding: e) }}
stage worlds = for t in tasks {{ workspace.mock(task: t) }}
stage runs = for w in worlds {{
  rollout.run(world: w, agent: {agent}, model: {model}, sandbox: box)
}}
stage grades = for r in runs {{ verify.grade(run: r, sandbox: box) }}
output tasks as "tasks.jsonl"
output runs as "runs.jsonl"
output grades as "grades.jsonl"
"#
    )
}

const BOX: &str = "memory: 512MiB, time: 1m";
const LOOP: &str =
    r#"rollout.blackbox(command: "python3 $CLAW_AGENT/loop.py", files: dir("agents"))"#;
const SOLVER: &str = r#"model("builtin/solver")"#;

/// A project with the agent of the examples.
fn project(program: &str) -> Project {
    let project = Project::new();
    copy(&checkout().join("examples/agents"), &project.path("agents"));
    project.write("main.claw", program);
    project
}

pub(super) fn rows(project: &Project, file: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(project.path(file)).expect("rows");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What the agents of the tests below begin with.
const ASK: &str = "\
import json, os, sys, urllib.request
def ask(messages, **more):
    body = json.dumps({'messages': messages, **more}).encode()
    head = {'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']}
    url = os.environ['OPENAI_BASE_URL'] + '/chat/completions'
    request = urllib.request.Request(url, body, head)
    return json.load(urllib.request.urlopen(request))['choices'][0]['message']
";

/// A project with an agent of a test's own, which may call `ask` five times.
fn own(agent: &str, box_: &str) -> Project {
    let project = Project::new();
    project.write("own/own.py", &format!("{ASK}{agent}\n"));
    let call = r#"rollout.blackbox(
      command: "python3 $CLAW_AGENT/own.py", files: dir("own"), max_steps: 5,
    )"#;
    project.write("main.claw", &program(call, SOLVER, 1, box_));
    project
}

#[test]
fn an_agent_that_knows_nothing_of_claw_solves_its_tasks() {
    if !crate::sandbox::works() {
        return;
    }
    let project = project(&program(LOOP, SOLVER, 3, BOX));
    project.ok(&["run", "main.claw", "--quiet"]);
    let grades = rows(&project, "grades.jsonl");
    assert_eq!(grades.len(), 3);
    for grade in &grades {
        assert_eq!(grade["reward"], json!(1.0), "{grade}");
        let run = &grade["run"];
        assert_eq!((&run["ending"], &run["finished"]), (&json!("answered"), &json!(true)));
        assert!(run["steps"].as_i64().unwrap() >= 2, "{run}");
    }
    let shown = project.ok(&["show", "grades", "--row", "0"]);
    for part in ["1.000 (passed)", "calls ", "workspace after", "blackbox/1 ended with code 0"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Its token, its port and its answers are the same when it is repeated, and so is all of its run.
    let runs = rows(&project, "runs.jsonl");
    project.ok(&["run", "main.claw", "--quiet", "--refresh", "runs"]);
    assert_eq!(rows(&project, "runs.jsonl"), runs);
    // What an agent of ours would have done with the same solution is the same work.
    let ours = project.path("ours.claw");
    std::fs::write(&ours, program("rollout.claw_tools(max_steps: 40)", SOLVER, 3, BOX)).unwrap();
    project.ok(&["run", "ours.claw", "--quiet"]);
    let after =
        |rows: &[Json]| rows.iter().map(|row| row["run"]["after"].clone()).collect::<Vec<_>>();
    assert_eq!(after(&grades), after(&rows(&project, "grades.jsonl")));
}

#[test]
fn an_agent_in_a_container_is_heard_as_well() {
    if crate::sandbox::docker().is_none() {
        return;
    }
    let set = |name: &str| std::env::var(name).expect("what the docker backend was made from");
    let contained = format!("image: {:?}, {BOX}", set("CLAW_TEST_IMAGE"));
    let text = program(LOOP, SOLVER, 1, &contained);
    let project = project(&text.replace("sandbox(\"process\"", "sandbox(\"docker\""));
    let mut run = project.command(&["run", "main.claw", "--quiet"]);
    let ran = run.env("DOCKER_HOST", set("CLAW_TEST_DOCKER")).output().expect("claw");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let grades = rows(&project, "grades.jsonl");
    assert_eq!(grades.len(), 1);
    assert_eq!(grades[0]["reward"], json!(1.0), "{}", grades[0]);
    assert_eq!(grades[0]["run"]["ending"], json!("answered"));
}

#[test]
fn a_run_that_broke_off_hears_again_what_was_said() {
    if !crate::sandbox::works() {
        return;
    }
    let project = project(&program(LOOP, r#"model("teacher")"#, 1, BOX));
    let toml = |url: &str| {
        format!(
            "[models.teacher]\nendpoint = \"{url}\"\nmodel = \"served\"\nretries = 0\n\
             token_ids = true\n"
        )
    };
    project.write("claw.toml", &toml("http://127.0.0.1:9"));
    project.ok(&["run", "main.claw", "--quiet", "--only", "tasks"]);
    let solution = rows(&project, "tasks.jsonl")[0]["solution"].clone();
    let steps = solution["calls"].as_array().expect("calls").clone();
    let last = steps.len();
    let server = Server::new(move |number, body| {
        let messages = body["messages"].as_array().expect("messages");
        let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
        if number == last {
            return status("503 Service Unavailable", "", "gone");
        }
        let said = match steps.get(turn) {
            Some(step) => {
                let arguments = step["arguments"].to_string();
                let function = json!({ "name": step["name"], "arguments": arguments });
                let call =
                    json!({ "index": 0, "id": format!("call_{turn}"), "function": function });
                json!({ "tool_calls": [call] })
            }
            None => json!({ "content": solution["answer"].as_str().unwrap_or("Done.") }),
        };
        let mut piece = delta(said);
        piece["choices"][0]["token_ids"] = json!([turn, 7]);
        let each = |logprob: f64| json!({ "token": "x", "logprob": logprob, "bytes": null });
        piece["choices"][0]["logprobs"] = json!({ "content": [each(-0.25), each(-1.5e-7)] });
        let mut steps = stream(&[piece, finish("stop"), usage(20, 7)]);
        steps.push(done());
        steps
    });
    project.write("claw.toml", &toml(&server.url));
    let broken = project.claw(&["run", "main.claw", "--quiet"]);
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert_eq!(broken.status.code(), Some(1), "{said}");
    assert!(said.contains("it answered 503 Service Unavailable: gone"), "{said}");
    assert_eq!(server.count(), last + 1);
    project.ok(&["run", "main.claw", "--quiet"]);
    assert_eq!(server.count(), last + 2, "only what was not answered is asked");
    let grade = &rows(&project, "grades.jsonl")[0];
    assert_eq!(grade["reward"], json!(1.0), "{grade}");
    let run = &grade["run"];
    assert_eq!(run["tokens_out"], json!(7 * (last + 1)), "{run}");
    let asked = &server.asked()[last + 1].body;
    assert_eq!(asked["tools"].as_array().map(Vec::len), Some(3), "its own tools were offered");
    assert_eq!((&asked["logprobs"], &asked["return_token_ids"]), (&json!(true), &json!(true)));
    // Those of the answers that were heard again are there too.
    let text = project.ok(&["show", "runs", "--row", "0", "trajectory"]);
    let trajectory: Json = serde_json::from_str(&text).expect("JSON");
    let turn = |turn: usize| {
        ((1 + 2 * turn).to_string(), json!({ "ids": [turn, 7], "log_probs": [-0.25, -1.5e-7] }))
    };
    let expected: serde_json::Map<String, Json> = (0..=last).map(turn).collect();
    assert_eq!(trajectory["outside"]["tokens"], Json::Object(expected));
}

#[test]
fn an_agent_without_an_end_is_ended() {
    if !crate::sandbox::works() {
        return;
    }
    let forever = "open('begun', 'w').write('x')\nat = 0\nwhile True:\n    at += 1\n    try: \
                   ask([{'role': 'user', 'content': str(at)}])\n    except OSError: pass";
    let project = own(forever, BOX);
    project.ok(&["run", "main.claw", "--quiet"]);
    let run = &rows(&project, "runs.jsonl")[0];
    assert_eq!((&run["ending"], &run["finished"]), (&json!("max_steps"), &json!(false)), "{run}");
    assert_eq!(run["steps"], json!(5));
    let shown = project.ok(&["show", "runs", "--row", "0"]);
    assert!(shown.contains("+ begun"), "its workspace is kept: {shown}");
    assert!(shown.contains("said beside it"), "five conversations: {shown}");

    let sleeps = "ask([{'role': 'user', 'content': 'Hello?'}])\nimport time\ntime.sleep(600)";
    let project = own(sleeps, "memory: 512MiB, time: 3s");
    project.ok(&["run", "main.claw", "--quiet"]);
    let run = &rows(&project, "runs.jsonl")[0];
    assert_eq!((&run["ending"], &run["steps"]), (&json!("timeout"), &json!(1)), "{run}");
}

#[test]
fn failures_of_the_agent_are_told_apart() {
    if !crate::sandbox::works() {
        return;
    }
    let crashes = "ask([{'role': 'user', 'content': 'Hello?'}])\nprint('oh')\nsys.exit(3)";
    let project = own(crashes, BOX);
    project.ok(&["run", "main.claw", "--quiet"]);
    let run = &rows(&project, "runs.jsonl")[0];
    assert_eq!((&run["ending"], &run["finished"]), (&json!("failed"), &json!(false)), "{run}");
    let shown = project.ok(&["show", "runs", "--row", "0"]);
    assert!(shown.contains("ended with code 3") && shown.contains("  oh\n"), "{shown}");

    // Who shows another key is not heard, and so has asked nothing.
    let other = "os.environ['OPENAI_API_KEY'] = 'claw-' + '0' * 64\n\
                 try: ask([{'role': 'user', 'content': 'Hello?'}])\n\
                 except urllib.error.HTTPError as error: print('told', error.code)";
    let project = own(other, BOX);
    let output = project.claw(&["run", "main.claw", "--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ended with code 0 and had asked its model nothing"), "{said}");
    let failed = project.ok(&["show", "runs", "--failed"]);
    assert!(failed.contains("told 401"), "{failed}");
}

#[test]
fn an_agent_gets_its_task_its_files_and_no_network() {
    if !crate::sandbox::works() {
        return;
    }
    let outside = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = outside.local_addr().expect("an address").port();
    let looks = format!(
        "import socket, subprocess\n\
         task = open(os.environ['CLAW_TASK_FILE']).read()\n\
         assert task == os.environ['CLAW_TASK'] and len(task) > 20\n\
         assert os.getcwd() == '/workspace' and not os.path.exists('own.py')\n\
         folder = os.environ['CLAW_AGENT']\n\
         said = subprocess.run([folder + '/sub/hello'], capture_output=True, text=True).stdout\n\
         try: socket.create_connection(('127.0.0.1', {port}), 5); said += 'reached'\n\
         except OSError: said += 'nobody'\n\
         model = json.load(urllib.request.urlopen(urllib.request.Request(\n    \
         os.environ['OPENAI_BASE_URL'] + '/models',\n    \
         headers={{'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']}})))['data'][0]['id']\n\
         assert model == os.environ['CLAW_MODEL']\n\
         open('seen', 'w').write(said)\n\
         ask([{{'role': 'user', 'content': said}}])"
    );
    let project = own(&looks, BOX);
    project.write("own/sub/hello", "#!/bin/sh\necho hello\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(project.path("own/sub/hello"), mode).expect("permissions");
    project.ok(&["run", "main.claw", "--quiet"]);
    let shown = project.ok(&["show", "runs", "--row", "0"]);
    assert!(shown.contains("user:\n  hello\n  nobody\n"), "{shown}");
    assert!(shown.contains("+ seen"), "{shown}");
}

#[test]
fn an_agent_that_cannot_be_is_refused() {
    if !crate::sandbox::works() {
        return;
    }
    for (agent, code, told) in [
        (r#"rollout.blackbox(command: " ")"#, 1, "`command` is empty"),
        (r#"rollout.blackbox(command: "true", max_steps: 0)"#, 2, "`max_steps` is out of range"),
        (r#"rollout.openclaw(version: "latest")"#, 1, "one of the package's versions"),
        (
            r#"rollout.openclaw(version: "2026.4.1")"#,
            1,
            "claw.toml does not say where OpenClaw is installed",
        ),
    ] {
        let project = project(&program(agent, SOLVER, 1, BOX));
        let output = project.claw(&["run", "main.claw", "--quiet"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(told), "{agent}: {said}");
    }
}
