//! Names in expressions: locals, and what the module declares.

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::program::{Expr, ExprKind};
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::Type;
use crate::lang::value::Value;

use super::infer::{Checker, Place, make};
use super::origins::Named;
use super::world::{Global, GlobalKind};

/// How many parts constants may add to a program in all.
const MAX_INLINED: usize = 2_000_000;

impl Checker<'_> {
    /// Where the stage, parameter or constant that an expression starts from is declared.
    pub(super) fn declared(&self, expr: &ast::Expr) -> Option<(Span, String)> {
        match &expr.kind {
            ast::ExprKind::Name(name) if !self.is_local(name) => {
                let global = self.module.values.get(name)?;
                Some((global.span, format!("`{name}` is {}", global.ty)))
            }
            ast::ExprKind::Field(of, _) | ast::ExprKind::Filter(of, _) => self.declared(of),
            _ => None,
        }
    }

    pub(super) fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name)
    }

    pub(super) fn name(&mut self, name: &str, hint: Option<&Type>, span: Span) -> Expr {
        if let Some((_, ty)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return make(ExprKind::Local(name.to_string()), ty.clone(), span);
        }
        let module = self.module;
        if self.place != Place::Given
            && let Some(global) = module.values.get(name)
        {
            return self.global(name, global, span);
        }
        // `on` and `off` are words of a setting, not strings that one must quote.
        if let Some(Type::Enum(words)) = hint
            && matches!(name, "on" | "off")
            && words.iter().any(|word| word == name)
        {
            let ty = Type::Enum(words.clone());
            return make(ExprKind::Const(Value::str(name)), ty, span);
        }
        if module.broken.contains(name) {
            return Self::unknown(span);
        }
        let mut known: Vec<&str> = self.locals.iter().map(|(local, _)| local.as_str()).collect();
        known.extend(module.values.keys().map(String::as_str));
        known.retain(|name| !name.starts_with('.'));
        let mut diagnostic = Diagnostic::error("E0102", format!("nothing here is called `{name}`"));
        diagnostic = if module.uses.contains_key(name) {
            diagnostic
                .at(span, "this is a module")
                .help(format!("call one of its functions: `{name}.…(…)`"))
        } else if module.defs.contains_key(name) {
            diagnostic.at(span, "this is a function").help(format!("call it: `{name}(…)`"))
        } else {
            let label = did_you_mean(name, known.iter().copied(), "unknown name");
            let help = match hint {
                Some(Type::Str) => Some(format!("for text write \"{name}\"")),
                Some(words @ Type::Enum(_)) => Some(format!("one of {words} is asked for")),
                _ if known.is_empty() => None,
                _ => Some(format!("there is {}", listed(known.iter().copied()))),
            };
            diagnostic.at(span, label).maybe_help(help)
        };
        self.tell(diagnostic);
        Self::unknown(span)
    }

    pub(super) fn global(&mut self, name: &str, global: &Global, span: Span) -> Expr {
        let refuse = |what: &str, help: &str| {
            Diagnostic::error("E0110", format!("{what} `{name}` cannot be used here"))
                .at(
                    span,
                    match self.place {
                        Place::Constant => "a constant is known before anything runs",
                        Place::Default => "a default is known before anything runs",
                        Place::Policy => "a policy is known before anything runs",
                        _ => "a `def` knows its arguments and constants",
                    },
                )
                .at(global.span, "declared here")
                .help(help)
        };
        match &global.kind {
            GlobalKind::Let(expr, parts) => {
                if !self.module.library {
                    self.world.note_named(Named::constant(global.span));
                }
                let inlined = self.world.inlined.get().saturating_add(*parts);
                self.world.inlined.set(inlined);
                if inlined > MAX_INLINED {
                    self.tell(
                        Diagnostic::error("E0404", "this grows too large")
                            .at(span, "constants of constants add up here")
                            .help("make the large constant a stage"),
                    );
                    return Self::unknown(span);
                }
                Expr { span, ..expr.clone() }
            }
            GlobalKind::Param => match self.place {
                Place::Constant | Place::Stage | Place::Policy => {
                    make(ExprKind::Param(name.to_string()), global.ty.clone(), span)
                }
                _ => {
                    let told = refuse("the parameter", "pass it as an argument");
                    self.tell(told);
                    Self::unknown(span)
                }
            },
            GlobalKind::Stage => match self.place {
                Place::Stage => make(ExprKind::Stage(name.to_string()), global.ty.clone(), span),
                Place::Body | Place::Default => {
                    let told = refuse("the stage", "pass it as an argument");
                    self.tell(told);
                    Self::unknown(span)
                }
                _ => {
                    let told = refuse("the stage", "only a stage can read a stage");
                    self.tell(told);
                    Self::unknown(span)
                }
            },
        }
    }
}
