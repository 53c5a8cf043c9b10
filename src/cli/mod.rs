//! The commands: one file each. The only room that prints to a person.

mod add;
mod arguments;
mod check;
mod descriptors;
mod diff;
mod doc;
mod doctor;
mod explain;
mod fmt;
mod gc;
mod graph;
mod line_diff;
mod load;
mod new;
mod lsp;
mod outputs;
mod plan;
mod print;
mod progress;
mod publish;
mod run;
mod run_names;
mod runs;
mod sarif;
mod secrets;
mod serve;
mod served;
mod settled;
mod show;
mod store;
mod test;
mod update;
mod vendor;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// How a command ended, as the shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// The work failed.
    Failed,
    /// The input was wrong: a pipeline with errors, an unknown name, a bad parameter.
    BadInput,
    /// It was stopped by Ctrl-C.
    Stopped,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::BadInput => 2,
            Exit::Stopped => 130,
        })
    }
}

/// A command that could not go on: what to tell the person, and how to end.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The input was wrong.
    fn input(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::BadInput, message: message.into() }
    }

    /// The work failed.
    fn work(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into() }
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(err: crate::store::StoreError) -> Failure {
        let what = match &err {
            crate::store::StoreError::Locked(who) => {
                format!("the store is being written to by {who}")
            }
            other => other.to_string(),
        };
        match err.help() {
            Some(help) => Failure::work(format!("{what}\n  help: {help}")),
            None => Failure::work(what),
        }
    }
}

impl From<crate::engine::CallError> for Failure {
    fn from(err: crate::engine::CallError) -> Failure {
        Failure::work(err.to_string())
    }
}

impl From<crate::project::ProjectError> for Failure {
    fn from(err: crate::project::ProjectError) -> Failure {
        Failure::input(err.to_string())
    }
}

impl From<crate::project::packages::PackageError> for Failure {
    fn from(err: crate::project::packages::PackageError) -> Failure {
        let mut message = err.message;
        for (number, line) in err.help.lines().enumerate() {
            message.push_str(if number == 0 { "\n  help: " } else { "\n        " });
            message.push_str(line);
        }
        Failure::input(message)
    }
}

/// Reads the command line, does what it says, and tells the shell how it went.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { Exit::BadInput.into() } else { Exit::Done.into() };
        }
    };
    let ended = match arguments.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Test(args) => test::test(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Show(args) => show::show(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Runs(args) => runs::runs(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Graph(args) => graph::graph(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Fmt(args) => fmt::fmt(&args),
        Command::Doc(args) => doc::doc(&args),
        Command::New(args) => new::new(&args),
        Command::Add(args) => add::add(&args),
        Command::Update(args) => update::update(&args),
        Command::Vendor(args) => vendor::vendor(&args),
        Command::Publish(args) => publish::publish(&args),
        Command::Lsp => lsp::lsp(),
        Command::Store(args) => store::store(&args),
        Command::Gc(args) => gc::gc(&args),
        Command::Pin(args) => gc::pin(&args),
        Command::Unpin(args) => gc::unpin(&args),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            print::error(&failure.message);
            failure.exit.into()
        }
    }
}
