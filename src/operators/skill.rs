//! `skill.ground`: what a person's errand will be about.
//!
//! Skills are folders in the Agent Skills format (`SKILL.md`: front matter, then text for an agent).
//! Two entries of a skill's `metadata` matter here: `families` (the task families that it grounds)
//! and `operations` (what of the taxonomy it teaches, separated by semicolons).
//!
//! Families are dealt like cards: for every round of as many errands as there are families, a person
//! gets each family once, in an order of their own. So all families appear equally often, and a
//! person's first errands stay what they are when more are asked for. The primary skill is one of
//! those that name the family; scenario, operations and supporting skills are drawn beside it.
//! Operations that need the Internet are never drawn: tasks run without a network.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::store::{Digest, KeyHasher, Objects, Tree};

use super::task::{Stream, field};

/// `skill.ground`.
#[derive(Default)]
pub struct Ground {
    skills: Mutex<BTreeMap<Digest, Arc<Vec<Skill>>>>,
    taxonomies: Mutex<BTreeMap<Digest, Arc<Taxonomy>>>,
}

impl Operator for Ground {
    fn about(&self) -> About {
        About { name: "skill.ground", version: 1, kind: Kind::Pure, pool: Pool::Instant }
    }

    /// Of the skills, only what their front matter says of families and operations.
    fn reads(&self, args: &Args, objects: &dyn Objects) -> Result<Args, CallError> {
        let skills = self.skills(&args.dir("skills")?, objects)?;
        let mut narrow = args.clone();
        let skills = skills.iter().map(|skill| {
            Value::record([
                ("name", Value::str(&skill.name)),
                ("families", Value::from(skill.families.clone())),
                ("operations", Value::from(skill.operations.clone())),
            ])
        });
        narrow.0.insert("skills".to_string(), Value::List(skills.collect()));
        Ok(narrow)
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        async move {
            let skills = self.skills(&args.dir("skills")?, &*context.objects)?;
            let taxonomy = held(&self.taxonomies, &args.dir("taxonomy")?, |dir| {
                Taxonomy::read(dir, &*context.objects)
            })?;
            ground(
                &skills,
                &taxonomy,
                &Errand {
                    persona: args.get("persona")?,
                    index: args.int("index")?,
                    supporting: args.int("supporting")?.max(0) as usize,
                    operations: args.int("operations")?.max(0) as usize,
                    seed: args.int("seed")?,
                },
            )
        }
        .boxed()
    }
}

impl Ground {
    fn skills(&self, dir: &Digest, objects: &dyn Objects) -> Result<Arc<Vec<Skill>>, CallError> {
        held(&self.skills, dir, |dir| Skill::read_all(dir, objects))
    }
}

/// What was read from a directory before, or is read now.
fn held<T>(
    memory: &Mutex<BTreeMap<Digest, Arc<T>>>,
    dir: &Digest,
    read: impl FnOnce(&Digest) -> Result<T, CallError>,
) -> Result<Arc<T>, CallError> {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = memory.get(dir) {
        return Ok(known.clone());
    }
    let fresh = Arc::new(read(dir)?);
    memory.insert(*dir, fresh.clone());
    Ok(fresh)
}

/// A skill, as its front matter describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// Its name, which is also its folder's.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// The task families that it grounds, sorted.
    pub families: Vec<String>,
    /// The operations of the taxonomy that it teaches.
    pub operations: Vec<String>,
}

impl Skill {
    /// Reads every skill in a directory, sorted by name.
    ///
    /// # Errors
    /// When a folder has no `SKILL.md`, or its front matter breaks the format.
    pub fn read_all(dir: &Digest, objects: &dyn Objects) -> Result<Vec<Skill>, CallError> {
        let tree = objects.tree(dir)?;
        let mut skills = Vec::new();
        for folder in tree.names() {
            let path = format!("{folder}/SKILL.md");
            let text = text_of(&tree, &path, objects)?;
            let skill = Skill::parse(&folder, &text)
                .map_err(|what| CallError::row(format!("skill {path}: {what}")))?;
            skills.push(skill);
        }
        Ok(skills)
    }

