//! `claw explain`: what an error code means.

use serde_json::{Value, json};

use crate::lang;

use super::{Exit, Failure, arguments, print};

/// Prints the page of a code, or the list of all codes.
pub(super) fn explain(args: &arguments::Explain) -> Result<Exit, Failure> {
    let Some(code) = &args.code else {
        list(args.json);
        return Ok(Exit::Done);
    };
    let wanted = code.strip_prefix("claw::").unwrap_or(code).to_uppercase();
    let Some(page) = lang::explain(&wanted) else {
        return Err(Failure::input(format!(
            "there is no error code `{code}`; codes look like E0304 and stand at the top of an \
             error\n  help: `claw explain` lists them all"
        )));
    };
    if args.json {
        print::json(&described(&wanted, page));
    } else {
        print::line(page);
    }
    Ok(Exit::Done)
}

fn list(as_json: bool) {
    let pages = || lang::codes().into_iter().filter_map(|code| Some((code, lang::explain(code)?)));
    if as_json {
        let all: Vec<Value> = pages().map(|(code, page)| described(code, page)).collect();
        print::json(&all);
        return;
    }
    for (code, page) in pages() {
        print::line(&format!("{code}  {}", title(page)));
    }
    print::line("\n`claw explain E0304` shows one of them, with an example and the way out.");
}

fn described(code: &str, page: &str) -> Value {
    json!({ "code": code, "title": title(page), "page": page })
}

/// What a page says in its first line, behind the code.
pub(super) fn title(page: &str) -> &str {
    let line = page.lines().next().unwrap_or("");
    line.split_once(": ").map_or(line, |(_, title)| title)
}
