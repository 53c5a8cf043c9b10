//! Small things that commands say: they are true, also where there is nothing.

use crate::cli::shown;
use crate::project::Project;

/// What a refused command says.
#[track_caller]
fn refused(project: &Project, args: &[&str]) -> String {
    let output = project.claw(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    said
}

#[test]
fn where_there_is_no_store_nothing_is_well() {
    let project = Project::new();
    for args in [&["store", "check"][..], &["store", "size"], &["store", "rebuild"], &["gc"]] {
        let said = refused(&project, args);
        assert!(said.contains("there is no store in") && said.contains("help:"), "{said}");
    }
    assert!(!project.path(".claw").exists(), "looking made something");
    project.write("main.claw", "stage a = [{ n: 1 }]\noutput a\n");
    project.ok(&["run", "main.claw"]);
    assert!(project.ok(&["store", "check"]).contains("All is well"));
    project.ok(&["gc"]);
}

#[test]
fn a_pin_that_moves_is_told_and_no_pin_hides_a_run() {
    let project = Project::new();
    project.write("main.claw", "param n: int = 1\nstage a = [{ n: n }]\noutput a\n");
    let mut runs = Vec::new();
    for n in 1..=2 {
        let told = project.json(&["run", "main.claw", "-p", &format!("n={n}")]);
        runs.push(told["run"].as_str().unwrap().to_string());
    }
    let pin = |run: &str| project.ok(&["pin", run, "--name", "paper"]);
    assert!(!pin(&runs[0]).contains("before"));
    assert!(!pin(&runs[0]).contains("before"), "it did not move");
    let said = pin(&runs[1]);
    assert!(said.contains(&format!("The pin was on run {} before.", runs[0])), "{said}");
    for name in ["latest", &runs[1]] {
        let said = refused(&project, &["pin", &runs[0], "--name", name]);
        assert!(said.contains("cannot be a pin's name: it names a run already"), "{said}");
    }
    project.ok(&["pin", &runs[0]]);
}

#[test]
fn a_filter_by_a_field_that_no_row_has_says_so() {
    let project = Project::new();
    project.write("main.claw", "stage a = [{ n: 1, m: 2 }, { n: 3, m: 4 }]\noutput a\n");
    project.ok(&["run", "main.claw"]);
    let said = refused(&project, &["show", "a", "--where", "nope=3"]);
    assert!(said.contains("no row of `a` has a field `nope`") && said.contains("m, n"), "{said}");
    assert!(project.ok(&["show", "a", "--where", "n=3"]).contains("1 of 2 rows"));
    assert!(project.ok(&["show", "a", "--where", "n=7"]).contains("0 of 2 rows"));
}

#[test]
fn only_what_is_asked_for_must_fit_the_machine() {
    let project = Project::new();
    project.write(
        "main.claw",
        "use std/persona\nstage large = for i in 1..=2 { persona.imagine(count: i) } with { resources: \
         { cpu: 100_000 } }\nstage small = [{ n: 1 }]\noutput large\noutput small\n",
    );
    let said = shown(&project, &["run", "main.claw", "--quiet"]);
    assert!(said.contains("a call of stage `large` needs 100000 processors"), "{said}");
    project.ok(&["run", "main.claw", "--quiet", "--only", "small"]);
}

#[test]
fn a_result_that_was_thrown_away_is_told_as_that() {
    let project = Project::new();
    project.write(
        "main.claw",
        "param k: int = 1\nstage s = for i in 1..=3 { { n: i * k } }\noutput s\n",
    );
    for k in ["k=1", "k=2"] {
        project.ok(&["run", "main.claw", "--quiet", "-p", k]);
    }
    project.ok(&["gc", "--keep-runs", "1"]);
    project.ok(&["show", "s"]);
    let said = shown(&project, &["show", "s", "--run", "latest~1"]);
    assert!(
        said.contains("is in the store no more: `claw gc` threw it away")
            && said.contains("`claw run main.claw` makes it again"),
        "{said}"
    );
}

#[test]
fn a_command_with_a_nul_is_told_as_that() {
    let project = Project::new();
    project.write(
        "main.claw",
        "use std/exec\nstage s = exec.file(command: \"echo a\\u{0}b > out\", output: \"out\", sandbox: \
         sandbox(\"local\"))\noutput s\n",
    );
    let said = shown(&project, &["run", "main.claw", "--quiet", "--allow-unsandboxed"]);
    assert!(said.contains("`command` holds a NUL"), "{said}");
}
