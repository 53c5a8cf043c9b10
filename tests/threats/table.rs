//! The threat model as it is written down names only tests that there are.

use std::collections::BTreeSet;

/// The tests of a file, by `module::name`.
fn tests(module: &str, text: &str, found: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in text.lines().map(str::trim_start) {
        marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name = line.strip_prefix("async fn ").or(line.strip_prefix("fn "));
        if let Some(name) = name.and_then(|name| name.split('(').next())
            && std::mem::take(&mut marked)
        {
            found.insert(format!("{module}::{name}"));
        }
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for room in ["threats", "sandbox"] {
        let files = std::fs::read_dir(root.join("tests").join(room)).expect("a folder");
        for file in files {
            let path = file.expect("a file").path();
            let module = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("text");
            tests(&format!("{room}::{module}"), &text, &mut found);
        }
    }
    let page = std::fs::read_to_string(root.join("docs/sandbox.md")).expect("the page");
    let named: BTreeSet<String> = page
        .split('`')
        .filter(|word| word.starts_with("threats::") || word.starts_with("sandbox::"))
        .map(str::to_string)
        .collect();
    let missing: Vec<&String> = named.difference(&found).collect();
    assert!(missing.is_empty(), "docs/sandbox.md names tests that do not exist: {missing:#?}");
    // And every attack is told.
    let told = |name: &&String| name.starts_with("threats::") && !name.contains("::table::");
    let helpers = ["threats::reach::descriptors_are_inherited_here"];
    let untold: Vec<&String> = found.difference(&named).filter(told).collect();
    assert_eq!(untold, helpers, "docs/sandbox.md does not name these");
}
