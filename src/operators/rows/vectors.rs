//! `dedup_vectors`: rows whose vectors point almost the same way, by the cosine of the angle
//! between them. Every row is compared with every one that was kept: nothing is overlooked.

use rayon::prelude::*;

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;

use super::{OfRow, rows, table, threads};

/// Rows that are compared with the kept ones at once.
const AT_ONCE: usize = 512;

/// Two vectors that are the same have a cosine of 1 but for this.
const ROUNDING: f64 = 1e-9;

pub(super) fn dedup_vectors(args: &Args, context: &Context) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let on = OfRow::new(args, "on", objects)?;
    let above = args.float("above")?;
    if !(above > 0.0 && above <= 1.0) {
        return Err(CallError::row("`above` must be more than 0 and at most 1"));
    }
    let rows = rows(args, "rows", objects)?;
    let threads = threads(context)?;
    let mut kept: Vec<Vec<f64>> = Vec::new();
    let mut stay = Vec::new();
    for (block, some) in rows.chunks(AT_ONCE).enumerate() {
        if context.cancel.is_cancelled() {
            return Err(CallError::Cancelled);
        }
        let done = block * AT_ONCE;
        (context.progress)(done as u64, rows.len() as u64, "rows");
        let read = |(place, row)| {
            let place = done + place;
            direction(&on.value(place, row)?).map_err(|why| on.wrong(place, &why))
        };
        let new: Vec<Vec<f64>> =
            threads.install(|| some.par_iter().enumerate().map(read).collect::<Result<_, _>>())?;
        let size = kept.first().or(new.first()).map_or(0, Vec::len);
        if let Some(place) = new.iter().position(|one| one.len() != size) {
            let why = format!("it has {} numbers where others have {size}", new[place].len());
            return Err(on.wrong(done + place, &why));
        }
        let like = |one: &[f64], others: &[Vec<f64>]| {
            others.iter().any(|other| cosine(one, other) >= above - ROUNDING)
        };
        let known: Vec<bool> =
            threads.install(|| new.par_iter().map(|one| like(one, &kept)).collect());
        let before = kept.len();
        for ((row, one), known) in some.iter().zip(new).zip(known) {
            // The others of this block, of which the first stay, come in order.
            if !known && !like(&one, &kept[before..]) {
                kept.push(one);
                stay.push(*row);
            }
        }
    }
    Ok(table(stay))
}

/// A vector of length 1 in the same direction.
fn direction(value: &Value) -> Result<Vec<f64>, String> {
    let items = value.as_list().ok_or("it is not a list of numbers")?;
    let numbers: Option<Vec<f64>> = items.iter().map(Value::as_float).collect();
    let numbers = numbers.ok_or("it is not a list of numbers")?;
    // The largest first, so that the squares of tiny and huge numbers stay in range.
    let largest = numbers.iter().fold(0.0_f64, |most, one| most.max(one.abs()));
    if largest == 0.0 {
        return Err("a vector of zeros has no direction".to_string());
    }
    let scaled: Vec<f64> = numbers.iter().map(|one| one / largest).collect();
    let length = scaled.iter().map(|one| one * one).sum::<f64>().sqrt();
    Ok(scaled.into_iter().map(|one| one / length).collect())
}

/// The cosine of two directions. Eight sums side by side, always the same eight.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, rest_a) = a.as_chunks::<8>();
    let (b, rest_b) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(numbers: &[f64]) -> Vec<f64> {
        direction(&Value::from(numbers.to_vec())).expect("a direction")
    }

    #[test]
    fn cosines() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(cosine(&vector(&[1.0, 0.0]), &vector(&[1.0, 1.0])), 0.5_f64.sqrt()));
        assert!(near(cosine(&vector(&[1.0, 0.0]), &vector(&[-3.0, 0.0])), -1.0));
        assert!(near(cosine(&vector(&[1e-300, 1e-300]), &vector(&[1e300, 1e300])), 1.0));
        let long: Vec<f64> = (0..19).map(f64::from).collect();
        assert!(near(cosine(&vector(&long), &vector(&long)), 1.0));
        let refused = |value: Value| direction(&value).expect_err("a mistake");
        assert!(refused(Value::from(vec![0.0, 0.0])).contains("no direction"));
        assert!(refused(Value::str("x")).contains("not a list"));
        assert!(direction(&Value::List(vec![Value::str("x")])).is_err());
    }
}
