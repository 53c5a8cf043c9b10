//! Means, their standard errors and the intervals that have a formula.

use std::collections::BTreeMap;

use super::distribution::student_quantile;

/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The sample standard deviation (divided by n − 1); `None` for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let centre = mean(values);
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The standard error of the mean of independent values; `None` for fewer than two.
pub fn standard_error(values: &[f64]) -> Option<f64> {
    Some(standard_deviation(values)? / (values.len() as f64).sqrt())
}

/// The standard error of the mean when values of one cluster depend on each other, after Miller
/// (2024): deviations are summed within a cluster before they are squared, with the correction
/// G / (G − 1) for G clusters. `None` for fewer than two clusters.
///
/// # Panics
/// When there are not as many clusters as values.
pub fn clustered_standard_error(values: &[f64], clusters: &[usize]) -> Option<f64> {
    assert_eq!(values.len(), clusters.len(), "one cluster a value");
    let centre = mean(values);
    let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
    for (value, cluster) in values.iter().zip(clusters) {
        *sums.entry(*cluster).or_default() += value - centre;
    }
    if sums.len() < 2 {
        return None;
    }
    let groups = sums.len() as f64;
    let squares: f64 = sums.values().map(|sum| sum * sum).sum();
    Some((squares * groups / (groups - 1.0)).sqrt() / values.len() as f64)
}

/// Student's interval around the mean of independent values; `None` for fewer than two.
pub fn student_interval(values: &[f64]) -> Option<Interval> {
    let reach =
        student_quantile(0.975, values.len().saturating_sub(1) as f64) * standard_error(values)?;
    let centre = mean(values);
    Some(Interval { low: centre - reach, high: centre + reach })
}

/// Wilson's interval for a share of successes among independent tries. It stays inside 0 to 1 and is
/// honest where the textbook's interval has no width: nothing in ten tries is 0 to 0.28.
/// No tries say nothing: 0 to 1.
pub fn wilson(successes: usize, tries: usize) -> Interval {
    if tries == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let n = tries as f64;
    let share = successes as f64 / n;
    let centre = share + Z * Z / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // The ends are exactly 0 and 1 where no try, or every try, succeeded; rounding must not move them.
    let low = if successes == 0 { 0.0 } else { (centre - reach) / scale };
    let high = if successes == tries { 1.0 } else { (centre + reach) / scale };
    Interval { low, high }
}
