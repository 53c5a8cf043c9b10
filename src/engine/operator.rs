//! What a stage can do, as the engine sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;

use crate::lang::{Table, Value};
use crate::plan;
use crate::store::{Digest, Objects, StoreError};

use super::budget::{Budget, OverBudget};
use super::journal::{Journal, Spent};
use super::pools::Held;
use super::secrets::CallSecrets;

/// What may be assumed about an operator's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Running it again gives the same digest.
    Pure,
    /// The answer is a fact from outside (a model's words): kept for ever and replayed.
    Recorded,
    /// It writes outside the store: always last, never cached.
    Effect,
}

/// Which resource a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Microseconds of pure computing: run where it stands, and `claw plan` may run it to see
    /// through to the stages below.
    Instant,
    /// Nothing of this machine: another one does the work, and whoever asks it says how many may
    /// ask at once.
    Elsewhere,
    /// One CPU.
    Cpu,
    /// One sandbox.
    Sandbox,
    /// The whole machine: one such call at a time, with [`Context::threads`] threads.
    Machine,
}

/// What an operator is.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Module and name: `rollout.run`.
    pub name: &'static str,
    /// Bumped by hand when the meaning changes, so that older results are no longer used.
    pub version: u32,
    /// What may be assumed about its results.
    pub kind: Kind,
    /// What its calls wait for.
    pub pool: Pool,
}

/// One thing that a stage can do. Its signature is the `extern def` of the same name in `stdlib/`.
pub trait Operator: Send + Sync {
    /// What it is, whatever its arguments.
    fn about(&self) -> About;

    /// What this call waits for, where that depends on its arguments.
    fn pool_of(&self, args: &Args) -> Pool {
        let _ = args;
        self.about().pool
    }

    /// Narrows the arguments to what this call really reads, for its key: a directory to the one
    /// folder in it that matters, say. The call itself still gets the whole arguments.
    ///
    /// # Errors
    /// When the arguments cannot be used; the call would fail in the same way.
    fn reads(&self, args: &Args, objects: &dyn Objects) -> Result<Args, CallError> {
        let _ = objects;
        Ok(args.clone())
    }

    /// What a call with these arguments asks of a model, as far as they are known: some may be missing.
    /// `None` when it asks none. It is what `claw plan` estimates from, and what a run without a
    /// network says that it would have asked.
    fn asks(&self, args: &Args) -> Option<Asks> {
        let _ = args;
        None
    }

    /// Does one call.
    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>>;
}

/// What a call asks of a model.
#[derive(Debug, Clone)]
pub struct Asks {
    /// The model, as the program names it.
    pub model: Value,
    /// What is said to it first, where that is known.
    pub text: Option<String>,
    /// Answers that it is asked for, at most; `None` when the arguments do not say.
    pub answers: Option<u64>,
    /// Tokens of one answer, at most.
    pub answer_tokens: u64,
}

impl Asks {
    /// The name of a model behind an endpoint; `None` for checkpoints and what is built in, which
    /// cost nothing.
    pub fn remote(&self) -> Option<&str> {
        if self.model.get("checkpoint").is_some() {
            return None;
        }
        let name = self.model.as_str().or_else(|| self.model.get("model").and_then(Value::as_str));
        name.filter(|name| !name.starts_with("builtin/"))
    }
}

/// What a call may use besides its arguments.
#[derive(Clone)]
pub struct Context {
    /// Bytes by digest.
    pub objects: Arc<dyn Objects>,
    /// The call's key: the only source of randomness ([`Digest::seed`]).
    pub key: Digest,
    /// Threads that a [`Pool::Machine`] call may use. Never changes a result.
    pub threads: usize,
    /// What the call holds of the machine. A long call may give it back when the rest of it computes
    /// nothing.
    pub held: Held,
    /// Set when the run is to stop.
    pub cancel: Cancel,
    /// What the stage may spend; `None` when its policy does not say.
    pub budget: Option<Arc<Budget>>,
    /// Where answers from outside are kept at once; `None` when the stage's policy says that earlier
    /// results are not used.
    pub journal: Option<Journal>,
    /// Whether nobody outside may be asked: only recorded answers are heard.
    pub offline: bool,
    /// The secrets that the arguments name, by value.
    pub secrets: CallSecrets,
    /// Tells how far a long call is: done and total, and a word such as `loss 0.31`.
    pub progress: Arc<Tell>,
}

/// Takes done, total and a word.
pub type Tell = dyn Fn(u64, u64, &str) + Send + Sync;

impl Context {
    /// A context for tests and for looking ahead.
    pub fn quiet(objects: Arc<dyn Objects>, key: Digest) -> Context {
        Context {
            objects,
            key,
            threads: 1,
            held: Held::default(),
            cancel: Cancel::default(),
            budget: None,
            journal: None,
            offline: false,
            secrets: CallSecrets::default(),
            progress: Arc::new(|_, _, _| {}),
        }
    }

    /// Notes what this call asked of a model and paid, all its answers together, for the estimates
    /// of later plans. Only of models behind an endpoint, and once for a key.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn spent(&self, operator: &str, model: &Value, spent: Spent) -> Result<(), CallError> {
        let asks = Asks { model: model.clone(), text: None, answers: None, answer_tokens: 0 };
        match (&self.journal, asks.remote()) {
            // A server that tells no usage says nothing about what the next call will cost.
            (Some(journal), Some(name)) if !self.offline && spent.input + spent.output > 0 => {
                journal.spent(&self.key, operator, (name, model.digest()), spent)
            }
            _ => Ok(()),
        }
    }

    /// The value of a row of a table.
    ///
    /// # Errors
    /// When the row is not in the store.
    pub fn row(&self, digest: &Digest) -> Result<Value, CallError> {
        read_value(&*self.objects, digest)
    }
}

