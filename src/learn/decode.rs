//! Decoding: one sequence, token by token, with the keys and values of the past kept.
//!
//! The weights are laid out anew for this: in panels of [`PANEL`] outputs that are read from front
//! to back, which is as fast as the memory they lie in. Each row goes through the network in
//! the same order of additions whether it comes alone or with others, so reading a conversation in
//! one go and continuing a kept [`Cache`] give the same bits.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::network::kernels::{self, dot, exp, softmax_row, vectorised};
use super::network::layout::LayerLayout;
use super::network::{Network, heads};
use super::trainer::unit;
use super::{Checkpoint, Config};

/// Outputs in a panel.
const PANEL: usize = 64;

/// Rows that are read at once.
const ROWS: usize = 32;

/// A matrix for `row · matrixᵀ`: for each panel of outputs, all inputs in order.
struct Panels {
    data: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Panels {
    fn new(matrix: &[f32], inputs: usize) -> Panels {
        let outputs = matrix.len() / inputs;
        let mut data = vec![0.0; outputs.div_ceil(PANEL) * PANEL * inputs];
        for (output, row) in matrix.chunks_exact(inputs).enumerate() {
            let panel = output / PANEL * PANEL * inputs + output % PANEL;
            for (input, weight) in row.iter().enumerate() {
                data[panel + input * PANEL] = *weight;
            }
        }
        Panels { data, inputs, outputs }
    }

    /// `out = rows · matrixᵀ`, or `out += …`.
    fn apply(&self, out: &mut [f32], rows: &[f32], add: bool) {
        multiply(out, rows, &self.data, self.inputs, self.outputs, add);
    }
}

vectorised! {
    fn multiply(
        out: &mut [f32], rows: &[f32], panels: &[f32], inputs: usize, outputs: usize, add: bool,
    ) {
        for (index, panel) in panels.chunks_exact(PANEL * inputs).enumerate() {
            let first = index * PANEL;
            let (panel, _) = panel.as_chunks::<PANEL>();
            let mut row = 0;
            let count = rows.len() / inputs;
            while row < count {
                // Each sum is one chain over the inputs, however many rows are done at once.
                let (sums, done) = if row + 4 <= count {
                    (four(&rows[row * inputs..][..4 * inputs], panel), 4)
                } else {
                    let mut sums = [[0f32; PANEL]; 4];
                    sums[0] = one(&rows[row * inputs..][..inputs], panel);
                    (sums, 1)
                };
                for (i, sums) in sums[..done].iter().enumerate() {
                    let wide = PANEL.min(outputs - first);
                    let out = &mut out[(row + i) * outputs + first..][..wide];
                    for (o, s) in out.iter_mut().zip(sums) {
                        *o = if add { *o + s } else { *s };
                    }
                }
                row += done;
            }
        }
    }
}

#[inline(always)]
fn one(row: &[f32], panel: &[[f32; PANEL]]) -> [f32; PANEL] {
    let mut sums = [0f32; PANEL];
    for (x, weights) in row.iter().zip(panel) {
        for i in 0..PANEL {
            sums[i] = x.mul_add(weights[i], sums[i]);
        }
    }
    sums
}

#[inline(always)]
fn four(rows: &[f32], panel: &[[f32; PANEL]]) -> [[f32; PANEL]; 4] {
    const PART: usize = 16;
    let mut sums = [[0f32; PANEL]; 4];
    let (a, rest) = rows.split_at(panel.len());
    let (b, rest) = rest.split_at(panel.len());
    let (c, d) = rest.split_at(panel.len());
    for part in 0..PANEL / PART {
        let mut acc = [[0f32; PART]; 4];
        for ((((weights, a), b), c), d) in panel.iter().zip(a).zip(b).zip(c).zip(d) {
            let (weights, _) = weights[part * PART..].as_chunks::<PART>();
            let weights = &weights[0];
            for i in 0..PART {
                acc[0][i] = a.mul_add(weights[i], acc[0][i]);
                acc[1][i] = b.mul_add(weights[i], acc[1][i]);
                acc[2][i] = c.mul_add(weights[i], acc[2][i]);
                acc[3][i] = d.mul_add(weights[i], acc[3][i]);
            }
        }
        for (sums, acc) in sums.iter_mut().zip(&acc) {
            sums[part * PART..][..PART].copy_from_slice(acc);
        }
    }
    sums
}

struct LayerPanels {
    qkv: Panels,
    o: Panels,
    gate_up: Panels,
    down: Panels,
}

/// A network laid out for decoding. Shared by all conversations.
pub struct Decoder {
    network: Network,
    weights: Vec<f32>,
    layers: Vec<LayerPanels>,
    head: Panels,
    /// Tokens that exist; the network may have been given a few rows more.
    tokens: usize,
}

/// What a network has read of one conversation.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// The tokens.
    tokens: Vec<u32>,
    /// Keys and values of each layer, a row a token.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    /// Logits after the last token.
    logits: Vec<f32>,
}

