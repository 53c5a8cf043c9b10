//! `builtin/solver`: the programmatic teacher. It plays a task's reference solution, with mistakes.
//!
//! A solution is a record `{ calls, answer }` whose calls are `{ name, arguments }`, done one a turn;
//! or a bare list of `{ tool, arguments }` with perhaps a last `{ answer }`. With the chance `error_rate` a step is done wrong;
//! half of the time the solver notices and then does it right, else it goes on as if nothing were.
//! Mistakes make lessons that verification must sort out, and lessons in how to mend.
//!
//! It keeps no state: what it says next is decided by the number of its own turns in the conversation,
//! so that it is a function of solution, seed and conversation alone.

use std::sync::Arc;

use futures::future::BoxFuture;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value as Json;

use crate::engine::Context;
use crate::lang::Value;
use crate::model::{Answer, Finish, Message, Model, ModelError, Request, ToolCall, Usage};

use super::mistake::mistaken;
use super::trajectory::plain_json;

/// What it says at the end when the solution does not.
const DONE: &str = "Done.";

/// A solution laid out as turns, mistakes included.
#[derive(Debug, Clone, PartialEq)]
pub struct Solver {
    turns: Vec<(String, Json)>,
    answer: String,
}

/// What is wrong with what it is given, which is the row's own.
fn refused(message: String) -> ModelError {
    ModelError::Refused { message, output: String::new() }
}

/// Opens the solver for a task: the [`super::Opener`] of `builtin/solver`.
///
/// # Errors
/// When `error_rate` is not a share, or the task has no solution that can be played.
pub fn open_solver(
    value: &Value,
    task: &Value,
    context: &Context,
) -> Result<Arc<dyn Model>, ModelError> {
    let rate = match value.get("error_rate") {
        None | Some(Value::Null) => 0.0,
        Some(rate) => {
            rate.as_float().filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(|| {
                refused("the solver's `error_rate` must be a share from 0% to 100%".to_string())
            })?
        }
    };
    let solution = task.get("solution").unwrap_or(&Value::Null);
    Ok(Arc::new(Solver::new(&plain_json(solution), rate, context.key.seed())?))
}

impl Solver {
    /// Lays out `solution`; each step goes wrong with the chance `error_rate`, drawn from `seed`.
    ///
    /// # Errors
    /// When the solution is not of the form that the module describes.
    pub fn new(solution: &Json, error_rate: f64, seed: u64) -> Result<Solver, ModelError> {
        let bad = |what: &str| {
            refused(format!(
                "the task's solution cannot be played: {what}\n  help: a solution is \
                 {{calls, answer}}, with calls of the form {{name, arguments}}"
            ))
        };
        let mut answer = solution.get("answer").and_then(Json::as_str);
        let steps = solution.get("calls").unwrap_or(solution);
        let steps = steps.as_array().ok_or_else(|| bad("it has no list of calls"))?;
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut turns = Vec::new();
        for step in steps {
            let name = step.get("name").or_else(|| step.get("tool"));
            let Some(tool) = name.and_then(Json::as_str) else {
                let text = step.get("answer").and_then(Json::as_str);
                answer = Some(text.ok_or_else(|| bad("a call names no tool"))?);
                continue;
            };
            let right =
                step.get("arguments").cloned().unwrap_or_else(|| Json::Object(Default::default()));
            // Chance is drawn for every step alike, so that more mistakes never move the others.
            let mut own = ChaCha8Rng::seed_from_u64(chance.next_u64());
            let errs = share(&mut own) < error_rate;
            let notices = share(&mut own) < 0.5;
            if errs {
                turns.push((tool.to_string(), mistaken(&right, &mut own)));
            }
            if !errs || notices {
                turns.push((tool.to_string(), right));
            }
        }
        Ok(Solver { turns, answer: answer.unwrap_or(DONE).to_string() })
    }

    /// The calls in the order in which they will be made, mistakes included.
    pub fn calls(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.turns.iter().map(|(tool, arguments)| (tool.as_str(), arguments))
    }
}

/// A number from 0 up to but not including 1.
fn share(chance: &mut ChaCha8Rng) -> f64 {
    (chance.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

impl Model for Solver {
    /// Answers without tokens: it reads and writes none.
    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelError>> {
        let own = |message: &&Message| matches!(message, Message::Assistant { .. });
        let turn = request.messages.iter().filter(own).count();
        let answer = match self.turns.get(turn) {
            Some((tool, arguments)) => Answer {
                content: String::new(),
                reasoning: String::new(),
                tool_calls: vec![ToolCall {
                    id: format!("call_{}", turn + 1),
                    name: tool.clone(),
                    arguments: arguments.clone(),
                }],
                finish: Finish::ToolCalls,
                usage: Usage::default(),
            },
            None => Answer {
                content: self.answer.clone(),
                reasoning: String::new(),
                tool_calls: Vec::new(),
                finish: Finish::Stop,
                usage: Usage::default(),
            },
        };
        Box::pin(async move { Ok(answer) })
    }
}
