//! Chances of passing within k tries, and in all of them, from n tries.

/// The unbiased estimate of the chance that at least one of `k` tries passes, from `passed` passes
/// among `tries` tries: 1 − C(n−c, k) / C(n, k). `None` when there were fewer than `k` tries.
pub fn pass_at_k(tries: usize, passed: usize, k: usize) -> Option<f64> {
    if k > tries || passed > tries {
        return None;
    }
    Some(1.0 - chosen(tries, tries - passed, k))
}

/// The unbiased estimate of the chance that all of `k` tries pass: C(c, k) / C(n, k). `None` when
/// there were fewer than `k` tries. (The plug-in (c / n)^k is too high.)
pub fn pass_hat_k(tries: usize, passed: usize, k: usize) -> Option<f64> {
    if k > tries || passed > tries {
        return None;
    }
    Some(chosen(tries, passed, k))
}

/// The chance that `k` draws without putting back all come from `good` of `all`, as a product, so
/// that no binomial coefficient overflows.
fn chosen(all: usize, good: usize, k: usize) -> f64 {
    if k > good {
        return 0.0;
    }
    (0..k).map(|i| (good - i) as f64 / (all - i) as f64).product()
}
