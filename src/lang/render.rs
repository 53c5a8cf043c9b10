//! Diagnostics as people see them: miette's drawing, with our codes.

use std::borrow::Cow;
use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents, ThemeStyles,
};

use super::diagnostic::{Diagnostic, Severity};
use super::source::{FileId, SourceMap, Span};

/// Draws a diagnostic, `width` columns wide. Labels that stand in another file than the first one
/// are drawn below it, a snippet each.
pub fn render(diagnostic: &Diagnostic, sources: &SourceMap, width: usize, colour: bool) -> String {
    let mut theme = GraphicalTheme::unicode_nocolor();
    if colour {
        theme.styles = ThemeStyles::ansi();
    }
    let handler =
        GraphicalReportHandler::new_themed(theme).with_width(width.max(40)).with_links(false);
    let mut out = String::new();
    for report in reports(diagnostic, sources) {
        if handler.render_report(&mut out, &report).is_err() {
            // Drawing cannot fail on a String; should it ever, the words still reach the person.
            out.push_str(&format!("claw::{}\n\n  × {}\n", diagnostic.code, diagnostic.message));
        }
    }
    out
}

/// A diagnostic in the form that miette draws.
#[derive(Debug)]
struct Report<'a> {
    code: Option<String>,
    severity: miette::Severity,
    message: Cow<'a, str>,
    help: Option<Cow<'a, str>>,
    source: Option<Text<'a>>,
    labels: Vec<LabeledSpan>,
}

/// A file's path and the part of its text that is drawn from.
#[derive(Debug)]
struct Text<'a> {
    path: &'a str,
    text: Cow<'a, str>,
    /// How many lines stand before the part.
    lines_before: usize,
}

impl SourceCode for Text<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.as_ref().read_span(span, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.path.to_string(),
            found.data(),
            *found.span(),
            self.lines_before + found.line(),
            found.column(),
            found.line_count(),
        )))
    }
}

/// The diagnostic with the snippet of its first file, then one more for each other file.
fn reports<'a>(diagnostic: &'a Diagnostic, sources: &'a SourceMap) -> Vec<Report<'a>> {
    let mut files: Vec<FileId> = Vec::new();
    for (span, _) in &diagnostic.labels {
        if !files.contains(&span.file) {
            files.push(span.file);
        }
    }
    let mut snippets = files.into_iter().map(|file| {
        let whole = sources.text(file);
        let (text, start) = around(
            whole,
            diagnostic.labels.iter().map(|(span, _)| *span).filter(|span| span.file == file),
        );
        let lines_before = whole[..start].bytes().filter(|byte| *byte == b'\n').count();
        let labels = diagnostic
            .labels
            .iter()
            .filter(|(span, _)| span.file == file)
            .map(|(span, label)| label_at(*span, label, whole, start))
            .collect();
        let (text, labels) = narrowed(text, labels);
        let text = match shown(&text) {
            Cow::Owned(shown) => Cow::Owned(shown),
            Cow::Borrowed(_) => text,
        };
        (Some(Text { path: sources.path(file), text, lines_before }), labels)
    });
    let (source, labels) = snippets.next().unwrap_or((None, Vec::new()));
    let first = Report {
        code: Some(format!("claw::{}", diagnostic.code)),
        severity: match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        },
        message: shown(&diagnostic.message),
        help: diagnostic.help.as_deref().map(shown),
        source,
        labels,
    };
    let others = snippets.map(|(source, labels)| Report {
        code: None,
        severity: miette::Severity::Advice,
        message: Cow::Borrowed("and there"),
        help: None,
        source,
        labels,
    });
    [first].into_iter().chain(others).collect()
}

/// How many lines around the labels miette is given: more than it draws.
const AROUND: usize = 4;

