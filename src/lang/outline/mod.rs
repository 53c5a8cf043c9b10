//! What a module declares, for people who use it: names, signatures, documentation, and what each
//! links to.
//!
//! An outline is made of one file's text alone. Nothing is checked and nothing outside is read, so
//! that a file with mistakes still has one: what does not parse is left out and named in
//! [`Outline::broken`]. Types are shown as they were written; [`Outline::infer`] adds those that only
//! checking knows.

mod signature;

use std::collections::BTreeMap;

use serde::Serialize;

use super::check::{Names, joined};
use super::program::Program;
use super::source::{FileId, SourceMap, Span};
use super::syntax::ast::{self, ItemKind};
use super::syntax::module;

pub use signature::{Link, Linked};

use signature::Writer;

/// A module and what it declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// Its path, as the language asks for it: `std/persona.claw`, `pipelines/quickstart.claw`.
    pub module: String,
    /// The name that a `use` gives it: `persona`.
    pub name: String,
    /// Whether it belongs to the standard library.
    pub library: bool,
    /// Its `//!` lines.
    pub doc: String,
    /// The modules that it uses, in order.
    pub uses: Vec<UsedModule>,
    /// What it declares, in order.
    pub items: Vec<Declared>,
    /// What it would declare if it parsed.
    pub broken: Vec<String>,
}

/// A module that another one uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsedModule {
    /// The name that it has there.
    pub name: String,
    /// As it was written: `std/persona`, `./rubrics.claw`.
    pub path: String,
    /// Its file, `None` for a package and for a path that leaves the project.
    pub module: Option<String>,
}

/// What a declaration declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredKind {
    /// `param`
    Parameter,
    /// `let`
    Constant,
    /// `type`
    Type,
    /// `extern def`: implemented in claw itself.
    Operator,
    /// `def`
    Function,
    /// `stage`
    Stage,
    /// `test`
    Test,
}

/// A declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// What it declares.
    pub kind: DeclaredKind,
    /// Its name; that of a test is a sentence.
    pub name: String,
    /// Its `///` lines.
    pub doc: String,
    /// The declaration in short: a function's arguments and result, a type's fields.
    pub signature: Linked,
    /// The type of a parameter, a constant or a stage, where it is written or was inferred.
    #[serde(rename = "type")]
    pub ty: Option<Linked>,
    /// What a function or an operator gives.
    pub returns: Option<Linked>,
    /// Arguments of a function or an operator.
    pub arguments: Vec<Argument>,
    /// Fields of a record type.
    pub fields: Vec<Field>,
    /// A parameter's default or a constant's value, as it was written.
    pub value: Option<String>,
    /// The condition that a parameter must meet.
    pub bound: Option<String>,
    /// Whether a parameter is `secret`.
    pub secret: bool,
    /// The stages, parameters and constants of this file that it reads, sorted.
    pub needs: Vec<String>,
    /// `output` lines that name the stage: the path of each, empty for one without.
    pub outputs: Vec<String>,
    /// How it is written, its documentation left out.
    pub source: String,
    /// The line that its name stands in, from 1.
    pub line: usize,
    /// The column (in characters, from 1) that its name stands at.
    pub column: usize,
}

/// An argument of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Linked,
    /// What stands for it when it is left out; none means that it must be given.
    pub default: Option<String>,
    /// Its `///` lines.
    pub doc: String,
}

/// A field of a record type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Linked,
    /// Its `///` lines.
    pub doc: String,
}

/// The outline of a file. `path` is how the language names it: `std/…` for the library, relative to
/// the project's root for all others.
pub fn outline(path: &str, text: &str) -> Outline {
    let mut sources = SourceMap::default();
    let file = sources.add(path, text.into());
    let tree = module(text, file, &mut Vec::new());
    let mut outline = Outline {
        module: path.to_string(),
        name: stem(path),
        library: path.starts_with("std/"),
        doc: tree.doc.clone(),
        uses: uses(path, &tree),
        items: Vec::new(),
        broken: tree.broken.iter().cloned().collect(),
    };
    let reader = Reader { sources: &sources, file, writer: Writer::new(&outline, &tree, text) };
    let mut items: Vec<Declared> =
        tree.items.iter().filter_map(|item| reader.declared(item, &tree)).collect();
    for item in &tree.items {
        if let ItemKind::Output(output) = &item.kind
            && let Some(stage) = items
                .iter_mut()
                .find(|stage| stage.kind == DeclaredKind::Stage && stage.name == output.stage.text)
        {
            let path = output.path.as_ref().map_or("", |(path, _)| path);
            stage.outputs.push(path.to_string());
        }
    }
    outline.items = items;
    outline
}

