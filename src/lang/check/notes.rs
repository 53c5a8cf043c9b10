//! What the checker notes for an index while it works: types by place.
//!
//! Names need no notes, they can be resolved again from the tree; types cannot. Nothing is noted
//! unless somebody asked for an index, so that a plain check pays for a test of an `Option` only.

use std::collections::HashMap;
use std::sync::Arc;

use crate::lang::source::Span;
use crate::lang::types::{RecordType, Type};

use super::infer::Checker;

/// Types by place.
#[derive(Default)]
pub(super) struct Notes {
    /// What each expression is, and what was asked for where it stands.
    pub(super) types: HashMap<Span, (Type, Option<Type>)>,
    /// The row that a path such as `.a.b` starts from.
    pub(super) rows: HashMap<Span, Type>,
    /// Record types without a name by their address, themselves (so that the address stays theirs)
    /// and the type of a name that they stand for somewhere.
    pub(super) stand_for: HashMap<usize, (Arc<RecordType>, Type)>,
}

impl Notes {
    /// Notes which records without a name stand for one with a name, where a type fits another.
    fn fit(&mut self, given: &Type, wanted: &Type) {
        match (given, wanted) {
            (Type::List(given), Type::List(wanted))
            | (Type::Optional(given), Type::Optional(wanted)) => self.fit(given, wanted),
            (given, Type::Optional(wanted)) => self.fit(given, wanted),
            (Type::Record(of), Type::Record(record)) if of.name.is_none() => {
                if record.name.is_some() {
                    let known = (of.clone(), wanted.clone());
                    self.stand_for.entry(Arc::as_ptr(of).addr()).or_insert(known);
                }
                for (name, wanted) in &record.fields {
                    if let Some(given) = of.field(name) {
                        self.fit(given, wanted);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Checker<'_> {
    /// Notes what an expression is. What is checked twice (the body of a `try`) is noted as it was
    /// understood last, when more was known.
    pub(super) fn note(&self, span: Span, hint: Option<&Type>, ty: &Type) {
        if let Some(notes) = &self.world.notes {
            notes.borrow_mut().types.insert(span, (ty.clone(), hint.cloned()));
        }
    }

    /// Notes that a type was found to fit another.
    pub(super) fn note_fit(&self, given: &Type, wanted: &Type) {
        if let Some(notes) = &self.world.notes {
            notes.borrow_mut().fit(given, wanted);
        }
    }

    /// Notes the row that a path starts from.
    pub(super) fn note_row(&self, span: Span, row: &Type) {
        if let Some(notes) = &self.world.notes {
            notes.borrow_mut().rows.insert(span, row.clone());
        }
    }
}
