//! The tools, call by call.

use claw::agent::{CallLimits, Contract, Defect, Prompts, SandboxTools, ToolResult};
use claw::model::ToolCall;
use claw::sandbox::{
    Backend, Closed, Command, Exit, FileError, Limits, LocalBackend, Outcome, Sandbox, SandboxError,
};
use claw::store::{MemoryObjects, Objects, Tree};
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json, json};

use super::{Came, cases, compare, explain, made, python, settle, text};

/// As long as the folder in which the cases were observed: texts are clipped with it in them.
const WORK: &str = "/tmp/lisw";
/// Where relative paths start.
const START: &str = "/workspace";

/// The work directory of a case.
fn work(case: &Json) -> &'static str {
    let relative = |step: &Json| {
        let path = text(&step["parameters"], "path");
        !path.is_empty() && !path.starts_with("{W}") && !path.starts_with('/')
    };
    if case["steps"].as_array().expect("steps").iter().any(relative) { START } else { WORK }
}

/// A sandbox, better than the machine itself where there is one, with room for a long output.
pub(super) async fn open() -> Box<dyn Sandbox> {
    let objects = MemoryObjects::default();
    let process = crate::sandbox::shared().map(|backend| backend as &dyn Backend);
    let backend = process.unwrap_or(&LocalBackend);
    let limits = Limits { output: 800_000, ..Limits::default() };
    backend.open(&Tree::default(), &objects, &limits).await.expect("a sandbox opens")
}

pub(super) fn limits() -> CallLimits {
    CallLimits { exec_ms: 120_000, ..CallLimits::default() }
}

fn contract(defects: &[Defect]) -> SandboxTools {
    SandboxTools::new(Prompts::general(), defects.iter().copied())
}

async fn call(
    tools: &SandboxTools,
    sandbox: &mut dyn Sandbox,
    name: &str,
    arguments: Json,
    limits: &CallLimits,
) -> ToolResult {
    // A text that is not an object reaches a contract as the model wrote it.
    let arguments =
        if arguments.is_object() { arguments } else { Json::String(arguments.to_string()) };
    let call = ToolCall { id: "call_1".to_string(), name: name.to_string(), arguments };
    tools.call(sandbox, &call, limits).await.expect("the sandbox works")
}

async fn sh(sandbox: &mut dyn Sandbox, line: &str, words: &[&str]) -> Vec<u8> {
    let mut argv = vec!["sh".to_string(), "-c".to_string(), line.to_string(), "sh".to_string()];
    argv.extend(words.iter().map(|word| word.to_string()));
    let (workdir, env, stdin) = (None, Vec::new(), Vec::new());
    let command = Command { argv, workdir, env, stdin, timeout_ms: 60_000, report: false };
    sandbox.exec(&command).await.expect("the sandbox works").output
}

/// The files of the work directory, as the cases write them.
async fn files(sandbox: &mut dyn Sandbox, work: &str) -> Map<String, Json> {
    let listed = sh(sandbox, "cd \"$1\" && find . -type f -printf '%P\\0'", &[work]).await;
    let mut files = Map::new();
    for name in String::from_utf8_lossy(&listed).split('\0').filter(|name| !name.is_empty()) {
        let bytes = sandbox.read(&format!("{work}/{name}"), 16 << 20).await.expect("a file");
        files.insert(name.to_string(), Json::String(String::from_utf8_lossy(&bytes).into_owned()));
    }
    files
}

fn same_files(expected: &Json, actual: &Map<String, Json>, work: &str) -> Result<(), String> {
    let expected = expected.as_object().expect("files by name");
    let names =
        |files: &Map<String, Json>| files.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !expected.keys().eq(actual.keys()) {
        return Err(format!("files: observed [{}], here [{}]", names(expected), names(actual)));
    }
    for (name, expected) in expected {
        compare(name, &made(expected, work), actual[name].as_str().expect("text"))?;
    }
    Ok(())
}

fn sorted_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

