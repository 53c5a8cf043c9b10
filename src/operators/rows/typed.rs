//! `typed`: rows of any JSON held against an example, so that what stands below may rely on their
//! fields.

use crate::engine::{Args, CallError, Context, read_value};
use crate::lang::Value;

use super::{rows, table};

pub(super) fn typed(args: &Args, context: &Context) -> Result<Value, CallError> {
    let objects = &*context.objects;
    let like = args.get("like")?;
    let mut made = Vec::new();
    for (place, row) in rows(args, "rows", objects)?.into_iter().enumerate() {
        let value = read_value(objects, &row)?;
        let mut path = Vec::new();
        let fitted = fitted(&value, like, &mut path)
            .map_err(|why| CallError::row(format!("row {place}: {}{why}", shown(&path))))?;
        made.push(if fitted == value { row } else { objects.put(&fitted.encode())? });
    }
    Ok(table(made))
}

/// The value with whole numbers made floats where the example has a float. `path` leads to what is
/// wrong when something is.
fn fitted(value: &Value, like: &Value, path: &mut Vec<String>) -> Result<Value, String> {
    match (value, like) {
        (value, Value::Null) => Ok(value.clone()),
        (Value::Bool(_), Value::Bool(_))
        | (Value::Int(_), Value::Int(_))
        | (Value::Float(_), Value::Float(_))
        | (Value::Str(_), Value::Str(_)) => Ok(value.clone()),
        (Value::Int(whole), Value::Float(_)) => Ok(Value::Float(*whole as f64)),
        (Value::List(items), Value::List(like)) => {
            let Some(like) = like.first() else { return Ok(value.clone()) };
            let mut out = Vec::with_capacity(items.len());
            for (place, item) in items.iter().enumerate() {
                path.push(format!("[{place}]"));
                out.push(fitted(item, like, path)?);
                path.pop();
            }
            Ok(Value::List(out))
        }
        (Value::Record(fields), Value::Record(like)) => {
            let mut out = fields.clone();
            for (name, like) in like {
                path.push(format!(".{name}"));
                let field = fields.get(name).ok_or("is missing")?;
                out.insert(name.clone(), fitted(field, like, path)?);
                path.pop();
            }
            Ok(Value::Record(out))
        }
        _ => Err(format!("is {} where {} is asked for", kind(value), kind(like))),
    }
}

fn shown(path: &[String]) -> String {
    if path.is_empty() { "it ".to_string() } else { format!("`{}` ", path.concat()) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Int(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Str(_) => "text",
        Value::List(_) => "a list",
        Value::Record(_) => "a record",
        Value::File { .. } => "a file",
        Value::Dir(_) => "a directory",
        Value::Table(_) => "a table",
        Value::Function(_) => "a function",
    }
}
