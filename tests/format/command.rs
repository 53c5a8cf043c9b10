//! `claw fmt` as a person meets it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use crate::project::Project;

const UGLY: &str =
    "use std/persona\n\n\n\nstage people=persona.imagine( count : 3 ) // three\noutput people";
const RIGHT: &str =
    "use std/persona\n\nstage people = persona.imagine(count: 3) // three\noutput people\n";

fn shown(project: &Project, args: &[&str]) -> String {
    said(project, args, &project.claw(args))
}

fn said(project: &Project, args: &[&str], output: &Output) -> String {
    let folder = project.path("").canonicalize().unwrap();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).replace(&*folder.to_string_lossy(), "<project>")
    };
    format!(
        "$ claw {}\n{}--- stderr\n{}--- exit {}\n",
        args.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1)
    )
}

fn read(project: &Project, path: &str) -> String {
    std::fs::read_to_string(project.path(path)).expect("a file")
}

#[test]
fn formats_the_project() {
    let project = Project::new();
    let left_out =
        [".claw/x.claw", ".git/x.claw", "vendor/acme/x.claw", "deep/vendor/x.claw", "a.txt"];
    for path in ["a.claw", "deep/er/b.claw"].into_iter().chain(left_out) {
        project.write(path, UGLY);
    }
    project.write("right.claw", RIGHT);
    insta::assert_snapshot!("check_of_a_project", shown(&project, &["fmt", "--check"]));
    assert_eq!(read(&project, "a.claw"), UGLY, "checking changes nothing");
    insta::assert_snapshot!("fmt_of_a_project", shown(&project, &["fmt"]));
    for path in ["a.claw", "deep/er/b.claw"] {
        assert_eq!(read(&project, path), RIGHT);
    }
    for path in left_out {
        assert_eq!(read(&project, path), UGLY, "{path} is left out");
    }
    insta::assert_snapshot!("check_of_what_is_formatted", shown(&project, &["fmt", "--check"]));
    // From a folder below, it is still the project that is meant.
    project.write("a.claw", UGLY);
    let below = project.command(&["fmt"]).current_dir(project.path("deep")).output().unwrap();
    assert!(below.status.success());
    assert_eq!(read(&project, "a.claw"), RIGHT);
}

#[test]
fn formats_what_is_named() {
    let project = Project::new();
    for path in ["a.claw", "b.claw", "some/c.claw", "odd.txt", "vendor/d.claw"] {
        project.write(path, UGLY);
    }
    project.ok(&["fmt", "some", "odd.txt", "./odd.txt", "vendor"]);
    for path in ["a.claw", "b.claw"] {
        assert_eq!(read(&project, path), UGLY);
    }
    for path in ["some/c.claw", "odd.txt", "vendor/d.claw"] {
        assert_eq!(read(&project, path), RIGHT);
    }
    assert_eq!(project.claw(&["fmt", "nothing.claw"]).status.code(), Some(2));
}

#[test]
fn a_file_that_does_not_parse_is_left_and_the_others_are_formatted() {
    let project = Project::new();
    project.write("a.claw", "stage a = [1,\noutput a\n");
    project.write("b.claw", UGLY);
    std::fs::write(project.path("c.claw"), b"let a = \"\xff\"\n").unwrap();
    insta::assert_snapshot!("fmt_of_what_does_not_parse", shown(&project, &["fmt"]));
    assert_eq!(read(&project, "a.claw"), "stage a = [1,\noutput a\n");
    assert_eq!(read(&project, "b.claw"), RIGHT);
}

#[test]
fn a_file_keeps_what_it_is() {
    let project = Project::new();
    project.write("a.claw", UGLY);
    project.write("right.claw", RIGHT);
    let private = PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(project.path("a.claw"), private).unwrap();
    std::os::unix::fs::symlink("a.claw", project.path("link.claw")).unwrap();
    let age = || std::fs::metadata(project.path("right.claw")).unwrap().modified().unwrap();
    let before = age();
    project.ok(&["fmt", "link.claw", "right.claw"]);
    assert!(project.path("link.claw").is_symlink());
    assert_eq!(read(&project, "a.claw"), RIGHT);
    let mode = std::fs::metadata(project.path("a.claw")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(age(), before, "what is right is not written");
    let names: Vec<_> = std::fs::read_dir(project.path("")).unwrap().flatten().collect();
    assert_eq!(names.len(), 5, "nothing is left behind: {names:?}");
}

#[test]
fn standard_input_goes_to_standard_output() {
    let project = Project::new();
    let feed = |args: &[&str], text: &str| {
        let mut command = project.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("claw starts");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    for args in [&["fmt", "-"][..], &["fmt", "--stdin"]] {
        let output = feed(args, UGLY);
        assert_eq!(String::from_utf8_lossy(&output.stdout), RIGHT);
        assert_eq!(output.status.code(), Some(0));
    }
    let args = ["fmt", "--stdin", "--check"];
    assert_eq!(feed(&args, RIGHT).status.code(), Some(0));
    insta::assert_snapshot!("check_of_stdin", said(&project, &args, &feed(&args, UGLY)));
    let output = feed(&["fmt", "-"], "stage a = [1,");
    insta::assert_snapshot!("fmt_of_wrong_stdin", said(&project, &["fmt", "-"], &output));
}
