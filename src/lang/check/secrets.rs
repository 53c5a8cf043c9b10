//! Where secrets may stand, and how they are declared.
//!
//! A secret goes to an argument that asks for one, on the way through constants, records, lists,
//! `if` and the arguments of defs. Everything that would look at it or keep it is refused here.

use crate::lang::diagnostic::Diagnostic;
use crate::lang::fold::{Nothing, fold};
use crate::lang::program::{Expr, ExprKind, Param, SourceKind};
use crate::lang::secrets::{holds_secret, secret_name};
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::Type;
use crate::lang::value::Value;

use super::fit::noun;
use super::infer::{Checker, Place};
use super::world::World;

/// Whether a value of `given` would bring a secret to a place of `wanted` that asks for none.
pub(super) fn strays(given: &Type, wanted: &Type) -> bool {
    use Type as T;
    match (given, wanted) {
        (_, T::Unknown)
        | (T::Secret, T::Secret | T::Secrets)
        | (T::Record(_) | T::Secrets, T::Secrets) => false,
        (T::Optional(given), T::Optional(wanted)) => strays(given, wanted),
        (given, T::Optional(wanted)) => strays(given, wanted),
        // Nothing of it is told here: that it may be absent is the mistake.
        (T::Optional(given), wanted) => strays(given, wanted),
        (T::List(given), T::List(wanted)) => strays(given, wanted),
        (T::Record(given), T::Record(wanted)) => {
            !std::sync::Arc::ptr_eq(given, wanted)
                && given.fields.iter().any(|(name, given)| match wanted.field(name) {
                    Some(wanted) => strays(given, wanted),
                    None => holds_secret(given),
                })
        }
        (given, _) => holds_secret(given),
    }
}

/// What a program may do with a secret.
const WAY: &str = "a secret goes to arguments that ask for one, and nowhere else: \
                   `exec.run(command: \"… $NAME …\", secrets: { NAME: … })`";

/// The message for a secret at a place where none may be.
pub(super) fn misplaced(what: &str, expr: &Expr) -> Diagnostic {
    let label = match &expr.ty {
        Type::Secret => "this is a secret".to_string(),
        Type::Secrets => "these are secrets".to_string(),
        Type::Optional(_) => "this may be a secret".to_string(),
        other => format!("there is a secret in this {}", noun(other)),
    };
    Diagnostic::error("E0208", format!("{what} cannot be a secret")).at(expr.span, label).help(WAY)
}

/// The message for a secret that would be kept as a result.
pub(super) fn kept(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error("E0208", format!("{what} cannot be a secret"))
        .at(span, "results are kept and shown")
        .help(WAY)
}

/// The variable that the default of a secret parameter names.
pub(in crate::lang) fn variable_of(default: &Expr) -> Option<&str> {
    match &default.kind {
        ExprKind::Source(SourceKind::Env, name) => match &name.kind {
            ExprKind::Const(name) => name.as_str(),
            _ => None,
        },
        ExprKind::Const(value @ Value::Record(_)) if default.ty == Type::Secret => {
            secret_name(value)
        }
        _ => None,
    }
}

/// `secret param name: str = env("NAME")`.
pub(super) fn secret_parameter(
    world: &World,
    module: usize,
    param: &ast::Param,
    doc: &str,
    ty: &Type,
    found: &mut Vec<Diagnostic>,
) -> Param {
    let name = &param.name;
    if !matches!(ty, Type::Str | Type::Secret | Type::Unknown) {
        found.push(
            Diagnostic::error("E0209", format!("the secret `{}` is not text", name.text))
                .at(param.ty.span, format!("this is {}", noun(ty)))
                .help(format!("write `secret param {}: str`", name.text)),
        );
    }
    if let Some(bound) = &param.bound {
        found.push(
            Diagnostic::error("E0209", format!("the secret `{}` has a condition", name.text))
                .at(bound.span, "this would look at it")
                .help("leave `where …` out: nothing is known of a secret before a call needs it"),
        );
    }
    let default = param.default.as_ref().and_then(|written| {
        let before = found.len();
        let mut checker = Checker::new(world, module, Place::Constant, found);
        let default = checker.expr(written, None);
        let default = fold(default, &mut Nothing, found);
        if found.len() == before && variable_of(&default).is_none() {
            found.push(
                Diagnostic::error(
                    "E0209",
                    format!("the default of the secret `{}` is no variable", name.text),
                )
                .at(written.span, "who reads the program would read this")
                .help(format!(
                    "say which variable holds it: `secret param {}: str = env(\"NAME\")`",
                    name.text
                )),
            );
        }
        (found.len() == before).then_some(default)
    });
    Param {
        name: name.text.clone(),
        ty: Type::Secret,
        doc: doc.to_string(),
        default,
        bound: None,
        secret: true,
        span: name.span,
    }
}
