//! Secrets: what a program names and never sees.
//!
//! `secret("NAME")` and a `secret param` are handles: records with one field that holds a name, of
//! the type [`Type::Secret`]. So the name, and never the value, is what stands in keys, rows, logs
//! and messages. Values are looked up beside the program ([`Secrets`]) and go to the operators that
//! ask for them, by name, when they run. A handle of a variable has the variable's name, one of a
//! parameter the name that [`name_of`] gives it: which variable holds it is not a part of it, so that
//! `-p` and the environment give the same keys.

use std::collections::BTreeMap;
use std::fmt;

use super::program::{Expr, Stage};
use super::source::{Sources, Span};
use super::types::Type;
use super::value::Value;

/// The field of a handle.
pub(super) const SECRET: &str = "secret";

/// The fewest bytes that a secret may have: shorter ones would be found everywhere in what a command
/// leaves, so that nothing could be said of them.
pub const SHORTEST: usize = 8;

/// The name in the handle of a parameter. No variable can have it.
pub(super) fn name_of(param: &str) -> String {
    format!("param {param}")
}

/// The handle of a name.
pub(super) fn handle(name: &str) -> Value {
    Value::record([(SECRET, Value::str(name))])
}

/// The name in a handle; `None` when the value is none.
pub fn secret_name(handle: &Value) -> Option<&str> {
    match handle {
        Value::Record(fields) if fields.len() == 1 => fields.get(SECRET)?.as_str(),
        _ => None,
    }
}

/// Whether values of the type hold a secret anywhere.
pub fn holds_secret(ty: &Type) -> bool {
    match ty {
        Type::Secret | Type::Secrets => true,
        Type::List(of) | Type::Optional(of) => holds_secret(of),
        Type::Record(record) => record.fields.iter().any(|(_, of)| holds_secret(of)),
        Type::Function(_, to) => holds_secret(to),
        _ => false,
    }
}

/// Adds the names of the secrets in a value of the type.
pub fn secrets_in(value: &Value, ty: &Type, names: &mut Vec<String>) {
    match (ty, value) {
        (Type::Secret, value) => names.extend(secret_name(value).map(str::to_string)),
        (Type::Secrets, Value::Record(fields)) => {
            fields.values().for_each(|field| secrets_in(field, &Type::Secret, names));
        }
        (Type::Optional(of), value) => secrets_in(value, of, names),
        (Type::List(of), Value::List(items)) if holds_secret(of) => {
            items.iter().for_each(|item| secrets_in(item, of, names));
        }
        (Type::Record(record), value) => {
            for (name, of) in &record.fields {
                if let Some(field) = value.get(name) {
                    secrets_in(field, of, names);
                }
            }
        }
        _ => {}
    }
}

/// One secret of a program.
#[derive(Clone)]
pub struct Secret {
    /// Its value; `None` when nobody gave it.
    pub value: Option<String>,
    /// The variable of the environment that holds it, if any does.
    pub variable: Option<String>,
    /// The parameter that it is given by, if it is one.
    pub param: Option<String>,
    /// Where the program asks for it.
    pub span: Span,
}

impl Secret {
    /// Its value, unless it has none or one too short ([`SHORTEST`]) to be looked for.
    pub fn usable(&self) -> Option<&str> {
        self.value.as_deref().filter(|value| value.trim().len() >= SHORTEST)
    }

    /// What it lacks, for a message.
    pub fn lack(&self) -> String {
        let who = match (&self.variable, &self.param) {
            (None, Some(param)) => format!("the secret parameter `{param}`"),
            (Some(variable), _) => format!("the environment variable {variable}"),
            (None, None) => "the secret".to_string(),
        };
        match (self.value.as_deref().map(str::trim), &self.variable) {
            (None | Some(""), Some(_)) => format!("{who} is not set"),
            (None | Some(""), None) => format!("{who} has no value"),
            _ => format!("{who} is shorter than {SHORTEST} bytes"),
        }
    }

    /// How to give it a value.
    pub fn help(&self) -> String {
        if self.value.as_deref().is_some_and(|value| !value.trim().is_empty()) {
            return "a secret is looked for in all that a command leaves, and so short a text would \
                    be found everywhere"
                .to_string();
        }
        match (&self.variable, &self.param) {
            (Some(variable), _) => format!("set it before the run: `{variable}=… claw run …`"),
            (None, Some(param)) => format!(
                "pass `-p {param}=…`, or let a variable of the environment hold it: `secret param \
                 {param}: str = env(\"NAME\")`"
            ),
            (None, None) => "name the variable that holds it: `secret(\"NAME\")`".to_string(),
        }
    }
}

/// The secrets that a program names, by the names in their handles. Printing it shows names only.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The secret of a handle's name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// Whether the program names none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any was given on the command line.
    pub fn any_given(&self) -> bool {
        let given = |secret: &Secret| secret.variable.is_none() && secret.value.is_some();
        self.0.values().any(given)
    }

    pub(super) fn add(&mut self, name: String, secret: Secret) {
        self.0.insert(name, secret);
    }

    /// Adds the variables that the stages name.
    pub(super) fn add_variables(&mut self, stages: &[Stage], sources: &dyn Sources) {
        for stage in stages {
            each_secret(&stage.expr, &mut |name, span| {
                let variable = Some(name.clone());
                self.0.entry(name).or_insert_with_key(|name| Secret {
                    value: sources.secret(name),
                    variable,
                    param: None,
                    span,
                });
            });
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Tells of each secret that a bound expression names, and where.
pub fn each_secret(expr: &Expr, told: &mut dyn FnMut(String, Span)) {
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        open.extend(expr.children());
        if let super::program::ExprKind::Const(value) = &expr.kind
            && holds_secret(&expr.ty)
        {
            let mut names = Vec::new();
            secrets_in(value, &expr.ty, &mut names);
            names.into_iter().for_each(|name| told(name, expr.span));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::RecordType;

    #[test]
    fn a_type_says_what_is_a_secret() {
        let fields = vec![("secret".to_string(), Type::Str), ("key".to_string(), Type::Secret)];
        let ty = Type::list(Type::Record(RecordType { name: None, fields }.into()));
        let row = Value::record([("secret", Value::str("a field")), ("key", handle("KEY"))]);
        let mut names = Vec::new();
        secrets_in(&Value::List(vec![row]), &ty, &mut names);
        assert_eq!(names, ["KEY"], "a field that is called so is none");
        assert!(holds_secret(&ty) && !holds_secret(&Type::Json));
    }

    #[test]
    fn a_lack_names_the_variable_and_never_the_value() {
        let span = Span { file: crate::lang::FileId(0), start: 0, end: 0 };
        let of = |value: Option<&str>, variable: Option<&str>| Secret {
            value: value.map(str::to_string),
            variable: variable.map(str::to_string),
            param: Some("token".to_string()),
            span,
        };
        let unset = of(None, Some("TOK"));
        assert_eq!(unset.lack(), "the environment variable TOK is not set");
        assert_eq!(of(Some(" "), None).lack(), "the secret parameter `token` has no value");
        let short = of(Some("abcdefg"), Some("TOK"));
        assert!(short.usable().is_none() && !short.lack().contains("abcdefg"));
        assert_eq!(of(Some("abcdefgh"), None).usable(), Some("abcdefgh"));
    }
}
