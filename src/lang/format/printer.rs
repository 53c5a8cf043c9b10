//! Documents to text.
//!
//! Spaces and line breaks are owed until the next text is written, so that none is left at the end
//! of a line, and what follows a comment never lands on the comment's line.

use super::document::{Doc, Kind};
use super::{INDENT, WIDTH};

/// The text of a document, with a line break at its end unless it is empty.
pub(super) fn print(doc: &Doc<'_>) -> String {
    let mut printer = Printer::default();
    let mut open = vec![Step { indent: 0, broken: true, doc }];
    while let Some(step) = open.pop() {
        printer.step(step, &mut open);
    }
    printer.end()
}

/// A document that is still to be written.
#[derive(Clone, Copy)]
struct Step<'d, 't> {
    indent: usize,
    /// Whether the group that it stands in breaks.
    broken: bool,
    doc: &'d Doc<'t>,
}

#[derive(Default)]
struct Printer<'t> {
    out: String,
    /// Columns that the last line has so far.
    column: usize,
    /// The comment that ends the last line, not written yet.
    behind: Option<&'t str>,
    /// Line breaks that are owed (two for an empty line), and the indentation after them.
    breaks: usize,
    indent: usize,
    /// Whether a space is owed.
    space: bool,
}

impl<'t> Printer<'t> {
    fn step<'d>(&mut self, step: Step<'d, 't>, open: &mut Vec<Step<'d, 't>>) {
        let Step { indent, broken, doc } = step;
        match &doc.kind {
            Kind::Nothing => {}
            Kind::Text(text) => self.text(text, indent),
            Kind::Space => self.space = true,
            Kind::Line { blank, .. } if broken => self.line(*blank, indent),
            Kind::Line { flat, .. } => self.space |= !flat.is_empty(),
            Kind::Break { blank } => self.line(*blank, indent),
            Kind::Nest(inner) => open.push(Step { indent: indent + INDENT, doc: inner, ..step }),
            Kind::Group(inner, must) => {
                let broken = *must || (broken && !self.fits(Step { doc: inner, ..step }, open));
                open.push(Step { indent, broken, doc: inner });
            }
            Kind::Stiff(inner) => open.push(Step { doc: inner, ..step }),
            Kind::Parts(parts) => {
                open.extend(parts.iter().rev().map(|doc| Step { doc, ..step }));
            }
            Kind::IfBroken(text) if broken => self.text(text, indent),
            Kind::IfBroken(_) => {}
            Kind::Above(comment) => {
                self.line(false, indent);
                self.text(comment, indent);
                self.line(false, indent);
            }
            Kind::Behind(comment) => self.behind = Some(comment),
        }
    }

    fn text(&mut self, text: &str, indent: usize) {
        // Only the comma after an item goes before the comment behind it.
        if self.behind.is_some() && text != "," {
            self.line(false, indent);
        }
        if self.breaks > 0 {
            self.out.extend(std::iter::repeat_n('\n', self.breaks));
            self.out.extend(std::iter::repeat_n(' ', self.indent));
            self.column = self.indent;
        } else if self.space && !self.out.is_empty() {
            self.out.push(' ');
            self.column += 1;
        }
        self.breaks = 0;
        self.space = false;
        self.out.push_str(text);
        match text.rsplit_once('\n') {
            Some((_, last)) => self.column = last.chars().count(),
            None => self.column += text.chars().count(),
        }
    }

    fn line(&mut self, blank: bool, indent: usize) {
        if let Some(comment) = self.behind.take() {
            self.out.push(' ');
            self.out.push_str(comment);
        }
        self.space = false;
        if !self.out.is_empty() {
            self.breaks = self.breaks.max(1 + usize::from(blank));
            self.indent = indent;
        }
    }

    fn end(mut self) -> String {
        self.line(false, 0);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }

    /// Whether a group fits on the line that is being written, with what follows it up to the next
    /// place where the line may break.
    fn fits(&self, group: Step<'_, 't>, rest: &[Step<'_, 't>]) -> bool {
        let mut column =
            if self.breaks > 0 { self.indent } else { self.column + usize::from(self.space) };
        let mut rest = rest.iter().rev();
        let mut open = vec![Step { broken: false, ..group }];
        while column <= WIDTH {
            let Some(step) = open.pop().or_else(|| rest.next().copied()) else {
                return true;
            };
            let Step { broken, doc, .. } = step;
            match &doc.kind {
                Kind::Nothing => {}
                Kind::Text(text) => match text.split_once('\n') {
                    None => column += text.chars().count(),
                    Some((first, _)) if column + first.chars().count() > WIDTH => return false,
                    Some((_, more)) => {
                        column = more.rsplit('\n').next().unwrap_or(more).chars().count();
                    }
                },
                Kind::Space => column += 1,
                Kind::Line { .. } if broken => return true,
                Kind::Line { flat, .. } => column += flat.len(),
                Kind::Break { .. } | Kind::Above(_) | Kind::Behind(_) => return true,
                Kind::Nest(inner) => open.push(Step { doc: inner, ..step }),
                Kind::Group(inner, must) => {
                    open.push(Step { doc: inner, broken: broken || *must, ..step });
                }
                Kind::Stiff(inner) => open.push(Step { doc: inner, broken: false, ..step }),
                Kind::Parts(parts) => {
                    open.extend(parts.iter().rev().map(|doc| Step { doc, ..step }))
                }
                Kind::IfBroken(text) => column += if broken { text.len() } else { 0 },
            }
        }
        false
    }
}
