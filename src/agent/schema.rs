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
/// Understands [`KNOWN`].
pub(crate) fn check(schema: &Json, value: &mut Json) -> Vec<Violation> {
    let mut violations = Vec::new();
    check_at(schema, value, "", &mut violations);
    violations
}

/// The words of a schema that are held against arguments. (`additionalProperties` only as `false`,
/// `patternProperties` only with the pattern `^.*$`, as OpenClaw's own schemas have them.)
const KNOWN: &[&str] = &[
    "additionalProperties",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "patternProperties",
    "properties",
    "required",
    "type",
];

/// Words that say something to a reader, and nothing of what is allowed.
const TELLING: &[&str] =
    &["$comment", "$schema", "default", "deprecated", "description", "examples", "format", "title"];

/// What of a schema would not be held against arguments, or cannot be: where, and why.
pub(crate) fn unheld(schema: &Json, at: &str) -> Option<String> {
    let place = || if at.is_empty() { "the schema".to_string() } else { format!("`{at}`") };
    let Some(words) = schema.as_object() else {
        return Some(format!("{} is no schema, which is a record", place()));
    };
    for (word, of) in words {
        let known = match word.as_str() {
            "additionalProperties" => of.is_boolean(),
            "patternProperties" => {
                of.as_object().is_some_and(|of| of.keys().all(|pattern| pattern == "^.*$"))
            }
            word => KNOWN.contains(&word) || TELLING.contains(&word),
        };
        if !known {
            return Some(format!(
                "`{word}` of {} would not be checked\n  help: what is checked: {}",
                place(),
                KNOWN.join(", ")
            ));
        }
        if word == "pattern"
            && let Err(err) = pattern(of)
        {
            return Some(format!("the `pattern` of {} {err}", place()));
        }
    }
    let named = ["properties", "patternProperties"].into_iter().filter_map(|word| {
        Some(words.get(word)?.as_object()?.iter().map(|(name, of)| (below(at, name), of)))
    });
    let any = words.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    let inner = words.get("items").into_iter().chain(any).map(|of| (at.to_string(), of));
    named.flatten().chain(inner).find_map(|(at, of)| unheld(of, &at))
}

fn pattern(of: &Json) -> Result<regex::Regex, String> {
    let text = of.as_str().ok_or("is no text")?;
    regex::Regex::new(text).map_err(|_| format!("is no regular expression: {text:?}"))
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
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| has_type(kind, value)) {
        kinds.iter().for_each(|kind| coerce(kind, value));
        if !kinds.iter().any(|kind| has_type(kind, value)) {
            violate(at, format!("must be {}", kinds.join(",")));
            return;
        }
    }
    for what in outside(schema, value) {
        violate(at, what);
    }
    if let Some(any) = schema.get("anyOf").and_then(Json::as_array) {
        // The first that fits may turn scalars; the others leave no trace.
        let fitting = any.iter().find_map(|schema| {
            let mut turned = value.clone();
            check(schema, &mut turned).is_empty().then_some(turned)
        });
        match fitting {
            Some(turned) => *value = turned,
            None => violate(at, "must match a schema in anyOf".to_string()),
        }
    }
    match value {
        Json::Object(fields) => check_object(schema, fields, at, violations),
        Json::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (i, item) in items.iter_mut().enumerate() {
                    check_at(schema, item, &below(at, &i.to_string()), violations);
                }
            }
        }
        _ => {}
    }
}

