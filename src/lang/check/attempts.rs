//! `try`: the bounded loop.
//!
//! What the next attempt is told has a type that is only known from the attempt itself, which uses
//! it. So the body is checked twice: once with feedback that fits everything, to learn its type, and
//! then for good with that type, absent at the first attempt. A `try` in a `try` would double the
//! work with every level and is refused; defs may call each other, each with its own.

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::{Expr, ExprKind, Try};
use crate::lang::secrets::holds_secret;
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::Type;
use crate::lang::value::Value;

use super::infer::{Checker, Place, make};
use super::resolve::resolve;
use super::secrets::misplaced;

/// The most attempts that a `try` may make.
pub const MAX_ATTEMPTS: i64 = 100;

impl Checker<'_> {
    pub(super) fn try_expr(&mut self, attempt: &ast::Try, span: Span) -> Expr {
        let start = Span { end: (span.start + 3).min(span.end), ..span };
        if matches!(self.place, Place::Constant | Place::Policy | Place::Given | Place::Default) {
            self.tell(
                Diagnostic::error("E0110", "`try` cannot be used here")
                    .at(start, "a constant is known before anything runs")
                    .help("make it a stage, or write it into a `def`"),
            );
            return Self::unknown(span);
        }
        if self.trying {
            self.tell(
                Diagnostic::error("E0703", "a `try` stands inside of another")
                    .at(start, "the inner one")
                    .help("write the inner one as a `def` of its own and call it here"),
            );
            return Self::unknown(span);
        }
        let attempts = self.want(&attempt.attempts, &Type::Int, "the number of attempts");
        if let ExprKind::Const(Value::Int(count)) = attempts.kind
            && !(1..=MAX_ATTEMPTS).contains(&count)
        {
            self.tell(
                Diagnostic::error("E0701", format!("{count} attempts cannot be made"))
                    .at(attempt.attempts.span, format!("between 1 and {MAX_ATTEMPTS}")),
            );
        }
        let depends = attempts.any(&|expr| {
            matches!(expr.kind, ExprKind::Stage(_) | ExprKind::Call(_) | ExprKind::For(_))
        });
        if depends {
            self.tell(
                Diagnostic::error("E0701", "the number of attempts is not known before the run")
                    .at(attempt.attempts.span, "this depends on what runs")
                    .help("write a number, or a parameter: every program ends"),
            );
        }
        if let Some((name, _)) = &attempt.next
            && attempt.feedback.as_ref().is_none_or(|feedback| feedback.text != name.text)
        {
            let (label, help) = match &attempt.feedback {
                Some(feedback) => (
                    format!("this is not `{}`", feedback.text),
                    format!(
                        "write `{} = …`: only what stands behind `with` is handed on",
                        feedback.text
                    ),
                ),
                None => (
                    "handed on to nobody".to_string(),
                    format!("write `try … with {}`, so that the next attempt sees it", name.text),
                ),
            };
            self.tell(
                Diagnostic::error(
                    "E0702",
                    format!("`{}` is not what this `try` hands on", name.text),
                )
                .at(name.span, label)
                .help(help),
            );
        }
        let feedback = match &attempt.next {
            None => Type::Null,
            Some(_) => {
                let before = self.found.len();
                let (_, told) = self.attempt(attempt, Type::Unknown, span);
                self.found.truncate(before);
                match told {
                    Type::Optional(_) | Type::Unknown | Type::Null => told,
                    told => Type::Optional(told.into()),
                }
            }
        };
        let (tried, _) = self.attempt(attempt, feedback, span);
        let Some(mut tried) = tried else {
            return Self::unknown(span);
        };
        tried.attempts = Box::new(attempts);
        let ty = match &tried.accepted.ty {
            ty @ (Type::Optional(_) | Type::Unknown) => ty.clone(),
            ty => Type::Optional(ty.clone().into()),
        };
        make(ExprKind::Try(tried), ty, span)
    }

    /// One attempt, with the type of the feedback that it hands on.
    fn attempt(&mut self, attempt: &ast::Try, feedback: Type, span: Span) -> (Option<Try>, Type) {
        let before = self.found.len();
        let depth = self.locals.len();
        self.trying = true;
        if let Some(name) = &attempt.feedback {
            self.locals.push((name.text.clone(), feedback.clone()));
        }
        let mut bindings = Vec::new();
        for binding in &attempt.bindings {
            let value = self.bound_value(binding);
            if self.locals[depth..].iter().any(|(local, _)| *local == binding.name.text) {
                self.tell(
                    Diagnostic::error("E0101", format!("`{}` is bound twice", binding.name.text))
                        .at(binding.name.span, "again here"),
                );
            }
            let ty = self.bounded(value.ty.clone(), binding.name.span);
            self.locals.push((binding.name.text.clone(), ty));
            bindings.push((binding.name.text.clone(), value));
        }
        let when = attempt
            .when
            .as_ref()
            .map(|when| Box::new(self.want(when, &Type::Bool, "the condition of `accept`")));
        // What is accepted meets the condition; what is handed on does not.
        let nothing = ast::Expr { kind: ast::ExprKind::Null, span };
        let condition = attempt.when.as_deref().unwrap_or(&nothing);
        let accepted = self.given(condition, true, |own| own.expr(&attempt.accepted, None));
        let accepted = Box::new(accepted);
        let next = attempt.next.as_ref().map(|(_, next)| {
            Box::new(self.given(condition, false, |own| match &feedback {
                Type::Unknown => own.expr(next, None),
                wanted => own.want(next, wanted, "what the next attempt is told"),
            }))
        });
        if let Some(next) = &next
            && holds_secret(&next.ty)
        {
            self.tell(misplaced("what the next attempt is told", next));
        }
        self.trying = false;
        self.locals.truncate(depth);
        let told = next.as_ref().map_or(Type::Null, |next| next.ty.clone());
        let is_good = self.found.len() == before;
        let feedback = attempt.feedback.as_ref().map(|name| name.text.clone());
        let attempts = Box::new(Self::unknown(span));
        let tried = Try { attempts, feedback, bindings, accepted, when, next };
        (is_good.then_some(tried), told)
    }

    /// The value of a `let` in a block.
    pub(super) fn bound_value(&mut self, binding: &ast::Let) -> Expr {
        match &binding.ty {
            Some(ty) => {
                let wanted = resolve(self.world, self.place_of_module, ty, false, self.found);
                let what = format!("`{}`", binding.name.text);
                self.want(&binding.value, &wanted, &what)
            }
            None => self.expr(&binding.value, None),
        }
    }
}
