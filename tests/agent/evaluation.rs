//! `eval.summarise` over graded runs made by hand.

use std::sync::Arc;

use claw::engine::{Args, CallError, Context, Operator};
use claw::lang::{Table, Value};
use claw::operators::eval::Summarise;
use claw::store::{Digest, MemoryObjects, Objects};

fn graded(model: &str, task: &str, family: &str, reward: f64) -> Value {
    let ending = if reward > 0.0 { "answered" } else { "max_steps" };
    let run = Value::record([
        (
            "world",
            Value::record([
                ("id", Value::str(task)),
                ("task", Value::record([("family", Value::str(family))])),
            ]),
        ),
        ("model", Value::str(model)),
        ("ending", Value::str(ending)),
        ("steps", Value::Int(if reward > 0.0 { 3 } else { 12 })),
        ("tokens_in", Value::Int(100)),
        ("tokens_out", Value::Int(10)),
    ]);
    Value::record([
        ("run", run),
        ("reward", Value::Float(reward)),
        ("passed", Value::Bool(reward == 1.0)),
    ])
}

async fn summarise(rows: Vec<Value>, apart: &[&str], seed: i64) -> Result<Value, CallError> {
    let objects = Arc::new(MemoryObjects::default());
    let table = Table { rows: rows.iter().map(|r| objects.put(&r.encode()).unwrap()).collect() };
    let mut args = Args::default();
    args.0.insert("graded".to_string(), Value::Table(Arc::new(table)));
    args.0.insert("apart".to_string(), Value::from(apart.to_vec()));
    args.0.insert("seed".to_string(), Value::Int(seed));
    Summarise.call(&args, &Context::quiet(objects, Digest::of(b"call"))).await
}

fn line<'a>(report: &'a Value, model: &str, group: &str) -> &'a Value {
    let lines = report.get("lines").unwrap().as_list().unwrap();
    let wanted = |line: &&Value| {
        line.get("model") == Some(&Value::str(model))
            && line.get("group") == Some(&Value::str(group))
    };
    lines.iter().find(wanted).unwrap()
}

fn number(value: &Value, field: &str) -> f64 {
    value.get(field).unwrap().as_float().unwrap()
}

/// Two models, 40 tasks of three families; `student` passes most of them, `base` none.
fn exam() -> Vec<Value> {
    let mut rows = Vec::new();
    for model in ["base", "student"] {
        for i in 0..40 {
            let family = ["rename", "sum_csv", "fix_json"][i % 3];
            let reward = match (model, i % 5) {
                ("base", _) => 0.0,
                (_, 0) => 0.5,
                _ => 1.0,
            };
            rows.push(graded(model, &format!("t{i}"), family, reward));
        }
    }
    rows
}

#[tokio::test]
async fn lines_stand_by_model_and_group() {
    let report = summarise(exam(), &["fix_json"], 0).await.unwrap();
    let lines = report.get("lines").unwrap().as_list().unwrap();
    let text = |line: &Value, field: &str| line.get(field).unwrap().as_str().unwrap().to_string();
    let order: Vec<(String, String)> =
        lines.iter().map(|line| (text(line, "model"), text(line, "group"))).collect();
    let groups = ["seen", "unseen", "fix_json", "rename", "sum_csv"];
    let expected: Vec<(String, String)> = groups
        .iter()
        .flat_map(|group| ["base", "student"].map(|model| (model.to_string(), group.to_string())))
        .collect();
    assert_eq!(order, expected);

    let base = line(&report, "base", "seen");
    assert_eq!(base.get("tasks"), Some(&Value::Int(27)));
    assert_eq!((number(base, "mean"), number(base, "mean_low")), (0.0, 0.0));
    assert!(number(base, "mean_high") > 0.05, "27 zeros do not prove that it never succeeds");
    let student = line(&report, "student", "unseen");
    assert_eq!(student.get("tasks"), Some(&Value::Int(13)));
    // Of i = 2, 5, 8, …, 38 those with i % 5 = 0 are 5, 20 and 35.
    assert!((number(student, "mean") - 11.5 / 13.0).abs() < 1e-12);
    assert!((number(student, "pass_rate") - 10.0 / 13.0).abs() < 1e-12);
    let (low, high) = (number(student, "pass_low"), number(student, "pass_high"));
    assert!((low - 0.497).abs() < 0.002 && (high - 0.918).abs() < 0.002, "{low} {high}");
    assert!(number(student, "mean_low") < 0.88 && number(student, "mean_high") > 0.89);
    assert_eq!(number(student, "steps"), 3.0);
    let endings = line(&report, "base", "seen").get("endings").unwrap();
    let only = Value::record([("ending", Value::str("max_steps")), ("share", Value::Float(1.0))]);
    assert_eq!(endings, &Value::List(vec![only]));
}

