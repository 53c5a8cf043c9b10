//! Faults: whatever the disk, a kill or another process does, the next run ends right.
//!
//! `benches/faults.sh` injects every fault; here is a sample of each kind, and what it cannot do:
//! power cuts, swapped and flipped files, concurrent runs, secrets, collection.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use claw::store::{self, Digest, Objects, Receipt, Results, Snapshot, Store};
use serde_json::Value as Json;

use crate::project::{Project, checkout, copy};

/// The pipeline of `benches/faults`: calls, tables, directories, and a file too large for a pack.
fn project() -> Project {
    let project = Project::new();
    let from = checkout().join("benches/faults");
    for path in ["main.claw", "data/a/x.txt", "data/y.txt"] {
        project.write(path, &std::fs::read_to_string(from.join(path)).expect("a file"));
    }
    project.write("big.txt", &"x".repeat(4_300_000));
    project
}

/// The digests of all stages' results of a run that must succeed.
#[track_caller]
fn results(project: &Project, args: &[&str]) -> Json {
    let run = project.json(&[&["run", "main.claw"], args].concat());
    assert_eq!(run["ok"], Json::Bool(true), "{run}");
    run["results"].clone()
}

#[track_caller]
fn assert_clean(project: &Project, after: &str) {
    let output = project.claw(&["store", "check"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "after {after}: {text}");
}

/// Puts the store back to how it was in another project.
fn restore(project: &Project, from: &Project) {
    let _ = std::fs::remove_dir_all(project.path(".claw"));
    copy(&from.path(".claw"), &project.path(".claw"));
}

fn packs(project: &Project) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project.path(".claw/packs")).expect("packs");
    let mut packs: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    packs.sort();
    packs
}

#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
pub(crate) fn may_trace() -> bool {
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let may = traced.is_ok_and(|status| status.success());
    if !may {
        eprintln!("SKIPPED: strace is missing or may not trace here; no fault was injected");
    }
    may
}

#[test]
fn a_fault_at_any_system_call_costs_nothing() {
    if !may_trace() {
        return;
    }
    let right = results(&project(), &[]);
    let faults: [(&str, &str, &[u32]); 12] = [
        ("openat", "signal=KILL", &[30, 38, 46]),
        ("openat", "error=EMFILE", &[28, 36, 44]),
        ("write", "signal=KILL", &[1, 5, 12]),
        ("write", "error=ENOSPC", &[1, 3, 7]),
        ("write", "error=EDQUOT", &[2]),
        ("pwrite64", "signal=KILL", &[3, 40]),
        ("pwrite64", "error=EIO", &[2, 30]),
        ("fdatasync", "error=EIO", &[1]),
        ("fsync", "signal=KILL", &[1, 2]),
        ("fsync", "error=ENOSPC", &[1, 2]),
        ("rename", "signal=KILL", &[1, 2]),
        ("mkdir", "error=ENOSPC", &[2, 5]),
    ];
    let mut injected = 0;
    for (call, fault, at) in faults {
        for number in at {
            let project = project();
            let what = format!("{fault} at {call} number {number}");
            let run = Command::new("strace")
                .args(["-f", "-qq", "-o"])
                .arg(project.path("trace.txt"))
                .args(["-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:{fault}:when={number}")])
                .arg(env!("CARGO_BIN_EXE_claw"))
                .args(["run", "main.claw", "--quiet"])
                .current_dir(project.path(""))
                .stdin(Stdio::null())
                .output()
                .expect("strace starts");
            let text = String::from_utf8_lossy(&run.stderr).into_owned();
            // A pipe that wakes a thread cannot be full; what the runtime makes of that is its own.
            assert!(!text.contains("panicked at src/"), "{what}: {text}");
            let trace = std::fs::read_to_string(project.path("trace.txt")).unwrap_or_default();
            injected += usize::from(trace.contains("INJECTED") || trace.contains("SIGKILL"));
            assert_eq!(results(&project, &[]), right, "after {what}");
            assert_clean(&project, &what);
        }
    }
    assert!(injected >= 15, "only {injected} faults came to pass");
}

