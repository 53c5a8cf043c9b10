//! Which digests a segment surely does not hold.
//!
//! A Bloom filter in pages: a digest's bits all lie in one page, so that asking after one reads one
//! page, and the rest of a large filter stays on disk.

use super::digest::Digest;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
/// Bits for each digest, and how many of them are looked at.
const BITS: u64 = 10;
const PROBES: usize = 6;

/// How many pages a filter of `count` digests has.
pub(super) fn pages(count: u64) -> u64 {
    (count * BITS).div_ceil(PAGE as u64 * 8).max(1)
}

/// The page of a digest among so many. A digest's own bytes are as random as any hash of them.
pub(super) fn page(digest: &Digest, pages: u64) -> usize {
    let part = u32::from_le_bytes([digest.0[8], digest.0[9], digest.0[10], digest.0[11]]);
    ((u128::from(part) * u128::from(pages)) >> 32) as usize
}

/// Notes a digest in its page.
pub(super) fn set(page: &mut [u8], digest: &Digest) {
    bits(digest).for_each(|bit| page[bit / 8] |= 1 << (bit % 8));
}

/// Whether the digest may have been noted in its page.
pub(super) fn may_hold(page: &[u8], digest: &Digest) -> bool {
    bits(digest).all(|bit| page[bit / 8] & (1 << (bit % 8)) != 0)
}

fn bits(digest: &Digest) -> impl Iterator<Item = usize> + '_ {
    let words = digest.0[12..].chunks_exact(2).take(PROBES);
    words.map(|word| usize::from(u16::from_le_bytes([word[0], word[1]])) % (PAGE * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_held_and_little_else() {
        let digest = |n: u32| Digest::of(&n.to_le_bytes());
        let count = 20_000u32;
        let mut filter = vec![[0u8; PAGE]; pages(u64::from(count)) as usize];
        let among = filter.len() as u64;
        for n in 0..count {
            set(&mut filter[page(&digest(n), among)], &digest(n));
        }
        let held = |n: u32| may_hold(&filter[page(&digest(n), among)], &digest(n));
        assert!((0..count).all(held));
        let wrong = (count..count * 2).filter(|n| held(*n)).count();
        assert!(wrong < count as usize / 50, "{wrong} of {count} that are not there");
    }
}
