//! The files of a program: finding, reading and parsing them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::program::Expr;
use crate::lang::source::{SourceError, SourceMap, Sources, Span, package_root};
use crate::lang::syntax::{self, ast};
use crate::lang::types::Type;

use super::notes::Notes;
use super::order::{LABELLED, drawn, in_one_line, order};
use super::origins::{Named, Written};

/// The module whose operators need no `use`.
const PRELUDE: &str = "std/rows.claw";

/// Every module of a program, the entry first.
#[derive(Default)]
pub(super) struct World {
    pub(super) sources: SourceMap,
    pub(super) modules: Vec<Module>,
    /// Where the prelude is among the modules.
    pub(super) prelude: Option<usize>,
    /// Modules so that each comes after those that it uses.
    pub(super) order: Vec<usize>,
    /// Every `def`, by the number that modules know it by.
    pub(super) signatures: Vec<Signature>,
    /// The names of the modules in `std/`, for offering the nearest.
    pub(super) library: Vec<String>,
    /// How many parts constants have added to the program so far: they are written out wherever
    /// they are named.
    pub(super) inlined: Cell<usize>,
    /// What was named since the last look: see [`super::origins`].
    pub(super) named: RefCell<BTreeSet<Named>>,
    /// Defs of the program and its packages as they are written, by number.
    pub(super) written: BTreeMap<usize, Written>,
    /// What is noted for an index, when one was asked for.
    pub(super) notes: Option<RefCell<Notes>>,
}

/// One file.
pub(super) struct Module {
    /// Its path, as shown and as asked for.
    pub(super) path: String,
    /// Its own name: the last part of its path.
    pub(super) name: String,
    /// The folder that its paths are relative to.
    pub(super) folder: String,
    /// Whether it belongs to the language's own library.
    pub(super) library: bool,
    pub(super) ast: ast::Module,
    /// What it would declare if it parsed; it stands for anything.
    pub(super) broken: BTreeSet<String>,
    /// What its `use`s name, by the name that it uses.
    pub(super) uses: BTreeMap<String, Used>,
    pub(super) types: BTreeMap<String, Type>,
    pub(super) values: BTreeMap<String, Global>,
    /// Its defs, as places in [`World::signatures`].
    pub(super) defs: BTreeMap<String, usize>,
}

/// A used module.
pub(super) struct Used {
    /// `None` when it could not be used; that was told already.
    pub(super) module: Option<usize>,
    pub(super) span: Span,
    /// Whether anything asked for it.
    pub(super) asked: Cell<bool>,
}

/// A value that a whole module knows.
pub(super) struct Global {
    pub(super) kind: GlobalKind,
    pub(super) ty: Type,
    pub(super) span: Span,
}

pub(super) enum GlobalKind {
    /// A constant, and how many parts it is made of.
    Let(Expr, usize),
    Param,
    Stage,
}

/// The signature of a `def`.
pub(super) struct Signature {
    /// As it is shown: `rollout.run`; operators of the prelude have their bare name.
    pub(super) shown: String,
    /// What [`crate::lang::Call::operator`] says: the operator's name; for a def that is written in
    /// the language, `#` and its number, until it is written out.
    pub(super) operator: String,
    pub(super) args: Vec<ArgSignature>,
    pub(super) returns: Type,
    pub(super) span: Span,
    /// What a def gives; `None` for operators, and where it has a mistake.
    pub(super) body: Option<Body>,
}

pub(super) struct ArgSignature {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) default: Option<Default>,
}

/// The default of an argument.
pub(super) struct Default {
    /// `None` until it is checked, and where it has a mistake.
    pub(super) expr: Option<Expr>,
    /// As it was written, for signatures in messages.
    pub(super) text: String,
}

/// What a def is made of; its arguments and bindings are locals.
pub(super) struct Body {
    pub(super) bindings: Vec<(String, Expr)>,
    pub(super) result: Expr,
}

impl Signature {
    /// As messages show it: `rollout.run(world: World, trial: int = 1) -> Run`.
    pub(super) fn text(&self) -> String {
        let args: Vec<String> = self
            .args
            .iter()
            .map(|arg| match &arg.default {
                Some(default) => format!("{}: {} = {}", arg.name, arg.ty, default.text),
                None => format!("{}: {}", arg.name, arg.ty),
            })
            .collect();
        format!("{}({}) -> {}", self.shown, args.join(", "), self.returns)
    }
}

