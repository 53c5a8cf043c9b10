//! Reasons: why a stage runs although it ran before.
//!
//! A run leaves for each stage the labelled parts that its key was made of. Comparing them with
//! today's parts says in words what changed.

use serde::{Deserialize, Serialize};

use crate::lang::{Expr, ExprKind, Stage, Value, references};
use crate::store::{Digest, KeyHasher};

use super::walk::{operators, walk};

/// One part of what a stage depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Its name: an argument, a path, an operator, a stage.
    pub name: String,
    /// Its content.
    pub digest: Digest,
    /// Its content in few words, where that is short enough to show.
    pub shown: String,
}

/// Kinds of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// An argument with a constant value.
    Argument,
    /// A file or directory.
    Path,
    /// An operator and its version.
    Operator,
    /// The rows of another stage.
    Rows,
    /// The rest of the expression.
    Expression,
}

/// Why a stage will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// It never ran under this name.
    New,
    /// A part of what it depends on changed.
    Changed {
        /// What kind of part.
        kind: PartKind,
        /// Its name.
        name: String,
        /// What it was, in few words; empty when there was none.
        was: String,
        /// What it is now; empty when it is gone.
        now: String,
        /// The files that changed in it, when it is a directory.
        files: Vec<String>,
    },
    /// The stages it reads will run, or gave other rows.
    Upstream {
        /// Their names.
        stages: Vec<String>,
    },
    /// It ran with the same inputs, but some rows failed or were not reached.
    Unfinished,
}

/// The parts of a stage. `version` gives an operator's version, `path` the path under which the file
/// or directory with this digest was read, `upstream` the digest of a stage's result where it is known.
pub fn parts(
    stage: &Stage,
    version: &dyn Fn(&str) -> u32,
    path: &dyn Fn(&Digest) -> Option<String>,
    upstream: &dyn Fn(&str) -> Option<Digest>,
) -> Vec<Part> {
    let mut parts = Vec::new();
    for operator in operators(&stage.expr) {
        let version = version(&operator).to_string();
        let digest = Digest::of(version.as_bytes());
        let shown = format!("version {version}");
        parts.push(Part { kind: PartKind::Operator, name: operator, digest, shown });
    }
    walk(&stage.expr, &mut |expr| {
        if let ExprKind::Template(template, _) = &expr.kind
            && let ExprKind::Const(value) = &template.kind
        {
            parts.push(constant("template", value, path));
        }
        if let ExprKind::Call(call) = &expr.kind {
            for (name, arg) in &call.args {
                if let ExprKind::Const(value) = &arg.kind {
                    parts.push(constant(name, value, path));
                }
            }
        }
    });
    for name in references(&stage.expr) {
        let digest = upstream(&name).unwrap_or(Digest([0; 32]));
        parts.push(Part { kind: PartKind::Rows, name, digest, shown: String::new() });
    }
    parts.push(Part {
        kind: PartKind::Expression,
        name: "its expression".to_string(),
        digest: shape(&stage.expr),
        shown: String::new(),
    });
    parts
}

fn constant(name: &str, value: &Value, path: &dyn Fn(&Digest) -> Option<String>) -> Part {
    let text = value.encode();
    let digest = Digest::of(&text);
    match path(&digest) {
        Some(path) => {
            let shown = match value {
                Value::Dir(tree) => tree.to_string(),
                Value::File { digest, .. } => digest.to_string(),
                _ => String::new(),
            };
            Part { kind: PartKind::Path, name: path, digest, shown }
        }
        None => {
            let text = String::from_utf8_lossy(&text);
            let is_short = text.len() <= 240 && text.chars().count() <= 60;
            let shown = if is_short { text.into_owned() } else { digest.short() };
            Part { kind: PartKind::Argument, name: name.to_string(), digest, shown }
        }
    }
}

/// The expression without its constants and without what it reads: both are parts of their own.
fn shape(expr: &Expr) -> Digest {
    fn blank(mut expr: Expr) -> Expr {
        if let ExprKind::Template(template, _) = &mut expr.kind
            && matches!(template.kind, ExprKind::Const(_))
        {
            template.kind = ExprKind::Const(Value::Null);
        }
        if let ExprKind::Call(call) = &mut expr.kind {
            for (_, arg) in &mut call.args {
                if matches!(arg.kind, ExprKind::Const(_)) {
                    arg.kind = ExprKind::Const(Value::Null);
                }
            }
        }
        expr.map_children(&mut blank)
    }
    let blank = blank(expr.clone());
    let mut hasher = KeyHasher::new("claw shape 1");
    blank.hash_into(&mut hasher, &mut Vec::new(), &mut |_, _| {});
    hasher.finish()
}

/// What changed from `before` to `now`. `files` says which files differ between two directories by
/// their digests.
pub fn compare(
    before: &[Part],
    now: &[Part],
    files: &dyn Fn(&str, &str) -> Vec<String>,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut upstream = Vec::new();
    let key = |part: &Part| (part.kind as u8, part.name.clone());
    for part in now {
        let old = before.iter().find(|old| key(old) == key(part));
        if old.is_some_and(|old| old.digest == part.digest) {
            continue;
        }
        match part.kind {
            PartKind::Rows => upstream.push(part.name.clone()),
            kind => reasons.push(Reason::Changed {
                kind,
                name: part.name.clone(),
                was: old.map(|old| old.shown.clone()).unwrap_or_default(),
                now: part.shown.clone(),
                files: match (kind, old) {
                    (PartKind::Path, Some(old)) => files(&old.shown, &part.shown),
                    _ => Vec::new(),
                },
            }),
        }
    }
    for part in before {
        if part.kind != PartKind::Rows && !now.iter().any(|new| key(new) == key(part)) {
            reasons.push(Reason::Changed {
                kind: part.kind,
                name: part.name.clone(),
                was: part.shown.clone(),
                now: String::new(),
                files: Vec::new(),
            });
        }
    }
    if !upstream.is_empty() {
        reasons.push(Reason::Upstream { stages: upstream });
    }
    if reasons.is_empty() {
        reasons.push(Reason::Unfinished);
    }
    reasons
}
