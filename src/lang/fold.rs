//! Folding: what is known becomes a constant.
//!
//! The checker folds what a program says by itself; [`super::bind`] folds again with parameters and
//! with what lies outside. A stage's key is made of what is left, so folding is also what makes
//! `2 * 30` and `60` the same program. Ranges stay ranges: `1..=1_000_000` is shorter than its items.

use super::diagnostic::Diagnostic;
use super::eval::{EvalError, Scope, evaluate, shape};
use super::program::{BinaryOp, Expr, ExprKind, Function, SourceKind};
use super::types::Type;
use super::value::Value;
use super::walk::value_size;

/// The most values that a constant may be made of.
const MAX_CONSTANT: usize = 1_000_000;

/// What folding may ask about the world; each answer is a value, or nothing when it is not known
/// (yet), or a mistake.
pub(super) trait Known {
    /// The value of a parameter.
    fn param(&mut self, name: &str) -> Option<Expr>;
    /// What is read from outside. `expr` is the whole expression, `path` what it names.
    fn source(
        &mut self,
        kind: &SourceKind,
        path: &str,
        expr: &Expr,
    ) -> Result<Option<Value>, Diagnostic>;
}

/// Nothing is known but the program itself.
pub(super) struct Nothing;

impl Known for Nothing {
    fn param(&mut self, _: &str) -> Option<Expr> {
        None
    }

    fn source(&mut self, _: &SourceKind, _: &str, _: &Expr) -> Result<Option<Value>, Diagnostic> {
        Ok(None)
    }
}

/// Folds an expression; what fails is told and stays as it was.
pub(super) fn fold(expr: Expr, known: &mut dyn Known, found: &mut Vec<Diagnostic>) -> Expr {
    // The branch that is not taken may hold what would fail: it is not looked at.
    let expr = match expr.kind {
        ExprKind::Const(value) => {
            return Expr { kind: ExprKind::Const(shape(value, &expr.ty)), ..expr };
        }
        ExprKind::Local(_) | ExprKind::Stage(_) => return expr,
        ExprKind::If(test, yes, no) => {
            let test = fold(*test, known, found);
            match test.kind {
                ExprKind::Const(Value::Bool(truth)) => {
                    let branch = fold(if truth { *yes } else { *no }, known, found);
                    return retyped(branch, &expr.ty);
                }
                _ => Expr { kind: ExprKind::If(Box::new(test), yes, no), ..expr },
            }
        }
        ExprKind::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => {
            let left = fold(*left, known, found);
            match left.kind {
                ExprKind::Const(Value::Bool(truth)) if truth == (op == BinaryOp::Or) => {
                    return Expr { kind: ExprKind::Const(Value::Bool(truth)), ..expr };
                }
                ExprKind::Const(Value::Bool(_)) => return fold(*right, known, found),
                _ => Expr { kind: ExprKind::Binary(op, Box::new(left), right), ..expr },
            }
        }
        kind => Expr { kind, ..expr },
    };
    let expr = expr.map_children(&mut |child| fold(child, known, found));
    match &expr.kind {
        ExprKind::Param(name) => match known.param(name) {
            Some(value) => retyped(Expr { span: expr.span, ..value }, &expr.ty),
            None => expr,
        },
        ExprKind::Source(kind, path) => {
            let ExprKind::Const(Value::Str(path)) = &path.kind else {
                return expr;
            };
            match known.source(kind, path, &expr) {
                Ok(Some(value)) => Expr { kind: ExprKind::Const(value), ..expr },
                Ok(None) => expr,
                Err(diagnostic) => {
                    found.push(diagnostic);
                    expr
                }
            }
        }
        // The field of a record that is written out is that field alone.
        ExprKind::Field(of, name) => match &of.kind {
            ExprKind::Record(fields) => match fields.iter().find(|(known, _)| known == name) {
                Some((_, field)) => retyped(field.clone(), &expr.ty),
                None => expr,
            },
            _ => constant(expr, found),
        },
        ExprKind::Filter(rows, test) if is_const(rows) && is_closed(test) => evaluated(expr, found),
        ExprKind::Index(..)
        | ExprKind::List(_)
        | ExprKind::Record(_)
        | ExprKind::Text(_)
        | ExprKind::Unary(..)
        | ExprKind::Binary(..)
        | ExprKind::If(..)
        | ExprKind::Length(_)
        | ExprKind::Template(..)
        | ExprKind::Builtin(..) => constant(expr, found),
        _ => expr,
    }
}

/// The expression under a type that it fits: constants take the form that the type has.
pub(super) fn retyped(expr: Expr, ty: &Type) -> Expr {
    let kind = match expr.kind {
        ExprKind::Const(value) => ExprKind::Const(shape(value, ty)),
        kind => kind,
    };
    Expr { kind, ty: ty.clone(), ..expr }
}

fn is_const(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Const(_))
}

/// Whether a function can be applied with nothing but its argument.
fn is_closed(function: &Function) -> bool {
    let pure = |expr: &Expr| {
        !matches!(
            expr.kind,
            ExprKind::Param(_)
                | ExprKind::Stage(_)
                | ExprKind::Call(_)
                | ExprKind::For(_)
                | ExprKind::Source(..)
        )
    };
    let whole = Expr {
        kind: ExprKind::Function(Box::new(function.clone())),
        ty: Type::Unknown,
        span: function.body.span,
    };
    !whole.has_free_locals() && !whole.any(&|expr| !pure(expr))
}

fn constant(expr: Expr, found: &mut Vec<Diagnostic>) -> Expr {
    // What has a mistake was told, and stands as a null that means nothing.
    let known = |child: &Expr| is_const(child) && child.ty != Type::Unknown;
    if expr.children().into_iter().all(known) { evaluated(expr, found) } else { expr }
}

fn evaluated(expr: Expr, found: &mut Vec<Diagnostic>) -> Expr {
    let size: usize = expr
        .children()
        .into_iter()
        .map(
            |child| {
                if let ExprKind::Const(value) = &child.kind { value_size(value).nodes } else { 1 }
            },
        )
        .sum();
    if size > MAX_CONSTANT {
        found.push(
            Diagnostic::error("E0404", "this constant grows too large")
                .at(expr.span, format!("made of {size} values"))
                .help("make it a stage: its rows lie in the store, not in the program"),
        );
        return expr;
    }
    match evaluate(&expr, &mut Scope::new()) {
        Ok(value) => Expr { kind: ExprKind::Const(value), ..expr },
        Err(EvalError::Failed { message, span }) => {
            found.push(Diagnostic::error("E0508", message).at(span.unwrap_or(expr.span), "here"));
            expr
        }
        Err(EvalError::NotPure(_)) => expr,
    }
}
