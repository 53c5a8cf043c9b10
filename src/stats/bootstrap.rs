//! Intervals by drawing again from what was seen.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::interval::{Interval, mean, wilson};

/// How often [`mean_interval`] draws.
const RESAMPLES: usize = 2_000;

/// The percentile interval of the mean: whole clusters are drawn with replacement, as many as there
/// are, `resamples` times. Values of one cluster (runs of one task, say) always stay together.
/// `None` without values or draws.
///
/// # Panics
/// When there are not as many clusters as values.
pub fn bootstrap_mean(
    values: &[f64],
    clusters: &[usize],
    resamples: usize,
    seed: u64,
) -> Option<Interval> {
    assert_eq!(values.len(), clusters.len(), "one cluster a value");
    if values.is_empty() || resamples == 0 {
        return None;
    }
    let mut by_cluster: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
    for (value, cluster) in values.iter().zip(clusters) {
        let (sum, count) = by_cluster.entry(*cluster).or_default();
        *sum += value;
        *count += 1;
    }
    let groups: Vec<(f64, usize)> = by_cluster.into_values().collect();
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| {
            let (mut sum, mut count) = (0.0, 0);
            for _ in 0..groups.len() {
                let (part, size) = groups[below(&mut chance, groups.len())];
                sum += part;
                count += size;
            }
            sum / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&means, 0.025), high: quantile(&means, 0.975) })
}

/// The interval of a mean of scores between 0 and 1, by a bootstrap over clusters.
///
/// Where the bootstrap cannot see any spread, it would give an interval without width, so these
/// cases are answered otherwise: scores that are all 0 or all 1 by Wilson's interval over the
/// clusters (which bounds any score between 0 and 1, not only pass or fail), and a single cluster by
/// 0 to 1.
///
/// # Panics
/// When there are not as many clusters as values.
pub fn mean_interval(values: &[f64], clusters: &[usize], seed: u64) -> Interval {
    let mut distinct = clusters.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if values.iter().all(|value| *value == 0.0) {
        return wilson(0, distinct.len());
    }
    if values.iter().all(|value| *value == 1.0) {
        return wilson(distinct.len(), distinct.len());
    }
    if distinct.len() < 2 {
        return Interval { low: 0.0, high: 1.0 };
    }
    bootstrap_mean(values, clusters, RESAMPLES, seed).unwrap_or_else(|| {
        let centre = mean(values);
        Interval { low: centre, high: centre }
    })
}

/// A number below `limit`, each as likely as the others (Lemire's method, without its bias).
pub(super) fn below(chance: &mut ChaCha8Rng, limit: usize) -> usize {
    let limit = limit as u64;
    let threshold = limit.wrapping_neg() % limit;
    loop {
        let product = u128::from(chance.next_u64()) * u128::from(limit);
        if product as u64 >= threshold {
            return (product >> 64) as usize;
        }
    }
}

/// The value below which a share `p` of sorted values lies, between neighbours by a straight line.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}
