//! A checked program: what `lang` gives and `plan` takes.
//!
//! Names are resolved, types are known, defaults are filled in, and `def`s used as whole stages are
//! written out, so that what is left is parameters, stages and outputs. [`Program`] still has free
//! parameters; a [`Pipeline`] has none: every `param`, `let`, `file()`, `dir()`, `model()` has become
//! a [`ExprKind::Const`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::store::KeyHasher;

use super::origin::Origins;
use super::secrets::Secrets;
use super::source::{SourceMap, Span};
use super::types::Type;
use super::value::Value;
use super::walk::references;

/// A checked program with free parameters.
#[derive(Debug, Clone)]
pub struct Program {
    /// Parameters in the order they are declared.
    pub params: Vec<Param>,
    /// Stages, in the order they are declared (not sorted by dependency).
    pub stages: Vec<Stage>,
    /// What the run is for.
    pub outputs: Vec<Output>,
    /// The entry's own tests.
    pub tests: Vec<Test>,
    /// The first `//!` lines of the entry file.
    pub doc: String,
    /// The text of every module, for messages.
    pub sources: SourceMap,
}

/// A checked program whose parameters are bound.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Each parameter's value, secret ones left out.
    pub params: Vec<(String, Value)>,
    /// Stages whose expressions hold no parameter.
    pub stages: Vec<Stage>,
    /// What the run is for.
    pub outputs: Vec<Output>,
    /// The text of every module, for messages.
    pub sources: SourceMap,
    /// Every `file()` and `dir()` that was read: `(path, value)`, for reasons and for keeping them.
    pub read: Vec<(String, Value)>,
    /// What its secrets are. Not a part of any expression.
    pub secrets: Arc<Secrets>,
}

/// A run-time input.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Its `///` lines.
    pub doc: String,
    /// Its default; none means that it must be given.
    pub default: Option<Expr>,
    /// The `where` condition; the parameter itself is [`ExprKind::Param`] in it.
    pub bound: Option<Expr>,
    /// Declared `secret`: its type is [`Type::Secret`], and its default says which variable of the
    /// environment holds it.
    pub secret: bool,
    /// Where its name stands.
    pub span: Span,
}

/// A node of the graph.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its name. The parts of a `def` used as a stage are named `stage.binding`.
    pub name: String,
    /// Its `///` lines.
    pub doc: String,
    /// What it computes.
    pub expr: Expr,
    /// The type of its result: `[Row]` for a `for` stage.
    pub ty: Type,
    /// `with { … }`, still as expressions in a [`Program`], all constants in a [`Pipeline`].
    pub policy: Vec<(String, Expr)>,
    /// Where its name stands.
    pub span: Span,
    /// What its expression names.
    pub origins: Origins,
}

/// What a run is for.
#[derive(Debug, Clone)]
pub struct Output {
    /// The stage.
    pub stage: String,
    /// Where the result is written when the run ends, relative to the project, without `.` and `..`.
    pub path: Option<String>,
    /// Where its path stands, else its name.
    pub span: Span,
}

/// `test "name" { … }`: see [`Program::of_test`].
#[derive(Debug, Clone)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// What stands for stages and parameters of the program.
    pub given: Vec<Given>,
    /// Stages that only the test has: its `let`s and `assert`s.
    pub stages: Vec<Stage>,
    /// What must hold.
    pub asserts: Vec<Assert>,
}

impl Test {
    /// Every expression in it.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let given = self.given.iter().map(|given| match given {
            Given::Stage(_, value) | Given::Param(_, value) => value,
        });
        given.chain(self.stages.iter().map(|stage| &stage.expr))
    }
}

/// Something that a test puts in the place of what the program says.
#[derive(Debug, Clone)]
pub enum Given {
    /// Rows for a stage.
    Stage(String, Expr),
    /// A value for a parameter.
    Param(String, Expr),
}

impl Given {
    /// The stage's or the parameter's name.
    pub fn name(&self) -> &str {
        let (Given::Stage(name, _) | Given::Param(name, _)) = self;
        name
    }
}

