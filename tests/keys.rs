//! What keys depend on: meaning, and nothing else.
//!
//! One pipeline of a dozen stages, and edits of it. Each edit says which stages get another key; all
//! others must keep theirs. A stage's key is made as the engine makes it, with the key of what it
//! reads in place of that result's digest, so that a change is seen in everything below it.

use std::collections::{BTreeMap, BTreeSet};

use claw::lang::{MemorySources, bind, load, render};
use claw::plan::{Plan, stage_key};
use claw::store::Digest;
use proptest::prelude::*;

/// Operators that read everything a key can depend on.
const TOYS: &str = r#"
type Row = { id: int, text: str, score: float }
type Report = { name: str, score: float }

extern def make(count: int, seed: int = 0) -> [Row]
extern def ask(of: Row, prompt: File, heat: float = 0.7, author: Model = model("author")) -> Row
extern def attempt(of: Row, number: int, skills: Dir) -> Row?
extern def train(rows: [Row], epochs: int = 3) -> Checkpoint
extern def measure(judge: Model, rows: [Row]) -> Report
"#;

const HOUSE: &str = r#"
use std/toy

let tone = "kind"

def polished(rows: [toy.Row], limit: int) -> [toy.Row] {
  let few = take(rows, count: limit)
  for row in few { toy.ask(of: row, prompt: file("prompts/polish.md"), heat: 0.1) }
}

def unused(row: toy.Row) -> str { row.text }
"#;

const PIPELINE: &str = r#"use std/toy

use "./house.claw" as house

param people: int = 4 where people >= 1

param heat: float = 0.5

param author: Model = model("author")

let rules = file("prompts/rules.md")

stage seeds = toy.make(count: people)

stage asked = for s in seeds { toy.ask(of: s, prompt: file("prompts/ask.md"), heat: heat) }

stage kept = dedup(asked, on: .text)

stage graded = for k in kept where k.score >= 0.2 { toy.ask(of: k, prompt: rules) }

stage split = holdout(graded, test: 20%, by: .text, seed: 1)

stage lessons = for r in split.train, n in 1..=2 { toy.attempt(of: r, number: n, skills: dir("skills")) }

stage best = lessons where .score > 0.5

stage shiny = house.polished(rows: best, limit: 3)

stage student = toy.train(rows: best, epochs: 2)

stage report = for m in [student, author] { toy.measure(judge: m, rows: split.test) }

stage more = toy.make(count: 2)

stage joined = more + shiny

stage notes = { tone: house.tone, people: people, limit: 1 }

stage letters = for k in kept { template("prompts/letter.md.j2", row: k, tone: house.tone) }

output report

output joined

output notes

output letters
"#;

/// The files of the project, as an edit may change them.
#[derive(Clone)]
struct Files(BTreeMap<String, String>);

impl Files {
    fn new() -> Files {
        let files = [
            ("main.claw", PIPELINE),
            ("house.claw", HOUSE),
            ("std/toy.claw", TOYS),
            ("prompts/ask.md", "Ask."),
            ("prompts/rules.md", "Be kind."),
            ("prompts/polish.md", "Polish."),
            ("prompts/spare.md", "Read by nobody."),
            ("prompts/letter.md.j2", "{% include 'sign.md.j2' %} {{ row.text }}"),
            ("prompts/sign.md.j2", "{{ tone }}:"),
            ("skills/one/SKILL.md", "One."),
            ("skills/two/SKILL.md", "Two."),
        ];
        Files(files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect())
    }

    /// Replaces a piece of text that stands in a file exactly once.
    #[track_caller]
    fn edit(mut self, path: &str, old: &str, new: &str) -> Files {
        let text = self.0.get_mut(path).expect("a file");
        assert_eq!(text.matches(old).count(), 1, "`{old}` in {path}:\n{text}");
        *text = text.replacen(old, new, 1);
        self
    }

    #[track_caller]
    fn main(self, old: &str, new: &str) -> Files {
        self.edit("main.claw", old, new)
    }