/// Reads the entry and everything it uses. Gives `None` when the entry itself cannot be read.
pub(super) fn load(
    entry: &str,
    sources: &dyn Sources,
    found: &mut Vec<Diagnostic>,
) -> (World, bool) {
    let mut world = World {
        library: sources
            .names("std")
            .into_iter()
            .filter_map(|name| name.strip_suffix(".claw").map(str::to_string))
            .collect(),
        ..World::default()
    };
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    if let Err(diagnostic) = world.read(entry, sources, found) {
        found.push(*diagnostic);
        return (world, false);
    }
    places.insert(entry.to_string(), 0);
    if entry == PRELUDE {
        world.prelude = Some(0);
    } else if sources.read(PRELUDE).is_ok() {
        match world.read(PRELUDE, sources, found) {
            Ok(()) => {
                places.insert(PRELUDE.to_string(), 1);
                world.prelude = Some(1);
            }
            Err(diagnostic) => found.push(*diagnostic),
        }
    }
    let mut at = 0;
    while at < world.modules.len() {
        for (alias, path, span) in world.wanted(at, sources, found) {
            let known = path.as_ref().and_then(|path| places.get(path).copied());
            let module = match (path, known) {
                (None, _) => None,
                (_, Some(place)) => Some(place),
                (Some(path), None) => match world.read(&path, sources, found) {
                    Ok(()) => {
                        places.insert(path, world.modules.len() - 1);
                        Some(world.modules.len() - 1)
                    }
                    Err(diagnostic) => {
                        let mut diagnostic = *diagnostic;
                        diagnostic.labels.insert(0, (span, world.offer(&path, sources)));
                        found.push(diagnostic);
                        None
                    }
                },
            };
            let used = Used { module, span, asked: Cell::new(false) };
            if let Some(earlier) = world.modules[at].uses.get(&alias) {
                found.push(
                    Diagnostic::error("E0101", format!("`{alias}` is used twice"))
                        .at(span, "again here")
                        .at(earlier.span, "first here")
                        .help(format!("give one of them another name: `use … as {alias}2`")),
                );
                continue;
            }
            world.modules[at].uses.insert(alias, used);
        }
        at += 1;
    }
    world.sort(found);
    (world, true)
}

impl World {
    /// What a module's `use`s ask for: the name, the path of the file (`None` when there cannot be
    /// one) and where it stands.
    fn wanted(
        &self,
        at: usize,
        sources: &dyn Sources,
        found: &mut Vec<Diagnostic>,
    ) -> Vec<(String, Option<String>, Span)> {
        let module = &self.modules[at];
        let mut wanted = Vec::new();
        for item in &module.ast.items {
            let ast::ItemKind::Use(used) = &item.kind else {
                continue;
            };
            let (path, name) = match &used.path {
                ast::UsePath::Module(path) => {
                    let name = path.rsplit('/').next().unwrap_or(path).replace('-', "_");
                    if path.starts_with("std/") {
                        (Some(format!("{path}.claw")), name)
                    } else {
                        let file = sources.package(&module.folder, path);
                        let file = file.map_err(|err| match err {
                            SourceError::NoPackage { known, by } => {
                                package(path, used.span, &self.library, &known, by.as_deref())
                            }
                            err => unreadable(path, &err).at(used.span, "asked for here"),
                        });
                        (file.map_err(|diagnostic| found.push(diagnostic)).ok(), name)
                    }
                }
                ast::UsePath::File(path) => {
                    let joined = joined(&module.folder, path);
                    if joined.is_none() {
                        found.push(leaves(&module.folder, path, used.span));
                    }
                    (joined, stem(path))
                }
            };
            let name = used.alias.as_ref().map_or(name, |alias| alias.text.clone());
            wanted.push((name, path, used.span));
        }
        wanted
    }

