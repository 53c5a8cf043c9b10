//! Segments: where many objects, or many receipts, stand, in one immutable file.
//!
//! An entry of its own in sled costs tens of microseconds, too much for a million small rows. So the
//! places of objects are written sorted, many at a time:
//!
//! ```text
//! blocks   of 128 entries, the last shorter: digest(32) place(16), sorted by digest
//! fences   the first 8 bytes of each block's first digest
//! filter   pages of bits; those of an absent digest are mostly not all set
//! end      count(8) sum(32)
//! ```
//!
//! Behind every block, the fences, every page and the end stands a check(8): blake3 of where in the
//! file the part begins and of its bytes. `sum` is blake3 of all checks before it, and so names what
//! the segment holds.
//!
//! Opening a segment reads its end. Fences and pages are read when they are needed first, and held:
//! at most 1.4 bytes an entry. Looking up a digest that is there then reads one block of 6 KB, or once
//! that was checked a quarter of it, and one that is not there mostly nothing. Each part is checked
//! when it is read first, or all of them before ([`Segment::verify`]). Segments are made anew from the
//! packs when one is missing or damaged.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::digest::Digest;
use super::filter;
use super::pack::Place;

/// Bytes of an entry.
const ENTRY: usize = 48;
/// Entries of a block, of which the first is remembered.
const BLOCK: usize = 128;
/// Entries on either side of where an entry should stand that are read to find it.
const BESIDE: usize = 16;
/// Bytes of the check behind each part.
const CHECK: usize = 8;
/// Bytes of the last part.
const END: usize = 8 + 32;

/// An open segment.
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    /// How many places it knows.
    pub(super) count: u64,
    /// What tells it from any other.
    pub(super) sum: Digest,
    /// The first eight bytes of each block's first digest.
    fences: OnceLock<Vec<u64>>,
    pages: Vec<OnceLock<Vec<u8>>>,
    /// Which blocks were checked already.
    checked: Vec<AtomicBool>,
    /// Whether it survives a power cut.
    synced: AtomicBool,
}

impl Segment {
    /// Writes a segment of `entries`, which are sorted and at most `most`, and opens it.
    pub(super) fn write(
        path: &Path,
        most: u64,
        entries: impl Iterator<Item = io::Result<(Digest, Place)>>,
    ) -> io::Result<Segment> {
        let mut out = Parts {
            out: BufWriter::with_capacity(256 << 10, File::create(path)?),
            at: 0,
            sum: blake3::Hasher::new(),
        };
        let mut pages = vec![vec![0u8; filter::PAGE]; filter::pages(most) as usize];
        let mut fences = Vec::new();
        let mut block = Vec::with_capacity(ENTRY * BLOCK);
        let mut count = 0u64;
        for entry in entries {
            let (digest, place) = entry?;
            if block.is_empty() {
                fences.push(front(&digest));
            }
            let page = filter::page(&digest, pages.len() as u64);
            filter::set(&mut pages[page], &digest);
            block.extend_from_slice(&digest.0);
            block.extend_from_slice(&place.encode());
            count += 1;
            if block.len() == ENTRY * BLOCK {
                out.part(&block)?;
                block.clear();
            }
        }
        if !block.is_empty() {
            out.part(&block)?;
        }
        out.part(&fences.iter().flat_map(|fence| fence.to_le_bytes()).collect::<Vec<u8>>())?;
        pages.iter().try_for_each(|page| out.part(page))?;
        let sum = Digest(*out.sum.finalize().as_bytes());
        out.part(&[&count.to_le_bytes()[..], &sum.0].concat())?;
        let written = out.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        drop(written);
        Ok(Segment {
            file: File::open(path)?,
            path: path.to_path_buf(),
            count,
            sum,
            fences: OnceLock::from(fences),
            pages: pages.into_iter().map(OnceLock::from).collect(),
            checked: blocks(count, true),
            synced: AtomicBool::new(false),
        })
    }