/// Something that must hold.
#[derive(Debug, Clone)]
pub struct Assert {
    /// The stage whose result says whether it does: a record with the field `holds`, and with
    /// `left` and `right` where it is a comparison.
    pub stage: String,
    /// Where its condition stands.
    pub span: Span,
}

impl Program {
    /// The program that runs one test: what the test gives is in its place, its `assert`s are the
    /// outputs, and stages and parameters that none of them needs are left out.
    pub fn of_test(&self, test: &Test) -> Program {
        let given = |name: &str| {
            test.given.iter().find_map(|given| match given {
                Given::Stage(known, value) if known == name => Some(value.clone()),
                _ => None,
            })
        };
        let all: BTreeMap<&str, &Stage> = self
            .stages
            .iter()
            .chain(&test.stages)
            .map(|stage| (stage.name.as_str(), stage))
            .collect();
        let mut needed: BTreeMap<String, Stage> = BTreeMap::new();
        let mut waiting: Vec<String> =
            test.asserts.iter().map(|assert| assert.stage.clone()).collect();
        while let Some(name) = waiting.pop() {
            let Some(stage) = all.get(name.as_str()).filter(|_| !needed.contains_key(&name)) else {
                continue;
            };
            let expr = given(&name).unwrap_or_else(|| stage.expr.clone());
            waiting.extend(references(&expr));
            needed.insert(name, Stage { expr, ..(*stage).clone() });
        }
        let mut params: Vec<Param> = self.params.clone();
        for param in &mut params {
            for given in &test.given {
                if let Given::Param(name, value) = given
                    && *name == param.name
                {
                    param.default = Some(value.clone());
                }
            }
        }
        let mut asked: BTreeSet<String> = BTreeSet::new();
        let mut open: Vec<&Expr> = needed
            .values()
            .flat_map(|stage| stage.policy.iter().map(|(_, of)| of).chain([&stage.expr]))
            .collect();
        while let Some(expr) = open.pop() {
            open.extend(expr.children());
            if let ExprKind::Param(name) = &expr.kind
                && asked.insert(name.clone())
                && let Some(param) = params.iter().find(|param| param.name == *name)
            {
                open.extend(param.default.iter().chain(&param.bound));
            }
        }
        let stages = self.stages.iter().chain(&test.stages);
        let stages = stages.filter_map(|stage| needed.remove(&stage.name)).collect();
        let outputs = test.asserts.iter().map(|assert| Output {
            stage: assert.stage.clone(),
            path: None,
            span: assert.span,
        });
        Program {
            outputs: outputs.collect(),
            stages,
            params: params.iter().filter(|param| asked.contains(&param.name)).cloned().collect(),
            tests: Vec::new(),
            doc: String::new(),
            sources: self.sources.clone(),
        }
    }
}

/// An expression with its type and place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Where it stands.
    pub span: Span,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A value.
    Const(Value),
    /// A parameter. Gone after binding.
    Param(String),
    /// A name bound by `for`, `let` in a block, a function's parameter or a def's argument.
    Local(String),
    /// A stage's whole result.
    Stage(String),
    /// `of.name`; over a list of records it is an error (checked).
    Field(Box<Expr>, String),
    /// `of[index]`.
    Index(Box<Expr>, Box<Expr>),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `{ a: x }`.
    Record(Vec<(String, Expr)>),
    /// `"a {x} b"`: parts joined; every part's value is shown as text.
    Text(Vec<Expr>),
    /// `-x`, `not x`.
    Unary(UnaryOp, Box<Expr>),
    /// `a + b` and the like.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `if c then a else b`.
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `a..b` or `a..=b`: a list of ints.
    Range {
        /// First.
        from: Box<Expr>,
        /// Last, or one past it.
        to: Box<Expr>,
        /// Whether `to` belongs to it.
        inclusive: bool,
    },
    /// `rows where .field > 0`.
    Filter(Box<Expr>, Box<Function>),
    /// `.field`, a function over one value.
    Function(Box<Function>),
    /// A call of an operator.
    Call(Call),
    /// `for … in … where … { … }`.
    For(For),
    /// `try 4 with feedback { … }`: null when no attempt was accepted.
    Try(Try),
    /// A def called inside a `for`: its bindings, then its result.
    Block(Vec<(String, Expr)>, Box<Expr>),
    /// `template("…", name: value)`: the template, which binding makes a constant, and what it is
    /// given by name.
    Template(Box<Expr>, Vec<(String, Expr)>),
    /// `len(x)`: rows, items, fields or characters.
    Length(Box<Expr>),
    /// `file("…")`, `dir("…")`, `env("…")`. Gone after binding.
    Source(SourceKind, Box<Expr>),
    /// A built-in that makes a value out of values: `model`, `sandbox`, `secret`. Gone after binding.
    Builtin(String, Vec<(String, Expr)>),
}

