//! `verify.grade`: a number in 0..1 for a run, or an error of the checker, never one for the other.
//!
//! Declarative checks are answered from the two trees, and start nothing. A checker that is a
//! program runs in a **fresh** sandbox on a copy of the final workspace, when every process of the
//! agent is dead; its files lie in `/tmp/checker`, where nothing that the agent wrote can be:
//!
//! ```text
//! python3 -I -S /tmp/checker/check.py /tmp/checker/params.json /tmp/checker/before /workspace
//! ```
//!
//! `params.json` holds the task's parameters and `before` the files it started from (it is missing
//! when there were none). The verdict is
//! one JSON object on descriptor 3: the name of each check and a number in 0..1 (or a truth value).
//! What the program prints is kept only for messages. No verdict, broken JSON, NaN, a number out of
//! range, an exit code but 0, a crash and a timeout are the checker's errors.
//!
//! The reward is the mean of all points, and 0 when a gate does not hold. `passed` means that every
//! gate and every point held in full.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value as Json;

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::sandbox::{Backend, Command, Exit, FileError, Limits, Sandbox, SandboxError, WORKSPACE};
use crate::store::{Digest, Objects};

use super::place::{Backends, Place};
use super::task::{Rules, Workspaces, field, params_of};

const CHECKER: &str = "/tmp/checker";

/// Wall time of a checker program where nothing else is said.
pub(crate) const PROGRAM_MS: u64 = 20_000;

/// `verify.grade`.
pub struct Grade {
    backends: Backends,
}

impl Grade {
    /// Opens sandboxes of the backends that `backends` finds.
    pub fn new(backends: Backends) -> Grade {
        Grade { backends }
    }
}

impl Operator for Grade {
    fn about(&self) -> About {
        About { name: "verify.grade", version: 1, kind: Kind::Pure, pool: Pool::Sandbox }
    }

    /// Where no program judges, it does not matter which sandbox it would have run in.
    fn reads(&self, args: &Args, _: &dyn Objects) -> Result<Args, CallError> {
        let mut narrow = args.clone();
        if checker(args.get("run")?)?.program.is_none() {
            narrow.0.remove("sandbox");
        }
        Ok(narrow)
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        async move {
            let run = args.get("run")?;
            let checker = checker(run)?;
            let after = dir(run, &["after"])?;
            let verdict = match checker.program {
                None => judge(&checker, &after, &*context.objects, None).await?,
                Some(_) => {
                    let place = Place::of(args.get("sandbox")?, &self.backends)?;
                    let time_ms = place.time_ms.unwrap_or(PROGRAM_MS);
                    let bench = Bench::new(place.backend, place.limits, time_ms);
                    judge(&checker, &after, &*context.objects, Some(&bench)).await?
                }
            };
            let checks = verdict.checks.iter().map(|(name, score)| {
                Value::record([("name", Value::str(name)), ("score", Value::Float(*score))])
            });
            Ok(Value::record([
                ("id", Value::str(field(run, "id")?)),
                ("run", run.clone()),
                ("reward", Value::Float(verdict.reward)),
                ("passed", Value::Bool(verdict.passed)),
                ("checks", Value::List(checks.collect())),
            ]))
        }
        .boxed()
    }
}

/// How a run was judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// In 0..1.
    pub reward: f64,
    /// Whether everything held in full.
    pub passed: bool,
    /// Gates, then points, with what each gave.
    pub checks: Vec<(String, f64)>,
}

/// What a task is judged by.
#[derive(Debug, Clone)]
pub struct Checker {
    rules: Rules,
    program: Option<Digest>,
    params: Json,
    before: Digest,
}

impl Checker {
    /// The checker of a `task.Task` row whose files are the tree `before`.
    ///
    /// # Errors
    /// When the row is not a task.
    pub fn of(task: &Value, before: Digest) -> Result<Checker, CallError> {
        let missing = || CallError::row("the task has no `checker`");
        let checker = task.get("checker").ok_or_else(missing)?;
        let rules = checker.get("checks").ok_or_else(missing)?.to_json();
        let rules = serde_json::from_value(rules)
            .map_err(|err| CallError::row(format!("the task's checks cannot be read: {err}")))?;
        let program = match checker.get("program") {
            Some(Value::File { digest, .. }) => Some(*digest),
            _ => None,
        };
        Ok(Checker { rules, program, params: Json::Object(params_of(task)?), before })
    }
}

/// Where checker programs run.
pub struct Bench {
    backend: Arc<dyn Backend>,
    limits: Limits,
    timeout_ms: u64,
}

impl Bench {
    /// Programs run in sandboxes of `backend`, each for at most `timeout_ms`.
    pub fn new(backend: Arc<dyn Backend>, limits: Limits, timeout_ms: u64) -> Bench {
        Bench { backend, limits, timeout_ms }
    }
}

fn checker(run: &Value) -> Result<Checker, CallError> {
    let task = run.get("world").and_then(|world| world.get("task"));
    let task = task.ok_or_else(|| CallError::row("the run has no `world.task`"))?;
    Checker::of(task, dir(run, &["world", "files"])?)
}

fn dir(row: &Value, path: &[&str]) -> Result<Digest, CallError> {
    match path.iter().try_fold(row, |row, name| row.get(name)) {
        Some(Value::Dir(digest)) => Ok(*digest),
        _ => Err(CallError::row(format!("the run has no directory `{}`", path.join(".")))),
    }
}

