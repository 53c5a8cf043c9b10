//! Filling a workspace from a tree, and taking the tree out again.
//!
//! Both go name by name through open directories and never follow a link, so that nothing in a
//! workspace, whoever made it, can lead out of it. What comes out is reduced to what a [`Tree`]
//! can say: regular files with their executable bit, directories, and links that stay inside.
//! Everything else is refused by name. Times are not kept; what is put in bears a fixed one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, chmodat, fchmod, fstat,
    futimens, mkdirat, openat, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::wire::Item;
use super::{Limits, errno};
use crate::store::{Digest, Entry, Tree};

/// The time that everything in a fresh workspace bears: the first second of the year 2000, UTC.
const MOMENT: Timespec = Timespec { tv_sec: 946_684_800, tv_nsec: 0 };
/// Directories within directories; deeper ones are not taken out.
const MAX_DEPTH: usize = 100;
/// Refusals that are told one by one.
const MAX_REFUSALS: usize = 1000;
/// Bytes of all paths together: what is in memory while the listing is made and sent.
const MAX_NAMES: usize = 8 << 20;
/// Characters of a name that are shown.
const MAX_SHOWN: usize = 300;
/// Files shorter than this are taken whole.
const SHORT: u64 = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Says why `path` cannot stand in a workspace.
fn bad_path(path: &str) -> Option<&'static str> {
    if path.contains('\0') {
        return Some("has a NUL byte in its name");
    }
    let leaves = path.split('/').any(|name| matches!(name, "" | "." | ".."));
    leaves.then_some("leaves it")
}

/// Whether a link at `path` to `target` stays in the workspace, whatever else is in there. `..` may
/// stand only in front: behind a name that is itself a link it could lead anywhere.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut up = path.matches('/').count();
    let mut went_down = false;
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." if went_down || up == 0 => return false,
            ".." => up -= 1,
            _ => went_down = true,
        }
    }
    true
}

/// Makes sure that a tree, from the store or from inside a sandbox, can stand in a workspace.
///
/// # Errors
/// The first thing that is wrong with it, to follow the words "the workspace".
pub(crate) fn verify(tree: &Tree, limits: &Limits) -> Result<(), String> {
    if tree.entries.len() as u64 > limits.files {
        let count = tree.entries.len();
        return Err(format!("holds {count} files, more than the {} allowed", limits.files));
    }
    let mut size = 0u64;
    for (path, entry) in &tree.entries {
        if let Some(why) = bad_path(path) {
            return Err(format!("holds the path `{}`, which {why}", shown(path)));
        }
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        if let Some(above) = above.into_iter().find(|above| tree.entries.contains_key(*above)) {
            let path = shown(path);
            return Err(format!("holds `{path}` below `{}`, which is no folder", shown(above)));
        }
        match entry {
            Entry::Link(target) if !stays_inside(path, target) => {
                let (path, target) = (shown(path), shown(target));
                return Err(format!("holds the link `{path}` to `{target}`, which may leave it"));
            }
            Entry::File { size: one, .. } => size = size.saturating_add(*one),
            Entry::Link(_) | Entry::EmptyDir => {}
        }
    }
    if size > limits.disk {
        return Err(format!("holds {size} bytes, more than the {} allowed", limits.disk));
    }
    Ok(())
}

/// The things of a tree in the order in which they are put in.
pub(crate) fn items(tree: &Tree) -> impl Iterator<Item = (Item, Option<Digest>)> {
    tree.entries.iter().map(|(path, entry)| {
        let path = path.clone();
        match entry {
            Entry::File { digest, size, executable } => {
                (Item::File { path, size: *size, executable: *executable }, Some(*digest))
            }
            Entry::Link(target) => (Item::Link { path, target: target.clone() }, None),
            Entry::EmptyDir => (Item::Dir { path }, None),
        }
    })
}

/// Fills a workspace.
pub(crate) struct Filler {
    root: OwnedFd,
    made: BTreeSet<String>,
    /// The folder that the last thing went to: the next mostly goes there too.
    last: Option<(String, OwnedFd)>,
}

impl Filler {
    /// Fills the directory `root`.
    pub(crate) fn new(root: OwnedFd) -> Filler {
        Filler { root, made: BTreeSet::new(), last: None }
    }

