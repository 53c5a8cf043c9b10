//! Writing defs out.
//!
//! A def that is a whole stage becomes stages: its bindings are stages named `stage.binding`, its
//! arguments are put in (those that are computed become stages `stage.argument`, so that they are
//! computed once), its result is the stage itself. A def that is called for each row becomes an
//! [`ExprKind::Block`]. After this only operators are called, a `for` stands only at the top of a
//! stage or inside of a row, and the graph is all there is.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::diagnostic::Diagnostic;
use crate::lang::fold::{Nothing, fold};
use crate::lang::program::{Call, Expr, ExprKind, For, Function, Stage, Test, Try};
use crate::lang::source::Span;
use crate::lang::walk::MAX_TREE;

use super::infer::Checker;
use super::world::{Signature, World};

/// How many expressions defs may be written out into, in all.
const MAX_WRITTEN: usize = 500_000;

/// Policies that concern a stage as a whole and are not handed down to its parts.
const WHOLE_STAGE: &[&str] = &["budget", "canary", "gate"];

/// Writes out all defs, in the stages and in the stages of tests, and folds what became constant.
/// Gives nothing when the program grows too large, which is told.
pub(super) fn expand(
    world: &World,
    stages: Vec<Stage>,
    tests: &mut [Test],
    found: &mut Vec<Diagnostic>,
) -> Option<Vec<Stage>> {
    let own = tests.iter().flat_map(|test| &test.stages);
    let mut expander = Expander {
        world,
        taken: stages.iter().chain(own).map(|stage| stage.name.clone()).collect(),
        out: Vec::new(),
        written: 0,
        fresh: 0,
        stuck: None,
    };
    let stages = expander.all(stages, found)?;
    for test in tests {
        test.stages = expander.all(std::mem::take(&mut test.stages), found)?;
    }
    Some(stages)
}

struct Expander<'w> {
    world: &'w World,
    /// Names of stages, written and made.
    taken: BTreeSet<String>,
    out: Vec<Stage>,
    written: usize,
    /// Numbers the names of blocks, so that no two meet.
    fresh: usize,
    /// Where it became too large.
    stuck: Option<Span>,
}

impl<'w> Expander<'w> {
    fn all(&mut self, stages: Vec<Stage>, found: &mut Vec<Diagnostic>) -> Option<Vec<Stage>> {
        for stage in stages {
            self.stage(stage, 0);
            if let Some(span) = self.stuck {
                found.push(
                    Diagnostic::error(
                        "E0404",
                        "the program grows too large when its defs are written out",
                    )
                    .at(span, "defs that call defs add up here"),
                );
                return None;
            }
        }
        let written = std::mem::take(&mut self.out).into_iter();
        let folded = |stage: Stage| Stage { expr: fold(stage.expr, &mut Nothing, found), ..stage };
        Some(written.map(folded).collect())
    }

    fn stage(&mut self, stage: Stage, depth: usize) {
        let Stage { name, doc, expr, ty, policy, span, origins } = stage;
        let nothing = Checker::unknown(span);
        let parent = Stage { name, doc, expr: nothing, ty, policy, span, origins };
        let expr = self.whole(expr, &parent, depth);
        self.out.push(Stage { expr, ..parent });
    }

    /// Counts, and says whether there is room for more.
    fn fits(&mut self, expr: &Expr, depth: usize) -> bool {
        self.written += 1;
        if self.stuck.is_none() && (self.written > MAX_WRITTEN || depth > MAX_TREE) {
            self.stuck = Some(expr.span);
        }
        self.stuck.is_none()
    }

    /// The top of a stage.
    fn whole(&mut self, expr: Expr, stage: &Stage, depth: usize) -> Expr {
        if !self.fits(&expr, depth) {
            return Checker::unknown(expr.span);
        }
        match expr.kind {
            ExprKind::Call(call) => match self.def(&call) {
                Some(signature) => self.def_as_stage(signature, call, stage, depth),
                None => Expr { kind: self.operator(call, stage, depth), ..expr },
            },
            ExprKind::For(each) => {
                let generators = each
                    .generators
                    .into_iter()
                    .map(|(name, rows)| {
                        // Rows that depend on an earlier generator belong to its row.
                        let rows = if rows.has_free_locals() {
                            self.row(rows, depth + 1)
                        } else {
                            self.part(rows, &name, stage, depth + 1)
                        };
                        (name, rows)
                    })
                    .collect();
                let condition =
                    each.condition.map(|condition| Box::new(self.row(*condition, depth + 1)));
                let body = Box::new(self.row(*each.body, depth + 1));
                Expr { kind: ExprKind::For(For { generators, condition, body }), ..expr }
            }
            // An attempt is made as one: its parts see each other, as those of a row do.
            ExprKind::Try(_) => self.row(expr, depth + 1),
            kind => self.parts(Expr { kind, ..expr }, "rows", stage, depth),
        }
    }

