//! The library's data in a store, and rows made of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use claw::engine::{Args, CallError, Context, Operator};
use claw::lang::Value;
use claw::operators::persona::Pools;
use claw::operators::skill::{Errand, Skill, Taxonomy, ground};
use claw::operators::task::{Family, Library, Write};
use claw::store::{Digest, MemoryObjects, Objects};

pub(super) fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("no text `{field}`"))
}

pub(super) fn call(
    operator: &dyn Operator,
    args: &Args,
    library: &Stdlib,
) -> Result<Value, CallError> {
    let context = Context::quiet(library.objects.clone(), Digest::of(b"a key"));
    block_on(operator.call(args, &context))
}

/// Runs a future to its end.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The library's data in a store, and tasks made of it.
pub(super) struct Stdlib {
    pub(super) objects: Arc<MemoryObjects>,
    pub(super) families: Digest,
    pub(super) skills: Digest,
    pub(super) personas: Digest,
    pub(super) taxonomy: Digest,
}

impl Stdlib {
    pub(super) fn read() -> Stdlib {
        let objects = Arc::new(MemoryObjects::default());
        let dir = |name: &str| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib").join(name);
            let mut files = Vec::new();
            collect(&root, &root, &mut files);
            objects.put_files(&files).unwrap()
        };
        let [families, skills, personas, taxonomy] =
            ["tasks", "skills", "personas", "taxonomy"].map(dir);
        Stdlib { objects, families, skills, personas, taxonomy }
    }

    pub(super) fn text_of(&self, path: &str) -> String {
        let tree = self.objects.tree(&self.families).unwrap();
        let digest = tree.files().find(|(at, _)| *at == path).map(|(_, digest)| *digest).unwrap();
        String::from_utf8(self.objects.get(&digest).unwrap().to_vec()).unwrap()
    }

    /// The same library with one file of one family edited.
    pub(super) fn edited(&self, path: &str, from: &str, to: &str) -> Stdlib {
        let text = self.text_of(path);
        assert!(text.contains(from), "{path} does not hold `{from}`");
        let text = text.replacen(from, to, 1);
        let mut tree = self.objects.tree(&self.families).unwrap();
        let files = [(path.to_string(), text.into_bytes())];
        let one = self.objects.put_files(&files).unwrap();
        tree.entries.extend(self.objects.tree(&one).unwrap().entries);
        let families = self.objects.put_tree(&tree).unwrap();
        Stdlib { objects: self.objects.clone(), families, ..*self }
    }

    pub(super) fn family(&self, name: &str) -> Arc<Family> {
        Library::default().family(&self.families, name, &*self.objects).unwrap()
    }

    pub(super) fn groundings(&self, people: i64, errands: i64) -> Vec<Value> {
        let pools = Pools::read(&self.personas, &*self.objects).unwrap();
        let skills = Skill::read_all(&self.skills, &*self.objects).unwrap();
        let taxonomy = Taxonomy::read(&self.taxonomy, &*self.objects).unwrap();
        let mut groundings = Vec::new();
        for person in 1..=people {
            let persona = pools.person(person, 7).unwrap();
            for index in 1..=errands {
                let errand =
                    Errand { persona: &persona, index, supporting: 2, operations: 3, seed: 0 };
                groundings.push(ground(&skills, &taxonomy, &errand).unwrap());
            }
        }
        groundings
    }

    /// So many groundings of every family.
    pub(super) fn groundings_by_family(&self, count: usize) -> BTreeMap<String, Vec<Value>> {
        let families = Family::names(&self.objects.tree(&self.families).unwrap()).len();
        let mut by_family: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for grounding in self.groundings(count as i64, families as i64) {
            by_family.entry(text(&grounding, "family").to_string()).or_default().push(grounding);
        }
        by_family
    }

    pub(super) fn tasks(&self, people: i64, errands: i64) -> Vec<Value> {
        let write = Write::new(Arc::default());
        let groundings = self.groundings(people, errands);
        groundings.iter().map(|of| call(&write, &self.write_args(of), self).unwrap()).collect()
    }

    pub(super) fn write_args(&self, grounding: &Value) -> Args {
        let families = ("families".to_string(), Value::Dir(self.families));
        let grounding = ("grounding".to_string(), grounding.clone());
        Args([grounding, families, ("seed".to_string(), Value::Int(0))].into())
    }

    pub(super) fn mock_args(&self, task: &Value) -> Args {
        let families = ("families".to_string(), Value::Dir(self.families));
        Args([("task".to_string(), task.clone()), families].into())
    }
}

pub(super) fn collect(root: &Path, dir: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
}
