//! Whole tables: each operator against the naive way to do the same, and through the program.

use std::sync::Arc;

use claw::engine::{Args, CallError, Context, Operator, Pool, read_value};
use claw::lang::{Expr, ExprKind, FileId, Function, Span, Type, Value};
use claw::operators::rows;
use claw::store::{Digest, MemoryObjects, Objects};
use proptest::prelude::*;

use crate::project::{Project, checkout};

/// The function `.name`, as the checker makes it.
fn field(name: &str) -> Value {
    let span = Span { file: FileId(0), start: 0, end: 0 };
    let expr = |kind| Expr { kind, ty: Type::Json, span };
    let row = expr(ExprKind::Local(".".to_string()));
    let body = expr(ExprKind::Field(Box::new(row), name.to_string()));
    Value::Function(Arc::new(Function { param: ".".to_string(), body }))
}

fn operator(name: &str) -> Arc<dyn Operator> {
    rows::all().into_iter().find(|one| one.about().name == name).expect("an operator")
}

/// Calls an operator, with as many threads as said.
fn call(name: &str, threads: usize, args: &[(&str, Value)]) -> Result<Value, CallError> {
    let objects = Arc::new(MemoryObjects::default());
    let args = Args(args.iter().map(|(name, of)| (name.to_string(), of.clone())).collect());
    let context = Context { threads, ..Context::quiet(objects.clone(), Digest::of(b"key")) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let made = runtime.block_on(operator(name).call(&args, &context))?;
    Ok(at_hand(&made, &*objects))
}

/// A value with the rows of its tables.
fn at_hand(value: &Value, objects: &dyn Objects) -> Value {
    match value {
        Value::Table(table) => {
            let row = |row| at_hand(&read_value(objects, row).expect("a row"), objects);
            Value::List(table.rows.iter().map(row).collect())
        }
        Value::List(items) => Value::List(items.iter().map(|of| at_hand(of, objects)).collect()),
        Value::Record(fields) => Value::Record(
            fields.iter().map(|(name, of)| (name.clone(), at_hand(of, objects))).collect(),
        ),
        other => other.clone(),
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_list().expect("a list").to_vec()
}

/// Rows with a number each and a key.
fn table(keys: &[Value]) -> Vec<Value> {
    let row = |(n, key): (usize, &Value)| Value::record([("n", n.into()), ("key", key.clone())]);
    keys.iter().enumerate().map(row).collect()
}

fn key(row: &Value) -> Value {
    row.get("key").cloned().expect("a key")
}

fn key_values() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-3i64..3).prop_map(Value::Int),
        (-3i32..3).prop_map(|n| Value::Float(f64::from(n))),
        "[ab\u{e9}]{0,2}".prop_map(Value::Str),
        Just(Value::Null),
    ]
}

fn keyed() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(key_values(), 0..12).prop_map(|keys| table(&keys))
}

