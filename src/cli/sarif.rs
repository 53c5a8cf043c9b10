//! What `claw check` found, as SARIF 2.1.0: the form in which code review and editors take findings
//! of any tool (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).
//!
//! A code is a rule, its page the rule's help. The first label of a diagnostic is the location, the
//! others are related locations. Files of the project are relative to `PROJECT`, whose place on this
//! machine the log says; those of the library that is built in have only a name, below `LIBRARY`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::lang::{self, Diagnostic, SourceMap, Span};

use super::check::Outcome;
use super::explain::title;

/// The whole log: one run with the findings of all pipelines.
pub(super) fn log(outcomes: &[Outcome]) -> Value {
    let codes: BTreeSet<&str> = outcomes
        .iter()
        .flat_map(|outcome| outcome.diagnostics.iter().map(|diagnostic| diagnostic.code))
        .collect();
    let places: BTreeMap<&str, usize> =
        codes.iter().enumerate().map(|(place, code)| (*code, place)).collect();
    let rules: Vec<Value> = codes.iter().map(|code| rule(code)).collect();
    let mut results: Vec<Value> = Vec::new();
    for outcome in outcomes {
        for diagnostic in &outcome.diagnostics {
            let place = places.get(diagnostic.code).copied().unwrap_or(0);
            let result = result(diagnostic, place, outcome);
            if !results.contains(&result) {
                results.push(result);
            }
        }
    }
    let mut bases = json!({
        "LIBRARY": { "description": { "text": "The standard library, which is built into claw." } },
    });
    if let Some(project) = outcomes.iter().find_map(|outcome| outcome.project.as_ref()) {
        bases["PROJECT"] = json!({
            "uri": format!("file://{}/", encoded(&project.root.to_string_lossy())),
            "description": { "text": "The folder of the project." },
        });
    }
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "claw",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": bases,
            "results": results,
        }],
    })
}

fn rule(code: &str) -> Value {
    let page = lang::explain(code).unwrap_or(code);
    let level = if code.starts_with('W') { "warning" } else { "error" };
    let body = page.split_once('\n').map_or("", |(_, body)| body).trim();
    json!({
        "id": code,
        "shortDescription": { "text": title(page) },
        "help": { "text": body, "markdown": body },
        "defaultConfiguration": { "level": level },
    })
}

fn result(diagnostic: &Diagnostic, rule: usize, outcome: &Outcome) -> Value {
    let sources = &outcome.sources;
    let mut text = diagnostic.message.clone();
    if let Some((_, label)) = diagnostic.labels.first() {
        text.push_str(&format!(": {label}"));
    }
    if let Some(help) = &diagnostic.help {
        text.push_str(&format!("\n{help}"));
    }
    let mut labels = diagnostic.labels.iter();
    let first = match labels.next() {
        Some((span, label)) => location(*span, label, sources),
        // What stands nowhere in a text concerns the pipeline as a whole.
        None => json!({ "physicalLocation": { "artifactLocation": artifact(&outcome.path) } }),
    };
    let mut result = json!({
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": diagnostic.severity.word(),
        "message": { "text": text },
        "locations": [first],
    });
    let related: Vec<Value> = labels
        .enumerate()
        .map(|(number, (span, label))| {
            let mut related = location(*span, label, sources);
            related["id"] = json!(number);
            related
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    result
}

fn location(span: Span, label: &str, sources: &SourceMap) -> Value {
    let (line, column) = sources.position(span.file, span.start);
    let (end_line, end_column) = sources.position(span.file, span.end);
    json!({
        "physicalLocation": {
            "artifactLocation": artifact(sources.path(span.file)),
            "region": {
                "startLine": line,
                "startColumn": column,
                "endLine": end_line,
                "endColumn": end_column,
                "byteOffset": span.start,
                "byteLength": span.end - span.start,
            },
        },
        "message": { "text": label },
    })
}

fn artifact(path: &str) -> Value {
    if path.starts_with('/') {
        return json!({ "uri": format!("file://{}", encoded(path)) });
    }
    let base = if path.starts_with("std/") { "LIBRARY" } else { "PROJECT" };
    json!({ "uri": encoded(path), "uriBaseId": base })
}

/// A path as it stands in a URI.
fn encoded(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn paths_become_uris() {
        assert_eq!(encoded("a b/ü.claw"), "a%20b/%C3%BC.claw");
    }
}
