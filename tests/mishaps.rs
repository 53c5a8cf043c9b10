//! Mishaps that are neither a fault at a system call nor a power cut: files that changed places,
//! everything of a kind damaged, a clock that jumps, a process that may open few files.

use std::path::{Path, PathBuf};
use std::process::Command;

use claw::store::Digest;
use serde_json::Value as Json;

use crate::project::Project;

/// Small rows with a call each, and two files too large for a pack.
const PROGRAM: &str = r#"
use std/persona
use std/skill
param people: int = 3
stage crowd = persona.imagine(count: people, seed: 7)
stage grounded = for p in crowd { skill.ground(persona: p) }
stage large = for name in ["one", "two"] {
  { name: name, file: if name == "one" then file("one.txt") else file("two.txt") }
}
output grounded
output large
"#;
const LARGE: usize = 4_300_000;

fn project() -> Project {
    let project = Project::new();
    project.write("main.claw", PROGRAM);
    project.write("one.txt", &"1".repeat(LARGE));
    project.write("two.txt", &"2".repeat(LARGE));
    project
}

/// The digests of all results of a run that must succeed.
#[track_caller]
fn results(project: &Project, args: &[&str]) -> Json {
    let run = project.json(&[&["run", "main.claw"], args].concat());
    assert_eq!(run["ok"], Json::Bool(true), "{run}");
    run["results"].clone()
}

#[track_caller]
fn assert_clean(project: &Project) {
    let check = project.claw(&["store", "check"]);
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{text}");
}

fn pack(project: &Project, number: u32) -> PathBuf {
    project.path(&format!(".claw/packs/{number:08}.pack"))
}

fn large(project: &Project, digit: u8) -> PathBuf {
    let name = Digest::of(&vec![digit; LARGE]).to_string();
    project.path(".claw/objects").join(&name[..2]).join(&name[2..])
}

fn swap(one: &Path, two: &Path) {
    let aside = one.with_extension("aside");
    std::fs::rename(one, &aside).expect("moved");
    std::fs::rename(two, one).expect("moved");
    std::fs::rename(aside, two).expect("moved");
}

#[test]
fn large_files_that_changed_places_are_found_and_made_again() {
    let project = project();
    let right = results(&project, &[]);
    swap(&large(&project, b'1'), &large(&project, b'2'));
    let check = project.claw(&["store", "check"]);
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(1), "{text}");
    for digit in [b'1', b'2'] {
        let name = Digest::of(&vec![digit; LARGE]).to_string();
        assert!(text.contains(&name[..8]), "{name} is not named in {text}");
    }
    assert_eq!(results(&project, &[]), right);
    assert_clean(&project);
    for digit in [b'1', b'2'] {
        let bytes = std::fs::read(large(&project, digit)).expect("a file");
        assert!(bytes.iter().all(|byte| *byte == digit), "what it holds is what it is called by");
    }
}

#[test]
fn packs_that_changed_places_serve_nothing_wrong() {
    let project = project();
    let right = results(&project, &[]);
    // A torn end: the next run goes on in a second pack.
    let first = std::fs::OpenOptions::new().write(true).open(pack(&project, 1)).expect("a pack");
    let length = first.metadata().expect("a length").len();
    first.set_len(length - 5).expect("cut");
    let more = results(&project, &["-p", "people=5"]);
    assert!(pack(&project, 2).exists());
    swap(&pack(&project, 1), &pack(&project, 2));
    assert_eq!(results(&project, &[]), right);
    assert_eq!(results(&project, &["-p", "people=5"]), more);
    // With its index made anew the store is as whole as before: places are only the index's.
    project.ok(&["store", "rebuild"]);
    assert_eq!(results(&project, &[]), right);
}

/// Flips a bit in the middle of every record of a kind: 1 are objects, 2 receipts.
fn damage(pack: &Path, kind: u8) -> usize {
    let mut bytes = std::fs::read(pack).expect("a pack");
    let (mut at, mut damaged) = (0, 0);
    while at + 56 <= bytes.len() {
        let stored = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four")) as usize;
        if bytes[at + 4] == kind {
            bytes[at + 48 + stored / 2] ^= 4;
            damaged += 1;
        }
        at += 48 + stored + 8;
    }
    std::fs::write(pack, bytes).expect("written");
    damaged
}

