//! Lists, records, arguments and blocks: what stands between an opening and a closing bracket.

use crate::lang::syntax::Rule;

use super::document::Doc;
use super::layout::{Layout, is_only};
use super::tree::Node;

/// How a bracket is laid out.
#[derive(Clone, Copy)]
pub(super) struct Bracket {
    /// What stands inside the brackets where they stay on one line.
    edge: &'static str,
    between: Between,
    /// Whether it breaks although it would fit.
    always: bool,
    /// Whether a line break of the author's behind the opening bracket keeps it open.
    opened: bool,
}

/// What separates the items of a bracket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// A comma, and where the bracket breaks one after the last item too.
    Commas,
    /// A comma, and as many items in a line as fit.
    Filled,
    /// A line break.
    Breaks,
}

impl Bracket {
    /// `(a, b)`, `[a, b]`
    pub(super) fn list() -> Bracket {
        Bracket { edge: "", between: Between::Commas, always: false, opened: true }
    }

    /// `{ a: 1, b: 2 }`
    pub(super) fn record() -> Bracket {
        Bracket { edge: " ", ..Bracket::list() }
    }

    /// `[1, 2, 3]`
    pub(super) fn numbers() -> Bracket {
        Bracket { between: Between::Filled, ..Bracket::list() }
    }

    /// `{ result }`
    pub(super) fn body() -> Bracket {
        Bracket { edge: " ", between: Between::Breaks, always: false, opened: true }
    }

    /// Steps, each on a line of its own.
    pub(super) fn steps() -> Bracket {
        Bracket { always: true, ..Bracket::body() }
    }

    /// One thing in brackets: `(a + b)`, `rows[0]`, `[T]`
    fn sole() -> Bracket {
        Bracket { edge: "", between: Between::Breaks, always: false, opened: false }
    }
}

/// An item of a bracket.
pub(super) struct Item<'t> {
    doc: Doc<'t>,
    /// Whether an empty line stands above it.
    blank: bool,
    /// Whether it looks well right behind the opening bracket, on whatever many lines it stands.
    hugged: bool,
}

/// An opening bracket.
pub(super) struct Open<'t> {
    doc: Doc<'t>,
    /// Whether the author broke the line behind it.
    opened: bool,
}

impl<'t> Layout<'_, 't> {
    pub(super) fn item(self, node: &Node) -> Item<'t> {
        Item { doc: self.doc(node), blank: self.blank_above(node), hugged: hugged(node) }
    }

    pub(super) fn open(self, node: &Node) -> Open<'t> {
        let opened = self.tree.after(node).is_some_and(|token| token.starts_line);
        Open { doc: self.token(node), opened }
    }

    /// The same bracket as one whose opening half was written already.
    pub(super) fn opened(self, node: &Node) -> Open<'t> {
        let behind = self.tree.first(node).behind;
        Open { doc: behind.map_or(Doc::nothing(), Doc::behind), ..self.open(node) }
    }

    /// A form that is a bracket and items.
    pub(super) fn listed(self, node: &Node, form: Bracket) -> Doc<'t> {
        let [open, items @ .., close] = node.children.as_slice() else {
            return self.phrase(&node.children);
        };
        let items = items.iter().map(|item| self.item(item)).collect();
        self.bracket(self.open(open), items, close, form)
    }

    /// A form that is a bracket around one thing.
    pub(super) fn sole(self, node: &Node) -> Doc<'t> {
        self.listed(node, Bracket::sole())
    }

    /// A bracket with its items.
    pub(super) fn bracket(
        self,
        open: Open<'t>,
        items: Vec<Item<'t>>,
        close: &Node,
        form: Bracket,
    ) -> Doc<'t> {
        // Comments above the closing bracket stand with the items.
        let closing = self.tree.first(close);
        let bare = closing.above.is_empty() && !open.doc.ends_with_comment();
        let end = Doc::parts(
            [Some(Doc::text(closing.text)), closing.behind.map(Doc::behind)]
                .into_iter()
                .flatten()
                .collect(),
        );
        if items.is_empty() && bare {
            return Doc::parts(vec![open.doc, end]);
        }
        let opened = open.opened && form.opened;
        let mut items = items;
        if let [item] = items.as_mut_slice()
            && item.hugged
            && form.edge.is_empty()
            && !opened
            && bare
            && !item.doc.has_comments()
        {
            let item = std::mem::replace(&mut item.doc, Doc::nothing());
            return Doc::parts(vec![open.doc, item, end]);
        }
        let tall = items.iter().any(|item| item.doc.is_tall());
        let broken = form.always || opened || !bare || tall;
        let filled = form.between == Between::Filled && !tall;
        let commas = form.between != Between::Breaks;
        let mut inside = vec![Doc::edge(if items.is_empty() { "" } else { form.edge })];
        let any = !items.is_empty();
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                inside.extend(commas.then(|| Doc::text(",")));
                let line = Doc::line_or_blank(item.blank);
                inside.push(if filled && !item.blank { line.group() } else { line });
            }
            inside.push(item.doc);
        }
        if any && commas {
            inside.push(Doc::if_broken(","));
        }
        for (place, comment) in closing.above.iter().enumerate() {
            if any || place > 0 {
                inside.push(Doc::line_break(comment.blank));
            }
            inside.push(Doc::above(comment.text));
        }
        let inside = Doc::parts(vec![Doc::parts(inside).nest(), Doc::edge(form.edge)]);
        Doc::bracket(open.doc, inside, end, broken)
    }
}

/// Whether an argument or item is nothing but a bracket or a long string.
fn hugged(node: &Node) -> bool {
    [
        Rule::list,
        Rule::record,
        Rule::for_expr,
        Rule::ty_list,
        Rule::ty_record,
        Rule::long_text,
        Rule::raw_long,
    ]
    .into_iter()
    .any(|rule| is_only(node, rule))
}
