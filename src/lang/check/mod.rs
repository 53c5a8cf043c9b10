//! Checking: text to a [`Program`], or everything that is wrong with it.
//!
//! The passes, in order: every file is read and parsed (`world`), each module's declarations are
//! checked after those of the modules it uses (`declare`), the entry's stages are put in order and
//! checked (here), defs are written out (`expand`), and what is constant is folded. Expressions are
//! checked by `infer` and `call`; when a type stands for another is said by `fit` alone.

mod attempts;
mod bounds;
mod builtin;
mod call;
mod constants;
mod declare;
mod defs;
mod expand;
mod fields;
mod fit;
mod form;
mod given;
mod infer;
mod literals;
mod lookup;
mod names;
mod notes;
mod operators;
pub(super) mod order;
mod origins;
pub(super) mod outputs;
mod plainness;
mod policy;
mod presence;
mod resolve;
mod secrets;
mod survey;
mod templates;
mod tests;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Diagnostic, Severity, is_enough, listed, nearest, told};
use super::fold::{Known, Nothing, fold};
use super::index::Index;
use super::origin::Origins;
use super::program::{Expr, ExprKind, Param, Program, SourceKind, Stage, Test};
use super::secrets::holds_secret;
use super::source::{SourceError, SourceMap, Sources, Span};
use super::stack::roomy;
use super::syntax::ast::{self, ItemKind};
use super::types::Type;
use super::value::Value;

use infer::{Checker, Place};
use notes::Notes;
use order::order;
use origins::Named;
use world::{GlobalKind, World};

pub use attempts::MAX_ATTEMPTS;
pub(super) use fit::noun;
pub(super) use given::given;
pub(super) use names::Names;
pub use outputs::taken;
pub(super) use secrets::variable_of;
pub use survey::{builtin_types, policy_names, stands_for};
pub(super) use templates::read_template;
pub(super) use world::joined;

/// What checking a program came to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The program; `None` when there is an error among the diagnostics.
    pub program: Option<Program>,
    /// Everything there is to say, in the order of the files and the places in them.
    pub diagnostics: Vec<Diagnostic>,
    /// The text of every file that was read, for showing the diagnostics.
    pub sources: SourceMap,
}

/// Reads and checks the program whose entry is the file `entry`, such as
/// `pipelines/quickstart.claw`. Parameters stay free; [`super::bind`] gives them values.
pub fn load(entry: &str, sources: &dyn Sources) -> Checked {
    roomy(|| load_noting(entry, sources, None).0)
}

/// As [`load`], and leaves an [`Index`] of what stands where; also of a program with errors, as far
/// as it can be understood.
pub fn load_with_index(entry: &str, sources: &dyn Sources) -> (Checked, Index) {
    roomy(|| {
        let (checked, world) = load_noting(entry, sources, Some(RefCell::default()));
        let index = survey::survey(world);
        (checked, index)
    })
}

fn load_noting(
    entry: &str,
    sources: &dyn Sources,
    notes: Option<RefCell<Notes>>,
) -> (Checked, World) {
    let mut found = Vec::new();
    let (mut world, readable) = world::load(entry, sources, &mut found);
    world.notes = notes;
    let mut program = None;
    if readable {
        program = Some(check(&mut world, sources, &mut found));
    }
    // Found by pass, told by place; what stands nowhere comes first.
    found.sort_by_key(|diagnostic| {
        diagnostic.labels.first().map(|(span, _)| (span.file, span.start))
    });
    found.dedup();
    let failed = found.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    let found = told(found);
    let program = program.filter(|_| !failed);
    (Checked { program, diagnostics: found, sources: world.sources.clone() }, world)
}

fn check(world: &mut World, sources: &dyn Sources, found: &mut Vec<Diagnostic>) -> Program {
    let mut params = Vec::new();
    for module in world.order.clone() {
        let own = declare::declare(world, module, found);
        if module == 0 {
            params = own;
        }
    }
    let mut ast = std::mem::take(&mut world.modules[0].ast);
    let mut stages = stages(world, &ast, found);
    let outputs = outputs::outputs(world, &ast, found);
    let mut tests = tests::tests(world, &ast, found);
    if world.notes.is_none() {
        // Nobody will ask what stands where, and what comes next needs the room.
        ast.items = Vec::new();
    }
    default_bounds(&params, world, found);
    templates::templates(world, &params, &stages, &tests, sources, found);
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    if !found.iter().any(is_error) {
        stages = expand::expand(world, stages, &mut tests, found).unwrap_or_default();
        plainness::plainness(&stages, &tests, found);
    }
    let read = files(world, &params, &stages, &tests, sources, found);
    outputs::over_what_is_read(&outputs, &world.sources, &read, found);
    unused(world, found);
    if outputs.is_empty()
        && let Some(stage) = stages.last()
        && !found.iter().any(is_error)
    {
        found.push(
            Diagnostic::warning("W0102", "the program has no output, so nothing would run")
                .at(stage.span, "declared, but never asked for")
                .help(format!("add `output {}`", stage.name)),
        );
    }
    let (sources, doc) = (world.sources.clone(), ast.doc.clone());
    world.modules[0].ast = ast;
    Program { params, stages, outputs, tests, doc, sources }
}

