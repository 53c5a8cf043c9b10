//! What stands in a line: code, emphasis, links.

use super::{Context, escape};

/// How far the end of a form is looked for, in bytes: text without an end costs little.
const REACH: usize = 4096;

/// How many places are tried as the end of a form.
const TRIES: usize = 32;

/// How deep forms may stand in each other.
const MAX_DEPTH: usize = 8;

/// A line, or lines of one paragraph, as HTML.
pub(super) fn html(text: &str, context: &Context<'_>, depth: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut plain = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let before = text[..at].chars().next_back();
        let Some(c) = rest.chars().next() else { break };
        let form = match c {
            '\\' => escaped(rest),
            '`' => code(rest, context),
            '*' | '_' if depth < MAX_DEPTH => emphasis(rest, before, context, depth),
            '[' if depth < MAX_DEPTH => link(rest, context, depth),
            '<' => bare_link(rest, context.links),
            _ => None,
        };
        match form {
            Some((taken, shown)) => {
                out.push_str(&escape(&text[plain..at]));
                out.push_str(&shown);
                at += taken;
                plain = at;
            }
            // A run that opens nothing is text as a whole.
            None if matches!(c, '`' | '*' | '_') => at += run(rest, c),
            None => at += c.len_utf8(),
        }
    }
    out.push_str(&escape(&text[plain..]));
    out
}

/// How many of a sign stand at the start.
fn run(text: &str, sign: char) -> usize {
    text.len() - text.trim_start_matches(sign).len()
}

/// The part in which the end of a form is looked for.
fn reach(text: &str) -> &str {
    let mut end = text.len().min(REACH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn escaped(rest: &str) -> Option<(usize, String)> {
    let c = rest[1..].chars().next().filter(char::is_ascii_punctuation)?;
    Some((2, escape(&c.to_string())))
}

fn code(rest: &str, context: &Context<'_>) -> Option<(usize, String)> {
    let ticks = run(rest, '`');
    let inner = reach(&rest[ticks..]);
    let mut from = 0;
    for _ in 0..TRIES {
        let at = from + inner[from..].find('`')?;
        let length = run(&inner[at..], '`');
        if length == ticks {
            let text = inner[..at].replace('\n', " ");
            let trimmed = text.strip_prefix(' ').and_then(|text| text.strip_suffix(' '));
            let text = trimmed.filter(|text| !text.trim().is_empty()).unwrap_or(&text);
            return Some((ticks + at + ticks, name(text, context)));
        }
        from = at + length;
    }
    None
}

/// Code in a line; a link where the page knows it.
fn name(text: &str, context: &Context<'_>) -> String {
    let shown = format!("<code>{}</code>", escape(text));
    match address_of(text, context) {
        Some(address) => format!("<a href=\"{}\">{shown}</a>", escape(&address)),
        None => shown,
    }
}

fn address_of(text: &str, context: &Context<'_>) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    // `imagine(…)` is `imagine` too.
    let bare = text.split_once('(').map_or(text, |(name, _)| name);
    if bare.is_empty() || !bare.chars().all(is_name) { None } else { (context.find)(bare) }
}

fn emphasis(
    rest: &str,
    before: Option<char>,
    context: &Context<'_>,
    depth: usize,
) -> Option<(usize, String)> {
    let sign = rest.chars().next()?;
    let marks = run(rest, sign);
    if marks > 2 || before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let inner = reach(&rest[marks..]);
    if inner.starts_with(char::is_whitespace) {
        return None;
    }
    let mark = &rest[..marks];
    let mut from = 0;
    for _ in 0..TRIES {
        let at = from + inner[from..].find(mark)?;
        let length = run(&inner[at..], sign);
        let behind = inner[at + length..].chars().next();
        let ends = length == marks
            && !inner[..at].ends_with(char::is_whitespace)
            && !behind.is_some_and(char::is_alphanumeric);
        if ends {
            let tag = if marks == 2 { "strong" } else { "em" };
            let shown = html(&inner[..at], context, depth + 1);
            return Some((marks + at + marks, format!("<{tag}>{shown}</{tag}>")));
        }
        from = at + length;
    }
    None
}

fn link(rest: &str, context: &Context<'_>, depth: usize) -> Option<(usize, String)> {
    let inner = reach(&rest[1..]);
    let end = inner.find([']', '['])?;
    if !inner[end..].starts_with(']') {
        return None;
    }
    let text = &inner[..end];
    let behind = &inner[end + 1..];
    if let Some(target) = behind.strip_prefix('(') {
        let close = target.find(')')?;
        // There is no link in a link.
        let inside = Context { find: &|_| None, address: &|_| None, links: false, ..*context };
        let shown = html(text, &inside, depth + 1);
        let taken = 1 + end + 1 + 1 + close + 1;
        let target = &target[..close];
        let Some(address) = target_of(target, context) else {
            // A document that the site does not have; anything else is no link at all.
            return (!target.contains(':')).then_some((taken, shown));
        };
        return Some((taken, format!("<a href=\"{}\">{shown}</a>", escape(&address))));
    }
    let name = text.trim_matches('`');
    let address = address_of(name, context)?;
    let (address, name) = (escape(&address), escape(name));
    Some((1 + end + 1, format!("<a href=\"{address}\"><code>{name}</code></a>")))
}

/// Where a link leads, `None` for anything but the web, this page and the pages beside it.
fn target_of(target: &str, context: &Context<'_>) -> Option<String> {
    let target = target.trim();
    if target.contains(char::is_whitespace) || target.contains(['"', '<', '>']) {
        return None;
    }
    let is_web = target.starts_with("https://") || target.starts_with("http://");
    if is_web || (target.starts_with('#') && context.anchors) {
        return Some(target.to_string());
    }
    (context.address)(target)
}

fn bare_link(rest: &str, links: bool) -> Option<(usize, String)> {
    let inner = reach(&rest[1..]);
    let end = inner.find('>')?;
    let target = &inner[..end];
    let is_web = target.starts_with("https://") || target.starts_with("http://");
    if !is_web || target.contains(char::is_whitespace) || target.contains(['"', '<']) {
        return None;
    }
    let target = escape(target);
    let shown = if links { format!("<a href=\"{target}\">{target}</a>") } else { target };
    Some((1 + end + 1, shown))
}
