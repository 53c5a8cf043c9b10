//! Learning merges from texts.

use std::collections::BTreeMap;

use super::runs;

/// A run of text as tokens, and how often it occurs.
struct Word {
    tokens: Vec<u32>,
    count: i64,
}

/// The first `most` merges, ids counting up from 256.
pub(super) fn learn<'a>(texts: impl Iterator<Item = &'a [u8]>, most: usize) -> Vec<(u32, u32)> {
    let mut counts: BTreeMap<&[u8], i64> = BTreeMap::new();
    for text in texts {
        for run in runs(text).filter(|r| r.len() > 1) {
            *counts.entry(run).or_default() += 1;
        }
    }
    let mut words: Vec<Word> = counts
        .into_iter()
        .map(|(run, count)| Word { tokens: run.iter().map(|b| u32::from(*b)).collect(), count })
        .collect();
    let mut bytes: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
    let mut pairs: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for word in &words {
        tally(&mut pairs, word, 1);
    }
    let mut merges = Vec::with_capacity(most);
    while merges.len() < most {
        let spelling = |pair: &(u32, u32)| (&bytes[pair.0 as usize], &bytes[pair.1 as usize]);
        let best = pairs.iter().filter(|(_, count)| **count >= 2).max_by(|a, b| {
            // The most frequent; of equals the first in the order of their bytes.
            a.1.cmp(b.1).then_with(|| spelling(b.0).cmp(&spelling(a.0)))
        });
        let Some((&pair, _)) = best else { break };
        let id = bytes.len() as u32;
        bytes.push([&bytes[pair.0 as usize][..], &bytes[pair.1 as usize][..]].concat());
        merges.push(pair);
        for word in &mut words {
            if word.tokens.windows(2).any(|w| (w[0], w[1]) == pair) {
                tally(&mut pairs, word, -1);
                merge(&mut word.tokens, pair, id);
                tally(&mut pairs, word, 1);
            }
        }
    }
    merges
}

/// Adds the pairs of a word to the counts, or takes them away.
fn tally(pairs: &mut BTreeMap<(u32, u32), i64>, word: &Word, sign: i64) {
    for pair in word.tokens.windows(2) {
        *pairs.entry((pair[0], pair[1])).or_default() += sign * word.count;
    }
}

fn merge(tokens: &mut Vec<u32>, pair: (u32, u32), id: u32) {
    let (mut read, mut write) = (0, 0);
    while read < tokens.len() {
        let matches = tokens[read] == pair.0 && tokens.get(read + 1) == Some(&pair.1);
        tokens[write] = if matches { id } else { tokens[read] };
        read += if matches { 2 } else { 1 };
        write += 1;
    }
    tokens.truncate(write);
}
