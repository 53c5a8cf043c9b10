//! `try`: attempts one after the other, until one is accepted.
//!
//! Every call of an attempt is a call of its own: it has its own key (see [`attempt_key`]) and is
//! kept, so that a run that was interrupted goes on at the attempt where it stood. A row that fails
//! in an attempt ends that attempt, not the loop: what went wrong is what the next one is told,
//! where it takes text. Failures of the machine are no attempts.
//!
//! [`attempt_key`]: crate::plan::attempt_key

use crate::lang::{self, Try, Type, Value};

use super::evaluate::{Caller, Scope, Stop, evaluate};
use super::operator::CallError;

/// Makes attempts until one is accepted; null when none was.
pub(super) async fn attempts(
    caller: &dyn Caller,
    tried: &Try,
    scope: Scope,
) -> Result<Value, Stop> {
    let count = evaluate(caller, &tried.attempts, scope.clone()).await?;
    let count = count.as_int().and_then(|count| u32::try_from(count).ok());
    let most = lang::MAX_ATTEMPTS;
    let Some(count) = count.filter(|count| (1..=most).contains(&i64::from(*count))) else {
        return Err(CallError::row(format!("`try` makes between 1 and {most} attempts")).into());
    };
    let mut feedback = Value::Null;
    let mut why = "no attempt was accepted".to_string();
    for attempt in 1..=count {
        match once(caller, tried, scope.in_attempt(attempt), &feedback).await {
            Ok(Outcome::Accepted(value)) => return Ok(value),
            Ok(Outcome::Refused(next)) => {
                why = lang::text(&next);
                feedback = next;
            }
            Err(Stop::Failed(CallError::Row { message, .. })) => {
                feedback = told(tried, &message).unwrap_or(feedback);
                why = message;
            }
            Err(stop) => return Err(stop),
        }
    }
    caller.gave_up(count, &why);
    Ok(Value::Null)
}

enum Outcome {
    Accepted(Value),
    /// With what the next attempt is told.
    Refused(Value),
}

async fn once(
    caller: &dyn Caller,
    tried: &Try,
    mut scope: Scope,
    feedback: &Value,
) -> Result<Outcome, Stop> {
    if let Some(name) = &tried.feedback {
        scope = scope.with(name, feedback.clone());
    }
    for (name, value) in &tried.bindings {
        let value = evaluate(caller, value, scope.clone()).await?;
        scope = scope.with(name, value);
    }
    let accepted = match &tried.when {
        Some(when) => evaluate(caller, when, scope.clone()).await?.as_bool() == Some(true),
        None => true,
    };
    if accepted {
        return Ok(Outcome::Accepted(evaluate(caller, &tried.accepted, scope).await?));
    }
    Ok(Outcome::Refused(match &tried.next {
        Some(next) => evaluate(caller, next, scope).await?,
        None => Value::Null,
    }))
}

/// A failure's message in the form of the feedback, where that is text or a list of texts.
fn told(tried: &Try, message: &str) -> Option<Value> {
    let ty = &tried.next.as_ref()?.ty;
    let ty = if let Type::Optional(of) = ty { of } else { ty };
    match ty {
        Type::Str => Some(Value::str(message)),
        Type::List(item) if **item == Type::Str => Some(Value::List(vec![Value::str(message)])),
        _ => None,
    }
}
