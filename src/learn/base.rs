//! The base model: from nothing to a model that can copy, and has never seen a task.
//!
//! A small network learns slowly to look back for what it has just written and go on from there, and
//! everything that it will do with files needs that. So the base is trained on nothing else: noise
//! that is repeated after a separator, with the loss on the repetition. It knows no English, no tool
//! and no task, which makes it an honest zero to measure training against.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::json;

use super::checkpoint::{Checkpoint, Curve, Stage};
use super::optimiser::{Adam, Schedule};
use super::trainer::{Example, Trainer, below, first_weights};
use super::{Config, LearnError, Run, Tokenizer};
use crate::store::KeyHasher;

/// Settings of the base model.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseSettings {
    /// Its shape.
    pub config: Config,
    /// Decides the first weights and the noise.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: usize,
    /// Sequences in a step.
    pub batch: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warmup: usize,
    /// Weight decay of matrices.
    pub decay: f64,
}

impl Default for BaseSettings {
    fn default() -> BaseSettings {
        BaseSettings {
            config: Config::tiny(),
            seed: 0,
            steps: 900,
            batch: 32,
            rate: 1.5e-3,
            warmup: 30,
            decay: 0.01,
        }
    }
}

/// What every tokenizer sees besides the given texts, often enough that the words of the chat format,
/// of the tools and of the shell become tokens.
const PROTOCOL: &str = include_str!("protocol.txt");

/// How often it sees it.
const PROTOCOL_WEIGHT: usize = 40;

/// Makes a base model: a tokenizer from `texts`, and a network that has learnt to copy.
///
/// # Errors
/// When a setting is out of its range, the loss stops being a number, or the run is cancelled.
pub fn pretrain(
    settings: &BaseSettings,
    texts: &[String],
    run: &Run<'_>,
) -> Result<Checkpoint, LearnError> {
    let BaseSettings { config, seed, steps, batch, rate, warmup, decay } = settings;
    config.check().map_err(LearnError::Setting)?;
    if *batch == 0 {
        return Err(LearnError::Setting("a batch must hold at least one sequence".into()));
    }
    let mut corpus: Vec<&str> = texts.iter().map(String::as_str).collect();
    corpus.extend([PROTOCOL; PROTOCOL_WEIGHT]);
    let tokenizer = Tokenizer::train(&corpus, config.vocab);
    if tokenizer.size() > config.vocab {
        return Err(LearnError::Setting(format!(
            "a vocabulary of {} is too small: the bytes and the marks of the chat format alone \
             are {} tokens",
            config.vocab,
            tokenizer.size()
        )));
    }

    let adam = Adam { beta1: 0.9, beta2: 0.98, decay: *decay, clip: 1.0 };
    let schedule =
        Schedule { rate: *rate, warmup: (*warmup).min(*steps), steps: *steps, floor: 0.1 };
    let mut trainer = Trainer::new(config, first_weights(config, *seed), adam, run)?;
    let mut random = ChaCha8Rng::seed_from_u64(*seed);
    random.set_stream(1);
    let (mut curve, mut seen) = (Curve::new(*steps), 0);
    for step in 0..*steps {
        if (run.cancel)() {
            return Err(LearnError::Cancelled { step, steps: *steps });
        }
        let examples: Vec<Example> = (0..*batch)
            .map(|_| repetition(&tokenizer, &mut random, step as f64 / *steps as f64))
            .collect();
        let batch: Vec<&Example> = examples.iter().collect();
        seen += batch.iter().map(|e| e.tokens.len() as u64).sum::<u64>();
        let loss = trainer.step(&batch, schedule.at(step))?;
        curve.push(loss);
        (run.progress)(step + 1, *steps, loss);
    }

    let digest = {
        let mut key = KeyHasher::new("claw tokenizer texts 1");
        corpus.iter().for_each(|text| {
            key.text(text);
        });
        key.finish().to_string()
    };
    let mut stage = Stage::new(
        "base",
        &json!({
            "seed": seed, "steps": steps, "batch": batch, "rate": rate, "warmup": warmup,
            "decay": decay,
        }),
    );
    stage.data.insert("tokenizer texts".into(), digest);
    stage.examples = steps * batch;
    stage.tokens = seen;
    stage.curve = curve.points();
    let weights = trainer.into_weights();
    Ok(Checkpoint { config: config.clone(), tokenizer, weights, history: vec![stage] })
}

