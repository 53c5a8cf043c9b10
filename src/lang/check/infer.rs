//! Types of expressions: the syntax tree becomes [`Expr`].
//!
//! Types flow both ways: what is asked for (an argument's type, an annotation) helps with what
//! cannot be known from below, such as which enumeration a word belongs to. Whatever has a mistake
//! gets the type [`Type::Unknown`], which fits everything, so that each mistake is told once.

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::{BinaryOp, Expr, ExprKind, For, Function, UnaryOp};
use crate::lang::secrets::holds_secret;
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::Type;
use crate::lang::value::Value;

use super::fit::{Vars, fits, is_number, is_too_large, is_unit, join, kind, noun};
use super::form::{advice, coerced};
use super::operators;
use super::presence::{Present, filtered};
use super::secrets::{misplaced, strays};
use super::world::{Module, World};

/// The name that the row has in a function made of `.field` (no name that can be written).
pub(super) const ROW: &str = ".";

/// Where an expression stands: what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A `let` of a module, or a parameter's default or bound: constants and parameters.
    Constant,
    /// The default of an argument: constants and calls.
    Default,
    /// The body of a `def`: its arguments, constants and calls.
    Body,
    /// A stage: everything.
    Stage,
    /// A policy: constants and parameters.
    Policy,
    /// A parameter's value, given on the command line: nothing has a name.
    Given,
}

/// Checks expressions of one module.
pub(super) struct Checker<'w> {
    pub(super) world: &'w World,
    pub(super) module: &'w Module,
    /// The module's number.
    pub(super) place_of_module: usize,
    pub(super) place: Place,
    pub(super) found: &'w mut Vec<Diagnostic>,
    /// Locals and their types, innermost last.
    pub(super) locals: Vec<(String, Type)>,
    /// Types of the row that `.field` means, innermost last.
    pub(super) rows: Vec<Type>,
    /// What conditions around this say to be there.
    pub(super) present: Vec<Present>,
    /// Whether this stands in a `try`.
    pub(super) trying: bool,
}

pub(super) fn make(kind: ExprKind, ty: Type, span: Span) -> Expr {
    Expr { kind, ty, span }
}

