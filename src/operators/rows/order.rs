//! `sort`, and the order of all values.

use std::cmp::Ordering;

use crate::engine::{Args, CallError, Context};
use crate::lang::{Value, whole_and_float};
use crate::store::Digest;

use super::{OfRow, rows, table};

pub(super) fn sort(args: &Args, context: &Context) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let by = OfRow::new(args, "by", objects)?;
    let descending = args.bool("descending")?;
    let mut keyed: Vec<(Value, Digest)> = Vec::new();
    for (place, row) in rows(args, "rows", objects)?.into_iter().enumerate() {
        let key = by.value(place, &row)?;
        if !has_order(&key) {
            return Err(by.wrong(place, "a record has no order; sort by its fields: `[.a, .b]`"));
        }
        keyed.push((key, row));
    }
    // A stable sort: rows that agree stay in their order, descending too.
    keyed.sort_by(|(a, _), (b, _)| match (a, b) {
        (Value::Null, _) | (_, Value::Null) => compare(a, b),
        _ if descending => compare(b, a),
        _ => compare(a, b),
    });
    Ok(table(keyed.into_iter().map(|(_, row)| row).collect()))
}

fn has_order(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => true,
        Value::List(items) => items.iter().all(has_order),
        _ => false,
    }
}

/// `false`, `true`; numbers by their size; text by its code points; lists item by item, a shorter
/// one before a longer one that goes on from it; nothing at all last.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Int(a), Value::Float(b)) => whole_and_float(*a, *b).unwrap_or(Ordering::Equal),
        (Value::Float(a), Value::Int(b)) => {
            whole_and_float(*b, *a).unwrap_or(Ordering::Equal).reverse()
        }
        // Bytes of UTF-8 stand in the order of the code points.
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (Value::List(a), Value::List(b)) => {
            let differ = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            differ.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => kind(a).cmp(&kind(b)),
    }
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) | Value::Float(_) => 1,
        Value::Str(_) => 2,
        Value::List(_) => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_compared_as_they_are() {
        let int_float = |a: i64, b: f64| compare(&Value::Int(a), &Value::Float(b));
        assert_eq!(int_float(1, 1.0), Ordering::Equal);
        assert_eq!(int_float(1, 1.5), Ordering::Less);
        assert_eq!(int_float(-1, -1.5), Ordering::Greater);
        assert_eq!(int_float((1 << 53) + 1, (1_i64 << 53) as f64), Ordering::Greater);
        assert_eq!(int_float(i64::MAX, 9.3e18), Ordering::Less);
        assert_eq!(int_float(i64::MAX, 9_223_372_036_854_775_808.0), Ordering::Less);
        assert_eq!(int_float(i64::MIN, -9_223_372_036_854_775_808.0), Ordering::Equal);
        assert_eq!(int_float(i64::MIN, -1e300), Ordering::Greater);
        assert_eq!(int_float(0, -0.0), Ordering::Equal);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-3i64..3).prop_map(Value::Int),
            (-6i32..6).prop_map(|half| Value::Float(f64::from(half) / 2.0)),
            (-1e19f64..1e19).prop_map(Value::Float),
            "[a-b\u{e9}\u{10ffff}]{0,3}".prop_map(Value::Str),
        ];
        leaf.prop_recursive(2, 8, 3, |of| prop::collection::vec(of, 0..3).prop_map(Value::List))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// It is an order: it goes one way round, and on.
        #[test]
        fn the_order_is_total(a in values(), b in values(), c in values()) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
