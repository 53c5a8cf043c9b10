//! `claw run`: does what is not done yet.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::engine::{self, Cancel, Ended, Engine, Limits, RunLog, State};
use crate::lang::{ExprKind, Pipeline, Value};
use crate::plan::{Plan, operators, walk};
use crate::store::{Store, StoreError};

use super::outputs::Written;
use super::progress::Progress;
use super::settled::{self, Asked, Came};
use super::{Exit, Failure, arguments, load, outputs, print, secrets, served};
use crate::project::{Project, Watched};

/// How long a run that is asked to stop may finish what is in flight.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a pipeline. When it fails because something in the store is missing or damaged, it is run
/// once more: by then the store knows, believes nothing unseen, and what is bad is made again.
pub(super) fn run(args: &arguments::Run) -> Result<Exit, Failure> {
    let mut damage = false;
    let ended = once(args, &mut damage, false);
    if !damage || matches!(ended, Ok(Exit::Done | Exit::Stopped)) {
        return ended;
    }
    if let Err(failure) = &ended {
        print::error(&failure.message);
    }
    print::notice("something in the store was damaged; going over it again to make it anew");
    once(args, &mut damage, true)
}

/// One run. The `last` one tells in JSON what it came to, whatever it was; before that a run that is
/// about to be repeated keeps quiet, so that there is one answer.
fn once(args: &arguments::Run, damage: &mut bool, last: bool) -> Result<Exit, Failure> {
    let (began, at) = (Instant::now(), SystemTime::now());
    let (project, entry) = Project::of(&args.pipeline.pipeline)?;
    let asked = Asked { project: &project, entry: &entry, args };
    if asked.nothing_to_do(began) {
        return Ok(Exit::Done);
    }
    let store = Arc::new(Store::open(&project.store(), &format!("claw run {entry}"))?);
    let mut done = with_store(args, &asked, &store, (began, at), last);
    if let Err(failure) = &mut done
        && store.sync().is_err()
    {
        // The input is not to blame for what the disk refused to take.
        failure.exit = Exit::Failed;
    }
    *damage = store.found_damage();
    if matches!(done, Ok(Exit::Done)) {
        let left = store.trust_again()?;
        if left > 0 {
            print::notice(&format!(
                "note: {left} damaged objects are left that this pipeline does not need; `claw \
                 store check` lists them, `claw gc` clears them away"
            ));
        }
    } else if let Some(help) = store.help() {
        print::notice(&format!("  help: {help}"));
    }
    done
}

