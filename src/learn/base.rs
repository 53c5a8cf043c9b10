//! The base model: from nothing to a model that can copy, and has never seen a task.
//!
//! A small network learns slowly to look back for what it has just written and go on from there, and
//! everything that it will do with files needs that. So the base is trained on nothing else: noise
//! that is repeated as it was, and made-up words that come again in another order or after the word
//! that they stood behind, with the loss on what can be known. The base knows no English, no tool and
//! no task, which makes it an honest zero to measure training against.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::json;

use super::checkpoint::{Checkpoint, Curve, Stage};
use super::optimiser::{Method, Schedule};
use super::trainer::{Example, Trainer, below, first_weights, shuffle};
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
    /// How many times the rate Muon moves the matrices inside the network; 0 leaves them to AdamW.
    pub muon: f64,
}

impl Default for BaseSettings {
    fn default() -> BaseSettings {
        BaseSettings {
            config: Config::tiny(),
            seed: 0,
            steps: 700,
            batch: 32,
            rate: 1.5e-3,
            warmup: 30,
            decay: 0.01,
            muon: 1.0,
        }
    }
}

/// What every tokenizer sees besides the given texts, often enough that the words of the chat format,
/// of the tools and of the shell become tokens.
const PROTOCOL: &str = include_str!("protocol.txt");

/// How often it sees it.
const PROTOCOL_WEIGHT: usize = 40;

const CONSONANTS: &[u8; 18] = b"bcdfghjklmnprstvwz";
const VOWELS: &[u8; 5] = b"aeiou";

/// How often every tokenizer sees each syllable: before anything else, so that syllables become
/// tokens first and a name falls into the same few pieces wherever it stands. Names in pieces of one
/// letter are what small models copy worst.
const SYLLABLE_WEIGHT: usize = 4000;

/// All syllables of a consonant and a vowel.
fn syllables() -> String {
    let mut text = String::new();
    for consonant in CONSONANTS {
        for vowel in VOWELS {
            text.push(char::from(*consonant));
            text.push(char::from(*vowel));
            text.push(' ');
        }
    }
    text
}

/// Makes a base model: a tokenizer from `texts`, and a network that has learnt to copy.
///
/// # Errors
/// When a setting is out of its range, the loss stops being a number, or the run is cancelled.
pub fn pretrain(
    settings: &BaseSettings,
    texts: &[String],
    run: &Run<'_>,
) -> Result<Checkpoint, LearnError> {
    let BaseSettings { config, seed, steps, batch, rate, warmup, decay, muon } = settings;
    config.check().map_err(LearnError::Setting)?;
    if *batch == 0 {
        return Err(LearnError::Setting("a batch must hold at least one sequence".into()));
    }
    let mut corpus: Vec<&str> = texts.iter().map(String::as_str).collect();
    corpus.extend([PROTOCOL; PROTOCOL_WEIGHT]);
    let syllables = syllables().repeat(SYLLABLE_WEIGHT);
    corpus.push(&syllables);
    let tokenizer = Tokenizer::train(&corpus, config.vocab);
    if tokenizer.size() > config.vocab {
        return Err(LearnError::Setting(format!(
            "a vocabulary of {} is too small: the bytes and the marks of the chat format alone \
             are {} tokens",
            config.vocab,
            tokenizer.size()
        )));
    }

    let method = Method { decay: *decay, clip: 1.0, muon: *muon };
    let schedule =
        Schedule { rate: *rate, warmup: (*warmup).min(*steps), steps: *steps, floor: 0.1 };
    let mut trainer = Trainer::new(config, first_weights(config, *seed), method, run)?;
    let mut random = ChaCha8Rng::seed_from_u64(*seed);
    random.set_stream(1);
    let mut curriculum = Curriculum::new();
    let (mut curve, mut seen) = (Curve::new(*steps), 0);
    for step in 0..*steps {
        if (run.cancel)() {
            return Err(LearnError::Cancelled { step, steps: *steps });
        }
        let examples: Vec<Example> =
            (0..*batch).map(|_| noise(&tokenizer, &mut random, curriculum.words)).collect();
        let batch: Vec<&Example> = examples.iter().collect();
        seen += batch.iter().map(|e| e.tokens.len() as u64).sum::<u64>();
        let loss = trainer.step(&batch, schedule.at(step))?;
        curriculum.learn(loss);
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
            "decay": decay, "muon": muon,
        }),
    );
    stage.data.insert("tokenizer texts".into(), digest);
    stage.examples = steps * batch;
    stage.tokens = seen;
    stage.curve = curve.points();
    let weights = trainer.into_weights();
    Ok(Checkpoint { config: config.clone(), tokenizer, weights, history: vec![stage] })
}

/// How long noise may be. Short distances are learnt first, and noise that is longer before they are
/// keeps a network from learning any: so it grows as the loss falls.
struct Curriculum {
    /// Words at most.
    words: usize,
    /// A running mean of the loss.
    loss: f64,
}

impl Curriculum {
    /// The loss below which noise becomes longer, and where the mean starts anew when it has.
    const LEARNT: f64 = 1.2;
    const ANEW: f64 = 1.8;
    const MOST_WORDS: usize = 10;

    fn new() -> Curriculum {
        Curriculum { words: 2, loss: 10.0 }
    }

