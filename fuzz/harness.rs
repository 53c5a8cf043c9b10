//! What must hold of any text at all: checking it ends without a panic, and what is said about it can
//! be shown. Shared by the fuzz targets and by the bounded run among the tests (`tests/fuzz.rs`).

#![allow(dead_code, reason = "each target uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use claw::lang::{Checked, Diagnostic, MemorySources, SourceMap, bind, load, render};
use claw::store::KeyHasher;

/// The path under which a text is checked.
pub const ENTRY: &str = "main.claw";

/// The most that is told about a program, and one line that says that there is more.
const MOST_TOLD: usize = 201;

/// The checkout: this package, or the one around it.
pub fn checkout() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = own.ancestors().find(|folder| folder.join("stdlib").is_dir());
    found.expect("a checkout with a library").to_path_buf()
}

/// The standard library, and stand-ins for the directories and files that programs name.
pub fn library() -> &'static MemorySources {
    static LIBRARY: OnceLock<MemorySources> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut sources = MemorySources::new()
            .file("house.claw", "let tone = \"kind\"\ndef one(n: int) -> int { n + 1 }")
            .file("a.claw", "use \"./b.claw\"\nlet a = b.b")
            .file("b.claw", "use \"./a.claw\"\nlet b = a.a")
            .file("prompts/x.md", "x")
            .file("skills/one/SKILL.md", "one")
            .variable("HOME", "/root");
        for entry in std::fs::read_dir(checkout().join("stdlib")).expect("a library") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                sources = sources.file(&format!("std/{name}/README.md"), "stand-in");
            } else {
                let text = std::fs::read(&path).expect("a module");
                sources = sources.file(&format!("std/{name}"), text);
            }
        }
        sources
    })
}

/// Checks bytes as the file that is run, binds what is right, and walks everything that comes out.
/// Gives the codes of what was said.
pub fn program(bytes: &[u8]) -> Vec<&'static str> {
    let sources = library().clone().file(ENTRY, bytes);
    let checked = load(ENTRY, &sources);
    said(&checked);
    if let Some(program) = &checked.program {
        match bind(program, &BTreeMap::new(), &sources) {
            Ok(pipeline) => {
                let _ = format!("{:?}", pipeline.secrets);
                for stage in &pipeline.stages {
                    let mut hasher = KeyHasher::new("fuzz");
                    stage.expr.hash_into(&mut hasher, &mut Vec::new(), &mut |hasher, stage| {
                        hasher.text(stage);
                    });
                    hasher.finish();
                    let _ = stage.policy();
                }
            }
            Err(found) => showable(&found, &program.sources),
        }
    }
    checked.diagnostics.iter().map(|one| one.code).collect()
}

/// A parameter of each kind of type.
const PARAMS: &str = r#"
use std/exec
param int: int = 1 where int > -100
param float: float = 1
param bool: bool = true
param str: str = "x"
param bytes: bytes = 1MiB
param duration: duration = 1s
param percent: percent = 5%
param money: money = $1
param word: "fast" | "slow" = "fast"
param list: [int] = []
param maybe: str? = null
param record: { a: int, b: [str] } = { a: 1, b: [] }
param model: Model = model("m")
param sandbox: Sandbox = sandbox("process")
param file: File = file("prompts/x.md")
param dir: Dir = dir("skills")
param json: Json = null
secret param token: str = env("TOKEN")
stage asked = exec.run(command: "true", secrets: { TOKEN: token })
stage all = { int: int, float: float, str: str, list: list, word: word, record: record }
output all
output asked
"#;

/// Gives a text to a parameter of each type.
pub fn given(text: &str) {
    let sources = library().clone().file(ENTRY, PARAMS);
    let program = load(ENTRY, &sources).program.expect("the parameters are right");
    for param in &program.params {
        let given = BTreeMap::from([(param.name.clone(), text.to_string())]);
        if let Err(found) = bind(&program, &given, &sources) {
            assert!(!found.is_empty());
            showable(&found, &program.sources);
        }
    }
    // All at once, and under a name that is no parameter.
    let mut given: BTreeMap<String, String> =
        program.params.iter().map(|param| (param.name.clone(), text.to_string())).collect();
    given.insert(text.to_string(), text.to_string());
    if let Err(found) = bind(&program, &given, &sources) {
        showable(&found, &program.sources);
    }
}

