//! `claw fmt`: every file in the one style.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lang::{self, Diagnostic, FileId, SourceMap, Span};
use crate::project::{Project, claw_files};

use super::{Exit, Failure, arguments, line_diff, load, print};

/// What became of one file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was right.
    Right,
    /// It was not.
    Changed,
    /// It cannot be formatted; that was told.
    Wrong,
}

/// Formats the files that were named, or every file of the project.
pub(super) fn fmt(args: &arguments::Fmt) -> Result<Exit, Failure> {
    if args.stdin || args.paths == [Path::new("-")] {
        return stdin(args.check);
    }
    let files = files(&args.paths)?;
    let mut count = [0; 3];
    for file in &files {
        let ended = match one(file, args.check) {
            Ok(ended) => ended,
            // The other files are formatted all the same.
            Err(failure) => {
                print::error(&failure.message);
                Ended::Wrong
            }
        };
        count[ended as usize] += 1;
    }
    let [right, changed, wrong] = count;
    let done = if args.check { "to format" } else { "formatted" };
    let mut said = vec![format!("{} {done}", counted(changed)), format!("{right} right already")];
    if wrong > 0 {
        said.push(format!("{wrong} left as {}", if wrong == 1 { "it is" } else { "they are" }));
    }
    print::notice(&said.join(", "));
    Ok(match (wrong, changed) {
        (0, 1..) if args.check => Exit::Failed,
        (0, _) => Exit::Done,
        _ => Exit::BadInput,
    })
}

fn counted(files: usize) -> String {
    if files == 1 { "1 file".to_string() } else { format!("{files} files") }
}

/// Formats one file, or with `check` shows what formatting would change.
fn one(file: &Path, check: bool) -> Result<Ended, Failure> {
    let bytes = std::fs::read(file).map_err(|err| refused("reading", file, &err))?;
    let shown = file.display().to_string();
    let Some((text, formatted)) = formatted(&shown, bytes) else {
        return Ok(Ended::Wrong);
    };
    if formatted == text {
        return Ok(Ended::Right);
    }
    if check {
        print::out(&line_diff::unified(&shown, &text, &formatted));
    } else {
        replace(file, formatted.as_bytes())?;
        print::line(&shown);
    }
    Ok(Ended::Changed)
}

/// Formats standard input; what does not parse is not repeated, so that an editor keeps its text.
fn stdin(check: bool) -> Result<Exit, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|err| Failure::work(format!("reading standard input: {err}")))?;
    let Some((text, formatted)) = formatted("<stdin>", bytes) else {
        return Ok(Exit::BadInput);
    };
    if !check {
        print::out(&formatted);
    } else if formatted != text {
        print::out(&line_diff::unified("<stdin>", &text, &formatted));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// A text and what it is in the one style; `None` when it does not parse, which is told.
fn formatted(shown: &str, bytes: Vec<u8>) -> Option<(String, String)> {
    let (text, found) = match String::from_utf8(bytes) {
        Ok(text) => match lang::format(&text) {
            Ok(formatted) => return Some((text, formatted)),
            Err(found) => (text, found),
        },
        Err(err) => {
            let start = err.utf8_error().valid_up_to() as u32;
            let span = Span { file: FileId(0), start, end: start + 3 };
            let found = Diagnostic::error("E0002", format!("{shown} is not UTF-8 text"))
                .at(span, format!("byte {start}"))
                .help("save the file as UTF-8");
            (String::from_utf8_lossy(err.as_bytes()).into_owned(), vec![found])
        }
    };
    let mut sources = SourceMap::default();
    sources.add(shown, Arc::from(text));
    load::tell(&found, &sources);
    None
}

fn refused(doing: &str, path: &Path, err: &std::io::Error) -> Failure {
    Failure::input(format!("{doing} {}: {err}", path.display()))
}

/// Writes a file under another name first, so that nobody ever reads half of it. A link stays a
/// link: the file that it leads to is replaced. Permissions stay.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let refused = |err: std::io::Error| refused("writing", file, &err);
    let target = file.canonicalize().map_err(refused)?;
    let permissions = std::fs::metadata(&target).map_err(refused)?.permissions();
    let above = target.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(above).map_err(refused)?;
    temporary.write_all(bytes).map_err(refused)?;
    temporary.as_file().set_permissions(permissions).map_err(refused)?;
    temporary.as_file().sync_all().map_err(refused)?;
    temporary.persist(&target).map_err(|err| refused(err.error))?;
    Ok(())
}

/// The files to format, in order and each once. A file that is named is taken whatever it is called.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    if paths.is_empty() {
        let here = std::env::current_dir()
            .map_err(|err| Failure::work(format!("reading the current folder: {err}")))?;
        let root = Project::around(&here)?.root;
        // Paths are shown as they are typed: from here where that is possible.
        let inside = here.canonicalize().is_ok_and(|here| here == root);
        files = claw_files(if inside { Path::new("") } else { &root })?;
    }
    for path in paths {
        if path.is_dir() {
            files.extend(claw_files(path)?);
        } else if path.exists() {
            files.push(path.clone());
        } else if path == Path::new("-") {
            return Err(Failure::input("`-` stands alone: it is standard input"));
        } else {
            return Err(Failure::input(format!("{} does not exist", path.display())));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    Ok(files)
}
