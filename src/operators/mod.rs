//! What a stage can do: one file a family of operators. [`all`] puts them together with the
//! sandboxes and models that they act through.

pub mod eval;
pub mod exec;
pub mod files;
pub mod llm;
mod misread;
pub mod persona;
pub mod place;
pub mod rollout;
pub mod rows;
pub mod skill;
pub mod task;
pub mod train;
pub mod verify;
pub mod workspace;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::agent::{Installed, Models, Registry};
use crate::engine::{Operator, Operators};
use crate::model::Configured;
use crate::project::ModelSettings;
use crate::sandbox::{Backend, DockerBackend, LocalBackend, ProcessBackend, SandboxError};

/// Every operator. `allow_unsandboxed` lets `sandbox("local")` be opened; `remote` are the models that
/// the project reaches over the network, `installed` the agents that stand on this machine.
///
/// # Errors
/// When this program cannot find its own file, which sandboxes start from.
pub fn all(
    allow_unsandboxed: bool,
    remote: &BTreeMap<String, ModelSettings>,
    installed: Vec<Installed>,
) -> Result<Operators, SandboxError> {
    let mut backends: Vec<Arc<dyn Backend>> =
        vec![Arc::new(ProcessBackend::current()?), Arc::new(DockerBackend::current())];
    if allow_unsandboxed {
        backends.push(Arc::new(LocalBackend));
    }
    let backends: place::Backends =
        Arc::new(move |name| backends.iter().find(|backend| backend.name() == name).cloned());
    let checkpoints = train::OpenCheckpoints::default();
    let mut models = Registry::builtin().with(
        "checkpoint",
        Box::new(move |value, _task, context| checkpoints.model(value, &*context.objects)),
    );
    for (name, settings) in remote {
        let model = Configured::new(name, settings);
        models =
            models.with(name, Box::new(move |value, _task, context| model.open(value, context)));
    }
    let models: Arc<dyn Models> = Arc::new(models);
    let library = Arc::new(task::Library::default());
    let operators: Vec<Arc<dyn Operator>> = vec![
        Arc::new(persona::Draw::default()),
        Arc::new(skill::Ground::default()),
        Arc::new(task::Write::new(library.clone())),
        Arc::new(workspace::Mock::new(library)),
        Arc::new(
            rollout::Rollout::new(models.clone(), showing(&installed, &backends)?)
                .with_installed(installed),
        ),
        Arc::new(verify::Grade::new(backends.clone())),
        Arc::new(train::Tiny),
        Arc::new(train::Sft),
        Arc::new(eval::Summarise),
        Arc::new(exec::Exec::new(exec::Gives::Done, backends.clone())),
        Arc::new(exec::Exec::new(exec::Gives::File, backends.clone())),
        Arc::new(exec::Exec::new(exec::Gives::Rows, backends)),
        Arc::new(llm::Llm::new(llm::Gives::Text, models.clone())),
        Arc::new(llm::Llm::new(llm::Gives::Json, models)),
    ];
    let families = rollout::agents().into_iter().chain(rows::all()).chain(files::all());
    Ok(Operators::new(operators.into_iter().chain(families)))
}

/// The same sandboxes; those of namespaces also see where agents are installed. Only rollouts get
/// these: nothing else has a use for them.
fn showing(
    installed: &[Installed],
    backends: &place::Backends,
) -> Result<place::Backends, SandboxError> {
    // One that is not there is told to the rollout that asks for it, and to no other.
    let there = installed.iter().filter(|agent| agent.path.is_dir());
    let paths: Vec<_> = there.map(|agent| agent.path.clone()).collect();
    if paths.is_empty() {
        return Ok(backends.clone());
    }
    let process: Arc<dyn Backend> =
        Arc::new(paths.into_iter().fold(ProcessBackend::current()?, ProcessBackend::show));
    let others = backends.clone();
    Ok(Arc::new(
        move |name| {
            if name == process.name() { Some(process.clone()) } else { others(name) }
        },
    ))
}
