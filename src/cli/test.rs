//! `claw test`: runs the `test` blocks of files.
//!
//! A test is a small pipeline, so its calls are answered from the store when nothing in them
//! changed. What a test leaves in the run log is nobody's last run: it is thrown away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use crate::engine::{self, Cancel, Engine, Limits, RunLog};
use crate::lang::{self, Assert, Diagnostic, Program, Test, Value};
use crate::plan::Plan;
use crate::project::Project;
use crate::store::Store;

use super::{Exit, Failure, arguments, load, print, run, secrets};

/// How one test ended.
struct Outcome {
    test: String,
    /// Empty when it passed.
    failures: Vec<Diagnostic>,
    rendered: Vec<String>,
}

/// Runs the tests of the files that were named, else of every file of the project.
pub(super) fn test(args: &arguments::Test) -> Result<Exit, Failure> {
    let began = Instant::now();
    let files = match args.files.is_empty() {
        true => with_tests(Project::around(Path::new("."))?.files()?),
        false => args.files.clone(),
    };
    // Shown as they are typed: from here where that is possible.
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let (mut passed, mut failed, mut bad) = (0, 0, 0);
    let mut told = Vec::new();
    for file in &files {
        match self::file(args, file)? {
            None => bad += 1,
            Some(outcomes) => {
                for outcome in outcomes {
                    let good = outcome.failures.is_empty() && outcome.rendered.is_empty();
                    *(if good { &mut passed } else { &mut failed }) += 1;
                    let shown = file.strip_prefix(&here).unwrap_or(file);
                    told.push(tell(shown, &outcome, args.json));
                }
            }
        }
    }
    if args.json {
        print::json(&json!({ "ok": failed + bad == 0, "tests": told }));
    } else {
        let took = print::duration(began.elapsed().as_millis() as u64);
        let mut line = format!("{passed} passed, {failed} failed");
        if bad > 0 {
            line.push_str(&format!(", {bad} with errors"));
        }
        print::line(&format!("{line} in {took}."));
        if passed + failed + bad == 0 {
            print::notice("no `test` blocks were found; `docs/language.md` shows how to write one");
        }
    }
    Ok(match (failed, bad) {
        (0, 0) => Exit::Done,
        (_, 0) => Exit::Failed,
        _ => Exit::BadInput,
    })
}

/// The files that say `test`; no other need be checked.
fn with_tests(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let says = |text: &str| text.lines().any(|line| line.trim_start().starts_with("test "));
    let has = |file: &PathBuf| std::fs::read_to_string(file).is_ok_and(|text| says(&text));
    files.into_iter().filter(has).collect()
}

fn tell(file: &Path, outcome: &Outcome, json: bool) -> serde_json::Value {
    let good = outcome.rendered.is_empty();
    if !json {
        let word = if good { "pass" } else { "FAIL" };
        print::line(&format!("{word}  {} · {}", file.display(), outcome.test));
        for text in &outcome.rendered {
            print::err(text);
        }
    }
    let failures: Vec<_> = outcome
        .failures
        .iter()
        .map(|one| json!({ "message": one.message, "help": one.help }))
        .collect();
    json!({ "file": file, "test": outcome.test, "passed": good, "failures": failures })
}

/// The tests of one file; `None` when the file has errors, which were told.
fn file(args: &arguments::Test, file: &Path) -> Result<Option<Vec<Outcome>>, Failure> {
    let (project, entry) = Project::of(file)?;
    let objects = Arc::new(crate::store::MemoryObjects::default());
    let loaded = match load::check(&project, &entry, objects) {
        Ok(loaded) => loaded,
        Err((diagnostics, sources)) => {
            load::tell(&diagnostics, &sources);
            return Ok(None);
        }
    };
    let wanted = |test: &&Test| args.only.as_ref().is_none_or(|part| test.name.contains(part));
    let tests: Vec<&Test> = loaded.program.tests.iter().filter(wanted).collect();
    if tests.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let store = Arc::new(Store::open(&project.store(), &format!("claw test {entry}"))?);
    let mut outcomes = Vec::new();
    for test in tests {
        outcomes.push(one(args, &project, &entry, &store, &loaded.program, test)?);
    }
    Ok(Some(outcomes))
}

