//! What the model calls of a plan would cost, with the prices in `claw.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::engine::{Basis, Bound, Estimate, Forecast, dollars};
use crate::project::ModelSettings;

use super::super::print;

/// The models of a project, with their prices.
type Models = BTreeMap<String, ModelSettings>;

/// Sums over all stages; `None` where a part of it is not known.
#[derive(Default)]
struct Total {
    calls: u64,
    tokens_in: u64,
    tokens_out: u64,
    micro: i64,
    /// Whether some tokens are not known, and some prices.
    tokens_missing: bool,
    cost_missing: bool,
    /// Whether some of it is counted from the length of prompts.
    rough: bool,
    /// Whether the calls are an upper bound, and whether the rest is.
    calls_at_most: bool,
    at_most: bool,
}

/// Micro-dollars of an estimate; `None` when its tokens or its model's prices are not known.
fn cost(estimate: &Estimate, models: &Models) -> Option<i64> {
    let prices = models.get(&estimate.model)?.prices?;
    let input = estimate.tokens_in? as f64 * prices.input;
    let output = estimate.tokens_out? as f64 * prices.output;
    Some((input + output).ceil() as i64)
}

/// Whether the stage's numbers are upper bounds: rows may yet be in the store or left out, or answers
/// be shorter.
fn at_most(stage: &Forecast, estimate: &Estimate) -> bool {
    stage.bound != Bound::Exact || matches!(estimate.basis, Basis::Prompts | Basis::Nothing)
}

fn total(stages: &[Forecast], models: &Models) -> Total {
    let mut total = Total::default();
    for stage in stages {
        for estimate in &stage.asks {
            total.calls += estimate.calls;
            total.tokens_in += estimate.tokens_in.unwrap_or(0);
            total.tokens_out += estimate.tokens_out.unwrap_or(0);
            total.tokens_missing |= estimate.tokens_in.is_none() || estimate.tokens_out.is_none();
            let cost = cost(estimate, models);
            total.micro += cost.unwrap_or(0);
            total.cost_missing |= cost.is_none();
            total.rough |= estimate.basis == Basis::Prompts;
            total.calls_at_most |= stage.bound != Bound::Exact;
            total.at_most |= at_most(stage, estimate);
        }
    }
    total
}

/// The estimates of a stage for programs: as they are, with their cost in micro-dollars.
pub(super) fn of_stage(stage: &Forecast, models: &Models) -> Json {
    let asks = stage.asks.iter().map(|estimate| {
        let mut told = json!(estimate);
        told["cost_micro_dollars"] = json!(cost(estimate, models));
        told["at_most"] = json!(at_most(stage, estimate));
        told
    });
    asks.collect()
}

/// The sums for programs. What is not known is left out of them, and said.
pub(super) fn sums(stages: &[Forecast], models: &Models) -> Json {
    let total = total(stages, models);
    json!({
        "calls": total.calls, "tokens_in": total.tokens_in, "tokens_out": total.tokens_out,
        "cost_micro_dollars": total.micro, "at_most": total.at_most,
        "tokens_known": !total.tokens_missing, "cost_known": !total.cost_missing,
    })
}

/// All of it for a person; empty when no model would be asked.
pub(super) fn tell(stages: &[Forecast], models: &Models) -> String {
    let mut rows = Vec::new();
    let mut notes: BTreeSet<&'static str> = BTreeSet::new();
    let mut unpriced: BTreeSet<&str> = BTreeSet::new();
    for stage in stages {
        for estimate in &stage.asks {
            let cost = cost(estimate, models);
            if models.get(&estimate.model).is_none_or(|model| model.prices.is_none()) {
                unpriced.insert(&estimate.model);
            }
            // Calls of rows that were not looked at are counted as if all of them were made.
            let bound = match stage.bound {
                Bound::Exact => "",
                Bound::AtMost => "≤ ",
                _ if stage.unseen > 0 => "≤ ",
                Bound::AtLeast | Bound::About => "~ ",
            };
            let about = if at_most(stage, estimate) && bound != "~ " { "≤ " } else { bound };
            // Of fewer rows, fewer prompts would be read; but how long they are is a guess.
            let rough = if estimate.basis == Basis::Prompts { "~ " } else { bound };
            rows.push(vec![
                stage.stage.clone(),
                estimate.operator.clone(),
                estimate.model.clone(),
                format!("{bound}{}", print::number(estimate.calls)),
                tokens(rough, estimate.tokens_in),
                tokens(about, estimate.tokens_out),
                cost.map_or("?".to_string(), |micro| format!("{about}{}", dollars(micro))),
                basis(estimate.basis, &mut notes),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let sum = total(stages, models);
    if rows.len() > 1 {
        let bound = |is: bool| if is { "≤ " } else { "" };
        let about = bound(sum.at_most);
        let rough = if sum.rough { "~ " } else { bound(sum.calls_at_most) };
        let more = |missing: bool| if missing { " + ?" } else { "" };
        let counted = |about: &str, count: u64| {
            format!("{about}{}{}", print::number(count), more(sum.tokens_missing))
        };
        rows.push(vec![
            "all".to_string(),
            String::new(),
            String::new(),
            format!("{}{}", bound(sum.calls_at_most), print::number(sum.calls)),
            counted(rough, sum.tokens_in),
            counted(about, sum.tokens_out),
            format!("{about}{}{}", dollars(sum.micro), more(sum.cost_missing)),
            String::new(),
        ]);
    }
    let heads = [
        "stage",
        "operator",
        "model",
        "calls",
        "tokens in",
        "tokens out",
        "cost",
        "estimated from",
    ];
    let mut out = format!("\n{}", print::columns(&heads.map(str::to_string), &rows));
    notes.iter().for_each(|note| out.push_str(&format!("{note}\n")));
    if !unpriced.is_empty() {
        let names: Vec<&str> = unpriced.into_iter().collect();
        out.push_str(&format!("claw.toml has no `prices` for {}.\n", names.join(", ")));
    }
    out
}

fn tokens(about: &str, count: Option<u64>) -> String {
    count.map_or("?".to_string(), |count| format!("{about}{}", print::number(count)))
}

fn basis(basis: Basis, notes: &mut BTreeSet<&'static str>) -> String {
    let calls = |count: u64| {
        let plural = if count == 1 { "call" } else { "calls" };
        format!("mean of {} recorded {plural}", print::number(count))
    };
    match basis {
        Basis::Recorded { recorded } => calls(recorded),
        Basis::OtherSettings { recorded } => format!("{} with other settings", calls(recorded)),
        Basis::Prompts => {
            notes.insert(
                "Rough where nothing is recorded: four bytes of a prompt are taken for a token, and \
                 answers for as long as they may be.",
            );
            "prompts".to_string()
        }
        Basis::Nothing => {
            notes.insert("? is not known: no such call is recorded yet.");
            "nothing".to_string()
        }
    }
}
