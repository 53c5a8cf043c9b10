//! What pure expressions give.
//!
//! Everything but calls, `for` and what lies outside of the program is evaluated here: by the
//! checker (constants), by [`super::bind`] (parameters) and by the engine (rows), so that an
//! operator means the same at all three. The engine, whose tables lie in the store, walks `for` and
//! filters itself and uses the pieces: [`binary`], [`unary`], [`field`], [`index`], [`text`],
//! [`apply`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::program::{BinaryOp, Expr, ExprKind, Function, UnaryOp};
use super::range::{IntRange, MAX_ITEMS};
use super::source::Span;
use super::template::Template;
use super::types::Type;
use super::value::{Table, Value};

/// The longest text that an expression may make, in bytes.
const MAX_TEXT: usize = 64 << 20;

/// Why an expression gives no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// Its values do not allow it: a division by zero, an index past the end.
    #[error("{message}")]
    Failed {
        /// What is wrong.
        message: String,
        /// Where, as near as it is known.
        span: Option<Span>,
    },
    /// It is not for this evaluator: a call, a stage that the scope does not know, rows in the store.
    #[error("{0} can only be evaluated by a run")]
    NotPure(String),
}

fn failed(message: impl Into<String>) -> EvalError {
    EvalError::Failed { message: message.into(), span: None }
}

/// What finds the value of a stage.
pub type Lookup<'a> = &'a (dyn Fn(&str) -> Option<Value> + Sync);

/// The names that an expression may use and their values.
#[derive(Clone, Default)]
pub struct Scope<'a> {
    locals: Vec<(String, Value)>,
    stages: Option<Lookup<'a>>,
}

impl<'a> Scope<'a> {
    /// No names at all.
    pub fn new() -> Scope<'a> {
        Scope::default()
    }

    /// The same scope, with values for stages.
    #[must_use]
    pub fn stages(mut self, stages: Lookup<'a>) -> Scope<'a> {
        self.stages = Some(stages);
        self
    }

    /// Binds a local, in front of an earlier one of that name.
    pub fn push(&mut self, name: &str, value: Value) {
        self.locals.push((name.to_string(), value));
    }

    /// Forgets the local that was bound last.
    pub fn pop(&mut self) {
        self.locals.pop();
    }

    /// The value of a local.
    pub fn local(&self, name: &str) -> Option<&Value> {
        self.locals.iter().rev().find(|(bound, _)| bound == name).map(|(_, value)| value)
    }
}

/// The value of an expression.
///
/// # Errors
/// [`EvalError::Failed`] when the values do not allow it, [`EvalError::NotPure`] when it holds a
/// call, a `for` or anything else that only a run can evaluate.
pub fn evaluate(expr: &Expr, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
    let value = kind(expr, scope).map_err(|err| match err {
        EvalError::Failed { message, span: None } => {
            EvalError::Failed { message, span: Some(expr.span) }
        }
        err => err,
    })?;
    Ok(shape(value, &expr.ty))
}

