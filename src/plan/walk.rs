//! What stands in an expression, for those who plan and run it.

use crate::lang::{Expr, ExprKind};

/// Visits an expression and every one inside it, outer ones first.
pub fn walk(expr: &Expr, visit: &mut dyn FnMut(&Expr)) {
    visit(expr);
    for child in expr.children() {
        walk(child, visit);
    }
}

/// The operators that an expression calls, each once, in the order in which they stand in it.
pub fn operators(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    walk(expr, &mut |expr| {
        if let ExprKind::Call(call) = &expr.kind
            && !names.contains(&call.operator)
        {
            names.push(call.operator.clone());
        }
    });
    names
}
