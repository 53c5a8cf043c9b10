//! A disk that forgets what was not synced, and the record of a run to play to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The system calls that change files, or make changes last.
pub(super) const CALLS: &[&str] = &[
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "rmdir",
];

/// One change, or one sync.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A file that is there from now on; empty if `truncated`.
    Open {
        path: PathBuf,
        truncated: bool,
    },
    /// Bytes at a place, or behind what there is.
    Write {
        path: PathBuf,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    Length {
        path: PathBuf,
        length: u64,
    },
    Folder(PathBuf),
    /// Another name; the old one goes if it is a rename.
    Name {
        from: PathBuf,
        to: PathBuf,
        moved: bool,
    },
    Remove(PathBuf),
    /// Of a file: its bytes are safe. Of a folder: the names in it are.
    Sync(PathBuf),
}

impl Step {
    /// Whether it changes what the store keeps results in.
    pub(super) fn is_in_store(&self) -> bool {
        let (Step::Open { path, .. }
        | Step::Write { path, .. }
        | Step::Length { path, .. }
        | Step::Folder(path)
        | Step::Name { to: path, .. }
        | Step::Remove(path)
        | Step::Sync(path)) = self;
        let path = path.to_string_lossy();
        ["/.claw/packs", "/.claw/objects", "/.claw/index"].iter().any(|part| path.contains(part))
    }
}

/// What a run did, in order.
pub(super) struct Trace {
    pub(super) steps: Vec<Step>,
}

impl Trace {
    /// Reads what strace wrote with `-f -y -xx`: every string in hexadecimal, file numbers with the
    /// paths of their files. What is not below `folder` is left out.
    pub(super) fn read(text: &str, folder: &Path) -> Trace {
        let mut waiting: HashMap<&str, String> = HashMap::new();
        let mut steps = Vec::new();
        for line in text.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if let Some(begun) = call.strip_suffix("<unfinished ...>") {
                waiting.insert(thread, begun.trim_end().to_string());
                continue;
            }
            let whole = match call.strip_prefix("<... ") {
                Some(rest) => {
                    let end = rest.split_once("resumed>").map_or("", |(_, end)| end);
                    waiting.remove(thread).unwrap_or_default() + end
                }
                None => call.to_string(),
            };
            steps.extend(step(&whole).filter(|step| step.below(folder)));
        }
        Trace { steps }
    }
}

impl Step {
    fn below(&self, folder: &Path) -> bool {
        match self {
            Step::Open { path, .. } | Step::Write { path, .. } | Step::Length { path, .. } => {
                path.starts_with(folder)
            }
            Step::Folder(path) | Step::Remove(path) | Step::Sync(path) => path.starts_with(folder),
            Step::Name { to, .. } => to.starts_with(folder),
        }
    }
}