    /// Reads a `SKILL.md` that stands in `folder`.
    ///
    /// # Errors
    /// What breaks the format.
    pub fn parse(folder: &str, text: &str) -> Result<Skill, String> {
        let mut fields = front_matter(text)?;
        let mut take = |key: &str| fields.remove(key).unwrap_or_default();
        let (name, description) = (take("name"), take("description"));
        let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name != folder {
            return Err(format!("its name `{name}` is not its folder's"));
        }
        if name.len() > 64
            || !name.chars().all(shape)
            || name.starts_with('-')
            || name.ends_with('-')
            || name.contains("--")
        {
            return Err(format!("`{name}` is no skill name: lower-case words joined by `-`"));
        }
        if description.is_empty() || description.len() > 1024 {
            return Err("its description must have 1 to 1024 characters".to_string());
        }
        let families: BTreeSet<String> =
            take("metadata.families").split_whitespace().map(str::to_string).collect();
        let operations = take("metadata.operations");
        Ok(Skill {
            name,
            description,
            families: families.into_iter().collect(),
            operations: operations
                .split(';')
                .map(|operation| operation.trim().to_string())
                .filter(|operation| !operation.is_empty())
                .collect(),
        })
    }
}

/// The front matter of a `SKILL.md`: `key: value` lines, and one level of them below `metadata:`.
/// A line that is indented below any other key continues its value.
fn front_matter(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Err("it does not start with front matter (a line `---`)".to_string());
    }
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut above = String::new();
    for line in lines {
        if line.trim_end() == "---" {
            return Ok(fields);
        }
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let indented = line.starts_with(' ') || line.starts_with('\t');
        if indented && above != "metadata" {
            let value =
                fields.get_mut(&above).ok_or_else(|| format!("`{line}` belongs to nothing"))?;
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(unquote(line.trim()));
            continue;
        }
        let (key, value) =
            line.trim().split_once(':').ok_or_else(|| format!("`{line}` is not `key: value`"))?;
        let value = match value.trim() {
            ">" | ">-" | "|" | "|-" => "",
            value => unquote(value),
        };
        let key = if indented { format!("metadata.{key}") } else { key.to_string() };
        if !indented {
            above = key.clone();
        }
        fields.insert(key, value.to_string());
    }
    Err("its front matter has no end (a line `---`)".to_string())
}

