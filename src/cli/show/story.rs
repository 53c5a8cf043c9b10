//! A row as a story: from the score back to the person who asked.
//!
//! Works on any record that holds a run (a `trajectory`, a workspace `after`, a `world`), itself or
//! in its field `run`.

use crate::agent::Trajectory;
use crate::lang::Value;
use crate::model::Message;
use crate::store::{Digest, Entry, Objects, Tree};

use super::super::{Failure, print};

fn run_of(value: &Value) -> Option<&Value> {
    [Some(value), value.get("run")]
        .into_iter()
        .flatten()
        .find(|run| run.get("trajectory").is_some())
}

/// Whether a value holds a run.
pub(super) fn has_one(value: &Value) -> bool {
    run_of(value).is_some()
}

/// Tells it.
pub(super) fn tell(value: &Value, store: &dyn Objects) -> Result<String, Failure> {
    let mut out = String::new();
    let Some(run) = run_of(value) else {
        return Ok(out);
    };
    let text = |value: Option<&Value>| value.map(print::cell).unwrap_or_default();
    let whole =
        |value: Option<&Value>| print::safe(value.and_then(Value::as_str).unwrap_or_default());
    if let Some(reward) = value.get("reward") {
        heading(&mut out, "score");
        let passed = value.get("passed").and_then(Value::as_bool) == Some(true);
        let word = if passed { "passed" } else { "not passed" };
        out.push_str(&format!("{} ({word})\n", print::cell(reward)));
        if let Some(Value::List(checks)) = value.get("checks") {
            for check in checks {
                let score = check.get("score").and_then(Value::as_float).unwrap_or(0.0);
                let mark = if score >= 1.0 { "ok  " } else { "MISS" };
                out.push_str(&format!("  {mark} {} {score:.2}\n", text(check.get("name"))));
            }
        }
    }
    heading(&mut out, "run");
    out.push_str(&format!(
        "model {}, trial {}, ended as `{}` after {} steps, {} tokens read, {} written\n",
        text(run.get("model")),
        text(run.get("trial")),
        text(run.get("ending")),
        text(run.get("steps")),
        text(run.get("tokens_in")),
        text(run.get("tokens_out")),
    ));
    let world = run.get("world");
    let task = world.and_then(|world| world.get("task"));
    let grounding = task.and_then(|task| task.get("grounding"));
    let persona = grounding.and_then(|grounding| grounding.get("persona"));
    if let Some(persona) = persona {
        heading(&mut out, "persona");
        out.push_str(&format!("{}\n", whole(persona.get("text"))));
    }
    if let Some(grounding) = grounding {
        heading(&mut out, "skill");
        out.push_str(&text(grounding.get("skill")));
        let supporting = text(grounding.get("supporting"));
        if !supporting.is_empty() {
            out.push_str(&format!(", supported by {supporting}"));
        }
        out.push_str(&format!(
            "\nscenario: {}\noperations: {}\n",
            text(grounding.get("scenario")),
            whole_list(grounding.get("operations"))
        ));
    }
    if let Some(task) = task {
        heading(&mut out, "task");
        out.push_str(&format!(
            "{} (family {}, wording {})\n\n{}\n",
            text(task.get("id")),
            text(task.get("family")),
            text(task.get("wording")),
            whole(task.get("prompt"))
        ));
    }
    let before = world.and_then(|world| tree(world.get("files"), store));
    let after = tree(run.get("after"), store);
    if let Some(before) = &before {
        heading(&mut out, "workspace before");
        out.push_str(&files(before, store));
    }
    if let Some(Value::File { digest, .. }) = run.get("trajectory") {
        heading(&mut out, "trajectory");
        out.push_str(&transcript(digest, store)?);
    }
    if let (Some(before), Some(after)) = (&before, &after) {
        heading(&mut out, "workspace after (what changed)");
        out.push_str(&changes(before, after, store));
    }
    Ok(out)
}

fn heading(out: &mut String, title: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!("── {title} {}\n", "─".repeat(60usize.saturating_sub(title.len()))));
}

