//! The syntax tree: what was written, before any name has a meaning.
//!
//! It owns its text and knows its places, so that it outlives the source (for the formatter and the
//! editor). Literals keep their value; how they were written can be read from the source by span.

use std::collections::BTreeSet;

use crate::lang::program::{BinaryOp, UnaryOp};
use crate::lang::source::Span;

/// A whole file.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The `//!` lines.
    pub(crate) doc: String,
    /// Its declarations in order, broken ones left out.
    pub(crate) items: Vec<Item>,
    /// The names that broken declarations were going to declare: they are known, with any type.
    pub(crate) broken: BTreeSet<String>,
    /// Every `//` comment, in order: the formatter puts them back by position.
    pub(crate) comments: Vec<Span>,
}

/// A declaration.
#[derive(Debug)]
pub(crate) struct Item {
    /// The `///` lines above it.
    pub(crate) doc: String,
    /// What it declares.
    pub(crate) kind: ItemKind,
    /// All of it, from its first word (its `///` lines left out) to its last.
    pub(crate) span: Span,
}

/// The forms of a declaration.
#[derive(Debug)]
pub(crate) enum ItemKind {
    /// `use std/persona as p`
    Use(Use),
    /// `param name: T = default where bound`
    Param(Param),
    /// `let name = value`
    Let(Let),
    /// `type Name = …`
    Type(TypeItem),
    /// `def name(…) -> T { … }` and `extern def`
    Def(Def),
    /// `stage name = … with { … }`
    Stage(Stage),
    /// `output name as "path"`
    Output(Output),
    /// `test "name" { … }`
    Test(Test),
}

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// What a `use` names.
#[derive(Debug, PartialEq)]
pub(crate) enum UsePath {
    /// `std/persona`, `acme/finance`
    Module(String),
    /// `"./rubrics.claw"`
    File(String),
}

#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) path: UsePath,
    /// Where the path stands.
    pub(crate) span: Span,
    pub(crate) alias: Option<Name>,
}

#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) secret: bool,
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
    pub(crate) default: Option<Expr>,
    pub(crate) bound: Option<Expr>,
}

#[derive(Debug)]
pub(crate) struct Let {
    pub(crate) name: Name,
    pub(crate) ty: Option<TypeExpr>,
    pub(crate) value: Expr,
}

#[derive(Debug)]
pub(crate) struct TypeItem {
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
}

#[derive(Debug)]
pub(crate) struct Def {
    pub(crate) external: bool,
    pub(crate) name: Name,
    pub(crate) args: Vec<DefArg>,
    pub(crate) returns: TypeExpr,
    /// Bindings and the result; `None` for an `extern def`.
    pub(crate) body: Option<(Vec<Let>, Expr)>,
}

#[derive(Debug)]
pub(crate) struct DefArg {
    /// The `///` lines above it.
    pub(crate) doc: String,
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
    pub(crate) default: Option<Expr>,
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: Name,
    pub(crate) ty: Option<TypeExpr>,
    pub(crate) value: Expr,
    /// `with { name: value }`
    pub(crate) policy: Vec<(Name, Expr)>,
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stage: Name,
    pub(crate) path: Option<(String, Span)>,
}

/// `test "name" { given … let … assert … }`
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    /// Where its name stands.
    pub(crate) span: Span,
    pub(crate) steps: Vec<Step>,
}

/// A line of a test.
#[derive(Debug)]
pub(crate) enum Step {
    /// `given stage = rows`, `given param = value`
    Given(Name, Expr),
    /// `let name = value`
    Let(Let),
    /// `assert condition`
    Assert(Expr),
}

/// A type as written.
#[derive(Debug)]
pub(crate) struct TypeExpr {
    pub(crate) kind: TypeKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum TypeKind {
    /// `Persona`, `persona.Persona`
    Name(Option<Name>, Name),
    /// `[T]`
    List(Box<TypeExpr>),
    /// `T?`
    Optional(Box<TypeExpr>),
    /// `{ a: T }`
    Record(Vec<FieldType>),
    /// `"a" | "b"`
    Enum(Vec<String>),
    /// `T -> U`
    Function(Box<TypeExpr>, Box<TypeExpr>),
}

/// A field of a record type.
#[derive(Debug)]
pub(crate) struct FieldType {
    /// The `///` lines above it.
    pub(crate) doc: String,
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
}

/// An expression as written.
#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ExprKind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// `20%`, as a fraction.
    Percent(f64),
    /// `512MiB`, in bytes.
    Bytes(i64),
    /// `20s`, in milliseconds.
    Duration(i64),
    /// `$2.50`, in micro-dollars.
    Money(i64),
    /// A string: one part without holes, several with.
    Text(Vec<TextPart>),
    Name(String),
    /// `.a.b`: a path on the row, or a function.
    RowPath(Vec<Name>),
    Field(Box<Expr>, Name),
    Index(Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
    Record(Vec<(Name, Expr)>),
    Unary(UnaryOp, Box<Expr>),
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `a < b <= c`
    Compare(Box<Expr>, Vec<(BinaryOp, Expr)>),
    Range {
        from: Box<Expr>,
        to: Box<Expr>,
        inclusive: bool,
    },
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `rows where test`
    Filter(Box<Expr>, Box<Expr>),
    Call(Call),
    For(For),
    Try(Try),
    /// Something that was told already; it has every type.
    Broken,
}

#[derive(Debug)]
pub(crate) enum TextPart {
    Text(String),
    Hole(Expr),
}

/// `name(…)` or `module.name(…)`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) module: Option<Name>,
    pub(crate) name: Name,
    pub(crate) args: Vec<Arg>,
}

#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) name: Option<Name>,
    pub(crate) value: Expr,
}

#[derive(Debug)]
pub(crate) struct For {
    pub(crate) generators: Vec<(Name, Expr)>,
    pub(crate) condition: Option<Box<Expr>>,
    pub(crate) body: Box<Expr>,
}

/// `try 4 with feedback { let … accept draft when good feedback = problems }`
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) attempts: Box<Expr>,
    /// The name under which an attempt sees what was wrong with the one before.
    pub(crate) feedback: Option<Name>,
    pub(crate) bindings: Vec<Let>,
    pub(crate) accepted: Box<Expr>,
    pub(crate) when: Option<Box<Expr>>,
    /// `feedback = …`: what the next attempt is told.
    pub(crate) next: Option<(Name, Box<Expr>)>,
}