/// Reads a value from its canonical bytes.
///
/// # Errors
/// When the object is missing or is not a value.
pub fn read_value(objects: &dyn Objects, digest: &Digest) -> Result<Value, CallError> {
    let bytes = objects.get(digest)?;
    let table = |table: &Digest| Table::decode(&objects.get(table).ok()?);
    Value::decode(&bytes, &table).map_err(|err| {
        CallError::Infrastructure(format!("row {} cannot be read: {err}", digest.short()))
    })
}

/// A flag that asks running calls to stop.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
    /// The flag that it was made of: asked there is asked here too.
    parent: Option<Arc<Cancel>>,
}

impl Cancel {
    /// A flag that is set with this one, and can be set alone.
    pub fn child(&self) -> Cancel {
        Cancel { asked: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Asks.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked.
    pub fn is_cancelled(&self) -> bool {
        let asked_above = self.parent.as_ref().is_some_and(|parent| parent.is_cancelled());
        asked_above || self.asked.load(Ordering::SeqCst)
    }
}

/// Why a call gave no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The row's own failure: bad input, a checker that crashed. The row is put aside.
    #[error("{message}")]
    Row {
        /// What went wrong and what to do about it.
        message: String,
        /// The last output, whole, for `claw show --failed`.
        output: String,
    },
    /// The world's failure: the endpoint is down, the sandbox did not start. Retried, then told;
    /// never a score.
    #[error("{0}")]
    Infrastructure(String),
    /// The stage may not spend what the call may cost: it ends, and what it has done is kept.
    #[error(
        "{0}\n  help: everything done so far is kept; raise {what} and run again to go on",
        what = .0.setting()
    )]
    Budget(OverBudget),
    /// Nobody outside may be asked, and the answer is not recorded. It says nothing about the row.
    #[error("{0}")]
    Offline(String),
    /// The run is being stopped.
    #[error("stopped")]
    Cancelled,
}

impl CallError {
    /// A row's own failure with nothing more to show.
    pub fn row(message: impl Into<String>) -> CallError {
        CallError::Row { message: message.into(), output: String::new() }
    }
}

impl From<StoreError> for CallError {
    fn from(err: StoreError) -> CallError {
        CallError::Infrastructure(err.to_string())
    }
}

impl dyn Operator {
    /// The key of a call with these arguments (what it reads of them, see [`Operator::reads`]) in
    /// the `attempt`-th attempt of a `try`. What is pure gives the same at every attempt.
    pub fn key(&self, reads: &Args, attempt: u32) -> Digest {
        let key = plan::call_key(self.about().name, self.about().version, &reads.0);
        if self.about().kind == Kind::Pure { key } else { plan::attempt_key(key, attempt) }
    }
}

/// The arguments of one call, by name. The checker has made sure of names and types, so that a
/// getter fails only for data that no type can promise (rows read from JSON, say).
#[derive(Debug, Clone, Default)]
pub struct Args(pub BTreeMap<String, Value>);

impl Args {
    /// An argument.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn get(&self, name: &str) -> Result<&Value, CallError> {
        self.0.get(name).ok_or_else(|| CallError::row(format!("argument `{name}` is missing")))
    }

    /// Text.
    ///
    /// # Errors
    /// When it is something else.
    pub fn str(&self, name: &str) -> Result<&str, CallError> {
        self.get(name)?.as_str().ok_or_else(|| wrong(name, "text"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is something else.
    pub fn int(&self, name: &str) -> Result<i64, CallError> {
        self.get(name)?.as_int().ok_or_else(|| wrong(name, "a whole number"))
    }

    /// A number.
    ///
    /// # Errors
    /// When it is something else.
    pub fn float(&self, name: &str) -> Result<f64, CallError> {
        self.get(name)?.as_float().ok_or_else(|| wrong(name, "a number"))
    }

    /// A truth value.
    ///
    /// # Errors
    /// When it is something else.
    pub fn bool(&self, name: &str) -> Result<bool, CallError> {
        self.get(name)?.as_bool().ok_or_else(|| wrong(name, "true or false"))
    }

    /// A directory.
    ///
    /// # Errors
    /// When it is something else.
    pub fn dir(&self, name: &str) -> Result<Digest, CallError> {
        match self.get(name)? {
            Value::Dir(digest) => Ok(*digest),
            _ => Err(wrong(name, "a directory")),
        }
    }

    /// The rows of a table or list: each as a value.
    ///
    /// # Errors
    /// When it is something else, or a row is not in the store.
    pub fn rows(&self, name: &str, objects: &dyn Objects) -> Result<Vec<Value>, CallError> {
        match self.get(name)? {
            Value::Table(table) => table.rows.iter().map(|row| read_value(objects, row)).collect(),
            Value::List(items) => Ok(items.clone()),
            _ => Err(wrong(name, "a table")),
        }
    }
}

fn wrong(name: &str, what: &str) -> CallError {
    CallError::row(format!("argument `{name}` is not {what}"))
}