    /// Puts one thing in; the content of a file is the next of `content`.
    ///
    /// # Errors
    /// What went wrong, to follow the words "the workspace".
    pub(crate) fn put(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), String> {
        let path = match item {
            Item::File { path, .. } | Item::Link { path, .. } | Item::Dir { path } => path,
        };
        if let Some(why) = bad_path(path) {
            return Err(format!("holds the path `{}`, which {why}", shown(path)));
        }
        self.place(item, path, content).map_err(|err| {
            let why = errno::text(errno::of(&err));
            format!("could not be put in: {why}, at `{}`", shown(path))
        })
    }

    fn place(&mut self, item: &Item, path: &str, content: &mut dyn Read) -> io::Result<()> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Item::Dir { .. } = item {
            self.folder(path)?;
            return Ok(());
        }
        self.folder(folder)?;
        let folder = self.last.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
        match item {
            Item::File { size, executable, .. } => {
                let mode = Mode::from_raw_mode(if *executable { 0o755 } else { 0o644 });
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let mut file = File::from(openat(folder, name, flags | OFlags::CLOEXEC, mode)?);
                let copied = io::copy(&mut content.take(*size), &mut file)?;
                if copied != *size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                futimens(&file, &moment())?;
            }
            Item::Link { target, .. } => {
                symlinkat(target.as_str(), folder, name)?;
                utimensat(folder, name, &moment(), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Item::Dir { .. } => {}
        }
        Ok(())
    }

    /// Opens the folder at `path`, making it and those above it, and remembers it.
    fn folder(&mut self, path: &str) -> io::Result<()> {
        if path.is_empty() {
            self.last = None;
            return Ok(());
        }
        if self.last.as_ref().is_some_and(|(last, _)| last == path) {
            return Ok(());
        }
        let mut folder = self.root.try_clone()?;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut start = 0;
        for end in ends {
            let name = &path[start..end];
            if !self.made.contains(&path[..end]) {
                match mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => self.made.insert(path[..end].to_string()),
                    Err(err) => return Err(err.into()),
                };
            }
            folder = openat(&folder, name, DIRECTORY, Mode::empty())?;
            start = end + 1;
        }
        self.last = Some((path.to_string(), folder));
        Ok(())
    }

    /// Gives the folders their time, now that nothing more is put into them.
    ///
    /// # Errors
    /// What went wrong, to follow the words "the workspace".
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let folders = self.made.iter().rev().map(|path| open_folder(self.root.as_fd(), path));
        folders
            .map(|folder| Ok(futimens(folder?, &moment())?))
            .chain([futimens(&self.root, &moment()).map_err(io::Error::from)])
            .collect::<io::Result<()>>()
            .map_err(|err: io::Error| {
                format!("could not be put in: {}", errno::text(errno::of(&err)))
            })
    }
}

fn moment() -> Timestamps {
    Timestamps { last_access: MOMENT, last_modification: MOMENT }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A FIFO that took a file's place must not make us wait.
const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opens the folder at `path` below `root`, following no link. The empty path is the root.
fn open_folder(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let mut folder = root.try_clone_to_owned()?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        folder = openat(&folder, name, DIRECTORY, Mode::empty())?;
    }
    Ok(folder)
}

/// Opens the regular file at `path` below `root`, following no link.
pub(crate) fn open_file(root: BorrowedFd<'_>, path: &str) -> io::Result<File> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = open_folder(root, folder)?;
    let file = openat(&folder, name, REGULAR, Mode::empty())?;
    if !is_file(&fstat(&file)?) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(File::from(file))
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whoever takes short files whole says their digest.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Vec<u8>) -> Digest;

/// Takes the tree out of the workspace at `root`: its shape and digests, and of contents only what
/// is short, if somebody takes that. Nothing may run in it any more. Links that lead out are refused
/// where `links` are looked at, which only a test forgoes.
///
/// # Errors
/// When the workspace itself cannot be read; a single thing that cannot is refused.
pub(crate) fn collect<'a>(
    root: BorrowedFd<'_>,
    limits: &'a Limits,
    links: bool,
    take: Option<Take<'a>>,
) -> io::Result<(Tree, Vec<String>)> {
    let mode = Mode::from_raw_mode(fstat(root)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        fchmod(root, mode | Mode::RWXU)?;
    }
    let mut collector = Collector::new(limits, links, take);
    collector.folder(root, "", 0)?;
    let mut refused = collector.refused;
    refused.sort();
    if collector.unnamed > 0 {
        refused.push(format!("and {} more", collector.unnamed));
    }
    Ok((Tree { entries: collector.entries }, refused))
}