#[test]
fn a_full_disk_is_told_with_what_to_do() {
    if !may_trace() {
        return;
    }
    let project = project();
    // Only what goes into the packs: messages are written with `write` too.
    std::fs::create_dir_all(project.path(".claw/packs")).expect("made");
    std::fs::write(project.path(".claw/packs/00000001.pack"), "").expect("made");
    let run = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write"])
        .arg("-P")
        .arg(project.path(".claw/packs/00000001.pack"))
        .args(["-e", "inject=write:error=ENOSPC:when=2+"])
        .arg(env!("CARGO_BIN_EXE_claw"))
        .args(["run", "main.claw", "--quiet"])
        .current_dir(project.path(""))
        .output()
        .expect("strace starts");
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{text}");
    assert!(text.contains("the disk is full"), "{text}");
    assert!(text.contains("free some space and run again"), "{text}");
    results(&project, &[]);
    assert_clean(&project, "a full disk");
}

/// A power cut keeps what was synced: any prefix of a pack, and any state of the index.
#[test]
fn a_power_cut_costs_only_work() {
    let (whole, project) = (project(), project());
    let right = results(&whole, &[]);
    let length = std::fs::metadata(&packs(&whole)[0]).expect("a pack").len();
    let young = tempfile::tempdir().expect("a folder");
    drop(Store::open(young.path(), "test").expect("a store"));
    for (number, cut) in (0..length).step_by(length as usize / 12 + 1).enumerate() {
        restore(&project, &whole);
        let pack = std::fs::OpenOptions::new().write(true).open(&packs(&project)[0]);
        pack.expect("a pack").set_len(cut).expect("cut");
        let index = project.path(".claw/index");
        match number % 3 {
            0 => {}
            1 => std::fs::remove_dir_all(&index).expect("removed"),
            _ => {
                std::fs::remove_dir_all(&index).expect("removed");
                copy(&young.path().join("index"), &index);
            }
        }
        assert_eq!(results(&project, &[]), right, "cut at {cut}");
        assert_clean(&project, &format!("a cut at {cut}"));
    }
}

/// What was damaged is named with those who need it, and the next run makes it again.
#[test]
fn what_was_damaged_is_named_and_made_again() {
    let (whole, project) = (project(), project());
    let right = results(&whole, &[]);
    let length = std::fs::metadata(&packs(&whole)[0]).expect("a pack").len();
    let mut found = 0;
    for at in (20..length).step_by(length as usize / 14 + 1) {
        restore(&project, &whole);
        let path = &packs(&project)[0];
        let mut bytes = std::fs::read(path).expect("a pack");
        bytes[at as usize] ^= 0x20;
        std::fs::write(path, bytes).expect("written");
        // Without a check first, a run may meet it or not; its results are right both times.
        assert_eq!(results(&project, &["--refresh", "split"]), right, "a bit at {at}");
        let check = project.claw(&["store", "check", "--json"]);
        let told: Json = serde_json::from_slice(&check.stdout).expect("JSON");
        if check.status.code() == Some(1) {
            found += 1;
            assert!(!told["found"]["bad"].as_array().expect("bad").is_empty(), "{told}");
        }
        assert_eq!(results(&project, &[]), right, "a bit at {at}, after a check");
        if project.claw(&["store", "check"]).status.code() != Some(0) {
            // What no pipeline needs is nothing that a run makes again.
            project.ok(&["gc"]);
            assert_clean(&project, &format!("a bit at {at}"));
            assert_eq!(results(&project, &[]), right, "a bit at {at}, collected");
        }
    }
    assert!(found > 3, "{found}");

    // A large file, and one that is gone.
    for gone in [false, true] {
        restore(&project, &whole);
        let digest = Digest::of(&[b'x'; 4_300_000]).to_string();
        let large = project.path(".claw/objects").join(&digest[..2]).join(&digest[2..]);
        if gone {
            std::fs::remove_file(&large).expect("removed");
        } else {
            std::fs::write(&large, "x").expect("written");
        }
        let check = project.claw(&["store", "check"]);
        let text = String::from_utf8_lossy(&check.stdout).into_owned();
        assert_eq!(check.status.code(), Some(1), "{text}");
        assert!(text.contains("stage `kept` of main.claw"), "{text}");
        assert!(text.contains("the next run makes them again"), "{text}");
        assert_eq!(results(&project, &[]), right);
        assert_clean(&project, "a large file");
    }
}

