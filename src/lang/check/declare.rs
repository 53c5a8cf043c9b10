//! Declarations of one module: its types, signatures, constants and the bodies of its defs.
//!
//! Each kind is put in order by what it names, so that a program may declare things in any order;
//! what names itself in a circle is told, with the circle.

use std::collections::BTreeMap;

use crate::lang::diagnostic::{Diagnostic, did_you_mean, listed};
use crate::lang::fold::{Nothing, fold};
use crate::lang::program::{ExprKind, Param};
use crate::lang::source::Span;
use crate::lang::syntax::ast::{self, ItemKind};
use crate::lang::types::{RecordType, Type};

use super::fit::is_too_large;
use super::infer::{Checker, Place, parts_of};
use super::names::{self, Names};
use super::order::{drawn, in_one_line, order};
use super::world::{ArgSignature, Body, Default, Global, GlobalKind, Signature, World};

/// How deep the expression of a constant may be: it is written out wherever it is named.
const MAX_CONSTANT_DEPTH: usize = 128;

/// Declares a module whose used modules are declared already. Gives its parameters, which only the
/// entry may have.
pub(super) fn declare(world: &mut World, module: usize, found: &mut Vec<Diagnostic>) -> Vec<Param> {
    let ast = std::mem::take(&mut world.modules[module].ast);
    placed(world, module, &ast, found);
    unique(&ast, found);
    types(world, module, &ast, found);
    signatures(world, module, &ast, found);
    let params = constants(world, module, &ast, found);
    defaults(world, module, &ast, found);
    bodies(world, module, &ast, found);
    world.modules[module].ast = ast;
    params
}

/// The name that an item declares.
pub(super) fn name_of(kind: &ItemKind) -> Option<&ast::Name> {
    match kind {
        ItemKind::Param(param) => Some(&param.name),
        ItemKind::Let(binding) => Some(&binding.name),
        ItemKind::Type(item) => Some(&item.name),
        ItemKind::Def(def) => Some(&def.name),
        ItemKind::Stage(stage) => Some(&stage.name),
        ItemKind::Use(_) | ItemKind::Output(_) => None,
    }
}

/// Some declarations belong to some files only.
fn placed(world: &World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    let (entry, library) = (module == 0, world.modules[module].library);
    for item in &ast.items {
        let (what, span) = match &item.kind {
            ItemKind::Param(param) if !entry => ("param", param.name.span),
            ItemKind::Stage(stage) if !entry => ("stage", stage.name.span),
            ItemKind::Output(output) if !entry => ("output", output.stage.span),
            ItemKind::Def(def) if def.external && !library => {
                found.push(
                    Diagnostic::error("E0108", "`extern def` belongs to the library")
                        .at(def.name.span, "an operator is implemented in claw itself")
                        .help("write `def name(…) -> T { … }` out of other operators"),
                );
                continue;
            }
            ItemKind::Def(def) if def.external && def.body.is_some() => {
                found.push(
                    Diagnostic::error("E0108", "an `extern def` has no body")
                        .at(def.name.span, "implemented in claw itself")
                        .help("leave `extern` or the body out"),
                );
                continue;
            }
            ItemKind::Def(def) if !def.external && def.body.is_none() => {
                found.push(
                    Diagnostic::error("E0108", format!("`{}` has no body", def.name.text))
                        .at(def.name.span, "what does it give?")
                        .help("write `{ … }` after its type"),
                );
                continue;
            }
            _ => continue,
        };
        found.push(
            Diagnostic::error("E0108", format!("a file that is used has no `{what}`"))
                .at(span, "only the file that is run has")
                .help("used files declare types, constants and defs; make this a `def`"),
        );
    }
}

/// A name means one thing in a file.
fn unique(ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for name in ast.items.iter().filter_map(|item| name_of(&item.kind)) {
        if let Some(span) = first.get(name.text.as_str()) {
            found.push(
                Diagnostic::error("E0101", format!("`{}` is declared twice", name.text))
                    .at(name.span, "again here")
                    .at(*span, "first here"),
            );
        } else {
            first.insert(&name.text, name.span);
        }
    }
}

