//! The language: text to a checked program.

mod program;
mod source;
mod types;
mod value;

pub use program::{
    BinaryOp, Call, Expr, ExprKind, For, Function, Output, Param, Pipeline, Program, SourceKind,
    Stage, UnaryOp,
};
pub use source::{FileId, SourceError, SourceMap, Sources, Span};
pub use types::{RecordType, Type};
pub use value::{BadValue, Table, Value};
