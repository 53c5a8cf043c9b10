//! What a package is made of: its files, held in memory once they were read and found good.
//!
//! A package reaches claw as a folder, an archive or a revision of a git repository. Each of these
//! is read into a [`Content`] first, and everything after that (the digest, the cache, what programs
//! read) is made from it alone. So an archive cannot write outside a folder, a link is never
//! followed by the system, and what was verified is what is used.
//!
//! The digest is that of a [`Tree`]: names, bytes, executable bits and links, nothing else. Version
//! control, stores, locks and leftovers of editors are no part of a package; empty folders neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::{Digest, Entry, Objects, StoreError, Tree};

use super::error::PackageError;

/// The most bytes that the files of a package may have together.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// The most files that a package may have.
pub(super) const MAX_FILES: usize = 20_000;

/// How many links may be followed on the way to one file.
const MAX_LINKS: usize = 40;

/// Names that are no part of a package, wherever they stand.
const LEFT_OUT: [&str; 9] =
    [".git", ".hg", ".jj", ".svn", ".claw", ".idea", ".vscode", ".DS_Store", "__pycache__"];

/// Names that are no part of a package at its top: they belong to the project that it is while it is
/// worked on.
const LEFT_OUT_AT_TOP: [&str; 2] = ["claw.lock", super::vendor::FOLDER];

/// One file or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A regular file.
    File {
        /// What it holds.
        bytes: Arc<[u8]>,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link and its target as written.
    Link(String),
}

/// The files of a package by their paths (`/`-separated, relative to the package).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    pieces: BTreeMap<String, Piece>,
}

impl Content {
    /// A package of these files. What is no part of a package is left out.
    ///
    /// # Errors
    /// A path or a link that leaves the package, a path twice, a file where a folder is, too much.
    pub fn new(pieces: Vec<(String, Piece)>) -> Result<Content, String> {
        let mut content = Content::default();
        let mut size = 0u64;
        for (path, piece) in pieces {
            is_inside(&path)?;
            if is_left_out(&path) {
                continue;
            }
            match &piece {
                Piece::File { bytes, .. } => size += bytes.len() as u64,
                Piece::Link(target) => link_stays(&path, target)?,
            }
            if size > MAX_BYTES {
                return Err(too_large());
            }
            if content.pieces.insert(path.clone(), piece).is_some() {
                return Err(format!("it holds {path} twice"));
            }
            if content.pieces.len() > MAX_FILES {
                return Err(format!("it holds more than {MAX_FILES} files"));
            }
        }
        for path in content.pieces.keys() {
            let mut above = path.as_str();
            while let Some((folder, _)) = above.rsplit_once('/') {
                if content.pieces.contains_key(folder) {
                    return Err(format!("{folder} is a file, and {path} lies below it"));
                }
                above = folder;
            }
        }
        Ok(content)
    }

    /// The package in a folder.
    ///
    /// # Errors
    /// When the folder cannot be read, or what is in it is no package.
    pub fn of_folder(folder: &Path) -> Result<Content, PackageError> {
        let mut pieces = Vec::new();
        let mut size = 0;
        walk(folder, "", &mut pieces, &mut size)?;
        Content::new(pieces).map_err(|why| {
            PackageError::unusable(format!("{} is no package: {why}", folder.display()))
        })
    }

    /// The files and links, by path.
    pub fn pieces(&self) -> &BTreeMap<String, Piece> {
        &self.pieces
    }

    /// What names the package: the digest of its [`Tree`].
    pub fn digest(&self) -> Digest {
        self.tree(|bytes| Ok::<Digest, std::convert::Infallible>(Digest::of(bytes)))
            .map_or_else(|never| match never {}, |tree| tree.digest())
    }

    fn tree<E>(&self, mut keep: impl FnMut(&[u8]) -> Result<Digest, E>) -> Result<Tree, E> {
        let mut tree = Tree::default();
        for (path, piece) in &self.pieces {
            let entry = match piece {
                Piece::File { bytes, executable } => Entry::File {
                    digest: keep(bytes)?,
                    size: bytes.len() as u64,
                    executable: *executable,
                },
                Piece::Link(target) => Entry::Link(target.clone()),
            };
            tree.entries.insert(path.clone(), entry);
        }
        Ok(tree)
    }

    /// The bytes of a file, through links; `None` when there is none.
    pub fn file(&self, path: &str) -> Option<Arc<[u8]>> {
        match self.pieces.get(&self.followed(path)?)? {
            Piece::File { bytes, .. } => Some(bytes.clone()),
            Piece::Link(_) => None,
        }
    }

