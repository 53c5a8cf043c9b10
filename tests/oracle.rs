//! `sandbox/0.2` against what LLM-in-Sandbox 0.2.0 was observed to do.
//!
//! Cases are read from the folder in `CLAW_ORACLE`, or from the copy beside this file. A case that is
//! done differently must be so for a reason in `oracle/differences.toml`. Most reasons are a
//! [`Defect`], and are proven: with that defect the case comes out as observed. The cases of the copy
//! are listed there one by one; those of another folder need the proof alone.

mod loops;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use claw::agent::Defect;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::project::checkout;

#[derive(Deserialize)]
struct Difference {
    reason: String,
    cases: BTreeSet<String>,
}

/// How a case came out.
enum Came {
    /// As observed.
    Same,
    /// Differently, for these named reasons.
    Differently(Vec<String>),
    /// Differently, and nobody knows why.
    Wrong(String),
}

fn folder() -> PathBuf {
    match std::env::var_os("CLAW_ORACLE") {
        Some(folder) => PathBuf::from(folder),
        None => checkout().join("tests/oracle/llm_in_sandbox"),
    }
}

/// The cases of a file; of the copy with those that were observed since (`oracle/more`).
fn cases(file: &str) -> Vec<Json> {
    let name = format!("{file}_cases.json");
    let mut cases = read(&folder().join(&name));
    let more = checkout().join("tests/oracle/more").join(&name);
    if std::env::var_os("CLAW_ORACLE").is_none() && more.exists() {
        cases.extend(read(&more));
    }
    cases
}

fn read(path: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|err| panic!("cannot read the cases {}: {err}", path.display()));
    let json: Json = serde_json::from_str(&text).expect("JSON");
    json["cases"].as_array().expect("a list of cases").clone()
}

fn differences() -> BTreeMap<String, Difference> {
    let path = checkout().join("tests/oracle/differences.toml");
    toml::from_str(&std::fs::read_to_string(path).expect("the list")).expect("TOML")
}

/// Counts how the cases of a file came out, and fails for those that have no reason.
#[expect(clippy::print_stderr, reason = "the counts are what the test is for")]
fn settle(file: &str, came: Vec<(String, Came)>) {
    let known = differences();
    let own = folder() == checkout().join("tests/oracle/llm_in_sandbox");
    let (mut same, mut differently, mut wrong) = (0, BTreeMap::new(), Vec::new());
    let total = came.len();
    for (id, came) in came {
        match came {
            Came::Same => same += 1,
            Came::Wrong(why) => wrong.push(format!("{file}/{id}: {why}")),
            Came::Differently(reasons) => {
                for reason in &reasons {
                    match known.get(reason) {
                        None => wrong.push(format!("{file}/{id}: `{reason}` is no known reason")),
                        Some(difference) if own => {
                            if !difference.cases.contains(&format!("{file}/{id}")) {
                                wrong.push(format!("{file}/{id}: not listed under `{reason}`"));
                            }
                        }
                        Some(_) => {}
                    }
                }
                differently.insert(id, reasons);
            }
        }
    }
    if own {
        for (reason, difference) in &known {
            for case in &difference.cases {
                let here = case.strip_prefix(&format!("{file}/"));
                if here.is_some_and(|id| !differently.get(id).is_some_and(|r| r.contains(reason))) {
                    wrong.push(format!("{case}: listed under `{reason}`, which is not why"));
                }
            }
        }
    }
    let purpose = differently.len();
    eprintln!("{file}: {total} cases, {same} passed, {purpose} done differently on purpose");
    for (reason, difference) in &known {
        let here = differently.iter().filter(|(_, reasons)| reasons.contains(reason));
        let ids: Vec<&str> = here.map(|(id, _)| id.as_str()).collect();
        if !ids.is_empty() {
            eprintln!("  {reason}: {}\n    {}", ids.join(", "), difference.reason);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The fewest defects with which a case comes out as observed.
async fn explain<F>(mut tried: impl FnMut(Vec<Defect>) -> F) -> Came
where
    F: Future<Output = Result<(), String>>,
{
    let first = match tried(Vec::new()).await {
        Ok(()) => return Came::Same,
        Err(why) => why,
    };
    let name = |defect: &Defect| {
        let name = serde_json::to_value(defect).expect("a name");
        name.as_str().expect("text").to_string()
    };
    let all = Defect::ALL;
    let mut sets: Vec<Vec<Defect>> = all.iter().map(|defect| vec![*defect]).collect();
    for (i, one) in all.iter().enumerate() {
        sets.extend(all[i + 1..].iter().map(|other| vec![*one, *other]));
    }
    sets.push(all.to_vec());
    let mut last = String::new();
    for set in sets {
        match tried(set.clone()).await {
            Ok(()) => return Came::Differently(set.iter().map(name).collect()),
            Err(why) => last = why,
        }
    }
    Came::Wrong(format!("{first}\n  with all defects: {last}"))
}

/// What Python says to an expression that may use `given`, the bytes of its standard input.
fn python(expression: &str, given: &[u8]) -> String {
    let program = format!(
        "import sys, hashlib\ngiven = sys.stdin.buffer.read()\n\
         sys.stdout.buffer.write(str({expression}).encode('utf-8', 'surrogatepass'))"
    );
    let mut child = std::process::Command::new("python3")
        .args(["-I", "-S", "-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    child.stdin.take().expect("a pipe").write_all(given).expect("written");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "python3 could not make {expression}");
    String::from_utf8(output.stdout).expect("text")
}

/// A JSON value in which `{"$gen": …}` has become its text, and `{W}` the work directory.
fn made(value: &Json, work: &str) -> Json {
    match value {
        Json::String(text) => Json::String(text.replace("{W}", work)),
        Json::Array(items) => Json::Array(items.iter().map(|item| made(item, work)).collect()),
        Json::Object(fields) => match fields.get("$gen").and_then(Json::as_str) {
            Some(expression) => Json::String(python(expression, b"")),
            None => {
                let field = |(name, value): (&String, &Json)| (name.clone(), made(value, work));
                Json::Object(fields.iter().map(field).collect())
            }
        },
        other => other.clone(),
    }
}

/// Whether a text is as observed: whole, or by its length, its hash, and its ends.
fn compare(what: &str, expected: &Json, actual: &str) -> Result<(), String> {
    let same = match expected {
        Json::String(text) => text == actual,
        Json::Object(fields) => {
            let end = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
            let length = fields.get("len").and_then(Json::as_u64);
            let hash = fields.get("sha256").and_then(Json::as_str);
            actual.starts_with(end("head"))
                && actual.ends_with(end("tail"))
                && length.is_none_or(|length| length == actual.chars().count() as u64)
                && hash.is_none_or(|hash| {
                    hash == python("hashlib.sha256(given).hexdigest()", actual.as_bytes())
                })
        }
        _ => false,
    };
    if same {
        return Ok(());
    }
    let actual: String = actual.chars().take(600).collect();
    let expected: String = expected.to_string().chars().take(600).collect();
    Err(format!("{what}\n  observed {expected}\n  here     {}", Json::String(actual)))
}

fn text<'a>(case: &'a Json, name: &str) -> &'a str {
    case.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// Whether `path` can be reached, so that a missing folder is told before a missing case.
#[test]
fn the_folder_of_the_cases_is_there() {
    assert!(Path::new(&folder()).is_dir(), "CLAW_ORACLE is no folder: {}", folder().display());
}