    fn text(&self) -> &str {
        &self.0["main.claw"]
    }

    fn with_text(mut self, text: String) -> Files {
        self.0.insert("main.claw".to_string(), text);
        self
    }
}

/// The keys of all stages, with these parameters and with `version` for each operator.
#[track_caller]
fn keys_of(
    files: &Files,
    given: &[(&str, &str)],
    version: &dyn Fn(&str) -> u32,
) -> BTreeMap<String, Digest> {
    let mut sources: MemorySources = crate::lang::checked::library();
    for (path, text) in &files.0 {
        sources = sources.file(path, text.as_str());
    }
    let checked = load("main.claw", &sources);
    let said: Vec<String> =
        checked.diagnostics.iter().map(|of| render(of, &checked.sources, 100, false)).collect();
    let program = checked.program.unwrap_or_else(|| {
        panic!("{}\n{}", said.join("\n"), files.text());
    });
    let given = given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let pipeline = bind(&program, &given, &sources).expect("bound");
    let plan = Plan::new(pipeline, &[]).expect("a plan");
    let mut keys: BTreeMap<String, Digest> = BTreeMap::new();
    for node in &plan.order {
        let stage = plan.stage(*node);
        let key = stage_key(&stage.expr, version, &|name| keys[name]);
        keys.insert(stage.name.clone(), key);
    }
    keys
}

fn keys(files: &Files) -> BTreeMap<String, Digest> {
    keys_of(files, &[], &|_| 1)
}

/// The stages whose keys differ. Parts of a stage, such as `shiny.few`, count as the stage.
fn changed(before: &BTreeMap<String, Digest>, after: &BTreeMap<String, Digest>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let whole: BTreeSet<String> =
        differ.map(|name| name.split('.').next().unwrap_or(name).to_string()).collect();
    whole.into_iter().collect()
}

const BELOW_ASKED: &str =
    "asked best graded joined kept lessons letters report shiny split student";

