//! Types: what a module declares, and what a written type means.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::syntax::ast::{self, ItemKind};
use crate::lang::types::{RecordType, Type};

use super::declare::tell_circle;
use super::fit::is_too_large;
use super::names;
use super::order::order;
use super::world::World;

pub(super) fn types(
    world: &mut World,
    module: usize,
    ast: &ast::Module,
    found: &mut Vec<Diagnostic>,
) {
    let mut items: Vec<&ast::TypeItem> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &ast.items {
        if let ItemKind::Type(item) = &item.kind
            && !places.contains_key(item.name.text.as_str())
        {
            places.insert(&item.name.text, items.len());
            items.push(item);
        }
    }
    let needs: Vec<Vec<usize>> = items
        .iter()
        .map(|item| {
            let names = names::of_type(&item.ty);
            names.iter().filter_map(|name| places.get(name.as_str()).copied()).collect()
        })
        .collect();
    let order = order(&needs);
    for circle in &order.circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| &items[*place].name).collect();
        let way_out = "a value cannot hold itself; let it hold an id, or Json";
        tell_circle("E0207", "type", "holds", way_out, &names, found);
        for place in circle {
            let name = items[*place].name.text.clone();
            world.modules[module].types.insert(name, Type::Unknown);
        }
    }
    for place in order.sorted {
        let item = items[place];
        if world.modules[module].types.contains_key(&item.name.text) {
            continue;
        }
        let mut ty = resolve(world, module, &item.ty, false, found);
        if let Type::Record(record) = &ty
            && record.name.is_none()
        {
            let (name, fields) = (Some(item.name.text.clone()), record.fields.clone());
            ty = Type::Record(RecordType { name, fields }.into());
        }
        if is_too_large(&ty) {
            found.push(
                Diagnostic::error("E0404", format!("type `{}` grows too large", item.name.text))
                    .at(item.name.span, "types of types add up here"),
            );
            ty = Type::Unknown;
        }
        world.modules[module].types.insert(item.name.text.clone(), ty);
    }
}

/// The types that the language itself knows.
pub(super) const TYPES: &[(&str, Type)] = &[
    ("Agent", Type::Agent),
    ("Checkpoint", Type::Checkpoint),
    ("Digest", Type::Digest),
    ("Dir", Type::Dir),
    ("File", Type::File),
    ("Json", Type::Json),
    ("Model", Type::Model),
    ("Sandbox", Type::Sandbox),
    ("Secret", Type::Secret),
    ("Secrets", Type::Secrets),
    ("bool", Type::Bool),
    ("bytes", Type::Bytes),
    ("duration", Type::Duration),
    ("float", Type::Float),
    ("int", Type::Int),
    ("money", Type::Money),
    ("percent", Type::Percent),
    ("str", Type::Str),
];

/// The type that is written. In the signatures of operators (`generic`) a single upper-case letter
/// that names no type is a type variable.
pub(super) fn resolve(
    world: &World,
    module: usize,
    ty: &ast::TypeExpr,
    generic: bool,
    found: &mut Vec<Diagnostic>,
) -> Type {
    let mut inner = |ty: &ast::TypeExpr| resolve(world, module, ty, generic, found);
    match &ty.kind {
        ast::TypeKind::List(of) => Type::list(inner(of)),
        ast::TypeKind::Optional(of) => match inner(of) {
            of @ Type::Optional(_) => of,
            of => Type::Optional(of.into()),
        },
        ast::TypeKind::Function(from, to) => Type::Function(inner(from).into(), inner(to).into()),
        ast::TypeKind::Enum(words) => {
            let mut known: Vec<String> = Vec::new();
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            for word in words {
                if !seen.insert(word) {
                    found.push(
                        Diagnostic::error("E0101", format!("\"{word}\" is listed twice"))
                            .at(ty.span, "in this type"),
                    );
                } else {
                    known.push(word.clone());
                }
            }
            Type::Enum(known.into())
        }
        ast::TypeKind::Record(written) => {
            let mut fields: Vec<(String, Type)> = Vec::new();
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            for ast::FieldType { name, ty, .. } in written {
                let ty = resolve(world, module, ty, generic, found);
                if !seen.insert(&name.text) {
                    found.push(
                        Diagnostic::error(
                            "E0101",
                            format!("field `{}` is declared twice", name.text),
                        )
                        .at(name.span, "again here"),
                    );
                } else {
                    fields.push((name.text.clone(), ty));
                }
            }
            Type::Record(RecordType { name: None, fields }.into())
        }
        ast::TypeKind::Name(module_name, name) => match module_name {
            None => own_type(world, module, name, generic, found),
            Some(module_name) => other_type(world, module, module_name, name, found),
        },
    }
}