    /// Whether a path is a folder, through links. The package itself (`""`) is one.
    pub fn is_folder(&self, path: &str) -> bool {
        self.folder(path).is_some()
    }

    /// The files below a folder, with paths relative to it; `None` when there is no such folder.
    fn folder(&self, path: &str) -> Option<Content> {
        let path = self.followed(path)?;
        let start = if path.is_empty() { String::new() } else { format!("{path}/") };
        let pieces: BTreeMap<String, Piece> = self
            .pieces
            .iter()
            .filter_map(|(name, piece)| {
                Some((name.strip_prefix(&start)?.to_string(), piece.clone()))
            })
            .collect();
        (!pieces.is_empty() || path.is_empty()).then_some(Content { pieces })
    }

    /// The digest of a folder of the package, whose files are kept in `objects`; `None` when there
    /// is no such folder.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn keep_folder(
        &self,
        path: &str,
        objects: &dyn Objects,
    ) -> Result<Option<Digest>, StoreError> {
        let Some(folder) = self.folder(path) else {
            return Ok(None);
        };
        let tree = folder.tree(|bytes| objects.put(bytes))?;
        objects.put_tree(&tree).map(Some)
    }

    /// The names directly in a folder, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        let names: BTreeSet<String> = self
            .folder(path)
            .unwrap_or_default()
            .pieces
            .keys()
            .filter_map(|name| name.split('/').next().map(str::to_string))
            .collect();
        names.into_iter().collect()
    }

    /// Where a path leads once its links are followed.
    fn followed(&self, path: &str) -> Option<String> {
        let mut left: Vec<String> = parts(path).rev().map(str::to_string).collect();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                at.pop()?;
                continue;
            }
            at.push(part);
            if let Some(Piece::Link(target)) = self.pieces.get(&at.join("/")) {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                at.pop();
                left.extend(parts(target).rev().map(str::to_string));
            }
        }
        Some(at.join("/"))
    }

    /// Writes the files into an empty folder.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_to(&self, folder: &Path) -> Result<(), PackageError> {
        for (path, piece) in &self.pieces {
            let place = folder.join(path);
            let above = place.parent().unwrap_or(folder);
            std::fs::create_dir_all(above).map_err(PackageError::io("making", above))?;
            match piece {
                Piece::File { bytes, executable } => {
                    std::fs::write(&place, bytes).map_err(PackageError::io("writing", &place))?;
                    let mode = if *executable { 0o755 } else { 0o644 };
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
                    std::fs::set_permissions(&place, mode)
                        .map_err(PackageError::io("writing", &place))?;
                }
                Piece::Link(target) => std::os::unix::fs::symlink(target, &place)
                    .map_err(PackageError::io("linking", &place))?,
            }
        }
        Ok(())
    }
}

