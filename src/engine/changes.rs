//! What changed in a file or directory that a stage reads.

use crate::plan::Difference;
use crate::store::{Entry, Objects};

/// The largest text whose lines are compared, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// What differs between two files or two directories, each given by the digest of its content in
/// words.
pub fn difference(objects: &dyn Objects, was: &str, now: &str) -> Difference {
    let files = changed_files(objects, was, now);
    let lines = if files.is_empty() { changed_lines(objects, was, now) } else { None };
    Difference { files, lines }
}

/// The first and the last line that differ between two texts, as they are now; `None` when one of
/// them is no text, is not in the store, or is only shorter.
fn changed_lines(objects: &dyn Objects, was: &str, now: &str) -> Option<(usize, usize)> {
    let text = |name: &str| {
        let digest = name.parse().ok()?;
        let is_small = objects.size(&digest).is_ok_and(|size| size <= MAX_TEXT);
        is_small.then(|| String::from_utf8(objects.get(&digest).ok()?.to_vec()).ok()).flatten()
    };
    let (was, now) = (text(was)?, text(now)?);
    let (was, now): (Vec<&str>, Vec<&str>) = (was.lines().collect(), now.lines().collect());
    let head = was.iter().zip(&now).take_while(|(old, new)| old == new).count();
    let rest = was[head..].iter().rev().zip(now[head..].iter().rev());
    let tail = rest.take_while(|(old, new)| old == new).count();
    let (first, last) = (head + 1, now.len() - tail);
    (first <= last).then_some((first, last))
}

/// The paths that differ between two directories, each given by the digest of its tree in words.
/// None when one of them is not in the store.
pub fn changed_files(objects: &dyn Objects, was: &str, now: &str) -> Vec<String> {
    let tree = |text: &str| objects.tree(&text.parse().ok()?).ok();
    let (Some(was), Some(now)) = (tree(was), tree(now)) else {
        return Vec::new();
    };
    let content = |entry: &Entry| match entry {
        Entry::File { digest, executable, .. } => (Some(*digest), *executable, String::new()),
        Entry::Link(target) => (None, false, target.clone()),
        Entry::EmptyDir => (None, false, String::new()),
    };
    let mut paths: Vec<String> = was
        .entries
        .iter()
        .filter(|(path, entry)| {
            now.entries.get(*path).is_none_or(|other| content(other) != content(entry))
        })
        .map(|(path, _)| path.clone())
        .chain(now.entries.keys().filter(|path| !was.entries.contains_key(*path)).cloned())
        .collect();
    paths.sort();
    paths
}
