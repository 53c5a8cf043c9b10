//! Rows chosen, parted and put in another order by hashes, so that the same rows fall alike
//! whatever stands beside them.

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;
use crate::store::{Digest, KeyHasher};

use super::{OfRow, count, inner_table, rows, table};

/// A number from 0 up to 1 that depends on the text and the seed alone.
fn draw(domain: &str, seed: i64, text: &str) -> f64 {
    let mut hasher = KeyHasher::new(domain);
    hasher.number(seed as u64).text(text);
    // 53 bits make an even share of 0..1 in a float.
    (hasher.finish().seed() >> 11) as f64 / (1u64 << 53) as f64
}

pub(super) fn holdout(args: &Args, context: &Context) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let (share, seed) = (args.float("test")?, args.int("seed")?);
    if !(0.0..=1.0).contains(&share) {
        return Err(CallError::row("`test` is a share from 0% to 100%"));
    }
    let by = OfRow::new(args, "by", objects)?;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (place, row) in rows(args, "rows", objects)?.into_iter().enumerate() {
        let side = draw("claw holdout 1", seed, &by.text(place, &row)?) < share;
        if side { test.push(row) } else { train.push(row) }
    }
    Ok(Value::record([("train", table(train)), ("test", table(test))]))
}

pub(super) fn split(args: &Args, context: &Context) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let ends = ends(args)?;
    let seed = args.int("seed")?;
    let by = OfRow::new(args, "by", objects)?;
    let mut parts: Vec<Vec<Digest>> = vec![Vec::new(); ends.len()];
    for (place, row) in rows(args, "rows", objects)?.into_iter().enumerate() {
        let draw = draw("claw split 1", seed, &by.text(place, &row)?);
        let part = ends.iter().position(|end| draw < *end).unwrap_or(ends.len() - 1);
        parts[part].push(row);
    }
    let mut made = Vec::with_capacity(parts.len());
    for (part, rows) in parts.into_iter().enumerate() {
        made.push(Value::record([
            ("part", Value::from(part)),
            ("rows", inner_table(rows, objects)?),
        ]));
    }
    Ok(Value::List(made))
}

/// Where each part ends on the way from 0 to 1; at least one.
fn ends(args: &Args) -> Result<Vec<f64>, CallError> {
    let shares: Vec<f64> = match args.get("shares")? {
        Value::List(shares) => shares.iter().filter_map(Value::as_float).collect(),
        _ => Vec::new(),
    };
    let refuse = |why: String| Err(CallError::row(why));
    match (args.get("parts")?, &shares[..]) {
        (Value::Null, []) => {
            refuse("`split` needs either `parts`, such as `parts: 5`, or `shares`".to_string())
        }
        (Value::Int(parts), []) if (1..=10_000).contains(parts) => {
            Ok((1..=*parts).map(|end| end as f64 / *parts as f64).collect())
        }
        (_, []) => refuse("`parts` must be from 1 to 10000".to_string()),
        (Value::Null, shares) => {
            let sum: f64 = shares.iter().sum();
            if shares.iter().any(|share| *share < 0.0) || (sum - 1.0).abs() > 1e-9 {
                let sum = (sum * 1e8).round() / 1e6;
                return refuse(format!("`shares` add up to {sum}%; they must make 100%"));
            }
            Ok(shares
                .iter()
                .scan(0.0, |end, share| {
                    *end += share;
                    Some(*end)
                })
                .collect())
        }
        _ => refuse("`split` takes either `parts` or `shares`, not both".to_string()),
    }
}

/// Each row with a hash of its own, in the order of the hashes. Equal rows stay in their order.
fn drawn(
    domain: &str,
    args: &Args,
    context: &Context,
) -> Result<Vec<(Digest, usize, Digest)>, CallError> {
    let seed = args.int("seed")? as u64;
    let mut drawn: Vec<(Digest, usize, Digest)> = rows(args, "rows", &*context.objects)?
        .into_iter()
        .enumerate()
        .map(|(place, row)| {
            let mut hasher = KeyHasher::new(domain);
            hasher.number(seed).digest(&row);
            (hasher.finish(), place, row)
        })
        .collect();
    drawn.sort();
    Ok(drawn)
}

pub(super) fn sample(args: &Args, context: &Context) -> Result<Value, CallError> {
    let count = count(args, "count")?;
    let mut drawn = drawn("claw sample 1", args, context)?;
    drawn.truncate(count);
    drawn.sort_by_key(|(_, place, _)| *place);
    Ok(table(drawn.into_iter().map(|(_, _, row)| row).collect()))
}

pub(super) fn shuffle(args: &Args, context: &Context) -> Result<Value, CallError> {
    let drawn = drawn("claw shuffle 1", args, context)?;
    Ok(table(drawn.into_iter().map(|(_, _, row)| row).collect()))
}

pub(super) fn take(args: &Args, context: &Context) -> Result<Value, CallError> {
    let count = count(args, "count")?;
    let mut rows = rows(args, "rows", &*context.objects)?;
    rows.truncate(count);
    Ok(table(rows))
}
