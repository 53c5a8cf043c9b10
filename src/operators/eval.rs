//! `eval`: graded runs to scores with intervals, and models compared with one another.
//!
//! The unit is the task: a model's trials of one task are averaged first, intervals are drawn over
//! tasks, and two models are compared task by task on the tasks that both have done. Runs that broke
//! for the world's fault never become rows, so none is counted here as a zero.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::stats::{Interval, holm, mean, mean_interval, paired, pass_at_k, pass_hat_k, wilson};
use crate::store::KeyHasher;

/// A difference counts as shown when it would be this rare by chance.
const SHOWN: f64 = 0.05;

/// `eval.summarise`.
pub struct Summarise;

impl Operator for Summarise {
    fn about(&self) -> About {
        About { name: "eval.summarise", version: 1, kind: Kind::Pure, pool: Pool::Cpu }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            let rows = args.rows("graded", &*context.objects)?;
            let apart = match args.0.get("apart") {
                None => BTreeSet::new(),
                Some(_) => args
                    .rows("apart", &*context.objects)?
                    .iter()
                    .map(|family| family.as_str().map(str::to_string))
                    .collect::<Option<BTreeSet<String>>>()
                    .ok_or_else(|| CallError::row("`apart` is not a list of families' names"))?,
            };
            let seed = if args.0.contains_key("seed") { args.int("seed")? } else { 0 };
            let runs: Vec<Graded> = rows
                .iter()
                .enumerate()
                .map(|(i, row)| Graded::read(row, i))
                .collect::<Result<_, _>>()?;
            Ok(report(&runs, &apart, seed as u64))
        })
    }
}

/// What is needed of a graded run.
struct Graded {
    world: String,
    family: String,
    model: String,
    ending: String,
    steps: f64,
    tokens_in: f64,
    tokens_out: f64,
    reward: f64,
    passed: bool,
}

impl Graded {
    fn read(row: &Value, number: usize) -> Result<Graded, CallError> {
        let at = |path: &str| {
            path.split('.').try_fold(row, |value, field| value.get(field)).ok_or_else(|| {
                CallError::row(format!("row {} of `graded` has no `{path}`", number + 1))
            })
        };
        let wrong = |path: &str, what: &str| {
            CallError::row(format!("`{path}` in row {} of `graded` is not {what}", number + 1))
        };
        let text = |path: &str| {
            Ok::<String, CallError>(at(path)?.as_str().ok_or_else(|| wrong(path, "text"))?.into())
        };
        let count = |path: &str| at(path)?.as_float().ok_or_else(|| wrong(path, "a number"));
        let reward = at("reward")?.as_float().filter(|reward| (0.0..=1.0).contains(reward));
        Ok(Graded {
            world: text("run.world.id")?,
            family: text("run.world.task.family")?,
            model: text("run.model")?,
            ending: text("run.ending")?,
            steps: count("run.steps")?,
            tokens_in: count("run.tokens_in")?,
            tokens_out: count("run.tokens_out")?,
            reward: reward.ok_or_else(|| wrong("reward", "a number from 0 to 1"))?,
            passed: at("passed")?.as_bool().ok_or_else(|| wrong("passed", "true or false"))?,
        })
    }
}

/// A model's runs on one task.
#[derive(Default)]
struct Tries {
    rewards: Vec<f64>,
    passed: usize,
}

impl Tries {
    fn pass_share(&self) -> f64 {
        self.passed as f64 / self.rewards.len() as f64
    }
}

fn report(runs: &[Graded], apart: &BTreeSet<String>, seed: u64) -> Value {
    let mut models: Vec<&str> = Vec::new();
    for run in runs {
        if !models.contains(&run.model.as_str()) {
            models.push(&run.model);
        }
    }
    let families: BTreeSet<&str> = runs.iter().map(|run| run.family.as_str()).collect();
    let halves = ["seen", "unseen"];
    let groups: Vec<&str> = halves.into_iter().chain(families).collect();
    let belongs = |run: &Graded, group: &str| match group {
        "seen" => !apart.contains(&run.family),
        "unseen" => apart.contains(&run.family),
        family => run.family == family,
    };
    let chosen = |model: &str, group: &str| -> Vec<&Graded> {
        runs.iter().filter(|run| run.model == model && belongs(run, group)).collect()
    };

    let mut lines = Vec::new();
    // Models side by side, so that a reader compares by looking down.
    for group in &groups {
        for model in &models {
            let runs = chosen(model, group);
            if !runs.is_empty() {
                lines.push(line(model, group, &runs, seed));
            }
        }
    }
    let mut pairs = Vec::new();
    for pair in models.windows(2) {
        for group in halves {
            let (base, other) = (tries(&chosen(pair[0], group)), tries(&chosen(pair[1], group)));
            let scores: (Vec<f64>, Vec<f64>) = base
                .iter()
                .filter_map(|(task, tries)| Some((tries, other.get(task)?)))
                .map(|(base, other)| (mean(&base.rewards), mean(&other.rewards)))
                .unzip();
            let seed = own_seed(seed, &[pair[0], pair[1], group]);
            if let Some(result) = paired(&scores.0, &scores.1, seed) {
                pairs.push((pair[0], pair[1], group, scores.0.len(), result));
            }
        }
    }
    let corrected = holm(&pairs.iter().map(|pair| pair.4.p).collect::<Vec<f64>>());
    let comparisons: Vec<Value> = pairs
        .into_iter()
        .zip(corrected)
        .map(|((base, other, group, tasks, result), p)| {
            // Scores lie between 0 and 1, so differences lie between −1 and 1.
            let low = result.interval.low.max(-1.0);
            let high = result.interval.high.min(1.0);
            let difference = result.difference;
            let numbers =
                format!("{difference:+.3}, 95 % interval {low:+.3} to {high:+.3}, {}", p_text(p));
            let verdict = match (p < SHOWN, difference > 0.0) {
                (true, true) => format!("{other} scores higher than {base} ({numbers})"),
                (true, false) => format!("{other} scores lower than {base} ({numbers})"),
                (false, _) => format!("no difference shown between {base} and {other} ({numbers})"),
            };
            Value::record([
                ("base", Value::from(base)),
                ("model", Value::from(other)),
                ("group", Value::from(group)),
                ("tasks", Value::from(tasks)),
                ("difference", Value::Float(difference)),
                ("difference_low", Value::Float(low)),
                ("difference_high", Value::Float(high)),
                ("p", Value::Float(p)),
                ("verdict", Value::Str(verdict)),
            ])
        })
        .collect();
    Value::record([("lines", Value::List(lines)), ("comparisons", Value::List(comparisons))])
}

