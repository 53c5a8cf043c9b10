//! Where outputs are written: never over what is the user's.
//!
//! A path is refused when claw or the program itself needs what stands there: the project's settings,
//! the store, the program's own modules, and what it reads. So is one that lies at, above or below
//! another output's, for outputs are written side by side. Whatever is wrong is told before anything
//! runs. Links on the disk are none of the language's business; who writes follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::program::Output;
use crate::lang::source::{SourceMap, Span, package_root};
use crate::lang::syntax::ast::{self, ItemKind};

use super::world::{GlobalKind, World, joined};

/// Names at the project's root that no output may have, and what is there.
const TAKEN: [(&str, &str); 4] = [
    ("claw.toml", "the project's settings are there"),
    ("claw.lock", "the digests of the project's packages are there"),
    (".claw", "the project's store is there"),
    (".git", "the project's history is there"),
];

/// The outputs that a program declares, each once and with a path that may be written to.
pub(super) fn outputs(
    world: &World,
    ast: &ast::Module,
    found: &mut Vec<Diagnostic>,
) -> Vec<Output> {
    let mut outputs: Vec<Output> = Vec::new();
    let mut first: BTreeMap<(&str, Option<String>), Span> = BTreeMap::new();
    for item in &ast.items {
        let ItemKind::Output(output) = &item.kind else {
            continue;
        };
        let name = &output.stage;
        let values = &world.modules[0].values;
        match values.get(&name.text).map(|global| &global.kind) {
            Some(GlobalKind::Stage) => {}
            None if world.modules[0].broken.contains(&name.text) => continue,
            other => {
                let stages = || {
                    let stages =
                        values.iter().filter(|(_, of)| matches!(of.kind, GlobalKind::Stage));
                    stages.map(|(name, _)| name.as_str())
                };
                let label = match other {
                    Some(_) => "this is no stage".to_string(),
                    None => did_you_mean(&name.text, stages(), "unknown stage"),
                };
                found.push(
                    Diagnostic::error("E0109", format!("there is no stage `{}`", name.text))
                        .at(name.span, label)
                        .help(format!("there is {}", listed(stages()))),
                );
                continue;
            }
        }
        let mut path = None;
        if let Some((written, span)) = &output.path {
            match joined("", written).filter(|path| !path.is_empty() && !path.starts_with('/')) {
                Some(inside) => path = Some(inside),
                None => found.push(
                    Diagnostic::error(
                        "E0507",
                        format!("\"{written}\" names no place in the project"),
                    )
                    .at(*span, "relative to the project's root"),
                ),
            }
        }
        let key = (name.text.as_str(), path.clone());
        if let Some(earlier) = first.insert(key.clone(), name.span) {
            first.insert(key, earlier);
            found.push(
                Diagnostic::error("E0101", format!("`{}` is an output twice", name.text))
                    .at(name.span, "again here")
                    .at(earlier, "first here"),
            );
            continue;
        }
        let span = output.path.as_ref().map_or(name.span, |(_, span)| *span);
        outputs.push(Output { stage: name.text.clone(), path, span });
    }
    for (output, path) in placed(&outputs) {
        found.extend(taken(path).map(|why| refused(output, path, why)));
    }
    in_each_others_way(&outputs, found);
    outputs
}

/// What claw itself needs at a path, relative to the project; `None` where nothing of it is.
pub fn taken(path: &str) -> Option<&'static str> {
    let root = path.split('/').next().unwrap_or(path);
    TAKEN.iter().find(|(name, _)| *name == root).map(|(_, why)| *why)
}

/// Refuses outputs of which one would be written into or over another.
fn in_each_others_way(outputs: &[Output], found: &mut Vec<Diagnostic>) {
    let mut places: BTreeMap<&str, &Output> = BTreeMap::new();
    for (output, path) in placed(outputs) {
        if let Some(earlier) = places.insert(path, output) {
            found.push(
                Diagnostic::error("E0510", format!("two outputs are written to `{path}`"))
                    .at(output.span, format!("`{}` again here", output.stage))
                    .at(earlier.span, format!("`{}` first here", earlier.stage))
                    .help("give each a path of its own"),
            );
        }
    }
    for (path, output) in &places {
        let above = above(path).find_map(|above| Some((above, places.get(above)?)));
        if let Some((place, other)) = above {
            found.push(
                Diagnostic::error("E0510", format!("`{path}` lies in another output, `{place}`"))
                    .at(output.span, format!("`{}` is written here", output.stage))
                    .at(other.span, format!("`{}` is written here", other.stage))
                    .help("give each a path of its own, none below another's"),
            );
        }
    }
}

/// Refuses outputs that would be written over the program, or over what it reads: paths, with the
/// place that asks for each where it is known.
pub(in crate::lang) fn over_what_is_read(
    outputs: &[Output],
    sources: &SourceMap,
    read: &BTreeMap<String, Option<Span>>,
    found: &mut Vec<Diagnostic>,
) {
    if placed(outputs).next().is_none() {
        return;
    }
    // The library and packages are elsewhere, whatever their paths look like.
    let own = |path: &&str| !path.starts_with("std/") && package_root(path).is_none();
    let modules: BTreeSet<&str> =
        sources.files.iter().map(|(path, _)| path.as_str()).filter(own).collect();
    let read: BTreeMap<&str, Option<Span>> = read
        .iter()
        .map(|(path, span)| (path.as_str(), *span))
        .filter(|(path, _)| own(path))
        .collect();
    for (output, path) in placed(outputs) {
        let below = format!("{path}/");
        let below = below.as_str();
        let inside = (Bound::Included(below), Bound::<&str>::Unbounded);
        let met = |known: &&str| known.starts_with(below);
        let module = modules
            .get(path)
            .or_else(|| modules.range::<str, _>(inside).next().filter(|one| met(one)));
        if let Some(module) = module {
            found.push(refused(output, path, &format!("{module} is part of the program")));
            continue;
        }
        let over = [path].into_iter().chain(above(path)).chain([""]);
        let mut over = over.filter_map(|place| read.get_key_value(place));
        let known =
            over.next().or_else(|| read.range::<str, _>(inside).next().filter(|(one, _)| met(one)));
        if let Some((place, span)) = known {
            let place = if place.is_empty() { "the whole project" } else { place };
            let diagnostic = refused(output, path, &format!("the program reads {place}"));
            found.push(match span {
                Some(span) => diagnostic.at(*span, "read here"),
                None => diagnostic,
            });
        }
    }
}

fn placed(outputs: &[Output]) -> impl Iterator<Item = (&Output, &str)> {
    outputs.iter().filter_map(|output| Some((output, output.path.as_deref()?)))
}

/// The folders that a path lies in, the innermost first, the root left out.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(end, _)| &path[..end])
}

fn refused(output: &Output, path: &str, why: &str) -> Diagnostic {
    Diagnostic::error("E0509", format!("output `{}` cannot be written to `{path}`", output.stage))
        .at(output.span, why)
        .help("outputs belong where nothing else is, such as in a folder `out`")
}
