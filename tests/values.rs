//! Values: what is written is what is read, and equal values have equal bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw::lang::{Table, Value};
use claw::store::Digest;
use proptest::prelude::*;

fn values() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("JSON has no such number", |float| float.is_finite())
            .prop_map(Value::Float),
        any::<String>().prop_map(Value::Str),
        ("[a-z]{0,6}", any::<[u8; 4]>())
            .prop_map(|(name, seed)| Value::File { digest: Digest::of(&seed), name }),
        any::<[u8; 4]>().prop_map(|seed| Value::Dir(Digest::of(&seed))),
    ];
    plain.prop_recursive(4, 40, 6, |inner| {
        let name = prop_oneof![any::<String>(), Just("$file".to_string()), Just("$$".to_string())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(name, inner, 0..6).prop_map(Value::Record),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in values()) {
        let bytes = value.encode();
        let read = Value::decode(&bytes, &|_| None).expect("a value");
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(read.encode(), bytes);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Value::decode(&bytes, &|_| None);
    }
}

#[test]
fn a_table_is_found_by_its_digest() {
    let table = Table { rows: vec![Digest::of(b"a"), Digest::of(b"b")] };
    let value = Value::Record(BTreeMap::from([(
        "rows".to_string(),
        Value::Table(Arc::new(table.clone())),
    )]));
    let find = |digest: &Digest| (*digest == table.digest()).then(|| table.clone());
    assert_eq!(Value::decode(&value.encode(), &find).expect("a value"), value);
    assert!(Value::decode(&value.encode(), &|_| None).is_err());
}
