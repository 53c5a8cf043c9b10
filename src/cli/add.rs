//! `claw add`: a package gets a name in this project, and its content is pinned.

use std::path::{Component, Path, PathBuf};

use super::{Exit, Failure, arguments, print, update};
use crate::project::Project;
use crate::project::packages::{self, Origin, Version, check_name};

/// Edits claw.toml, fetches the package and those that it needs, and writes claw.lock.
pub(super) fn add(args: &arguments::Add) -> Result<Exit, Failure> {
    check_name(&args.name)?;
    let project = Project::around(&args.project)?;
    let origin = origin(args, &project)?;
    let (before, after) = packages::add(&project, &args.name, &origin)?;
    for line in update::changes(&before, &after) {
        print::line(&line);
    }
    let alias = args.name.rsplit('/').next().unwrap_or(&args.name).replace('-', "_");
    print::line(&format!("\nuse {}     // then call {alias}.…(…)", args.name));
    Ok(Exit::Done)
}

fn origin(args: &arguments::Add, project: &Project) -> Result<Origin, Failure> {
    let origin = match (&args.path, &args.git, &args.archive, &args.registry) {
        (Some(path), ..) => Origin::Path(from_project(project, path)?),
        (_, Some(url), ..) => {
            let rev = args.rev.clone().unwrap_or_default();
            Origin::Git { url: url.clone(), rev }
        }
        (_, _, Some(archive), _) => Origin::Archive(place(project, archive)?),
        (_, _, _, Some(registry)) => {
            let package = args.package.clone().unwrap_or_else(|| args.name.clone());
            check_name(&package)?;
            let (registry, version) = match registry.rsplit_once('@') {
                Some((registry, version)) if version.parse::<Version>().is_ok() => {
                    (place(project, registry)?, version.to_string())
                }
                _ => {
                    let registry = place(project, registry)?;
                    let newest = packages::newest(&project.root, &registry, &package)?;
                    (registry, newest.to_string())
                }
            };
            Origin::Registry { registry, package, version }
        }
        (None, None, None, None) => {
            return Err(Failure::input("say where the package comes from: --path, --git, …"));
        }
    };
    // What claw.toml may not say, the command line may not either.
    let written = toml::Table::from_iter(
        origin
            .fields(&args.name)
            .into_iter()
            .map(|(key, value)| (key.to_string(), toml::Value::String(value))),
    );
    let written = written.try_into().map_err(|err| Failure::input(err.to_string()))?;
    Ok(Origin::of(&args.name, &written)?)
}

fn place(project: &Project, place: &str) -> Result<String, Failure> {
    if place.starts_with("https://") || place.starts_with("http://") {
        return Ok(place.to_string());
    }
    from_project(project, Path::new(place))
}

/// A path of the command line as claw.toml says it: relative to the project, so that both can be
/// moved together. An absolute one stays so.
fn from_project(project: &Project, path: &Path) -> Result<String, Failure> {
    let text = |path: &Path| {
        path.to_str()
            .map(str::to_string)
            .ok_or_else(|| Failure::input(format!("{} is not UTF-8", path.display())))
    };
    if path.is_absolute() {
        return text(path);
    }
    let there =
        path.canonicalize().map_err(|err| Failure::input(format!("{}: {err}", path.display())))?;
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (project.root.components().collect(), there.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut relative: PathBuf = from[shared..].iter().map(|_| Component::ParentDir).collect();
    relative.extend(&to[shared..]);
    let relative = text(&relative)?;
    Ok(if relative.is_empty() { ".".to_string() } else { relative })
}
