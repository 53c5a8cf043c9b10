//! Constants and parameters: `let` and `param`, in the order in which they need each other.

use std::collections::BTreeMap;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::fold::{Nothing, fold};
use crate::lang::program::{ExprKind, Param};
use crate::lang::syntax::ast::{self, ItemKind};
use crate::lang::types::Type;

use super::declare::tell_circle;
use super::fit::is_too_large;
use super::infer::{Checker, Place};
use super::names::Names;
use super::order::order;
use super::resolve::resolve;
use super::secrets::secret_parameter;
use super::world::{Global, GlobalKind, World};

/// How deep the expression of a constant may be: it is written out wherever it is named.
const MAX_CONSTANT_DEPTH: usize = 128;

/// The most expressions that a constant may be made of that is no value yet.
const MAX_CONSTANT: usize = 100_000;

/// A `let` or a `param`, while they are put in order.
enum Constant<'a> {
    Let(&'a ast::Let),
    Param(&'a ast::Param, &'a str),
}

impl Constant<'_> {
    fn name(&self) -> &ast::Name {
        match self {
            Constant::Let(binding) => &binding.name,
            Constant::Param(param, _) => &param.name,
        }
    }

    fn value(&self) -> Option<&ast::Expr> {
        match self {
            Constant::Let(binding) => Some(&binding.value),
            Constant::Param(param, _) => param.default.as_ref(),
        }
    }
}

pub(super) fn constants(
    world: &mut World,
    module: usize,
    ast: &ast::Module,
    found: &mut Vec<Diagnostic>,
) -> Vec<Param> {
    // Stages are known by name, so that a constant that names one is told what it may not do.
    if module == 0 {
        for item in &ast.items {
            if let ItemKind::Stage(stage) = &item.kind {
                let span = stage.name.span;
                let global = Global { kind: GlobalKind::Stage, ty: Type::Unknown, span };
                world.modules[0].values.entry(stage.name.text.clone()).or_insert(global);
            }
        }
    }
    let mut items: Vec<Constant<'_>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for item in &ast.items {
        let constant = match &item.kind {
            ItemKind::Let(binding) => Constant::Let(binding),
            ItemKind::Param(param) if module == 0 => Constant::Param(param, &item.doc),
            _ => continue,
        };
        if places.contains_key(&constant.name().text) {
            continue;
        }
        places.insert(constant.name().text.clone(), items.len());
        items.push(constant);
    }
    let needs: Vec<Vec<usize>> = items
        .iter()
        .map(|item| {
            let names = item.value().map(Names::of).unwrap_or_default();
            names.values.iter().filter_map(|name| places.get(name).copied()).collect()
        })
        .collect();
    let order = order(&needs);
    for circle in &order.circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| items[*place].name()).collect();
        let way_out = "a constant is made of what is known before it";
        tell_circle("E0403", "constant", "needs", way_out, &names, found);
        for place in circle {
            let name = items[*place].name();
            let nothing = Checker::unknown(name.span);
            let global =
                Global { kind: GlobalKind::Let(nothing, 1), ty: Type::Unknown, span: name.span };
            world.modules[module].values.insert(name.text.clone(), global);
        }
    }
    let mut params: BTreeMap<usize, Param> = BTreeMap::new();
    for place in order.sorted {
        let name = items[place].name();
        if world.modules[module].values.contains_key(&name.text) {
            continue;
        }
        let global = match &items[place] {
            Constant::Let(binding) => constant(world, module, binding, found),
            Constant::Param(param, doc) => {
                let checked = parameter(world, module, param, doc, found);
                let global =
                    Global { kind: GlobalKind::Param, ty: checked.ty.clone(), span: name.span };
                params.insert(place, checked);
                global
            }
        };
        world.modules[module].values.insert(name.text.clone(), global);
    }
    // Bounds may name any parameter, so they come after all of them.
    for (place, checked) in &mut params {
        let Constant::Param(param, _) = &items[*place] else {
            continue;
        };
        let Some(bound) = param.bound.as_ref().filter(|_| !param.secret) else { continue };
        let mut checker = Checker::new(world, module, Place::Constant, found);
        checked.bound = Some(checker.want(bound, &Type::Bool, "the condition of a parameter"));
    }
    params.into_values().collect()
}

fn constant(
    world: &World,
    module: usize,
    binding: &ast::Let,
    found: &mut Vec<Diagnostic>,
) -> Global {
    let wanted = binding.ty.as_ref().map(|ty| resolve(world, module, ty, false, found));
    let mut checker = Checker::new(world, module, Place::Constant, found);
    let mut value = match &wanted {
        Some(wanted) => {
            let what = format!("`{}`", binding.name.text);
            checker.want(&binding.value, wanted, &what)
        }
        None => checker.expr(&binding.value, None),
    };
    let before = found.len();
    value = fold(value, &mut Nothing, found);
    let mut size = value.size();
    let folded = matches!(value.kind, ExprKind::Const(_));
    if size.depth > MAX_CONSTANT_DEPTH
        || (size.nodes > MAX_CONSTANT && !folded)
        || is_too_large(&value.ty)
    {
        found.push(
            Diagnostic::error("E0404", format!("constant `{}` grows too large", binding.name.text))
                .at(binding.name.span, "constants of constants add up here"),
        );
    }
    if found.len() > before {
        value = Checker::unknown(binding.value.span);
        size = value.size();
    }
    let (ty, parts) = (value.ty.clone(), size.nodes);
    Global { kind: GlobalKind::Let(value, parts), ty, span: binding.name.span }
}

fn parameter(
    world: &World,
    module: usize,
    param: &ast::Param,
    doc: &str,
    found: &mut Vec<Diagnostic>,
) -> Param {
    let ty = resolve(world, module, &param.ty, false, found);
    if param.secret {
        return secret_parameter(world, module, param, doc, &ty, found);
    }
    let default = param.default.as_ref().map(|default| {
        let mut checker = Checker::new(world, module, Place::Constant, found);
        let what = format!("`{}`", param.name.text);
        let default = checker.want(default, &ty, &what);
        fold(default, &mut Nothing, found)
    });
    Param {
        name: param.name.text.clone(),
        ty,
        doc: doc.to_string(),
        default,
        bound: None,
        secret: false,
        span: param.name.span,
    }
}