/// Judges the workspace `after`. `bench` is needed where a program judges.
///
/// # Errors
/// [`CallError::Row`] when the checker fails, [`CallError::Infrastructure`] when the sandbox does.
pub async fn judge(
    checker: &Checker,
    after: &Digest,
    objects: &dyn Objects,
    bench: Option<&Bench>,
) -> Result<Verdict, CallError> {
    let before = objects.tree(&checker.before)?;
    let trees = Workspaces { before, after: objects.tree(after)?, objects };
    let score = |held: bool| if held { 1.0 } else { 0.0 };

    let mut checks = Vec::new();
    let mut open = true;
    for gate in &checker.rules.gates {
        let held = trees.holds(&gate.check)?;
        open &= held;
        checks.push((gate.name.clone(), score(held)));
    }
    let gates = checks.len();
    for point in &checker.rules.points {
        checks.push((point.name.clone(), score(trees.holds(&point.check)?)));
    }
    if let Some(program) = &checker.program {
        let bench = bench.ok_or_else(|| {
            CallError::row("the task is judged by a program, and no sandbox was given for it")
        })?;
        checks.extend(ask_program(checker, program, after, objects, bench).await?);
    }
    let points = &checks[gates..];
    if points.is_empty() {
        return Err(CallError::row("the checker has no points to give"));
    }
    let mean = points.iter().map(|(_, score)| score).sum::<f64>() / points.len() as f64;
    let passed = open && points.iter().all(|(_, score)| *score >= 1.0);
    Ok(Verdict { reward: if open { mean } else { 0.0 }, passed, checks })
}

/// Runs a checker program and reads its verdict.
async fn ask_program(
    checker: &Checker,
    program: &Digest,
    after: &Digest,
    objects: &dyn Objects,
    bench: &Bench,
) -> Result<Vec<(String, f64)>, CallError> {
    let after = objects.tree(after)?;
    let mut sandbox =
        bench.backend.open(&after, objects, &bench.limits).await.map_err(infrastructure)?;
    let given = ask_in(&mut *sandbox, checker, program, objects, bench).await;
    drop(sandbox);
    given
}

async fn ask_in(
    sandbox: &mut dyn Sandbox,
    checker: &Checker,
    program: &Digest,
    objects: &dyn Objects,
    bench: &Bench,
) -> Result<Vec<(String, f64)>, CallError> {
    let at = |name: &str| format!("{CHECKER}/{name}");
    let mut put = vec![
        (at("check.py"), objects.get(program)?),
        (at("params.json"), checker.params.to_string().into_bytes().into()),
    ];
    for (path, digest) in objects.tree(&checker.before)?.files() {
        put.push((at(&format!("before/{path}")), objects.get(digest)?));
    }
    for (path, bytes) in &put {
        sandbox.write(path, bytes).await.map_err(|err| match err {
            FileError::Sandbox(err) => infrastructure(err),
            err => CallError::Infrastructure(format!("the checker could not be put in: {err}")),
        })?;
    }
    let argv =
        ["python3", "-I", "-S", &at("check.py"), &at("params.json"), &at("before"), WORKSPACE];
    let command = Command {
        argv: argv.map(str::to_string).to_vec(),
        workdir: Some(CHECKER.to_string()),
        env: Vec::new(),
        stdin: Vec::new(),
        timeout_ms: bench.timeout_ms,
        report: true,
    };
    let outcome = sandbox.exec(&command).await.map_err(infrastructure)?;
    let wrong = |what: String| CallError::Row {
        message: format!("the checker {what}"),
        output: String::from_utf8_lossy(&outcome.output).into_owned(),
    };
    match outcome.exit {
        Exit::Code(0) => read_report(&outcome.report).map_err(wrong),
        Exit::Code(code) => Err(wrong(format!("crashed with exit code {code}"))),
        Exit::Signal(signal) => Err(wrong(format!("was killed by signal {signal}"))),
        Exit::TimedOut => Err(wrong(format!("did not end within {} ms", bench.timeout_ms))),
        Exit::OutOfMemory => Err(wrong("ran out of memory".to_string())),
    }
}

/// Reads what a checker wrote to descriptor 3.
fn read_report(report: &[u8]) -> Result<Vec<(String, f64)>, String> {
    if report.trim_ascii().is_empty() {
        return Err("gave no verdict on descriptor 3".to_string());
    }
    let json: Json = serde_json::from_slice(report)
        .map_err(|err| format!("gave a verdict that is not JSON ({err})"))?;
    let Json::Object(checks) = json else {
        return Err("gave a verdict that is not an object of checks".to_string());
    };
    if checks.is_empty() {
        return Err("gave a verdict without a check".to_string());
    }
    checks
        .into_iter()
        .map(|(name, score)| {
            let score = match &score {
                Json::Bool(held) => Some(if *held { 1.0 } else { 0.0 }),
                score => score.as_f64().filter(|score| (0.0..=1.0).contains(score)),
            };
            let score = score.ok_or_else(|| format!("gave `{name}` no number in 0..1"))?;
            Ok((name, score))
        })
        .collect()
}

fn infrastructure(err: SandboxError) -> CallError {
    CallError::Infrastructure(err.to_string())
}

#[cfg(test)]
mod tests {
    use super::read_report;

    #[test]
    fn a_verdict_is_an_object_of_numbers() {
        let checks = read_report(b"{\"b\": true, \"a\": 0.5}\n").expect("a verdict");
        assert_eq!(checks, [("a".to_string(), 0.5), ("b".to_string(), 1.0)]);
        for bad in [
            "",
            " \n",
            "{}",
            "[1]",
            "1",
            "{\"a\": NaN}",
            "{\"a\": 1.01}",
            "{\"a\": -0.1}",
            "{\"a\": \"1\"}",
            "{\"a\": 1",
        ] {
            assert!(read_report(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
