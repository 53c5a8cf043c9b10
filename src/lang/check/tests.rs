//! `test` blocks: what they give, what they run and what must hold.
//!
//! The `let`s and the `assert`s of a test become stages that only the test has, named
//! `test 1.name`, so that running a test is running a pipeline (see [`Program::of_test`]).
//!
//! [`Program::of_test`]: crate::lang::Program::of_test

use std::collections::BTreeMap;

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::fold::{Nothing, fold};
use crate::lang::origin::Origins;
use crate::lang::program::{Assert, BinaryOp, Expr, ExprKind, Given, Stage, Test};
use crate::lang::secrets::holds_secret;
use crate::lang::source::Span;
use crate::lang::syntax::ast::{self, ItemKind, Step};
use crate::lang::types::{RecordType, Type};

use super::expand;
use super::infer::{Checker, Place, make};
use super::secrets::kept;
use super::world::{GlobalKind, World};

/// The tests of the entry.
pub(super) fn tests(world: &World, ast: &ast::Module, found: &mut Vec<Diagnostic>) -> Vec<Test> {
    let mut tests: Vec<Test> = Vec::new();
    for item in &ast.items {
        let ItemKind::Test(test) = &item.kind else {
            continue;
        };
        if let Some(earlier) = tests.iter().find(|earlier| earlier.name == test.name) {
            found.push(
                Diagnostic::error("E0101", format!("test \"{}\" is declared twice", test.name))
                    .at(test.span, "again here")
                    .at(earlier.span, "first here"),
            );
            continue;
        }
        let prefix = format!("test {}", tests.len() + 1);
        let mut checked = Test {
            name: test.name.clone(),
            span: test.span,
            given: Vec::new(),
            stages: Vec::new(),
            asserts: Vec::new(),
        };
        let mut tester = Tester { world, prefix, known: BTreeMap::new(), test: &mut checked };
        for step in &test.steps {
            match step {
                Step::Given(name, value) => tester.given(name, value, found),
                Step::Let(binding) => tester.binding(binding, found),
                Step::Assert(condition) => tester.assert(condition, found),
            }
        }
        if checked.asserts.is_empty()
            && !test.steps.iter().any(|step| matches!(step, Step::Assert(_)))
        {
            found.push(
                Diagnostic::warning("W0104", format!("test \"{}\" asserts nothing", test.name))
                    .at(test.span, "it cannot fail")
                    .help("say what must hold: `assert …`"),
            );
        }
        tests.push(checked);
    }
    tests
}

struct Tester<'a> {
    world: &'a World,
    prefix: String,
    /// The test's own names and the stages that they stand for.
    known: BTreeMap<String, Expr>,
    test: &'a mut Test,
}

impl Tester<'_> {
    fn given(&mut self, name: &ast::Name, value: &ast::Expr, found: &mut Vec<Diagnostic>) {
        let values = &self.world.modules[0].values;
        let global = values.get(&name.text);
        let (ty, is_stage) = match global.map(|global| (&global.ty, &global.kind)) {
            Some((ty, GlobalKind::Stage)) => (ty.clone(), true),
            Some((ty, GlobalKind::Param)) => (ty.clone(), false),
            None if self.world.modules[0].broken.contains(&name.text) => return,
            other => {
                let names = || {
                    let known = values.iter();
                    let known = known.filter(|(_, of)| !matches!(of.kind, GlobalKind::Let(..)));
                    known.map(|(name, _)| name.as_str())
                };
                let label = match other {
                    Some(_) => "this is a constant".to_string(),
                    None => did_you_mean(&name.text, names(), "unknown"),
                };
                found.push(
                    Diagnostic::error(
                        "E0704",
                        format!("`{}` is neither a stage nor a parameter", name.text),
                    )
                    .at(name.span, label)
                    .help(format!("a test may give {}", listed(names()))),
                );
                return;
            }
        };
        if self.test.given.iter().any(|given| given.name() == name.text) {
            found.push(
                Diagnostic::error("E0101", format!("`{}` is given twice", name.text))
                    .at(name.span, "again here"),
            );
            return;
        }
        let what = format!("what the test gives for `{}`", name.text);
        let Some(value) = self.checked(found, |checker| checker.want(value, &ty, &what)) else {
            return;
        };
        self.test.given.push(if is_stage {
            Given::Stage(name.text.clone(), value)
        } else {
            Given::Param(name.text.clone(), value)
        });
    }

    fn binding(&mut self, binding: &ast::Let, found: &mut Vec<Diagnostic>) {
        let name = &binding.name;
        if self.known.contains_key(&name.text) {
            found.push(
                Diagnostic::error("E0101", format!("`{}` is bound twice", name.text))
                    .at(name.span, "again here"),
            );
            return;
        }
        let value = self.checked(found, |checker| checker.bound_value(binding));
        let value = value.unwrap_or_else(|| Checker::unknown(name.span));
        let stage = self.stage(&name.text, value, name.span, found);
        self.known.insert(name.text.clone(), stage);
    }

    fn assert(&mut self, condition: &ast::Expr, found: &mut Vec<Diagnostic>) {
        let checked =
            self.checked(found, |checker| checker.want(condition, &Type::Bool, "what is asserted"));
        let Some(holds) = checked else { return };
        let span = holds.span;
        // A comparison that fails is explained by what stands on its sides.
        let mut fields = Vec::new();
        if let ExprKind::Binary(op, left, right) = &holds.kind
            && !matches!(op, BinaryOp::And | BinaryOp::Or)
        {
            fields.push(("left".to_string(), (**left).clone()));
            fields.push(("right".to_string(), (**right).clone()));
        }
        fields.push(("holds".to_string(), holds));
        let types = fields.iter().map(|(name, of)| (name.clone(), of.ty.clone())).collect();
        let ty = Type::Record(RecordType { name: None, fields: types }.into());
        let value = make(ExprKind::Record(fields), ty, span);
        let name = format!("assert_{}", self.test.asserts.len() + 1);
        self.stage(&name, value, span, found);
        let stage = format!("{}.{name}", self.prefix);
        self.test.asserts.push(Assert { stage, span });
    }

    /// Adds a stage of the test's own; gives what stands for it.
    fn stage(&mut self, name: &str, expr: Expr, span: Span, found: &mut Vec<Diagnostic>) -> Expr {
        let name = format!("{}.{name}", self.prefix);
        let ty = expr.ty.clone();
        if holds_secret(&ty) {
            found.push(kept(span, "what a test looks at"));
        }
        self.test.stages.push(Stage {
            name: name.clone(),
            doc: String::new(),
            expr,
            ty: ty.clone(),
            policy: Vec::new(),
            span,
            origins: Origins::default(),
        });
        make(ExprKind::Stage(name), ty, span)
    }

    /// An expression in which the test's names may stand; `None` when it has a mistake.
    fn checked(
        &self,
        found: &mut Vec<Diagnostic>,
        check: impl FnOnce(&mut Checker<'_>) -> Expr,
    ) -> Option<Expr> {
        let before = found.len();
        let mut checker = Checker::new(self.world, 0, Place::Stage, found);
        for (name, stage) in &self.known {
            checker.locals.push((name.clone(), stage.ty.clone()));
        }
        let expr = check(&mut checker);
        let expr = expand::put_known(expr, &self.known);
        let expr = fold(expr, &mut Nothing, found);
        (found.len() == before).then_some(expr)
    }
}
