//! Looking ahead: which rows of which stages a run would make, without making any.
//!
//! The look ahead walks the plan like a run does. Calls that are in the store are answered from it;
//! instant pure ones ([`Pool::Instant`]) are computed in memory, so that an edit is followed through
//! the cheap stages to the rows that really change (early cut-off included); all others are counted
//! and their results are unknown from there on. Nothing is written.
//!
//! It must stay a look: a stage whose key has a receipt costs one look-up, however many rows it has;
//! of any other stage the first [`STAGE_ROWS`] rows are looked at (and [`PLAN_ROWS`] in all), and the
//! rest is counted as not looked at. What reads or computes more than that in one piece is unknown.
//!
//! [`Pool::Instant`]: super::Pool::Instant

mod caller;
mod items;
mod look;
mod rows;
mod written;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::lang::{CacheUse, ExprKind, Table, Type, Value, references};
use crate::plan::{self, Plan, Reason, compare, parts, stage_key};
use crate::store::{Digest, Objects, Receipt, Results, Snapshot};

use super::call::Operators;
use super::changes::difference;
use super::estimate::{Estimate, History};
use super::evaluate::{Scope, Stop, evaluate};
use super::job::table_rows;
use super::log::StageRecord;
use super::operator::{CallError, read_value};
use super::output::keep_value;

use look::Look;

/// Rows of one stage that are looked at.
const STAGE_ROWS: u64 = 5_000;

/// Rows of all stages together that are looked at.
const PLAN_ROWS: u64 = 20_000;

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
    /// Rows that were not looked at, because there are too many: they may be in the store or not.
    pub unseen: u64,
    /// Whether `will_run` is certain; otherwise it is an upper bound, or the number of last time.
    pub exact: bool,
    /// Why anything would be made; empty when nothing would.
    pub reasons: Vec<Reason>,
    /// What it would ask of models behind endpoints.
    pub asks: Vec<Estimate>,
}

impl Forecast {
    /// Whether anything would be made, as far as it was looked at.
    pub fn runs(&self) -> bool {
        self.will_run + self.unseen > 0
    }
}

/// What is known of a stage's result.
enum Seen {
    /// All of it.
    Value(Value),
    /// A table of which some rows are not known, and how many more of it were not looked at.
    Rows(Arc<[Option<Digest>]>, u64),
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
    let mut ahead = Ahead {
        paths: plan.paths(),
        operators,
        store,
        before: before.iter().map(|record| (record.stage.as_str(), record)).collect(),
        seen: HashMap::new(),
        digests: HashMap::new(),
        left: AtomicU64::new(PLAN_ROWS),
        asking: Mutex::default(),
        history: None,
    };
    let mut out = Vec::new();
    for node in &plan.order {
        let stage = plan.stage(*node);
        let mut told = ahead.stage(stage).await?;
        if told.runs() {
            told.reasons = ahead.reasons(stage);
        }
        out.push(told);
    }
    Ok(out)
}

struct Ahead<'a> {
    paths: HashMap<Digest, &'a str>,
    operators: &'a Operators,
    store: Arc<Snapshot>,
    /// What the last run left of each stage.
    before: HashMap<&'a str, &'a StageRecord>,
    seen: HashMap<String, Seen>,
    digests: HashMap<String, Digest>,
    /// Rows that may still be looked at.
    left: AtomicU64,
    /// Keys of the calls that would ask a model: equal ones ask once.
    asking: Mutex<BTreeSet<Digest>>,
    /// What recorded calls spent, once it was asked for.
    history: Option<History>,
}

