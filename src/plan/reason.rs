//! Reasons: why a stage runs although it ran before.
//!
//! A run leaves for each stage the labelled parts that its key was made of. Comparing them with
//! today's parts says in words what changed. What an expression names (parameters, constants, defs,
//! files) is written out in it before it has a key; those names are parts too, which say why an
//! expression is another one although nobody edited it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lang::{self, Expr, ExprKind, OriginKind, Stage, Value, content, references};
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
    /// The rest of the expression. Shown is the digest of its text.
    Expression,
    /// A parameter that the expression names.
    Parameter,
    /// A constant that it names.
    Constant,
    /// A def that it names.
    Definition,
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
        /// The first and the last line that changed in it, when it is a text file.
        #[serde(skip_serializing_if = "Option::is_none")]
        lines: Option<(usize, usize)>,
    },
    /// The stages it reads will run, or gave other rows.
    Upstream {
        /// Their names.
        stages: Vec<String>,
    },
    /// It ran with the same inputs, but some rows failed or were not reached.
    Unfinished,
    /// Nothing changed, but stages that it reads are made again, and it does not wait for them.
    Remade {
        /// Their names.
        stages: Vec<String>,
    },
    /// It was asked for on the command line.
    Refresh,
    /// Its own policy does not believe what is in the store.
    Policy {
        /// What the policy says: `off` or `refresh`.
        cache: String,
    },
}

/// What differs between two files or directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// The files that differ in a directory.
    pub files: Vec<String>,
    /// The first and the last line that differ in a text, counted from 1, as they are now.
    pub lines: Option<(usize, usize)>,
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
        shown: stage.origins.text.map(|text| text.short()).unwrap_or_default(),
    });
    for origin in &stage.origins.named {
        let kind = match origin.kind {
            OriginKind::Parameter => PartKind::Parameter,
            OriginKind::Constant => PartKind::Constant,
            OriginKind::Def => PartKind::Definition,
            OriginKind::Path => PartKind::Path,
        };
        let known = |part: &Part| part.kind == kind && part.name == origin.name;
        if kind != PartKind::Path || !parts.iter().any(known) {
            let (name, shown) = (origin.name.clone(), origin.shown.clone());
            parts.push(Part { kind, name, digest: origin.digest, shown });
        }
    }
    parts
}

fn constant(name: &str, value: &Value, path: &dyn Fn(&Digest) -> Option<String>) -> Part {
    let (digest, shown) = lang::shown(value);
    match path(&digest) {
        Some(path) => Part { kind: PartKind::Path, name: path, digest, shown: content(value) },
        None => Part { kind: PartKind::Argument, name: name.to_string(), digest, shown },
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

impl Part {
    /// Whether it is too long to show.
    fn is_hidden(&self) -> bool {
        self.shown == self.digest.short()
    }

    /// Whether it says where something in the expression comes from.
    fn is_origin(&self) -> bool {
        matches!(self.kind, PartKind::Parameter | PartKind::Constant | PartKind::Definition)
    }
}

/// Each part with its number among those of its kind and name: two calls of a stage may both have an
/// argument of that name.
fn numbered(parts: &[Part]) -> Vec<(&Part, usize)> {
    let mut seen: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let count = seen.entry((part.kind as u8, part.name.as_str())).or_default();
        *count += 1;
        all.push((part, *count));
    }
    all
}

/// What changed from `before` to `now`. `difference` says what differs between two files or
/// directories by the digests of their content.
pub fn compare(
    before: &[Part],
    now: &[Part],
    difference: &dyn Fn(&str, &str) -> Difference,
) -> Vec<Reason> {
    let (before, now) = (numbered(before), numbered(now));
    let same = |(one, number): &(&Part, usize), (other, of): &(&Part, usize)| {
        one.kind == other.kind && one.name == other.name && number == of
    };
    let mut upstream = Vec::new();
    let mut changed: Vec<(Option<&Part>, &Part)> = Vec::new();
    for part in &now {
        let old = before.iter().find(|old| same(old, part)).map(|(old, _)| *old);
        if old.is_some_and(|old| old.digest == part.0.digest) {
            continue;
        }
        match part.0.kind {
            PartKind::Rows => upstream.push(part.0.name.clone()),
            _ => changed.push((old, part.0)),
        }
    }
    // A name that is new stands in a text that is new, which is told anyway.
    changed.retain(|(old, part)| old.is_some() || !part.is_origin());
    let unsaid = |(_, part): &(Option<&Part>, &Part)| {
        part.kind == PartKind::Expression || (part.kind == PartKind::Argument && part.is_hidden())
    };
    // Where an expression is another one, or an argument too long to show, what it names says why.
    let why_asked = changed.iter().any(unsaid);
    changed.retain(|(_, part)| why_asked || !part.is_origin());
    let explained = changed.iter().any(|(_, part)| part.is_origin() || part.kind == PartKind::Path);
    let edited = |old: Option<&Part>, part: &Part| {
        old.is_none_or(|old| old.shown.is_empty() || old.shown != part.shown)
    };
    changed.retain(|(old, part)| match part.kind {
        PartKind::Expression => !explained || edited(*old, part),
        PartKind::Argument => !explained || !part.is_hidden(),
        _ => true,
    });
    let mut reasons: Vec<Reason> =
        changed.into_iter().map(|(old, part)| reason(old, part, difference)).collect();
    for part in &before {
        let (old, is_gone) = (part.0, !now.iter().any(|new| same(new, part)));
        if is_gone && old.kind != PartKind::Rows && !old.is_origin() {
            reasons.push(Reason::Changed {
                kind: old.kind,
                name: old.name.clone(),
                was: old.shown.clone(),
                now: String::new(),
                files: Vec::new(),
                lines: None,
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

/// That a part is another one.
fn reason(
    old: Option<&Part>,
    part: &Part,
    difference: &dyn Fn(&str, &str) -> Difference,
) -> Reason {
    let (mut was, mut now) =
        (old.map(|old| old.shown.clone()).unwrap_or_default(), part.shown.clone());
    let found = match (part.kind, old) {
        (PartKind::Path, Some(_)) => difference(&was, &now),
        _ => Difference::default(),
    };
    let is_text = part.kind == PartKind::Expression;
    let is_hidden = part.is_origin() && (part.is_hidden() || old.is_some_and(Part::is_hidden));
    if is_text || is_hidden {
        // Digests say nothing to anybody.
        (was, now) = (String::new(), String::new());
    }
    let Difference { files, lines } = found;
    Reason::Changed { kind: part.kind, name: part.name.clone(), was, now, files, lines }
}
