//! Two models on the same tasks.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::interval::{Interval, mean, student_interval};

/// Sign patterns are all tried when there are at most this many differences: 2^16 of them.
const EXACT: usize = 16;

/// How many sign patterns are drawn when there are too many to try all.
const DRAWS: u32 = 10_000;

/// How two models compare on the same tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// The mean of the differences, second minus first.
    pub difference: f64,
    /// Student's interval around it; without end for fewer than two tasks.
    pub interval: Interval,
    /// The chance of a difference at least this large if the two were the same, by sign flips.
    pub p: f64,
}

/// Compares two models by their scores on the same tasks, in the same order. Pairing takes out how
/// hard each task is, which an unpaired comparison counts as noise. `None` without tasks.
///
/// # Panics
/// When the two do not have the same number of scores.
pub fn paired(first: &[f64], second: &[f64], seed: u64) -> Option<Paired> {
    assert_eq!(first.len(), second.len(), "the same tasks for both");
    if first.is_empty() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
    let unknown = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
    Some(Paired {
        difference: mean(&differences),
        interval: student_interval(&differences).unwrap_or(unknown),
        p: sign_flip(&differences, seed),
    })
}

/// The two-sided p-value of the hypothesis that differences are as likely to be negative as
/// positive: the share of sign patterns whose sum is at least as far from 0 as the one seen. Exact
/// for up to sixteen differences that are not 0; beyond that ten thousand patterns are drawn, and
/// the one seen counts as one more, so that p is never 0.
pub fn sign_flip(differences: &[f64], seed: u64) -> f64 {
    let sizes: Vec<f64> = differences.iter().copied().filter(|size| *size != 0.0).collect();
    if sizes.is_empty() {
        return 1.0;
    }
    // Sums that differ by rounding alone are the same sum.
    let scale: f64 = sizes.iter().map(|size| size.abs()).sum();
    let seen = sizes.iter().sum::<f64>().abs() - 1e-12 * scale;
    let far = |signs: &mut dyn FnMut() -> bool| {
        let sum: f64 = sizes.iter().map(|size| if signs() { *size } else { -size }).sum();
        sum.abs() >= seen
    };
    if sizes.len() <= EXACT {
        let patterns = 1u32 << sizes.len();
        let extreme = (0..patterns)
            .filter(|pattern| {
                let mut rest = *pattern;
                far(&mut || {
                    let sign = rest & 1 == 1;
                    rest >>= 1;
                    sign
                })
            })
            .count();
        return extreme as f64 / f64::from(patterns);
    }
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let extreme = (0..DRAWS).filter(|_| far(&mut || chance.next_u32() & 1 == 1)).count();
    (extreme + 1) as f64 / f64::from(DRAWS + 1)
}

/// The exact two-sided p-value of McNemar's test, from the number of tasks that only the first
/// model passed and the number that only the second passed.
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let tries = only_first + only_second;
    let fewer = only_first.min(only_second);
    // The binomial terms are built from one another in logarithms: 2^-n alone underflows at 1,075.
    let mut ln_term = -(tries as f64) * std::f64::consts::LN_2;
    let mut tail = ln_term.exp();
    for i in 1..=fewer {
        ln_term += ((tries - i + 1) as f64).ln() - (i as f64).ln();
        tail += ln_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// Holm's correction: p-values that may be read side by side, in the order they came in.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max((p[index] * (p.len() - rank) as f64).min(1.0));
        corrected[index] = largest;
    }
    corrected
}