/// Why a package that grows past the bounds is refused.
pub(super) fn too_large() -> String {
    format!("its files have more than {} MiB together", MAX_BYTES >> 20)
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// Refuses a path that is not plainly one below the package.
fn is_inside(path: &str) -> Result<(), String> {
    is_plain(path)?;
    if path.starts_with('/') {
        return Err(format!("{path} is an absolute path"));
    }
    for part in path.split('/') {
        match part {
            ".." => return Err(format!("{path} leads out of it")),
            "" | "." => return Err(format!("`{path}` is no path of a file")),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses characters that would act on the terminal of who reads a message about the path, or
/// that other systems take for the end of a folder's name.
pub(super) fn is_plain(path: &str) -> Result<(), String> {
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err(format!("{path:?} holds a character that no path should"));
    }
    Ok(())
}

/// Refuses a link that could lead out of the package.
///
/// A link may climb (`../`) at most to the package and then only descend. Since that holds for every
/// link, no chain of them leaves either: each climbs from the folder in which it really stands.
fn link_stays(path: &str, target: &str) -> Result<(), String> {
    is_plain(target)?;
    let depth = path.matches('/').count();
    let mut climbed = 0;
    let mut descends = false;
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part != ".." {
            descends = true;
        } else if descends {
            return Err(format!("the link {path} -> {target} climbs after it descended"));
        } else {
            climbed += 1;
        }
    }
    if target.starts_with('/') || climbed > depth {
        return Err(format!("the link {path} -> {target} leads out of it"));
    }
    Ok(())
}

fn is_left_out(path: &str) -> bool {
    let top = path.split('/').next().unwrap_or(path);
    LEFT_OUT_AT_TOP.contains(&top)
        || path
            .split('/')
            .any(|part| LEFT_OUT.contains(&part) || part.ends_with('~') || part.ends_with(".swp"))
}

fn walk(
    folder: &Path,
    prefix: &str,
    pieces: &mut Vec<(String, Piece)>,
    size: &mut u64,
) -> Result<(), PackageError> {
    let entries = std::fs::read_dir(folder).map_err(PackageError::io("reading", folder))?;
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in entries {
        names.push(entry.map_err(PackageError::io("reading", folder))?.path());
    }
    names.sort();
    for place in names {
        let refused = |why: String| {
            PackageError::unusable(format!("{} is no part of a package: {why}", place.display()))
        };
        let name = place.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| refused("its name is not UTF-8".to_string()))?;
        let path = if prefix.is_empty() { name.into() } else { format!("{prefix}/{name}") };
        if is_left_out(&path) {
            continue;
        }
        let meta =
            std::fs::symlink_metadata(&place).map_err(PackageError::io("reading", &place))?;
        if meta.is_dir() {
            walk(&place, &path, pieces, size)?;
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&place).map_err(PackageError::io("reading", &place))?;
            let target =
                target.to_str().ok_or_else(|| refused("its target is not UTF-8".into()))?;
            pieces.push((path, Piece::Link(target.to_string())));
        } else if meta.is_file() {
            *size += meta.len();
            if *size > MAX_BYTES || pieces.len() >= MAX_FILES {
                return Err(refused(format!(
                    "a package has at most {MAX_FILES} files and {} MiB",
                    MAX_BYTES >> 20
                )));
            }
            let bytes = std::fs::read(&place).map_err(PackageError::io("reading", &place))?;
            let executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111;
            let executable = executable != 0;
            pieces.push((path, Piece::File { bytes: bytes.into(), executable }));
        } else {
            return Err(refused("it is neither a file, a folder nor a link".to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Piece {
        Piece::File { bytes: text.as_bytes().into(), executable: false }
    }

    fn of(pieces: &[(&str, Piece)]) -> Result<Content, String> {
        Content::new(pieces.iter().map(|(path, piece)| (path.to_string(), piece.clone())).collect())
    }

    #[test]
    fn links_may_climb_to_the_package_and_no_further() {
        let link = |path: &str, target: &str| of(&[(path, Piece::Link(target.into()))]);
        assert!(link("a/b", "../c").is_ok());
        assert!(link("a/b", "..").is_ok());
        assert!(link("a/b", "../../c").is_err());
        assert!(link("b", "/etc/passwd").is_err());
        assert!(link("b", "a\u{1b}[2J").is_err_and(|why| !why.contains('\u{1b}')));
        assert!(link("b", "a/../../c").is_err());
        // Through the link x/y/l, which is the package itself, this would climb out of it.
        assert!(link("e", "x/y/l/../secret").is_err());
    }

    #[test]
    fn paths_are_plain() {
        for path in ["../x", "a/../../x", "/x", "a//b", "./a", "", "a/", "a\\b", "a\nb"] {
            assert!(of(&[(path, file(""))]).is_err(), "{path}");
        }
        assert!(of(&[("a", file("")), ("a/b", file(""))]).is_err());
        assert!(of(&[("a", file("")), ("a", file(""))]).is_err());
    }

    #[test]
    fn links_are_followed_inside() {
        let content = of(&[
            ("real/deep/x.md", file("x")),
            ("short", Piece::Link("real/deep".into())),
            ("real/up", Piece::Link("../short/x.md".into())),
            ("round", Piece::Link("round".into())),
        ])
        .expect("a package");
        assert_eq!(content.file("short/x.md").as_deref(), Some(&b"x"[..]));
        assert_eq!(content.file("real/up").as_deref(), Some(&b"x"[..]));
        assert_eq!(content.file("round"), None);
        assert_eq!(content.names("short"), ["x.md"]);
        assert!(content.is_folder("real") && !content.is_folder("real/up"));
    }

    #[test]
    fn what_belongs_to_a_checkout_is_left_out() {
        let bare = of(&[("lib.claw", file("x"))]).expect("a package");
        let full = of(&[
            ("lib.claw", file("x")),
            ("lib.claw~", file("old")),
            ("claw.lock", file("")),
            (".git/config", file("")),
            ("sub/.claw/lock", file("")),
            ("vendor/other/lib.claw", file("")),
        ]);
        assert_eq!(full.expect("a package").digest(), bare.digest());
        let deeper = of(&[("lib.claw", file("x")), ("sub/vendor/x", file(""))]);
        assert_ne!(deeper.expect("a package").digest(), bare.digest());
    }
}
