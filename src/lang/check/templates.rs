//! Templates against what they are given: names that nobody passes, fields that do not exist,
//! arguments that no file of the template uses.

use std::collections::BTreeSet;

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::program::{Expr, ExprKind, Param, SourceKind, Stage, Test};
use crate::lang::source::{SourceError, Sources, Span};
use crate::lang::template::{Template, Unreadable, place};
use crate::lang::types::Type;
use crate::lang::value::Value;

use super::world::{GlobalKind, World};
use super::{missing, place_of};

/// Checks every template whose path is known now, wherever it is asked for: in stages, constants,
/// defaults and in defs that nothing calls.
pub(super) fn templates(
    world: &mut World,
    params: &[Param],
    stages: &[Stage],
    tests: &[Test],
    sources: &dyn Sources,
    found: &mut Vec<Diagnostic>,
) {
    let is_own = |span: Span| !world.sources.path(span.file).starts_with("std/");
    let constants = world.modules.iter().filter(|module| !module.library).flat_map(|module| {
        module.values.values().filter_map(|global| match &global.kind {
            GlobalKind::Let(expr, _) => Some(expr),
            _ => None,
        })
    });
    let bodies = world.signatures.iter().filter(|signature| is_own(signature.span));
    let bodies = bodies
        .filter_map(|signature| signature.body.as_ref())
        .flat_map(|body| body.bindings.iter().map(|(_, value)| value).chain([&body.result]));
    let defaults = params.iter().filter_map(|param| param.default.as_ref());
    let mut open: Vec<&Expr> = constants
        .chain(defaults)
        .chain(bodies)
        .chain(stages.iter().map(|stage| &stage.expr))
        .chain(tests.iter().flat_map(Test::exprs))
        .collect();
    let mut seen = BTreeSet::new();
    let mut asked: Vec<Asked> = Vec::new();
    while let Some(expr) = open.pop() {
        open.extend(expr.children());
        if let ExprKind::Template(template, args) = &expr.kind
            && let ExprKind::Source(SourceKind::Template(folder), path) = &template.kind
            && let ExprKind::Const(Value::Str(path)) = &path.kind
            && seen.insert((expr.span.file, expr.span.start))
        {
            asked.push(Asked {
                span: template.span,
                folder: folder.clone(),
                path: path.clone(),
                args: args.clone(),
            });
        }
    }
    for Asked { span, folder, path, args } in asked {
        match read_template(&folder, &path, span, sources) {
            Ok(template) => check(world, &template, span, &args, found),
            Err(diagnostic) => found.push(diagnostic),
        }
    }
}

/// A template that is asked for: where, by which path from which folder, and what it is given.
struct Asked {
    span: Span,
    folder: String,
    path: String,
    args: Vec<(String, Expr)>,
}

/// Reads a template and what it includes.
pub(in crate::lang) fn read_template(
    folder: &str,
    path: &str,
    span: Span,
    sources: &dyn Sources,
) -> Result<Template, Diagnostic> {
    let main = place_of(folder, path, span)?;
    let mut read = |path: &str| {
        let bytes = sources.read(path)?;
        std::str::from_utf8(&bytes).map(str::to_string).map_err(|_| SourceError::Unreadable {
            path: path.to_string(),
            why: "it is not UTF-8 text".to_string(),
        })
    };
    Template::read(&main, &mut read).map_err(|err| match err {
        Unreadable::File { path, by, why } => {
            let diagnostic = missing(&path, false, &why, span, sources);
            match by {
                Some(by) => diagnostic.help(format!("{by} includes it")),
                None => diagnostic,
            }
        }
        Unreadable::Outside { path, by } => {
            Diagnostic::error("E0507", format!("`{path}` leaves the project"))
                .at(span, format!("{by} includes it"))
                .help("what a program reads lies in its project")
        }
        Unreadable::TooMany => {
            Diagnostic::error("E0711", format!("{main} includes too many files"))
                .at(span, "a template is made of at most 64 files")
        }
    })
}

fn check(
    world: &mut World,
    template: &Template,
    span: Span,
    args: &[(String, Expr)],
    found: &mut Vec<Diagnostic>,
) {
    if let Some((path, range, why)) = template.mistake() {
        let at = in_template(world, template, &path, range);
        found.push(
            Diagnostic::error("E0711", format!("{path} is not a template: {why}"))
                .at(at, "here")
                .at(span, "asked for here"),
        );
        return;
    }
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let asks = template.asks();
    for (name, path) in &asks {
        let mut parts = name.split('.');
        let root = parts.next().unwrap_or(name);
        used.insert(root);
        let text = template.files.get(path).map_or("", String::as_str);
        let Some((_, arg)) = args.iter().find(|(given, _)| given == root) else {
            if !told.insert(root) {
                continue;
            }
            let at = in_template(world, template, path, place(text, root));
            let names = || args.iter().map(|(name, _)| name.as_str());
            let label = did_you_mean(root, names(), "nobody gives it a value");
            let mut diagnostic = Diagnostic::error(
                "E0712",
                format!("{path} asks for `{root}`, which is not passed"),
            )
            .at(
                span,
                format!(
                    "this passes {}",
                    if args.is_empty() { "nothing".to_string() } else { listed(names()) }
                ),
            )
            .at(at, label);
            diagnostic = diagnostic.help(format!("write `template(\"…\", {root}: …)`"));
            found.push(diagnostic);
            continue;
        };
        let mut ty = &arg.ty;
        let mut walked = root.to_string();
        for field in parts {
            while let Type::Optional(of) = ty {
                ty = of;
            }
            let Type::Record(record) = ty else { break };
            match record.field(field) {
                Some(next) => ty = next,
                None => {
                    let names = || record.fields.iter().map(|(name, _)| name.as_str());
                    let at = in_template(world, template, path, place(text, name));
                    found.push(
                        Diagnostic::error("E0713", format!("`{walked}` has no field `{field}`"))
                            .at(at, did_you_mean(field, names(), "unknown field"))
                            .at(arg.span, format!("`{walked}` is {}", super::noun(&arg.ty)))
                            .help(format!("it has {}", listed(names()))),
                    );
                    break;
                }
            }
            walked = format!("{walked}.{field}");
        }
    }
    // What looks unused is most often the name that was meant.
    if !told.is_empty() {
        return;
    }
    for (name, arg) in args.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        found.push(
            Diagnostic::warning("W0103", format!("{} does not use `{name}`", template.main))
                .at(arg.span, "passed, but not asked for")
                .help("take it out, or use it in the template"),
        );
    }
}

/// A place in a file of the template, which becomes one of the program's sources.
fn in_template(
    world: &mut World,
    template: &Template,
    path: &str,
    range: std::ops::Range<usize>,
) -> Span {
    let known = world.sources.files.iter().position(|(known, _)| known == path);
    let file = match known {
        Some(place) => crate::lang::source::FileId(place as u32),
        None => {
            let text = template.files.get(path).map_or("", String::as_str);
            world.sources.add(path, text.into())
        }
    };
    Span { file, start: range.start as u32, end: range.end as u32 }
}
