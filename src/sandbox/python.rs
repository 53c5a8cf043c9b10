//! Where Python is, for checkers and for `claw doctor`.
//!
//! Sandboxes see `/usr`, and most machines have their Python there. A version manager keeps it in
//! somebody's home instead, behind a script that only works there: then the real interpreter is
//! asked for its installation, which is shown to sandboxes read-only under its own path.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A Python interpreter that runs in sandboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// Its path, outside and inside.
    pub program: PathBuf,
    /// Its installation, when that is not part of the system's own `/usr`.
    pub prefix: Option<PathBuf>,
}

/// Finds `python3`: the system's own if there is one, else the first in `PATH` that can be asked.
/// Looked for once: it does not move while the program runs.
pub fn find_python() -> Option<Python> {
    static FOUND: OnceLock<Option<Python>> = OnceLock::new();
    FOUND.get_or_init(look_for).clone()
}

fn look_for() -> Option<Python> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(
        &["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from),
        std::env::split_paths(&path),
    )
}

fn find_in(system: &[PathBuf], path: impl Iterator<Item = PathBuf>) -> Option<Python> {
    for folder in system {
        let program = folder.join("python3");
        // A link out of /usr would lead nowhere inside.
        if program.canonicalize().is_ok_and(|real| real.starts_with("/usr")) {
            return Some(Python { program, prefix: None });
        }
    }
    path.map(|folder| folder.join("python3"))
        .filter(|program| program.is_file())
        .find_map(|program| ask(&program))
}

/// Asks an interpreter for its real file and its installation.
fn ask(program: &Path) -> Option<Python> {
    const QUESTION: &str =
        "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)";
    let answer = Command::new(program)
        .args(["-I", "-S", "-c", QUESTION])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let mut lines = text.lines();
    let real = PathBuf::from(lines.next()?);
    let prefix = Path::new(lines.next()?).canonicalize().ok()?;
    // Never a whole home or the whole machine because something answered strangely.
    let narrow = prefix.components().count() > 2 && real.starts_with(&prefix);
    let named = ["python3".into(), real.file_name()?.to_owned()];
    let folder = real.parent()?;
    let program = named.iter().map(|name| folder.join(name)).find(|path| path.is_file())?;
    (answer.status.success() && narrow).then_some(Python { program, prefix: Some(prefix) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_interpreter_behind_a_shim_is_found_by_its_installation() {
        let home = tempfile::tempdir().expect("a directory");
        let home = home.path().canonicalize().expect("a path");
        let prefix = home.join("versions/3.11");
        let shims = home.join("shims");
        std::fs::create_dir_all(prefix.join("bin")).expect("made");
        std::fs::create_dir_all(&shims).expect("made");
        let real = prefix.join("bin/python3.11");
        std::fs::write(&real, "").expect("written");
        std::os::unix::fs::symlink("python3.11", prefix.join("bin/python3")).expect("linked");
        let shim = shims.join("python3");
        let text = format!("#!/bin/sh\necho {}\necho {}\n", real.display(), prefix.display());
        std::fs::write(&shim, text).expect("written");
        std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).expect("set");

        let found = find_in(&[home.join("nowhere")], [shims].into_iter());
        let python = Python { program: prefix.join("bin/python3"), prefix: Some(prefix) };
        assert_eq!(found, Some(python));
        assert_eq!(find_in(&[], [home.join("nowhere")].into_iter()), None);
    }
}
