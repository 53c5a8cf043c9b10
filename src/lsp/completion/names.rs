//! Values, functions and types that can be named at a place.

use gen_lsp_types::CompletionItemKind;

use super::item::{Offer, Rank};
use super::mend::Mended;
use crate::lang::{DeclarationKind as K, FileId, Index, Type, builtin_types, stands_for};
use crate::lsp::hover::{builtin_doc, shown};
use crate::lsp::program::Program;
use crate::lsp::workspace::{View, Workspace};

/// The words of an enumeration, and none of anything else.
pub(super) fn words(ty: &Type) -> impl Iterator<Item = &str> {
    let ty = if let Type::Optional(of) = ty { of } else { ty };
    let words = if let Type::Enum(words) = ty { words.as_slice() } else { &[] };
    words.iter().map(String::as_str)
}

/// Values that can be named at an offset, those of the type that is `wanted` first.
pub(super) fn values(
    program: &Program,
    file: FileId,
    offset: u32,
    wanted: Option<&Type>,
) -> Vec<Offer> {
    let index = &program.index;
    let mut offers: Vec<Offer> = Vec::new();
    let in_words = wanted.into_iter().flat_map(words).map(|word| {
        // `on` and `off` stand without quotes.
        let text =
            if matches!(word, "on" | "off") { word.to_string() } else { format!("\"{word}\"") };
        Offer::plain(&text, CompletionItemKind::EnumMember).ranked(Rank::Slot)
    });
    offers.extend(in_words);
    // Innermost first: what shadows another stands for both.
    for place in index.names_at(file, offset).into_iter().rev() {
        let of = &index.declarations[place];
        let is_itself = of.item.start <= offset && offset <= of.item.end && of.scope.is_none();
        if is_itself || offers.iter().any(|offer| offer.label == of.name) {
            continue;
        }
        let kind = match of.kind {
            K::Stage => CompletionItemKind::Event,
            K::Let | K::Param => CompletionItemKind::Constant,
            _ => CompletionItemKind::Variable,
        };
        let fits = of.ty != Type::Unknown
            && wanted.is_some_and(|wanted| *wanted != Type::Unknown && stands_for(&of.ty, wanted));
        let rank = if fits { Rank::Fits } else { Rank::Known };
        offers.push(Offer::plain(&of.name, kind).detail(shown(&of.ty)).doc(&of.doc).ranked(rank));
    }
    offers
}

/// Values of declarations that do not parse just now, as they were when they last did.
pub(super) fn lost(workspace: &Workspace, view: &View, mended: &Mended) -> Vec<Offer> {
    let Some(file) = mended.program.index.file_of(mended.file) else { return Vec::new() };
    let last = workspace.last_whole(&view.path);
    let lost = file.broken.iter().filter_map(|name| {
        let of = last?.index.item(&file.path, name)?;
        let is_value = matches!(of.kind, K::Stage | K::Let | K::Param);
        is_value.then(|| {
            Offer::plain(name, CompletionItemKind::Variable).detail(shown(&of.ty)).doc(&of.doc)
        })
    });
    lost.collect()
}

/// The stages of a file.
pub(super) fn stages(program: &Program, file: FileId) -> Vec<Offer> {
    let stages = program.index.items_of(file).filter(|(_, of)| of.kind == K::Stage);
    stages
        .map(|(_, of)| {
            Offer::plain(&of.name, CompletionItemKind::Event).detail(shown(&of.ty)).doc(&of.doc)
        })
        .collect()
}

/// Functions and files that can be named in a file.
pub(super) fn functions(program: &Program, file: FileId) -> Vec<Offer> {
    let index = &program.index;
    let mut offers = aliases(index, file);
    let own = index.items_of(file).filter_map(|(_, of)| of.signature);
    for place in own.chain(index.bare.values().copied()) {
        let name = index.signatures[place].shown.rsplit('.').next().unwrap_or_default().to_string();
        if !offers.iter().any(|offer| offer.label == name) {
            offers.push(function(index, place, &name));
        }
    }
    offers
}

/// The files that a file uses.
pub(super) fn aliases(index: &Index, file: FileId) -> Vec<Offer> {
    let Some(file) = index.file_of(file) else { return Vec::new() };
    let aliases = file.aliases.iter().map(|(name, target)| {
        let doc = target.map_or("", |target| index.declarations[target].doc.as_str());
        Offer::plain(name, CompletionItemKind::Module).doc(doc).puts(format!("{name}.$0"))
    });
    aliases.collect()
}

/// A function, to be called.
fn function(index: &Index, place: usize, name: &str) -> Offer {
    let signature = &index.signatures[place];
    let doc = match signature.declaration {
        Some(of) => index.declarations[of].doc.as_str(),
        None => builtin_doc(&signature.shown),
    };
    let gap = if signature.args.is_empty() { "()" } else { "($0)" };
    Offer::plain(name, CompletionItemKind::Function)
        .detail(signature.text())
        .doc(doc)
        .puts(format!("{name}{gap}"))
}

/// What stands behind the name of a file and a dot. In a type, types only.
pub(super) fn of_file(index: &Index, file: usize, is_type: bool) -> Vec<Offer> {
    let file = index.declarations[file].span.file;
    let mut offers = Vec::new();
    for (_, of) in index.items_of(file) {
        match of.kind {
            K::Type if is_type => offers.push(of_type(&of.name, of)),
            K::Def | K::Operator if !is_type => {
                offers.extend(of.signature.map(|place| function(index, place, &of.name)));
            }
            K::Let if !is_type => offers.push(
                Offer::plain(&of.name, CompletionItemKind::Constant)
                    .detail(shown(&of.ty))
                    .doc(&of.doc),
            ),
            _ => {}
        }
    }
    offers
}

fn of_type(name: &str, of: &crate::lang::Declaration) -> Offer {
    let kind = match of.ty {
        Type::Enum(_) => CompletionItemKind::Enum,
        _ => CompletionItemKind::Struct,
    };
    Offer::plain(name, kind).doc(&of.doc)
}

/// Types that can be named in a file: its own, the language's, and files that have some.
pub(super) fn types(program: &Program, file: FileId) -> Vec<Offer> {
    let index = &program.index;
    let own = index.items_of(file).filter(|(_, of)| of.kind == K::Type);
    let mut offers: Vec<Offer> = own.map(|(_, of)| of_type(&of.name, of)).collect();
    offers.extend(builtin_types().map(|name| Offer::plain(name, CompletionItemKind::Class)));
    offers.extend(aliases(index, file));
    offers
}

/// The fields of a type.
pub(super) fn fields(index: &Index, ty: &Type) -> Vec<Offer> {
    let record = match ty {
        Type::Record(record) => record,
        Type::Optional(of) => match &**of {
            Type::Record(record) => record,
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let fields = record.fields.iter().map(|(name, of)| {
        let declared = index.field_of(ty, name).map(|place| index.declarations[place].doc.as_str());
        Offer::plain(name, CompletionItemKind::Field)
            .detail(shown(of))
            .doc(declared.unwrap_or(""))
            .ranked(Rank::Slot)
    });
    fields.collect()
}