    /// A part of a stage's expression that is no row: what is computed row by row or is a def
    /// becomes a stage of its own.
    fn part(&mut self, expr: Expr, name: &str, stage: &Stage, depth: usize) -> Expr {
        if !self.fits(&expr, depth) {
            return Checker::unknown(expr.span);
        }
        match expr.kind {
            ExprKind::For(_) | ExprKind::Try(_) => self.hidden(expr, name, stage, depth),
            ExprKind::Call(call) => match self.def(&call) {
                Some(_) => {
                    let expr = Expr { kind: ExprKind::Call(call), ..expr };
                    self.hidden(expr, name, stage, depth)
                }
                None => Expr { kind: self.operator(call, stage, depth), ..expr },
            },
            kind => self.parts(Expr { kind, ..expr }, name, stage, depth),
        }
    }

    fn parts(&mut self, expr: Expr, name: &str, stage: &Stage, depth: usize) -> Expr {
        match expr.kind {
            ExprKind::Filter(rows, test) => {
                let rows = Box::new(self.part(*rows, name, stage, depth + 1));
                let body = self.row(test.body, depth + 1);
                let test = Box::new(Function { param: test.param, body });
                Expr { kind: ExprKind::Filter(rows, test), ..expr }
            }
            ExprKind::Function(function) => {
                let body = self.row(function.body, depth + 1);
                let function = Box::new(Function { param: function.param, body });
                Expr { kind: ExprKind::Function(function), ..expr }
            }
            kind => Expr { kind, ..expr }
                .map_children(&mut |child| self.part(child, name, stage, depth + 1)),
        }
    }

    fn operator(&mut self, call: Call, stage: &Stage, depth: usize) -> ExprKind {
        let args = call
            .args
            .into_iter()
            .map(|(name, arg)| {
                let arg = self.part(arg, &name, stage, depth + 1);
                (name, arg)
            })
            .collect();
        ExprKind::Call(Call { args, ..call })
    }

    /// A part that becomes a stage of its own, and what stands for it.
    fn hidden(&mut self, expr: Expr, part: &str, parent: &Stage, depth: usize) -> Expr {
        let (span, ty) = (expr.span, expr.ty.clone());
        let mut name = format!("{}.{part}", parent.name);
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{}.{part}_{number}", parent.name);
            number += 1;
        }
        let policy = parent
            .policy
            .iter()
            .filter(|(name, _)| !WHOLE_STAGE.contains(&name.as_str()))
            .cloned()
            .collect();
        let stage = Stage {
            name: name.clone(),
            doc: String::new(),
            expr,
            ty: ty.clone(),
            policy,
            span: parent.span,
            origins: parent.origins.clone(),
        };
        self.stage(stage, depth + 1);
        Expr { kind: ExprKind::Stage(name), ty, span }
    }

    fn def(&self, call: &Call) -> Option<&'w Signature> {
        let number: usize = call.operator.strip_prefix('#')?.parse().ok()?;
        self.world.signatures.get(number)
    }

    fn def_as_stage(
        &mut self,
        signature: &Signature,
        call: Call,
        stage: &Stage,
        depth: usize,
    ) -> Expr {
        let Some(body) = &signature.body else {
            return Checker::unknown(stage.span);
        };
        let mut known: BTreeMap<String, Expr> = BTreeMap::new();
        for (name, arg) in call.args {
            let arg = if is_simple(&arg) { arg } else { self.hidden(arg, &name, stage, depth) };
            known.insert(name, arg);
        }
        for (name, value) in &body.bindings {
            let value = self.put_in(value, &known);
            let value =
                if is_simple(&value) { value } else { self.hidden(value, name, stage, depth) };
            known.insert(name.clone(), value);
        }
        let result = self.put_in(&body.result, &known);
        self.whole(result, stage, depth + 1)
    }

    /// An expression that is evaluated for each row: defs in it become blocks.
    fn row(&mut self, expr: Expr, depth: usize) -> Expr {
        if !self.fits(&expr, depth) {
            return Checker::unknown(expr.span);
        }
        let Expr { kind, ty, span } = expr;
        let call = match kind {
            ExprKind::Call(call) if self.def(&call).is_some() => call,
            kind => {
                return Expr { kind, ty, span }
                    .map_children(&mut |child| self.row(child, depth + 1));
            }
        };
        let Some(body) = self.def(&call).and_then(|signature| signature.body.as_ref()) else {
            return Checker::unknown(span);
        };
        let mut known: BTreeMap<String, Expr> = BTreeMap::new();
        let mut block: Vec<(String, Expr)> = Vec::new();
        for (name, arg) in call.args {
            let arg = self.row(arg, depth + 1);
            let arg = self.bound(&name, arg, &mut block);
            known.insert(name, arg);
        }
        for (name, value) in &body.bindings {
            let value = self.put_in(value, &known);
            let value = self.row(value, depth + 1);
            let value = self.bound(name, value, &mut block);
            known.insert(name.clone(), value);
        }
        let result = self.put_in(&body.result, &known);
        let result = self.row(result, depth + 1);
        if block.is_empty() {
            return result;
        }
        Expr { kind: ExprKind::Block(block, Box::new(result)), ty, span }
    }

    /// What stands for an argument or a binding in a block: itself where it is simple and the same
    /// for each row, else a name that nothing else has.
    fn bound(&mut self, name: &str, value: Expr, block: &mut Vec<(String, Expr)>) -> Expr {
        if is_simple(&value) && !value.has_free_locals() {
            return value;
        }
        self.fresh += 1;
        let name = format!("{name}~{}", self.fresh);
        let local =
            Expr { kind: ExprKind::Local(name.clone()), ty: value.ty.clone(), span: value.span };
        block.push((name, value));
        local
    }

    /// The expression with what is known put in for its locals.
    fn put_in(&mut self, expr: &Expr, known: &BTreeMap<String, Expr>) -> Expr {
        let result = put_in(expr.clone(), known, &mut Vec::new(), 0, &mut self.stuck);
        self.written = self.written.saturating_add(result.size().nodes);
        result
    }
}