/// Takes one regular file out of the workspace at `root`, as [`collect`] does; `None` where there is
/// none, or it is refused.
pub(crate) fn collect_file<'a>(
    root: BorrowedFd<'_>,
    path: &str,
    limits: &'a Limits,
    take: Take<'a>,
) -> Option<Entry> {
    let mut collector = Collector::new(limits, true, Some(take));
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = open_folder(root, folder).ok()?;
    let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if !is_file(&stat) {
        return None;
    }
    collector.file(folder.as_fd(), name, path).ok()?;
    collector.entries.remove(path)
}

struct Collector<'a> {
    entries: BTreeMap<String, Entry>,
    refused: Vec<String>,
    /// Refusals beyond those.
    unnamed: u64,
    limits: &'a Limits,
    links: bool,
    take: Option<Take<'a>>,
    bytes: u64,
    names: usize,
    chunk: Vec<u8>,
}

impl<'a> Collector<'a> {
    fn new(limits: &'a Limits, links: bool, take: Option<Take<'a>>) -> Collector<'a> {
        Collector {
            entries: BTreeMap::new(),
            refused: Vec::new(),
            unnamed: 0,
            limits,
            links,
            take,
            bytes: 0,
            names: 0,
            chunk: Vec::new(),
        }
    }

    fn folder(&mut self, folder: BorrowedFd<'_>, path: &str, depth: usize) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort();
        let before = self.entries.len();
        for name in names {
            let slash = if path.is_empty() { "" } else { "/" };
            let Ok(utf8) = std::str::from_utf8(&name) else {
                let lossy = format!("{path}{slash}{}", String::from_utf8_lossy(&name));
                self.refuse(&lossy, "a name that is not UTF-8");
                continue;
            };
            let path = format!("{path}{slash}{utf8}");
            if let Err(err) = self.thing(folder, utf8, &path, depth) {
                self.refuse(&path, &errno::text(errno::of(&err)));
            }
        }
        if !path.is_empty() && self.entries.len() == before {
            self.keep(path, Entry::EmptyDir);
        }
        Ok(())
    }

    fn thing(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &str,
        path: &str,
        depth: usize,
    ) -> io::Result<()> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(folder, name, path)?,
            FileType::Directory if depth >= MAX_DEPTH => {
                self.refuse(path, &format!("a folder more than {MAX_DEPTH} deep"));
            }
            FileType::Directory => {
                let inner = open_anyway(folder, name, DIRECTORY, 0o700)?;
                self.folder(inner.as_fd(), path, depth + 1)?;
            }
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new())?;
                match target.to_str() {
                    Ok(target) if stays_inside(path, target) || !self.links => {
                        self.keep(path, Entry::Link(target.to_string()));
                    }
                    Ok(target) => self.refuse(path, &format!("a link to {}", shown(target))),
                    Err(_) => self.refuse(path, "a link to a name that is not UTF-8"),
                }
            }
            FileType::Fifo => self.refuse(path, "a FIFO"),
            FileType::Socket => self.refuse(path, "a socket"),
            FileType::CharacterDevice | FileType::BlockDevice => self.refuse(path, "a device"),
            _ => self.refuse(path, "neither a file nor a folder nor a link"),
        }
        Ok(())
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &str, path: &str) -> io::Result<()> {
        let mut file = File::from(open_anyway(folder, name, REGULAR, 0o600)?);
        let stat = fstat(&file)?;
        if !is_file(&stat) {
            self.refuse(path, "not a regular file");
            return Ok(());
        }
        // A sparse file may claim any size; what counts is what reading it would give.
        let claimed = stat.st_size as u64;
        let room = self.limits.disk - self.bytes;
        if claimed > room {
            let limit = self.limits.disk;
            self.refuse(path, &format!("it takes the workspace past {limit} bytes"));
            return Ok(());
        }
        let read = match &mut self.take {
            Some(take) if claimed < SHORT.min(room) => {
                // One more byte than there should be tells the end in the same call.
                let mut bytes = Vec::with_capacity(claimed as usize + 1);
                file.by_ref().take(SHORT.min(room + 1)).read_to_end(&mut bytes)?;
                let size = bytes.len() as u64;
                (size < SHORT && size <= room).then(|| (take(bytes), size))
            }
            _ => hash(&mut file, &mut self.chunk, room)?,
        };
        let Some((digest, size)) = read else {
            self.refuse(path, "it grew while it was read");
            return Ok(());
        };
        self.bytes += size;
        let executable = Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR);
        self.keep(path, Entry::File { digest, size, executable });
        Ok(())
    }

    fn keep(&mut self, path: &str, entry: Entry) {
        self.names += path.len();
        if self.entries.len() as u64 >= self.limits.files {
            self.refuse(path, &format!("more than {} files", self.limits.files));
        } else if self.names > MAX_NAMES {
            self.refuse(path, &format!("more than {MAX_NAMES} bytes of names"));
        } else {
            self.entries.insert(path.to_string(), entry);
        }
    }

    fn refuse(&mut self, path: &str, why: &str) {
        if self.refused.len() < MAX_REFUSALS {
            self.refused.push(format!("{} ({why})", shown(path)));
        } else {
            self.unnamed += 1;
        }
    }
}