    /// Opens a segment; what it holds is checked when it is read.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when its end is not what was written.
    pub(super) fn open(path: &Path) -> io::Result<Segment> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let from = length.checked_sub((END + CHECK) as u64).ok_or_else(damaged)?;
        let end = read(&file, from, END, true)?;
        let count = u64::from_le_bytes(end[..8].try_into().map_err(|_| damaged())?);
        let sum = Digest::from_slice(&end[8..]).ok_or_else(damaged)?;
        // The filter was made for as many entries as there might have been; the file tells.
        let filter = fences_at(count)
            .and_then(|fences| from.checked_sub(fences + fences_length(count) + CHECK as u64))
            .ok_or_else(damaged)?;
        let page = (filter::PAGE + CHECK) as u64;
        if filter == 0 || !filter.is_multiple_of(page) {
            return Err(damaged());
        }
        let pages = (0..filter / page).map(|_| OnceLock::new()).collect();
        let (path, fences) = (path.to_path_buf(), OnceLock::new());
        let (checked, synced) = (blocks(count, false), AtomicBool::new(true));
        Ok(Segment { file, path, count, sum, fences, pages, checked, synced })
    }

    /// Checks all of it, after which its blocks are not checked again.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is not what was written.
    pub(super) fn verify(&mut self) -> io::Result<()> {
        let mut read = BufReader::with_capacity(256 << 10, &self.file);
        let mut sum = blake3::Hasher::new();
        let mut at = 0u64;
        let mut part = vec![0u8; ENTRY * BLOCK + CHECK];
        let lengths = (0..self.checked.len() as u64).map(|number| self.block_length(number));
        let fences = fences_length(self.count) as usize;
        let pages = self.pages.iter().map(|_| filter::PAGE);
        for length in lengths.chain([fences]).chain(pages) {
            part.resize(length + CHECK, 0);
            read.read_exact(&mut part)?;
            let (bytes, check) = part.split_at(length);
            if check_of(at, bytes) != *check {
                return Err(damaged());
            }
            sum.update(check);
            at += part.len() as u64;
        }
        drop(read);
        if *sum.finalize().as_bytes() != self.sum.0 {
            return Err(damaged());
        }
        self.checked = blocks(self.count, true);
        Ok(())
    }

    /// Makes it safe from a power cut; says whether there was something to do. The name in its folder
    /// is not its own to sync.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn sync(&self) -> io::Result<bool> {
        if self.synced.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.file.sync_data()?;
        self.synced.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where an object stands, if the segment knows it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when what had to be read for it is damaged.
    pub(super) fn find(&self, digest: &Digest) -> io::Result<Option<Place>> {
        if !filter::may_hold(self.page(filter::page(digest, self.pages.len() as u64))?, digest) {
            return Ok(None);
        }
        let wanted = front(digest);
        let fences = self.fences()?;
        // Of two digests that begin alike, one may end the block before.
        let first = fences.partition_point(|fence| *fence < wanted).saturating_sub(1);
        for number in first as u64..fences.partition_point(|fence| *fence <= wanted) as u64 {
            let checked = &self.checked[number as usize];
            let known = checked.load(Ordering::Relaxed);
            if known && let Some(found) = self.near(number, fences, digest)? {
                match found {
                    Some(place) => return Ok(Some(place)),
                    None => continue,
                }
            }
            let block = read(&self.file, block_at(number), self.block_length(number), !known)?;
            checked.store(true, Ordering::Relaxed);
            if let Ok(at) = search(&block, digest) {
                return Ok(Place::decode(&block[at * ENTRY + 32..(at + 1) * ENTRY]));
            }
        }
        Ok(None)
    }

    /// Looks for a digest in a block that was checked, only around where it should stand: digests are
    /// spread evenly. `None` when it may stand elsewhere in the block.
    fn near(
        &self,
        number: u64,
        fences: &[u64],
        digest: &Digest,
    ) -> io::Result<Option<Option<Place>>> {
        let count = self.block_length(number) / ENTRY;
        let low = fences[number as usize];
        let high = fences.get(number as usize + 1).copied().unwrap_or(u64::MAX);
        let before = u128::from(front(digest).saturating_sub(low)) * count as u128;
        let at = (before / u128::from(high.saturating_sub(low).max(1))).min(count as u128) as usize;
        let (start, end) = (at.saturating_sub(BESIDE), (at + BESIDE).min(count));
        let mut bytes = [0; 2 * BESIDE * ENTRY];
        let part = &mut bytes[..(end - start) * ENTRY];
        self.file.read_exact_at(part, block_at(number) + (start * ENTRY) as u64)?;
        Ok(match search(part, digest) {
            Ok(at) => Some(Place::decode(&part[at * ENTRY + 32..(at + 1) * ENTRY])),
            Err(0) if start > 0 => None,
            Err(at) if start + at == end && end < count => None,
            Err(_) => Some(None),
        })
    }

    /// Its entries, in order; each block is checked.
    pub(super) fn entries(
        &self,
    ) -> io::Result<impl Iterator<Item = io::Result<(Digest, Place)>> + use<>> {
        let mut read = BufReader::with_capacity(256 << 10, File::open(&self.path)?);
        let (mut block, mut at) = (Vec::new(), ENTRY * BLOCK);
        let mut left = self.count as usize;
        let mut offset = 0u64;
        Ok((0..self.count).map(move |_| {
            if at >= ENTRY * BLOCK {
                let length = ENTRY * left.min(BLOCK);
                block.resize(length + CHECK, 0);
                read.read_exact(&mut block)?;
                if check_of(offset, &block[..length]) != block[length..] {
                    return Err(damaged());
                }
                left -= length / ENTRY;
                offset += block.len() as u64;
                at = 0;
            }
            let entry = &block[at..at + ENTRY];
            at += ENTRY;
            let place = Place::decode(&entry[32..]).ok_or_else(damaged)?;
            Ok((Digest::from_slice(&entry[..32]).ok_or_else(damaged)?, place))
        }))
    }

    fn block_length(&self, number: u64) -> usize {
        ENTRY * (self.count - number * BLOCK as u64).min(BLOCK as u64) as usize
    }

    fn fences(&self) -> io::Result<&[u64]> {
        if let Some(fences) = self.fences.get() {
            return Ok(fences);
        }
        let at = fences_at(self.count).ok_or_else(damaged)?;
        let bytes = read(&self.file, at, fences_length(self.count) as usize, true)?;
        let fence = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or(0);
        Ok(self.fences.get_or_init(|| bytes.chunks_exact(8).map(fence).collect()))
    }

    fn page(&self, number: usize) -> io::Result<&[u8]> {
        if let Some(page) = self.pages[number].get() {
            return Ok(page);
        }
        let filter =
            fences_at(self.count).ok_or_else(damaged)? + fences_length(self.count) + CHECK as u64;
        let at = filter + (number * (filter::PAGE + CHECK)) as u64;
        let page = read(&self.file, at, filter::PAGE, true)?;
        Ok(self.pages[number].get_or_init(|| page))
    }
}

