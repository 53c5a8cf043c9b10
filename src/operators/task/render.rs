//! Templates and expressions of a family: minijinja, compiled once, strict about names.
//!
//! A name that nothing defines is an error, text is never escaped, and blocks on a line of their
//! own leave no blank line behind. One filter is added: `json`, compact JSON of a value.

use minijinja::value::{Serde, Value as Jinja};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde::Serialize;
use serde_json::Value as Json;

/// The templates of one family. A template's name is its own source.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    pub(crate) fn new() -> Templates {
        let mut environment = Environment::new();
        if let Ok(syntax) = minijinja::syntax::SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build()
        {
            environment.set_syntax(syntax);
        }
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.add_filter("json", |value: Jinja| {
            serde_json::to_string(&value)
                .map_err(|err| Error::new(ErrorKind::InvalidOperation, err.to_string()))
        });
        Templates { environment }
    }

    /// Reads a template.
    pub(crate) fn compile(&mut self, source: &str) -> Result<(), String> {
        if !is_template(source) {
            return Ok(());
        }
        self.environment
            .add_template_owned(source.to_string(), source.to_string())
            .map_err(|err| explain(source, &err))
    }

    /// Reads every template in some JSON.
    pub(crate) fn compile_in(&mut self, json: &Json) -> Result<(), String> {
        match json {
            Json::String(source) => self.compile(source),
            Json::Array(items) => items.iter().try_for_each(|item| self.compile_in(item)),
            Json::Object(fields) => fields.values().try_for_each(|field| self.compile_in(field)),
            _ => Ok(()),
        }
    }

    /// Reads an expression.
    pub(crate) fn compile_expression(&mut self, source: &str) -> Result<(), String> {
        match self.environment.compile_expression(source) {
            Ok(_) => Ok(()),
            Err(err) => Err(explain(source, &err)),
        }
    }

    /// Fills in a template that was read before.
    pub(crate) fn render<T: Serialize>(&self, source: &str, names: &T) -> Result<String, String> {
        if !is_template(source) {
            return Ok(source.to_string());
        }
        self.environment
            .get_template(source)
            .and_then(|template| template.render(Jinja::from(Serde(names))))
            .map_err(|err| explain(source, &err))
    }

    /// Reads and fills in a template that is kept nowhere: of many, each is seldom in use.
    pub(crate) fn render_once<T: Serialize>(
        &self,
        source: &str,
        names: &T,
    ) -> Result<String, String> {
        self.environment
            .render_str(source, Jinja::from(Serde(names)))
            .map_err(|err| explain(source, &err))
    }

    /// Fills in every template in some JSON.
    pub(crate) fn render_in<T: Serialize>(&self, json: &Json, names: &T) -> Result<Json, String> {
        Ok(match json {
            Json::String(source) => Json::String(self.render(source, names)?),
            Json::Array(items) => Json::Array(
                items.iter().map(|item| self.render_in(item, names)).collect::<Result<_, _>>()?,
            ),
            Json::Object(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(key, field)| Ok((key.clone(), self.render_in(field, names)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        })
    }

    /// The value of an expression.
    pub(crate) fn evaluate<T: Serialize>(&self, source: &str, names: &T) -> Result<Json, String> {
        let value = self
            .environment
            .compile_expression_owned(source.to_string())
            .and_then(|expression| expression.eval(Jinja::from(Serde(names))))
            .map_err(|err| explain(source, &err))?;
        if value.is_undefined() {
            return Err(format!("`{source}` is not defined"));
        }
        serde_json::to_value(&value).map_err(|err| format!("`{source}` gives no value: {err}"))
    }
}

fn is_template(source: &str) -> bool {
    source.contains("{{") || source.contains("{%") || source.contains("{#")
}

/// minijinja names a template by its whole source; only the reason is of interest.
fn explain(source: &str, err: &Error) -> String {
    let mut short: String = source.lines().next().unwrap_or("").chars().take(70).collect();
    if short.len() < source.len() {
        short.push('…');
    }
    let reason = err.detail().map_or_else(|| err.kind().to_string(), str::to_string);
    let line = err.line().map_or_else(String::new, |line| format!(" (line {line})"));
    format!("`{short}`{line}: {reason}")
}