fn with_store(
    args: &arguments::Run,
    asked: &Asked<'_>,
    store: &Arc<Store>,
    (began, at): (Instant, SystemTime),
    last: bool,
) -> Result<Exit, Failure> {
    let (project, entry) = (asked.project, asked.entry);
    for notice in &store.notices {
        print::notice(&format!("note: {notice}"));
    }
    let sources = Watched::new(if args.offline {
        project.sources(store.clone())
    } else {
        project.fetching_sources(store.clone())
    });
    let (pipeline, silent) = load::bind_with(entry, &args.pipeline, &sources)?;
    outputs::refuse(project, &pipeline.outputs, &pipeline.sources, &sources.paths())?;
    refuse_unsandboxed(&pipeline, args.allow_unsandboxed)?;
    refuse_executors(&pipeline)?;
    let threads = args.threads.unwrap_or_else(cores).max(1);
    let limits = Limits::of_this_machine(threads);
    let plan = Arc::new(load::plan(pipeline, &args.only)?);
    load::refreshed(&plan, &args.refresh)?;
    let mut operators = load::operators(project, args.allow_unsandboxed)?;
    refuse_what_does_not_fit(&plan, &limits)?;
    secrets::refuse_missing(project, &plan, &operators, &args.refresh)?;
    let params =
        plan.pipeline.params.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
    let log = RunLog::begin(&project.store(), entry, params).map_err(|err| StoreError::Io {
        doing: "starting the run's log in",
        path: project.store().display().to_string(),
        source: err,
    })?;
    super::descriptors::allow_many();
    if args.offline {
        operators = operators.offline();
    }
    let program = served::program(project, &plan, &operators);
    served::tell_of_others(project, entry, &plan, &program, Some(&log.info.id));
    log.leave_program(&program).map_err(|err| StoreError::Io {
        doing: "writing down the program in",
        path: log.folder().display().to_string(),
        source: err,
    })?;
    let engine = Engine {
        store: store.clone(),
        operators,
        limits: limits.for_plan(&plan),
        cancel: Cancel::default(),
        log: Arc::new(log),
        refresh: args.refresh.clone(),
        budget: args.budget,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|err| Failure::work(format!("starting the runtime: {err}")))?;
    let board = Engine::board(&plan);
    let progress = (!args.quiet && !args.json).then(|| Progress::start(board.clone()));
    let ended = runtime.block_on(async {
        let work = engine.run(plan.clone(), board);
        tokio::select! {
            ended = work => Some(ended),
            () = asked_to_stop(&engine.cancel) => None,
        }
    });
    drop(progress);
    runtime.shutdown_timeout(Duration::from_millis(200));
    let Some(ended) = ended else {
        store.sync()?;
        print::notice("stopped; what was finished is kept, and the next run goes on from there");
        return Ok(Exit::Stopped);
    };
    let written = outputs::write(project, &plan, &ended, store.as_ref());
    for note in &written.notes {
        print::notice(&format!("note: {note}"));
    }
    let whole = ended.is_whole() && written.failures.is_empty();
    let repeated = !last && !whole && !ended.stopped && store.found_damage();
    if args.json {
        if !repeated {
            tell_json(&engine, &plan, &ended, store, &written)?;
        }
    } else {
        let shown = shown(&plan, &ended, store)?;
        let silent = silent && !plan.pipeline.secrets.any_given();
        if whole && silent && store.notices.is_empty() {
            let operators = &engine.operators;
            let came = Came { plan: &plan, operators, ended: &ended, sources: &sources, began: at };
            asked.leave(&came, &shown);
        }
        tell(&plan, &ended, &written, if args.quiet { "" } else { &shown }, began.elapsed());
    }
    Ok(if whole {
        Exit::Done
    } else if ended.stopped {
        Exit::Stopped
    } else {
        Exit::Failed
    })
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Resolves when the run must not be waited for any longer: at the second Ctrl-C, or when the time
/// for finishing what is in flight is over. The first one only asks the run to stop.
async fn asked_to_stop(cancel: &Cancel) {
    let mut terminate =
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(terminate) => terminate,
            Err(_) => return std::future::pending().await,
        };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    cancel.cancel();
    print::notice("stopping: what is in flight may finish (Ctrl-C again stops now)");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
}

/// `sandbox("local")` is no sandbox; a person has to say that they know.
pub(super) fn refuse_unsandboxed(pipeline: &Pipeline, allowed: bool) -> Result<(), Failure> {
    if allowed {
        return Ok(());
    }
    for stage in &pipeline.stages {
        let mut local = false;
        walk(&stage.expr, &mut |expr| {
            if let ExprKind::Const(value) = &expr.kind {
                local |= value.get("sandbox").and_then(Value::as_str) == Some("local");
            }
        });
        if local {
            let own = operators(&stage.expr).iter().all(|name| name.starts_with("exec."));
            let what = if own { "its commands" } else { "commands that a model wrote" };
            return Err(Failure::input(format!(
                "stage `{}` uses sandbox(\"local\"), which runs {what} on this machine without \
                 isolation\n  help: use sandbox(\"process\"), or pass \
                 `--allow-unsandboxed` if you accept that",
                stage.name
            )));
        }
    }
    Ok(())
}

/// Every stage runs on this machine; asking for another place must not be passed over in silence.
fn refuse_executors(pipeline: &Pipeline) -> Result<(), Failure> {
    for stage in &pipeline.stages {
        if let Some(executor) = stage.policy().executor {
            return Err(Failure::input(format!(
                "stage `{}` asks for the executor `{executor}`, and there is none: this claw runs \
                 every stage on this machine\n  help: leave `executor` out; `concurrency` and \
                 `resources` say how much of this machine a stage takes",
                stage.name
            )));
        }
    }
    Ok(())
}