    /// What to say at a `use` whose file cannot be read.
    fn offer(&self, path: &str, sources: &dyn Sources) -> String {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let names = sources.names(folder);
        let names = names.iter().filter(|name| name.ends_with(".claw"));
        if folder == "std" {
            let names: Vec<String> = names.map(|name| format!("std/{}", stem(name))).collect();
            return did_you_mean(
                path.trim_end_matches(".claw"),
                names.iter().map(String::as_str),
                "asked for here",
            );
        }
        did_you_mean(file, names.map(String::as_str), "asked for here")
    }

    /// Reads and parses one file.
    fn read(
        &mut self,
        path: &str,
        sources: &dyn Sources,
        found: &mut Vec<Diagnostic>,
    ) -> Result<(), Box<Diagnostic>> {
        let bytes = sources.read(path).map_err(|err| Box::new(unreadable(path, &err)))?;
        if bytes.len() > syntax::MAX_FILE {
            let size = bytes.len() as f64 / f64::from(1 << 20);
            return Err(Box::new(
                Diagnostic::error("E0003", format!("{path} is {size:.0} MiB large"))
                    .help("source files are at most 8 MiB; data belongs in `file()` or `dir()`"),
            ));
        }
        let text: Arc<str> = match std::str::from_utf8(&bytes) {
            Ok(text) => text.into(),
            Err(err) => {
                // The text up to the bad byte is as it is in the file, so the place is right.
                let file = self.sources.add(path, String::from_utf8_lossy(&bytes).into());
                let at = err.valid_up_to();
                let start = at as u32;
                return Err(Box::new(
                    Diagnostic::error("E0002", format!("{path} is not UTF-8 text"))
                        .at(
                            Span { file, start, end: start + 3 },
                            format!("the byte 0x{:02X}, at offset {at}", bytes[at]),
                        )
                        .help(
                            "save the file as UTF-8; data in other encodings belongs in `file()`",
                        ),
                ));
            }
        };
        let file = self.sources.add(path, text.clone());
        let mut ast = syntax::module(&text, file, found);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.modules.push(Module {
            path: path.to_string(),
            name: module_name(path),
            folder: folder.to_string(),
            library: path.starts_with("std/"),
            broken: std::mem::take(&mut ast.broken),
            ast,
            uses: BTreeMap::new(),
            types: BTreeMap::new(),
            values: BTreeMap::new(),
            defs: BTreeMap::new(),
        });
        Ok(())
    }

    /// Orders the modules and tells import cycles. A use that closes a cycle names nothing: what
    /// comes from it fits everything, so that one mistake is told once.
    fn sort(&mut self, found: &mut Vec<Diagnostic>) {
        let mut needs: Vec<Vec<usize>> = Vec::new();
        for module in &self.modules {
            needs.push(module.uses.values().filter_map(|used| used.module).collect());
        }
        let order = order(&needs);
        for circle in &order.circles {
            let names: Vec<&str> =
                circle.iter().map(|place| self.modules[*place].path.as_str()).collect();
            let mut diagnostic = Diagnostic::error(
                "E0106",
                if names.len() <= LABELLED {
                    format!("files use each other: {}", in_one_line(&names))
                } else {
                    format!("{} files use each other in a circle", names.len())
                },
            )
            .help(format!("{}\nmove what both need into a third file", drawn(&names, "uses")));
            for (i, place) in circle.iter().enumerate().take(LABELLED) {
                let next = circle[(i + 1) % circle.len()];
                let uses = &self.modules[*place].uses;
                if let Some(used) = uses.values().find(|used| used.module == Some(next)) {
                    let label = format!("uses {}", self.modules[next].path);
                    diagnostic = diagnostic.at(used.span, label);
                }
            }
            found.push(diagnostic);
        }
        let mut place_of = vec![0; self.modules.len()];
        for (place, module) in order.sorted.iter().enumerate() {
            place_of[*module] = place;
        }
        for (at, module) in self.modules.iter_mut().enumerate() {
            for used in module.uses.values_mut() {
                if used.module.is_some_and(|target| place_of[target] >= place_of[at]) {
                    used.module = None;
                    used.asked.set(true);
                }
            }
        }
        // The prelude is known everywhere without a `use`.
        let prelude = self.prelude;
        self.order = prelude.into_iter().collect();
        self.order.extend(order.sorted.into_iter().filter(|module| Some(*module) != prelude));
    }
}

