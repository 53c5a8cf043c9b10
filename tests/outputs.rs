//! Where outputs go: never over what is the user's, each told by itself, and folders as they were made.

use crate::project::Project;

/// Checks and runs `main.claw`: both refuse it with this code and these words, and nothing was run.
#[track_caller]
fn refused(project: &Project, code: &str, words: &[&str]) {
    for command in ["check", "run"] {
        let output = project.claw(&[command, "main.claw"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        for word in [code].iter().chain(words) {
            assert!(said.contains(word), "{command} does not say `{word}`:\n{said}");
        }
    }
    let runs = std::fs::read_dir(project.path(".claw/runs")).map_or(0, Iterator::count);
    assert_eq!(runs, 0, "something ran");
}

#[test]
fn an_output_never_takes_the_place_of_what_is_needed() {
    for (path, why) in [
        ("claw.toml", "settings"),
        ("./claw.lock", "digests"),
        (".claw/lock", "store"),
        ("x/../.claw/packs", "store"),
        (".git/config", "history"),
        ("main.claw", "main.claw is part of the program"),
        ("lib/rules.claw", "lib/rules.claw is part of the program"),
        ("lib", "lib/rules.claw is part of the program"),
        ("data", "reads data/words.txt"),
        ("data/words.txt", "read here"),
        ("notes/new.md", "reads notes"),
        ("note.md.j2", "reads note.md.j2"),
    ] {
        let project = Project::new();
        project.write("lib/rules.claw", "let rule = 1\n");
        project.write("data/words.txt", "words");
        project.write("notes/old.md", "old");
        project.write("note.md.j2", "{{ n }}");
        let program = format!(
            "use \"./lib/rules.claw\"\nstage a = {{ n: rules.rule, f: file(\"data/words.txt\"), \
             d: dir(\"notes\"), t: template(\"note.md.j2\", n: 1) }}\noutput a as \"{path}\"\n"
        );
        project.write("main.claw", &program);
        refused(&project, "E0509", &["output `a` cannot be written", why, "help"]);
        let left = std::fs::read_to_string(project.path("main.claw")).unwrap();
        assert_eq!(left, program);
    }
}

/// What a parameter names is known when the run begins, and nothing has been done by then.
#[test]
fn an_output_never_takes_the_place_of_what_a_parameter_names() {
    let project = Project::new();
    project.write("in.txt", "mine");
    project.write("main.claw", "param f: File\nstage a = [{ f: f }]\noutput a as \"in.txt\"\n");
    project.ok(&["check", "main.claw"]);
    let output = project.claw(&["run", "main.claw", "-p", "f=in.txt"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("E0509") && said.contains("reads in.txt"), "{said}");
    assert_eq!(std::fs::read_to_string(project.path("in.txt")).unwrap(), "mine");
}

#[test]
fn outputs_are_not_in_each_others_way() {
    for (one, other, why) in [
        ("out/x.json", "out/x.json", "two outputs are written to `out/x.json`"),
        ("out/x.json", "./out//x.json", "two outputs are written to `out/x.json`"),
        ("out", "out/deep/x.json", "`out/deep/x.json` lies in another output, `out`"),
        ("out/deep/x.json", "out", "`out/deep/x.json` lies in another output, `out`"),
    ] {
        let project = Project::new();
        project.write(
            "main.claw",
            &format!(
                "stage a = {{ n: 1 }}\nstage b = {{ n: 2 }}\noutput a as \"{one}\"\n\
                 output b as \"{other}\"\n"
            ),
        );
        refused(&project, "E0510", &[why, "`a`", "`b`"]);
    }
    // Names that begin alike are not above each other.
    let project = Project::new();
    project.write(
        "main.claw",
        "stage a = { n: 1 }\noutput a as \"out/x\"\noutput a as \"./out/x.json\"\n\
         output a as \"out/y/../z\"\n",
    );
    project.ok(&["run", "main.claw"]);
    for path in ["out/x", "out/x.json", "out/z"] {
        assert!(project.path(path).is_file(), "{path}");
    }
}

#[test]
fn an_output_does_not_leave_the_project() {
    for path in ["/tmp/x.json", "../x.json", "a/../../x.json", ""] {
        let project = Project::new();
        project.write("main.claw", &format!("stage a = {{ n: 1 }}\noutput a as \"{path}\"\n"));
        refused(&project, "E0507", &["names no place in the project"]);
    }
}

/// A folder of the project may be a link, as long as it leads to a place that an output may have.
#[test]
fn links_are_followed_before_anything_runs() {
    use std::os::unix::fs::symlink;
    let elsewhere = tempfile::tempdir().unwrap();
    let project = Project::new();
    symlink(elsewhere.path(), project.path("out2")).unwrap();
    symlink(".", project.path("here")).unwrap();
    symlink(".claw", project.path("kept")).unwrap();
    symlink("/nowhere/at/all", project.path("lost")).unwrap();
    std::fs::create_dir(project.path(".claw")).unwrap();
    for (path, why) in [
        ("out2/x.json", "leads out of the project"),
        ("out2/deep/x.json", "leads out of the project"),
        ("out2", "leads out of the project"),
        ("kept/lock", "the project's store is there"),
        ("here/claw.toml", "settings are there"),
        ("lost/x.json", "leads nowhere"),
    ] {
        let program = format!("stage a = {{ n: 1 }}\noutput a as \"{path}\"\n");
        project.write("main.claw", &program);
        refused(&project, "E0509", &["output `a` cannot be written", why]);
    }
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    // Only the run has looked at everything that the program reads.
    project.write("main.claw", "stage a = { n: 1 }\noutput a as \"here/main.claw\"\n");
    let output = project.claw(&["run", "main.claw"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("E0509") && said.contains("main.claw"), "{said}");
    project.write("main.claw", "stage a = { n: 1 }\noutput a as \"here/deep/x.json\"\n");
    project.ok(&["run", "main.claw"]);
    assert!(project.path("deep/x.json").is_file());
}

#[test]
fn an_output_that_cannot_be_written_keeps_none_of_the_others() {
    let project = Project::new();
    project.write("plain.txt", "mine");
    project.write("mine/note.txt", "mine");
    project.write(
        "main.claw",
        "stage a = { n: 1 }\nstage b = [{ n: 2 }]\nstage c = { n: 3 }\n\
         output a as \"plain.txt/a.json\"\noutput b as \"out/b.jsonl\"\noutput c as \"mine\"\n",
    );
    for _ in 0..2 {
        let output = project.claw(&["run", "main.claw"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let summary = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for words in [
            "error: output `a` cannot be written to plain.txt/a.json: ",
            "error: output `c` cannot be written to mine: ",
            "help: the result is kept, and another run writes it",
        ] {
            assert!(said.contains(words), "it does not say `{words}`:\n{said}");
        }
        assert!(!said.contains(".tmp"), "{said}");
        assert!(summary.contains(" in ") && summary.contains("3 "), "{summary}");
        assert!(project.path("out/b.jsonl").is_file());
    }
    let output = project.claw(&["run", "main.claw", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["ok"], false);
    assert_eq!(told["failures"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["failures"][0]["output"], "plain.txt/a.json");
    assert_eq!(std::fs::read_to_string(project.path("plain.txt")).unwrap(), "mine");
    std::fs::remove_file(project.path("plain.txt")).unwrap();
    std::fs::rename(project.path("mine"), project.path("yours")).unwrap();
    project.ok(&["run", "main.claw"]);
    assert!(project.path("plain.txt/a.json").is_file() && project.path("mine").is_file());
}

/// A project whose output `out/made` is the folder `made`.
fn folder() -> Project {
    let project = Project::new();
    project.write("made/run.sh", "#!/bin/sh\n");
    project.write("made/deep/down/a.txt", "a");
    project.write("made/b.txt", "b");
    mode(&project, "made/run.sh", 0o755);
    std::fs::create_dir(project.path("made/empty")).unwrap();
    std::os::unix::fs::symlink("run.sh", project.path("made/link")).unwrap();
    project.write("main.claw", FOLDER);
    project.ok(&["run", "main.claw"]);
    project
}

const FOLDER: &str = "stage a = dir(\"made\")\noutput a as \"out/made\"\n";
const FILE: &str = "stage a = { n: 1 }\noutput a as \"out/made\"\n";

fn mode(project: &Project, path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(project.path(path), mode).unwrap();
}

#[track_caller]
fn has_mode(project: &Project, path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::metadata(project.path(path)).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, mode, "{path}");
}

/// Runs; gives the exit code and everything that was said.
fn run(project: &Project) -> (Option<i32>, String) {
    let output = project.claw(&["run", "main.claw"]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_folder_is_written_as_it_was_made() {
    let project = folder();
    has_mode(&project, "out/made/run.sh", 0o755);
    has_mode(&project, "out/made/deep/down/a.txt", 0o644);
    assert!(project.path("out/made/empty").is_dir());
    assert_eq!(std::fs::read_link(project.path("out/made/link")).unwrap().to_str(), Some("run.sh"));
    assert!(!run(&project).1.contains("written to"), "there was nothing to write");
    mode(&project, "out/made/run.sh", 0o644);
    mode(&project, "out/made/b.txt", 0o755);
    assert!(run(&project).1.contains("a written to out/made"));
    has_mode(&project, "out/made/run.sh", 0o755);
    has_mode(&project, "out/made/b.txt", 0o644);
}

#[test]
fn what_a_folder_no_longer_has_goes_and_what_is_the_users_stays() {
    let project = folder();
    project.write("out/made/mine.txt", "mine");
    project.write("out/made/deep/mine.txt", "mine");
    project.write("out/made/b.txt", "edited");
    std::fs::remove_dir_all(project.path("made/deep")).unwrap();
    std::fs::remove_dir(project.path("made/empty")).unwrap();
    std::fs::remove_file(project.path("made/b.txt")).unwrap();
    std::fs::remove_file(project.path("made/link")).unwrap();
    let (code, said) = run(&project);
    assert_eq!(code, Some(0), "{said}");
    let note = "note: out/made/b.txt was changed since it was written, so it stays";
    assert!(said.contains(note) && said.contains("a written to out/made"), "{said}");
    for gone in ["deep/down", "empty", "link"] {
        assert!(project.path(&format!("out/made/{gone}")).symlink_metadata().is_err(), "{gone}");
    }
    for (stays, text) in [("mine.txt", "mine"), ("deep/mine.txt", "mine"), ("b.txt", "edited")] {
        let there = std::fs::read_to_string(project.path(&format!("out/made/{stays}"))).unwrap();
        assert_eq!(there, text, "{stays}");
    }
    // From now on it is the user's, and not told again.
    let (code, said) = run(&project);
    assert!(code == Some(0) && !said.contains("note:"), "{said}");
}

#[test]
fn what_stood_there_before_is_kept() {
    let project = Project::new();
    project.write("made/a.txt", "new");
    project.write("made/same.txt", "same");
    project.write("out/made/a.txt", "mine");
    project.write("out/made/same.txt", "same");
    project.write("notes.txt", "my notes");
    project.write("rows.jsonl", "{\"n\":0}\n");
    let program = "stage a = dir(\"made\")\nstage b = { n: 1 }\nstage c = for i in 1..=2 { { n: i } }\n\
                   output a as \"out/made\"\noutput b as \"notes.txt\"\noutput c as \"rows.jsonl\"\n";
    project.write("main.claw", program);
    let read = |path: &str| std::fs::read_to_string(project.path(path)).unwrap();
    let (code, said) = run(&project);
    assert_eq!(code, Some(0), "{said}");
    for (path, was) in
        [("out/made/a.txt", "mine"), ("notes.txt", "my notes"), ("rows.jsonl", "{\"n\":0}\n")]
    {
        let note = format!(
            "note: {path} was not written by claw; what it held is kept as .claw/before/{path}\n"
        );
        assert!(said.contains(&note), "{said}");
        assert_eq!(read(&format!(".claw/before/{path}")), was);
        assert_ne!(read(path), was);
    }
    assert!(!project.path(".claw/before/out/made/same.txt").exists(), "it was right already");
    // What claw wrote is put back when it was edited, as ever.
    project.write("notes.txt", "edited");
    let (code, said) = run(&project);
    assert!(code == Some(0) && !said.contains("note:"), "{said}");
    assert_eq!(read("notes.txt"), "{\n  \"n\": 1\n}\n");
    assert!(!project.path(".claw/before/notes.txt.2").exists());
    // Without its list claw does not know what it wrote.
    std::fs::remove_file(project.path(".claw/outputs")).unwrap();
    project.write("notes.txt", "edited");
    project.write("main.claw", &program.replace("n: 1", "n: 2"));
    let (code, said) = run(&project);
    assert!(code == Some(0) && said.contains("is kept as .claw/before/notes.txt.2"), "{said}");
    assert_eq!(read(".claw/before/notes.txt.2"), "edited");
}

#[test]
fn a_result_may_become_a_file_or_a_folder() {
    let project = folder();
    project.write("main.claw", FILE);
    assert_eq!(run(&project).0, Some(0));
    assert!(project.path("out/made").is_file());
    project.write("main.claw", FOLDER);
    assert_eq!(run(&project).0, Some(0));
    assert!(project.path("out/made/deep/down/a.txt").is_file());
    // Never over what is the user's.
    project.write("out/made/mine.txt", "mine");
    project.write("main.claw", FILE);
    let (code, said) = run(&project);
    assert_eq!(code, Some(1), "{said}");
    let why = "output `a` cannot be written to out/made: a folder stands there that holds";
    assert!(said.contains(why), "{said}");
    assert!(project.path("out/made/mine.txt").is_file());
    std::fs::remove_file(project.path("out/made/mine.txt")).unwrap();
    assert_eq!(run(&project).0, Some(0));
    project.write("out/made", "mine");
    project.write("main.claw", FOLDER);
    let (code, said) = run(&project);
    assert_eq!(code, Some(1), "{said}");
    let why = "output `a` cannot be written to out/made: a file stands there";
    assert!(said.contains(why), "{said}");
    assert_eq!(std::fs::read_to_string(project.path("out/made")).unwrap(), "mine");
}

/// Inside of a folder output too, nothing is written or removed behind a link.
#[test]
fn links_in_a_folder_are_not_followed() {
    let project = folder();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir(elsewhere.path().join("down")).unwrap();
    std::fs::write(elsewhere.path().join("down/a.txt"), "a").unwrap();
    std::fs::remove_dir_all(project.path("out/made/deep")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), project.path("out/made/deep")).unwrap();
    let (code, said) = run(&project);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("deep should be a folder"), "{said}");
    std::fs::remove_dir_all(project.path("made/deep")).unwrap();
    assert_eq!(run(&project).0, Some(0));
    assert!(elsewhere.path().join("down/a.txt").is_file());
}

/// What is read under another name, as a library of the project's own, is not written over either.
#[test]
fn an_output_never_takes_the_place_of_a_library() {
    let project = Project::with_library();
    let before = std::fs::read(project.path("stdlib/rows.claw")).unwrap();
    for path in ["stdlib/rows.claw", "stdlib"] {
        let program = format!("stage a = {{ n: 1 }}\noutput a as \"{path}\"\n");
        project.write("main.claw", &program);
        let (code, said) = run(&project);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("E0509") && said.contains("rows.claw"), "{said}");
    }
    assert_eq!(std::fs::read(project.path("stdlib/rows.claw")).unwrap(), before);
}