/// VARIANT
fn repetition(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, done: f64) -> Example {
    let env = |k: &str, d: usize| std::env::var(k).ok().map(|v| v.parse().expect("n")).unwrap_or(d);
    if below(random, 100) < env("MIX", 100) {
        return plain(tokenizer, random);
    }
    let most = 2.0 + (env("MAXW", 8) as f64 - 2.0) * (done / 0.7).min(1.0);
    let n = 2 + below(random, most as usize - 1);
    let mut words: Vec<Vec<u32>> = Vec::new();
    while words.len() < n {
        let w = word(tokenizer, random);
        if !words.contains(&w) {
            words.push(w);
        }
    }
    let joint = |random: &mut ChaCha8Rng| {
        const JOINTS: [&str; 12] = [" ", ",", "_", ".", "/", "-", ": ", " ", "=", "\n", ", ", "\t"];
        tokenizer.encode(JOINTS[below(random, JOINTS.len())])
    };
    let mut tokens: Vec<u32> = vec![];
    let mut counts: Vec<bool> = vec![];
    let keyed = below(random, 2) == 0 && n >= 2;
    let common = joint(random);
    for (i, w) in words.iter().enumerate() {
        tokens.extend(w);
        tokens.extend(if keyed && i % 2 == 0 { common.clone() } else { joint(random) });
    }
    tokens.push(tokenizer.marks().end_of_text);
    counts.resize(tokens.len(), false);
    if keyed {
        let mut pairs: Vec<usize> = (0..n / 2).collect();
        super::trainer::shuffle(&mut pairs, random);
        for p in pairs {
            for (k, w) in [&words[2 * p], &words[2 * p + 1]].into_iter().enumerate() {
                for (i, t) in w.iter().enumerate() {
                    tokens.push(*t);
                    counts.push(i > 0 || k == 1);
                }
                let j = if k == 0 { common.clone() } else { joint(random) };
                tokens.extend(j);
                counts.resize(tokens.len(), false);
            }
        }
    } else {
        super::trainer::shuffle(&mut words, random);
        for w in &words {
            for (i, t) in w.iter().enumerate() {
                tokens.push(*t);
                counts.push(i > 0);
            }
            tokens.extend(joint(random));
            counts.resize(tokens.len(), false);
        }
    }
    if !counts.iter().any(|c| *c) {
        return plain(tokenizer, random);
    }
    Example { tokens, counts }
}

fn word(tokenizer: &Tokenizer, random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut text = String::new();
    match below(random, 4) {
        0 => {
            for _ in 0..2 + below(random, 6) {
                text.push((b'a' + below(random, 26) as u8) as char);
            }
        }
        1 | 2 => {
            for _ in 0..2 + below(random, 2) {
                text.push(char::from(b"bcdfghjklmnprstvwz"[below(random, 18)]));
                text.push(char::from(b"aeiou"[below(random, 5)]));
            }
            if below(random, 3) == 0 {
                text.push(char::from(b"bcdfghjklmnprstvwz"[below(random, 18)]));
            }
        }
        _ => {
            let n = tokenizer.marks().end_of_text as usize;
            let len = 2 + below(random, 4);
            return (0..len).map(|_| below(random, n) as u32).collect();
        }
    }
    tokenizer.encode(&text)
}

fn plain(tokenizer: &Tokenizer, random: &mut ChaCha8Rng) -> Example {
    let segment = if below(random, 2) == 0 {
        random_tokens(tokenizer, random)
    } else {
        random_words(tokenizer, random)
    };
    let mut tokens = segment.clone();
    let mut counts = vec![false; tokens.len()];
    tokens.push(tokenizer.marks().end_of_text);
    counts.resize(tokens.len(), false);
    tokens.extend(&segment);
    counts.resize(tokens.len(), true);
    Example { tokens, counts }
}

/// 6 to 20 tokens, each any but a mark.
fn random_tokens(tokenizer: &Tokenizer, random: &mut ChaCha8Rng) -> Vec<u32> {
    let marks = tokenizer.marks().end_of_text;
    let len = 6 + below(random, 15);
    (0..len).map(|_| below(random, marks as usize) as u32).collect()
}

/// A few words of random letters, joined as words in commands and tables are.
fn random_words(tokenizer: &Tokenizer, random: &mut ChaCha8Rng) -> Vec<u32> {
    const JOINTS: [&str; 8] = [" ", ",", "_", ".", "/", "-", ":", " "];
    let mut text = String::new();
    for word in 0..2 + below(random, 3) {
        if word > 0 {
            text.push_str(JOINTS[below(random, JOINTS.len())]);
        }
        for _ in 0..2 + below(random, 7) {
            text.push((b'a' + below(random, 26) as u8) as char);
        }
    }
    tokenizer.encode(&text)
}
