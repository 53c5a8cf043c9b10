//! Types of expressions: the syntax tree becomes [`Expr`].
//!
//! Types flow both ways: what is asked for (an argument's type, an annotation) helps with what
//! cannot be known from below, such as which enumeration a word belongs to. Whatever has a mistake
//! gets the type [`Type::Unknown`], which fits everything, so that each mistake is told once.

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed, nearest};
use crate::lang::program::{BinaryOp, Expr, ExprKind, For, Function, UnaryOp};
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::{RecordType, Type};
use crate::lang::value::Value;
use crate::lang::walk::value_size;

use super::fit::{Vars, fits, is_number, is_plain, is_too_large, is_unit, join, noun};
use super::operators;
use super::world::{Global, GlobalKind, Module, World};

/// The name that the row has in a function made of `.field` (no name that can be written).
pub(super) const ROW: &str = ".";

/// How many parts constants may add to a program in all.
const MAX_INLINED: usize = 4_000_000;

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
    pub(super) place: Place,
    pub(super) found: &'w mut Vec<Diagnostic>,
    /// Locals and their types, innermost last.
    pub(super) locals: Vec<(String, Type)>,
    /// Types of the row that `.field` means, innermost last.
    pub(super) rows: Vec<Type>,
    /// How many parts constants have added so far.
    pub(super) inlined: usize,
}

