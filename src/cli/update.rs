//! `claw update`: pins what claw.toml asks for, as it is now.

use super::{Exit, Failure, arguments, load, print};
use crate::project::Project;
use crate::project::packages::{Lock, Which, resolve};

/// Fetches again and writes claw.lock.
pub(super) fn update(args: &arguments::Update) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let which = match &args.name {
        None => Which::All,
        Some(name) if project.packages.contains_key(name) => Which::Only(name),
        Some(name) if project.packages.is_empty() => {
            return Err(Failure::input(format!(
                "claw.toml names no package `{name}`, and no other\n  help: name one with `claw add`"
            )));
        }
        Some(name) => {
            let names: Vec<&str> = project.packages.keys().map(String::as_str).collect();
            return Err(Failure::input(load::unknown("package", name, &names)));
        }
    };
    let before = Lock::read(&project.root)?;
    let after = resolve(&project, &before, which)?;
    after.write(&project.root)?;
    let changes = changes(&before, &after);
    if changes.is_empty() {
        let count = after.packages.len();
        let plural = if count == 1 { "package" } else { "packages" };
        print::line(&format!("claw.lock is up to date ({count} {plural})"));
    }
    for line in changes {
        print::line(&line);
    }
    Ok(Exit::Done)
}

/// What is different between two locks, a line for each package of the project, and one for all
/// that they brought along.
pub(super) fn changes(before: &Lock, after: &Lock) -> Vec<String> {
    let title = |lock: &Lock, name: &str| {
        let digest = lock.project.get(name)?.digest;
        let package = lock.packages.get(&digest)?;
        let version = package.version.as_ref().map(|version| format!("{version} "));
        Some(format!("{}({})", version.unwrap_or_default(), digest.short()))
    };
    let mut lines = Vec::new();
    for (name, pin) in &after.project {
        let now = title(after, name).unwrap_or_default();
        match (before.project.get(name), title(before, name)) {
            (Some(earlier), Some(was)) if earlier.digest != pin.digest => {
                lines.push(format!("updated {name} {was} -> {now}"));
            }
            (Some(earlier), Some(_)) if earlier.origin != pin.origin => {
                lines.push(format!("moved   {name} {now} to {}", pin.origin.place(name)));
            }
            (Some(_), Some(_)) => {}
            _ => lines.push(format!("added   {name} {now} from {}", pin.origin.place(name))),
        }
    }
    for name in before.project.keys().filter(|name| !after.project.contains_key(*name)) {
        lines.push(format!("removed {name}"));
    }
    let brought = |lock: &Lock| {
        let direct: Vec<_> = lock.project.values().map(|pin| pin.digest).collect();
        let others = lock.packages.iter().filter(|(digest, _)| !direct.contains(digest));
        others
            .map(|(digest, package)| format!("{} ({})", package.title(), digest.short()))
            .collect::<Vec<_>>()
    };
    let known = brought(before);
    for package in brought(after).iter().filter(|package| !known.contains(package)) {
        lines.push(format!("        with {package}"));
    }
    lines
}
