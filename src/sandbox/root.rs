//! The read-only root that all sandboxes share.
//!
//! Built once, on a small tmpfs, and made the root of the helper's mount namespace:
//!
//! ```text
//! /
//! ├── usr, bin, lib…   the system's own, read-only (or the same links)
//! ├── etc              copies of the few files that programs need, and made-up users
//! ├── dev              null, zero, full, random, urandom
//! ├── proc             the machine's: without it the kernel lets no sandbox mount its own
//! └── tmp, workspace, dev/shm     empty
//! ```
//!
//! A sandbox begins with a copy of these mounts, and covers the last four with its own. Nothing of
//! `/root`, `/home`, `/var`, `/run`, `/sys` or the rest of the machine is there, below what is covered
//! neither. A sandbox inherits the mounts locked: it can neither take one away nor make it writable.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::defence::Defence;
use super::wire::{Failure, Setup};

/// Directories of the system that a sandbox sees.
const SYSTEM: &[&str] = &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Device nodes that a sandbox sees.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];
/// Files and directories of `/etc` that programs look for and that tell nothing about the machine.
/// A `*` at the end stands for any ending.
const ETC: &[&str] = &[
    "ImageMagick*",
    "R",
    "alternatives",
    "bash.bashrc",
    "fonts",
    "inputrc",
    "java*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "perl",
    "profile",
    "protocols",
    "python3*",
    "services",
    "terminfo",
];
/// Files that are the same in every sandbox, on every machine.
const MADE_UP: &[(&str, &str)] = &[
    (
        "passwd",
        "agent:x:1000:1000:agent:/tmp/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("group", "agent:x:1000:\nnogroup:x:65534:\n"),
    ("hostname", "sandbox\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("resolv.conf", ""),
];
/// Files of `/etc` above this size are left out: none that programs need is.
const MAX_ETC: u64 = 2 << 20;

/// Builds the root and makes it the helper's own.
pub(super) fn build(setup: &Setup) -> Result<(), Failure> {
    let stage = ["/tmp", "/mnt", "/srv", "/media"].iter().map(Path::new).find(|path| path.is_dir());
    let stage = stage.ok_or_else(|| {
        Failure::new("finding a directory to mount on", &io::ErrorKind::NotFound.into())
    })?;
    let step = |name: String| move |err: io::Error| Failure::new(name, &err);

    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|err| step("making mounts private".into())(err.into()))?;
    // Everything is picked up before the stage covers what may lie below it.
    let parts = pick_up(setup)?;
    let etc = read_etc().map_err(step("reading /etc".into()))?;

    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", stage, "tmpfs", flags, Some(c"size=16m,mode=0755"))
        .map_err(|err| step("mounting a tmpfs".into())(err.into()))?;
    assemble(stage, &parts, &etc)?;

    let pivot = || {
        chdir(stage)?;
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")
    };
    pivot().map_err(|err| step("changing the root".into())(err.into()))?;
    if setup.without.contains(&Defence::ReadOnly) {
        return Ok(());
    }
    protect().map_err(step("making the root read-only".into()))
}

/// What is taken from the machine.
struct Parts {
    links: Vec<(PathBuf, PathBuf)>,
    trees: Vec<(PathBuf, OwnedFd)>,
    devices: Vec<(PathBuf, OwnedFd)>,
    proc: OwnedFd,
}

fn pick_up(setup: &Setup) -> Result<Parts, Failure> {
    let take = |path: &Path| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, path, flags)
            .map_err(|err| Failure::new(format!("taking {}", path.display()), &err.into()))
    };
    let mut parts = Parts {
        links: Vec::new(),
        trees: Vec::new(),
        devices: Vec::new(),
        proc: take(Path::new("/proc"))?,
    };
    for name in SYSTEM {
        let path = Path::new("/").join(name);
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if let Ok(target) = path.read_link() {
            parts.links.push((PathBuf::from(name), target));
        } else if meta.is_dir() {
            parts.trees.push((PathBuf::from(name), take(&path)?));
        }
    }
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        parts.devices.push((Path::new("dev").join(name), take(&path)?));
    }
    if setup.without.contains(&Defence::Root) {
        parts.trees.push((PathBuf::from("host"), take(Path::new("/"))?));
    }
    for path in &setup.shown {
        let inside = path.strip_prefix("/").unwrap_or(path).to_path_buf();
        parts.trees.push((inside, take(path)?));
    }
    Ok(parts)
}

