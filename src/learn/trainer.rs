//! Steps of training: a batch is cut into shards, each goes through the network on one thread, and
//! the optimiser adds up what they found.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::network::layout::Layout;
use super::network::{Arena, Network, Pack, backward, forward};
use super::optimiser::{Method, Optimiser};
use super::{Config, LearnError, Run};

/// One sequence to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// For each token, whether predicting it from those before is part of the loss. The first has
    /// nothing before it and never counts.
    pub counts: Vec<bool>,
}

impl Example {
    /// Tokens that count.
    pub fn counted(&self) -> usize {
        self.counts.iter().skip(1).filter(|c| **c).count()
    }
}

#[derive(Default)]
struct Shard {
    pack: Pack,
    arena: Arena,
    gradients: Vec<f32>,
    loss: f64,
}

/// A network in training.
pub struct Trainer {
    network: Network,
    weights: Vec<f32>,
    optimiser: Optimiser,
    shards: Vec<Shard>,
    pool: rayon::ThreadPool,
    steps: usize,
}

impl Trainer {
    /// Shards of a batch, whatever the number of threads: this is what makes the sums of gradients,
    /// and with them the weights, the same on every machine.
    pub const SHARDS: usize = 8;

    /// Starts from `weights`.
    pub(crate) fn new(
        config: &Config,
        weights: Vec<f32>,
        method: Method,
        run: &Run<'_>,
    ) -> Result<Trainer, LearnError> {
        let network = Network::new(config);
        assert_eq!(weights.len(), network.layout.len, "weights of the configuration");
        let threads = run.threads.clamp(1, Trainer::SHARDS);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("learn-{i}"))
            .build()
            .map_err(|e| LearnError::Threads { threads, cause: e.to_string() })?;
        let shard = || Shard { gradients: vec![0.0; network.layout.len], ..Shard::default() };
        Ok(Trainer {
            optimiser: Optimiser::new(&network.layout, method),
            shards: (0..Trainer::SHARDS).map(|_| shard()).collect(),
            network,
            weights,
            pool,
            steps: 0,
        })
    }

    /// One step at the rate `rate`; gives the mean loss of the batch's counted tokens, before it.
    ///
    /// # Errors
    /// When the loss is not a number; the weights are then as they were.
    pub fn step(&mut self, batch: &[&Example], rate: f64) -> Result<f64, LearnError> {
        self.deal(batch);
        let counted: usize = batch.iter().map(|e| e.counted()).sum();
        let weight = 1.0 / counted.max(1) as f32;
        let Trainer { network, weights, optimiser, shards, pool, .. } = self;
        let loss = pool.install(|| {
            shards.par_iter_mut().for_each(|shard| {
                let Shard { pack, arena, gradients, loss } = shard;
                *loss = forward(network, weights, pack, arena, weight);
                backward(network, weights, pack, arena, gradients);
            });
            let loss = shards.iter().map(|s| s.loss).sum::<f64>() / counted.max(1) as f64;
            if loss.is_finite() {
                let mut gradients: Vec<&mut [f32]> =
                    shards.iter_mut().map(|s| s.gradients.as_mut_slice()).collect();
                optimiser.step(weights, &mut gradients, rate);
            }
            loss
        });
        self.steps += 1;
        if loss.is_finite() { Ok(loss) } else { Err(LearnError::Diverged { step: self.steps }) }
    }

    /// Deals the batch to the shards: the longest first, each to the shard that has least.
    fn deal(&mut self, batch: &[&Example]) {
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(batch[*i].tokens.len()), *i));
        for shard in &mut self.shards {
            shard.pack.clear();
        }
        for i in order {
            let least = (0..self.shards.len())
                .min_by_key(|s| (self.shards[*s].pack.tokens.len(), *s))
                .expect("there are shards");
            self.shards[least].pack.push(&batch[i].tokens, &batch[i].counts);
        }
    }

    /// The weights as they are, and the end of the training.
    pub fn into_weights(self) -> Vec<f32> {
        self.weights
    }
}

/// Weights to start from: gains of 1, and matrices drawn from a bell curve of width 0.02, narrower
/// for those that write into the residual stream, so that depth does not make it grow.
pub(crate) fn first_weights(config: &Config, seed: u64) -> Vec<f32> {
    let layout = Layout::new(config);
    let mut weights = vec![1.0; layout.len];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for tensor in layout.tensors.iter().filter(|t| t.is_matrix()) {
        let narrow = if tensor.residual { (2.0 * config.layers as f32).sqrt() } else { 1.0 };
        for weight in &mut weights[tensor.range.clone()] {
            // The sum of twelve even draws is as good as normal here, and exact on every machine.
            let sum: f32 = (0..12).map(|_| unit(&mut random)).sum();
            *weight = 0.02 * (sum - 6.0) / narrow;
        }
    }
    weights
}

/// A number from 0 (included) to 1 (excluded).
pub(crate) fn unit(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// A number below `n`, which is at least 1; even enough for `n` far below 2^32.
pub(crate) fn below(random: &mut ChaCha8Rng, n: usize) -> usize {
    ((u64::from(random.next_u32()) * n as u64) >> 32) as usize
}

/// Puts `items` into an order drawn at random.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(random, i + 1));
    }
}