fn kind(expr: &Expr, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
    let not_pure = |what: &str| Err(EvalError::NotPure(what.to_string()));
    Ok(match &expr.kind {
        ExprKind::Const(value) => value.clone(),
        ExprKind::Local(name) => match scope.local(name) {
            Some(value) => value.clone(),
            None => return Err(EvalError::NotPure(format!("`{name}`"))),
        },
        ExprKind::Stage(name) => match scope.stages.and_then(|stages| stages(name)) {
            Some(value) => value,
            None => return Err(EvalError::NotPure(format!("stage `{name}`"))),
        },
        ExprKind::Param(name) => return Err(EvalError::NotPure(format!("parameter `{name}`"))),
        ExprKind::Field(of, name) => match in_place(of, scope) {
            Some(of) => member(of, name, &expr.ty)?,
            None => member(&evaluate(of, scope)?, name, &expr.ty)?,
        },
        ExprKind::Index(of, at) => index(&evaluate(of, scope)?, &evaluate(at, scope)?)?,
        ExprKind::List(items) => {
            Value::List(items.iter().map(|item| evaluate(item, scope)).collect::<Result<_, _>>()?)
        }
        ExprKind::Record(fields) => Value::Record(
            fields
                .iter()
                .map(|(name, field)| Ok((name.clone(), evaluate(field, scope)?)))
                .collect::<Result<_, EvalError>>()?,
        ),
        ExprKind::Text(parts) => {
            let mut out = String::new();
            for part in parts {
                out.push_str(&text(&evaluate(part, scope)?));
                if out.len() > MAX_TEXT {
                    return Err(failed("the text grows past 64 MiB"));
                }
            }
            Value::Str(out)
        }
        ExprKind::Unary(op, of) => unary(*op, &evaluate(of, scope)?)?,
        ExprKind::Binary(BinaryOp::And, left, right) => {
            Value::Bool(truth(&evaluate(left, scope)?)? && truth(&evaluate(right, scope)?)?)
        }
        ExprKind::Binary(BinaryOp::Or, left, right) => {
            Value::Bool(truth(&evaluate(left, scope)?)? || truth(&evaluate(right, scope)?)?)
        }
        ExprKind::Binary(op, left, right) => {
            binary(*op, &evaluate(left, scope)?, &evaluate(right, scope)?)?
        }
        ExprKind::If(test, yes, no) => {
            let branch = if truth(&evaluate(test, scope)?)? { yes } else { no };
            evaluate(branch, scope)?
        }
        ExprKind::Range { from, to, inclusive } => {
            let (from, to) = (evaluate(from, scope)?, evaluate(to, scope)?);
            Value::List(IntRange::of(&from, &to, *inclusive)?.items()?)
        }
        ExprKind::Filter(rows, test) => match evaluate(rows, scope)? {
            Value::List(items) => {
                let mut kept = Vec::new();
                for item in items {
                    scope.push(&test.param, item.clone());
                    let keep = evaluate(&test.body, scope).and_then(|keep| truth(&keep));
                    scope.pop();
                    if keep? {
                        kept.push(item);
                    }
                }
                Value::List(kept)
            }
            Value::Table(_) => return not_pure("a filter over a table"),
            _ => return Err(failed("`where` filters a list")),
        },
        ExprKind::Function(function) => Value::Function(Arc::new(close(function, scope))),
        ExprKind::Block(bindings, result) => {
            let mut bound = 0;
            let mut value = Ok(());
            for (name, binding) in bindings {
                match evaluate(binding, scope) {
                    Ok(found) => scope.push(name, found),
                    Err(err) => {
                        value = Err(err);
                        break;
                    }
                }
                bound += 1;
            }
            let value = value.and_then(|()| evaluate(result, scope));
            (0..bound).for_each(|_| scope.pop());
            value?
        }
        ExprKind::Source(..) => return not_pure("what is read from outside"),
        ExprKind::Builtin(_, settings) => Value::Record(
            settings
                .iter()
                .map(|(name, value)| Ok((name.clone(), evaluate(value, scope)?)))
                .collect::<Result<_, EvalError>>()?,
        ),
        ExprKind::Template(template, args) => {
            let template = evaluate(template, scope)?;
            let args = args
                .iter()
                .map(|(name, value)| Ok((name.clone(), evaluate(value, scope)?)))
                .collect::<Result<_, EvalError>>()?;
            return rendered(&template, &args);
        }
        ExprKind::Length(of) => return length(&evaluate(of, scope)?),
        ExprKind::Call(call) => {
            return Err(EvalError::NotPure(format!("a call of `{}`", call.operator)));
        }
        ExprKind::For(_) => return not_pure("a `for`"),
        ExprKind::Try(_) => return not_pure("a `try`"),
    })
}

/// The record that a chain of names stands for, without a copy of it; `None` when it is not one.
fn in_place<'s>(expr: &Expr, scope: &'s Scope<'_>) -> Option<&'s Value> {
    let value = match &expr.kind {
        ExprKind::Local(name) => scope.local(name)?,
        ExprKind::Field(of, name) => in_place(of, scope)?.get(name)?,
        _ => return None,
    };
    matches!(value, Value::Record(_)).then_some(value)
}

/// The text of a template, as binding left it, with values for its names.
///
/// # Errors
/// When the template refuses the values, or needs rows that lie in the store.
pub fn rendered(template: &Value, args: &BTreeMap<String, Value>) -> Result<Value, EvalError> {
    if args.values().any(|arg| matches!(arg, Value::Table(_))) {
        return Err(EvalError::NotPure("a template over a table".to_string()));
    }
    let template = Template::of(template).ok_or_else(|| failed("this is no template"))?;
    template.render(args).map(Value::Str).map_err(failed)
}

