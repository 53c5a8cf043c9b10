//! `files.*`: files and folders to rows, and rows to files.
//!
//! Rows go into the store one by one as they are read; what is held is the file's bytes and one
//! digest a row. A mistake in a file is told with its line and column, both counted from 1 and
//! columns in characters.

mod cells;
mod csv;
mod folder;
mod json;
mod parquet;
mod text;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool, read_value};
use crate::lang::{LargeInteger, Table, Value};
use crate::store::{Digest, Objects};

use super::misread::in_words;

type Work = fn(&Args, &Context) -> Result<Value, CallError>;

/// An operator over files.
struct FileOperator {
    name: &'static str,
    work: Work,
}

/// Every operator over files.
pub fn all() -> Vec<Arc<dyn Operator>> {
    let listed: [(&'static str, Work); 12] = [
        ("files.list", folder::list),
        ("files.read_csv", csv::read),
        ("files.read_json", json::read),
        ("files.read_jsonl", json::read_lines),
        ("files.read_lines", text::read_lines),
        ("files.read_parquet", parquet::read),
        ("files.read_text", text::read),
        ("files.csv", csv::write),
        ("files.json", json::write),
        ("files.jsonl", json::write_lines),
        ("files.parquet", parquet::write),
        ("files.text", text::write),
    ];
    let operator = |(name, work)| Arc::new(FileOperator { name, work }) as Arc<dyn Operator>;
    listed.map(operator).into()
}

impl Operator for FileOperator {
    fn about(&self) -> About {
        About { name: self.name, version: 1, kind: Kind::Pure, pool: Pool::Cpu }
    }

    /// What a file is called is for messages only: another name reads nothing anew.
    fn reads(&self, args: &Args, _: &dyn Objects) -> Result<Args, CallError> {
        let mut narrow = args.clone();
        if let Some(Value::File { name, .. }) = narrow.0.get_mut("from") {
            name.clear();
        }
        Ok(narrow)
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(async move {
            let (work, args, context) = (self.work, args.clone(), context.clone());
            match tokio::task::spawn_blocking(move || work(&args, &context)).await {
                Ok(done) => done,
                Err(err) => {
                    Err(CallError::Infrastructure(format!("`{}` broke off: {err}", self.name)))
                }
            }
        })
    }
}

/// A file that is read.
struct Source {
    name: String,
    bytes: Arc<[u8]>,
}

impl Source {
    fn open(args: &Args, objects: &dyn Objects) -> Result<Source, CallError> {
        match args.get("from")? {
            Value::File { digest, name } => {
                Ok(Source { name: name.clone(), bytes: objects.get(digest)? })
            }
            _ => Err(CallError::row("argument `from` is not a file")),
        }
    }

    /// The text, without the mark that some programs put in front of it.
    fn text(&self) -> Result<&str, CallError> {
        let text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(err) => {
                let good = String::from_utf8_lossy(&self.bytes[..err.valid_up_to()]);
                let line = good.matches('\n').count() + 1;
                let start = good.rfind('\n').map_or(0, |at| at + 1);
                let column = good[start..].trim_start_matches('\u{feff}').chars().count() + 1;
                let byte = self.bytes[err.valid_up_to()];
                let why = format!("the byte 0x{byte:02X} is not UTF-8 text; save it as UTF-8");
                return Err(self.wrong(line, column, &why));
            }
        };
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// A mistake in it.
    fn wrong(&self, line: usize, column: usize, why: &str) -> CallError {
        CallError::row(format!("{}, line {line}, column {column}: {why}", self.name))
    }

    /// An integer of a JSON text that no value can hold. `first` is the number of the text's first
    /// line.
    fn too_large(&self, text: &str, first: usize, large: &LargeInteger) -> CallError {
        let before = &text[..large.offset];
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.wrong(first + before.matches('\n').count(), column, &large.to_string())
    }

    /// A mistake that a reader of JSON found. `first` is the number of the text's first line.
    fn wrong_json(&self, text: &str, first: usize, err: &serde_json::Error) -> CallError {
        let line = text.split('\n').nth(err.line().saturating_sub(1)).unwrap_or_default();
        // Theirs counts bytes.
        let before = line.char_indices().take_while(|(at, _)| at + 1 < err.column()).count();
        let why = in_words(err);
        self.wrong(first + err.line().saturating_sub(1), before + 1, &why)
    }
}

/// Rows on their way into the store.
struct Made<'a> {
    context: &'a Context,
    rows: Vec<Digest>,
}

impl<'a> Made<'a> {
    fn new(context: &'a Context) -> Made<'a> {
        Made { context, rows: Vec::new() }
    }

    fn add(&mut self, row: &Value) -> Result<(), CallError> {
        if self.rows.len().is_multiple_of(1024) && self.context.cancel.is_cancelled() {
            return Err(CallError::Cancelled);
        }
        self.rows.push(self.context.objects.put(&row.encode())?);
        Ok(())
    }

    fn table(self) -> Value {
        Value::Table(Arc::new(Table { rows: self.rows }))
    }
}

/// Calls `each` for every row of the argument `rows`, read one by one.
fn each_row(
    args: &Args,
    context: &Context,
    mut each: impl FnMut(usize, &Value) -> Result<(), CallError>,
) -> Result<(), CallError> {
    match args.get("rows")? {
        Value::Table(table) => {
            for (place, row) in table.rows.iter().enumerate() {
                if place.is_multiple_of(1024) && context.cancel.is_cancelled() {
                    return Err(CallError::Cancelled);
                }
                each(place, &read_value(&*context.objects, row)?)?;
            }
            Ok(())
        }
        Value::List(items) => {
            items.iter().enumerate().try_for_each(|(place, row)| each(place, row))
        }
        _ => Err(CallError::row("argument `rows` is not a table")),
    }
}

/// Keeps the bytes of a new file, named as the argument `name` says.
fn file(args: &Args, context: &Context, bytes: &[u8]) -> Result<Value, CallError> {
    let name = args.str("name")?.to_string();
    if name.is_empty() || name.contains('/') {
        return Err(CallError::row(format!("`{name}` is not a name for a file")));
    }
    Ok(Value::File { digest: context.objects.put(bytes)?, name })
}
