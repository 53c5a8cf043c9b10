//! `canary` and `gate`: the first rows of a stage decide whether the rest is worth starting.
//!
//! First means first in the order of the rows, not of their coming: which rows are looked at, and
//! with them whether the gate holds, must not depend on which row above was quick. So a stage with a
//! canary waits for what it reads, and only then begins. A row that the stage's condition leaves out
//! is no row of it, and is not counted.

use crate::lang::{self, Policy, Value};

use super::board::Count;

/// Whether the rest of a stage may start after these rows of it.
///
/// # Errors
/// Says why not: the gate does not hold or, where there is none, all of them failed.
pub(super) fn gate(policy: &Policy, count: &Count) -> Result<(), String> {
    let (done, failed) = (count.cached + count.ran, count.failed);
    let tried = done + failed;
    let Some(gate) = &policy.gate else {
        return if done > 0 || tried == 0 {
            Ok(())
        } else {
            Err(format!("all of the first {tried} rows failed, so the rest was not started"))
        };
    };
    let share = if tried == 0 { 0.0 } else { failed as f64 / tried as f64 };
    let seen = Value::record([
        ("rows", Value::Int(tried as i64)),
        ("failed", Value::Int(failed as i64)),
        ("failed_share", Value::Float(share)),
    ]);
    match lang::apply(gate, &seen).map(|holds| holds.as_bool()) {
        Ok(Some(true)) => Ok(()),
        Ok(_) => Err(format!(
            "the gate does not hold after the first {tried} rows ({failed} of them failed), so the \
             rest was not started"
        )),
        Err(err) => Err(format!("the gate cannot be asked: {err}")),
    }
}