/// Tells a circle among named things.
pub(super) fn tell_circle(
    code: &'static str,
    what: &str,
    verb: &str,
    way_out: &str,
    circle: &[&ast::Name],
    found: &mut Vec<Diagnostic>,
) {
    let names: Vec<&str> = circle.iter().map(|name| name.text.as_str()).collect();
    let message = match names.as_slice() {
        [one] => format!("{what} `{one}` {verb} itself"),
        _ => format!("{what}s need each other: {}", in_one_line(&names)),
    };
    let help =
        if names.len() > 1 { format!("{}\n{way_out}", drawn(&names)) } else { way_out.to_string() };
    let mut diagnostic = Diagnostic::error(code, message).help(help);
    for (i, name) in circle.iter().enumerate() {
        let next = names[(i + 1) % names.len()];
        diagnostic = diagnostic.at(name.span, format!("{verb} `{next}`"));
    }
    found.push(diagnostic);
}

fn types(world: &mut World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
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
const TYPES: &[(&str, Type)] = &[
    ("Agent", Type::Agent),
    ("Checkpoint", Type::Checkpoint),
    ("Digest", Type::Digest),
    ("Dir", Type::Dir),
    ("File", Type::File),
    ("Json", Type::Json),
    ("Model", Type::Model),
    ("Sandbox", Type::Sandbox),
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
            for word in words {
                if known.contains(word) {
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
            for (name, ty) in written {
                let ty = resolve(world, module, ty, generic, found);
                if fields.iter().any(|(earlier, _)| *earlier == name.text) {
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

fn own_type(
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

fn other_type(
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
    let known = || target.types.keys().map(String::as_str);
    found.push(
        Diagnostic::error("E0105", format!("{} has no type `{}`", target.path, name.text))
            .at(name.span, did_you_mean(&name.text, known(), "unknown type"))
            .help(format!("it has {}", listed(known()))),
    );
    Type::Unknown
}

fn signatures(world: &mut World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    for item in &ast.items {
        let ItemKind::Def(def) = &item.kind else {
            continue;
        };
        if world.modules[module].defs.contains_key(&def.name.text) {
            continue;
        }
        let mut args: Vec<ArgSignature> = Vec::new();
        for arg in &def.args {
            let ty = resolve(world, module, &arg.ty, def.external, found);
            if args.iter().any(|earlier| earlier.name == arg.name.text) {
                found.push(
                    Diagnostic::error(
                        "E0101",
                        format!("argument `{}` is declared twice", arg.name.text),
                    )
                    .at(arg.name.span, "again here"),
                );
                continue;
            }
            let default = arg.default.as_ref().map(|default| {
                let text = world.sources.text(default.span.file);
                let range = default.span.start as usize..default.span.end as usize;
                let words: Vec<&str> = text.get(range).unwrap_or("…").split_whitespace().collect();
                Default { expr: None, text: words.join(" ") }
            });
            args.push(ArgSignature { name: arg.name.text.clone(), ty, default });
        }
        let returns = resolve(world, module, &def.returns, def.external, found);
        let own = &world.modules[module];
        let full = format!("{}.{}", own.name, def.name.text);
        let bare = world.prelude == Some(module) || module == 0;
        let place = world.signatures.len();
        let signature = Signature {
            shown: if bare { def.name.text.clone() } else { full.clone() },
            operator: if def.external { full } else { format!("#{place}") },
            args,
            returns,
            span: def.name.span,
            body: None,
        };
        world.signatures.push(signature);
        world.modules[module].defs.insert(def.name.text.clone(), place);
    }
}

/// A `let` or a `param`, while they are put in order.
enum Constant<'a> {
    Let(&'a ast::Let),
    Param(&'a ast::Param, &'a str),
}

impl Constant<'_> {
    fn name(&self) -> &ast::Name {
        match self {
            Constant::Let(binding) => &binding.name,
            Constant::Param(param, _) => &param.name,
        }
    }

    fn value(&self) -> Option<&ast::Expr> {
        match self {
            Constant::Let(binding) => Some(&binding.value),
            Constant::Param(param, _) => param.default.as_ref(),
        }
    }
}

fn constants(
    world: &mut World,
    module: usize,
    ast: &ast::Module,
    found: &mut Vec<Diagnostic>,
) -> Vec<Param> {
    let mut items: Vec<Constant<'_>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for item in &ast.items {
        let constant = match &item.kind {
            ItemKind::Let(binding) => Constant::Let(binding),
            ItemKind::Param(param) if module == 0 => Constant::Param(param, &item.doc),
            _ => continue,
        };
        if places.contains_key(&constant.name().text) {
            continue;
        }
        places.insert(constant.name().text.clone(), items.len());
        items.push(constant);
    }
    let needs: Vec<Vec<usize>> = items
        .iter()
        .map(|item| {
            let names = item.value().map(Names::of).unwrap_or_default();
            names.values.iter().filter_map(|name| places.get(name).copied()).collect()
        })
        .collect();
    let order = order(&needs);
    for circle in &order.circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| items[*place].name()).collect();
        let way_out = "a constant is made of what is known before it";
        tell_circle("E0403", "constant", "needs", way_out, &names, found);
        for place in circle {
            let name = items[*place].name();
            let nothing = Checker::unknown(name.span);
            let global =
                Global { kind: GlobalKind::Let(nothing, 1), ty: Type::Unknown, span: name.span };
            world.modules[module].values.insert(name.text.clone(), global);
        }
    }
    let mut params: BTreeMap<usize, Param> = BTreeMap::new();
    for place in order.sorted {
        let name = items[place].name();
        if world.modules[module].values.contains_key(&name.text) {
            continue;
        }
        let global = match &items[place] {
            Constant::Let(binding) => constant(world, module, binding, found),
            Constant::Param(param, doc) => {
                let checked = parameter(world, module, param, doc, found);
                let global =
                    Global { kind: GlobalKind::Param, ty: checked.ty.clone(), span: name.span };
                params.insert(place, checked);
                global
            }
        };
        world.modules[module].values.insert(name.text.clone(), global);
    }
    // Bounds may name any parameter, so they come after all of them.
    for (place, checked) in &mut params {
        let Constant::Param(param, _) = &items[*place] else {
            continue;
        };
        let Some(bound) = &param.bound else { continue };
        let mut checker = Checker::new(world, module, Place::Constant, found);
        checked.bound = Some(checker.want(bound, &Type::Bool, "the condition of a parameter"));
    }
    params.into_values().collect()
}

fn constant(
    world: &World,
    module: usize,
    binding: &ast::Let,
    found: &mut Vec<Diagnostic>,
) -> Global {
    let wanted = binding.ty.as_ref().map(|ty| resolve(world, module, ty, false, found));
    let mut checker = Checker::new(world, module, Place::Constant, found);
    let mut value = match &wanted {
        Some(wanted) => {
            let what = format!("`{}`", binding.name.text);
            checker.want(&binding.value, wanted, &what)
        }
        None => checker.expr(&binding.value, None),
    };
    value = fold(value, &mut Nothing, found);
    let size = value.size();
    if size.depth > MAX_CONSTANT_DEPTH || is_too_large(&value.ty) {
        found.push(
            Diagnostic::error("E0404", format!("constant `{}` grows too large", binding.name.text))
                .at(binding.name.span, "constants of constants add up here"),
        );
        value = Checker::unknown(binding.value.span);
    }
    let (ty, parts) = (value.ty.clone(), parts_of(&value));
    Global { kind: GlobalKind::Let(value, parts), ty, span: binding.name.span }
}

fn parameter(
    world: &World,
    module: usize,
    param: &ast::Param,
    doc: &str,
    found: &mut Vec<Diagnostic>,
) -> Param {
    let ty = resolve(world, module, &param.ty, false, found);
    let default = param.default.as_ref().map(|default| {
        let mut checker = Checker::new(world, module, Place::Constant, found);
        let what = format!("`{}`", param.name.text);
        let default = checker.want(default, &ty, &what);
        fold(default, &mut Nothing, found)
    });
    Param {
        name: param.name.text.clone(),
        ty,
        doc: doc.to_string(),
        default,
        bound: None,
        secret: param.secret,
        span: param.name.span,
    }
}

/// Defaults of arguments. They may call other defs of the module, whose own defaults come first.
fn defaults(world: &mut World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    let mut defs: Vec<&ast::Def> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &ast.items {
        if let ItemKind::Def(def) = &item.kind
            && !places.contains_key(def.name.text.as_str())
        {
            places.insert(&def.name.text, defs.len());
            defs.push(def);
        }
    }
    let needs: Vec<Vec<usize>> = defs
        .iter()
        .map(|def| {
            let defaults = def.args.iter().filter_map(|arg| arg.default.as_ref());
            let mut needs: Vec<usize> = defaults
                .flat_map(|default| Names::of(default).functions)
                .filter_map(|name| places.get(name.as_str()).copied())
                .collect();
            needs.dedup();
            needs
        })
        .collect();
    let order = order(&needs);
    for circle in &order.circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| &defs[*place].name).collect();
        tell_circle("E0402", "def", "calls", "defs cannot be recursive", &names, found);
    }
    let in_circles: Vec<usize> = order.circles.iter().flatten().copied().collect();
    for place in order.sorted {
        if in_circles.contains(&place) {
            continue;
        }
        let def = defs[place];
        let Some(number) = world.modules[module].defs.get(&def.name.text).copied() else {
            continue;
        };
        for arg in &def.args {
            let Some(default) = &arg.default else {
                continue;
            };
            let signature = &world.signatures[number];
            let Some(slot) = signature.args.iter().position(|slot| slot.name == arg.name.text)
            else {
                continue;
            };
            let what = format!("`{}` of `{}`", arg.name.text, signature.shown);
            let ty = signature.args[slot].ty.clone();
            let before = found.len();
            let mut checker = Checker::new(world, module, Place::Default, found);
            let value = checker.want(default, &ty, &what);
            let value = fold(value, &mut Nothing, found);
            if found.len() == before
                && let Some(default) = &mut world.signatures[number].args[slot].default
            {
                default.expr = Some(value);
            }
        }
    }
}

fn bodies(world: &mut World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    for item in &ast.items {
        let ItemKind::Def(def) = &item.kind else {
            continue;
        };
        let (Some((bindings, result)), Some(number)) =
            (&def.body, world.modules[module].defs.get(&def.name.text).copied())
        else {
            continue;
        };
        if world.signatures[number].span != def.name.span {
            continue;
        }
        let before = found.len();
        let lets: Vec<Option<Type>> = bindings
            .iter()
            .map(|binding| binding.ty.as_ref().map(|ty| resolve(world, module, ty, false, found)))
            .collect();
        let mut checker = Checker::new(world, module, Place::Body, found);
        let signature = &world.signatures[number];
        for arg in &signature.args {
            checker.locals.push((arg.name.clone(), arg.ty.clone()));
        }
        let mut checked = Vec::new();
        for (binding, wanted) in bindings.iter().zip(lets) {
            let value = match &wanted {
                Some(wanted) => {
                    let what = format!("`{}`", binding.name.text);
                    checker.want(&binding.value, wanted, &what)
                }
                None => checker.expr(&binding.value, None),
            };
            if checker.locals.iter().any(|(local, _)| *local == binding.name.text) {
                checker.tell(
                    Diagnostic::error("E0101", format!("`{}` is bound twice", binding.name.text))
                        .at(binding.name.span, "again here"),
                );
            }
            let ty = checker.bounded(value.ty.clone(), binding.name.span);
            checker.locals.push((binding.name.text.clone(), ty));
            checked.push((binding.name.text.clone(), value));
        }
        let what = format!("what `{}` gives", signature.shown);
        let result = checker.want(result, &signature.returns, &what);
        if found.len() == before {
            let mut folded = |expr| fold(expr, &mut Nothing, found);
            let bindings = checked.into_iter().map(|(name, value)| (name, folded(value))).collect();
            let result = folded(result);
            world.signatures[number].body = Some(Body { bindings, result });
        }
    }
    recursion(world, module, ast, found);
}

/// Defs may call each other, but never in a circle.
fn recursion(world: &World, module: usize, ast: &ast::Module, found: &mut Vec<Diagnostic>) {
    let mut defs: Vec<&ast::Def> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &ast.items {
        if let ItemKind::Def(def) = &item.kind
            && world.modules[module].defs.contains_key(&def.name.text)
        {
            places.entry(&def.name.text).or_insert(defs.len());
            defs.push(def);
        }
    }
    let needs: Vec<Vec<usize>> = defs
        .iter()
        .map(|def| {
            let Some((bindings, result)) = &def.body else {
                return Vec::new();
            };
            let mut needs: Vec<usize> = bindings
                .iter()
                .map(|binding| &binding.value)
                .chain([result])
                .flat_map(|expr| Names::of(expr).functions)
                .filter_map(|name| places.get(name.as_str()).copied())
                .collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect();
    for circle in order(&needs).circles {
        let names: Vec<&ast::Name> = circle.iter().map(|place| &defs[*place].name).collect();
        let way_out = "a program must end: write out the steps, or make them rows of a `for`";
        tell_circle("E0402", "def", "calls", way_out, &names, found);
    }
}

/// Whether an expression is known before anything runs and without any row.
pub(super) fn is_constant(kind: &ExprKind) -> bool {
    !matches!(kind, ExprKind::Stage(_) | ExprKind::Local(_) | ExprKind::Call(_) | ExprKind::For(_))
}
