//! Where the randomness of a task comes from, and the words it is made of.
//!
//! Words are pronounceable and mean nothing (`rivotu`, `kelam`): who does a task must copy them
//! from the request, and cannot have learnt them.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::store::Digest;

/// A stream of random numbers that is a pure function of one key.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of a key.
    pub(crate) fn new(key: &Digest) -> Stream {
        Stream(ChaCha8Rng::from_seed(key.0))
    }

    /// A number below `n` (0 when `n` is 0), every one equally likely.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        if n < 2 {
            return 0;
        }
        // The topmost incomplete block would favour small numbers.
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let number = self.0.next_u64();
            if number < limit {
                return number % n;
            }
        }
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1) as u64) as i64
    }

    /// One of `items`, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Puts `items` in a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
const VOWELS: &[u8] = b"aeiou";

/// English words of the drawn shapes that family texts use; as slots they would be read twice.
const RESERVED: &[&str] = &[
    "base", "code", "data", "date", "done", "fate", "file", "fine", "five", "gone", "home", "life",
    "like", "line", "live", "made", "make", "mode", "more", "name", "nine", "none", "note", "page",
    "role", "rule", "rude", "same", "save", "side", "site", "size", "some", "take", "time",
    "table", "value", "zone", "total", "sed", "bug",
];

/// The words of one task: all different, none a part of another, and, as long as there are enough
/// beginnings, no two that begin alike.
#[derive(Default)]
pub(crate) struct Words {
    taken: BTreeSet<String>,
    beginnings: BTreeSet<String>,
}

impl Words {
    /// Draws a word of `low..=high` syllables that the task does not have yet.
    pub(crate) fn draw(&mut self, stream: &mut Stream, low: i64, high: i64) -> String {
        let mut attempt = 0;
        loop {
            attempt += 1;
            // A task that used up all short words gets a longer one rather than none.
            let longer = attempt / 400;
            let word = pronounceable(stream, low + longer, high + longer);
            let clashes = self
                .taken
                .iter()
                .any(|taken| taken.contains(word.as_str()) || word.contains(taken.as_str()));
            let begins_alike = attempt < 40 && self.beginnings.contains(&word[..2]);
            if clashes || begins_alike || RESERVED.contains(&word.as_str()) {
                continue;
            }
            self.beginnings.insert(word[..2].to_string());
            self.taken.insert(word.clone());
            return word;
        }
    }
}

fn pronounceable(stream: &mut Stream, low: i64, high: i64) -> String {
    let syllables = stream.between(low, high).max(1);
    let mut word = String::new();
    for _ in 0..syllables {
        word.push(*stream.pick(CONSONANTS) as char);
        word.push(*stream.pick(VOWELS) as char);
    }
    // A closing consonant on every third word keeps the shapes apart.
    if syllables < 3 && stream.below(3) == 0 {
        word.push(*stream.pick(b"klmnrst") as char);
    }
    word
}