pub(super) fn unreadable(path: &str, err: &SourceError) -> Diagnostic {
    match err {
        SourceError::Missing(_) => Diagnostic::error("E0001", format!("{path} does not exist")),
        SourceError::Unreadable { why, .. } => {
            Diagnostic::error("E0001", format!("{path} cannot be read: {why}"))
        }
        SourceError::NoPackage { .. } => {
            Diagnostic::error("E0107", format!("{path} lies in no package"))
        }
        SourceError::Package { code, message, help } => {
            Diagnostic::error(code, message).maybe_help((!help.is_empty()).then(|| help.clone()))
        }
    }
}

/// The message for a path that leaves what it belongs to: the project, or a package.
pub(super) fn leaves(folder: &str, path: &str, span: Span) -> Diagnostic {
    match package_root(folder) {
        Some((root, _)) => Diagnostic::error(
            "E0804",
            format!("`{path}` leaves the package {root}"),
        )
        .at(span, "points out of the package's folder")
        .help("a package has its own files and those of the packages that its claw.toml names"),
        None => Diagnostic::error("E0507", format!("`{path}` leaves the project"))
            .at(span, "points above the project's root")
            .help("what a program reads lies in its project"),
    }
}

fn package(
    path: &str,
    span: Span,
    library: &[String],
    named: &[String],
    by: Option<&str>,
) -> Diagnostic {
    let whose = by.map_or_else(|| "claw.toml".to_string(), |by| format!("claw.toml of {by}"));
    let library: Vec<String> = library.iter().map(|name| format!("std/{name}")).collect();
    let name = path.rsplit('/').next().unwrap_or(path);
    let label = match library.iter().find(|known| known.rsplit('/').next() == Some(name)) {
        Some(known) => format!("did you mean `{known}`?"),
        None => {
            let known = named.iter().chain(&library).map(String::as_str);
            did_you_mean(path, known, "no such package")
        }
    };
    Diagnostic::error("E0107", format!("{whose} names no package `{path}`"))
        .at(span, label)
        .help(format!(
            "packages are named in claw.toml (`claw add`); a file beside this one is used by its path: `use \"./{name}.claw\"`{}",
            if library.is_empty() {
                String::new()
            } else {
                format!("\nthe library has {}", listed(library.iter().map(String::as_str)))
            }
        ))
}

/// The name of a file without its folder and ending.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".claw").unwrap_or(file).replace('-', "_")
}

/// What messages call a module: its file, or for the main file of a package the package.
fn module_name(path: &str) -> String {
    match package_root(path) {
        Some((root, "lib.claw")) => stem(root.split('@').next().unwrap_or(root)),
        _ => stem(path),
    }
}

/// A path relative to a folder, without `.` and `..`; `None` when it points above the root, which for
/// the library and for packages is their own. Paths from `/` stay as they are, but lead out of a
/// package.
pub(in crate::lang) fn joined(folder: &str, path: &str) -> Option<String> {
    let package = package_root(folder).map(|(root, _)| root.split('/').count());
    if path.starts_with('/') {
        return package.is_none().then(|| path.to_string());
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let root = package.unwrap_or(usize::from(parts.first() == Some(&"std")));
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.len() <= root => return None,
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(joined("pipelines", "../prompts/x.md").as_deref(), Some("prompts/x.md"));
        assert_eq!(joined("", "./skills/").as_deref(), Some("skills"));
        assert_eq!(joined("pipelines", "../../x"), None);
        assert_eq!(joined("std", "../secrets"), None);
        assert_eq!(joined("a", "/data/x").as_deref(), Some("/data/x"));
        let package = "acme/finance@0123456789ab/sub";
        assert_eq!(joined(package, "../x").as_deref(), Some("acme/finance@0123456789ab/x"));
        assert_eq!(joined(package, "../../x"), None);
        assert_eq!(joined(package, "/data/x"), None);
        assert_eq!(joined("a@0123456789ab", "./x").as_deref(), Some("a@0123456789ab/x"));
        assert_eq!(joined("a@0123456789ab", "../x"), None);
        assert_eq!(joined("deep/in/a@0123456789ab", "../x").as_deref(), Some("deep/in/x"));
    }
}
