//! Templates: texts with holes, for prompts. The language is Jinja's, as minijinja speaks it.
//!
//! A template is read with all that it includes when the program is bound, and stands in the
//! program as a constant: a record of the first file's path and of every file's text by path. So a
//! stage's key holds the texts, while a call's key holds only what was rendered. Rendering is pure:
//! no clock, no randomness, no files, bounded in steps and in size; a name that has no value is an
//! error, null renders as nothing, nothing is escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::LazyLock;

use minijinja::value::{Serde, Value as Jinja, ValueKind};
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, escape_formatter};
use regex::Regex;

use super::check::joined;
use super::eval::text;
use super::value::Value;

/// How many steps a rendering may take.
const FUEL: u64 = 10_000_000;

/// The longest text that a rendering may give, in bytes.
const MAX_TEXT: usize = 64 << 20;

/// How many files a template may be made of.
const MAX_FILES: usize = 64;

/// Names that every template knows.
const KNOWN: [&str; 4] = ["dict", "loop", "namespace", "range"];

/// `{% include "name" %}` and its like.
static INCLUDES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\{%[-+]?\s*(?:include|import|from|extends)\s+(?:"([^"]*)"|'([^']*)')"#)
        .expect("a valid pattern")
});

/// Names that a template gives values to itself.
static DECLARED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%[-+]?\s*(?:set|for|with|macro|block|import|from)\s([^%]*)")
        .expect("a valid pattern")
});

static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Za-z_][A-Za-z0-9_]*").expect("a valid pattern"));

/// A template and everything that it includes, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// The path of the file that is rendered.
    pub(super) main: String,
    /// Texts by path.
    pub(super) files: BTreeMap<String, String>,
}

/// Why a template cannot be had.
#[derive(Debug, Clone)]
pub(super) enum Unreadable<E> {
    /// A file was refused: its path, and the path of the file that includes it.
    File { path: String, by: Option<String>, why: E },
    /// The path of an include points out of the project.
    Outside { path: String, by: String },
    /// It is made of too many files.
    TooMany,
}

