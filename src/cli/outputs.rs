//! `output … as "path"`: results written where a person wants them.
//!
//! What stands there already and is right is left alone; what was deleted or edited is put back
//! from the store without computing anything. An output that cannot be written keeps none of the
//! others: its result stays in the store, and the next run tries again. What an earlier result left
//! and the new one lacks goes, as far as nobody else touched it (`record`). What stood there before
//! claw ever wrote there is kept (`before`).

mod before;
mod folder;
mod places;
mod record;

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rayon::prelude::*;

use crate::engine::{CallError, Ended, read_value};
use crate::lang::{Table, Value};
use crate::plan::Plan;
use crate::store::{Digest, Objects, StoreError, Tree};

use super::Failure;
use crate::project::{Links, Place, Project};

use folder::folder;
pub(super) use places::{misplaced, refuse};
use record::{Piece, Record, Records};

/// The mode of what is written: outputs may be read by everybody, whatever the mask says.
const READABLE: u32 = 0o644;

/// What writing the outputs came to.
pub(super) struct Written {
    /// A line for each that was written; what was there already is not told.
    pub(super) lines: Vec<String>,
    /// What stayed of earlier results, and what was there before them, a line each.
    pub(super) notes: Vec<String>,
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

    /// The same of a file inside of a folder.
    fn inside(self, path: &str) -> Hurdle {
        Hurdle { why: format!("{path}: {}", self.why), ..self }
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
    let (links, records) = (Links::default(), Records::of(project));
    let writer = Writer { project, links: &links, records: &records, store };
    // Each waits for the disk more than it computes.
    let done: Vec<_> = plan
        .pipeline
        .outputs
        .par_iter()
        .filter_map(|output| {
            let (path, digest) = (output.path.as_ref()?, ended.result(&output.stage)?);
            Some((&output.stage, path, writer.write(path, &digest)))
        })
        .collect();
    let mut written = Written { lines: Vec::new(), notes: Vec::new(), failures: Vec::new() };
    for (stage, path, done) in done {
        match done {
            Ok(done) => {
                if done.changed {
                    written.lines.push(format!("{stage} written to {path}"));
                }
                written.notes.extend(done.kept);
                written.notes.extend(done.stays.iter().map(|inner| {
                    format!("{path}/{inner} was changed since it was written, so it stays")
                }));
            }
            Err(hurdle) => {
                let (stage, path) = (stage.clone(), path.clone());
                written.failures.push(Unwritten { stage, path, hurdle });
            }
        }
    }
    written
}

/// What writing one output came to.
struct Done {
    /// Whether there was anything to write.
    changed: bool,
    /// What is left of an earlier result, since somebody changed it.
    stays: Vec<String>,
    /// Where what stood there before is kept, a sentence each.
    kept: Vec<String>,
}

/// What outputs are written with.
struct Writer<'a> {
    project: &'a Project,
    links: &'a Links,
    records: &'a Records,
    store: &'a dyn Objects,
}

