//! A family of tasks, read from its folder.
//!
//! ```text
//! stdlib/tasks/sum_where/
//!   family.toml      what it is, which operations it exercises, its parameters
//!   wordings.txt     one way of asking a line, with `[alternatives|options]` (see `wording`);
//!                    the line's number (from 1) is its name
//!   workspace/       the files it starts from; texts and file names are templates,
//!                    and a file whose name comes out empty is left out
//!   checks.toml      gates and points (see `checks`)
//!   check.py         or a program that judges (see `verify`)
//!   solution.toml    one way to do it: the tool calls, in order
//! ```
//!
//! A new family is a new folder: nothing here knows one by name. A folder is a family when there is
//! a `family.toml` in it; `stdlib/tasks/README.md` says how to write one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::engine::CallError;
use crate::store::{Digest, Entry, KeyHasher, Objects, Tree};

use super::checks::{RuleTemplates, Rules};
use super::params::{self, Param};
use super::render::Templates;
use super::wording::{Form, Wording};

/// One family, ready to make tasks of.
#[derive(Debug)]
pub struct Family {
    /// The name of its folder.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// What its tasks ask for.
    pub doc: String,
    /// The operations of the taxonomy that it exercises.
    pub operations: Vec<String>,
    /// The wordings, first to last.
    pub wordings: Vec<Wording>,
    /// The program that judges, if there is one.
    pub program: Option<Digest>,
    /// Names all that decides about a task but its wording.
    pub rules_digest: Digest,
    /// Names all that decides about its files.
    pub workspace_digest: Digest,
    params: Vec<Param>,
    require: Vec<String>,
    workspace: Vec<FileTemplate>,
    rules: RuleTemplates,
    solution: Json,
    templates: Templates,
}

#[derive(Debug)]
struct FileTemplate {
    path: String,
    text: String,
    executable: bool,
}

/// One way to do a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// Tool calls, in order.
    pub calls: Vec<Call>,
    /// What is said at the end.
    pub answer: String,
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// `read`, `write`, `edit` or `exec`.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilyFile {
    title: String,
    doc: String,
    operations: Vec<String>,
    #[serde(default)]
    require: Vec<String>,
    #[serde(default)]
    param: Vec<Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SolutionFile {
    #[serde(default = "done")]
    answer: String,
    call: Vec<Map<String, Json>>,
}

fn done() -> String {
    "Done.".to_string()
}

/// The tools that a solution may use, and the arguments that each must have.
const TOOLS: &[(&str, &[&str])] = &[
    ("read", &["path"]),
    ("write", &["path", "content"]),
    ("edit", &["path", "edits"]),
    ("exec", &["command"]),
];

impl Family {
    /// Reads the folder `name` of `families`.
    ///
    /// # Errors
    /// When there is none, or a file in it is wrong: which one, and why.
    pub fn load(families: &Tree, name: &str, objects: &dyn Objects) -> Result<Family, CallError> {
        let tree = families.below(name);
        if tree.entries.is_empty() {
            return Err(CallError::row(format!(
                "there is no task family `{name}`; there are {}",
                Family::names(families).join(", ")
            )));
        }
        let mut templates = Templates::new();
        let folder = Folder { name, tree: &tree, objects };

        let file: FamilyFile = folder.toml("family.toml")?;
        let params = params::read(&file.param, &mut templates)
            .and_then(|params| {
                file.require
                    .iter()
                    .try_for_each(|condition| templates.compile_expression(condition))?;
                Ok(params)
            })
            .map_err(|err| folder.wrong("family.toml", &err))?;

        let wordings = folder.wordings()?;

        let rules = match folder.find("checks.toml") {
            None => RuleTemplates::default(),
            Some(_) => RuleTemplates::read(&folder.toml("checks.toml")?, &mut templates)
                .map_err(|err| folder.wrong("checks.toml", &err))?,
        };
        let program = folder.find("check.py");
        if program.is_none() && !rules.has_points() {
            return Err(
                folder.wrong("checks.toml", "nothing earns a point: no `[[check]]`, no check.py")
            );
        }

        let solution: SolutionFile = folder.toml("solution.toml")?;
        let solution =
            solution.read(&mut templates).map_err(|err| folder.wrong("solution.toml", &err))?;

        let mut workspace = Vec::new();
        let mut workspace_key = KeyHasher::new("claw task workspace 1");
        for (path, entry) in &tree.below("workspace").entries {
            let Entry::File { digest, executable, .. } = entry else {
                return Err(folder.wrong(path, "only regular files can be templates"));
            };
            let text = folder.text(&format!("workspace/{path}"))?;
            for template in [path, &text] {
                templates.compile(template).map_err(|err| folder.wrong(path, &err))?;
            }
            workspace_key.text(path).digest(digest).number(u64::from(*executable));
            workspace.push(FileTemplate { path: path.clone(), text, executable: *executable });
        }

        let mut rules_key = KeyHasher::new("claw task rules 1");
        for path in ["family.toml", "checks.toml", "check.py", "solution.toml"] {
            let digest = folder.find(path).unwrap_or(Digest::of(b""));
            rules_key.text(path).digest(&digest);
        }
        let family = Family {
            name: name.to_string(),
            title: file.title,
            doc: file.doc,
            operations: file.operations,
            wordings,
            program,
            rules_digest: rules_key.finish(),
            workspace_digest: workspace_key.finish(),
            params,
            require: file.require,
            workspace,
            rules,
            solution,
            templates,
        };
        family.try_wordings()?;
        Ok(family)
    }