fn assemble(root: &Path, parts: &Parts, etc: &[(PathBuf, Copied)]) -> Result<(), Failure> {
    let folders = ["dev/shm", "etc", "proc", "tmp", "workspace"];
    let made = || {
        folders.iter().try_for_each(|folder| std::fs::create_dir_all(root.join(folder)))?;
        parts.links.iter().try_for_each(|(link, target)| symlink(target, root.join(link)))?;
        for (name, target) in
            [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
        {
            symlink(format!("/proc/self/{target}"), root.join("dev").join(name))?;
        }
        etc.iter().try_for_each(|(path, copied)| copied.put(&root.join("etc").join(path)))
    };
    made().map_err(|err: io::Error| Failure::new("filling the root", &err))?;

    let attach = |tree: &OwnedFd, target: &Path| {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(tree, "", CWD, target, flags)
            .map_err(|err| Failure::new(format!("mounting {}", target.display()), &err.into()))
    };
    attach(&parts.proc, &root.join("proc"))?;
    let stand = |path: &Path, made: io::Result<()>| {
        made.map_err(|err| Failure::new(format!("making {}", path.display()), &err))
    };
    for (path, tree) in &parts.trees {
        let target = root.join(path);
        stand(&target, std::fs::create_dir_all(&target))?;
        attach(tree, &target)?;
    }
    for (path, node) in &parts.devices {
        let target = root.join(path);
        stand(&target, std::fs::write(&target, ""))?;
        attach(node, &target)?;
    }
    Ok(())
}

/// Something of `/etc`, in memory.
enum Copied {
    Folder,
    Link(PathBuf),
    File(Vec<u8>),
}

impl Copied {
    fn put(&self, path: &Path) -> io::Result<()> {
        match self {
            Copied::Folder => std::fs::create_dir(path),
            Copied::Link(target) => symlink(target, path),
            Copied::File(bytes) => std::fs::write(path, bytes),
        }
    }
}

fn read_etc() -> io::Result<Vec<(PathBuf, Copied)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/etc")? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(start) => name.to_string_lossy().starts_with(start),
            None => name == **pattern,
        };
        if ETC.iter().any(wanted) {
            copy(&entry.path(), PathBuf::from(&name), &mut found);
        }
    }
    for (name, text) in MADE_UP {
        found.push((PathBuf::from(name), Copied::File(text.as_bytes().to_vec())));
    }
    Ok(found)
}

/// Copies what can be read; a sandbox does without the rest, as an unprivileged user would.
fn copy(path: &Path, name: PathBuf, found: &mut Vec<(PathBuf, Copied)>) {
    let Ok(meta) = path.symlink_metadata() else {
        return;
    };
    if meta.is_symlink() {
        // Most lead into /usr, which is there; `localtime` may be read through.
        if let Ok(target) = path.read_link() {
            found.push((name, Copied::Link(target)));
        }
    } else if meta.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else {
            return;
        };
        found.push((name.clone(), Copied::Folder));
        for entry in entries.flatten() {
            copy(&entry.path(), name.join(entry.file_name()), found);
        }
    } else if meta.is_file()
        && meta.len() <= MAX_ETC
        && let Ok(bytes) = std::fs::read(path)
    {
        found.push((name, Copied::File(bytes)));
    }
}

/// Makes every mount read-only and blind to set-user-id bits and devices, but for `/proc`: through
/// that an init says who its users are, before it has its own. The flags that a mount came with are
/// kept: the kernel refuses to loosen them.
fn protect() -> io::Result<()> {
    for (path, options) in mounts()? {
        if path.starts_with("/proc") {
            continue;
        }
        let device = path.starts_with("/dev");
        let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
        let has = |option: &str| options.split(',').any(|one| one == option);
        flags.set(MountFlags::NODEV, !device || has("nodev"));
        flags.set(MountFlags::NOEXEC, device || has("noexec"));
        mount_remount(&path, flags, "").map_err(|err| {
            io::Error::new(io::Error::from(err).kind(), path.display().to_string())
        })?;
    }
    Ok(())
}

/// All mounts, with their options.
fn mounts() -> io::Result<Vec<(PathBuf, String)>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mounts = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let path = PathBuf::from(unescape(fields.next()?));
        let options = fields.next()?.to_string();
        Some((path, options))
    });
    Ok(mounts.collect())
}

/// The kernel writes spaces, tabs, newlines and backslashes in paths as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            let digits = bytes.by_ref().take(3);
            out.push(digits.fold(0u8, |code, digit| code.wrapping_mul(8) + (digit & 7)));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_of_mounts_are_unescaped() {
        assert_eq!(super::unescape(r"/a\040b\134c/\303\251"), "/a b\\c/é");
    }
}
