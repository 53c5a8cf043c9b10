//! `output … as "path"`: results written where a person wants them.
//!
//! What stands there already and is right is left alone; what was deleted or edited is put back
//! from the store without computing anything. An output that cannot be written keeps none of the
//! others: its result stays in the store, and the next run tries again.

mod places;

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::engine::{CallError, Ended, read_value};
use crate::lang::{Table, Value};
use crate::plan::Plan;
use crate::store::{Digest, Entry, Objects, StoreError, Tree};

use super::Failure;
use crate::project::Project;

pub(super) use places::{misplaced, refuse};

/// What writing the outputs came to.
pub(super) struct Written {
    /// A line for each that was written; what was there already is not told.
    pub(super) lines: Vec<String>,
    /// Those that could not be written, in the order of the program.
    pub(super) failures: Vec<Unwritten>,
}

/// An output that could not be written.
pub(super) struct Unwritten {
    /// The stage whose result it is.
    pub(super) stage: String,
    /// Where it belongs.
    pub(super) path: String,
    hurdle: Hurdle,
}

impl Unwritten {
    /// What failed, in a sentence.
    pub(super) fn message(&self) -> String {
        let Unwritten { stage, path, hurdle } = self;
        format!("output `{stage}` cannot be written to {path}: {}", hurdle.why)
    }

    /// The same with what to do about it.
    pub(super) fn told(&self) -> String {
        match self.hurdle.kept {
            true => {
                format!("{}\n  help: the result is kept, and another run writes it", self.message())
            }
            false => self.message(),
        }
    }
}

/// What keeps an output from being written.
struct Hurdle {
    why: String,
    /// Whether the result itself can be had, so that it is only its place that is wrong.
    kept: bool,
}

impl Hurdle {
    fn place(why: impl Into<String>) -> Hurdle {
        Hurdle { why: why.into(), kept: true }
    }
}

impl From<std::io::Error> for Hurdle {
    fn from(err: std::io::Error) -> Hurdle {
        // Without a number it was wrapped, and may name a temporary file.
        Hurdle::place(match err.raw_os_error() {
            Some(_) => err.to_string(),
            None => err.kind().to_string(),
        })
    }
}

impl From<StoreError> for Hurdle {
    fn from(err: StoreError) -> Hurdle {
        Hurdle { why: Failure::from(err).message, kept: false }
    }
}

impl From<CallError> for Hurdle {
    fn from(err: CallError) -> Hurdle {
        Hurdle { why: err.to_string(), kept: false }
    }
}

/// Writes the outputs that have a path and a result.
pub(super) fn write(project: &Project, plan: &Plan, ended: &Ended, store: &dyn Objects) -> Written {
    // Each waits for the disk more than it computes.
    let done: Vec<Option<Result<String, Unwritten>>> = plan
        .pipeline
        .outputs
        .par_iter()
        .map(|output| {
            let (path, digest) = (output.path.as_ref()?, ended.result(&output.stage)?);
            let stage = &output.stage;
            match one(project, path, &digest, store) {
                Ok(true) => Some(Ok(format!("{stage} written to {path}"))),
                Ok(false) => None,
                Err(hurdle) => {
                    let (stage, path) = (stage.clone(), path.clone());
                    Some(Err(Unwritten { stage, path, hurdle }))
                }
            }
        })
        .collect();
    let mut written = Written { lines: Vec::new(), failures: Vec::new() };
    for one in done.into_iter().flatten() {
        match one {
            Ok(line) => written.lines.push(line),
            Err(unwritten) => written.failures.push(unwritten),
        }
    }
    written
}

/// Writes one output; whether there was anything to write.
fn one(
    project: &Project,
    path: &str,
    digest: &Digest,
    store: &dyn Objects,
) -> Result<bool, Hurdle> {
    // Something may have put a link there since the run began.
    places::landing(project, path).map_err(Hurdle::place)?;
    let target = project.root.join(path);
    let value = read_value(store, digest)?;
    match content(&value, store)? {
        Content::Folder(tree) => folder(&target, &tree, store),
        Content::Rows(table) => rows(&target, table, store),
        Content::Bytes(bytes) => file(&target, &bytes),
    }
}

enum Content<'a> {
    Folder(Tree),
    Rows(&'a Table),
    Bytes(Vec<u8>),
}

/// A directory (a checkpoint is one) becomes a folder, a file itself, a table JSON lines, and any
/// other value indented JSON.
fn content<'a>(value: &'a Value, store: &dyn Objects) -> Result<Content<'a>, Hurdle> {
    Ok(match value {
        Value::Dir(digest) => Content::Folder(store.tree(digest)?),
        Value::File { digest, .. } => Content::Bytes(store.get(digest)?.to_vec()),
        Value::Table(table) => Content::Rows(table),
        other => match other.get("checkpoint") {
            Some(Value::Dir(digest)) => Content::Folder(store.tree(digest)?),
            _ => {
                let mut bytes = serde_json::to_vec_pretty(&other.to_json())
                    .map_err(|err| Hurdle { why: err.to_string(), kept: false })?;
                bytes.push(b'\n');
                Content::Bytes(bytes)
            }
        },
    })
}

