//! Evaluation of expressions that call operators.
//!
//! The language's own evaluator does what is pure; here calls, `for`, tables and stages come in.
//! Who asks decides what a call does ([`Caller`]): a run executes it, a look ahead only counts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::lang::{self, BinaryOp, Call, Expr, ExprKind, For, Function, IntRange, Table, Value};
use crate::store::Digest;

use super::attempts::attempts;
use super::operator::{Args, CallError};

/// Why an evaluation gave no value.
#[derive(Debug, Clone)]
pub enum Stop {
    /// A look ahead met a result that only a run can give.
    Unknown,
    /// It failed.
    Failed(CallError),
}

impl From<CallError> for Stop {
    fn from(err: CallError) -> Stop {
        Stop::Failed(err)
    }
}

/// What evaluation needs from outside.
pub trait Caller: Send + Sync {
    /// Makes a call, or answers it from the store. `attempt` counts the attempts of the `try` that
    /// it stands in; it is 1 outside of one.
    fn call<'a>(
        &'a self,
        call: &'a Call,
        args: Args,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Value, Stop>>;

    /// The whole result of a stage.
    fn stage<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Value, Stop>>;

    /// A row by its digest.
    ///
    /// # Errors
    /// When it cannot be read.
    fn row(&self, digest: &Digest) -> Result<Value, Stop>;

    /// Hears that an expression is about to hold so many items of a range at once.
    ///
    /// # Errors
    /// When that is more than it wants to wait for.
    fn hold(&self, items: u64) -> Result<(), Stop> {
        let _ = items;
        Ok(())
    }

    /// Hears that a `try` gave nothing after so many attempts, and what was last wrong.
    fn gave_up(&self, attempts: u32, why: &str) {
        let _ = (attempts, why);
    }
}

/// Names bound around an expression. Cheap to clone; inner ones hide outer ones.
#[derive(Clone)]
pub struct Scope {
    innermost: Option<Arc<Binding>>,
    attempt: u32,
}

struct Binding {
    name: String,
    value: Value,
    outer: Scope,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { innermost: None, attempt: 1 }
    }
}

impl Scope {
    /// The scope with one more name.
    pub fn with(&self, name: &str, value: Value) -> Scope {
        let binding = Binding { name: name.to_string(), value, outer: self.clone() };
        Scope { innermost: Some(Arc::new(binding)), ..*self }
    }

    /// The scope of the `attempt`-th attempt of a `try`, counted from 1.
    pub(super) fn in_attempt(&self, attempt: u32) -> Scope {
        Scope { innermost: self.innermost.clone(), attempt }
    }

    /// A function with the values of the names around it written into it.
    pub(super) fn close(&self, function: &Function) -> Function {
        let mut bindings = Vec::new();
        let mut scope = self;
        while let Some(binding) = &scope.innermost {
            bindings.push((&binding.name, &binding.value));
            scope = &binding.outer;
        }
        let mut around = lang::Scope::new();
        for (name, value) in bindings.into_iter().rev() {
            around.push(name, value.clone());
        }
        lang::close(function, &around)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let mut scope = self;
        while let Some(binding) = &scope.innermost {
            if binding.name == name {
                return Some(&binding.value);
            }
            scope = &binding.outer;
        }
        None
    }
}

/// The rows of a value that is fanned out over.
pub enum Rows {
    /// Rows in the store.
    Table(Arc<Table>),
    /// Values at hand.
    List(Vec<Value>),
    /// Whole numbers, each made when it is asked for.
    Range(IntRange),
}

/// The most items that a `for` goes over in one generator: their numbers are kept in four bytes.
const MAX_FANNED: u64 = u32::MAX as u64;

