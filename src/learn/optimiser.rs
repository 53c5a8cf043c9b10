//! AdamW with warm-up, cosine decay and clipping.
//!
//! Works on pieces of the flat buffers, none larger than [`PIECE`] and none across two tensors, in
//! parallel; sums over pieces are added in the pieces' order, so threads do not reach the result.

use rayon::prelude::*;

use super::network::kernels::{dot, vectorised};
use super::network::layout::Layout;

/// Elements of a piece at most.
const PIECE: usize = 8192;

/// The learning rate over time: up in a straight line, then down along half a cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    /// The highest rate.
    pub(crate) rate: f64,
    /// Steps until it is reached.
    pub(crate) warmup: usize,
    /// Steps in all.
    pub(crate) steps: usize,
    /// The share of the rate that is left at the end.
    pub(crate) floor: f64,
}

impl Schedule {
    /// The rate of step `step`, counted from 0.
    pub(crate) fn at(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.rate * (step + 1) as f64 / self.warmup as f64;
        }
        let rest = (self.steps.saturating_sub(self.warmup)).max(1) as f64;
        let done = ((step - self.warmup) as f64 / rest).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.rate * (self.floor + (1.0 - self.floor) * cosine)
    }
}

/// What does not change from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Adam {
    /// How slowly the mean of the gradients moves.
    pub(crate) beta1: f64,
    /// How slowly the mean of their squares moves.
    pub(crate) beta2: f64,
    /// Weight decay, of matrices only.
    pub(crate) decay: f64,
    /// The largest norm that the gradient may have; larger ones are scaled down to it.
    pub(crate) clip: f64,
}

/// The state of AdamW.
pub(crate) struct Optimiser {
    adam: Adam,
    /// Length of each piece, and whether it decays; in the order of the weights.
    pieces: Vec<(usize, bool)>,
    means: Vec<f32>,
    squares: Vec<f32>,
    gradient: Vec<f32>,
    /// The betas to the power of the steps done.
    powers: (f64, f64),
}

/// One piece of everything that an update touches.
struct Part<'a> {
    weights: &'a mut [f32],
    means: &'a mut [f32],
    squares: &'a mut [f32],
    gradient: &'a [f32],
    decays: bool,
}

/// The numbers of one update.
#[derive(Clone, Copy)]
struct Update {
    beta1: f32,
    beta2: f32,
    /// Scales the gradient (clipping).
    scale: f32,
    /// The rate over the first bias correction.
    rate: f32,
    /// The reciprocal of the second bias correction.
    correction: f32,
    /// What weight decay leaves of a weight.
    keep: f32,
}

impl Optimiser {
    pub(crate) fn new(layout: &Layout, adam: Adam) -> Optimiser {
        let pieces = layout.tensors.iter().flat_map(|tensor| {
            let decays = tensor.is_matrix();
            let starts = tensor.range.clone().step_by(PIECE);
            let end = tensor.range.end;
            starts.map(move |start| (PIECE.min(end - start), decays))
        });
        Optimiser {
            adam,
            pieces: pieces.collect(),
            means: vec![0.0; layout.len],
            squares: vec![0.0; layout.len],
            gradient: vec![0.0; layout.len],
            powers: (1.0, 1.0),
        }
    }

    /// Adds the shards' gradients (leaving them 0 for the next step), clips, and moves the weights.
    /// Runs on the rayon pool that it is called in.
    pub(crate) fn step(&mut self, weights: &mut [f32], shards: &mut [&mut [f32]], rate: f64) {
        // The same piece of every shard, together.
        let mut rests: Vec<&mut [f32]> = shards.iter_mut().map(|s| &mut **s).collect();
        let mut rest = self.gradient.as_mut_slice();
        let mut work = Vec::with_capacity(self.pieces.len());
        for (len, _) in &self.pieces {
            let (sum, after) = std::mem::take(&mut rest).split_at_mut(*len);
            rest = after;
            let parts: Vec<&mut [f32]> = rests
                .iter_mut()
                .map(|r| {
                    let (part, after) = std::mem::take(r).split_at_mut(*len);
                    *r = after;
                    part
                })
                .collect();
            work.push((sum, parts));
        }
        let norms: Vec<f64> =
            work.into_par_iter().map(|(sum, mut parts)| gather(sum, &mut parts)).collect();
        let norm = norms.iter().sum::<f64>().sqrt();

        let Adam { beta1, beta2, decay, clip } = self.adam;
        self.powers = (self.powers.0 * beta1, self.powers.1 * beta2);
        let update = Update {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            scale: if norm > clip { (clip / norm) as f32 } else { 1.0 },
            rate: (rate / (1.0 - self.powers.0)) as f32,
            correction: (1.0 / (1.0 - self.powers.1)) as f32,
            keep: 1.0,
        };
        let keep = (1.0 - rate * decay) as f32;
        let parts = self.parts(weights);
        parts.into_par_iter().for_each(|part| {
            let keep = if part.decays { keep } else { 1.0 };
            let Part { weights, means, squares, gradient, .. } = part;
            apply(weights, means, squares, gradient, Update { keep, ..update });
        });
    }

