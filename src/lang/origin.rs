//! What the expression of a stage is made of, as the program names it: parameters, constants, defs
//! and files. Binding writes them all out, so that a key sees only what came of it; for saying why
//! something runs again the names are kept beside it.

use crate::store::Digest;

use super::value::Value;

/// Where the parts of an expression come from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// The digest of its text, without what formatting changes; `None` before binding.
    pub text: Option<Digest>,
    /// What it names, itself or by way of constants and defs.
    pub named: Vec<Origin>,
}

/// Something that an expression names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What it is.
    pub kind: OriginKind,
    /// Its name, or the path of a file or directory.
    pub name: String,
    /// The digest of its value; of a def and of a constant that is no value yet, of its text.
    pub digest: Digest,
    /// Its value in few words, where that is short enough to show; else the digest in short. Of
    /// files and directories the digest of their content.
    pub shown: String,
}

/// Kinds of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginKind {
    /// A `param`.
    Parameter,
    /// A `let`.
    Constant,
    /// A `def`.
    Def,
    /// A file, a directory or a template.
    Path,
}

/// A value for showing that it changed: its digest, and itself in few words where that is short.
pub fn shown(value: &Value) -> (Digest, String) {
    let text = value.encode();
    let digest = Digest::of(&text);
    let text = String::from_utf8_lossy(&text);
    let is_short = text.len() <= 240 && text.chars().count() <= 60;
    (digest, if is_short { text.into_owned() } else { digest.short() })
}

/// The content of a file or directory in words; empty for what is neither.
pub fn content(value: &Value) -> String {
    match value {
        Value::Dir(tree) => tree.to_string(),
        Value::File { digest, .. } => digest.to_string(),
        _ => String::new(),
    }
}

/// The digest of a text without what formatting changes.
pub(super) fn words(text: &str) -> Digest {
    let words: Vec<&str> = text.split_whitespace().collect();
    Digest::of(words.join(" ").as_bytes())
}
