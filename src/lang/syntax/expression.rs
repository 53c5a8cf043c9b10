//! Pairs to the tree: expressions.
//!
//! Precedence, loosest first: `or`, `and`, `not`, comparison and `in`, ranges, `+ -`, `* / %`,
//! unary `-`. Comparisons chain (`1 <= n <= 10`); ranges do not. `where` binds looser than all.

use std::iter::Peekable;
use std::vec::IntoIter;

use pest::iterators::Pair;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::program::{BinaryOp, UnaryOp};
use crate::lang::source::Span;

use super::ast::{Arg, Call, Expr, ExprKind, For, Name, TextPart, Try};
use super::build::{Builder, parts};
use super::literal::{self, BadLiteral};
use super::parser::Rule;

type Tokens<'i> = Peekable<IntoIter<Pair<'i, Rule>>>;

// Levels of precedence, loosest first.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARE: u8 = 4;
const RANGE: u8 = 5;
const SUM: u8 = 6;
const PRODUCT: u8 = 7;
const NEGATE: u8 = 8;

enum Infix {
    Binary(BinaryOp),
    Range { inclusive: bool },
}

fn infix(sign: &str) -> (u8, Infix) {
    use BinaryOp as B;
    let (level, op) = match sign {
        "or" => (OR, B::Or),
        "and" => (AND, B::And),
        "in" => (COMPARE, B::In),
        "==" => (COMPARE, B::Equal),
        "!=" => (COMPARE, B::NotEqual),
        "<=" => (COMPARE, B::LessEqual),
        ">=" => (COMPARE, B::GreaterEqual),
        "<" => (COMPARE, B::Less),
        ">" => (COMPARE, B::Greater),
        "..=" => return (RANGE, Infix::Range { inclusive: true }),
        ".." => return (RANGE, Infix::Range { inclusive: false }),
        "+" => (SUM, B::Add),
        "-" => (SUM, B::Subtract),
        "*" => (PRODUCT, B::Multiply),
        "/" => (PRODUCT, B::Divide),
        _ => (PRODUCT, B::Remainder),
    };
    (level, Infix::Binary(op))
}

fn to(from: Span, until: Span) -> Span {
    Span { end: until.end, ..from }
}

