//! A project in a temporary folder, and the real program in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

/// A temporary project; gone when it is dropped.
pub struct Project {
    folder: tempfile::TempDir,
}

/// The checkout that is tested.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Project {
    /// A project with this checkout's pipelines, on the library that is built in.
    pub fn new() -> Project {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let project = Project { folder };
        project.write("claw.toml", "[project]\nname = \"test\"\n");
        copy(&checkout().join("pipelines"), &project.path("pipelines"));
        project
    }

    /// The same with a copy of the standard library to edit.
    pub fn with_library() -> Project {
        let project = Project::new();
        copy(&checkout().join("stdlib"), &project.path("stdlib"));
        project.write("claw.toml", "[library]\nstd = \"stdlib\"\n");
        project
    }

    /// A path in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file in it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// The program, ready to start in the project.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claw"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("NO_COLOR", "1");
        command
    }

    /// Runs the program to its end.
    pub fn claw(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("claw starts")
    }

    /// Runs it, expects success, and gives its standard output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.claw(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "claw {args:?} ended with {}\n{text}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Runs it with `--json`, expects success, and gives what it printed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Json {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).expect("JSON")
    }
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
