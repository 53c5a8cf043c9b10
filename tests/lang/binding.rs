//! Parameters, secrets and what depends on them.

use std::collections::BTreeMap;

use claw::lang::{Value, bind, load, references, render};

use super::checked::{bound, library};

#[test]
fn parameters_are_read_by_their_type() {
    let text = r#"
use std/persona
param count: int where 1 <= count <= limit
param limit: int = 10
param name: str = "a"
param mode: "fast" | "slow" = "fast"
param teacher: Model = model("m", temperature: 1)
param seeds: [int] = [1, 2]
param wait: duration = 20s
param rate: float = 1
param share: percent = 5%
param skills: Dir = dir("std/skills")
param size: int? = null
stage out = { count: count, name: name, mode: mode, seeds: seeds, wait: wait, rate: rate, share: share, size: size, fast: if mode == "fast" then count else limit }
stage a = teacher
stage b = skills
output out
"#;
    let out = |given: &[(&str, &str)]| {
        let pipeline = bound(text, given)?;
        match &pipeline.stages[0].expr.kind {
            claw::lang::ExprKind::Const(value) => {
                Ok(String::from_utf8_lossy(&value.encode()).into_owned())
            }
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(
        out(&[("count", "3")]).as_deref(),
        Ok(
            "{\"count\":3,\"fast\":3,\"mode\":\"fast\",\"name\":\"a\",\"rate\":1.0,\"seeds\":[1,2],\"share\":0.05,\"size\":null,\"wait\":20000}"
        )
    );
    assert_eq!(
        out(&[
            ("count", "2 + 1"),
            ("name", "it's a name, with 20% (of everything)"),
            ("mode", "slow"),
            ("seeds", "[3]"),
            ("wait", "2m"),
            ("rate", "2"),
            ("share", "50%"),
            ("size", "7"),
            ("teacher", "model(\"builtin/solver\", error_rate: 5%)"),
            ("skills", "std/tasks"),
        ])
        .as_deref(),
        Ok(
            "{\"count\":3,\"fast\":10,\"mode\":\"slow\",\"name\":\"it's a name, with 20% (of everything)\",\"rate\":2.0,\"seeds\":[3],\"share\":0.5,\"size\":7,\"wait\":120000}"
        )
    );
    let pipeline = bound(text, &[("count", "3")]).expect("bound");
    assert_eq!(
        pipeline.params[4].1,
        Value::record([("model", Value::str("m")), ("temperature", Value::Float(1.0))])
    );
    insta::assert_snapshot!(
        "given_values",
        out(&[
            ("cuont", "3"),
            ("mode", "fats"),
            ("seeds", "3"),
            ("wait", "20"),
            ("share", "0.5"),
            ("teacher", "\"m\""),
            ("rate", "fast("),
            ("skills", "std/nothing"),
        ])
        .expect_err("all of them are wrong")
    );
    insta::assert_snapshot!(
        "given_out_of_bounds",
        out(&[("count", "11")]).expect_err("out of bounds")
    );
}

#[test]
fn secrets_stay_out_of_the_pipeline() {
    let text = r#"
use std/persona
use std/exec
secret param token: str
secret param named: str = env("NAMED")
param place: str = "x"
stage a = exec.run(
  command: "true", stdin: env("PLACE"), secrets: { T: token, K: secret("KEY"), N: named },
)
output a
"#;
    let sources =
        library().file("main.claw", text).variable("KEY", "hush").variable("PLACE", "here");
    let program = load("main.claw", &sources).program.expect("a program");
    let given = BTreeMap::from([("token".to_string(), "silence".to_string())]);
    let pipeline = bind(&program, &given, &sources).expect("a pipeline");
    let all = format!("{pipeline:?}");
    assert!(!all.contains("hush") && !all.contains("silence"), "{all}");
    assert!(all.contains("here"));
    for (name, value) in
        [("param token", Some("silence")), ("KEY", Some("hush")), ("param named", None)]
    {
        let secret = pipeline.secrets.get(name).expect("a secret");
        assert_eq!(secret.value.as_deref(), value, "{name}");
    }
    // The variables of secrets need not be there: perhaps nothing asks for them.
    let found = bind(&program, &BTreeMap::new(), &library()).expect_err("one is not there");
    let said: Vec<String> =
        found.iter().map(|of| render(of, &program.sources, 100, false)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn branches_that_are_not_taken_go() {
    let text = r#"
use std/persona
param quick: bool = true
stage people = persona.imagine(count: 9)
stage few = if quick then take(people, count: 2) else for p in people { p }
output few
"#;
    let pipeline = bound(text, &[]).expect("bound");
    let few = pipeline.stages.iter().find(|stage| stage.name == "few").expect("few");
    assert_eq!(references(&few.expr), ["people"]);
    let pipeline = bound(text, &[("quick", "false")]).expect("bound");
    let few = pipeline.stages.iter().find(|stage| stage.name == "few").expect("few");
    assert_eq!(references(&few.expr), ["few.rows"]);
}

#[test]
fn missing_parameters_are_listed_together() {
    let text = "/// How many.\nparam count: int\n/// Who teaches.\nparam teacher: Model\nparam mode: \"a\" | \"b\"\nparam fine: int = 1\nstage a = count\noutput a";
    insta::assert_snapshot!(bound(text, &[]).expect_err("three are missing"));
}
