//! What may be typed. Declarations only; each command turns its arguments into work in its own file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// One program for the whole life of file-workspace agents: personas, skills, tasks, workspaces,
/// rollouts, verification, training, evaluation. Nothing is computed twice, nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "claw", version, propagate_version = true, max_term_width = 100)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a pipeline: only what is not in the store yet is computed
    #[command(after_help = "\
Examples:
  claw run pipelines/quickstart.claw
  claw run pipelines/quickstart.claw -p people=80 -p steps=1500
  claw run pipelines/quickstart.claw --only graded
  claw run pipelines/quickstart.claw --offline          what is recorded, without keys

Ctrl-C once stops gently and keeps what is done; the next run goes on from there.
Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 130 stopped.")]
    Run(Run),
    /// Check a pipeline without running anything
    #[command(after_help = "\
Exit codes: 0 right (there may be warnings), 2 wrong.")]
    Check(Check),
    /// Run the `test` blocks of files
    #[command(after_help = "\
A test gives rows for stages and values for parameters, runs what it names and says what must hold:

  test \"nobody is imagined twice\" {
    given people = 20
    assert len(dedup(personas, on: .name)) == 20
  }

Results are kept like those of any run: a test whose calls did not change costs nothing.")]
    Test(Test),
    /// Say what a run would do, and why
    #[command(after_help = "\
Each stage is listed with the rows that the store answers, the rows that would run, and the
argument, file or stage that changed since the last run. Where models over the network would be
asked: calls, tokens and cost, from recorded calls of the same kind, or else roughly from the prompts.
Nothing is written, and of large stages only the first thousands of rows are looked at.")]
    Plan(Plan),
    /// Show results: a stage's rows, one row, or a file in it
    #[command(after_help = "\
Examples:
  claw show                            the stages of the last run
  claw show report                     a stage
  claw show report.graded --row 12     one row, down to its persona
  claw show report.graded --row 12 run.after/out.txt
  claw show lessons --where ending=max_steps
  claw show lessons --failed           rows that were put aside, with their errors
  claw show lessons --failed --row 3   one of them, with all that it was to be made from")]
    Show(Show),
    /// List the runs, newest first
    Runs(Runs),
    /// Say what differs between two runs: program, parameters, rows, scores
    #[command(after_help = "\
A run is named by its id or the beginning of one, by a pin's name, by `latest`, or by `latest~1` for
the one before the latest.

Examples:
  claw diff                            the latest run and the one before it of the same pipeline
  claw diff latest~3 latest
  claw diff 2026-11-22T09 paper        by the beginning of an id, and by the name of a pin
  claw diff --only report --json

A stage of the program differs when its meaning does: formatting, comments and names make no
difference. Rows are the same when they are so byte for byte; others are paired by `id`, or by place.
Works while a run goes on.
Exit codes: 0 the same, 1 they differ, 2 they could not be compared.")]
    Diff(super::diff::Args),
    /// Draw the graph of a pipeline's stages
    Graph(Graph),
    /// Say what this machine offers, and what to do about what it lacks
    Doctor(Doctor),
    /// Explain an error code, such as E0304; without one, list them all
    Explain(Explain),
    /// Write `.claw` files in the one style; their meaning and their keys stay
    #[command(after_help = "\
Examples:
  claw fmt                             every .claw file of the project
  claw fmt pipelines/ my.claw          a folder and a file
  claw fmt --check                     change nothing, show what would change
  claw fmt - < my.claw                 from standard input to standard output

Hidden folders and vendor/ are left out. There is nothing to configure. A bracket that you open onto
a new line stays open, and one empty line between parts stays.
Exit codes: 0 done, 1 --check found files to format, 2 a file does not parse or cannot be read.")]
    Fmt(Fmt),
    /// Write the reference of the project and of the standard library as pages
    #[command(after_help = "\
Examples:
  claw doc                        everything in the project, into doc/
  claw doc pipelines --out site   some of it, somewhere else
  claw doc --json                 what the modules declare, for programs")]
    Doc(Doc),
    /// Make a project or, with --lib, a package for others
    #[command(after_help = "\
Examples:
  claw new errands                         a project with a pipeline that runs
  claw new --lib finance                   a package
  claw new --lib finance --name acme/finance")]
    New(New),
    /// Name a package in claw.toml and pin its content in claw.lock
    #[command(after_help = "\