/// `==` of the language, in its own words.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_float(), b.as_float()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sort_is_stable(
        keys in prop::collection::vec(prop_oneof![
            (-2i64..3).prop_map(Value::Int),
            (-5i32..5).prop_map(|n| Value::Float(f64::from(n) / 2.0)),
            Just(Value::Null),
        ], 0..24),
        descending: bool,
    ) {
        let rows = table(&keys);
        let args = [
            ("rows", Value::List(rows.clone())),
            ("by", field("key")),
            ("descending", descending.into()),
        ];
        // The naive way: the next is always the first of the best that are left.
        let (mut left, mut nulls): (Vec<Value>, Vec<Value>) =
            rows.into_iter().partition(|row| key(row) != Value::Null);
        let mut expected = Vec::new();
        while !left.is_empty() {
            let mut best = 0;
            for at in 1..left.len() {
                let (one, two) =
                    (key(&left[at]).as_float().unwrap(), key(&left[best]).as_float().unwrap());
                if if descending { one > two } else { one < two } {
                    best = at;
                }
            }
            expected.push(left.remove(best));
        }
        expected.append(&mut nulls);
        prop_assert_eq!(list(&call("rows.sort", 1, &args).unwrap()), expected);
    }

    #[test]
    fn groups_hold_every_row_once(rows in keyed()) {
        let args = [("rows", Value::List(rows.clone())), ("by", field("key"))];
        let mut expected: Vec<(Value, Vec<Value>)> = Vec::new();
        for row in rows {
            match expected.iter_mut().find(|(known, _)| same(known, &key(&row))) {
                Some((_, group)) => group.push(row),
                None => expected.push((key(&row), vec![row])),
            }
        }
        let expected: Vec<Value> = expected
            .into_iter()
            .map(|(key, rows)| Value::record([("key", key), ("rows", Value::List(rows))]))
            .collect();
        prop_assert_eq!(list(&call("rows.group", 1, &args).unwrap()), expected);
    }

    #[test]
    fn joins_are_nested_loops(left in keyed(), right in keyed()) {
        let args = [
            ("left", Value::List(left.clone())),
            ("right", Value::List(right.clone())),
            ("left_on", field("key")),
            ("right_on", field("key")),
        ];
        let pair = |left: &Value, right: Value| {
            Value::record([("left", left.clone()), ("right", right)])
        };
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for one in &left {
            let before = inner.len();
            for other in &right {
                if key(one) != Value::Null && same(&key(one), &key(other)) {
                    inner.push(pair(one, other.clone()));
                    outer.push(pair(one, other.clone()));
                }
            }
            if inner.len() == before {
                outer.push(pair(one, Value::Null));
            }
        }
        prop_assert_eq!(list(&call("rows.join", 1, &args).unwrap()), inner);
        prop_assert_eq!(list(&call("rows.left_join", 1, &args).unwrap()), outer);
    }

    #[test]
    fn shuffles_and_parts_lose_nothing(rows in keyed(), seed: i64, parts in 1i64..6) {
        let mut before: Vec<Vec<u8>> = rows.iter().map(Value::encode).collect();
        before.sort();
        let of = |rows: Vec<Value>| {
            let mut bytes: Vec<Vec<u8>> = rows.iter().map(Value::encode).collect();
            bytes.sort();
            bytes
        };
        let table = ("rows", Value::List(rows));
        let seed = ("seed", Value::Int(seed));
        let mixed = call("rows.shuffle", 1, &[table.clone(), seed.clone()]).unwrap();
        prop_assert_eq!(&of(list(&mixed)), &before);
        let none = ("shares", Value::List(Vec::new()));
        let by = ("by", field("key"));
        let args = [table, seed, by, none, ("parts", Value::Int(parts))];
        let made = list(&call("rows.split", 1, &args).unwrap());
        prop_assert_eq!(made.len(), parts as usize);
        let rows = |part: &Value| list(part.get("rows").unwrap());
        prop_assert_eq!(of(made.iter().flat_map(rows).collect()), before);
        // Equal keys fall into the same part.
        for (at, part) in made.iter().enumerate() {
            for other in &made[..at] {
                for row in rows(part) {
                    prop_assert!(!rows(other).iter().any(|one| key(one) == key(&row)));
                }
            }
        }
    }

    /// Against every pair, in the order in which rows come, whatever the number of threads.
    #[test]
    fn vectors_are_compared_with_each_that_stays(
        angles in prop::collection::vec(0u32..40, 1..40), above in 0.5f64..0.99,
    ) {
        let vectors: Vec<[f64; 2]> = angles
            .iter()
            .map(|angle| (f64::from(*angle) / 20.0).sin_cos().into())
            .collect();
        let rows = table(&vectors.iter().map(|one| Value::from(one.to_vec())).collect::<Vec<_>>());
        let mut stay: Vec<usize> = Vec::new();
        for (at, one) in angles.iter().enumerate() {
            let near = |other: &usize| {
                let apart = f64::from(one.abs_diff(angles[*other])) / 20.0;
                apart.cos() >= above - 1e-9
            };
            if !stay.iter().any(near) {
                stay.push(at);
            }
        }
        let expected: Vec<Value> = stay.into_iter().map(|at| rows[at].clone()).collect();
        let args =
            [("rows", Value::List(rows)), ("on", field("key")), ("above", Value::Float(above))];
        for threads in [1, 3] {
            prop_assert_eq!(&list(&call("rows.dedup_vectors", threads, &args).unwrap()), &expected);
        }
    }
}