#[test]
fn every_receipt_or_every_object_may_be_damaged() {
    for (kind, what) in [(2, "receipts"), (1, "objects")] {
        let project = project();
        let right = results(&project, &[]);
        let damaged = damage(&pack(&project, 1), kind);
        assert!(damaged >= 5, "{damaged} {what}");
        assert_eq!(results(&project, &["--refresh", "large"]), right, "without {what}");
        assert_eq!(results(&project, &["-p", "people=4"])["large"], right["large"]);
        assert_eq!(results(&project, &[]), right);
        // And with the index, which knew where they were.
        damage(&pack(&project, 1), kind);
        std::fs::remove_dir_all(project.path(".claw/index")).expect("removed");
        assert_eq!(results(&project, &["--refresh", "large"]), right, "without {what} and index");
    }
}

/// A run is the newest because it began last, whatever the clock said then.
#[test]
fn a_clock_that_jumps_back_loses_nothing() {
    let project = project();
    let right = results(&project, &[]);
    // The clock was decades ahead when this run began.
    let first = project.json(&["runs"])[0]["id"].as_str().expect("an id").to_string();
    let ahead = "2077-01-01T00-00-00";
    let runs = project.path(".claw/runs");
    std::fs::rename(runs.join(&first), runs.join(ahead)).expect("moved");
    let info = std::fs::read_to_string(runs.join(ahead).join("run.json")).expect("a run");
    std::fs::write(runs.join(ahead).join("run.json"), info.replace(&first, ahead)).expect("set");
    assert_eq!(results(&project, &["--refresh", "grounded"]), right);
    let four = results(&project, &["-p", "people=4"]);
    let listed = project.json(&["runs"]);
    let ids: Vec<&str> =
        listed.as_array().expect("runs").iter().map(|run| run["id"].as_str().unwrap()).collect();
    let wanted = [&format!("{ahead}.3"), &format!("{ahead}.2"), ahead];
    assert_eq!(ids, wanted, "the last one first");
    // What the last run needs is what a collection keeps.
    project.ok(&["gc", "--keep-runs", "1"]);
    let again = project.json(&["run", "main.claw", "-p", "people=4"]);
    assert_eq!(again["results"], four);
    let stages = again["stages"].as_array().expect("stages");
    assert!(stages.iter().all(|stage| stage["ran"] == 0), "{again}");
}

#[test]
fn a_run_that_may_open_few_files_ends_and_loses_nothing() {
    let right = results(&project(), &[]);
    for most in [8, 12, 16, 24, 40] {
        let project = project();
        let run = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -n {most} && exec \"$0\" run main.claw --quiet"))
            .arg(env!("CARGO_BIN_EXE_claw"))
            .current_dir(project.path(""))
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!said.contains("panicked at src/"), "{most} files: {said}");
        assert!(run.status.code().is_some(), "{most} files: {said}");
        assert_eq!(results(&project, &[]), right, "after {most} files");
        assert_clean(&project);
    }
}

/// Objects come before the receipt that names them, so that a pack which ends anywhere is whole.
#[test]
fn every_beginning_of_a_pack_is_whole() {
    let project = Project::new();
    project.write(
        "main.claw",
        "use std/rows\nstage all = for n in 1..=9 { { n: n, word: \"w{n}\" } }\n\
         stage split = holdout(all, test: 30%, by: .word, seed: 1)\n\
         stage groups = group(all, by: .n)\noutput split\noutput groups\n",
    );
    project.ok(&["run", "main.claw", "--quiet"]);
    let whole = std::fs::read(pack(&project, 1)).expect("a pack");
    std::fs::remove_dir_all(project.path(".claw/index")).expect("removed");
    let (mut at, mut receipts) = (0, 0);
    while at + 56 <= whole.len() {
        let stored = u32::from_le_bytes(whole[at + 8..at + 12].try_into().expect("four")) as usize;
        let is_receipt = whole[at + 4] == 2;
        at += 48 + stored + 8;
        if is_receipt {
            receipts += 1;
            std::fs::write(pack(&project, 1), &whole[..at]).expect("written");
            assert_clean(&project);
        }
    }
    assert!(receipts >= 2, "{receipts} receipts");
}