/// One call: `write(5</path>, "bytes", 5) = 5`.
fn step(call: &str) -> Option<Step> {
    let (name, rest) = call.split_once('(')?;
    let (args, result) = rest.rsplit_once(") ")?;
    let result = result.trim_start().strip_prefix("= ")?;
    if result.starts_with('-') {
        return None;
    }
    let strings: Vec<Vec<u8>> = args.split('"').skip(1).step_by(2).map(unhex).collect();
    let file = || {
        let path = args.split_once('<')?.1.split_once('>')?.0;
        Some(path_of(unhex(path)))
    };
    let text = |number: usize| strings.get(number).map(|bytes| path_of(bytes.clone()));
    // Paths are relative to the folder that the first argument names, where one does.
    let folder = || {
        let path = args.split_once('<').filter(|(before, _)| !before.contains('"'))?.1;
        Some(path_of(unhex(path.split_once('>')?.0)))
    };
    let placed = |path: PathBuf| folder().map_or(path.clone(), |folder| folder.join(path));
    let last = || args.rsplit_once(", ")?.1.parse::<u64>().ok();
    Some(match name {
        "openat" => {
            if !args.contains("O_CREAT") && !args.contains("O_TRUNC") {
                return None;
            }
            Step::Open { path: placed(text(0)?), truncated: args.contains("O_TRUNC") }
        }
        "write" | "pwrite64" => {
            let mut bytes = strings.first()?.clone();
            bytes.truncate(result.parse().ok()?);
            let at = if name == "write" { None } else { Some(last()?) };
            Step::Write { path: file()?, at, bytes }
        }
        "fsync" | "fdatasync" => Step::Sync(file()?),
        "ftruncate" => Step::Length { path: file()?, length: last()? },
        "rename" | "renameat" | "renameat2" => {
            Step::Name { from: placed(text(0)?), to: placed(text(1)?), moved: true }
        }
        "link" | "linkat" => {
            Step::Name { from: placed(text(0)?), to: placed(text(1)?), moved: false }
        }
        "unlink" | "unlinkat" | "rmdir" => Step::Remove(placed(text(0)?)),
        "mkdir" | "mkdirat" => Step::Folder(placed(text(0)?)),
        _ => return None,
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().split(|byte| *byte == b'\\').skip(1);
    let byte =
        |part: &[u8]| u8::from_str_radix(std::str::from_utf8(part.get(1..3)?).ok()?, 16).ok();
    digits.filter_map(byte).collect()
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is there after a cut, beside what was synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kept {
    /// Nothing.
    Synced,
    /// Half of what was written behind the synced bytes of each file.
    Half,
    /// The whole index, which then knows of more than the packs hold.
    Index,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

/// Files as a running program sees them, and what of them would be there after a cut.
pub(super) struct Disk {
    root: PathBuf,
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    /// The names that are safe.
    safe: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
}

impl Disk {
    /// An empty disk whose files are below `root`.
    pub(super) fn new(root: &Path) -> Disk {
        Disk {
            root: root.to_path_buf(),
            files: Vec::new(),
            names: BTreeMap::new(),
            safe: BTreeMap::new(),
            folders: BTreeSet::new(),
        }
    }

    fn file(&mut self, path: &Path) -> &mut File {
        let number = *self.names.entry(path.to_path_buf()).or_insert_with(|| {
            self.files.push(File::default());
            self.files.len() - 1
        });
        &mut self.files[number]
    }

    pub(super) fn play(&mut self, step: &Step) {
        match step {
            Step::Open { path, truncated } => {
                let file = self.file(path);
                if *truncated {
                    file.bytes.clear();
                }
            }
            Step::Write { path, at, bytes } => {
                let file = self.file(path);
                let at = at.map_or(file.bytes.len(), |at| at as usize);
                let end = at + bytes.len();
                file.bytes.resize(file.bytes.len().max(end), 0);
                file.bytes[at..end].copy_from_slice(bytes);
            }
            Step::Length { path, length } => self.file(path).bytes.resize(*length as usize, 0),
            // Folders are made before anything that matters is in them.
            Step::Folder(path) => drop(self.folders.insert(path.clone())),
            Step::Name { from, to, moved } => {
                let under: Vec<PathBuf> =
                    self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in under {
                    let rest = path.strip_prefix(from).expect("a path below it");
                    let new = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    let number = self.names[&path];
                    self.names.insert(new, number);
                    if *moved {
                        self.names.remove(&path);
                    }
                }
            }
            Step::Remove(path) => drop(self.names.remove(path)),
            Step::Sync(path) if self.names.contains_key(path) => {
                let file = self.file(path);
                file.synced = file.bytes.clone();
            }
            Step::Sync(folder) => {
                self.safe.retain(|path, _| path.parent() != Some(folder));
                let inside = self.names.iter().filter(|(path, _)| path.parent() == Some(folder));
                self.safe.extend(inside.map(|(path, number)| (path.clone(), *number)));
            }
        }
    }

    /// Writes what is there after a cut into another folder.
    pub(super) fn after_a_cut(&self, kept: Kept, folder: &Path) {
        let place = |path: &Path| folder.join(path.strip_prefix(&self.root).expect("below it"));
        for path in &self.folders {
            std::fs::create_dir_all(place(path)).expect("a folder");
        }
        let index = self.root.join(".claw/index");
        let names: BTreeMap<&PathBuf, usize> = match kept {
            Kept::Index => {
                let written = self.names.iter().filter(|(path, _)| path.starts_with(&index));
                self.safe.iter().chain(written).map(|(path, number)| (path, *number)).collect()
            }
            _ => self.safe.iter().map(|(path, number)| (path, *number)).collect(),
        };
        for (path, number) in names {
            let file = &self.files[number];
            let bytes = match kept {
                Kept::Index if path.starts_with(&index) => file.bytes.clone(),
                Kept::Half if file.bytes.starts_with(&file.synced) => {
                    let more = (file.bytes.len() - file.synced.len()) / 2;
                    file.bytes[..file.synced.len() + more].to_vec()
                }
                _ => file.synced.clone(),
            };
            let path = place(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, bytes).expect("a file");
        }
    }
}

/// The records of a pack, as `src/store/pack.rs` lays them out: kind and bytes.
fn records(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut out = Vec::new();
    while bytes.len() >= 56 {
        let stored = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        let (record, rest) = bytes.split_at(48 + stored + 8);
        out.push((record[4], record));
        bytes = rest;
    }
    out
}

/// A record of which all appends to the pack are one, torn by a power cut: as many of its bytes are
/// there as there are in receipts. `receipts_first` puts those in front of the objects.
pub(super) fn torn_append(trace: &Trace, receipts_first: bool) -> Vec<Step> {
    let is_pack = |path: &Path| path.to_string_lossy().contains("/.claw/packs/");
    let (mut all, mut pack, mut steps) = (Vec::new(), None, Vec::new());
    for step in &trace.steps {
        match step {
            Step::Write { path, at: None, bytes } if is_pack(path) => {
                all.extend(bytes);
                pack = Some(path.clone());
            }
            step => steps.push(step.clone()),
        }
    }
    let mut records = records(&all);
    let is_receipt = |kind: u8| kind == 2;
    let receipts = records.iter().filter(|(kind, _)| is_receipt(*kind));
    let length: usize = receipts.map(|(_, record)| record.len()).sum();
    if receipts_first {
        records.sort_by_key(|(kind, _)| !is_receipt(*kind));
    }
    let mut bytes: Vec<u8> = records.into_iter().flat_map(|(_, record)| record.to_vec()).collect();
    bytes.truncate(length);
    let path = pack.expect("a pack");
    steps.push(Step::Write { path: path.clone(), at: None, bytes });
    steps.push(Step::Sync(path));
    steps
}