fn one(
    args: &arguments::Test,
    project: &Project,
    entry: &str,
    store: &Arc<Store>,
    program: &Program,
    test: &Test,
) -> Result<Outcome, Failure> {
    let alone = program.of_test(test);
    let sources = project.fetching_sources(store.clone());
    let given = std::collections::BTreeMap::new();
    let failures = match lang::bind(&alone, &given, &sources) {
        Err(diagnostics) => diagnostics,
        Ok(pipeline) => {
            run::refuse_unsandboxed(&pipeline, args.allow_unsandboxed)?;
            let plan = Plan::new(pipeline, &[]).map_err(|err| Failure::input(err.to_string()))?;
            made(args, project, entry, store, plan, test)?
        }
    };
    let rendered = failures
        .iter()
        .map(|one| lang::render(one, &program.sources, print::width(), print::colour()))
        .collect();
    Ok(Outcome { test: test.name.clone(), failures, rendered })
}

/// Runs a test's pipeline; what did not hold.
fn made(
    args: &arguments::Test,
    project: &Project,
    entry: &str,
    store: &Arc<Store>,
    plan: Plan,
    test: &Test,
) -> Result<Vec<Diagnostic>, Failure> {
    let work = |err: std::io::Error| Failure::work(format!("starting a test: {err}"));
    let operators = load::operators(project, args.allow_unsandboxed)?;
    let lacking = secrets::missing(project, &plan, &operators, &[])?;
    if !lacking.is_empty() {
        return Ok(lacking);
    }
    let folder = tempfile::tempdir().map_err(work)?;
    std::fs::create_dir(folder.path().join("runs")).map_err(work)?;
    let log = RunLog::begin(folder.path(), entry, Vec::new()).map_err(work)?;
    let threads = run::cores();
    let engine = Engine {
        store: store.clone(),
        operators,
        limits: Limits::of_this_machine(threads).for_plan(&plan),
        cancel: Cancel::default(),
        log: Arc::new(log),
        refresh: Vec::new(),
        budget: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(work)?;
    let board = Engine::board(&plan);
    let ended = runtime.block_on(engine.run(Arc::new(plan), board));
    let mut failures = Vec::new();
    for assert in &test.asserts {
        let Some(digest) = ended.result(&assert.stage) else {
            continue;
        };
        let value = engine::read_value(&**store, &digest)?;
        if value.get("holds").and_then(Value::as_bool) != Some(true) {
            failures.push(not_held(assert, &value, store)?);
        }
    }
    // A stage that failed says why no assertion could be asked.
    for (stage, message) in &ended.failures {
        let span = test.stages.iter().find(|own| own.name == *stage).map(|own| own.span);
        let shown = stage.split_once('.').filter(|_| stage.starts_with("test "));
        let shown = shown.map_or(stage.as_str(), |(_, name)| name);
        failures.push(
            Diagnostic::error("E0706", format!("`{shown}` gave no result: {message}"))
                .at(span.unwrap_or(test.span), "while running this"),
        );
    }
    if failures.is_empty() && test.asserts.iter().any(|one| ended.result(&one.stage).is_none()) {
        failures
            .push(Diagnostic::error("E0706", "the test was stopped").at(test.span, "this test"));
    }
    Ok(failures)
}

fn not_held(assert: &Assert, value: &Value, store: &Store) -> Result<Diagnostic, Failure> {
    let mut help = Vec::new();
    for side in ["left", "right"] {
        if let Some(value) = value.get(side) {
            help.push(format!("{side}: {}", super::show::brief(value, store)?));
        }
    }
    let diagnostic = Diagnostic::error("E0705", "this does not hold").at(assert.span, "is false");
    Ok(diagnostic.maybe_help((!help.is_empty()).then(|| help.join("\n"))))
}
