//! `claw check`: is it right?
//!
//! Everything that is wrong with any of the pipelines is told at once: drawn for people, or as JSON or
//! SARIF for programs (docs/diagnostics.md). A pipeline that is not there is one of the things that
//! are wrong, so that the others are still checked.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::lang::{Diagnostic, Severity, SourceMap};
use crate::project::Project;
use crate::store::MemoryObjects;

use super::{Exit, Failure, arguments, load, print, sarif};

/// What checking one pipeline came to.
pub(super) struct Outcome {
    /// Its path: relative to its project, or as it was given when there is none.
    pub(super) path: String,
    /// The project that it belongs to.
    pub(super) project: Option<Project>,
    /// How many stages and parameters it has; `None` when it has an error.
    pub(super) counts: Option<(usize, usize)>,
    /// What there is to say.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The text that it is said about.
    pub(super) sources: SourceMap,
}

/// Checks each pipeline and tells everything that is wrong with any of them.
pub(super) fn check(args: &arguments::Check) -> Result<Exit, Failure> {
    let outcomes: Vec<Outcome> = args.pipelines.iter().map(|file| outcome(file)).collect();
    let bad = outcomes.iter().any(|outcome| outcome.counts.is_none());
    if args.json {
        print::json(&as_json(&outcomes));
    } else if args.sarif {
        print::json(&sarif::log(&outcomes));
    } else {
        outcomes.iter().for_each(tell);
    }
    Ok(if bad { Exit::BadInput } else { Exit::Done })
}

fn outcome(file: &Path) -> Outcome {
    let unusable = |diagnostic: Diagnostic| Outcome {
        path: file.display().to_string(),
        project: None,
        counts: None,
        diagnostics: vec![diagnostic],
        sources: SourceMap::default(),
    };
    if file.is_dir() {
        return unusable(
            Diagnostic::error("E0001", format!("{} is a directory", file.display()))
                .help("name the file of a pipeline, or several: `claw check pipelines/*.claw`"),
        );
    }
    let (project, path) = match Project::of(file) {
        Ok(found) => found,
        Err(err) => return unusable(Diagnostic::error("E0001", err.to_string().trim_end())),
    };
    let (counts, diagnostics, sources) =
        match load::check(&project, &path, Arc::new(MemoryObjects::default())) {
            Ok(loaded) => {
                let counts = (loaded.program.stages.len(), loaded.program.params.len());
                (Some(counts), loaded.diagnostics, loaded.sources)
            }
            Err((diagnostics, sources)) => (None, diagnostics, sources),
        };
    Outcome { path, project: Some(project), counts, diagnostics, sources }
}

fn tell(outcome: &Outcome) {
    // Without a project nothing was read, and it is told as by every other command.
    if outcome.project.is_none() {
        for diagnostic in &outcome.diagnostics {
            let help = diagnostic.help.as_ref().map(|help| format!("\n  help: {help}"));
            print::error(&format!("{}{}", diagnostic.message, help.unwrap_or_default()));
        }
        return;
    }
    load::tell(&outcome.diagnostics, &outcome.sources);
    let path = &outcome.path;
    match outcome.counts {
        Some((stages, params)) => print::line(&format!(
            "{path}: ok ({}, {})",
            counted(stages, "stage"),
            counted(params, "parameter")
        )),
        None => {
            let found = outcome.diagnostics.len();
            print::notice(&format!("{path}: {} found", counted(found, "problem")));
        }
    }
}

fn as_json(outcomes: &[Outcome]) -> Value {
    let pipelines: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let counts = outcome.counts;
            json!({
                "path": outcome.path,
                "ok": counts.is_some(),
                "stages": counts.map(|(stages, _)| stages),
                "params": counts.map(|(_, params)| params),
            })
        })
        .collect();
    // A module that several pipelines use is told about once.
    let mut diagnostics: Vec<Value> = Vec::new();
    for outcome in outcomes {
        for diagnostic in &outcome.diagnostics {
            let diagnostic = diagnostic.to_json(&outcome.sources);
            if !diagnostics.contains(&diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
    }
    let count = |severity: Severity| {
        diagnostics.iter().filter(|one| one["severity"] == severity.word()).count()
    };
    json!({
        "format": 1,
        "ok": outcomes.iter().all(|outcome| outcome.counts.is_some()),
        "errors": count(Severity::Error),
        "warnings": count(Severity::Warning),
        "pipelines": pipelines,
        "diagnostics": diagnostics,
    })
}

/// `1 stage`, `2 stages`
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
