//! What the checker notes for an index while it works: types by place.
//!
//! Names need no notes, they can be resolved again from the tree; types cannot. Nothing is noted
//! unless somebody asked for an index, so that a plain check pays for a test of an `Option` only.

use std::collections::HashMap;

use crate::lang::source::Span;
use crate::lang::types::Type;

use super::infer::Checker;

/// Types by place.
#[derive(Default)]
pub(super) struct Notes {
    /// What each expression is, and what was asked for where it stands.
    pub(super) types: HashMap<Span, (Type, Option<Type>)>,
    /// The row that a path such as `.a.b` starts from.
    pub(super) rows: HashMap<Span, Type>,
}

impl Checker<'_> {
    /// Notes what an expression is. What is checked twice (the body of a `try`) is noted as it was
    /// understood last, when more was known.
    pub(super) fn note(&self, span: Span, hint: Option<&Type>, ty: &Type) {
        if let Some(notes) = &self.world.notes {
            notes.borrow_mut().types.insert(span, (ty.clone(), hint.cloned()));
        }
    }

    /// Notes the row that a path starts from.
    pub(super) fn note_row(&self, span: Span, row: &Type) {
        if let Some(notes) = &self.world.notes {
            notes.borrow_mut().rows.insert(span, row.clone());
        }
    }
}
