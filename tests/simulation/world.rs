//! The toy operators of a simulation: in virtual time, with every misfortune that the seed wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw::engine::{About, Args, CallError, Context, Kind, Limits, Operator, Operators, Pool};
use claw::lang::Value;
use claw::store::Digest;
use futures::future::BoxFuture;

use super::chance;
use super::graph::{self, Fate, Graph};

/// What happens in one or several runs of a graph in the same store.
pub(super) struct World {
    /// Decides how long each call takes.
    delays: u64,
    /// Tells the keys of this world from those of others in the same store.
    version: u32,
    graph: Arc<Graph>,
    limits: Limits,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// How often each call came to a result, in all runs.
    made: BTreeMap<Digest, u64>,
    /// How often each call was tried, in this run.
    tried: BTreeMap<Digest, u64>,
    /// Shaky calls under way, by the stage they belong to.
    running: BTreeMap<u64, u64>,
    /// What went on that must not.
    wrong: Option<String>,
}

impl World {
    pub(super) fn new(graph: Arc<Graph>, delays: u64, version: u32, limits: Limits) -> Arc<World> {
        Arc::new(World { delays, version, graph, limits, now: Mutex::default() })
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another run begins: the machine's failures begin anew.
    pub(super) fn begin(&self) {
        let mut now = self.now();
        now.tried.clear();
        now.running.clear();
    }

    pub(super) fn operators(self: &Arc<Self>) -> Operators {
        let all = [
            ("toy.number", Pool::Instant),
            ("toy.double", Pool::Cpu),
            ("toy.half", Pool::Instant),
            ("toy.split", Pool::Cpu),
            ("toy.add", Pool::Elsewhere),
            ("toy.total", Pool::Cpu),
            ("toy.sorted", Pool::Machine),
            ("toy.shaky", Pool::Sandbox),
        ];
        Operators::new(all.into_iter().map(|(name, pool)| {
            Arc::new(Toy { name, pool, world: self.clone() }) as Arc<dyn Operator>
        }))
    }

    /// What was wrong, if anything was: a limit that was not kept, or work that was done twice.
    pub(super) fn wrong(&self) -> Option<String> {
        let now = self.now();
        let twice = now.made.iter().find(|(_, times)| **times > 1);
        now.wrong.clone().or(twice.map(|(key, times)| format!("{key} was made {times} times")))
    }

    /// One more shaky call of the stage at `tag` is under way.
    fn enter(self: &Arc<Self>, tag: u64) -> Running {
        let mut now = self.now();
        *now.running.entry(tag).or_default() += 1;
        let mut wrong = None;
        let (mut all, mut cpu, mut gib) = (0, 0, 0);
        for (tag, count) in &now.running {
            let policy = &self.graph.stages[*tag as usize].policy;
            all += count;
            cpu += count * policy.cpu.unwrap_or(0);
            gib += count * policy.gib;
            if policy.concurrency.is_some_and(|most| *count > most) {
                wrong = Some(format!("{count} calls of s{tag} at once"));
            }
        }
        let limits = self.limits;
        if all > limits.sandboxes as u64 || cpu > limits.threads as u64 || gib << 30 > limits.memory
        {
            wrong = Some(format!("{all} sandboxes, {cpu} processors, {gib} GiB at once"));
        }
        now.wrong = now.wrong.take().or(wrong);
        drop(now);
        Running(self.clone(), tag)
    }
}

struct Running(Arc<World>, u64);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(count) = self.0.now().running.get_mut(&self.1) {
            *count -= 1;
        }
    }
}

struct Toy {
    name: &'static str,
    pool: Pool,
    world: Arc<World>,
}

impl Operator for Toy {
    fn about(&self) -> About {
        About { name: self.name, version: self.world.version, kind: Kind::Pure, pool: self.pool }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            let tag = args.0.get("tag").and_then(Value::as_int).map(|tag| tag as u64);
            let _running = tag.map(|tag| self.world.enter(tag));
            let attempt = {
                let mut now = self.world.now();
                let tried = now.tried.entry(context.key).or_default();
                *tried += 1;
                *tried - 1
            };
            if let Some(tag) = tag {
                self.misfortune(tag, number(args.get("of")?), attempt).await?;
            }
            if self.pool != Pool::Instant {
                self.wait(context, attempt).await?;
            }
            let value = self.value(args, context)?;
            *self.world.now().made.entry(context.key).or_default() += 1;
            Ok(value)
        })
    }
}

impl Toy {
    /// Most calls are quick, few take long; some that are asked to stop do.
    async fn wait(&self, context: &Context, attempt: u64) -> Result<(), CallError> {
        let roll = chance::of(&[self.world.delays, context.key.seed(), attempt]);
        let ms = if roll.is_multiple_of(7) { 2000 } else { 50 };
        tokio::time::sleep(Duration::from_millis(roll / 7 % ms)).await;
        if context.cancel.is_cancelled() && roll.is_multiple_of(2) {
            return Err(CallError::Cancelled);
        }
        Ok(())
    }

    async fn misfortune(&self, tag: u64, n: i64, attempt: u64) -> Result<(), CallError> {
        let policy = &self.world.graph.stages[tag as usize].policy;
        // Rows that are equal make the same call; each of them meets the same.
        let attempt = attempt % (policy.retries + 1);
        match graph::fate(self.world.graph.seed, tag, n) {
            Fate::Works => Ok(()),
            Fate::Fails => Err(CallError::row(format!("{n} is bad"))),
            // A panic without the message that the runtime prints.
            Fate::Panics => std::panic::resume_unwind(Box::new(format!("{n} is met by a mistake"))),
            Fate::Hangs(times) if attempt < times && policy.timeout => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(())
            }
            Fate::Later(times) | Fate::Hangs(times) if attempt < times => {
                Err(CallError::Infrastructure("the line is down".to_string()))
            }
            Fate::Later(_) | Fate::Hangs(_) => Ok(()),
        }
    }

    fn value(&self, args: &Args, context: &Context) -> Result<Value, CallError> {
        let of = || Ok::<_, CallError>(number(args.get("of")?));
        let all = || -> Result<Vec<i64>, CallError> {
            Ok(args.rows("of", &*context.objects)?.iter().map(number).collect())
        };
        let list = |all: Vec<i64>| Value::List(all.into_iter().map(record).collect());
        Ok(match self.name {
            "toy.number" => record(args.int("n")?),
            "toy.double" => record(graph::double(of()?)),
            "toy.half" => graph::half(of()?).map_or(Value::Null, record),
            "toy.split" => list(graph::split(of()?)),
            "toy.add" => record(graph::add(of()?, number(args.get("to")?))),
            "toy.total" => record(graph::total(&all()?)),
            "toy.sorted" => {
                let mut all = all()?;
                all.sort_unstable();
                list(all)
            }
            _ => record(of()?),
        })
    }
}

pub(super) fn number(value: &Value) -> i64 {
    value.get("n").and_then(Value::as_int).expect("a number")
}

fn record(n: i64) -> Value {
    Value::record([("n", Value::Int(n))])
}
