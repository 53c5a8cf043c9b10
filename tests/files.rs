//! `files`: what is read, what is written, and what is said of a file with a mistake.

use serde_json::{Value as Json, json};

use crate::project::Project;

const HEAD: &str = "use std/files\n";

/// The rows that an expression over `file("in")` gives.
fn rows(content: &str, expr: &str) -> Vec<Json> {
    let project = Project::new();
    project.write("in.txt", content);
    let program = format!("{HEAD}stage x = {expr}\noutput x as \"x.jsonl\"\n");
    project.write("main.claw", &program);
    project.ok(&["run", "main.claw", "--quiet"]);
    let text = std::fs::read_to_string(project.path("x.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes of the file that an expression gives.
fn written(expr: &str) -> String {
    let project = Project::new();
    project.write("main.claw", &format!("{HEAD}stage x = {expr}\noutput x as \"x\"\n"));
    project.ok(&["run", "main.claw", "--quiet"]);
    std::fs::read_to_string(project.path("x")).unwrap()
}

/// What is said of a file with a mistake.
#[track_caller]
fn wrong(content: &[u8], expr: &str, expected: &str) {
    let project = Project::new();
    std::fs::write(project.path("in.txt"), content).unwrap();
    project.write("main.claw", &format!("{HEAD}stage x = {expr}\noutput x\n"));
    let output = project.claw(&["run", "main.claw", "--quiet"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    // The message may be broken over lines.
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(one_line(&said).contains(expected), "{expected}\n---\n{said}");
}

#[test]
fn csv_is_read() {
    let text = "\u{feff}name,age,\"zip, code\",share,ok,\r\nAda,36,00501,0.5,true,\r\n\r\n\
                \"Grace \"\"G\"\"\r\nHopper\",,12345,2,false,x\r\n\"\",45,\"\",,,\"\"";
    assert_eq!(
        rows(text, "files.read_csv(file(\"in.txt\"))"),
        [
            json!({"name": "Ada", "age": 36, "zip, code": "00501", "share": 0.5, "ok": true,
                "column_6": null}),
            json!({"name": "Grace \"G\"\r\nHopper", "age": null, "zip, code": "12345",
                "share": 2.0, "ok": false, "column_6": "x"}),
            json!({"name": "", "age": 45, "zip, code": "", "share": null, "ok": null,
                "column_6": ""}),
        ]
    );
    let plain =
        "files.read_csv(file(\"in.txt\"), separator: \";\", header: false, types: \"text\")";
    assert_eq!(
        rows("1;a,b\n;2\n", plain),
        [json!({"column_1": "1", "column_2": "a,b"}), json!({"column_1": "", "column_2": "2"})]
    );
    assert_eq!(rows("", "files.read_csv(file(\"in.txt\"))"), [Json::Null; 0]);
    assert_eq!(rows("a,b\n", "files.read_csv(file(\"in.txt\"))"), [Json::Null; 0]);
}

#[test]
fn json_and_lines_are_read() {
    let text =
        "\u{feff}{\"a\": 1, \"$ref\": {\"$file\": \"no digest\"}}\r\n\n  \n[1, 2.5, null]\n\"x\"";
    let expected =
        [json!({"a": 1, "$$ref": {"$$file": "no digest"}}), json!([1, 2.5, null]), json!("x")];
    assert_eq!(rows(text, "files.read_jsonl(file(\"in.txt\"))"), expected);
    let list = " [{\"n\": 1},\n {\"n\": 2}]\n";
    assert_eq!(rows(list, "files.read_json(file(\"in.txt\"))"), [json!({"n": 1}), json!({"n": 2})]);
    let lines = [json!({"line": 1, "text": "a"}), json!({"line": 2, "text": ""})];
    assert_eq!(rows("\u{feff}a\r\n\r\n", "files.read_lines(file(\"in.txt\"))"), lines);
    let text = "[{ all: files.read_text(file(\"in.txt\")) }]";
    assert_eq!(rows("a\r\nb\n", text), [json!({"all": "a\r\nb\n"})]);
}

#[test]
fn mistakes_have_a_place() {
    let csv = "files.read_csv(file(\"in.txt\"))";
    wrong(b"a,b\n1,\"x\ny\n", csv, "in.txt, line 2, column 3: this quote is never closed");
    wrong(b"a,b\n1,2\n\xc3\xa9,\"x\"y\n", csv, "in.txt, line 3, column 6: a closing quote ends");
    wrong(b"a,b\n1,2,3\n", csv, "in.txt, line 2, column 5: 3 cells for 2 columns");
    wrong(b"a,b\n\n1\n", csv, "in.txt, line 3, column 2: 1 cell for 2 columns");
    wrong(b"a,b,a\n", csv, "in.txt, line 1, column 5: two columns are called `a`");
    wrong(b"a\nb\n\xc3\xa9\xe9", csv, "in.txt, line 3, column 2: the byte 0xE9 is not UTF-8 text");
    let jsonl = "files.read_jsonl(file(\"in.txt\"))";
    wrong(
        b"{}\n\n{\"\xc3\xa9\": x}\n",
        jsonl,
        "in.txt, line 3, column 7: a value should stand here",
    );
    wrong(b"1 2", jsonl, "in.txt, line 1, column 3: something more stands behind the value");
    let list = "files.read_json(file(\"in.txt\"))";
    wrong(
        b"[1,\n 2,\n nul]",
        list,
        "in.txt, line 3, column 5: this is no value: only true, false and null stand without quotes",
    );
    wrong(
        b"{\"a\": 1}",
        list,
        "in.txt, line 1, column 1: this is an object, and a list of rows is asked for",
    );
    wrong(b"[1] 2", list, "in.txt, line 1, column 5: something more stands behind the value");
    let cut = "files.read_csv(file(\"in.txt\"), separator: \"ab\")";
    wrong(b"a", cut, "`separator` must be one ASCII character");
    wrong(b"", "files.csv([{ a: 1 }], columns: [\"b\"])", "no row has a field `b`; there is a");
    wrong(b"", "files.csv([1])", "row 0 is no record");
    wrong(b"", "files.text(\"x\", name: \"a/b\")", "`a/b` is not a name for a file");
}

#[test]
fn files_are_written() {
    let rows = r#"[{ name: "Ada, \"A\"", n: 1, share: 2.0, tags: ["a"] }, { name: "", n: 2, share: 0.5, tags: [""] }]"#;
    assert_eq!(
        written(&format!("files.csv({rows})")),
        "n,name,share,tags\n1,\"Ada, \"\"A\"\"\",2.0,\"[\"\"a\"\"]\"\n2,\"\",0.5,\"[\"\"\"\"]\"\n"
    );
    let chosen = format!("files.csv({rows}, columns: [\"share\", \"n\"], separator: \";\")");
    assert_eq!(written(&chosen), "share;n\n2.0;1\n0.5;2\n");
    assert_eq!(
        written("files.json([{ b: 1, a: \"é\" }, { b: 2, a: \"x\" }])"),
        "[\n  {\"a\":\"é\",\"b\":1},\n  {\"a\":\"x\",\"b\":2}\n]\n"
    );
    assert_eq!(written("files.json([{ a: 1 }] where .a > 5)").trim(), "[]");
    assert_eq!(written("files.jsonl([{ a: 1 }, { a: 2 }])"), "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(
        written("files.jsonl(group([{ a: 1 }], by: .a))"),
        "{\"key\":1,\"rows\":[{\"a\":1}]}\n"
    );
    assert_eq!(written("files.text(\"a\\nb\")"), "a\nb");
}

/// What is written as CSV and as JSON lines reads back as it was.
#[test]
fn what_is_written_reads_back() {
    let lines = "{\"a\":\"\",\"b\":1,\"c\":null,\"d\":0.1,\"e\":true,\"$x\":\"y\"}\n\
                 {\"a\":\" q\\\"\\n,\\r\\n\",\"b\":-7,\"c\":\"z\",\"d\":1e300,\"e\":false,\"$x\":null}\n\
                 {\"a\":null,\"b\":null,\"c\":null,\"d\":null,\"e\":null,\"$x\":null}\n";
    let read = "files.read_jsonl(file(\"in.txt\"))";
    let before = rows(lines, read);
    assert_eq!(before.len(), 3);
    assert_eq!(rows(lines, &format!("files.read_csv(files.csv({read}))")), before);
    assert_eq!(rows(lines, &format!("files.read_jsonl(files.jsonl({read}))")), before);
    assert_eq!(rows(lines, &format!("files.read_json(files.json({read}))")), before);
    let one = "{\"a\":\"x\"}\n{\"a\":\"\"}\n{\"a\":\"y\"}\n";
    assert_eq!(rows(one, &format!("files.read_csv(files.csv({read}))")), rows(one, read));
}

/// Files are listed by pattern, and each is a file to read; a change touches its own row alone.
#[test]
fn folders_are_listed() {
    let project = Project::new();
    project.write("notes/b.md", "two");
    project.write("notes/a.md", "one");
    project.write("notes/deep/c.md", "three");
    project.write("notes/deep/d.txt", "four");
    std::os::unix::fs::symlink("a.md", project.path("notes/link.md")).unwrap();
    let program = |matching: &str| {
        format!(
            "{HEAD}stage notes = for f in files.list(dir(\"notes\"), matching: {matching:?}) {{\n  \
             {{ path: f.path, text: files.read_text(f.file) }}\n}}\noutput notes as \"x.jsonl\"\n"
        )
    };
    let texts = |matching: &str| {
        project.write("main.claw", &program(matching));
        let ran = project.json(&["run", "main.claw"]);
        let text = std::fs::read_to_string(project.path("x.jsonl")).unwrap();
        let row = |line: &str| {
            let row: Json = serde_json::from_str(line).unwrap();
            format!("{}={}", row["path"].as_str().unwrap(), row["text"].as_str().unwrap())
        };
        (text.lines().map(row).collect::<Vec<_>>().join(" "), ran["stages"][0]["ran"].clone())
    };
    let all = "a.md=one b.md=two deep/c.md=three deep/d.txt=four";
    assert_eq!(texts("*").0, all);
    assert_eq!(texts("*.md").0, "a.md=one b.md=two deep/c.md=three");
    assert_eq!(texts("deep/*").0, "deep/c.md=three deep/d.txt=four");
    assert_eq!(texts("**/*.txt").0, "deep/d.txt=four");
    assert_eq!(texts("none"), (String::new(), Json::from(0)));
    project.write("notes/b.md", "changed");
    assert_eq!(texts("*.md"), ("a.md=one b.md=changed deep/c.md=three".to_string(), 1.into()));
}

/// Another name for the same bytes reads nothing anew.
#[test]
fn names_are_no_part_of_a_key() {
    let project = Project::new();
    project.write("one.csv", "a\n1\n");
    project.write("two.csv", "a\n1\n");
    let program =
        |path: &str| format!("{HEAD}stage x = files.read_csv(file({path:?}))\noutput x\n");
    project.write("main.claw", &program("one.csv"));
    assert_eq!(project.json(&["run", "main.claw"])["stages"][0]["ran"], 1);
    project.write("main.claw", &program("two.csv"));
    assert_eq!(project.json(&["run", "main.claw"])["stages"][0]["ran"], 0);
}

#[test]
fn parquet_reads_back_as_it_was_written() {
    let project = Project::new();
    let program = format!(
        "{HEAD}stage made = [\n  \
         {{ a: 1, b: 1.5, c: true, d: \"x\", e: [1, 2], f: 9223372036854775807 }},\n  \
         {{ a: 2, b: 2.0, c: false, d: \"\", e: [], f: -1 }}\n]\n\
         stage packed = files.parquet(made)\n\
         output packed as \"x.parquet\"\n\
         stage back = files.read_parquet(packed)\n\
         output back as \"x.jsonl\"\n"
    );
    project.write("main.claw", &program);
    project.ok(&["run", "main.claw", "--quiet"]);
    let text = std::fs::read_to_string(project.path("x.jsonl")).unwrap();
    let rows: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        rows,
        [
            json!({"a": 1, "b": 1.5, "c": true, "d": "x", "e": "[1,2]", "f": i64::MAX}),
            json!({"a": 2, "b": 2.0, "c": false, "d": "", "e": "[]", "f": -1}),
        ]
    );
    wrong(
        b"PAR1 and then nonsense",
        "files.read_parquet(file(\"in.txt\"))",
        "in.txt is not a Parquet file that can be read",
    );
}

/// The peer is pyarrow, the reference that most files come from.
#[test]
fn parquet_is_shared_with_pyarrow() {
    let Ok(python) = std::env::var("CLAW_TEST_PYTHON") else {
        return skipped("CLAW_TEST_PYTHON names no Python");
    };
    let has = std::process::Command::new(&python).args(["-c", "import pyarrow"]).output();
    if !has.is_ok_and(|has| has.status.success()) {
        return skipped(&format!("{python} has no pyarrow"));
    }
    let project = Project::new();
    let peer = |script: &str| {
        let done = std::process::Command::new(&python)
            .args(["-c", script])
            .current_dir(project.path(""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        String::from_utf8(done.stdout).unwrap()
    };
    for packing in ["none", "snappy", "zstd", "gzip"] {
        peer(&format!(
            "import pyarrow as pa, pyarrow.parquet as pq, datetime\n\
             rows = [{{'n': i, 'x': i / 2, 'ok': i % 2 == 0, 'name': None if i % 7 == 0 else f'row {{i}}',\n\
                      'tags': ['a'] * (i % 3), 'in': {{'deep': i}}, 'day': datetime.date(2026, 1, 1 + i % 28)}}\n\
                     for i in range(3000)]\n\
             pq.write_table(pa.Table.from_pylist(rows), 'in.parquet', compression='{packing}', row_group_size=700)\n"
        ));
        project.write(
            "main.claw",
            &format!(
                "{HEAD}stage x = files.read_parquet(file(\"in.parquet\"))\n\
                 output x as \"x.jsonl\"\nstage y = files.parquet(x)\noutput y as \"y.parquet\"\n"
            ),
        );
        project.ok(&["run", "main.claw", "--quiet"]);
        let text = std::fs::read_to_string(project.path("x.jsonl")).unwrap();
        let rows: Vec<Json> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 3000, "{packing}");
        let seventh = json!({"n": 7, "x": 3.5, "ok": false, "name": null, "tags": ["a"],
            "in": {"deep": 7}, "day": "2026-01-08"});
        assert_eq!(rows[7], seventh, "{packing}");
        let theirs = peer(
            "import pyarrow.parquet as pq, json\n\
             table = pq.read_table('y.parquet')\n\
             print(json.dumps([table.num_rows, table.slice(7, 1).to_pylist()[0]], sort_keys=True))",
        );
        let theirs: Json = serde_json::from_str(&theirs).unwrap();
        let row = json!({"n": 7, "x": 3.5, "ok": false, "name": null, "tags": "[\"a\"]",
            "in": "{\"deep\":7}", "day": "2026-01-08"});
        assert_eq!(theirs, json!([3000, row]), "{packing}");
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
fn skipped(reason: &str) {
    eprintln!("SKIPPED parquet_is_shared_with_pyarrow: {reason}");
}
