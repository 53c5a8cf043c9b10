//! The way back: from the gradients of the logits to those of the weights.

use std::ops::Range;

use super::forward::heads;
use super::kernels;
use super::matrix::{View, product};
use super::{Arena, BLOCK, LayerArena, Network, Pack};

/// Adds to `gradients` those of the pack that [`super::forward`] has just computed in `arena`.
pub(crate) fn backward(
    network: &Network,
    weights: &[f32],
    pack: &Pack,
    arena: &mut Arena,
    gradients: &mut [f32],
) {
    let Network { config, layout, .. } = network;
    let (width, scored) = (config.width, pack.scored.len());

    // Output layer (the embedding, used again) and the last norm.
    let d_logits = View::dense(&arena.logits, scored, config.vocab);
    let normed = View::dense(&arena.output_normed, scored, width);
    let embed = layout.embed.clone();
    product(&mut gradients[embed.clone()], width, d_logits.transposed(), normed, true);
    let head = View::dense(&weights[embed.clone()], config.vocab, width);
    let d_normed = &mut arena.d_normed[..scored * width];
    product(d_normed, width, d_logits, head, false);
    arena.d_stream.clear();
    arena.d_stream.resize(scored * width, 0.0);
    kernels::rms_norm_back(
        &mut arena.d_stream,
        &mut gradients[layout.norm.clone()],
        d_normed,
        &arena.output,
        &arena.output_scales,
        &weights[layout.norm.clone()],
    );

    for (index, at) in layout.layers.iter().enumerate().rev() {
        let layer = &mut arena.layers[index];
        let last = index + 1 == config.layers;
        let rows = if last { scored } else { pack.rows() };
        let (hidden, queries, qkv) = (config.hidden, config.query_width(), config.qkv_width());
        let dense =
            |range: &Range<usize>, rows, cols| View::dense(&weights[range.clone()], rows, cols);

        // Feed-forward.
        let d_out = View::dense(&arena.d_stream, rows, width);
        let activated = View::dense(&layer.activated, rows, hidden);
        product(&mut gradients[at.down.clone()], hidden, d_out.transposed(), activated, true);
        product(&mut arena.d_activated, hidden, d_out, dense(&at.down, width, hidden), false);
        kernels::swiglu_back(&mut layer.gate_up, &arena.d_activated, hidden);
        let d_gate_up = View::dense(&layer.gate_up, rows, 2 * hidden);
        let normed = View::dense(&layer.middle_normed, rows, width);
        product(&mut gradients[at.gate_up.clone()], width, d_gate_up.transposed(), normed, true);
        let gate_up = dense(&at.gate_up, 2 * hidden, width);
        product(&mut arena.d_normed, width, d_gate_up, gate_up, false);
        kernels::rms_norm_back(
            &mut arena.d_stream,
            &mut gradients[at.post_norm.clone()],
            &arena.d_normed,
            &layer.middle,
            &layer.middle_scales,
            &weights[at.post_norm.clone()],
        );

        // Attention.
        let d_out = View::dense(&arena.d_stream, rows, width);
        let attended = View::dense(&layer.attended, rows, queries);
        product(&mut gradients[at.o.clone()], queries, d_out.transposed(), attended, true);
        arena.d_attended.resize(rows * queries, 0.0);
        product(&mut arena.d_attended, queries, d_out, dense(&at.o, width, queries), false);
        if last {
            spread_scored(&mut arena.d_attended, queries, pack);
            spread_scored(&mut arena.d_stream, width, pack);
        }
        let rows = pack.rows();
        attend_back(
            network,
            layer,
            pack,
            &arena.d_attended,
            &mut arena.d_rotated,
            &mut arena.d_qkv,
            &mut arena.d_scores,
        );
        let (query_heads, key_heads) = heads(network, weights, index, &pack.positions);
        for (which, gain, scales) in
            [(query_heads, &at.q_norm, &layer.q_scales), (key_heads, &at.k_norm, &layer.k_scales)]
        {
            let d_gain = &mut gradients[gain.clone()];
            let d_rotated = &mut arena.d_rotated;
            let d_qkv = &mut arena.d_qkv;
            kernels::norm_and_rotate_back(d_qkv, d_gain, d_rotated, &layer.qkv, scales, which);
        }
        let d_qkv = View::dense(&arena.d_qkv, rows, qkv);
        let normed = View::dense(&layer.normed, rows, width);
        product(&mut gradients[at.qkv.clone()], width, d_qkv.transposed(), normed, true);
        product(&mut arena.d_normed, width, d_qkv, dense(&at.qkv, qkv, width), false);
        kernels::rms_norm_back(
            &mut arena.d_stream,
            &mut gradients[at.input_norm.clone()],
            &arena.d_normed,
            &layer.input,
            &layer.input_scales,
            &weights[at.input_norm.clone()],
        );
    }

    let d_embed = &mut gradients[embed];
    for (d, token) in arena.d_stream.chunks_exact(width).zip(&pack.tokens) {
        kernels::add(&mut d_embed[*token as usize * width..][..width], d);
    }
}

