//! Which rows of two tables are the same, changed, added and removed.
//!
//! A row is the same when its digest is: then nothing of it need be read. What is left over on both
//! sides is paired: by `id` where the rows have one, else by place, between the rows that are the
//! same on both sides (the longest run of them that stands in the same order). A pair is a changed
//! row; what finds no partner was added or removed.

use std::collections::{BTreeMap, HashMap};

use crate::engine::read_value;
use crate::lang::Value;
use crate::store::{Digest, Objects};

use super::leaves::name_of;

/// Rows left over on one side above which none is read to be paired: they are paired by place.
const READ: usize = 20_000;

/// How the rows of two tables stand to each other. Rows are named by their numbers, from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pairing {
    /// Rows that are in both, wherever they stand.
    pub(super) same: usize,
    /// Old and new number of rows that changed, in the new order.
    pub(super) changed: Vec<(usize, usize)>,
    /// New numbers.
    pub(super) added: Vec<usize>,
    /// Old numbers.
    pub(super) removed: Vec<usize>,
}

/// Pairs the rows of two tables.
pub(super) fn pair(old: &[Digest], new: &[Digest], store: &dyn Objects) -> Pairing {
    let kept = kept(old, new);
    let mut partner_of_new: Vec<Option<usize>> = vec![None; new.len()];
    let mut old_left = vec![true; old.len()];
    for (was, now) in &kept {
        partner_of_new[*now] = Some(*was);
        old_left[*was] = false;
    }
    let removed: Vec<usize> = (0..old.len()).filter(|place| old_left[*place]).collect();
    let added: Vec<usize> =
        (0..new.len()).filter(|place| partner_of_new[*place].is_none()).collect();
    let mut changed = match (names(old, &removed, store), names(new, &added, store)) {
        (Some(old_names), Some(new_names)) => {
            new_names.iter().filter_map(|(name, now)| Some((*old_names.get(name)?, *now))).collect()
        }
        _ => between(&in_order(kept.clone()), &removed, &added),
    };
    changed.sort_unstable_by_key(|(_, now)| *now);
    let mut paired_old: Vec<usize> = changed.iter().map(|(was, _)| *was).collect();
    paired_old.sort_unstable();
    let paired_new: Vec<usize> = changed.iter().map(|(_, now)| *now).collect();
    Pairing {
        same: kept.len(),
        added: without(added, &paired_new),
        removed: without(removed, &paired_old),
        changed,
    }
}

/// Without those that are in `paired`; both are sorted.
fn without(all: Vec<usize>, paired: &[usize]) -> Vec<usize> {
    all.into_iter().filter(|place| paired.binary_search(place).is_err()).collect()
}

/// Rows with the same digest: old and new number. Of equal rows, the first goes with the first.
fn kept(old: &[Digest], new: &[Digest]) -> Vec<(usize, usize)> {
    // The first place of each digest, and for each place the next one with the same.
    let mut first: HashMap<&Digest, usize> = HashMap::with_capacity(old.len());
    let mut next: Vec<Option<usize>> = vec![None; old.len()];
    for (place, digest) in old.iter().enumerate().rev() {
        next[place] = first.insert(digest, place);
    }
    let mut kept = Vec::new();
    for (now, digest) in new.iter().enumerate() {
        if let Some(was) = first.get(digest).copied() {
            kept.push((was, now));
            match next[was] {
                Some(place) => first.insert(digest, place),
                None => first.remove(digest),
            };
        }
    }
    kept
}

/// The longest part of `kept` (which is in the new order) that is in the old order too.
fn in_order(kept: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    // `ends[n]` is the pair with the smallest old number that ends a run of `n + 1` pairs.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; kept.len()];
    for (at, (was, _)) in kept.iter().enumerate() {
        let length = ends.partition_point(|end| kept[*end].0 < *was);
        before[at] = length.checked_sub(1).map(|shorter| ends[shorter]);
        if length == ends.len() { ends.push(at) } else { ends[length] = at }
    }
    let mut run = Vec::new();
    let mut at = ends.last().copied();
    while let Some(pair) = at {
        run.push(kept[pair]);
        at = before[pair];
    }
    run.reverse();
    run
}

/// Pairs what stands between the same two anchors, in order.
fn between(anchors: &[(usize, usize)], old: &[usize], new: &[usize]) -> Vec<(usize, usize)> {
    let (mut old, mut new) = (old.iter().copied().peekable(), new.iter().copied().peekable());
    let mut pairs = Vec::new();
    for (was, now) in anchors.iter().copied().chain([(usize::MAX, usize::MAX)]) {
        let gap_old: Vec<usize> =
            std::iter::from_fn(|| old.next_if(|place| *place < was)).collect();
        let gap_new: Vec<usize> =
            std::iter::from_fn(|| new.next_if(|place| *place < now)).collect();
        pairs.extend(gap_old.into_iter().zip(gap_new));
    }
    pairs
}

/// The rows at these places by their ids; `None` when one has none, or two have the same.
fn names(
    rows: &[Digest],
    places: &[usize],
    store: &dyn Objects,
) -> Option<BTreeMap<String, usize>> {
    if places.len() > READ {
        return None;
    }
    let mut named = BTreeMap::new();
    for place in places {
        let row = read_value(store, &rows[*place]).ok()?;
        let Some(Value::Str(_)) = row.get("id") else { return None };
        if named.insert(name_of(&row)?, *place).is_some() {
            return None;
        }
    }
    Some(named)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use super::*;
    use crate::store::MemoryObjects;

    /// Rows from words such as `a1`: the id `a` with the value 1, or the value alone without one.
    fn rows(words: &str, ids: bool, store: &MemoryObjects) -> Vec<Digest> {
        let row = |word: &str| {
            let value = ("value", Value::str(&word[1..]));
            let row = if ids {
                Value::record([("id", Value::str(&word[..1])), value])
            } else {
                Value::record([("word", Value::str(&word[..1])), value])
            };
            store.put(&row.encode()).unwrap()
        };
        words.split_whitespace().map(row).collect()
    }

    fn paired(old: &str, new: &str, ids: bool) -> Pairing {
        let store = MemoryObjects::default();
        pair(&rows(old, ids, &store), &rows(new, ids, &store), &store)
    }

    #[test]
    fn ids_pair_rows_wherever_they_stand() {
        let found = paired("a1 b1 c1 d1", "d2 e1 b1 a1", true);
        assert_eq!(found.same, 2);
        assert_eq!(found.changed, [(3, 0)]);
        assert_eq!(found.added, [1]);
        assert_eq!(found.removed, [2]);
    }

    #[test]
    fn without_ids_places_between_equal_rows_pair_them() {
        let found = paired("a1 b1 c1", "x1 a1 b2 c1 y1", false);
        assert_eq!(found.same, 2);
        assert_eq!(found.changed, [(1, 2)]);
        assert_eq!((found.added.as_slice(), found.removed.len()), ([0, 4].as_slice(), 0));
    }

    #[test]
    fn equal_rows_are_counted_as_often_as_they_are_there() {
        let found = paired("a1 a1 a1", "a1 a1", false);
        assert_eq!((found.same, found.removed.as_slice()), (2, [2].as_slice()));
        let found = paired("a1 b1", "b1 a1", false);
        assert_eq!(found.same, 2, "order alone is no change of a row");
        assert!(found.changed.is_empty() && found.added.is_empty() && found.removed.is_empty());
    }
}
