//! Which constants and defs a stage names, itself or by way of others. Names are noted where they are
//! looked up, since constants are written out there and then.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::origin::{Origin, OriginKind, shown, words};
use crate::lang::program::{Expr, ExprKind};
use crate::lang::source::Span;
use crate::store::Digest;

use super::world::{GlobalKind, World};

/// A constant or a def that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// A constant, by where its name is declared: file and byte.
    Let(u32, u32),
    /// A def, by its number.
    Def(usize),
}

impl Named {
    pub(super) fn constant(span: Span) -> Named {
        Named::Let(span.file.0, span.start)
    }
}

/// A def as it is written.
pub(super) struct Written {
    pub(super) text: Digest,
    pub(super) named: BTreeSet<Named>,
}

impl World {
    /// Notes that something was named.
    pub(super) fn note_named(&self, named: Named) {
        self.named.borrow_mut().insert(named);
    }

    /// What was named since this was asked for last.
    pub(super) fn take_named(&self) -> BTreeSet<Named> {
        std::mem::take(&mut self.named.borrow_mut())
    }

    /// Keeps how a def is written, with what its body named.
    pub(super) fn keep_def(&mut self, number: usize, span: Span) {
        let text = self.sources.text(span.file);
        let text = text.get(span.start as usize..span.end as usize).unwrap_or_default();
        let named = self.take_named();
        self.written.insert(number, Written { text: words(text), named });
    }
}

/// Finds what names stand for.
pub(super) struct Origins<'w> {
    world: &'w World,
    constants: BTreeMap<Named, (&'w str, &'w Expr)>,
    found: BTreeMap<Named, Origin>,
}

impl<'w> Origins<'w> {
    pub(super) fn new(world: &'w World) -> Origins<'w> {
        let mut constants = BTreeMap::new();
        for module in world.modules.iter().filter(|module| !module.library) {
            for (name, global) in &module.values {
                if let GlobalKind::Let(expr, _) = &global.kind {
                    constants.insert(Named::constant(global.span), (name.as_str(), expr));
                }
            }
        }
        Origins { world, constants, found: BTreeMap::new() }
    }

    /// What these names stand for, and what those name in turn.
    pub(super) fn of(&mut self, named: &BTreeSet<Named>) -> Vec<Origin> {
        let mut seen: BTreeSet<Named> = BTreeSet::new();
        let mut open: Vec<Named> = named.iter().copied().collect();
        while let Some(one) = open.pop() {
            if seen.insert(one)
                && let Named::Def(number) = one
                && let Some(written) = self.world.written.get(&number)
            {
                open.extend(written.named.iter().copied());
            }
        }
        seen.into_iter().filter_map(|one| self.origin(one)).collect()
    }

    fn origin(&mut self, one: Named) -> Option<Origin> {
        if let Some(known) = self.found.get(&one) {
            return Some(known.clone());
        }
        let origin = match one {
            Named::Let(..) => {
                let (name, expr) = self.constants.get(&one)?;
                let (digest, shown) = match &expr.kind {
                    ExprKind::Const(value) => shown(value),
                    _ => {
                        let span = expr.span;
                        let text = self.world.sources.text(span.file);
                        let range = span.start as usize..span.end as usize;
                        (words(text.get(range).unwrap_or_default()), String::new())
                    }
                };
                Origin { kind: OriginKind::Constant, name: (*name).to_string(), digest, shown }
            }
            Named::Def(number) => Origin {
                kind: OriginKind::Def,
                name: self.world.signatures.get(number)?.shown.clone(),
                digest: self.world.written.get(&number)?.text,
                shown: String::new(),
            },
        };
        self.found.insert(one, origin.clone());
        Some(origin)
    }
}
