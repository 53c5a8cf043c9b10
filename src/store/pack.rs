//! Packs: append-only files that hold small objects and receipts, each with a checksum.
//!
//! The packs are the truth; the index only says where things are in them and can be made anew by
//! reading them from the front. A record is written whole before the next one, objects before the
//! receipt that names them, so that whatever a crash leaves behind, a prefix of the file is good:
//!
//! ```text
//! magic(4) kind(1) flags(1) 0(2) stored(4) raw(4) name(32)   header, 48 bytes
//! payload(stored)                                            zstd when flags & 1
//! check(8)                                                   blake3 of header and payload
//! ```
//!
//! Numbers are little-endian. `name` is an object's digest, or the key that a receipt answers. After
//! a crash the writer goes on in a new pack and leaves a torn end where it is. A record that is
//! damaged later costs that record: the good ones behind it are found by their magic and checksum.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::objects::StoreError;

const MAGIC: &[u8; 4] = b"CLW1";
/// Bytes of a record before its payload.
pub(super) const HEADER: usize = 48;
/// Bytes of a record behind its payload.
pub(super) const CHECK: usize = 8;
const COMPRESSED: u8 = 1;
/// Bytes that a scan reads at once.
const WINDOW: u64 = 1 << 20;
/// Bytes that are read at once where long payloads are left out, and from what length on they are.
const SKIMMED: u64 = 128 << 10;
const LONG: u32 = 16 << 10;
/// Payloads shorter than this are not worth compressing.
const COMPRESS_FROM: usize = 256;
/// How hard payloads are compressed: what is quick.
const LEVEL: i32 = 1;
/// A pack is closed once it is longer than this.
pub(super) const PACK_SIZE: u64 = 256 << 20;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes by their digest.
    Object = 1,
    /// A receipt by the key it answers.
    Receipt = 2,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the pack.
    pub(super) pack: u32,
    /// Offset of its header.
    pub(super) offset: u64,
    /// Length of its payload as stored.
    pub(super) stored: u32,
}

impl Place {
    /// The bytes kept in the index.
    pub(super) fn encode(&self) -> [u8; 16] {
        let mut out = [0u8; 16];
        out[..4].copy_from_slice(&self.pack.to_be_bytes());
        out[4..12].copy_from_slice(&self.offset.to_be_bytes());
        out[12..].copy_from_slice(&self.stored.to_be_bytes());
        out
    }

    /// Reads what [`Place::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Place> {
        Some(Place {
            pack: u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?),
            offset: u64::from_be_bytes(bytes.get(4..12)?.try_into().ok()?),
            stored: u32::from_be_bytes(bytes.get(12..16)?.try_into().ok()?),
        })
    }
}

/// A record's header as read while scanning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanned {
    pub(super) kind: Kind,
    pub(super) name: Digest,
    pub(super) place: Place,
}

/// Path of pack number `pack` below the store's folder.
pub(super) fn path(store: &Path, pack: u32) -> PathBuf {
    store.join("packs").join(format!("{pack:08}.pack"))
}

/// The numbers of the packs that exist, in order.
pub(super) fn list(store: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(store.join("packs")) else {
        return Vec::new();
    };
    let mut packs: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".pack")?.parse().ok())
        .collect();
    packs.sort_unstable();
    packs
}

/// Makes records. It keeps the compressor, which takes longer to make than a short record does.
pub(super) struct Encoder {
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Encoder {
    /// One with a compressor, or without where there is no memory for one.
    pub(super) fn new() -> Encoder {
        Encoder { zstd: zstd::bulk::Compressor::new(LEVEL).ok() }
    }

    /// Appends a record to `out`; says the length of the payload as stored.
    pub(super) fn append(
        &mut self,
        out: &mut Vec<u8>,
        kind: Kind,
        name: &Digest,
        payload: &[u8],
    ) -> u32 {
        let packed;
        let mut flags = 0;
        let mut stored = payload;
        if payload.len() >= COMPRESS_FROM
            && let Some(zstd) = &mut self.zstd
            && let Ok(smaller) = zstd.compress(payload)
            && smaller.len() < payload.len() * 9 / 10
        {
            packed = smaller;
            stored = &packed;
            flags = COMPRESSED;
        }
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[kind as u8, flags, 0, 0]);
        out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&name.0);
        out.extend_from_slice(stored);
        let check = Digest::of(&out[start..]);
        out.extend_from_slice(&check.0[..CHECK]);
        stored.len() as u32
    }
}

