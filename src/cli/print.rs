//! Printing. A reader that closes the pipe early (`claw show … | head`) is no error.

use std::io::{IsTerminal, Write};

use crate::lang::Value;

/// Prints text as it is.
pub(super) fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a line.
pub(super) fn line(text: &str) {
    out(text);
    out("\n");
}

/// Prints JSON, indented.
pub(super) fn json<T: serde::Serialize>(value: &T) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        line(&text);
    }
}

/// Tells an error.
pub(super) fn error(message: &str) {
    let word = if colour() { "\u{1b}[31;1merror\u{1b}[0m" } else { "error" };
    let _ = writeln!(std::io::stderr(), "{word}: {message}");
}

/// Tells something on the way that is no error.
pub(super) fn notice(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Prints text as it is where errors go.
pub(super) fn err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Whether errors may be coloured.
pub(super) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// How many characters fit in a line.
pub(super) fn width() -> usize {
    100
}

/// Text that a model wrote may hold terminal escapes; they are shown, not obeyed.
pub(super) fn safe(text: &str) -> String {
    text.chars()
        .map(|c| {
            let control = (c.is_control() && c != '\n' && c != '\t')
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c);
            if control { '\u{fffd}' } else { c }
        })
        .collect()
}

/// Aligned columns. Numbers stand right.
pub(super) fn columns(heads: &[String], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let numeric: Vec<bool> = (0..heads.len())
        .map(|column| {
            !rows.is_empty()
                && rows.iter().all(|row| {
                    row.get(column).is_some_and(|cell| {
                        cell.is_empty()
                            || cell.starts_with(|c: char| c.is_ascii_digit() || c == '-')
                    })
                })
        })
        .collect();
    let mut text = String::new();
    for row in std::iter::once(heads).chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let gap = if column > 0 { "  " } else { "" };
            if numeric[column] {
                line.push_str(&format!("{gap}{pad}{cell}"));
            } else {
                line.push_str(&format!("{gap}{cell}{pad}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Characters of a cell at most.
const CELL: usize = 120;

/// A value in few words, for a cell of a table.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Str(text) => text.clone(),
        Value::Float(float) => {
            let text = format!("{float:.3}");
            if text.contains('.') { text } else { format!("{text}.0") }
        }
        Value::List(items) if items.iter().all(|item| item.as_str().is_some()) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Value::List(items) => format!("{} items", items.len()),
        Value::Record(_) => value.get("id").and_then(Value::as_str).unwrap_or("{…}").to_string(),
        Value::File { name, digest } if name.is_empty() => format!("file {}", digest.short()),
        Value::File { name, .. } => name.clone(),
        Value::Dir(digest) => format!("dir {}", digest.short()),
        Value::Table(table) => format!("{} rows", table.rows.len()),
        other => String::from_utf8_lossy(&other.encode()).into_owned(),
    };
    let text = safe(&text).replace(['\n', '\t'], " ");
    if text.chars().count() > CELL {
        format!("{}…", text.chars().take(CELL - 1).collect::<String>())
    } else {
        text
    }
}

/// A value as runs record it, in few words: a file by its name and digest, else as the language writes
/// it.
pub(super) fn brief(json: &serde_json::Value) -> String {
    let digest =
        |key: &str| -> Option<String> { Some(json.get(key)?.as_str()?.chars().take(12).collect()) };
    let name = || json.get("name").and_then(serde_json::Value::as_str).unwrap_or("file");
    let text = match (digest("$file"), digest("$dir")) {
        (Some(digest), _) => format!("{} ({digest})", name()),
        (None, Some(digest)) => format!("dir {digest}"),
        (None, None) => json.to_string(),
    };
    let text = safe(&text).replace(['\n', '\t'], " ");
    match text.char_indices().nth(CELL - 1) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether a field is too much for a cell: long text, or records inside records.
fn too_much(value: &Value) -> bool {
    match value {
        Value::Str(text) => text.chars().count() > 200,
        Value::List(items) => items.iter().any(|item| matches!(item, Value::Record(_))),
        _ => false,
    }
}

/// Records as a table. A column `x` with `x_low` and `x_high` beside it is shown with its interval;
/// columns that are too much for a cell are left out.
pub(super) fn records(rows: &[Value]) -> String {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        if let Value::Record(fields) = row {
            for (name, value) in fields {
                if !names.contains(name) && !too_much(value) {
                    names.push(name.clone());
                }
            }
        }
    }
    let has = |name: &str| names.iter().any(|other| other == name);
    let bound = |name: &str| {
        ["_low", "_high"].iter().any(|end| {
            name.strip_suffix(end)
                .is_some_and(|base| has(&format!("{base}_low")) && has(&format!("{base}_high")))
        })
    };
    let mut heads: Vec<String> = names.iter().filter(|name| !bound(name)).cloned().collect();
    // `pass_rate` keeps its interval in `pass_low` and `pass_high`.
    let interval = |name: &str| {
        [name, name.trim_end_matches("_rate")]
            .into_iter()
            .find(|base| has(&format!("{base}_low")) && has(&format!("{base}_high")))
            .map(str::to_string)
    };
    // What names a row stands first, in the order in which people read it.
    let first = ["#", "id", "group", "base", "model", "name", "family", "stage", "tasks", "runs"];
    heads.sort_by_key(|head| first.iter().position(|name| name == head).unwrap_or(first.len()));
    let body: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            heads
                .iter()
                .map(|head| {
                    let value = row.get(head).map(cell).unwrap_or_default();
                    match interval(head) {
                        Some(base) => {
                            let low = row.get(&format!("{base}_low")).map(cell);
                            let high = row.get(&format!("{base}_high")).map(cell);
                            format!(
                                "{value} [{}, {}]",
                                low.unwrap_or_default(),
                                high.unwrap_or_default()
                            )
                        }
                        None => value,
                    }
                })
                .collect()
        })
        .collect();
    columns(&heads, &body)
}

/// Counts with a thin space between thousands.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// Milliseconds as a person says them.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
    }
}
