//! Who is where: the page of each module, the place of each name on it, and who names whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Operators;
use crate::lang::{self, DeclaredKind, Outline};

use super::highlight::TYPES;

/// The module whose functions need no `use`.
const PRELUDE: &str = "std/rows.claw";

/// A site before its pages are written.
pub struct Site<'s> {
    pub(super) title: String,
    pub(super) outlines: &'s [Outline],
    pub(super) operators: Option<&'s Operators>,
    modules: BTreeMap<&'s str, &'s Outline>,
    /// Types by their bare name, where only one module has it.
    types: BTreeMap<&'s str, (&'s str, &'s str)>,
    /// Who names a type, by the type: `(module, name)`.
    named_by: BTreeMap<(&'s str, &'s str), BTreeSet<(&'s str, &'s str)>>,
    codes: BTreeSet<&'static str>,
}

impl<'s> Site<'s> {
    /// A site about `outlines`. With `operators`, an operator's page says its version and how its
    /// results are kept.
    pub fn new(title: &str, outlines: &'s [Outline], operators: Option<&'s Operators>) -> Site<'s> {
        let mut types: BTreeMap<&str, Option<(&str, &str)>> = BTreeMap::new();
        let mut named_by: BTreeMap<(&str, &str), BTreeSet<(&str, &str)>> = BTreeMap::new();
        for outline in outlines {
            for item in &outline.items {
                if item.kind == DeclaredKind::Type {
                    types
                        .entry(&item.name)
                        .and_modify(|known| *known = None)
                        .or_insert(Some((&outline.module, &item.name)));
                }
                for link in &item.signature.links {
                    let by = (outline.module.as_str(), item.name.as_str());
                    if by != (link.module.as_str(), link.name.as_str()) {
                        named_by.entry((&link.module, &link.name)).or_default().insert(by);
                    }
                }
            }
        }
        Site {
            title: title.to_string(),
            outlines,
            operators,
            modules: outlines.iter().map(|outline| (outline.module.as_str(), outline)).collect(),
            types: types.into_iter().filter_map(|(name, place)| Some((name, place?))).collect(),
            named_by,
            codes: lang::codes().into_iter().collect(),
        }
    }

    /// The page of a module, from the site's root: the library's lie in `std/`, all others in
    /// `project/`, so that none can take the name of a page that every site has.
    pub(super) fn page(module: &str) -> String {
        let stem = module.strip_suffix(".claw").unwrap_or(module);
        if stem.starts_with("std/") {
            format!("{stem}.html")
        } else {
            format!("project/{stem}.html")
        }
    }

    /// How a module is called on pages: as a `use` names it.
    pub(super) fn shown(module: &str) -> &str {
        if module.starts_with("std/") {
            module.strip_suffix(".claw").unwrap_or(module)
        } else {
            module
        }
    }

    /// The address of a module from the site's root.
    pub(super) fn module_address(&self, module: &str) -> Option<String> {
        self.modules.contains_key(module).then(|| Site::page(module))
    }

    /// The address of a declaration from the site's root.
    pub(super) fn address(&self, module: &str, name: &str) -> Option<String> {
        self.modules.get(module)?.find(name)?;
        Some(format!("{}#{name}", Site::page(module)))
    }

    /// The declarations that name a type, in order.
    pub(super) fn naming(&self, module: &str, name: &str) -> Vec<(&'s str, &'s str)> {
        self.named_by.get(&(module, name)).into_iter().flatten().copied().collect()
    }

    /// What a name in a module's text means, as an address from the site's root: `imagine`,
    /// `persona.imagine`, `std/persona`, `Model`, `E0304`.
    pub(super) fn find(&self, scope: Option<&Outline>, name: &str) -> Option<String> {
        if self.codes.contains(name) {
            return Some(format!("errors.html#{name}"));
        }
        if name.starts_with("std/") {
            return self.module_address(&format!("{name}.claw"));
        }
        if let Some((module, name)) = name.split_once('.') {
            let used = scope.and_then(|scope| {
                scope.uses.iter().find(|used| used.name == module)?.module.as_deref()
            });
            return match used {
                Some(used) => self.address(used, name),
                None => self.address(&format!("std/{module}.claw"), name),
            };
        }
        if let Some(scope) = scope
            && let Some(address) = self.address(&scope.module, name)
        {
            return Some(address);
        }
        if TYPES.contains(&name) && name.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Some("language.html#types".to_string());
        }
        self.address(PRELUDE, name)
    }

    /// The same for a type in a signature; one that was inferred has its bare name only.
    pub(super) fn find_type(&self, scope: &Outline, name: &str) -> Option<String> {
        self.find(Some(scope), name).or_else(|| {
            let (module, name) = self.types.get(name)?;
            self.address(module, name)
        })
    }
}
