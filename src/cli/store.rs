//! `claw store`: whether everything is there, the index anew, and what takes how much room.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::engine::{read_run, run_ids};
use crate::project::Project;
use crate::store::{self, Amount, Bad, Checked, Digest};

use super::{Exit, Failure, print};

/// `claw store`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to do with it
    #[command(subcommand)]
    pub(super) what: What,
}

/// What can be done with a store.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Hash everything again and follow every result; name what is bad and who needs it
    #[command(after_help = "\
Examples:
  claw store check                 everything
  claw store check --sample 0.05   one object in twenty, others each time

What is bad is remembered: the next run of the pipelines that need it makes it again.
Works while a run goes on. Exit codes: 0 all is well, 1 something is bad.")]
    Check(Check),
    /// Make the index anew from the packs; the old one is moved aside
    Rebuild(Plain),
    /// Say what takes how much room
    Size(Plain),
}

/// `claw store check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Check this share of the objects and results only
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    sample: f64,

    /// The rest.
    #[command(flatten)]
    plain: Plain,
}

/// What all of them take.
#[derive(Debug, clap::Args)]
pub(super) struct Plain {
    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does what was asked.
pub(super) fn store(args: &Args) -> Result<Exit, Failure> {
    match &args.what {
        What::Check(args) => check(args),
        What::Rebuild(args) => rebuild(args),
        What::Size(args) => size(args),
    }
}

/// The folder of a project's store.
pub(super) fn folder(project: &Project) -> Result<PathBuf, Failure> {
    let folder = project.store();
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(Failure::input(format!(
        "there is no store in {}\n  help: `claw run PIPELINE` makes one; `--project DIR` names \
         another project",
        project.root.display()
    )))
}

fn check(args: &Check) -> Result<Exit, Failure> {
    if !(args.sample > 0.0 && args.sample <= 1.0) {
        return Err(Failure::input(format!(
            "--sample {} is no share\n  help: give a number above 0 and up to 1, such as 0.1",
            args.sample
        )));
    }
    let project = Project::around(&args.plain.project)?;
    let folder = folder(&project)?;
    let draw = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let checked = store::check(&folder, args.sample, draw)?;
    let remembered = store::remember(&folder, &checked, args.sample >= 1.0);
    if args.plain.json {
        print::json(&json!({
            "ok": checked.bad.is_empty(), "found": checked,
            "remembered": remembered.is_ok(),
        }));
    } else {
        print::out(&tell(&checked, &|key| stage_of(&folder, key)));
        if let (false, Err(err)) = (checked.bad.is_empty(), remembered) {
            print::notice(&format!("this could not be noted for the next run: {err}"));
        }
    }
    Ok(if checked.bad.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The pipeline and the stage that a stage's key belongs to, as the newest run knows it.
fn stage_of(folder: &std::path::Path, key: &Digest) -> Option<String> {
    run_ids(folder).iter().filter_map(|id| read_run(folder, id, false)).find_map(|run| {
        let stage = run.stages.iter().find(|stage| stage.key == Some(*key))?;
        Some(format!("stage `{}` of {}", stage.stage, run.info.pipeline))
    })
}

/// Results that are named for one bad object at most.
const NAMED: usize = 5;

fn tell(checked: &Checked, stage: &dyn Fn(&Digest) -> Option<String>) -> String {
    let mut text = String::new();
    for bad in &checked.bad {
        text.push_str(&one(bad, stage));
    }
    let mut seen = format!(
        "{} objects, {} large files and {} receipts checked",
        print::number(checked.objects),
        print::number(checked.large),
        print::number(checked.receipts)
    );
    if checked.torn_bytes > 0 {
        seen.push_str(&format!(
            "; {} left by writers that were stopped, which nobody needs",
            bytes(checked.torn_bytes)
        ));
    }
    match checked.bad.len() {
        0 => text.push_str(&format!("{seen}. All is well.\n")),
        count => text.push_str(&format!(
            "\n{seen}. {count} bad.\n  help: run the pipelines that need them: the next run makes \
             them again; what no\n        pipeline needs any more goes with `claw gc`\n"
        )),
    }
    text
}

fn one(bad: &Bad, stage: &dyn Fn(&Digest) -> Option<String>) -> String {
    let name = bad.digest.map(|digest| digest.short()).unwrap_or_default();
    let mut text = format!("bad {} {name}\n  {}: {}\n", bad.what, bad.place, bad.why);
    for need in bad.needed_by.iter().take(NAMED) {
        let what = stage(&need.key).unwrap_or_else(|| match need.operator.as_str() {
            "stage" => format!("a stage with the key {}", need.key.short()),
            operator => format!("a call of {operator}"),
        });
        text.push_str(&format!("  needed by {what}, made in run {}\n", need.run));
    }
    if bad.needed_by.len() > NAMED {
        text.push_str(&format!("  and by {} more\n", bad.needed_by.len() - NAMED));
    }
    text
}

fn rebuild(args: &Plain) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let found = store::rebuild(&folder(&project)?, "claw store rebuild")?;
    if args.json {
        print::json(&found);
        return Ok(Exit::Done);
    }
    print::line(&format!(
        "The index was made anew from {} packs: {} objects, {} receipts.",
        found.packs,
        print::number(found.objects as u64),
        print::number(found.receipts as u64)
    ));
    if found.moved_aside {
        print::line("The old one is in index.damaged, in the store; it may be deleted.");
    }
    Ok(Exit::Done)
}

fn size(args: &Plain) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let size = store::size(&folder(&project)?)?;
    if args.json {
        print::json(&json!({ "size": size, "stored": size.stored(), "ratio": size.ratio() }));
        return Ok(Exit::Done);
    }
    let row = |what: &str, amount: &Amount| {
        vec![
            what.to_string(),
            print::number(amount.count),
            bytes(amount.bytes),
            bytes(amount.stored),
        ]
    };
    let mut rows: Vec<Vec<String>> =
        size.objects.iter().map(|(what, amount)| row(what, amount)).collect();
    rows.push(row("receipts", &size.receipts));
    let heads = ["what", "count", "content", "stored"].map(str::to_string);
    print::out(&print::columns(&heads, &rows));
    let files = [
        ("packs", &size.packs),
        ("large objects", &size.large),
        ("index", &size.index),
        ("run logs", &size.runs),
    ];
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|(what, amount)| {
            vec![what.to_string(), print::number(amount.count), bytes(amount.stored)]
        })
        .collect();
    let heads = ["files", "count", "on disk"].map(str::to_string);
    print::out(&format!("\n{}", print::columns(&heads, &rows)));
    print::line(&format!(
        "\n{} on disk; one byte of packs holds {:.1} bytes of content.",
        bytes(size.stored()),
        size.ratio()
    ));
    Ok(Exit::Done)
}

/// A size as a person reads it.
pub(super) fn bytes(count: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| count >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", count as f64 / *unit as f64),
        None => format!("{count} B"),
    }
}
