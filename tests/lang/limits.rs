//! Programs that nest too deep, grow too large, or are only long.

use super::checked::{bound, check, right, shown, wrong};

#[test]
fn deep_and_large_programs_are_refused() {
    let n = 10_000;
    let deep = [
        format!("stage a = {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("stage a = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("stage a = {}1", "-".repeat(n)),
        format!("stage a = {}true", "not ".repeat(n)),
        format!("stage a = 1{}", " + 1".repeat(n)),
        format!("stage a = 1{}", " < 1".repeat(n)),
        format!("stage a = b{}", ".c".repeat(n)),
        format!("stage a = b{}", "[0]".repeat(n)),
        format!("stage a = b{}", " where .x".repeat(n)),
        format!("stage a = {}1", "if true then 1 else ".repeat(n)),
        format!("stage a = {}1", "if ".repeat(n)),
        format!("stage a = {}", "for x in [1] { ".repeat(n)),
        format!("stage a = {}", "\"{".repeat(n)),
        format!("type T = {}int", "[".repeat(n)),
        format!("type T = int{}", " -> int".repeat(n)),
        format!("type T = int{}", "?".repeat(n)),
        format!("type T = {}", "{ a: ".repeat(n)),
        format!("param p: int = {}", "f(a: ".repeat(n)),
        "(".repeat(n),
        "/// doc\n".repeat(n),
        "stage ".repeat(n),
    ];
    for text in &deep {
        let checked = check(text);
        let start: String = text.chars().take(30).collect();
        // Question marks add up to one.
        assert_eq!(checked.program.is_none(), !text.contains('?'), "{start}");
        shown(&checked);
    }
    insta::assert_snapshot!(wrong(&format!("stage a = [1]\nstage b = {}", "(".repeat(n))));
}

/// What is just within the limits goes all the way.
#[test]
fn nesting_within_the_limits_is_fine() {
    let n = 100;
    for text in [
        format!("stage a = {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("stage a = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("stage a = {}1{}", "{ a: ".repeat(n), " }".repeat(n)),
        format!("stage a = 1{}", " + 1".repeat(n)),
        format!("stage a = {}1", "if true then 1 else ".repeat(n)),
        format!("stage a = {}1{}", "for x in [1] { ".repeat(n / 2), " }".repeat(n / 2)),
        format!("stage a = {}\"x\"{}", "\"a{".repeat(n / 2), "}\"".repeat(n / 2)),
        format!("type T = {}int{}\nstage a = 1", "[".repeat(n), "]".repeat(n)),
    ] {
        let text = format!("{text}\noutput a");
        assert!(bound(&text, &[]).is_ok(), "{text}");
    }
    // Defs of defs, each one level further down.
    let chain = |count: usize| {
        let defs: Vec<String> = (1..=count)
            .map(|i| format!("def f{i}(n: int) -> int {{ -f{}(n: n + {i}) }}", i - 1))
            .collect();
        format!(
            "def f0(n: int) -> int {{ n }}\n{}\nstage a = for i in [1] {{ f{count}(n: i) }}\noutput a",
            defs.join("\n")
        )
    };
    assert!(bound(&chain(100), &[]).is_ok());
    assert!(wrong(&chain(2000)).contains("E0404"));
}

#[test]
fn growth_is_bounded() {
    let lines = |line: &dyn Fn(usize) -> String| (1..60).map(line).collect::<Vec<_>>().join("\n");
    let grown = [
        format!("let x0 = [1, 2]\n{}", lines(&|i| format!("let x{i} = x{0} + x{0}", i - 1))),
        format!(
            "let x0 = \"ab\"\n{}",
            lines(&|i| format!("let x{i} = \"{{x{0}}}{{x{0}}}\"", i - 1))
        ),
        format!("let x0 = 1\n{}", lines(&|i| format!("let x{i} = {{ a: x{0}, b: x{0} }}", i - 1))),
        format!(
            "let x0 = dir(\"std/skills\")\n{}",
            lines(&|i| format!("let x{i} = [x{0}, x{0}]", i - 1))
        ),
        format!(
            "type T0 = int\n{}",
            lines(&|i| format!("type T{i} = {{ a: T{0}, b: T{0} }}", i - 1))
        ),
        format!(
            "def f0(n: int) -> int {{ n }}\n{}\nstage s = for i in [1, 2] {{ f59(n: i) }}\noutput s",
            lines(&|i| format!("def f{i}(n: int) -> int {{ f{0}(n: n) + f{0}(n: n + 1) }}", i - 1))
        ),
        format!(
            "def f0(n: int) -> int {{ n }}\n{}\nstage s = f59(n: 1)\noutput s",
            lines(&|i| format!("def f{i}(n: int) -> int {{ f{0}(n: n) + f{0}(n: n + 1) }}", i - 1))
        ),
        format!(
            "stage s0 = 1\n{}\noutput s59",
            lines(&|i| format!("stage s{i} = {{ a: s{0}, b: s{0} }}", i - 1))
        ),
    ];
    for text in &grown {
        let checked = check(text);
        let codes: Vec<&str> = checked.diagnostics.iter().map(|found| found.code).collect();
        assert!(
            codes.contains(&"E0404") || codes.contains(&"E0508"),
            "{codes:?} for {}",
            text.lines().nth(1).unwrap_or("")
        );
    }
}

#[test]
fn long_programs_are_fine() {
    let n = 5_000;
    let mut text = String::from("use std/persona\n");
    for i in 0..n {
        text.push_str(&format!("stage s{i} = take(s{}, count: 3)\n", i + 1));
    }
    text.push_str(&format!("stage s{n} = persona.imagine(count: 3)\noutput s0\n"));
    let program = right(&text);
    assert_eq!(program.stages.len(), n + 1);
    assert!(program.stages.iter().all(|stage| stage.ty.to_string() == "[Persona]"));
}