#[test]
fn an_edit_changes_the_keys_of_what_depends_on_it() {
    let before = keys(&Files::new());
    let whole: BTreeSet<&str> =
        before.keys().map(|name| name.split('.').next().unwrap_or(name)).collect();
    assert_eq!(whole.len(), 14, "{whole:?}");
    type Edit = fn(Files) -> Files;
    let cases: &[(&str, Edit, &str)] = &[
        // What says the same.
        ("a comment", |f| f.main("stage kept", "// why\nstage kept"), ""),
        ("a doc", |f| f.main("stage kept", "/// Once each.\nstage kept"), ""),
        ("a type that it has anyway", |f| f.main("stage kept =", "stage kept: [toy.Row] ="), ""),
        ("brackets", |f| f.main("toy.make(count: people)", "(toy.make(count: (people)))"), ""),
        ("no name for the first", |f| f.main("toy.make(count: people)", "toy.make(people)"), ""),
        ("a default, said", |f| f.main("toy.make(count: 2)", "toy.make(count: 2, seed: 0)"), ""),
        (
            "arguments in another order",
            |f| f.main("rows: best, limit: 3", "limit: 3, rows: best"),
            "",
        ),
        (
            "a constant in a `let`",
            |f| {
                f.main("epochs: 2", "epochs: two").main("let rules", "let two = 4 - 2\n\nlet rules")
            },
            "",
        ),
        ("a constant, computed", |f| f.main("limit: 3)", "limit: 9 - 2 * 3)"), ""),
        (
            "a file named at its place",
            |f| f.main("prompt: rules", "prompt: file(\"./prompts/rules.md\")"),
            "",
        ),
        (
            "another alias",
            |f| {
                f.main(" as house", " as home")
                    .main("house.polished", "home.polished")
                    .main("{ tone: house.tone", "{ tone: home.tone")
                    .main("k, tone: house.tone", "k, tone: home.tone")
            },
            "",
        ),
        ("no alias", |f| f.main("use \"./house.claw\" as house", "use \"house.claw\""), ""),
        (
            "locals of a def",
            |f| {
                f.edit("house.claw", "let few = take", "let some = take").edit(
                    "house.claw",
                    "for row in few { toy.ask(of: row,",
                    "for one in some { toy.ask(of: one,",
                )
            },
            // Its parts are stages named after its bindings; the results stay.
            "shiny",
        ),
        ("a def that nobody calls", |f| f.edit("house.claw", "{ row.text }", "{ \"x\" }"), ""),
        ("a file that nobody reads", |f| f.edit("prompts/spare.md", "nobody", "no one"), ""),
        (
            "a policy",
            |f| f.main("on: .text)", "on: .text) with { retries: 3, timeout: 2m, on_error: fail }"),
            "",
        ),
        (
            "a stage that no output needs",
            |f| f.main("output report", "stage spare = toy.make(count: 99)\n\noutput report"),
            "",
        ),
        ("where an output goes", |f| f.main("output joined", "output joined as \"out/x\""), ""),
        ("a looser bound", |f| f.main("people >= 1", "people >= 0"), ""),
        (
            "a parameter that nobody names",
            |f| f.main("param heat", "param spare: int = 3\n\nparam heat"),
            "",
        ),
        // What does not.
        ("a template", |f| f.edit("prompts/letter.md.j2", "row.text", "row.id"), "letters"),
        ("what a template includes", |f| f.edit("prompts/sign.md.j2", ":", "!"), "letters"),
        (
            "what a template is given",
            |f| f.main("tone: house.tone) }", "tone: \"kind!\") }"),
            "letters",
        ),
        ("a prompt", |f| f.edit("prompts/ask.md", "Ask.", "Ask!"), BELOW_ASKED),
        (
            "a prompt in a constant",
            |f| f.edit("prompts/rules.md", "kind", "just"),
            "best graded joined lessons report shiny split student",
        ),
        ("a prompt of a def", |f| f.edit("prompts/polish.md", "Polish", "Shine"), "joined shiny"),
        (
            "a file in a directory",
            |f| f.edit("skills/two/SKILL.md", "Two", "2"),
            "best joined lessons report shiny student",
        ),
        ("a default of a parameter", |f| f.main("float = 0.5", "float = 0.6"), BELOW_ASKED),
        (
            "a parameter that most depends on",
            |f| f.main("int = 4", "int = 5"),
            "asked best graded joined kept lessons letters notes report seeds shiny split student",
        ),
        ("a model", |f| f.main("Model = model(\"author\")", "Model = model(\"other\")"), "report"),
        ("an argument", |f| f.main("epochs: 2", "epochs: 4"), "report student"),
        (
            "an argument that was left out",
            |f| f.main("count: 2)", "count: 2, seed: 1)"),
            "joined more",
        ),
        (
            "a default of an operator",
            |f| f.edit("std/toy.claw", "heat: float = 0.7", "heat: float = 0.8"),
            "best graded joined lessons report shiny split student",
        ),
        (
            "an argument in a def",
            |f| f.edit("house.claw", "heat: 0.1", "heat: 0.2"),
            "joined shiny",
        ),
        (
            "a constant of another file",
            |f| f.edit("house.claw", "\"kind\"", "\"warm\""),
            "letters notes",
        ),
        (
            "a filter",
            |f| f.main(".score > 0.5", ".score > 0.6"),
            "best joined report shiny student",
        ),
        (
            "a condition",
            |f| f.main("k.score >= 0.2", "k.score > 0.2"),
            "best graded joined lessons report shiny split student",
        ),
        ("a range", |f| f.main("1..=2", "1..=3"), "best joined lessons report shiny student"),
        ("the order of a list", |f| f.main("[student, author]", "[author, student]"), "report"),
        ("the order of a sum", |f| f.main("more + shiny", "shiny + more"), "joined"),
        (
            "a field",
            |f| {
                f.main("on: .text)", "on: .score)")
                    .edit(
                        "std/toy.claw",
                        "score: float }\ntype Report",
                        "score: str }\ntype Report",
                    )
                    .main("k.score >= 0.2", "k.text != \"\"")
                    .main(".score > 0.5", ".text != \"\"")
            },
            "best graded joined kept lessons letters report shiny split student",
        ),
    ];
    for (what, edit, expected) in cases {
        let found = changed(&before, &keys(&edit(Files::new()))).join(" ");
        assert_eq!(found, *expected, "after {what}");
    }
}

