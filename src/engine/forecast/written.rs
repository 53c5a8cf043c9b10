//! The model calls of a stage as they stand in the program: what can be said of a call whose row is
//! not known yet.
//!
//! A name in a call stands for a constant where a `let` or a def's argument makes it one, and for each
//! model in turn where a `for` goes over a few that are known: `for m in [model("a"), model("b")]`.

use std::collections::BTreeMap;

use crate::lang::{Call, Expr, ExprKind, Stage, Value};
use crate::plan::walk;

use super::super::operator::{Args, Asks};
use super::{Ahead, Seen};

/// Items of a generator that are looked through for models, and combinations of arguments.
const FEW: usize = 64;

/// How often a name may stand for another name.
const DEEP: usize = 16;

/// A call as it stands in the program.
pub(super) struct Written {
    /// What tells it from the others, see [`place_of`].
    pub(super) place: usize,
    /// Its operator.
    pub(super) operator: String,
    /// What it asks, for each way in which its names can be read that is known.
    pub(super) asks: Vec<Asks>,
    /// In how many ways they can be read, known or not.
    pub(super) ways: usize,
    /// Rows that would make it, as far as they were counted.
    pub(super) rows: u64,
}

/// What tells one call of a program from another, for as long as the program stays where it is.
pub(super) fn place_of(call: &Call) -> usize {
    std::ptr::from_ref(call) as usize
}

/// What a name stands for.
#[derive(Clone, Copy)]
enum Named<'e> {
    /// The value of an expression.
    Is(&'e Expr),
    /// One after the other of its items.
    Among(&'e Expr),
}

/// The calls of a stage that ask a model.
pub(super) fn written(stage: &Stage, ahead: &Ahead<'_>) -> Vec<Written> {
    let mut names = BTreeMap::new();
    bound(&stage.expr, &mut names);
    let mut calls = Vec::new();
    walk(&stage.expr, &mut |expr| {
        let ExprKind::Call(call) = &expr.kind else { return };
        let Ok(operator) = ahead.operators.get(&call.operator) else { return };
        let (mut ways, mut all) = (vec![Args::default()], 1);
        for (name, arg) in &call.args {
            let values = values(arg, &names, ahead, 0);
            if values.len() * all > FEW {
                continue;
            }
            all *= values.len();
            ways = ways
                .iter()
                .flat_map(|args| values.iter().map(move |value| (args, value)))
                .map(|(args, value)| {
                    let mut args = args.clone();
                    if let Some(value) = value {
                        args.0.insert(name.clone(), value.clone());
                    }
                    args
                })
                .collect();
        }
        let asks: Vec<Asks> = ways.iter().filter_map(|args| operator.asks(args)).collect();
        if !asks.is_empty() {
            let (place, operator) = (place_of(call), call.operator.clone());
            calls.push(Written { place, operator, asks, ways: ways.len(), rows: 0 });
        }
    });
    calls
}

/// The names that an expression binds. Those of blocks are all different; of two that are not, the
/// inner one is meant, for that is where calls stand.
fn bound<'e>(expr: &'e Expr, names: &mut BTreeMap<&'e str, Named<'e>>) {
    match &expr.kind {
        ExprKind::Block(bindings, _) => {
            names.extend(bindings.iter().map(|(name, of)| (name.as_str(), Named::Is(of))));
        }
        ExprKind::Try(tried) => {
            names.extend(tried.bindings.iter().map(|(name, of)| (name.as_str(), Named::Is(of))));
        }
        ExprKind::For(each) => {
            names
                .extend(each.generators.iter().map(|(name, of)| (name.as_str(), Named::Among(of))));
        }
        _ => {}
    }
    for child in expr.children() {
        bound(child, names);
    }
}

/// What an argument can be: at least one value, each known or not.
fn values(
    expr: &Expr,
    names: &BTreeMap<&str, Named<'_>>,
    ahead: &Ahead<'_>,
    depth: usize,
) -> Vec<Option<Value>> {
    match &expr.kind {
        ExprKind::Const(value) => vec![Some(value.clone())],
        ExprKind::Local(name) if depth < DEEP => match names.get(name.as_str()) {
            Some(Named::Is(of)) => values(of, names, ahead, depth + 1),
            Some(Named::Among(of)) => items(of, names, ahead, depth + 1),
            None => vec![None],
        },
        _ => vec![None],
    }
}

/// What the items of a generator can be; one unknown value where they are many, or not known.
fn items(
    expr: &Expr,
    names: &BTreeMap<&str, Named<'_>>,
    ahead: &Ahead<'_>,
    depth: usize,
) -> Vec<Option<Value>> {
    let few = |items: usize| (1..=FEW).contains(&items);
    let read = |row| super::read_value(&*ahead.store, row).ok();
    match &expr.kind {
        ExprKind::Const(Value::List(items)) if few(items.len()) => {
            items.iter().cloned().map(Some).collect()
        }
        ExprKind::List(items) if few(items.len()) => {
            items.iter().flat_map(|item| values(item, names, ahead, depth)).collect()
        }
        ExprKind::Stage(name) => match ahead.seen.get(name) {
            Some(Seen::Value(Value::Table(table))) if few(table.rows.len()) => {
                table.rows.iter().map(read).collect()
            }
            Some(Seen::Rows(rows, 0)) if few(rows.len()) => {
                rows.iter().map(|row| row.as_ref().and_then(read)).collect()
            }
            _ => vec![None],
        },
        _ => vec![None],
    }
}
