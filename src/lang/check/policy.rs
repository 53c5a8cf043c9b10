//! Checking `with { … }`: names, types and values of policies. [`crate::lang::Policy`] reads them.

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::program::{Expr, ExprKind, Function};
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::{RecordType, Type};
use crate::lang::value::Value;

use super::infer::{Checker, Place, ROW};

pub(super) const POLICIES: &[&str] = &[
    "retries",
    "backoff",
    "timeout",
    "on_error",
    "concurrency",
    "resources",
    "executor",
    "cache",
    "budget",
    "canary",
    "gate",
];

const ON_ERROR: &str = "`on_error` is fail, keep or drop(at_most: 5%)";

impl Checker<'_> {
    /// Each policy and its value, those with a mistake left out.
    pub(super) fn policy(&mut self, written: &[(ast::Name, ast::Expr)]) -> Vec<(String, Expr)> {
        let place = std::mem::replace(&mut self.place, Place::Policy);
        let mut policy: Vec<(String, Expr)> = Vec::new();
        for (name, value) in written {
            if policy.iter().any(|(earlier, _)| *earlier == name.text) {
                self.tell(
                    Diagnostic::error("E0101", format!("`{}` is given twice", name.text))
                        .at(name.span, "again here"),
                );
            } else if let Some(value) = self.one_policy(name, value) {
                policy.push((name.text.clone(), value));
            }
        }
        let find = |wanted: &str| written.iter().find(|(name, _)| name.text == wanted);
        if let (Some((gate, _)), None) = (find("gate"), find("canary")) {
            self.tell(
                Diagnostic::error("E0602", "a `gate` needs a `canary`")
                    .at(gate.span, "asked after how many rows?")
                    .help("write `canary: 1_000, gate: …`"),
            );
        }
        self.place = place;
        policy
    }

    fn one_policy(&mut self, name: &ast::Name, value: &ast::Expr) -> Option<Expr> {
        let what = format!("`{}`", name.text);
        let (ty, least) = match name.text.as_str() {
            "retries" => (Type::Int, 0),
            "concurrency" | "canary" => (Type::Int, 1),
            "backoff" => (Type::Duration, 0),
            "timeout" => (Type::Duration, 1),
            "budget" => (Type::Money, 0),
            "executor" => return self.executor(value),
            "cache" => return self.policy_word(value, &["on", "off", "refresh"], &what),
            "on_error" => return self.on_error(value),
            "resources" => return self.resources(value),
            "gate" => return Some(self.gate(value)),
            _ => {
                let known = || POLICIES.iter().copied();
                self.tell(
                    Diagnostic::error("E0601", format!("there is no policy `{}`", name.text))
                        .at(name.span, did_you_mean(&name.text, known(), "unknown policy"))
                        .help(format!("there is {}", listed(known()))),
                );
                return None;
            }
        };
        let value = self.want(value, &ty, &what);
        self.at_least(least, &value, &what);
        Some(value)
    }

    fn at_least(&mut self, least: i64, value: &Expr, what: &str) {
        if let ExprKind::Const(constant) = &value.kind
            && constant.as_float().is_some_and(|number| number < least as f64)
        {
            self.tell(
                Diagnostic::error("E0602", format!("{what} is out of range"))
                    .at(value.span, format!("at least {least}")),
            );
        }
    }

    /// There is no executor but this machine, which needs no name.
    fn executor(&mut self, value: &ast::Expr) -> Option<Expr> {
        let value = self.want(value, &Type::Str, "`executor`");
        if let ExprKind::Const(name) = &value.kind
            && let Some(name) = name.as_str()
        {
            self.tell(
                Diagnostic::error("E0602", format!("there is no executor `{name}`"))
                    .at(value.span, "this claw runs every stage on this machine")
                    .help(
                        "leave `executor` out; `concurrency` and `resources` say how much of this \
                         machine a stage takes",
                    ),
            );
        }
        Some(value)
    }

    /// A policy that is one of a few words, written without quotes.
    fn policy_word(&mut self, value: &ast::Expr, words: &[&str], what: &str) -> Option<Expr> {
        let given = if let ast::ExprKind::Name(name) = &value.kind { name.as_str() } else { "" };
        if !words.contains(&given) {
            self.tell(
                Diagnostic::error("E0602", format!("{what} is {}", words.join(", ")))
                    .at(value.span, did_you_mean(given, words.iter().copied(), "not one of them")),
            );
            return None;
        }
        Some(constant(Value::str(given), Type::Str, value.span))
    }

    /// `fail`, `keep`, `drop`, `drop(at_most: 5%)`. The last two become a record `{ drop: share }`.
    fn on_error(&mut self, value: &ast::Expr) -> Option<Expr> {
        let dropping = |share: Expr| {
            let ty = RecordType { name: None, fields: vec![("drop".into(), Type::Percent)] };
            let kind = ExprKind::Record(vec![("drop".to_string(), share)]);
            Expr { kind, ty: Type::Record(ty.into()), span: value.span }
        };
        let call = match &value.kind {
            ast::ExprKind::Name(name) if name == "fail" || name == "keep" => {
                return Some(constant(Value::str(name.clone()), Type::Str, value.span));
            }
            ast::ExprKind::Call(call) if call.module.is_none() && call.name.text == "drop" => call,
            other => {
                let given = match other {
                    ast::ExprKind::Name(name) => name.as_str(),
                    ast::ExprKind::Call(call) => call.name.text.as_str(),
                    _ => "",
                };
                let label = if given == "drop" {
                    "how many at most?".to_string()
                } else {
                    did_you_mean(given, ["fail", "keep", "drop"], "not one of them")
                };
                self.tell(Diagnostic::error("E0602", ON_ERROR).at(value.span, label));
                return None;
            }
        };
        let share = match call.args.as_slice() {
            [arg] if arg.name.as_ref().is_none_or(|name| name.text == "at_most") => &arg.value,
            _ => {
                self.tell(Diagnostic::error("E0602", ON_ERROR).at(value.span, "how many at most?"));
                return None;
            }
        };
        let share = self.want(share, &Type::Percent, "`at_most` of `drop`");
        if let ExprKind::Const(constant) = &share.kind
            && constant.as_float().is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            self.tell(
                Diagnostic::error("E0602", "`at_most` is out of range")
                    .at(share.span, "a share lies between 0% and 100%"),
            );
        }
        Some(dropping(share))
    }

    /// `{ cpu: 1, memory: 2GiB, gpu: 1 }`
    fn resources(&mut self, value: &ast::Expr) -> Option<Expr> {
        let ast::ExprKind::Record(fields) = &value.kind else {
            self.tell(
                Diagnostic::error("E0602", "`resources` is a record")
                    .at(value.span, "not a record")
                    .help("write `resources: { cpu: 1, memory: 2GiB, gpu: 1 }`"),
            );
            return None;
        };
        let mut given = Vec::new();
        let mut types = Vec::new();
        for (name, value) in fields {
            let ty = match name.text.as_str() {
                "cpu" => Type::Float,
                "memory" => Type::Bytes,
                "gpu" => Type::Int,
                unknown => {
                    let known = ["cpu", "memory", "gpu"];
                    self.tell(
                        Diagnostic::error("E0601", format!("there is no resource `{unknown}`"))
                            .at(name.span, did_you_mean(unknown, known, "unknown resource"))
                            .help(format!("there is {}", listed(known))),
                    );
                    continue;
                }
            };
            let what = format!("`{}`", name.text);
            let value = self.want(value, &ty, &what);
            self.at_least(0, &value, &what);
            given.push((name.text.clone(), value));
            types.push((name.text.clone(), ty));
        }
        let ty = Type::Record(RecordType { name: None, fields: types }.into());
        Some(Expr { kind: ExprKind::Record(given), ty, span: value.span })
    }

    /// A condition on what the canary came to.
    fn gate(&mut self, value: &ast::Expr) -> Expr {
        let fields = vec![
            ("rows".to_string(), Type::Int),
            ("failed".to_string(), Type::Int),
            ("failed_share".to_string(), Type::Percent),
        ];
        let row = Type::Record(RecordType { name: Some("Canary".into()), fields }.into());
        self.rows.push(row.clone());
        let body = self.want(value, &Type::Bool, "the condition of `gate`");
        self.rows.pop();
        let ty = Type::Function(row.into(), Type::Bool.into());
        let function = Function { param: ROW.to_string(), body };
        Expr { kind: ExprKind::Function(Box::new(function)), ty, span: value.span }
    }
}

fn constant(value: Value, ty: Type, span: Span) -> Expr {
    Expr { kind: ExprKind::Const(value), ty, span }
}