impl Outline {
    /// The declaration of a name. Tests have no names that could be asked for.
    pub fn find(&self, name: &str) -> Option<&Declared> {
        self.items.iter().find(|item| item.name == name && item.kind != DeclaredKind::Test)
    }

    /// Takes over the types of stages from the program that was checked with this file as its entry.
    pub fn infer(&mut self, program: &Program) {
        let types: BTreeMap<&str, String> =
            program.stages.iter().map(|stage| (&*stage.name, stage.ty.to_string())).collect();
        for item in self.items.iter_mut().filter(|item| item.kind == DeclaredKind::Stage) {
            if item.ty.is_none()
                && let Some(ty) = types.get(item.name.as_str())
            {
                item.ty = Some(Linked::plain(ty.clone()));
                item.signature = Linked::plain(format!("stage {}: {ty}", item.name));
            }
        }
    }
}

/// The name of a module without its folder and ending, as a `use` gives it.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".claw").unwrap_or(file).replace('-', "_")
}

fn uses(path: &str, tree: &ast::Module) -> Vec<UsedModule> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let used = tree.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Use(used) => Some(used),
        _ => None,
    });
    used.map(|used| {
        let (path, module) = match &used.path {
            ast::UsePath::Module(path) => {
                (path, path.starts_with("std/").then(|| format!("{path}.claw")))
            }
            ast::UsePath::File(path) => (path, joined(folder, path)),
        };
        let name = used.alias.as_ref().map_or_else(|| stem(path), |alias| alias.text.clone());
        UsedModule { name, path: path.clone(), module }
    })
    .collect()
}

/// Reads declarations of one file.
struct Reader<'t> {
    sources: &'t SourceMap,
    file: FileId,
    writer: Writer<'t>,
}

impl Reader<'_> {
    /// The text of a place, on one line.
    fn line_of(&self, span: Span) -> String {
        self.writer.one_line(span)
    }

    /// The text of a place as it was written.
    fn written(&self, span: Span) -> String {
        let text = self.sources.text(self.file);
        let text = text.get(span.start as usize..span.end as usize).unwrap_or("");
        text.trim_end().replace('\r', "")
    }

    fn declared(&self, item: &ast::Item, tree: &ast::Module) -> Option<Declared> {
        let (kind, name, span) = match &item.kind {
            ItemKind::Param(of) => (DeclaredKind::Parameter, &of.name.text, of.name.span),
            ItemKind::Let(of) => (DeclaredKind::Constant, &of.name.text, of.name.span),
            ItemKind::Type(of) => (DeclaredKind::Type, &of.name.text, of.name.span),
            ItemKind::Def(of) if of.external => {
                (DeclaredKind::Operator, &of.name.text, of.name.span)
            }
            ItemKind::Def(of) => (DeclaredKind::Function, &of.name.text, of.name.span),
            ItemKind::Stage(of) => (DeclaredKind::Stage, &of.name.text, of.name.span),
            ItemKind::Test(of) => (DeclaredKind::Test, &of.name, of.span),
            ItemKind::Use(_) | ItemKind::Output(_) => return None,
        };
        let (line, column) = self.sources.line_column(span);
        let mut declared = Declared {
            kind,
            name: name.clone(),
            doc: item.doc.clone(),
            signature: Linked::default(),
            ty: None,
            returns: None,
            arguments: Vec::new(),
            fields: Vec::new(),
            value: None,
            bound: None,
            secret: false,
            needs: Vec::new(),
            outputs: Vec::new(),
            source: self.written(item.span),
            line,
            column,
        };
        self.fill(&mut declared, &item.kind, tree);
        Some(declared)
    }

    fn fill(&self, declared: &mut Declared, kind: &ItemKind, tree: &ast::Module) {
        let typed = |word: &str, ty: Option<&Linked>| {
            let mut text = Linked::plain(format!("{word} {}", declared.name));
            if let Some(ty) = ty {
                text.push(": ");
                text.append(ty);
            }
            text
        };
        match kind {
            ItemKind::Param(of) => {
                let ty = self.writer.ty(&of.ty);
                declared.signature =
                    typed(if of.secret { "secret param" } else { "param" }, Some(&ty));
                declared.ty = Some(ty);
                declared.value = of.default.as_ref().map(|value| self.line_of(value.span));
                declared.bound = of.bound.as_ref().map(|bound| self.line_of(bound.span));
                declared.secret = of.secret;
                if let Some(value) = &declared.value {
                    declared.signature.push(&format!(" = {value}"));
                }
                if let Some(bound) = &declared.bound {
                    declared.signature.push(&format!(" where {bound}"));
                }
            }
            ItemKind::Let(of) => {
                let ty = of.ty.as_ref().map(|ty| self.writer.ty(ty));
                declared.signature = typed("let", ty.as_ref());
                declared.ty = ty;
                declared.value = Some(self.line_of(of.value.span));
                declared.needs = needs(&of.value, tree);
            }
            ItemKind::Type(of) => {
                declared.signature = self.writer.type_item(&of.name.text, &of.ty);
                if let ast::TypeKind::Record(fields) = &of.ty.kind {
                    declared.fields = fields
                        .iter()
                        .map(|field| Field {
                            name: field.name.text.clone(),
                            ty: self.writer.ty(&field.ty),
                            doc: field.doc.clone(),
                        })
                        .collect();
                }
            }
            ItemKind::Def(of) => {
                declared.signature = self.writer.def(of);
                declared.returns = Some(self.writer.ty(&of.returns));
                declared.arguments = of
                    .args
                    .iter()
                    .map(|arg| Argument {
                        name: arg.name.text.clone(),
                        ty: self.writer.ty(&arg.ty),
                        default: arg.default.as_ref().map(|default| self.line_of(default.span)),
                        doc: arg.doc.clone(),
                    })
                    .collect();
            }
            ItemKind::Stage(of) => {
                let ty = of.ty.as_ref().map(|ty| self.writer.ty(ty));
                declared.signature = typed("stage", ty.as_ref());
                declared.ty = ty;
                declared.needs = needs(&of.value, tree);
            }
            ItemKind::Test(of) => {
                declared.signature = Linked::plain(format!("test \"{}\"", of.name));
            }
            ItemKind::Use(_) | ItemKind::Output(_) => {}
        }
    }
}