    fn parts<'a>(&'a mut self, weights: &'a mut [f32]) -> Vec<Part<'a>> {
        let mut rest = (weights, &mut self.means[..], &mut self.squares[..], &self.gradient[..]);
        let mut parts = Vec::with_capacity(self.pieces.len());
        for (len, decays) in &self.pieces {
            let (weights, w) = rest.0.split_at_mut(*len);
            let (means, m) = rest.1.split_at_mut(*len);
            let (squares, s) = rest.2.split_at_mut(*len);
            let (gradient, g) = rest.3.split_at(*len);
            rest = (w, m, s, g);
            parts.push(Part { weights, means, squares, gradient, decays: *decays });
        }
        parts
    }
}

vectorised! {
    /// Adds one piece of all shards in their order, zeroes them, and gives the sum of squares.
    fn gather(total: &mut [f32], shards: &mut [&mut [f32]]) -> f64 {
        total.fill(0.0);
        for shard in shards {
            for (t, s) in total.iter_mut().zip(shard.iter_mut()) {
                *t += *s;
                *s = 0.0;
            }
        }
        f64::from(dot(total, total))
    }
}

vectorised! {
    fn apply(
        weights: &mut [f32], means: &mut [f32], squares: &mut [f32], gradient: &[f32],
        update: Update,
    ) {
        let Update { beta1, beta2, scale, rate, correction, keep } = update;
        let state = means.iter_mut().zip(squares);
        for ((w, g), (m, s)) in weights.iter_mut().zip(gradient).zip(state) {
            let g = g * scale;
            *m = *m * beta1 + g * (1.0 - beta1);
            *s = *s * beta2 + g * g * (1.0 - beta2);
            *w = *w * keep - rate * *m / ((*s * correction).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Config;

    #[test]
    fn the_rate_rises_and_falls() {
        let schedule = Schedule { rate: 1.0, warmup: 10, steps: 110, floor: 0.05 };
        assert_eq!(schedule.at(0), 0.1);
        assert_eq!(schedule.at(9), 1.0);
        assert!((schedule.at(60) - 0.525).abs() < 1e-12);
        assert!((schedule.at(110) - 0.05).abs() < 1e-12 && schedule.at(10_000) == schedule.at(110));
    }

    /// The first step of Adam moves every weight by the rate, against the sign of its gradient.
    #[test]
    fn the_first_step_is_the_rate() {
        let config = Config { vocab: 10, width: 8, layers: 1, hidden: 8, ..Config::tiny() };
        let layout = Layout::new(&config);
        let adam = Adam { beta1: 0.9, beta2: 0.98, decay: 0.0, clip: f64::MAX };
        let mut optimiser = Optimiser::new(&layout, adam);
        let mut weights = vec![0.0; layout.len];
        let sign = |i: usize| if i.is_multiple_of(3) { 1.0 } else { -1.0f32 };
        let mut a: Vec<f32> = (0..layout.len).map(|i| sign(i) * 0.2).collect();
        let mut b: Vec<f32> = (0..layout.len).map(|i| sign(i) * 0.1).collect();
        optimiser.step(&mut weights, &mut [&mut a, &mut b], 0.01);
        for (i, w) in weights.iter().enumerate() {
            assert!((w + sign(i) * 0.01).abs() < 1e-6, "weight {i} is {w}");
        }
        assert!(a.iter().chain(&b).all(|g| *g == 0.0));
    }
}
