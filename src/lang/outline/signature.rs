//! Types and signatures as text with links in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::lang::source::Span;
use crate::lang::syntax::ast::{self, ItemKind, TypeExpr, TypeKind};

use super::Outline;

/// A signature that is longer than this has an argument or a field a line.
const WIDTH: usize = 88;

/// Text with links in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Linked {
    /// The text.
    pub text: String,
    /// Its links, in order; they do not overlap.
    pub links: Vec<Link>,
}

/// A place in a text that names a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// The module that declares it.
    pub module: String,
    /// Its name there.
    pub name: String,
}

impl Linked {
    /// Text without a link.
    pub fn plain(text: impl Into<String>) -> Linked {
        Linked { text: text.into(), links: Vec::new() }
    }

    /// Adds text without a link.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds text with its links.
    pub(super) fn append(&mut self, other: &Linked) {
        let at = self.text.len();
        self.text.push_str(&other.text);
        let links = other.links.iter().cloned();
        self.links.extend(links.map(|link| Link {
            start: link.start + at,
            end: link.end + at,
            ..link
        }));
    }
}

/// Writes types of one file.
pub(super) struct Writer<'t> {
    module: &'t str,
    text: &'t str,
    comments: &'t [Span],
    /// Types that the file declares.
    own: BTreeSet<&'t str>,
    /// Files that it uses, by the name that they have in it.
    used: BTreeMap<&'t str, &'t str>,
}

impl<'t> Writer<'t> {
    pub(super) fn new(outline: &'t Outline, tree: &'t ast::Module, text: &'t str) -> Writer<'t> {
        let own = tree.items.iter().filter_map(|item| match &item.kind {
            ItemKind::Type(of) => Some(of.name.text.as_str()),
            _ => None,
        });
        let used = outline
            .uses
            .iter()
            .filter_map(|used| Some((used.name.as_str(), used.module.as_deref()?)));
        Writer {
            module: &outline.module,
            text,
            comments: &tree.comments,
            own: own.collect(),
            used: used.collect(),
        }
    }

    /// The text of a place on one line, without comments.
    pub(super) fn one_line(&self, span: Span) -> String {
        let (mut at, end) = (span.start as usize, span.end as usize);
        let mut words = String::new();
        let inside =
            |comment: &&Span| (comment.start as usize) >= at && (comment.end as usize) <= end;
        let comments: Vec<&Span> = self.comments.iter().filter(inside).collect();
        for comment in comments {
            words.push_str(self.text.get(at..comment.start as usize).unwrap_or(""));
            at = comment.end as usize;
        }
        words.push_str(self.text.get(at..end).unwrap_or("…"));
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A type as it is written, with links to what it names.
    pub(super) fn ty(&self, ty: &TypeExpr) -> Linked {
        let mut out = Linked::default();
        self.write(ty, &mut out);
        out
    }

    fn write(&self, ty: &TypeExpr, out: &mut Linked) {
        match &ty.kind {
            TypeKind::Name(module, name) => self.named(module.as_ref(), name, out),
            TypeKind::List(of) => {
                out.push("[");
                self.write(of, out);
                out.push("]");
            }
            TypeKind::Optional(of) => {
                let round = matches!(of.kind, TypeKind::Function(..) | TypeKind::Enum(_));
                out.push(if round { "(" } else { "" });
                self.write(of, out);
                out.push(if round { ")?" } else { "?" });
            }
            TypeKind::Record(fields) => {
                out.push("{ ");
                for (i, field) in fields.iter().enumerate() {
                    out.push(if i > 0 { ", " } else { "" });
                    out.push(&format!("{}: ", field.name.text));
                    self.write(&field.ty, out);
                }
                out.push(if fields.is_empty() { "}" } else { " }" });
            }
            TypeKind::Enum(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                out.push(&words.join(" | "));
            }
            TypeKind::Function(from, to) => {
                self.write(from, out);
                out.push(" -> ");
                self.write(to, out);
            }
        }
    }

    fn named(&self, module: Option<&ast::Name>, name: &ast::Name, out: &mut Linked) {
        let start = out.text.len();
        let target = match module {
            Some(module) => {
                out.push(&format!("{}.", module.text));
                self.used.get(module.text.as_str()).copied()
            }
            None => self.own.contains(name.text.as_str()).then_some(self.module),
        };
        out.push(&name.text);
        if let Some(module) = target {
            let (module, name) = (module.to_string(), name.text.clone());
            out.links.push(Link { start, end: out.text.len(), module, name });
        }
    }

    /// `type Name = …`, a field a line when it is long.
    pub(super) fn type_item(&self, name: &str, ty: &TypeExpr) -> Linked {
        let mut whole = Linked::plain(format!("type {name} = "));
        whole.append(&self.ty(ty));
        let TypeKind::Record(fields) = &ty.kind else {
            return whole;
        };
        if whole.text.chars().count() <= WIDTH {
            return whole;
        }
        let mut long = Linked::plain(format!("type {name} = {{\n"));
        for field in fields {
            long.push(&format!("  {}: ", field.name.text));
            long.append(&self.ty(&field.ty));
            long.push(",\n");
        }
        long.push("}");
        long
    }

    /// `def name(a: T, b: U = 1) -> V`, an argument a line when it is long.
    pub(super) fn def(&self, def: &ast::Def) -> Linked {
        let word = if def.external { "extern def" } else { "def" };
        let short = self.def_as(def, word, "", ", ", "");
        if short.text.chars().count() <= WIDTH {
            return short;
        }
        self.def_as(def, word, "\n  ", ",\n  ", ",\n")
    }

    fn def_as(&self, def: &ast::Def, word: &str, open: &str, between: &str, close: &str) -> Linked {
        let mut out = Linked::plain(format!("{word} {}(", def.name.text));
        out.push(if def.args.is_empty() { "" } else { open });
        for (i, arg) in def.args.iter().enumerate() {
            out.push(if i > 0 { between } else { "" });
            out.push(&format!("{}: ", arg.name.text));
            out.append(&self.ty(&arg.ty));
            if let Some(default) = &arg.default {
                out.push(&format!(" = {}", self.one_line(default.span)));
            }
        }
        out.push(if def.args.is_empty() { "" } else { close });
        out.push(") -> ");
        out.append(&self.ty(&def.returns));
        out
    }
}
