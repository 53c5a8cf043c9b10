//! When a type stands for another: the one place that knows.
//!
//! Nothing is converted but whole numbers to floats. Records are structural: one fits where its
//! fields do, and may have more.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lang::types::{RecordType, Type};

/// What the type variables of a signature stand for in one call.
pub(super) type Vars = BTreeMap<String, Type>;

/// The most parts that a type may have, counted as if nothing were shared, and how deep it may be.
/// Programs stay far below; what grows past it doubles with every line.
const MAX_PARTS: usize = 10_000;
const MAX_DEEP: usize = 128;

/// Whether `given` stands where `wanted` is asked for. Says why not; the reason may be empty when
/// the types' names say it all. Binds type variables of `wanted`.
pub(super) fn fits(given: &Type, wanted: &Type, vars: &mut Vars) -> Result<(), String> {
    use Type as T;
    let no = || Err(String::new());
    match (given, wanted) {
        (T::Unknown, _) | (_, T::Unknown) => Ok(()),
        (_, T::Var(name)) => {
            let Some(bound) = vars.get(name).cloned() else {
                vars.insert(name.clone(), given.clone());
                return Ok(());
            };
            match join(&bound, given) {
                Some(joined) => {
                    vars.insert(name.clone(), joined);
                    Ok(())
                }
                None => Err(format!("`{name}` is {bound} in this call")),
            }
        }
        (T::Int, T::Float) | (T::Checkpoint, T::Model) | (T::Null, T::Optional(_)) => Ok(()),
        (T::Optional(given), T::Optional(wanted)) => fits(given, wanted, vars),
        (given, T::Optional(wanted)) => fits(given, wanted, vars),
        (T::List(given), T::List(wanted)) => {
            if Arc::ptr_eq(given, wanted) {
                Ok(())
            } else {
                fits(given, wanted, vars)
            }
        }
        (T::Record(given), T::Record(wanted)) => {
            if Arc::ptr_eq(given, wanted) {
                return Ok(());
            }
            for (name, wanted) in &wanted.fields {
                match given.field(name) {
                    Some(given) => fits(given, wanted, vars).map_err(|why| {
                        if why.is_empty() {
                            format!("field `{name}` is {given} where {wanted} is asked for")
                        } else {
                            format!("in field `{name}`: {why}")
                        }
                    })?,
                    None if matches!(wanted, T::Optional(_)) => {}
                    None => return Err(format!("field `{name}: {wanted}` is missing")),
                }
            }
            Ok(())
        }
        (T::Record(given), T::Secrets) => {
            match given.fields.iter().find(|(_, ty)| !matches!(ty, T::Secret | T::Unknown)) {
                Some((name, ty)) => {
                    Err(format!("field `{name}` is {ty} where every field is a Secret"))
                }
                None => Ok(()),
            }
        }
        (T::Enum(given), T::Enum(wanted)) if Arc::ptr_eq(given, wanted) => Ok(()),
        (T::Enum(given), T::Enum(wanted)) => {
            match given.iter().find(|word| !wanted.contains(word)) {
                Some(word) => Err(format!("`{word}` is not one of its words")),
                None => Ok(()),
            }
        }
        (T::Enum(_), T::Str) => Ok(()),
        (given, T::Json) => {
            if is_plain(given) {
                Ok(())
            } else {
                no()
            }
        }
        (T::Function(a, b), T::Function(c, d)) => {
            fits(c, a, vars)?;
            fits(b, d, vars)
        }
        (given, wanted) => {
            if given == wanted {
                Ok(())
            } else {
                no()
            }
        }
    }
}

/// Whether values of the type are JSON as they stand.
pub(super) fn is_plain(ty: &Type) -> bool {
    use Type as T;
    match ty {
        T::Int | T::Float | T::Bool | T::Str | T::Bytes | T::Duration | T::Percent | T::Money => {
            true
        }
        T::Json | T::Digest | T::Null | T::Unknown | T::Enum(_) => true,
        T::List(of) | T::Optional(of) => is_plain(of),
        T::Record(record) => record.fields.iter().all(|(_, field)| is_plain(field)),
        _ => false,
    }
}

