//! What claw wrote, by output: so that what a later result lacks goes, and nothing else.
//!
//! Beside the store lies a list of them. What it names is removed when the next result lacks it, and
//! only while it still is what was written: anything else is somebody's own and stays. A list that is
//! lost costs nothing but that: what it named stays too.
//!
//! It is a file with a line for each output that was written; a later line says more than an earlier
//! one. When most of its lines are earlier ones, it is written anew.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::project::Project;
use crate::store::{Digest, Entry, Tree};

/// What was written at one path of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Piece {
    /// A file with this content.
    File(Digest),
    /// A link that leads there.
    Link(String),
    /// A folder with nothing in it.
    Folder,
}

/// What was written for one output.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    /// The output's path.
    output: String,
    /// What was written, by path in the output's folder; an output that is a file has the path ``.
    pieces: BTreeMap<String, Piece>,
}

/// What was written for all outputs.
pub(super) struct Records {
    place: PathBuf,
    /// As it was when it was read.
    known: BTreeMap<String, BTreeMap<String, Piece>>,
    /// Where lines are added, once there is one to add.
    file: OnceLock<Option<File>>,
}

impl Records {
    /// Reads the list of a project.
    pub(super) fn of(project: &Project) -> Records {
        let place = project.store().join("outputs");
        let bytes = std::fs::read(&place).unwrap_or_default();
        let mut known = BTreeMap::new();
        let mut count = 0;
        // One that was cut short says nothing.
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Ok(Line { output, pieces }) = serde_json::from_slice(line) {
                known.insert(output, pieces);
                count += 1;
            }
        }
        let records = Records { place, known, file: OnceLock::new() };
        if count > 2 * records.known.len() {
            let _ = records.renew();
        }
        records
    }

    /// What was written at an output's path before; nothing when that is not known.
    pub(super) fn record(&self, output: &str) -> Record<'_> {
        let pieces = self.known.get(output).cloned().unwrap_or_default();
        Record { all: self, output: output.to_string(), pieces }
    }

    /// Writes the list without what was said before.
    fn renew(&self) -> std::io::Result<()> {
        let above = self.place.parent().unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(above)?;
        let mut out = std::io::BufWriter::new(file.as_file());
        for (output, pieces) in &self.known {
            let line = Line { output: output.clone(), pieces: pieces.clone() };
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        drop(out);
        file.persist(&self.place).map_err(|err| err.error)?;
        Ok(())
    }

    fn add(&self, line: &Line) {
        let file = self.file.get_or_init(|| {
            let mut file = OpenOptions::new();
            let mut file = file.append(true).create(true).open(&self.place).ok()?;
            // The last line may have been cut short.
            file.write_all(b"\n").ok()?;
            Some(file)
        });
        if let (Some(mut file), Ok(mut bytes)) = (file.as_ref(), serde_json::to_vec(line)) {
            bytes.push(b'\n');
            let _ = file.write_all(&bytes);
        }
    }
}

/// What was written for one output.
pub(super) struct Record<'a> {
    all: &'a Records,
    output: String,
    /// What was written, by path in the output's folder; an output that is a file has the path ``.
    pub(super) pieces: BTreeMap<String, Piece>,
}

