//! The pages of a site: outlines into templates.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Shown};
use minijinja::{Environment, UndefinedBehavior, context, escape_formatter};
use serde::Serialize;

use crate::engine::Kind;
use crate::lang::{self, Declared, DeclaredKind, Outline};

use super::index::Site;
use super::markdown::{self, Context, Heading};
use super::{DocError, highlight, search};

const STYLE: &str = include_str!("site/style.css");
const SCRIPT: &str = include_str!("site/search.js");
const MANUAL: &str = include_str!("../../docs/language.md");

const TEMPLATES: [(&str, &str); 4] = [
    ("base.html", include_str!("site/base.html")),
    ("index.html", include_str!("site/index.html")),
    ("module.html", include_str!("site/module.html")),
    ("text.html", include_str!("site/text.html")),
];

/// What a kind of declaration is called in the singular.
pub(super) fn word(kind: DeclaredKind) -> &'static str {
    match kind {
        DeclaredKind::Parameter => "parameter",
        DeclaredKind::Constant => "constant",
        DeclaredKind::Type => "type",
        DeclaredKind::Operator => "operator",
        DeclaredKind::Function => "function",
        DeclaredKind::Stage => "stage",
        DeclaredKind::Test => "test",
    }
}

/// The sections of a module's page, in the order in which one asks for them.
const SECTIONS: [(DeclaredKind, &str); 7] = [
    (DeclaredKind::Parameter, "Parameters"),
    (DeclaredKind::Stage, "Stages"),
    (DeclaredKind::Operator, "Operators"),
    (DeclaredKind::Function, "Functions"),
    (DeclaredKind::Type, "Types"),
    (DeclaredKind::Constant, "Constants"),
    (DeclaredKind::Test, "Tests"),
];

/// A link on a page.
#[derive(Serialize)]
struct To {
    text: String,
    to: Option<String>,
}

/// A line of a page's navigation.
#[derive(Serialize)]
struct Entry {
    name: String,
    to: String,
    about: Shown,
    here: bool,
}

/// An argument or a field.
#[derive(Serialize)]
struct Part {
    name: String,
    ty: Shown,
    default: Option<Shown>,
    doc: Shown,
}

/// A declaration.
#[derive(Serialize)]
struct Item {
    id: String,
    name: String,
    word: &'static str,
    signature: Shown,
    doc: Shown,
    parts: Vec<Part>,
    parts_title: &'static str,
    facts: Vec<String>,
    needs: Vec<To>,
    outputs: Vec<String>,
    named_by: Vec<To>,
    source: Option<Shown>,
    /// Whether the source is what one comes for, and is shown at once.
    open: bool,
    line: usize,
}

#[derive(Serialize)]
struct Section {
    title: &'static str,
    items: Vec<Item>,
}

