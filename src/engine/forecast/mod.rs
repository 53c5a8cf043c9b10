//! Looking ahead: which rows of which stages a run would make, without making any.
//!
//! The look ahead walks the plan like a run does. Calls that are in the store are answered from it;
//! instant pure ones ([`Pool::Instant`]) are computed in memory, so that an edit is followed through
//! the cheap stages to the rows that really change (early cut-off included); all others are counted
//! and their results are unknown from there on. Nothing is written.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use serde::Serialize;

use crate::lang::{self, BinaryOp, CacheUse, Call, Expr, ExprKind, For, Type, Value, references};
use crate::plan::{self, Plan, Reason, compare, parts, stage_key};
use crate::store::{Digest, Objects, Receipt, Results, Snapshot};

use super::call::Operators;
use super::changes::changed_files;
use super::evaluate::{Caller, Rows, Scope, Stop, evaluate, flatten};
use super::job::table_rows;
use super::log::StageRecord;
use super::operator::{Args, CallError, Context, Kind, Pool, read_value};
use super::output::keep_value;

/// What a run would do with one stage.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The stage.
    pub stage: String,
    /// Its first operator, for telling model calls and training from cheap work.
    pub operator: Option<String>,
    /// Rows that the store answers.
    pub cached: u64,
    /// Rows that would be made.
    pub will_run: u64,
    /// Whether `will_run` is certain; otherwise it is an upper bound, or the number of last time.
    pub exact: bool,
    /// Why anything would be made; empty when nothing would.
    pub reasons: Vec<Reason>,
}

/// What is known of a stage's result.
enum Seen {
    /// All of it.
    Value(Value),
    /// A table of which some rows are not known.
    Rows(Vec<Option<Digest>>),
    /// Nothing.
    Unknown,
}

/// Looks ahead over a whole plan. `before` are the stages of the last run of the same pipeline.
///
/// # Errors
/// When the store cannot be read.
pub async fn forecast(
    plan: &Plan,
    operators: &Operators,
    store: Arc<Snapshot>,
    before: &[StageRecord],
) -> Result<Vec<Forecast>, CallError> {
    let mut ahead = Ahead { plan, operators, store, seen: HashMap::new(), digests: HashMap::new() };
    let mut out = Vec::new();
    for node in &plan.order {
        let stage = plan.stage(*node);
        let mut told = ahead.stage(stage, before).await?;
        if told.will_run > 0 {
            told.reasons = ahead.reasons(stage, before);
        }
        out.push(told);
    }
    Ok(out)
}

struct Ahead<'a> {
    plan: &'a Plan,
    operators: &'a Operators,
    store: Arc<Snapshot>,
    seen: HashMap<String, Seen>,
    digests: HashMap<String, Digest>,
}