#[tokio::test]
async fn models_are_compared_on_the_same_tasks_and_in_words() {
    let report = summarise(exam(), &["fix_json"], 0).await.unwrap();
    let comparisons = report.get("comparisons").unwrap().as_list().unwrap();
    assert_eq!(comparisons.len(), 2);
    let seen = &comparisons[0];
    assert_eq!(seen.get("base"), Some(&Value::str("base")));
    assert_eq!(seen.get("model"), Some(&Value::str("student")));
    assert_eq!(seen.get("tasks"), Some(&Value::Int(27)));
    assert!(number(seen, "difference_low") > 0.8);
    // No drawn pattern of 27 is as extreme: 1 in 10,001, twice that for the first of two comparisons.
    assert!((number(seen, "p") - 2.0 / 10_001.0).abs() < 1e-12);
    // All patterns of 13: two of 8,192.
    assert!((number(&comparisons[1], "p") - 2.0 / 8_192.0).abs() < 1e-12);
    let verdict = seen.get("verdict").unwrap().as_str().unwrap();
    assert!(verdict.starts_with("student scores higher than base (+0.9"), "{verdict}");

    // One more model that does the same, and one task that only it has done.
    let mut rows = exam();
    for i in 0..40 {
        let reward = if i % 5 == 1 { 0.5 } else { 1.0 };
        rows.push(graded("twin", &format!("t{i}"), "rename", reward));
    }
    rows.push(graded("twin", "t99", "rename", 0.0));
    let report = summarise(rows, &[], 0).await.unwrap();
    let comparisons = report.get("comparisons").unwrap().as_list().unwrap();
    let twins = comparisons.last().unwrap();
    assert_eq!(twins.get("tasks"), Some(&Value::Int(40)));
    assert_eq!(number(twins, "difference"), 0.0);
    let verdict = twins.get("verdict").unwrap().as_str().unwrap();
    assert!(verdict.starts_with("no difference shown between student and twin ("), "{verdict}");
}

#[tokio::test]
async fn trials_of_a_task_are_one_fact() {
    let mut rows = Vec::new();
    for i in 0..10 {
        for trial in 0..4 {
            let reward = f64::from(u8::from(trial < i % 5));
            rows.push(graded("m", &format!("t{i}"), "rename", reward));
        }
    }
    let report = summarise(rows, &[], 0).await.unwrap();
    let seen = line(&report, "m", "seen");
    assert_eq!(seen.get("tasks"), Some(&Value::Int(10)));
    assert_eq!(seen.get("runs"), Some(&Value::Int(40)));
    assert!((number(seen, "mean") - 0.5).abs() < 1e-12);
    let passes = seen.get("passes").unwrap().as_list().unwrap();
    let of = |i: usize, field: &str| number(&passes[i], field);
    assert_eq!([of(0, "k"), of(1, "k"), of(2, "k")], [1.0, 2.0, 4.0]);
    assert!((of(0, "once") - 0.5).abs() < 1e-12);
    // Two draws of four with 0, 1, 2, 3, 4 good ones: 0, 1/2, 5/6, 1, 1.
    assert!((of(1, "once") - (0.5 + 5.0 / 6.0 + 2.0) / 5.0).abs() < 1e-12);
    assert!((of(2, "once") - 0.8).abs() < 1e-12);
    assert!((of(2, "always") - 0.2).abs() < 1e-12);
}

#[tokio::test]
async fn the_report_depends_on_rows_and_seed_alone() {
    let first = summarise(exam(), &["fix_json"], 3).await.unwrap();
    assert_eq!(first, summarise(exam(), &["fix_json"], 3).await.unwrap());
    assert_ne!(first, summarise(exam(), &["fix_json"], 4).await.unwrap());
    let nothing = summarise(Vec::new(), &[], 0).await.unwrap();
    assert_eq!(nothing.get("lines"), Some(&Value::List(Vec::new())));
}

#[tokio::test]
async fn rows_that_are_not_graded_runs_are_told() {
    let mut rows = exam();
    rows.insert(3, Value::record([("reward", Value::Float(1.0))]));
    let err = summarise(rows, &[], 0).await.unwrap_err();
    assert_eq!(err.to_string(), "row 4 of `graded` has no `run.world.id`");
    let err = summarise(vec![graded("m", "t", "f", 1.5)], &[], 0).await.unwrap_err();
    assert_eq!(err.to_string(), "`reward` in row 1 of `graded` is not a number from 0 to 1");
}
