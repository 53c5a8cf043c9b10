//! The form of an expression under the type that is asked for, and how to write what was meant.

use crate::lang::program::{Expr, ExprKind};
use crate::lang::types::{RecordType, Type};
use crate::lang::value::Value;

use super::fit::{Vars, fits, join};
use super::infer::make;

/// Gives an expression the form of the type that it stands for: whole numbers that stand for floats
/// become floats, words become words of the enumeration. It fits already.
pub(super) fn coerced(expr: Expr, wanted: &Type) -> Expr {
    let wanted = match wanted {
        Type::Optional(of) if expr.ty != Type::Null => &**of,
        other => other,
    };
    match (wanted, &expr.ty) {
        (Type::Float, Type::Int) => match expr.kind {
            ExprKind::Const(Value::Int(int)) => {
                make(ExprKind::Const(Value::Float(int as f64)), Type::Float, expr.span)
            }
            kind => make(kind, Type::Float, expr.span),
        },
        (Type::List(item), Type::List(_)) => match expr.kind {
            ExprKind::List(items) => {
                let items: Vec<Expr> = items.into_iter().map(|of| coerced(of, item)).collect();
                let own = items.iter().try_fold(Type::Unknown, |ty, item| join(&ty, &item.ty));
                make(ExprKind::List(items), own.map_or(expr.ty, Type::list), expr.span)
            }
            kind => make(kind, expr.ty, expr.span),
        },
        (Type::Record(record), Type::Record(own)) => match expr.kind {
            ExprKind::Record(fields) => {
                let name = own.name.clone();
                let fields: Vec<(String, Expr)> = fields
                    .into_iter()
                    .map(|(name, field)| match record.field(&name) {
                        Some(ty) => (name, coerced(field, ty)),
                        None => (name, field),
                    })
                    .collect();
                let types = fields.iter().map(|(name, of)| (name.clone(), of.ty.clone())).collect();
                let ty = Type::Record(RecordType { name, fields: types }.into());
                make(ExprKind::Record(fields), ty, expr.span)
            }
            kind => make(kind, expr.ty, expr.span),
        },
        _ => expr,
    }
}

/// How to write what was asked for.
pub(super) fn advice(expr: &Expr, wanted: &Type) -> Option<String> {
    let value = match &expr.kind {
        ExprKind::Const(value) => Some(value),
        _ => None,
    };
    let wanted = match wanted {
        Type::Optional(of) => &**of,
        other => other,
    };
    match (wanted, &expr.ty, value) {
        (Type::Percent, Type::Int | Type::Float, Some(value)) => {
            let share = value.as_float()?;
            let percent = if share.abs() <= 1.0 { share * 100.0 } else { share };
            Some(format!("write `{}%`", (percent * 1e9).round() / 1e9))
        }
        (Type::Duration, Type::Int, Some(value)) => Some(format!("write `{}s`", value.as_int()?)),
        (Type::Bytes, Type::Int, Some(value)) => Some(format!("write `{}MiB`", value.as_int()?)),
        (Type::Money, Type::Int | Type::Float, Some(value)) => {
            Some(format!("write `${}`", value.as_float()?))
        }
        (Type::Model, Type::Str, Some(value)) => {
            Some(format!("write `model(\"{}\")`", value.as_str()?))
        }
        (Type::Sandbox, Type::Str, Some(value)) => {
            Some(format!("write `sandbox(\"{}\")`", value.as_str()?))
        }
        // A text written there may be the secret itself: it is not repeated.
        (Type::Secret, Type::Str, _) => {
            Some("say which variable holds it: `secret(\"NAME\")`".to_string())
        }
        (Type::Secrets, Type::Record(_), _) => {
            Some("write `{ NAME: secret(\"NAME\") }`, or declare a `secret param`".to_string())
        }
        (Type::Secrets, Type::Secret, _) => {
            Some("say by which name it is found: `{ NAME: … }`".to_string())
        }
        (Type::Dir, Type::Str, Some(value)) => {
            Some(format!("write `dir(\"{}\")`", value.as_str()?))
        }
        (Type::File, Type::Str, Some(value)) => {
            Some(format!("write `file(\"{}\")`", value.as_str()?))
        }
        (Type::Str, Type::Int | Type::Float | Type::Bool, _) => {
            Some("write it into a string: \"{…}\"".to_string())
        }
        (Type::Int, Type::Float, _) => {
            Some("`/` gives a float; int arguments take whole numbers".to_string())
        }
        (Type::List(item), given, _) if fits(given, item, &mut Vars::new()).is_ok() => {
            Some("put it into a list: `[…]`".to_string())
        }
        (wanted, Type::List(item), _) if fits(item, wanted, &mut Vars::new()).is_ok() => Some(
            "it asks for one, this is a list of them: `for x in … { … }` goes through it"
                .to_string(),
        ),
        (wanted, Type::Optional(of), _) if fits(of, wanted, &mut Vars::new()).is_ok() => {
            Some("it may be absent; filter first: `… where .field != null`".to_string())
        }
        _ => None,
    }
}