fn make(kind: ExprKind, ty: Type, span: Span) -> Expr {
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
            place,
            found,
            locals: Vec::new(),
            rows: Vec::new(),
            inlined: 0,
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
        match &expr.kind {
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
            A::Binary(op, left, right) => {
                let left = self.expr(left, None);
                let right = self.operand(right, *op, &left);
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
        }
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
        let Err(why) = fits(&expr.ty, wanted, vars) else {
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
            given => format!("this is {}", noun(given)),
        };
        let mut diagnostic = Diagnostic::error(
            code,
            format!("{what} is {}, but this is {}", noun(wanted), noun(&given)),
        )
        .at(expr.span, label);
        if let Some((span, label)) = declared {
            diagnostic = diagnostic.at(span, label);
        }
        let help = advice(&expr, wanted).or_else(|| (!why.is_empty()).then_some(why));
        self.tell(diagnostic.maybe_help(help));
        Self::unknown(expr.span)
    }

    /// Where the stage, parameter or constant that an expression starts from is declared.
    pub(super) fn declared(&self, expr: &ast::Expr) -> Option<(Span, String)> {
        match &expr.kind {
            ast::ExprKind::Name(name) if !self.is_local(name) => {
                let global = self.module.values.get(name)?;
                Some((global.span, format!("`{name}` is {}", global.ty)))
            }
            ast::ExprKind::Field(of, _) | ast::ExprKind::Filter(of, _) => self.declared(of),
            _ => None,
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name)
    }

    fn name(&mut self, name: &str, hint: Option<&Type>, span: Span) -> Expr {
        if let Some((_, ty)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return make(ExprKind::Local(name.to_string()), ty.clone(), span);
        }
        let module = self.module;
        if self.place != Place::Given
            && let Some(global) = module.values.get(name)
        {
            return self.global(name, global, span);
        }
        // `on` and `off` are words of a setting, not strings that one must quote.
        if let Some(Type::Enum(words)) = hint
            && matches!(name, "on" | "off")
            && words.iter().any(|word| word == name)
        {
            let ty = Type::Enum(words.clone());
            return make(ExprKind::Const(Value::str(name)), ty, span);
        }
        let mut known: Vec<&str> = self.locals.iter().map(|(local, _)| local.as_str()).collect();
        known.extend(module.values.keys().map(String::as_str));
        known.retain(|name| !name.starts_with('.'));
        let mut diagnostic = Diagnostic::error("E0102", format!("nothing here is called `{name}`"));
        diagnostic = if module.uses.contains_key(name) {
            diagnostic
                .at(span, "this is a module")
                .help(format!("call one of its functions: `{name}.…(…)`"))
        } else if module.defs.contains_key(name) {
            diagnostic.at(span, "this is a function").help(format!("call it: `{name}(…)`"))
        } else {
            let label = did_you_mean(name, known.iter().copied(), "unknown name");
            let help = match hint {
                Some(Type::Str | Type::Enum(_)) => Some(format!("for text write \"{name}\"")),
                _ if known.is_empty() => None,
                _ => Some(format!("there is {}", listed(known.iter().copied()))),
            };
            diagnostic.at(span, label).maybe_help(help)
        };
        self.tell(diagnostic);
        Self::unknown(span)
    }

    fn global(&mut self, name: &str, global: &Global, span: Span) -> Expr {
        let refuse = |what: &str, help: &str| {
            Diagnostic::error("E0110", format!("{what} `{name}` cannot be used here"))
                .at(
                    span,
                    match self.place {
                        Place::Constant => "a constant is known before anything runs",
                        Place::Default => "a default is known before anything runs",
                        Place::Policy => "a policy is known before anything runs",
                        _ => "a `def` knows its arguments and constants",
                    },
                )
                .at(global.span, "declared here")
                .help(help)
        };
        match &global.kind {
            GlobalKind::Let(expr, parts) => {
                self.inlined = self.inlined.saturating_add(*parts);
                if self.inlined > MAX_INLINED {
                    self.tell(
                        Diagnostic::error("E0404", "this grows too large")
                            .at(span, "constants of constants add up here")
                            .help("make the large constant a stage"),
                    );
                    return Self::unknown(span);
                }
                Expr { span, ..expr.clone() }
            }
            GlobalKind::Param => match self.place {
                Place::Constant | Place::Stage | Place::Policy => {
                    make(ExprKind::Param(name.to_string()), global.ty.clone(), span)
                }
                _ => {
                    let told = refuse("the parameter", "pass it as an argument");
                    self.tell(told);
                    Self::unknown(span)
                }
            },
            GlobalKind::Stage => match self.place {
                Place::Stage => make(ExprKind::Stage(name.to_string()), global.ty.clone(), span),
                Place::Body | Place::Default => {
                    let told = refuse("the stage", "pass it as an argument");
                    self.tell(told);
                    Self::unknown(span)
                }
                _ => {
                    let told = refuse("the stage", "only a stage can read a stage");
                    self.tell(told);
                    Self::unknown(span)
                }
            },
        }
    }

    fn text(&mut self, parts: &[ast::TextPart], hint: Option<&Type>, span: Span) -> Expr {
        match parts {
            [] => return self.word("", hint, span),
            [ast::TextPart::Text(text)] => return self.word(text, hint, span),
            _ => {}
        }
        let parts = parts
            .iter()
            .map(|part| match part {
                ast::TextPart::Text(text) => {
                    make(ExprKind::Const(Value::str(text.clone())), Type::Str, span)
                }
                ast::TextPart::Hole(hole) => {
                    let hole = self.expr(hole, None);
                    if !is_plain(&hole.ty) && hole.ty != Type::File {
                        self.tell(
                            Diagnostic::error("E0201", format!("{} has no text", hole.ty))
                                .at(hole.span, "this cannot stand in a string"),
                        );
                    }
                    hole
                }
            })
            .collect();
        make(ExprKind::Text(parts), Type::Str, span)
    }

    /// A string without holes; where words of an enumeration are asked for, it is one of them.
    fn word(&mut self, text: &str, hint: Option<&Type>, span: Span) -> Expr {
        let value = ExprKind::Const(Value::str(text));
        let words = match hint {
            Some(Type::Enum(words)) => words,
            Some(Type::Optional(of)) => match &**of {
                Type::Enum(words) => words,
                _ => return make(value, Type::Str, span),
            },
            _ => return make(value, Type::Str, span),
        };
        if !words.iter().any(|word| word == text) {
            let known = || words.iter().map(String::as_str);
            self.tell(
                Diagnostic::error("E0201", format!("\"{text}\" is not one of the words asked for"))
                    .at(span, did_you_mean(text, known(), "unknown word"))
                    .help(format!("one of {}", Type::Enum(words.clone()))),
            );
            return Self::unknown(span);
        }
        make(value, Type::Enum(words.clone()), span)
    }

    fn row_path(&mut self, path: &[ast::Name], span: Span) -> Expr {
        let Some(row) = self.rows.last().cloned() else {
            let shown: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
            self.tell(
                Diagnostic::error("E0306", format!("`.{}` is a field of no row", shown.join(".")))
                    .at(span, "there is no row here")
                    .help("`.field` stands in `rows where …` and where a function is asked for"),
            );
            return Self::unknown(span);
        };
        let mut result = make(ExprKind::Local(ROW.to_string()), row, span);
        for name in path {
            result = self.field_of(result, name, Span { end: name.span.end, ..span });
        }
        result
    }

    fn field(&mut self, of: &ast::Expr, name: &ast::Name, span: Span) -> Expr {
        if let ast::ExprKind::Name(module) = &of.kind
            && !self.is_local(module)
            && !self.module.values.contains_key(module)
            && let Some(used) = self.module.uses.get(module)
        {
            used.asked.set(true);
            return self.constant_of(used.module, module, name, span);
        }
        let of = self.expr(of, None);
        self.field_of(of, name, span)
    }

    /// A constant of another module.
    fn constant_of(
        &mut self,
        target: Option<usize>,
        module: &str,
        name: &ast::Name,
        span: Span,
    ) -> Expr {
        let Some(target) = target else {
            return Self::unknown(span);
        };
        let target = &self.world.modules[target];
        if let Some(global @ Global { kind: GlobalKind::Let(..), .. }) =
            target.values.get(&name.text)
        {
            return self.global(&name.text, global, span);
        }
        let constants = target.values.keys().chain(target.defs.keys()).map(String::as_str);
        let diagnostic =
            Diagnostic::error("E0104", format!("{} has no constant `{}`", target.path, name.text));
        let diagnostic = if target.defs.contains_key(&name.text) {
            diagnostic
                .at(name.span, "this is a function")
                .help(format!("call it: `{module}.{}(…)`", name.text))
        } else {
            diagnostic
                .at(name.span, did_you_mean(&name.text, constants.clone(), "unknown"))
                .help(format!("it has {}", listed(constants)))
        };
        self.tell(diagnostic);
        Self::unknown(span)
    }

    fn field_of(&mut self, of: Expr, name: &ast::Name, span: Span) -> Expr {
        let ty = match &of.ty {
            Type::Unknown => Type::Unknown,
            Type::Json => Type::Json,
            Type::Record(record) => match record.field(&name.text) {
                Some(ty) => ty.clone(),
                None => return self.no_field(&of.ty, record, name),
            },
            // What may be absent gives fields that may be absent.
            Type::Optional(inner) => match &**inner {
                Type::Json => Type::Json,
                Type::Record(record) => match record.field(&name.text) {
                    Some(ty @ Type::Optional(_)) => ty.clone(),
                    Some(ty) => Type::Optional(ty.clone().into()),
                    None => return self.no_field(inner, record, name),
                },
                other => return self.not_a_record(other, name, span),
            },
            other => return self.not_a_record(other, name, span),
        };
        make(ExprKind::Field(Box::new(of), name.text.clone()), ty, span)
    }

    fn no_field(&mut self, ty: &Type, record: &RecordType, name: &ast::Name) -> Expr {
        let known = || record.fields.iter().map(|(name, _)| name.as_str());
        // The field that was meant may stand one record further down.
        let deeper = record.fields.iter().find_map(|(outer, ty)| match ty {
            Type::Record(inner) if inner.field(&name.text).is_some() => {
                Some(format!("{outer}.{}", name.text))
            }
            _ => None,
        });
        let label = match (nearest(&name.text, known()), deeper) {
            (None, Some(deeper)) => format!("did you mean `{deeper}`?"),
            (near, _) => {
                near.map_or("unknown field".to_string(), |n| format!("did you mean `{n}`?"))
            }
        };
        let shown = if record.name.is_some() { ty.to_string() } else { "this record".to_string() };
        self.tell(
            Diagnostic::error("E0202", format!("{shown} has no field `{}`", name.text))
                .at(name.span, label)
                .help(format!("it has {}", listed(known()))),
        );
        Self::unknown(name.span)
    }

    fn not_a_record(&mut self, ty: &Type, name: &ast::Name, span: Span) -> Expr {
        let help = match ty {
            Type::List(_) => Some(format!(
                "for each row: `for x in … {{ … x.{0} … }}`; some rows: `… where .{0} == …`",
                name.text
            )),
            _ => None,
        };
        self.tell(
            Diagnostic::error("E0202", format!("{ty} has no fields, so no `{}`", name.text))
                .at(span, format!("of {ty}"))
                .maybe_help(help),
        );
        Self::unknown(span)
    }

    fn index(&mut self, of: &ast::Expr, at: &ast::Expr, span: Span) -> Expr {
        let of = self.expr(of, None);
        let (wanted, ty) = match &of.ty {
            Type::List(item) => (Type::Int, (**item).clone()),
            Type::Json | Type::Unknown => (Type::Unknown, of.ty.clone()),
            other => {
                self.tell(
                    Diagnostic::error("E0206", format!("{other} has no items"))
                        .at(of.span, format!("this is {}", noun(other))),
                );
                (Type::Unknown, Type::Unknown)
            }
        };
        let at = self.want(at, &wanted, "an index");
        make(ExprKind::Index(Box::new(of), Box::new(at)), ty, span)
    }

    fn list(&mut self, items: &[ast::Expr], hint: Option<&Type>, span: Span) -> Expr {
        let hint = match hint {
            Some(Type::List(item)) => Some(&**item),
            _ => None,
        };
        let mut ty = Type::Unknown;
        let mut checked: Vec<Expr> = Vec::new();
        for item in items {
            let item = self.expr(item, hint);
            match join(&ty, &item.ty) {
                Some(joined) => ty = joined,
                None => {
                    let first = checked.first().map_or(span, |first| first.span);
                    self.tell(
                        Diagnostic::error("E0205", "the items of a list are of one type")
                            .at(item.span, format!("this is {}", noun(&item.ty)))
                            .at(first, format!("the first is {}", noun(&ty))),
                    );
                }
            }
            checked.push(item);
        }
        let checked = checked.into_iter().map(|item| coerced(item, &ty)).collect();
        let ty = self.bounded(Type::list(ty), span);
        make(ExprKind::List(checked), ty, span)
    }

    fn record(
        &mut self,
        fields: &[(ast::Name, ast::Expr)],
        hint: Option<&Type>,
        span: Span,
    ) -> Expr {
        let wanted = match hint {
            Some(Type::Record(record)) => Some(record.clone()),
            Some(Type::Optional(of)) => match &**of {
                Type::Record(record) => Some(record.clone()),
                _ => None,
            },
            _ => None,
        };
        let mut checked: Vec<(String, Expr)> = Vec::new();
        let mut types = Vec::new();
        for (name, value) in fields {
            let hint = wanted.as_ref().and_then(|record| record.field(&name.text));
            let value = self.expr(value, hint);
            if checked.iter().any(|(earlier, _)| *earlier == name.text) {
                self.tell(
                    Diagnostic::error("E0101", format!("field `{}` is given twice", name.text))
                        .at(name.span, "again here"),
                );
                continue;
            }
            types.push((name.text.clone(), value.ty.clone()));
            checked.push((name.text.clone(), value));
        }
        let ty = Type::Record(RecordType { name: None, fields: types }.into());
        let ty = self.bounded(ty, span);
        make(ExprKind::Record(checked), ty, span)
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
        let test = self.want(test, &Type::Bool, "the condition of `if`");
        let yes = self.expr(yes, hint);
        let no = self.expr(no, hint);
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
        self.rows.push(item);
        let test = self.want(test, &Type::Bool, "the test of `where`");
        self.rows.pop();
        let ty = rows.ty.clone();
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
        let body = Box::new(self.expr(&each.body, None));
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

/// Gives an expression the form of the type that it stands for: whole numbers that stand for floats
/// become floats, words become words of the enumeration. It fits already.
pub(super) fn coerced(expr: Expr, wanted: &Type) -> Expr {
    let wanted = match wanted {
        Type::Optional(of) if expr.ty != Type::Null => &**of,
        other => other,
    };
    match (wanted, &expr.ty) {
        (Type::Float, Type::Int) => match expr.kind {
            ExprKind::Const(Value::Int(int)) => {
                make(ExprKind::Const(Value::Float(int as f64)), Type::Float, expr.span)
            }
            kind => make(kind, Type::Float, expr.span),
        },
        (Type::List(item), Type::List(_)) => match expr.kind {
            ExprKind::List(items) => {
                let items: Vec<Expr> = items.into_iter().map(|of| coerced(of, item)).collect();
                let own = items.iter().try_fold(Type::Unknown, |ty, item| join(&ty, &item.ty));
                make(ExprKind::List(items), own.map_or(expr.ty, Type::list), expr.span)
            }
            kind => make(kind, expr.ty, expr.span),
        },
        (Type::Record(record), Type::Record(own)) => match expr.kind {
            ExprKind::Record(fields) => {
                let name = own.name.clone();
                let fields: Vec<(String, Expr)> = fields
                    .into_iter()
                    .map(|(name, field)| match record.field(&name) {
                        Some(ty) => (name, coerced(field, ty)),
                        None => (name, field),
                    })
                    .collect();
                let types = fields.iter().map(|(name, of)| (name.clone(), of.ty.clone())).collect();
                let ty = Type::Record(RecordType { name, fields: types }.into());
                make(ExprKind::Record(fields), ty, expr.span)
            }
            kind => make(kind, expr.ty, expr.span),
        },
        _ => expr,
    }
}

/// How to write what was asked for.
fn advice(expr: &Expr, wanted: &Type) -> Option<String> {
    let value = match &expr.kind {
        ExprKind::Const(value) => Some(value),
        _ => None,
    };
    let wanted = match wanted {
        Type::Optional(of) => &**of,
        other => other,
    };
    match (wanted, &expr.ty, value) {
        (Type::Percent, Type::Int | Type::Float, Some(value)) => {
            let share = value.as_float()?;
            let percent = if share.abs() <= 1.0 { share * 100.0 } else { share };
            Some(format!("write `{}%`", (percent * 1e9).round() / 1e9))
        }
        (Type::Duration, Type::Int, Some(value)) => Some(format!("write `{}s`", value.as_int()?)),
        (Type::Bytes, Type::Int, Some(value)) => Some(format!("write `{}MiB`", value.as_int()?)),
        (Type::Money, Type::Int | Type::Float, Some(value)) => {
            Some(format!("write `${}`", value.as_float()?))
        }
        (Type::Model, Type::Str, Some(value)) => {
            Some(format!("write `model(\"{}\")`", value.as_str()?))
        }
        (Type::Sandbox, Type::Str, Some(value)) => {
            Some(format!("write `sandbox(\"{}\")`", value.as_str()?))
        }
        (Type::Dir, Type::Str, Some(value)) => {
            Some(format!("write `dir(\"{}\")`", value.as_str()?))
        }
        (Type::File, Type::Str, Some(value)) => {
            Some(format!("write `file(\"{}\")`", value.as_str()?))
        }
        (Type::Str, Type::Int | Type::Float | Type::Bool, _) => {
            Some("write it into a string: \"{…}\"".to_string())
        }
        (Type::Int, Type::Float, _) => {
            Some("`/` gives a float; int arguments take whole numbers".to_string())
        }
        (Type::List(item), given, _) if fits(given, item, &mut Vars::new()).is_ok() => {
            Some("put it into a list: `[…]`".to_string())
        }
        (wanted, Type::List(item), _) if fits(item, wanted, &mut Vars::new()).is_ok() => Some(
            "it asks for one, this is a list of them: `for x in … { … }` goes through it"
                .to_string(),
        ),
        (wanted, Type::Optional(of), _) if fits(of, wanted, &mut Vars::new()).is_ok() => {
            Some("it may be absent; filter first: `… where .field != null`".to_string())
        }
        _ => None,
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

/// How many parts a constant is made of, for [`Checker::inlined`].
pub(super) fn parts_of(expr: &Expr) -> usize {
    match &expr.kind {
        ExprKind::Const(value) => value_size(value).nodes,
        _ => expr.size().nodes,
    }
}