    fn learn(&mut self, loss: f64) {
        self.loss = 0.9 * self.loss + 0.1 * loss;
        if self.loss < Curriculum::LEARNT && self.words < Curriculum::MOST_WORDS {
            self.words += 1;
            self.loss = Curriculum::ANEW;
        }
    }
}

/// What one sequence is made of.
#[derive(Default)]
struct Writer {
    tokens: Vec<u32>,
    counts: Vec<bool>,
}

impl Writer {
    fn put(&mut self, tokens: &[u32], counts: bool) {
        self.tokens.extend_from_slice(tokens);
        self.counts.resize(self.tokens.len(), counts);
    }
}

/// One sequence: something, a separator, and something that follows from it.
fn noise(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, most: usize) -> Example {
    let mut writer = Writer::default();
    match below(random, 10) {
        0..4 => repeated(tokenizer, random, &mut writer),
        4..7 => reordered(tokenizer, random, most, &mut writer),
        _ => looked_up(tokenizer, random, most, &mut writer),
    }
    Example { tokens: writer.tokens, counts: writer.counts }
}

/// Noise, and the same noise again.
fn repeated(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, writer: &mut Writer) {
    let segment = if below(random, 2) == 0 {
        any_tokens(tokenizer, random, 6, 20)
    } else {
        let mut segment = letters(tokenizer, random, 2, 8);
        for _ in 0..1 + below(random, 3) {
            segment.extend(joint(tokenizer, random));
            segment.extend(letters(tokenizer, random, 2, 8));
        }
        segment
    };
    writer.put(&segment, false);
    writer.put(&[tokenizer.marks().end_of_text], false);
    writer.put(&segment, true);
}

/// Words, and the same words in another order: from its first piece on, each can be known.
fn reordered(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, most: usize, writer: &mut Writer) {
    let count = 2 + below(random, most - 1);
    let mut words = words(tokenizer, random, count);
    for word in &words {
        writer.put(word, false);
        writer.put(&joint(tokenizer, random), false);
    }
    writer.put(&[tokenizer.marks().end_of_text], false);
    shuffle(&mut words, random);
    for word in &words {
        writer.put(&word[..1], false);
        writer.put(&word[1..], true);
        writer.put(&joint(tokenizer, random), false);
    }
}

/// Pairs of words, and the same pairs in another order: after the first of a pair, the second can be
/// known whole.
fn looked_up(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, most: usize, writer: &mut Writer) {
    let count = 2 * (1 + below(random, most / 2));
    let words = words(tokenizer, random, count);
    let mut pairs: Vec<&[Vec<u32>]> = words.chunks_exact(2).collect();
    let between = joint(tokenizer, random);
    for pair in &pairs {
        writer.put(&pair[0], false);
        writer.put(&between, false);
        writer.put(&pair[1], false);
        writer.put(&joint(tokenizer, random), false);
    }
    writer.put(&[tokenizer.marks().end_of_text], false);
    shuffle(&mut pairs, random);
    for pair in &pairs {
        writer.put(&pair[0][..1], false);
        writer.put(&pair[0][1..], true);
        writer.put(&between, false);
        writer.put(&pair[1], true);
        writer.put(&joint(tokenizer, random), false);
    }
}

/// What stands between words in commands, tables and settings.
fn joint(tokenizer: &Tokenizer, random: &mut ChaCha8Rng) -> Vec<u32> {
    const JOINTS: [&str; 12] = [" ", " ", ",", ", ", "_", ".", "/", "-", "=", ": ", "\n", "\t"];
    tokenizer.encode(JOINTS[below(random, JOINTS.len())])
}

/// Different words, of at least two pieces each: as many as were asked for.
fn words(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, count: usize) -> Vec<Vec<u32>> {
    let mut words: Vec<Vec<u32>> = Vec::with_capacity(count);
    while words.len() < count {
        let word = match below(random, 4) {
            0 => letters(tokenizer, random, 2, 7),
            1 => any_tokens(tokenizer, random, 2, 5),
            _ => name(tokenizer, random),
        };
        if word.len() > 1 && !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// From `low` to `high` tokens, each any but a mark.
fn any_tokens(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, low: usize, high: usize) -> Vec<u32> {
    let marks = tokenizer.marks().end_of_text as usize;
    let len = low + below(random, high - low + 1);
    (0..len).map(|_| below(random, marks) as u32).collect()
}

/// From `low` to `high` letters, each any.
fn letters(tokenizer: &Tokenizer, random: &mut ChaCha8Rng, low: usize, high: usize) -> Vec<u32> {
    let len = low + below(random, high - low + 1);
    let text: Vec<u8> = (0..len).map(|_| b'a' + below(random, 26) as u8).collect();
    tokenizer.encode_bytes(&text)
}

/// A name that can be spoken: two or three syllables, and sometimes a consonant at the end.
fn name(tokenizer: &Tokenizer, random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut text = Vec::new();
    for _ in 0..2 + below(random, 2) {
        text.push(CONSONANTS[below(random, CONSONANTS.len())]);
        text.push(VOWELS[below(random, VOWELS.len())]);
    }
    if below(random, 3) == 0 {
        text.push(CONSONANTS[below(random, CONSONANTS.len())]);
    }
    tokenizer.encode_bytes(&text)
}