impl Rows {
    /// The rows of a table or list.
    ///
    /// # Errors
    /// When the value is neither; the checker rules that out.
    pub fn of(value: Value) -> Result<Rows, Stop> {
        match value {
            Value::Table(table) => Ok(Rows::Table(table)),
            Value::List(items) => Ok(Rows::List(items)),
            _ => Err(failed("`for` needs a table or a list")),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Rows::Table(table) => table.rows.len(),
            Rows::List(items) => items.len(),
            Rows::Range(range) => range.len() as usize,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row number `index`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, index: usize, caller: &dyn Caller) -> Result<Value, Stop> {
        match self {
            Rows::Table(table) => caller.row(&table.rows[index]),
            Rows::List(items) => Ok(items[index].clone()),
            Rows::Range(range) => {
                let item = range.get(index as u64).map(Value::Int);
                item.ok_or_else(|| failed(&format!("there is no item {index} in the range")))
            }
        }
    }
}

fn failed(message: &str) -> Stop {
    Stop::Failed(CallError::row(message))
}

fn pure<T>(result: Result<T, lang::EvalError>) -> Result<T, Stop> {
    result.map_err(|err| failed(&err.to_string()))
}

/// The value of an expression, in the form that its type has ([`lang::shape`]); what a call gives
/// stays as the operator gave it.
pub fn evaluate<'a>(
    caller: &'a dyn Caller,
    expr: &'a Expr,
    scope: Scope,
) -> BoxFuture<'a, Result<Value, Stop>> {
    Box::pin(async move {
        let value = unshaped(caller, expr, scope).await?;
        Ok(if matches!(expr.kind, ExprKind::Call(_)) {
            value
        } else {
            lang::shape(value, &expr.ty)
        })
    })
}

async fn unshaped(caller: &dyn Caller, expr: &Expr, scope: Scope) -> Result<Value, Stop> {
    match &expr.kind {
        ExprKind::Const(value) => Ok(value.clone()),
        ExprKind::Local(name) => {
            scope.get(name).cloned().ok_or_else(|| failed(&format!("`{name}` is not bound here")))
        }
        ExprKind::Stage(name) => caller.stage(name).await,
        ExprKind::Field(of, name) => {
            let of = evaluate(caller, of, scope).await?;
            pure(lang::member(&of, name, &expr.ty))
        }
        ExprKind::Index(of, index) => {
            let of = evaluate(caller, of, scope.clone()).await?;
            let index = evaluate(caller, index, scope).await?;
            match (&of, index.as_int()) {
                (Value::Table(table), Some(at)) => {
                    let at = if at < 0 { at + table.rows.len() as i64 } else { at };
                    let row = usize::try_from(at).ok().and_then(|at| table.rows.get(at));
                    let row = row.ok_or_else(|| {
                        failed(&format!("there is no row {at} in {} rows", table.rows.len()))
                    })?;
                    caller.row(row)
                }
                _ => pure(lang::index(&of, &index)),
            }
        }
        ExprKind::List(items) => Ok(Value::List(all(caller, items, &scope).await?)),
        ExprKind::Text(parts) => {
            let parts = all(caller, parts, &scope).await?;
            Ok(Value::Str(parts.iter().map(lang::text).collect()))
        }
        ExprKind::Record(fields) => {
            let mut record = BTreeMap::new();
            for (name, field) in fields {
                record.insert(name.clone(), evaluate(caller, field, scope.clone()).await?);
            }
            Ok(Value::Record(record))
        }
        ExprKind::Unary(op, of) => {
            let of = evaluate(caller, of, scope).await?;
            pure(lang::unary(*op, &of))
        }
        ExprKind::Binary(op, left, right) => {
            let left = evaluate(caller, left, scope.clone()).await?;
            if let Some(known) = short_circuit(*op, &left) {
                return Ok(known);
            }
            let right = evaluate(caller, right, scope).await?;
            if matches!(op, BinaryOp::Add)
                && let (Value::Table(left), Value::Table(right)) = (&left, &right)
            {
                let rows = left.rows.iter().chain(&right.rows).copied().collect();
                return Ok(Value::Table(Arc::new(Table { rows })));
            }
            // Rows are compared with values at hand by what they are.
            if matches!(op, BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In)
                && (matches!(left, Value::Table(_)) != matches!(right, Value::Table(_)))
            {
                let (left, right) = (at_hand(caller, left)?, at_hand(caller, right)?);
                return pure(lang::binary(*op, &left, &right));
            }
            pure(lang::binary(*op, &left, &right))
        }
        ExprKind::If(test, yes, no) => {
            let test = evaluate(caller, test, scope.clone()).await?;
            let branch = if test.as_bool() == Some(true) { yes } else { no };
            evaluate(caller, branch, scope).await
        }
        ExprKind::Range { from, to, inclusive } => {
            let from = evaluate(caller, from, scope.clone()).await?;
            let to = evaluate(caller, to, scope).await?;
            let range = pure(IntRange::of(&from, &to, *inclusive))?;
            caller.hold(range.len())?;
            Ok(Value::List(pure(range.items())?))
        }
        ExprKind::Filter(rows, test) => {
            let test = scope.close(test);
            let rows = evaluate(caller, rows, scope).await?;
            filter(caller, rows, &test)
        }
        ExprKind::Function(function) => Ok(Value::Function(Arc::new(scope.close(function)))),
        ExprKind::Call(call) => {
            let mut args = Args::default();
            for (name, arg) in &call.args {
                args.0.insert(name.clone(), evaluate(caller, arg, scope.clone()).await?);
            }
            caller.call(call, args, scope.attempt).await
        }
        ExprKind::For(each) => {
            let mut out = Vec::new();
            fan_out(caller, each, 0, scope, &mut out).await?;
            let made = futures::future::try_join_all(
                out.into_iter().map(|scope| evaluate(caller, &each.body, scope)),
            )
            .await?;
            let mut rows = Vec::new();
            for value in made {
                flatten(value, &each.body, &mut rows, &|row| caller.row(row))?;
            }
            Ok(Value::List(rows))
        }
        ExprKind::Template(template, args) => {
            let template = evaluate(caller, template, scope.clone()).await?;
            let mut given = BTreeMap::new();
            for (name, arg) in args {
                let arg = evaluate(caller, arg, scope.clone()).await?;
                given.insert(name.clone(), at_hand(caller, arg)?);
            }
            pure(lang::rendered(&template, &given))
        }
        ExprKind::Length(of) => {
            let of = evaluate(caller, of, scope).await?;
            pure(lang::length(&of))
        }
        ExprKind::Try(tried) => attempts(caller, tried, scope).await,
        ExprKind::Block(bindings, result) => {
            let mut scope = scope;
            for (name, value) in bindings {
                let value = evaluate(caller, value, scope.clone()).await?;
                scope = scope.with(name, value);
            }
            evaluate(caller, result, scope).await
        }
        ExprKind::Param(name) => Err(failed(&format!("parameter `{name}` is not bound"))),
        ExprKind::Source(..) | ExprKind::Builtin(..) => {
            Err(failed("an expression was not bound before the run"))
        }
    }
}