impl Cache {
    /// The tokens that were read.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The scores of all tokens to come next, before any softmax; empty before the first.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Forgets all but the first `len` tokens. The logits are then out of date.
    fn truncate(&mut self, len: usize, config: &Config) {
        self.tokens.truncate(len);
        for (keys, values) in &mut self.layers {
            keys.truncate(len * config.key_width());
            values.truncate(len * config.key_width());
        }
    }
}

/// How a next token is chosen.
pub struct Sampling {
    temperature: f32,
    random: ChaCha8Rng,
}

impl Sampling {
    /// The likeliest at a temperature of 0 (the lowest id of equals), else drawn by the seed.
    pub fn new(temperature: f64, seed: u64) -> Sampling {
        Sampling { temperature: temperature as f32, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Chooses by logits.
    pub fn choose(&mut self, logits: &[f32]) -> u32 {
        let mut best = 0;
        for (id, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = id;
            }
        }
        if self.temperature <= 0.0 {
            return best as u32;
        }
        let top = logits[best];
        let weight = |logit: &f32| f64::from(exp((logit - top) / self.temperature));
        let total: f64 = logits.iter().map(weight).sum();
        let mut rest = f64::from(unit(&mut self.random)) * total;
        for (id, logit) in logits.iter().enumerate() {
            rest -= weight(logit);
            if rest < 0.0 {
                return id as u32;
            }
        }
        best as u32
    }
}

/// Buffers of one block of rows.
struct Rows {
    stream: Vec<f32>,
    normed: Vec<f32>,
    scales: Vec<f32>,
    qkv: Vec<f32>,
    rotated: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    activated: Vec<f32>,
    scores: Vec<f32>,
}

impl Decoder {
    /// Lays out a checkpoint for decoding.
    pub fn new(checkpoint: &Checkpoint) -> Decoder {
        let network = Network::new(&checkpoint.config);
        let weights = checkpoint.weights.clone();
        let config = &network.config;
        let layers = network.layout.layers.iter().map(|at| LayerPanels {
            qkv: Panels::new(&weights[at.qkv.clone()], config.width),
            o: Panels::new(&weights[at.o.clone()], config.query_width()),
            gate_up: Panels::new(&weights[at.gate_up.clone()], config.width),
            down: Panels::new(&weights[at.down.clone()], config.hidden),
        });
        Decoder {
            layers: layers.collect(),
            head: Panels::new(&weights[network.layout.embed.clone()], config.width),
            tokens: checkpoint.tokenizer.size(),
            network,
            weights,
        }
    }

    /// Makes `cache` the one of exactly `tokens`, reading only what it does not share with them.
    ///
    /// # Panics
    /// When `tokens` is empty, longer than the context, or holds an unknown token.
    pub fn read(&self, cache: &mut Cache, tokens: &[u32]) {
        let config = &self.network.config;
        assert!(!tokens.is_empty() && tokens.len() <= config.context, "tokens within the context");
        let same = cache.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        // The last token is read again even when it is known: its logits may be out of date.
        let kept = same.min(tokens.len() - 1);
        cache.truncate(kept, config);
        for block in tokens[kept..].chunks(ROWS) {
            self.feed(cache, block);
        }
    }

    /// Reads one more token.
    ///
    /// # Panics
    /// When the context is full.
    pub fn push(&self, cache: &mut Cache, token: u32) {
        assert!(cache.tokens.len() < self.network.config.context, "room in the context");
        self.feed(cache, &[token]);
    }

