//! Objects that were brought a moment ago, in memory: a stage mostly reads the rows that another one
//! has just made, and looking each up in the index and reading it from its pack would cost more than
//! making it did.
//!
//! What this process has brought needs no check: only what comes back from a disk does.

use std::sync::{Arc, Mutex};

use crate::store::digest::{ByDigest, Digest};

use super::lock;

/// Bytes of a generation, about; there are two.
const GENERATION: usize = 16 << 20;
/// What an object takes beside its bytes.
const EACH: usize = 96;
/// Longer objects are left to the disk, where reading costs little beside their length.
const SHORT: usize = 64 << 10;

/// The newest objects, within bounds.
#[derive(Default)]
pub(super) struct Recent {
    generations: Mutex<Generations>,
}

/// The young one grows until it is full, then it is the old one, which is forgotten.
#[derive(Default)]
struct Generations {
    young: ByDigest<Arc<[u8]>>,
    old: ByDigest<Arc<[u8]>>,
    bytes: usize,
}

impl Recent {
    /// Remembers objects for a while.
    pub(super) fn add(&self, objects: &[(Digest, Arc<[u8]>)]) {
        let mut forgotten = Vec::new();
        let mut all = lock(&self.generations);
        for (digest, bytes) in objects.iter().filter(|(_, bytes)| bytes.len() <= SHORT) {
            all.bytes += bytes.len() + EACH;
            all.young.insert(*digest, bytes.clone());
            if all.bytes > GENERATION {
                all.bytes = 0;
                let young = std::mem::take(&mut all.young);
                forgotten.push(std::mem::replace(&mut all.old, young));
            }
        }
        drop(all);
        // Freeing a hundred thousand objects takes a while, for which nobody should wait.
        drop(forgotten);
    }

    /// An object, if it still is remembered.
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        let all = lock(&self.generations);
        all.young.get(digest).or_else(|| all.old.get(digest)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(n: usize, length: usize) -> (Digest, Arc<[u8]>) {
        let bytes: Vec<u8> = n.to_le_bytes().into_iter().cycle().take(length).collect();
        (Digest::of(&bytes), bytes.into())
    }

    #[test]
    fn the_newest_are_remembered_and_memory_is_bounded() {
        let recent = Recent::default();
        let each = SHORT;
        let many = 3 * GENERATION / each;
        let objects: Vec<_> = (0..many).map(|n| object(n, each)).collect();
        objects.chunks(100).for_each(|some| recent.add(some));
        let there = |(digest, _): &&(Digest, Arc<[u8]>)| recent.get(digest).is_some();
        let remembered = objects.iter().filter(there).count();
        assert!((GENERATION / each / 2..=2 * GENERATION / each).contains(&remembered));
        assert!(
            objects
                .iter()
                .rev()
                .take(100)
                .all(|(digest, bytes)| { recent.get(digest).is_some_and(|found| found == *bytes) })
        );
        assert!(objects.iter().take(100).all(|(digest, _)| recent.get(digest).is_none()));
    }

    #[test]
    fn long_objects_are_left_to_the_disk() {
        let recent = Recent::default();
        let long = object(1, SHORT + 1);
        recent.add(std::slice::from_ref(&long));
        assert!(recent.get(&long.0).is_none());
    }
}