/// Length on disk of a record with a payload of `stored` bytes.
pub(super) fn record_length(stored: u32) -> u64 {
    (HEADER + stored as usize + CHECK) as u64
}

/// The length that the header at `place` says its payload has, uncompressed.
pub(super) fn length(file: &File, place: Place, name: &Digest) -> Result<u64, StoreError> {
    let mut header = [0u8; HEADER];
    let read = file.read_exact_at(&mut header, place.offset);
    if read.is_err() || !header.starts_with(MAGIC) || header[16..] != name.0 {
        let what = "its header is damaged".to_string();
        return Err(StoreError::Damaged { digest: *name, what });
    }
    Ok(u64::from(u32::from_le_bytes([header[12], header[13], header[14], header[15]])))
}

/// Reads the payload of the record at `place`, checking it against its checksum and name.
pub(super) fn read(file: &File, place: Place, name: &Digest) -> Result<Vec<u8>, StoreError> {
    let damaged = |what: &str| StoreError::Damaged { digest: *name, what: what.to_string() };
    let mut record = vec![0u8; record_length(place.stored) as usize];
    file.read_exact_at(&mut record, place.offset).map_err(|source| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => damaged("its pack ends before it"),
        _ => StoreError::Io { doing: "reading", path: format!("pack {}", place.pack), source },
    })?;
    let (body, check) = record.split_at(record.len() - CHECK);
    if Digest::of(body).0[..CHECK] != *check {
        return Err(damaged("its checksum differs"));
    }
    if &body[..4] != MAGIC || body[16..HEADER] != name.0 {
        return Err(damaged("another record stands in its place"));
    }
    unpack(body).ok_or_else(|| damaged("it cannot be decompressed"))
}

fn unpack(body: &[u8]) -> Option<Vec<u8>> {
    let raw = u32::from_le_bytes(body.get(12..16)?.try_into().ok()?) as usize;
    let payload = &body[HEADER..];
    if body[5] & COMPRESSED != 0 {
        zstd::bulk::decompress(payload, raw).ok()
    } else {
        (payload.len() == raw).then(|| payload.to_vec())
    }
}

/// The record at the start of `bytes`, if a good one stands there: its kind, its name and its bytes
/// without the checksum.
fn record(bytes: &[u8]) -> Option<(Kind, Digest, &[u8])> {
    if bytes.get(..4)? != MAGIC {
        return None;
    }
    let stored = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
    let whole = bytes.get(..usize::try_from(record_length(stored)).ok()?)?;
    let (body, check) = whole.split_at(whole.len() - CHECK);
    if Digest::of(body).0[..CHECK] != *check {
        return None;
    }
    let (kind, name, _) = header(body)?;
    Some((kind, name, body))
}

/// What the header at the start of `bytes` says, if one stands there: kind, name and stored length.
fn header(bytes: &[u8]) -> Option<(Kind, Digest, u32)> {
    let bytes = bytes.get(..HEADER).filter(|bytes| bytes[..4] == *MAGIC)?;
    let kind = match bytes[4] {
        1 => Kind::Object,
        2 => Kind::Receipt,
        _ => return None,
    };
    let stored = u32::from_le_bytes(bytes[8..12].try_into().ok()?);
    Some((kind, Digest::from_slice(&bytes[16..])?, stored))
}

/// Reads the records of a pack from `from` on, checking each. What is damaged is passed over: the
/// next good record is looked for behind it. Says where the last good record ends.
pub(super) fn scan(
    store: &Path,
    pack: u32,
    from: u64,
    each: impl FnMut(Scanned, &dyn Fn() -> Option<Vec<u8>>),
) -> Result<u64, StoreError> {
    let path = path(store, pack);
    let io = |source| StoreError::Io { doing: "reading", path: path.display().to_string(), source };
    let file = File::open(&path).map_err(io)?;
    walk(&file, pack, from, (WINDOW, u32::MAX), each).map_err(io)
}

/// Reads likewise which records there are in an open pack, and of long ones only the header: that
/// they are good is left to who reads them.
pub(super) fn skim(
    store: &Path,
    (pack, file): (u32, &File),
    from: u64,
    mut each: impl FnMut(Scanned),
) -> Result<(), StoreError> {
    let io = |source| {
        let path = path(store, pack).display().to_string();
        StoreError::Io { doing: "reading", path, source }
    };
    walk(file, pack, from, (SKIMMED, LONG), |record, _| each(record)).map(drop).map_err(io)
}