/// `len(value)`.
///
/// # Errors
/// When it has no length.
pub fn length(value: &Value) -> Result<Value, EvalError> {
    let length = match value {
        Value::List(items) => items.len(),
        Value::Record(fields) => fields.len(),
        Value::Str(text) => text.chars().count(),
        Value::Table(table) => table.rows.len(),
        other => return Err(failed(format!("{} has no length", brief(other)))),
    };
    Ok(Value::Int(length as i64))
}

/// Brings a value into the form that its type has: an int that stands for a float becomes one, and
/// sizes, durations and money stay whole.
pub fn shape(value: Value, ty: &Type) -> Value {
    match (ty, value) {
        (Type::Float | Type::Percent, Value::Int(int)) => Value::Float(int as f64),
        (Type::Bytes | Type::Duration | Type::Money, Value::Float(float)) => {
            Value::Int(float.round() as i64)
        }
        (Type::Optional(of), value) => shape(value, of),
        (_, value) => value,
    }
}

/// What a function gives for a value.
///
/// # Errors
/// As [`evaluate`]. A function that was evaluated (a [`Value::Function`]) has no free names left.
pub fn apply(function: &Function, value: &Value) -> Result<Value, EvalError> {
    let mut scope = Scope::new();
    scope.push(&function.param, value.clone());
    evaluate(&function.body, &mut scope)
}

/// The function with the values of the scope's locals written into it, so that it means the same
/// wherever it is applied.
pub fn close(function: &Function, scope: &Scope<'_>) -> Function {
    fn write(expr: Expr, scope: &Scope<'_>, bound: &mut Vec<String>) -> Expr {
        match expr.kind {
            ExprKind::Local(ref name) if !bound.contains(name) => match scope.local(name) {
                Some(value) => Expr { kind: ExprKind::Const(value.clone()), ..expr },
                None => expr,
            },
            // Only filters and functions bind names inside of a pure expression.
            ExprKind::Filter(rows, test) => {
                let rows = Box::new(write(*rows, scope, bound));
                bound.push(test.param.clone());
                let body = write(test.body, scope, bound);
                bound.pop();
                let test = Box::new(Function { param: test.param, body });
                Expr { kind: ExprKind::Filter(rows, test), ..expr }
            }
            ExprKind::Function(inner) => {
                bound.push(inner.param.clone());
                let body = write(inner.body, scope, bound);
                bound.pop();
                let inner = Box::new(Function { param: inner.param, body });
                Expr { kind: ExprKind::Function(inner), ..expr }
            }
            _ => expr.map_children(&mut |child| write(child, scope, bound)),
        }
    }
    let mut bound = vec![function.param.clone()];
    let body = write(function.body.clone(), scope, &mut bound);
    Function { param: function.param.clone(), body }
}

fn truth(value: &Value) -> Result<bool, EvalError> {
    value.as_bool().ok_or_else(|| failed(format!("{} is not true or false", brief(value))))
}

/// `-x` and `not x`.
///
/// # Errors
/// When the value has no such operator, or the result does not fit.
pub fn unary(op: UnaryOp, of: &Value) -> Result<Value, EvalError> {
    match (op, of) {
        (UnaryOp::Not, of) => truth(of).map(|truth| Value::Bool(!truth)),
        (UnaryOp::Negate, Value::Int(int)) => {
            int.checked_neg().map(Value::Int).ok_or_else(|| failed("the int overflows"))
        }
        (UnaryOp::Negate, Value::Float(float)) => Ok(Value::Float(-float)),
        (UnaryOp::Negate, of) => Err(failed(format!("{} has no negative", brief(of)))),
    }
}

