//! `edit`: exact texts of a file are replaced.
//!
//! Every `oldText` is looked for in the file as it was before the call. Where one is not there to the
//! letter, it is looked for again with spaces at line ends, typographic quotes, dashes and spaces
//! made plain, in the file too; the file is then written in that plain form. Line ends (CRLF) and a
//! byte-order mark are kept.

use serde_json::{Value as Json, json};

use crate::agent::contract::{CallLimits, workspace_path};
use crate::sandbox::{FileError, Sandbox};

use super::{Arguments, Fault, path, system_fault};

/// Characters of the file that a "not found" quotes.
const QUOTED: usize = 800;

struct Replacement {
    old: String,
    new: String,
}

/// Brings other ways to write an edit into the one of the schema: `oldText` and `newText` beside the
/// path, and a list of edits that was written as text.
pub(super) fn gather(arguments: &mut Json) {
    let Some(fields) = arguments.as_object_mut() else {
        return;
    };
    if let Some(Json::String(text)) = fields.get("edits")
        && let Ok(list @ Json::Array(_)) = serde_json::from_str(text)
    {
        fields.insert("edits".to_string(), list);
    }
    let (Some(Json::String(old)), Some(Json::String(new))) =
        (fields.get("oldText"), fields.get("newText"))
    else {
        return;
    };
    let bare = json!({ "oldText": old, "newText": new });
    match fields.entry("edits").or_insert_with(|| json!([])) {
        Json::Array(edits) => edits.push(bare),
        _ => return,
    }
    fields.remove("oldText");
    fields.remove("newText");
}

pub(super) async fn edit(
    sandbox: &mut dyn Sandbox,
    arguments: &Arguments,
    limits: &CallLimits,
) -> Result<String, Fault> {
    let path = path(arguments)?;
    let full = workspace_path(path);
    let replacements = replacements(arguments, path)?;
    let bytes = sandbox.read(&full, limits.file_bytes).await.map_err(|err| match err {
        FileError::System { code, .. } if code == "ENOENT" => {
            Fault::Told(format!("File not found: {path}"))
        }
        FileError::System { ref code, .. } if code == "EISDIR" => system_fault(err, "read"),
        err => system_fault(err, &format!("access '{full}'")),
    })?;
    // What was cut off while reading must not be cut off from the file.
    if bytes.len() >= limits.file_bytes {
        return Err(Fault::Told(format!(
            "{path} is too large to edit. Use exec with sed instead."
        )));
    }
    let text = String::from_utf8_lossy(&bytes);
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", &*text),
    };
    let crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    let before = line_feeds(text);
    let after = replace(&before, &replacements, path).map_err(|message| {
        if !message.contains("Could not find the exact text in") {
            return Fault::Told(message);
        }
        let mut quoted: String = text.chars().take(QUOTED).collect();
        if quoted.len() < text.len() {
            quoted.push_str("\n... (truncated)");
        }
        Fault::Told(format!("{message}\nCurrent file contents:\n{quoted}"))
    })?;
    let after = if crlf { after.replace('\n', "\r\n") } else { after };
    sandbox
        .write(&full, format!("{mark}{after}").as_bytes())
        .await
        .map_err(|err| system_fault(err, &format!("open '{full}'")))?;
    Ok(format!("Successfully replaced {} block(s) in {path}.", replacements.len()))
}

fn replacements(arguments: &Arguments, path: &str) -> Result<Vec<Replacement>, Fault> {
    let edits = arguments.get("edits").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    if edits.is_empty() {
        let what = "Edit tool input is invalid. edits must contain at least one replacement.";
        return Err(Fault::Told(what.to_string()));
    }
    let text = |edit: &Json, name: &str| {
        line_feeds(edit.get(name).and_then(Json::as_str).unwrap_or_default())
    };
    let found: Vec<Replacement> = edits
        .iter()
        .map(|edit| Replacement { old: text(edit, "oldText"), new: text(edit, "newText") })
        .collect();
    match found.iter().position(|replacement| replacement.old.is_empty()) {
        None => Ok(found),
        Some(_) if found.len() == 1 => {
            Err(Fault::Told(format!("oldText must not be empty in {path}.")))
        }
        Some(i) => Err(Fault::Told(format!("edits[{i}].oldText must not be empty in {path}."))),
    }
}

/// The text after all replacements, or what the model is told.
fn replace(text: &str, replacements: &[Replacement], path: &str) -> Result<String, String> {
    let alone = replacements.len() == 1;
    let counted = plain(text);
    // An old text of nothing but spaces is plain nothing, which is everywhere: it counts to the letter.
    let seen = |old: &str| !old.is_empty() && counted.contains(old);
    let loose = replacements.iter().any(|r| !text.contains(&r.old) && seen(&plain(&r.old)));
    let base = if loose { counted.clone() } else { text.to_string() };
    let mut places = Vec::new();
    for (i, replacement) in replacements.iter().enumerate() {
        let exact = base.find(&replacement.old).map(|at| (at, replacement.old.len()));
        let found = exact.or_else(|| {
            let old = plain(&replacement.old);
            Some((base.find(&old).filter(|_| loose && !old.is_empty())?, old.len()))
        });
        let Some((at, length)) = found else {
            return Err(match alone {
                true => format!(
                    "Could not find the exact text in {path}. The old text must match exactly \
                     including all whitespace and newlines."
                ),
                false => format!(
                    "Could not find edits[{i}] in {path}. The oldText must match exactly including \
                     all whitespace and newlines."
                ),
            });
        };
        let old = plain(&replacement.old);
        let times = match old.is_empty() {
            true => base.matches(&replacement.old).count(),
            false => counted.matches(&old).count(),
        };
        if times > 1 {
            return Err(match alone {
                true => format!(
                    "Found {times} occurrences of the text in {path}. The text must be unique. \
                     Please provide more context to make it unique."
                ),
                false => format!(
                    "Found {times} occurrences of edits[{i}] in {path}. Each oldText must be unique. \
                     Please provide more context to make it unique."
                ),
            });
        }
        places.push((at, length, i));
    }
    places.sort_unstable();
    for pair in places.windows(2) {
        let ((at, length, first), (next, _, second)) = (pair[0], pair[1]);
        if at + length > next {
            return Err(format!(
                "edits[{first}] and edits[{second}] overlap in {path}. Merge them into one edit or \
                 target disjoint regions."
            ));
        }
    }
    let mut after = base.clone();
    for (at, length, i) in places.into_iter().rev() {
        after.replace_range(at..at + length, &replacements[i].new);
    }
    if after == base {
        return Err(match alone {
            true => format!(
                "No changes made to {path}. The replacement produced identical content. This might \
                 indicate an issue with special characters or the text not existing as expected."
            ),
            false => {
                format!("No changes made to {path}. The replacements produced identical content.")
            }
        });
    }
    Ok(after)
}

fn line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Text without what an eye does not see: spaces at line ends, curly quotes, long dashes, odd spaces.
fn plain(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
    lines
        .join("\n")
        .chars()
        .map(|c| match c {
            '\u{2018}'..='\u{201b}' => '\'',
            '\u{201c}'..='\u{201f}' => '"',
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
            c => c,
        })
        .collect()
}
