//! Supervised fine-tuning: a checkpoint goes on learning from conversations, with the loss on what
//! the assistant wrote.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Curve, Stage};
use super::optimiser::{Method, Schedule};
use super::trainer::{Example, Trainer, below, shuffle, unit};
use super::{LearnError, Run, render};
use crate::model::Message;

/// Settings of fine-tuning. The defaults were found by measurement for models of about a million
/// weights; a rate of 4e-3 already keeps such a model from ever learning to copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SftSettings {
    /// Optimiser steps.
    pub steps: usize,
    /// Conversations in a step.
    pub batch: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warmup: usize,
    /// The share of it that is left at the end.
    pub floor: f64,
    /// Weight decay of matrices.
    pub decay: f64,
    /// The largest norm of a gradient.
    pub clip: f64,
    /// How many times the rate Muon moves the matrices inside the network; 0 leaves them to AdamW,
    /// which moves all else.
    pub muon: f64,
    /// Tokens of a conversation at most; longer ones are dropped, and counted.
    pub longest: usize,
    /// Decides the order of the conversations.
    pub seed: u64,
    /// The share of tokens in what the assistant reads, but never writes, that noise replaces: a
    /// model that has seen its lessons in few wordings must not hang on any one word of them.
    pub blur: f64,
    /// What the data is, by name: digests and the like, for the record only.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

impl Default for SftSettings {
    fn default() -> SftSettings {
        SftSettings {
            steps: 1000,
            batch: 16,
            rate: 1.5e-3,
            warmup: 40,
            floor: 0.05,
            decay: 0.05,
            clip: 1.0,
            muon: 3.0,
            longest: 512,
            seed: 0,
            blur: 0.15,
            data: BTreeMap::new(),
        }
    }
}

/// Trains `base` further on conversations. Each epoch goes through all of them in a new order drawn
/// from the seed; the mean is over tokens, not over conversations.
///
/// # Errors
/// When no conversation can be learnt from, a setting is out of its range, the loss stops being a
/// number, or the run is cancelled.
pub fn fine_tune(
    base: &Checkpoint,
    conversations: &[Vec<Message>],
    settings: &SftSettings,
    run: &Run<'_>,
) -> Result<Checkpoint, LearnError> {
    if settings.batch == 0 {
        return Err(LearnError::Setting("a batch must hold at least one conversation".into()));
    }
    let longest = settings.longest.min(base.config.context);
    let mut examples = Vec::with_capacity(conversations.len());
    for conversation in conversations {
        let rendered = render(&base.tokenizer, conversation, false);
        let example = Example { tokens: rendered.tokens, counts: rendered.counts };
        if example.tokens.len() <= longest && example.counted() > 0 {
            examples.push(example);
        }
    }
    let dropped = conversations.len() - examples.len();
    if examples.is_empty() && settings.steps > 0 {
        return Err(LearnError::Data {
            what: if dropped == 0 {
                "is empty: there is no conversation to learn from".into()
            } else {
                format!(
                    "holds {dropped} conversations, and each is longer than {longest} tokens or \
                     has nothing said by the assistant"
                )
            },
            help: "look at what the stages before gave, and at their filters".into(),
        });
    }

    let schedule = Schedule {
        rate: settings.rate,
        warmup: settings.warmup.min(settings.steps),
        steps: settings.steps,
        floor: settings.floor,
    };
    let SftSettings { decay, clip, muon, .. } = *settings;
    let mut order = Epochs { count: examples.len(), seed: settings.seed, epoch: 0, rest: vec![] };
    let mut trainer =
        Trainer::new(&base.config, base.weights.clone(), Method { decay, clip, muon }, run)?;
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    random.set_stream(u64::MAX);
    let (mut curve, mut seen) = (Curve::new(settings.steps), 0);
    for step in 0..settings.steps {
        if (run.cancel)() {
            return Err(LearnError::Cancelled { step, steps: settings.steps });
        }
        let batch: Vec<Example> = (0..settings.batch)
            .map(|_| blurred(&examples[order.next()], base, settings.blur, &mut random))
            .collect();
        let batch: Vec<&Example> = batch.iter().collect();
        seen += batch.iter().map(|e| e.tokens.len() as u64).sum::<u64>();
        let loss = trainer.step(&batch, schedule.at(step))?;
        curve.push(loss);
        (run.progress)(step + 1, settings.steps, loss);
    }

    let mut stage = Stage::new("sft", settings);
    stage.data = settings.data.clone();
    stage.examples = examples.len();
    stage.dropped = dropped;
    stage.tokens = seen;
    stage.curve = curve.points();
    let mut history = base.history.clone();
    history.push(stage);
    Ok(Checkpoint { weights: trainer.into_weights(), history, ..base.clone() })
}

/// The example with some tokens of its wording replaced by noise. Tokens that the assistant writes
/// anywhere in it stay, because it may copy them from there; so do marks and what follows them up to
/// the end of the line (whose turn it is).
fn blurred(example: &Example, base: &Checkpoint, share: f64, random: &mut ChaCha8Rng) -> Example {
    let mut example = example.clone();
    if share <= 0.0 {
        return example;
    }
    let tokens = &mut example.tokens;
    let marks = base.tokenizer.marks();
    let mut written = vec![false; base.config.vocab];
    for (token, counts) in tokens.iter().zip(&example.counts) {
        written[*token as usize] |= counts;
    }
    let newline = base.tokenizer.encode("\n");
    let mut header = false;
    for (token, counts) in tokens.iter_mut().zip(&example.counts) {
        if *token >= marks.end_of_text {
            header = true;
        } else if newline.contains(token) {
            header = false;
        } else if !header && !counts && !written[*token as usize] && f64::from(unit(random)) < share
        {
            *token = below(random, marks.end_of_text as usize) as u32;
        }
    }
    example
}

/// Indices of examples, every one once an epoch, in an order drawn for the epoch.
struct Epochs {
    count: usize,
    seed: u64,
    epoch: u64,
    rest: Vec<usize>,
}

impl Epochs {
    fn next(&mut self) -> usize {
        if self.rest.is_empty() {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream(self.epoch);
            self.rest = (0..self.count).collect();
            shuffle(&mut self.rest, &mut random);
            self.epoch += 1;
        }
        self.rest.pop().expect("there are examples")
    }
}
