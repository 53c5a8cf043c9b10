//! Tests of `where`, and functions of a row: they are worked out row by row within the program, where
//! nobody can be asked. What asks somebody all the same is told here, once defs are written out.

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::{Expr, ExprKind, Stage, Test};

/// Tells of each call, `for`, `try` and stage within one.
pub(super) fn plainness(stages: &[Stage], tests: &[Test], found: &mut Vec<Diagnostic>) {
    let tests = tests.iter().flat_map(Test::exprs);
    let mut open: Vec<&Expr> = stages.iter().map(|stage| &stage.expr).chain(tests).collect();
    while let Some(expr) = open.pop() {
        open.extend(expr.children());
        let (function, what) = match &expr.kind {
            ExprKind::Filter(_, test) => (test, "the test of `where`"),
            ExprKind::Function(function) => (function, "a function of a row"),
            _ => continue,
        };
        let Some((asks, asked)) = asking(&function.body) else { continue };
        let told = Diagnostic::error("E0307", format!("{what} cannot {asked}"))
            .at(asks.span, "each row would have to wait for this");
        found.push(match &expr.kind {
            ExprKind::Filter(..) => told.help(
                "a `for` can: `for x in rows where …` asks for each row, with `x.` in front of its \
                 fields",
            ),
            _ => told.help("make it a field of the rows first, in a stage with a `for`"),
        });
    }
}

/// What in an expression only a run can work out, and what that is.
fn asking(expr: &Expr) -> Option<(&Expr, String)> {
    let asked = match &expr.kind {
        ExprKind::Call(call) => format!("call `{}`", call.operator),
        ExprKind::For(_) => "hold a `for`".to_string(),
        ExprKind::Try(_) => "hold a `try`".to_string(),
        ExprKind::Stage(name) => format!("read the stage `{name}`"),
        _ => return expr.children().into_iter().find_map(asking),
    };
    Some((expr, asked))
}