Examples:
  claw add finance --path ../finance
  claw add acme/finance --git https://example.org/finance.git --rev v1.2.0
  claw add acme/finance --archive https://example.org/finance-1.2.0.tar.gz
  claw add acme/finance --registry /shared/registry            the newest version
  claw add acme/finance --registry /shared/registry@1.2.0
  claw add old-finance --package acme/finance --registry /shared/registry@1.2.0")]
    Add(Add),
    /// Pin what claw.toml asks for as it is now
    Update(Update),
    /// Copy all packages into vendor/, to be used without a network
    Vendor(Vendor),
    /// Publish a package into a registry, which is a plain folder
    Publish(Publish),
    /// Serve an editor: the language server, on standard input and output
    Lsp,
    /// Let agents ask a model through an endpoint that keeps what is said
    #[command(after_help = "\
Examples:
  claw serve teacher                              until Ctrl-C; prints its address and a key
  claw serve teacher --sessions 4 --budget 2.50   four keys, and what they may cost together

The endpoint speaks OpenAI's chat completions on 127.0.0.1, with events or without. What was said is
written as one conversation a line: its tools, its messages, and which of them the model said.")]
    Serve(super::serve::Serve),
    /// Look after the store: check it, make its index anew, say what takes room
    Store(super::store::Args),
    /// Throw away what no run that matters needs any more
    #[command(after_help = "\
Keeps what the last runs of each pipeline and all pinned runs need, and every recorded result (what a
model answered), which can only be had again by paying again. Runs stay listed; the results of old
ones go. Safe to interrupt.")]
    Gc(super::gc::Gc),
    /// Keep what a run needs, whatever comes after it; without a run, list the pins
    Pin(super::gc::PinArgs),
    /// Take a pin away
    Unpin(super::gc::Unpin),
}

/// A pipeline and its parameters.
#[derive(Debug, Args)]
pub(super) struct Pipeline {
    /// The pipeline's file
    pub(super) pipeline: PathBuf,

    /// Set a parameter; may be repeated
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE")]
    pub(super) params: Vec<String>,

    /// Read parameters from a TOML file; `-p` wins over it
    #[arg(long, value_name = "FILE")]
    pub(super) params_file: Option<PathBuf>,
}

/// `claw run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// What to run.
    #[command(flatten)]
    pub(super) pipeline: Pipeline,

    /// Threads that compute, 1024 at most; never changes a result [default: one a core]
    #[arg(short = 'j', long, value_name = "N", value_parser = threads)]
    pub(super) threads: Option<usize>,

    /// Make only this stage and what it needs; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) only: Vec<String>,

    /// Make this stage again although it is in the store; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) refresh: Vec<String>,

    /// Spend at most this many dollars on models in this run, beside the budgets of its stages; what
    /// is done by then is kept
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub(super) budget: Option<i64>,

    /// Ask nobody: only recorded answers are heard, and no key is needed. What is not recorded is told,
    /// and everything else is made
    #[arg(long, conflicts_with = "refresh")]
    pub(super) offline: bool,

    /// Let `sandbox("local")` run commands, those that a model wrote too, on this machine WITHOUT a
    /// sandbox
    #[arg(long)]
    pub(super) allow_unsandboxed: bool,

    /// Print the outcome as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// A number of threads. More than the most would not be faster, and no machine starts any number.
fn threads(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    let threads = text.parse().map_err(|err: std::num::ParseIntError| err.to_string())?;
    if threads > MOST {
        return Err(format!("{MOST} threads are the most; one a core is the default"));
    }
    Ok(threads)
}

/// An amount of dollars such as `5`, `2.50` or `$2.50`, in micro-dollars.
fn dollars(text: &str) -> Result<i64, String> {
    let amount: Result<f64, _> = text.strip_prefix('$').unwrap_or(text).parse();
    match amount {
        Ok(amount) if (0.0..=1e9).contains(&amount) => Ok((amount * 1e6).round() as i64),
        _ => Err("it is an amount of dollars, such as 2.50".to_string()),
    }
}

/// `claw check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The pipelines' files
    #[arg(required = true)]
    pub(super) pipelines: Vec<PathBuf>,

    /// Print what is found as JSON; its shape is described in docs/diagnostics.md
    #[arg(long)]
    pub(super) json: bool,

    /// Print what is found as SARIF 2.1.0, for code review and editors
    #[arg(long, conflicts_with = "json")]
    pub(super) sarif: bool,
}

/// `claw test`.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The files; without one, every file of the project that has tests
    pub(super) files: Vec<PathBuf>,

    /// Only tests whose name has this in it
    #[arg(long, value_name = "TEXT")]
    pub(super) only: Option<String>,

    /// Let `sandbox("local")` run commands on this machine WITHOUT a sandbox
    #[arg(long)]
    pub(super) allow_unsandboxed: bool,

    /// Print the outcomes as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `claw plan`.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// What to plan.
    #[command(flatten)]
    pub(super) pipeline: Pipeline,

    /// Plan only this stage and what it needs; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) only: Vec<String>,

    /// Plan to make this stage again although it is in the store; may be repeated
    #[arg(long, value_name = "STAGE")]
    pub(super) refresh: Vec<String>,

    /// Print the plan as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The number of a row, and of what further generators gave for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowNumber(pub(super) Vec<u32>);