impl Ahead<'_> {
    async fn stage(
        &mut self,
        stage: &crate::lang::Stage,
        before: &[StageRecord],
    ) -> Result<Forecast, CallError> {
        let mut told = Forecast {
            stage: stage.name.clone(),
            operator: plan::operators(&stage.expr).into_iter().next(),
            cached: 0,
            will_run: 0,
            exact: true,
            reasons: Vec::new(),
        };
        if let Some(receipt) = self.whole(stage)? {
            let bytes = self.store.get(&receipt.result)?;
            told.cached = table_rows(&bytes).unwrap_or(1);
            self.digests.insert(stage.name.clone(), receipt.result);
            let value = read_value(&*self.store, &receipt.result)?;
            self.seen.insert(stage.name.clone(), Seen::Value(value));
            return Ok(told);
        }
        let seen = match &stage.expr.kind {
            ExprKind::For(each) => self.rows(stage, each, &mut told, before).await?,
            _ => self.one(stage, &mut told).await?,
        };
        let seen = match seen {
            Seen::Rows(rows) if rows.iter().all(Option::is_some) => {
                let rows = rows.into_iter().flatten().collect();
                Seen::Value(Value::Table(Arc::new(crate::lang::Table { rows })))
            }
            other => other,
        };
        if let Seen::Value(value) = &seen {
            let is_table = matches!(stage.ty, Type::List(_));
            let (digest, _) = keep_value(&*self.store, value.clone(), is_table)?;
            let value = read_value(&*self.store, &digest)?;
            self.digests.insert(stage.name.clone(), digest);
            self.seen.insert(stage.name.clone(), Seen::Value(value));
        } else {
            self.seen.insert(stage.name.clone(), seen);
        }
        Ok(told)
    }

    fn whole(&self, stage: &crate::lang::Stage) -> Result<Option<Receipt>, CallError> {
        if stage.policy().cache != CacheUse::On
            || !references(&stage.expr).iter().all(|name| self.digests.contains_key(name))
        {
            return Ok(None);
        }
        let version = |operator: &str| self.operators.version(operator);
        let key = stage_key(&stage.expr, &version, &|name| self.digests[name]);
        let receipt = self.store.receipt(&key)?;
        Ok(receipt.filter(|receipt| self.store.get(&receipt.result).is_ok()))
    }

    fn caller(&self) -> AheadCaller<'_> {
        AheadCaller { ahead: self, ran: AtomicBool::new(false) }
    }

    async fn one(
        &self,
        stage: &crate::lang::Stage,
        told: &mut Forecast,
    ) -> Result<Seen, CallError> {
        if let ExprKind::List(items) = &stage.expr.kind
            && told.operator.is_none()
        {
            // A list such as `[base, student]` is known item by item.
            let mut rows = Vec::new();
            for item in items {
                let item = evaluate(&self.caller(), item, Scope::default()).await.ok();
                rows.push(item.and_then(|item| self.store.put(&item.encode()).ok()));
            }
            told.cached = rows.len() as u64;
            return Ok(Seen::Rows(rows));
        }
        let caller = self.caller();
        match evaluate(&caller, &stage.expr, Scope::default()).await {
            Ok(value) => {
                let rows = match &value {
                    Value::Table(table) => table.rows.len() as u64,
                    Value::List(items) if matches!(stage.ty, Type::List(_)) => items.len() as u64,
                    _ => 1,
                };
                let ran = caller.ran.load(Ordering::Relaxed);
                *(if ran { &mut told.will_run } else { &mut told.cached }) = rows;
                Ok(Seen::Value(value))
            }
            Err(Stop::Unknown) => {
                // Without an operator there is nothing to run, only something to put together.
                told.will_run = u64::from(told.operator.is_some());
                Ok(Seen::Unknown)
            }
            Err(Stop::Failed(_)) => {
                // The run will say why; here it only counts.
                told.will_run = 1;
                told.exact = false;
                Ok(Seen::Unknown)
            }
        }
    }

    async fn rows(
        &self,
        stage: &crate::lang::Stage,
        each: &For,
        told: &mut Forecast,
        before: &[StageRecord],
    ) -> Result<Seen, CallError> {
        let mut out = Vec::new();
        let known = self.fan_out(each, 0, Some(Scope::default()), told, &mut out).await;
        if known.is_err() {
            // How many rows there will be is not known; last time's number is the best guess.
            let last = before.iter().find(|record| record.stage == stage.name);
            let last = last.and_then(|record| self.store.get(&record.result?).ok());
            told.will_run = last.and_then(|bytes| table_rows(&bytes)).unwrap_or(1);
            told.exact = false;
            return Ok(Seen::Unknown);
        }
        Ok(Seen::Rows(out))
    }

    /// Every combination of the generators; a scope of `None` means that a name in it is not known.
    /// `Err` when the number of combinations is not known.
    fn fan_out<'a>(
        &'a self,
        each: &'a For,
        level: usize,
        scope: Option<Scope>,
        told: &'a mut Forecast,
        out: &'a mut Vec<Option<Digest>>,
    ) -> BoxFuture<'a, Result<(), ()>> {
        Box::pin(async move {
            let Some((name, rows)) = each.generators.get(level) else {
                self.row(each, scope, told, out).await;
                return Ok(());
            };
            for item in self.items(rows, scope.clone(), told).await? {
                let inner = match (&scope, item) {
                    (Some(scope), Some(value)) => Some(scope.with(name, value)),
                    _ => None,
                };
                self.fan_out(each, level + 1, inner, told, out).await?;
            }
            Ok(())
        })
    }

    async fn row(
        &self,
        each: &For,
        scope: Option<Scope>,
        told: &mut Forecast,
        out: &mut Vec<Option<Digest>>,
    ) {
        let Some(scope) = scope else {
            // A condition may still leave it out, and a body may give none or many.
            told.exact &= each.condition.is_none() && !may_vary(&each.body);
            told.will_run += 1;
            out.push(None);
            return;
        };
        let caller = self.caller();
        if let Some(condition) = &each.condition
            && let Ok(holds) = evaluate(&caller, condition, scope.clone()).await
            && holds.as_bool() != Some(true)
        {
            return;
        }
        match evaluate(&caller, &each.body, scope).await {
            Ok(value) => {
                let ran = caller.ran.load(Ordering::Relaxed);
                *(if ran { &mut told.will_run } else { &mut told.cached }) += 1;
                let mut rows = Vec::new();
                flatten(value, &each.body, &mut rows);
                out.extend(rows.iter().map(|row| self.store.put(&row.encode()).ok()));
            }
            Err(_) => {
                told.will_run += 1;
                out.push(None);
            }
        }
    }

    /// The rows that a generator goes over, each known or not.
    fn items<'a>(
        &'a self,
        expr: &'a Expr,
        scope: Option<Scope>,
        told: &'a mut Forecast,
    ) -> BoxFuture<'a, Result<Vec<Option<Value>>, ()>> {
        Box::pin(async move {
            match &expr.kind {
                ExprKind::Stage(name) => match self.seen.get(name) {
                    Some(Seen::Rows(rows)) => Ok(rows
                        .iter()
                        .map(|row| row.and_then(|row| read_value(&*self.store, &row).ok()))
                        .collect()),
                    Some(Seen::Value(value)) => self.known_rows(value.clone()),
                    _ => Err(()),
                },
                ExprKind::Filter(of, test) => {
                    let items = self.items(of, scope, told).await?;
                    let mut kept = Vec::new();
                    for item in items {
                        match item {
                            Some(value) => {
                                let holds = lang::apply(test, &value).map_err(|_| ())?;
                                if holds.as_bool() == Some(true) {
                                    kept.push(Some(value));
                                }
                            }
                            None => {
                                told.exact = false;
                                kept.push(None);
                            }
                        }
                    }
                    Ok(kept)
                }
                ExprKind::Binary(BinaryOp::Add, left, right) => {
                    let mut items = self.items(left, scope.clone(), told).await?;
                    items.extend(self.items(right, scope, told).await?);
                    Ok(items)
                }
                ExprKind::List(items) => {
                    let scope = scope.ok_or(())?;
                    let mut out = Vec::new();
                    for item in items {
                        let caller = self.caller();
                        out.push(evaluate(&caller, item, scope.clone()).await.ok());
                    }
                    Ok(out)
                }
                _ => {
                    // Most inner generators do not look at outer names, known or not.
                    let caller = self.caller();
                    let value = evaluate(&caller, expr, scope.unwrap_or_default()).await;
                    self.known_rows(value.map_err(|_| ())?)
                }
            }
        })
    }

    fn known_rows(&self, value: Value) -> Result<Vec<Option<Value>>, ()> {
        let rows = Rows::of(value).map_err(|_| ())?;
        let caller = self.caller();
        Ok((0..rows.len()).map(|index| rows.get(index, &caller).ok()).collect())
    }

    fn reasons(&self, stage: &crate::lang::Stage, before: &[StageRecord]) -> Vec<Reason> {
        let Some(record) = before.iter().find(|record| record.stage == stage.name) else {
            return vec![Reason::New];
        };
        let path = |value: &Value| {
            let read = self.plan.pipeline.read.iter().find(|(_, read)| read == value)?;
            Some(read.0.clone())
        };
        let version = |operator: &str| self.operators.version(operator);
        let upstream = |name: &str| self.digests.get(name).copied();
        let now = parts(stage, &version, &path, &upstream);
        compare(&record.parts, &now, &|was, now| changed_files(&*self.store, was, now))
    }
}