/// A call that asks for more than the machine has would wait for ever.
fn refuse_what_does_not_fit(plan: &Plan, limits: &Limits) -> Result<(), Failure> {
    for stage in plan.order.iter().map(|node| plan.stage(*node)) {
        if let Some(lack) = limits.lack(&stage.policy().resources) {
            return Err(Failure::input(format!(
                "a call of stage `{}` needs {lack} here\n  help: ask for less in `resources`, or \
                 run it on a larger machine",
                stage.name
            )));
        }
    }
    Ok(())
}

/// The outputs that are written nowhere, as a person reads them.
fn shown(plan: &Plan, ended: &Ended, store: &Store) -> Result<String, Failure> {
    let mut text = String::new();
    for output in &plan.pipeline.outputs {
        if let Some(digest) = ended.result(&output.stage)
            && output.path.is_none()
        {
            let value = engine::read_value(store, &digest)?;
            text.push_str(&format!("\n{}\n", output.stage));
            text.push_str(&super::show::value(&value, store, 20)?);
        }
    }
    Ok(text)
}

fn tell(plan: &Plan, ended: &Ended, written: &Written, shown: &str, took: Duration) {
    for (stage, message) in &ended.failures {
        if plan.node(stage).is_none() {
            print::error(&format!("{stage}: {message}"));
        } else {
            print::error(&format!("stage `{stage}`: {message}"));
            print::notice(&format!(
                "  help: `claw show {stage} --failed` shows the rows put aside"
            ));
        }
    }
    for unwritten in &written.failures {
        print::error(&unwritten.told());
    }
    print::out(shown);
    for line in &written.lines {
        print::line(line);
    }
    let ran: u64 = ended.counts.iter().map(|count| count.ran).sum();
    let cached: u64 = ended.counts.iter().map(|count| count.cached).sum();
    let failed: u64 = ended.counts.iter().map(|count| count.failed).sum();
    let took = print::duration(took.as_millis() as u64);
    let all_cached = ended.counts.iter().all(|count| count.state == State::Cached);
    let mut summary = if all_cached {
        settled::summary(ended.counts.len(), cached)
    } else {
        format!("{} rows made, {} from the store", print::number(ran), print::number(cached))
    };
    let dropped: u64 = ended.counts.iter().map(|count| count.dropped).sum();
    if dropped > 0 {
        summary.push_str(&format!(", {} dropped", print::number(dropped)));
    }
    if failed > 0 {
        summary.push_str(&format!(", {} put aside", print::number(failed)));
        let outside: u64 = ended.counts.iter().map(|count| count.outside).sum();
        if outside > 0 {
            let outside = print::number(outside);
            summary.push_str(&format!(" ({outside} not for reasons of their own)"));
        }
    }
    print::line(&format!("\n{summary} in {took}."));
}

fn tell_json(
    engine: &Engine,
    plan: &Plan,
    ended: &Ended,
    store: &Store,
    written: &Written,
) -> Result<(), Failure> {
    let mut outputs = serde_json::Map::new();
    for output in &plan.pipeline.outputs {
        if let Some(digest) = ended.result(&output.stage) {
            let value = engine::read_value(store, &digest)?;
            outputs.insert(output.stage.clone(), value.to_json());
        }
    }
    let failed = ended.failures.iter();
    let failed = failed.map(|(stage, message)| json!({ "stage": stage, "message": message }));
    let unwritten = written
        .failures
        .iter()
        .map(|one| json!({ "stage": one.stage, "output": one.path, "message": one.message() }));
    let failures: Vec<_> = failed.chain(unwritten).collect();
    let results: serde_json::Map<_, _> =
        ended.results.iter().map(|(stage, digest)| (stage.clone(), json!(digest))).collect();
    print::json(&json!({
        "run": engine.log.info.id,
        "ok": ended.is_whole() && written.failures.is_empty(),
        "stopped": ended.stopped,
        "stages": ended.counts,
        "results": results,
        "failures": failures,
        "outputs": outputs,
        "written": written.lines,
    }));
    Ok(())
}
