//! What changed in a directory that a stage reads.

use crate::store::{Entry, Objects};

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
