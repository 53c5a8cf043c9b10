//! Types of the language.

use std::fmt;
use std::sync::Arc;

/// A type. Records are structural: a value fits a record type when it has the fields that the type
/// names, and may have more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Whole numbers.
    Int,
    /// Numbers with a fraction; an int stands where a float is asked for.
    Float,
    /// `true`, `false`.
    Bool,
    /// Text.
    Str,
    /// A size such as `512MiB`, in bytes.
    Bytes,
    /// A duration such as `2m`, in milliseconds.
    Duration,
    /// A share such as `20%`, as a fraction.
    Percent,
    /// An amount such as `$2.50`, in micro-dollars.
    Money,
    /// A file by content.
    File,
    /// A directory by content.
    Dir,
    /// Any JSON.
    Json,
    /// A digest.
    Digest,
    /// A model that can be asked.
    Model,
    /// Where commands run.
    Sandbox,
    /// How a model acts: contract and limits.
    Agent,
    /// A trained model; stands where a model is asked for.
    Checkpoint,
    /// A value that only an operator may see: what the program has is its name.
    Secret,
    /// A record in which every field is a secret.
    Secrets,
    /// `[T]`: a list, or a stage's table.
    List(Arc<Type>),
    /// `T?`.
    Optional(Arc<Type>),
    /// `{ a: T, … }`, with the name it was declared under, if any.
    Record(Arc<RecordType>),
    /// `"a" | "b"`.
    Enum(Arc<Vec<String>>),
    /// A type variable of a generic operator, such as `T`.
    Var(String),
    /// `T -> U`, a function over one value.
    Function(Arc<Type>, Arc<Type>),
    /// The type of `null`.
    Null,
    /// What an expression with an error has: fits everything, so that one mistake is told once.
    Unknown,
}

/// A record type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordType {
    /// The name it was declared under.
    pub name: Option<String>,
    /// Its fields in the order they were declared.
    pub fields: Vec<(String, Type)>,
}

impl RecordType {
    /// The type of a field.
    pub fn field(&self, name: &str) -> Option<&Type> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, ty)| ty)
    }
}

impl Type {
    /// A list of `item`.
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    /// The item type of a list.
    pub fn item(&self) -> Option<&Type> {
        if let Type::List(item) = self { Some(item) } else { None }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Int => f.write_str("int"),
            Type::Float => f.write_str("float"),
            Type::Bool => f.write_str("bool"),
            Type::Str => f.write_str("str"),
            Type::Bytes => f.write_str("bytes"),
            Type::Duration => f.write_str("duration"),
            Type::Percent => f.write_str("percent"),
            Type::Money => f.write_str("money"),
            Type::File => f.write_str("File"),
            Type::Dir => f.write_str("Dir"),
            Type::Json => f.write_str("Json"),
            Type::Digest => f.write_str("Digest"),
            Type::Model => f.write_str("Model"),
            Type::Sandbox => f.write_str("Sandbox"),
            Type::Agent => f.write_str("Agent"),
            Type::Checkpoint => f.write_str("Checkpoint"),
            Type::Secret => f.write_str("Secret"),
            Type::Secrets => f.write_str("Secrets"),
            Type::List(item) => write!(f, "[{item}]"),
            Type::Optional(of) => write!(f, "{of}?"),
            Type::Record(record) => match &record.name {
                Some(name) => f.write_str(name),
                None => {
                    f.write_str("{ ")?;
                    for (i, (name, ty)) in record.fields.iter().enumerate() {
                        write!(f, "{}{name}: {ty}", if i > 0 { ", " } else { "" })?;
                    }
                    f.write_str(" }")
                }
            },
            Type::Enum(words) => {
                for (i, word) in words.iter().enumerate() {
                    write!(f, "{}\"{word}\"", if i > 0 { " | " } else { "" })?;
                }
                Ok(())
            }
            Type::Var(name) => f.write_str(name),
            Type::Function(from, to) => write!(f, "{from} -> {to}"),
            Type::Null => f.write_str("null"),
            Type::Unknown => f.write_str("?"),
        }
    }
}
