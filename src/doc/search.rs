//! What the search box looks through: a script with one array, since a page that is read from a
//! folder may not fetch files beside it.

use serde::Serialize;

use crate::lang;

use super::index::Site;
use super::markdown::{Heading, plain, summary};

/// Characters of a summary at most.
const SUMMARY: usize = 160;

/// Something that can be found.
#[derive(Serialize)]
struct Entry {
    /// What it is: `type`, `operator`, `argument`, `error` …
    kind: &'static str,
    /// Its name.
    name: String,
    /// Where it belongs to: a module, or the argument's function.
    of: String,
    /// Its address from the site's root.
    to: String,
    /// A sentence about it.
    about: String,
}

/// The script.
pub(super) fn script(site: &Site<'_>, manual: &[Heading]) -> String {
    let mut entries = Vec::new();
    for outline in site.outlines {
        let page = Site::page(&outline.module);
        let module = Site::shown(&outline.module).to_string();
        entries.push(entry("module", &module, "", &page, &outline.doc));
        for item in &outline.items {
            if item.kind == lang::DeclaredKind::Test {
                continue;
            }
            let to = format!("{page}#{}", item.name);
            entries.push(entry(super::pages::word(item.kind), &item.name, &module, &to, &item.doc));
            let of = format!("{module} {}", item.name);
            for argument in &item.arguments {
                entries.push(entry("argument", &argument.name, &of, &to, &argument.doc));
            }
            for field in &item.fields {
                entries.push(entry("field", &field.name, &of, &to, &field.doc));
            }
        }
    }
    for heading in manual {
        let to = format!("language.html#{}", heading.id);
        entries.push(entry("manual", &heading.text, "", &to, ""));
    }
    for code in lang::codes() {
        let page = lang::explain(code).unwrap_or_default();
        let title = page.lines().next().unwrap_or_default();
        let about = title.split_once(": ").map_or("", |(_, about)| about);
        entries.push(entry("error", code, "", &format!("errors.html#{code}"), about));
    }
    let mut lines = Vec::new();
    for entry in &entries {
        // Strings are all that it holds, so there is nothing that could not be written.
        lines.extend(serde_json::to_string(entry).ok());
    }
    format!("window.clawIndex = [\n{}\n];\n", lines.join(",\n"))
}

fn entry(kind: &'static str, name: &str, of: &str, to: &str, doc: &str) -> Entry {
    let about = plain(&summary(doc));
    let about = match about.char_indices().nth(SUMMARY) {
        Some((end, _)) => format!("{}…", &about[..end]),
        None => about,
    };
    Entry { kind, name: name.to_string(), of: of.to_string(), to: to.to_string(), about }
}
