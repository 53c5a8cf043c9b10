//! `claw doc`: valid pages whose links lead somewhere, the same bytes each time, and nothing of a
//! project's text that a browser would obey.

use std::collections::{BTreeMap, BTreeSet};

use claw::doc::{CONSTANTS, KEYWORDS, TYPES};

use crate::project::{Project, checkout};

/// The words of the language: those that the grammar has a rule for.
pub fn grammar_words() -> BTreeSet<String> {
    let grammar = std::fs::read_to_string(checkout().join("grammar/claw.pest")).unwrap();
    let words = grammar.lines().filter_map(|line| {
        let (rule, rest) = line.split_once('=')?;
        let name = rule.trim().strip_suffix("_word")?;
        let word = rest.split('"').nth(1)?;
        assert_eq!(name, word, "a rule is named for its word");
        Some(word.to_string())
    });
    // These two are told from names by the parser's table of signs.
    let signs = ["and", "or", "in", "not"].map(str::to_string);
    let words: BTreeSet<String> = words.chain(signs).collect();
    assert!(words.len() > 25, "{words:?}");
    words
}

#[test]
fn the_highlighter_knows_the_words_of_the_grammar() {
    let known: BTreeSet<String> =
        KEYWORDS.iter().chain(CONSTANTS).map(|word| (*word).to_string()).collect();
    assert_eq!(known, grammar_words());
}

#[test]
fn the_highlighter_knows_the_types_of_the_language() {
    for ty in TYPES {
        let text = format!("def same(x: {ty}) -> {ty} {{ x }}");
        let sources = claw::lang::MemorySources::new().file("main.claw", text);
        let checked = claw::lang::load("main.claw", &sources);
        assert!(checked.program.is_some(), "`{ty}` is no type");
    }
}

/// The words between brackets and bars of the first alternation behind a mark.
fn words_behind<'t>(text: &'t str, mark: &str, end: char) -> Vec<&'t str> {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("there is no `{mark}`"));
    rest.split(end).next().unwrap().split(['|', ' ']).filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_editors_know_the_words_of_the_grammar() {
    let grammar = checkout().join("editors/vscode/syntaxes/claw.tmLanguage.json");
    let grammar = std::fs::read_to_string(grammar).unwrap();
    let json: serde_json::Value = serde_json::from_str(&grammar).unwrap();
    let mut textmate = BTreeSet::new();
    for name in ["keywords", "constants"] {
        for pattern in json["repository"][name]["patterns"].as_array().unwrap() {
            let pattern = pattern["match"].as_str().unwrap();
            let words = words_behind(pattern, "(", ')');
            textmate.extend(words.iter().map(|word| (*word).to_string()));
        }
    }
    assert_eq!(textmate, grammar_words(), "the TextMate grammar");
    let types = json["repository"]["types"]["patterns"][0]["match"].as_str().unwrap();
    let types: BTreeSet<&str> = words_behind(types, "(", ')').into_iter().collect();
    assert_eq!(types, TYPES.iter().copied().collect(), "the TextMate grammar");

    let syntax = std::fs::read_to_string(checkout().join("editors/nvim/syntax/claw.vim")).unwrap();
    let group = |names: &[&str]| -> BTreeSet<String> {
        syntax
            .lines()
            .filter_map(|line| line.strip_prefix("syn keyword "))
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                names.contains(&words.next()?).then(|| words.map(str::to_string))
            })
            .flatten()
            .collect()
    };
    assert_eq!(group(&["clawKeyword", "clawConstant"]), grammar_words(), "the Vim syntax");
    let types: BTreeSet<String> = TYPES.iter().map(|ty| (*ty).to_string()).collect();
    assert_eq!(group(&["clawType"]), types, "the Vim syntax");
}

const HOSTILE: &str = "//! A <script>alert(1)</script> & \"quotes\" [x](javascript:alert(2)).\n\
    \n\
    use std/persona\n\
    use \"./lib.claw\"\n\
    \n\
    /// How many `people`; see [persona.imagine], [lib.Pair] and `std/skill`.\n\
    ///\n\
    /// | a | b |\n\
    /// |---|---|\n\
    /// | <img src=x onerror=alert(3)> | 2 |\n\
    ///\n\
    /// - one\n\
    ///   - two\n\
    ///\n\
    /// ```claw\n\
    /// stage x = \"</code></pre><script>{1}</script>\"\n\
    /// ```\n\
    param people: int = 3 where 1 <= people and people < 10\n\
    \n\
    secret param token: str\n\
    \n\
    /// The crowd.\n\
    stage crowd = persona.imagine(count: people)\n\
    stage named = for p in crowd { { a: p.name, b: [p.id] } }\n\
    output named as \"out/named.jsonl\"\n\
    \n\
    test \"a <b> test\" { assert true }\n\
    stage = \n";

