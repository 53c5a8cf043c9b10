//! The network: one forward and one backward pass, written by hand, over flat buffers.
//!
//! A [`Pack`] is a few sequences laid end to end without padding. [`forward`] computes the loss of
//! a pack and leaves in an [`Arena`] what [`backward`] needs to add the gradients to a buffer of
//! the weights' layout. Arenas grow to the largest pack and are reused, because fresh pages from the
//! system cost a tenth of the time.

mod backward;
mod forward;
pub(crate) mod kernels;
pub(crate) mod layout;
pub(crate) mod matrix;

pub(crate) use backward::backward;
pub(crate) use forward::{forward, heads};

use super::Config;
use kernels::Rope;
use layout::Layout;

/// What does not change while a network is trained.
pub(crate) struct Network {
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) rope: Rope,
}

impl Network {
    pub(crate) fn new(config: &Config) -> Network {
        Network {
            config: config.clone(),
            layout: Layout::new(config),
            rope: Rope::new(config.head_dim, config.theta, config.context),
        }
    }
}

/// Sequences end to end, and the places where a prediction is scored.
#[derive(Default)]
pub(crate) struct Pack {
    pub(crate) tokens: Vec<u32>,
    /// Position of each token within its sequence.
    pub(crate) positions: Vec<u32>,
    /// Where each sequence starts, and the end of the last.
    pub(crate) starts: Vec<usize>,
    /// Rows whose next token is scored, ascending.
    pub(crate) scored: Vec<usize>,
    /// The next tokens of those rows.
    pub(crate) targets: Vec<u32>,
}

impl Pack {
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.starts.clear();
        self.starts.push(0);
        self.scored.clear();
        self.targets.clear();
    }

    /// Adds a sequence; token `i` is scored (as the prediction made after token `i - 1`) where
    /// `counts[i]`. The last token is only ever predicted, so it is not fed.
    pub(crate) fn push(&mut self, tokens: &[u32], counts: &[bool]) {
        let start = self.tokens.len();
        let fed = tokens.len().saturating_sub(1);
        self.tokens.extend_from_slice(&tokens[..fed]);
        self.positions.extend(0..fed as u32);
        self.starts.push(start + fed);
        for i in 0..fed {
            if counts[i + 1] {
                self.scored.push(start + i);
                self.targets.push(tokens[i + 1]);
            }
        }
    }

    fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// The rows of each sequence.
    fn sequences(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.starts.windows(2).map(|w| w[0]..w[1])
    }

    /// Attention probabilities of one layer: a square for each head of each sequence.
    fn probabilities(&self, heads: usize) -> usize {
        self.sequences().map(|s| s.len() * s.len() * heads).sum()
    }
}

/// What one layer leaves for the way back.
#[derive(Default)]
struct LayerArena {
    /// The residual stream before the layer.
    input: Vec<f32>,
    input_scales: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    q_scales: Vec<f32>,
    k_scales: Vec<f32>,
    /// Queries and keys, normalised and rotated, side by side.
    rotated: Vec<f32>,
    probabilities: Vec<f32>,
    attended: Vec<f32>,
    /// The residual stream between attention and feed-forward.
    middle: Vec<f32>,
    middle_scales: Vec<f32>,
    middle_normed: Vec<f32>,
    gate_up: Vec<f32>,
    activated: Vec<f32>,
}

/// Everything that a forward pass leaves, and the scratch space of the way back.
#[derive(Default)]
pub(crate) struct Arena {
    layers: Vec<LayerArena>,
    /// The residual stream after the last layer, scored rows only.
    output: Vec<f32>,
    output_scales: Vec<f32>,
    output_normed: Vec<f32>,
    /// After a forward pass: gradients of the logits.
    pub(crate) logits: Vec<f32>,
    d_stream: Vec<f32>,
    d_normed: Vec<f32>,
    d_attended: Vec<f32>,
    d_rotated: Vec<f32>,
    d_qkv: Vec<f32>,
    d_activated: Vec<f32>,
    d_scores: Vec<f32>,
}

/// Queries whose scores are computed at once: keys after the last of them are never touched.
const BLOCK: usize = 64;

/// Sets a buffer's length; what it holds afterwards is to be overwritten.
fn size(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}

impl Arena {
    fn fit(&mut self, config: &Config, pack: &Pack) {
        let rows = pack.rows();
        let rotated = config.query_width() + config.key_width();
        let (width, scored) = (config.width, pack.scored.len());
        self.layers.resize_with(config.layers, LayerArena::default);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            size(&mut layer.input, rows * width);
            size(&mut layer.input_scales, rows);
            size(&mut layer.normed, rows * width);
            size(&mut layer.qkv, rows * config.qkv_width());
            size(&mut layer.q_scales, rows * config.heads);
            size(&mut layer.k_scales, rows * config.kv_heads);
            size(&mut layer.rotated, rows * rotated);
            size(&mut layer.probabilities, pack.probabilities(config.heads));
            size(&mut layer.attended, rows * config.query_width());
            let rows = if index + 1 == config.layers { scored } else { rows };
            size(&mut layer.middle, rows * width);
            size(&mut layer.middle_scales, rows);
            size(&mut layer.middle_normed, rows * width);
            size(&mut layer.gate_up, rows * 2 * config.hidden);
            size(&mut layer.activated, rows * config.hidden);
        }
        size(&mut self.output, scored * width);
        size(&mut self.output_scales, scored);
        size(&mut self.output_normed, scored * width);
        size(&mut self.logits, scored * config.vocab);
        size(&mut self.d_normed, rows * width);
        size(&mut self.d_rotated, rows * rotated);
        size(&mut self.d_qkv, rows * config.qkv_width());
        size(&mut self.d_activated, rows * config.hidden);
        let longest = pack.sequences().map(|s| s.len()).max().unwrap_or(0);
        size(&mut self.d_scores, BLOCK.min(longest) * longest);
    }
}

#[cfg(test)]
mod gradient_tests;
