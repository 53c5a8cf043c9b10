//! `claw gc`: throws away what no run that matters needs; `claw pin` and `claw unpin` say which do.

use std::path::PathBuf;

use serde_json::json;

use crate::engine::{self, Kind, Pin};
use crate::project::Project;
use crate::store::{self, Receipt};

use super::store::bytes;
use super::{Exit, Failure, load, print, run_names};

/// `claw gc`.
#[derive(Debug, clap::Args)]
pub(super) struct Gc {
    /// Keep what the last N runs of each pipeline need
    #[arg(long, value_name = "N", default_value_t = 10)]
    keep_runs: usize,

    /// Collect recorded results too (model answers and whatever else was paid for) when no kept run
    /// needs them
    #[arg(long)]
    recorded: bool,

    /// Change nothing, say what would go
    #[arg(long)]
    dry_run: bool,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `claw pin`.
#[derive(Debug, clap::Args)]
pub(super) struct PinArgs {
    /// The run, as `claw runs` lists it; without one, the pins are listed
    run: Option<String>,

    /// What to call it [default: the run's id]
    #[arg(long, requires = "run")]
    name: Option<String>,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
}

/// `claw unpin`.
#[derive(Debug, clap::Args)]
pub(super) struct Unpin {
    /// The pin's name, or the run's id
    name: String,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
}

/// Collects.
pub(super) fn gc(args: &Gc) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let folder = super::store::folder(&project)?;
    let operators = load::operators(&project, true)?;
    // An operator that this claw does not know may have been one that was paid for.
    let paid = |receipt: &Receipt| {
        !args.recorded
            && operators
                .get(&receipt.operator)
                .map_or(true, |operator| operator.about().kind == Kind::Recorded)
    };
    let mut runs = 0;
    let done = store::collect(&folder, "claw gc", args.dry_run, |snapshot| {
        let kept = engine::kept_runs(&folder, args.keep_runs);
        runs = kept.len();
        engine::needs(&folder, snapshot, &kept, &paid)
    })?;
    if args.json {
        print::json(&json!({ "dry_run": args.dry_run, "runs": runs, "collected": done }));
        return Ok(Exit::Done);
    }
    let (would, go) = if args.dry_run { ("Would free", "would go") } else { ("Freed", "went") };
    print::line(&format!(
        "{would} {}: {} objects and {} receipts {go}; {} objects and {} receipts stay for {} runs.",
        bytes(done.freed),
        print::number(done.objects),
        print::number(done.receipts),
        print::number(done.kept_objects),
        print::number(done.kept_receipts),
        print::number(runs as u64)
    ));
    if done.broken > 0 {
        print::line(&format!(
            "{} receipts among them had lost their results; the next run makes these again.",
            print::number(done.broken)
        ));
    }
    Ok(Exit::Done)
}

/// Pins a run, or lists the pins.
pub(super) fn pin(args: &PinArgs) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let Some(run) = &args.run else {
        let pins = engine::pins(&project.store());
        let rows: Vec<_> = pins.into_iter().map(|pin| vec![pin.name, pin.run]).collect();
        print::out(&print::columns(&["pin", "run"].map(str::to_string), &rows));
        return Ok(Exit::Done);
    };
    let run = &run_names::find(&project.store(), run)?;
    let name = args.name.clone().unwrap_or_else(|| run.clone());
    if !is_name(&name) {
        return Err(Failure::input(format!(
            "`{name}` cannot be a pin's name\n  help: use letters, digits, `-`, `_` and `.`"
        )));
    }
    if run_names::is_spoken_for(&project.store(), &name, run) {
        return Err(Failure::input(format!(
            "`{name}` cannot be a pin's name: it names a run already\n  help: give another `--name`"
        )));
    }
    let pins = engine::pins(&project.store());
    let moved = pins.into_iter().find(|pin| pin.name == name && pin.run != *run);
    let pin = Pin { name, run: run.clone() };
    engine::pin(&project.store(), &pin)
        .map_err(|err| Failure::work(format!("pinning run {run}: {err}")))?;
    let moved =
        moved.map_or(String::new(), |old| format!(" The pin was on run {} before.", old.run));
    print::line(&format!(
        "Run {run} is pinned as {}: `claw gc` keeps what it needs.{moved}",
        pin.name
    ));
    Ok(Exit::Done)
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(good)
}

/// Takes a pin away.
pub(super) fn unpin(args: &Unpin) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let pins = engine::pins(&project.store());
    let Some(pin) = pins.iter().find(|pin| pin.name == args.name || pin.run == args.name) else {
        let names: Vec<&str> = pins.iter().map(|pin| pin.name.as_str()).collect();
        return Err(Failure::input(load::unknown("pin", &args.name, &names)));
    };
    engine::unpin(&project.store(), &pin.name)
        .map_err(|err| Failure::work(format!("taking the pin {} away: {err}", pin.name)))?;
    print::line(&format!("Run {} is no longer pinned as {}.", pin.run, pin.name));
    Ok(Exit::Done)
}
