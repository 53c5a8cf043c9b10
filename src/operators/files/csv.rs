//! CSV: a header and cells to records, and back.
//!
//! Types are those of whole columns, so that one cell does not make its row another kind of row.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;
use crate::store::Objects;

use super::cells::{Cell, Cells, Mistake};
use super::{Made, Source, each_row, file, json};

/// The largest whole number below which every one has a float of its own.
const EXACT: i64 = 1 << 53;

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Only empty ones so far.
    Empty,
    Bool,
    /// Whole numbers; `small` when a float holds each of them.
    Int {
        small: bool,
    },
    Float,
    Text,
}

impl Column {
    /// What a cell would be alone.
    fn of(cell: &str) -> Column {
        let digits = cell.strip_prefix('-').unwrap_or(cell);
        let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
            && cell
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        match cell {
            "" => Column::Empty,
            "true" | "false" => Column::Bool,
            _ if !is_number => Column::Text,
            // JSON's numbers: no zeros in front, which belong to codes such as 00501.
            _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => match cell.parse::<i64>() {
                Ok(whole) if whole.to_string() == cell => {
                    Column::Int { small: whole.abs_diff(0) <= EXACT as u64 }
                }
                _ => Column::Text,
            },
            _ if serde_json::from_str::<f64>(cell).is_ok() => Column::Float,
            _ => Column::Text,
        }
    }

    /// What two cells are together.
    fn with(self, other: Column) -> Column {
        use Column as C;
        match (self, other) {
            (C::Empty, of) | (of, C::Empty) => of,
            (C::Bool, C::Bool) => C::Bool,
            (C::Int { small: a }, C::Int { small: b }) => C::Int { small: a && b },
            (C::Float | C::Int { small: true }, C::Float | C::Int { small: true }) => C::Float,
            _ => C::Text,
        }
    }

    /// The value of a cell.
    fn value(self, cell: &Cell<'_>) -> Value {
        let text = &*cell.text;
        let found = match self {
            _ if text.is_empty() && !(cell.quoted && self == Column::Text) => Some(Value::Null),
            Column::Bool => Some(Value::Bool(text == "true")),
            Column::Int { .. } => text.parse().ok().map(Value::Int),
            Column::Float => serde_json::from_str(text).ok().map(Value::Float),
            Column::Text | Column::Empty => None,
        };
        found.unwrap_or_else(|| Value::str(text))
    }
}

