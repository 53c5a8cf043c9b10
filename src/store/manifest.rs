//! What the index holds, in a few lines: up to where the packs are indexed, and in which segments.
//!
//! The writer keeps a manifest in sled, which it alone can open, and leaves the same one, or a newer
//! one, in `index/segments/now` for readers. There it is replaced in one step, after the segments
//! that it names were written and before those that it names no more go; it is removed before the
//! packs may become others than those it speaks of. It is believed only where the packs and the
//! segments are those it was written for, so that a torn, an old or a strange one costs a reader a
//! scan and nothing else.
//!
//! ```text
//! claw index 3 CHECK
//! {"end":[1,4711],"witness":"…","objects":[[1,"…"]],"receipts":[]}
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::pack;

/// Version of what the index holds; another one means that it is made anew.
pub(super) const FORMAT: &str = "claw index 3";

/// The file for readers, in the segments' folder.
const FILE: &str = "now";

/// A segment: its number, and the sum of what it holds.
pub(super) type Named = (u32, Digest);

/// What the index holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Pack and offset up to which everything is indexed.
    pub(super) end: (u32, u64),
    /// The digest of the last bytes before that place, by which these packs are told from others.
    pub(super) witness: Option<Digest>,
    /// The segments with the places of objects, the oldest first.
    pub(super) objects: Vec<Named>,
    /// Those with the places of receipts.
    pub(super) receipts: Vec<Named>,
}

/// The digest of the last bytes before a place in a pack: the check of the record that ends there.
/// None when nothing stands before it, or the pack is shorter or not there.
pub(super) fn witness(store: &Path, (number, offset): (u32, u64)) -> Option<Digest> {
    let from = offset.checked_sub(pack::CHECK as u64)?;
    let mut last = [0u8; pack::CHECK];
    let file = File::open(pack::path(store, number)).ok()?;
    file.read_exact_at(&mut last, from).ok()?;
    Some(Digest::of(&last))
}

impl Manifest {
    /// Whether the packs are those that it speaks of, as far as the last record tells.
    pub(super) fn matches(&self, store: &Path) -> bool {
        let (number, offset) = self.end;
        if offset > 0 {
            return self.witness.is_some() && self.witness == witness(store, self.end);
        }
        // Nothing of that pack is indexed, but then all of the one before it is.
        number <= 1 || pack::path(store, number - 1).exists()
    }

    /// The manifest that is there for readers; none when it is missing, torn or of another format.
    pub(super) fn read(folder: &Path) -> Option<Manifest> {
        let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
        let (head, body) = text.split_once('\n')?;
        let check: Digest = head.strip_prefix(FORMAT)?.trim_start().parse().ok()?;
        (Digest::of(body.as_bytes()) == check).then(|| serde_json::from_str(body).ok())?
    }

    /// Leaves it for readers, in place of the one before.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn leave(&self, folder: &Path) -> io::Result<()> {
        let body = serde_json::to_string(self).map_err(io::Error::other)?;
        let text = format!("{FORMAT} {}\n{body}", Digest::of(body.as_bytes()));
        let new = folder.join("now.new");
        // Not synced: after a power cut it, or what it names, may be torn, and that is noticed.
        std::fs::write(&new, text)?;
        std::fs::rename(&new, folder.join(FILE))
    }

    /// Takes away the one that is there for readers, for good.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn remove(folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(folder.join(FILE)) {
            Ok(()) => File::open(folder)?.sync_all(),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(err) => Err(err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_left_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Manifest::read(folder.path()), None);
        let manifest = Manifest {
            end: (3, 4711),
            witness: Some(Digest::of(b"last")),
            objects: vec![(1, Digest::of(b"1")), (7, Digest::of(b"7"))],
            receipts: vec![(2, Digest::of(b"2"))],
        };
        manifest.leave(folder.path()).expect("left");
        assert_eq!(Manifest::read(folder.path()), Some(manifest));
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).expect("read");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).expect("written");
            assert_eq!(Manifest::read(folder.path()), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).expect("written");
            assert_eq!(Manifest::read(folder.path()), None, "cut at {at}");
        }
        Manifest::remove(folder.path()).expect("removed");
        Manifest::remove(folder.path()).expect("nothing to remove");
    }
}