/// Walks over records: `window` bytes are read at once, and payloads of `long` bytes or more are not
/// read where another record, or nothing, stands behind them.
fn walk(
    file: &File,
    pack: u32,
    from: u64,
    (window, long): (u64, u32),
    mut each: impl FnMut(Scanned, &dyn Fn() -> Option<Vec<u8>>),
) -> io::Result<u64> {
    let mut good = from;
    let mut offset = from;
    // A part of the file that holds at least the record at `offset`, where the file does.
    let mut read: Vec<u8> = Vec::new();
    let mut start = from;
    let length = file.metadata()?.len();
    while offset + (HEADER + CHECK) as u64 <= length {
        let here = read.get((offset - start) as usize..).unwrap_or_default();
        let said = header(here);
        if let Some((kind, name, stored)) = said.filter(|(_, _, stored)| *stored >= long)
            && ends_well(file, offset + record_length(stored), length)?
        {
            let place = Place { pack, offset, stored };
            each(Scanned { kind, name, place }, &|| None);
            offset += record_length(stored);
            good = offset;
            continue;
        }
        let wanted = said.map_or((HEADER + CHECK) as u64, |(_, _, stored)| record_length(stored));
        let wanted = wanted.min(length - offset);
        if (here.len() as u64) < wanted {
            read = vec![0u8; wanted.max(window).min(length - offset) as usize];
            file.read_exact_at(&mut read, offset)?;
            start = offset;
            // The header may only now be known, and ask for more or for less.
            continue;
        }
        match record(here) {
            Some((kind, name, body)) => {
                let stored = (body.len() - HEADER) as u32;
                let place = Place { pack, offset, stored };
                each(Scanned { kind, name, place }, &|| unpack(body));
                offset += record_length(stored);
                good = offset;
            }
            None => {
                let next = here[1..].windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
                offset += next.map_or(here.len().saturating_sub(3).max(1), |at| at + 1) as u64;
            }
        }
    }
    Ok(good)
}

/// Whether a record may end here: where the pack does, or another one begins.
fn ends_well(file: &File, end: u64, length: u64) -> io::Result<bool> {
    let mut next = [0; MAGIC.len()];
    if end + next.len() as u64 > length {
        return Ok(end == length);
    }
    file.read_exact_at(&mut next, end)?;
    Ok(next == *MAGIC)
}

/// A stretch of a pack in which no good record stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// Where it begins.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) length: u64,
    /// What its header says it was, where one can still be read.
    pub(super) header: Option<(Kind, Digest)>,
    /// Whether it is what a writer leaves that was stopped in the middle: a record that is longer
    /// than the rest of its pack, or no record at all, and nothing good behind it.
    pub(super) torn: bool,
}

/// The records that the bytes between two offsets of a pack held, as far as their headers tell;
/// `last` when nothing comes behind.
pub(super) fn stretches(
    store: &Path,
    pack: u32,
    (from, to): (u64, u64),
    last: bool,
) -> Result<Vec<Stretch>, StoreError> {
    let path = path(store, pack);
    let io = |source| StoreError::Io { doing: "reading", path: path.display().to_string(), source };
    let file = File::open(&path).map_err(io)?;
    let mut found = Vec::new();
    let mut offset = from;
    while offset < to {
        let mut head = vec![0u8; HEADER.min((to - offset) as usize)];
        file.read_exact_at(&mut head, offset).map_err(io)?;
        let name = head.get(16..HEADER).and_then(Digest::from_slice);
        let kind = match head.get(4) {
            Some(1) => Some(Kind::Object),
            Some(2) => Some(Kind::Receipt),
            _ => None,
        };
        let header = kind.zip(name).filter(|_| head[..4] == *MAGIC);
        let stored =
            head.get(8..12).map(|len| u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
        let end = match (header, stored) {
            (Some(_), Some(stored)) => offset + record_length(stored),
            _ => u64::MAX,
        };
        let torn = last && end > to;
        let length = end.min(to) - offset;
        found.push(Stretch { offset, length, header, torn });
        offset += length;
    }
    Ok(found)
}
