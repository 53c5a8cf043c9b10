//! Texts that are almost the same: MinHash finds the few that may be alike, and the exact Jaccard
//! similarity of their shingles decides.
//!
//! A text is the set of its shingles: runs of three words, or of five characters. The similarity of
//! two texts is the number of shingles that both have, by the number that either has. The smallest
//! of a set's values under a random hash function is the same for two sets with a probability that
//! is just their similarity; 128 such functions, cut into bands, make keys of which two texts as
//! similar as asked for share at least one in 998 of 1000 cases. Only texts that share a key are
//! compared, so nothing is ever dropped without a comparison, and a pair is overlooked rarely.
//!
//! All hash functions are fixed: the same texts give the same result everywhere.

use std::collections::HashMap;

/// The least similarity that can be asked for: below it the keys would overlook too much.
pub(super) const LEAST: f64 = 0.05;

/// Hash functions, and so values of a signature.
const HASHES: usize = 128;

/// How often a pair that is just as similar as asked for may be overlooked.
const OVERLOOKED: f64 = 0.002;

/// What a text is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shingles {
    /// Three words in a row. Case and what is no letter or digit do not count.
    Words,
    /// Five characters in a row. Case does not count, and any white space is one blank.
    Characters,
}

impl Shingles {
    pub(super) fn of(word: &str) -> Option<Shingles> {
        match word {
            "words" => Some(Shingles::Words),
            "characters" => Some(Shingles::Characters),
            _ => None,
        }
    }

    /// The shingles of a text by their hashes, sorted, each once. A shorter text is one shingle.
    pub(super) fn of_text(self, text: &str) -> Vec<u64> {
        let text = text.to_lowercase();
        let mut found: Vec<u64> = match self {
            Shingles::Words => {
                let words: Vec<u64> = text
                    .split(|c: char| !c.is_alphanumeric())
                    .filter(|word| !word.is_empty())
                    .map(hash)
                    .collect();
                windows(&words, 3).map(combined).collect()
            }
            Shingles::Characters => {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let characters: Vec<u64> = text.chars().map(|c| mix(c as u64)).collect();
                windows(&characters, 5).map(combined).collect()
            }
        };
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Runs of `size`; the whole when it is shorter.
fn windows(parts: &[u64], size: usize) -> impl Iterator<Item = &[u64]> {
    parts.windows(size.min(parts.len().max(1))).chain((parts.is_empty()).then_some(parts))
}

/// FNV-1a over the bytes, stirred.
fn hash(text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    mix(text
        .bytes()
        .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// One hash of several, in their order.
fn combined(parts: &[u64]) -> u64 {
    parts.iter().fold(parts.len() as u64, |hash, part| {
        mix(hash.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ part.rotate_left(23))
    })
}

/// The finishing steps of SplitMix64: a one-to-one stir of 64 bits.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The similarity of two sets that are sorted.
pub(super) fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                both += 1;
                i += 1;
                j += 1;
            }
        }
    }
    let either = a.len() + b.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

/// The texts that were kept so far.
pub(super) struct Near {
    above: f64,
    /// Values of a signature that make one key.
    band: usize,
    seeds: Vec<u64>,
    /// By band and key, the numbers of the sets that have it.
    tables: Vec<HashMap<u64, Vec<u32>>>,
    kept: Vec<Vec<u64>>,
}

impl Near {
    /// Looks for sets that are at least `above` similar, from [`LEAST`] to 1.
    pub(super) fn new(above: f64) -> Near {
        let band = band(above);
        Near {
            above,
            band,
            seeds: (0..HASHES as u64).map(|number| mix(number ^ 0xc1a3_0000_0000_0000)).collect(),
            tables: vec![HashMap::new(); HASHES / band],
            kept: Vec::new(),
        }
    }

    /// The keys of a set, one a band.
    pub(super) fn keys(&self, set: &[u64]) -> Vec<u64> {
        let least = |seed: &u64| set.iter().map(|one| mix(one ^ seed)).min().unwrap_or(u64::MAX);
        let signature: Vec<u64> = self.seeds.iter().map(least).collect();
        signature.chunks_exact(self.band).map(combined).collect()
    }

