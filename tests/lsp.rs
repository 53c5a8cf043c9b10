//! `claw lsp`, driven by the protocol itself: the real program, an editor's messages, and
//! transcripts of what was said.

mod session;

use serde_json::{Value as Json, json};

use crate::project::Project;
use session::Session;

const HOUSE: &str = "\
//! Rules of the house.

use std/persona

/// Where somebody belongs.
type Side = \"left\" | \"right\"

/// A person and a side.
type Seat = { who: persona.Persona, side: Side }

/// How many there are at most.
let most = 12

/// Seats people on one side.
def seated(
  /// Who sits down.
  people: [persona.Persona],
  side: Side = \"left\",
) -> [Seat] {
  let chosen = people where .trade != \"none\"
  for p in chosen { { who: p, side: side } }
}
";

const PEOPLE: &str = "\
//! People at a table.

use std/persona
use std/rollout
use \"./house.claw\" as house

/// How many come.
param count: int = 3 where 1 <= count <= house.most

/// Everybody who comes.
stage folk = persona.imagine(count: count)

stage table = house.seated(folk, side: \"right\")

stage names = for seat in table where seat.side == \"right\" { { name: seat.who.name } }

output names
output folk
";

fn project() -> Project {
    let project = Project::new();
    project.write("house.claw", HOUSE);
    project.write("people.claw", PEOPLE);
    project
}

fn session() -> Session {
    Session::start(project(), json!({}))
}

#[test]
fn names_and_types() {
    let mut session = session();
    session.open("people.claw");
    for around in [
        "stage fo|lk",
        "house.se|ated",
        "si|de: \"right\"",
        "wh|o.name",
        "|table where",
        "co|unt)",
        "persona.ima|gine",
        "std/ro|llout",
    ] {
        session.hover("people.claw", around);
    }
    insta::assert_snapshot!(session.end());
}

#[test]
fn going_places() {
    let mut session = session();
    session.open("people.claw");
    for around in [
        "house.sea|ted",
        "(fo|lk",
        "(count: co|unt)",
        "si|de: \"right\")",
        "\"ri|ght\")",
        "seat.wh|o",
        "who.na|me",
        "seat.si|de",
        "output na|mes",
        "|house.most",
        "house.mo|st",
        "std/pers|ona",
    ] {
        session.go("people.claw", around);
    }
    let answer = session.go("people.claw", "persona.ima|gine");
    // The library's file is there to be opened, and is understood as what it is.
    let file = answer["uri"].as_str().expect("a URI").trim_start_matches("file://").to_string();
    let text = std::fs::read_to_string(&file).expect("the library's file");
    assert!(text.contains("def imagine"), "{text}");
    assert!(std::fs::metadata(&file).expect("a file").permissions().readonly());
    let name = file.split_once("/.claw/").expect("in the store").1.to_string();
    session.open(&format!(".claw/{name}"));
    session.hover(&format!(".claw/{name}"), "extern def dr|aw");
    session.open("house.claw");
    session.references("house.claw", "type Si|de");
    session.references("house.claw", "\"ri|ght\"\n");
    session.references("people.claw", "stage fo|lk");
    session.references("house.claw", "peo|ple where");
    insta::with_settings!({filters => vec![(r"library/\d+\.\d+\.\d+", "library/<version>")]}, {
        insta::assert_snapshot!(session.end());
    });
}

#[test]
fn renaming() {
    let mut session = session();
    session.open("people.claw");
    session.open("house.claw");
    session.rename("house.claw", "def sea|ted", "placed");
    session.rename("people.claw", "house.sea|ted", "placed");
    session.rename("people.claw", "stage ta|ble", "seats");
    session.rename("house.claw", "wh|o: persona", "guest");
    session.rename("people.claw", "si|de: \"right\"", "where_to");
    session.rename("people.claw", "for se|at", "s");
    session.rename("house.claw", "\"ri|ght\"\n", "east");
    session.rename("people.claw", "|persona.imagine", "crowd");
    session.rename("people.claw", "as hou|se", "home");
    // What would break or mean something else is refused.
    session.rename("people.claw", "stage ta|ble", "folk");
    session.rename("people.claw", "stage ta|ble", "for");
    session.rename("people.claw", "stage ta|ble", "a b");
    session.rename("people.claw", "for se|at", "names");
    session.rename("people.claw", "for se|at", "table");
    session.rename("people.claw", "persona.ima|gine", "dream");
    session.rename("house.claw", "wh|o: persona", "side");
    let answer = session.about("prepareRename", "people.claw", "stage ta|ble");
    assert_eq!(answer["placeholder"], "table");
    let place = session.place("people.claw", "persona.ima|gine");
    let refused = session.ask("textDocument/prepareRename", place).expect_err("a refusal");
    assert!(refused["message"].as_str().unwrap().contains("library"), "{refused}");
    insta::assert_snapshot!(session.end());
}

#[test]
fn mistakes_come_and_go() {
    let mut session = session();
    session.open("people.claw");
    session.edit("people.claw", "imagine(count", "imagine(cuont");
    session.edit("people.claw", "imagine(cuont", "imagine(count");
    session.edit("people.claw", "stage table =", "stage table = (");
    session.edit("people.claw", "stage table = (", "stage table =");
    session.edit("people.claw", "stage names", "stage folk");
    session.edit("people.claw", "stage folk = for", "stage names = for");
    session.edit("people.claw", "rollout", "eval");
    // A mistake in a file that others use is told there, and in those that use it.
    session.open("house.claw");
    session.edit("house.claw", "side: Side = \"left\"", "way: Side = \"left\"");
    session.edit("house.claw", "way: Side = \"left\"", "side: Side = \"left\"");
    insta::assert_snapshot!(session.end());
}

#[test]
fn formatting() {
    let mut session = session();
    session.project.write("ugly.claw", "stage a   =  [ 1,2 ]  // kept\noutput   a\n");
    session.open("ugly.claw");
    let uri = session.uri("ugly.claw");
    let options = json!({ "tabSize": 8, "insertSpaces": false });
    let ask = json!({ "textDocument": { "uri": uri }, "options": options });
    let edits = session.ask("textDocument/formatting", ask.clone()).expect("edits");
    assert_eq!(edits[0]["newText"], "stage a = [1, 2] // kept\noutput a\n");
    assert_eq!(edits[0]["range"]["start"], json!({ "line": 0, "character": 0 }));
    session.edit("ugly.claw", "stage a   =  [ 1,2 ]  // kept\noutput   a\n", "stage a = [1, 2]\n");
    let edits = session.ask("textDocument/formatting", ask.clone()).expect("edits");
    assert_eq!(edits, json!([]), "what is formatted stays");
    // What does not parse stays as it is.
    session.edit("ugly.claw", "[1, 2]", "[1, 2");
    let edits = session.ask("textDocument/formatting", ask).expect("an answer");
    assert_eq!(edits, Json::Null);
    session.end();
}

#[test]
fn completion() {
    let mut session = session();
    let text = PEOPLE.replace("use std/rollout\n", "use std/rollout\nuse std/workspace\n");
    session.project.write("draft.claw", &text);
    session.project.write("prompts/ask.md", "?");
    session.project.write("prompts/old/x.md", "?");
    session.open("draft.claw");
    let mut try_out = |added: &str, around: &str, limit: usize| {
        session.edit("draft.claw", "\noutput names", &format!("\n{added}\noutput names"));
        // What an unfinished line costs is another test's matter.
        let start = session.transcript.rfind("> edit").unwrap_or(0);
        session.transcript.truncate(start);
        session.complete("draft.claw", around, limit);
        session.edit("draft.claw", &format!("\n{added}\noutput names"), "\noutput names");
        let start = session.transcript.rfind("> edit").unwrap_or(0);
        session.transcript.truncate(start);
    };
    try_out("sta", "sta|\n", 3);
    try_out("use std/", "use std/|\n", 3);
    try_out("use \"./", "use \"./|\n", 3);
    try_out("stage x = for w in table { rollout.run(", "rollout.run(|", 6);
    try_out("stage x = rollout.run(model: m, wo", "m, wo|", 2);
    try_out("stage x = for s in table { s.", "{ s.|", 9);
    try_out("stage x = table where .", "table where .|", 9);
    try_out("stage x = table where .who.n", ".who.n|", 2);
    try_out("stage x = house.", "x = house.|", 9);
    try_out("stage x = house.seated(folk, side: \"", "side: \"|\n", 9);
    try_out("stage x = house.seated(f", "seated(f|", 3);
    try_out("stage x = table where .side == \"r", "== \"r|", 9);
    try_out("let box = sandbox(\"process\", ", "\"process\", |", 9);
    try_out("let box = sandbox(\"process\", memory: 512", "memory: 512|", 9);
    try_out("let box = sandbox(\"process\", network: o", "network: o|", 2);
    try_out("let box = sandbox(\"", "sandbox(\"|", 9);
    try_out("stage x = names with { retries: 2, ", "retries: 2, |", 3);
    try_out("stage x = names with { on_error: ", "on_error: |\n", 9);
    try_out("stage x = names with { timeout: 5", "timeout: 5|", 9);
    try_out("let ask = file(\"prompts/", "prompts/|", 9);
    try_out("let ask = dir(\"", "dir(\"|", 9);
    try_out("type T = { a: house.", "a: house.|", 9);
    try_out("def f(a: in", "a: in|", 9);
    try_out("output ", "output |\n", 9);
    try_out("def f(first: int) -> int { let second = fi", "second = fi|", 2);
    try_out("stage x: house.Seat = { ", "Seat = { |", 9);
    try_out("// a comment about fo", "about fo|", 9);
    // A stage that does not parse is still known as it was.
    session.edit("draft.claw", "side: \"right\")\n", "side: \n");
    session.edit("draft.claw", "seat in table where", "seat in table, t in table where t. and");
    session.complete("draft.claw", "where t.| and", 3);
    let transcript = session.end();
    insta::assert_snapshot!(transcript);
}

#[test]
fn signatures_hints_and_outline() {
    let mut session = session();
    session.open("people.claw");
    for around in ["house.seated(|folk", "folk, |side", "side: \"right\"|", "imagine(count: co|unt"]
    {
        signature(&mut session, around);
    }
    session.edit("people.claw", "imagine(count: count)", "imagine(count: 3, ");
    signature(&mut session, "count: 3, |");
    session.edit("people.claw", "imagine(count: 3, ", "imagine(count: count)");
    let everything =
        json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 99, "character": 0 } });
    for file in ["people.claw", "house.claw"] {
        if file == "house.claw" {
            session.open(file);
        }
        let document = json!({ "uri": session.uri(file) });
        session.say(&format!("inlay hints of {file}"));
        let params = json!({ "textDocument": document.clone(), "range": everything });
        let hints = session.ask("textDocument/inlayHint", params).expect("hints");
        for hint in hints.as_array().into_iter().flatten() {
            let at = format!("{}:{}", hint["position"]["line"], hint["position"]["character"]);
            session.line(&format!("  {at} {}", hint["label"].as_str().unwrap_or_default()));
        }
        session.say(&format!("outline of {file}"));
        let symbols =
            session.ask("textDocument/documentSymbol", json!({ "textDocument": document }));
        outline(&mut session, &symbols.expect("symbols"), 1);
    }
    let document = json!({ "uri": session.uri("people.claw") });
    let tokens =
        session.ask("textDocument/semanticTokens/full", json!({ "textDocument": document }));
    let data = tokens.expect("tokens")["data"].as_array().cloned().unwrap_or_default();
    assert!(data.len() > 100 && data.len().is_multiple_of(5), "{} numbers", data.len());
    insta::assert_snapshot!(session.end());
}