/// `a + b` and the like. Here `and` and `or` look at both sides; [`evaluate`] does not.
///
/// # Errors
/// When the values have no such operator, on overflow and on division by zero.
pub fn binary(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, EvalError> {
    use BinaryOp as B;
    match op {
        B::And => Ok(Value::Bool(truth(left)? && truth(right)?)),
        B::Or => Ok(Value::Bool(truth(left)? || truth(right)?)),
        B::Equal => Ok(Value::Bool(equal(left, right))),
        B::NotEqual => Ok(Value::Bool(!equal(left, right))),
        B::Less | B::LessEqual | B::Greater | B::GreaterEqual => {
            let order = match (left, right) {
                (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
                (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
                (Value::Int(a), Value::Float(b)) => whole_and_float(*a, *b),
                (Value::Float(a), Value::Int(b)) => whole_and_float(*b, *a).map(Ordering::reverse),
                (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
                _ => None,
            };
            let order = order.ok_or_else(|| {
                failed(format!("{} and {} have no order", brief(left), brief(right)))
            })?;
            Ok(Value::Bool(match op {
                B::Less => order.is_lt(),
                B::LessEqual => order.is_le(),
                B::Greater => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        B::In => contains(left, right),
        B::Add => match (left, right) {
            (Value::Str(a), Value::Str(b)) if a.len() + b.len() > MAX_TEXT => {
                Err(failed("the text grows past 64 MiB"))
            }
            (Value::Str(a), Value::Str(b)) => Ok(Value::Str(format!("{a}{b}"))),
            (Value::List(a), Value::List(b)) if a.len() + b.len() > MAX_ITEMS => {
                Err(failed("the list grows past ten million items"))
            }
            (Value::List(a), Value::List(b)) => Ok(Value::List([&a[..], &b[..]].concat())),
            (Value::Table(a), Value::Table(b)) => {
                Ok(Value::Table(Arc::new(Table { rows: [&a.rows[..], &b.rows[..]].concat() })))
            }
            (Value::Table(_), Value::List(_)) | (Value::List(_), Value::Table(_)) => {
                Err(EvalError::NotPure("a sum of a table and a list".to_string()))
            }
            _ => number(op, left, right),
        },
        B::Subtract | B::Multiply | B::Divide | B::Remainder => number(op, left, right),
    }
}

fn number(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, EvalError> {
    use BinaryOp as B;
    if let (Value::Int(a), Value::Int(b)) = (left, right)
        && op != B::Divide
    {
        let result = match op {
            B::Add => a.checked_add(*b),
            B::Subtract => a.checked_sub(*b),
            B::Multiply => a.checked_mul(*b),
            _ if *b == 0 => return Err(failed("division by zero")),
            // As in Python: the remainder has the divisor's sign.
            _ => a.checked_rem(*b).map(|r| if r != 0 && (r < 0) != (*b < 0) { r + b } else { r }),
        };
        return result.map(Value::Int).ok_or_else(|| failed("the int overflows"));
    }
    let (Some(a), Some(b)) = (left.as_float(), right.as_float()) else {
        return Err(failed(format!("{} and {} are not numbers", brief(left), brief(right))));
    };
    if matches!(op, B::Divide | B::Remainder) && b == 0.0 {
        return Err(failed("division by zero"));
    }
    let result = match op {
        B::Add => a + b,
        B::Subtract => a - b,
        B::Multiply => a * b,
        B::Divide => a / b,
        _ => a - b * (a / b).floor(),
    };
    if !result.is_finite() {
        return Err(failed("the float overflows"));
    }
    Ok(Value::Float(result))
}

/// How a whole number and a float are ordered, without rounding the one to the other, which may not
/// hold it. None for what is no number.
pub fn whole_and_float(whole: i64, float: f64) -> Option<Ordering> {
    // 2^63 is the first float above every whole number.
    const END: f64 = 9_223_372_036_854_775_808.0;
    if float >= END {
        return Some(Ordering::Less);
    }
    if float < -END {
        return Some(Ordering::Greater);
    }
    let rest = 0.0.partial_cmp(&float.fract())?;
    Some(whole.cmp(&(float.trunc() as i64)).then(rest))
}

/// Whether two values are the same; `1` and `1.0` are.
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(int), Value::Float(float)) | (Value::Float(float), Value::Int(int)) => {
            whole_and_float(*int, *float) == Some(Ordering::Equal)
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Record(a), Value::Record(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((ka, a), (kb, b))| ka == kb && equal(a, b))
        }
        // A file is what it holds, not what it is called.
        (Value::File { digest: a, .. }, Value::File { digest: b, .. }) => a == b,
        _ => left == right,
    }
}

fn contains(item: &Value, whole: &Value) -> Result<Value, EvalError> {
    match (item, whole) {
        (item, Value::List(items)) => Ok(Value::Bool(items.iter().any(|other| equal(item, other)))),
        (Value::Str(part), Value::Str(text)) => Ok(Value::Bool(text.contains(part.as_str()))),
        (_, Value::Table(_)) => Err(EvalError::NotPure("`in` over a table".to_string())),
        _ => Err(failed(format!("`in` does not look into {}", brief(whole)))),
    }
}

/// `value.name`.
///
/// # Errors
/// When it is no record or has no such field.
pub fn field(value: &Value, name: &str) -> Result<Value, EvalError> {
    match value {
        Value::Record(fields) => fields.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            failed(format!("there is no field `{name}`; there is {}", names.join(", ")))
        }),
        _ => Err(failed(format!("{} has no fields", brief(value)))),
    }
}

/// `value.name`, where the checker says that it is of type `ty`: what may be absent is null.
///
/// # Errors
/// As [`field`].
pub fn member(value: &Value, name: &str, ty: &Type) -> Result<Value, EvalError> {
    match (value, ty) {
        (Value::Null, _) => Ok(Value::Null),
        // A record may leave an optional field out.
        (Value::Record(fields), Type::Optional(_) | Type::Json) => {
            Ok(fields.get(name).cloned().unwrap_or(Value::Null))
        }
        _ => field(value, name),
    }
}

/// `value[at]`.
///
/// # Errors
/// When there is nothing at that index.
pub fn index(value: &Value, at: &Value) -> Result<Value, EvalError> {
    match (value, at) {
        (Value::List(items), Value::Int(at)) => {
            let item = usize::try_from(*at).ok().and_then(|at| items.get(at));
            item.cloned().ok_or_else(|| {
                failed(format!("there is no item {at}: the list has {}", items.len()))
            })
        }
        (Value::Record(_), Value::Str(name)) => field(value, name),
        (Value::Table(_), _) => Err(EvalError::NotPure("a row of a table".to_string())),
        _ => Err(failed(format!("{} has no item {}", brief(value), brief(at)))),
    }
}

/// A value as text, as `"…{value}…"` shows it: text itself, numbers in the shortest form, nothing
/// for null, names of files, JSON for the rest.
pub fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.clone(),
        Value::Null => String::new(),
        Value::File { name, .. } => name.clone(),
        Value::Float(float) if float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        other => String::from_utf8_lossy(&other.encode()).into_owned(),
    }
}

/// A value in a message: cut short.
fn brief(value: &Value) -> String {
    const SHOWN: usize = 60;
    let whole = String::from_utf8_lossy(&value.encode()).into_owned();
    match whole.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic() {
        let int = Value::Int;
        let on = |op, a: Value, b: Value| binary(op, &a, &b);
        assert_eq!(on(BinaryOp::Divide, int(7), int(2)), Ok(Value::Float(3.5)));
        assert_eq!(on(BinaryOp::Remainder, int(-7), int(3)), Ok(int(2)));
        assert_eq!(on(BinaryOp::Remainder, int(7), int(-3)), Ok(int(-2)));
        assert!(on(BinaryOp::Remainder, int(i64::MIN), int(-1)).is_err());
        assert!(on(BinaryOp::Divide, int(1), int(0)).is_err());
        assert!(on(BinaryOp::Add, int(i64::MAX), int(1)).is_err());
        assert!(on(BinaryOp::Multiply, Value::Float(1e308), Value::Float(10.0)).is_err());
        assert_eq!(on(BinaryOp::Equal, int(1), Value::Float(1.0)), Ok(Value::Bool(true)));
        let list = |items: &[i64]| Value::List(items.iter().copied().map(int).collect());
        assert_eq!(on(BinaryOp::Add, list(&[1]), list(&[2])), Ok(list(&[1, 2])));
        assert_eq!(on(BinaryOp::In, int(2), list(&[1, 2])), Ok(Value::Bool(true)));
    }

    #[test]
    fn text_of_values() {
        assert_eq!(text(&Value::Float(2.0)), "2");
        assert_eq!(text(&Value::Float(0.25)), "0.25");
        assert_eq!(text(&Value::Null), "");
        assert_eq!(text(&Value::List(vec![Value::Int(1), Value::str("a")])), "[1,\"a\"]");
    }
}