impl Record<'_> {
    /// Remembers that these were written. What cannot be remembered leaves files behind one day,
    /// which is no reason to fail.
    pub(super) fn keep(&mut self, pieces: BTreeMap<String, Piece>) {
        if self.pieces == pieces {
            return;
        }
        self.pieces.clone_from(&pieces);
        self.all.add(&Line { output: self.output.clone(), pieces });
    }

    /// Takes away what was written before and does not come again. Whether anything went, and the
    /// paths of what stays, since it was changed in the meantime.
    pub(super) fn make_way(
        &self,
        target: &Path,
        next: &BTreeMap<String, Piece>,
    ) -> (bool, Vec<String>) {
        let (mut went, mut stays) = (false, Vec::new());
        // From the end, so that what a folder holds comes before it.
        for (path, piece) in self.pieces.iter().rev().filter(|(path, _)| !next.contains_key(*path))
        {
            // Behind a link that somebody put there is not what was written.
            if !is_plain(target, path) {
                continue;
            }
            let place = join(target, path);
            if std::fs::symlink_metadata(&place).is_err() {
                continue;
            }
            let gone = match piece {
                // One that something was put into is no longer empty, and stays with it.
                Piece::Folder => std::fs::remove_dir(&place).or(Ok(())),
                piece if piece.is_at(&place) => std::fs::remove_file(&place),
                _ => Err(std::io::ErrorKind::AlreadyExists.into()),
            };
            match gone {
                Ok(()) => went = true,
                Err(_) => stays.push(path.clone()),
            }
            // The folders that it was alone in were made for it.
            for above in Path::new(path).ancestors().skip(1) {
                if above == Path::new("") || std::fs::remove_dir(target.join(above)).is_err() {
                    break;
                }
            }
        }
        stays.reverse();
        (went, stays)
    }
}

/// The pieces of a folder.
pub(super) fn of_tree(tree: &Tree) -> BTreeMap<String, Piece> {
    let piece = |entry: &Entry| match entry {
        Entry::File { digest, .. } => Piece::File(*digest),
        Entry::Link(to) => Piece::Link(to.clone()),
        Entry::EmptyDir => Piece::Folder,
    };
    tree.entries.iter().map(|(path, entry)| (path.clone(), piece(entry))).collect()
}

impl Piece {
    /// Whether it stands there.
    pub(super) fn is_at(&self, place: &Path) -> bool {
        match self {
            Piece::File(digest) => is_file(place, digest),
            Piece::Link(to) => leads_to(place, to),
            Piece::Folder => std::fs::symlink_metadata(place).is_ok_and(|meta| meta.is_dir()),
        }
    }
}

/// The one piece of an output that is a file.
pub(super) fn of_file(digest: Digest) -> BTreeMap<String, Piece> {
    BTreeMap::from([(String::new(), Piece::File(digest))])
}

/// Whether a regular file with this content stands there.
pub(super) fn is_file(place: &Path, digest: &Digest) -> bool {
    std::fs::symlink_metadata(place).is_ok_and(|meta| meta.is_file())
        && std::fs::read(place).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
}

/// Whether a link stands there that leads to `to`.
pub(super) fn leads_to(place: &Path, to: &str) -> bool {
    std::fs::read_link(place).is_ok_and(|there| there == Path::new(to))
}

/// A path in a folder; the folder itself has no slash at its end.
pub(super) fn join(target: &Path, path: &str) -> PathBuf {
    if path.is_empty() { target.to_path_buf() } else { target.join(path) }
}

/// Whether the folders on the way to a path in `target` are folders, and no links to others.
fn is_plain(target: &Path, path: &str) -> bool {
    Path::new(path)
        .ancestors()
        .skip(1)
        .filter(|above| *above != Path::new(""))
        .all(|above| std::fs::symlink_metadata(target.join(above)).is_ok_and(|meta| meta.is_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lines_say_more_and_half_a_line_says_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let project = Project::around(place.path()).expect("a project");
        std::fs::create_dir(project.store()).expect("made");
        let piece = |text: &str| of_file(Digest::of(text.as_bytes()));
        let keep = |output: &str, text: &str| {
            Records::of(&project).record(output).keep(piece(text));
        };
        for round in 0..20 {
            keep("a", &round.to_string());
            keep("b", &round.to_string());
        }
        let list = project.store().join("outputs");
        let mut file = OpenOptions::new().append(true).open(&list).expect("it is there");
        file.write_all(b"{\"output\":\"a\",\"pie").expect("written");
        keep("c", "1");
        let records = Records::of(&project);
        let said = ["a", "b", "c", "d"].map(|output| records.record(output).pieces);
        assert_eq!(said, [piece("19"), piece("19"), piece("1"), BTreeMap::new()]);
        let lines = std::fs::read_to_string(&list).expect("it is there").lines().count();
        assert!(lines < 10, "most of what was said before is gone");
    }
}
