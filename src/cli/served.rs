//! Models that are another one behind the same name.
//!
//! Answers are kept under the name that a program gives a model, so that moving it to another server
//! changes nothing. When `claw.toml` puts another model there, the answers of the first stand for
//! those of the second: that must not happen unseen.

use crate::engine::{Operators, ProgramRecord, read_run, run_ids, stages_with_model};
use crate::plan::Plan;
use crate::project::{ModelSettings, Project, ProviderName};
use crate::store::Digest;

use super::print;

/// The record of a plan's program, with what each endpoint knows its models by.
pub(super) fn program(project: &Project, plan: &Plan, operators: &Operators) -> ProgramRecord {
    let served = |name: &str| served(project.settings.models.get(name)?);
    ProgramRecord::of(plan, operators, &served)
}

/// What answers under a model's name; `None` when that is whoever did before.
fn served(settings: &ModelSettings) -> Option<String> {
    Some(match (settings.provider, &settings.replies) {
        (ProviderName::Script, Some(replies)) => {
            let name = replies.file_name().unwrap_or_default().to_string_lossy();
            match std::fs::read(replies) {
                Ok(bytes) => format!("{name} ({})", Digest::of(&bytes).short()),
                Err(_) => format!("{name} (not there)"),
            }
        }
        (ProviderName::Replay, _) => return None,
        _ => settings.model.clone(),
    })
}

/// Tells of each model whose name meant another in the last run of this pipeline, this one (`own`)
/// left out.
pub(super) fn tell_of_others(
    project: &Project,
    entry: &str,
    plan: &Plan,
    program: &ProgramRecord,
    own: Option<&str>,
) {
    if program.models.is_empty() {
        return;
    }
    let store = project.store();
    let earlier = run_ids(&store).into_iter().filter(|id| Some(id.as_str()) != own);
    let of_this =
        |id: &String| read_run(&store, id, false).is_some_and(|run| run.info.pipeline == entry);
    let last = earlier.filter(of_this).find_map(|id| ProgramRecord::read(&store, &id));
    let Some(last) = last else { return };
    for (name, now) in &program.models {
        if let Some(was) = last.models.get(name).filter(|was| *was != now) {
            let stages = stages_with_model(plan, name);
            let refresh: String =
                stages.iter().map(|stage| format!(" --refresh {stage}")).collect();
            print::notice(&format!(
                "note: model `{name}` was {was} in the last run and is {now} now; answers are kept \
                 under the name\n  help: give it another name, or renew what it said with \
                 `claw run {entry}{refresh}`"
            ));
        }
    }
}
