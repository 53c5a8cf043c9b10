//! `rollout`: letting a model act (`run`), and how it acts: with tools of ours ([`tools`]) or through
//! a program that brings its own loop ([`outside`]).

mod agents;
mod outside;
mod tools;

pub use agents::all as agents;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::agent::{
    AgentSettings, Bounds, Contract, Episode, Installed, Models, Outing, OutsideAgent, Trajectory,
    episode, model_name, outing,
};
use crate::engine::{About, Args, Asks, CallError, Context, Kind, Operator, Pool, Spent};
use crate::lang::Value;
use crate::model::ModelError;
use crate::sandbox::Limits;
use crate::store::{Digest, KeyHasher, Objects};

use super::place::{Backends, Place};

/// UTF-8 bytes of a command's output that a sandbox keeps: enough for the 200,000 characters that
/// contracts show, however wide they are.
const KEPT_OUTPUT: usize = 800_000;

/// `rollout.run`: one episode in a sandbox of its own.
///
/// It is pure: the solver and checkpoints are functions of their arguments and of the seed, which is
/// made from the call's key, and what a remote model said is kept in the run's journal and said again
/// (see [`crate::model::Recorded`]). What an agent's commands take from outside (the date, the kernel's random numbers) is the
/// agent's doing, and shows when the run is verified. So is all chance in the program of an agent from
/// outside.
pub struct Rollout {
    models: Arc<dyn Models>,
    backends: Backends,
    installed: Vec<Installed>,
}

/// How the model acts.
enum Acting {
    /// With tools of ours.
    Tools(Box<dyn Contract>, AgentSettings),
    /// Through a program that is not ours.
    Outside(OutsideAgent),
}

impl Acting {
    fn of(agent: &Value, objects: &dyn Objects) -> Result<Acting, CallError> {
        let unusable =
            |err: &dyn std::fmt::Display| CallError::row(format!("`agent` cannot be used: {err}"));
        if let Some(outside) = OutsideAgent::from_value(agent).map_err(|err| unusable(&err))? {
            return Ok(Acting::Outside(outside));
        }
        let settings = AgentSettings::from_value(agent).map_err(|err| unusable(&err))?;
        let tools = settings.open(objects).map_err(|err| unusable(&err))?;
        Ok(Acting::Tools(tools, settings))
    }
}

impl Rollout {
    /// With the models that can act and the sandboxes that they can act in.
    pub fn new(models: Arc<dyn Models>, backends: Backends) -> Rollout {
        Rollout { models, backends, installed: Vec::new() }
    }

    /// Also with the agents that are installed on this machine.
    #[must_use]
    pub fn with_installed(mut self, installed: Vec<Installed>) -> Rollout {
        self.installed = installed;
        self
    }

    async fn run(&self, args: &Args, context: &Context) -> Result<Value, CallError> {
        let world = args.get("world")?;
        let world_id = text(world, "world", "id")?;
        let task = field(world, "world", "task")?;
        let prompt = text(task, "world.task", "prompt")?;
        let before = match field(world, "world", "files")? {
            Value::Dir(digest) => *digest,
            _ => return Err(CallError::row("`world.files` is not a directory")),
        };
        let trial = if args.0.contains_key("trial") { args.int("trial")? } else { 1 };
        let model_value = args.get("model")?;
        let name = model_name(model_value).ok_or_else(|| {
            CallError::row("`model` is neither a model nor a checkpoint with a name")
        })?;
        let acting = Acting::of(args.get("agent")?, &*context.objects)?;
        let place = Place::of(args.get("sandbox")?, &self.backends)?;

        let objects = &*context.objects;
        let seed = context.key.seed();
        let model =
            self.models.open(model_value, task, context).map_err(|err| unopened(&name, err))?;
        let temperature = model_value.get("temperature").and_then(Value::as_float);
        let command_ms = place.time_ms.unwrap_or(u64::MAX);
        let mut limits = Limits { output: KEPT_OUTPUT, ..place.limits };
        if let Acting::Outside(agent) = &acting {
            // Its program is one command; its processor time must not end it before its wall time.
            let seconds = agent.time_ms.min(command_ms).div_ceil(1000);
            limits.cpu_seconds = limits.cpu_seconds.max(seconds);
        }
        let start = objects.tree(&before)?;
        let mut sandbox = place.backend.open(&start, objects, &limits).await.map_err(|err| {
            CallError::Infrastructure(format!(
                "the `{}` sandbox of world {world_id} did not open: {err}",
                place.backend.name()
            ))
        })?;
        let played = match acting {
            Acting::Tools(contract, settings) => {
                let bounds = Bounds::from_now(settings.time_ms, context.cancel.clone());
                let exec_ms = settings.exec_ms.min(command_ms);
                let plan = Episode {
                    contract: &*contract,
                    settings: &AgentSettings { exec_ms, ..settings },
                    model,
                    model_name: name.clone(),
                    model_settings: model_value.to_json(),
                    temperature: temperature.unwrap_or(0.0),
                    prompt,
                    before,
                    seed,
                };
                episode(&plan, &mut *sandbox, &bounds).await
            }
            Acting::Outside(agent) => {
                let plan = Outing {
                    time_ms: agent.time_ms.min(command_ms),
                    agent: &agent,
                    model,
                    model_name: name.clone(),
                    model_settings: model_value.to_json(),
                    temperature,
                    prompt,
                    before,
                    seed,
                    objects,
                    installed: &self.installed,
                };
                outing(&plan, &mut *sandbox, &context.cancel).await
            }
        };
        let Some((mut trajectory, fault)) = played else {
            return Err(CallError::Cancelled);
        };
        if trajectory.ending.is_infrastructure() {
            let told = |fault: &dyn std::fmt::Display| {
                let (ending, step) = (trajectory.ending.name(), trajectory.steps() + 1);
                format!(
                    "the episode of `{name}` on world {world_id} ended by {ending} in step {step}: {fault}"
                )
            };
            return Err(match fault {
                Some(CallError::Row { message, output }) => {
                    CallError::Row { message: told(&message), output }
                }
                Some(CallError::Infrastructure(fault)) => CallError::Infrastructure(told(&fault)),
                Some(fault) => fault,
                None => CallError::Infrastructure(told(&"nobody said why")),
            });
        }
        let closed = sandbox.close(objects).await.map_err(|err| {
            CallError::Infrastructure(format!(
                "the workspace of world {world_id} could not be taken out: {err}"
            ))
        })?;
        let after = objects.put_tree(&closed.workspace)?;
        trajectory.after = Some(after);
        trajectory.refused = closed.refused;
        let about = self.about();
        trajectory.versions.insert(about.name.to_string(), about.version.to_string());

        let tokens = trajectory.tokens();
        let answers = trajectory.steps() as u64;
        let spent = Spent { answers, input: tokens.input, output: tokens.output };
        context.spent(about.name, model_value, spent)?;
        let id = run_id(world_id, &name, trial);
        run_row(&id, world, &name, trial, &trajectory, after, context)
    }
}

