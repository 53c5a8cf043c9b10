//! The hand-written way back against finite differences, for every tensor.

use super::*;
use crate::learn::trainer::below;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A pack of three sequences, one of them over several blocks of queries.
fn pack(config: &Config) -> Pack {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut pack = Pack::default();
    pack.clear();
    for len in [5, 2 * BLOCK + 7, 20] {
        let tokens: Vec<u32> = (0..len).map(|_| below(&mut random, config.vocab) as u32).collect();
        let counts: Vec<bool> = (0..len).map(|i| i % 3 != 1).collect();
        pack.push(&tokens, &counts);
    }
    pack
}

/// Weights of an ordinary size: where all is small, norms make the loss too curved to measure.
fn weights(config: &Config) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut even = |width: f32| width * (below(&mut random, 2000) as f32 / 1000.0 - 1.0);
    let mut weights = Vec::new();
    for tensor in &Network::new(config).layout.tensors {
        let (middle, width) = match tensor.name.as_str() {
            "model.embed_tokens.weight" => (0.0, 0.6),
            _ if tensor.is_matrix() => (0.0, 0.4),
            _ => (1.0, 0.4),
        };
        weights.extend(tensor.range.clone().map(|_| middle + even(width)));
    }
    weights
}

/// The slope of the loss along a direction that touches one tensor only: measured, and as the
/// gradient has it.
fn slopes(config: &Config) -> Vec<(String, f64, f64)> {
    let network = Network::new(config);
    let pack = pack(config);
    let weights = weights(config);
    let mut arena = Arena::default();
    let scale = 1.0 / pack.scored.len() as f32;
    let loss = |weights: &[f32], arena: &mut Arena| {
        forward(&network, weights, &pack, arena, scale) * f64::from(scale)
    };
    loss(&weights, &mut arena);
    let mut gradients = vec![0.0; network.layout.len];
    backward(&network, &weights, &pack, &mut arena, &mut gradients);

    let mut found = Vec::new();
    for tensor in &network.layout.tensors {
        let gradient = &gradients[tensor.range.clone()];
        // Along the gradient itself the slope is largest, and rounding matters least.
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 0.0, "{} has no gradient", tensor.name);
        let size = 0.02;
        let mut at = |sign: f64| {
            let mut moved = weights.clone();
            for (weight, g) in moved[tensor.range.clone()].iter_mut().zip(gradient) {
                *weight += (sign * size * f64::from(*g) / norm) as f32;
            }
            loss(&moved, &mut arena)
        };
        let measured = (at(1.0) - at(-1.0)) / (2.0 * size);
        found.push((tensor.name.clone(), measured, norm));
    }
    found
}

fn agree(config: &Config) {
    let found = slopes(config);
    assert_eq!(found.len(), 2 + 11 * config.layers);
    for (name, measured, gradient) in found {
        let error = (measured - gradient).abs() / gradient;
        assert!(error < 0.02, "{name}: measured {measured}, gradient {gradient}");
    }
}

#[test]
fn every_tensor_has_the_slope_that_is_measured() {
    let tiny = Config { vocab: 50, width: 24, layers: 2, hidden: 40, ..Config::tiny() };
    agree(&Config { heads: 3, kv_heads: 3, head_dim: 8, ..tiny });
}

#[test]
fn shared_key_heads_have_the_slope_that_is_measured() {
    let tiny = Config { vocab: 50, width: 20, layers: 2, hidden: 36, ..Config::tiny() };
    agree(&Config { heads: 4, kv_heads: 2, head_dim: 6, ..tiny });
}

/// A single wrong weight must show: every element of a small tensor is checked by itself.
#[test]
fn single_weights_have_the_slope_that_is_measured() {
    let config = Config {
        vocab: 30,
        width: 16,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_dim: 8,
        hidden: 12,
        ..Config::tiny()
    };
    let network = Network::new(&config);
    let pack = pack(&config);
    let weights = weights(&config);
    let mut arena = Arena::default();
    let scale = 1.0 / pack.scored.len() as f32;
    forward(&network, &weights, &pack, &mut arena, scale);
    let mut gradients = vec![0.0; network.layout.len];
    backward(&network, &weights, &pack, &mut arena, &mut gradients);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for tensor in &network.layout.tensors {
        let largest = gradients[tensor.range.clone()].iter().fold(0f32, |m, g| m.max(g.abs()));
        for _ in 0..12 {
            let i = tensor.range.start + below(&mut random, tensor.range.len());
            let mut at = |step: f32| {
                let mut moved = weights.clone();
                moved[i] += step;
                forward(&network, &moved, &pack, &mut arena, scale) * f64::from(scale)
            };
            let measured = (at(0.01) - at(-0.01)) / 0.02;
            let error = (measured - f64::from(gradients[i])).abs();
            assert!(
                error < 0.03 * f64::from(largest) + 2e-5,
                "{} [{i}]: measured {measured}, gradient {}, largest {largest}",
                tensor.name,
                gradients[i]
            );
        }
    }
}
