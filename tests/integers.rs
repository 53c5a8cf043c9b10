//! Integers beyond 64 bits in JSON from outside: told with their place, never turned into floats.

use crate::cli::shown;
use crate::project::Project;

/// What is said, without the line that tells how long it took.
fn said(project: &Project, args: &[&str]) -> String {
    let said = shown(project, args);
    let lines = said.lines().filter(|line| !line.contains(" rows made, "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn integers_that_would_lose_digits_are_refused_with_their_place() {
    let project = Project::new();
    let lines = "{\"id\": 9223372036854775807, \"low\": -9223372036854775808}\n\n\
                 {\"id\": 1, \"user\": {\"ids\": [7, 18446744073709551615]}}\n";
    project.write("rows.jsonl", lines);
    project.write("rows.json", "[\n  {\"id\": 1},\n  {\"id\": 99999999999999999999999}\n]\n");
    project.write(
        "fit.jsonl",
        "{\"id\": 9223372036854775807, \"big\": 1e20, \"low\": -9223372036854775808}\n",
    );
    project.write("params.toml", "n = 9223372036854775808\n");
    let files = "use std/files\n";
    let read =
        |what: &str, of: &str| format!("{files}stage x = files.{what}(file(\"{of}\"))\noutput x\n");
    project.write("jsonl.claw", &read("read_jsonl", "rows.jsonl"));
    project.write("json.claw", &read("read_json", "rows.json"));
    project.write("fit.claw", &read("read_jsonl", "fit.jsonl"));
    let params = "param n: int = 1\nparam any: Json = 1\nstage x = for i in [n] { { n: i, any: any } }\noutput x\n";
    project.write("params.claw", params);
    let mut text = String::new();
    for args in [
        &["run", "jsonl.claw", "--quiet"][..],
        &["run", "json.claw", "--quiet"],
        &["run", "params.claw", "-p", "n=9223372036854775808"],
        &["run", "params.claw", "-p", "any=18446744073709551615"],
        &["run", "params.claw", "--params-file", "params.toml"],
    ] {
        text.push_str(&said(&project, args));
    }
    insta::assert_snapshot!("integers_beyond_64_bits", text);
    project.ok(&["run", "fit.claw", "--quiet"]);
    let row = project.json(&["show", "x", "--row", "0"]);
    assert_eq!(row["id"].as_i64(), Some(i64::MAX));
    assert_eq!(row["low"].as_i64(), Some(i64::MIN));
    assert!(row["big"].is_f64(), "{row}");
}

#[test]
fn rows_of_a_command_are_held_to_the_same() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    project.write(
        "main.claw",
        "use std/exec\nstage x = exec.rows([{ n: 1 }], \
         command: \"echo '{{\\\"a\\\": 1}}'; echo '{{\\\"a\\\": -9223372036854775809}}'\")\noutput x\n",
    );
    let said = said(&project, &["run", "main.claw", "--quiet"]);
    insta::assert_snapshot!("integers_of_a_command", said);
}

#[test]
fn the_smallest_integer_can_be_written() {
    let project = Project::new();
    let program = "param n: int = -9223372036854775808\n\
                   stage x = [n, -9_223_372_036_854_775_808, n + 1]\noutput x\n";
    project.write("main.claw", program);
    project.ok(&["run", "main.claw", "--quiet"]);
    assert_eq!(project.json(&["show", "x", "--row", "0"]).as_i64(), Some(i64::MIN));
    assert_eq!(project.json(&["show", "x", "--row", "1"]).as_i64(), Some(i64::MIN));
    assert_eq!(project.json(&["show", "x", "--row", "2"]).as_i64(), Some(i64::MIN + 1));
    project.ok(&["run", "main.claw", "--quiet", "-p", "n=-9223372036854775807"]);
    project.ok(&["run", "main.claw", "--quiet", "-p", "n=-9223372036854775808"]);
    // What is one more than the largest needs the sign right before it.
    for wrong in ["9223372036854775808", "-(9223372036854775808)", "-9223372036854775809"] {
        project.write("wrong.claw", &format!("stage x = [{wrong}]\noutput x\n"));
        let said = shown(&project, &["check", "wrong.claw"]);
        assert!(said.contains("is too large for an int"), "{said}");
    }
    for over in ["n - 1", "-n", "n * 2"] {
        project.write("over.claw", &format!("param n: int\nstage x = [{over}]\noutput x\n"));
        let said = shown(&project, &["run", "over.claw", "-p", "n=-9223372036854775808"]);
        assert!(said.contains("the int overflows") && said.contains("--- exit 2"), "{said}");
    }
}

#[test]
fn whole_numbers_and_floats_are_compared_as_they_are() {
    let project = Project::new();
    project.write(
        "main.claw",
        "stage t = [{ a: 9007199254740993 }, { a: 9007199254740992 }, { a: 9223372036854775807 }]\n\
         stage same = t where .a == 9007199254740992.0\n\
         stage more = t where .a > 9007199254740992.0\n\
         stage end = t where .a == 9223372036854775808.0\n\
         output same\noutput more\noutput end\n",
    );
    project.ok(&["run", "main.claw", "--quiet"]);
    let rows = |stage: &str| -> Vec<i64> {
        let rows = project.json(&["show", stage]);
        rows.as_array().unwrap().iter().map(|row| row["a"].as_i64().unwrap()).collect()
    };
    assert_eq!(rows("same"), [9_007_199_254_740_992]);
    assert_eq!(rows("more"), [9_007_199_254_740_993, i64::MAX]);
    assert!(rows("end").is_empty());
    let shown = project.json(&["show", "t", "--where", "a=9007199254740992.0"]);
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
}

#[test]
fn a_date_in_a_file_of_parameters_is_no_difference() {
    let project = Project::new();
    project.write("main.claw", "param k: int = 3\nstage s = [{ k: k }]\noutput s\n");
    project.write("p.toml", "k = 2026-01-01\n");
    let said = shown(&project, &["run", "main.claw", "--params-file", "p.toml"]);
    assert!(said.contains("`k` is a date, of which the language has none"), "{said}");
    assert!(said.contains("k = \"2026-01-01\"") && said.contains("--- exit 2"), "{said}");
}
