//! `train`: a base from scratch (`tiny`), and fine-tuning on runs (`sft`).
//!
//! A checkpoint is a record `{ checkpoint: Dir, name: str, … }`; its folder is in the layout that
//! Hugging Face uses. It stands wherever a model is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use crate::agent::Trajectory;
use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::learn::{
    BaseSettings, Checkpoint, CheckpointModel, LearnError, Run, SftSettings, fine_tune, pretrain,
};
use crate::model::{Message, Model, ModelError};
use crate::store::{Digest, KeyHasher, Objects};

/// `train.tiny`.
pub struct Tiny;

/// `train.sft`.
pub struct Sft;

impl Operator for Tiny {
    fn about(&self) -> About {
        About { name: "train.tiny", version: 1, kind: Kind::Pure, pool: Pool::Machine }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            let settings = BaseSettings {
                seed: args.int("seed")? as u64,
                steps: count(args, "steps")?,
                ..BaseSettings::default()
            };
            let objects = &*context.objects;
            let mut texts = Vec::new();
            for (_, digest) in objects.tree(&args.dir("texts")?)?.files() {
                texts.push(String::from_utf8_lossy(&objects.get(digest)?).into_owned());
            }
            let trained = train(context, move |run| pretrain(&settings, &texts, run)).await?;
            keep(objects, &trained, "tiny")
        })
    }
}

impl Operator for Sft {
    fn about(&self) -> About {
        About { name: "train.sft", version: 1, kind: Kind::Pure, pool: Pool::Machine }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            let objects = &*context.objects;
            let base_value = args.get("base")?;
            let base = open(base_value, objects).map_err(CallError::row)?;
            let mut data = KeyHasher::new("claw training data 1");
            let mut conversations = Vec::new();
            for graded in args.rows("runs", objects)? {
                let (digest, messages) = conversation(&graded, objects)?;
                data.digest(&digest);
                conversations.push(messages);
            }
            let count_of = conversations.len();
            let settings = SftSettings {
                steps: count(args, "steps")?,
                batch: count(args, "batch")?,
                rate: args.float("rate")?,
                seed: args.int("seed")? as u64,
                data: BTreeMap::from([("trajectories".to_string(), data.finish().to_string())]),
                ..SftSettings::default()
            };
            let trained =
                train(context, move |run| fine_tune(&base, &conversations, &settings, run)).await?;
            let base_name = base_value.get("name").and_then(Value::as_str).unwrap_or("base");
            let mut value = keep(objects, &trained, &format!("{base_name}+sft"))?;
            if let Value::Record(fields) = &mut value {
                fields.insert("trained_on".to_string(), Value::from(count_of));
            }
            Ok(value)
        })
    }
}

fn count(args: &Args, name: &str) -> Result<usize, CallError> {
    usize::try_from(args.int(name)?)
        .map_err(|_| CallError::row(format!("`{name}` must not be negative")))
}

/// The conversation of a graded run, and the digest of its trajectory.
fn conversation(
    graded: &Value,
    objects: &dyn Objects,
) -> Result<(Digest, Vec<Message>), CallError> {
    let trajectory = graded.get("run").and_then(|run| run.get("trajectory"));
    let Some(Value::File { digest, .. }) = trajectory else {
        return Err(CallError::row("a graded run has no trajectory"));
    };
    let bytes = objects.get(digest)?;
    let trajectory = Trajectory::decode(&bytes)
        .map_err(|err| CallError::row(format!("trajectory {}: {err}", digest.short())))?;
    Ok((*digest, trajectory.training_messages()))
}

/// Trains on a thread of its own, so that the rest of the run goes on.
async fn train(
    context: &Context,
    work: impl FnOnce(&Run<'_>) -> Result<Checkpoint, LearnError> + Send + 'static,
) -> Result<Checkpoint, CallError> {
    let threads = context.threads;
    let cancel = context.cancel.clone();
    let progress = context.progress.clone();
    let trained = tokio::task::spawn_blocking(move || {
        let tell = move |done: usize, total: usize, loss: f64| {
            progress(done as u64, total as u64, &format!("steps, loss {loss:.3}"));
        };
        let stop = move || cancel.is_cancelled();
        work(&Run { threads, cancel: &stop, progress: &tell })
    });
    match trained.await {
        Ok(Ok(checkpoint)) => Ok(checkpoint),
        Ok(Err(LearnError::Cancelled { .. })) => Err(CallError::Cancelled),
        Ok(Err(err)) => Err(CallError::row(err.to_string())),
        Err(err) => Err(CallError::Infrastructure(format!("the training broke off: {err}"))),
    }
}

/// Keeps a checkpoint and gives its value.
fn keep(objects: &dyn Objects, trained: &Checkpoint, name: &str) -> Result<Value, CallError> {
    let files = trained.to_files().map_err(|err| CallError::row(err.to_string()))?;
    let folder = objects.put_files(&files)?;
    let loss = trained
        .history
        .last()
        .and_then(|stage| stage.curve.last())
        .map_or(Value::Null, |point| Value::Float(point.loss));
    Ok(Value::record([
        ("checkpoint", Value::Dir(folder)),
        ("name", Value::str(name)),
        ("loss", loss),
    ]))
}

/// Reads the checkpoint that a value names.
fn open(value: &Value, objects: &dyn Objects) -> Result<Checkpoint, String> {
    let Some(Value::Dir(digest)) = value.get("checkpoint") else {
        return Err("it is not a checkpoint".to_string());
    };
    let tree = objects.tree(digest).map_err(|err| err.to_string())?;
    let read = |path: &str| match tree.entries.get(path) {
        Some(crate::store::Entry::File { digest, .. }) => Some(objects.get(digest).ok()?.to_vec()),
        _ => None,
    };
    Checkpoint::from_files(&read).map_err(|err| err.to_string())
}

/// Checkpoints that were opened as models, so that a thousand rollouts read their weights once.
#[derive(Default)]
pub struct OpenCheckpoints {
    open: Mutex<Vec<(Digest, Arc<CheckpointModel>)>>,
}

/// How many stay open: an evaluation compares a few.
const OPEN_AT_ONCE: usize = 8;

impl OpenCheckpoints {
    /// The model of a checkpoint value.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn model(
        &self,
        value: &Value,
        objects: &dyn Objects,
    ) -> Result<Arc<dyn Model>, ModelError> {
        let Some(Value::Dir(digest)) = value.get("checkpoint") else {
            return Err(ModelError::Unavailable("the model is not a checkpoint".to_string()));
        };
        let mut open_models = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, model)) = open_models.iter().find(|(open, _)| open == digest) {
            return Ok(model.clone());
        }
        let checkpoint = open(value, objects).map_err(|err| {
            ModelError::Unavailable(format!(
                "the checkpoint {} cannot be opened: {err}",
                digest.short()
            ))
        })?;
        let model = Arc::new(CheckpointModel::new(&checkpoint));
        if open_models.len() == OPEN_AT_ONCE {
            open_models.remove(0);
        }
        open_models.push((*digest, model.clone()));
        Ok(model)
    }
}
