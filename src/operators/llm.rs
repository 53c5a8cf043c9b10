//! `llm.text` and `llm.json`: one question to a model, and its answer.
//!
//! An answer is a fact from outside: it is kept under the call's key (the model's name, its settings
//! and the texts) and never asked for again. An answer that cannot be used is the row's failure, with
//! what the model said; nothing of it is kept, so that another attempt is another answer.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::agent::{Models, model_name};
use crate::engine::{About, Args, Asks, CallError, Context, Kind, Operator, Pool, Spent};
use crate::lang::{Value, large_integer};
use crate::model::{Answer, Finish, Message, Request, Settings};

/// Tokens of an answer at most, where the model's settings do not say.
const MAX_TOKENS: u32 = 4096;

/// What an answer is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// Its text.
    Text,
    /// The JSON in it.
    Json,
}

/// `llm.text`, `llm.json`.
pub struct Llm {
    gives: Gives,
    models: Arc<dyn Models>,
}

impl Llm {
    /// Asks these models.
    pub fn new(gives: Gives, models: Arc<dyn Models>) -> Llm {
        Llm { gives, models }
    }

    async fn ask(&self, args: &Args, context: &Context) -> Result<Value, CallError> {
        let model = args.get("model")?;
        let name = model_name(model)
            .ok_or_else(|| CallError::row("`model` is neither a model nor a checkpoint"))?;
        let request = request(args, model, context)?;
        // The call's own result is what is kept: an answer that cannot be used is asked for anew.
        let asked = Context { journal: None, ..context.clone() };
        // A model that cannot be opened says nothing about the row: no `try` goes on after it.
        let opened = self.models.open(model, &Value::Null, &asked).map_err(|err| {
            CallError::Infrastructure(format!("cannot open the model `{name}`: {err}"))
        })?;
        let answer = opened.answer(&request).await?;
        let usage = answer.usage;
        let said = whole(answer, &name, &request)?;
        let value = match self.gives {
            Gives::Text => Value::Str(said),
            Gives::Json => {
                let not_json = |why: String| format!("the answer of `{name}` is not JSON: {why}");
                let read =
                    json(&said).map_err(not_json).and_then(|text| match large_integer(text) {
                        Some(large) => Err(format!("in the answer of `{name}`, {large}")),
                        None => serde_json::from_str(text).map_err(|err| not_json(err.to_string())),
                    });
                match read {
                    Ok(json) => Value::from_json(&json),
                    Err(message) => return Err(CallError::Row { message, output: said }),
                }
            }
        };
        let spent = Spent { answers: 1, input: usage.input, output: usage.output };
        context.spent(self.about().name, model, spent)?;
        Ok(value)
    }
}

impl Operator for Llm {
    fn about(&self) -> About {
        About {
            name: match self.gives {
                Gives::Text => "llm.text",
                Gives::Json => "llm.json",
            },
            version: 1,
            kind: Kind::Recorded,
            pool: Pool::Elsewhere,
        }
    }

    fn asks(&self, args: &Args) -> Option<Asks> {
        let model = args.get("model").ok()?.clone();
        let text = args.str("prompt").ok().map(|prompt| match args.str("system") {
            Ok(system) => format!("{system}\n{prompt}"),
            Err(_) => prompt.to_string(),
        });
        let given = model.get("max_tokens").and_then(Value::as_int);
        let answer_tokens = given.map_or(u64::from(MAX_TOKENS), |given| given.max(0) as u64);
        Some(Asks { model, text, answers: Some(1), answer_tokens })
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        Box::pin(self.ask(args, context))
    }
}

fn request(args: &Args, model: &Value, context: &Context) -> Result<Request, CallError> {
    let user = Message::User { content: args.str("prompt")?.to_string() };
    let messages = match args.0.get("system") {
        None | Some(Value::Null) => vec![user],
        Some(_) => vec![Message::System { content: args.str("system")?.to_string() }, user],
    };
    let temperature = model.get("temperature").and_then(Value::as_float).unwrap_or(0.0);
    let max_tokens = match model.get("max_tokens").and_then(Value::as_int) {
        Some(given) => u32::try_from(given)
            .ok()
            .filter(|given| *given > 0)
            .ok_or_else(|| CallError::row(format!("`max_tokens` cannot be {given}")))?,
        None => MAX_TOKENS,
    };
    let settings = Settings { temperature, max_tokens, seed: context.key.seed() };
    Ok(Request { messages, tools: Vec::new(), settings })
}

/// The text of an answer that the model brought to its end.
fn whole(answer: Answer, name: &str, request: &Request) -> Result<String, CallError> {
    let wrong = |message: String| CallError::Row { message, output: answer.content.clone() };
    match answer.finish {
        Finish::Length => Err(wrong(format!(
            "the answer of `{name}` was cut off after {} tokens\n  help: give the model more of them: \
             `model(…, max_tokens: …)`",
            request.settings.max_tokens
        ))),
        Finish::Context => Err(wrong(format!("the prompt does not fit the context of `{name}`"))),
        Finish::Stop | Finish::ToolCalls if answer.content.trim().is_empty() => {
            Err(wrong(format!("`{name}` answered nothing")))
        }
        Finish::Stop | Finish::ToolCalls => Ok(answer.content),
    }
}

/// The JSON of an answer: the whole of it, or what its one code fence holds. What a model thought
/// aloud before (`<think>…</think>`) does not count.
fn json(said: &str) -> Result<&str, String> {
    let check = |text| match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text),
        Err(err) => Err(err.to_string()),
    };
    let text = said.rsplit_once("</think>").map_or(said, |(_, answer)| answer).trim();
    let whole = match check(text) {
        Ok(text) => return Ok(text),
        Err(why) => why,
    };
    let mut fenced = fences(text).into_iter();
    match (fenced.next(), fenced.next()) {
        (Some(code), None) => check(code),
        (Some(_), Some(_)) => Err("it has more than one block of code".to_string()),
        (None, _) => Err(whole),
    }
}

/// The texts between lines of three backticks.
fn fences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut opened, mut at) = (None, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            match opened.take() {
                None => opened = Some(at + line.len()),
                Some(start) => found.push(&text[start..at]),
            }
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_found_where_models_put_it() {
        for said in [
            "{\"a\": [1]}",
            "  {\"a\": [1]}\n",
            "```json\n{\"a\": [1]}\n```",
            "Here it is:\n\n```\n{\"a\":\n [1]}\n```\nI hope it helps.",
            "<think>\n```\nno\n```\n{}</think>\n{\"a\": [1]}",
        ] {
            let read = json(said).and_then(|text| {
                serde_json::from_str::<serde_json::Value>(text).map_err(|err| err.to_string())
            });
            assert_eq!(read, Ok(json!({ "a": [1] })), "{said}");
        }
    }

    #[test]
    fn what_is_no_json_says_why() {
        for (said, why) in [
            ("I cannot.", "expected value at line 1 column 1"),
            ("```json\n{\"a\": }\n```", "expected value at line 1 column 7"),
            ("```\n{}\n```\nor\n```\n[]\n```", "it has more than one block of code"),
            ("{\"a\": 1} and more", "trailing characters at line 1 column 10"),
            ("```json\n{\"cut\": ", "expected value at line 1 column 1"),
        ] {
            assert_eq!(json(said), Err(why.to_string()), "{said}");
        }
    }
}