fn stages(world: &mut World, ast: &ast::Module, found: &mut Vec<Diagnostic>) -> Vec<Stage> {
    let mut items: Vec<(&ast::Stage, &str)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &ast.items {
        // A name means the first stage of that name; the others are checked all the same.
        if let ItemKind::Stage(stage) = &item.kind {
            places.entry(&stage.name.text).or_insert(items.len());
            items.push((stage, &item.doc));
        }
    }
    let needs: Vec<Vec<usize>> = items
        .iter()
        .map(|(stage, _)| {
            let names = Names::of(&stage.value).values;
            names.iter().filter_map(|name| places.get(name.as_str()).copied()).collect()
        })
        .collect();
    let order = order(&needs);
    for circle in &order.circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| &items[*place].0.name).collect();
        let way_out = "every stage must be computable from those before it";
        declare::tell_circle("E0401", "stage", "needs", way_out, &names, found);
    }
    let annotations: Vec<Option<Type>> = items
        .iter()
        .map(|(stage, _)| stage.ty.as_ref().map(|ty| resolve::resolve(world, 0, ty, false, found)))
        .collect();
    // All stages have a type from the start, so that those in a circle are known to each other.
    for ((stage, _), annotation) in items.iter().zip(&annotations) {
        if let (Some(global), Some(ty)) =
            (world.modules[0].values.get_mut(&stage.name.text), annotation)
            && global.span == stage.name.span
        {
            global.ty = ty.clone();
        }
    }
    let mut checked: BTreeMap<usize, Stage> = BTreeMap::new();
    let mut named: BTreeMap<usize, BTreeSet<Named>> = BTreeMap::new();
    for place in order.sorted {
        if is_enough(found) {
            break;
        }
        let (stage, doc) = items[place];
        world.take_named();
        let mut checker = Checker::new(world, 0, Place::Stage, found);
        let value = match &annotations[place] {
            Some(wanted) => {
                let what = format!("stage `{}`", stage.name.text);
                checker.want(&stage.value, wanted, &what)
            }
            None => checker.expr(&stage.value, None),
        };
        let value_ty = checker.bounded(value.ty.clone(), stage.name.span);
        named.insert(place, world.take_named());
        let policy = checker.policy(&stage.policy);
        // The type that it really has says more than the one that was asked for.
        let ty = match (&annotations[place], value_ty) {
            (Some(wanted), Type::Unknown) => wanted.clone(),
            (_, ty) => ty,
        };
        if holds_secret(&ty) {
            found.push(secrets::kept(stage.name.span, "a stage's result"));
        }
        if let Type::Function(..) = ty {
            found.push(
                Diagnostic::error("E0201", "a function is not a result")
                    .at(stage.name.span, "a stage gives rows or values"),
            );
        }
        if let Some(global) = world.modules[0].values.get_mut(&stage.name.text)
            && global.span == stage.name.span
        {
            global.ty = ty.clone();
        }
        let policy =
            policy.into_iter().map(|(name, of)| (name, fold(of, &mut Nothing, found))).collect();
        let name = stage.name.text.clone();
        let expr = fold(value, &mut Nothing, found);
        let (doc, span) = (doc.to_string(), stage.name.span);
        let origins = Origins::default();
        let checked_stage = Stage { name, doc, expr, ty, policy, span, origins };
        checked.insert(place, checked_stage);
    }
    let mut origins = origins::Origins::new(world);
    for (place, stage) in &mut checked {
        if let Some(named) = named.get(place).filter(|named| !named.is_empty()) {
            stage.origins.named = origins.of(named);
        }
    }
    checked.into_values().collect()
}

/// A default outside of the parameter's own bounds is wrong before anything is given.
fn default_bounds(params: &[Param], world: &World, found: &mut Vec<Diagnostic>) {
    struct Defaults<'a>(&'a [Param]);
    impl Known for Defaults<'_> {
        fn param(&mut self, name: &str) -> Option<Expr> {
            let param = self.0.iter().find(|param| param.name == name)?;
            // A default with a mistake was told, and stands for nothing.
            let is_known =
                |of: &Expr| matches!(of.kind, ExprKind::Const(_)) && of.ty != Type::Unknown;
            param.default.clone().filter(is_known)
        }

        fn source(
            &mut self,
            _: &SourceKind,
            _: &str,
            _: &Expr,
        ) -> Result<Option<Value>, Diagnostic> {
            Ok(None)
        }
    }
    for param in params {
        let (Some(default), Some(bound)) = (&param.default, &param.bound) else {
            continue;
        };
        let holds = fold(bound.clone(), &mut Defaults(params), found);
        if holds.kind == ExprKind::Const(Value::Bool(false)) {
            found.push(out_of_bounds(param, default.span, "the default", &world.sources));
        }
    }
}

