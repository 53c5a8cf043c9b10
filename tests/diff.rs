//! `claw diff`: what is the same in two runs is passed over, what differs is told, and neither a
//! missing index nor a run that goes on is in the way.

use serde_json::Value as Json;

use crate::project::Project;

const GRADES: &str = r#"
param bonus: int = 0

stage notes = for n in 1..=4 {
  { id: "note-{n}", reward: if n > 2 then 1.0 else 0.5, passed: n > 2, text: template("note.md.j2", n: n) }
}
stage best = for n in notes where n.reward > 0.6 { { id: n.id, points: 10 + bonus } }
stage report = { rows: len(notes), models: [{ model: "a", rate: 0.25 }, { model: "b", rate: 0.5 }] }

output notes
output best
output report
"#;

fn project() -> Project {
    let project = Project::new();
    project.write("main.claw", GRADES);
    project.write("note.md.j2", "Note {{ n }}: to whom it may concern.");
    project.ok(&["run", "main.claw", "--quiet"]);
    project
}

/// The ids of the runs, newest first.
fn ids(project: &Project) -> Vec<String> {
    let runs = project.json(&["runs"]);
    let runs = runs.as_array().expect("a list").iter();
    runs.map(|run| run["id"].as_str().expect("an id").to_string()).collect()
}

/// What is shown, with the runs' ids masked, the oldest `<run 1>`.
fn shown(project: &Project, args: &[&str]) -> String {
    let mut text = crate::cli::shown(project, args);
    let mut named: Vec<(usize, String)> =
        ids(project).into_iter().rev().enumerate().map(|(place, id)| (place + 1, id)).collect();
    // `…-09.2` before `…-09`, which it begins with.
    named.sort_by_key(|(_, id)| std::cmp::Reverse(id.len()));
    for (place, id) in named {
        text = text.replace(&id, &format!("<run {place}>"));
    }
    text
}

#[test]
fn runs_are_compared_from_program_to_scores() {
    let project = project();
    project.write("other.txt", "so that the next run is no shortcut");
    project
        .write("main.claw", &GRADES.replace("stage notes = for", "// words\nstage notes =  for"));
    project.ok(&["run", "main.claw", "--quiet"]);
    insta::assert_snapshot!("diff_of_equal_runs", shown(&project, &["diff"]));
    let edited = GRADES
        .replace("n > 2 then 1.0", "n > 1 then 1.0")
        .replace("1..=4", "1..=5")
        .replace("rate: 0.5", "rate: 0.75")
        .replace("stage best", "stage extra = [{ a: 1 }]\noutput extra\nstage best");
    project.write("main.claw", &edited);
    project.write("note.md.j2", "Note {{ n }}: to whom it may interest.");
    project.ok(&["run", "main.claw", "--quiet", "-p", "bonus=5"]);
    insta::assert_snapshot!("diff_of_an_edit", shown(&project, &["diff"]));
    insta::assert_snapshot!(
        "diff_of_one_stage_backwards",
        shown(&project, &["diff", "latest", "latest~1", "--only", "best", "--examples", "1"])
    );
    let told = project.claw(&["diff", "latest~2", "latest", "--json"]);
    assert_eq!(told.status.code(), Some(1));
    let told: Json = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told["same"], Json::Bool(false));
    let difference = &told["difference"];
    assert_eq!(difference["params"][0]["name"], "bonus");
    assert_eq!(difference["params"][0]["new"], 5);
    let stage = |name: &str| {
        let stages = difference["stages"].as_array().expect("stages");
        stages.iter().find(|stage| stage["stage"] == name).cloned().expect("the stage")
    };
    let notes = stage("notes");
    assert_eq!((&notes["changed"], &notes["added"]), (&Json::from(4), &Json::from(1)));
    let score = |stage: &Json, of: &str| {
        let scores = stage["scores"].as_array().expect("scores");
        scores.iter().find(|score| score["of"] == of).cloned().expect("the score")
    };
    let reward = score(&notes, "reward");
    assert_eq!((reward["old"].as_f64(), reward["new"].as_f64()), (Some(0.75), Some(0.9)));
    let rate = score(&stage("report"), "models[b].rate");
    assert_eq!(rate["difference"].as_f64(), Some(0.25));
}