/// Moves rows that were kept as the scored ones back to their places; all others become 0.
fn spread_scored(buffer: &mut Vec<f32>, width: usize, pack: &Pack) {
    let mut end = pack.rows();
    buffer.resize(end * width, 0.0);
    for (from, to) in pack.scored.iter().enumerate().rev() {
        buffer[(to + 1) * width..end * width].fill(0.0);
        buffer.copy_within(from * width..(from + 1) * width, to * width);
        end = *to;
    }
    buffer[..end * width].fill(0.0);
}

/// The way back through attention: writes all of `d_rotated`, and the values' part of `d_qkv`.
fn attend_back(
    network: &Network,
    layer: &LayerArena,
    pack: &Pack,
    d_attended: &[f32],
    d_rotated: &mut [f32],
    d_qkv: &mut [f32],
    d_scores: &mut [f32],
) {
    let config = &network.config;
    let (dim, queries, keys) = (config.head_dim, config.query_width(), config.key_width());
    let (rotated_step, qkv_step) = (queries + keys, config.qkv_width());
    let scale = 1.0 / (dim as f32).sqrt();
    let shared = config.heads / config.kv_heads;
    // Keys and values gather from several blocks (and, where shared, heads).
    d_rotated.fill(0.0);
    d_qkv.fill(0.0);
    let mut squares = layer.probabilities.as_slice();
    for sequence in pack.sequences() {
        let (start, len) = (sequence.start, sequence.len());
        for head in 0..config.heads {
            let (square, rest) = squares.split_at(len * len);
            squares = rest;
            let key_at = start * rotated_step + queries + head / shared * dim;
            let value_at = start * qkv_step + queries + keys + head / shared * dim;
            for first in (0..len).step_by(BLOCK) {
                let rows = BLOCK.min(len - first);
                let seen = first + rows;
                let query_at = (start + first) * rotated_step + head * dim;
                let p = View::stepped(&square[first * len..], rows, seen, len);
                let d_out_at = (start + first) * queries + head * dim;
                let d_out = View::stepped(&d_attended[d_out_at..], rows, dim, queries);

                let value = View::stepped(&layer.qkv[value_at..], seen, dim, qkv_step);
                let d_scores = &mut d_scores[..rows * seen];
                product(d_scores, seen, d_out, value.transposed(), false);
                product(&mut d_qkv[value_at..], qkv_step, p.transposed(), d_out, true);
                kernels::softmax_back(d_scores, &square[first * len..], len, seen, scale);

                let d_scores = View::dense(d_scores, rows, seen);
                let key = View::stepped(&layer.rotated[key_at..], seen, dim, rotated_step);
                product(&mut d_rotated[query_at..], rotated_step, d_scores, key, false);
                let query = View::stepped(&layer.rotated[query_at..], rows, dim, rotated_step);
                let d_key = &mut d_rotated[key_at..];
                product(d_key, rotated_step, d_scores.transposed(), query, true);
            }
        }
    }
}