/// Whether an expression is known before anything runs and without any row.
fn is_constant(kind: &ExprKind) -> bool {
    !matches!(
        kind,
        ExprKind::Stage(_)
            | ExprKind::Local(_)
            | ExprKind::Call(_)
            | ExprKind::For(_)
            | ExprKind::Try(_)
    )
}

/// Whether an expression need not be a stage of its own: a constant, a stage, a parameter, or a
/// field of one.
fn is_simple(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Stage(_) => true,
        ExprKind::Field(of, _) => is_simple(of),
        // A function is nothing that could be computed before it is applied.
        ExprKind::Function(function) => !function.body.any(&|expr| {
            matches!(expr.kind, ExprKind::Call(_) | ExprKind::For(_) | ExprKind::Try(_))
        }),
        _ => !expr.any(&|expr| !is_constant(&expr.kind)),
    }
}

/// The expression with what is known put in for its locals.
pub(super) fn put_known(expr: Expr, known: &BTreeMap<String, Expr>) -> Expr {
    put_in(expr, known, &mut Vec::new(), 0, &mut None)
}

fn put_in(
    expr: Expr,
    known: &BTreeMap<String, Expr>,
    bound: &mut Vec<String>,
    depth: usize,
    stuck: &mut Option<Span>,
) -> Expr {
    if depth > MAX_TREE {
        stuck.get_or_insert(expr.span);
    }
    if stuck.is_some() {
        return Checker::unknown(expr.span);
    }
    let start = bound.len();
    let mut inner =
        |expr: Expr, bound: &mut Vec<String>| put_in(expr, known, bound, depth + 1, stuck);
    let kind = match expr.kind {
        ExprKind::Local(name) if !bound.contains(&name) => match known.get(&name) {
            // Its type was narrowed where it stands, if at all.
            Some(value) => {
                return Expr { ty: expr.ty, ..value.clone() };
            }
            None => ExprKind::Local(name),
        },
        ExprKind::Filter(rows, test) => {
            let rows = Box::new(inner(*rows, bound));
            bound.push(test.param.clone());
            let body = inner(test.body, bound);
            ExprKind::Filter(rows, Box::new(Function { param: test.param, body }))
        }
        ExprKind::Function(function) => {
            bound.push(function.param.clone());
            let body = inner(function.body, bound);
            ExprKind::Function(Box::new(Function { param: function.param, body }))
        }
        ExprKind::For(each) => {
            let mut generators = Vec::new();
            for (name, rows) in each.generators {
                let rows = inner(rows, bound);
                bound.push(name.clone());
                generators.push((name, rows));
            }
            let condition = each.condition.map(|condition| Box::new(inner(*condition, bound)));
            let body = Box::new(inner(*each.body, bound));
            ExprKind::For(For { generators, condition, body })
        }
        ExprKind::Try(tried) => {
            let attempts = Box::new(inner(*tried.attempts, bound));
            bound.extend(tried.feedback.clone());
            let mut bindings = Vec::new();
            for (name, value) in tried.bindings {
                let value = inner(value, bound);
                bound.push(name.clone());
                bindings.push((name, value));
            }
            let accepted = Box::new(inner(*tried.accepted, bound));
            let when = tried.when.map(|when| Box::new(inner(*when, bound)));
            let next = tried.next.map(|next| Box::new(inner(*next, bound)));
            let feedback = tried.feedback;
            ExprKind::Try(Try { attempts, feedback, bindings, accepted, when, next })
        }
        kind => {
            let expr = Expr { kind, ty: expr.ty, span: expr.span };
            return expr.map_children(&mut |child| put_in(child, known, bound, depth + 1, stuck));
        }
    };
    bound.truncate(start);
    Expr { kind, ty: expr.ty, span: expr.span }
}
