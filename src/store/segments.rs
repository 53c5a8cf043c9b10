//! The segments of an index: which there are, and keeping them few.
//!
//! A new segment is merged with the one before it when that is not much longer, so that their
//! number grows with the logarithm of what they hold. Merged ones stay on disk until the index is
//! opened the next time: after a power cut sled may remember an older state, which names them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::digest::Digest;
use super::objects::StoreError;
use super::pack::Place;
use super::segment::{Segment, merged};

/// A segment this much longer than the next one is left alone.
const LONGER: u64 = 4;

/// The segments in use, the oldest first.
pub(super) struct Segments {
    folder: PathBuf,
    open: RwLock<Vec<Arc<Segment>>>,
}

fn refused<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { doing, path: path.display().to_string(), source }
}

impl Segments {
    /// Opens those with these numbers, and removes what else is there.
    ///
    /// # Errors
    /// [`StoreError::Index`] when one is missing or damaged.
    pub(super) fn open(folder: &Path, numbers: &[u32]) -> Result<Segments, StoreError> {
        std::fs::create_dir_all(folder).map_err(refused("making", folder))?;
        let open = numbers
            .iter()
            .map(|number| {
                let path = folder.join(name(*number));
                match Segment::open(&path) {
                    Ok(segment) => Ok(Arc::new(segment)),
                    Err(err) if is_damage(&err) => {
                        Err(StoreError::Index(format!("segment {number}: {err}")))
                    }
                    Err(err) => Err(refused("reading", &path)(err)),
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        for number in on_disk(folder).into_iter().filter(|number| !numbers.contains(number)) {
            let _ = std::fs::remove_file(folder.join(name(number)));
        }
        Ok(Segments { folder: folder.to_path_buf(), open: RwLock::new(open) })
    }

    /// Where an object stands: the newest place, if any.
    pub(super) fn find(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        for segment in open.iter().rev() {
            let found = segment.find(digest).map_err(refused("reading", segment.path()))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// How many places they hold.
    pub(super) fn count(&self) -> u64 {
        self.now().iter().map(|segment| segment.count).sum()
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Adds the places of objects; where one was known before, the new place is right. Gives the
    /// numbers of the segments that there are then.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn add(&self, mut objects: Vec<(Digest, Place)>) -> Result<Vec<u32>, StoreError> {
        let mut segments = self.now();
        if !objects.is_empty() {
            // The sort keeps equal ones in their order, of which the last is the newest.
            objects.sort_by(|a, b| a.0.0.cmp(&b.0.0));
            let mut kept: Vec<(Digest, Place)> = Vec::with_capacity(objects.len());
            for entry in objects {
                match kept.last_mut() {
                    Some(last) if last.0 == entry.0 => *last = entry,
                    _ => kept.push(entry),
                }
            }
            let path = self.next();
            let written =
                Segment::write(&path, kept.len() as u64, kept.into_iter().map(Ok::<_, io::Error>));
            let mut newest = Arc::new(written.map_err(refused("writing", &path))?);
            while let Some(before) = segments.last()
                && before.count <= newest.count * LONGER
            {
                newest = Arc::new(self.merge(before, &newest)?);
                segments.pop();
            }
            segments.push(newest);
            let folder = std::fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
            folder.map_err(refused("syncing", &self.folder))?;
            *self.open.write().unwrap_or_else(PoisonError::into_inner) = segments.clone();
        }
        Ok(segments.iter().filter_map(|segment| number(segment.path())).collect())
    }

    fn merge(&self, older: &Segment, newer: &Segment) -> Result<Segment, StoreError> {
        let path = self.next();
        let write = || {
            let entries = merged(older.entries()?, newer.entries()?);
            Segment::write(&path, older.count + newer.count, entries)
        };
        write().map_err(refused("writing", &path))
    }

    /// A path that nothing has.
    fn next(&self) -> PathBuf {
        let last = on_disk(&self.folder).last().copied().unwrap_or(0);
        self.folder.join(name(last + 1))
    }

    fn now(&self) -> Vec<Arc<Segment>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn name(number: u32) -> String {
    format!("{number:08}")
}

fn number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

fn on_disk(folder: &Path) -> BTreeSet<u32> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    entries.filter_map(|entry| number(&entry.ok()?.path())).collect()
}

fn is_damage(err: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(err.kind(), InvalidData | NotFound | UnexpectedEof)
}