impl std::str::FromStr for RowNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<RowNumber, String> {
        let numbers = text.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>();
        numbers.map(RowNumber).map_err(|_| "a row has a number, such as 3".to_string())
    }
}

impl std::fmt::Display for RowNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// `claw show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The stage; without it, the stages of the run are listed
    pub(super) stage: Option<String>,

    /// What to show of a row: fields joined by dots, then a path inside a directory
    pub(super) path: Option<String>,

    /// The row's number, from 0; of rows put aside also with those of further generators, as `3.1`
    #[arg(long, value_name = "N")]
    pub(super) row: Option<RowNumber>,

    /// Only rows whose field has this value; may be repeated
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub(super) filters: Vec<String>,

    /// Rows that were put aside, with what they were made from and their errors
    #[arg(long)]
    pub(super) failed: bool,

    /// At most this many rows
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) limit: usize,

    /// The run: an id or the beginning of one, a pin, `latest~1`; the last one by default
    #[arg(long, value_name = "RUN")]
    pub(super) run: Option<String>,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) project: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `claw runs`.
#[derive(Debug, Args)]
pub(super) struct Runs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) limit: usize,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) project: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `claw graph`.
#[derive(Debug, Args)]
pub(super) struct Graph {
    /// What to draw.
    #[command(flatten)]
    pub(super) pipeline: Pipeline,

    /// In which form
    #[arg(long, value_enum, default_value_t = GraphForm::Text)]
    pub(super) form: GraphForm,
}

/// Forms of a drawn graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphForm {
    /// One line a stage, with what it reads
    Text,
    /// Mermaid, for Markdown
    Mermaid,
    /// Graphviz
    Dot,
}

/// `claw doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `claw explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The code, such as E0304
    pub(super) code: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `claw fmt`.
#[derive(Debug, Args)]
pub(super) struct Fmt {
    /// Files and folders, `-` for standard input [default: the project]
    pub(super) paths: Vec<PathBuf>,

    /// Change nothing: list the files that are not formatted, and what would change
    #[arg(long)]
    pub(super) check: bool,

    /// Read standard input, write standard output
    #[arg(long, conflicts_with = "paths")]
    pub(super) stdin: bool,
}

/// `claw doc`.
#[derive(Debug, Args)]
pub(super) struct Doc {
    /// Files and folders of the project; all of it by default
    pub(super) paths: Vec<PathBuf>,

    /// The folder to write to [default: doc/ in the project]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    /// Print what the modules declare as JSON; write nothing
    #[arg(long)]
    pub(super) json: bool,
}

/// `claw new`.
#[derive(Debug, Args)]
pub(super) struct New {
    /// The folder to make
    pub(super) folder: PathBuf,

    /// Make a package for others instead of a project
    #[arg(long)]
    pub(super) lib: bool,

    /// What to call it, such as acme/finance [default: the folder's name]
    #[arg(long)]
    pub(super) name: Option<String>,
}

/// `claw add`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("origin").required(true).args(["path", "git", "archive", "registry"]))]
pub(super) struct Add {
    /// What the project calls it: finance or acme/finance
    pub(super) name: String,

    /// A folder; it is read anew each time and must be as it was pinned
    #[arg(long, value_name = "DIR")]
    pub(super) path: Option<PathBuf>,

    /// A git repository
    #[arg(long, value_name = "URL", requires = "rev")]
    pub(super) git: Option<String>,

    /// The commit, tag or branch of the repository
    #[arg(long, value_name = "REV", requires = "git")]
    pub(super) rev: Option<String>,

    /// A .tar.gz, .tar.zst or .tar
    #[arg(long, value_name = "FILE|URL")]
    pub(super) archive: Option<String>,

    /// Where it was published, and which version [default: the newest]
    #[arg(long, value_name = "FOLDER|URL[@VERSION]")]
    pub(super) registry: Option<String>,

    /// What it is called where it was published [default: its name here]
    #[arg(long, value_name = "NAME", requires = "registry")]
    pub(super) package: Option<String>,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) project: PathBuf,
}

/// `claw update`.
#[derive(Debug, Args)]
pub(super) struct Update {
    /// Only this package and what it needs; all by default
    pub(super) name: Option<String>,

    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) project: PathBuf,
}

/// `claw vendor`.
#[derive(Debug, Args)]
pub(super) struct Vendor {
    /// The project's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) project: PathBuf,
}

/// `claw publish`.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The package's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) package: PathBuf,

    /// The registry's folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) to: PathBuf,
}
