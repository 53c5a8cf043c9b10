//! A difference as a person reads it: what was asked first, then what came of it.

use super::super::{line_diff, plan, print};
use super::Difference;
use super::program::{Change, Changed, StageChange};
use super::side::Side;
use super::stages::{Example, Field, Score, StageDiff, State};
use crate::lang::Value;
use crate::plan::{PartKind, Reason};

/// Characters of a text that are shown from where two texts part.
const SHOWN: usize = 48;

/// Files of a directory that are named.
const FILES: usize = 4;

/// Tells all of it.
pub(super) fn tell(old: &Side, new: &Side, difference: &Difference) -> String {
    let named =
        |side: &Side| format!("{} ({}, {})", side.info.id, side.info.pipeline, side.outcome);
    let mut out = format!("old {}\nnew {}\n", named(old), named(new));
    if difference.is_none() {
        let stages = difference.stages.len();
        out.push_str(&format!(
            "\nThe same: parameters, program and the rows of {stages} stages.\n"
        ));
        return out;
    }
    list(&mut out, "parameters", &difference.params);
    list(&mut out, "versions", &difference.versions);
    if !difference.program.is_empty() {
        out.push_str("\nprogram\n");
        difference.program.iter().for_each(|change| stage(&mut out, change));
    }
    let differ: Vec<&StageDiff> =
        difference.stages.iter().filter(|stage| stage.differs()).collect();
    if !differ.is_empty() {
        out.push_str(&format!("\nrows\n{}", indented(&counts(&differ))));
        let same = difference.stages.len() - differ.len();
        if same > 0 {
            let plural = if same == 1 { "stage has" } else { "stages have" };
            out.push_str(&format!("  {same} more {plural} the same rows.\n"));
        }
        differ.iter().for_each(|stage| examples(&mut out, stage));
        scores(&mut out, &differ);
    } else if !difference.stages.is_empty() {
        out.push_str(&format!(
            "\nThe rows of all {} stages are the same.\n",
            difference.stages.len()
        ));
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn list(out: &mut String, title: &str, changed: &[Changed]) {
    if changed.is_empty() {
        return;
    }
    out.push_str(&format!("\n{title}\n"));
    for one in changed {
        let told = match (&one.old, &one.new) {
            (Some(old), Some(new)) => {
                format!("{}: {} → {}", one.name, print::brief(old), print::brief(new))
            }
            (None, Some(new)) => format!("{} is new: {}", one.name, print::brief(new)),
            (Some(old), None) => format!("{} is gone (was {})", one.name, print::brief(old)),
            (None, None) => continue,
        };
        out.push_str(&format!("  {told}\n"));
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

fn stage(out: &mut String, change: &StageChange) {
    let name = &change.stage;
    match change.change {
        Change::Added => out.push_str(&format!("  {name} is new\n")),
        Change::Removed => out.push_str(&format!("  {name} is gone\n")),
        Change::Renamed => {
            let was = change.was.as_deref().unwrap_or_default();
            out.push_str(&format!("  {name} was called {was}\n"));
        }
        Change::Changed => {
            for reason in &change.reasons {
                let told = match reason {
                    // Its text is not all that a stage says: names in it stand for something else.
                    Reason::Changed { kind: PartKind::Expression, .. } if change.text.is_none() => {
                        "a parameter, a constant or a `def` in it changed".to_string()
                    }
                    reason => plan::reason(reason),
                };
                out.push_str(&format!("  {name}: {}\n", print::safe(&told)));
            }
            if let Some(text) = &change.text {
                // The texts are parts of files: their last line has no break of its own.
                let lines =
                    line_diff::lines(&format!("{}\n", text.old), &format!("{}\n", text.new));
                lines.iter().for_each(|line| out.push_str(&format!("    {}\n", print::safe(line))));
            }
        }
    }
}

fn counts(differ: &[&StageDiff]) -> String {
    let aside = differ.iter().any(|stage| stage.put_aside != (0, 0));
    let mut heads = vec!["stage", "old", "new", "same", "changed", "added", "removed"];
    if aside {
        heads.push("put aside");
    }
    heads.push("");
    let number = |count: usize| print::number(count as u64);
    let rows: Vec<Vec<String>> = differ
        .iter()
        .map(|stage| {
            let side = |rows: Option<usize>| rows.map_or("-".to_string(), number);
            let mut row = vec![stage.stage.clone(), side(stage.old), side(stage.new)];
            let known = matches!(stage.state, State::Same | State::Reordered | State::Different);
            for count in [stage.same, stage.changed, stage.added, stage.removed] {
                row.push(if known { number(count) } else { "-".to_string() });
            }
            if aside {
                let (old, new) = stage.put_aside;
                row.push(if old == new { old.to_string() } else { format!("{old} → {new}") });
            }
            row.push(note(stage).to_string());
            row
        })
        .collect();
    print::columns(&heads.iter().map(ToString::to_string).collect::<Vec<_>>(), &rows)
}

fn note(stage: &StageDiff) -> &'static str {
    match stage.state {
        State::Same | State::Different => "",
        State::Reordered => "another order",
        State::NoResult if stage.new.is_none() => "no result now",
        State::NoResult => "no result before",
        State::Gone => "the store no longer has the rows",
    }
}

fn examples(out: &mut String, stage: &StageDiff) {
    if stage.examples.is_empty() {
        return;
    }
    out.push_str(&format!("\n{}\n", stage.stage));
    for example in &stage.examples {
        out.push_str(&format!("  {}", title(example)));
        match &example.value {
            Some(value) => out.push_str(&format!(": {}\n", print::brief(value))),
            None => {
                out.push('\n');
                for field in &example.fields {
                    out.push_str(&format!("      {}\n", told(field)));
                }
                if example.more_fields > 0 {
                    out.push_str(&format!("      … and {} more fields\n", example.more_fields));
                }
            }
        }
    }
    let shown = |what: &str| stage.examples.iter().filter(|example| example.what == what).count();
    let of = [("changed", stage.changed), ("added", stage.added), ("removed", stage.removed)];
    let more: Vec<String> = of
        .into_iter()
        .filter(|(what, count)| *count > shown(what))
        .map(|(what, count)| format!("{} {what}", print::number((count - shown(what)) as u64)))
        .collect();
    if !more.is_empty() {
        out.push_str(&format!("  … and {}\n", more.join(", ")));
    }
}

fn title(example: &Example) -> String {
    let mark = match example.what {
        "added" => '+',
        "removed" => '-',
        _ => '~',
    };
    let row = match example.row {
        Some(row) => format!("row {row}"),
        None => "its value".to_string(),
    };
    match &example.name {
        Some(name) => format!("{mark} {row} ({})", cut(&print::safe(name), SHOWN)),
        None => format!("{mark} {row}"),
    }
}

fn told(field: &Field) -> String {
    let path = if field.path.is_empty() { "value" } else { &field.path };
    let path = print::safe(path);
    match (&field.old, &field.new) {
        (Some(Value::Str(old)), Some(Value::Str(new))) => {
            let (old, new) = parted(old, new);
            format!("{path}: {old} → {new}")
        }
        (Some(_), Some(_)) if !field.files.is_empty() => {
            let shown: Vec<String> =
                field.files.iter().take(FILES).map(|file| print::safe(file)).collect();
            let more = match field.files.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{path}: {}{more} differ", shown.join(", "))
        }
        (Some(old), Some(new)) => format!("{path}: {} → {}", plain(old), plain(new)),
        (None, Some(new)) => format!("{path} is new: {}", plain(new)),
        (Some(old), None) => format!("{path} is gone (was {})", plain(old)),
        (None, None) => path,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_string(),
        // Whole, unlike in a table's cell: two numbers that differ must look different.
        Value::Float(_) => String::from_utf8_lossy(&value.encode()).into_owned(),
        // Two files of one name that differ must too.
        Value::File { name, digest } => format!("{} ({})", print::safe(name), digest.short()),
        other => cut(&print::cell(other), 2 * SHOWN),
    }
}

/// Two texts from a little before the place where they part.
fn parted(old: &str, new: &str) -> (String, String) {
    let same = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let from = if same <= SHOWN / 2 { 0 } else { same - SHOWN / 4 };
    let show = |text: &str| {
        let part: String = text.chars().skip(from).collect();
        let head = if from > 0 { "…" } else { "" };
        let part = print::safe(&cut(&part, SHOWN)).replace(['\n', '\t'], " ");
        format!("\"{head}{part}\"")
    };
    (show(old), show(new))
}

fn scores(out: &mut String, differ: &[&StageDiff]) {
    let rows: Vec<Vec<String>> = differ
        .iter()
        .flat_map(|stage| stage.scores.iter().map(|score| row(&stage.stage, score)))
        .collect();
    if rows.is_empty() {
        return;
    }
    let heads = ["stage", "number", "old", "new", "difference"].map(str::to_string);
    out.push_str(&format!("\nnumbers\n{}", indented(&print::columns(&heads, &rows))));
}

fn row(stage: &str, score: &Score) -> Vec<String> {
    let name = match score.what {
        "value" => score.of.clone(),
        what => format!("{what} of {}", score.of),
    };
    let sign = if score.difference > 0.0 { "+" } else { "" };
    vec![
        stage.to_string(),
        print::safe(&name),
        number(score.old),
        number(score.new),
        format!("{sign}{}", number(score.difference)),
    ]
}

/// Whole numbers as they are, others with four digits after the point.
fn number(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        format!("{number:.0}")
    } else {
        format!("{number:.4}")
    }
}
