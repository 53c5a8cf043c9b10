//! A tree: the content of a directory, by digest.
//!
//! Workspaces, skills and task families travel as trees. A tree's bytes are one line an entry,
//! sorted by path, so that equal directories have equal digests on every machine:
//!
//! ```text
//! file 644 <digest> <size> notes/a.txt
//! link - <target, percent-encoded> - notes/b.txt
//! ```
//!
//! Directories are implied by the paths of what they hold; an empty one has a `dir` line.

use std::collections::BTreeMap;

use super::digest::Digest;

/// What stands at one path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File {
        /// The digest of its bytes.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link and its target as written.
    Link(String),
    /// A directory with nothing in it.
    EmptyDir,
}

/// The content of a directory: relative paths (`/`-separated, no `.` or `..`) and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Entries by path, sorted.
    pub entries: BTreeMap<String, Entry>,
}

/// Bytes that are not a tree.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of a tree is damaged: {text}")]
pub struct BadTree {
    line: usize,
    text: String,
}

impl Tree {
    /// The bytes that the tree's digest is made of.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::new();
        for (path, entry) in &self.entries {
            let path = escape(path);
            match entry {
                Entry::File { digest, size, executable } => {
                    let mode = if *executable { "755" } else { "644" };
                    out.push_str(&format!("file {mode} {digest} {size} {path}\n"));
                }
                Entry::Link(target) => {
                    out.push_str(&format!("link - {} - {path}\n", escape(target)))
                }
                Entry::EmptyDir => out.push_str(&format!("dir - - - {path}\n")),
            }
        }
        out.into_bytes()
    }

    /// Reads what [`Tree::encode`] wrote.
    ///
    /// # Errors
    /// The first line that is not an entry.
    pub fn decode(bytes: &[u8]) -> Result<Tree, BadTree> {
        let text = String::from_utf8_lossy(bytes);
        let mut entries = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let bad = || BadTree { line: index + 1, text: line.to_string() };
            let parts: Vec<&str> = line.splitn(5, ' ').collect();
            let [kind, mode, what, size, path] = parts[..] else {
                return Err(bad());
            };
            let entry = match kind {
                "file" => Entry::File {
                    digest: what.parse().map_err(|_| bad())?,
                    size: size.parse().map_err(|_| bad())?,
                    executable: mode == "755",
                },
                "link" => Entry::Link(unescape(what).ok_or_else(bad)?),
                "dir" => Entry::EmptyDir,
                _ => return Err(bad()),
            };
            entries.insert(unescape(path).ok_or_else(bad)?, entry);
        }
        Ok(Tree { entries })
    }

    /// The tree's own digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// The part of the tree below `prefix` (without a trailing `/`), paths relative to it.
    pub fn below(&self, prefix: &str) -> Tree {
        let start = format!("{prefix}/");
        let entries = self
            .entries
            .iter()
            .filter_map(|(path, entry)| {
                Some((path.strip_prefix(&start)?.to_string(), entry.clone()))
            })
            .collect();
        Tree { entries }
    }

    /// The names directly below the root, sorted, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .entries
            .keys()
            .filter_map(|path| path.split('/').next().map(str::to_string))
            .collect();
        names.dedup();
        names
    }

    /// The digests of the files in it.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Digest)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { digest, .. } => Some((path.as_str(), digest)),
            _ => None,
        })
    }

    /// The total size of its files in bytes.
    pub fn size(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| if let Entry::File { size, .. } = entry { *size } else { 0 })
            .sum()
    }
}

/// Newlines, spaces and percent signs would break a line; they are percent-encoded.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' | ' ' | '\n' | '\r' => out.push_str(&format!("%{:02x}", c as u32)),
            _ => out.push(c),
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = u8::from_str_radix(rest.get(at + 1..at + 3)?, 16).ok()?;
        out.push(code as char);
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Some(out)
}