impl<'w> Checker<'w> {
    pub(super) fn new(
        world: &'w World,
        module: usize,
        place: Place,
        found: &'w mut Vec<Diagnostic>,
    ) -> Checker<'w> {
        Checker {
            world,
            module: &world.modules[module],
            place_of_module: module,
            place,
            found,
            locals: Vec::new(),
            rows: Vec::new(),
            present: Vec::new(),
            trying: false,
        }
    }

    pub(super) fn tell(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    pub(super) fn unknown(span: Span) -> Expr {
        make(ExprKind::Const(Value::Null), Type::Unknown, span)
    }

    /// The expression, checked. `hint` is the type that is asked for, if any; whether it is met is
    /// for [`Checker::fit`] to say.
    pub(super) fn expr(&mut self, expr: &ast::Expr, hint: Option<&Type>) -> Expr {
        use ast::ExprKind as A;
        let span = expr.span;
        let constant = |value: Value, ty: Type| make(ExprKind::Const(value), ty, span);
        let checked = match &expr.kind {
            A::Broken => Self::unknown(span),
            A::Null => constant(Value::Null, Type::Null),
            A::Bool(truth) => constant(Value::Bool(*truth), Type::Bool),
            A::Int(int) => constant(Value::Int(*int), Type::Int),
            A::Float(float) => constant(Value::Float(*float), Type::Float),
            A::Percent(share) => constant(Value::Float(*share), Type::Percent),
            A::Bytes(bytes) => constant(Value::Int(*bytes), Type::Bytes),
            A::Duration(ms) => constant(Value::Int(*ms), Type::Duration),
            A::Money(micro) => constant(Value::Int(*micro), Type::Money),
            A::Text(parts) => self.text(parts, hint, span),
            A::Name(name) => self.name(name, hint, span),
            A::RowPath(path) => self.row_path(path, span),
            A::Field(of, name) => self.field(of, name, span),
            A::Index(of, at) => self.index(of, at, span),
            A::List(items) => self.list(items, hint, span),
            A::Record(fields) => self.record(fields, hint, span),
            A::Unary(op, of) => self.unary(*op, of, span),
            A::Binary(op, first, right) => {
                let left = self.expr(first, None);
                let right = match op {
                    // The right side is only asked when the left one came out so.
                    BinaryOp::And | BinaryOp::Or => {
                        self.given(first, *op == BinaryOp::And, |own| {
                            own.operand(right, *op, &left)
                        })
                    }
                    _ => self.operand(right, *op, &left),
                };
                self.binary(*op, left, right, span)
            }
            A::Compare(first, rest) => self.compare(first, rest),
            A::Range { from, to, inclusive } => {
                let from = self.want(from, &Type::Int, "the start of a range");
                let to = self.want(to, &Type::Int, "the end of a range");
                let kind = ExprKind::Range {
                    from: Box::new(from),
                    to: Box::new(to),
                    inclusive: *inclusive,
                };
                make(kind, Type::list(Type::Int), span)
            }
            A::If(test, yes, no) => self.if_else(test, yes, no, hint, span),
            A::Filter(rows, test) => self.filter(rows, test, hint, span),
            A::Call(call) => self.call(call, span),
            A::For(each) => self.for_each(each, span),
            A::Try(attempt) => self.try_expr(attempt, span),
        };
        let checked = self.there(expr, checked);
        self.note(span, hint, &checked.ty);
        checked
    }

    /// The expression under the type that is asked for. `what` names the asker, for the message:
    /// "`count` of `persona.imagine`".
    pub(super) fn want(&mut self, expr: &ast::Expr, wanted: &Type, what: &str) -> Expr {
        let checked = self.expr(expr, Some(wanted));
        let declared = self.declared(expr);
        self.fit(checked, wanted, what, &mut Vars::new(), declared)
    }

    /// Makes sure that an expression fits, and gives it the form that the type has.
    pub(super) fn fit(
        &mut self,
        expr: Expr,
        wanted: &Type,
        what: &str,
        vars: &mut Vars,
        declared: Option<(Span, String)>,
    ) -> Expr {
        if strays(&expr.ty, wanted) {
            self.tell(misplaced(what, &expr));
            return Self::unknown(expr.span);
        }
        let Err(why) = fits(&expr.ty, wanted, vars) else {
            self.note_fit(&expr.ty, wanted);
            return coerced(expr, wanted);
        };
        let given = expr.ty.clone();
        let code =
            if (is_unit(wanted) && is_number(&given)) || (is_unit(&given) && is_number(wanted)) {
                "E0203"
            } else {
                "E0201"
            };
        let label = match &given {
            Type::Record(record) if !why.is_empty() && record.name.is_none() => why.clone(),
            given => format!("this is {}", kind(given)),
        };
        let mut diagnostic = Diagnostic::error(
            code,
            format!("{what} is {}, but this is {}", noun(wanted), kind(&given)),
        )
        .at(expr.span, label);
        if let Some((span, label)) = declared {
            diagnostic = diagnostic.at(span, label);
        }
        let is_told = diagnostic.labels.iter().any(|(_, label)| *label == why);
        let help = advice(&expr, wanted).or_else(|| (!why.is_empty() && !is_told).then_some(why));
        self.tell(diagnostic.maybe_help(help));
        Self::unknown(expr.span)
    }

    /// Types that double with every line are cut off before they fill the memory.
    pub(super) fn bounded(&mut self, ty: Type, span: Span) -> Type {
        if !is_too_large(&ty) {
            return ty;
        }
        self.tell(
            Diagnostic::error("E0404", "the type of this grows too large")
                .at(span, "records of records add up here"),
        );
        Type::Unknown
    }

    fn unary(&mut self, op: UnaryOp, of: &ast::Expr, span: Span) -> Expr {
        if op == UnaryOp::Not {
            let of = self.want(of, &Type::Bool, "what `not` turns round");
            return make(ExprKind::Unary(op, Box::new(of)), Type::Bool, span);
        }
        let of = self.expr(of, None);
        let ty = of.ty.clone();
        if holds_secret(&ty) {
            self.tell(misplaced("what is counted with", &of));
            return Self::unknown(span);
        }
        if ty != Type::Unknown && (!is_number(&ty) || ty == Type::Bytes) {
            self.tell(
                Diagnostic::error("E0204", format!("{ty} has no negative"))
                    .at(span, format!("this is {}", noun(&ty))),
            );
            return Self::unknown(span);
        }
        make(ExprKind::Unary(op, Box::new(of)), ty, span)
    }

    /// The right side of an operator, in the light of the left one.
    fn operand(&mut self, right: &ast::Expr, op: BinaryOp, left: &Expr) -> Expr {
        let hint = match op {
            BinaryOp::In => Some(Type::list(left.ty.clone())),
            _ if left.ty == Type::Unknown => None,
            _ => Some(left.ty.clone()),
        };
        self.expr(right, hint.as_ref())
    }

    fn binary(&mut self, op: BinaryOp, left: Expr, right: Expr, span: Span) -> Expr {
        match operators::result(op, &left.ty, &right.ty) {
            Some(ty) => {
                let kind = ExprKind::Binary(op, Box::new(left), Box::new(right));
                make(kind, ty, span)
            }
            None => {
                self.tell(operators::refuse(op, &left, &right));
                Self::unknown(span)
            }
        }
    }

    /// `a < b <= c` is `a < b and b <= c`.
    fn compare(&mut self, first: &ast::Expr, rest: &[(BinaryOp, ast::Expr)]) -> Expr {
        let mut left = self.expr(first, None);
        let mut result: Option<Expr> = None;
        for (op, right) in rest {
            let right = self.operand(right, *op, &left);
            let span = Span { end: right.span.end, ..left.span };
            let link = self.binary(*op, left, right.clone(), span);
            let whole = Span { end: link.span.end, ..first.span };
            result = Some(match result {
                None => link,
                Some(before) => self.binary(BinaryOp::And, before, link, whole),
            });
            left = right;
        }
        result.unwrap_or(left)
    }

    fn if_else(
        &mut self,
        test: &ast::Expr,
        yes: &ast::Expr,
        no: &ast::Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Expr {
        let condition = test;
        let test = self.want(condition, &Type::Bool, "the condition of `if`");
        let yes = self.given(condition, true, |own| own.expr(yes, hint));
        let no = self.given(condition, false, |own| own.expr(no, hint));
        let Some(ty) = join(&yes.ty, &no.ty) else {
            self.tell(
                Diagnostic::error("E0205", "the branches of `if` are of one type")
                    .at(no.span, format!("this is {}", noun(&no.ty)))
                    .at(yes.span, format!("this is {}", noun(&yes.ty))),
            );
            return Self::unknown(span);
        };
        let (yes, no) = (coerced(yes, &ty), coerced(no, &ty));
        make(ExprKind::If(Box::new(test), Box::new(yes), Box::new(no)), ty, span)
    }

    fn filter(
        &mut self,
        rows: &ast::Expr,
        test: &ast::Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Expr {
        let rows = self.expr(rows, hint);
        let item = self.item_of(&rows, "`where` filters");
        self.rows.push(item.clone());
        let written = test;
        let test = self.want(written, &Type::Bool, "the test of `where`");
        self.rows.pop();
        let narrowed = filtered(item.clone(), written);
        let ty = if narrowed == item { rows.ty.clone() } else { Type::list(narrowed) };
        let test = Function { param: ROW.to_string(), body: test };
        make(ExprKind::Filter(Box::new(rows), Box::new(test)), ty, span)
    }

    /// The type of a list's items; anything else is told.
    fn item_of(&mut self, rows: &Expr, what: &str) -> Type {
        match &rows.ty {
            Type::Unknown => Type::Unknown,
            Type::List(item) => (**item).clone(),
            other => {
                let help = match other {
                    Type::Record(record) => record
                        .fields
                        .iter()
                        .find(|(_, ty)| ty.item().is_some())
                        .map(|(name, _)| format!("its field `{name}` is a list")),
                    _ => None,
                };
                self.tell(
                    Diagnostic::error(
                        "E0206",
                        format!("{what} a list, but this is {}", noun(other)),
                    )
                    .at(rows.span, format!("this is {}", noun(other)))
                    .maybe_help(help),
                );
                Type::Unknown
            }
        }
    }

    fn for_each(&mut self, each: &ast::For, span: Span) -> Expr {
        if matches!(self.place, Place::Constant | Place::Policy | Place::Given) {
            self.tell(
                Diagnostic::error("E0110", "`for` cannot be used here")
                    .at(span, "a constant is known before anything runs")
                    .help("make it a stage"),
            );
            return Self::unknown(span);
        }
        let depth = self.locals.len();
        let mut generators: Vec<(String, Expr)> = Vec::new();
        for (name, rows) in &each.generators {
            let rows = self.expr(rows, None);
            let item = self.item_of(&rows, "`for` goes through");
            let item = self.bounded(item, rows.span);
            if generators.iter().any(|(earlier, _)| *earlier == name.text) {
                self.tell(
                    Diagnostic::error("E0101", format!("`{}` is bound twice", name.text))
                        .at(name.span, "again here"),
                );
            }
            self.locals.push((name.text.clone(), item));
            generators.push((name.text.clone(), rows));
        }
        let condition = each.condition.as_ref().map(|condition| {
            Box::new(self.want(condition, &Type::Bool, "the condition of `where`"))
        });
        let body = match &each.condition {
            Some(condition) => self.given(condition, true, |own| own.expr(&each.body, None)),
            None => self.expr(&each.body, None),
        };
        let body = Box::new(body);
        self.locals.truncate(depth);
        // A body that gives several rows gives them all; one that gives nothing gives no row.
        let mut row = body.ty.clone();
        if let Type::Optional(inner) = &row {
            row = (**inner).clone();
        }
        if let Type::List(inner) = &row {
            row = (**inner).clone();
        }
        let ty = self.bounded(Type::list(row), span);
        make(ExprKind::For(For { generators, condition, body }), ty, span)
    }
}

/// Whether `.field` stands anywhere in it, so that it can be a function.
pub(super) fn uses_row(expr: &ast::Expr) -> bool {
    use ast::ExprKind as A;
    match &expr.kind {
        A::RowPath(_) | A::Broken => true,
        A::Field(of, _) | A::Unary(_, of) => uses_row(of),
        A::Index(a, b) | A::Binary(_, a, b) => uses_row(a) || uses_row(b),
        A::Filter(rows, _) => uses_row(rows),
        A::List(items) => items.iter().any(uses_row),
        A::Record(fields) => fields.iter().any(|(_, field)| uses_row(field)),
        A::Compare(first, rest) => uses_row(first) || rest.iter().any(|(_, of)| uses_row(of)),
        A::Range { from, to, .. } => uses_row(from) || uses_row(to),
        A::If(a, b, c) => uses_row(a) || uses_row(b) || uses_row(c),
        A::Text(parts) => parts.iter().any(|part| match part {
            ast::TextPart::Hole(hole) => uses_row(hole),
            ast::TextPart::Text(_) => false,
        }),
        _ => false,
    }
}
