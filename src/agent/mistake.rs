//! Mistakes of the kind that models make: one argument of a call is a little wrong.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde_json::{Map, Value as Json};

/// A call's arguments with one realistic mistake in them: a wrong file name, a character missing in
/// the command or text, or an argument under a wrong name. The result always differs.
pub(super) fn mistaken(arguments: &Json, chance: &mut ChaCha8Rng) -> Json {
    let empty = Map::new();
    let fields = arguments.as_object().unwrap_or(&empty);
    let mut ways: Vec<Json> = Vec::new();
    for name in ["path", "file_path", "filePath", "file"] {
        if let Some(Json::String(path)) = fields.get(name) {
            ways.push(with(fields, name, wrong_file(path, chance)));
        }
    }
    for name in ["command", "content"] {
        if let Some(Json::String(text)) = fields.get(name)
            && let Some(shorter) = without_a_character(text, chance)
        {
            ways.push(with(fields, name, shorter));
        }
    }
    if let Some(edits) = edits_without_a_character(fields, chance) {
        ways.push(edits);
    }
    ways.push(wrong_name(fields));
    let choice = draw(chance, ways.len());
    ways.swap_remove(choice)
}

fn with(fields: &Map<String, Json>, name: &str, text: String) -> Json {
    let mut fields = fields.clone();
    fields.insert(name.to_string(), Json::String(text));
    Json::Object(fields)
}

/// The neighbour that somebody who reads in haste would take: another ending, a letter less.
fn wrong_file(path: &str, chance: &mut ChaCha8Rng) -> String {
    let (folder, file) = path.rsplit_once('/').map_or(("", path), |(folder, file)| (folder, file));
    let (stem, ending) = file.rsplit_once('.').unwrap_or((file, ""));
    let mut wrong = match ending {
        "json" => vec![format!("{stem}.jsonl")],
        "csv" => vec![format!("{stem}.tsv")],
        "md" => vec![format!("{stem}.txt")],
        "" => vec![format!("{stem}.txt")],
        _ => vec![stem.to_string()],
    };
    if stem.chars().count() > 1 {
        let short: String = stem.chars().take(stem.chars().count() - 1).collect();
        wrong.push(if ending.is_empty() { short } else { format!("{short}.{ending}") });
    }
    let file = wrong.swap_remove(draw(chance, wrong.len()));
    if folder.is_empty() { file } else { format!("{folder}/{file}") }
}

/// The text without one of its characters that are not spaces; `None` when it has none.
fn without_a_character(text: &str, chance: &mut ChaCha8Rng) -> Option<String> {
    let places: Vec<(usize, char)> =
        text.char_indices().filter(|(_, c)| !c.is_whitespace()).collect();
    if places.is_empty() {
        return None;
    }
    let (at, c) = places[draw(chance, places.len())];
    Some(format!("{}{}", &text[..at], &text[at + c.len_utf8()..]))
}

fn edits_without_a_character(fields: &Map<String, Json>, chance: &mut ChaCha8Rng) -> Option<Json> {
    let edits = fields.get("edits")?.as_array()?;
    let mut edits = edits.clone();
    let which = if edits.is_empty() {
        return None;
    } else {
        draw(chance, edits.len())
    };
    let new = edits[which].get("newText")?.as_str()?;
    let shorter = without_a_character(new, chance)?;
    edits[which].as_object_mut()?.insert("newText".to_string(), Json::String(shorter));
    let mut fields = fields.clone();
    fields.insert("edits".to_string(), Json::Array(edits));
    Some(Json::Object(fields))
}

/// The first argument under the name that another program would give it.
fn wrong_name(fields: &Map<String, Json>) -> Json {
    let mut fields = fields.clone();
    let first = ["path", "command", "content"].into_iter().find(|name| fields.contains_key(*name));
    let first = first.map(str::to_string).or_else(|| fields.keys().next().cloned());
    match first {
        Some(name) => {
            let other = match name.as_str() {
                "path" => "filename".to_string(),
                "command" => "cmd".to_string(),
                "content" => "text".to_string(),
                name => format!("{name}_"),
            };
            let value = fields.remove(&name).unwrap_or(Json::Null);
            fields.insert(other, value);
        }
        None => {
            fields.insert("input".to_string(), Json::String(String::new()));
        }
    }
    Json::Object(fields)
}

/// A number below `limit`. The bias of the remainder is below 2⁻³² for the few ways there are.
pub(super) fn draw(chance: &mut ChaCha8Rng, limit: usize) -> usize {
    (chance.next_u64() % limit.max(1) as u64) as usize
}
