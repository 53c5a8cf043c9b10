//! The way forward: from tokens to the loss and the gradients of the logits.
//!
//! After the attention of the last layer no row looks at another any more, so only the rows that are
//! scored go on from there: half of the last layer's work for an ordinary conversation.

use super::kernels::{self, Heads};
use super::matrix::{View, product};
use super::{Arena, BLOCK, LayerArena, Network, Pack};

/// Computes a pack: the sum of `-ln p` over its scored tokens. `arena.logits` holds afterwards the
/// gradients of the logits of `weight` times that sum.
pub(crate) fn forward(
    network: &Network,
    weights: &[f32],
    pack: &Pack,
    arena: &mut Arena,
    weight: f32,
) -> f64 {
    let Network { config, layout, .. } = network;
    let (mut rows, width, eps) = (pack.rows(), config.width, config.eps as f32);
    arena.fit(config, pack);

    let embed = &weights[layout.embed.clone()];
    for (row, token) in arena.layers[0].input.chunks_exact_mut(width).zip(&pack.tokens) {
        row.copy_from_slice(&embed[*token as usize * width..][..width]);
    }

    for index in 0..config.layers {
        let (before, after) = arena.layers.split_at_mut(index + 1);
        let layer = &mut before[index];
        let next = after.first_mut().map_or(&mut arena.output, |l| &mut l.input);
        let at = &layout.layers[index];
        let dense = |range: &std::ops::Range<usize>, rows, cols| {
            View::dense(&weights[range.clone()], rows, cols).transposed()
        };

        let gain = &weights[at.input_norm.clone()];
        kernels::rms_norm(&mut layer.normed, &mut layer.input_scales, &layer.input, gain, eps);
        let qkv = config.qkv_width();
        let normed = View::dense(&layer.normed, rows, width);
        product(&mut layer.qkv, qkv, normed, dense(&at.qkv, qkv, width), false);
        let (queries, keys) = heads(network, weights, index, &pack.positions);
        kernels::norm_and_rotate(&mut layer.rotated, &mut layer.q_scales, &layer.qkv, queries);
        kernels::norm_and_rotate(&mut layer.rotated, &mut layer.k_scales, &layer.qkv, keys);
        attend(network, layer, pack);

        let queries = config.query_width();
        if index + 1 == config.layers {
            rows = pack.scored.len();
            keep_scored(&mut layer.attended, queries, pack);
            for (middle, row) in layer.middle.chunks_exact_mut(width).zip(&pack.scored) {
                middle.copy_from_slice(&layer.input[row * width..][..width]);
            }
        } else {
            layer.middle.copy_from_slice(&layer.input);
        }
        let attended = View::dense(&layer.attended, rows, queries);
        product(&mut layer.middle, width, attended, dense(&at.o, width, queries), true);

        let gain = &weights[at.post_norm.clone()];
        let (normed, scales) = (&mut layer.middle_normed, &mut layer.middle_scales);
        kernels::rms_norm(normed, scales, &layer.middle, gain, eps);
        let hidden = config.hidden;
        let normed = View::dense(&layer.middle_normed, rows, width);
        let gate_up = dense(&at.gate_up, 2 * hidden, width);
        product(&mut layer.gate_up, 2 * hidden, normed, gate_up, false);
        kernels::swiglu(&mut layer.activated, &layer.gate_up, hidden);
        next.copy_from_slice(&layer.middle);
        let activated = View::dense(&layer.activated, rows, hidden);
        product(next, width, activated, dense(&at.down, width, hidden), true);
    }

    let gain = &weights[layout.norm.clone()];
    let (normed, scales) = (&mut arena.output_normed, &mut arena.output_scales);
    kernels::rms_norm(normed, scales, &arena.output, gain, eps);
    let normed = View::dense(&arena.output_normed, rows, width);
    let head = View::dense(embed, config.vocab, width).transposed();
    product(&mut arena.logits, config.vocab, normed, head, false);
    kernels::cross_entropy(&mut arena.logits, &pack.targets, weight)
}

/// Moves the scored rows of a buffer to its front.
fn keep_scored(buffer: &mut Vec<f32>, width: usize, pack: &Pack) {
    for (to, from) in pack.scored.iter().enumerate() {
        buffer.copy_within(from * width..(from + 1) * width, to * width);
    }
    buffer.truncate(pack.scored.len() * width);
}

/// The heads of queries and those of keys, before and after their rotation.
pub(crate) fn heads<'a>(
    network: &'a Network,
    weights: &'a [f32],
    layer: usize,
    positions: &'a [u32],
) -> (Heads<'a>, Heads<'a>) {
    let Network { config, layout, rope } = network;
    let (queries, keys) = (config.query_width(), config.key_width());
    let at = &layout.layers[layer];
    let query = Heads {
        heads: config.heads,
        from: 0,
        in_step: config.qkv_width(),
        to: 0,
        out_step: queries + keys,
        gain: &weights[at.q_norm.clone()],
        eps: config.eps as f32,
        rope,
        positions,
    };
    let gain = &weights[at.k_norm.clone()];
    (query, Heads { heads: config.kv_heads, from: queries, to: queries, gain, ..query })
}

/// Attention, a block of queries of one head of one sequence at a time.
fn attend(network: &Network, layer: &mut LayerArena, pack: &Pack) {
    let config = &network.config;
    let (dim, queries, keys) = (config.head_dim, config.query_width(), config.key_width());
    let (rotated_step, qkv_step) = (queries + keys, config.qkv_width());
    let scale = 1.0 / (dim as f32).sqrt();
    let shared = config.heads / config.kv_heads;
    let mut squares = layer.probabilities.as_mut_slice();
    for sequence in pack.sequences() {
        let (start, len) = (sequence.start, sequence.len());
        for head in 0..config.heads {
            let (square, rest) = std::mem::take(&mut squares).split_at_mut(len * len);
            squares = rest;
            let key_at = start * rotated_step + queries + head / shared * dim;
            let value_at = start * qkv_step + queries + keys + head / shared * dim;
            for first in (0..len).step_by(BLOCK) {
                let rows = BLOCK.min(len - first);
                let seen = first + rows;
                let query_at = (start + first) * rotated_step + head * dim;
                let query = View::stepped(&layer.rotated[query_at..], rows, dim, rotated_step);
                let key = View::stepped(&layer.rotated[key_at..], seen, dim, rotated_step);
                let scores = &mut square[first * len..seen * len];
                product(scores, len, query, key.transposed(), false);
                kernels::causal_softmax(scores, len, seen, first, scale);
                let value = View::stepped(&layer.qkv[value_at..], seen, dim, qkv_step);
                let out = &mut layer.attended[(start + first) * queries + head * dim..];
                product(out, queries, View::stepped(scores, rows, seen, len), value, false);
            }
        }
    }
}
