//! From `claw new` to a run that uses what others published.

use super::yard::{FINANCE, Yard, using};

#[test]
fn a_package_is_made_published_and_used() {
    let yard = Yard::new();
    let mut told = String::new();
    let mut tell = |folder: &str, args: &[&str]| {
        let output = yard.claw(folder, args);
        told.push_str(&yard.shown(args, &output));
        told.push('\n');
    };
    tell(".", &["new", "--lib", "greetings", "--name", "acme/greetings"]);
    tell("greetings", &["check", "lib.claw"]);
    tell(".", &["publish", "greetings", "--to", "registry"]);
    tell(".", &["new", "letters"]);
    tell("letters", &["add", "acme/greetings", "--registry", "../registry"]);
    yard.write(
        "letters/hello.claw",
        "use acme/greetings\n\nstage hello = greetings.greeting(name: \"Ada\", warmly: true)\n\n\
         output hello as \"out/hello.json\"\n",
    );
    yard.ok("letters", &["run", "hello.claw", "--quiet"]);
    assert_eq!(yard.read("letters/out/hello.json"), "\"Dear Ada, how good to see you!\"\n");
    tell("letters", &["update"]);
    tell("letters", &["vendor"]);
    // A version is published once.
    let lib = yard.read("greetings/lib.claw");
    yard.write("greetings/lib.claw", &lib.replace("Hello", "Good day"));
    tell(".", &["publish", "greetings", "--to", "registry"]);
    let toml = yard.read("greetings/claw.toml");
    yard.write("greetings/claw.toml", &toml.replace("0.1.0", "0.2.0"));
    tell(".", &["publish", "greetings", "--to", "registry"]);
    tell("letters", &["update"]);
    tell("letters", &["add", "acme/greetings", "--registry", "../registry"]);
    insta::assert_snapshot!(told);
    insta::assert_snapshot!("project_after_add", yard.read("letters/claw.toml"));
}

#[test]
fn a_new_project_runs_at_once() {
    let yard = Yard::new();
    yard.ok(".", &["new", "errands"]);
    yard.ok("errands", &["run", "pipeline.claw", "--quiet"]);
    assert_eq!(yard.read("errands/out/tasks.jsonl").lines().count(), 6);
    let mut told = yard.refused(".", &["new", "errands"]);
    told.push_str(&yard.refused(".", &["new", "2errands"]));
    told.push_str(&yard.refused(".", &["new", "--lib", "x", "--name", "std/x"]));
    insta::assert_snapshot!("new_refusals", told);
    assert!(!yard.path("x").exists() && !yard.path("2errands").exists());
}

#[test]
fn the_lock_changes_only_when_something_changes() {
    let yard = Yard::new();
    yard.finance("finance", "1.0.0");
    yard.project();
    yard.ok("project", &["add", "acme/finance", "--path", "../finance"]);
    let lock = yard.read("project/claw.lock");
    yard.ok("project", &["update"]);
    yard.ok("project", &["update", "acme/finance"]);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    yard.ok("project", &["add", "acme/finance", "--path", "../finance"]);
    assert_eq!(yard.read("project/claw.lock"), lock);
    // Neither does what is no part of the package.
    yard.write("finance/.git/config", "[core]\n");
    yard.write("finance/claw.lock", "");
    yard.write("finance/lib.claw~", "old");
    yard.ok("project", &["check", "main.claw"]);
    // A second package keeps the first one's lines.
    yard.ok("project", &["add", "other", "--path", "../finance"]);
    let more = yard.read("project/claw.lock");
    for line in lock.lines() {
        assert!(more.contains(line), "{line}");
    }
}

#[test]
fn two_versions_live_side_by_side() {
    let yard = Yard::new();
    yard.finance("one", "1.4.0");
    yard.finance("two", "2.0.0");
    yard.write("two/lib.claw", &FINANCE.replace("crowns", "pounds"));
    for folder in ["one", "two"] {
        yard.ok(".", &["publish", folder, "--to", "registry"]);
    }
    // Another package uses 1.4.0, by the registry that it is published to as well.
    yard.write(
        "ledger/claw.toml",
        "[project]\nname = \"acme/ledger\"\nversion = \"1.0.0\"\ndescription = \"A book.\"\n\n\
         [packages]\n\"acme/finance\" = { registry = \"../registry\", version = \"1.4.0\" }\n",
    );
    yard.write(
        "ledger/lib.claw",
        "use acme/finance\n\ndef line(of: int) -> str { finance.amount(of: of) }\n",
    );
    yard.ok("ledger", &["update"]);
    yard.ok(".", &["publish", "ledger", "--to", "registry"]);
    yard.write("project/claw.toml", "[project]\nname = \"ours\"\n");
    yard.write(
        "project/main.claw",
        "use acme/finance\nuse acme/ledger\nuse old-finance\n\n\
         stage own = finance.amount(of: 1)\nstage old = old_finance.amount(of: 2)\n\
         stage line = ledger.line(of: 3)\n\
         output own as \"out/own\"\noutput old as \"out/old\"\noutput line as \"out/line\"\n",
    );
    for name in ["acme/finance", "acme/ledger"] {
        yard.ok("project", &["add", name, "--registry", "../registry"]);
    }
    let old =
        ["add", "old-finance", "--package", "acme/finance", "--registry", "../registry@1.4.0"];
    yard.ok("project", &old);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    let made = ["own", "old", "line"].map(|name| yard.read(&format!("project/out/{name}")));
    assert_eq!(made, ["\"1 pounds\"\n", "\"2 crowns\"\n", "\"3 crowns\"\n"]);
    let lock = yard.read("project/claw.lock");
    assert_eq!(lock.matches("name = \"acme/finance\"").count(), 2, "{lock}");
    let digests = regex::Regex::new("[0-9a-f]{64}").expect("a pattern");
    insta::assert_snapshot!("lock_of_two_versions", digests.replace_all(&lock, "<digest>"));
}