#[test]
fn a_renamed_stage_is_the_same_stage() {
    let project = project();
    let renamed = GRADES.replace("best", "finest");
    project.write("main.claw", &renamed);
    project.ok(&["run", "main.claw", "--quiet"]);
    insta::assert_snapshot!("diff_of_a_renamed_stage", shown(&project, &["diff"]));
}

#[test]
fn neither_an_index_nor_the_end_of_a_run_is_needed() {
    let project = project();
    project.ok(&["run", "main.claw", "--quiet", "-p", "bonus=1"]);
    let latest = ids(&project)[0].clone();
    let folder = project.path(&format!(".claw/runs/{latest}"));
    // As a run looks that has not come to its end, and whose last line is being written.
    std::fs::remove_file(folder.join("stages.json")).expect("removed");
    let log = std::fs::read_to_string(folder.join("events.jsonl")).expect("a log");
    let begun: String = log
        .lines()
        .filter(|line| !line.contains("run_ended") && !line.contains("\"report\""))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut begun = begun.into_bytes();
    begun.extend(b"{\"event\":\"row_failed\",\"stage\":\"\xc3");
    std::fs::write(folder.join("events.jsonl"), begun).expect("written");
    std::fs::remove_dir_all(project.path(".claw/index")).expect("removed");
    let holder = claw::store::Store::open(&project.path(".claw"), "claw run main.claw");
    let holder = holder.expect("the store");
    insta::assert_snapshot!("diff_of_a_run_that_goes_on", shown(&project, &["diff"]));
    drop(holder);
}

#[test]
fn runs_are_named_in_many_ways() {
    let project = Project::new();
    let cannot = |args: &[&str]| {
        let output = project.claw(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(cannot(&["diff"]).contains("there is no run yet"));
    project.write("main.claw", GRADES);
    project.write("note.md.j2", "Note {{ n }}");
    project.ok(&["run", "main.claw", "--quiet"]);
    assert!(cannot(&["diff"]).contains("nothing to compare it with"));
    project.ok(&["run", "main.claw", "--quiet", "-p", "bonus=2"]);
    let ids = ids(&project);
    assert_eq!(project.ok(&["pin", "latest~1", "--name", "first"]).lines().count(), 1);
    let named = |old: &str| {
        let output = project.claw(&["diff", old, "--json"]);
        let told: Json = serde_json::from_slice(&output.stdout).expect("JSON");
        told["old"]["id"].as_str().expect("an id").to_string()
    };
    for name in ["first", "latest~1", ids[1].as_str()] {
        assert_eq!(named(name), ids[1], "{name}");
    }
    assert!(cannot(&["diff", "20"]).contains("is the beginning of 2 runs"));
    assert!(cannot(&["diff", "latest~2"]).contains("2 runs in all"));
    assert!(cannot(&["diff", "latest~x"]).contains("latest~1"));
    assert!(cannot(&["diff", "frist"]).contains("run `frist` does not exist"));
    assert!(cannot(&["diff", "--only", "bst"]).contains("did you mean `best`?"));
    project.ok(&["show", "best", "--run", "latest~1"]);
}

#[test]
fn files_and_folders_that_differ_are_named() {
    let project = Project::new();
    project.write(
        "main.claw",
        "stage kept = [{ id: \"a\", file: file(\"x.txt\"), all: dir(\"data\") }]\noutput kept\n",
    );
    project.write("x.txt", "one");
    project.write("data/same.txt", "same");
    project.write("data/other.txt", "one");
    project.ok(&["run", "main.claw", "--quiet"]);
    project.write("x.txt", "two");
    project.write("data/other.txt", "two");
    project.write("data/new.txt", "new");
    project.ok(&["run", "main.claw", "--quiet"]);
    let told = shown(&project, &["diff"]);
    assert!(told.contains("all: new.txt, other.txt differ\n"), "{told}");
    assert!(told.contains("file: x.txt (") && !told.contains("same.txt"), "{told}");
}