/// What an expression reads of its own file.
fn needs(value: &ast::Expr, tree: &ast::Module) -> Vec<String> {
    let is_declared = |name: &String| {
        tree.items.iter().any(|item| match &item.kind {
            ItemKind::Param(of) => of.name.text == *name,
            ItemKind::Let(of) => of.name.text == *name,
            ItemKind::Stage(of) => of.name.text == *name,
            _ => false,
        })
    };
    Names::of(value).values.into_iter().filter(is_declared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "//! About.\n\nuse std/persona\nuse \"./other.claw\" as o\n\n\
        /// How many.\nparam n: int = 3 where 1 <= n <= 9\n\n\
        /// A pair.\ntype Pair = {\n  /// The first.\n  a: persona.Persona,\n  b: [o.Thing]?,\n}\n\n\
        /// Makes one.\ndef make(\n  /// Of whom.\n  who: persona.Persona,\n  other: Pair? = null,\n) -> Pair {\n  { a: who, b: null }\n}\n\n\
        stage people = persona.imagine(count: n)\noutput people as \"out/p.jsonl\"\n\nstage = broken\n";

    #[test]
    fn declarations_with_their_links() {
        let outline = outline("pipelines/main.claw", TEXT);
        assert_eq!((outline.name.as_str(), outline.doc.as_str()), ("main", "About."));
        assert_eq!(outline.uses[1].module.as_deref(), Some("pipelines/other.claw"));
        let param = outline.find("n").expect("n");
        assert_eq!(param.signature.text, "param n: int = 3 where 1 <= n <= 9");
        let pair = outline.find("Pair").expect("Pair");
        assert_eq!(pair.fields[0].doc, "The first.");
        let to: Vec<(&str, &str)> = pair
            .signature
            .links
            .iter()
            .map(|link| (link.module.as_str(), link.name.as_str()))
            .collect();
        assert_eq!(to, [("std/persona.claw", "Persona"), ("pipelines/other.claw", "Thing")]);
        let make = outline.find("make").expect("make");
        assert_eq!(
            make.signature.text,
            "def make(who: persona.Persona, other: Pair? = null) -> Pair"
        );
        assert_eq!(make.arguments[0].doc, "Of whom.");
        for link in &make.signature.links {
            let shown = &make.signature.text[link.start..link.end];
            assert!(shown.ends_with(&link.name), "{shown}");
        }
        let people = outline.find("people").expect("people");
        assert_eq!(people.needs, ["n"]);
        assert_eq!(people.outputs, ["out/p.jsonl"]);
        assert_eq!(people.source, "stage people = persona.imagine(count: n)");
        assert_eq!((people.line, people.column), (25, 7));
    }
}