/// What is given on the command line is what counts, wherever it comes from.
#[test]
fn parameters_count_by_their_value() {
    let files = Files::new();
    let before = keys(&files);
    let with = |given: &[(&str, &str)]| changed(&before, &keys_of(&files, given, &|_| 1)).join(" ");
    assert_eq!(with(&[("people", "4"), ("heat", "0.50")]), "");
    assert_eq!(with(&[("author", "model(\"author\")")]), "");
    assert_eq!(with(&[("heat", "0.25")]), BELOW_ASKED);
    assert_eq!(with(&[("author", "model(\"author\", temperature: 1)")]), "report");
}

#[test]
fn an_operators_version_counts_where_it_is_called() {
    let files = Files::new();
    let before = keys(&files);
    let with = |operator: &'static str| {
        let version = move |name: &str| if name == operator { 2 } else { 1 };
        changed(&before, &keys_of(&files, &[], &version)).join(" ")
    };
    assert_eq!(with("toy.train"), "report student");
    assert_eq!(with("toy.measure"), "report");
    assert_eq!(
        with("rows.dedup"),
        "best graded joined kept lessons letters report shiny split student"
    );
    assert_eq!(with("rows.sample"), "");
}

/// The names of the pipeline's stages, and of the locals in it.
const STAGES: [&str; 14] = [
    "seeds", "asked", "kept", "graded", "split", "lessons", "best", "shiny", "student", "report",
    "more", "joined", "notes", "letters",
];
const LOCALS: [&str; 5] = ["s", "k", "r", "n", "m"];

/// Every whole word `old` outside of strings becomes `new`; fields (`.text`) and the names of
/// arguments (`of:`) are no names of values and stay.
fn renamed(text: &str, old: &str, new: &str) -> String {
    let pattern = format!(r#""[^"\n]*"|(?:[^.\w]|^){old}\b(?:[^:\w]|$)"#);
    let pattern = regex::Regex::new(&pattern).expect("a pattern");
    let replaced = pattern.replace_all(text, |found: &regex::Captures<'_>| {
        if found[0].starts_with('"') {
            found[0].to_string()
        } else {
            found[0].replacen(old, new, 1)
        }
    });
    replaced.into_owned()
}

/// One edit that changes no meaning. Numbers say where, as far as there is a choice.
#[derive(Debug, Clone)]
enum Harmless {
    Comment(usize),
    Blank(usize, usize),
    Shuffle(u64),
    RenameStage(usize, String),
    RenameLocal(usize, String),
    Brackets(usize),
    Let(usize),
}

impl Harmless {
    fn strategy() -> impl Strategy<Value = Harmless> {
        prop_oneof![
            any::<usize>().prop_map(Harmless::Comment),
            (any::<usize>(), 0usize..4).prop_map(|(at, how)| Harmless::Blank(at, how)),
            any::<u64>().prop_map(Harmless::Shuffle),
            (0..STAGES.len(), "[a-z]{1,6}").prop_map(|(at, to)| Harmless::RenameStage(at, to)),
            (0..LOCALS.len(), "[a-z]{1,6}").prop_map(|(at, to)| Harmless::RenameLocal(at, to)),
            any::<usize>().prop_map(Harmless::Brackets),
            any::<usize>().prop_map(Harmless::Let),
        ]
    }

