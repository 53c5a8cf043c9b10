//! Declarative checks: what `checks.toml` can ask of a final workspace, and the answer.
//!
//! A check looks at two trees, before and after, and says yes or no; nothing is started for it.
//! *Points* (`[[check]]`) are averaged into the reward. *Gates* (`[[gate]]`) earn nothing, but when
//! one of them does not hold the reward is 0: that inputs were left alone is a gate, because it
//! holds already when nothing has been done.
//!
//! In `checks.toml` every text is a template over the parameters, and `each = "expression"` makes
//! one check of every item of a list, which is `item` in it. A symbolic link is not a file here:
//! an agent that links its answer has not written it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::engine::CallError;
use crate::store::{Digest, Entry, Objects, Tree};

use super::render::Templates;

/// Larger files are not looked into: no task asks for one.
const LARGEST: u64 = 4 << 20;

/// One question about a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// There is a file.
    Exists {
        /// The file.
        path: String,
    },
    /// There is nothing.
    Absent {
        /// Where.
        path: String,
    },
    /// The file holds exactly these bytes.
    Bytes {
        /// The file.
        path: String,
        /// Its bytes.
        expect: String,
    },
    /// The file holds this text; blanks and newlines around it do not count.
    Text {
        /// The file.
        path: String,
        /// Its text.
        expect: String,
    },
    /// The file holds these lines; empty lines and blanks at the ends of lines do not count.
    Lines {
        /// The file.
        path: String,
        /// The lines, one below the other.
        expect: String,
        /// Whether they may come in any order (each still as often as it stands in `expect`).
        #[serde(default)]
        any_order: bool,
        /// Whether several blanks count as one.
        #[serde(default)]
        squeeze: bool,
    },
    /// The file is JSON with this value at a pointer.
    Json {
        /// The file.
        path: String,
        /// A JSON pointer (RFC 6901), `""` for the whole file.
        #[serde(default)]
        at: String,
        /// The value, as JSON.
        expect: String,
    },
    /// The file is CSV with this cell.
    Cell {
        /// The file.
        path: String,
        /// The row below the header, from 1.
        row: usize,
        /// The column by its header.
        column: String,
        /// The cell's text.
        expect: String,
    },
    /// A regular expression matches the file's text.
    Regex {
        /// The file.
        path: String,
        /// The expression.
        pattern: String,
    },
    /// The file has the bytes that it had.
    Unchanged {
        /// The file.
        path: String,
    },
    /// All files that were there have the bytes that they had.
    OthersUnchanged {
        /// Files that may change or go.
        #[serde(default)]
        except: Vec<String>,
    },
    /// The file's bytes have gone to another name, and the old name is gone.
    Moved {
        /// The old name.
        from: String,
        /// The new one.
        to: String,
    },
}

/// A check and what it is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// What it is called in a verdict.
    pub name: String,
    /// What it asks.
    pub check: Check,
}

/// The rules of one task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// All must hold.
    #[serde(default)]
    pub gates: Vec<Named>,
    /// These are averaged.
    #[serde(default)]
    pub points: Vec<Named>,
}

/// The rules of a family, before parameters are filled in.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleTemplates {
    gates: Vec<Map<String, Json>>,
    points: Vec<Map<String, Json>>,
}

impl RuleTemplates {
    /// Reads `checks.toml`.
    pub(crate) fn read(file: &Json, templates: &mut Templates) -> Result<RuleTemplates, String> {
        let fields = file.as_object().ok_or("it must hold tables")?;
        if let Some(key) = fields.keys().find(|key| *key != "gate" && *key != "check") {
            return Err(format!("`{key}` is neither `gate` nor `check`"));
        }
        let mut all = |key: &str| -> Result<Vec<Map<String, Json>>, String> {
            let Some(list) = fields.get(key) else {
                return Ok(Vec::new());
            };
            let list = list.as_array().ok_or_else(|| format!("write `[[{key}]]`"))?;
            let mut rules = Vec::new();
            for rule in list {
                let rule = rule.as_object().ok_or_else(|| format!("write `[[{key}]]`"))?;
                if let Some(each) = rule.get("each") {
                    templates
                        .compile_expression(each.as_str().ok_or("`each` is an expression")?)?;
                }
                rule.iter()
                    .filter(|(name, _)| *name != "each")
                    .try_for_each(|(_, field)| templates.compile_in(field))?;
                rules.push(rule.clone());
            }
            Ok(rules)
        };
        let rules = RuleTemplates { gates: all("gate")?, points: all("check")? };
        for point in &rules.points {
            let kind = point.get("kind").and_then(Json::as_str).unwrap_or("");
            if ["absent", "unchanged", "others_unchanged"].contains(&kind) {
                return Err(format!(
                    "`{kind}` holds before anything is done, so it earns no points: make it a gate"
                ));
            }
        }
        Ok(rules)
    }

    pub(crate) fn has_points(&self) -> bool {
        !self.points.is_empty()
    }

