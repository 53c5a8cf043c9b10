//! `on_error`: how many failed rows a stage may have, judged as soon as it can no longer hold.
//!
//! A share is a share of all rows, and those are often not known while rows fail. But the most that
//! there can be often is, long before the end: the rows of a table that is there, the product of two
//! lists, what a stage above can give at most ([`Extent`]). Once more rows failed than the share
//! allows of that many, nothing that is still to come can make it good again, and the run stops.

use std::collections::HashMap;

use crate::lang::{self, BinaryOp, Expr, ExprKind, For, IntRange, OnError, Type, Value};
use crate::plan::Plan;
use crate::store::Objects;

use super::call::Shared;
use super::job::row_count;
use super::output::End;

/// Room for the rounding of a share: 29 % of 100 rows are 29 rows.
const ROUNDING: f64 = 1e-9;

/// Why a stage of which so many rows failed is past what `on_error` lets; `None` while it is not.
/// `most` is the most rows that it can have, where that is known.
pub(super) fn past(on_error: OnError, failed: u64, most: Option<u64>) -> Option<String> {
    let OnError::Drop { at_most } = on_error else {
        return None;
    };
    let most = most?;
    (failed as f64 > at_most * most as f64 + ROUNDING).then(|| {
        let percent = (at_most * 1e4).round() / 1e2;
        format!("{failed} of {most} rows failed, more than the {percent} % that `on_error` lets go")
    })
}

/// The most rows that expressions of a run can come to, found without making any of them.
pub(super) struct Extent<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    /// Stages that were asked for already.
    stages: HashMap<String, Option<u64>>,
}

impl<'a> Extent<'a> {
    pub(super) fn new(plan: &'a Plan, shared: &'a Shared) -> Extent<'a> {
        Extent { plan, shared, stages: HashMap::new() }
    }

    /// The most combinations that a `for` goes through.
    pub(super) fn of_for(&mut self, each: &For) -> Option<u64> {
        let mut steps = STEPS;
        self.of_generators(&each.generators, &mut lang::Scope::new(), &mut steps)
    }

    /// The same for the generators that are left: a product, and where one of them depends on those
    /// before it, such as `for i in 1..=3, j in 1..=i`, a sum over their items.
    fn of_generators(
        &mut self,
        generators: &[(String, Expr)],
        scope: &mut lang::Scope<'_>,
        steps: &mut u64,
    ) -> Option<u64> {
        let Some(((name, rows), inner)) = generators.split_first() else {
            return Some(1);
        };
        let product = |mut most: u64, extent: &mut Extent<'_>| {
            for (_, rows) in inner {
                most = most.checked_mul(extent.of(rows)?)?;
            }
            Some(most)
        };
        let here = match self.of(rows) {
            Some(most) => most,
            None => items(rows, scope)?.0,
        };
        if let Some(most) = product(here, self) {
            return Some(most);
        }
        let (len, get) = items(rows, scope)?;
        let mut most: u64 = 0;
        for index in 0..len {
            *steps = steps.checked_sub(1)?;
            scope.push(name, get(index)?);
            let of_inner = self.of_generators(inner, scope, steps);
            scope.pop();
            most = most.checked_add(of_inner?)?;
        }
        Some(most)
    }

    /// The most rows of an expression that is fanned out over.
    fn of(&mut self, expr: &Expr) -> Option<u64> {
        match &expr.kind {
            ExprKind::Const(Value::Table(table)) => Some(table.rows.len() as u64),
            ExprKind::Const(Value::List(items)) => Some(items.len() as u64),
            ExprKind::List(items) => Some(items.len() as u64),
            ExprKind::Range { from, to, inclusive } => {
                Some(IntRange::of(constant(from)?, constant(to)?, *inclusive).ok()?.len())
            }
            ExprKind::Filter(of, _) => self.of(of),
            ExprKind::Binary(BinaryOp::Add, left, right) => {
                self.of(left)?.checked_add(self.of(right)?)
            }
            ExprKind::If(_, yes, no) => Some(self.of(yes)?.max(self.of(no)?)),
            ExprKind::Block(_, result) => self.of(result),
            ExprKind::For(each) => {
                // An optional gives one row at most; a list gives as many as it likes.
                (!matches!(each.body.ty, Type::List(_))).then(|| self.of_for(each))?
            }
            ExprKind::Stage(name) => self.of_stage(name),
            _ => None,
        }
    }

    fn of_stage(&mut self, name: &str) -> Option<u64> {
        match self.shared.outputs.get(name)?.ended() {
            Some(End::Value(digest)) => {
                // What is no table, or cannot be read, says nothing here.
                self.shared.store.get(&digest).ok()?;
                return Some(row_count(&*self.shared.store, &digest));
            }
            Some(End::Nothing) => return None,
            None => {}
        }
        if let Some(known) = self.stages.get(name) {
            return *known;
        }
        let stage = self.plan.stage(self.plan.node(name)?);
        let most = self.of(&stage.expr);
        self.stages.insert(name.to_string(), most);
        most
    }
}

/// Items of outer generators that are gone through to count the inner ones.
const STEPS: u64 = 2_000;

/// What gives an item by its number.
type Get = Box<dyn Fn(u64) -> Option<Value>>;

/// How many items a generator has that only needs what is in `scope`, and each of them.
fn items(rows: &Expr, scope: &mut lang::Scope<'_>) -> Option<(u64, Get)> {
    if let ExprKind::Range { from, to, inclusive } = &rows.kind {
        let from = lang::evaluate(from, scope).ok()?;
        let range = IntRange::of(&from, &lang::evaluate(to, scope).ok()?, *inclusive).ok()?;
        return Some((range.len(), Box::new(move |at| range.get(at).map(Value::Int))));
    }
    match lang::evaluate(rows, scope).ok()? {
        Value::List(items) => {
            let len = items.len() as u64;
            Some((len, Box::new(move |at| items.get(usize::try_from(at).ok()?).cloned())))
        }
        _ => None,
    }
}

fn constant(expr: &Expr) -> Option<&Value> {
    match &expr.kind {
        ExprKind::Const(value) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that meets no value has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_past_when_nothing_to_come_can_make_it_good() {
        let drop = |at_most| OnError::Drop { at_most };
        assert_eq!(past(drop(0.05), 5, Some(100)), None);
        let told = past(drop(0.05), 6, Some(100)).unwrap();
        assert!(told.starts_with("6 of 100 rows failed, more than the 5 %"), "{told}");
        assert_eq!(past(drop(0.29), 29, Some(100)), None, "0.29 * 100 is a little less than 29");
        assert_eq!(past(drop(0.0), 0, Some(0)), None);
        assert!(past(drop(0.0), 1, Some(1_000_000)).is_some());
        assert!(past(drop(0.125), 2, Some(8)).unwrap().contains("the 12.5 %"));
        // As long as there may be any number of rows, any number may fail.
        assert_eq!(past(drop(0.0), 7, None), None);
        assert_eq!(past(OnError::Keep, 7, Some(7)), None);
    }
}