/// What is read from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A file; the text is the folder that the path is relative to.
    File(String),
    /// A directory; likewise.
    Dir(String),
    /// A template; likewise.
    Template(String),
    /// An environment variable.
    Env,
}

/// A function over one value: `.prompt` is `x -> x.prompt`.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// The name of its parameter in `body`, as an [`ExprKind::Local`].
    pub param: String,
    /// What it gives.
    pub body: Expr,
}

/// A call of an operator, every argument named and defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The operator: module and name, such as `rollout.run`; `dedup` and the like are `rows.dedup`.
    pub operator: String,
    /// Arguments in the order of the signature.
    pub args: Vec<(String, Expr)>,
    /// What the signature says it returns (type variables filled in).
    pub returns: Type,
}

/// The only way to fan out.
#[derive(Debug, Clone, PartialEq)]
pub struct For {
    /// `name in rows`, outermost first.
    pub generators: Vec<(String, Expr)>,
    /// `where …`.
    pub condition: Option<Box<Expr>>,
    /// What each row is made by.
    pub body: Box<Expr>,
}

/// The bounded loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Try {
    /// How many attempts are made at most: an int from 1 on.
    pub attempts: Box<Expr>,
    /// The name under which an attempt sees what the one before handed on; null for the first.
    pub feedback: Option<String>,
    /// `let name = value`, evaluated in each attempt.
    pub bindings: Vec<(String, Expr)>,
    /// What an accepted attempt gives.
    pub accepted: Box<Expr>,
    /// Whether an attempt is accepted; none means that it is, unless it fails.
    pub when: Option<Box<Expr>>,
    /// What the next attempt is told.
    pub next: Option<Box<Expr>>,
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-x`
    Negate,
    /// `not x`
    Not,
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    In,
}

impl Function {
    /// Writes the function's meaning (not the name of its parameter) into a key.
    pub fn hash_into(&self, hasher: &mut KeyHasher) {
        let mut scope = vec![self.param.clone()];
        self.body.hash_into(hasher, &mut scope, &mut |hasher, stage| {
            hasher.text(stage);
        });
    }
}

impl Expr {
    /// Writes the expression's meaning into a key: places, names of locals and layout are left out
    /// (locals count how many bindings ago theirs was), stages are written by `stage`.
    pub fn hash_into(
        &self,
        hasher: &mut KeyHasher,
        scope: &mut Vec<String>,
        stage: &mut dyn FnMut(&mut KeyHasher, &str),
    ) {
        match &self.kind {
            ExprKind::Const(value) => {
                hasher.text("const").bytes(&value.encode());
            }
            ExprKind::Param(name) => {
                hasher.text("param").text(name);
            }
            ExprKind::Local(name) => {
                let back = scope.iter().rev().position(|bound| bound == name);
                hasher.text("local").number(back.map_or(u64::MAX, |n| n as u64));
            }
            ExprKind::Stage(name) => {
                hasher.text("stage");
                stage(hasher, name);
            }
            ExprKind::Field(of, name) => {
                hasher.text("field").text(name);
                of.hash_into(hasher, scope, stage);
            }
            ExprKind::Index(of, index) => {
                hasher.text("index");
                of.hash_into(hasher, scope, stage);
                index.hash_into(hasher, scope, stage);
            }
            ExprKind::List(items) | ExprKind::Text(items) => {
                let word = if matches!(self.kind, ExprKind::List(_)) { "list" } else { "text" };
                hasher.text(word).number(items.len() as u64);
                for item in items {
                    item.hash_into(hasher, scope, stage);
                }
            }
            ExprKind::Record(fields) => {
                hasher.text("record").number(fields.len() as u64);
                for (name, field) in fields {
                    hasher.text(name);
                    field.hash_into(hasher, scope, stage);
                }
            }
            ExprKind::Unary(op, of) => {
                hasher.text(&format!("{op:?}"));
                of.hash_into(hasher, scope, stage);
            }
            ExprKind::Binary(op, left, right) => {
                hasher.text(&format!("{op:?}"));
                left.hash_into(hasher, scope, stage);
                right.hash_into(hasher, scope, stage);
            }
            ExprKind::If(test, yes, no) => {
                hasher.text("if");
                test.hash_into(hasher, scope, stage);
                yes.hash_into(hasher, scope, stage);
                no.hash_into(hasher, scope, stage);
            }
            ExprKind::Range { from, to, inclusive } => {
                hasher.text("range").number(u64::from(*inclusive));
                from.hash_into(hasher, scope, stage);
                to.hash_into(hasher, scope, stage);
            }
            ExprKind::Filter(rows, test) => {
                hasher.text("filter");
                rows.hash_into(hasher, scope, stage);
                scope.push(test.param.clone());
                test.body.hash_into(hasher, scope, stage);
                scope.pop();
            }
            ExprKind::Function(function) => {
                hasher.text("function");
                scope.push(function.param.clone());
                function.body.hash_into(hasher, scope, stage);
                scope.pop();
            }
            ExprKind::Call(call) => {
                hasher.text("call").text(&call.operator).number(call.args.len() as u64);
                for (name, arg) in &call.args {
                    hasher.text(name);
                    arg.hash_into(hasher, scope, stage);
                }
            }
            ExprKind::For(each) => {
                hasher.text("for").number(each.generators.len() as u64);
                let depth = scope.len();
                for (name, rows) in &each.generators {
                    rows.hash_into(hasher, scope, stage);
                    scope.push(name.clone());
                }
                hasher.number(u64::from(each.condition.is_some()));
                if let Some(condition) = &each.condition {
                    condition.hash_into(hasher, scope, stage);
                }
                each.body.hash_into(hasher, scope, stage);
                scope.truncate(depth);
            }
            ExprKind::Try(tried) => {
                hasher.text("try").number(tried.bindings.len() as u64);
                tried.attempts.hash_into(hasher, scope, stage);
                let depth = scope.len();
                scope.extend(tried.feedback.clone());
                hasher.number(u64::from(tried.feedback.is_some()));
                for (name, value) in &tried.bindings {
                    value.hash_into(hasher, scope, stage);
                    scope.push(name.clone());
                }
                tried.accepted.hash_into(hasher, scope, stage);
                for part in [&tried.when, &tried.next] {
                    hasher.number(u64::from(part.is_some()));
                    if let Some(part) = part {
                        part.hash_into(hasher, scope, stage);
                    }
                }
                scope.truncate(depth);
            }
            ExprKind::Block(bindings, result) => {
                hasher.text("block").number(bindings.len() as u64);
                let depth = scope.len();
                for (name, value) in bindings {
                    value.hash_into(hasher, scope, stage);
                    scope.push(name.clone());
                }
                result.hash_into(hasher, scope, stage);
                scope.truncate(depth);
            }
            ExprKind::Template(template, args) => {
                hasher.text("template").number(args.len() as u64);
                template.hash_into(hasher, scope, stage);
                for (name, arg) in args {
                    hasher.text(name);
                    arg.hash_into(hasher, scope, stage);
                }
            }
            ExprKind::Length(of) => {
                hasher.text("len");
                of.hash_into(hasher, scope, stage);
            }
            ExprKind::Source(kind, path) => {
                hasher.text(&format!("{kind:?}"));
                path.hash_into(hasher, scope, stage);
            }
            ExprKind::Builtin(name, args) => {
                hasher.text("builtin").text(name).number(args.len() as u64);
                for (name, arg) in args {
                    hasher.text(name);
                    arg.hash_into(hasher, scope, stage);
                }
            }
        }
    }
}