fn signature(session: &mut Session, around: &str) {
    let answer = session.about("signatureHelp", "people.claw", around);
    let label = answer["signatures"][0]["label"].as_str().unwrap_or("nothing").to_string();
    let active = answer["activeParameter"].as_u64();
    let parameter = active.and_then(|at| {
        let span = &answer["signatures"][0]["parameters"][at as usize]["label"];
        label.get(span[0].as_u64()? as usize..span[1].as_u64()? as usize)
    });
    let text = format!("  {label}\n  at {}", parameter.unwrap_or("no parameter"));
    session.line(&text);
}

fn outline(session: &mut Session, symbols: &Json, depth: usize) {
    for symbol in symbols.as_array().into_iter().flatten() {
        let detail = symbol["detail"].as_str().unwrap_or("");
        let name = symbol["name"].as_str().unwrap_or("");
        session.line(format!("{}{name}  {detail}", "  ".repeat(depth)).trim_end());
        outline(session, &symbol["children"], depth + 1);
    }
}

#[test]
fn stages_remember_their_rows() {
    let mut session = session();
    session.open("people.claw");
    session.hover("people.claw", "stage fo|lk");
    session.project.ok(&["run", "people.claw", "--quiet"]);
    session.hover("people.claw", "stage fo|lk");
    session.project.ok(&["run", "people.claw", "--quiet", "-p", "count=5"]);
    session.hover("people.claw", "(fo|lk");
    // Nothing waits for a run that goes on.
    let store = claw::store::Store::open(&session.project.path(".claw"), "claw run other.claw");
    session.hover("people.claw", "output na|mes");
    drop(store);
    let filters = vec![
        (r"\d{4}-\d\d-\d\d \d\d:\d\d", "<time>"),
        (r"run `\d{4}-\d\d-\d\dT[^`]*`", "run `<id>`"),
    ];
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!(session.end()); });
}

