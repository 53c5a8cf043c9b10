//! Rows that were put aside, and what `claw show STAGE --failed` tells of them.

use crate::cli::shown;
use crate::project::Project;

const PROGRAM: &str = r#"
use std/exec
use std/persona

stage people = persona.imagine(count: 3, seed: 1)
stage asked = for p in people, style in ["short", "long"], n in 1..=2 {
  exec.run(command: "echo trying {p.name}; test '{style} {n}' != 'long 2' && false", stdin: "x")
} with { on_error: keep }
stage divided = for i in 0..4, p in people { { n: 12 / i, name: p.name } } with { on_error: keep }
stage fine = for i in 1..=2 { { n: i } }
output asked
output divided
output fine
"#;

#[test]
fn rows_put_aside_are_shown_with_what_they_were_made_from() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    project.write("main.claw", PROGRAM);
    project.claw(&["run", "main.claw", "--quiet"]);
    let id = project.json(&["runs"])[0]["id"].as_str().expect("an id").to_string();
    let mut text = String::new();
    for args in [
        &["show", "asked", "--failed", "--limit", "3"][..],
        &["show", "asked", "--failed", "--where", "style=long", "--where", "n=1"],
        &["show", "asked", "--failed", "--where", "colour=red"],
        &["show", "divided", "--failed"],
        &["show", "divided", "--failed", "--row", "0", "--limit", "1"],
        &["show", "divided", "--failed", "--row", "2"],
        &["show", "fine", "--failed"],
        &["show", "askd", "--failed"],
    ] {
        text.push_str(&shown(&project, args).replace(&id, "<run>"));
    }
    insta::assert_snapshot!("rows_put_aside", text);
    let rows = project.json(&["show", "divided", "--failed"]);
    assert_eq!(rows.as_array().expect("rows").len(), 3, "{rows}");
    assert_eq!(rows[0]["inputs"]["i"], 0);
    assert!(rows[1]["inputs"]["p"]["name"].is_string(), "{rows}");
    // What a row was made from stays as long as the run does.
    project.ok(&["gc"]);
    assert_eq!(project.json(&["show", "divided", "--failed"]), rows);
}

/// A row put aside has the same number however the rows came, that of the table it stands in.
#[test]
fn rows_put_aside_have_the_numbers_of_the_rows_they_were_made_from() {
    let project = Project::new();
    let program = "\
stage t = for n in 0..200 { { id: n, x: n % 4 } }
stage few = t where .id > 190
stage bad = for r in few { { id: r.id, q: 6 / r.x } } with { on_error: keep }
stage some = for r in t where r.id > 190 { { id: r.id, x: r.x } }
stage pairs = for a in some, b in [1, 0] { { v: a.x / b } } with { on_error: keep }
stage within = for r in (t where .id > 190) { { id: r.id, q: 6 / r.x } } with { on_error: keep }
stage passed = few where 6 / .x > 2 with { on_error: keep }
output bad
output pairs
output within
output passed
";
    project.write("main.claw", program);
    let places = |stage: &str| -> Vec<Vec<u64>> {
        let rows = project.json(&["show", stage, "--failed"]);
        let place = |row: &serde_json::Value| {
            row["place"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect()
        };
        rows.as_array().unwrap().iter().map(place).collect()
    };
    let first = |stage: &str| -> Vec<u64> { places(stage).iter().map(|place| place[0]).collect() };
    // Once as they come, and once from the store.
    for _ in 0..2 {
        project.claw(&["run", "main.claw", "--quiet"]);
        assert_eq!(first("bad"), [1, 5]);
        assert_eq!(first("within"), [1, 5]);
        assert_eq!(first("passed"), [1, 5]);
        let pairs: Vec<Vec<u64>> = (0..9).map(|n| vec![n, 1]).collect();
        assert_eq!(places("pairs"), pairs);
    }
    let one = shown(&project, &["show", "pairs", "--failed", "--row", "3.1"]);
    assert!(one.contains("row 3.1: division by zero") && one.contains("--- exit 0"), "{one}");
    let one = shown(&project, &["show", "bad", "--failed", "--row", "5"]);
    assert!(one.contains("id: 196") || one.contains("196"), "{one}");
    let odd = shown(&project, &["show", "bad", "--row", "3.1"]);
    assert!(odd.contains("the rows of a stage have one number"), "{odd}");
    let odd = shown(&project, &["show", "bad", "--row", "three"]);
    assert!(odd.contains("a row has a number, such as 3"), "{odd}");
    // Those whose test fails are put aside as any row is, or end the run.
    assert_eq!(project.json(&["show", "passed"]).as_array().unwrap().len(), 4);
    project.write("main.claw", &program.replace("2 with { on_error: keep }\noutput", "2\noutput"));
    let failed = shown(&project, &["run", "main.claw", "--quiet"]);
    assert!(failed.contains("stage `passed`: division by zero"), "{failed}");
    let told = shown(&project, &["show", "passed", "--failed"]);
    assert!(told.contains("division by zero") && told.contains("row: id 19"), "{told}");
}

#[test]
fn a_filter_lets_as_many_rows_fail_as_its_policy_says() {
    let project = Project::new();
    let program = |of: &str, most: u32| {
        format!(
            "stage t = for n in 0..1000 {{ {{ id: n, x: n % 5 }} }}\nstage whole = sort(t, by: .id)\n\
             stage some = {of} where 6 / .x > 1 with {{ on_error: drop(at_most: {most}%) }}\noutput \
             some\n"
        )
    };
    // A fifth of them fails, as they come and once they are there.
    for of in ["t", "whole"] {
        project.write("main.claw", &program(of, 19));
        for _ in 0..2 {
            let said = shown(&project, &["run", "main.claw", "--quiet"]);
            assert!(said.contains("more than the 19 % that `on_error` lets go"), "{of}: {said}");
            assert!(said.contains("--- exit 1"), "{of}: {said}");
        }
        project.write("main.claw", &program(of, 20));
        let plan = project.json(&["plan", "main.claw"]);
        let stages = plan["stages"].as_array().unwrap();
        assert_eq!(stages.last().unwrap()["bound"], "about", "{plan}");
        project.ok(&["run", "main.claw", "--quiet"]);
        assert_eq!(
            project.json(&["show", "some", "--limit", "1000"]).as_array().unwrap().len(),
            800
        );
    }
}

/// A plan over rows of which some fail is no more certain than they are, and `claw runs` counts what
/// the run did.
#[test]
fn rows_whose_condition_fails_are_not_counted_for_certain() {
    let project = Project::new();
    project.write(
        "main.claw",
        "param more: int = 0\nstage t = for n in 0..10 { { id: n, x: n % 5 } }\n\
         stage div = for r in t where 6 / r.x > 1 { { id: r.id } } with { on_error: keep }\n\
         stage late = div where .id > 3 + more\noutput late\n",
    );
    project.ok(&["run", "main.claw", "--quiet"]);
    let plan = project.json(&["plan", "main.claw", "-p", "more=1"]);
    let bound = |name: &str| {
        let stages = plan["stages"].as_array().unwrap();
        let stage = stages.iter().find(|one| one["stage"] == name).unwrap();
        stage["bound"].as_str().unwrap().to_string()
    };
    assert_ne!(bound("div"), "exact", "{plan}");
    assert_ne!(bound("late"), "exact", "{plan}");
    project.ok(&["run", "main.claw", "--quiet", "-p", "more=1"]);
    let runs = project.json(&["runs"]);
    assert_eq!(runs[0]["cached"], 10, "the rows of `t` were in the store: {runs}");
}
