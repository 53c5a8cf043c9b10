//! Keys: digests of everything that a result depends on, and of nothing else.
//!
//! A call's key is made of its operator, the operator's version and its arguments by content; a
//! stage's key of its expression (by meaning, not by text), the versions of the operators in it and
//! the results of the stages it reads. Two machines, two thread counts, two days: the same key.

use std::collections::BTreeMap;

use crate::lang::{Expr, Value};
use crate::store::{Digest, KeyHasher};

use super::walk::operators;

/// The key of one call.
pub fn call_key(operator: &str, version: u32, args: &BTreeMap<String, Value>) -> Digest {
    let mut hasher = KeyHasher::new("claw call 1");
    hasher.text(operator).number(u64::from(version)).number(args.len() as u64);
    for (name, value) in args {
        hasher.text(name).digest(&value.digest());
    }
    hasher.finish()
}

/// The key of a recorded call in the `attempt`-th attempt of a `try`. The first one is like any other
/// call; a later one is a call of its own even where its arguments are the same, or a model would
/// give its first answer again.
pub fn attempt_key(key: Digest, attempt: u32) -> Digest {
    if attempt <= 1 {
        return key;
    }
    KeyHasher::new("claw attempt 1").digest(&key).number(u64::from(attempt)).finish()
}

/// The key of a whole stage. `version` gives an operator's version, `upstream` the digest of a
/// stage's result.
pub fn stage_key(
    expr: &Expr,
    version: &dyn Fn(&str) -> u32,
    upstream: &dyn Fn(&str) -> Digest,
) -> Digest {
    let mut hasher = KeyHasher::new("claw stage 1");
    for operator in operators(expr) {
        hasher.text(&operator).number(u64::from(version(&operator)));
    }
    expr.hash_into(&mut hasher, &mut Vec::new(), &mut |hasher, stage| {
        hasher.digest(&upstream(stage));
    });
    hasher.finish()
}