impl Operator for Rollout {
    fn about(&self) -> About {
        About { name: "rollout.run", version: 1, kind: Kind::Pure, pool: Pool::Sandbox }
    }

    fn asks(&self, args: &Args) -> Option<Asks> {
        let model = args.get("model").ok()?.clone();
        let prompt = args.0.get("world").and_then(|world| world.get("task")?.get("prompt"));
        let text = prompt.and_then(Value::as_str).map(str::to_string);
        let agent = args.0.get("agent").and_then(|agent| AgentSettings::from_value(agent).ok());
        let answers = agent.as_ref().map(|agent| u64::from(agent.max_steps));
        let answer_tokens = agent.map_or(0, |agent| u64::from(agent.step_tokens));
        Some(Asks { model, text, answers, answer_tokens })
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(self.run(args, context))
    }
}

/// Why a model cannot be opened. Only what it says of the task is the row's own failure.
fn unopened(name: &str, err: ModelError) -> CallError {
    let told = |why: &str| format!("cannot open the model `{name}`: {why}");
    match err {
        ModelError::Unavailable(why) => CallError::Infrastructure(told(&why)),
        ModelError::Refused { message, output } => {
            CallError::Row { message: told(&message), output }
        }
        other => other.into(),
    }
}

/// A short id that stays the same for the same world, model and trial.
fn run_id(world: &str, model: &str, trial: i64) -> String {
    let mut key = KeyHasher::new("claw run 1");
    key.text(world).text(model).bytes(&trial.to_le_bytes());
    key.finish().short()
}

fn run_row(
    id: &str,
    world: &Value,
    model: &str,
    trial: i64,
    trajectory: &Trajectory,
    after: Digest,
    context: &Context,
) -> Result<Value, CallError> {
    let digest = context.objects.put(&trajectory.encode())?;
    let tokens = trajectory.tokens();
    let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Value::record([
        ("id", Value::str(id)),
        ("world", world.clone()),
        ("model", Value::str(model)),
        ("trial", Value::Int(trial)),
        ("ending", Value::str(trajectory.ending.name())),
        ("finished", Value::Bool(trajectory.ending.finished())),
        ("steps", Value::from(trajectory.steps())),
        ("tokens_in", count(tokens.input)),
        ("tokens_out", count(tokens.output)),
        ("trajectory", Value::File { digest, name: "trajectory.json".to_string() }),
        ("after", Value::Dir(after)),
        ("refused", Value::from(trajectory.refused.clone())),
    ]))
}

fn field<'a>(value: &'a Value, of: &str, name: &str) -> Result<&'a Value, CallError> {
    value.get(name).ok_or_else(|| CallError::row(format!("`{of}` has no field `{name}`")))
}

fn text<'a>(value: &'a Value, of: &str, name: &str) -> Result<&'a str, CallError> {
    let field = field(value, of, name)?;
    field.as_str().ok_or_else(|| CallError::row(format!("`{of}.{name}` is not text")))
}
