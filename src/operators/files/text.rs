//! Text and its lines.

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;

use super::{Made, Source, file};

pub(super) fn read(args: &Args, context: &Context) -> Result<Value, CallError> {
    Ok(Value::str(Source::open(args, &*context.objects)?.text()?))
}

pub(super) fn read_lines(args: &Args, context: &Context) -> Result<Value, CallError> {
    let source = Source::open(args, &*context.objects)?;
    let mut made = Made::new(context);
    for (number, line) in source.text()?.lines().enumerate() {
        made.add(&Value::record([("line", Value::from(number + 1)), ("text", line.into())]))?;
    }
    Ok(made.table())
}

pub(super) fn write(args: &Args, context: &Context) -> Result<Value, CallError> {
    file(args, context, args.str("content")?.as_bytes())
}
