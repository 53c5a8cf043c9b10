//! `claw add`: edits of `claw.toml` that leave everything else in it as a person wrote it.

use std::path::Path;

use crate::project::Project;

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use super::error::PackageError;
use super::lock::Lock;
use super::names::check_name;
use super::origin::Origin;
use super::resolve::{Which, resolve};
use super::writing;

/// Names a package in a project's `claw.toml` and pins it in `claw.lock`; gives the lock as it was
/// and as it is. When the package cannot be had, both files stay as they are.
///
/// # Errors
/// When the name cannot be one, the package cannot be had, or the disk refuses.
pub fn add(project: &Project, name: &str, origin: &Origin) -> Result<(Lock, Lock), PackageError> {
    let path = project.root.join("claw.toml");
    let text = match std::fs::read_to_string(&path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(PackageError::io("reading", &path))?,
    };
    let text = name_package(&text, &path, name, origin)?;
    let mut project = project.clone();
    project.packages.insert(name.to_string(), origin.clone());
    let so_far = Lock::read(&project.root)?;
    let lock = resolve(&project, &so_far, Which::Only(name))?;
    writing::replace(&path, text.as_bytes())?;
    lock.write(&project.root)?;
    Ok((so_far, lock))
}

/// The text of `claw.toml` once it names a package. `text` is empty for a project that has none yet;
/// `path` says in messages which file it is.
///
/// # Errors
/// When the name cannot be one, or the text is not TOML.
fn name_package(
    text: &str,
    path: &Path,
    name: &str,
    origin: &Origin,
) -> Result<String, PackageError> {
    check_name(name)?;
    let mut document: DocumentMut = text.parse().map_err(|err: toml_edit::TomlError| {
        PackageError::unusable(format!("{}: {err}", path.display()))
    })?;
    let mut from = InlineTable::new();
    for (key, value) in origin.fields(name) {
        from.insert(key, Value::from(value));
    }
    let packages = document.entry("packages").or_insert(Item::Table(Table::new()));
    let packages = packages.as_table_like_mut().ok_or_else(|| {
        PackageError::unusable(format!("{}: `packages` is no table", path.display()))
            .help("write `[packages]` and a line for each package below it")
    })?;
    match packages.get_mut(name) {
        // A comment at the end of the line stays with it.
        Some(there) => {
            let decor = there.as_value().map(|value| value.decor().clone());
            let mut value = Value::InlineTable(from);
            if let Some(decor) = decor {
                *value.decor_mut() = decor;
            }
            *there = Item::Value(value);
        }
        None => {
            packages.insert(name, Item::Value(Value::InlineTable(from)));
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stay() {
        let text = "# ours\n[project]\nname = \"x\" # a name\n\n[packages]\n# money\nmoney = { path = \"../m\" } # old\n";
        let edited = |name: &str, path: &str| {
            name_package(text, Path::new("claw.toml"), name, &Origin::Path(path.into()))
        };
        assert_eq!(edited("money", "../n").expect("TOML"), text.replace("../m", "../n"));
        assert_eq!(
            edited("acme/finance", "../f").expect("TOML"),
            format!("{text}\"acme/finance\" = {{ path = \"../f\" }}\n")
        );
        assert!(edited("std/x", "../f").is_err());
    }

    #[test]
    fn a_project_without_settings_gets_some() {
        let origin = Origin::Git { url: "https://h/x".into(), rev: "v1".into() };
        let text = name_package("", Path::new("claw.toml"), "x", &origin).expect("TOML");
        assert_eq!(text, "[packages]\nx = { git = \"https://h/x\", rev = \"v1\" }\n");
    }
}
