//! The segments of an index: which there are, and keeping them few.
//!
//! When the newest eight are about equally long they are merged into one, so that their number, and
//! how often an entry is written again, grow with the logarithm of what they hold.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::digest::Digest;
use super::manifest::Named;
use super::objects::StoreError;
use super::pack::Place;
use super::segment::{Segment, merged};

/// How many segments of about the same length are merged, and by which factor lengths then differ.
const FEW: usize = 8;

/// The segments in use, the oldest first.
pub(super) struct Segments {
    folder: PathBuf,
    open: RwLock<Vec<Arc<Segment>>>,
}

fn refused<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { doing, path: path.display().to_string(), source }
}

impl Segments {
    /// Opens those that are named for writing: all of them is checked, and what else is there is
    /// removed.
    ///
    /// # Errors
    /// [`StoreError::Index`] when one is missing, damaged or another.
    pub(super) fn open(folder: &Path, named: &[Named]) -> Result<Segments, StoreError> {
        std::fs::create_dir_all(folder).map_err(refused("making", folder))?;
        let segments = Segments::opened(folder, named, true)?;
        segments.sweep();
        Ok(segments)
    }

    /// Opens those that are named for reading; what is read of them is checked then.
    ///
    /// # Errors
    /// As [`Segments::open`].
    pub(super) fn read(folder: &Path, named: &[Named]) -> Result<Segments, StoreError> {
        Segments::opened(folder, named, false)
    }

    fn opened(folder: &Path, named: &[Named], verify: bool) -> Result<Segments, StoreError> {
        let open = |(number, sum): &Named| {
            let path = folder.join(name(*number));
            let opened = Segment::open(&path).and_then(|mut segment| {
                if verify {
                    segment.verify()?;
                }
                Ok(segment)
            });
            match opened {
                Ok(segment) if segment.sum == *sum => Ok(Arc::new(segment)),
                Ok(_) => Err(StoreError::Index(format!("segment {number} is another one"))),
                Err(err) if is_damage(&err) => {
                    Err(StoreError::Index(format!("segment {number}: {err}")))
                }
                Err(err) => Err(refused("reading", &path)(err)),
            }
        };
        let open = named.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(Segments { folder: folder.to_path_buf(), open: RwLock::new(open) })
    }

    /// Where an object stands: the newest place, if any.
    ///
    /// # Errors
    /// [`StoreError::Index`] when what had to be read for it is damaged; when the disk refuses.
    pub(super) fn find(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        for segment in open.iter().rev() {
            let found = segment.find(digest).map_err(|err| match is_damage(&err) {
                true => StoreError::Index(format!("{}: {err}", segment.path().display())),
                false => refused("reading", segment.path())(err),
            })?;
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

    /// Adds places; where one was known before, the new place is right. They are written and not yet
    /// synced. Names the segments that there are then.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn add(&self, mut objects: Vec<(Digest, Place)>) -> Result<Vec<Named>, StoreError> {
        let mut segments = self.now();
        if !objects.is_empty() {
            // The sort keeps equal ones in their order, of which the last is the newest.
            objects.sort_by_key(|(digest, _)| digest.0);
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
            segments.push(Arc::new(written.map_err(refused("writing", &path))?));
            while let Some(start) = alike(&segments) {
                let merged = match self.merge(&segments[start..]) {
                    // One was damaged since it was opened. They stay as they are, and whoever opens
                    // them next finds the damage.
                    Err(StoreError::Io { source, .. }) if is_damage(&source) => break,
                    merged => merged?,
                };
                segments.truncate(start);
                segments.push(Arc::new(merged));
            }
            *self.open.write().unwrap_or_else(PoisonError::into_inner) = segments.clone();
        }
        Ok(segments
            .iter()
            .filter_map(|segment| Some((number(segment.path())?, segment.sum)))
            .collect())
    }

    /// Makes those that are in use safe from a power cut.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let mut new = false;
        for segment in self.now() {
            new |= segment.sync().map_err(refused("syncing", segment.path()))?;
        }
        if new {
            let folder = std::fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
            folder.map_err(refused("syncing", &self.folder))?;
        }
        Ok(())
    }

    fn merge(&self, segments: &[Arc<Segment>]) -> Result<Segment, StoreError> {
        let path = self.next();
        let most = segments.iter().map(|segment| segment.count).sum();
        let write = || {
            let mut all: Entries<'_> = Box::new(std::iter::empty());
            for newer in segments {
                all = Box::new(merged(all, newer.entries()?));
            }
            Segment::write(&path, most, all)
        };
        write().map_err(refused("writing", &path))
    }

    /// Removes segments that are not in use any more. The index must remember without a doubt which
    /// ones are.
    pub(super) fn sweep(&self) {
        let used: BTreeSet<u32> =
            self.now().iter().filter_map(|segment| number(segment.path())).collect();
        for number in on_disk(&self.folder).difference(&used) {
            let _ = std::fs::remove_file(self.folder.join(name(*number)));
        }
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

type Entries<'a> = Box<dyn Iterator<Item = io::Result<(Digest, Place)>> + 'a>;

/// Where the newest segments begin that are to be merged, if there are enough of about one length.
fn alike(segments: &[Arc<Segment>]) -> Option<usize> {
    let rank = |segment: &Arc<Segment>| segment.count.max(1).ilog(FEW as u64);
    let newest = rank(segments.last()?);
    let start = segments.iter().rposition(|segment| rank(segment) > newest).map_or(0, |at| at + 1);
    (segments.len() - start >= FEW).then_some(start)
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
