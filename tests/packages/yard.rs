//! A temporary folder for projects, packages and registries, and the program in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder; gone when it is dropped.
pub struct Yard {
    folder: tempfile::TempDir,
}

/// A package's module with a def to call and a file to read.
pub const FINANCE: &str = r#"//! Money.

let advice = file("prompts/advice.md")

/// An amount with its currency.
def amount(of: int) -> str { "{of} crowns" }

def written() -> File { advice }
"#;

impl Yard {
    pub fn new() -> Yard {
        Yard { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).expect("text")
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_dir_all(self.path(path)).expect("a folder");
    }

    /// The package acme/finance, in `folder`.
    pub fn finance(&self, folder: &str, version: &str) {
        self.write(
            &format!("{folder}/claw.toml"),
            &format!(
                "[project]\nname = \"acme/finance\"\nversion = \"{version}\"\n\
                 description = \"Money.\"\n"
            ),
        );
        self.write(&format!("{folder}/lib.claw"), FINANCE);
        self.write(&format!("{folder}/prompts/advice.md"), "Spend less.\n");
    }

    /// A project that uses acme/finance.
    pub fn project(&self) {
        self.write("project/claw.toml", "[project]\nname = \"ours\"\n");
        self.write("project/main.claw", &using("acme/finance"));
    }

    pub fn command(&self, folder: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claw"));
        command.args(args).current_dir(self.path(folder)).stdin(Stdio::null());
        command.env("NO_COLOR", "1").env("CLAW_CACHE", self.path("cache"));
        command.env_remove("CLAW_OFFLINE");
        command
    }

    pub fn claw(&self, folder: &str, args: &[&str]) -> Output {
        self.command(folder, args).output().expect("claw starts")
    }

    /// Runs the program, expects success, and gives its standard output.
    #[track_caller]
    pub fn ok(&self, folder: &str, args: &[&str]) -> String {
        let output = self.claw(folder, args);
        assert!(output.status.success(), "{}", self.shown(args, &output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs the program, expects a refusal, and shows what a person sees.
    #[track_caller]
    pub fn refused(&self, folder: &str, args: &[&str]) -> String {
        let output = self.claw(folder, args);
        let shown = self.shown(args, &output);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        shown
    }

    /// What a person sees, with digests and this folder masked.
    pub fn shown(&self, args: &[&str], output: &Output) -> String {
        let mut text = format!("$ claw {}\n", args.join(" "));
        text.push_str(&String::from_utf8_lossy(&output.stdout));
        if !output.stderr.is_empty() {
            text.push_str(&format!("--- stderr\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        text.push_str(&format!("--- exit {}\n", output.status.code().unwrap_or(-1)));
        masked(&text, self.folder.path())
    }

    /// Makes a git repository out of a folder; gives its URL. The commit is the branch `main`.
    pub fn repository(&self, folder: &str) -> String {
        self.git(folder, &["init", "--quiet", "--initial-branch=main"]);
        self.commit(folder);
        let bare = format!("{folder}.git");
        self.git(".", &["clone", "--quiet", "--bare", folder, &bare]);
        self.git(folder, &["remote", "add", "origin", &self.path(&bare).to_string_lossy()]);
        format!("file://{}", self.path(&bare).display())
    }

    /// Commits everything in a folder.
    pub fn commit(&self, folder: &str) {
        self.git(folder, &["add", "--all"]);
        self.git(folder, &["commit", "--quiet", "--message", "a change"]);
    }

    #[track_caller]
    pub fn git(&self, folder: &str, args: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(["-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(self.path(folder))
            .output()
            .expect("git starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A pipeline that uses a package like [`FINANCE`].
pub fn using(name: &str) -> String {
    let alias = name.rsplit('/').next().unwrap_or(name);
    format!(
        "use {name}\n\nstage rent = {alias}.amount(of: 70)\nstage advice = {alias}.written()\n\n\
         output rent as \"out/rent.json\"\noutput advice as \"out/advice.md\"\n"
    )
}

fn masked(text: &str, folder: &Path) -> String {
    let text = text.replace(&*folder.to_string_lossy(), "<yard>");
    let digest = regex::Regex::new("[0-9a-f]{64}").expect("a pattern");
    let short = regex::Regex::new("(@|\\()[0-9a-f]{12}").expect("a pattern");
    short.replace_all(&digest.replace_all(&text, "<digest>"), "$1<short>").into_owned()
}
