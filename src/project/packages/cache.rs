//! Fetched packages, kept for every project of a user in folders named by their digests.

use std::path::PathBuf;

use crate::store::Digest;

use super::content::Content;
use super::error::PackageError;
use super::writing;

/// The folder: `$CLAW_CACHE`, else `$XDG_CACHE_HOME/claw/packages`, else `~/.cache/claw/packages`.
fn folder() -> Result<PathBuf, PackageError> {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CLAW_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("claw/packages")))
        .or_else(|| Some(set("HOME")?.join(".cache/claw/packages")))
        .ok_or_else(|| {
            PackageError::absent("there is no folder to keep fetched packages in")
                .help("set HOME, or CLAW_CACHE to a folder")
        })
}

/// Where the package with this digest is, if it is.
///
/// # Errors
/// When the environment names no folder.
pub(super) fn place(digest: &Digest) -> Result<PathBuf, PackageError> {
    Ok(folder()?.join(digest.to_string()))
}

/// Keeps a package. One that is there already and whole is left alone.
///
/// # Errors
/// When the disk refuses.
pub(super) fn keep(content: &Content, digest: &Digest) -> Result<(), PackageError> {
    let place = place(digest)?;
    if Content::of_folder(&place).is_ok_and(|there| there.digest() == *digest) {
        return Ok(());
    }
    let put = writing::put_content(content, &place);
    // Another process may have been faster; then what it put is as good.
    if Content::of_folder(&place).is_ok_and(|there| there.digest() == *digest) {
        return Ok(());
    }
    put
}
