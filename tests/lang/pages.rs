//! The pages of `claw explain`, and diagnostics as JSON.

use claw::lang::Severity;

use super::checked::{check, shown};

#[test]
fn every_page_tells_the_truth() {
    let codes = claw::lang::codes();
    assert!(codes.len() > 40, "{codes:?}");
    for code in &codes {
        let page = claw::lang::explain(code).expect("a page");
        let block = |mark: &str| {
            let (_, rest) = page.split_once(&format!("```{mark}\n"))?;
            rest.split_once("```").map(|(text, _)| text.to_string())
        };
        if let Some(text) = block("claw,error") {
            let checked = check(&text);
            assert!(
                checked.diagnostics.iter().any(|found| found.code == *code),
                "{code}: {}",
                shown(&checked)
            );
        }
        if let Some(text) = block("claw") {
            let checked = check(&text);
            assert!(checked.program.is_some(), "{code}: {}", shown(&checked));
        }
    }
    // Every code that the sources can give has a page.
    let mut open = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/lang")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(path).expect("folder").map(|of| of.expect("entry").path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("source");
        for (at, _) in text.match_indices("\"E0").chain(text.match_indices("\"W0")) {
            let code = &text[at + 1..at + 6];
            if code[1..].chars().all(|c| c.is_ascii_digit()) {
                assert!(
                    claw::lang::explain(code).is_some(),
                    "{code} of {} has no page",
                    path.display()
                );
            }
        }
    }
    assert!(claw::lang::explain("claw::e0304").is_some_and(|page| page.starts_with("E0304: ")));
    assert_eq!(claw::lang::explain("E9999"), None);
}

#[test]
fn diagnostics_are_json_too() {
    let checked = check("stage a = [1]\noutput b");
    let json = checked.diagnostics[0].to_json(&checked.sources);
    insta::assert_snapshot!(json.to_string());
    assert_eq!(checked.diagnostics[0].severity, Severity::Error);
}
