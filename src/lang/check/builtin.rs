//! Functions that the language itself knows: `file dir env secret model sandbox`.

use std::sync::Arc;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::{Expr, ExprKind, SourceKind};
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::Type;

use super::call::Slot;
use super::infer::Checker;

/// Their names.
pub(super) const NAMES: &[&str] = &["dir", "env", "file", "model", "sandbox", "secret"];

pub(super) fn is_builtin(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Kinds of sandbox.
const SANDBOXES: &[&str] = &["process", "local", "docker"];

fn words(words: &[&str]) -> Type {
    Type::Enum(Arc::new(words.iter().map(|word| (*word).to_string()).collect()))
}

/// The settings of `model` and `sandbox`: the first is always given.
fn settings(name: &str) -> Vec<(&'static str, Type)> {
    match name {
        "model" => vec![
            ("name", Type::Str),
            ("error_rate", Type::Percent),
            ("temperature", Type::Float),
            ("max_tokens", Type::Int),
            ("seed", Type::Int),
        ],
        _ => vec![
            ("kind", words(SANDBOXES)),
            ("memory", Type::Bytes),
            ("time", Type::Duration),
            ("network", words(&["on", "off"])),
            ("processes", Type::Int),
            ("disk", Type::Bytes),
        ],
    }
}

impl Checker<'_> {
    pub(super) fn builtin(&mut self, call: &ast::Call, span: Span) -> Expr {
        match call.name.text.as_str() {
            name @ ("model" | "sandbox") => self.settings(name, call, span),
            name => self.source(name, call, span),
        }
    }

    /// `model("name", …)`, `sandbox("process", …)`: a value made of settings.
    fn settings(&mut self, name: &str, call: &ast::Call, span: Span) -> Expr {
        let known = settings(name);
        let slots: Vec<Slot<'_>> = known
            .iter()
            .enumerate()
            .map(|(i, (name, ty))| Slot { name, ty, optional: i > 0 })
            .collect();
        let args: Vec<String> = known
            .iter()
            .map(|(name, ty)| match (*name, ty) {
                ("network", _) => "network: on | off".to_string(),
                (name, ty) => format!("{name}: {ty}"),
            })
            .collect();
        let returns = if name == "model" { Type::Model } else { Type::Sandbox };
        let text = format!("{name}({}) -> {returns}", args.join(", "));
        let taken = self.slots(call, &slots, name, &text, span);
        let mut given = Vec::new();
        for (place, (slot, arg)) in slots.iter().zip(taken).enumerate() {
            let Some(arg) = arg else { continue };
            let what = format!("`{}` of `{name}`", slot.name);
            let value = self.want(&arg.value, slot.ty, &what);
            self.sensible(slot.name, &value);
            let slot = if place == 0 { name } else { slot.name };
            given.push((slot.to_string(), value));
        }
        Expr { kind: ExprKind::Builtin(name.to_string(), given), ty: returns, span }
    }

    /// Settings have bounds that their types do not say.
    fn sensible(&mut self, name: &str, value: &Expr) {
        let ExprKind::Const(constant) = &value.kind else {
            return;
        };
        let Some(number) = constant.as_float() else {
            return;
        };
        let bad = match name {
            "error_rate" if !(0.0..=1.0).contains(&number) => "a share lies between 0% and 100%",
            "temperature" if number < 0.0 => "a temperature is not negative",
            "max_tokens" | "processes" | "memory" | "time" | "disk" if number <= 0.0 => {
                "it must be more than nothing"
            }
            _ => return,
        };
        self.tell(
            Diagnostic::error("E0201", format!("`{name}` is out of range")).at(value.span, bad),
        );
    }

    /// `file("…")`, `dir("…")`, `env("…")`, `secret("…")`.
    fn source(&mut self, name: &str, call: &ast::Call, span: Span) -> Expr {
        let (argument, kind, ty) = match name {
            "file" => ("path", SourceKind::File(self.module.folder.clone()), Type::File),
            "dir" => ("path", SourceKind::Dir(self.module.folder.clone()), Type::Dir),
            "env" => ("name", SourceKind::Env, Type::Str),
            _ => ("name", SourceKind::Secret, Type::Str),
        };
        let text = format!("{name}({argument}: str) -> {ty}");
        let slots = [Slot { name: argument, ty: &Type::Str, optional: false }];
        let taken = self.slots(call, &slots, name, &text, span);
        let Some(Some(arg)) = taken.into_iter().next() else {
            return Self::unknown(span);
        };
        let what = format!("`{argument}` of `{name}`");
        let mut path = self.want(&arg.value, &Type::Str, &what);
        // Rows cannot name files: what a run reads is known before it starts.
        let row = path.any(&|expr| {
            matches!(expr.kind, ExprKind::Local(_) | ExprKind::Stage(_) | ExprKind::Call(_))
        });
        if row {
            self.tell(
                Diagnostic::error(
                    "E0110",
                    format!("`{name}` needs a name that is known before the run"),
                )
                .at(path.span, "this depends on what runs")
                .help("what a program reads is fixed and hashed before anything runs"),
            );
            path = Self::unknown(path.span);
        }
        Expr { kind: ExprKind::Source(kind, Box::new(path)), ty, span }
    }
}
