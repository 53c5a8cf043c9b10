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