pub(super) fn read(args: &Args, context: &Context) -> Result<Value, CallError> {
    let source = Source::open(args, &*context.objects)?;
    let text = source.text()?;
    let separator = separator(args)?;
    let infer = args.str("types")? == "inferred";
    let header = args.bool("header")?;
    let wrong = |mistake: Mistake| source.wrong(mistake.line, mistake.column, mistake.why);

    let mut cells = Vec::new();
    let mut reader = Cells::new(text, separator);
    let Some(first) = reader.next(&mut cells).map_err(wrong)? else {
        return Ok(Made::new(context).table());
    };
    let names = names(&cells, header)
        .map_err(|(at, why)| source.wrong(first, column_of(text, first, separator, at), &why))?;
    if !header {
        reader = Cells::new(text, separator);
    }
    let body = |reader: &mut Cells<'_>,
                each: &mut dyn FnMut(&[Cell<'_>]) -> Result<(), CallError>| {
        let mut cells = Vec::new();
        while let Some(line) = reader.next(&mut cells).map_err(wrong)? {
            if cells.len() != names.len() {
                let count =
                    |count, of| format!("{count} {of}{}", if count == 1 { "" } else { "s" });
                let (here, wanted) = (count(cells.len(), "cell"), count(names.len(), "column"));
                let why = format!("{here} for {wanted}");
                let at = column_of(text, line, separator, cells.len().min(names.len()));
                return Err(source.wrong(line, at, &why));
            }
            each(&cells)?;
        }
        Ok::<(), CallError>(())
    };

    let mut columns = vec![if infer { Column::Empty } else { Column::Text }; names.len()];
    if infer {
        // Once for the columns' types, once for the rows: nothing but the text is held.
        body(&mut reader.clone(), &mut |cells| {
            for (column, cell) in columns.iter_mut().zip(cells) {
                *column = column.with(Column::of(&cell.text));
            }
            Ok(())
        })?;
    }
    let mut made = Made::new(context);
    body(&mut reader, &mut |cells| {
        let values = names.iter().zip(&columns).zip(cells);
        let row: BTreeMap<String, Value> = values
            .map(|((name, column), cell)| {
                let value =
                    if infer { column.value(cell) } else { Value::str(cell.text.to_string()) };
                (name.clone(), value)
            })
            .collect();
        made.add(&Value::Record(row))
    })?;
    Ok(made.table())
}

/// The names of the columns; one without a name is called by its number.
fn names(cells: &[Cell<'_>], header: bool) -> Result<Vec<String>, (usize, String)> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(cells.len());
    for (at, cell) in cells.iter().enumerate() {
        let name = match &*cell.text {
            name if header && !name.is_empty() => name.to_string(),
            _ => format!("column_{}", at + 1),
        };
        if !seen.insert(name.clone()) {
            return Err((at, format!("two columns are called `{name}`")));
        }
        names.push(name);
    }
    Ok(names)
}

/// Where cell number `number` of the record that starts on a line begins, in characters from 1; the
/// end of the record when it has none. For cells that go over lines it is that of the first.
fn column_of(text: &str, line: usize, separator: u8, number: usize) -> usize {
    let line = text.split('\n').nth(line - 1).unwrap_or_default().trim_end_matches('\r');
    let (mut quoted, mut passed) = (false, 0);
    for (at, c) in line.chars().enumerate() {
        if passed == number {
            return at + 1;
        }
        match c {
            '"' => quoted = !quoted,
            c if c == char::from(separator) && !quoted => passed += 1,
            _ => {}
        }
    }
    line.chars().count() + 1
}

fn separator(args: &Args) -> Result<u8, CallError> {
    match args.str("separator")?.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err(CallError::row("`separator` must be one ASCII character and no quote")),
    }
}

pub(super) fn write(args: &Args, context: &Context) -> Result<Value, CallError> {
    let separator = separator(args)?;
    let mut columns: Vec<String> = match args.get("columns")? {
        Value::List(names) => names.iter().filter_map(Value::as_str).map(String::from).collect(),
        _ => Vec::new(),
    };
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut count = 0;
    each_row(args, context, |place, row| {
        let Value::Record(fields) = row else {
            return Err(CallError::row(format!("row {place} is no record: it has no columns")));
        };
        count += 1;
        for name in fields.keys() {
            if !known.contains(name) {
                known.insert(name.clone());
            }
        }
        Ok(())
    })?;
    if columns.is_empty() {
        columns = known.into_iter().collect();
    } else if let Some(absent) = columns.iter().find(|name| count > 0 && !known.contains(*name)) {
        let known: Vec<String> = known.into_iter().collect();
        let why = format!("no row has a field `{absent}`; there is {}", known.join(", "));
        return Err(CallError::row(why));
    }
    let mut out = String::new();
    line(columns.iter().map(|name| quoted(name, separator)), separator, &mut out);
    each_row(args, context, |_, row| {
        let mut cells = Vec::with_capacity(columns.len());
        for name in &columns {
            cells.push(cell(row.get(name), separator, &*context.objects)?);
        }
        line(cells.into_iter(), separator, &mut out);
        Ok(())
    })?;
    file(args, context, out.as_bytes())
}

/// Writes a record. A line with nothing on it would be passed over when it is read.
fn line(cells: impl ExactSizeIterator<Item = String>, separator: u8, out: &mut String) {
    let alone = cells.len() == 1;
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(char::from(separator));
        }
        out.push_str(if alone && cell.is_empty() { "\"\"" } else { &cell });
    }
    if !out.is_empty() {
        out.push('\n');
    }
}

fn cell(value: Option<&Value>, separator: u8, objects: &dyn Objects) -> Result<String, CallError> {
    Ok(match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Str(text)) => quoted(text, separator),
        Some(value) => {
            let text = json::plain(value, objects)?.to_string();
            if matches!(value, Value::Bool(_)) {
                text
            } else {
                in_quotes_if_needed(text, separator)
            }
        }
    })
}

/// Text: an empty one stands in quotes, for nothing at all is null.
fn quoted(text: &str, separator: u8) -> String {
    if text.is_empty() {
        "\"\"".to_string()
    } else {
        in_quotes_if_needed(text.to_string(), separator)
    }
}

fn in_quotes_if_needed(text: String, separator: u8) -> String {
    let special =
        |c: char| matches!(c, '"' | '\n' | '\r' | '\u{feff}') || c == char::from(separator);
    let space = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if space || text.contains(special) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_columns() {
        let small = Column::Int { small: true };
        let of = |cells: &[&str]| {
            cells.iter().fold(Column::Empty, |column, cell| column.with(Column::of(cell)))
        };
        assert_eq!(of(&["1", "-20", "", "0"]), small);
        assert_eq!(of(&["1", "0.5", "1e-3"]), Column::Float);
        assert_eq!(of(&["true", "false", ""]), Column::Bool);
        assert_eq!(of(&["", ""]), Column::Empty);
        for text in [
            "007",
            "+1",
            "1.",
            ".5",
            "-",
            "--1",
            "1-1",
            "1e",
            "NaN",
            "inf",
            "0x1",
            "1_000",
            " 1",
            "1 ",
            "True",
            "1e999",
            "9223372036854775808",
            "00.5",
        ] {
            assert_eq!(Column::of(text), Column::Text, "{text}");
        }
        assert_eq!(Column::of("-0"), Column::Text);
        assert_eq!(Column::of("-0.0"), Column::Float);
        assert_eq!(of(&["true", "1"]), Column::Text);
        assert_eq!(of(&["9223372036854775807"]), Column::Int { small: false });
        assert_eq!(of(&["9223372036854775807", "0.5"]), Column::Text, "digits would be lost");
        assert_eq!(of(&["0.5", "", "9223372036854775807"]), Column::Text);
        assert_eq!(of(&["9007199254740992", "0.5"]), Column::Float);
    }
}
