//! How a stage is run: what `with { … }` says, as a type.
//!
//! None of it changes what a row's result is, so none of it is part of a key.

use super::program::{Expr, ExprKind, Function, Stage};
use super::value::Value;

/// How a stage is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How often a failing row is tried again.
    pub retries: u32,
    /// Milliseconds before the first further try, doubled each time; `None` leaves it to the engine.
    pub backoff_ms: Option<u64>,
    /// Milliseconds after which one call is given up.
    pub timeout_ms: Option<u64>,
    /// What becomes of a row that has failed for good.
    pub on_error: OnError,
    /// How many of its calls run at once; `None` leaves it to the pools.
    pub concurrency: Option<usize>,
    /// What one call needs.
    pub resources: Resources,
    /// Whether earlier results are used.
    pub cache: CacheUse,
    /// The most that the stage may spend, in micro-dollars.
    pub budget: Option<i64>,
    /// How many rows are run before the gate is asked.
    pub canary: Option<u64>,
    /// What must hold after the canary for the rest to run: a function over a record
    /// `{ rows: int, failed: int, failed_share: percent }`.
    pub gate: Option<Function>,
    /// The name of the executor that runs it.
    pub executor: Option<String>,
}

/// What becomes of a row that has failed for good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnError {
    /// The run stops.
    Fail,
    /// The row is put aside; the run stops when more than this share of the rows is.
    Drop {
        /// A fraction in 0..=1.
        at_most: f64,
    },
    /// The row is put aside, however many are.
    Keep,
}

/// What one call of a stage needs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Resources {
    /// Processors; `None` leaves it to the kind of the call.
    pub cpu: Option<f64>,
    /// Bytes of memory, 0 when it does not say.
    pub memory: u64,
    /// Graphics processors.
    pub gpu: u32,
}

/// Whether earlier results are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// They are.
    On,
    /// They are not, and new ones are not kept for later runs.
    Off,
    /// They are not, and new ones take their place.
    Refresh,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            retries: 0,
            backoff_ms: None,
            timeout_ms: None,
            on_error: OnError::Fail,
            concurrency: None,
            resources: Resources::default(),
            cache: CacheUse::On,
            budget: None,
            canary: None,
            gate: None,
            executor: None,
        }
    }
}

impl Stage {
    /// The stage's policy. What a [`super::Program`] leaves open (a parameter, say) reads as not
    /// given; in a [`super::Pipeline`] nothing is open.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        for (name, expr) in &self.policy {
            policy.set(name, expr);
        }
        policy
    }
}

impl Policy {
    fn set(&mut self, name: &str, expr: &Expr) {
        let value = match &expr.kind {
            ExprKind::Const(value) => value,
            ExprKind::Function(function) if name == "gate" => {
                self.gate = Some((**function).clone());
                return;
            }
            _ => return,
        };
        let natural = || value.as_int().and_then(|int| u64::try_from(int).ok());
        match name {
            "retries" => self.retries = natural().map_or(0, |n| n.min(u64::from(u32::MAX)) as u32),
            "backoff" => self.backoff_ms = natural(),
            "timeout" => self.timeout_ms = natural(),
            "concurrency" => self.concurrency = natural().map(|n| n as usize),
            "canary" => self.canary = natural(),
            "budget" => self.budget = value.as_int(),
            "executor" => self.executor = value.as_str().map(str::to_string),
            "on_error" => {
                self.on_error = match (value.as_str(), value.get("drop").and_then(Value::as_float))
                {
                    (Some("keep"), _) => OnError::Keep,
                    (_, Some(at_most)) => OnError::Drop { at_most },
                    _ => OnError::Fail,
                }
            }
            "cache" => {
                self.cache = match value.as_str() {
                    Some("off") => CacheUse::Off,
                    Some("refresh") => CacheUse::Refresh,
                    _ => CacheUse::On,
                }
            }
            "resources" => {
                let natural = |name: &str| {
                    value.get(name).and_then(Value::as_int).and_then(|n| u64::try_from(n).ok())
                };
                self.resources.cpu = value.get("cpu").and_then(Value::as_float);
                self.resources.memory = natural("memory").unwrap_or(0);
                self.resources.gpu = natural("gpu").map_or(0, |n| n.min(1024) as u32);
            }
            _ => {}
        }
    }
}