/// The digest of what is in a file, and how much that is; `None` when it is more than there is room
/// for. Reads it by `chunk`.
fn hash(file: &mut File, chunk: &mut Vec<u8>, room: u64) -> io::Result<Option<(Digest, u64)>> {
    chunk.resize(CHUNK, 0);
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    loop {
        let count = file.read(chunk)?;
        if count == 0 {
            return Ok(Some((Digest(*hasher.finalize().as_bytes()), size)));
        }
        hasher.update(&chunk[..count]);
        size += count as u64;
        if size > room {
            return Ok(None);
        }
    }
}

/// Opens something, giving us the right to where its owner, who we are, has taken it away.
fn open_anyway(
    folder: BorrowedFd<'_>,
    name: &str,
    flags: OFlags,
    mode: u32,
) -> io::Result<OwnedFd> {
    match openat(folder, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let mode = Mode::from_raw_mode(stat.st_mode) | Mode::from_raw_mode(mode);
            chmodat(folder, name, mode, AtFlags::empty())?;
            Ok(openat(folder, name, flags, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// A name as it can be shown to a person: not too long, control characters escaped.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        match c {
            _ if count == MAX_SHOWN => {
                out.push('…');
                break;
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_only_when_nothing_can_bend_them() {
        for (path, target) in [
            ("a", "b"),
            ("a", "./b/c"),
            ("d/a", "../b"),
            ("d/e/a", "../../b/c"),
            ("a", "b/"),
            ("d/a", ".."),
        ] {
            assert!(stays_inside(path, target), "{path} -> {target}");
        }
        for (path, target) in [
            ("a", "/etc"),
            ("a", "/workspace/b"),
            ("a", ".."),
            ("a", "../b"),
            ("d/a", "../../b"),
            ("a", "b/../../c"),
            ("e", "d/up/../secret"),
            ("a", ""),
        ] {
            assert!(!stays_inside(path, target), "{path} -> {target}");
        }
    }

    #[test]
    fn trees_that_cannot_stand_are_named() {
        let file = Entry::File { digest: Digest::of(b""), size: 0, executable: false };
        let told = |paths: &[(&str, Entry)]| {
            let entries = paths.iter().map(|(path, entry)| (path.to_string(), entry.clone()));
            verify(&Tree { entries: entries.collect() }, &Limits::default()).err()
        };
        assert_eq!(told(&[("a/b", file.clone()), ("a.c", Entry::EmptyDir)]), None);
        for path in ["../x", "/etc/x", "a/../b", "a//b", "", "a/.", "a\0b"] {
            assert!(told(&[(path, file.clone())]).is_some(), "{path:?}");
        }
        let below = told(&[("a", Entry::Link("b".into())), ("a/c", file.clone())]);
        assert_eq!(below.as_deref(), Some("holds `a/c` below `a`, which is no folder"));
        assert!(told(&[("a", Entry::Link("../b".into()))]).is_some());
        let huge = Entry::File { digest: Digest::of(b""), size: u64::MAX, executable: false };
        assert!(told(&[("a", huge.clone()), ("b", huge)]).is_some());
    }

    #[test]
    fn names_are_shown_without_control_characters() {
        assert_eq!(shown("a\x1b[2Jé\n"), "a\\u{1b}[2Jé\\n");
        assert_eq!(shown(&"ä".repeat(MAX_SHOWN)).chars().count(), MAX_SHOWN);
        assert!(shown(&"ä".repeat(MAX_SHOWN + 1)).ends_with("ä…"));
    }
}