#[test]
fn nonsense_is_answered_and_survived() {
    let mut session = session();
    session.open("people.claw");
    let hover = |session: &mut Session| {
        let place = session.place("people.claw", "stage fo|lk");
        session.ask("textDocument/hover", place).expect("still there")
    };
    let before = hover(&mut session);
    let code = |answer: Result<Json, Json>| answer.expect_err("an error")["code"].as_i64();
    assert_eq!(code(session.ask("textDocument/hover", json!({ "position": 7 }))), Some(-32602));
    assert_eq!(code(session.ask("textDocument/hover", json!([]))), Some(-32602));
    assert_eq!(code(session.ask("textDocument/nonsense", json!({}))), Some(-32601));
    // Places that are not there, files that are not open, files that are no files.
    let asked = json!({ "line": 4_000_000, "character": 4_000_000 });
    for uri in [
        session.uri("people.claw"),
        session.uri("nowhere.claw"),
        "untitled:1".to_string(),
        "file://%zz".to_string(),
    ] {
        let place = json!({ "textDocument": { "uri": uri }, "position": asked });
        for method in ["hover", "completion", "definition", "signatureHelp"] {
            let answer = session.ask(&format!("textDocument/{method}"), place.clone());
            assert!(answer.is_ok(), "{method} {uri}: {answer:?}");
        }
        let answer =
            session.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
        assert!(answer.is_ok());
    }
    // Notifications that make no sense, and messages that are none.
    session.tell("textDocument/didChange", json!({ "textDocument": 3 }));
    session.tell("textDocument/didChange", json!({
        "textDocument": { "uri": "file:///not/open.claw", "version": 2 }, "contentChanges": [{ "text": "" }],
    }));
    session.tell("$/whatever", json!(null));
    session.raw("Content-Length: 5\r\n\r\n{oops");
    session.raw("what\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(hover(&mut session), before);
    let logged = session.notifications.iter().filter(|of| of["method"] == "window/logMessage");
    assert!(logged.count() >= 2);
    // A request that is taken back before it is begun.
    let place = session.place("people.claw", "stage fo|lk");
    let text =
        json!({ "jsonrpc": "2.0", "id": 900, "method": "textDocument/hover", "params": place })
            .to_string();
    let cancel = json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": 900 } })
        .to_string();
    session.raw(&format!(
        "Content-Length: {}\r\n\r\n{cancel}Content-Length: {}\r\n\r\n{text}",
        cancel.len(),
        text.len()
    ));
    assert_eq!(code(session.answer(900)), Some(-32800));
    // Text that is no program, and very much of it.
    for text in [
        "((((".repeat(10_000),
        "\u{0}\"{{{\"".to_string(),
        "stage é = \"😀{".to_string(),
        "stage x = 1\n".repeat(3_000),
    ] {
        session.project.write("odd.claw", &text);
        session.open("odd.claw");
        for position in
            [json!({ "line": 0, "character": 9 }), json!({ "line": 0, "character": 4_000 })]
        {
            let place =
                json!({ "textDocument": { "uri": session.uri("odd.claw") }, "position": position });
            assert!(session.ask("textDocument/completion", place.clone()).is_ok());
            assert!(session.ask("textDocument/hover", place).is_ok());
        }
    }
    assert_eq!(session.ask("shutdown", Json::Null), Ok(Json::Null));
    let place = session.place("people.claw", "stage fo|lk");
    assert_eq!(code(session.ask("textDocument/hover", place)), Some(-32600));
    session.tell("exit", Json::Null);
    assert_eq!(session.exit_code(), Some(0));
}

#[test]
fn an_editor_that_just_leaves_is_no_success() {
    let mut session = session();
    assert_eq!(session.exit_code(), Some(1));
}

#[test]
fn columns_are_counted_as_was_agreed() {
    let text = "use std/persona\nstage a = for p in persona.imagine(count: 1) { { t: \"😀 {p.name}\" } }\noutput a\n";
    for (encodings, column) in [(json!(["utf-8", "utf-16"]), 61), (json!(["utf-16"]), 59)] {
        let project = Project::new();
        project.write("wide.claw", text);
        let capabilities = json!({ "general": { "positionEncodings": encodings } });
        let mut session = Session::start(project, capabilities);
        session.open("wide.claw");
        let at = json!({ "line": 1, "character": column });
        let place = json!({ "textDocument": { "uri": session.uri("wide.claw") }, "position": at });
        let hover = session.ask("textDocument/hover", place).expect("an answer");
        assert_eq!(hover["range"]["start"]["character"], json!(column));
        assert!(hover["contents"]["value"].as_str().unwrap().contains("name: str"), "{hover}");
        session.end();
    }
}

/// Every name that the index knows is the name that stands there, and making an index changes
/// nothing about what is found.
#[test]
fn the_index_knows_what_stands_where() {
    let project = project();
    project.write("examples/tasks.claw", include_str!("../examples/tasks.claw"));
    let found = claw::project::Project::around(&project.path("")).expect("a project");
    let objects = std::sync::Arc::new(claw::store::MemoryObjects::default());
    let sources = found.sources(objects);
    let entries = [
        "people.claw",
        "house.claw",
        "examples/tasks.claw",
        "pipelines/quickstart.claw",
        "std/eval.claw",
    ];
    let mut count = 0;
    for entry in entries {
        let (checked, index) = claw::lang::load_with_index(entry, &sources);
        assert_eq!(checked.diagnostics, claw::lang::load(entry, &sources).diagnostics, "{entry}");
        for (span, target) in &index.references {
            let of = &index.declarations[*target];
            let text = &checked.sources.text(span.file)[span.start as usize..span.end as usize];
            if of.kind != claw::lang::DeclarationKind::Module {
                assert_eq!(text, of.name, "{entry} {span:?}");
            }
            count += 1;
        }
        for of in &index.declarations {
            let unknown = of.ty == claw::lang::Type::Unknown;
            let has_none = matches!(
                of.kind,
                claw::lang::DeclarationKind::Module | claw::lang::DeclarationKind::Alias
            );
            assert!(!unknown || has_none, "{entry}: {of:?}");
        }
    }
    assert!(count > 300, "{count} references");
}

/// The way from a keystroke to its diagnostics in a file of 2,000 stages; prints what it takes.
#[test]
#[ignore = "a measurement"]
fn keystroke_to_diagnostics() {
    let mut text =
        String::from("use std/persona\nparam n: int = 3\n\nstage s0 = persona.imagine(count: n)\n");
    for i in 1..2_000 {
        text.push_str(&format!(
            "\n/// Stage number {i}.\nstage s{i} = for p in s{} where p.name != \"x{i}\" {{ p }}\n",
            i - 1
        ));
    }
    text.push_str("\noutput s1999\n");
    let project = Project::new();
    project.write("large.claw", &text);
    let mut session = Session::start(project, json!({}));
    session.open("large.claw");
    let mut took = Vec::new();
    for i in 0..20 {
        let (from, to) = if i % 2 == 0 { ("n)", "nn)") } else { ("nn)", "n)") };
        let began = std::time::Instant::now();
        session.edit("large.claw", from, to);
        took.push(began.elapsed());
    }
    took.sort();
    let began = std::time::Instant::now();
    let place = session.place("large.claw", "s1998 where p.|name");
    session.ask("textDocument/completion", place).expect("offers");
    let completion = began.elapsed();
    session.end();
    let lines = format!(
        "{} bytes, didChange to publishDiagnostics: median {:?}, worst {:?}; completion {completion:?}\n",
        text.len(),
        took[took.len() / 2],
        took[took.len() - 1]
    );
    std::io::Write::write_all(&mut std::io::stderr(), lines.as_bytes()).expect("standard error");
}