    /// The families in a folder: what has a `family.toml`.
    pub fn names(families: &Tree) -> Vec<String> {
        let mut names = families.names();
        names.retain(|name| families.entries.contains_key(&format!("{name}/family.toml")));
        names
    }

    /// Renders every option of every wording once, for a task of nobody: a slip in a rare one
    /// should not wait for the task that takes it.
    fn try_wordings(&self) -> Result<(), CallError> {
        let mut names = self.draw("nobody.1", 0)?;
        let fields = ["id", "name", "role", "trade", "place", "habit", "text"];
        let nobody: Map<String, Json> =
            fields.map(|field| (field.to_string(), Json::from("nobody"))).into_iter().collect();
        for (name, value) in [
            ("persona", Json::Object(nobody)),
            ("scenario", Json::from("nothing")),
            ("skill", Json::from("nothing")),
        ] {
            names.entry(name).or_insert(value);
        }
        for (at, wording) in self.wordings.iter().enumerate() {
            for form in wording.cover(&self.name, at + 1) {
                self.ask(&form, &names)?;
            }
        }
        Ok(())
    }

    /// Draws the parameters of one task.
    ///
    /// # Errors
    /// When a template or condition of the family fails.
    pub fn draw(&self, grounding: &str, seed: i64) -> Result<Map<String, Json>, CallError> {
        params::draw(&self.params, &self.require, &self.templates, &self.name, grounding, seed)
            .map_err(|err| self.fault("family.toml", &err))
    }

    /// Which wording (from 1) a task is asked in. A further wording takes some tasks over and
    /// changes no other.
    pub fn wording_of(&self, grounding: &str, seed: i64) -> usize {
        let rank = |n: usize| {
            let mut hasher = KeyHasher::new("claw task wording 1");
            hasher.number(seed as u64).text(grounding).text(&self.name).number(n as u64);
            hasher.finish()
        };
        (1..=self.wordings.len()).max_by_key(|n| rank(*n)).unwrap_or(1)
    }

    /// The exact sentence form that a task is asked in: its wording with alternatives settled.
    pub fn form_of(&self, grounding: &str, seed: i64) -> Form {
        let n = self.wording_of(grounding, seed);
        self.wordings[n - 1].form_of(&self.name, n, grounding, seed)
    }

    /// Asks for a task in one form. `names` are the parameters and who asks.
    ///
    /// # Errors
    /// When the form is no template, or names something that is not there.
    pub fn ask(&self, form: &Form, names: &Map<String, Json>) -> Result<String, CallError> {
        self.templates
            .render_once(&form.template, names)
            .map_err(|err| self.fault("wordings", &format!("`{}`: {err}", form.id)))
    }

    /// The checks of one task.
    ///
    /// # Errors
    /// When a check names something that is not there.
    pub fn rules(&self, params: &Map<String, Json>) -> Result<Rules, CallError> {
        self.rules.fill(&self.templates, params).map_err(|err| self.fault("checks.toml", &err))
    }

    /// One way to do one task.
    ///
    /// # Errors
    /// When a call names something that is not there.
    pub fn solution(&self, params: &Map<String, Json>) -> Result<Solution, CallError> {
        self.templates
            .render_in(&self.solution, params)
            .and_then(|json| serde_json::from_value(json).map_err(|err| err.to_string()))
            .map_err(|err| self.fault("solution.toml", &err))
    }