/// Whether a body may give another number of rows than one.
fn may_vary(body: &Expr) -> bool {
    matches!(body.ty, Type::Optional(_) | Type::List(_))
}

struct AheadCaller<'a> {
    ahead: &'a Ahead<'a>,
    ran: AtomicBool,
}

impl Caller for AheadCaller<'_> {
    fn call<'a>(
        &'a self,
        call: &'a Call,
        args: Args,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Value, Stop>> {
        Box::pin(async move {
            let store = &self.ahead.store;
            let operator = self.ahead.operators.get(&call.operator)?;
            let narrowed = operator.reads(&args, &**store)?;
            let key = operator.key(&narrowed, attempt);
            if operator.kind() != Kind::Effect
                && let Ok(Some(receipt)) = store.receipt(&key)
                && let Ok(value) = read_value(&**store, &receipt.result)
            {
                return Ok(value);
            }
            self.ran.store(true, Ordering::Relaxed);
            if operator.kind() == Kind::Pure && operator.pool_of(&args) == Pool::Instant {
                let context = Context::quiet(store.clone(), key);
                return Ok(operator.call(&args, &context).await?);
            }
            Err(Stop::Unknown)
        })
    }

    fn stage<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Value, Stop>> {
        Box::pin(async move {
            match self.ahead.seen.get(name) {
                Some(Seen::Value(value)) => Ok(value.clone()),
                _ => Err(Stop::Unknown),
            }
        })
    }

    fn row(&self, digest: &Digest) -> Result<Value, Stop> {
        Ok(read_value(&*self.ahead.store, digest)?)
    }
}