/// The nearest type that both stand for.
pub(super) fn join(a: &Type, b: &Type) -> Option<Type> {
    use Type as T;
    let mut vars = Vars::new();
    match (a, b) {
        (T::Unknown, other) | (other, T::Unknown) => return Some(other.clone()),
        (T::Null, other) | (other, T::Null) => {
            return Some(match other {
                T::Null | T::Optional(_) => other.clone(),
                other => T::Optional(Arc::new(other.clone())),
            });
        }
        (T::List(x), T::List(y)) => return join(x, y).map(T::list),
        (T::Optional(x), T::Optional(y)) => return join(x, y).map(|of| T::Optional(Arc::new(of))),
        (T::Record(x), T::Record(y)) if !Arc::ptr_eq(x, y) => {
            let mut fields = Vec::new();
            for (name, of) in &x.fields {
                if let Some(other) = y.field(name) {
                    fields.push((name.clone(), join(of, other)?));
                }
            }
            let same = fields.len() == x.fields.len() && fields.len() == y.fields.len();
            let name = if same { x.name.clone().or_else(|| y.name.clone()) } else { None };
            return (!fields.is_empty() || same)
                .then(|| T::Record(Arc::new(RecordType { name, fields })));
        }
        (T::Enum(x), T::Enum(y)) if !Arc::ptr_eq(x, y) => {
            let mut words = x.to_vec();
            words.extend(y.iter().filter(|word| !x.contains(word)).cloned());
            return Some(T::Enum(Arc::new(words)));
        }
        _ => {}
    }
    if fits(a, b, &mut vars).is_ok() {
        return Some(b.clone());
    }
    fits(b, a, &mut vars).is_ok().then(|| a.clone())
}

/// The type with its variables filled in; those that nothing is known of fit everything.
pub(super) fn filled(ty: &Type, vars: &Vars) -> Type {
    use Type as T;
    match ty {
        T::Var(name) => vars.get(name).cloned().unwrap_or(T::Unknown),
        T::List(of) => T::list(filled(of, vars)),
        T::Optional(of) => match filled(of, vars) {
            of @ T::Optional(_) => of,
            of => T::Optional(Arc::new(of)),
        },
        T::Function(a, b) => T::Function(Arc::new(filled(a, vars)), Arc::new(filled(b, vars))),
        T::Record(record) if has_vars(ty) => {
            let fields =
                record.fields.iter().map(|(name, of)| (name.clone(), filled(of, vars))).collect();
            T::Record(Arc::new(RecordType { name: record.name.clone(), fields }))
        }
        other => other.clone(),
    }
}

/// Whether the type has variables. Only signatures do, outside of declared types.
pub(super) fn has_vars(ty: &Type) -> bool {
    use Type as T;
    match ty {
        T::Var(_) => true,
        T::List(of) | T::Optional(of) => has_vars(of),
        T::Function(a, b) => has_vars(a) || has_vars(b),
        T::Record(record) => {
            record.name.is_none() && record.fields.iter().any(|(_, of)| has_vars(of))
        }
        _ => false,
    }
}

/// Whether a type is past what anybody means to write.
pub(super) fn is_too_large(ty: &Type) -> bool {
    fn count(ty: &Type, left: &mut usize, deep: usize) -> bool {
        if *left == 0 || deep > MAX_DEEP {
            return true;
        }
        *left -= 1;
        match ty {
            Type::List(of) | Type::Optional(of) => count(of, left, deep + 1),
            Type::Function(a, b) => count(a, left, deep + 1) || count(b, left, deep + 1),
            Type::Record(record) => record.fields.iter().any(|(_, of)| count(of, left, deep + 1)),
            _ => false,
        }
    }
    count(ty, &mut MAX_PARTS.clone(), 0)
}

/// A type in a sentence, with an example where its name alone says little.
pub(in crate::lang) fn noun(ty: &Type) -> String {
    match ty {
        Type::Bytes => "a size such as `512MiB`".to_string(),
        Type::Duration => "a duration such as `20s`".to_string(),
        Type::Percent => "a percentage such as `20%`".to_string(),
        Type::Money => "an amount such as `$2.50`".to_string(),
        other => other.to_string(),
    }
}

/// A type in a sentence about what is there already, which needs no example.
pub(super) fn kind(ty: &Type) -> String {
    let noun = noun(ty);
    noun.split_once(" such as").map_or(noun.as_str(), |(kind, _)| kind).to_string()
}

/// Whether the type counts or measures something.
pub(super) fn is_number(ty: &Type) -> bool {
    matches!(ty, Type::Int | Type::Float) || is_unit(ty)
}

/// Whether the type is a number with a unit.
pub(super) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Bytes | Type::Duration | Type::Percent | Type::Money)
}
