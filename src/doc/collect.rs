//! Which modules a site is about: those of the project (or those that were asked for) and those of
//! the standard library.

use std::path::PathBuf;
use std::sync::Arc;

use crate::lang::{Outline, Sources, load, outline};
use crate::project::{Project, claw_files};
use crate::store::MemoryObjects;

use super::DocError;

/// Files above this size are not source text; the language refuses them too.
const MAX_FILE: usize = 8 << 20;

/// The modules of a site.
#[derive(Debug)]
pub struct Modules {
    /// Their outlines: the project's in the order of their paths, then the library's.
    pub outlines: Vec<Outline>,
    /// Files that could not be outlined, and why, for telling.
    pub skipped: Vec<(String, String)>,
}

/// The modules at `paths` (files or folders in the project; all of it when there is none) and those
/// of the standard library.
///
/// # Errors
/// When a path is not there, lies outside the project or cannot be listed.
pub fn collect(project: &Project, paths: &[PathBuf]) -> Result<Modules, DocError> {
    let sources = project.sources(Arc::new(MemoryObjects::default()));
    let library = project.settings.library.std.as_ref();
    let library = library.and_then(|folder| project.root.join(folder).canonicalize().ok());
    let everything = [project.root.clone()];
    let mut files: Vec<String> = Vec::new();
    for path in if paths.is_empty() { &everything[..] } else { paths } {
        let path = path.canonicalize().map_err(|_| DocError::Missing(path.clone()))?;
        if path.strip_prefix(&project.root).is_err() {
            return Err(DocError::Outside(path));
        }
        let found = if path.is_dir() { claw_files(&path)? } else { vec![path] };
        // The library is asked for by its own name, `std/…`.
        let own = |file: &&PathBuf| !library.as_ref().is_some_and(|std| file.starts_with(std));
        files.extend(found.iter().filter(own).filter_map(|file| {
            let inner = file.strip_prefix(&project.root).ok()?;
            Some(inner.to_str()?.replace('\\', "/"))
        }));
    }
    files.sort();
    files.dedup();
    files.extend(
        sources
            .names("std")
            .into_iter()
            .filter(|name| name.ends_with(".claw"))
            .map(|name| format!("std/{name}")),
    );
    let mut modules = Modules { outlines: Vec::new(), skipped: Vec::new() };
    for file in files {
        match read(&file, &sources) {
            Ok(outline) => modules.outlines.push(outline),
            Err(why) => modules.skipped.push((file, why)),
        }
    }
    Ok(modules)
}

fn read(file: &str, sources: &dyn Sources) -> Result<Outline, String> {
    let bytes = sources.read(file).map_err(|err| err.to_string())?;
    if bytes.len() > MAX_FILE {
        return Err("it is larger than 8 MiB".to_string());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8 text".to_string())?;
    let mut outline = outline(file, text);
    // Stages say their types only once they are checked.
    let runs = outline.items.iter().any(|item| item.kind == crate::lang::DeclaredKind::Stage);
    if runs && let Some(program) = load(file, sources).program {
        outline.infer(&program);
    }
    Ok(outline)
}
