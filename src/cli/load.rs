//! From a file on the command line to a plan, with everything that is wrong told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::agent::Installed;
use crate::engine::Operators;
use crate::lang::{self, Diagnostic, Pipeline, Program, Severity, SourceMap, Sources};
use crate::plan::Plan;
use crate::store::Objects;

use super::{Exit, Failure, arguments, outputs, print};
use crate::project::{AgentPlace, Project};

/// A pipeline that was found good.
pub(super) struct Loaded {
    pub(super) program: Program,
    pub(super) sources: SourceMap,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Prints diagnostics, errors last.
pub(super) fn tell(diagnostics: &[Diagnostic], sources: &SourceMap) {
    for diagnostic in diagnostics {
        print::err(&lang::render(diagnostic, sources, print::width(), print::colour()));
    }
}

/// A failure that was told already.
pub(super) fn told(count: usize) -> Failure {
    let plural = if count == 1 { "error" } else { "errors" };
    Failure { exit: Exit::BadInput, message: format!("{count} {plural}") }
}

/// Checks a pipeline's file.
pub(super) fn check(
    project: &Project,
    entry: &str,
    objects: Arc<dyn Objects>,
) -> Result<Loaded, (Vec<Diagnostic>, SourceMap)> {
    let loaded = checked(entry, &project.fetching_sources(objects))?;
    let misplaced = outputs::misplaced(project, &loaded.program.outputs, &BTreeSet::new());
    if misplaced.is_empty() {
        return Ok(loaded);
    }
    Err((loaded.diagnostics.into_iter().chain(misplaced).collect(), loaded.sources))
}

fn checked(entry: &str, sources: &dyn Sources) -> Result<Loaded, (Vec<Diagnostic>, SourceMap)> {
    let checked = lang::load(entry, sources);
    let bad = checked.diagnostics.iter().any(|one| one.severity == Severity::Error);
    match checked.program {
        Some(program) if !bad => {
            Ok(Loaded { program, sources: checked.sources, diagnostics: checked.diagnostics })
        }
        _ => Err((checked.diagnostics, checked.sources)),
    }
}

/// Checks a pipeline and binds its parameters; tells what is wrong.
pub(super) fn bind(
    project: &Project,
    entry: &str,
    args: &arguments::Pipeline,
    objects: Arc<dyn Objects>,
) -> Result<Pipeline, Failure> {
    let (pipeline, _) = bind_with(entry, args, &project.fetching_sources(objects))?;
    outputs::refuse(project, &pipeline.outputs, &pipeline.sources, &BTreeSet::new())?;
    Ok(pipeline)
}

/// The same with sources at hand; says too whether there was nothing to tell.
pub(super) fn bind_with(
    entry: &str,
    args: &arguments::Pipeline,
    sources: &dyn Sources,
) -> Result<(Pipeline, bool), Failure> {
    let loaded = match checked(entry, sources) {
        Ok(loaded) => loaded,
        Err((diagnostics, sources)) => {
            tell(&diagnostics, &sources);
            return Err(told(errors(&diagnostics)));
        }
    };
    tell(&loaded.diagnostics, &loaded.sources);
    let given = params(args)?;
    let pipeline = lang::bind(&loaded.program, &given, sources).map_err(|diagnostics| {
        tell(&diagnostics, &loaded.program.sources);
        told(errors(&diagnostics))
    })?;
    Ok((pipeline, loaded.diagnostics.is_empty()))
}

fn errors(diagnostics: &[Diagnostic]) -> usize {
    diagnostics.iter().filter(|one| one.severity == Severity::Error).count()
}

/// The parameters as they were given: the file's, then the command line's over them.
fn params(args: &arguments::Pipeline) -> Result<BTreeMap<String, String>, Failure> {
    let mut given = BTreeMap::new();
    if let Some(file) = &args.params_file {
        let text = std::fs::read_to_string(file).map_err(|err| {
            Failure::input(format!("the parameters cannot be read from {}: {err}", file.display()))
        })?;
        let table: toml::Table = toml::from_str(&text)
            .map_err(|err| Failure::input(format!("{}: {err}", file.display())))?;
        for (name, value) in table {
            let text = match value {
                toml::Value::String(text) => text,
                // As an expression it would be a difference of numbers.
                toml::Value::Datetime(date) => {
                    return Err(Failure::input(format!(
                        "{}: `{name}` is a date, of which the language has none\n  help: write it \
                         in quotes: `{name} = \"{date}\"`",
                        file.display()
                    )));
                }
                other => other.to_string(),
            };
            given.insert(name, text);
        }
    }
    for param in &args.params {
        let (name, value) = param.split_once('=').ok_or_else(|| {
            Failure::input(format!("`-p {param}` has no `=`; write `-p name=value`"))
        })?;
        given.insert(name.trim().to_string(), value.to_string());
    }
    Ok(given)
}

/// Makes the plan of what `only` needs, of the outputs when it is empty.
pub(super) fn plan(pipeline: Pipeline, only: &[String]) -> Result<Plan, Failure> {
    for name in only {
        known(&pipeline, name)?;
    }
    Plan::new(pipeline, only).map_err(|err| Failure::input(err.to_string()))
}

/// Refuses to make a stage again that is not there, or that a plan does not come to.
pub(super) fn refreshed(plan: &Plan, refresh: &[String]) -> Result<(), Failure> {
    for name in refresh {
        known(&plan.pipeline, name)?;
        if plan.node(name).is_none() {
            return Err(Failure::input(format!(
                "stage `{name}` cannot be made again here: nothing that is asked for needs it\n  \
                 help: leave `--refresh {name}` out, or ask for it too with `--only {name}`"
            )));
        }
    }
    Ok(())
}

/// Refuses a stage that the pipeline does not have, naming the nearest one.
pub(super) fn known(pipeline: &Pipeline, name: &str) -> Result<(), Failure> {
    let names: Vec<&str> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(Failure::input(unknown("stage", name, &names)))
}

/// The message for a name that is not there.
pub(super) fn unknown(what: &str, name: &str, names: &[&str]) -> String {
    let near = names
        .iter()
        .map(|other| (strsim::damerau_levenshtein(name, other), *other))
        .min()
        .filter(|(distance, other)| *distance <= other.len() / 3 + 1);
    let hint = match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "there is none".to_string(),
        None => format!("there are: {}", names.join(", ")),
    };
    format!("{what} `{name}` does not exist\n  help: {hint}")
}

/// Every operator, with the sandboxes and models that they act through.
pub(super) fn operators(project: &Project, allow_unsandboxed: bool) -> Result<Operators, Failure> {
    let installed = |(name, agent): (&String, &AgentPlace)| Installed {
        name: name.clone(),
        path: project.root.join(&agent.path),
    };
    let installed = project.settings.agents.iter().map(installed).collect();
    crate::operators::all(allow_unsandboxed, &project.settings.models, installed)
        .map_err(|err| Failure::work(err.to_string()))
}
