//! What claw wrote, by output: so that what a later result lacks goes, and nothing else.
//!
//! Beside the store lies a record for each output's path. What it names is removed when the next
//! result lacks it, and only while it still is what was written: anything else is somebody's own and
//! stays. A record that is lost costs nothing but that: what it named stays too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::project::Project;
use crate::store::{Digest, Entry, KeyHasher, Tree};

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
pub(super) struct Record {
    /// The output's path.
    output: String,
    /// What was written, by path in the output's folder; an output that is a file has the path ``.
    pub(super) pieces: BTreeMap<String, Piece>,
}

impl Record {
    /// What was written at an output's path before; nothing when that is not known.
    pub(super) fn of(project: &Project, output: &str) -> Record {
        std::fs::read(place(project, output))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
            .filter(|record| record.output == output)
            .unwrap_or_else(|| Record { output: output.to_string(), pieces: BTreeMap::new() })
    }

    /// Remembers that these were written. A record that cannot be kept leaves files behind one day,
    /// which is no reason to fail.
    pub(super) fn keep(&mut self, project: &Project, pieces: BTreeMap<String, Piece>) {
        if self.pieces == pieces {
            return;
        }
        self.pieces = pieces;
        let place = place(project, &self.output);
        if let (Some(above), Ok(bytes)) = (place.parent(), serde_json::to_vec(self)) {
            let _ = std::fs::create_dir_all(above).and_then(|()| {
                let file = tempfile::NamedTempFile::new_in(above)?;
                std::fs::write(file.path(), bytes)?;
                file.persist(&place).map_err(|err| err.error)
            });
        }
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
                Piece::File(digest) if is_file(&place, digest) => std::fs::remove_file(&place),
                Piece::Link(to) if leads_to(&place, to) => std::fs::remove_file(&place),
                // One that something was put into is no longer empty, and stays with it.
                Piece::Folder => std::fs::remove_dir(&place).or(Ok(())),
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
fn join(target: &Path, path: &str) -> PathBuf {
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

fn place(project: &Project, output: &str) -> PathBuf {
    let mut hasher = KeyHasher::new("claw output 1");
    hasher.text(output);
    project.store().join("outputs").join(hasher.finish().short())
}