fn unquote(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// What tasks can be about and made of.
#[derive(Debug, Clone)]
pub struct Taxonomy {
    /// Scenarios of all categories.
    pub scenarios: Vec<String>,
    /// Operations that need no network.
    pub operations: Vec<String>,
    /// Operations that do.
    pub online: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    category: Vec<Category>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    #[expect(dead_code, reason = "for the reader of the file")]
    name: String,
    scenarios: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationFile {
    group: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[expect(dead_code, reason = "for the reader of the file")]
    name: String,
    #[serde(default)]
    network: bool,
    operations: Vec<String>,
}

impl Taxonomy {
    /// Reads `scenarios.toml` and `operations.toml`.
    ///
    /// # Errors
    /// When one is missing, malformed or empty.
    pub fn read(dir: &Digest, objects: &dyn Objects) -> Result<Taxonomy, CallError> {
        let tree = objects.tree(dir)?;
        let wrong = |file: &str, what: &str| CallError::row(format!("taxonomy {file}: {what}"));
        let text = text_of(&tree, "scenarios.toml", objects)?;
        let scenarios: ScenarioFile =
            toml::from_str(&text).map_err(|err| wrong("scenarios.toml", err.message()))?;
        let text = text_of(&tree, "operations.toml", objects)?;
        let groups: OperationFile =
            toml::from_str(&text).map_err(|err| wrong("operations.toml", err.message()))?;
        let scenarios: Vec<String> =
            scenarios.category.into_iter().flat_map(|category| category.scenarios).collect();
        if scenarios.is_empty() {
            return Err(wrong("scenarios.toml", "there is no scenario in it"));
        }
        let (mut operations, mut online) = (Vec::new(), Vec::new());
        for group in groups.group {
            if group.network { &mut online } else { &mut operations }.extend(group.operations);
        }
        Ok(Taxonomy { scenarios, operations, online })
    }
}

fn text_of(tree: &Tree, path: &str, objects: &dyn Objects) -> Result<String, CallError> {
    let digest = tree.files().find(|(at, _)| *at == path).map(|(_, digest)| *digest);
    let digest = digest.ok_or_else(|| CallError::row(format!("{path} is missing")))?;
    String::from_utf8(objects.get(&digest)?.to_vec())
        .map_err(|_| CallError::row(format!("{path} is not UTF-8")))
}

/// Whose errand, and how much is to be drawn for it.
pub struct Errand<'a> {
    /// Who has it, a `persona.Persona` row.
    pub persona: &'a Value,
    /// Its number for this person, from 1.
    pub index: i64,
    /// Supporting skills at most.
    pub supporting: usize,
    /// Operations at most.
    pub operations: usize,
    /// Another seed, other errands.
    pub seed: i64,
}

/// Grounds an errand, as a `skill.Grounding` row.
///
/// # Errors
/// When its number is below 1, or no skill names a family.
pub fn ground(
    skills: &[Skill],
    taxonomy: &Taxonomy,
    errand: &Errand<'_>,
) -> Result<Value, CallError> {
    let person = field(errand.persona, "id")?;
    if errand.index < 1 {
        return Err(CallError::row(format!("errands count from 1; there is no {}", errand.index)));
    }
    let id = match errand.seed {
        0 => format!("{person}.{}", errand.index),
        seed => format!("{person}.{}~{seed}", errand.index),
    };
    let key = |part: &str| {
        let mut hasher = KeyHasher::new("claw grounding 1");
        hasher.number(errand.seed as u64).text(person).text(part);
        hasher
    };
    let family = deal(skills, errand.index, &mut |round, family| {
        key("family").number(round).text(family).finish()
    });
    let family = family.ok_or_else(|| {
        CallError::row("no skill names a task family; say `families:` in a skill's metadata")
    })?;

    let mut stream = Stream::new(&key("errand").number(errand.index as u64).finish());
    let fitting: Vec<&Skill> =
        skills.iter().filter(|skill| skill.families.iter().any(|name| name == family)).collect();
    let primary = *stream.pick(&fitting);
    let mut others: Vec<&Skill> =
        skills.iter().filter(|skill| skill.name != primary.name).collect();
    stream.shuffle(&mut others);
    others.truncate(errand.supporting);

    // What the skills teach comes first; the rest of the taxonomy fills up.
    let mut operations: Vec<String> = Vec::new();
    let mut rest = taxonomy.operations.clone();
    stream.shuffle(&mut rest);
    let taught = std::iter::once(primary).chain(others.iter().copied());
    for operation in taught.flat_map(|skill| skill.operations.iter()).chain(&rest) {
        if operations.len() < errand.operations && !operations.contains(operation) {
            operations.push(operation.clone());
        }
    }
    let supporting: Vec<String> = others.iter().map(|skill| skill.name.clone()).collect();
    Ok(Value::record([
        ("id", Value::Str(id)),
        ("persona", errand.persona.clone()),
        ("scenario", Value::str(stream.pick(&taxonomy.scenarios))),
        ("operations", Value::from(operations)),
        ("skill", Value::str(&primary.name)),
        ("supporting", Value::from(supporting)),
        ("family", Value::str(family)),
    ]))
}

/// The family of errand `index`: every round deals each family once, in the order of `rank`.
fn deal<'a>(
    skills: &'a [Skill],
    index: i64,
    rank: &mut dyn FnMut(u64, &str) -> Digest,
) -> Option<&'a str> {
    let families: BTreeSet<&str> =
        skills.iter().flat_map(|skill| skill.families.iter().map(String::as_str)).collect();
    let count = families.len() as u64;
    let card = (index as u64 - 1).checked_rem(count)?;
    let round = (index as u64 - 1) / count;
    let mut dealt: Vec<(Digest, &str)> =
        families.into_iter().map(|family| (rank(round, family), family)).collect();
    dealt.sort_unstable();
    dealt.get(card as usize).map(|(_, family)| *family)
}

#[cfg(test)]
mod tests {
    use super::Skill;

    #[test]
    fn front_matter_is_read_or_told_wrong() {
        let good = "---\nname: tidy-up\ndescription: >\n  Tidies\n  up.\nmetadata:\n  families: \"b a\"\n  operations: read; write\n---\n# Tidy\n";
        let skill = Skill::parse("tidy-up", good).expect("a skill");
        assert_eq!(skill.description, "Tidies up.");
        assert_eq!(skill.families, ["a", "b"]);
        assert_eq!(skill.operations, ["read", "write"]);
        assert!(Skill::parse("other", good).is_err(), "the folder has another name");
        assert!(Skill::parse("x", "# no front matter").is_err());
        assert!(Skill::parse("x", "---\nname: x\n").is_err(), "no end");
        assert!(Skill::parse("x", "---\nname: x\n---\n").is_err(), "no description");
        assert!(Skill::parse("X_y", "---\nname: X_y\ndescription: d\n---\n").is_err());
    }
}
