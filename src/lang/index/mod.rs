//! What stands where in a checked program: the editor's view of it.
//!
//! An [`Index`] lists every declaration of every file that a program reads (the library's too), every
//! place that names one, and the places where something can be filled in: calls, fields after a
//! dot, records, policies. It owns what it says and outlives the check. It is made by
//! [`super::load_with_index`], also for a program with errors: what does not parse is missing from
//! it, everything else is there.

mod ask;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::source::{FileId, Span};
use super::types::Type;

/// What is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeclarationKind {
    /// A file.
    Module,
    /// The name under which a file uses another.
    Alias,
    /// `param`
    Param,
    /// `let` of a file.
    Let,
    /// `type`
    Type,
    /// `def`
    Def,
    /// `extern def`
    Operator,
    /// An argument of a `def`.
    Argument,
    /// `stage`
    Stage,
    /// A name of a `for`, of a `let` in a block, or the feedback of a `try`.
    Local,
    /// A field of a record.
    Field,
    /// A word of an enumeration.
    Word,
    /// `test`
    Test,
}

/// Something with a name.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// What it is.
    pub kind: DeclarationKind,
    /// Its name.
    pub name: String,
    /// Where the name stands; for a file its first byte.
    pub span: Span,
    /// All of the declaration.
    pub item: Span,
    /// Where it can be named, for what a whole file does not know.
    pub scope: Option<Span>,
    /// The declaration that it is a part of: the type of a field, the def of an argument.
    pub parent: Option<usize>,
    /// The file that an alias stands for.
    pub target: Option<usize>,
    /// Its `///` lines.
    pub doc: String,
    /// Its type, as far as it is known.
    pub ty: Type,
    /// Whether its type is written beside it.
    pub annotated: bool,
    /// Its signature, for what can be called.
    pub signature: Option<usize>,
}

/// A file of the program.
#[derive(Debug, Clone)]
pub struct IndexedFile {
    /// Which.
    pub file: FileId,
    /// Its path as the program knows it, such as `std/persona.claw`.
    pub path: String,
    /// Its `//!` lines.
    pub doc: String,
    /// Whether it belongs to the library.
    pub library: bool,
    /// Names that its broken declarations were going to declare.
    pub broken: BTreeSet<String>,
    /// What it uses: the declaration of the file by the name that it has here; `None` for what
    /// cannot be used.
    pub aliases: BTreeMap<String, Option<usize>>,
    /// The declaration of the file itself.
    pub declaration: usize,
}

/// Something that can be called.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Its name with its file's: `rollout.run`.
    pub shown: String,
    /// Its arguments in order.
    pub args: Vec<SignatureArgument>,
    /// What it gives.
    pub returns: Type,
    /// Its declaration; functions of the language itself have none.
    pub declaration: Option<usize>,
}

/// An argument of a [`Signature`].
#[derive(Debug, Clone)]
pub struct SignatureArgument {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Its default as it is written; empty for a setting that is simply left out.
    pub default: Option<String>,
    /// Its declaration.
    pub declaration: Option<usize>,
}

/// A call.
#[derive(Debug, Clone)]
pub struct CallSite {
    /// All of it.
    pub span: Span,
    /// The name of the function, without its file's.
    pub name: Span,
    /// What is called, where it is known: a place in [`Index::signatures`].
    pub signature: Option<usize>,
    /// What is given.
    pub args: Vec<ArgumentSite>,
}

/// An argument as it is given.
#[derive(Debug, Clone)]
pub struct ArgumentSite {
    /// Its name and where that stands.
    pub name: Option<(String, Span)>,
    /// Where its value stands.
    pub value: Span,
}

/// A name after a dot.
#[derive(Debug, Clone)]
pub struct Member {
    /// The name.
    pub span: Span,
    /// What stands before the dot.
    pub of: Receiver,
    /// The name that the expression before the dot is, if it is no more than that.
    pub base: Option<String>,
}

/// What stands before a dot.
#[derive(Debug, Clone)]
pub enum Receiver {
    /// A file: its declaration.
    Module(Option<usize>),
    /// A value of a type; also a row.
    Value(Type),
}

/// A record that is written out.
#[derive(Debug, Clone)]
pub struct RecordSite {
    /// All of it.
    pub span: Span,
    /// The type that is asked for.
    pub wanted: Option<Type>,
    /// Its fields and where their names stand.
    pub fields: Vec<(String, Span)>,
}

/// A policy of a stage.
#[derive(Debug, Clone)]
pub struct PolicySite {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// Where its value stands.
    pub value: Span,
    /// Where the stage's name stands, which tells its policies from those of others.
    pub stage: Span,
}

/// What stands where in a program.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// The files, the entry first; empty when the entry cannot be read.
    pub files: Vec<IndexedFile>,
    /// Everything with a name, file by file.
    pub declarations: Vec<Declaration>,
    /// Where declarations are named, in the order of the files and the places in them; the places
    /// where they are declared left out.
    pub references: Vec<(Span, usize)>,
    /// Everything that can be called.
    pub signatures: Vec<Signature>,
    /// Functions that need no file's name, as places in `signatures`.
    pub bare: BTreeMap<String, usize>,
    /// Calls; those inside of others come after them.
    pub calls: Vec<CallSite>,
    /// Names after dots.
    pub members: Vec<Member>,
    /// Records that are written out.
    pub records: Vec<RecordSite>,
    /// Policies.
    pub policies: Vec<PolicySite>,
    /// Where types are named.
    pub type_names: Vec<Span>,
    /// Types of expressions and what was asked for there.
    pub(super) types: HashMap<Span, (Type, Option<Type>)>,
    /// Field declarations of a record type, by the address of the type and by its name and fields.
    pub(super) shapes: Shapes,
}

/// Where the parts of types are declared.
///
/// Records and enumerations are structural, so a type does not say where it comes from. Most are
/// clones of one that was declared and share its memory, which tells them; the rest is told by name
/// and parts, where the first declaration wins.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes {
    pub(super) records: HashMap<usize, Vec<usize>>,
    pub(super) enums: HashMap<usize, Vec<usize>>,
    pub(super) records_by_parts: BTreeMap<(Option<String>, Vec<String>), Vec<usize>>,
    pub(super) enums_by_parts: BTreeMap<Vec<String>, Vec<usize>>,
    /// Keeps what the addresses belong to alive, so that no other type can get one of them.
    pub(super) kept: Vec<Type>,
}