#[test]
fn packages_bring_their_own() {
    let yard = Yard::new();
    yard.finance("deep/finance", "1.0.0");
    yard.write(
        "deep/ledger/claw.toml",
        "[project]\nname = \"ledger\"\n\n[packages]\nmoney = { path = \"../finance\" }\n",
    );
    yard.write(
        "deep/ledger/books/lines.claw",
        "use money\nuse \"../words.claw\"\n\ndef line(of: int) -> str { \"{words.owed} {money.amount(of: of)}\" }\n",
    );
    yard.write("deep/ledger/words.claw", "let owed = \"owed:\"\n");
    yard.project();
    yard.write(
        "project/main.claw",
        "use ledger/books/lines\n\nstage line = lines.line(of: 3)\noutput line as \"out/line\"\n",
    );
    yard.ok("project", &["add", "ledger", "--path", "../deep/ledger"]);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/line"), "\"owed: 3 crowns\"\n");
    // What the project does not name is not the project's, and what it misspells is offered.
    yard.write("project/main.claw", "use money\nstage a = money.amount(of: 1)\noutput a\n");
    let mut told = yard.refused("project", &["check", "main.claw"]);
    yard.write("project/main.claw", "use ledgr\nstage a = ledgr.line(of: 1)\noutput a\n");
    told.push_str(&yard.refused("project", &["check", "main.claw"]));
    yard.write("project/main.claw", "use ledger\nstage a = ledger.line(of: 1)\noutput a\n");
    told.push_str(&yard.refused("project", &["check", "main.claw"]));
    yard.write(
        "project/main.claw",
        "use ledger/books/line\nuse ledger/words\nstage a = words.owd\noutput a\n",
    );
    told.push_str(&yard.refused("project", &["check", "main.claw"]));
    insta::assert_snapshot!("names_of_packages", told);
    // A circle is told.
    yard.write("deep/finance/claw.toml", "[packages]\nledger = { path = \"../ledger\" }\n");
    insta::assert_snapshot!("circle_of_packages", yard.refused("project", &["update"]));
}

#[test]
fn what_others_could_not_use_is_not_published() {
    let yard = Yard::new();
    yard.finance("finance", "1.0.0");
    let toml = yard.read("finance/claw.toml");
    let mut told = String::new();
    for wrong in [
        toml.replace("acme/finance", "std/finance"),
        toml.replace("version = \"1.0.0\"\n", ""),
        toml.replace("1.0.0", "1.0"),
        toml.replace("description = \"Money.\"\n", ""),
        format!("{toml}[packages]\nmoney = {{ path = \"../money\" }}\n"),
    ] {
        yard.write("finance/claw.toml", &wrong);
        told.push_str(&yard.refused(".", &["publish", "finance", "--to", "registry"]));
    }
    yard.write("finance/claw.toml", &toml);
    yard.write("finance/more.claw", "def twice(x: int) -> int { x * y }\n");
    told.push_str(&yard.refused(".", &["publish", "finance", "--to", "registry"]));
    insta::assert_snapshot!("publish_refusals", told);
    assert!(!yard.path("registry").exists());
}

#[test]
fn help() {
    let yard = Yard::new();
    for command in ["new", "add", "update", "vendor", "publish"] {
        let args = [command, "--help"];
        insta::assert_snapshot!(
            format!("help_{command}"),
            yard.shown(&args, &yard.claw(".", &args))
        );
    }
}

/// Every code that packages can give has a page.
#[test]
fn codes_have_pages() {
    use claw::project::packages::Trouble;
    for trouble in [Trouble::NotPinned, Trouble::Mismatch, Trouble::Absent, Trouble::Unusable] {
        assert!(claw::lang::explain(trouble.code()).is_some(), "{trouble:?}");
    }
}

/// `claw add` leaves everything as it was when the package cannot be had.
#[test]
fn a_failed_add_changes_nothing() {
    let yard = Yard::new();
    yard.project();
    yard.finance("finance", "1.0.0");
    let toml = yard.read("project/claw.toml");
    let mut told = String::new();
    for args in [
        &["--path", "../nowhere"][..],
        &["--path", "../finance", "--git", "https://example.org/x"],
        &["--git", "https://example.org/x"],
        &["--git", "ext::sh", "--rev", "main"],
        &["--registry", "../finance"],
        &["--archive", "main.claw"],
    ] {
        let args = [&["add", "acme/finance"][..], args].concat();
        told.push_str(&yard.refused("project", &args));
    }
    told.push_str(&yard.refused("project", &["add", "../x", "--path", "../finance"]));
    told.push_str(&yard.refused("project", &["update", "finance"]));
    insta::assert_snapshot!("add_refusals", told);
    assert_eq!(yard.read("project/claw.toml"), toml);
    assert!(!yard.path("project/claw.lock").exists());
    // Not even `use` finds what no claw.toml names.
    yard.write("project/main.claw", &using("finance"));
    assert!(yard.refused("project", &["check", "main.claw"]).contains("E0107"));
}
