//! Defs and operators: their signatures, the defaults of their arguments, their bodies.

use std::collections::BTreeMap;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::fold::{Nothing, fold};
use crate::lang::syntax::ast::{self, ItemKind};

use super::declare::tell_circle;
use super::infer::{Checker, Place};
use super::names::Names;
use super::order::order;
use super::resolve::resolve;
use super::world::{ArgSignature, Body, Default, Signature, World};

pub(super) fn signatures(
    world: &mut World,
    module: usize,
    ast: &ast::Module,
    found: &mut Vec<Diagnostic>,
) {
    for item in &ast.items {
        let ItemKind::Def(def) = &item.kind else {
            continue;
        };
        if world.modules[module].defs.contains_key(&def.name.text) {
            continue;
        }
        let mut args: Vec<ArgSignature> = Vec::new();
        for arg in &def.args {
            let ty = resolve(world, module, &arg.ty, def.external, found);
            if args.iter().any(|earlier| earlier.name == arg.name.text) {
                found.push(
                    Diagnostic::error(
                        "E0101",
                        format!("argument `{}` is declared twice", arg.name.text),
                    )
                    .at(arg.name.span, "again here"),
                );
                continue;
            }
            let default = arg.default.as_ref().map(|default| {
                let text = world.sources.text(default.span.file);
                let range = default.span.start as usize..default.span.end as usize;
                let words: Vec<&str> = text.get(range).unwrap_or("…").split_whitespace().collect();
                Default { expr: None, text: words.join(" ") }
            });
            args.push(ArgSignature { name: arg.name.text.clone(), ty, default });
        }
        let returns = resolve(world, module, &def.returns, def.external, found);
        let own = &world.modules[module];
        let full = format!("{}.{}", own.name, def.name.text);
        let bare = world.prelude == Some(module) || module == 0;
        let place = world.signatures.len();
        let signature = Signature {
            shown: if bare { def.name.text.clone() } else { full.clone() },
            operator: if def.external { full } else { format!("#{place}") },
            args,
            returns,
            span: def.name.span,
            body: None,
        };
        world.signatures.push(signature);
        world.modules[module].defs.insert(def.name.text.clone(), place);
    }
}

/// Defaults of arguments. They may call other defs of the module, whose own defaults come first.
pub(super) fn defaults(
    world: &mut World,
    module: usize,
    ast: &ast::Module,
    found: &mut Vec<Diagnostic>,
) {
    let mut defs: Vec<&ast::Def> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &ast.items {
        if let ItemKind::Def(def) = &item.kind
            && !places.contains_key(def.name.text.as_str())
        {
            places.insert(&def.name.text, defs.len());
            defs.push(def);
        }
    }
    let needs: Vec<Vec<usize>> = defs
        .iter()
        .map(|def| {
            let defaults = def.args.iter().filter_map(|arg| arg.default.as_ref());
            let mut needs: Vec<usize> = defaults
                .flat_map(|default| Names::of(default).functions)
                .filter_map(|name| places.get(name.as_str()).copied())
                .collect();
            needs.dedup();
            needs
        })
        .collect();
    let order = order(&needs);
    for circle in &order.circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| &defs[*place].name).collect();
        tell_circle("E0402", "def", "calls", "defs cannot be recursive", &names, found);
    }
    let in_circles: Vec<usize> = order.circles.iter().flatten().copied().collect();
    for place in order.sorted {
        if in_circles.contains(&place) {
            continue;
        }
        let def = defs[place];
        let Some(number) = world.modules[module].defs.get(&def.name.text).copied() else {
            continue;
        };
        for arg in &def.args {
            let Some(default) = &arg.default else {
                continue;
            };
            let signature = &world.signatures[number];
            let Some(slot) = signature.args.iter().position(|slot| slot.name == arg.name.text)
            else {
                continue;
            };
            let what = format!("`{}` of `{}`", arg.name.text, signature.shown);
            let ty = signature.args[slot].ty.clone();
            let before = found.len();
            let mut checker = Checker::new(world, module, Place::Default, found);
            let value = checker.want(default, &ty, &what);
            let value = fold(value, &mut Nothing, found);
            if found.len() == before
                && let Some(default) = &mut world.signatures[number].args[slot].default
            {
                default.expr = Some(value);
            }
        }
    }
}

pub(super) fn bodies(
    world: &mut World,
    module: usize,
    ast: &ast::Module,
    found: &mut Vec<Diagnostic>,
) {
    for item in &ast.items {
        let ItemKind::Def(def) = &item.kind else {
            continue;
        };
        let (Some((bindings, result)), Some(number)) =
            (&def.body, world.modules[module].defs.get(&def.name.text).copied())
        else {
            continue;
        };
        if world.signatures[number].span != def.name.span {
            continue;
        }
        let before = found.len();
        world.take_named();
        let mut checker = Checker::new(world, module, Place::Body, found);
        let signature = &world.signatures[number];
        for arg in &signature.args {
            checker.locals.push((arg.name.clone(), arg.ty.clone()));
        }
        let mut checked = Vec::new();
        for binding in bindings {
            let value = checker.bound_value(binding);
            if checker.locals.iter().any(|(local, _)| *local == binding.name.text) {
                checker.tell(
                    Diagnostic::error("E0101", format!("`{}` is bound twice", binding.name.text))
                        .at(binding.name.span, "again here"),
                );
            }
            let ty = checker.bounded(value.ty.clone(), binding.name.span);
            checker.locals.push((binding.name.text.clone(), ty));
            checked.push((binding.name.text.clone(), value));
        }
        let what = format!("what `{}` gives", signature.shown);
        let result = checker.want(result, &signature.returns, &what);
        if found.len() == before {
            let mut folded = |expr| fold(expr, &mut Nothing, found);
            let bindings = checked.into_iter().map(|(name, value)| (name, folded(value))).collect();
            let result = folded(result);
            world.signatures[number].body = Some(Body { bindings, result });
        }
        if !world.modules[module].library {
            world.keep_def(number, item.span);
        }
    }
    recursion(world, module, ast, found);
}

/// Defs may call each other, but never in a circle.
fn recursion(world: &World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    let mut defs: Vec<&ast::Def> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &ast.items {
        if let ItemKind::Def(def) = &item.kind
            && world.modules[module].defs.contains_key(&def.name.text)
        {
            places.entry(&def.name.text).or_insert(defs.len());
            defs.push(def);
        }
    }
    let needs: Vec<Vec<usize>> = defs
        .iter()
        .map(|def| {
            let Some((bindings, result)) = &def.body else {
                return Vec::new();
            };
            let mut needs: Vec<usize> = bindings
                .iter()
                .map(|binding| &binding.value)
                .chain([result])
                .flat_map(|expr| Names::of(expr).functions)
                .filter_map(|name| places.get(name.as_str()).copied())
                .collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect();
    for circle in order(&needs).circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| &defs[*place].name).collect();
        let way_out = "a program must end: write out the steps, or make them rows of a `for`";
        tell_circle("E0402", "def", "calls", way_out, &names, found);
    }
}
