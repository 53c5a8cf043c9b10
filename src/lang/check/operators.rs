//! What the operators with two sides take and give.

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::{BinaryOp, Expr};
use crate::lang::secrets::holds_secret;
use crate::lang::types::Type;

use super::fit::{is_number, is_unit, join, noun};
use super::secrets::misplaced;

/// The type that an operator gives, `None` when it does not work between the two.
pub(super) fn result(op: BinaryOp, left: &Type, right: &Type) -> Option<Type> {
    use BinaryOp as B;
    let unknown = *left == Type::Unknown || *right == Type::Unknown;
    if holds_secret(left) || holds_secret(right) {
        return None;
    }
    match op {
        B::And | B::Or => {
            let truth = |ty: &Type| matches!(ty, Type::Bool | Type::Unknown);
            (truth(left) && truth(right)).then_some(Type::Bool)
        }
        B::Equal | B::NotEqual => (unknown || can_equal(left, right)).then_some(Type::Bool),
        B::Less | B::LessEqual | B::Greater | B::GreaterEqual => {
            (unknown || have_order(left, right)).then_some(Type::Bool)
        }
        B::In => match right {
            _ if unknown => Some(Type::Bool),
            Type::List(item) => can_equal(left, item).then_some(Type::Bool),
            Type::Json => Some(Type::Bool),
            right => (is_text(left) && is_text(right)).then_some(Type::Bool),
        },
        _ if unknown => Some(Type::Unknown),
        B::Add if is_text(left) && is_text(right) => Some(Type::Str),
        B::Add if left.item().is_some() && right.item().is_some() => join(left, right),
        B::Add | B::Subtract | B::Remainder => sum(left, right),
        B::Multiply => product(left, right),
        B::Divide => quotient(left, right),
    }
}

fn is_text(ty: &Type) -> bool {
    matches!(ty, Type::Str | Type::Enum(_))
}

fn can_equal(left: &Type, right: &Type) -> bool {
    let bare = |ty: &Type| match ty {
        Type::Optional(of) => (**of).clone(),
        other => other.clone(),
    };
    let (left, right) = (bare(left), bare(right));
    if matches!(left, Type::Function(..)) || matches!(right, Type::Function(..)) {
        return false;
    }
    (is_plain_number(&left) && is_plain_number(&right))
        || (is_text(&left) && is_text(&right))
        || join(&left, &right).is_some()
}

/// Ints, floats and percentages are compared by value: `r.rate > 5%`.
fn is_plain_number(ty: &Type) -> bool {
    matches!(ty, Type::Int | Type::Float | Type::Percent)
}

fn have_order(left: &Type, right: &Type) -> bool {
    let ordered = |ty: &Type| is_number(ty) || is_text(ty) || *ty == Type::Json;
    (is_plain_number(left) && is_plain_number(right))
        || (is_unit(left) && left == right)
        || (is_text(left) && is_text(right))
        || ((*left == Type::Json || *right == Type::Json) && ordered(left) && ordered(right))
}

fn sum(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Int, Type::Int) => Some(Type::Int),
        (Type::Int | Type::Float, Type::Int | Type::Float) => Some(Type::Float),
        (left, right) => (is_unit(left) && left == right).then(|| left.clone()),
    }
}

fn product(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Int, Type::Int) => Some(Type::Int),
        // A share of a number is a number; a share of an amount is such an amount.
        (a, b) if is_plain_number(a) && is_plain_number(b) => Some(Type::Float),
        (unit, number) | (number, unit) if is_unit(unit) && is_plain_number(number) => {
            Some(unit.clone())
        }
        _ => None,
    }
}

fn quotient(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Int | Type::Float, Type::Int | Type::Float) => Some(Type::Float),
        (left, right) if is_unit(left) && left == right => Some(Type::Float),
        (left, Type::Int | Type::Float) if is_unit(left) => Some(left.clone()),
        _ => None,
    }
}

/// How an operator is written.
pub(super) fn sign(op: BinaryOp) -> &'static str {
    use BinaryOp as B;
    match op {
        B::Add => "+",
        B::Subtract => "-",
        B::Multiply => "*",
        B::Divide => "/",
        B::Remainder => "%",
        B::Equal => "==",
        B::NotEqual => "!=",
        B::Less => "<",
        B::LessEqual => "<=",
        B::Greater => ">",
        B::GreaterEqual => ">=",
        B::And => "and",
        B::Or => "or",
        B::In => "in",
    }
}

/// The message for two sides that an operator does not take.
pub(super) fn refuse(op: BinaryOp, left: &Expr, right: &Expr) -> Diagnostic {
    if let Some(secret) = [left, right].into_iter().find(|side| holds_secret(&side.ty)) {
        return misplaced(&format!("a side of `{}`", sign(op)), secret);
    }
    let units =
        (is_unit(&left.ty) && is_number(&right.ty)) || (is_unit(&right.ty) && is_number(&left.ty));
    let code = if units { "E0203" } else { "E0204" };
    let help = match op {
        BinaryOp::Add if is_text(&left.ty) || is_text(&right.ty) => {
            Some("write values into a string: \"… {value} …\"")
        }
        BinaryOp::Add if left.ty.item().is_some() => Some("to add one item write `… + [item]`"),
        _ if units => Some("both sides need the same unit"),
        _ => None,
    };
    let message =
        format!("`{}` does not work between {} and {}", sign(op), noun(&left.ty), noun(&right.ty));
    Diagnostic::error(code, message)
        .at(right.span, format!("this is {}", noun(&right.ty)))
        .at(left.span, format!("this is {}", noun(&left.ty)))
        .maybe_help(help.map(str::to_string))
}