    fn feed(&self, cache: &mut Cache, tokens: &[u32]) {
        let Network { config, layout, .. } = &self.network;
        let (width, eps, count) = (config.width, config.eps as f32, tokens.len());
        let (queries, keys) = (config.query_width(), config.key_width());
        let past = cache.tokens.len();
        cache.layers.resize_with(config.layers, Default::default);
        let positions: Vec<u32> = (past as u32..(past + count) as u32).collect();
        let mut rows = Rows {
            stream: vec![0.0; count * width],
            normed: vec![0.0; count * width],
            scales: vec![0.0; count * config.heads],
            qkv: vec![0.0; count * config.qkv_width()],
            rotated: vec![0.0; count * (queries + keys)],
            attended: vec![0.0; count * queries],
            gate_up: vec![0.0; count * 2 * config.hidden],
            activated: vec![0.0; count * config.hidden],
            scores: vec![0.0; past + count],
        };
        let embed = &self.weights[layout.embed.clone()];
        for (row, token) in rows.stream.chunks_exact_mut(width).zip(tokens) {
            row.copy_from_slice(&embed[*token as usize * width..][..width]);
        }
        let gain = |range: &std::ops::Range<usize>| &self.weights[range.clone()];
        let layers = self.layers.iter().zip(&layout.layers).zip(&mut cache.layers);
        for (index, ((panels, at), kept)) in layers.enumerate() {
            let Rows { stream, normed, scales, qkv, rotated, .. } = &mut rows;
            kernels::rms_norm(normed, scales, stream, gain(&at.input_norm), eps);
            panels.qkv.apply(qkv, normed, false);
            let (q, k) = heads(&self.network, &self.weights, index, &positions);
            kernels::norm_and_rotate(rotated, scales, qkv, q);
            kernels::norm_and_rotate(rotated, scales, qkv, k);
            for (rotated, qkv) in
                rotated.chunks_exact(queries + keys).zip(qkv.chunks_exact(config.qkv_width()))
            {
                kept.0.extend_from_slice(&rotated[queries..]);
                kept.1.extend_from_slice(&qkv[queries + keys..]);
            }
            attend(config, &mut rows, &kept.0, &kept.1, past);
            self.finish_layer(panels, at, &mut rows);
        }
        cache.tokens.extend_from_slice(tokens);
        let last = &rows.stream[(count - 1) * width..];
        let normed = &mut rows.normed[..width];
        kernels::rms_norm(normed, &mut rows.scales, last, gain(&layout.norm), eps);
        cache.logits.resize(config.vocab, 0.0);
        self.head.apply(&mut cache.logits, normed, false);
        cache.logits[self.tokens..].fill(f32::NEG_INFINITY);
    }

    /// The part of a layer after attention.
    fn finish_layer(&self, panels: &LayerPanels, at: &LayerLayout, rows: &mut Rows) {
        let Network { config, .. } = &self.network;
        let Rows { stream, normed, scales, attended, gate_up, activated, .. } = rows;
        panels.o.apply(stream, attended, true);
        let gain = &self.weights[at.post_norm.clone()];
        kernels::rms_norm(normed, scales, stream, gain, config.eps as f32);
        panels.gate_up.apply(gate_up, normed, false);
        kernels::swiglu(activated, gate_up, config.hidden);
        panels.down.apply(stream, activated, true);
    }
}

fn attend(config: &Config, rows: &mut Rows, keys: &[f32], values: &[f32], past: usize) {
    let (queries, step) = (config.query_width(), config.key_width());
    let shared = config.heads / config.kv_heads;
    let count = rows.rotated.len() / (queries + step);
    for row in 0..count {
        for head in 0..config.heads {
            let at = head * config.head_dim;
            let query = &rows.rotated[row * (queries + step) + at..][..config.head_dim];
            let out = &mut rows.attended[row * queries + at..][..config.head_dim];
            let from = head / shared * config.head_dim;
            attend_one(out, query, keys, values, from, step, &mut rows.scores[..past + row + 1]);
        }
    }
}

vectorised! {
    /// One query over all keys up to its own.
    fn attend_one(
        out: &mut [f32], query: &[f32], keys: &[f32], values: &[f32], from: usize, step: usize,
        scores: &mut [f32],
    ) {
        let dim = query.len();
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(step)) {
            *score = dot(query, &key[from..from + dim]);
        }
        softmax_row(scores, 1.0 / (dim as f32).sqrt());
        out.fill(0.0);
        for (p, value) in scores.iter().zip(values.chunks_exact(step)) {
            for (o, v) in out.iter_mut().zip(&value[from..from + dim]) {
                *o = p.mul_add(*v, *o);
            }
        }
    }
}