/// How a row's bytes name a table.
const TABLE: &[u8] = b"\"$table\":";

/// A value with the rows of the tables in it, which a reader of the file could not look up.
fn whole(value: Value, store: &dyn Objects) -> Result<Value, Hurdle> {
    Ok(match value {
        Value::Table(table) => {
            let row = |row| whole(read_value(store, row)?, store);
            Value::List(table.rows.iter().map(row).collect::<Result<_, Hurdle>>()?)
        }
        Value::List(items) => Value::List(
            items.into_iter().map(|item| whole(item, store)).collect::<Result<_, Hurdle>>()?,
        ),
        Value::Record(fields) => {
            let field = |(name, of)| Ok((name, whole(of, store)?));
            Value::Record(fields.into_iter().map(field).collect::<Result<_, Hurdle>>()?)
        }
        other => other,
    })
}

/// The line of a row.
fn line(row: &Digest, store: &dyn Objects) -> Result<Vec<u8>, Hurdle> {
    let row = store.get(row)?;
    // A table inside of a row (as `group` gives) is named there by its digest.
    let mut line = if row.windows(TABLE.len()).any(|part| part == TABLE) {
        whole(read_value(store, &Digest::of(&row))?, store)?.encode()
    } else {
        row.to_vec()
    };
    line.push(b'\n');
    Ok(line)
}

/// Writes a table's rows, never all of them in memory. Whether there was anything to write.
fn rows(target: &Path, table: &Table, store: &dyn Objects) -> Result<bool, Hurdle> {
    if have_rows(target, table, store)? {
        return Ok(false);
    }
    replace_by(target, |out| {
        for row in &table.rows {
            out.write_all(&line(row, store)?)?;
        }
        Ok(())
    })?;
    Ok(true)
}

/// Whether a file holds these rows and nothing else.
fn have_rows(target: &Path, table: &Table, store: &dyn Objects) -> Result<bool, Hurdle> {
    let Ok(file) = File::open(target) else {
        return Ok(false);
    };
    let mut there = BufReader::new(file);
    let mut found = Vec::new();
    for row in &table.rows {
        let line = line(row, store)?;
        found.resize(line.len(), 0);
        if there.read_exact(&mut found).is_err() || found != line {
            return Ok(false);
        }
    }
    Ok(there.fill_buf().is_ok_and(<[u8]>::is_empty))
}

fn same(path: &Path, digest: &Digest) -> bool {
    std::fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
}

fn file(target: &Path, bytes: &[u8]) -> Result<bool, Hurdle> {
    if same(target, &Digest::of(bytes)) {
        return Ok(false);
    }
    replace(target, bytes)?;
    Ok(true)
}

fn replace(target: &Path, bytes: &[u8]) -> Result<(), Hurdle> {
    replace_by(target, |out| Ok(out.write_all(bytes)?))
}

/// Writes a file under another name first, so that nobody ever reads half of it.
fn replace_by(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Hurdle>,
) -> Result<(), Hurdle> {
    let above = target.parent().unwrap_or(Path::new("."));
    let readable: Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let temporary = match tempfile::NamedTempFile::new_in(above) {
        // Mostly the folder is there.
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(above).and_then(|()| tempfile::NamedTempFile::new_in(above))
        }
        made => made,
    };
    let temporary = temporary?;
    let mut out = BufWriter::new(temporary.as_file());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    // Whatever the mask says: outputs may be read by everybody.
    temporary.as_file().set_permissions(readable)?;
    temporary.persist(target).map_err(|err| err.error)?;
    Ok(())
}

fn folder(target: &Path, tree: &Tree, store: &dyn Objects) -> Result<bool, Hurdle> {
    let mut changed = false;
    for (path, entry) in &tree.entries {
        let place: PathBuf = target.join(path);
        match entry {
            Entry::File { digest, .. } if !same(&place, digest) => {
                replace(&place, &store.get(digest)?)?;
                changed = true;
            }
            Entry::Link(to)
                if std::fs::read_link(&place).ok().as_deref() != Some(Path::new(to)) =>
            {
                let _ = std::fs::remove_file(&place);
                if let Some(above) = place.parent() {
                    std::fs::create_dir_all(above)?;
                }
                std::os::unix::fs::symlink(to, &place)?;
                changed = true;
            }
            Entry::EmptyDir if !place.is_dir() => {
                std::fs::create_dir_all(&place)?;
                changed = true;
            }
            _ => {}
        }
    }
    Ok(changed)
}