impl Builder<'_> {
    fn broken(span: Span) -> Expr {
        Expr { kind: ExprKind::Broken, span }
    }

    /// `operation (where operation)*`
    pub(super) fn expr(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let depth = self.depth;
        let mut result: Option<Expr> = None;
        for part in parts(pair).filter(|part| part.as_rule() == Rule::operation) {
            let operation = self.operation(part);
            result = Some(match result {
                None => operation,
                Some(rows) => {
                    // Each `where` puts what stands before it one level further down.
                    if self.deeper(span).is_none() {
                        self.depth = depth;
                        return Self::broken(span);
                    }
                    let span = to(rows.span, operation.span);
                    Expr { kind: ExprKind::Filter(Box::new(rows), Box::new(operation)), span }
                }
            });
        }
        self.depth = depth;
        result.unwrap_or_else(|| Self::broken(span))
    }

    /// A flat list of operands and operators: climbs precedence.
    pub(super) fn operation(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let depth = self.depth;
        let mut tokens = parts(pair).collect::<Vec<_>>().into_iter().peekable();
        let result = self.climb(&mut tokens, OR, span);
        self.depth = depth;
        result
    }

    /// Reads operators of at least `level`. `whole` is where the operation stands, for messages.
    fn climb(&mut self, tokens: &mut Tokens<'_>, level: u8, whole: Span) -> Expr {
        if self.deeper(whole).is_none() {
            tokens.by_ref().for_each(drop);
            return Self::broken(whole);
        }
        let entered = self.depth;
        let mut left = self.prefixed(tokens, level, whole);
        // Whether `left` is a comparison without brackets around it, which the next one continues.
        let mut chain = false;
        while let Some(next) = tokens.peek() {
            let (at, op) = infix(next.as_str());
            if at < level {
                break;
            }
            tokens.next();
            let right = self.climb(tokens, at + 1, whole);
            let span = to(left.span, right.span);
            // A chain `a + b + c` leans left: each operator puts its left side further down.
            if self.deeper(whole).is_none() {
                tokens.by_ref().for_each(drop);
                left = Self::broken(whole);
                break;
            }
            let kind = match op {
                Infix::Range { inclusive } => {
                    if matches!(left.kind, ExprKind::Range { .. }) {
                        self.tell(
                            Diagnostic::error("E0004", "a range has two ends")
                                .at(span, "this has three"),
                        );
                    }
                    ExprKind::Range { from: Box::new(left), to: Box::new(right), inclusive }
                }
                Infix::Binary(op) if at == COMPARE => match left.kind {
                    ExprKind::Compare(first, mut rest) if chain => {
                        rest.push((op, right));
                        ExprKind::Compare(first, rest)
                    }
                    kind => {
                        let first = Expr { kind, span: left.span };
                        ExprKind::Compare(Box::new(first), vec![(op, right)])
                    }
                },
                Infix::Binary(op) => ExprKind::Binary(op, Box::new(left), Box::new(right)),
            };
            left = Expr { kind, span };
            chain = at == COMPARE;
        }
        self.depth = entered - 1;
        // One comparison is a plain operator; only real chains stay chains.
        if let ExprKind::Compare(first, rest) = left.kind {
            let mut rest = rest;
            left.kind = match (rest.len(), rest.pop()) {
                (1, Some((op, right))) => ExprKind::Binary(op, first, Box::new(right)),
                (_, Some(last)) => {
                    rest.push(last);
                    ExprKind::Compare(first, rest)
                }
                (_, None) => ExprKind::Broken,
            };
        }
        left
    }

    fn prefixed(&mut self, tokens: &mut Tokens<'_>, level: u8, whole: Span) -> Expr {
        let Some(token) = tokens.next() else {
            return Self::broken(whole);
        };
        if token.as_rule() != Rule::prefix {
            return self.operand(token);
        }
        let start = self.span(&token);
        let not = token.as_str() == "not";
        let (op, binds) = if not { (UnaryOp::Not, NOT) } else { (UnaryOp::Negate, NEGATE) };
        if op == UnaryOp::Negate
            && let Some(digits) = tokens.next_if(|token| literal::is_smallest(token.as_str()))
        {
            return Expr { kind: ExprKind::Int(i64::MIN), span: to(start, self.span(&digits)) };
        }
        let of = self.climb(tokens, binds.max(level), whole);
        let span = to(start, of.span);
        // `-5` is a number, so that a negative literal is as good as a positive one.
        let kind = match (op, of.kind) {
            (UnaryOp::Negate, ExprKind::Int(int)) => ExprKind::Int(-int),
            (UnaryOp::Negate, ExprKind::Float(float)) => ExprKind::Float(-float),
            (op, kind) => ExprKind::Unary(op, Box::new(Expr { kind, span: of.span })),
        };
        Expr { kind, span }
    }

    /// A primary and what touches it: calls, indices, fields.
    fn operand(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let depth = self.depth;
        let mut tokens = parts(pair);
        let Some(first) = tokens.next() else {
            return Self::broken(span);
        };
        let mut result = self.primary(first);
        for token in tokens {
            if self.deeper(span).is_none() {
                result = Self::broken(span);
                break;
            }
            let span = to(result.span, self.span(&token));
            let kind = match token.as_rule() {
                Rule::field => match parts(token).next() {
                    Some(name) => ExprKind::Field(Box::new(result), self.name(&name)),
                    None => ExprKind::Broken,
                },
                Rule::index => match parts(token).next() {
                    Some(index) => ExprKind::Index(Box::new(result), Box::new(self.expr(index))),
                    None => ExprKind::Broken,
                },
                _ => self.call(result, token),
            };
            result = Expr { kind, span };
        }
        self.depth = depth;
        result
    }

    fn call(&mut self, callee: Expr, pair: Pair<'_, Rule>) -> ExprKind {
        let args: Vec<Arg> = parts(pair)
            .filter_map(|arg| {
                let mut name = None;
                let mut value = None;
                for part in parts(arg) {
                    match part.as_rule() {
                        Rule::field_name => name = Some(self.name(&part)),
                        _ => value = Some(self.expr(part)),
                    }
                }
                Some(Arg { name, value: value? })
            })
            .collect();
        let span = callee.span;
        let args = self.few(args, "arguments", span);
        match callee.kind {
            ExprKind::Name(text) => {
                ExprKind::Call(Call { module: None, name: Name { text, span }, args })
            }
            ExprKind::Field(of, name) => match of.kind {
                ExprKind::Name(text) => {
                    let module = Some(Name { text, span: of.span });
                    ExprKind::Call(Call { module, name, args })
                }
                _ => self.no_method(name.span),
            },
            ExprKind::Broken => ExprKind::Broken,
            _ => self.no_method(span),
        }
    }

    fn no_method(&mut self, span: Span) -> ExprKind {
        self.tell(
            Diagnostic::error("E0004", "only a name can be called")
                .at(span, "not the name of a function")
                .help("write `name(…)` or `module.name(…)`; values have fields, not methods"),
        );
        ExprKind::Broken
    }

    fn literal(&mut self, read: Result<ExprKind, BadLiteral>, span: Span) -> ExprKind {
        read.unwrap_or_else(|bad| {
            self.tell(
                Diagnostic::error("E0006", bad.message).at(span, "here").maybe_help(bad.help),
            );
            ExprKind::Broken
        })
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let text = pair.as_str();
        let one = |text: &str| ExprKind::Text(vec![TextPart::Text(text.to_string())]);
        let kind = match pair.as_rule() {
            Rule::name => ExprKind::Name(text.to_string()),
            Rule::true_word => ExprKind::Bool(true),
            Rule::false_word => ExprKind::Bool(false),
            Rule::null_word => ExprKind::Null,
            Rule::number => self.literal(literal::number(text), span),
            Rule::raw => one(&text[2..text.len() - 1]),
            Rule::raw_long => {
                let inner = text[4..text.len() - 3].to_string();
                let lines = literal::dedent(vec![Some(inner)]);
                one(&lines.into_iter().flatten().collect::<String>())
            }
            Rule::text | Rule::long_text => self.text(pair),
            Rule::row_path => ExprKind::RowPath(parts(pair).map(|part| self.name(&part)).collect()),
            Rule::round => {
                let inner = parts(pair).next().map(|inner| self.expr(inner));
                return Expr { span, ..inner.unwrap_or_else(|| Self::broken(span)) };
            }
            Rule::list => ExprKind::List(parts(pair).map(|item| self.expr(item)).collect()),
            Rule::record => ExprKind::Record(self.entries(pair)),
            Rule::if_expr => {
                let mut parts = parts(pair).map(|part| self.operation(part));
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(test), Some(yes), Some(no)) => {
                        ExprKind::If(Box::new(test), Box::new(yes), Box::new(no))
                    }
                    _ => ExprKind::Broken,
                }
            }
            Rule::for_expr => self.for_expr(pair),
            Rule::try_expr => self.try_expr(pair),
            _ => ExprKind::Broken,
        };
        Expr { kind, span }
    }

    fn try_expr(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let span = self.span(&pair);
        let mut attempts = None;
        let mut feedback = None;
        let mut bindings = Vec::new();
        let (mut accepted, mut when, mut next) = (None, None, None);
        for part in parts(pair) {
            match part.as_rule() {
                Rule::operation => attempts = Some(Box::new(self.operation(part))),
                Rule::name => feedback = Some(self.name(&part)),
                Rule::binding => bindings.extend(self.binding(part)),
                Rule::accept => {
                    for part in parts(part) {
                        match part.as_rule() {
                            Rule::expr => accepted = Some(Box::new(self.expr(part))),
                            Rule::operation => when = Some(Box::new(self.operation(part))),
                            _ => {}
                        }
                    }
                }
                Rule::feedback => {
                    let mut parts = parts(part);
                    if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                        next = Some((self.name(&name), Box::new(self.expr(value))));
                    }
                }
                _ => {}
            }
        }
        let bindings = self.few(bindings, "bindings", span);
        match (attempts, accepted) {
            (Some(attempts), Some(accepted)) => {
                ExprKind::Try(Try { attempts, feedback, bindings, accepted, when, next })
            }
            _ => ExprKind::Broken,
        }
    }

    fn for_expr(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let span = self.span(&pair);
        let mut generators = Vec::new();
        let mut condition = None;
        let mut body = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::generator => {
                    let mut parts = parts(part).filter(|part| part.as_rule() != Rule::in_word);
                    if let (Some(name), Some(rows)) = (parts.next(), parts.next()) {
                        generators.push((self.name(&name), self.operation(rows)));
                    }
                }
                Rule::operation => condition = Some(Box::new(self.operation(part))),
                Rule::expr => body = Some(Box::new(self.expr(part))),
                _ => {}
            }
        }
        let generators = self.few(generators, "generators", span);
        match body {
            Some(body) => ExprKind::For(For { generators, condition, body }),
            None => ExprKind::Broken,
        }
    }

    /// `{ name: value, … }`
    pub(super) fn entries(&mut self, pair: Pair<'_, Rule>) -> Vec<(Name, Expr)> {
        parts(pair)
            .filter_map(|entry| {
                let mut parts = parts(entry);
                let name = self.name(&parts.next()?);
                Some((name, self.expr(parts.next()?)))
            })
            .collect()
    }

    /// A string with holes.
    fn text(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let long = pair.as_rule() == Rule::long_text;
        let mut chunks: Vec<Option<String>> = Vec::new();
        let mut others: Vec<TextPart> = Vec::new();
        for part in parts(pair) {
            let span = self.span(&part);
            let other = match part.as_rule() {
                Rule::chunk | Rule::long_chunk => {
                    chunks.push(Some(part.as_str().to_string()));
                    continue;
                }
                Rule::escape => match literal::escape(part.as_str()) {
                    Some(c) => TextPart::Text(c.to_string()),
                    None => {
                        self.tell(
                            Diagnostic::error(
                                "E0007",
                                format!("`{}` is not an escape", part.as_str().trim_end()),
                            )
                            .at(span, "here")
                            .help("escapes are \\n \\t \\r \\\\ \\\" \\u{…}; in r\"…\" a backslash is itself"),
                        );
                        TextPart::Text(String::new())
                    }
                },
                Rule::braces => TextPart::Text(part.as_str()[..1].to_string()),
                Rule::stray => {
                    self.tell(
                        Diagnostic::error("E0007", "a `}` in a string must be doubled")
                            .at(span, "this closes nothing")
                            .help("write `}}` for a brace, or r\"…\" for a string without holes"),
                    );
                    TextPart::Text("}".to_string())
                }
                _ => match parts(part).next() {
                    Some(inner) => TextPart::Hole(self.expr(inner)),
                    None => continue,
                },
            };
            chunks.push(None);
            others.push(other);
        }
        if long {
            chunks = literal::dedent(chunks);
        }
        let mut others = others.into_iter();
        let mut joined: Vec<TextPart> = Vec::new();
        for chunk in chunks {
            let part = match chunk {
                Some(text) => TextPart::Text(text),
                None => match others.next() {
                    Some(other) => other,
                    None => continue,
                },
            };
            match (joined.last_mut(), part) {
                (Some(TextPart::Text(last)), TextPart::Text(text)) => last.push_str(&text),
                (_, part) => joined.push(part),
            }
        }
        ExprKind::Text(joined)
    }

    /// A string that may hold no hole: a path of `use` and `output`, a word of an enumeration.
    pub(super) fn plain_text(&mut self, pair: &Pair<'_, Rule>) -> String {
        let span = self.span(pair);
        let ExprKind::Text(parts) = self.text(pair.clone()) else {
            return String::new();
        };
        let mut out = String::new();
        for part in parts {
            match part {
                TextPart::Text(text) => out.push_str(&text),
                TextPart::Hole(_) => self.tell(
                    Diagnostic::error("E0007", "this string is a constant and has no holes")
                        .at(span, "here")
                        .help("write `{{` and `}}` for braces"),
                ),
            }
        }
        out
    }
}
