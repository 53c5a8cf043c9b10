//! What an object refers to.
//!
//! The store keeps bytes and does not ask what they mean, with one exception: to tell which results
//! are whole, and what may be thrown away, it has to follow references. There are four kinds of
//! object: values (rows and results, JSON in which `{"$file": …}`, `{"$dir": …}` and `{"$table": …}`
//! name other objects), tables (digests of rows), trees (digests of files) and plain bytes.

use std::collections::HashMap;

use super::digest::Digest;
use super::objects::{Objects, StoreError};
use super::tree::Tree;

/// What an object is, as told by what refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A row, or the result of a call or a stage.
    Value,
    /// The rows of a table.
    Table,
    /// A directory.
    Tree,
    /// Bytes that refer to nothing.
    File,
}

impl Role {
    /// The word for one of it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Value => "row or result",
            Role::Table => "table",
            Role::Tree => "directory",
            Role::File => "file",
        }
    }
}

/// An object in its role.
pub type Reference = (Role, Digest);

/// What an object with these bytes refers to; `None` when the bytes are not what the role says.
pub(super) fn references(role: Role, bytes: &[u8]) -> Option<Vec<Reference>> {
    match role {
        Role::File => Some(Vec::new()),
        Role::Tree => {
            let tree = Tree::decode(bytes).ok()?;
            Some(tree.files().map(|(_, file)| (Role::File, *file)).collect())
        }
        Role::Table => {
            let rows = bytes.chunks_exact(32);
            let whole = rows.remainder().is_empty();
            whole.then(|| {
                rows.filter_map(Digest::from_slice).map(|row| (Role::Value, row)).collect()
            })
        }
        Role::Value => {
            // Bytes that are no JSON refer to nothing; that they are what was put is not asked here.
            let mut found = Vec::new();
            if let Ok(value) = serde_json::from_slice(bytes) {
                in_value(&value, &mut found);
            }
            Some(found)
        }
    }
}

/// A field of a record that begins with `$` is written with one more, so that these three never are
/// somebody's own fields.
fn in_value(value: &serde_json::Value, found: &mut Vec<Reference>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| in_value(item, found)),
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                let role = match name.as_str() {
                    "$file" => Role::File,
                    "$dir" => Role::Tree,
                    "$table" => Role::Table,
                    _ => {
                        in_value(field, found);
                        continue;
                    }
                };
                let digest = field.as_str().and_then(|text| text.parse().ok());
                found.extend(digest.map(|digest| (role, digest)));
            }
        }
        _ => {}
    }
}

/// Walks from object to object, each once, and remembers which are whole: there, undamaged, and
/// everything below them too.
pub(super) struct Walk<'a> {
    objects: &'a dyn Objects,
    /// Whether the bytes of files are read, or only asked for by `there`.
    there: Option<&'a dyn Fn(&Digest) -> bool>,
    whole: HashMap<Reference, bool>,
}

impl<'a> Walk<'a> {
    /// A walk that reads everything it meets.
    pub(super) fn new(objects: &'a dyn Objects) -> Walk<'a> {
        Walk { objects, there: None, whole: HashMap::new() }
    }

    /// A walk that asks `there` about files instead of reading them.
    pub(super) fn asking(objects: &'a dyn Objects, there: &'a dyn Fn(&Digest) -> bool) -> Walk<'a> {
        Walk { objects, there: Some(there), whole: HashMap::new() }
    }

    /// Whether an object and everything below it is there.
    pub(super) fn is_whole(&mut self, (role, digest): Reference) -> bool {
        if let Some(known) = self.whole.get(&(role, digest)) {
            return *known;
        }
        let whole = match self.below((role, digest)) {
            // No early end: whoever asks wants every damaged object to be met.
            Ok(below) => below.into_iter().filter(|next| !self.is_whole(*next)).count() == 0,
            Err(_) => false,
        };
        self.whole.insert((role, digest), whole);
        whole
    }

    /// What an object refers to.
    fn below(&self, (role, digest): Reference) -> Result<Vec<Reference>, StoreError> {
        if let (Role::File, Some(there)) = (role, self.there) {
            return if there(&digest) { Ok(Vec::new()) } else { Err(StoreError::Missing(digest)) };
        }
        let bytes = self.objects.get(&digest)?;
        let what = || format!("it is no {}", role.word());
        references(role, &bytes).ok_or_else(|| StoreError::Damaged { digest, what: what() })
    }

    /// The objects at or below this one that are missing or damaged, each once, and why.
    pub(super) fn broken(&mut self, from: Reference) -> Vec<(Reference, StoreError)> {
        let mut found = Vec::new();
        let mut waiting = vec![from];
        let mut seen = std::collections::HashSet::new();
        while let Some(next) = waiting.pop() {
            if !seen.insert(next) || self.is_whole(next) {
                continue;
            }
            match self.below(next) {
                Ok(below) => waiting.extend(below),
                Err(err) => found.push((next, err)),
            }
        }
        found
    }

    /// Everything that was met.
    pub(super) fn met(&self) -> impl Iterator<Item = &Reference> {
        self.whole.keys()
    }
}