/// Parts by shares are about as large as said, and what is added moves nothing.
#[test]
fn parts_are_of_the_sizes_that_were_asked_for() {
    let rows = |count: i64| Value::List(table(&(0..count).map(Value::Int).collect::<Vec<_>>()));
    let split = |count: i64| {
        let shares: Vec<Value> = [0.7, 0.2, 0.1].into_iter().map(Value::Float).collect();
        let args = [
            ("rows", rows(count)),
            ("parts", Value::Null),
            ("shares", Value::List(shares)),
            ("by", field("key")),
            ("seed", Value::Int(0)),
        ];
        let parts = list(&call("rows.split", 1, &args).unwrap());
        parts.iter().map(|part| list(part.get("rows").unwrap())).collect::<Vec<_>>()
    };
    let (some, more) = (split(1000), split(3000));
    for (at, share) in [0.7, 0.2, 0.1].into_iter().enumerate() {
        let got = more[at].len() as f64 / 3000.0;
        assert!((got - share).abs() < 0.03, "{got} for {share}");
        assert_eq!(some[at][..], more[at][..some[at].len()]);
    }
    let wrong = |parts: Value, shares: &[f64]| {
        let shares = Value::from(shares.to_vec());
        let args = [("rows", rows(1)), ("parts", parts), ("shares", shares)];
        let rest = [("by", field("key")), ("seed", Value::Int(0))];
        call("rows.split", 1, &[&args[..], &rest[..]].concat()).unwrap_err().to_string()
    };
    assert_eq!(wrong(Value::Null, &[0.5, 0.4]), "`shares` add up to 90%; they must make 100%");
    assert!(wrong(Value::Null, &[]).contains("needs either"));
    assert!(wrong(Value::Int(2), &[1.0]).contains("not both"));
    assert!(wrong(Value::Int(0), &[]).contains("from 1"));
}

/// Looking for near texts keeps the first of each, with any number of threads, and is heavy work
/// only when it is asked for.
#[test]
fn near_texts_go() {
    let words: Vec<String> = (0..40).map(|n| format!("word{n}")).collect();
    let mut texts = Vec::new();
    for text in 0..300 {
        let mut words = words.clone();
        words.rotate_left(text % 7);
        words[0] = format!("topic{}", text / 10);
        words[20] = format!("other{}", text / 10);
        words[39] = format!("end{text}");
        texts.push(Value::Str(words.join(" ")));
    }
    let rows = table(&texts);
    let dedup = |above: Value, threads: usize| {
        let args = [
            ("rows", Value::List(rows.clone())),
            ("on", field("key")),
            ("above", above),
            ("shingles", Value::str("words")),
        ];
        call("rows.dedup", threads, &args)
    };
    let exact = dedup(Value::Null, 1).unwrap();
    assert_eq!(list(&exact).len(), 300);
    let near = dedup(Value::Float(0.6), 1).unwrap();
    assert!(list(&near).len() < 200, "{}", list(&near).len());
    assert_eq!(near, dedup(Value::Float(0.6), 4).unwrap());
    assert_eq!(dedup(Value::Float(1.0), 2).unwrap(), exact, "each has an end of its own");
    for above in [0.0, 1.5] {
        let err = dedup(Value::Float(above), 1).unwrap_err();
        assert_eq!(err.to_string(), "`above` must be from 0.05 to 1");
    }
    let pool =
        |above: Value| operator("rows.dedup").pool_of(&Args([("above".to_string(), above)].into()));
    assert_eq!((pool(Value::Null), pool(0.9.into())), (Pool::Instant, Pool::Machine));
}

