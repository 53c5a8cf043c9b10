//! What lies on disk: files, directories, modules.

use gen_lsp_types::CompletionItemKind;

use super::item::Offer;
use crate::lang::Sources;
use crate::lsp::workspace::View;
use crate::store::MemoryObjects;

/// The most names of a folder that are offered.
const MAX_NAMES: usize = 500;

/// Names directly in a folder of the project or of the library, folders with a `/` behind them.
fn names(view: &View, folder: &str) -> Vec<(String, bool)> {
    let sources = view.program.project.sources(std::sync::Arc::new(MemoryObjects::default()));
    let names = sources.names(folder).into_iter().filter(|name| !name.starts_with('.'));
    names
        .take(MAX_NAMES)
        .map(|name| {
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_dir = sources.has_dir(&path).is_ok();
            (name, is_dir)
        })
        .collect()
}

/// The folder that a path which is begun points into, from the project's root.
fn folder_of(view: &View, begun: &str) -> Option<String> {
    let base = view.program.entry.rsplit_once('/').map_or("", |(folder, _)| folder);
    let begun = begun.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in begun.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// What may go on a path that is begun.
pub(super) fn files(view: &View, begun: &str, only_folders: bool) -> Vec<Offer> {
    let Some(folder) = folder_of(view, begun) else { return Vec::new() };
    let names = names(view, &folder).into_iter().filter(|(_, is_dir)| *is_dir || !only_folders);
    names
        .map(|(name, is_dir)| match is_dir {
            true => Offer::plain(&format!("{name}/"), CompletionItemKind::Folder),
            false => Offer::plain(&name, CompletionItemKind::File),
        })
        .collect()
}

/// Files that can be used by their path: other `.claw` files, and folders on the way to them.
pub(super) fn modules_beside(view: &View, begun: &str) -> Vec<Offer> {
    let own = view.program.entry.rsplit('/').next().unwrap_or_default();
    let mut offers = files(view, begun, false);
    offers.retain(|offer| {
        offer.kind == CompletionItemKind::Folder
            || (offer.label.ends_with(".claw") && offer.label != own)
    });
    offers
}

/// Modules of the library that are not used yet.
pub(super) fn modules(view: &View, begun: &str) -> Vec<Offer> {
    let index = &view.program.index;
    let used = index.files.first().map(|file| &file.aliases);
    let names = names(view, "std").into_iter().filter_map(|(name, _)| {
        let name = name.strip_suffix(".claw")?.to_string();
        // What is replaced is the last part of what is begun.
        let label = match begun.rsplit_once('/') {
            Some(("std", _)) => name.clone(),
            Some(_) => return None,
            None => format!("std/{name}"),
        };
        let is_used = used.is_some_and(|used| used.contains_key(&name)) && begun != name;
        (!is_used).then(|| Offer::plain(&label, CompletionItemKind::Module))
    });
    names.collect()
}