/// The lines of a text that the spans are in, with those around them, and where they start: all
/// that is drawn. A file of megabytes is not read through again for each of its mistakes.
fn around(text: &str, spans: impl Iterator<Item = Span> + Clone) -> (&str, usize) {
    let first = spans.clone().map(|span| span.start as usize).min().unwrap_or(0).min(text.len());
    let last = spans.map(|span| span.start as usize).max().unwrap_or(0).min(text.len());
    let bytes = text.as_bytes();
    let mut breaks = bytes[..first].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let start = breaks.nth(AROUND).map_or(0, |(at, _)| at + 1);
    let mut breaks = bytes[last..].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let end = breaks.nth(AROUND).map_or(text.len(), |(at, _)| last + at + 1);
    (&text[start..end], start)
}

/// Lines longer than this many bytes are shown in part.
const LONG_LINE: usize = 400;

/// The text with its long lines cut down to what is around their first label. A line of a megabyte
/// is no snippet, and padding past 65,535 columns makes the drawing itself panic.
fn narrowed(text: &str, mut labels: Vec<LabeledSpan>) -> (Cow<'_, str>, Vec<LabeledSpan>) {
    if text.split('\n').all(|line| line.len() <= LONG_LINE) {
        return (Cow::Borrowed(text), labels);
    }
    let mut out = String::new();
    let mut start = 0;
    let mut moved: Vec<Option<LabeledSpan>> = labels.iter().map(|_| None).collect();
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let inside = |label: &LabeledSpan| {
            (start..end).contains(&label.offset()) || (label.offset() == end && end == text.len())
        };
        let first = labels.iter().filter(|label| inside(label)).map(LabeledSpan::offset).min();
        let body = line.trim_end_matches(['\n', '\r']);
        // The part of the line that stays.
        let mut from = 0;
        let mut to = body.len();
        if body.len() > LONG_LINE {
            from = first.map_or(0, |first| (first - start).saturating_sub(LONG_LINE / 4));
            from = from.min(body.len());
            while !body.is_char_boundary(from) {
                from -= 1;
            }
            to = (from + LONG_LINE).min(body.len());
            while !body.is_char_boundary(to) {
                to -= 1;
            }
        }
        let mark = if from > 0 { "…" } else { "" };
        let at = out.len() + mark.len();
        out.push_str(mark);
        out.push_str(&body[from..to]);
        for (label, moved) in labels.iter().zip(&mut moved).filter(|(label, _)| inside(label)) {
            let offset = (label.offset() - start).clamp(from, to) - from;
            let length = label.len().min(to - from - offset);
            let words = label.label().map(str::to_string);
            *moved = Some(LabeledSpan::new(words, at + offset, length));
        }
        if to < body.len() {
            out.push('…');
        }
        out.push_str(&line[body.len()..]);
        start = end;
    }
    labels = moved.into_iter().flatten().collect();
    (Cow::Owned(out), labels)
}

/// The text without what a terminal would obey (escapes, controls) or what turns reading around
/// (Unicode's bidirectional marks). Each is replaced by a sign of as many bytes, so that no place
/// moves.
fn shown(text: &str) -> Cow<'_, str> {
    let sign = |c: char| match c {
        '\n' | '\t' | '\r' => None,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('\u{fffd}'),
        c if !c.is_control() => None,
        c if c.len_utf8() == 1 => Some('?'),
        _ => Some('¿'),
    };
    if text.chars().all(|c| sign(c).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| sign(c).unwrap_or(c)).collect())
}

/// A label, its place moved into the text and onto whole characters, as it stands in the part of the
/// text that begins at `part`.
fn label_at(span: Span, label: &str, text: &str, part: usize) -> LabeledSpan {
    let mut start = (span.start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = (span.end as usize).clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    // A label over many lines draws a tall box around what needs none: its first line is enough.
    if let Some(line) = text[start..end].find('\n') {
        end = start + text[start..start + line].trim_end().len();
    }
    LabeledSpan::new(Some(shown(label).into_owned()), start - part, end - start)
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() { None } else { Some(Box::new(self.labels.iter().cloned())) }
    }
}