impl Site<'_> {
    /// Every file of the site by its path.
    ///
    /// # Errors
    /// When a template does not render, which is a mistake in claw.
    pub fn pages(&self) -> Result<BTreeMap<String, String>, DocError> {
        let mut templates = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        templates.set_syntax(syntax.map_err(|err| failed("the templates", &err))?);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // The default one also escapes `/`, which makes addresses unreadable and nothing safer.
        templates.set_formatter(|out, state, value| match value.as_str() {
            Some(text) if !value.is_safe() => {
                out.write_str(&markdown::escape(text)).map_err(minijinja::Error::from)
            }
            _ => escape_formatter(out, state, value),
        });
        for (name, text) in TEMPLATES {
            templates.add_template(name, text).map_err(|err| failed(name, &err))?;
        }
        let mut files = BTreeMap::new();
        files.insert("style.css".to_string(), STYLE.to_string());
        files.insert("search.js".to_string(), SCRIPT.to_string());
        let (manual, headings) = self.manual();
        files.insert("search-index.js".to_string(), search::script(self, &headings));
        let index =
            self.page_of(&templates, "index.html", "index.html", &self.title, context! {})?;
        files.insert("index.html".to_string(), index);
        let values = context! { text => manual, contents => Serde(contents(&headings)) };
        let page =
            self.page_of(&templates, "text.html", "language.html", "The language", values)?;
        files.insert("language.html".to_string(), page);
        let values = context! { text => self.errors(), contents => Serde(error_contents()) };
        let page = self.page_of(&templates, "text.html", "errors.html", "Errors", values)?;
        files.insert("errors.html".to_string(), page);
        for outline in self.outlines {
            let path = Site::page(&outline.module);
            let title = Site::shown(&outline.module);
            let values = self.module(outline);
            files.insert(
                path.clone(),
                self.page_of(&templates, "module.html", &path, title, values)?,
            );
        }
        Ok(files)
    }

    fn page_of(
        &self,
        templates: &Environment<'_>,
        template: &str,
        path: &str,
        title: &str,
        values: Shown,
    ) -> Result<String, DocError> {
        let root = root(path);
        let modules = |library: bool| -> Vec<Entry> {
            let chosen = self.outlines.iter().filter(|outline| outline.library == library);
            chosen
                .map(|outline| {
                    let page = Site::page(&outline.module);
                    let about = markdown::summary(&outline.doc);
                    Entry {
                        name: Site::shown(&outline.module).to_string(),
                        here: page == path,
                        to: format!("{root}{page}"),
                        about: self.line(Some(outline), &root, &about),
                    }
                })
                .collect()
        };
        let page = templates.get_template(template).map_err(|err| failed(path, &err))?;
        let common = context! {
            title => title,
            root => root.as_str(),
            path => path,
            site => self.title.as_str(),
            version => env!("CARGO_PKG_VERSION"),
            project => Serde(modules(false)),
            library => Serde(modules(true)),
        };
        page.render(context! { ..values, ..common }).map_err(|err| failed(path, &err))
    }

    /// Shows documentation of a module.
    fn doc(&self, scope: Option<&Outline>, root: &str, text: &str, deeper: usize) -> Shown {
        let find = |name: &str| Some(format!("{root}{}", self.find(scope, name)?));
        let address = |to: &str| manual_address(root, to);
        let context =
            Context { find: &find, address: &address, deeper, anchors: false, links: true };
        Shown::from_safe_string(markdown::html(text, &context).0)
    }

    fn line(&self, scope: Option<&Outline>, root: &str, text: &str) -> Shown {
        let find = |name: &str| Some(format!("{root}{}", self.find(scope, name)?));
        let address = |to: &str| manual_address(root, to);
        let context =
            Context { find: &find, address: &address, deeper: 0, anchors: false, links: true };
        Shown::from_safe_string(markdown::line(text, &context))
    }

    /// Shows code of a module. What is declared there needs no link to itself.
    fn code(&self, scope: &Outline, root: &str, own: &str, text: &str) -> Shown {
        let find = |name: &str| {
            let address = self.find_type(scope, name).filter(|_| name != own)?;
            Some(format!("{root}{address}"))
        };
        Shown::from_safe_string(highlight::claw(text, &find))
    }

    fn module(&self, outline: &Outline) -> Shown {
        let root = root(&Site::page(&outline.module));
        let mut sections = Vec::new();
        for (kind, title) in SECTIONS {
            let items: Vec<Item> = outline
                .items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.kind == kind)
                .map(|(place, item)| self.item(outline, &root, item, place))
                .collect();
            if !items.is_empty() {
                sections.push(Section { title, items });
            }
        }
        let uses: Vec<To> = outline
            .uses
            .iter()
            .map(|used| {
                let to = used.module.as_ref().and_then(|module| self.module_address(module));
                To { text: used.path.clone(), to: to.map(|to| format!("{root}{to}")) }
            })
            .collect();
        context! {
            doc => self.doc(Some(outline), &root, &outline.doc, 1),
            sections => Serde(sections),
            uses => Serde(uses),
            broken => Serde(&outline.broken),
            module => outline.module.as_str(),
        }
    }

    fn item(&self, outline: &Outline, root: &str, item: &Declared, place: usize) -> Item {
        let part = |name: &str, ty: &lang::Linked, default: Option<&String>, doc: &str| Part {
            name: name.to_string(),
            ty: self.code(outline, root, &item.name, &ty.text),
            default: default.map(|text| self.code(outline, root, &item.name, text)),
            doc: self.doc(Some(outline), root, doc, 4),
        };
        let arguments =
            item.arguments.iter().map(|of| part(&of.name, &of.ty, of.default.as_ref(), &of.doc));
        let fields = item.fields.iter().map(|of| part(&of.name, &of.ty, None, &of.doc));
        let to = |module: &str, name: &str, text: String| To {
            text,
            to: self.address(module, name).map(|to| format!("{root}{to}")),
        };
        let needs = item.needs.iter().map(|name| to(&outline.module, name, name.clone()));
        let named_by =
            self.naming(&outline.module, &item.name).into_iter().map(|(module, name)| {
                let text = if module == outline.module {
                    name.to_string()
                } else {
                    let module = module.rsplit('/').next().unwrap_or(module);
                    format!("{}.{name}", module.trim_end_matches(".claw"))
                };
                to(module, name, text)
            });
        let is_test = item.kind == DeclaredKind::Test;
        // These are all in their signature.
        let source = !matches!(
            item.kind,
            DeclaredKind::Operator | DeclaredKind::Type | DeclaredKind::Parameter
        );
        Item {
            id: if is_test { format!("test-{place}") } else { item.name.clone() },
            name: item.name.clone(),
            word: word(item.kind),
            signature: self.code(outline, root, &item.name, &item.signature.text),
            doc: self.doc(Some(outline), root, &item.doc, 3),
            parts_title: if item.arguments.is_empty() { "Fields" } else { "Arguments" },
            parts: arguments.chain(fields).collect(),
            facts: self.facts(outline, item),
            needs: needs.collect(),
            outputs: item.outputs.clone(),
            named_by: named_by.collect(),
            source: source.then(|| self.code(outline, root, &item.name, &item.source)),
            open: matches!(item.kind, DeclaredKind::Stage | DeclaredKind::Constant),
            line: item.line,
        }
    }

    /// What is known of a declaration beside its text.
    fn facts(&self, outline: &Outline, item: &Declared) -> Vec<String> {
        let mut facts = Vec::new();
        if item.kind == DeclaredKind::Parameter && item.value.is_none() {
            facts.push("required".to_string());
        }
        if item.secret {
            facts.push("secret: its value is never in a key, a log or the store".to_string());
        }
        let name = format!("{}.{}", outline.name, item.name);
        if item.kind == DeclaredKind::Operator
            && let Some(operators) = self.operators
            && let Ok(operator) = operators.get(&name)
        {
            facts.push(format!("version {}", operator.about().version));
            facts.push(
                match operator.about().kind {
                    Kind::Pure => "pure: the same arguments give the same result",
                    Kind::Recorded => "recorded: its first result for some arguments is kept",
                    Kind::Effect => "effect: done anew in each run",
                }
                .to_string(),
            );
        }
        facts
    }

    fn manual(&self) -> (Shown, Vec<Heading>) {
        let find = |name: &str| self.find(None, name);
        let address = |to: &str| manual_address("", to);
        let context =
            Context { find: &find, address: &address, deeper: 0, anchors: true, links: true };
        let (html, headings) = markdown::html(MANUAL, &context);
        (Shown::from_safe_string(html), headings)
    }

    /// The pages of all error codes, one under the other.
    fn errors(&self) -> Shown {
        let mut html =
            "<h1>Errors</h1>\n<p>Every error has a code. <code>claw explain E0304</code> \
                        prints the same text in the terminal.</p>\n"
                .to_string();
        for code in lang::codes() {
            let page = lang::explain(code).unwrap_or_default();
            let (title, text) = page.split_once('\n').unwrap_or((page, ""));
            html.push_str(&format!("<section id=\"{code}\">\n<h2>"));
            html.push_str(&self.line(None, "", title).to_string());
            html.push_str("</h2>\n");
            html.push_str(&self.doc(None, "", text, 1).to_string());
            html.push_str("</section>\n");
        }
        Shown::from_safe_string(html)
    }
}

fn failed(page: &str, err: &minijinja::Error) -> DocError {
    DocError::Template { page: page.to_string(), message: format!("{err:#}") }
}

/// The way from a page back to the site's root.
fn root(page: &str) -> String {
    "../".repeat(page.matches('/').count())
}

/// Where a link between the project's own documents leads on the site.
fn manual_address(root: &str, to: &str) -> Option<String> {
    let (file, place) = to.split_once('#').unwrap_or((to, ""));
    let page = match file.rsplit('/').next()? {
        "language.md" => "language.html",
        "errors" => "errors.html",
        _ => return None,
    };
    Some(if place.is_empty() { format!("{root}{page}") } else { format!("{root}{page}#{place}") })
}

/// The second level of headings, for the table of contents.
fn contents(headings: &[Heading]) -> Vec<To> {
    let entry =
        |heading: &Heading| To { text: heading.text.clone(), to: Some(format!("#{}", heading.id)) };
    headings.iter().filter(|heading| heading.level == 2).map(entry).collect()
}

fn error_contents() -> Vec<To> {
    let entry = |code: &str| To { text: code.to_string(), to: Some(format!("#{code}")) };
    lang::codes().into_iter().map(entry).collect()
}
