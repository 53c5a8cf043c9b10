//! Content that is not what was pinned is refused, wherever it was changed.

use super::yard::{FINANCE, Yard};

/// A project with acme/finance from a registry; gives the digest.
fn from_registry(yard: &Yard) -> String {
    yard.finance("finance", "1.0.0");
    yard.project();
    yard.ok(".", &["publish", "finance", "--to", "registry"]);
    yard.ok("project", &["add", "acme/finance", "--registry", "../registry"]);
    let cached = std::fs::read_dir(yard.path("cache")).expect("a cache");
    let mut names: Vec<String> = cached
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names.remove(0)
}

#[test]
fn a_folder_that_was_edited() {
    let yard = Yard::new();
    yard.finance("finance", "1.0.0");
    yard.project();
    yard.ok("project", &["add", "acme/finance", "--path", "../finance"]);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Spend less.\n");
    yard.write("finance/prompts/advice.md", "Spend more.\n");
    insta::assert_snapshot!("edited_folder", yard.refused("project", &["run", "main.claw"]));
    assert!(yard.ok("project", &["update", "acme/finance"]).starts_with("updated acme/finance"));
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Spend more.\n");
    // An executable bit is content too.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(yard.path("finance/prompts/advice.md"), mode).expect("a mode");
    assert!(yard.refused("project", &["check", "main.claw"]).contains("E0802"));
    yard.remove("finance");
    insta::assert_snapshot!(
        "folder_that_is_gone",
        yard.refused("project", &["check", "main.claw"])
    );
}

#[test]
fn an_archive_that_was_changed_after_it_was_published() {
    let yard = Yard::new();
    from_registry(&yard);
    // Another package under the same name: the index still says what was published.
    yard.write("finance/lib.claw", &FINANCE.replace("crowns", "pounds"));
    yard.ok(".", &["publish", "finance", "--to", "forged"]);
    let archive = "acme/finance/1.0.0.tar.zst";
    std::fs::copy(yard.path("forged").join(archive), yard.path("registry").join(archive))
        .expect("a copy");
    yard.remove("cache");
    insta::assert_snapshot!("changed_archive", yard.refused("project", &["check", "main.claw"]));
    insta::assert_snapshot!("changed_archive_again", yard.refused("project", &["update"]));
    // Even with its index the content is not what this project pinned.
    let index = "acme/finance/index.jsonl";
    std::fs::copy(yard.path("forged").join(index), yard.path("registry").join(index))
        .expect("a copy");
    insta::assert_snapshot!("changed_registry", yard.refused("project", &["check", "main.claw"]));
}

#[test]
fn a_cache_that_was_changed_is_filled_again() {
    let yard = Yard::new();
    let digest = from_registry(&yard);
    let advice = format!("cache/{digest}/prompts/advice.md");
    yard.write(&advice, "Spend more.\n");
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Spend less.\n");
    assert_eq!(yard.read(&advice), "Spend less.\n");
    // A file more is as wrong as another one.
    yard.write(&format!("cache/{digest}/more.claw"), "let x = 1\n");
    yard.ok("project", &["check", "main.claw"]);
    assert!(!yard.path(&format!("cache/{digest}/more.claw")).exists());
    // So is one that is no package any more.
    std::os::unix::fs::symlink("/etc", yard.path(&format!("cache/{digest}/etc"))).expect("a link");
    yard.ok("project", &["check", "main.claw"]);
    // Where it cannot be filled again it is refused.
    yard.write(&advice, "Spend more.\n");
    yard.remove("registry");
    insta::assert_snapshot!("changed_cache", yard.refused("project", &["check", "main.claw"]));
}

#[test]
fn copies_that_were_changed() {
    let yard = Yard::new();
    let digest = from_registry(&yard);
    yard.ok("project", &["vendor"]);
    let copy = format!("project/vendor/acme/finance@{}", &digest[..12]);
    assert_eq!(yard.read(&format!("{copy}/prompts/advice.md")), "Spend less.\n");
    yard.write(&format!("{copy}/prompts/advice.md"), "Spend more.\n");
    insta::assert_snapshot!("changed_vendor", yard.refused("project", &["check", "main.claw"]));
    yard.ok("project", &["vendor"]);
    yard.ok("project", &["check", "main.claw"]);
    assert_eq!(yard.read(&format!("{copy}/prompts/advice.md")), "Spend less.\n");
    // Copies need nothing else, and make themselves.
    yard.remove("registry");
    yard.remove("cache");
    yard.ok("project", &["vendor"]);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert!(!yard.path("cache").exists());
    // What somebody else keeps there is not replaced.
    std::fs::remove_file(yard.path("project/vendor/packages.md")).expect("a mark");
    insta::assert_snapshot!("vendor_of_others", yard.refused("project", &["vendor"]));
}

#[test]
fn what_claw_toml_asks_for_must_be_pinned() {
    let yard = Yard::new();
    from_registry(&yard);
    let toml = yard.read("project/claw.toml");
    yard.write("project/claw.toml", &toml.replace("1.0.0", "2.0.0"));
    let mut told = yard.refused("project", &["check", "main.claw"]);
    yard.write("project/claw.toml", &format!("{toml}other = {{ path = \"../finance\" }}\n"));
    yard.write("project/main.claw", "use other\nstage a = other.amount(of: 1)\noutput a\n");
    told.push_str(&yard.refused("project", &["check", "main.claw"]));
    yard.write("project/claw.lock", "lock = 2\n");
    told.push_str(&yard.refused("project", &["check", "main.claw"]));
    yard.write("project/claw.toml", "[packages]\nother = { git = \"https://example.org/x\" }\n");
    told.push_str(&yard.refused("project", &["check", "main.claw"]));
    insta::assert_snapshot!("not_pinned", told);
}

/// The same content from elsewhere is the same content: nothing runs again.
#[test]
fn keys_do_not_know_where_a_package_lies() {
    let yard = Yard::new();
    yard.finance("finance", "1.0.0");
    let lib = "use std/persona\n\n\
               def folk(count: int) -> [persona.Persona] { persona.imagine(count: count) }\n";
    yard.write("finance/lib.claw", lib);
    yard.ok(".", &["publish", "finance", "--to", "registry"]);
    yard.write("project/claw.toml", "");
    yard.write(
        "project/main.claw",
        "use acme/finance\n\nstage folk = finance.folk(count: 3)\noutput folk\n",
    );
    // What the run gave, and how many rows it had to make for that.
    let run = || {
        let text = yard.ok("project", &["run", "main.claw", "--quiet", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let stages = json["stages"].as_array().expect("stages");
        let ran: u64 = stages.iter().map(|stage| stage["ran"].as_u64().expect("a count")).sum();
        (json["results"].clone(), ran)
    };
    yard.ok("project", &["add", "acme/finance", "--registry", "../registry"]);
    let (first, ran) = run();
    assert!(ran > 0);
    yard.ok("project", &["add", "acme/finance", "--path", "../finance"]);
    assert_eq!(run(), (first.clone(), 0));
    // A comment in the package changes its digest and no key.
    yard.write("finance/lib.claw", &format!("{lib}\n// a comment\n"));
    yard.ok("project", &["update"]);
    assert_eq!(run(), (first.clone(), 0));
    // What it does differently runs again.
    yard.write("finance/lib.claw", &lib.replace("count: count", "count: count + 1"));
    yard.ok("project", &["update"]);
    let (last, ran) = run();
    assert!(last != first && ran > 0);
}