/// The most rows that an expression may hold at once; more belong to a stage.
const MAX_ROWS_AT_HAND: usize = 100_000;

/// A value with the rows of a table read.
fn at_hand(caller: &dyn Caller, value: Value) -> Result<Value, Stop> {
    match value {
        Value::Table(table) if table.rows.len() > MAX_ROWS_AT_HAND => Err(failed(&format!(
            "{} rows are too many for an expression; {MAX_ROWS_AT_HAND} are the most",
            table.rows.len()
        ))),
        Value::Table(table) => {
            let rows = table.rows.iter().map(|row| caller.row(row)).collect::<Result<_, _>>()?;
            Ok(Value::List(rows))
        }
        value => Ok(value),
    }
}

async fn all(caller: &dyn Caller, items: &[Expr], scope: &Scope) -> Result<Vec<Value>, Stop> {
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        out.push(evaluate(caller, item, scope.clone()).await?);
    }
    Ok(out)
}

/// `and` and `or` need not look at their right side when the left one decides.
fn short_circuit(op: BinaryOp, left: &Value) -> Option<Value> {
    match (op, left.as_bool()) {
        (BinaryOp::And, Some(false)) => Some(Value::Bool(false)),
        (BinaryOp::Or, Some(true)) => Some(Value::Bool(true)),
        _ => None,
    }
}