    /// The edited text; `names` follows what each stage is called now.
    fn apply(&self, text: &str, fresh: usize, names: &mut BTreeMap<&str, String>) -> String {
        match self {
            Harmless::Comment(at) => {
                let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
                let at = at % lines.len();
                lines[at].push_str(" // x = { stage \" (");
                lines.join("\n") + "\n"
            }
            // Blanks may be more blanks, or another line.
            Harmless::Blank(at, how) => {
                let plain = outside(text);
                let blanks: Vec<usize> =
                    plain.iter().copied().filter(|at| text[*at..].starts_with(' ')).collect();
                let at = blanks[at % blanks.len()];
                let blank = ["   ", "\n", "\n\t ", " \n\n  "][*how];
                format!("{}{blank}{}", &text[..at], &text[at + 1..])
            }
            Harmless::Shuffle(seed) => {
                let mut items = items(text);
                let mut seed = *seed;
                for i in (1..items.len()).rev() {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    items.swap(i, (seed >> 33) as usize % (i + 1));
                }
                items.join("\n")
            }
            Harmless::RenameStage(at, to) => {
                let to = format!("{to}_{fresh}");
                let now = names.insert(STAGES[*at], to.clone()).unwrap_or_default();
                renamed(text, &now, &to)
            }
            Harmless::RenameLocal(at, to) => {
                // A local that was renamed before is left as it is.
                renamed(text, LOCALS[*at], &format!("{to}_{fresh}"))
            }
            Harmless::Brackets(at) => {
                let stages: Vec<&str> = STAGES[..9].to_vec();
                let name = &names[stages[at % stages.len()]];
                let pattern = format!(r"(\(|in |, rows: |rows: ){name}\b([^.])");
                let pattern = regex::Regex::new(&pattern).expect("a pattern");
                pattern.replace(text, format!("${{1}}({name})${{2}}")).into_owned()
            }
            Harmless::Let(at) => {
                let numbers = [("epochs: 2", "2"), ("limit: 3", "3"), ("test: 20%", "20%")];
                let (old, number) = numbers[at % numbers.len()];
                let name = format!("constant_{fresh}");
                let new = old.replace(number, &name);
                match text.contains(&format!("{old})")) || text.contains(&format!("{old},")) {
                    true => format!("let {name} = {number}\n\n{}", text.replacen(old, &new, 1)),
                    false => text.to_string(),
                }
            }
        }
    }
}

/// The places that are neither in a string nor in a comment.
fn outside(text: &str) -> Vec<usize> {
    let (mut string, mut comment) = (false, false);
    let mut places = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '\n' => comment = false,
            '"' if !comment => string = !string,
            '/' if !string && text[at..].starts_with("//") => comment = true,
            _ => {}
        }
        if !string && !comment {
            places.push(at);
        }
    }
    places
}

/// The declarations of a text, each with its line break.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let words = ["use ", "param ", "let ", "stage ", "output "];
    for line in text.lines() {
        if items.is_empty() || words.iter().any(|word| line.starts_with(word)) {
            items.push(String::new());
        }
        if let Some(item) = items.last_mut() {
            item.push_str(line);
            item.push('\n');
        }
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    /// However it is written, it is the same pipeline.
    #[test]
    fn the_way_of_writing_counts_for_nothing(edits in proptest::collection::vec(Harmless::strategy(), 1..12)) {
        let files = Files::new();
        let before = keys(&files);
        let mut names: BTreeMap<&str, String> =
            STAGES.iter().map(|name| (*name, name.to_string())).collect();
        let mut text = files.text().to_string();
        for (fresh, edit) in edits.iter().enumerate() {
            text = edit.apply(&text, fresh, &mut names);
        }
        let after = keys(&files.with_text(text.clone()));
        prop_assert_eq!(before.len(), after.len());
        for (name, key) in &before {
            let (whole, part) = name.split_once('.').map_or((name.as_str(), None), |(whole, part)| (whole, Some(part)));
            let now = match part {
                Some(part) => format!("{}.{part}", names[whole]),
                None => names[whole].clone(),
            };
            prop_assert_eq!(after.get(&now), Some(key), "{} in\n{}", now, text);
        }
    }
}
