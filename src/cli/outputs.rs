//! `output … as "path"`: results written where a person wants them.
//!
//! What stands there already and is right is left alone; what was deleted or edited is put back
//! from the store without computing anything.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use crate::engine::{Ended, read_value};
use crate::lang::{Table, Value};
use crate::plan::Plan;
use crate::store::{Digest, Entry, Objects, Tree};

use super::Failure;
use crate::project::Project;

/// Writes the outputs that have a path and a result; says in a line each what was written.
pub(super) fn write(
    project: &Project,
    plan: &Plan,
    ended: &Ended,
    store: &dyn Objects,
) -> Result<Vec<String>, Failure> {
    // Each waits for the disk more than it computes.
    let written: Vec<Option<String>> = plan
        .pipeline
        .outputs
        .par_iter()
        .map(|output| match (&output.path, ended.result(&output.stage)) {
            (Some(path), Some(digest)) => {
                let changed = one(project, &output.stage, path, &digest, store)?;
                Ok(changed.then(|| format!("{} written to {path}", output.stage)))
            }
            _ => Ok(None),
        })
        .collect::<Result<_, Failure>>()?;
    Ok(written.into_iter().flatten().collect())
}

/// Writes one output; whether there was anything to write.
fn one(
    project: &Project,
    stage: &str,
    path: &str,
    digest: &Digest,
    store: &dyn Objects,
) -> Result<bool, Failure> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(Failure::input(format!(
            "output `{stage}`: `{path}` must be a path inside the project, without `..`"
        )));
    }
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
fn content<'a>(value: &'a Value, store: &dyn Objects) -> Result<Content<'a>, Failure> {
    Ok(match value {
        Value::Dir(digest) => Content::Folder(store.tree(digest)?),
        Value::File { digest, .. } => Content::Bytes(store.get(digest)?.to_vec()),
        Value::Table(table) => Content::Rows(table),
        other => match other.get("checkpoint") {
            Some(Value::Dir(digest)) => Content::Folder(store.tree(digest)?),
            _ => {
                let mut bytes = serde_json::to_vec_pretty(&other.to_json())
                    .map_err(|err| Failure::work(err.to_string()))?;
                bytes.push(b'\n');
                Content::Bytes(bytes)
            }
        },
    })
}

/// How a row's bytes name a table.
const TABLE: &[u8] = b"\"$table\":";

/// A value with the rows of the tables in it, which a reader of the file could not look up.
fn whole(value: Value, store: &dyn Objects) -> Result<Value, Failure> {
    Ok(match value {
        Value::Table(table) => {
            let row = |row| whole(read_value(store, row)?, store);
            Value::List(table.rows.iter().map(row).collect::<Result<_, Failure>>()?)
        }
        Value::List(items) => Value::List(
            items.into_iter().map(|item| whole(item, store)).collect::<Result<_, Failure>>()?,
        ),
        Value::Record(fields) => {
            let field = |(name, of)| Ok((name, whole(of, store)?));
            Value::Record(fields.into_iter().map(field).collect::<Result<_, Failure>>()?)
        }
        other => other,
    })
}

/// The line of a row.
fn line(row: &Digest, store: &dyn Objects) -> Result<Vec<u8>, Failure> {
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
fn rows(target: &Path, table: &Table, store: &dyn Objects) -> Result<bool, Failure> {
    if have_rows(target, table, store)? {
        return Ok(false);
    }
    replace_by(target, |out| {
        for row in &table.rows {
            out.write_all(&line(row, store)?).map_err(refused(target))?;
        }
        Ok(())
    })?;
    Ok(true)
}

/// Whether a file holds these rows and nothing else.
fn have_rows(target: &Path, table: &Table, store: &dyn Objects) -> Result<bool, Failure> {
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

fn refused<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> Failure + 'a {
    move |err| Failure::work(format!("writing {}: {err}", path.display()))
}

fn same(path: &Path, digest: &Digest) -> bool {
    std::fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
}

fn file(target: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    if same(target, &Digest::of(bytes)) {
        return Ok(false);
    }
    replace(target, bytes)?;
    Ok(true)
}

fn replace(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace_by(target, |out| out.write_all(bytes).map_err(refused(target)))
}

/// Writes a file under another name first, so that nobody ever reads half of it.
fn replace_by(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let above = target.parent().unwrap_or(Path::new("."));
    let readable: Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let temporary = match tempfile::NamedTempFile::new_in(above) {
        // Mostly the folder is there.
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(above).and_then(|()| tempfile::NamedTempFile::new_in(above))
        }
        made => made,
    };
    let temporary = temporary.map_err(refused(above))?;
    let mut out = BufWriter::new(temporary.as_file());
    write(&mut out)?;
    out.flush().map_err(refused(target))?;
    drop(out);
    // Whatever the mask says: outputs may be read by everybody.
    temporary.as_file().set_permissions(readable).map_err(refused(target))?;
    temporary.persist(target).map_err(|err| refused(target)(err.error))?;
    Ok(())
}

fn folder(target: &Path, tree: &Tree, store: &dyn Objects) -> Result<bool, Failure> {
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
                    std::fs::create_dir_all(above).map_err(refused(above))?;
                }
                std::os::unix::fs::symlink(to, &place).map_err(refused(&place))?;
                changed = true;
            }
            Entry::EmptyDir if !place.is_dir() => {
                std::fs::create_dir_all(&place).map_err(refused(&place))?;
                changed = true;
            }
            _ => {}
        }
    }
    Ok(changed)
}
