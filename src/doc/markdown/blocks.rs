//! What stands in lines of its own: paragraphs, headings, lists, quotes, tables, code.

use std::collections::BTreeMap;

use super::{Context, Heading, escape, inline, plain};
use crate::doc::highlight;

/// How deep lists and quotes may stand in each other.
const MAX_DEPTH: usize = 12;

/// A block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fence {
    /// What stands behind the opening marks: `claw,error E0304`.
    info: String,
    /// The code, each line with its end.
    code: String,
}

/// Writes blocks as HTML.
pub(super) struct Writer<'p> {
    context: &'p Context<'p>,
    out: String,
    headings: Vec<Heading>,
    /// How often each heading's place was taken.
    ids: BTreeMap<String, usize>,
    /// Levels of the headings that enclose this place. Levels that the text skips are not skipped on
    /// the page.
    above: Vec<usize>,
}

impl<'p> Writer<'p> {
    pub(super) fn new(context: &'p Context<'p>) -> Writer<'p> {
        Writer {
            context,
            out: String::new(),
            headings: Vec::new(),
            ids: BTreeMap::new(),
            above: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (String, Vec<Heading>) {
        (self.out, self.headings)
    }

    /// Writes lines as blocks.
    pub(super) fn blocks(&mut self, lines: &[&str], depth: usize) {
        let mut at = 0;
        while at < lines.len() {
            let rest = &lines[at..];
            at += if lines[at].trim().is_empty() {
                1
            } else if let Some((taken, fence)) = fence(rest) {
                self.code(&fence);
                taken
            } else if let Some((level, text)) = heading(lines[at]) {
                self.heading(level, text);
                1
            } else if is_table(rest) {
                self.table(rest)
            } else if depth < MAX_DEPTH && quote(lines[at]).is_some() {
                self.quote(rest, depth)
            } else if depth < MAX_DEPTH && marker(lines[at]).is_some() {
                self.list(rest, depth)
            } else {
                let taken = paragraph(rest);
                let text = joined(&rest[..taken]);
                let shown = inline::html(&text, self.context, 0);
                self.out.push_str(&format!("<p>{shown}</p>\n"));
                taken
            };
        }
    }

    fn code(&mut self, fence: &Fence) {
        let language = fence.info.split(|c: char| c == ',' || c.is_whitespace()).next();
        let is_claw = language == Some("claw");
        let shown = if is_claw {
            highlight::claw(&fence.code, self.context.find)
        } else {
            escape(&fence.code)
        };
        let wrong = is_claw && fence.info.contains("error");
        let class = if wrong { "code wrong" } else { "code" };
        self.out.push_str(&format!(
            "<pre class=\"{class}\" tabindex=\"0\"><code>{shown}</code></pre>\n"
        ));
    }

    fn heading(&mut self, level: usize, text: &str) {
        let shown = inline::html(text, self.context, 0);
        self.above.retain(|above| *above < level);
        self.above.push(level);
        let tag = (self.context.deeper + self.above.len()).min(6);
        if !self.context.anchors {
            self.out.push_str(&format!("<h{tag}>{shown}</h{tag}>\n"));
            return;
        }
        let text = plain(text);
        let slug = slug(&text);
        let count = self.ids.entry(slug.clone()).or_insert(0);
        *count += 1;
        let id = if *count > 1 { format!("{slug}-{count}") } else { slug };
        self.out.push_str(&format!("<h{tag} id=\"{}\">{shown}</h{tag}>\n", escape(&id)));
        self.headings.push(Heading { level, text, id });
    }

    fn quote(&mut self, lines: &[&str], depth: usize) -> usize {
        let inner: Vec<&str> = lines.iter().map_while(|line| quote(line)).collect();
        self.out.push_str("<blockquote>\n");
        self.blocks(&inner, depth + 1);
        self.out.push_str("</blockquote>\n");
        inner.len()
    }

    fn list(&mut self, lines: &[&str], depth: usize) -> usize {
        let Some(first) = marker(lines[0]) else { return 1 };
        let tag = if first.numbered { "ol" } else { "ul" };
        self.out.push_str(&format!("<{tag}>\n"));
        let mut at = 0;
        while let Some(mark) = lines.get(at).and_then(|line| marker(line)) {
            if mark.numbered != first.numbered || mark.indent != first.indent {
                break;
            }
            let taken = item(&lines[at..], &mark);
            let mut inner = vec![&lines[at][mark.width..]];
            inner.extend(lines[at + 1..at + taken].iter().map(|line| dedented(line, mark.width)));
            let mut writer = Writer::new(self.context);
            writer.blocks(&inner, depth + 1);
            // A short item is not spaced like a paragraph.
            let mut shown = writer.out;
            if !inner.iter().any(|line| line.trim().is_empty()) {
                shown = shown.replace("<p>", "").replace("</p>", "");
            }
            let shown = shown.trim_end();
            let end = if shown.ends_with("</ul>") || shown.ends_with("</ol>") { "\n" } else { "" };
            self.out.push_str(&format!("<li>{shown}{end}</li>\n"));
            at += taken;
            // Items may stand apart.
            while lines.get(at).is_some_and(|line| line.trim().is_empty())
                && lines.get(at + 1).is_some_and(|line| marker(line).is_some())
            {
                at += 1;
            }
        }
        self.out.push_str(&format!("</{tag}>\n"));
        at.max(1)
    }

    fn table(&mut self, lines: &[&str]) -> usize {
        let taken = lines.iter().take_while(|line| line.trim_start().starts_with('|')).count();
        let ends: Vec<bool> = cells(lines[1])
            .iter()
            .map(|cell| cell.ends_with(':') && !cell.starts_with(':'))
            .collect();
        // A wide table scrolls by itself, not the page.
        self.out.push_str("<div class=\"table\" tabindex=\"0\"><table>\n<thead>\n");
        self.row("th", lines[0], &ends);
        self.out.push_str("</thead>\n<tbody>\n");
        for line in &lines[2..taken] {
            self.row("td", line, &ends);
        }
        self.out.push_str("</tbody>\n</table></div>\n");
        taken
    }

    fn row(&mut self, tag: &str, line: &str, ends: &[bool]) {
        let mut cells = cells(line);
        cells.resize(ends.len(), String::new());
        self.out.push_str("<tr>");
        for (cell, end) in cells.iter().zip(ends) {
            let class = if *end { " class=\"end\"" } else { "" };
            let shown = inline::html(cell, self.context, 0);
            self.out.push_str(&format!("<{tag}{class}>{shown}</{tag}>"));
        }
        self.out.push_str("</tr>\n");
    }
}

/// A block of code at the start of the lines, and how many of them it takes.
fn fence(lines: &[&str]) -> Option<(usize, Fence)> {
    let first = lines.first()?;
    let indent = first.len() - first.trim_start_matches(' ').len();
    let info = first.trim_start_matches(' ').strip_prefix("```")?;
    if info.contains('`') {
        return None;
    }
    let mut code = String::new();
    for (at, line) in lines.iter().enumerate().skip(1) {
        if line.trim() == "```" {
            return Some((at + 1, Fence { info: info.trim().to_string(), code }));
        }
        code.push_str(dedented(line, indent));
        code.push('\n');
    }
    Some((lines.len(), Fence { info: info.trim().to_string(), code }))
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    let text = text.strip_prefix(' ')?;
    (1..=6).contains(&level).then(|| (level, text.trim()))
}

fn quote(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('>')?;
    Some(inner.strip_prefix(' ').unwrap_or(inner))
}

struct Marker {
    numbered: bool,
    /// Columns in front of the mark.
    indent: usize,
    /// Columns up to the item's text.
    width: usize,
}

/// The mark of a list's item.
fn marker(line: &str) -> Option<Marker> {
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (numbered, mark) = match text[digits..].chars().next()? {
        '-' | '*' | '+' if digits == 0 => (false, 1),
        '.' | ')' if (1..=9).contains(&digits) => (true, digits + 1),
        _ => return None,
    };
    text[mark..].starts_with(' ').then_some(Marker { numbered, indent, width: indent + mark + 1 })
}

/// How many lines an item takes: those that are indented under it, and those that go on with its
/// text.
fn item(lines: &[&str], mark: &Marker) -> usize {
    let mut taken = 1;
    while let Some(line) = lines.get(taken) {
        let blank = line.trim().is_empty();
        let under = line.len() - line.trim_start_matches(' ').len() >= mark.width;
        let goes_on = match blank {
            true => lines.get(taken + 1).is_some_and(|next| {
                !next.trim().is_empty()
                    && next.len() - next.trim_start_matches(' ').len() >= mark.width
            }),
            false => {
                under
                    || (!lines[taken - 1].trim().is_empty()
                        && marker(line).is_none()
                        && !starts_block(&lines[taken..]))
            }
        };
        if !goes_on {
            break;
        }
        taken += 1;
    }
    taken
}

fn dedented(line: &str, columns: usize) -> &str {
    let blanks = line.len() - line.trim_start_matches(' ').len();
    &line[blanks.min(columns)..]
}

fn is_table(lines: &[&str]) -> bool {
    let is_row = |line: &&str| line.trim_start().starts_with('|');
    let is_rule = |line: &&str| {
        is_row(line)
            && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
            && line.contains('-')
    };
    lines.first().is_some_and(is_row) && lines.get(1).is_some_and(is_rule)
}

/// The cells of a table's row; `\|` is a bar in a cell.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut open = line.chars().peekable();
    while let Some(c) = open.next() {
        let last = cells.len() - 1;
        match c {
            '\\' if open.peek() == Some(&'|') => {
                open.next();
                cells[last].push('|');
            }
            '|' if open.peek().is_some() => cells.push(String::new()),
            '|' => {}
            c => cells[last].push(c),
        }
    }
    cells.iter().map(|cell| cell.trim().to_string()).collect()
}

fn starts_block(lines: &[&str]) -> bool {
    fence(&lines[..1]).is_some()
        || heading(lines[0]).is_some()
        || quote(lines[0]).is_some()
        || marker(lines[0]).is_some()
        || is_table(lines)
}

/// How many lines a paragraph takes.
fn paragraph(lines: &[&str]) -> usize {
    let mut taken = 1;
    while taken < lines.len() && !lines[taken].trim().is_empty() && !starts_block(&lines[taken..]) {
        taken += 1;
    }
    taken
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

/// A heading's place: its words in small letters.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if matches!(c, ' ' | '-') && !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-').to_string();
    if slug.is_empty() { "section".to_string() } else { slug }
}