async fn edit_as(case: &Json, defects: &[Defect]) -> Result<(), String> {
    let mut sandbox = open().await;
    let work = work(case);
    if work == WORK {
        sh(&mut *sandbox, "rm -rf \"$1\"; mkdir -p \"$1\"", &[WORK]).await;
    }
    for (name, content) in case["files_before"].as_object().expect("files by name") {
        let content = made(content, work);
        let content = content.as_str().expect("text");
        let bytes = if text(case, "id").contains("latin1") {
            content.chars().map(|c| u8::try_from(c).expect("Latin-1")).collect()
        } else {
            content.as_bytes().to_vec()
        };
        sandbox.write(&format!("{work}/{name}"), &bytes).await.expect("written");
    }
    for folder in case["dirs_before"].as_array().expect("folders") {
        let folder = format!("{work}/{}", folder.as_str().expect("a path"));
        sh(&mut *sandbox, "mkdir -p \"$1\"", &[&folder]).await;
    }
    let tools = contract(defects);
    let any_order = case.get("order_insensitive_listing") == Some(&json!(true));
    for step in case["steps"].as_array().expect("steps") {
        let arguments = made(&step["parameters"], work);
        let told =
            call(&tools, &mut *sandbox, text(step, "function"), arguments, &limits()).await.text;
        match step.get("observation") {
            Some(expected) if any_order => {
                let expected = made(expected, work);
                let expected = sorted_lines(expected.as_str().expect("text"));
                compare("the listing", &json!(expected), &sorted_lines(&told))?;
            }
            Some(expected) => compare("the answer", expected, &told.replace(work, "{W}"))?,
            None if step.get("raises").is_some() => {
                return Err(format!("the original breaks down; here: {told}"));
            }
            None => return Err("a step without an observation".to_string()),
        }
        same_files(&step["files_after"], &files(&mut *sandbox, work).await, work)?;
    }
    Ok(())
}

/// A call at which the original breaks down is answered, as an error, and changes nothing.
async fn survives(case: &Json) -> Came {
    let mut cut = case.clone();
    let steps = cut["steps"].as_array_mut().expect("steps");
    let at = steps.iter().position(|step| step.get("raises").is_some()).expect("such a step");
    steps.truncate(at + 1);
    let fault = steps[at].as_object_mut().expect("a step");
    fault.remove("raises");
    fault.insert("observation".to_string(), json!({ "head": ERROR }));
    for defects in [&[][..], &Defect::ALL[..]] {
        if edit_as(&cut, defects).await.is_ok() {
            return Came::Differently(vec!["breaks_down".to_string()]);
        }
    }
    Came::Wrong("a call at which the original breaks down is not told as an error".to_string())
}

const ERROR: &str = "Execution output of \\[str_replace_editor]:\nError: ";

#[tokio::test]
async fn editor() {
    let mut came = Vec::new();
    for case in cases("editor") {
        let breaks = case["steps"].as_array().expect("steps").iter();
        let how = if breaks.clone().any(|step| step.get("raises").is_some()) {
            survives(&case).await
        } else {
            explain(|defects| {
                let case = case.clone();
                async move { edit_as(&case, &defects).await }
            })
            .await
        };
        came.push((text(&case, "id").to_string(), portable(&case, how)));
    }
    settle("editor", came);
}

/// A case that holds on the machine alone where it was observed may differ.
fn portable(case: &Json, came: Came) -> Came {
    match came {
        Came::Wrong(_) if case.get("portable") == Some(&json!(false)) => {
            Came::Differently(vec!["machine".to_string()])
        }
        came => came,
    }
}

async fn bash_as(case: &Json, defects: &[Defect]) -> Result<(), String> {
    let mut sandbox = open().await;
    let mut limits = limits();
    if let Some(seconds) = case.get("timeout").and_then(Json::as_f64) {
        limits.exec_ms = (seconds * 1_000.0) as u64;
    }
    let work = "/workspace";
    let arguments = json!({ "command": made(&case["command"], work) });
    let told = call(&contract(defects), &mut *sandbox, "execute_bash", arguments, &limits).await;
    compare("the answer", &made(&case["observation"], work), &told.text)
}

/// A case whose command ended by a signal, with the code that a shell tells for it.
fn by_shell(case: &Json) -> Option<Json> {
    let (before, rest) = text(case, "observation").split_once("Exit code -")?;
    let (signal, rest) = rest.split_once('\n')?;
    let code = 128 + signal.parse::<i32>().ok().filter(|signal| *signal > 1)?;
    let mut case = case.clone();
    case["observation"] = json!(format!("{before}Exit code {code}\n{rest}"));
    Some(case)
}

