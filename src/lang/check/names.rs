//! Which names of its own module an expression or a type uses, before anything is checked. This is
//! what puts declarations in order: a program may declare things in any order it likes.

use std::collections::BTreeSet;

use crate::lang::syntax::ast;

/// The free names of an expression: values, and functions called without a module.
#[derive(Default)]
pub(in crate::lang) struct Names {
    pub(in crate::lang) values: BTreeSet<String>,
    pub(super) functions: BTreeSet<String>,
}

impl Names {
    pub(in crate::lang) fn of(expr: &ast::Expr) -> Names {
        let mut names = Names::default();
        names.expr(expr, &mut Vec::new());
        names
    }

    fn expr(&mut self, expr: &ast::Expr, bound: &mut Vec<String>) {
        use ast::ExprKind as A;
        match &expr.kind {
            A::Name(name) => {
                if !bound.contains(name) {
                    self.values.insert(name.clone());
                }
            }
            A::Field(of, _) | A::Unary(_, of) => self.expr(of, bound),
            A::Index(a, b) | A::Binary(_, a, b) | A::Filter(a, b) => {
                self.expr(a, bound);
                self.expr(b, bound);
            }
            A::Range { from, to, .. } => {
                self.expr(from, bound);
                self.expr(to, bound);
            }
            A::Compare(first, rest) => {
                self.expr(first, bound);
                rest.iter().for_each(|(_, of)| self.expr(of, bound));
            }
            A::List(items) => items.iter().for_each(|item| self.expr(item, bound)),
            A::Record(fields) => fields.iter().for_each(|(_, field)| self.expr(field, bound)),
            A::Text(parts) => {
                for part in parts {
                    if let ast::TextPart::Hole(hole) = part {
                        self.expr(hole, bound);
                    }
                }
            }
            A::If(test, yes, no) => {
                [test, yes, no].into_iter().for_each(|of| self.expr(of, bound));
            }
            A::Call(call) => {
                if call.module.is_none() {
                    self.functions.insert(call.name.text.clone());
                }
                call.args.iter().for_each(|arg| self.expr(&arg.value, bound));
            }
            A::For(each) => {
                let depth = bound.len();
                for (name, rows) in &each.generators {
                    self.expr(rows, bound);
                    bound.push(name.text.clone());
                }
                if let Some(condition) = &each.condition {
                    self.expr(condition, bound);
                }
                self.expr(&each.body, bound);
                bound.truncate(depth);
            }
            A::Try(attempt) => {
                self.expr(&attempt.attempts, bound);
                let depth = bound.len();
                bound.extend(attempt.feedback.iter().map(|name| name.text.clone()));
                for binding in &attempt.bindings {
                    self.expr(&binding.value, bound);
                    bound.push(binding.name.text.clone());
                }
                self.expr(&attempt.accepted, bound);
                attempt.when.iter().for_each(|when| self.expr(when, bound));
                attempt.next.iter().for_each(|(_, next)| self.expr(next, bound));
                bound.truncate(depth);
            }
            A::Null
            | A::Bool(_)
            | A::Int(_)
            | A::Float(_)
            | A::Percent(_)
            | A::Bytes(_)
            | A::Duration(_)
            | A::Money(_)
            | A::RowPath(_)
            | A::Broken => {}
        }
    }
}

/// The types of its own module that a type names.
pub(super) fn of_type(ty: &ast::TypeExpr) -> BTreeSet<String> {
    fn collect(ty: &ast::TypeExpr, names: &mut BTreeSet<String>) {
        match &ty.kind {
            ast::TypeKind::Name(None, name) => {
                names.insert(name.text.clone());
            }
            ast::TypeKind::Name(Some(_), _) | ast::TypeKind::Enum(_) => {}
            ast::TypeKind::List(of) | ast::TypeKind::Optional(of) => collect(of, names),
            ast::TypeKind::Function(from, to) => {
                collect(from, names);
                collect(to, names);
            }
            ast::TypeKind::Record(fields) => {
                fields.iter().for_each(|field| collect(&field.ty, names));
            }
        }
    }
    let mut names = BTreeSet::new();
    collect(ty, &mut names);
    names
}
