//! Statistics of evaluations: how sure a score is, and whether two models differ.
//!
//! Everything here is pure: numbers in, numbers out, and where chance is needed (bootstrap,
//! permutation) it comes from a seed. Intervals are 95 % intervals.
//!
//! | question | answer |
//! |---|---|
//! | how good is it on average? | [`mean_interval`]: the mean with a bootstrap over clusters |
//! | how often does it pass? | [`wilson`] for independent runs, [`mean_interval`] for clustered ones |
//! | how often does it pass within k tries, or in all k? | [`pass_at_k`], [`pass_hat_k`] |
//! | is the second model better? | [`paired`]: differences task by task, interval and p-value |
//! | the same for pass or fail | [`mcnemar`] |
//! | and over many comparisons | [`holm`] |

mod bootstrap;
mod compare;
mod distribution;
mod interval;
mod passes;

pub use bootstrap::{bootstrap_mean, mean_interval};
pub use compare::{Paired, holm, mcnemar, paired, sign_flip};
pub use distribution::{student_cdf, student_quantile};
pub use interval::{
    Interval, clustered_standard_error, mean, standard_deviation, standard_error, student_interval,
    wilson,
};
pub use passes::{pass_at_k, pass_hat_k};