impl Writer<'_> {
    /// Writes one output.
    fn write(&self, path: &str, digest: &Digest) -> Result<Done, Hurdle> {
        // Something may have put a link there since the run began.
        let place = places::landing(self.project, path, self.links).map_err(Hurdle::place)?;
        let target = self.project.root.join(path);
        let store = self.store;
        let value = read_value(store, digest)?;
        let mut record = self.records.record(path);
        let mut kept = Vec::new();
        let (changed, digest) = match content(&value, store)? {
            Content::Folder(tree) => {
                let pieces = record::of_tree(&tree);
                let (gone, stays) = record.make_way(&target, &pieces);
                let kept = self.keep_before(path, &target, &record, &pieces)?;
                // Should this be cut short, the next run knows all that may be there.
                record.keep(record.pieces.clone().into_iter().chain(pieces.clone()).collect());
                let changed = folder(&target, &tree, store)? || gone;
                record.keep(pieces);
                return Ok(Done { changed, stays, kept });
            }
            Content::Rows(table) => {
                way_for_a_file(&record, &target, &place)?;
                match have_rows(&target, table, store)? {
                    Some(digest) => (false, digest),
                    None => {
                        kept = self.keep_before(
                            path,
                            &target,
                            &record,
                            &record::of_file(Digest::of(b"")),
                        )?;
                        (true, rows(&target, table, store)?)
                    }
                }
            }
            Content::Bytes(bytes) => {
                way_for_a_file(&record, &target, &place)?;
                let digest = Digest::of(&bytes);
                let there = is_there(&target, &place, &bytes);
                if !there {
                    kept = self.keep_before(path, &target, &record, &record::of_file(digest))?;
                    replace(&target, READABLE, &bytes)?;
                }
                (!there, digest)
            }
        };
        record.keep(record::of_file(digest));
        Ok(Done { changed, stays: Vec::new(), kept })
    }

    /// Keeps what will be written over and was not written by claw; says where, a sentence each.
    fn keep_before(
        &self,
        path: &str,
        target: &Path,
        record: &Record<'_>,
        next: &BTreeMap<String, Piece>,
    ) -> Result<Vec<String>, Hurdle> {
        let theirs = next.iter().filter(|(inner, piece)| {
            let place = record::join(target, inner);
            !record.pieces.contains_key(*inner) && before::is_there(&place) && !piece.is_at(&place)
        });
        let whole = |inner: &String| match inner.is_empty() {
            true => path.to_string(),
            false => format!("{path}/{inner}"),
        };
        theirs.map(|(inner, _)| before::keep(self.project, &whole(inner))).collect()
    }
}

/// Takes away the folder that an earlier result was, where a file is to be written.
fn way_for_a_file(record: &Record<'_>, target: &Path, place: &Place) -> Result<(), Hurdle> {
    let is_folder = place.there.as_ref().is_some_and(|meta| meta.is_dir());
    if !is_folder || target.is_symlink() {
        return Ok(());
    }
    record.make_way(target, &record::of_file(Digest::of(b"")));
    // An empty folder is nobody's work.
    std::fs::remove_dir(target).map_err(|_| {
        Hurdle::place("a folder stands there that holds what claw did not write; move it away")
    })
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

/// Writes a table's rows, never all of them in memory. The digest of the file.
fn rows(target: &Path, table: &Table, store: &dyn Objects) -> Result<Digest, Hurdle> {
    let mut hasher = blake3::Hasher::new();
    replace_by(target, READABLE, |out| {
        for row in &table.rows {
            let line = line(row, store)?;
            hasher.update(&line);
            out.write_all(&line)?;
        }
        Ok(())
    })?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// The digest of a file that holds these rows and nothing else; `None` when it holds others.
fn have_rows(target: &Path, table: &Table, store: &dyn Objects) -> Result<Option<Digest>, Hurdle> {
    // Opening anything else may never end.
    let Some(file) = target.is_file().then(|| File::open(target).ok()).flatten() else {
        return Ok(None);
    };
    let mut there = BufReader::new(file);
    let mut found = Vec::new();
    let mut hasher = blake3::Hasher::new();
    for row in &table.rows {
        let line = line(row, store)?;
        found.resize(line.len(), 0);
        if there.read_exact(&mut found).is_err() || found != line {
            return Ok(None);
        }
        hasher.update(&line);
    }
    let ends = there.fill_buf().is_ok_and(<[u8]>::is_empty);
    Ok(ends.then(|| Digest(*hasher.finalize().as_bytes())))
}

/// Whether a file with these bytes stands there.
fn is_there(target: &Path, place: &Place, bytes: &[u8]) -> bool {
    // Opening anything else may never end.
    let is_file = place.there.as_ref().is_some_and(|meta| meta.is_file());
    is_file && std::fs::read(target).is_ok_and(|there| there == bytes)
}

fn replace(target: &Path, mode: u32, bytes: &[u8]) -> Result<(), Hurdle> {
    replace_by(target, mode, |out| Ok(out.write_all(bytes)?))
}

/// Writes a file under another name first, so that nobody ever reads half of it.
fn replace_by(
    target: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Hurdle>,
) -> Result<(), Hurdle> {
    let above = target.parent().unwrap_or(Path::new("."));
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
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.persist(target).map_err(|err| err.error)?;
    Ok(())
}
