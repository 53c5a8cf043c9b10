//! The optimiser: warm-up and cosine decay, clipping, AdamW, and Muon for the matrices inside the
//! network.
//!
//! Works on pieces of the flat buffers in parallel: whole matrices for Muon, and pieces of at most
//! [`PIECE`] elements of one tensor for AdamW. Sums over pieces are added in the pieces' order, so
//! threads do not reach the result.

use rayon::prelude::*;

use super::muon;
use super::network::kernels::{dot, vectorised};
use super::network::layout::{Layout, Tensor};

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
pub(crate) struct Method {
    /// Weight decay, of matrices only.
    pub(crate) decay: f64,
    /// The largest norm that the gradient may have; larger ones are scaled down to it.
    pub(crate) clip: f64,
    /// How many times the rate Muon moves the matrices inside the network; 0 leaves them to AdamW.
    pub(crate) muon: f64,
}

/// How slowly AdamW's means of the gradients and of their squares move. The second is lower than
/// usual because trainings are short.
const BETAS: (f64, f64) = (0.9, 0.98);

/// How a piece is moved.
#[derive(Clone, Copy)]
enum Rule {
    AdamW { decays: bool },
    Muon { rows: usize, cols: usize },
}

/// The state of the optimiser.
pub(crate) struct Optimiser {
    method: Method,
    /// Length of each piece and its rule, in the order of the weights.
    pieces: Vec<(usize, Rule)>,
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
    rule: Rule,
}

/// The numbers of one update by AdamW.
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
    pub(crate) fn new(layout: &Layout, method: Method) -> Optimiser {
        let mut pieces = Vec::new();
        for Tensor { shape, range, inner, .. } in &layout.tensors {
            match shape[..] {
                [rows, cols] if *inner && method.muon > 0.0 => {
                    pieces.push((range.len(), Rule::Muon { rows, cols }));
                }
                _ => {
                    let rule = Rule::AdamW { decays: shape.len() == 2 };
                    let starts = range.clone().step_by(PIECE);
                    pieces.extend(starts.map(|start| (PIECE.min(range.end - start), rule)));
                }
            }
        }
        Optimiser {
            method,
            pieces,
            means: vec![0.0; layout.len],
            squares: vec![0.0; layout.len],
            gradient: vec![0.0; layout.len],
            powers: (1.0, 1.0),
        }
    }

    /// Adds the shards' gradients (leaving them 0 for the next step), clips, and moves the weights.
    /// Runs on the rayon pool that it is called in.
    pub(crate) fn step(&mut self, weights: &mut [f32], shards: &mut [&mut [f32]], rate: f64) {
        let norm = self.gather(shards);
        let Method { decay, clip, muon } = self.method;
        self.powers = (self.powers.0 * BETAS.0, self.powers.1 * BETAS.1);
        let update = Update {
            beta1: BETAS.0 as f32,
            beta2: BETAS.1 as f32,
            scale: if norm > clip { (clip / norm) as f32 } else { 1.0 },
            rate: (rate / (1.0 - self.powers.0)) as f32,
            correction: (1.0 / (1.0 - self.powers.1)) as f32,
            keep: 1.0,
        };
        let keep = (1.0 - rate * decay) as f32;
        let parts = self.parts(weights);
        parts.into_par_iter().for_each_init(muon::Scratch::default, |scratch, part| {
            let Part { weights, means, squares, gradient, rule } = part;
            match rule {
                Rule::AdamW { decays } => {
                    let keep = if decays { keep } else { 1.0 };
                    adam(weights, means, squares, gradient, Update { keep, ..update });
                }
                Rule::Muon { rows, cols } => {
                    muon::gather(means, gradient, update.scale, scratch);
                    let direction = muon::orthogonal(rows, cols, scratch);
                    muon::apply(weights, direction, (rate * muon) as f32, keep);
                }
            }
        });
    }

    /// Adds up the shards' gradients piece by piece; gives the norm of the sum.
    fn gather(&mut self, shards: &mut [&mut [f32]]) -> f64 {
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
            work.into_par_iter().map(|(sum, mut parts)| add_up(sum, &mut parts)).collect();
        norms.iter().sum::<f64>().sqrt()
    }

    fn parts<'a>(&'a mut self, weights: &'a mut [f32]) -> Vec<Part<'a>> {
        let mut rest = (weights, &mut self.means[..], &mut self.squares[..], &self.gradient[..]);
        let mut parts = Vec::with_capacity(self.pieces.len());
        for (len, rule) in &self.pieces {
            let (weights, w) = rest.0.split_at_mut(*len);
            let (means, m) = rest.1.split_at_mut(*len);
            let (squares, s) = rest.2.split_at_mut(*len);
            let (gradient, g) = rest.3.split_at(*len);
            rest = (w, m, s, g);
            parts.push(Part { weights, means, squares, gradient, rule: *rule });
        }
        parts
    }
}

vectorised! {
    /// Adds one piece of all shards in their order, zeroes them, and gives the sum of squares.
    fn add_up(total: &mut [f32], shards: &mut [&mut [f32]]) -> f64 {
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
    fn adam(
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
        let method = Method { decay: 0.0, clip: f64::MAX, muon: 0.0 };
        let mut optimiser = Optimiser::new(&layout, method);
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