impl Template {
    /// Reads a template and all that it includes.
    pub(super) fn read<E>(
        main: &str,
        read: &mut dyn FnMut(&str) -> Result<String, E>,
    ) -> Result<Template, Unreadable<E>> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![(main.to_string(), None::<String>)];
        while let Some((path, by)) = waiting.pop() {
            if files.contains_key(&path) {
                continue;
            }
            if files.len() == MAX_FILES {
                return Err(Unreadable::TooMany);
            }
            let text = match read(&path) {
                Ok(text) => text,
                Err(why) => return Err(Unreadable::File { path, by, why }),
            };
            for found in INCLUDES.captures_iter(&text) {
                let name = found.get(1).or(found.get(2)).map_or("", |name| name.as_str());
                match beside(&path, name) {
                    Some(inner) => waiting.push((inner, Some(path.clone()))),
                    None => {
                        return Err(Unreadable::Outside { path: name.to_string(), by: path });
                    }
                }
            }
            files.insert(path, text);
        }
        Ok(Template { main: main.to_string(), files })
    }

    /// As it stands in a program.
    pub(super) fn value(&self) -> Value {
        let files = self.files.iter().map(|(path, text)| (path.clone(), Value::str(text)));
        Value::record([("main", Value::str(&self.main)), ("files", Value::Record(files.collect()))])
    }

    /// The template that [`Template::value`] made.
    pub(super) fn of(value: &Value) -> Option<Template> {
        let Value::Record(fields) = value else {
            return None;
        };
        let Value::Record(files) = fields.get("files")? else {
            return None;
        };
        let files = files
            .iter()
            .map(|(path, text)| Some((path.clone(), text.as_str()?.to_string())))
            .collect::<Option<_>>()?;
        Some(Template { main: fields.get("main")?.as_str()?.to_string(), files })
    }

    /// The first mistake in its files: the file, where in it (bytes), and what is wrong.
    pub(super) fn mistake(&self) -> Option<(String, std::ops::Range<usize>, String)> {
        for (path, text) in &self.files {
            let mut alone = environment();
            let Err(err) = alone.add_template_owned(path.clone(), text.clone()) else {
                continue;
            };
            let range = err.range().unwrap_or_else(|| line(text, err.line().unwrap_or(1)));
            let range = range.start.min(text.len())..range.end.min(text.len());
            return Some((path.clone(), range, reason(&err)));
        }
        None
    }

    /// The names that it takes from outside, such as `persona` and `persona.name`, each with a file
    /// that uses it.
    pub(super) fn asks(&self) -> BTreeMap<String, String> {
        let mut asks = BTreeMap::new();
        let declared: BTreeSet<&str> = self
            .files
            .values()
            .flat_map(|text| DECLARED.captures_iter(text))
            .filter_map(|found| found.get(1))
            .flat_map(|names| WORD.find_iter(names.as_str()))
            .map(|word| word.as_str())
            .collect();
        for (path, text) in &self.files {
            let mut alone = environment();
            if alone.add_template_owned(path.clone(), text.clone()).is_err() {
                continue;
            }
            let Ok(template) = alone.get_template(path) else {
                continue;
            };
            let names: BTreeSet<String> = template.undeclared_variables(true).into_iter().collect();
            for name in names {
                let root = name.split('.').next().unwrap_or(&name);
                // What is included sees what the file around it declares.
                let inherited = *path != self.main && declared.contains(root);
                if !KNOWN.contains(&root) && !inherited {
                    asks.entry(name).or_insert_with(|| path.clone());
                }
            }
        }
        asks
    }

    /// The text with values for the names that it asks for.
    ///
    /// # Errors
    /// What is wrong, with the file and line.
    pub(super) fn render(&self, args: &BTreeMap<String, Value>) -> Result<String, String> {
        let mut environment = environment();
        for (path, text) in &self.files {
            environment
                .add_template_owned(path.clone(), text.clone())
                .map_err(|err| self.placed(&err))?;
        }
        let context: BTreeMap<&str, Jinja> =
            args.iter().map(|(name, value)| (name.as_str(), jinja(value))).collect();
        let template = environment.get_template(&self.main).map_err(|err| self.placed(&err))?;
        let mut out = Bounded(Vec::new());
        template
            .render_captured_to(Jinja::from(Serde(&context)), &mut out)
            .map_err(|err| self.placed(&err))?;
        String::from_utf8(out.0).map_err(|_| format!("{} does not render to text", self.main))
    }

    fn placed(&self, err: &Error) -> String {
        let mut inner = err;
        while let Some(source) = std::error::Error::source(inner).and_then(|err| err.downcast_ref())
        {
            inner = source;
        }
        let path = inner.name().unwrap_or(&self.main);
        match inner.line() {
            Some(line) => format!("{path}:{line}: {}", reason(inner)),
            None => format!("{path}: {}", reason(inner)),
        }
    }
}

/// Where a name is used in a template's text, as far as that can be found.
pub(super) fn place(text: &str, name: &str) -> std::ops::Range<usize> {
    let pattern = name.split('.').map(regex::escape).collect::<Vec<_>>().join(r"\s*\.\s*");
    let Ok(word) = Regex::new(&format!(r"\b{pattern}\b")) else {
        return 0..0;
    };
    let mut at = 0;
    while let Some(open) = text[at..].find(['{']).map(|open| at + open) {
        let close = match text.get(open..open + 2) {
            Some("{{") => "}}",
            Some("{%") => "%}",
            _ => {
                at = open + 1;
                continue;
            }
        };
        let end = text[open..].find(close).map_or(text.len(), |end| open + end);
        if let Some(found) = word.find(&text[open..end]) {
            return open + found.start()..open + found.end();
        }
        at = end;
    }
    0..0
}