/// Whether each block was checked.
fn blocks(count: u64, checked: bool) -> Vec<AtomicBool> {
    (0..count.div_ceil(BLOCK as u64)).map(|_| AtomicBool::new(checked)).collect()
}

fn block_at(number: u64) -> u64 {
    number * (ENTRY * BLOCK + CHECK) as u64
}

/// Where the fences begin behind the blocks of `count` entries.
fn fences_at(count: u64) -> Option<u64> {
    let checks = count.div_ceil(BLOCK as u64) * CHECK as u64;
    count.checked_mul(ENTRY as u64)?.checked_add(checks)
}

fn fences_length(count: u64) -> u64 {
    count.div_ceil(BLOCK as u64) * 8
}

/// Which of sorted entries is a digest's, or before which it would stand.
fn search(entries: &[u8], digest: &Digest) -> Result<usize, usize> {
    let (mut low, mut high) = (0, entries.len() / ENTRY);
    while low < high {
        let middle = low.midpoint(high);
        match entries[middle * ENTRY..][..32].cmp(&digest.0[..]) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Ok(middle),
        }
    }
    Err(low)
}

/// Reads a part and its check.
fn read(file: &File, offset: u64, length: usize, checked: bool) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0u8; length + CHECK];
    file.read_exact_at(&mut bytes, offset)?;
    if checked && check_of(offset, &bytes[..length]) != bytes[length..] {
        return Err(damaged());
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn check_of(offset: u64, bytes: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&offset.to_le_bytes()).update(bytes);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
    check
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a segment is damaged")
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

/// A file that is written part by part.
struct Parts {
    out: BufWriter<File>,
    at: u64,
    /// Of the checks.
    sum: blake3::Hasher,
}

impl Parts {
    fn part(&mut self, bytes: &[u8]) -> io::Result<()> {
        let check = check_of(self.at, bytes);
        self.sum.update(&check);
        self.at += (bytes.len() + CHECK) as u64;
        self.out.write_all(bytes)?;
        self.out.write_all(&check)
    }
}

fn front(digest: &Digest) -> u64 {
    digest.0[..8].try_into().map(u64::from_be_bytes).unwrap_or(0)
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
            // Once each block whole, then only in part.
            for (digest, place) in known.iter().chain(&known) {
                assert_eq!(segment.find(digest).expect("read"), Some(*place));
            }
            for (digest, _) in entries(count..count + 500) {
                assert_eq!(segment.find(&digest).expect("read"), None);
            }
            let read: io::Result<Vec<_>> = segment.entries().expect("opened").collect();
            assert_eq!(read.expect("read"), known);
        }
    }

    /// Nobody can make real digests crowd, but a segment must be right of any.
    #[test]
    fn what_crowds_is_found_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let digest = |n: u32| {
            let mut bytes = [0u8; 32];
            // Half of them begin alike, the others stand close together.
            bytes[4..8].copy_from_slice(&(n / 2 * (n % 2)).to_be_bytes());
            bytes[28..].copy_from_slice(&n.to_be_bytes());
            Digest(bytes)
        };
        let place = |n: u32| Place { pack: n, offset: 0, stored: 1 };
        let mut known: Vec<_> = (0..1000).map(|n| (digest(n), place(n))).collect();
        known.sort_by_key(|(digest, _)| digest.0);
        let segment = write(&folder.path().join("one"), &known);
        for (digest, place) in &known {
            assert_eq!(segment.find(digest).expect("read"), Some(*place));
        }
        for n in 1000..2000 {
            assert_eq!(segment.find(&digest(n)).expect("read"), None);
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
    fn a_changed_or_shortened_one_is_refused_and_never_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one");
        let known = entries(0..300);
        write(&path, &known);
        let verified = |path: &Path| Segment::open(path).and_then(|mut one| one.verify());
        verified(&path).expect("whole");
        let whole = std::fs::read(&path).expect("read");
        let mut refused = 0;
        for at in (0..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).expect("written");
            assert!(verified(&path).is_err(), "byte {at}");
            // Who looks without checking all of it is told of the damage, or is told right.
            if let Ok(segment) = Segment::open(&path) {
                for (digest, place) in &known {
                    match segment.find(digest) {
                        Ok(found) => assert_eq!(found, Some(*place), "byte {at}"),
                        Err(_) => refused += 1,
                    }
                }
                for (digest, _) in entries(300..330) {
                    assert!(!matches!(segment.find(&digest), Ok(Some(_))), "byte {at}");
                }
                let read: io::Result<Vec<_>> = segment.entries().expect("opened").collect();
                assert!(read.is_err() || read.is_ok_and(|read| read == known), "byte {at}");
            }
            std::fs::write(&path, &whole[..at]).expect("written");
            assert!(verified(&path).is_err(), "cut at {at}");
        }
        assert!(refused > 1000, "{refused}");
    }

    #[test]
    fn parts_that_change_places_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one");
        let known = entries(0..300);
        let sum = write(&path, &known).sum;
        let mut bytes = std::fs::read(&path).expect("read");
        let part = ENTRY * BLOCK + CHECK;
        let (one, two) = bytes.split_at_mut(part);
        one.swap_with_slice(&mut two[..part]);
        std::fs::write(&path, &bytes).expect("written");
        let mut segment = Segment::open(&path).expect("opened");
        assert!(known.iter().take(256).all(|(digest, _)| segment.find(digest).is_err()));
        assert_eq!(segment.sum, sum);
        assert!(segment.verify().is_err());
        // And another segment is another.
        assert_ne!(write(&path, &entries(0..299)).sum, sum);
    }
}