    /// Keeps a set unless it is too similar to one that was kept; says whether it was.
    pub(super) fn add_unless_known(&mut self, set: Vec<u64>, keys: &[u64]) -> bool {
        let mut near: Vec<u32> = self
            .tables
            .iter()
            .zip(keys)
            .filter_map(|(table, key)| table.get(key))
            .flatten()
            .copied()
            .collect();
        near.sort_unstable();
        near.dedup();
        let is_known = near.iter().any(|number| {
            let other = &self.kept[*number as usize];
            let (less, more) = (set.len().min(other.len()), set.len().max(other.len()));
            // The smaller set's size bounds what they can share.
            less as f64 >= self.above * more as f64 && jaccard(&set, other) >= self.above
        });
        if !is_known {
            let number = self.kept.len() as u32;
            for (table, key) in self.tables.iter_mut().zip(keys) {
                table.entry(*key).or_default().push(number);
            }
            self.kept.push(set);
        }
        !is_known
    }
}

/// The longest band that overlooks few enough pairs: longer ones make fewer comparisons.
fn band(above: f64) -> usize {
    let overlooked = |band: usize| {
        let share_one = above.powi(band as i32);
        (1.0 - share_one).powi((HASHES / band) as i32)
    };
    (1..=HASHES).rev().find(|band| overlooked(*band) <= OVERLOOKED).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_counts_as_the_same() {
        let words = |text: &str| Shingles::Words.of_text(text);
        assert_eq!(words("The quick, brown fox!"), words("the QUICK brown\n\tfox"));
        assert_ne!(words("the quick brown fox"), words("the brown quick fox"));
        assert_eq!(words("a b c d").len(), 2);
        assert_eq!(words("a b c d a b c").len(), 4, "five runs, and the last is the first");
        assert_eq!(words("one").len(), 1);
        assert_eq!(words("").len(), 1, "nothing is a text like others");
        assert_eq!(words("?!"), words(""));
        assert_ne!(words("one"), words(""));
        let characters = |text: &str| Shingles::Characters.of_text(text);
        assert_eq!(characters("abcdefg").len(), 3);
        assert_eq!(characters(" Abc \n defg "), characters("abc defg"));
        assert_ne!(characters("abc."), characters("abc"));
        assert_eq!(jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
        assert_eq!(jaccard(&[1], &[2]), 0.0);
    }

    #[test]
    fn bands_overlook_little() {
        for percent in 5..=100 {
            let above = f64::from(percent) / 100.0;
            let band = band(above);
            let overlooked = (1.0 - above.powi(band as i32)).powi((HASHES / band) as i32);
            assert!(overlooked <= OVERLOOKED, "{above}: {band} {overlooked}");
        }
        assert_eq!((band(1.0), band(0.85), band(0.05)), (128, 7, 1));
    }

    /// The numbers of the sets that stay when each is compared with each.
    fn naive(sets: &[Vec<u64>], above: f64) -> Vec<usize> {
        let mut kept: Vec<usize> = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            if !kept.iter().any(|other| jaccard(set, &sets[*other]) >= above) {
                kept.push(number);
            }
        }
        kept
    }

    fn found(sets: &[Vec<u64>], above: f64) -> Vec<usize> {
        let mut near = Near::new(above);
        let stays = |(number, set): (usize, &Vec<u64>)| {
            let keys = near.keys(set);
            near.add_unless_known(set.clone(), &keys).then_some(number)
        };
        sets.iter().enumerate().filter_map(stays).collect()
    }

    /// Texts, each a copy of the one before it with some of its words changed.
    fn drifting(texts: usize, changed: u64, seed: u64) -> Vec<Vec<u64>> {
        let mut words: Vec<u64> = (0..200).map(|at| mix(seed ^ at)).collect();
        let mut sets = Vec::new();
        for text in 0..texts as u64 {
            for change in 0..changed {
                let draw = mix(seed ^ mix(text * 31 + change));
                let at = (draw % 200) as usize;
                words[at] = mix(draw);
            }
            let text: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
            sets.push(Shingles::Words.of_text(&text.join(" ")));
        }
        sets
    }

    /// Of the pairs as similar as asked for, the keys find nearly all.
    #[test]
    fn recall_against_every_pair() {
        for above in [0.3, 0.5, 0.7, 0.85, 0.95] {
            let (mut pairs, mut shared) = (0u32, 0u32);
            for seed in 0..6 {
                let sets = drifting(60, 1, seed);
                let near = Near::new(above);
                let keys: Vec<Vec<u64>> = sets.iter().map(|set| near.keys(set)).collect();
                for i in 0..sets.len() {
                    for j in 0..i {
                        if jaccard(&sets[i], &sets[j]) >= above {
                            pairs += 1;
                            let meet = keys[i].iter().zip(&keys[j]).any(|(a, b)| a == b);
                            shared += u32::from(meet);
                        }
                    }
                }
            }
            assert!(pairs > 200, "{above}: only {pairs} pairs");
            let recall = f64::from(shared) / f64::from(pairs);
            assert!(recall >= 0.998, "{above}: {recall} of {pairs}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is dropped is similar to something that stayed, and copies are always dropped.
        #[test]
        fn nothing_is_dropped_without_a_reason(
            seed: u64, changed in 0u64..12, above in 0.05f64..1.0,
        ) {
            let sets = drifting(24, changed, seed);
            let kept = found(&sets, above);
            for number in 0..sets.len() {
                let earlier = |other: &&usize| **other < number;
                let like = |other: &usize| jaccard(&sets[number], &sets[*other]) >= above;
                if !kept.contains(&number) {
                    prop_assert!(kept.iter().filter(earlier).any(like));
                } else {
                    let copy = kept.iter().filter(earlier).any(|other| sets[*other] == sets[number]);
                    prop_assert!(!copy);
                }
            }
            // Far from the border both ways agree.
            if changed == 0 || changed >= 10 && above > 0.9 {
                prop_assert_eq!(kept, naive(&sets, above));
            }
        }
    }
}
