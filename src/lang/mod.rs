//! The language: text to a checked program.
//!
//! ```text
//! text ──syntax──▶ tree ──check──▶ Program ──bind──▶ Pipeline
//! ```
//!
//! [`load`] reads a file and all that it uses through a [`Sources`], and gives a [`Program`] or
//! everything that is wrong with it. [`bind`] gives the program's parameters values and reads what
//! it names outside (files, directories, variables): what comes out is a [`Pipeline`] of constants,
//! stages and calls of operators, from which `plan` makes keys. Nothing here runs anything.

mod bind;
mod check;
mod codes;
mod decode;
mod diagnostic;
mod eval;
mod fold;
mod format;
mod origin;
mod outline;
mod index;
mod integers;
mod policy;
mod program;
mod range;
mod render;
mod secrets;
mod source;
mod stack;
mod syntax;
mod template;
mod types;
mod value;
mod walk;

pub use bind::bind;
pub use check::{
    Checked, MAX_ATTEMPTS, builtin_types, load, load_with_index, policy_names, stands_for, taken,
};
pub use codes::{codes, explain};
pub use diagnostic::{Diagnostic, Severity};
pub use eval::{
    EvalError, Lookup, Scope, apply, binary, close, equal, evaluate, field, index, length, member,
    rendered, shape, text, unary, whole_and_float,
};
pub use format::format;
pub use index::{
    ArgumentSite, CallSite, Declaration, DeclarationKind, Index, IndexedFile, Member, PolicySite,
    Receiver, RecordSite, Signature, SignatureArgument,
};
pub use integers::{LargeInteger, large_integer};
pub use origin::{Origin, OriginKind, Origins, content, shown};
pub use outline::{
    Argument, Declared, DeclaredKind, Field, Link, Linked, Outline, UsedModule, outline,
};
pub use policy::{CacheUse, OnError, Policy, Resources};
pub use program::{
    Assert, BinaryOp, Call, Expr, ExprKind, For, Function, Given, Output, Param, Pipeline, Program,
    SourceKind, Stage, Test, Try, UnaryOp,
};
pub use range::IntRange;
pub use render::render;
pub use secrets::{SHORTEST, Secret, Secrets, each_secret, holds_secret, secret_name, secrets_in};
pub use source::{FileId, MemorySources, SourceError, SourceMap, Sources, Span, package_root};
pub use syntax::{is_declaration, is_name};
pub use types::{RecordType, Type};
pub use value::{BadValue, Table, Value};
pub use walk::references;
