//! Segments: where many objects stand, in one immutable file.
//!
//! An entry of its own in sled costs tens of microseconds, too much for a million small rows. So the
//! places of objects are written sorted, many at a time:
//!
//! ```text
//! entries   digest(32) place(16), sorted by digest
//! filter    bits; those of an absent digest are mostly not all set
//! count(8) filter words(8)
//! check(32) blake3 of all of it
//! ```
//!
//! Of a segment only the filter and every 128th digest's first bytes are held in memory, about 1.4
//! bytes an object; looking up a digest that is there reads one block of 6 KB, and one that is not
//! mostly nothing. Segments are made anew from the packs when one is missing or damaged.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::pack::Place;

/// Bytes of an entry.
const ENTRY: usize = 48;
/// Entries of a block, of which the first is remembered.
const BLOCK: usize = 128;
/// Bits of the filter for each object, and how many of them are looked at.
const BITS: u64 = 10;
const PROBES: usize = 6;
/// Bytes behind the filter: how many entries, how many words of filter, and the check.
const END: usize = 8 + 8 + 32;

/// An open segment.
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    /// How many objects it knows.
    pub(super) count: u64,
    filter: Vec<u64>,
    /// The first eight bytes of each block's first digest.
    fences: Vec<u64>,
}

impl Segment {
    /// Writes a segment of `entries`, which are sorted and at most `most`, and opens it.
    pub(super) fn write(
        path: &Path,
        most: u64,
        entries: impl Iterator<Item = io::Result<(Digest, Place)>>,
    ) -> io::Result<Segment> {
        let mut out =
            Summed { out: BufWriter::new(File::create(path)?), sum: blake3::Hasher::new() };
        let mut filter = vec![0u64; (most * BITS).div_ceil(64).max(1) as usize];
        let mut fences = Vec::new();
        let mut count = 0u64;
        for entry in entries {
            let (digest, place) = entry?;
            if count.is_multiple_of(BLOCK as u64) {
                fences.push(front(&digest));
            }
            for bit in bits(&digest, filter.len()) {
                filter[(bit / 64) as usize] |= 1 << (bit % 64);
            }
            out.write(&digest.0)?;
            out.write(&place.encode())?;
            count += 1;
        }
        for word in &filter {
            out.write(&word.to_le_bytes())?;
        }
        out.write(&count.to_le_bytes())?;
        out.write(&(filter.len() as u64).to_le_bytes())?;
        let check = out.sum.finalize();
        out.out.write_all(check.as_bytes())?;
        let written = out.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        written.sync_data()?;
        Ok(Segment { file: File::open(path)?, path: path.to_path_buf(), count, filter, fences })
    }

    /// Opens a segment and checks all of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is not what was written.
    pub(super) fn open(path: &Path) -> io::Result<Segment> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a segment is damaged");
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut end = [0u8; END];
        file.read_exact_at(&mut end, length.checked_sub(END as u64).ok_or_else(damaged)?)?;
        let number = |at: usize| end[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
        let (count, words) = (number(0), number(8));
        let sized = |count: u64, words: u64| {
            count
                .checked_mul(ENTRY as u64)?
                .checked_add(words.checked_mul(8)?)?
                .checked_add(END as u64)
        };
        if sized(count, words) != Some(length) || words == 0 {
            return Err(damaged());
        }
        let mut read = BufReader::with_capacity(ENTRY * BLOCK * 32, &file);
        let mut sum = blake3::Hasher::new();
        let mut fences = Vec::with_capacity((count as usize).div_ceil(BLOCK));
        let mut block = [0u8; ENTRY * BLOCK];
        let mut left = count as usize;
        while left > 0 {
            let block = &mut block[..ENTRY * left.min(BLOCK)];
            read.read_exact(block)?;
            sum.update(block);
            fences.push(front(&named(block)));
            left -= block.len() / ENTRY;
        }
        let mut bytes = vec![0u8; words as usize * 8];
        read.read_exact(&mut bytes)?;
        sum.update(&bytes);
        sum.update(&end[..16]);
        if sum.finalize().as_bytes() != &end[16..] {
            return Err(damaged());
        }
        let word = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or(0);
        let filter = bytes.chunks_exact(8).map(word).collect();
        drop(read);
        Ok(Segment { file, path: path.to_path_buf(), count, filter, fences })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where an object stands, if the segment knows it.
    pub(super) fn find(&self, digest: &Digest) -> io::Result<Option<Place>> {
        if bits(digest, self.filter.len())
            .any(|bit| self.filter[(bit / 64) as usize] & (1 << (bit % 64)) == 0)
        {
            return Ok(None);
        }
        let wanted = front(digest);
        // Of two digests that begin alike, one may end the block before.
        let first = self.fences.partition_point(|fence| *fence < wanted).saturating_sub(1);
        let mut block = [0u8; ENTRY * BLOCK];
        for number in first..self.fences.partition_point(|fence| *fence <= wanted) {
            let left = self.count as usize - number * BLOCK;
            let block = &mut block[..ENTRY * left.min(BLOCK)];
            self.file.read_exact_at(block, (number * BLOCK * ENTRY) as u64)?;
            let (mut low, mut high) = (0, block.len() / ENTRY);
            while low < high {
                let middle = low.midpoint(high);
                let entry = &block[middle * ENTRY..(middle + 1) * ENTRY];
                match entry[..32].cmp(&digest.0[..]) {
                    std::cmp::Ordering::Less => low = middle + 1,
                    std::cmp::Ordering::Greater => high = middle,
                    std::cmp::Ordering::Equal => return Ok(Place::decode(&entry[32..])),
                }
            }
        }
        Ok(None)
    }

    /// Its entries, in order.
    pub(super) fn entries(
        &self,
    ) -> io::Result<impl Iterator<Item = io::Result<(Digest, Place)>> + use<>> {
        let mut read = BufReader::with_capacity(256 << 10, File::open(&self.path)?);
        Ok((0..self.count).map(move |_| {
            let mut entry = [0u8; ENTRY];
            read.read_exact(&mut entry)?;
            let place = Place::decode(&entry[32..]).ok_or(io::ErrorKind::InvalidData)?;
            Ok((named(&entry), place))
        }))
    }
}

/// The entries of two segments, in order. Where both know a digest, `newer` is right.
pub(super) fn merged(
    older: impl Iterator<Item = io::Result<(Digest, Place)>>,
    newer: impl Iterator<Item = io::Result<(Digest, Place)>>,
) -> impl Iterator<Item = io::Result<(Digest, Place)>> {
    let (mut older, mut newer) = (older.peekable(), newer.peekable());
    std::iter::from_fn(move || match (older.peek(), newer.peek()) {
        (Some(Ok((old, _))), Some(Ok((new, _)))) => match old.0.cmp(&new.0) {
            std::cmp::Ordering::Less => older.next(),
            std::cmp::Ordering::Greater => newer.next(),
            std::cmp::Ordering::Equal => {
                older.next();
                newer.next()
            }
        },
        (Some(_), None) | (Some(Err(_)), _) => older.next(),
        _ => newer.next(),
    })
}

/// A file that is summed while it is written.
struct Summed {
    out: BufWriter<File>,
    sum: blake3::Hasher,
}

impl Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }
}

