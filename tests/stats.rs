//! Statistics against printed tables, against numbers that Inspect gave, and against formulas worked
//! out with exact fractions.

use claw::stats::{
    bootstrap_mean, clustered_standard_error, holm, mcnemar, mean, mean_interval, paired,
    pass_at_k, pass_hat_k, sign_flip, standard_error, student_cdf, student_interval,
    student_quantile, wilson,
};

fn close(got: f64, expected: f64, within: f64) {
    assert!((got - expected).abs() <= within, "{got} is not {expected} within {within}");
}

#[test]
fn student_quantiles_agree_with_the_tables() {
    let table = [
        (1.0, 12.706205),
        (2.0, 4.302653),
        (3.0, 3.182446),
        (5.0, 2.570582),
        (10.0, 2.228139),
        (30.0, 2.042272),
        (100.0, 1.983972),
        (199.0, 1.971957),
    ];
    for (freedom, expected) in table {
        close(student_quantile(0.975, freedom), expected, 1e-6);
        close(student_quantile(0.025, freedom), -expected, 1e-6);
    }
    // One degree of freedom is Cauchy's distribution, which has a formula.
    for t in [-3.0f64, -0.5, 0.0, 0.25, 7.0] {
        close(student_cdf(t, 1.0), 0.5 + t.atan() / std::f64::consts::PI, 1e-13);
    }
    // Two degrees too.
    for t in [-4.0f64, 0.3, 2.0] {
        close(student_cdf(t, 2.0), 0.5 + t / (2.0 * (2.0 + t * t).sqrt()), 1e-13);
    }
    assert_eq!(student_quantile(0.975, 0.0), f64::INFINITY);
    assert_eq!(student_quantile(1.0, 3.0), f64::INFINITY);
}

#[test]
fn standard_errors_agree_with_inspect() {
    let values = [1.0, 0.0, 1.0, 1.0, 0.0, 0.5, 0.25, 1.0];
    close(standard_error(&values).unwrap(), 0.16323665445341268, 1e-15);
    close(clustered_standard_error(&values, &[0, 0, 1, 1, 2, 2, 3, 3]).unwrap(), 0.15625, 1e-15);
    // Every value its own cluster is no clustering at all.
    let alone: Vec<usize> = (0..8).collect();
    close(clustered_standard_error(&values, &alone).unwrap(), 0.16323665445341268, 1e-15);
    assert_eq!(clustered_standard_error(&values, &[0; 8]), None);
    assert_eq!(standard_error(&[1.0]), None);
}

#[test]
fn student_intervals_agree_with_inspect() {
    // The worked example of the ledger log: mean .625, standard error .125, interval .227 to 1.023.
    let values = [0.5, 1.0, 0.5, 0.5];
    close(mean(&values), 0.625, 1e-15);
    let interval = student_interval(&values).unwrap();
    close(interval.low, 0.2272, 1e-4);
    close(interval.high, 1.0228, 1e-4);
}

#[test]
fn wilson_stays_inside() {
    for (successes, tries, low, high) in [
        (0, 10, 0.0, 0.2775327998628892),
        (10, 10, 0.7224672001371107, 1.0),
        (5, 10, 0.236593090512564, 0.7634069094874361),
        (8, 10, 0.4901624715366418, 0.9433178485456247),
        (1, 1, 0.20654931437723745, 1.0),
    ] {
        let interval = wilson(successes, tries);
        close(interval.low, low, 1e-12);
        close(interval.high, high, 1e-12);
    }
    assert_eq!((wilson(0, 0).low, wilson(0, 0).high), (0.0, 1.0));
}

#[test]
fn passes_are_unbiased() {
    for (tries, passed, k, expected) in
        [(10, 3, 1, 0.3), (10, 3, 2, 0.533333), (10, 3, 5, 0.916667), (200, 17, 10, 0.597449)]
    {
        close(pass_at_k(tries, passed, k).unwrap(), expected, 1e-6);
    }
    close(pass_hat_k(10, 3, 2).unwrap(), 1.0 / 15.0, 1e-15);
    close(pass_hat_k(10, 8, 3).unwrap(), 0.4666666666666667, 1e-15);
    assert_eq!(pass_at_k(3, 3, 4), None);
    assert_eq!(pass_hat_k(3, 3, 4), None);
    assert_eq!(pass_at_k(4, 4, 4), Some(1.0));
    assert_eq!(pass_hat_k(4, 3, 4), Some(0.0));
    assert_eq!(pass_at_k(100_000, 1, 100_000), Some(1.0));
}

#[test]
fn unbiased_means_what_it_says() {
    // Over all outcomes of n tries with chance q, the estimates average to the truth.
    let (q, n, k) = (0.3f64, 6usize, 3usize);
    let (mut at_least_once, mut every_time) = (0.0, 0.0);
    for outcome in 0u32..1 << n {
        let passed = outcome.count_ones() as usize;
        let chance = q.powi(passed as i32) * (1.0 - q).powi((n - passed) as i32);
        at_least_once += chance * pass_at_k(n, passed, k).unwrap();
        every_time += chance * pass_hat_k(n, passed, k).unwrap();
    }
    close(at_least_once, 1.0 - 0.7f64.powi(3), 1e-12);
    close(every_time, 0.3f64.powi(3), 1e-12);
}