fn whole_list(value: Option<&Value>) -> String {
    let items = value.and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
}

fn tree(value: Option<&Value>, store: &dyn Objects) -> Option<Tree> {
    if let Some(Value::Dir(digest)) = value { store.tree(digest).ok() } else { None }
}

/// Small files whole, large ones by their size.
fn files(tree: &Tree, store: &dyn Objects) -> String {
    tree.entries.iter().map(|(path, entry)| file(path, entry, ' ', store)).collect()
}

fn file(path: &str, entry: &Entry, mark: char, store: &dyn Objects) -> String {
    let path = print::safe(path);
    match entry {
        Entry::File { digest, size, .. } => {
            let mut out = format!("{mark} {path} ({} bytes)\n", print::number(*size));
            if *size <= 2_000
                && let Ok(bytes) = store.get(digest)
                && let Ok(text) = std::str::from_utf8(&bytes)
            {
                for line in print::safe(text).lines().take(40) {
                    out.push_str(&format!("{mark}   | {line}\n"));
                }
            }
            out
        }
        Entry::Link(to) => format!("{mark} {path} -> {}\n", print::safe(to)),
        Entry::EmptyDir => format!("{mark} {path}/\n"),
    }
}

fn changes(before: &Tree, after: &Tree, store: &dyn Objects) -> String {
    let mut out = String::new();
    for (path, entry) in &after.entries {
        match before.entries.get(path) {
            Some(old) if old == entry => {}
            Some(_) => out.push_str(&file(path, entry, '~', store)),
            None => out.push_str(&file(path, entry, '+', store)),
        }
    }
    for path in before.entries.keys().filter(|path| !after.entries.contains_key(*path)) {
        out.push_str(&format!("- {}\n", print::safe(path)));
    }
    if out.is_empty() { "nothing\n".to_string() } else { out }
}

fn transcript(digest: &Digest, store: &dyn Objects) -> Result<String, Failure> {
    let bytes = store.get(digest)?;
    let trajectory = Trajectory::decode(&bytes).map_err(|err| {
        Failure::work(format!("trajectory {} cannot be read: {err}", digest.short()))
    })?;
    let mut out = String::new();
    said(&mut out, &trajectory.messages);
    if let Some(outside) = &trajectory.outside {
        for branch in &outside.branches {
            let title = format!("said beside it, {} messages", branch.messages.len());
            heading(&mut out, &title);
            // What it shares with the conversation above was told there.
            let shared = branch.messages.iter().zip(&trajectory.messages);
            let shared = shared.take_while(|(one, other)| one == other).count();
            if shared > 0 {
                out.push_str(&format!("(the first {shared} are the same)\n"));
            }
            said(&mut out, &branch.messages[shared..]);
        }
        heading(&mut out, "the agent's program");
        out.push_str(&format!("{} ended with {}\n", trajectory.contract, outside.exit));
        if !outside.ignored.is_empty() {
            let ignored = outside.ignored.join(", ");
            out.push_str(&format!("asked for, and not passed on: {}\n", print::safe(&ignored)));
        }
        if !outside.output.trim().is_empty() {
            say(&mut out, "printed", &outside.output);
        }
    }
    Ok(out)
}

fn said(out: &mut String, messages: &[Message]) {
    for message in messages {
        match message {
            Message::System { content } => say(out, "system", content),
            Message::User { content } => say(out, "user", content),
            Message::Assistant { content, reasoning, tool_calls } => {
                if !reasoning.is_empty() {
                    say(out, "thinks", reasoning);
                }
                if !content.is_empty() {
                    say(out, "assistant", content);
                }
                for call in tool_calls {
                    say(out, &format!("calls {}", call.name), &call.arguments.to_string());
                }
            }
            Message::Tool { content, .. } => say(out, "result", content),
        }
    }
}

fn say(out: &mut String, who: &str, text: &str) {
    out.push_str(&format!("{who}:\n"));
    for line in print::safe(text).lines() {
        out.push_str(&format!("  {line}\n"));
    }
}
