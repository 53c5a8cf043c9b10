//! What is known to be there.
//!
//! `x != null` in a condition makes `x` what it is without the `?`, wherever the condition is known
//! to hold: in the branch of an `if`, behind `and`, in the body of a `for … where`, in the rows that
//! a filter leaves, in what a `try` accepts. `x` is a name or a path of fields.

use crate::lang::program::{BinaryOp, Expr, UnaryOp};
use crate::lang::syntax::ast;
use crate::lang::types::{RecordType, Type};

use super::infer::{Checker, ROW};

/// A path that is known not to be null.
pub(super) struct Present {
    path: Vec<String>,
    /// How many locals and rows there were: a later one of the same name is another thing.
    locals: usize,
    rows: usize,
}

impl Checker<'_> {
    /// Checks something under the condition that `test` came out as `truth`.
    pub(super) fn given<T>(
        &mut self,
        test: &ast::Expr,
        truth: bool,
        check: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.present.len();
        let (locals, rows) = (self.locals.len(), self.rows.len());
        let paths = facts(test, truth).into_iter();
        self.present.extend(paths.map(|path| Present { path, locals, rows }));
        let result = check(self);
        self.present.truncate(before);
        result
    }

    /// The expression without its `?` where it is known to be there.
    pub(super) fn there(&self, written: &ast::Expr, expr: Expr) -> Expr {
        if self.present.is_empty() {
            return expr;
        }
        let (Type::Optional(of), Some(path)) = (&expr.ty, path(written)) else {
            return expr;
        };
        let is_it = |present: &Present| {
            present.path == path
                && match path[0].as_str() {
                    ROW => present.rows == self.rows.len(),
                    name => {
                        let local = self.locals.iter().rposition(|(local, _)| local == name);
                        local.is_none_or(|at| at < present.locals)
                    }
                }
        };
        if !self.present.iter().any(is_it) {
            return expr;
        }
        let ty = (**of).clone();
        Expr { ty, ..expr }
    }
}

/// The type of a row that passed a filter.
pub(super) fn filtered(row: Type, test: &ast::Expr) -> Type {
    let mut row = row;
    for path in facts(test, true) {
        let [root, field] = &path[..] else { continue };
        if root != ROW {
            continue;
        }
        let Type::Record(record) = &row else { continue };
        let narrow = |(name, ty): &(String, Type)| match ty {
            Type::Optional(of) if name == field => (name.clone(), (**of).clone()),
            ty => (name.clone(), ty.clone()),
        };
        let narrowed: Vec<(String, Type)> = record.fields.iter().map(narrow).collect();
        if narrowed != record.fields {
            row = Type::Record(RecordType { name: None, fields: narrowed }.into());
        }
    }
    row
}

/// The paths that are not null when `test` comes out as `truth`.
fn facts(test: &ast::Expr, truth: bool) -> Vec<Vec<String>> {
    use ast::ExprKind as A;
    match &test.kind {
        A::Unary(UnaryOp::Not, of) => facts(of, !truth),
        A::Binary(BinaryOp::And, a, b) if truth => [facts(a, true), facts(b, true)].concat(),
        A::Binary(BinaryOp::Or, a, b) if !truth => [facts(a, false), facts(b, false)].concat(),
        A::Binary(op, a, b) => link(a, *op, b, truth).into_iter().collect(),
        // Of a chain that came out false nobody knows which link it was.
        A::Compare(first, rest) if truth || rest.len() == 1 => {
            let mut left = &**first;
            let mut paths = Vec::new();
            for (op, right) in rest {
                paths.extend(link(left, *op, right, truth));
                left = right;
            }
            paths
        }
        _ => Vec::new(),
    }
}

/// The path that is not null when `a op b` comes out as `truth`.
fn link(a: &ast::Expr, op: BinaryOp, b: &ast::Expr, truth: bool) -> Option<Vec<String>> {
    let tells = match op {
        BinaryOp::NotEqual => truth,
        BinaryOp::Equal => !truth,
        _ => false,
    };
    match (&a.kind, &b.kind) {
        (ast::ExprKind::Null, _) if tells => path(b),
        (_, ast::ExprKind::Null) if tells => path(a),
        _ => None,
    }
}

fn path(expr: &ast::Expr) -> Option<Vec<String>> {
    use ast::ExprKind as A;
    match &expr.kind {
        A::Name(name) => Some(vec![name.clone()]),
        A::RowPath(fields) => {
            let fields = fields.iter().map(|field| field.text.clone());
            Some(std::iter::once(ROW.to_string()).chain(fields).collect())
        }
        A::Field(of, name) => {
            let mut path = path(of)?;
            path.push(name.text.clone());
            Some(path)
        }
        _ => None,
    }
}