const LIB: &str = "/// Two of a kind.\ntype Pair = {\n  /// The first.\n  a: str,\n  b: [str],\n}\n\n\
    /// Turns one round.\ndef turned(\n  /// Which.\n  of: Pair,\n  often: int = 1 + 1,\n) -> Pair { of }\n";

fn project() -> Project {
    let project = Project::new();
    project.write("claw.toml", "[project]\nname = \"A & B\"\n");
    project.write("hostile.claw", HOSTILE);
    project.write("lib.claw", LIB);
    project.write("out/left.claw", "stage a = 1\n");
    project
}

/// Every file of a folder by its path.
fn files(folder: &std::path::Path, prefix: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            found.extend(files(&path, &format!("{name}/")));
        } else {
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// A page as a browser's parser has to see it.
#[derive(Default)]
struct Page {
    ids: BTreeSet<String>,
    links: Vec<String>,
    assets: Vec<String>,
    text: String,
}

const VOID: [&str; 5] = ["meta", "link", "input", "br", "hr"];

/// Reads a page and holds it against the rules that HTML has: tags are closed in order, attributes
/// are quoted and stand once, ids are unique, paragraphs hold no blocks.
fn parsed(path: &str, html: &str) -> Page {
    let mut page = Page::default();
    let mut rest = html.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    let mut open: Vec<String> = Vec::new();
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!text.contains('>'), "{path}: a bare `>` in {text:?}");
        for entity in text.split('&').skip(1) {
            let name = entity.split(';').next().unwrap();
            assert!(
                ["amp", "lt", "gt", "quot", "#39", "#x27", "#x2f"].contains(&name),
                "{path}: &{name};"
            );
        }
        page.text.push_str(text);
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop().as_deref(),
                Some(name),
                "{path}: </{name}> near {:?}",
                &rest[..rest.len().min(80)]
            );
            continue;
        }
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
            "{path}: <{tag}>"
        );
        let block = [
            "p",
            "ul",
            "ol",
            "dl",
            "pre",
            "table",
            "div",
            "section",
            "article",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "blockquote",
            "details",
        ];
        if block.contains(&name) {
            let inside = |outer: &str| open.iter().any(|tag| tag == outer);
            assert!(!inside("p"), "{path}: <{name}> in <p>");
            assert!(!inside("code") && !inside("a"), "{path}: <{name}> in a line");
        }
        assert!(
            !(name == "a" && open.iter().any(|tag| tag == "a")),
            "{path}: a link in a link: <{tag}>"
        );
        let mut seen = BTreeSet::new();
        while !attributes.trim().is_empty() {
            attributes = attributes.trim_start();
            let length = attributes.find([' ', '=']).unwrap_or(attributes.len());
            let key = &attributes[..length];
            assert!(seen.insert(key.to_string()), "{path}: {key} twice in <{tag}>");
            assert!(!key.starts_with("on"), "{path}: <{tag}>");
            attributes = &attributes[length..];
            if let Some(value) = attributes.strip_prefix("=\"") {
                let close = value.find('"').expect("a quoted value");
                let text = &value[..close];
                match key {
                    "id" => assert!(page.ids.insert(text.to_string()), "{path}: id {text} twice"),
                    "href" if name == "a" => page.links.push(text.to_string()),
                    "href" | "src" => page.assets.push(text.to_string()),
                    _ => {}
                }
                attributes = &value[close + 1..];
            } else {
                assert!(!attributes.starts_with('='), "{path}: <{tag}> is not quoted");
            }
        }
        if !VOID.contains(&name) {
            open.push(name.to_string());
        }
    }
    assert!(open.is_empty(), "{path}: {open:?} not closed");
    page
}

