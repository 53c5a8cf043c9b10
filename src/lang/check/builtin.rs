//! Functions that the language itself knows: `file dir env secret model sandbox template len`.

use std::sync::Arc;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::{Expr, ExprKind, SourceKind};
use crate::lang::secrets::{SECRET, holds_secret};
use crate::lang::source::{Span, package_root};
use crate::lang::syntax::ast;
use crate::lang::types::Type;

use super::call::Slot;
use super::fit::noun;
use super::infer::Checker;
use super::secrets::misplaced;

/// Their names.
pub(super) const NAMES: &[&str] =
    &["dir", "env", "file", "len", "model", "sandbox", "secret", "template"];

pub(super) fn is_builtin(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Kinds of sandbox.
const SANDBOXES: &[&str] = &["process", "local", "docker"];

fn words(words: &[&str]) -> Type {
    Type::Enum(Arc::new(words.iter().map(|word| (*word).to_string()).collect()))
}

/// The settings of `model` and `sandbox`: the first is always given.
pub(super) fn settings(name: &str) -> Vec<(&'static str, Type)> {
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
            ("image", Type::Str),
        ],
    }
}

impl Checker<'_> {
    pub(super) fn builtin(&mut self, call: &ast::Call, span: Span) -> Expr {
        match call.name.text.as_str() {
            name @ ("model" | "sandbox") => self.settings(name, call, span),
            "template" => self.template(call, span),
            "len" => self.length(call, span),
            name => self.source(name, call, span),
        }
    }

    /// `template("…", name: value, …)`. Whether the template and its arguments go together is
    /// checked when all types are known.
    fn template(&mut self, call: &ast::Call, span: Span) -> Expr {
        let text = "template(path: str, name: value, …) -> str";
        let mut args: Vec<(String, Expr)> = Vec::new();
        let mut path = None;
        let mut first: Vec<&ast::Name> = Vec::new();
        for (i, arg) in call.args.iter().enumerate() {
            match &arg.name {
                None if i == 0 => path = Some(&arg.value),
                Some(name) if name.text == "path" && path.is_none() => path = Some(&arg.value),
                None => {
                    self.tell(
                        Diagnostic::error(
                            "E0303",
                            "only the first argument may stand without its name",
                        )
                        .at(arg.value.span, "which name has it in the template?")
                        .help(text),
                    );
                    self.expr(&arg.value, None);
                }
                Some(name) => {
                    let value = self.expr(&arg.value, None);
                    if holds_secret(&value.ty) {
                        self.tell(misplaced("what a template is given", &value));
                    }
                    if let Type::Function(..) = value.ty {
                        self.tell(
                            Diagnostic::error("E0201", "a template cannot take a function")
                                .at(value.span, "this is a function"),
                        );
                    }
                    if let Some(earlier) = first.iter().find(|earlier| earlier.text == name.text) {
                        self.tell(
                            Diagnostic::error("E0305", format!("`{}` is given twice", name.text))
                                .at(name.span, "again here")
                                .at(earlier.span, "first here"),
                        );
                        continue;
                    }
                    first.push(name);
                    args.push((name.text.clone(), value));
                }
            }
        }
        let Some(path) = path else {
            self.tell(
                Diagnostic::error("E0302", "the path of the template is missing")
                    .at(call.name.span, "needs path: str")
                    .help(text),
            );
            return Self::unknown(span);
        };
        let kind = SourceKind::Template(self.module.folder.clone());
        let template = self.outside("template", "path", kind, Type::Str, path, path.span);
        // What was written out into a template is a part of its arguments' types.
        args.sort_by(|(one, _), (other, _)| one.cmp(other));
        Expr { kind: ExprKind::Template(Box::new(template), args), ty: Type::Str, span }
    }

    /// `len(x)`.
    fn length(&mut self, call: &ast::Call, span: Span) -> Expr {
        let slots = [Slot { name: "of", ty: &Type::Json, optional: false }];
        let text = "len(of: list, record or str) -> int";
        let taken = self.slots(call, &slots, "len", &|| text.to_string(), span);
        let Some(Some(arg)) = taken.into_iter().next() else {
            return Self::unknown(span);
        };
        let of = self.expr(&arg.value, None);
        if matches!(of.ty, Type::Secret | Type::Secrets) {
            self.tell(misplaced("what is measured", &of));
            return Self::unknown(span);
        }
        if !matches!(
            of.ty,
            Type::List(_)
                | Type::Record(_)
                | Type::Str
                | Type::Json
                | Type::Enum(_)
                | Type::Unknown
        ) {
            self.tell(
                Diagnostic::error("E0201", format!("{} has no length", noun(&of.ty)))
                    .at(of.span, format!("this is {}", noun(&of.ty)))
                    .help(text),
            );
            return Self::unknown(span);
        }
        Expr { kind: ExprKind::Length(Box::new(of)), ty: Type::Int, span }
    }

    /// `model("name", …)`, `sandbox("process", …)`: a value made of settings.
    fn settings(&mut self, name: &str, call: &ast::Call, span: Span) -> Expr {
        let known = settings(name);
        let slots: Vec<Slot<'_>> = known
            .iter()
            .enumerate()
            .map(|(i, (name, ty))| Slot { name, ty, optional: i > 0 })
            .collect();
        let returns = if name == "model" { Type::Model } else { Type::Sandbox };
        let text = || {
            let args: Vec<String> = known
                .iter()
                .map(|(name, ty)| match (*name, ty) {
                    ("network", _) => "network: on | off".to_string(),
                    (name, ty) => format!("{name}: {ty}"),
                })
                .collect();
            format!("{name}({}) -> {returns}", args.join(", "))
        };
        let taken = self.slots(call, &slots, name, &text, span);
        let mut given = Vec::with_capacity(call.args.len());
        for (place, (slot, arg)) in slots.iter().zip(taken).enumerate() {
            let Some(arg) = arg else { continue };
            let what = format!("`{}` of `{name}`", slot.name);
            let value = self.want(&arg.value, slot.ty, &what);
            self.sensible(slot.name, &value);
            let slot = if place == 0 { name } else { slot.name };
            given.push((slot.to_string(), value));
        }
        self.imaged(&given, span);
        Expr { kind: ExprKind::Builtin(name.to_string(), given), ty: returns, span }
    }

    /// Settings have bounds that their types do not say.
    fn sensible(&mut self, name: &str, value: &Expr) {
        let ExprKind::Const(constant) = &value.kind else {
            return;
        };
        if let (&"image", Some(image)) = (&name, constant.as_str()) {
            self.pinned(image, value.span);
        }
        if let (&"network", Some("on")) = (&name, constant.as_str()) {
            self.tell(
                Diagnostic::error("E0201", "a sandbox has no network")
                    .at(value.span, "no sandbox can have this")
                    .help(
                        "leave `network` out, or write `network: off`; what a command needs from \
                         outside it gets as an input",
                    ),
            );
        }
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

    /// A docker sandbox needs an image, and no other sandbox has one.
    fn imaged(&mut self, given: &[(String, Expr)], span: Span) {
        let find = |name: &str| given.iter().find(|(slot, _)| slot == name).map(|(_, expr)| expr);
        let Some(ExprKind::Const(kind)) = find("sandbox").map(|expr| &expr.kind) else {
            return;
        };
        match (kind.as_str(), find("image")) {
            (Some("docker"), None) => self.tell(
                Diagnostic::error("E0302", "the image of a docker sandbox is missing")
                    .at(span, "which programs are in it?")
                    .help("write sandbox(\"docker\", image: \"NAME@sha256:…\")"),
            ),
            (Some(kind), Some(image)) if kind != "docker" => self.tell(
                Diagnostic::error("E0304", format!("a `{kind}` sandbox has no image"))
                    .at(image.span, "it shows this machine's own programs")
                    .help("leave `image` out, or write sandbox(\"docker\", image: …)"),
            ),
            _ => {}
        }
    }

    /// An image stands in the keys of results, so its name must mean the same for ever.
    fn pinned(&mut self, image: &str, span: Span) {
        let digest = image.rsplit_once("sha256:").map_or("", |(_, digest)| digest);
        if digest.len() != 64 || !digest.chars().all(|c| c.is_ascii_hexdigit()) {
            self.tell(
                Diagnostic::error("E0201", "an image is named by its content")
                    .at(span, "which image this is may change")
                    .help(
                        "write \"NAME@sha256:…\" with what `docker image inspect --format \
                         '{{.Id}}' NAME` says",
                    ),
            );
        }
    }

    /// `file("…")`, `dir("…")`, `env("…")`, `secret("…")`.
    fn source(&mut self, name: &str, call: &ast::Call, span: Span) -> Expr {
        let (argument, kind, ty) = match name {
            "file" => ("path", SourceKind::File(self.module.folder.clone()), Type::File),
            "dir" => ("path", SourceKind::Dir(self.module.folder.clone()), Type::Dir),
            "secret" => ("name", SourceKind::Env, Type::Secret),
            _ => ("name", SourceKind::Env, Type::Str),
        };
        if kind == SourceKind::Env
            && let Some((root, _)) = package_root(&self.module.folder)
        {
            self.tell(
                Diagnostic::error("E0806", format!("the package {root} asks for `{name}`"))
                    .at(span, "packages see no variables of this machine")
                    .help("make it an argument of the `def`; who uses the package passes it"),
            );
        }
        let text = || format!("{name}({argument}: str) -> {ty}");
        let slots = [Slot { name: argument, ty: &Type::Str, optional: false }];
        let taken = self.slots(call, &slots, name, &text, span);
        let Some(Some(arg)) = taken.into_iter().next() else {
            return Self::unknown(span);
        };
        let read = self.outside(name, argument, kind, ty, &arg.value, span);
        match (name, read.kind) {
            // A secret is a value made of its name: nothing is read until a call needs it.
            ("secret", ExprKind::Source(_, path)) => {
                let named = vec![(SECRET.to_string(), *path)];
                Expr { kind: ExprKind::Builtin(name.to_string(), named), ..read }
            }
            (_, kind) => Expr { kind, ..read },
        }
    }

    /// What is read from outside by a name that is known before the run.
    fn outside(
        &mut self,
        name: &str,
        argument: &str,
        kind: SourceKind,
        ty: Type,
        path: &ast::Expr,
        span: Span,
    ) -> Expr {
        let what = format!("`{argument}` of `{name}`");
        let mut path = self.want(path, &Type::Str, &what);
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
