//! Declarations of one module, in the order in which they can be checked.
//!
//! Each kind is put in order by what it names, so that a program may declare things in any order;
//! what names itself in a circle is told, with the circle.

use std::collections::BTreeMap;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::Param;
use crate::lang::source::Span;
use crate::lang::syntax::ast::{self, ItemKind};

use super::constants::constants;
use super::defs::{bodies, defaults, signatures};
use super::order::{LABELLED, drawn, in_one_line};
use super::resolve::types;
use super::world::World;

/// Declares a module whose used modules are declared already. Gives its parameters, which only the
/// entry may have.
pub(super) fn declare(world: &mut World, module: usize, found: &mut Vec<Diagnostic>) -> Vec<Param> {
    let ast = std::mem::take(&mut world.modules[module].ast);
    placed(world, module, &ast, found);
    unique(&ast, found);
    types(world, module, &ast, found);
    signatures(world, module, &ast, found);
    let params = constants(world, module, &ast, found);
    defaults(world, module, &ast, found);
    bodies(world, module, &ast, found);
    world.modules[module].ast = ast;
    params
}

/// The name that an item declares.
pub(super) fn name_of(kind: &ItemKind) -> Option<&ast::Name> {
    match kind {
        ItemKind::Param(param) => Some(&param.name),
        ItemKind::Let(binding) => Some(&binding.name),
        ItemKind::Type(item) => Some(&item.name),
        ItemKind::Def(def) => Some(&def.name),
        ItemKind::Stage(stage) => Some(&stage.name),
        ItemKind::Use(_) | ItemKind::Output(_) | ItemKind::Test(_) => None,
    }
}

/// Some declarations belong to some files only.
fn placed(world: &World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    let (entry, library) = (module == 0, world.modules[module].library);
    for item in &ast.items {
        let (what, span) = match &item.kind {
            ItemKind::Param(param) if !entry => ("param", param.name.span),
            ItemKind::Stage(stage) if !entry => ("stage", stage.name.span),
            ItemKind::Output(output) if !entry => ("output", output.stage.span),
            ItemKind::Def(def) if def.external && !library => {
                found.push(
                    Diagnostic::error("E0108", "`extern def` belongs to the library")
                        .at(def.name.span, "an operator is implemented in claw itself")
                        .help("write `def name(…) -> T { … }` out of other operators"),
                );
                continue;
            }
            ItemKind::Def(def) if def.external && def.body.is_some() => {
                found.push(
                    Diagnostic::error("E0108", "an `extern def` has no body")
                        .at(def.name.span, "implemented in claw itself")
                        .help("leave `extern` or the body out"),
                );
                continue;
            }
            ItemKind::Def(def) if !def.external && def.body.is_none() => {
                found.push(
                    Diagnostic::error("E0108", format!("`{}` has no body", def.name.text))
                        .at(def.name.span, "what does it give?")
                        .help("write `{ … }` after its type"),
                );
                continue;
            }
            _ => continue,
        };
        found.push(
            Diagnostic::error("E0108", format!("a file that is used has no `{what}`"))
                .at(span, "only the file that is run has")
                .help("used files declare types, constants and defs; make this a `def`"),
        );
    }
}

/// A name means one thing in a file.
fn unique(ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for name in ast.items.iter().filter_map(|item| name_of(&item.kind)) {
        if let Some(span) = first.get(name.text.as_str()) {
            found.push(
                Diagnostic::error("E0101", format!("`{}` is declared twice", name.text))
                    .at(name.span, "again here")
                    .at(*span, "first here")
                    .help("give one of them another name"),
            );
        } else {
            first.insert(&name.text, name.span);
        }
    }
}

/// Tells a circle among named things.
pub(super) fn tell_circle(
    code: &'static str,
    what: &str,
    verb: &str,
    way_out: &str,
    circle: &[&ast::Name],
    found: &mut Vec<Diagnostic>,
) {
    let names: Vec<&str> = circle.iter().map(|name| name.text.as_str()).collect();
    let message = match names.as_slice() {
        [one] => format!("{what} `{one}` {verb} itself"),
        few if few.len() <= LABELLED => {
            format!("{what}s need each other: {}", in_one_line(&names))
        }
        many => format!("{} {what}s need each other in a circle", many.len()),
    };
    let help = if names.len() > 1 {
        format!("{}\n{way_out}", drawn(&names, verb))
    } else {
        way_out.to_string()
    };
    let mut diagnostic = Diagnostic::error(code, message).help(help);
    for (i, name) in circle.iter().enumerate().take(LABELLED) {
        let next = names[(i + 1) % names.len()];
        diagnostic = diagnostic.at(name.span, format!("{verb} `{next}`"));
    }
    found.push(diagnostic);
}
