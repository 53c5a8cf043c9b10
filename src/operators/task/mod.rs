//! Tasks: from a family (data) and a grounding (who asks, for what) to a request, the rules that
//! judge it, and one way to do it.
//!
//! ```text
//! grounding ──draw──▶ parameters ──┬─▶ prompt      (one form of one of the wordings)
//!                                  ├─▶ rules       (gates and points)
//!                                  ├─▶ solution    (tool calls)
//!                                  └─▶ files       (`workspace.mock`)
//! ```
//! Everything follows from the parameters, and they from `(seed, grounding id, family name)`.
//! A task's key holds the one form that it is asked in, of one wording, and nothing of the others,
//! so that editing a wording writes anew the tasks that use it, and no other.

mod checks;
mod family;
mod params;
mod play;
mod prove;
mod render;
mod wording;
mod words;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::store::{KeyHasher, Objects};

pub use checks::{Check, Named, Rules, Workspaces};
pub use family::{Call, Family, Library, Solution};
pub use play::play;
pub use prove::{Proof, prove};
pub use wording::{Form, Wording};
pub(crate) use words::Stream;

/// `task.write`: the task of a grounding.
pub struct Write {
    library: Arc<Library>,
}

impl Write {
    /// Reads families through `library`, which other operators may share.
    pub fn new(library: Arc<Library>) -> Write {
        Write { library }
    }

    fn family(&self, args: &Args, objects: &dyn Objects) -> Result<Arc<Family>, CallError> {
        let name = field(args.get("grounding")?, "family")?;
        self.library.family(&args.dir("families")?, name, objects)
    }
}

impl Operator for Write {
    fn about(&self) -> About {
        About { name: "task.write", version: 1, kind: Kind::Pure, pool: Pool::Instant }
    }

    fn reads(&self, args: &Args, objects: &dyn Objects) -> Result<Args, CallError> {
        let family = self.family(args, objects)?;
        let grounding = field(args.get("grounding")?, "id")?;
        let form = family.form_of(grounding, args.int("seed")?);
        let mut narrow = args.clone();
        narrow.0.insert(
            "families".to_string(),
            Value::record([
                ("rules", Value::str(family.rules_digest.to_string())),
                ("wording", Value::str(form.id)),
                ("template", Value::str(form.template)),
            ]),
        );
        Ok(narrow)
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        async move {
            let family = self.family(args, &*context.objects)?;
            write(&family, args.get("grounding")?, args.int("seed")?)
        }
        .boxed()
    }
}

/// Writes the task of a grounding, as a `task.Task` row.
///
/// # Errors
/// When the family's data is wrong: which file, and why.
pub fn write(family: &Family, grounding: &Value, seed: i64) -> Result<Value, CallError> {
    let id = field(grounding, "id")?;
    let params = family.draw(id, seed)?;
    let form = family.form_of(id, seed);

    let mut names = params.clone();
    for name in ["persona", "scenario", "skill"] {
        let value = grounding.get(name).map_or(Json::Null, Value::to_json);
        names.entry(name.to_string()).or_insert(value);
    }
    let prompt = family.ask(&form, &names)?;

    let program = match family.program {
        Some(digest) => Value::File { digest, name: "check.py".to_string() },
        None => Value::Null,
    };
    let mut key = KeyHasher::new("claw task 1");
    key.number(seed as u64).text(id).text(&family.name);
    Ok(Value::record([
        ("id", Value::str(format!("{}-{}", family.name, key.finish().short()))),
        ("family", Value::str(family.name.clone())),
        ("wording", Value::str(form.id)),
        ("prompt", Value::str(prompt)),
        ("grounding", grounding.clone()),
        (
            "checker",
            Value::record([("checks", json(&family.rules(&params)?)?), ("program", program)]),
        ),
        ("solution", json(&family.solution(&params)?)?),
        ("params", json(&params)?),
    ]))
}

fn json<T: serde::Serialize>(of: &T) -> Result<Value, CallError> {
    serde_json::to_value(of)
        .map(|json| Value::from_json(&json))
        .map_err(|err| CallError::row(format!("a task cannot be written as JSON: {err}")))
}

/// A text field of a row.
pub(crate) fn field<'a>(row: &'a Value, name: &str) -> Result<&'a str, CallError> {
    row.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| CallError::row(format!("the row has no text `{name}`")))
}

/// The parameters of a task row.
pub(crate) fn params_of(task: &Value) -> Result<Map<String, Json>, CallError> {
    match task.get("params").map(Value::to_json) {
        Some(Json::Object(params)) => Ok(params),
        _ => Err(CallError::row("the task has no `params`")),
    }
}