#[tokio::test]
async fn bash() {
    let mut came = Vec::new();
    for case in cases("bash") {
        let how = explain(|defects| {
            let case = case.clone();
            async move { bash_as(&case, &defects).await }
        })
        .await;
        let how = match (how, by_shell(&case)) {
            (Came::Wrong(_), Some(case)) if bash_as(&case, &[]).await.is_ok() => {
                Came::Differently(vec!["signals".to_string()])
            }
            (how, _) => how,
        };
        came.push((text(&case, "id").to_string(), portable(&case, how)));
    }
    settle("bash", came);
}

/// A sandbox in which every command has the same end.
struct Said(Outcome);

impl Sandbox for Said {
    fn exec_until<'a>(
        &'a mut self,
        _command: &'a Command,
        _enough: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<Outcome, SandboxError>> {
        Box::pin(async move { Ok(self.0.clone()) })
    }

    fn read<'a>(
        &'a mut self,
        _path: &'a str,
        _limit: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FileError>> {
        unreachable!("nothing is read")
    }

    fn write<'a>(
        &'a mut self,
        _path: &'a str,
        _bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<(), FileError>> {
        unreachable!("nothing is written")
    }

    fn close<'a>(
        self: Box<Self>,
        _objects: &'a dyn Objects,
    ) -> BoxFuture<'a, Result<Closed, SandboxError>> {
        unreachable!("nothing is kept")
    }
}

/// One of a case's streams; `None` where the original had none apart.
fn stream(case: &Json, name: &str) -> Option<String> {
    let input = &case["input"];
    match input.get(format!("{name}_gen")).and_then(Json::as_str) {
        Some(expression) => Some(python(expression, b"")),
        None => input.get(name).and_then(Json::as_str).map(str::to_string),
    }
}

async fn observe_as(case: &Json, defects: &[Defect]) -> Result<(), String> {
    let tools = contract(defects);
    let expected = &case["expected"];
    let name = text(case, "function");
    if name.is_empty() {
        return compare("the reminder", expected, tools.manners().nudge.expect("one"));
    }
    let (out, err) = (stream(case, "stdout"), stream(case, "stderr"));
    let arguments = match (name, &out, &err) {
        ("execute_bash", None, None) => json!("ls"),
        _ => json!({ "command": "x" }),
    };
    let (exit, raw) = match &case["exit"] {
        Json::Number(code) => (code.as_i64().expect("a code") as i32, true),
        Json::String(text) if text == "-1" => (124, false),
        Json::String(text) => {
            (text.rsplit(' ').next().expect("a word").parse().expect("a code"), false)
        }
        other => panic!("an exit code that is {other}"),
    };
    let mut sandbox = Said(Outcome {
        exit: Exit::Code(exit),
        output: out.unwrap_or_default().into_bytes(),
        dropped: 0,
        report: err.unwrap_or_default().into_bytes(),
    });
    let told = call(&tools, &mut sandbox, name, arguments, &limits()).await.text;
    match (raw && exit != 0, expected.as_str()) {
        // The original's commands never hand such a code on: the words around it come first.
        (true, Some(expected)) => {
            let rest = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_string());
            compare("the answer", &json!(rest(expected)), &rest(&told).unwrap_or_default())
        }
        _ => compare("the answer", expected, &told),
    }
}

#[tokio::test]
async fn observation() {
    let mut came = Vec::new();
    for case in cases("observation") {
        let how = explain(|defects| {
            let case = case.clone();
            async move { observe_as(&case, &defects).await }
        })
        .await;
        // The original's loop answers such calls before its observations see them.
        let offered = ["", "execute_bash", "str_replace_editor", "submit"];
        let together = stream(&case, "stdout").is_none() && stream(&case, "stderr").is_none();
        let unreachable = !offered.contains(&text(&case, "function"))
            || (together && !text(&case["input"], "bash_output").is_empty());
        let how = match how {
            Came::Wrong(_) if unreachable => Came::Differently(vec!["unreachable".to_string()]),
            how => how,
        };
        came.push((text(&case, "id").to_string(), how));
    }
    settle("observation", came);
}