#[test]
fn torn_and_strange_indexes_are_made_anew() {
    let (whole, project) = (project(), project());
    let right = results(&whole, &[]);
    let length = std::fs::metadata(whole.path(".claw/index/db")).expect("an index").len();
    for page in (0..length).step_by(length as usize / 10 + 1) {
        restore(&project, &whole);
        let path = project.path(".claw/index/db");
        let mut bytes = std::fs::read(&path).expect("an index");
        let end = (page as usize + 4096).min(bytes.len());
        bytes[page as usize..end].fill(0);
        std::fs::write(&path, bytes).expect("written");
        assert_eq!(results(&project, &[]), right, "a page at {page}");
        assert_clean(&project, "a torn index");
    }
    restore(&project, &whole);
    let told = project.json(&["store", "rebuild"]);
    assert_eq!(told["moved_aside"], Json::Bool(true), "{told}");
    assert!(told["objects"].as_u64() > Some(50), "{told}");
    assert!(project.ok(&["run", "main.claw"]).contains("Nothing to do"));
}

#[test]
fn of_eight_runs_at_once_one_writes_and_all_readers_read() {
    let project = project();
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let mut run = project.command(&["run", "main.claw", "-p", "people=20", "--json"]);
            run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("claw starts")
        })
        .collect();
    let readers: Vec<_> =
        [&["plan", "main.claw"][..], &["runs"], &["store", "check"], &["store", "size"]]
            .iter()
            .map(|args| {
                let mut reader = project.command(args);
                reader.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("claw starts")
            })
            .collect();
    let mut done = Vec::new();
    for run in runs {
        let output = run.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {
                let run: Json = serde_json::from_slice(&output.stdout).expect("JSON");
                done.push(run["results"].clone());
            }
            Some(1) => {
                assert!(text.contains("the store is being written to by process"), "{text}");
                assert!(text.contains("claw run main.claw"), "{text}");
            }
            other => panic!("{other:?}: {text}"),
        }
    }
    for reader in readers {
        let output = reader.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}");
    }
    assert!(!done.is_empty(), "somebody got the store");
    let right = results(&project, &["-p", "people=20"]);
    assert!(done.iter().all(|results| *results == right));
    assert_clean(&project, "eight runs at once");
}

