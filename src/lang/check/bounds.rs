//! Arguments of operators whose types allow more than the operators do: told here, where a call is
//! written, and not by a run that comes to it after hours. What is not known yet is left to the run.

use crate::lang::diagnostic::Diagnostic;
use crate::lang::fold::{Nothing, fold};
use crate::lang::program::{Expr, ExprKind};
use crate::lang::source::Span;
use crate::lang::value::Value;

use super::infer::Checker;

/// What an argument must be.
#[derive(Clone, Copy)]
enum Bound {
    /// A number of at least so many.
    AtLeast(i64),
    /// Paths of what a command leaves in its workspace.
    Outputs,
    /// Records whose `path` lies in the workspace.
    Inputs,
}

/// Limits of an agent.
const LIMITS: &[&str] = &["max_steps", "step_tokens", "exec_time", "context", "time", "tokens"];

fn bound(operator: &str, argument: &str) -> Option<Bound> {
    Some(match (operator.split_once('.')?, argument) {
        (("rollout", _), limit) if LIMITS.contains(&limit) => Bound::AtLeast(1),
        (("train", "sft"), "batch") => Bound::AtLeast(1),
        (("exec", _), "output" | "outputs") => Bound::Outputs,
        (("exec", _), "inputs" | "folders") => Bound::Inputs,
        _ => return None,
    })
}

/// Why a path is none of what a command leaves; `None` when it is good. The operator refuses the same.
fn not_left(path: &str) -> Option<(&'static str, &'static str)> {
    let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Some(("this leads out of the workspace", "a path is relative to the workspace"));
    }
    parts.next().is_none().then_some((
        "this is the workspace itself",
        "name files and folders; `exec.run` without `outputs` gives everything that is new or changed",
    ))
}

impl Checker<'_> {
    /// Checks the arguments of a call of an operator as far as they are known.
    pub(super) fn bounded_arguments(&mut self, operator: &str, args: &[(String, Expr)]) {
        for (name, value) in args {
            let Some(bound) = bound(operator, name) else { continue };
            let value = fold(value.clone(), &mut Nothing, &mut Vec::new());
            match bound {
                Bound::AtLeast(least) => {
                    if let ExprKind::Const(known) = &value.kind
                        && known.as_int().is_some_and(|known| known < least)
                    {
                        self.tell(
                            Diagnostic::error("E0201", format!("`{name}` is out of range"))
                                .at(value.span, "it must be more than nothing"),
                        );
                    }
                }
                Bound::Outputs => each_text(&value, &mut |path, span| {
                    if let Some((label, help)) = not_left(path) {
                        self.tell(
                            Diagnostic::error(
                                "E0201",
                                format!("`{path}` is nothing that a command can leave"),
                            )
                            .at(span, label)
                            .help(help),
                        );
                    }
                }),
                Bound::Inputs => each_path(&value, &mut |path, span| {
                    let leaves = path.split('/').any(|part| part == "..");
                    if path.starts_with('/') || leaves {
                        self.tell(
                            Diagnostic::error(
                                "E0201",
                                format!("`{path}` is not a path inside the workspace"),
                            )
                            .at(span, "the command would not find it there")
                            .help("a path is relative to the workspace, such as `data/rows.csv`"),
                        );
                    }
                }),
            }
        }
    }
}

/// Tells of the texts of a text or a list of them.
fn each_text(value: &Expr, told: &mut dyn FnMut(&str, Span)) {
    match &value.kind {
        ExprKind::Const(Value::Str(text)) => told(text, value.span),
        ExprKind::Const(Value::List(items)) => {
            items.iter().filter_map(Value::as_str).for_each(|text| told(text, value.span));
        }
        ExprKind::List(items) => items.iter().for_each(|item| each_text(item, told)),
        _ => {}
    }
}

/// Tells of the field `path` of each record in a list.
fn each_path(value: &Expr, told: &mut dyn FnMut(&str, Span)) {
    match &value.kind {
        ExprKind::List(items) => items.iter().for_each(|item| each_path(item, told)),
        ExprKind::Record(fields) => {
            let paths = fields.iter().filter(|(name, _)| name == "path");
            paths.for_each(|(_, path)| each_text(path, told));
        }
        ExprKind::Const(Value::List(items)) => {
            let paths = items.iter().filter_map(|item| item.get("path")?.as_str());
            paths.for_each(|path| told(path, value.span));
        }
        ExprKind::Const(record) => {
            record.get("path").and_then(Value::as_str).into_iter().for_each(|path| {
                told(path, value.span);
            });
        }
        _ => {}
    }
}
