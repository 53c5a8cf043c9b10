//! Looking at a `for` stage: every combination of its generators, as far as they are known.

use futures::future::BoxFuture;

use crate::lang::{self, BinaryOp, Expr, ExprKind, For, IntRange, OnError, Stage, Type};
use crate::store::{Digest, Objects};

use super::super::evaluate::{Rows, Scope, Stop, evaluate, flatten};
use super::super::operator::read_value;
use super::bound::Bound;
use super::items::Items;
use super::look::Look;
use super::{Ahead, STAGE_ROWS, Seen};

/// The number of rows is not known.
pub(super) struct HowMany;

impl Ahead<'_> {
    pub(super) async fn rows(&self, stage: &Stage, each: &For, look: &mut Look) -> Seen {
        let mut out = Vec::new();
        let known = self.fan_out(each, 0, Scope::default(), look, &mut out).await;
        if known.is_err() {
            *look = Look::new(stage, self);
            let (rows, bound) = self.guess(stage);
            look.unknown(rows);
            look.told.bound = bound;
            look.number = bound;
            return Seen::Unknown;
        }
        if stage.policy().on_error != OnError::Fail && out.iter().any(Option::is_none) {
            // Those that fail are put aside.
            look.number |= Bound::AtMost;
        }
        Seen::Rows(out.into(), look.beyond)
    }

    /// Every combination of the generators from `level` on.
    fn fan_out<'a>(
        &'a self,
        each: &'a For,
        level: usize,
        scope: Scope,
        look: &'a mut Look,
        out: &'a mut Vec<Option<Digest>>,
    ) -> BoxFuture<'a, Result<(), HowMany>> {
        Box::pin(async move {
            let Some((name, rows)) = each.generators.get(level) else {
                self.row(each, scope, look, out).await;
                return Ok(());
            };
            let items = self.items(rows, scope.clone(), look).await?;
            // Rows for each item that is not looked at.
            let mut inner = None;
            let mut index = 0;
            while index < items.len() && !self.is_spent(look) {
                match items.get(index, &self.store) {
                    Some(value) => {
                        let scope = scope.with(name, value);
                        self.fan_out(each, level + 1, scope, look, out).await?;
                    }
                    None => {
                        let rows = match inner {
                            Some(rows) => rows,
                            None => self.combinations(each, level + 1, look).await?,
                        };
                        inner = Some(rows);
                        if each.condition.is_some() {
                            // It may still leave it out.
                            look.told.bound |= Bound::AtMost;
                            look.number |= Bound::AtMost;
                        }
                        look.number |= rows_of(&each.body);
                        look.unknown(rows);
                        // Nothing is known of these but their number.
                        let room = STAGE_ROWS.saturating_sub(out.len() as u64);
                        look.beyond = look.beyond.saturating_add(rows.saturating_sub(room));
                        out.resize(out.len() + rows.min(room) as usize, None);
                    }
                }
                index += 1;
            }
            let left = (items.len() - index).saturating_add(items.unseen);
            if left > 0 {
                let rows = self.combinations(each, level + 1, look).await;
                let certain = rows.is_ok() && each.condition.is_none();
                look.unseen(left.saturating_mul(rows.unwrap_or(1)), certain);
            }
            Ok(())
        })
    }

    /// How many combinations the generators from `level` on have, whatever those before them give.
    async fn combinations(
        &self,
        each: &For,
        level: usize,
        look: &mut Look,
    ) -> Result<u64, HowMany> {
        let mut count = 1_u64;
        for (_, rows) in each.generators.iter().skip(level) {
            let items = self.items(rows, Scope::default(), look).await?;
            count = count.saturating_mul(items.len().saturating_add(items.unseen));
        }
        Ok(count)
    }

    /// A row whose inputs are known.
    async fn row(&self, each: &For, scope: Scope, look: &mut Look, out: &mut Vec<Option<Digest>>) {
        self.spend(look);
        let caller = self.caller(look);
        if let Some(condition) = &each.condition {
            match evaluate(&caller, condition, scope.clone()).await {
                Ok(holds) if holds.as_bool() != Some(true) => return,
                Ok(_) => {}
                Err(_) => {
                    // Perhaps it is left out, or put aside; its body may be made all the same.
                    look.heard(&caller, false);
                    look.told.bound |= Bound::AtMost;
                    look.number |= Bound::AtMost;
                    look.number |= rows_of(&each.body);
                    look.told.will_run += 1;
                    return out.push(None);
                }
            }
        }
        let value = evaluate(&caller, &each.body, scope).await;
        look.heard(&caller, value.is_ok());
        match value {
            Ok(value) => {
                let counter =
                    if caller.made() { &mut look.told.will_run } else { &mut look.told.cached };
                *counter += 1;
                let mut rows = Vec::new();
                match flatten(value, &each.body, &mut rows, &|row| read_value(&*self.store, row)) {
                    Ok(()) => out.extend(rows.iter().map(|row| self.store.put(&row.encode()).ok())),
                    Err(_) => out.push(None),
                }
            }
            Err(stop) => {
                if caller.is_over() || matches!(stop, Stop::Failed(_)) {
                    // The run will say why it fails; here it only counts.
                    look.told.bound |= Bound::AtMost;
                    look.number |= Bound::AtMost;
                }
                look.number |= rows_of(&each.body);
                look.told.will_run += 1;
                out.push(None);
            }
        }
    }

    /// The rows that a generator goes over, each known or not.
    pub(super) fn items<'a>(
        &'a self,
        expr: &'a Expr,
        scope: Scope,
        look: &'a mut Look,
    ) -> BoxFuture<'a, Result<Items, HowMany>> {
        Box::pin(async move {
            match &expr.kind {
                ExprKind::Stage(name) => match self.seen.get(name) {
                    Some(Seen::Rows(rows, unseen)) => {
                        let number = self.numbers.get(name).copied().unwrap_or(Bound::Exact);
                        look.told.bound |= number;
                        look.number |= number;
                        Ok(Items::of_rows(rows.clone(), *unseen))
                    }
                    Some(Seen::Value(value)) => known(value.clone()),
                    _ => Err(HowMany),
                },
                ExprKind::Filter(of, test) => {
                    let test = &scope.close(test);
                    let items = self.items(of, scope, look).await?;
                    let looked = items.len().min(STAGE_ROWS);
                    let unseen = (items.len() - looked).saturating_add(items.unseen);
                    let mut kept = Vec::new();
                    for index in 0..looked {
                        match items.get(index, &self.store) {
                            Some(value) => {
                                let holds = lang::apply(test, &value).map_err(|_| HowMany)?;
                                if holds.as_bool() == Some(true) {
                                    kept.push(Some(value));
                                }
                            }
                            None => {
                                look.told.bound |= Bound::AtMost;
                                look.number |= Bound::AtMost;
                                kept.push(None);
                            }
                        }
                    }
                    Ok(Items::of_values(kept, unseen))
                }
                ExprKind::Binary(BinaryOp::Add, left, right) => {
                    let left = self.items(left, scope.clone(), look).await?;
                    Ok(left.and(self.items(right, scope, look).await?))
                }
                ExprKind::Range { from, to, inclusive } => {
                    let caller = self.caller(look);
                    let from = evaluate(&caller, from, scope.clone()).await.map_err(|_| HowMany)?;
                    let to = evaluate(&caller, to, scope).await.map_err(|_| HowMany)?;
                    let range = IntRange::of(&from, &to, *inclusive).map_err(|_| HowMany)?;
                    Ok(Items::of_range(range))
                }
                ExprKind::List(items) => {
                    let mut out = Vec::new();
                    for item in items {
                        let caller = self.caller(look);
                        out.push(evaluate(&caller, item, scope.clone()).await.ok());
                    }
                    Ok(Items::of_values(out, 0))
                }
                _ => {
                    let caller = self.caller(look);
                    let value = evaluate(&caller, expr, scope).await.map_err(|_| HowMany)?;
                    known(value)
                }
            }
        })
    }
}

fn known(value: lang::Value) -> Result<Items, HowMany> {
    match Rows::of(value).map_err(|_| HowMany)? {
        Rows::Table(table) => Ok(Items::of_table(table)),
        Rows::List(items) => Ok(Items::of_values(items.into_iter().map(Some).collect(), 0)),
        Rows::Range(range) => Ok(Items::of_range(range)),
    }
}

/// What is known of the number of rows that a body gives, where one is counted for it.
fn rows_of(body: &Expr) -> Bound {
    match body.ty {
        Type::Optional(_) => Bound::AtMost,
        Type::List(_) => Bound::About,
        _ => Bound::Exact,
    }
}
