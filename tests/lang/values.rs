//! What expressions mean.

use super::checked::bound;

/// The value that a stage's expression folds to.
fn value(expr: &str) -> String {
    let pipeline = bound(&format!("stage x = {expr}\noutput x"), &[]).expect("bound");
    match &pipeline.stages[0].expr.kind {
        claw::lang::ExprKind::Const(value) => String::from_utf8_lossy(&value.encode()).into_owned(),
        other => panic!("not folded: {other:?}"),
    }
}

#[test]
fn expressions_mean_what_python_and_rust_lead_to_expect() {
    let cases = [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 - 2 - 1", "4"),
        ("-2 * 3", "-6"),
        ("7 / 2", "3.5"),
        ("7 % 3", "1"),
        ("10 % 3 == 1 and not false", "true"),
        ("not 1 == 2", "true"),
        ("1 < 2 < 3", "true"),
        ("1 < 3 < 2", "false"),
        ("(1 < 2) == true", "true"),
        ("3 in [1, 2, 3]", "true"),
        ("\"b\" in \"abc\"", "true"),
        ("if 1 > 2 then \"a\" else \"b\"", "\"b\""),
        ("[1, 2] + [3]", "[1,2,3]"),
        ("[1, 2.5]", "[1.0,2.5]"),
        ("[10, 20, 30][1]", "20"),
        ("{ a: 1, b: { c: \"x\" } }.b.c", "\"x\""),
        ("[{ n: 1 }, { n: 5 }] where .n > 2", "[{\"n\":5}]"),
        ("[1, 2, 3] + [4] where .5 > 1 or true", ""),
        ("20%", "0.2"),
        ("20s + 1m", "80000"),
        ("1GiB / 2", "536870912"),
        ("1GiB / 512MiB", "2.0"),
        ("$2.50 * 2", "5000000"),
        ("200 * 20%", "40.0"),
        ("\"a{1 + 1}b{{}}\"", "\"a2b{}\""),
        ("r\"\\d{2}\"", "\"\\\\d{2}\""),
        ("\"tab\\tquote\\\" \\u{e9}\"", "\"tab\\tquote\\\" é\""),
        ("\"\"\"\n    one {1}\n      two\n    \"\"\"", "\"one 1\\n  two\""),
        ("r\"\"\"\n  {\"a\": 1}\n  \"\"\"", "\"{\\\"a\\\": 1}\""),
        ("1_000_000", "1000000"),
        ("1e3", "1000.0"),
        ("null", "null"),
        ("[-1, 2] where true", "[-1,2]"),
    ];
    for (expr, expected) in cases.iter().filter(|(_, expected)| !expected.is_empty()) {
        assert_eq!(value(expr), *expected, "{expr}");
    }
}