/// What a value is not within, of the limits that a schema sets to a single one.
fn outside(schema: &Json, value: &Json) -> Vec<String> {
    let mut found = Vec::new();
    let limit = |word: &str| schema.get(word).and_then(Json::as_f64);
    if let Some(number) = value.as_f64() {
        type Breaks = fn(&f64, &f64) -> bool;
        let limits: [(&str, &str, Breaks); 4] = [
            ("maximum", "<=", f64::gt),
            ("minimum", ">=", f64::lt),
            ("exclusiveMaximum", "<", f64::ge),
            ("exclusiveMinimum", ">", f64::le),
        ];
        for (word, sign, breaks) in limits {
            if let Some(limit) = limit(word).filter(|limit| breaks(&number, limit)) {
                found.push(format!("must be {sign} {limit}"));
            }
        }
    }
    let (count, most, least, what) = match value {
        Json::String(text) => (text.chars().count(), "maxLength", "minLength", "characters"),
        Json::Array(items) => (items.len(), "maxItems", "minItems", "items"),
        _ => (0, "", "", ""),
    };
    let bound = |word: &str| schema.get(word).and_then(Json::as_u64);
    if let Some(most) = bound(most).filter(|most| count as u64 > *most) {
        found.push(format!("must NOT have more than {most} {what}"));
    }
    if let Some(least) = bound(least).filter(|least| (count as u64) < *least) {
        found.push(format!("must NOT have fewer than {least} {what}"));
    }
    if let (Some(of), Some(text)) = (schema.get("pattern"), value.as_str())
        && pattern(of).is_ok_and(|pattern| !pattern.is_match(text))
    {
        found.push(format!("must match pattern \"{}\"", of.as_str().unwrap_or_default()));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        found.push("must be equal to constant".to_string());
    }
    if schema.get("enum").and_then(Json::as_array).is_some_and(|all| !all.contains(value)) {
        found.push("must be equal to one of the allowed values".to_string());
    }
    found
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
        "null" => value.is_null(),
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
    fn limits_are_held() {
        let schema = json!({ "type": "object", "properties": {
            "mode": { "type": "string", "enum": ["look", "list"] },
            "only": { "const": 3 },
            "n": { "type": "integer", "maximum": 5, "exclusiveMinimum": 0 },
            "name": { "type": "string", "pattern": "^[a-z]+$", "maxLength": 3, "minLength": 1 },
            "list": { "type": "array", "maxItems": 1 },
            "some": { "anyOf": [{ "type": "integer" }, { "type": "boolean" }] },
            "none": { "type": ["string", "null"] } } });
        assert_eq!(unheld(&schema, ""), None);
        assert_eq!(
            told(
                &schema,
                json!({ "mode": "destroy", "only": 4, "n": 99, "name": "ABCD", "list": [1, 2],
                        "some": [], "none": {} })
            ),
            [
                "list: must NOT have more than 1 items",
                "mode: must be equal to one of the allowed values",
                "n: must be <= 5",
                "name: must NOT have more than 3 characters",
                "name: must match pattern \"^[a-z]+$\"",
                "none: must be string,null",
                "only: must be equal to constant",
                "some: must match a schema in anyOf",
            ]
        );
        let mut fine = json!({ "mode": "look", "only": 3, "n": "5", "name": "abc", "list": [1],
                               "some": "7", "none": null });
        assert_eq!(check(&schema, &mut fine), []);
        assert_eq!((&fine["n"], &fine["some"], &fine["none"]), (&json!(5), &json!(7), &Json::Null));
        assert_eq!(
            told(&schema, json!({ "n": 0, "name": "" }))[..2],
            ["n: must be > 0", "name: must NOT have fewer than 1 characters",]
        );
    }

    #[test]
    fn what_would_not_be_held_is_told() {
        for (schema, why) in [
            (json!({ "properties": { "a": { "not": {} } } }), "`not` of `a` would not be checked"),
            (json!({ "items": { "oneOf": [] } }), "`oneOf` of the schema would not be checked"),
            (json!({ "anyOf": [{ "pattern": "(" }] }), "is no regular expression: \"(\""),
            (json!({ "properties": { "a": { "properties": { "b": 3 } } } }), "`a/b` is no schema"),
            (json!({ "additionalProperties": { "type": "string" } }), "`additionalProperties` of"),
        ] {
            let told = unheld(&schema, "").unwrap_or_default();
            assert!(told.contains(why), "{told}");
        }
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
