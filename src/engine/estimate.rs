//! What a stage would ask of models, and what that would cost in tokens.
//!
//! The best guess is what like calls did: each call leaves its usage in the store, and the mean of
//! those of the same operator and model is taken. Where there are none, the length of the prompts is
//! (four bytes a token), and the longest answers that the settings allow; of an agent's episode, which
//! asks many times, nothing is guessed then.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::store::{Digest, Objects, Snapshot};

use super::journal::{Spent, USAGE};
use super::operator::{Asks, read_value};

/// Bytes of a prompt that make a token, roughly: English text has about four.
const TOKEN_BYTES: u64 = 4;

/// What the calls of one operator to one model would take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The operator.
    pub operator: String,
    /// The model's name in the program.
    pub model: String,
    /// Calls of the operator.
    pub calls: u64,
    /// Answers of the model, where that can be said.
    pub answers: Option<u64>,
    /// Tokens that it would read.
    pub tokens_in: Option<u64>,
    /// Tokens that it would write; at most, when the basis is the prompts.
    pub tokens_out: Option<u64>,
    /// What this is made from.
    pub basis: Basis,
}

/// What an estimate is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Basis {
    /// The mean of so many recorded calls of the same operator and model.
    Recorded {
        /// How many.
        recorded: u64,
    },
    /// The same, of calls to the model with other settings.
    OtherSettings {
        /// How many.
        recorded: u64,
    },
    /// The length of the prompts, and of the longest answers: rough.
    Prompts,
    /// Nothing: no such call is recorded, and prompts say too little.
    Nothing,
}

/// The calls that a stage would make, as they are met.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<(String, Digest), Calls>);

#[derive(Debug, Default)]
struct Calls {
    model: String,
    calls: u64,
    /// Calls whose prompt is known, and the bytes of those prompts.
    known: (u64, u64),
    /// Whether each call is one question, and the most tokens of all answers together.
    single: bool,
    answer_tokens: u64,
}

impl Asked {
    /// Adds so many calls that are alike.
    pub(super) fn add(&mut self, operator: &str, asks: &Asks, count: u64) {
        let Some(name) = asks.remote() else { return };
        if count == 0 {
            return;
        }
        let key = (operator.to_string(), asks.model.digest());
        let calls = self.0.entry(key).or_insert_with(|| Calls {
            model: name.to_string(),
            single: true,
            ..Calls::default()
        });
        calls.calls += count;
        if let Some(text) = &asks.text {
            calls.known.0 += count;
            calls.known.1 += count * text.len() as u64;
        }
        calls.single &= asks.answers == Some(1);
        calls.answer_tokens += count * asks.answer_tokens;
    }

    /// The estimates.
    pub(super) fn estimates(&self, history: &History) -> Vec<Estimate> {
        self.0
            .iter()
            .map(|((operator, model), calls)| calls.estimate(operator, model, history))
            .collect()
    }

    /// Whether nobody would be asked.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Calls {
    fn estimate(&self, operator: &str, model: &Digest, history: &History) -> Estimate {
        let (basis, usual) = history.usual(operator, model, &self.model);
        let mut estimate = Estimate {
            operator: operator.to_string(),
            model: self.model.clone(),
            calls: self.calls,
            answers: self.single.then_some(self.calls),
            tokens_in: None,
            tokens_out: None,
            basis,
        };
        if let Some((sum, count)) = usual {
            let scaled = |total: u64| {
                (u128::from(total) * u128::from(self.calls) / u128::from(count)) as u64
            };
            estimate.answers = Some(scaled(sum.answers));
            estimate.tokens_in = Some(scaled(sum.input));
            estimate.tokens_out = Some(scaled(sum.output));
        } else if self.single && self.known.0 > 0 {
            let bytes =
                u128::from(self.known.1) * u128::from(self.calls) / u128::from(self.known.0);
            estimate.tokens_in = Some((bytes as u64).div_ceil(TOKEN_BYTES));
            estimate.tokens_out = Some(self.answer_tokens);
            estimate.basis = Basis::Prompts;
        } else {
            estimate.tokens_out = self.single.then_some(self.answer_tokens);
        }
        estimate
    }
}

