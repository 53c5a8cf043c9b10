//! Packages as archives: `.tar.gz`, `.tar.zst` and `.tar`.
//!
//! An archive is unpacked into memory, never onto the disk: what it names is checked by
//! [`Content::new`] before anything is written anywhere. Its kind is read from its first bytes, since
//! names of downloads say little.

use std::io::Read;

use super::content::{Content, MAX_BYTES, MAX_FILES, Piece, is_plain, too_large};

/// The most bytes that a packed archive may have.
pub(super) const MAX_PACKED: u64 = 128 << 20;

/// Bytes that an archive may have beside those of its files: headers and padding.
const OVERHEAD: u64 = 32 << 20;

/// How hard zstd works on what is published; done once, read often.
const LEVEL: i32 = 19;

/// The package in an archive. One folder around everything, as code hosts put it there, is taken
/// off.
///
/// # Errors
/// Why it is no package.
pub(super) fn unpack(packed: &[u8]) -> Result<Content, String> {
    unpack_within(packed, MAX_BYTES + OVERHEAD)
}

fn unpack_within(packed: &[u8], limit: u64) -> Result<Content, String> {
    let reader: Box<dyn Read + '_> = match packed {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(
            zstd::stream::read::Decoder::with_buffer(packed).map_err(|err| err.to_string())?,
        ),
        packed if packed.get(257..262) == Some(b"ustar") => Box::new(packed),
        _ => return Err("it is not a .tar.gz, .tar.zst or .tar".to_string()),
    };
    let bounded = Bounded { reader, left: limit };
    let mut archive = tar::Archive::new(bounded);
    let mut pieces = Vec::new();
    let damaged = |err: std::io::Error| format!("it is damaged: {err}");
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| "a name in it is not UTF-8".to_string())?;
        is_plain(&path)?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let path = path.strip_prefix("./").unwrap_or(&path);
        let path = if kind.is_dir() { path.trim_end_matches('/') } else { path }.to_string();
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("{path} leads out of it"));
        }
        if kind.is_dir() {
            continue;
        } else if kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            let target = String::from_utf8(target)
                .map_err(|_| format!("the target of the link {path} is not UTF-8"))?;
            pieces.push((path, Piece::Link(target)));
        } else if kind.is_file() || kind.is_contiguous() {
            let executable = entry.header().mode().unwrap_or(0o644) & 0o111 != 0;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            if bytes.len() as u64 != entry.size() {
                return Err(format!("it is damaged: {path} is cut off"));
            }
            pieces.push((path, Piece::File { bytes: bytes.into(), executable }));
        } else {
            let what = if kind.is_hard_link() { "a hard link" } else { "a device or the like" };
            return Err(format!("{path} is {what}; a package has files and symbolic links"));
        }
        if pieces.len() > MAX_FILES {
            return Err(format!("it holds more than {MAX_FILES} files"));
        }
    }
    Content::new(without_folder_around(pieces))
}

/// Takes off the one folder that everything lies in, if claw.toml is not beside it.
fn without_folder_around(pieces: Vec<(String, Piece)>) -> Vec<(String, Piece)> {
    let around = pieces.first().and_then(|(path, _)| path.split_once('/')).map(|(top, _)| top);
    let Some(around) = around.map(|top| format!("{top}/")) else {
        return pieces;
    };
    if !pieces.iter().all(|(path, _)| path.starts_with(&around)) {
        return pieces;
    }
    pieces.into_iter().map(|(path, piece)| (path[around.len()..].to_string(), piece)).collect()
}

/// A package as a `.tar.zst`, the same bytes for the same content.
///
/// # Errors
/// When a path is longer than a tar can say.
pub(super) fn pack(content: &Content) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?);
    for (path, piece) in content.pieces() {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        match piece {
            Piece::File { bytes, executable } => {
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, path, &bytes[..])?;
            }
            Piece::Link(target) => {
                header.set_mode(0o777);
                header.set_size(0);
                header.set_entry_type(tar::EntryType::Symlink);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    archive.into_inner()?.finish()
}

/// Stops a small archive from unpacking into a large one.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left =
            self.left.checked_sub(read as u64).ok_or_else(|| std::io::Error::other(too_large()))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Content {
        let long = format!("{}/x.md", "deep/".repeat(60).trim_end_matches('/'));
        let file =
            |text: &str, executable| Piece::File { bytes: text.as_bytes().into(), executable };
        Content::new(vec![
            ("claw.toml".to_string(), file("[project]\n", false)),
            ("tools/run.sh".to_string(), file("#!/bin/sh\n", true)),
            ("tools/again".to_string(), Piece::Link("run.sh".to_string())),
            (long, file("far down", false)),
        ])
        .expect("a package")
    }

    #[test]
    fn what_is_packed_is_unpacked_the_same() {
        let packed = pack(&sample()).expect("an archive");
        assert_eq!(packed, pack(&sample()).expect("an archive"));
        assert_eq!(unpack(&packed).expect("a package"), sample());
    }

    #[test]
    fn a_folder_around_everything_is_taken_off() {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in [("x-1.0/claw.toml", "a"), ("x-1.0/sub/b.claw", "b")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, text.as_bytes()).expect("an entry");
        }
        let content = unpack(&archive.into_inner().expect("a tar")).expect("a package");
        let paths: Vec<&String> = content.pieces().keys().collect();
        assert_eq!(paths, ["claw.toml", "sub/b.claw"]);
    }

    #[test]
    fn bombs_are_cut_short() {
        let mut archive = tar::Builder::new(
            zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder"),
        );
        let size = 4 << 20;
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        archive.append_data(&mut header, "zeros", std::io::repeat(0).take(size)).expect("an entry");
        let packed = archive.into_inner().and_then(|encoder| encoder.finish()).expect("an archive");
        assert!(packed.len() < 1 << 16);
        assert!(unpack_within(&packed, 5 << 20).is_ok());
        let refused = unpack_within(&packed, 3 << 20).expect_err("a bomb");
        assert!(refused.contains("256 MiB"), "{refused}");
    }
}
