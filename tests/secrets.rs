//! Secrets, through the real program: commands get them, and they are kept nowhere.

use std::process::Output;

use crate::models::pipelines::bytes_below;
use crate::project::Project;

const TOKEN: &str = "tok-5b1e77Aa+\"quoted\"-é";
const OTHER: &str = "another-0c94De21";

const PROGRAM: &str = r#"
use std/exec

secret param token: str = env("API_TOKEN")
let other = secret("OTHER_TOKEN")

type Place = { url: str, key: Secret }

def fetch(place: Place, given: Secret) -> File {
  exec.file(
    command: "test ${{#A}} -ge 8 && test ${{#B}} -ge 8 && echo '{place.url}' > out",
    secrets: { A: given, B: place.key },
  )
}

let places: [Place] = [{ url: "one", key: other }, { url: "two", key: secret("OTHER_TOKEN") }]

stage said = exec.run(
  command: "echo \"it is $TOKEN\"; echo \"$TOKEN\" >&2; python3 -c 'import json, os; print(json.dumps(os.environ[\"TOKEN\"]))' || true; echo fine > out",
  secrets: { TOKEN: token },
)
stage fetched = for place in places { fetch(place: place, given: token) }
stage one = fetch(place: places[0], given: if true then token else other)
stage counted = exec.rows([{ n: 1 }], command: "test \"$TOKEN\" && cat", secrets: { TOKEN: token })
output said as "said.json"
output fetched
output one as "one.txt"
output counted as "counted.jsonl"
"#;

fn with(project: &Project, args: &[&str], secrets: &[(&str, &str)]) -> Output {
    let mut command = project.command(args);
    command.env_remove("API_TOKEN").env_remove("OTHER_TOKEN");
    command.envs(secrets.iter().copied());
    command.output().expect("claw starts")
}

fn said(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), b"\n", output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

const BOTH: [(&str, &str); 2] = [("API_TOKEN", TOKEN), ("OTHER_TOKEN", OTHER)];

/// Everything that a project holds, its store unpacked, and what was said, hold none of the secrets.
#[track_caller]
fn assert_nowhere(project: &Project, said: &str) {
    let mut kept = said.as_bytes().to_vec();
    bytes_below(&project.path(""), &mut kept);
    let plain = TOKEN.as_bytes().to_vec();
    let quoted = serde_json::to_vec(TOKEN).expect("JSON");
    let digest = blake3_of(TOKEN);
    let forms = [plain, quoted[1..quoted.len() - 1].to_vec(), OTHER.into(), digest];
    for form in forms {
        let found = kept.windows(form.len()).position(|bytes| bytes == form);
        if let Some(at) = found {
            let around = &kept[at.saturating_sub(80)..(at + form.len() + 20).min(kept.len())];
            panic!("a secret is kept: {}", String::from_utf8_lossy(around));
        }
    }
}

/// A digest tells who guesses that the guess is right.
fn blake3_of(text: &str) -> Vec<u8> {
    claw::store::Digest::of(text.as_bytes()).to_string().into_bytes()
}

#[test]
fn commands_get_secrets_and_nothing_keeps_them() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    project.write("main.claw", PROGRAM);
    let mut all = String::new();
    let ran = with(&project, &["run", "main.claw"], &BOTH);
    all += &said(&ran);
    assert_eq!(ran.status.code(), Some(0), "{all}");
    let kept = std::fs::read_to_string(project.path("said.json")).expect("an output");
    assert!(kept.contains("it is ***") && !kept.contains("tok-5b"), "{kept}");
    assert_eq!(std::fs::read_to_string(project.path("one.txt")).expect("a file"), "one\n");
    let commands: [&[&str]; 8] = [
        &["show", "said"],
        &["show", "said", "--json"],
        &["show", "fetched"],
        &["runs", "--json"],
        &["plan", "main.claw", "--json"],
        &["diff"],
        &["check", "main.claw"],
        &["run", "main.claw", "--json"],
    ];
    for args in commands {
        all += &said(&with(&project, args, &BOTH));
    }
    assert_nowhere(&project, &all);
}

#[test]
fn a_cached_graph_needs_no_secret_and_another_value_runs_nothing() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    project.write("main.claw", PROGRAM);
    assert!(with(&project, &["run", "main.claw"], &BOTH).status.success());
    let none = with(&project, &["run", "main.claw"], &[]);
    assert!(said(&none).contains("Nothing to do"), "{}", said(&none));
    // Without the note of the last run it is the store that answers.
    std::fs::remove_dir_all(project.path(".claw/settled")).expect("a note");
    let none = with(&project, &["run", "main.claw"], &[]);
    assert_eq!(none.status.code(), Some(0), "{}", said(&none));
    std::fs::remove_dir_all(project.path(".claw/settled")).expect("a note");
    let others = [("API_TOKEN", "a token of another day"), ("OTHER_TOKEN", "the other of it")];
    let again = with(&project, &["run", "main.claw"], &others);
    assert!(said(&again).contains("Nothing to do"), "{}", said(&again));
    let param = format!("token={TOKEN}");
    let given = with(&project, &["run", "main.claw", "-p", &param], &[]);
    assert!(said(&given).contains("Nothing to do"), "{}", said(&given));
    assert_nowhere(&project, &(said(&none) + &said(&again) + &said(&given)));
}