/// The bits of a digest in a filter. A digest's own bytes are as random as any hash of them.
fn bits(digest: &Digest, words: usize) -> impl Iterator<Item = u64> {
    let size = words as u64 * 64;
    let words = digest.0.chunks_exact(4).skip(2).take(PROBES);
    let mut probes = [0u64; PROBES];
    for (probe, word) in probes.iter_mut().zip(words) {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        *probe = ((u128::from(word) * u128::from(size)) >> 32) as u64;
    }
    probes.into_iter()
}

fn front(digest: &Digest) -> u64 {
    digest.0[..8].try_into().map(u64::from_be_bytes).unwrap_or(0)
}

fn named(entry: &[u8]) -> Digest {
    Digest::from_slice(&entry[..32]).unwrap_or(Digest([0; 32]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(numbers: impl Iterator<Item = u32>) -> Vec<(Digest, Place)> {
        let mut entries: Vec<(Digest, Place)> = numbers
            .map(|n| {
                let place = Place { pack: n, offset: u64::from(n) * 3, stored: n };
                (Digest::of(&n.to_le_bytes()), place)
            })
            .collect();
        entries.sort_by_key(|(digest, _)| digest.0);
        entries
    }

    fn write(path: &Path, of: &[(Digest, Place)]) -> Segment {
        Segment::write(path, of.len() as u64, of.iter().copied().map(Ok)).expect("written")
    }

    #[test]
    fn finds_what_it_has_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        for count in [0, 1, 2, 127, 128, 129, 5000] {
            let path = folder.path().join("one");
            let known = entries(0..count);
            write(&path, &known);
            let segment = Segment::open(&path).expect("opened");
            for (digest, place) in &known {
                assert_eq!(segment.find(digest).expect("read"), Some(*place));
            }
            for (digest, _) in entries(count..count + 500) {
                assert_eq!(segment.find(&digest).expect("read"), None);
            }
            let read: io::Result<Vec<_>> = segment.entries().expect("opened").collect();
            assert_eq!(read.expect("read"), known);
        }
    }

    #[test]
    fn of_two_that_know_a_digest_the_newer_is_right() {
        let (mut old, new) = (entries(0..300), entries(200..400));
        for (_, place) in &mut old {
            place.pack += 1000;
        }
        let all: io::Result<Vec<_>> =
            merged(old.into_iter().map(Ok), new.into_iter().map(Ok)).collect();
        let mut wanted = entries(0..400);
        for (_, place) in &mut wanted {
            place.pack += if place.stored < 200 { 1000 } else { 0 };
        }
        assert_eq!(all.expect("merged"), wanted);
    }

    #[test]
    fn a_changed_or_shortened_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one");
        write(&path, &entries(0..300));
        let whole = std::fs::read(&path).expect("read");
        for at in (0..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).expect("written");
            assert!(Segment::open(&path).is_err(), "byte {at}");
            std::fs::write(&path, &whole[..at]).expect("written");
            assert!(Segment::open(&path).is_err(), "cut at {at}");
        }
    }
}