#[test]
fn what_cannot_be_done_says_which_row() {
    let fails = |name: &str, rows: Vec<Value>, more: &[(&str, Value)]| {
        let mut args = vec![("rows", Value::List(rows))];
        args.extend(more.iter().cloned());
        call(name, 1, &args).unwrap_err().to_string()
    };
    let vectors = |keys: &[Value]| {
        let more = [("on", field("key")), ("above", Value::Float(0.9))];
        fails("rows.dedup_vectors", table(keys), &more)
    };
    let two = Value::from(vec![1.0, 2.0]);
    let three = Value::from(vec![1.0, 2.0, 3.0]);
    let said = vectors(&[two.clone(), three]);
    assert_eq!(said, "`on` of row 1: it has 3 numbers where others have 2");
    assert!(vectors(&[two, Value::from(vec![0.0, 0.0])]).starts_with("`on` of row 1: a vector of"));
    let record = Value::record([("a", Value::Int(1))]);
    let more = [("by", field("key")), ("descending", Value::Bool(false))];
    let said = fails("rows.sort", table(&[Value::Int(1), record]), &more);
    assert_eq!(said, "`by` of row 1: a record has no order; sort by its fields: `[.a, .b]`");
    let like = Value::record([("key", Value::from(vec![0.5]))]);
    let typed = |keys: &[Value]| fails("rows.typed", table(keys), &[("like", like.clone())]);
    assert_eq!(
        typed(&[Value::Int(1)]),
        "row 0: `.key` is a whole number where a list is asked for"
    );
    let mixed = Value::List(vec![Value::Int(1), Value::str("x")]);
    let said = typed(&[Value::List(vec![]), mixed]);
    assert_eq!(said, "row 1: `.key[1]` is text where a number with a fraction is asked for");
    let said = fails("rows.typed", vec![Value::record([])], &[("like", like.clone())]);
    assert_eq!(said, "row 0: `.key` is missing");
}

