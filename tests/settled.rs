//! Runs with nothing to do: the shortcut is taken when nothing changed, and never otherwise.

use std::time::Duration;

use crate::project::Project;

const NOTES: &str = r#"
param mood: str = env("CLAW_TEST_MOOD")
stage notes = for n in [1, 2, 3] { { n: n, text: template("note.md.j2", n: n, mood: mood) } }
stage kept = [file("kept.txt")]
output notes as "out/notes.jsonl"
output kept
"#;

fn project() -> Project {
    let project = Project::new();
    project.write("main.claw", NOTES);
    project.write("note.md.j2", "{{ n }} is {{ mood }}");
    project.write("kept.txt", "kept");
    project
}

/// Runs it; says whether it took the long way, which leaves a run behind.
fn long_way(project: &Project, mood: &str) -> bool {
    let runs = || std::fs::read_dir(project.path(".claw/runs")).map_or(0, Iterator::count);
    let before = runs();
    let output = project
        .command(&["run", "main.claw"])
        .env("CLAW_TEST_MOOD", mood)
        .output()
        .expect("claw runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    runs() > before
}

/// Runs until the shortcut is taken: files written a moment ago are not believed.
fn settle(project: &Project, mood: &str) {
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(60));
        if !long_way(project, mood) {
            return;
        }
    }
    panic!("the run never settled");
}

#[test]
fn what_changes_is_seen() {
    let project = project();
    assert!(long_way(&project, "good"));
    settle(&project, "good");
    assert!(!long_way(&project, "good"));
    assert!(long_way(&project, "bad"), "another variable");
    settle(&project, "good");
    project.write("kept.txt", "KEPT");
    assert!(long_way(&project, "good"), "a file of the same length");
    settle(&project, "good");
    project.write("note.md.j2", "{{ n }} was {{ mood }}");
    assert!(long_way(&project, "good"), "a template");
    settle(&project, "good");
    project.write("main.claw", &NOTES.replace("3]", "3, 4]"));
    assert!(long_way(&project, "good"), "the program");
    settle(&project, "good");
    let out = project.path("out/notes.jsonl");
    let right = std::fs::read(&out).expect("an output");
    std::fs::remove_file(&out).expect("removed");
    assert!(long_way(&project, "good"), "an output is gone");
    assert_eq!(std::fs::read(&out).expect("an output"), right);
    settle(&project, "good");
    project.write("out/notes.jsonl", "edited");
    assert!(long_way(&project, "good"), "an output was edited");
    assert_eq!(std::fs::read(&out).expect("an output"), right);
    settle(&project, "good");
    project.write("claw.toml", "[project]\nname = \"other\"\n");
    assert!(long_way(&project, "good"), "the project's settings");
    settle(&project, "good");
    project.write(".claw/suspect", "");
    assert!(long_way(&project, "good"), "damage was found in the store");
    settle(&project, "good");
    std::fs::remove_dir_all(project.path(".claw/packs")).expect("removed");
    assert!(long_way(&project, "good"), "the store is gone");
}

#[test]
fn the_shortcut_shows_what_the_long_way_shows() {
    let project = project();
    let shown = |project: &Project| {
        let output = project
            .command(&["run", "main.claw"])
            .env("CLAW_TEST_MOOD", "good")
            .output()
            .expect("claw runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.rsplit_once(" in ").map_or(text.clone(), |(text, _)| text.to_string())
    };
    long_way(&project, "good");
    let long = shown(&project);
    settle(&project, "good");
    assert_eq!(shown(&project), long);
    assert!(long.contains("Nothing to do: all 2 stages (4 rows)"), "{long}");
}

#[test]
fn a_run_that_failed_leaves_no_note() {
    let project = Project::new();
    project.write(
        "main.claw",
        "stage a = for n in [1, 0] { 1 / n } with { on_error: keep }\noutput a\n",
    );
    for _ in 0..2 {
        let before = std::fs::read_dir(project.path(".claw/runs")).map_or(0, Iterator::count);
        let _ = project.claw(&["run", "main.claw"]);
        let after = std::fs::read_dir(project.path(".claw/runs")).map_or(0, Iterator::count);
        assert_eq!(after, before + 1, "rows that were put aside are tried again");
        std::thread::sleep(Duration::from_millis(60));
    }
}

#[test]
fn a_folder_that_was_written_is_looked_at_with_everything_in_it() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new();
    project.write("made/deep/a.txt", "a");
    project.write("made/run.sh", "run");
    // A link that leads round in a circle is not followed.
    std::os::unix::fs::symlink(".", project.path("made/round")).expect("a link");
    project.write("main.claw", "stage a = dir(\"made\")\noutput a as \"out/made\"\n");
    assert!(long_way(&project, "good"));
    settle(&project, "good");
    let out = project.path("out/made/deep/a.txt");
    std::fs::remove_file(&out).expect("removed");
    assert!(long_way(&project, "good"), "a file in it is gone");
    assert_eq!(std::fs::read(&out).expect("a file"), b"a");
    settle(&project, "good");
    std::fs::write(&out, "b").expect("a file");
    assert!(long_way(&project, "good"), "a file in it was edited");
    assert_eq!(std::fs::read(&out).expect("a file"), b"a");
    settle(&project, "good");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.path("out/made/run.sh"), mode).expect("a mode");
    assert!(long_way(&project, "good"), "one may be executed");
    settle(&project, "good");
    std::fs::remove_file(project.path("out/made/round")).expect("removed");
    assert!(long_way(&project, "good"), "a link in it is gone");
}
