//! Calls: which operator is meant, and which argument is which.

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed, nearest};
use crate::lang::program::{Call, Expr, ExprKind, Function};
use crate::lang::source::Span;
use crate::lang::syntax::ast;
use crate::lang::types::Type;

use super::builtin;
use super::fit::{Vars, filled, fits, has_vars};
use super::infer::{Checker, Place, ROW, uses_row};
use super::origins::Named;
use super::world::Signature;

/// One argument of a signature: its name, its type, and whether it may be left out.
pub(super) struct Slot<'s> {
    pub(super) name: &'s str,
    pub(super) ty: &'s Type,
    pub(super) optional: bool,
}

impl Checker<'_> {
    pub(super) fn call(&mut self, call: &ast::Call, span: Span) -> Expr {
        let world = self.world;
        let place = match &call.module {
            Some(module) => match self.function_of(module, &call.name) {
                Some(place) => place,
                None => return self.skip(call, span),
            },
            None => {
                let name = call.name.text.as_str();
                let own =
                    self.module.defs.get(name).copied().filter(|_| self.place != Place::Given);
                let prelude =
                    || world.prelude.and_then(|at| world.modules[at].defs.get(name).copied());
                match own {
                    Some(place) => place,
                    None if builtin::is_builtin(name) => return self.builtin(call, span),
                    None => match prelude() {
                        Some(place) => place,
                        None => {
                            if !self.module.broken.contains(name) {
                                self.no_function(&call.name);
                            }
                            return self.skip(call, span);
                        }
                    },
                }
            }
        };
        let signature = &world.signatures[place];
        if matches!(self.place, Place::Constant | Place::Policy | Place::Given) {
            self.tell(
                Diagnostic::error("E0110", format!("`{}` cannot be called here", signature.shown))
                    .at(span, "a constant is known before anything runs")
                    .help("make it a stage: only stages call operators"),
            );
            return self.skip(call, span);
        }
        if !self.module.library && signature.operator.starts_with('#') {
            world.note_named(Named::Def(place));
        }
        self.call_of(signature, call, span)
    }

    /// A call that cannot be made: its arguments are still checked.
    fn skip(&mut self, call: &ast::Call, span: Span) -> Expr {
        for arg in &call.args {
            let rows = self.rows.len();
            if uses_row(&arg.value) {
                self.rows.push(Type::Unknown);
            }
            self.expr(&arg.value, None);
            self.rows.truncate(rows);
        }
        Self::unknown(span)
    }

    fn function_of(&mut self, module: &ast::Name, name: &ast::Name) -> Option<usize> {
        let world = self.world;
        let Some(used) = self.module.uses.get(&module.text) else {
            // A `use` that could not be followed was told; it was probably meant to give this name.
            let mut failed = self.module.uses.iter().filter(|(_, used)| used.module.is_none());
            if failed.any(|(alias, _)| nearest(&module.text, [alias.as_str()]).is_some()) {
                return None;
            }
            let aliases = || self.module.uses.keys().map(String::as_str);
            let diagnostic =
                Diagnostic::error("E0103", format!("no module `{}` is used", module.text));
            let library = world.library.iter().find(|known| **known == module.text);
            let diagnostic = if let Some(known) = library {
                diagnostic.at(module.span, "not used yet").help(format!("add `use std/{known}`"))
            } else if self.module.values.contains_key(&module.text)
                || self.locals.iter().any(|(local, _)| *local == module.text)
            {
                diagnostic
                    .at(module.span, "this is a value")
                    .help("values have fields, not functions")
            } else {
                let near = nearest(&module.text, world.library.iter().map(String::as_str));
                match (nearest(&module.text, aliases()), near) {
                    (None, Some(near)) => diagnostic
                        .at(module.span, format!("did you mean `{near}`?"))
                        .help(format!("add `use std/{near}`")),
                    _ => diagnostic
                        .at(module.span, did_you_mean(&module.text, aliases(), "unknown module"))
                        .help(format!("used are {}", listed(aliases()))),
                }
            };
            self.tell(diagnostic);
            return None;
        };
        used.asked.set(true);
        let target = &world.modules[used.module?];
        if let Some(place) = target.defs.get(&name.text) {
            return Some(*place);
        }
        if target.broken.contains(&name.text) {
            return None;
        }
        let known = || target.defs.keys().map(String::as_str);
        self.tell(
            Diagnostic::error("E0301", format!("{} has no function `{}`", target.path, name.text))
                .at(name.span, did_you_mean(&name.text, known(), "unknown function"))
                .help(format!("it has {}", listed(known()))),
        );
        None
    }

    fn no_function(&mut self, name: &ast::Name) {
        let world = self.world;
        let mut known: Vec<String> = self.module.defs.keys().cloned().collect();
        known.extend(builtin::NAMES.iter().map(|name| (*name).to_string()));
        if let Some(prelude) = world.prelude {
            known.extend(world.modules[prelude].defs.keys().cloned());
        }
        let elsewhere = self.module.uses.iter().find_map(|(alias, used)| {
            let module = &world.modules[used.module?];
            module.defs.contains_key(&name.text).then(|| format!("{alias}.{}", name.text))
        });
        let library = world
            .modules
            .iter()
            .find(|module| module.library && module.defs.contains_key(&name.text));
        let label = match (&elsewhere, nearest(&name.text, known.iter().map(String::as_str))) {
            (Some(elsewhere), _) => format!("did you mean `{elsewhere}`?"),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => match library {
                Some(module) => format!("did you mean `{}.{}`?", module.name, name.text),
                None => "unknown function".to_string(),
            },
        };
        self.tell(
            Diagnostic::error("E0301", format!("there is no function `{}`", name.text))
                .at(name.span, label)
                .help(format!(
                    "without a module's name there is {}",
                    listed(known.iter().map(String::as_str))
                )),
        );
    }

    /// Gives each argument of a call its slot. What is unknown, twice or missing is told, with the
    /// signature's `text`. The result has an entry for each slot.
    pub(super) fn slots<'a>(
        &mut self,
        call: &'a ast::Call,
        slots: &[Slot<'_>],
        shown: &str,
        text: &dyn Fn() -> String,
        span: Span,
    ) -> Vec<Option<&'a ast::Arg>> {
        let mut taken: Vec<Option<&ast::Arg>> = vec![None; slots.len()];
        let mut meant = vec![false; slots.len()];
        for (i, arg) in call.args.iter().enumerate() {
            let place = match &arg.name {
                None if i == 0 && !slots.is_empty() => 0,
                None if slots.is_empty() => {
                    self.tell(
                        Diagnostic::error("E0303", format!("`{shown}` takes no argument"))
                            .at(arg.value.span, "not expected here")
                            .help(text()),
                    );
                    continue;
                }
                None => {
                    let free = (0..slots.len()).find(|at| {
                        taken[*at].is_none()
                            && !call.args.iter().any(|arg| {
                                arg.name.as_ref().is_some_and(|name| name.text == slots[*at].name)
                            })
                    });
                    let label = match free {
                        Some(at) => {
                            meant[at] = true;
                            format!("write `{}: …`", slots[at].name)
                        }
                        None => "which one is this?".to_string(),
                    };
                    self.tell(
                        Diagnostic::error(
                            "E0303",
                            "only the first argument may stand without its name",
                        )
                        .at(arg.value.span, label)
                        .help(text()),
                    );
                    continue;
                }
                Some(name) => match slots.iter().position(|slot| slot.name == name.text) {
                    Some(place) => place,
                    None => {
                        let known = || slots.iter().map(|slot| slot.name);
                        if let Some(near) = nearest(&name.text, known())
                            && let Some(at) = slots.iter().position(|slot| slot.name == near)
                        {
                            meant[at] = true;
                        }
                        self.tell(
                            Diagnostic::error(
                                "E0304",
                                format!("`{shown}` has no argument `{}`", name.text),
                            )
                            .at(name.span, did_you_mean(&name.text, known(), "unknown argument"))
                            .help(text()),
                        );
                        continue;
                    }
                },
            };
            if let Some(earlier) = taken[place] {
                self.tell(
                    Diagnostic::error("E0305", format!("`{}` is given twice", slots[place].name))
                        .at(
                            arg.name.as_ref().map_or(arg.value.span, |name| name.span),
                            "again here",
                        )
                        .at(
                            earlier.name.as_ref().map_or(earlier.value.span, |name| name.span),
                            "first here",
                        ),
                );
                continue;
            }
            taken[place] = Some(arg);
        }
        let missing: Vec<&str> = slots
            .iter()
            .enumerate()
            .filter(|(at, slot)| !slot.optional && taken[*at].is_none() && !meant[*at])
            .map(|(_, slot)| slot.name)
            .collect();
        if !missing.is_empty() {
            let (verb, what) =
                if missing.len() == 1 { ("is", "argument") } else { ("are", "arguments") };
            let wanted: Vec<String> = slots
                .iter()
                .filter(|slot| missing.contains(&slot.name))
                .map(|slot| format!("{}: {}", slot.name, slot.ty))
                .collect();
            let name = call.module.as_ref().map_or(call.name.span, |module| module.span);
            self.tell(
                Diagnostic::error(
                    "E0302",
                    format!("{what} {} of `{shown}` {verb} missing", listed(missing)),
                )
                .at(
                    Span { end: call.name.span.end.min(span.end), ..name },
                    format!("needs {}", wanted.join(", ")),
                )
                .help(text()),
            );
        }
        // What was given under no name that exists is still checked for its own mistakes.
        for arg in &call.args {
            let is_taken = taken.iter().flatten().any(|other| std::ptr::eq(*other, arg));
            if !is_taken {
                let near = arg
                    .name
                    .as_ref()
                    .and_then(|name| nearest(&name.text, slots.iter().map(|slot| slot.name)));
                let slot = slots.iter().find(|slot| Some(slot.name) == near);
                let rows = self.rows.len();
                self.rows.push(Type::Unknown);
                self.expr(&arg.value, slot.map(|slot| slot.ty).filter(|ty| !has_vars(ty)));
                self.rows.truncate(rows);
            }
        }
        taken
    }

    fn call_of(&mut self, signature: &Signature, call: &ast::Call, span: Span) -> Expr {
        let slots: Vec<Slot<'_>> = signature
            .args
            .iter()
            .map(|arg| Slot { name: &arg.name, ty: &arg.ty, optional: arg.default.is_some() })
            .collect();
        let before = self.found.len();
        let taken = self.slots(call, &slots, &signature.shown, &|| signature.text(), span);
        let broken = self.found.len() > before;
        let mut vars = Vars::new();
        let mut values: Vec<Option<Expr>> = (0..slots.len()).map(|_| None).collect();
        // Functions last: the rows that they take are known from the other arguments.
        let is_function = |place: &usize| matches!(slots[*place].ty, Type::Function(..));
        let (functions, plain): (Vec<usize>, Vec<usize>) = (0..slots.len()).partition(is_function);
        for place in plain.into_iter().chain(functions) {
            let Some(arg) = taken[place] else { continue };
            let slot = &slots[place];
            let what = format!("`{}` of `{}`", slot.name, signature.shown);
            let value = match slot.ty {
                Type::Function(from, to) => {
                    let row = filled(from, &vars);
                    self.function(&arg.value, row, to, &what, &mut vars)
                }
                ty => {
                    let hint = filled(ty, &vars);
                    let value = self.expr(&arg.value, Some(&hint));
                    let declared = self.declared(&arg.value);
                    self.fit(value, ty, &what, &mut vars, declared)
                }
            };
            values[place] = Some(value);
        }
        let returns = self.bounded(filled(&signature.returns, &vars), span);
        if broken {
            // What it returns is known all the same, unless that depends on what is wrong.
            let ty = if has_vars(&signature.returns) { Type::Unknown } else { returns };
            return Expr { ty, ..Self::unknown(span) };
        }
        let mut args = Vec::with_capacity(slots.len());
        for (arg, value) in signature.args.iter().zip(values) {
            let default = || arg.default.as_ref().and_then(|default| default.expr.clone());
            match value.or_else(default) {
                Some(value) => args.push((arg.name.clone(), value)),
                // Its default has a mistake of its own, told where it stands.
                None => {
                    return Expr { ty: returns, ..Self::unknown(span) };
                }
            }
        }
        let operator = signature.operator.clone();
        self.bounded_arguments(&operator, &args);
        let kind = ExprKind::Call(Call { operator, args, returns: returns.clone() });
        Expr { kind, ty: returns, span }
    }

    /// An argument that is a function: an expression with `.field` in it.
    fn function(
        &mut self,
        value: &ast::Expr,
        row: Type,
        to: &Type,
        what: &str,
        vars: &mut Vars,
    ) -> Expr {
        let span = value.span;
        // A def hands on a function that it was given.
        if let ast::ExprKind::Name(name) = &value.kind
            && self
                .locals
                .iter()
                .any(|(local, ty)| local == name && matches!(ty, Type::Function(..)))
        {
            let wanted = Type::Function(row.into(), to.clone().into());
            let given = self.expr(value, None);
            return self.fit(given, &wanted, what, vars, None);
        }
        if !uses_row(value) {
            let example = match &row {
                Type::Record(record) => record
                    .fields
                    .iter()
                    .find(|(_, ty)| fits(ty, to, &mut vars.clone()).is_ok())
                    .map_or(".field".to_string(), |(name, _)| format!(".{name}")),
                _ => ".field".to_string(),
            };
            self.tell(
                Diagnostic::error("E0306", format!("{what} is a function of a row"))
                    .at(span, format!("write `{example}`")),
            );
            return Self::unknown(span);
        }
        self.rows.push(row.clone());
        let hint = filled(to, vars);
        let body = self.expr(value, Some(&hint));
        let body = self.fit(body, to, &format!("what {what} gives"), vars, None);
        self.rows.pop();
        let ty = Type::Function(row.into(), body.ty.clone().into());
        let function = Function { param: ROW.to_string(), body };
        Expr { kind: ExprKind::Function(Box::new(function)), ty, span }
    }
}