/// The words and signs that programs are made of, for texts that get past the grammar.
pub const TOKENS: &[&str] = &[
    "use std/persona\n",
    "use std/skill as s\n",
    "use \"./house.claw\"\n",
    "use \"./a.claw\"\n",
    "\nparam ",
    "\nsecret param ",
    "\nlet ",
    "\ntype ",
    "\ndef ",
    "\nstage ",
    "\noutput ",
    "\ntest ",
    "a",
    "b",
    "c",
    "persona",
    "s",
    "house",
    "int",
    "str",
    "float",
    "Model",
    "File",
    "x",
    " = ",
    ": ",
    ", ",
    ".",
    "..",
    "..=",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    " -> ",
    "?",
    " | ",
    "for ",
    " in ",
    " where ",
    "if ",
    " then ",
    " else ",
    " and ",
    " or ",
    "not ",
    " with ",
    " as ",
    "try ",
    "accept ",
    " when ",
    "given ",
    "assert ",
    "0",
    "1",
    "2.5",
    "20%",
    "5s",
    "1GiB",
    "$2",
    "9223372036854775807",
    "1e308",
    "true",
    "null",
    "\"x\"",
    "\"{",
    "}\"",
    "\"\"\"",
    "r\"",
    "\"",
    ".f",
    ".n",
    "+",
    " - ",
    "-",
    "*",
    " / ",
    "%",
    " == ",
    " < ",
    " <= ",
    "!=",
    "persona.imagine(count: ",
    "take(",
    "count: ",
    "dedup(",
    "on: ",
    "holdout(",
    "test: ",
    "by: ",
    "model(",
    "sandbox(",
    "file(\"prompts/x.md\")",
    "dir(\"skills\")",
    "env(\"HOME\")",
    "secret(\"K\")",
    "retries: ",
    "on_error: ",
    "drop(at_most: ",
    "cache: ",
    "resources: ",
    "gate: ",
    "\n",
    " ",
    "// c\n",
    "/// d\n",
    "//! m\n",
    "extern ",
    "\u{feff}",
    "é",
    "\0",
];

/// The text that bytes stand for, a token each.
pub fn soup(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| TOKENS[usize::from(*byte) % TOKENS.len()]).collect()
}

/// Everything that is said about a program can be shown, and there is an end to it.
fn said(checked: &Checked) {
    let failed = checked.diagnostics.iter().any(|one| one.severity.word() == "error");
    assert_eq!(
        checked.program.is_none(),
        failed,
        "a program is refused with an error, and only so"
    );
    assert!(checked.diagnostics.len() <= MOST_TOLD, "{} are told", checked.diagnostics.len());
    showable(&checked.diagnostics, &checked.sources);
}

fn showable(found: &[Diagnostic], sources: &SourceMap) {
    for one in found {
        assert!(!one.message.is_empty(), "{one:?}");
        for (span, _) in &one.labels {
            let text = sources.text(span.file);
            let (start, end) = (span.start as usize, span.end as usize);
            assert!(start <= end && end <= text.len(), "{one:?} leaves its file");
            assert!(
                text.is_char_boundary(start) && text.is_char_boundary(end),
                "{one:?} cuts a character"
            );
        }
    }
    // Drawing is the slow part, and there is nothing new in the hundredth.
    for one in found.iter().take(20) {
        let drawn = render(one, sources, 80, false);
        assert!(drawn.contains(one.code), "{drawn}");
        let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
        assert!(!drawn.chars().any(control), "{drawn:?}");
        assert_eq!(one.to_json(sources)["code"], one.code);
    }
}