    /// Fills in the parameters.
    pub(crate) fn fill(
        &self,
        templates: &Templates,
        params: &Map<String, Json>,
    ) -> Result<Rules, String> {
        let fill = |rules: &[Map<String, Json>]| -> Result<Vec<Named>, String> {
            let mut named = Vec::new();
            for rule in rules {
                let Some(each) = rule.get("each").and_then(Json::as_str) else {
                    named.push(name(fill_one(rule, templates, params)?)?);
                    continue;
                };
                let Json::Array(items) = templates.evaluate(each, params)? else {
                    return Err(format!("`each = \"{each}\"` gives no list"));
                };
                for item in items {
                    let mut names = params.clone();
                    names.insert("item".to_string(), item);
                    named.push(name(fill_one(rule, templates, &names)?)?);
                }
            }
            Ok(named)
        };
        Ok(Rules { gates: fill(&self.gates)?, points: fill(&self.points)? })
    }
}

fn fill_one(
    rule: &Map<String, Json>,
    templates: &Templates,
    names: &Map<String, Json>,
) -> Result<Map<String, Json>, String> {
    rule.iter()
        .filter(|(key, _)| *key != "each")
        .map(|(key, field)| Ok((key.clone(), templates.render_in(field, names)?)))
        .collect()
}

fn name(mut rule: Map<String, Json>) -> Result<Named, String> {
    let name = match rule.remove("name") {
        Some(Json::String(name)) => name,
        _ => return Err("a check needs a `name`".to_string()),
    };
    match serde_json::from_value(Json::Object(rule)) {
        Ok(check) => Ok(Named { name, check }),
        Err(err) => Err(format!("check `{name}`: {err}")),
    }
}

/// Two workspaces to compare.
pub struct Workspaces<'a> {
    /// As the task started.
    pub before: Tree,
    /// As it was left.
    pub after: Tree,
    /// Where their bytes are.
    pub objects: &'a dyn Objects,
}

impl Workspaces<'_> {
    /// Whether a check holds.
    ///
    /// # Errors
    /// When the check itself cannot be used (a pattern that is no regular expression, say), or an
    /// object is missing from the store.
    pub fn holds(&self, check: &Check) -> Result<bool, CallError> {
        Ok(match check {
            Check::Exists { path } => file(&self.after, path).is_some(),
            Check::Absent { path } => !stands(&self.after, path),
            Check::Bytes { path, expect } => file(&self.after, path)
                .is_some_and(|(digest, _)| *digest == Digest::of(expect.as_bytes())),
            Check::Text { path, expect } => {
                self.text(path)?.is_some_and(|text| text.trim() == expect.trim())
            }
            Check::Lines { path, expect, any_order, squeeze } => {
                let Some(text) = self.text(path)? else {
                    return Ok(false);
                };
                let (mut found, mut wanted) = (lines(&text, *squeeze), lines(expect, *squeeze));
                if *any_order {
                    found.sort_unstable();
                    wanted.sort_unstable();
                }
                found == wanted
            }
            Check::Json { path, at, expect } => {
                let wanted: Json = serde_json::from_str(expect).map_err(|err| {
                    CallError::row(format!("the checker expects `{expect}`, not JSON: {err}"))
                })?;
                let Some(text) = self.text(path)? else {
                    return Ok(false);
                };
                serde_json::from_str::<Json>(&text)
                    .is_ok_and(|json| json.pointer(at) == Some(&wanted))
            }
            Check::Cell { path, row, column, expect } => self
                .text(path)?
                .and_then(|text| cell(&text, *row, column))
                .is_some_and(|cell| cell == *expect),
            Check::Regex { path, pattern } => {
                let regex = regex::Regex::new(pattern).map_err(|err| {
                    CallError::row(format!("the checker's pattern `{pattern}` is wrong: {err}"))
                })?;
                self.text(path)?.is_some_and(|text| regex.is_match(&text))
            }
            Check::Unchanged { path } => {
                file(&self.before, path).is_some()
                    && file(&self.before, path) == file(&self.after, path)
            }
            Check::OthersUnchanged { except } => {
                let except: BTreeSet<&str> = except.iter().map(String::as_str).collect();
                self.before
                    .files()
                    .filter(|(path, _)| !except.contains(path))
                    .all(|(path, _)| file(&self.before, path) == file(&self.after, path))
            }
            Check::Moved { from, to } => {
                file(&self.before, from).is_some()
                    && file(&self.before, from) == file(&self.after, to)
                    && !stands(&self.after, from)
            }
        })
    }

    fn text(&self, path: &str) -> Result<Option<String>, CallError> {
        let bytes = self.bytes(path)?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()))
    }

    fn bytes(&self, path: &str) -> Result<Option<Arc<[u8]>>, CallError> {
        match file(&self.after, path) {
            Some((digest, size)) if size <= LARGEST => Ok(Some(self.objects.get(digest)?)),
            _ => Ok(None),
        }
    }
}

fn file<'a>(tree: &'a Tree, path: &str) -> Option<(&'a Digest, u64)> {
    match tree.entries.get(path) {
        Some(Entry::File { digest, size, .. }) => Some((digest, *size)),
        _ => None,
    }
}

fn stands(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    tree.entries.contains_key(path)
        || tree.entries.range(below.clone()..).next().is_some_and(|(at, _)| at.starts_with(&below))
}

