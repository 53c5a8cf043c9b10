//! The library's files on disk, so that an editor can open them.
//!
//! The library is built into the program. When somebody goes to a definition in it, the file is
//! written, read-only, below the project's own `.claw/library/<version>/std/`: there the editor
//! finds the same project around it, and so the same server. Where that cannot be written it goes
//! into the folder for temporary files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lang::Sources;
use crate::project::Project;
use crate::store::MemoryObjects;

/// The folder of this version's library in a project's store.
fn in_store(project: &Project) -> PathBuf {
    project.store().join("library").join(env!("CARGO_PKG_VERSION"))
}

fn in_temporary() -> PathBuf {
    std::env::temp_dir().join(format!("claw-library-{}", env!("CARGO_PKG_VERSION")))
}

/// The file to open for a path such as `std/persona.claw`; it is written if it is not there.
pub(super) fn open(project: &Project, path: &str) -> Option<PathBuf> {
    let rest = path.strip_prefix("std/")?;
    if let Some(std) = &project.settings.library.std {
        return Some(project.root.join(std).join(rest));
    }
    let bytes = project.sources(Arc::new(MemoryObjects::default())).read(path).ok()?;
    [in_store(project), in_temporary()].iter().find_map(|folder| {
        let file = folder.join(path);
        write(&file, &bytes).ok().map(|()| file)
    })
}

fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Another server may be writing the same: each writes its own and moves it into place.
    let temporary = file.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&temporary, bytes)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o444))?;
    std::fs::rename(&temporary, file)
}

/// What the language calls a file of the library that was opened.
pub(super) fn name_of(project: &Project, file: &Path) -> Option<String> {
    let slashed = |path: &Path| path.to_string_lossy().replace('\\', "/");
    if let Some(std) = &project.settings.library.std {
        let std = project.root.join(std);
        let std = std.canonicalize().unwrap_or(std);
        return file.strip_prefix(std).ok().map(|rest| format!("std/{}", slashed(rest)));
    }
    [in_store(project), in_temporary()]
        .iter()
        .find_map(|folder| file.strip_prefix(folder).ok().map(slashed))
        .filter(|name| name.starts_with("std/"))
}

/// Whether the library is the one that is built in, which nobody edits.
pub(super) fn is_built_in(project: &Project) -> bool {
    project.settings.library.std.is_none()
}
