//! Diagnostics as people see them: miette's drawing, with our codes.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, ThemeStyles};

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
    let report = Report::new(diagnostic, sources);
    let mut out = String::new();
    if handler.render_report(&mut out, &report).is_err() {
        // Drawing cannot fail on a String; should it ever, the words still reach the person.
        out = format!("claw::{}\n\n  × {}\n", diagnostic.code, diagnostic.message);
    }
    out
}

/// A diagnostic in the form that miette draws.
#[derive(Debug)]
struct Report {
    code: Option<String>,
    severity: Option<miette::Severity>,
    message: String,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    elsewhere: Vec<Report>,
}

impl Report {
    fn new(diagnostic: &Diagnostic, sources: &SourceMap) -> Report {
        let mut files: Vec<FileId> = Vec::new();
        for (span, _) in &diagnostic.labels {
            if !files.contains(&span.file) {
                files.push(span.file);
            }
        }
        let mut snippets = files.into_iter().map(|file| {
            let labels = diagnostic
                .labels
                .iter()
                .filter(|(span, _)| span.file == file)
                .map(|(span, label)| label_at(*span, label, sources.text(file)))
                .collect();
            let source = NamedSource::new(sources.path(file), sources.text(file).to_string());
            (Some(source), labels)
        });
        let (source, labels) = snippets.next().unwrap_or((None, Vec::new()));
        let elsewhere = snippets
            .map(|(source, labels)| Report {
                code: None,
                severity: Some(miette::Severity::Advice),
                message: "this belongs to it".to_string(),
                help: None,
                source,
                labels,
                elsewhere: Vec::new(),
            })
            .collect();
        Report {
            code: Some(format!("claw::{}", diagnostic.code)),
            severity: Some(match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            }),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            source,
            labels,
            elsewhere,
        }
    }
}

/// A label, its place moved into the text and onto whole characters.
fn label_at(span: Span, label: &str, text: &str) -> LabeledSpan {
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
    LabeledSpan::new(Some(label.to_string()), start, end - start)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        self.severity
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() { None } else { Some(Box::new(self.labels.iter().cloned())) }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        Some(Box::new(self.elsewhere.iter().map(|report| report as &dyn miette::Diagnostic)))
    }
}
