//! Fields and items: `a.b`, `.b` of a row, `module.constant`, `a[0]`.

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed, nearest};
use crate::lang::program::{Expr, ExprKind};
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::{RecordType, Type};

use super::fit::noun;
use super::infer::{Checker, ROW, make};
use super::world::{Global, GlobalKind};

impl Checker<'_> {
    pub(super) fn row_path(&mut self, path: &[ast::Name], span: Span) -> Expr {
        let Some(row) = self.rows.last().cloned() else {
            let shown: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
            self.tell(
                Diagnostic::error("E0306", format!("`.{}` is a field of no row", shown.join(".")))
                    .at(span, "there is no row here")
                    .help("`.field` stands in `rows where …` and where a function is asked for"),
            );
            return Self::unknown(span);
        };
        self.note_row(span, &row);
        let mut result = make(ExprKind::Local(ROW.to_string()), row, span);
        for name in path {
            result = self.field_of(result, name, Span { end: name.span.end, ..span });
        }
        result
    }

    pub(super) fn field(&mut self, of: &ast::Expr, name: &ast::Name, span: Span) -> Expr {
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
    pub(super) fn constant_of(
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
        if target.broken.contains(&name.text) {
            return Self::unknown(span);
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

    pub(super) fn field_of(&mut self, of: Expr, name: &ast::Name, span: Span) -> Expr {
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

    pub(super) fn no_field(&mut self, ty: &Type, record: &RecordType, name: &ast::Name) -> Expr {
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

    pub(super) fn not_a_record(&mut self, ty: &Type, name: &ast::Name, span: Span) -> Expr {
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

    pub(super) fn index(&mut self, of: &ast::Expr, at: &ast::Expr, span: Span) -> Expr {
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
}
