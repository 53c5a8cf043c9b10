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

mod bound;
mod caller;
mod items;
mod look;
mod rows;
mod written;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::lang::{CacheUse, Expr, ExprKind, Table, Type, Value, references};
use crate::plan::{self, Plan, Reason, compare, parts, stage_key};
use crate::store::{Digest, Objects, Receipt, Results, Snapshot};

use super::call::Operators;
use super::changes::difference;
use super::estimate::{Estimate, History};
use super::evaluate::{Scope, Stop, evaluate, fanned};
use super::job::table_rows;
use super::log::StageRecord;
use super::operator::{CallError, read_value};
use super::output::keep_value;

pub use bound::Bound;
use caller::Asking;
use items::Items;
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
    /// How certain `will_run` is.
    pub bound: Bound,
    /// Why anything would be made; empty when nothing would.
    pub reasons: Vec<Reason>,
    /// What it would ask of models behind endpoints.
    pub asks: Vec<Estimate>,
}

impl Forecast {
    /// Whether anything would be made, as far as it was looked at.
    pub fn runs(&self) -> bool {
        self.will_run > 0 || self.unseen > 0
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

/// Looks ahead over a whole plan. `before` are the stages of the last run of the same pipeline,
/// `refresh` those that are to be made again although they are in the store.
///
/// # Errors
/// When the store cannot be read.
pub async fn forecast(
    plan: &Plan,
    operators: &Operators,
    store: Arc<Snapshot>,
    before: &[StageRecord],
    refresh: &[String],
) -> Result<Vec<Forecast>, CallError> {
    let mut ahead = Ahead {
        paths: plan.paths(),
        operators,
        store,
        before: before.iter().map(|record| (record.stage.as_str(), record)).collect(),
        refresh,
        seen: HashMap::new(),
        numbers: HashMap::new(),
        renewed: BTreeSet::new(),
        kept: BTreeSet::new(),
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
    let asking = ahead.asking.into_inner().unwrap_or_else(PoisonError::into_inner);
    for told in &mut out {
        if asking.shared.contains(told.stage.as_str()) {
            told.bound |= Bound::AtMost;
        }
    }
    Ok(out)
}

struct Ahead<'a> {
    paths: HashMap<Digest, &'a str>,
    operators: &'a Operators,
    store: Arc<Snapshot>,
    /// What the last run left of each stage.
    before: HashMap<&'a str, &'a StageRecord>,
    /// Stages that are made again because somebody asked for it.
    refresh: &'a [String],
    seen: HashMap<String, Seen>,
    /// What is known of the number of rows of those stages that are not known whole.
    numbers: HashMap<String, Bound>,
    /// Stages that will have rows made anew that were in the store, and those that read them.
    renewed: BTreeSet<String>,
    /// Stages that a run finds whole before it starts anything.
    kept: BTreeSet<String>,
    digests: HashMap<String, Digest>,
    /// Rows that may still be looked at.
    left: AtomicU64,
    /// Keys of the calls that would be made: equal ones are made once.
    asking: Mutex<Asking>,
    /// What recorded calls spent, once it was asked for.
    history: Option<History>,
}

impl Ahead<'_> {
    async fn stage(&mut self, stage: &crate::lang::Stage) -> Result<Forecast, CallError> {
        let mut look = Look::new(stage, self);
        refuse_endless(stage)?;
        let whole = self.whole(stage)?;
        if let Some(receipt) = &whole
            && self.is_answered(stage, receipt, &mut look)?
        {
            let value = read_value(&*self.store, &receipt.result)?;
            self.digests.insert(stage.name.clone(), receipt.result);
            self.seen.insert(stage.name.clone(), Seen::Value(value));
            return Ok(look.told);
        }
        let seen = match &stage.expr.kind {
            ExprKind::For(each) => self.rows(stage, each, &mut look).await,
            _ => self.one(stage, &mut look).await,
        };
        if whole.is_some() && look.told.runs() {
            // Should the run be done with what it reads early enough, it finds the stage whole.
            look.told.bound |= Bound::AtMost;
        }
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
        self.renewed(stage, &mut look, matches!(seen, Seen::Value(_)));
        if let Seen::Value(value) = &seen {
            let is_table = matches!(stage.ty, Type::List(_));
            let (digest, _) = keep_value(&*self.store, value.clone(), is_table)?;
            let value = read_value(&*self.store, &digest)?;
            self.digests.insert(stage.name.clone(), digest);
            self.seen.insert(stage.name.clone(), Seen::Value(value));
        } else {
            self.numbers.insert(stage.name.clone(), look.number);
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

    /// Whether a stage believes what the store has, as a run takes it.
    fn cache(&self, stage: &crate::lang::Stage) -> CacheUse {
        if self.refresh.contains(&stage.name) { CacheUse::Refresh } else { stage.policy().cache }
    }

    /// Follows what is made anew: it may come out as it was, and then what reads it is in the store.
    fn renewed(&mut self, stage: &crate::lang::Stage, look: &mut Look, known: bool) {
        let reads = references(&stage.expr).iter().any(|name| self.renewed.contains(name));
        if reads && look.told.runs() {
            look.told.bound |= Bound::AtMost;
        }
        if !known && look.told.runs() && (reads || look.cache != CacheUse::On) {
            self.renewed.insert(stage.name.clone());
        }
    }

    /// Takes in what a run does with a stage that is in the store whole; `false` where it takes row
    /// after row all the same: a `for` does not wait until all that it reads is known to be as it was,
    /// and rows without a call are made again then.
    fn is_answered(
        &mut self,
        stage: &crate::lang::Stage,
        receipt: &Receipt,
        look: &mut Look,
    ) -> Result<bool, CallError> {
        let rows = table_rows(&self.store.get(&receipt.result)?).unwrap_or(1);
        let at_once = references(&stage.expr).iter().all(|name| self.kept.contains(name));
        match &stage.expr.kind {
            ExprKind::For(_) if !at_once && rows <= STAGE_ROWS => return Ok(false),
            ExprKind::For(_) if !at_once && look.is_plain => {
                look.told.will_run = rows;
                look.told.bound = Bound::AtMost;
            }
            _ => look.told.cached = rows,
        }
        if at_once {
            self.kept.insert(stage.name.clone());
        }
        Ok(true)
    }

    /// How many rows a stage will have of which that is not known: last time's number is the best
    /// guess, and without one there is a row.
    fn guess(&self, stage: &crate::lang::Stage) -> (u64, Bound) {
        let last = self.before.get(stage.name.as_str());
        let last = last.and_then(|record| self.store.get(&record.result?).ok());
        match last.and_then(|bytes| table_rows(&bytes)) {
            Some(rows) => (rows, Bound::About),
            None => (1, Bound::About),
        }
    }

    fn whole(&self, stage: &crate::lang::Stage) -> Result<Option<Receipt>, CallError> {
        if self.cache(stage) != CacheUse::On
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
        let caller = self.caller(look);
        let value = evaluate(&caller, &stage.expr, Scope::default()).await;
        let is_list = matches!(stage.ty, Type::List(_));
        look.heard(&caller, value.is_ok());
        match value {
            Ok(value) => {
                let rows = match &value {
                    Value::Table(table) => table.rows.len() as u64,
                    Value::List(items) if is_list => items.len() as u64,
                    _ => 1,
                };
                let counter =
                    if caller.made() { &mut look.told.will_run } else { &mut look.told.cached };
                *counter = rows;
                Seen::Value(value)
            }
            Err(Stop::Unknown) if !is_list => {
                look.told.will_run = 1;
                look.told.bound |= if caller.is_over() { Bound::AtMost } else { Bound::Exact };
                Seen::Unknown
            }
            Err(Stop::Unknown) => {
                // What puts rows together, such as `[base, student]`, is known row by row.
                if look.told.operator.is_none()
                    && let Ok(items) = self.items(&stage.expr, Scope::default(), look).await
                {
                    return self.together(&items, look);
                }
                let (rows, bound) = self.guess(stage);
                look.told.will_run = rows;
                look.told.bound = bound;
                look.number = bound;
                Seen::Unknown
            }
            Err(Stop::Failed(_)) if matches!(stage.expr.kind, ExprKind::Filter(..)) => {
                // Rows whose test fails are put aside, or end the run.
                look.told.will_run = self.guess(stage).0;
                look.told.bound = Bound::About;
                look.number = Bound::About;
                Seen::Unknown
            }
            Err(Stop::Failed(_)) => {
                // The run will say why; here it only counts.
                look.told.will_run = 1;
                look.told.bound |= Bound::AtMost;
                Seen::Unknown
            }
        }
    }

    /// A stage that puts rows together without any call.
    fn together(&self, items: &Items, look: &mut Look) -> Seen {
        look.told.will_run = items.len();
        if items.unseen > 0 {
            look.told.unseen = items.unseen;
            look.told.bound |= Bound::AtLeast;
        }
        if items.len() > STAGE_ROWS {
            return Seen::Rows(Arc::new([]), items.len().saturating_add(items.unseen));
        }
        let row = |at| self.store.put(&items.get(at, &self.store)?.encode()).ok();
        Seen::Rows((0..items.len()).map(row).collect(), items.unseen)
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
        let mut reasons =
            compare(&record.parts, &now, &|was, now| difference(&*self.store, was, now));
        let asked = if self.refresh.contains(&stage.name) {
            Some(Reason::Refresh)
        } else {
            match stage.policy().cache {
                CacheUse::On => None,
                CacheUse::Off => Some(Reason::Policy { cache: "off".to_string() }),
                CacheUse::Refresh => Some(Reason::Policy { cache: "refresh".to_string() }),
            }
        };
        if asked.is_none()
            && reasons == [Reason::Unfinished]
            && matches!(self.whole(stage), Ok(Some(_)))
        {
            let stages = references(&stage.expr);
            let stages = stages.into_iter().filter(|name| !self.kept.contains(name)).collect();
            return vec![Reason::Remade { stages }];
        }
        if let Some(asked) = asked {
            reasons.retain(|reason| *reason != Reason::Unfinished);
            reasons.insert(0, asked);
        }
        reasons
    }
}

/// Refuses a range that no run can go over or make whole, as far as it stands in the program.
fn refuse_endless(stage: &crate::lang::Stage) -> Result<(), CallError> {
    let refuse = |rows: &Expr, is_whole: bool| {
        if let ExprKind::Range { from, to, inclusive } = &rows.kind
            && let (ExprKind::Const(from), ExprKind::Const(to)) = (&from.kind, &to.kind)
        {
            let range = fanned(from, to, *inclusive)?;
            if is_whole {
                range.can_be_whole().map_err(|err| CallError::row(err.to_string()))?;
            }
        }
        Ok(())
    };
    let refused = match &stage.expr.kind {
        ExprKind::For(each) => each.generators.iter().try_for_each(|(_, rows)| refuse(rows, false)),
        _ => refuse(&stage.expr, true),
    };
    refused.map_err(|err: CallError| CallError::row(format!("stage `{}`: {err}", stage.name)))
}

/// The first operator of a stage.
fn first_operator(stage: &crate::lang::Stage) -> Option<String> {
    plan::operators(&stage.expr).into_iter().next()
}