#[test]
fn what_is_missing_is_told_before_anything_runs() {
    if !crate::sandbox::works() {
        return;
    }
    let project = Project::new();
    let program = "use std/exec\nsecret param token: str = env(\"API_TOKEN\")\n\
                   secret param given: str\n\
                   stage first = exec.file(command: \"echo 1 > out\")\n\
                   stage second = exec.file(command: \"cat in > out; echo 1 >> out\", \
                   inputs: [{ path: \"in\", from: first }], \
                   secrets: { A: token, B: secret(\"OTHER_TOKEN\"), C: given })\n\
                   output second as \"second.txt\"\n";
    project.write("main.claw", program);
    let refused = with(&project, &["run", "main.claw"], &[("OTHER_TOKEN", "short")]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    insta::assert_snapshot!("missing", said(&refused));
    assert_eq!(std::fs::read_dir(project.path(".claw/runs")).map_or(0, Iterator::count), 0);
    let given = ["run", "main.claw", "-p", "given=\"a given secret\""];
    let ran = with(&project, &given, &BOTH);
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    // A stage that does not need it runs without.
    project.write("main.claw", &program.replace("echo 1 > out", "echo 1 > out # and no more"));
    let ran = with(&project, &["run", "main.claw", "--only", "first"], &[]);
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    // One that is asked to run again needs it again.
    project.write("main.claw", program);
    let again = with(&project, &["run", "main.claw", "--refresh", "second"], &[]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
}

#[test]
fn what_a_command_leaves_with_a_secret_in_it_is_not_kept() {
    if !crate::sandbox::works() {
        return;
    }
    let cases = [
        ("file", "echo \"it is $TOKEN\" > out"),
        ("run", "mkdir d; echo \"$TOKEN\" > d/x; echo kept > y"),
        ("run", "touch \"$OTHER\""),
        ("run", "ln -s \"$OTHER\" link"),
        (
            "run",
            "python3 -c 'import json, os; json.dump(os.environ[\"TOKEN\"], open(\"x\", \"w\"))'",
        ),
        ("file", "echo \"$TOKEN\"; echo \"$OTHER\" >&2; exit 3"),
        ("file", "echo \"no $OTHER\"; kill -9 $$"),
        ("file", "yes \"$OTHER\" | head -c 400001; exit 4"),
    ];
    let project = Project::new();
    let mut all = String::new();
    for (operator, command) in cases {
        let text = format!(
            "use std/exec\nsecret param token: str = env(\"API_TOKEN\")\n\
             stage a = exec.{operator}(command: {command:?}, secrets: {{ TOKEN: token, OTHER: \
             secret(\"OTHER_TOKEN\") }})\noutput a\n"
        );
        project.write("main.claw", &text);
        let ran = with(&project, &["run", "main.claw"], &BOTH);
        assert_eq!(ran.status.code(), Some(1), "{command}: {}", said(&ran));
        let what = if command.contains("exit") || command.contains("kill") {
            "the command"
        } else {
            "what the call left holds a secret"
        };
        assert!(said(&ran).contains(what), "{command}: {}", said(&ran));
        all += &said(&ran);
        all += &said(&with(&project, &["show", "a", "--failed"], &BOTH));
        all += &said(&with(&project, &["show", "a", "--failed", "--json"], &BOTH));
    }
    let rows = "use std/exec\nstage a = exec.rows([{ n: 1 }], command: \"echo \
                '{{\\\"x\\\": \\\"'$KEY'\\\"}}'\", secrets: { KEY: secret(\"OTHER_TOKEN\") })\n\
                output a\n";
    project.write("main.claw", rows);
    let ran = with(&project, &["run", "main.claw"], &BOTH);
    assert_eq!(ran.status.code(), Some(1), "{}", said(&ran));
    all += &said(&ran);
    assert!(all.contains("ended with 3: ***"), "{all}");
    assert_nowhere(&project, &all);
}

#[test]
fn a_secret_goes_nowhere_else() {
    let project = Project::new();
    project.write("note.md.j2", "{{ key }}");
    let cases = [
        ("text", "stage a = \"it is {token}\""),
        ("row", "stage a = [{ key: token }]"),
        ("value", "stage a = token"),
        ("made", "stage a = for x in [1] { { n: x, key: token } }"),
        ("comparison", "stage a = if token == \"x\" then 1 else 2"),
        ("two of them", "stage a = token == token"),
        ("membership", "stage a = token in [token]"),
        ("length", "stage a = len(token)"),
        ("sum", "stage a = token + \"x\""),
        ("prompt", "stage a = llm.text(model: model(\"m\"), prompt: token)"),
        ("template", "stage a = template(\"note.md.j2\", key: token)"),
        ("rows", "stage a = take([{ key: token }], count: 1)"),
        (
            "an input",
            "stage a = exec.file(command: \"true\", \
                      inputs: [{ path: \"x\", from: file(\"note.md.j2\"), key: token }])",
        ),
        ("no secret", "stage a = exec.file(command: \"true\", secrets: { KEY: \"text\" })"),
        ("no record", "stage a = exec.file(command: \"true\", secrets: token)"),
        ("a literal", "secret param bare: str = \"open\"\nstage a = 1"),
        ("a condition", "secret param bare: str where len(bare) > 3\nstage a = 1"),
        ("a number", "secret param bare: int\nstage a = 1"),
        (
            "attempts",
            "stage a = for x in [1] { try 2 with told { accept x when told != null\n told = token } }",
        ),
    ];
    let mut all = String::new();
    for (name, stage) in cases {
        let uses: String = ["exec", "llm"]
            .iter()
            .filter(|module| stage.contains(&format!("{module}.")))
            .map(|module| format!("use std/{module}\n"))
            .collect();
        let text = format!(
            "{uses}secret param token: str = env(\"API_TOKEN\")\n{stage}\n\
             output a\n"
        );
        project.write("main.claw", &text);
        let checked = with(&project, &["check", "main.claw"], &BOTH);
        assert_eq!(checked.status.code(), Some(2), "{name}: {}", said(&checked));
        all += &format!("== {name}\n{}\n", String::from_utf8_lossy(&checked.stderr));
    }
    insta::assert_snapshot!("misplaced", all);
}