/// Where a relative address leads, from a page.
fn resolved(page: &str, address: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in address.split('/') {
        match part {
            ".." => drop(parts.pop().expect("inside of the site")),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn pages_are_valid_and_their_links_lead_somewhere() {
    let project = project();
    project.ok(&["doc"]);
    let files = files(&project.path("doc"), "");
    for name in [
        "index.html",
        "language.html",
        "errors.html",
        "std/persona.html",
        "project/hostile.html",
        "project/pipelines/quickstart.html",
    ] {
        assert!(files.contains_key(name), "{name} is missing: {:?}", files.keys());
    }
    assert!(!files.contains_key("project/out/left.html"), "results are no modules");
    let pages: BTreeMap<&str, Page> = files
        .iter()
        .filter(|(path, _)| path.ends_with(".html"))
        .map(|(path, html)| (path.as_str(), parsed(path, html)))
        .collect();
    let mut count = 0;
    for (path, page) in &pages {
        for address in &page.assets {
            assert!(files.contains_key(&resolved(path, address)), "{path}: {address}");
        }
        for address in &page.links {
            if address.starts_with("https://") {
                continue;
            }
            let (file, place) = address.split_once('#').unwrap_or((address, ""));
            let file = if file.is_empty() { path.to_string() } else { resolved(path, file) };
            let target = pages.get(file.as_str());
            let target = target.unwrap_or_else(|| panic!("{path}: {address} leads nowhere"));
            assert!(
                place.is_empty() || target.ids.contains(place),
                "{path}: {address}: no such place"
            );
            count += 1;
        }
    }
    assert!(count > 300, "{count} links");
    // Nothing comes from the network.
    for (path, text) in &files {
        for mark in ["src=\"http", "url(", "@import", "fetch(", "XMLHttpRequest"] {
            assert!(!text.contains(mark), "{path} has {mark}");
        }
    }
    // The search index is an array of JSON, and what it names is there.
    let index = &files["search-index.js"];
    let json =
        index.strip_prefix("window.clawIndex = ").unwrap().trim_end().strip_suffix(';').unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let entries = json.as_array().unwrap();
    for entry in entries {
        let to = entry["to"].as_str().unwrap();
        let (file, place) = to.split_once('#').unwrap_or((to, ""));
        let page = &pages[file];
        assert!(place.is_empty() || page.ids.contains(place), "search: {to}");
    }
    assert!(entries.iter().any(|entry| entry["name"] == "imagine" && entry["kind"] == "function"));
    assert!(entries.iter().any(|entry| entry["name"] == "E0304"));
}

#[test]
fn the_text_of_a_project_is_shown_and_never_obeyed() {
    let project = project();
    project.ok(&["doc", "--out", "site"]);
    let files = files(&project.path("site"), "");
    let html = &files["project/hostile.html"];
    assert!(!html.contains("<script>alert") && !html.contains("<img") && !html.contains("<b>"));
    assert!(!html.contains("href=\"javascript"));
    assert!(html.contains("A &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot;"));
    assert!(files["index.html"].contains("<title>A &amp; B</title>"));
    // Names in documentation, types and functions are links.
    for link in [
        "<a href=\"../std/persona.html#imagine\"><code>persona.imagine</code></a>",
        "<a href=\"../project/lib.html#Pair\"><code>lib.Pair</code></a>",
        "<a href=\"../std/skill.html\"><code>std/skill</code></a>",
        "<a href=\"../project/hostile.html#people\"><code>people</code></a>",
    ] {
        assert!(html.contains(link), "{link}\n{html}");
    }
    let lib = &files["project/lib.html"];
    assert!(lib.contains("<a href=\"../project/lib.html#Pair\">Pair</a>"), "{lib}");
    assert!(lib.contains("Named by <a href=\"../project/lib.html#turned\">"), "{lib}");
    // Operators say what the program knows of them.
    assert!(files["std/persona.html"].contains("<li>version 1</li>"));
}

#[test]
fn the_same_modules_give_the_same_bytes() {
    let (one, two) = (project(), project());
    one.ok(&["doc", "--out", "site"]);
    two.ok(&["doc", "--out", "site"]);
    let before = files(&one.path("site"), "");
    assert_eq!(before, files(&two.path("site"), ""));
    let folder = one.path("").to_string_lossy().trim_end_matches('/').to_string();
    assert!(before.values().all(|text| !text.contains(&folder)), "no path of this machine");
    // Again over what stands there; then with a module less, whose page goes away.
    one.ok(&["doc", "--out", "site"]);
    assert_eq!(before, files(&one.path("site"), ""));
    std::fs::remove_file(one.path("lib.claw")).unwrap();
    one.ok(&["doc", "--out", "site"]);
    assert!(!one.path("site/project/lib.html").exists());
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let project = project();
    project.write("doc/notes.md", "mine");
    let output = project.claw(&["doc"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("did not write") && text.contains("--out"), "{text}");
    assert_eq!(files(&project.path("doc"), "").len(), 1);
}

#[test]
fn outlines_are_json_too() {
    let project = project();
    let json = project.json(&["doc", "lib.claw"]);
    let modules = json["modules"].as_array().unwrap();
    assert_eq!(modules[0]["module"], "lib.claw");
    assert!(modules.iter().any(|module| module["module"] == "std/persona.claw"));
    insta::assert_json_snapshot!(modules[0]);
    insta::assert_snapshot!(project.ok(&["doc", "--help"]));
    let output = project.claw(&["doc", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!project.path("doc").exists());
}

/// The extension's package holds what an editor asks for, whether or not npm could be reached.
#[test]
fn the_vscode_package_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("claw.vsix");
    let done = std::process::Command::new("sh")
        .arg(checkout().join("editors/vscode/package.sh"))
        .arg(&out)
        .env("CLAW_VSIX_WITHOUT_NPM", "1")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let listed = std::process::Command::new("python3")
        .args(["-m", "zipfile", "-l"])
        .arg(&out)
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for file in [
        "[Content_Types].xml",
        "extension.vsixmanifest",
        "extension/package.json",
        "extension/extension.js",
        "extension/language-configuration.json",
        "extension/syntaxes/claw.tmLanguage.json",
        "extension/README.md",
    ] {
        assert!(listed.lines().any(|line| line.starts_with(file)), "{file} is missing:\n{listed}");
    }
}