#[test]
fn a_secret_stands_nowhere_in_the_store() {
    let project = Project::new();
    let planted = "planted-7f3a9c-canary";
    project.write(
        "main.claw",
        "secret param given: str\n\
         secret param found: str = env(\"CLAW_TEST_SECRET\")\n\
         stage rows = for n in [1, 2, 3] { { n: n } }\n\
         output rows\n",
    );
    let given = format!("given={planted}");
    for more in [&[][..], &["--refresh", "rows"]] {
        let args = [&["run", "main.claw", "-p", &given][..], more].concat();
        let run = project.command(&args).env("CLAW_TEST_SECRET", planted).output();
        let run = run.expect("claw runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    let mut waiting = vec![project.path(".claw")];
    let mut looked = 0;
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        looked += 1;
        let shown = bytes.windows(planted.len()).any(|part| part == planted.as_bytes());
        assert!(!shown, "{} holds the secret", path.display());
    }
    assert!(looked > 5, "{looked}");
}

/// A run of people, one of more, and one of fewer again: what only the middle one needed goes.
#[test]
fn what_no_kept_run_needs_is_collected() {
    let project = project();
    let first = results(&project, &["-p", "people=2"]);
    results(&project, &["-p", "people=9"]);
    let middle = project.json(&["runs"])[0]["id"].as_str().expect("an id").to_string();
    let last = results(&project, &["-p", "people=2", "--refresh", "split"]);
    assert_eq!(first, last);

    let would = project.json(&["gc", "--keep-runs", "1", "--dry-run"])["collected"].clone();
    assert!(would["receipts"].as_u64() > Some(10), "{would}");
    let before: u64 =
        packs(&project).iter().map(|pack| std::fs::metadata(pack).unwrap().len()).sum();
    project.ok(&["pin", &middle, "--name", "paper"]);
    let pinned = project.json(&["gc", "--keep-runs", "1"])["collected"].clone();
    assert_eq!(pinned["receipts"], 0, "{pinned}");
    project.ok(&["unpin", "paper"]);
    let went = project.json(&["gc", "--keep-runs", "1"])["collected"].clone();
    assert_eq!(went["receipts"], would["receipts"]);
    let after: u64 =
        packs(&project).iter().map(|pack| std::fs::metadata(pack).unwrap().len()).sum();
    assert!(after < before, "{before} to {after}");
    assert_clean(&project, "a collection");

    // Everything of the kept run is there, down to the calls that only an edit asks for.
    let plan = project.json(&["plan", "main.claw", "-p", "people=2"]);
    assert!(!plan.to_string().contains("\"will_run\":1"), "{plan}");
    let again = project.json(&["run", "main.claw", "-p", "people=2", "--refresh", "worlds"]);
    assert_eq!(again["results"], last);
    let three = project.json(&["run", "main.claw", "-p", "people=9"]);
    assert_eq!(three["ok"], Json::Bool(true), "what went is made again");
    let second = project.json(&["gc", "--keep-runs", "3"])["collected"].clone();
    assert_eq!(second["receipts"], 0, "{second}");
}

/// Killed anywhere, a collection leaves a store that is whole.
#[test]
fn a_collection_that_is_killed_loses_nothing() {
    if !may_trace() {
        return;
    }
    let (whole, project) = (project(), project());
    results(&whole, &["-p", "people=6"]);
    let right = results(&whole, &[]);
    let mut killed = 0;
    for (call, most) in [("fsync", 3), ("renameat2", 2), ("rename", 3), ("unlink", 3), ("write", 4)]
    {
        for number in 1..=most {
            restore(&project, &whole);
            let run = Command::new("strace")
                .args(["-f", "-qq", "-o"])
                .arg(project.path("trace.txt"))
                .args(["-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={number}")])
                .arg(env!("CARGO_BIN_EXE_claw"))
                .args(["gc", "--keep-runs", "1"])
                .current_dir(project.path(""))
                .output()
                .expect("strace starts");
            killed += usize::from(!run.status.success());
            let what = format!("a kill at {call} number {number} of a collection");
            assert_clean(&project, &what);
            // Nothing of the kept run has to be made again.
            let run = project.json(&["run", "main.claw"]);
            assert_eq!(run["results"], right, "after {what}");
            let ran: u64 =
                run["stages"].as_array().unwrap().iter().filter_map(|s| s["ran"].as_u64()).sum();
            assert_eq!(ran, 0, "after {what}: {run}");
            project.ok(&["gc", "--keep-runs", "1"]);
            assert_clean(&project, &format!("{what}, and a whole one"));
            assert_eq!(results(&project, &[]), right);
        }
    }
    assert!(killed > 4, "{killed}");
}

/// Results that were paid for stay, unless they are asked for by name.
#[test]
fn what_was_recorded_is_not_collected() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), "test").expect("a store");
    let keep = |operator: &str| {
        let result = store.put(format!("{{\"by\":\"{operator}\"}}").as_bytes()).expect("put");
        let key = Digest::of(operator.as_bytes());
        let receipt = Receipt {
            key,
            operator: operator.into(),
            version: 1,
            parts: Vec::new(),
            result,
            took_ms: 1,
            run: "gone".into(),
        };
        assert!(store.keep(&receipt).expect("kept"));
        key
    };
    let (answer, drawn) = (keep("model.ask"), keep("persona.draw"));
    drop(store);
    let keep = |paid: fn(&Receipt) -> bool| {
        store::collect(folder.path(), "test", false, |_| store::Keep {
            receipts: Box::new(paid),
            objects: Vec::new(),
        })
        .expect("collected")
    };
    assert_eq!(keep(|receipt| receipt.operator == "model.ask").receipts, 1);
    let left = Snapshot::open(folder.path()).expect("a snapshot");
    let there: HashSet<bool> =
        [answer, drawn].iter().map(|key| left.receipt(key).unwrap().is_some()).collect();
    assert_eq!(there.len(), 2, "one stays and one goes");
    assert!(left.receipt(&answer).expect("read").is_some());
    assert_eq!(keep(|_| false).receipts, 1);
}