/// What the checker makes of the signatures: two variables, and keys of any one type.
#[test]
fn types_go_through() {
    let project = Project::new();
    let check = |body: &str| {
        let head = "let people = [{ id: 1, name: \"Ada\" }]\nlet jobs = [{ who: 1, job: \"x\" }]\n";
        project.write("main.claw", &format!("{head}{body}"));
        let output = project.claw(&["check", "main.claw"]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let join = |on: &str, then: &str| {
        check(&format!(
            "stage x = for p in left_join(people, right: jobs, left_on: .id, right_on: {on}) \
             {{ {then} }}\noutput x\n"
        ))
    };
    let said = join(".who", "{ a: p.left.name, b: if p.right == null then \"\" else p.right.job }");
    assert!(said.contains("ok"), "{said}");
    assert!(join(".job", "p").contains("`K` is int in this call"));
    assert!(join(".who", "{ a: p.left.job }").contains("job"));
    let said = check(
        "stage g: [{ key: int, rows: [{ name: str }] }] = group(people, by: .id)\noutput g\n",
    );
    assert!(said.contains("ok"), "{said}");
    let said = check("stage g: [{ key: str }] = group(people, by: .id)\noutput g\n");
    assert!(said.contains("E02"), "{said}");
    let said = check("stage d = dedup_vectors(people, on: .name, above: 0.9)\noutput d\n");
    assert!(said.contains("[float]"), "{said}");
    let said = check("stage d = dedup(people, on: .name, above: 85%)\noutput d\n");
    assert!(said.contains("`above` of `dedup`"), "{said}");
}

/// Groups are tables of their own: they are gone through, counted and written with their rows.
#[test]
fn groups_are_used_and_written() {
    let project = Project::new();
    let program = r#"
let notes = [{ a: "x", n: 1 }, { a: "y", n: 2 }, { a: "x", n: 3 }]
stage groups = group(notes, by: .a)
stage large = groups where len(.rows) > 1
stage best = for g in groups { sort(g.rows, by: .n, descending: true)[0] }
stage folds = split(notes, parts: 2, by: .a)
stage back = for f in folds, r in f.rows { r }
output groups as "out/groups.jsonl"
output large as "out/large.jsonl"
output best as "out/best.jsonl"
output back as "out/back.jsonl"
"#;
    project.write("main.claw", program);
    let plan = project.ok(&["plan", "main.claw"]);
    assert!(plan.contains("best"), "{plan}");
    project.ok(&["run", "main.claw", "--quiet"]);
    let read = |path: &str| std::fs::read_to_string(project.path(path)).unwrap();
    let x = "{\"key\":\"x\",\"rows\":[{\"a\":\"x\",\"n\":1},{\"a\":\"x\",\"n\":3}]}\n";
    let y = "{\"key\":\"y\",\"rows\":[{\"a\":\"y\",\"n\":2}]}\n";
    assert_eq!(read("out/groups.jsonl"), format!("{x}{y}"));
    assert_eq!(read("out/large.jsonl"), x);
    assert_eq!(read("out/best.jsonl"), "{\"a\":\"x\",\"n\":3}\n{\"a\":\"y\",\"n\":2}\n");
    assert_eq!(read("out/back.jsonl").lines().count(), 3);
    let again = project.ok(&["run", "main.claw", "--quiet"]);
    assert!(again.contains("Nothing to do"), "{again}");
    // A new row makes its own group anew and leaves the other alone.
    let more = program.replace("{ a: \"x\", n: 3 }", "{ a: \"x\", n: 3 }, { a: \"x\", n: 9 }");
    project.write("main.claw", &more);
    let ran = project.json(&["run", "main.claw"]);
    let stages = ran["stages"].as_array().unwrap();
    let best = stages.iter().find(|line| line["stage"] == "best").unwrap();
    assert_eq!((&best["ran"], &best["cached"]), (&1.into(), &1.into()));
}

/// `examples/rows.claw`, as it is.
#[test]
fn the_example_runs() {
    let project = Project::new();
    for file in ["rows.claw", "data/sales.csv", "data/shops.csv"] {
        let from = checkout().join("examples").join(file);
        project.write(&format!("examples/{file}"), &std::fs::read_to_string(from).unwrap());
    }
    project.ok(&["run", "examples/rows.claw", "--quiet"]);
    let written = std::fs::read_to_string(project.path("out/sold.csv")).unwrap();
    let expected = "town,sold,dearest\nAalst,1,coffee beans\nBruges,2,coffee beans\nGhent,2,a large porcelain pot\n";
    assert_eq!(written, expected);
}

#[test]
fn a_call_for_each_group_gives_its_rows() {
    let project = Project::new();
    project.write(
        "main.claw",
        "stage xs = [{ n: 1, k: \"a\" }, { n: 2, k: \"a\" }, { n: 3, k: \"b\" }, { n: 4, k: \"a\" }]\n\
         stage groups = group(xs, by: .k)\n\
         stage firsts = for g in groups { take(g.rows, count: 2) }\n\
         stage all = for g in groups { g.rows }\n\
         stage numbers = for f in firsts + all { { n: f.n } }\n\
         stage some = for g in groups { if len(g.rows) > 1 then take(g.rows, count: 1) else null }\n\
         output numbers as \"numbers.jsonl\"\noutput some as \"some.jsonl\"\n",
    );
    project.ok(&["run", "main.claw", "--quiet"]);
    let read = |path| std::fs::read_to_string(project.path(path)).expect("rows");
    let numbers: Vec<String> = read("numbers.jsonl")
        .lines()
        .map(|line| line.replace("{\"n\":", "").replace('}', ""))
        .collect();
    assert_eq!(numbers, ["1", "2", "3", "1", "2", "4", "3"]);
    assert_eq!(read("some.jsonl"), "{\"k\":\"a\",\"n\":1}\n");
    let plan = project.json(&["plan", "main.claw"]);
    assert!(plan["stages"].as_array().expect("stages").iter().all(|stage| stage["will_run"] == 0));
}