impl Ahead<'_> {
    async fn stage(&mut self, stage: &crate::lang::Stage) -> Result<Forecast, CallError> {
        let mut look = Look::new(stage, self);
        if let Some(receipt) = self.whole(stage)? {
            let bytes = self.store.get(&receipt.result)?;
            look.told.cached = table_rows(&bytes).unwrap_or(1);
            self.digests.insert(stage.name.clone(), receipt.result);
            let value = read_value(&*self.store, &receipt.result)?;
            self.seen.insert(stage.name.clone(), Seen::Value(value));
            return Ok(look.told);
        }
        let seen = match &stage.expr.kind {
            ExprKind::For(each) => self.rows(stage, each, &mut look).await,
            _ => self.one(stage, &mut look).await,
        };
        let seen = match seen {
            Seen::Rows(rows, 0) if rows.iter().all(Option::is_some) => {
                let rows = rows.iter().flatten().copied().collect();
                Seen::Value(Value::Table(Arc::new(Table { rows })))
            }
            Seen::Value(Value::List(items)) if items.len() as u64 > STAGE_ROWS => {
                // To go on with it as a table, each row would have to be kept.
                Seen::Rows(Arc::new([]), items.len() as u64)
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
        let (mut told, asked) = look.end();
        if !asked.is_empty() {
            let store = &self.store;
            let history = self.history.get_or_insert_with(|| History::read(store));
            told.asks = asked.estimates(history);
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

    /// A stage that is not a `for`.
    async fn one(&self, stage: &crate::lang::Stage, look: &mut Look) -> Seen {
        if let ExprKind::List(items) = &stage.expr.kind
            && look.told.operator.is_none()
        {
            // A list such as `[base, student]` is known item by item.
            let mut rows = Vec::new();
            for item in items {
                let item = evaluate(&self.caller(), item, Scope::default()).await.ok();
                rows.push(item.and_then(|item| self.store.put(&item.encode()).ok()));
            }
            look.told.cached = rows.len() as u64;
            return Seen::Rows(rows.into(), 0);
        }
        let caller = self.caller();
        let value = evaluate(&caller, &stage.expr, Scope::default()).await;
        look.heard(&caller, value.is_ok());
        match value {
            Ok(value) => {
                let rows = match &value {
                    Value::Table(table) => table.rows.len() as u64,
                    Value::List(items) if matches!(stage.ty, Type::List(_)) => items.len() as u64,
                    _ => 1,
                };
                let counter =
                    if caller.ran() { &mut look.told.will_run } else { &mut look.told.cached };
                *counter = rows;
                Seen::Value(value)
            }
            Err(Stop::Unknown) => {
                // Without an operator there is nothing to run, only something to put together.
                look.told.will_run = u64::from(look.told.operator.is_some());
                if caller.is_over() {
                    look.told.exact = false;
                    look.told.unseen = u64::from(look.told.operator.is_none());
                }
                Seen::Unknown
            }
            Err(Stop::Failed(_)) => {
                // The run will say why; here it only counts.
                look.told.will_run = 1;
                look.told.exact = false;
                Seen::Unknown
            }
        }
    }

    /// Whether no more rows may be looked at, of this stage or at all.
    fn is_spent(&self, look: &Look) -> bool {
        look.left == 0 || self.left.load(Ordering::Relaxed) == 0
    }

    /// Counts a row that is looked at.
    fn spend(&self, look: &mut Look) {
        look.left = look.left.saturating_sub(1);
        let less = |left: u64| Some(left.saturating_sub(1));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn reasons(&self, stage: &crate::lang::Stage) -> Vec<Reason> {
        let Some(record) = self.before.get(stage.name.as_str()) else {
            return vec![Reason::New];
        };
        let path = |digest: &Digest| self.paths.get(digest).map(|path| path.to_string());
        let version = |operator: &str| self.operators.version(operator);
        let upstream = |name: &str| self.digests.get(name).copied();
        let now = parts(stage, &version, &path, &upstream);
        compare(&record.parts, &now, &|was, now| difference(&*self.store, was, now))
    }
}

/// The first operator of a stage.
fn first_operator(stage: &crate::lang::Stage) -> Option<String> {
    plan::operators(&stage.expr).into_iter().next()
}
