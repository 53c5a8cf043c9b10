//! Documents: text with places where it may break over lines, after Wadler's "A prettier printer".
//!
//! A group is written on one line when it fits, else all of its own lines break. Comments are parts
//! of a document and break lines where they must, so each document knows how they stand in it: a
//! comment above its first word or behind its last one does not concern the form itself, only what
//! it stands in.

/// A document.
pub(super) struct Doc<'t> {
    pub(super) kind: Kind<'t>,
    marks: Marks,
}

/// What a document is made of.
pub(super) enum Kind<'t> {
    /// Nothing.
    Nothing,
    /// Text as it is. It may hold line breaks when it is a string.
    Text(&'t str),
    /// A space, unless a line ends here anyway.
    Space,
    /// `flat` in a group that stands on one line, else a line break, with an empty line where `blank`.
    Line { flat: &'static str, blank: bool },
    /// A line break wherever it stands.
    Break { blank: bool },
    /// A line one level further in.
    Nest(Box<Doc<'t>>),
    /// On one line if it fits and it need not break.
    Group(Box<Doc<'t>>, bool),
    /// What keeps to its line where what stands before it can break instead.
    Stiff(Box<Doc<'t>>),
    /// One after the other.
    Parts(Vec<Doc<'t>>),
    /// Text that is only there where the group breaks.
    IfBroken(&'static str),
    /// A comment, or a line of documentation, with a line of its own.
    Above(&'t str),
    /// A comment that ends its line.
    Behind(&'t str),
}

/// How comments and line breaks stand in a document.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    /// It is nothing.
    nothing: bool,
    /// It starts with a comment.
    starts: bool,
    /// It ends with a comment.
    ends: bool,
    /// A comment stands inside, but not in a bracket.
    inside: bool,
    /// It stands on several lines, whatever the width.
    tall: bool,
    /// A bracket in it is open.
    open: bool,
}

impl<'t> Doc<'t> {
    fn plain(kind: Kind<'t>) -> Doc<'t> {
        Doc { kind, marks: Marks::default() }
    }

    pub(super) fn nothing() -> Doc<'t> {
        let marks = Marks { nothing: true, ..Marks::default() };
        Doc { kind: Kind::Nothing, marks }
    }

    pub(super) fn text(text: &'t str) -> Doc<'t> {
        let marks = Marks { tall: text.contains('\n'), ..Marks::default() };
        Doc { kind: Kind::Text(text), marks }
    }

    pub(super) fn space() -> Doc<'t> {
        Doc::plain(Kind::Space)
    }

    /// A space that may break.
    pub(super) fn line() -> Doc<'t> {
        Doc::plain(Kind::Line { flat: " ", blank: false })
    }

    /// A space that may break, and then leaves a line empty where the author did.
    pub(super) fn line_or_blank(blank: bool) -> Doc<'t> {
        Doc::plain(Kind::Line { flat: " ", blank })
    }

    /// A place that may break, and is nothing or a space where it does not.
    pub(super) fn edge(flat: &'static str) -> Doc<'t> {
        Doc::plain(Kind::Line { flat, blank: false })
    }

    pub(super) fn line_break(blank: bool) -> Doc<'t> {
        Doc::plain(Kind::Break { blank })
    }

    pub(super) fn if_broken(text: &'static str) -> Doc<'t> {
        Doc::plain(Kind::IfBroken(text))
    }

    pub(super) fn above(comment: &'t str) -> Doc<'t> {
        let marks = Marks { starts: true, ..Marks::default() };
        Doc { kind: Kind::Above(comment), marks }
    }

    pub(super) fn behind(comment: &'t str) -> Doc<'t> {
        let marks = Marks { ends: true, ..Marks::default() };
        Doc { kind: Kind::Behind(comment), marks }
    }

    pub(super) fn nest(self) -> Doc<'t> {
        let marks = self.marks;
        Doc { kind: Kind::Nest(Box::new(self)), marks }
    }

    /// On one line if it fits and neither a comment nor an open bracket in it forbids it. A bracket
    /// that breaks for want of room is open from then on, so the lines around it break for the one
    /// as for the other.
    pub(super) fn group(self) -> Doc<'t> {
        let marks = self.marks;
        Doc { kind: Kind::Group(Box::new(self), marks.inside || marks.open), marks }
    }

    /// Keeps to its line where what stands before it can break instead.
    pub(super) fn stiff(self) -> Doc<'t> {
        let marks = self.marks;
        Doc { kind: Kind::Stiff(Box::new(self)), marks }
    }

    /// A group from an opening to a closing bracket. `inside` brings its own lines after `open` and
    /// before `close`.
    pub(super) fn bracket(open: Doc<'t>, inside: Doc<'t>, close: Doc<'t>, broken: bool) -> Doc<'t> {
        let marks = Marks {
            starts: open.marks.starts,
            ends: close.marks.ends,
            tall: broken,
            open: broken,
            ..Marks::default()
        };
        let whole = Doc::parts(vec![open, inside, close]);
        Doc { kind: Kind::Group(Box::new(whole), broken), marks }
    }

    pub(super) fn parts(parts: Vec<Doc<'t>>) -> Doc<'t> {
        let there = || parts.iter().filter(|part| !part.marks.nothing);
        let last = there().count().saturating_sub(1);
        let mut marks = Marks { nothing: there().next().is_none(), ..Marks::default() };
        for (place, part) in there().enumerate() {
            let of = part.marks;
            marks.starts |= of.starts && place == 0;
            marks.ends |= of.ends && place == last;
            marks.inside |= of.inside || (of.starts && place > 0) || (of.ends && place < last);
            marks.tall |= of.tall;
            marks.open |= of.open;
        }
        Doc { kind: Kind::Parts(parts), marks }
    }

    /// Whether a comment stands anywhere in it but in brackets.
    pub(super) fn has_comments(&self) -> bool {
        self.marks.starts || self.marks.ends || self.marks.inside
    }

    /// Whether it stands on several lines, whatever the width.
    pub(super) fn is_tall(&self) -> bool {
        self.marks.tall || self.has_comments()
    }

    pub(super) fn starts_with_comment(&self) -> bool {
        self.marks.starts
    }

    pub(super) fn ends_with_comment(&self) -> bool {
        self.marks.ends
    }
}

/// Parts of a line, one after the other, below lines of documentation.
#[derive(Default)]
pub(super) struct Phrase<'t> {
    parts: Vec<Doc<'t>>,
    /// Whether a part of the line stands there already.
    started: bool,
}

impl<'t> Phrase<'t> {
    /// Adds what stands above the line.
    pub(super) fn above(&mut self, doc: Doc<'t>) {
        self.parts.push(doc);
    }

    /// Adds what touches the part before it.
    pub(super) fn tight(&mut self, doc: Doc<'t>) {
        self.join(doc, false);
    }

    /// Adds what is a space away from the part before it.
    pub(super) fn spaced(&mut self, doc: Doc<'t>) {
        self.join(doc, true);
    }

    /// Adds what brings the line that it starts with.
    pub(super) fn below(&mut self, doc: Doc<'t>) {
        self.started = true;
        self.parts.push(doc);
    }

    fn join(&mut self, doc: Doc<'t>, space: bool) {
        if !std::mem::replace(&mut self.started, true) {
            self.parts.push(doc);
            return;
        }
        // Where a comment breaks the line, what follows is still a part of what stands before.
        let broken =
            doc.starts_with_comment() || self.parts.last().is_some_and(Doc::ends_with_comment);
        let doc = if space { Doc::parts(vec![Doc::space(), doc]) } else { doc };
        self.parts.push(if broken { doc.nest() } else { doc });
    }

    pub(super) fn doc(self) -> Doc<'t> {
        Doc::parts(self.parts)
    }
}
