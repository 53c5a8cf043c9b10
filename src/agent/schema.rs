//! Checks a tool call's arguments against the tool's JSON Schema.
//!
//! The words of a violation are part of a contract, because models read them. They are those of
//! Ajv with `allErrors` and `coerceTypes`, which the contracts' originals use: `must have required
//! property 'edits'`, in the order in which Ajv finds them (required, additional, then each
//! property). Like there, a number where text is asked for (and the like) is turned, not refused.

use serde_json::{Map, Value as Json};

/// One violation: where (`edits/0`, or the missing property, or `root`) and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) at: String,
    pub(crate) what: String,
}

/// Checks `value`, turning scalars into the type that is asked for where that loses nothing.
/// Understands what tool schemas use: `type`, `required`, `properties`, `additionalProperties:
/// false`, `patternProperties` with the pattern `.*`, `items`, `minItems` and `minimum`.
pub(crate) fn check(schema: &Json, value: &mut Json) -> Vec<Violation> {
    let mut violations = Vec::new();
    check_at(schema, value, "", &mut violations);
    violations
}

/// The text that a model gets when its arguments do not fit.
pub(crate) fn validation_failed(tool: &str, violations: &[Violation], received: &Json) -> String {
    let lines: Vec<String> =
        violations.iter().map(|v| format!("  - {}: {}", v.at, v.what)).collect();
    let received = serde_json::to_string_pretty(received).unwrap_or_default();
    format!(
        "Validation failed for tool \"{tool}\":\n{}\n\nReceived arguments:\n{received}",
        lines.join("\n")
    )
}

fn check_at(schema: &Json, value: &mut Json, at: &str, violations: &mut Vec<Violation>) {
    let mut violate = |place: &str, what: String| {
        let at = if place.is_empty() { "root" } else { place };
        violations.push(Violation { at: at.to_string(), what });
    };
    if let Some(kind) = schema.get("type").and_then(Json::as_str) {
        coerce(kind, value);
        if !has_type(kind, value) {
            violate(at, format!("must be {kind}"));
            return;
        }
    }
    if let (Some(minimum), Some(number)) =
        (schema.get("minimum").and_then(Json::as_f64), value.as_f64())
        && number < minimum
    {
        violate(at, format!("must be >= {minimum}"));
    }
    match value {
        Json::Object(fields) => check_object(schema, fields, at, violations),
        Json::Array(items) => {
            let least = schema.get("minItems").and_then(Json::as_u64).unwrap_or(0);
            if (items.len() as u64) < least {
                violate(at, format!("must NOT have fewer than {least} items"));
            }
            if let Some(schema) = schema.get("items") {
                for (i, item) in items.iter_mut().enumerate() {
                    check_at(schema, item, &below(at, &i.to_string()), violations);
                }
            }
        }
        _ => {}
    }
}

fn check_object(
    schema: &Json,
    fields: &mut Map<String, Json>,
    at: &str,
    violations: &mut Vec<Violation>,
) {
    for name in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        if !fields.contains_key(name) {
            let at = if at.is_empty() { name } else { at };
            let what = format!("must have required property '{name}'");
            violations.push(Violation { at: at.to_string(), what });
        }
    }
    let properties = schema.get("properties").and_then(Json::as_object);
    let known = |name: &str| properties.and_then(|properties| properties.get(name));
    if schema.get("additionalProperties") == Some(&Json::Bool(false)) {
        for _ in fields.keys().filter(|name| known(name).is_none()) {
            let at = if at.is_empty() { "root" } else { at };
            let what = "must NOT have additional properties".to_string();
            violations.push(Violation { at: at.to_string(), what });
        }
    }
    let any = schema
        .get("patternProperties")
        .and_then(Json::as_object)
        .and_then(|patterns| patterns.get("^.*$"));
    for (name, value) in fields.iter_mut() {
        if let Some(schema) = known(name).or(any) {
            check_at(schema, value, &below(at, name), violations);
        }
    }
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_string() } else { format!("{at}/{name}") }
}

fn has_type(kind: &str, value: &Json) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        _ => true,
    }
}

/// Ajv's rules for scalars.
fn coerce(kind: &str, value: &mut Json) {
    let turned = match (kind, &*value) {
        ("string", Json::Number(number)) => Some(Json::String(number.to_string())),
        ("string", Json::Bool(truth)) => Some(Json::String(truth.to_string())),
        ("string", Json::Null) => Some(Json::String(String::new())),
        ("number" | "integer", Json::Null) => Some(Json::from(0)),
        ("number" | "integer", Json::Bool(truth)) => Some(Json::from(i64::from(*truth))),
        ("number" | "integer", Json::String(text)) => {
            let text = text.trim();
            match text.parse::<i64>() {
                Ok(number) => Some(Json::from(number)),
                Err(_) => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Json::from),
            }
        }
        ("boolean", Json::Null) => Some(Json::Bool(false)),
        ("boolean", Json::String(text)) if text == "true" => Some(Json::Bool(true)),
        ("boolean", Json::String(text)) if text == "false" => Some(Json::Bool(false)),
        ("boolean", Json::Number(number)) => match number.as_i64() {
            Some(0) => Some(Json::Bool(false)),
            Some(1) => Some(Json::Bool(true)),
            _ => None,
        },
        _ => None,
    };
    if let Some(turned) = turned {
        *value = turned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(schema: &Json, mut value: Json) -> Vec<String> {
        check(schema, &mut value).iter().map(|v| format!("{}: {}", v.at, v.what)).collect()
    }

    #[test]
    fn violations_are_told_in_ajvs_words_and_order() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["edits", "path"],
            "properties": {
                "path": { "type": "string" },
                "offset": { "type": "number", "minimum": 1 },
                "edits": { "type": "array", "minItems": 1, "items": {
                    "type": "object", "required": ["oldText"],
                    "properties": { "oldText": { "type": "string" } } } } }
        });
        assert_eq!(
            told(&schema, json!({ "path": {}, "odd": 1, "offset": 0 })),
            [
                "edits: must have required property 'edits'",
                "root: must NOT have additional properties",
                "offset: must be >= 1",
                "path: must be string",
            ]
        );
        assert_eq!(
            told(&schema, json!({ "path": "a", "edits": [{}, { "oldText": [] }, 3] })),
            [
                "edits/0: must have required property 'oldText'",
                "edits/1/oldText: must be string",
                "edits/2: must be object",
            ]
        );
        assert_eq!(
            told(&schema, json!({ "path": "a", "edits": [] })),
            ["edits: must NOT have fewer than 1 items"]
        );
        assert_eq!(told(&schema, json!("a text")), ["root: must be object"]);
    }

    #[test]
    fn scalars_are_turned_not_refused() {
        let schema = json!({
            "type": "object",
            "properties": {
                "text": { "type": "string" }, "count": { "type": "number" },
                "flag": { "type": "boolean" },
                "env": { "type": "object", "patternProperties": { "^.*$": { "type": "string" } } } }
        });
        let mut value =
            json!({ "text": 5, "count": "2.5", "flag": "true", "env": { "N": 1, "B": true } });
        assert_eq!(check(&schema, &mut value), []);
        let expected =
            json!({ "text": "5", "count": 2.5, "flag": true, "env": { "N": "1", "B": "true" } });
        assert_eq!(value, expected);
        assert_eq!(told(&schema, json!({ "count": "many" })), ["count: must be number"]);
        assert_eq!(told(&schema, json!({ "flag": 2 })), ["flag: must be boolean"]);
    }
}