    /// The files that one task starts from; keeps them in `objects`.
    ///
    /// # Errors
    /// When a template fails, a name leaves the workspace, or two files get the same name.
    pub fn files(
        &self,
        params: &Map<String, Json>,
        objects: &dyn Objects,
    ) -> Result<Digest, CallError> {
        let mut tree = Tree::default();
        for file in &self.workspace {
            let at = format!("workspace/{}", file.path);
            let render = |text: &str| {
                self.templates.render(text, params).map_err(|err| self.fault(&at, &err))
            };
            let path = render(&file.path)?;
            if path.is_empty() {
                continue;
            }
            if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return Err(self.fault(&at, &format!("`{path}` is not a path in the workspace")));
            }
            let bytes = render(&file.text)?.into_bytes();
            let entry = Entry::File {
                digest: objects.put(&bytes)?,
                size: bytes.len() as u64,
                executable: file.executable,
            };
            if tree.entries.insert(path.clone(), entry).is_some() {
                return Err(self.fault(&at, &format!("two files are called `{path}`")));
            }
        }
        Ok(objects.put_tree(&tree)?)
    }

    fn fault(&self, file: &str, what: &str) -> CallError {
        CallError::row(format!("task family `{}`, {file}: {what}", self.name))
    }
}

impl SolutionFile {
    /// Checks the calls and turns them into the form of a [`Solution`], still with templates.
    fn read(self, templates: &mut Templates) -> Result<Json, String> {
        let mut calls = Vec::new();
        for mut call in self.call {
            let name = match call.remove("tool") {
                Some(Json::String(name)) => name,
                _ => return Err("a call needs a `tool`".to_string()),
            };
            let (_, needed) = TOOLS
                .iter()
                .find(|(tool, _)| *tool == name)
                .ok_or_else(|| format!("there is no tool `{name}`"))?;
            if let Some(missing) = needed.iter().find(|key| !call.contains_key(**key)) {
                return Err(format!("a call of `{name}` needs `{missing}`"));
            }
            calls.push(serde_json::json!({ "name": name, "arguments": call }));
        }
        let solution = serde_json::json!({ "calls": calls, "answer": self.answer });
        templates.compile_in(&solution)?;
        Ok(solution)
    }
}

/// A family's folder while it is being read.
struct Folder<'a> {
    name: &'a str,
    tree: &'a Tree,
    objects: &'a dyn Objects,
}

impl Folder<'_> {
    fn wrong(&self, file: &str, what: &str) -> CallError {
        CallError::row(format!("task family `{}`, {file}: {what}", self.name))
    }

    fn find(&self, path: &str) -> Option<Digest> {
        self.tree.files().find(|(at, _)| *at == path).map(|(_, digest)| *digest)
    }

    fn text(&self, path: &str) -> Result<String, CallError> {
        let digest = self.find(path).ok_or_else(|| self.wrong(path, "is missing"))?;
        let bytes = self.objects.get(&digest)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.wrong(path, "is not UTF-8"))
    }

    fn toml<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        toml::from_str(&self.text(path)?).map_err(|err| self.wrong(path, err.message()))
    }

    /// The lines of `wordings.txt`, or of all files in `wordings/` in the order of their names.
    fn wordings(&self) -> Result<Vec<Wording>, CallError> {
        let mut wordings = Vec::new();
        for (path, _) in self.tree.files() {
            if path == "wordings.txt" || path.starts_with("wordings/") {
                let text = self.text(path)?;
                let lines = text.lines().map(str::trim);
                for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
                    let wording = Wording::read(line).map_err(|err| {
                        self.wrong(path, &format!("line {}: {err}", wordings.len() + 1))
                    })?;
                    wordings.push(wording);
                }
            }
        }
        if wordings.is_empty() {
            return Err(self.wrong("wordings.txt", "there is no wording in it"));
        }
        Ok(wordings)
    }
}

/// Families that were read already, so that thousands of rows read each one once.
#[derive(Default)]
pub struct Library {
    read: Mutex<BTreeMap<(Digest, String), Arc<Family>>>,
}

impl Library {
    /// The family `name` of the folder `families`.
    ///
    /// # Errors
    /// As [`Family::load`].
    pub fn family(
        &self,
        families: &Digest,
        name: &str,
        objects: &dyn Objects,
    ) -> Result<Arc<Family>, CallError> {
        let key = (*families, name.to_string());
        let held = |read: &BTreeMap<_, Arc<Family>>| read.get(&key).cloned();
        if let Some(family) = held(&self.read.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(family);
        }
        let family = Arc::new(Family::load(&objects.tree(families)?, name, objects)?);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(read.entry(key).or_insert(family).clone())
    }
}
