//! Whatever is done to a program, checking it ends.

use std::collections::BTreeMap;

use claw::lang::bind;

use super::checked::{QUICKSTART, check, library, shown};

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Whatever is done to a program, checking it ends, and every place in a message can be drawn.
    #[test]
    fn nothing_panics(cuts in proptest::collection::vec((0usize..3000, 0usize..40, "[a-z0-9 .,:=(){}\"\\[\\]%$|&é\n/-]{0,12}"), 1..6)) {
        let mut text = QUICKSTART.to_string();
        for (at, length, put) in cuts {
            let mut start = at.min(text.len());
            while !text.is_char_boundary(start) { start -= 1; }
            let mut end = (start + length).min(text.len());
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(start..end, &put);
        }
        let checked = check(&text);
        shown(&checked);
        if let Some(program) = &checked.program {
            let _ = bind(program, &BTreeMap::new(), &library());
        }
    }

    #[test]
    fn no_token_soup_panics(soup in proptest::collection::vec(proptest::sample::select(vec![
        "stage", "param", "let", "def", "type", "use", "output", "a", "b", "=", ":", "(", ")", "[", "]", "{", "}",
        "for", "in", "where", "if", "then", "else", "1", "2.5", "20%", "5s", "\"x\"", "\"{", "}\"", ".f", "..", "..=",
        "+", "-", "*", "/", "%", "==", "<", "and", "not", "in", "int", "str", "->", "?", ",", "\n", "//", "///", "//!",
        "std/rows", "take", "dedup", "with", "as", "null", "true", "extern", "secret", "\"\"\"", "r\"",
    ]), 0..40)) {
        let checked = check(&soup.join(" "));
        shown(&checked);
    }
}
