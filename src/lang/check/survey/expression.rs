//! The third round: names in expressions.

use std::sync::Arc;

use crate::lang::index::{
    ArgumentSite, CallSite, DeclarationKind as K, Member, PolicySite, Receiver, RecordSite,
};
use crate::lang::source::Span;
use crate::lang::syntax::ast::{self, ExprKind as A, ItemKind};
use crate::lang::types::{RecordType, Type};

use super::Survey;
use crate::lang::check::builtin;

impl Survey<'_> {
    pub(super) fn names_of_item(&mut self, module: usize, place: usize, item: &ast::Item) {
        if self.places[module].file.is_none() {
            return;
        }
        self.parent = self.places[module].items.get(place).copied().flatten();
        match &item.kind {
            ItemKind::Param(param) => {
                for expr in param.default.iter().chain(&param.bound) {
                    self.expr(module, expr);
                }
            }
            ItemKind::Let(binding) => self.expr(module, &binding.value),
            ItemKind::Def(def) => {
                for default in def.args.iter().filter_map(|arg| arg.default.as_ref()) {
                    self.expr(module, default);
                }
                if let Some((bindings, result)) = &def.body {
                    self.locals.extend(self.arguments());
                    self.bindings(module, bindings, item.span);
                    self.expr(module, result);
                    self.locals.clear();
                }
            }
            ItemKind::Stage(stage) => {
                self.expr(module, &stage.value);
                self.policies(module, &stage.policy, stage.name.span);
            }
            ItemKind::Output(output) => self.value(module, &output.stage),
            ItemKind::Test(test) => {
                for step in &test.steps {
                    match step {
                        ast::Step::Given(name, value) => {
                            self.value(module, name);
                            self.expr(module, value);
                        }
                        ast::Step::Let(binding) => {
                            self.bindings(module, std::slice::from_ref(binding), item.span);
                        }
                        ast::Step::Assert(condition) => self.expr(module, condition),
                    }
                }
                self.locals.clear();
            }
            ItemKind::Use(_) | ItemKind::Type(_) => {}
        }
        self.parent = None;
    }

    /// The arguments of the def that is walked.
    fn arguments(&self) -> Vec<(String, usize)> {
        let signature = self.parent.and_then(|def| self.index.declarations[def].signature);
        let args = signature.map_or(&[][..], |place| &self.index.signatures[place].args);
        args.iter().filter_map(|arg| Some((arg.name.clone(), arg.declaration?))).collect()
    }

    /// A reference to a value of the file.
    fn value(&mut self, module: usize, name: &ast::Name) {
        if let Some(target) = self.places[module].values.get(&name.text).copied() {
            self.refer(name.span, target);
        }
    }

    /// `let`s of a block; each is known from its end to the end of `block`.
    fn bindings(&mut self, module: usize, bindings: &[ast::Let], block: Span) {
        for binding in bindings {
            if let Some(ty) = &binding.ty {
                self.written(module, ty, None, None);
            }
            self.expr(module, &binding.value);
            let item = Span { end: binding.value.span.end, ..binding.name.span };
            let scope = Span { start: item.end, ..block };
            let ty = self.type_at(binding.value.span);
            self.local(&binding.name, item, scope, ty, binding.ty.is_some());
        }
    }

    fn local(&mut self, name: &ast::Name, item: Span, scope: Span, ty: Type, annotated: bool) {
        let place = self.declare(K::Local, name, item, "");
        let of = &mut self.index.declarations[place];
        of.scope = Some(scope);
        of.ty = ty;
        of.annotated = annotated;
        self.locals.push((name.text.clone(), place));
    }

    fn type_at(&self, span: Span) -> Type {
        self.notes.types.get(&span).map_or(Type::Unknown, |(ty, _)| ty.clone())
    }

    fn wanted_at(&self, span: Span) -> Option<Type> {
        self.notes.types.get(&span).and_then(|(_, hint)| hint.clone())
    }

    /// The file that a name means where it stands before a dot.
    fn file_named(&self, module: usize, name: &str) -> Option<usize> {
        let shadowed = self.locals.iter().any(|(local, _)| local == name)
            || self.world.modules[module].values.contains_key(name);
        if shadowed { None } else { self.places[module].aliases.get(name).copied() }
    }

    fn expr(&mut self, module: usize, expr: &ast::Expr) {
        match &expr.kind {
            A::Name(name) => {
                let local = self.locals.iter().rev().find(|(local, _)| local == name);
                let target = match local {
                    Some((_, place)) => Some(*place),
                    None => self.places[module].values.get(name).copied(),
                };
                if let Some(target) = target {
                    self.refer(expr.span, target);
                }
            }
            A::RowPath(path) => {
                let row = self.notes.rows.get(&expr.span).cloned().unwrap_or(Type::Unknown);
                self.path(row, path);
            }
            A::Field(of, name) => self.field(module, of, name),
            A::Text(parts) => self.text(module, parts, expr.span),
            A::Record(fields) => self.record(module, fields, expr.span),
            A::Call(call) => self.call(module, call, expr.span),
            A::For(each) => self.each(module, each, expr.span),
            A::Try(attempt) => self.attempt(module, attempt, expr.span),
            A::Unary(_, of) => self.expr(module, of),
            A::Index(a, b) | A::Binary(_, a, b) | A::Filter(a, b) => {
                self.expr(module, a);
                self.expr(module, b);
            }
            A::Range { from, to, .. } => {
                self.expr(module, from);
                self.expr(module, to);
            }
            A::If(test, yes, no) => {
                [test, yes, no].into_iter().for_each(|of| self.expr(module, of))
            }
            A::List(items) => items.iter().for_each(|item| self.expr(module, item)),
            A::Compare(first, rest) => {
                self.expr(module, first);
                rest.iter().for_each(|(_, of)| self.expr(module, of));
            }
            A::Null
            | A::Bool(_)
            | A::Int(_)
            | A::Float(_)
            | A::Percent(_)
            | A::Bytes(_)
            | A::Duration(_)
            | A::Money(_)
            | A::Broken => {}
        }
    }

    /// `.a.b` of a row.
    fn path(&mut self, row: Type, path: &[ast::Name]) {
        let mut of = row;
        for name in path {
            let next = field_type(&of, &name.text);
            self.member(name, of, None);
            of = next;
        }
    }

    fn member(&mut self, name: &ast::Name, of: Type, base: Option<String>) {
        if let Some(field) = self.index.field_of(&of, &name.text) {
            self.refer(name.span, field);
        }
        self.index.members.push(Member { span: name.span, of: Receiver::Value(of), base });
    }

    fn field(&mut self, module: usize, of: &ast::Expr, name: &ast::Name) {
        let base = if let A::Name(base) = &of.kind { Some(base.clone()) } else { None };
        if let Some(alias) = base.as_ref().and_then(|base| self.file_named(module, base)) {
            self.refer(of.span, alias);
            let used = base.as_ref().and_then(|base| self.world.modules[module].uses.get(base));
            let target = used.and_then(|used| used.module);
            let receiver = target.and_then(|target| self.file_declaration(target));
            let of = Receiver::Module(receiver);
            self.index.members.push(Member { span: name.span, of, base });
            let places = target.map(|target| &self.places[target]);
            let known = places.and_then(|places| {
                places.values.get(&name.text).or_else(|| places.defs.get(&name.text)).copied()
            });
            if let Some(known) = known {
                self.refer(name.span, known);
            }
            return;
        }
        self.expr(module, of);
        let ty = self.type_at(of.span);
        self.member(name, ty, base);
    }

    fn text(&mut self, module: usize, parts: &[ast::TextPart], span: Span) {
        let word = match parts {
            [] => Some(""),
            [ast::TextPart::Text(word)] => Some(word.as_str()),
            _ => None,
        };
        if let (Some(word), Some(wanted)) = (word, self.wanted_at(span)) {
            // Without the quotes, where the word stands as it is.
            let span = Span { start: span.start + 1, end: span.end.saturating_sub(1), ..span };
            if let Some(target) = self.index.word_of(&wanted, word)
                && (span.end - span.start) as usize == word.len()
            {
                self.refer(span, target);
            }
        }
        for part in parts {
            if let ast::TextPart::Hole(hole) = part {
                self.expr(module, hole);
            }
        }
    }

    fn record(&mut self, module: usize, fields: &[(ast::Name, ast::Expr)], span: Span) {
        let own_type = self.type_at(span);
        let wanted = self.wanted_at(span).filter(|wanted| !self.index.fields_of(wanted).is_empty());
        // What was not asked for where it stands may have been for what is made of it.
        let wanted = wanted.or_else(|| match &own_type {
            Type::Record(own) => {
                self.notes.stand_for.get(&Arc::as_ptr(own).addr()).map(|(_, wanted)| wanted.clone())
            }
            _ => None,
        });
        let names = fields.iter().map(|(name, _)| (name.text.clone(), name.span)).collect();
        self.index.records.push(RecordSite { span, wanted: wanted.clone(), fields: names });
        let mut own = Vec::new();
        for (name, value) in fields {
            self.expr(module, value);
            let known = wanted.as_ref().and_then(|wanted| self.index.field_of(wanted, &name.text));
            if let Some(known) = known {
                self.refer(name.span, known);
                own.push(known);
                continue;
            }
            let item = Span { end: value.span.end, ..name.span };
            let place = self.declare(K::Field, name, item, "");
            self.index.declarations[place].ty = self.type_at(value.span);
            own.push(place);
        }
        // A record that no type asked for declares its fields itself.
        let names = fields.iter().map(|(name, _)| name.text.clone()).collect();
        let shapes = &mut self.index.shapes;
        shapes.records_by_parts.entry((None, names)).or_insert_with(|| own.clone());
        if let Type::Record(record) = &own_type {
            shapes.records.entry(Arc::as_ptr(record).addr()).or_insert(own);
            shapes.kept.push(own_type);
        }
    }

    fn call(&mut self, module: usize, call: &ast::Call, span: Span) {
        let world = self.world;
        let name = call.name.text.as_str();
        let own = |module: usize| {
            let number = world.modules[module].defs.get(name)?;
            self.signatures.get(*number).copied().flatten()
        };
        let mut alias = None;
        let signature = match &call.module {
            Some(of) => {
                alias = self.places[module].aliases.get(&of.text).copied();
                let used = world.modules[module].uses.get(&of.text);
                let target = used.and_then(|used| used.module);
                let receiver = target.and_then(|target| self.file_declaration(target));
                let found = target.and_then(own);
                let base = Some(of.text.clone());
                let of = Receiver::Module(receiver);
                if alias.is_some() {
                    self.index.members.push(Member { span: call.name.span, of, base });
                }
                found
            }
            None if builtin::is_builtin(name) && !world.modules[module].defs.contains_key(name) => {
                self.index.bare.get(name).copied()
            }
            None => own(module).or_else(|| world.prelude.and_then(own)),
        };
        if let (Some(of), Some(alias)) = (&call.module, alias) {
            self.refer(of.span, alias);
        }
        if let Some(target) = signature.and_then(|of| self.index.signatures[of].declaration) {
            self.refer(call.name.span, target);
        }
        let args = call.args.iter().map(|arg| ArgumentSite {
            name: arg.name.as_ref().map(|name| (name.text.clone(), name.span)),
            value: arg.value.span,
        });
        let site = CallSite { span, name: call.name.span, signature, args: args.collect() };
        self.index.calls.push(site);
        for arg in &call.args {
            let slot = arg.name.as_ref().zip(signature).and_then(|(name, signature)| {
                let args = &self.index.signatures[signature].args;
                args.iter().find(|slot| slot.name == name.text)?.declaration
            });
            if let (Some(name), Some(slot)) = (&arg.name, slot) {
                self.refer(name.span, slot);
            }
            self.expr(module, &arg.value);
        }
    }

    fn each(&mut self, module: usize, each: &ast::For, span: Span) {
        let depth = self.locals.len();
        for (name, rows) in &each.generators {
            self.expr(module, rows);
            let ty = self.type_at(rows.span).item().cloned().unwrap_or(Type::Unknown);
            let item = Span { end: rows.span.end, ..name.span };
            let scope = Span { start: rows.span.end, ..span };
            self.local(name, item, scope, ty, false);
        }
        if let Some(condition) = &each.condition {
            self.expr(module, condition);
        }
        self.expr(module, &each.body);
        self.locals.truncate(depth);
    }

    fn attempt(&mut self, module: usize, attempt: &ast::Try, span: Span) {
        self.expr(module, &attempt.attempts);
        let depth = self.locals.len();
        if let Some(name) = &attempt.feedback {
            let told = attempt.next.as_ref().map_or(Type::Null, |(_, of)| self.type_at(of.span));
            let told = match told {
                told @ (Type::Null | Type::Optional(_) | Type::Unknown) => told,
                told => Type::Optional(told.into()),
            };
            self.local(name, name.span, Span { start: name.span.end, ..span }, told, false);
        }
        self.bindings(module, &attempt.bindings, span);
        self.expr(module, &attempt.accepted);
        if let Some(when) = &attempt.when {
            self.expr(module, when);
        }
        if let Some((name, next)) = &attempt.next {
            let local = self.locals[depth..].iter().find(|(local, _)| *local == name.text);
            if let Some((_, place)) = local.cloned() {
                self.refer(name.span, place);
            }
            self.expr(module, next);
        }
        self.locals.truncate(depth);
    }

    fn policies(&mut self, module: usize, policy: &[(ast::Name, ast::Expr)], stage: Span) {
        for (name, value) in policy {
            let (text, span) = (name.text.clone(), name.span);
            let site = PolicySite { name: text, span, value: value.span, stage };
            self.index.policies.push(site);
            match (name.text.as_str(), &value.kind) {
                // Their words are no names.
                ("cache", _) => {}
                ("on_error", A::Call(call)) => {
                    call.args.iter().for_each(|arg| self.expr(module, &arg.value));
                }
                ("on_error", _) => {}
                ("resources", A::Record(fields)) => {
                    fields.iter().for_each(|(_, value)| self.expr(module, value));
                }
                _ => self.expr(module, value),
            }
        }
    }
}

/// The type of a field.
fn field_type(of: &Type, name: &str) -> Type {
    let record = |record: &RecordType| record.field(name).cloned().unwrap_or(Type::Unknown);
    match of {
        Type::Record(of) => record(of),
        Type::Optional(of) => match &**of {
            Type::Record(of) => record(of),
            _ => Type::Unknown,
        },
        Type::Json => Type::Json,
        _ => Type::Unknown,
    }
}
