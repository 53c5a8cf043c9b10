//! A package has its own folder and nothing else.

use super::yard::{FINANCE, Yard, using};

/// What an archive may say, for better or worse.
enum Said<'a> {
    File(&'a str),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    Pipe(&'a str),
}

/// An archive with a good package and one entry more, as somebody with bad intentions would make
/// it: names are written as they are.
fn archive(said: &Said<'_>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, target: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append(&header, bytes).expect("an entry");
    };
    use tar::EntryType;
    add("lib.claw", EntryType::Regular, "", FINANCE.as_bytes());
    add("prompts/advice.md", EntryType::Regular, "", b"Spend less.\n");
    match said {
        Said::File(name) => add(name, EntryType::Regular, "", b"let x = 1\n"),
        Said::Link(name, target) => add(name, EntryType::Symlink, target, b""),
        Said::HardLink(name, target) => add(name, EntryType::Link, target, b""),
        Said::Pipe(name) => add(name, EntryType::Fifo, "", b""),
    }
    archive.into_inner().expect("a tar")
}

#[test]
fn archives_that_leave_their_folder() {
    let yard = Yard::new();
    yard.project();
    let mut told = String::new();
    for said in [
        Said::File("../escaped.claw"),
        Said::File("a/../../escaped.claw"),
        Said::File("/tmp/escaped.claw"),
        Said::File("lib.claw"),
        Said::File("lib.claw/below"),
        Said::Link("secrets", "/etc"),
        Said::Link("prompts/up", "../../project"),
        Said::Link("climb", "prompts/../../project"),
        Said::HardLink("passwd", "/etc/passwd"),
        Said::Pipe("pipe"),
        Said::File("\u{1b}[2J.claw"),
    ] {
        std::fs::write(yard.path("evil.tar"), archive(&said)).expect("an archive");
        told.push_str(&yard.refused("project", &["add", "evil", "--archive", "../evil.tar"]));
    }
    let cut = &archive(&Said::File("more.claw"))[..700];
    std::fs::write(yard.path("evil.tar"), cut).expect("an archive");
    told.push_str(&yard.refused("project", &["add", "evil", "--archive", "../evil.tar"]));
    insta::assert_snapshot!("evil_archives", told);
    assert!(!yard.path("cache").exists() && !yard.path("escaped.claw").exists());
    // The same archive with a good entry is a package.
    std::fs::write(yard.path("good.tar"), archive(&Said::File("more.claw"))).expect("an archive");
    yard.ok("project", &["add", "acme/finance", "--archive", "../good.tar"]);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/rent.json"), "\"70 crowns\"\n");
}

#[test]
fn modules_that_leave_their_folder() {
    let yard = Yard::new();
    yard.project();
    yard.write("project/secret.claw", "let key = \"k\"\n");
    yard.write("secret.claw", "let key = \"k\"\n");
    yard.write("project/claw.toml", "[packages]\nnosy = { path = \"../nosy\" }\n");
    yard.write(
        "project/main.claw",
        "use nosy\nuse nosy/deep/down\n\nstage a = nosy.seen()\nstage b = down.seen()\noutput a\noutput b\n",
    );
    yard.write(
        "nosy/lib.claw",
        "use \"../project/secret.claw\"\nuse \"../../secret.claw\" as other\nuse \"/etc/x.claw\" as abs\n\n\
         def seen() -> File { file(\"../secret.claw\") }\n\
         def listed() -> Dir { dir(\"..\") }\n\
         def told() -> str { env(\"HOME\") }\n",
    );
    yard.write(
        "nosy/deep/down.claw",
        "let up = file(\"../lib.claw\")\nlet out = file(\"../../secret.claw\")\nlet root = file(\"/etc/passwd\")\n\n\
         def seen() -> Secret { secret(\"KEY\") }\n",
    );
    yard.ok("project", &["update"]);
    insta::assert_snapshot!("nosy_modules", yard.refused("project", &["check", "main.claw"]));
    // What a def reads is looked at where it is written out.
    yard.write(
        "nosy/lib.claw",
        "def seen() -> File { file(\"../secret.claw\") }\ndef listed() -> Dir { dir(\"..\") }\n",
    );
    yard.write(
        "project/main.claw",
        "use nosy\n\nstage a = nosy.seen()\nstage b = nosy.listed()\noutput a\noutput b\n",
    );
    yard.ok("project", &["update"]);
    let told = yard.refused("project", &["run", "main.claw"]);
    insta::assert_snapshot!("nosy_defs", told);
}

#[test]
fn links_lead_somewhere_inside_or_nowhere() {
    let yard = Yard::new();
    yard.finance("finance", "1.0.0");
    yard.project();
    let link = |target: &str, path: &str| {
        let path = yard.path(path);
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).expect("a link");
    };
    yard.write("secret.md", "a secret");
    link("../../secret.md", "finance/prompts/advice.md");
    let args = ["add", "acme/finance", "--path", "../finance"];
    insta::assert_snapshot!("link_that_leaves", yard.refused("project", &args));
    yard.write("finance/texts/short.md", "Save.\n");
    link("../texts/short.md", "finance/prompts/advice.md");
    yard.ok("project", &args);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Save.\n");
    // Links survive publication.
    yard.ok(".", &["publish", "finance", "--to", "registry"]);
    yard.ok("project", &["add", "acme/finance", "--registry", "../registry"]);
    yard.remove("finance");
    yard.ok("project", &["vendor"]);
    yard.remove("cache");
    yard.remove("project/out");
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Save.\n");
}

/// A package that others fetch cannot name a folder of its author's machine.
#[test]
fn folders_of_others() {
    let yard = Yard::new();
    yard.finance("finance", "1.0.0");
    yard.finance("money", "1.0.0");
    let toml = yard.read("finance/claw.toml");
    yard.write(
        "finance/claw.toml",
        &format!("{toml}[packages]\nmoney = {{ path = \"../money\" }}\n"),
    );
    let url = yard.repository("finance");
    yard.project();
    yard.write("project/main.claw", &using("finance"));
    let args = ["add", "finance", "--git", &url, "--rev", "main"];
    insta::assert_snapshot!("folder_of_others", yard.refused("project", &args));
    yard.ok("project", &["add", "finance", "--path", "../finance"]);
    yard.ok("project", &["check", "main.claw"]);
}