/// The path of what a template at `path` includes by `name`.
fn beside(path: &str, name: &str) -> Option<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    joined(folder, name)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.remove_global("debug");
    environment.set_path_join_callback(|name, parent| {
        beside(parent, name).unwrap_or_else(|| name.to_string()).into()
    });
    environment.set_formatter(|out, state, value| {
        // As in `"…{value}…"`: nothing for null, whole floats without a fraction.
        if value.is_none() {
            return Ok(());
        }
        if value.kind() == ValueKind::Number
            && !value.is_integer()
            && let Ok(float) = f64::try_from(value.clone())
        {
            return out.write_str(&text(&Value::Float(float))).map_err(Error::from);
        }
        escape_formatter(out, state, value)
    });
    environment
}

fn reason(err: &Error) -> String {
    match err.detail() {
        Some(detail) => format!("{}: {detail}", err.kind()),
        None => err.kind().to_string(),
    }
}

/// The bytes of a line, counted from 1.
fn line(text: &str, number: usize) -> std::ops::Range<usize> {
    let start = text.split_inclusive('\n').take(number.saturating_sub(1)).map(str::len).sum();
    let end = text[start..].find('\n').map_or(text.len(), |end| start + end);
    start..end
}

fn jinja(value: &Value) -> Jinja {
    match value {
        Value::Null => Jinja::from(()),
        Value::Bool(truth) => Jinja::from(*truth),
        Value::Int(int) => Jinja::from(*int),
        Value::Float(float) => Jinja::from(*float),
        Value::Str(text) => Jinja::from(text.as_str()),
        Value::List(items) => items.iter().map(jinja).collect(),
        Value::Record(fields) => {
            let fields: BTreeMap<&str, Jinja> =
                fields.iter().map(|(name, value)| (name.as_str(), jinja(value))).collect();
            Jinja::from(Serde(&fields))
        }
        other => Jinja::from(text(other)),
    }
}

/// Bytes up to [`MAX_TEXT`].
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(io::Error::other("the text grows past 64 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(files: &[(&str, &str)]) -> Template {
        let mut read = |path: &str| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| (*text).to_string()).ok_or(())
        };
        Template::read(files[0].0, &mut read).expect("a template")
    }

    #[test]
    fn renders_with_what_it_includes() {
        let template = template(&[
            (
                "p/main.j2",
                "{% set mark = '-' %}{% include 'parts/item.j2' %} {{ none }}{{ share }}",
            ),
            ("p/parts/item.j2", "{{ mark }}{{ person.name }}{{ absent }}"),
        ]);
        assert_eq!(Template::of(&template.value()), Some(template.clone()));
        let asks: Vec<String> = template.asks().into_keys().collect();
        assert_eq!(asks, ["absent", "person.name", "share"]);
        let args = BTreeMap::from([
            ("person".to_string(), Value::record([("name", Value::str("<Ada>"))])),
            ("absent".to_string(), Value::Null),
            ("share".to_string(), Value::Float(2.0)),
        ]);
        assert_eq!(template.render(&args).as_deref(), Ok("-<Ada> 2"));
        let err = template.render(&BTreeMap::new()).expect_err("a name without a value");
        assert!(err.starts_with("p/parts/item.j2:1: undefined value"), "{err}");
    }

    #[test]
    fn ends() {
        let endless = template(&[(
            "t",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        )]);
        assert!(endless.render(&BTreeMap::new()).is_err());
        let itself = template(&[("t", "{% include 't' %}")]);
        assert!(itself.render(&BTreeMap::new()).is_err());
    }

    #[test]
    fn finds_names_in_tags_only() {
        let text = "name: {{ \"x\" }} {% if person . name %}";
        assert_eq!(&text[place(text, "person.name")], "person . name");
        assert_eq!(place(text, "name").start, text.rfind("name").expect("the last one"));
    }
}
