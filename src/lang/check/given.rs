//! Values that are given from outside, as text: `-p people=100`.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::diagnostic::Diagnostic;
use crate::lang::fold::retyped;
use crate::lang::program::Expr;
use crate::lang::source::{FileId, Span};
use crate::lang::syntax::{ast, lone_expression};
use crate::lang::types::Type;

use super::form::coerced;
use super::infer::{Checker, Place};
use super::world::{Module, World};

/// Reads a parameter's value. Its places are all `span`, where the parameter is declared. Nothing
/// has a name in it but the built-in functions; paths in it are relative to the project's root.
///
/// # Errors
/// What is wrong with the text, in words about the text.
pub(in crate::lang) fn given(text: &str, ty: &Type, span: Span) -> Result<Expr, Diagnostic> {
    let mut world = World::default();
    world.sources.add("the given value", text.into());
    world.modules.push(Module {
        path: "the given value".to_string(),
        name: String::new(),
        folder: String::new(),
        library: false,
        ast: ast::Module::default(),
        broken: BTreeSet::new(),
        uses: BTreeMap::new(),
        types: BTreeMap::new(),
        values: BTreeMap::new(),
        defs: BTreeMap::new(),
    });
    let mut found = Vec::new();
    let checked = lone_expression(text, FileId(0), &mut found).map(|written| {
        let mut checker = Checker::new(&world, 0, Place::Given, &mut found);
        checker.want(&written, ty, "the parameter")
    });
    match (found.into_iter().next(), checked) {
        (None, Some(expr)) => Ok(respan(coerced(expr, ty), span)),
        (Some(diagnostic), _) => Err(diagnostic),
        (None, None) => Err(Diagnostic::error("E0505", "there is nothing")),
    }
}

fn respan(expr: Expr, span: Span) -> Expr {
    let ty = expr.ty.clone();
    let expr = expr.map_children(&mut |child| respan(child, span));
    retyped(Expr { span, ..expr }, &ty)
}
