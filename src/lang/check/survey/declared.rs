//! The first round: what each file declares.

use crate::lang::index::{DeclarationKind as K, Signature, SignatureArgument};
use crate::lang::syntax::ast::{self, ItemKind};
use crate::lang::types::Type;

use super::Survey;
use crate::lang::check::builtin;

impl Survey<'_> {
    /// Declares the items of a module.
    pub(super) fn items(&mut self, module: usize) {
        let world = self.world;
        let own = &world.modules[module];
        if self.places[module].file.is_none() {
            return;
        }
        for item in &own.ast.items {
            let (kind, name) = match &item.kind {
                ItemKind::Use(used) => {
                    self.alias(module, used, item);
                    self.places[module].items.push(None);
                    continue;
                }
                ItemKind::Output(_) => {
                    self.places[module].items.push(None);
                    continue;
                }
                ItemKind::Param(param) => (K::Param, param.name.clone()),
                ItemKind::Let(binding) => (K::Let, binding.name.clone()),
                ItemKind::Type(of) => (K::Type, of.name.clone()),
                ItemKind::Def(def) if def.external => (K::Operator, def.name.clone()),
                ItemKind::Def(def) => (K::Def, def.name.clone()),
                ItemKind::Stage(stage) => (K::Stage, stage.name.clone()),
                ItemKind::Test(test) => {
                    (K::Test, ast::Name { text: test.name.clone(), span: test.span })
                }
            };
            let place = self.declare(kind, &name, item.span, &item.doc);
            self.places[module].items.push(Some(place));
            let of = &mut self.index.declarations[place];
            let places = &mut self.places[module];
            match kind {
                K::Param | K::Let | K::Stage => {
                    of.ty = own.values.get(&name.text).map_or(Type::Unknown, |of| of.ty.clone());
                    places.values.entry(name.text).or_insert(place);
                }
                K::Type => {
                    of.ty = own.types.get(&name.text).cloned().unwrap_or(Type::Unknown);
                    places.types.entry(name.text).or_insert(place);
                }
                K::Def | K::Operator => {
                    places.defs.entry(name.text).or_insert(place);
                }
                _ => {}
            }
        }
        self.signatures_of(module);
    }

    fn alias(&mut self, module: usize, used: &ast::Use, item: &ast::Item) {
        let own = &self.world.modules[module];
        let known = own.uses.iter().find(|(_, of)| of.span == used.span);
        let (text, target) = match (known, &used.alias) {
            (Some((name, of)), _) => (name.clone(), of.module),
            (None, Some(alias)) => (alias.text.clone(), None),
            (None, None) => return,
        };
        let target = target.and_then(|target| self.file_declaration(target));
        let span = used.alias.as_ref().map_or(used.span, |alias| alias.span);
        let name = ast::Name { text: text.clone(), span };
        let place = self.declare(K::Alias, &name, item.span, "");
        self.index.declarations[place].target = target;
        if let (Some(target), Some(_)) = (target, &used.alias) {
            self.refer(used.span, target);
        }
        self.places[module].aliases.insert(text.clone(), place);
        let Some(file) = self.places[module].file else { return };
        if let Some(of) = self.index.files.iter_mut().find(|of| of.file == file) {
            of.aliases.insert(text, target);
        }
    }

    fn signatures_of(&mut self, module: usize) {
        let world = self.world;
        self.signatures.resize(world.signatures.len(), None);
        for (name, number) in &world.modules[module].defs {
            let signature = &world.signatures[*number];
            let declaration = self.places[module].defs.get(name).copied();
            let args = signature.args.iter().map(|arg| SignatureArgument {
                name: arg.name.clone(),
                ty: arg.ty.clone(),
                default: arg.default.as_ref().map(|default| default.text.clone()),
                declaration: None,
            });
            self.index.signatures.push(Signature {
                shown: signature.shown.clone(),
                args: args.collect(),
                returns: signature.returns.clone(),
                declaration,
            });
            let place = self.index.signatures.len() - 1;
            self.signatures[*number] = Some(place);
            if let Some(declaration) = declaration {
                let of = &mut self.index.declarations[declaration];
                of.signature = Some(place);
                of.ty = signature.returns.clone();
            }
        }
    }

    /// Functions that need no file's name: those of the prelude and of the language itself.
    pub(super) fn bare_functions(&mut self) {
        let world = self.world;
        if let Some(prelude) = world.prelude {
            for (name, number) in &world.modules[prelude].defs {
                if let Some(Some(place)) = self.signatures.get(*number) {
                    self.index.bare.insert(name.clone(), *place);
                }
            }
        }
        for name in builtin::NAMES {
            let Some((args, returns)) = of_the_language(name) else { continue };
            let args = args.into_iter().enumerate().map(|(i, (name, ty))| SignatureArgument {
                name: name.to_string(),
                ty,
                default: (i > 0).then(String::new),
                declaration: None,
            });
            let shown = (*name).to_string();
            let signature = Signature { shown, args: args.collect(), returns, declaration: None };
            self.index.signatures.push(signature);
            self.index.bare.insert((*name).to_string(), self.index.signatures.len() - 1);
        }
    }
}

/// The arguments and the result of a function of the language itself.
fn of_the_language(name: &str) -> Option<(Vec<(&'static str, Type)>, Type)> {
    Some(match name {
        "model" => (builtin::settings(name), Type::Model),
        "sandbox" => (builtin::settings(name), Type::Sandbox),
        "file" => (vec![("path", Type::Str)], Type::File),
        "dir" => (vec![("path", Type::Str)], Type::Dir),
        "env" => (vec![("name", Type::Str)], Type::Str),
        "secret" => (vec![("name", Type::Str)], Type::Secret),
        "template" => (vec![("path", Type::Str)], Type::Str),
        "len" => (vec![("of", Type::Json)], Type::Int),
        _ => return None,
    })
}
