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
