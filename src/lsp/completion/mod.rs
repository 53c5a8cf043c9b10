//! Completion: what may stand at the cursor.
//!
//! Where a declaration starts and after `use` the text alone tells. Everywhere else the declaration
//! is mended ([`mend`]) and checked, and what was put in tells by its place in the index what is
//! offered: [`names`] for values, functions and types, [`fill`] for what a call, a record or a
//! policy takes, [`paths`] for what lies on disk.

mod fill;
mod item;
mod mend;
mod names;
mod paths;
mod scan;
mod words;

use gen_lsp_types::{CompletionItem, CompletionItemKind, TextDocumentPositionParams};

use crate::lang::Type;

use super::workspace::{View, Workspace};
use item::Offer;
use mend::At;
use scan::{item_around, scan, word_around};

pub(super) use mend::Mended;

/// What is offered at a place; `None` when the file is not open.
pub(super) fn complete(
    workspace: &mut Workspace,
    asked: &TextDocumentPositionParams,
) -> Option<Vec<CompletionItem>> {
    let view = workspace.view(asked)?;
    let text = workspace.document(&view.path)?.text.clone();
    let offset = view.offset as usize;
    let (start, _) = word_around(&text.text, offset);
    let replaced = text.range(start as u32, offset as u32, workspace.encoding);
    let offers = offers(workspace, &view, &text.text, offset).unwrap_or_default();
    let snippets = workspace.snippets;
    let items = offers.into_iter().enumerate();
    Some(items.map(|(place, offer)| offer.item(place, replaced, snippets)).collect())
}

fn offers(workspace: &Workspace, view: &View, text: &str, offset: usize) -> Option<Vec<Offer>> {
    let (from, _) = item_around(text, offset);
    let scanned = scan(&text[from..offset]);
    if scanned.in_comment {
        return None;
    }
    let line = text[..offset].rsplit('\n').next().unwrap_or("");
    let line_start = offset - line.len();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let nothing_open = scan(&text[from..line_start.max(from)]).open.is_empty();
    if nothing_open && line.chars().all(is_word) {
        return Some(words::ITEMS.iter().map(|word| Offer::word(word, false)).collect());
    }
    if let Some(path) = line.strip_prefix("use ").filter(|path| !path.contains(" as ")) {
        return Some(match path.trim_start().strip_prefix('"') {
            Some(begun) => paths::modules_beside(view, begun),
            None => paths::modules(view, path.trim_start()),
        });
    }
    let (word_start, _) = word_around(text, offset);
    let before = text[from..word_start].trim_end();
    let previous = before.rsplit(|c: char| !is_word(c)).next().unwrap_or("");
    let names_something =
        ["param", "let", "type", "def", "stage", "test", "as", "for"].contains(&previous);
    if names_something && scanned.text().is_none() {
        return None;
    }
    let Some(mended) = Mended::of(workspace, view) else {
        // Beyond mending: what was known before it broke.
        let program = workspace.last_whole(&view.path)?;
        let file = program.file(&program.entry)?;
        return Some(names::values(program, file, 0, None));
    };
    let index = &mended.program.index;
    match mended.at {
        At::Text(start) => {
            let begun = &text[start as usize + 1..offset];
            Some(in_text(&mended, view, begun))
        }
        At::Number => Some(units(index.wanted(mended.span), &text[word_start..offset])),
        At::Name if previous == "output" => Some(names::stages(&mended.program, mended.file)),
        At::Name => {
            let mut offers = fill::offers(workspace, view, &mended);
            if let Some(offers) = &mut offers
                && !offers.1
            {
                return Some(std::mem::take(&mut offers.0));
            }
            let wanted = index.wanted(mended.span);
            let mut all = offers.map(|(offers, _)| offers).unwrap_or_default();
            all.extend(names::values(&mended.program, mended.file, mended.offset, wanted));
            all.extend(names::lost(workspace, view, &mended));
            all.extend(names::functions(&mended.program, mended.file));
            all.extend(words::EXPRESSIONS.iter().map(|word| Offer::word(word, true)));
            Some(all)
        }
    }
}

/// What may stand in a string: a path, or a word of the enumeration that is asked for.
fn in_text(mended: &Mended, view: &View, begun: &str) -> Vec<Offer> {
    let index = &mended.program.index;
    let call = index.call_around(mended.file, mended.offset);
    let called = call.and_then(|call| Some(index.signatures[call.signature?].shown.as_str()));
    match (called, index.wanted(mended.span)) {
        (Some("file" | "template"), _) => paths::files(view, begun, false),
        (Some("dir"), _) => paths::files(view, begun, true),
        // What is replaced is the last word of what is begun; the rest stands already.
        (_, Some(wanted)) => {
            let (word, _) = word_around(begun, begun.len());
            let words = names::words(wanted).filter_map(|of| of.strip_prefix(&begun[..word]));
            words.map(|word| Offer::plain(word, CompletionItemKind::EnumMember)).collect()
        }
        _ => Vec::new(),
    }
}

/// Units that make what is asked for out of a number.
fn units(wanted: Option<&Type>, begun: &str) -> Vec<Offer> {
    let number = begun.trim_end_matches(|c: char| !c.is_ascii_digit());
    let wanted = match wanted {
        Some(Type::Optional(of)) => Some(&**of),
        other => other,
    };
    let units: Vec<&str> = match wanted {
        Some(Type::Bytes) => words::SIZES.to_vec(),
        Some(Type::Duration) => words::TIMES.to_vec(),
        Some(Type::Percent) => vec!["%"],
        Some(Type::Int | Type::Float | Type::Money) => Vec::new(),
        _ => words::SIZES.iter().chain(&words::TIMES).chain(&["%"]).copied().collect(),
    };
    let quantities = units.into_iter().map(|unit| format!("{number}{unit}"));
    quantities.map(|of| Offer::plain(&of, CompletionItemKind::Unit)).collect()
}
