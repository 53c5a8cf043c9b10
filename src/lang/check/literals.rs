//! Strings, lists and records as they are written out.

use std::collections::BTreeSet;

use crate::lang::diagnostic::{Diagnostic, did_you_mean};
use crate::lang::program::{Expr, ExprKind};
use crate::lang::secrets::holds_secret;
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::{RecordType, Type};
use crate::lang::value::Value;

use super::fit::{is_plain, join, noun};
use super::form::coerced;
use super::infer::{Checker, make};
use super::secrets::misplaced;

impl Checker<'_> {
    pub(super) fn text(
        &mut self,
        parts: &[ast::TextPart],
        hint: Option<&Type>,
        span: Span,
    ) -> Expr {
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
                    if holds_secret(&hole.ty) {
                        self.tell(misplaced("what stands in a text", &hole));
                    } else if !is_plain(&hole.ty) && hole.ty != Type::File {
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
    pub(super) fn word(&mut self, text: &str, hint: Option<&Type>, span: Span) -> Expr {
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

    pub(super) fn list(&mut self, items: &[ast::Expr], hint: Option<&Type>, span: Span) -> Expr {
        let hint = match hint {
            Some(Type::List(item)) => Some(&**item),
            _ => None,
        };
        let mut ty = Type::Unknown;
        let mut checked: Vec<Expr> = Vec::with_capacity(items.len());
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

    pub(super) fn record(
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
        let mut checked: Vec<(String, Expr)> = Vec::with_capacity(fields.len());
        let mut types = Vec::with_capacity(fields.len());
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for (name, value) in fields {
            let hint = wanted.as_ref().and_then(|record| record.field(&name.text));
            let value = self.expr(value, hint);
            if !names.insert(&name.text) {
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
}