/// The order of writing is what makes a cut harmless. With the receipt in front of its object, the
/// same cut leaves a receipt that names nothing, and the check says so.
#[test]
fn a_receipt_in_front_of_its_object_would_be_found_out() {
    let record = |object_first: bool| {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bytes = b"{\"n\":1}";
        Store::open(one.path(), "test").unwrap().put(bytes).unwrap();
        let receipt = Receipt {
            key: Digest::of(b"key"),
            operator: "test".into(),
            version: 1,
            parts: Vec::new(),
            result: Digest::of(bytes),
            took_ms: 1,
            run: "run".into(),
        };
        Store::open(two.path(), "test").unwrap().keep(&receipt).unwrap();
        let read = |folder: &tempfile::TempDir| {
            std::fs::read(folder.path().join("packs/00000001.pack")).expect("a pack")
        };
        let (object, receipt) = (read(&one), read(&two));
        let (first, second) = if object_first { (object, receipt) } else { (receipt, object) };
        std::fs::create_dir_all(folder.path().join("packs")).expect("made");
        // The power goes when the first half of the second record is on the disk.
        let cut = [&first[..], &second[..second.len() / 2]].concat();
        std::fs::write(folder.path().join("packs/00000001.pack"), cut).expect("written");
        store::check(folder.path(), 1.0, 0).expect("checked")
    };
    assert!(record(true).bad.is_empty());
    assert_eq!(record(false).bad.len(), 1);
}

#[test]
fn a_store_that_cannot_be_written_is_read_and_says_so() {
    if !may_trace() {
        return;
    }
    let project = project();
    results(&project, &[]);
    let claw = |args: &[&str]| {
        Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat,mkdir,unlink"])
            .args(["-P", ".claw/lock", "-P", ".claw/suspect"])
            .arg("-P")
            .arg(project.path(".claw/lock").canonicalize().expect("a path"))
            .args(["-e", "inject=openat,mkdir,unlink:error=EROFS"])
            .arg(env!("CARGO_BIN_EXE_claw"))
            .args(args)
            .current_dir(project.path(""))
            .output()
            .expect("strace starts")
    };
    for args in [&["plan", "main.claw"][..], &["show", "split"], &["runs"], &["store", "check"]] {
        let read = claw(args);
        assert!(read.status.success(), "{args:?}: {}", String::from_utf8_lossy(&read.stderr));
    }
    let run = claw(&["run", "main.claw", "-p", "people=1"]);
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{text}");
    assert!(text.contains("the store cannot be written here"), "{text}");
}

/// What `benches/faults_bite.sh` takes out must still stand where its patches look for it.
#[test]
fn the_patches_that_take_precautions_out_still_fit() {
    let root = crate::project::checkout();
    let mut hunks = 0;
    for patch in std::fs::read_dir(root.join("benches/faults_bite")).expect("a folder") {
        let path = patch.expect("an entry").path();
        let patch = std::fs::read_to_string(&path).expect("text");
        let mut file = String::new();
        for part in
            patch.split_inclusive('\n').collect::<Vec<_>>().split(|line| line.starts_with("@@"))
        {
            let old: String = part
                .iter()
                .filter(|line| line.starts_with([' ', '-']) && !line.starts_with("--- "))
                .map(|line| &line[1..])
                .collect();
            // What stands before the first hunk names the file.
            if !file.is_empty() && !old.is_empty() {
                assert!(file.contains(&old), "{} no longer fits:\n{old}", path.display());
                hunks += 1;
            }
            if let Some(name) = part.iter().find_map(|line| line.strip_prefix("+++ b/")) {
                file = std::fs::read_to_string(root.join(name.trim())).expect("a source");
            }
        }
    }
    assert!(hunks >= 3, "{hunks} hunks");
}