/// The rows of `rows` for which `test` holds.
///
/// # Errors
/// When a row cannot be read, or the test fails on one.
pub fn filter(caller: &dyn Caller, rows: Value, test: &Function) -> Result<Value, Stop> {
    let holds = |row: &Value| Ok::<_, Stop>(pure(lang::apply(test, row))?.as_bool() == Some(true));
    match rows {
        Value::Table(table) => {
            let mut kept = Vec::new();
            for digest in &table.rows {
                if holds(&caller.row(digest)?)? {
                    kept.push(*digest);
                }
            }
            Ok(Value::Table(Arc::new(Table { rows: kept })))
        }
        Value::List(items) => {
            let mut kept = Vec::new();
            for item in items {
                if holds(&item)? {
                    kept.push(item);
                }
            }
            Ok(Value::List(kept))
        }
        _ => Err(failed("`where` needs a table or a list")),
    }
}

/// The most combinations that a `for` within an expression goes over: all are there at once.
const MAX_COMBINATIONS: usize = 10_000_000;

/// The rows that a generator goes over; of a range only its ends are evaluated.
///
/// # Errors
/// When they cannot be evaluated, or there are more than a `for` can go over.
pub(super) async fn rows_of(caller: &dyn Caller, expr: &Expr, scope: Scope) -> Result<Rows, Stop> {
    let ExprKind::Range { from, to, inclusive } = &expr.kind else {
        return Rows::of(evaluate(caller, expr, scope).await?);
    };
    let from = evaluate(caller, from, scope.clone()).await?;
    let to = evaluate(caller, to, scope).await?;
    Ok(Rows::Range(fanned(&from, &to, *inclusive)?))
}

/// The range between two ends, where a `for` can go over it.
pub(super) fn fanned(from: &Value, to: &Value, inclusive: bool) -> Result<IntRange, CallError> {
    let bad = |err: lang::EvalError| CallError::row(err.to_string());
    let range = IntRange::of(from, to, inclusive).map_err(bad)?;
    if range.len() > MAX_FANNED {
        return Err(CallError::row(format!(
            "the range has {} items, and a `for` goes over {MAX_FANNED} at most",
            range.len()
        )));
    }
    Ok(range)
}

/// The scopes of every combination of the generators from `level` on, in order.
fn fan_out<'a>(
    caller: &'a dyn Caller,
    each: &'a For,
    level: usize,
    scope: Scope,
    out: &'a mut Vec<Scope>,
) -> BoxFuture<'a, Result<(), Stop>> {
    Box::pin(async move {
        let Some((name, rows)) = each.generators.get(level) else {
            if let Some(condition) = &each.condition
                && evaluate(caller, condition, scope.clone()).await?.as_bool() != Some(true)
            {
                return Ok(());
            }
            out.push(scope);
            return Ok(());
        };
        let rows = rows_of(caller, rows, scope.clone()).await?;
        for index in 0..rows.len() {
            if out.len() >= MAX_COMBINATIONS {
                return Err(failed(
                    "a `for` within an expression goes over more than ten million combinations; a \
                     stage of its own can go over more",
                ));
            }
            let inner = scope.with(name, rows.get(index, caller)?);
            fan_out(caller, each, level + 1, inner, out).await?;
        }
        Ok(())
    })
}

/// Adds what one call of a `for` body gave: a list or a table gives many rows, an absent optional
/// none. `read` gives a row of a table.
///
/// # Errors
/// When a row cannot be read.
pub fn flatten<E>(
    value: Value,
    body: &Expr,
    rows: &mut Vec<Value>,
    read: &dyn Fn(&Digest) -> Result<Value, E>,
) -> Result<(), E> {
    use crate::lang::Type;
    let several = match &body.ty {
        Type::Optional(of) => matches!(**of, Type::List(_)),
        ty => matches!(ty, Type::List(_)),
    };
    match (&body.ty, value) {
        (Type::Optional(_), Value::Null) => {}
        (_, Value::List(items)) if several => rows.extend(items),
        (_, Value::Table(table)) if several => {
            for row in &table.rows {
                rows.push(read(row)?);
            }
        }
        (_, value) => rows.push(value),
    }
    Ok(())
}