/// The message for a parameter whose value its bound refuses.
pub(super) fn out_of_bounds(
    param: &Param,
    span: Span,
    given: &str,
    sources: &SourceMap,
) -> Diagnostic {
    let diagnostic =
        Diagnostic::error("E0502", format!("{given} of `{}` is out of its bounds", param.name))
            .at(span, "not within");
    let Some(bound) = &param.bound else {
        return diagnostic;
    };
    let text = sources.text(bound.span.file);
    let text = text.get(bound.span.start as usize..bound.span.end as usize).unwrap_or("");
    diagnostic.at(bound.span, "this must hold").help(format!("it must be that {text}"))
}

/// Every file and directory whose path is known now must be there. Gives their paths, and where each
/// is asked for.
fn files(
    world: &World,
    params: &[Param],
    stages: &[Stage],
    tests: &[Test],
    sources: &dyn Sources,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Option<Span>> {
    let mut read = BTreeMap::new();
    let mut seen: BTreeSet<(bool, String)> = BTreeSet::new();
    let constants = world.modules.iter().filter(|module| !module.library).flat_map(|module| {
        module.values.values().filter_map(|global| match &global.kind {
            GlobalKind::Let(expr, _) => Some(expr),
            _ => None,
        })
    });
    let defaults = params.iter().filter_map(|param| param.default.as_ref());
    let exprs = stages.iter().map(|stage| &stage.expr).chain(tests.iter().flat_map(Test::exprs));
    // Constants first: a file is missing where it is named, not where the name is used.
    let mut open: Vec<&Expr> = constants.chain(defaults).chain(exprs).collect();
    open.reverse();
    while let Some(expr) = open.pop() {
        open.extend(expr.children());
        let ExprKind::Source(kind, path) = &expr.kind else {
            continue;
        };
        let ExprKind::Const(Value::Str(path)) = &path.kind else {
            continue;
        };
        let (is_dir, folder) = match kind {
            SourceKind::File(folder) => (false, folder),
            SourceKind::Dir(folder) => (true, folder),
            SourceKind::Template(folder) => {
                // Whether it is there was asked when what it needs was looked at.
                if let Some(path) = joined(folder, path) {
                    read.entry(path).or_insert(Some(expr.span));
                }
                continue;
            }
            SourceKind::Env => continue,
        };
        let there = place_of(folder, path, expr.span).and_then(|path| {
            if !seen.insert((is_dir, path.clone())) {
                return Ok(());
            }
            read.entry(path.clone()).or_insert(Some(expr.span));
            let there = if is_dir { sources.has_dir(&path) } else { sources.has_file(&path) };
            there.map_err(|err| missing(&path, is_dir, &err, expr.span, sources))
        });
        found.extend(there.err());
    }
    read
}

/// Where a path of a program points.
pub(super) fn place_of(folder: &str, path: &str, span: Span) -> Result<String, Diagnostic> {
    joined(folder, path).ok_or_else(|| world::leaves(folder, path, span))
}

/// The message for a file or directory that cannot be had.
pub(super) fn missing(
    path: &str,
    is_dir: bool,
    err: &SourceError,
    span: Span,
    sources: &dyn Sources,
) -> Diagnostic {
    let what = if is_dir { "directory" } else { "file" };
    match err {
        SourceError::Unreadable { why, .. } => {
            Diagnostic::error("E0501", format!("{what} {path} cannot be read: {why}"))
                .at(span, "asked for here")
        }
        SourceError::NoPackage { .. } | SourceError::Package { .. } => {
            world::unreadable(path, err).at(span, "asked for here")
        }
        SourceError::Missing(_) => {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let names = sources.names(folder);
            let near = nearest(name, names.iter().map(String::as_str));
            let label = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "asked for here".to_string(),
            };
            let beside =
                if folder.is_empty() { "the project".to_string() } else { folder.to_string() };
            Diagnostic::error("E0501", format!("{what} {path} does not exist"))
                .at(span, label)
                .maybe_help((!names.is_empty() && near.is_none()).then(|| {
                    format!("{beside} holds {}", listed(names.iter().map(String::as_str)))
                }))
        }
    }
}

/// What a file uses and never asks for.
fn unused(world: &World, found: &mut Vec<Diagnostic>) {
    // What did not parse may have been what asks for it.
    let whole = |module: &&world::Module| !module.library && module.broken.is_empty();
    for module in world.modules.iter().filter(whole) {
        for (alias, used) in &module.uses {
            if used.module.is_some() && !used.asked.get() {
                found.push(
                    Diagnostic::warning("W0101", format!("`{alias}` is used, but not needed"))
                        .at(used.span, "nothing here asks for it")
                        .help("take the line out"),
                );
            }
        }
    }
}