fn line(model: &str, group: &str, runs: &[&Graded], seed: u64) -> Value {
    let tasks = tries(runs);
    let clusters: Vec<usize> = (0..tasks.len()).collect();
    let scores: Vec<f64> = tasks.values().map(|tries| mean(&tries.rewards)).collect();
    let passes: Vec<f64> = tasks.values().map(Tries::pass_share).collect();
    let score = mean_interval(&scores, &clusters, own_seed(seed, &[model, group, "mean"]));
    let single = tasks.values().all(|tries| tries.rewards.len() == 1);
    let pass: Interval = if single {
        wilson(tasks.values().map(|tries| tries.passed).sum(), tasks.len())
    } else {
        mean_interval(&passes, &clusters, own_seed(seed, &[model, group, "pass"]))
    };
    let average = |of: &dyn Fn(&Graded) -> f64| {
        Value::Float(mean(&runs.iter().map(|run| of(run)).collect::<Vec<f64>>()))
    };
    let mut endings: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs {
        *endings.entry(&run.ending).or_default() += 1;
    }
    let endings = endings.into_iter().map(|(ending, count)| {
        Value::record([
            ("ending", Value::from(ending)),
            ("share", Value::Float(count as f64 / runs.len() as f64)),
        ])
    });
    Value::record([
        ("model", Value::from(model)),
        ("group", Value::from(group)),
        ("tasks", Value::from(tasks.len())),
        ("runs", Value::from(runs.len())),
        ("mean", Value::Float(mean(&scores))),
        ("mean_low", Value::Float(score.low)),
        ("mean_high", Value::Float(score.high)),
        ("pass_rate", Value::Float(mean(&passes))),
        ("pass_low", Value::Float(pass.low)),
        ("pass_high", Value::Float(pass.high)),
        ("passes", Value::List(pass_within(&tasks))),
        ("endings", Value::List(endings.collect())),
        ("steps", average(&|run| run.steps)),
        ("tokens_in", average(&|run| run.tokens_in)),
        ("tokens_out", average(&|run| run.tokens_out)),
    ])
}

/// The chance to pass at least once, and every time, in k tries, for k = 1, 2, 4, … as far as every
/// task was tried that often.
fn pass_within(tasks: &BTreeMap<&str, Tries>) -> Vec<Value> {
    let least = tasks.values().map(|tries| tries.rewards.len()).min().unwrap_or(0);
    let doubling = std::iter::successors(Some(1usize), |k| k.checked_mul(2));
    doubling
        .take_while(|k| *k <= least)
        .map(|k| {
            let over = |chance: fn(usize, usize, usize) -> Option<f64>| {
                let each = tasks.values().filter_map(|t| chance(t.rewards.len(), t.passed, k));
                Value::Float(mean(&each.collect::<Vec<f64>>()))
            };
            Value::record([
                ("k", Value::from(k)),
                ("once", over(pass_at_k)),
                ("always", over(pass_hat_k)),
            ])
        })
        .collect()
}

fn tries<'a>(runs: &[&'a Graded]) -> BTreeMap<&'a str, Tries> {
    let mut tasks: BTreeMap<&str, Tries> = BTreeMap::new();
    for run in runs {
        let tries = tasks.entry(&run.world).or_default();
        tries.rewards.push(run.reward);
        tries.passed += usize::from(run.passed);
    }
    tasks
}

/// A seed of its own for each number, so that one more model or group moves no other interval.
fn own_seed(seed: u64, parts: &[&str]) -> u64 {
    let mut key = KeyHasher::new("claw interval 1");
    key.number(seed);
    for part in parts {
        key.text(part);
    }
    key.finish().seed()
}

fn p_text(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_string() } else { format!("p = {p:.4}") }
}
