//! Packages from git repositories.
//!
//! The repository is cloned bare and its files are read from the objects. Nothing is checked out, so
//! no hook, no filter and no line-ending setting of this machine has a say in what a package holds.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::content::{Content, MAX_BYTES, MAX_FILES, Piece, is_plain, too_large};
use super::download::may_reach;
use super::error::PackageError;

/// The ways by which git may reach a repository; others can start programs.
const PROTOCOLS: &str = "https:ssh:file";

/// Variables that would point git at another repository than the one that it is told.
const MISLEADING: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
];

/// The files of a repository at a revision, and the commit that the revision stands for.
///
/// # Errors
/// When git is not there, the repository cannot be reached, it has no such revision, or what is in
/// it is no package.
pub(super) fn fetch(url: &str, rev: &str) -> Result<(Content, String), PackageError> {
    may_reach(url)?;
    let here = std::env::temp_dir();
    let folder = tempfile::Builder::new()
        .prefix("claw-git-")
        .tempdir()
        .map_err(PackageError::io("making a folder in", &here))?;
    let repository = folder.path().join("repository");
    let unreachable = |why: String| {
        PackageError::absent(format!("git cannot clone {url}: {why}")).help(
            "look at the address, the network and your access: `git ls-remote` on it must work",
        )
    };
    let mut clone = git(None);
    clone.args(["clone", "--bare", "--quiet", "--template=", "--"]).arg(url).arg(&repository);
    output(&mut clone).map_err(unreachable)?;
    let asked = format!("{rev}^{{commit}}");
    let mut parse = git(Some(&repository));
    parse.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &asked]);
    let commit = output(&mut parse).map_err(|_| {
        PackageError::absent(format!("{url} has no revision `{rev}`"))
            .help("a revision is a commit, a tag or a branch; `git ls-remote` lists the last two")
    })?;
    let commit = String::from_utf8_lossy(&commit).trim().to_string();
    let content = read(&repository, &commit)
        .map_err(|why| PackageError::unusable(format!("{url} at {rev} is no package: {why}")))?;
    Ok((content, commit))
}

/// Reads the files of a commit out of a repository.
fn read(repository: &Path, commit: &str) -> Result<Content, String> {
    let mut list = git(Some(repository));
    list.args(["ls-tree", "-r", "-l", "-z", "--full-tree", commit]);
    let listed = output(&mut list)?;
    let mut wanted = Vec::new();
    let mut size = 0u64;
    for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line =
            std::str::from_utf8(line).map_err(|_| "a name in it is not UTF-8".to_string())?;
        let (head, path) = line.split_once('\t').ok_or("git listed a file without a name")?;
        let head: Vec<&str> = head.split_whitespace().collect();
        let [mode, _, object, bytes] = head[..] else {
            return Err(format!("git listed {path} in a way that is not known"));
        };
        is_plain(path)?;
        if mode == "160000" {
            return Err(format!(
                "{path} is a submodule; name that repository in claw.toml's [packages] instead"
            ));
        }
        size += bytes.parse::<u64>().unwrap_or(0);
        if size > MAX_BYTES || wanted.len() >= MAX_FILES {
            return Err(too_large());
        }
        wanted.push((mode.to_string(), object.to_string(), path.to_string()));
    }
    let objects: Vec<&str> = wanted.iter().map(|(_, object, _)| object.as_str()).collect();
    let contents =
        blobs(repository, &objects).map_err(|err| format!("reading its files: {err}"))?;
    let pieces = wanted
        .iter()
        .zip(contents)
        .map(|((mode, _, path), bytes)| {
            let piece = match mode.as_str() {
                "120000" => Piece::Link(
                    String::from_utf8(bytes)
                        .map_err(|_| format!("the target of the link {path} is not UTF-8"))?,
                ),
                mode => Piece::File { bytes: bytes.into(), executable: mode == "100755" },
            };
            Ok((path.clone(), piece))
        })
        .collect::<Result<Vec<_>, String>>()?;
    Content::new(pieces)
}

/// The bytes of objects, in their order.
fn blobs(repository: &Path, objects: &[&str]) -> std::io::Result<Vec<Vec<u8>>> {
    let bad = |what: &str| std::io::Error::other(format!("git cat-file {what}"));
    let mut child = git(Some(repository))
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut asked = child.stdin.take().ok_or_else(|| bad("takes nothing"))?;
    let mut answers = BufReader::new(child.stdout.take().ok_or_else(|| bad("says nothing"))?);
    let contents = std::thread::scope(|scope| {
        // Asked from another thread, since git stops reading while nobody takes its answers.
        scope.spawn(move || {
            for object in objects {
                if writeln!(asked, "{object}").is_err() {
                    return;
                }
            }
        });
        let mut contents = Vec::with_capacity(objects.len());
        for _ in objects {
            let mut head = String::new();
            answers.read_line(&mut head)?;
            let size =
                head.trim_end().rsplit_once(" blob ").and_then(|(_, size)| size.parse().ok());
            let size: u64 = size.ok_or_else(|| bad(&format!("said `{}`", head.trim_end())))?;
            let mut bytes = Vec::new();
            (&mut answers).take(size).read_to_end(&mut bytes)?;
            let mut end = [0];
            answers.read_exact(&mut end)?;
            contents.push(bytes);
        }
        Ok(contents)
    });
    if contents.is_err() {
        let _ = child.kill();
    }
    child.wait()?;
    contents
}

fn git(repository: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    for name in MISLEADING {
        command.env_remove(name);
    }
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
        .args(["-c", "transfer.fsckObjects=true"]);
    if std::env::var_os("GIT_SSH_COMMAND").is_none() {
        // Like the terminal prompt: what needs an answer fails instead of waiting for one.
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    if let Some(repository) = repository {
        command.arg("--git-dir").arg(repository);
    }
    command
}

/// What git printed, or what it complained about.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|err| match err.kind() {
        std::io::ErrorKind::NotFound => "the program `git` is not installed".to_string(),
        _ => err.to_string(),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let said = || complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    // What it died of says more than the advice around it.
    let cause = said().find_map(|line| line.strip_prefix("fatal: ")).or_else(|| said().next_back());
    Err(cause.map_or_else(|| output.status.to_string(), str::to_string))
}