pub(super) fn own_type(
    world: &World,
    module: usize,
    name: &ast::Name,
    generic: bool,
    found: &mut Vec<Diagnostic>,
) -> Type {
    let own = &world.modules[module];
    if let Some(ty) = own.types.get(&name.text) {
        return ty.clone();
    }
    if let Some((_, ty)) = TYPES.iter().find(|(known, _)| *known == name.text) {
        return ty.clone();
    }
    if name.text.len() == 1 && name.text.chars().all(|c| c.is_ascii_uppercase()) {
        if generic {
            return Type::Var(name.text.clone());
        }
        found.push(
            Diagnostic::error("E0105", format!("there is no type `{}`", name.text))
                .at(name.span, "unknown type")
                .help("type variables belong to `extern def`s only"),
        );
        return Type::Unknown;
    }
    if own.broken.contains(&name.text) {
        return Type::Unknown;
    }
    let known = own.types.keys().map(String::as_str).chain(TYPES.iter().map(|(name, _)| *name));
    // The type may be one of a module that is used, or be called otherwise in other languages.
    let elsewhere = own.uses.iter().find_map(|(alias, used)| {
        let module = &world.modules[used.module?];
        module.types.contains_key(&name.text).then(|| format!("{alias}.{}", name.text))
    });
    let elsewhere = elsewhere.or_else(|| {
        Some(
            match name.text.as_str() {
                "string" | "String" | "text" => "str",
                "integer" | "i64" | "number" => "int",
                "double" | "f64" | "real" => "float",
                "boolean" => "bool",
                "size" => "bytes",
                "time" => "duration",
                _ => return None,
            }
            .to_string(),
        )
    });
    let label = match elsewhere {
        Some(elsewhere) => format!("did you mean `{elsewhere}`?"),
        None => did_you_mean(&name.text, known.clone(), "unknown type"),
    };
    found.push(
        Diagnostic::error("E0105", format!("there is no type `{}`", name.text))
            .at(name.span, label)
            .help(format!("there is {}", listed(known))),
    );
    Type::Unknown
}

pub(super) fn other_type(
    world: &World,
    module: usize,
    module_name: &ast::Name,
    name: &ast::Name,
    found: &mut Vec<Diagnostic>,
) -> Type {
    let own = &world.modules[module];
    let Some(used) = own.uses.get(&module_name.text) else {
        let known = || own.uses.keys().map(String::as_str);
        let library = world.library.iter().find(|known| **known == module_name.text);
        let help = match library {
            Some(known) => format!("add `use std/{known}`"),
            None => format!("used are {}", listed(known())),
        };
        found.push(
            Diagnostic::error("E0103", format!("no module `{}` is used", module_name.text))
                .at(module_name.span, did_you_mean(&module_name.text, known(), "not used"))
                .help(help),
        );
        return Type::Unknown;
    };
    used.asked.set(true);
    let Some(target) = used.module else {
        return Type::Unknown;
    };
    let target = &world.modules[target];
    if let Some(ty) = target.types.get(&name.text) {
        return ty.clone();
    }
    if target.broken.contains(&name.text) {
        return Type::Unknown;
    }
    let known = || target.types.keys().map(String::as_str);
    found.push(
        Diagnostic::error("E0105", format!("{} has no type `{}`", target.path, name.text))
            .at(name.span, did_you_mean(&name.text, known(), "unknown type"))
            .help(format!("it has {}", listed(known()))),
    );
    Type::Unknown
}