fn lines(text: &str, squeeze: bool) -> Vec<String> {
    text.lines()
        .map(|line| {
            if squeeze {
                line.split_whitespace().collect::<Vec<_>>().join(" ")
            } else {
                line.trim_end().to_string()
            }
        })
        .filter(|line| !line.is_empty())
        .collect()
}

/// A cell of plain CSV: commas, and double quotes around a field that holds one.
fn cell(text: &str, row: usize, column: &str) -> Option<String> {
    let mut rows = text.lines();
    let at = fields(rows.next()?).iter().position(|name| name == column)?;
    fields(rows.nth(row.checked_sub(1)?)?).get(at).cloned()
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Check, Workspaces};
    use crate::store::{Entry, MemoryObjects, Objects, Tree};

    fn tree(objects: &MemoryObjects, files: &[(&str, &str)]) -> Tree {
        let files: Vec<(String, Vec<u8>)> =
            files.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect();
        let digest = objects.put_files(&files).expect("memory");
        objects.tree(&digest).expect("just put")
    }

    #[test]
    fn every_kind_says_yes_and_no() {
        let objects = MemoryObjects::default();
        let before = tree(&objects, &[("in", "a\n"), ("kept", "k"), ("old", "moved")]);
        let mut after = tree(
            &objects,
            &[
                ("in", "b\n"),
                ("kept", "k"),
                ("new", "moved"),
                ("lines", "  3 x\n1 y \n\n"),
                ("t.json", "{\"a\": {\"b\": [1, 2]}}"),
                ("t.csv", "name,qty\nlimo,\"4,5\"\r\nrasen,12\n"),
                ("dir/file", ""),
            ],
        );
        after.entries.insert("link".to_string(), Entry::Link("kept".to_string()));
        let trees = Workspaces { before, after, objects: &objects };
        let cases = [
            (json!({"kind": "exists", "path": "kept"}), true),
            (json!({"kind": "exists", "path": "link"}), false),
            (json!({"kind": "exists", "path": "dir"}), false),
            (json!({"kind": "absent", "path": "old"}), true),
            (json!({"kind": "absent", "path": "dir"}), false),
            (json!({"kind": "bytes", "path": "in", "expect": "b\n"}), true),
            (json!({"kind": "bytes", "path": "in", "expect": "b"}), false),
            (json!({"kind": "text", "path": "in", "expect": " b"}), true),
            (json!({"kind": "text", "path": "nowhere", "expect": ""}), false),
            (json!({"kind": "lines", "path": "lines", "expect": "  3 x\n1 y"}), true),
            (json!({"kind": "lines", "path": "lines", "expect": "1 y\n  3 x"}), false),
            (
                json!({"kind": "lines", "path": "lines", "expect": "1 y\n3 x",
                       "any_order": true, "squeeze": true}),
                true,
            ),
            (
                json!({"kind": "lines", "path": "lines", "expect": "1 y\n1 y\n3 x",
                       "any_order": true, "squeeze": true}),
                false,
            ),
            (json!({"kind": "json", "path": "t.json", "at": "/a/b/1", "expect": "2"}), true),
            (json!({"kind": "json", "path": "t.json", "expect": "{}"}), false),
            (json!({"kind": "json", "path": "t.csv", "expect": "{}"}), false),
            (
                json!({"kind": "cell", "path": "t.csv", "row": 1, "column": "qty", "expect": "4,5"}),
                true,
            ),
            (
                json!({"kind": "cell", "path": "t.csv", "row": 2, "column": "qty", "expect": "4,5"}),
                false,
            ),
            (
                json!({"kind": "cell", "path": "t.csv", "row": 3, "column": "qty", "expect": ""}),
                false,
            ),
            (json!({"kind": "regex", "path": "in", "pattern": "^b$|z"}), false),
            (json!({"kind": "regex", "path": "in", "pattern": "(?m)^b$"}), true),
            (json!({"kind": "unchanged", "path": "kept"}), true),
            (json!({"kind": "unchanged", "path": "in"}), false),
            (json!({"kind": "others_unchanged", "except": ["in", "old"]}), true),
            (json!({"kind": "others_unchanged", "except": ["in"]}), false),
            (json!({"kind": "moved", "from": "old", "to": "new"}), true),
            (json!({"kind": "moved", "from": "kept", "to": "new"}), false),
        ];
        for (json, wanted) in cases {
            let check: Check = serde_json::from_value(json.clone()).expect("a check");
            assert_eq!(trees.holds(&check).expect("an answer"), wanted, "{json}");
        }
        let unknown = json!({"kind": "exists", "path": "kept", "pth": "x"});
        assert!(serde_json::from_value::<Check>(unknown).is_err());
        for broken in [
            json!({"kind": "regex", "path": "in", "pattern": "("}),
            json!({"kind": "json", "path": "t.json", "expect": "{"}),
        ] {
            let check: Check = serde_json::from_value(broken).expect("a check");
            assert!(trees.holds(&check).is_err(), "a fault of the checker is no answer");
        }
    }
}