/// What recorded calls spent: sums, and how many they are.
#[derive(Debug, Default)]
pub(super) struct History {
    of_model: BTreeMap<(String, Digest), (Spent, u64)>,
    of_name: BTreeMap<(String, String), (Spent, u64)>,
}

impl History {
    /// The recorded calls of a store.
    pub(super) fn read(store: &Snapshot) -> History {
        let mut history = History::default();
        // What cannot be read tells nothing of what was spent.
        let receipts = store.receipts().into_iter().flatten();
        for receipt in receipts.filter(|receipt| receipt.operator == USAGE) {
            let Ok(value) = read_value(store as &dyn Objects, &receipt.result) else { continue };
            let Some((operator, name, spent)) = Spent::of(&value) else { continue };
            let model = receipt.parts.iter().find(|(part, _)| part == "model");
            if let Some((_, model)) = model {
                add(history.of_model.entry((operator.to_string(), *model)).or_default(), spent);
            }
            add(
                history.of_name.entry((operator.to_string(), name.to_string())).or_default(),
                spent,
            );
        }
        history
    }

    fn usual(&self, operator: &str, model: &Digest, name: &str) -> (Basis, Option<(Spent, u64)>) {
        if let Some(sum) = self.of_model.get(&(operator.to_string(), *model)) {
            return (Basis::Recorded { recorded: sum.1 }, Some(*sum));
        }
        match self.of_name.get(&(operator.to_string(), name.to_string())) {
            Some(sum) => (Basis::OtherSettings { recorded: sum.1 }, Some(*sum)),
            None => (Basis::Nothing, None),
        }
    }
}

fn add(sum: &mut (Spent, u64), spent: Spent) {
    sum.0.answers += spent.answers;
    sum.0.input += spent.input;
    sum.0.output += spent.output;
    sum.1 += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Value;

    fn asks(text: Option<&str>, answers: Option<u64>) -> Asks {
        let model = Value::str("teacher");
        Asks { model, text: text.map(str::to_string), answers, answer_tokens: 50 }
    }

    #[test]
    fn prompts_are_counted_when_nothing_is_recorded() {
        let mut asked = Asked::default();
        asked.add("llm.text", &asks(Some("12345678"), Some(1)), 1);
        asked.add("llm.text", &asks(None, Some(1)), 3);
        let [estimate] = &asked.estimates(&History::default())[..] else { panic!("one estimate") };
        assert_eq!((estimate.calls, estimate.basis), (4, Basis::Prompts));
        // Those that are not known are taken to be like those that are.
        assert_eq!((estimate.tokens_in, estimate.tokens_out), (Some(8), Some(200)));
    }

    #[test]
    fn of_episodes_nothing_is_guessed() {
        let mut asked = Asked::default();
        asked.add("rollout.run", &asks(Some("Sort it."), Some(12)), 2);
        let [estimate] = &asked.estimates(&History::default())[..] else { panic!("one estimate") };
        assert_eq!((estimate.tokens_in, estimate.tokens_out), (None, None));
        assert_eq!((estimate.answers, estimate.basis), (None, Basis::Nothing));
    }

    #[test]
    fn what_was_recorded_counts_most() {
        let mut history = History::default();
        let spent = Spent { answers: 3, input: 100, output: 20 };
        let model = Value::str("teacher").digest();
        for _ in 0..2 {
            add(history.of_model.entry(("rollout.run".to_string(), model)).or_default(), spent);
        }
        let mut asked = Asked::default();
        asked.add("rollout.run", &asks(None, None), 10);
        let [estimate] = &asked.estimates(&history)[..] else { panic!("one estimate") };
        assert_eq!(estimate.basis, Basis::Recorded { recorded: 2 });
        assert_eq!(
            (estimate.answers, estimate.tokens_in, estimate.tokens_out),
            (Some(30), Some(1_000), Some(200))
        );
    }

    #[test]
    fn what_is_built_in_costs_nothing() {
        let mut asked = Asked::default();
        let model = Value::record([("model", Value::str("builtin/solver"))]);
        asked.add("rollout.run", &Asks { model, ..asks(None, None) }, 10);
        assert!(asked.is_empty());
    }
}
