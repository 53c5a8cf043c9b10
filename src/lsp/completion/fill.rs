//! What a place itself asks for: arguments of a call, fields of a record, what follows a dot,
//! policies and their values, types.

use gen_lsp_types::CompletionItemKind;

use super::item::{Offer, Rank, escaped};
use super::mend::Mended;
use super::names;
use super::words::{POLICIES, RESOURCES};
use crate::lang::{Index, Receiver, Type};
use crate::lsp::workspace::{View, Workspace};

/// What the place asks for, and whether any value may stand there too; `None` where it asks for
/// nothing of its own.
pub(super) fn offers(
    workspace: &Workspace,
    view: &View,
    mended: &Mended,
) -> Option<(Vec<Offer>, bool)> {
    let (index, here) = (&mended.program.index, mended.span);
    let is_type = index.type_names.contains(&here);
    if let Some(member) = index.members.iter().find(|member| member.span == here) {
        let offers = match (&member.of, &member.base) {
            (Receiver::Module(Some(file)), _) => names::of_file(index, *file, is_type),
            (Receiver::Module(None), _) => Vec::new(),
            // What stands before the dot does not parse just now: as it was when it last did.
            (Receiver::Value(Type::Unknown), Some(base)) => {
                before_it_broke(workspace, view, mended, base).unwrap_or_default()
            }
            (Receiver::Value(ty), _) => names::fields(index, ty),
        };
        return Some((offers, false));
    }
    if is_type {
        return Some((names::types(&mended.program, here.file), false));
    }
    if let Some(offers) = policies(mended) {
        return Some((offers, false));
    }
    for record in &index.records {
        if record.fields.iter().any(|(_, span)| *span == here) {
            let wanted = record.wanted.as_ref()?;
            let mut offers = names::fields(index, wanted);
            offers.retain(|offer| !record.fields.iter().any(|(name, _)| *name == offer.label));
            let named = offers.into_iter().map(|offer| {
                let snippet = format!("{}: $0", offer.label);
                offer.puts(snippet)
            });
            return Some((named.collect(), false));
        }
    }
    arguments(index, mended)
}

/// The fields of a value, or of a row of one, as they were when the file last parsed whole.
fn before_it_broke(
    workspace: &Workspace,
    view: &View,
    mended: &Mended,
    base: &str,
) -> Option<Vec<Offer>> {
    let last = &workspace.last_whole(&view.path)?.index;
    let (program, here) = (&mended.program, mended.span);
    let path = program.name(here.file);
    if let Some(of) = last.item(path, base) {
        return Some(names::fields(last, &of.ty));
    }
    let names = program.index.names_at(here.file, here.start);
    let mut names = names.iter().rev().map(|place| &program.index.declarations[*place]);
    let local = names.find(|of| of.name == base)?;
    // `row in rows`
    let rows = program.words(local.item).rsplit(' ').next()?;
    Some(names::fields(last, last.item(path, rows)?.ty.item()?))
}

fn arguments(index: &Index, mended: &Mended) -> Option<(Vec<Offer>, bool)> {
    let here = mended.span;
    for call in &index.calls {
        let place = call
            .args
            .iter()
            .position(|arg| arg.name.as_ref().map_or(arg.value == here, |(_, span)| *span == here));
        let (Some(place), Some(signature)) = (place, call.signature) else { continue };
        let is_named = call.args[place].name.is_some();
        let first_taken = place > 0 && call.args[0].name.is_none();
        let given = |name: &str| {
            call.args.iter().any(|arg| arg.name.as_ref().is_some_and(|(of, _)| of == name))
        };
        let slots = index.signatures[signature].args.iter().enumerate();
        let free = slots.filter(|(at, slot)| !(given(&slot.name) || *at == 0 && first_taken));
        let offers = free.map(|(_, slot)| {
            let doc = slot.declaration.map_or("", |of| index.declarations[of].doc.as_str());
            // Where the name stands already, only it is replaced.
            let snippet = if is_named { slot.name.clone() } else { format!("{}: $0", slot.name) };
            Offer::plain(&slot.name, CompletionItemKind::Field)
                .detail(slot.text())
                .doc(doc)
                .puts(snippet)
                .ranked(Rank::Slot)
        });
        // Only the first argument may stand without its name.
        return Some((offers.collect(), place == 0 && !is_named));
    }
    None
}

/// Names of policies, or values of the one that is being given.
fn policies(mended: &Mended) -> Option<Vec<Offer>> {
    let (index, here) = (&mended.program.index, mended.span);
    for policy in &index.policies {
        if policy.span == here {
            let taken = |name: &str| {
                index.policies.iter().any(|of| of.stage == policy.stage && of.name == name)
            };
            let free = POLICIES.iter().filter(|(name, ..)| !taken(name));
            let offers = free.map(|(name, ty, about, _)| {
                Offer::plain(name, CompletionItemKind::Property)
                    .detail(*ty)
                    .doc(about)
                    .puts(format!("{name}: $0"))
                    .ranked(Rank::Slot)
            });
            return Some(offers.collect());
        }
        let inside = policy.value.file == here.file
            && policy.value.start <= here.start
            && here.end <= policy.value.end;
        if policy.value == here {
            let values = POLICIES.iter().find(|(name, ..)| *name == policy.name)?.3;
            let offers = values.iter().map(|value| {
                Offer::plain(value, CompletionItemKind::Value)
                    .puts(escaped(value))
                    .ranked(Rank::Slot)
            });
            return Some(offers.collect());
        }
        if inside && policy.name == "resources" && index.wanted(here).is_none() {
            let offers = RESOURCES.iter().map(|(name, ty)| {
                Offer::plain(name, CompletionItemKind::Property)
                    .detail(*ty)
                    .puts(format!("{name}: $0"))
                    .ranked(Rank::Slot)
            });
            return Some(offers.collect());
        }
    }
    None
}