#[test]
fn the_bootstrap_is_seeded_and_covers() {
    let values: Vec<f64> = (0..60).map(|i| f64::from(i % 3 == 0)).collect();
    let clusters: Vec<usize> = (0..60).collect();
    let first = bootstrap_mean(&values, &clusters, 1_000, 7).unwrap();
    assert_eq!(bootstrap_mean(&values, &clusters, 1_000, 7).unwrap(), first);
    // (Shares of sixty fall on a grid, where two seeds may meet; uneven scores do not.)
    let uneven: Vec<f64> = (0..60).map(|i| (f64::from(i) * 0.37).fract()).collect();
    assert_ne!(
        bootstrap_mean(&uneven, &clusters, 1_000, 7),
        bootstrap_mean(&uneven, &clusters, 1_000, 8)
    );
    // A third of sixty: the normal interval is 0.333 ± 0.119.
    close(first.low, 0.214, 0.03);
    close(first.high, 0.453, 0.03);
}

#[test]
fn clusters_widen_the_interval_when_their_runs_agree() {
    // Ten tasks of ten runs that always agree: ten facts, not a hundred.
    let values: Vec<f64> = (0..100).map(|i| f64::from(i / 10 % 2 == 0)).collect();
    let together: Vec<usize> = (0..100).map(|i| i / 10).collect();
    let alone: Vec<usize> = (0..100).collect();
    let clustered = mean_interval(&values, &together, 1);
    let naive = mean_interval(&values, &alone, 1);
    assert!(clustered.high - clustered.low > 2.0 * (naive.high - naive.low));
}

#[test]
fn an_interval_without_spread_is_not_a_point() {
    let zeros = mean_interval(&[0.0; 10], &(0..10).collect::<Vec<_>>(), 1);
    assert_eq!(zeros.low, 0.0);
    close(zeros.high, 0.2775327998628892, 1e-12);
    let ones = mean_interval(&[1.0; 10], &(0..10).collect::<Vec<_>>(), 1);
    assert_eq!(ones.high, 1.0);
    close(ones.low, 0.7224672001371107, 1e-12);
    let single = mean_interval(&[0.5, 0.75], &[3, 3], 1);
    assert_eq!((single.low, single.high), (0.0, 1.0));
    let nothing = mean_interval(&[], &[], 1);
    assert_eq!((nothing.low, nothing.high), (0.0, 1.0));
}

#[test]
fn sign_flips_are_exact_for_few_and_drawn_for_many() {
    // Five differences of one sign: only two of 32 patterns are as extreme.
    close(sign_flip(&[1.0, 2.0, 3.0, 4.0, 5.0], 0), 2.0 / 32.0, 1e-15);
    // Sizes that do not decide: of 1, 1, −1 all patterns sum to at least 1.
    assert_eq!(sign_flip(&[1.0, 1.0, -1.0], 0), 1.0);
    assert_eq!(sign_flip(&[0.0, 0.0], 0), 1.0);
    // Rounding does not decide either: three times 0.1 and 0.1 + 0.2 are the same sum.
    assert_eq!(sign_flip(&[0.1, 0.2, -0.3], 0), 1.0);
    let many = [1.0; 40];
    close(sign_flip(&many, 3), 1.0 / 10_001.0, 1e-15);
    let mixed: Vec<f64> = (0..40).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert_eq!(sign_flip(&mixed, 3), 1.0);
    // Drawn patterns agree with the exact answer: 26 of 40, two-sided sign test p = 0.0807.
    let lean: Vec<f64> = (0..40).map(|i| if i < 26 { 1.0 } else { -1.0 }).collect();
    close(sign_flip(&lean, 3), 0.0807, 0.01);
}

#[test]
fn paired_differences_see_what_unpaired_ones_miss() {
    // Tasks differ a lot, the second model is a little better on each.
    let first: Vec<f64> = (0..20).map(|i| f64::from(i) / 25.0).collect();
    let second: Vec<f64> =
        first.iter().enumerate().map(|(i, x)| x + 0.04 + 0.01 * (i % 2) as f64).collect();
    let comparison = paired(&first, &second, 1).unwrap();
    close(comparison.difference, 0.045, 1e-12);
    assert!(comparison.interval.low > 0.04 && comparison.interval.high < 0.05);
    assert!(comparison.p < 0.001);
    let same = paired(&first, &first, 1).unwrap();
    assert_eq!((same.difference, same.p), (0.0, 1.0));
    let lonely = paired(&[0.0], &[1.0], 1).unwrap();
    assert_eq!((lonely.p, lonely.interval.high), (1.0, f64::INFINITY));
    assert!(paired(&[], &[], 1).is_none());
}

#[test]
fn mcnemar_is_the_exact_binomial() {
    close(mcnemar(0, 5), 0.0625, 1e-15);
    close(mcnemar(3, 10), 0.0922851562, 1e-9);
    close(mcnemar(10, 3), 0.0922851562, 1e-9);
    assert_eq!(mcnemar(4, 4), 1.0);
    assert_eq!(mcnemar(0, 0), 1.0);
    // Far beyond where 2^-n can be written; by exact fractions.
    close(mcnemar(1_900, 2_100), 0.0016492663751357, 1e-12);
}

#[test]
fn holm_steps_down() {
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (got, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        close(*got, expected, 1e-12);
    }
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}
