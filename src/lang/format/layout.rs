//! Where files, declarations and types may break over lines.

use crate::lang::syntax::Rule;

use super::bracket::Bracket;
use super::document::{Doc, Phrase};
use super::tree::{Node, Tree};

/// The document of a file.
pub(super) fn file<'t>(tree: &Tree<'t>) -> Doc<'t> {
    let layout = Layout { tree };
    let mut parts = Vec::new();
    let mut before: Option<Rule> = None;
    for node in &tree.root.children {
        let rule = node.rule;
        if rule == Rule::EOI && tree.first(node).above.is_empty() {
            break;
        }
        if let Some(before) = before {
            let below_doc = before == Rule::module_doc && rule != Rule::module_doc;
            parts.push(Doc::line_break(below_doc || layout.blank_above(node)));
        }
        before = Some(rule);
        parts.push(layout.doc(node));
    }
    Doc::parts(parts)
}

/// Turns the forms of a tree into documents.
#[derive(Clone, Copy)]
pub(super) struct Layout<'n, 't> {
    pub(super) tree: &'n Tree<'t>,
}

impl<'t> Layout<'_, 't> {
    /// The document of any form.
    pub(super) fn doc(self, node: &Node) -> Doc<'t> {
        match node.rule {
            _ if node.children.is_empty() => self.token(node),
            Rule::def_item => self.def_item(node),
            Rule::stage_item => self.stage_item(node),
            Rule::block => self.block(&node.children),
            Rule::test_item => self.test_item(node),
            Rule::ty => self.ty(node),
            Rule::ty_record => self.listed(node, Bracket::record()),
            Rule::ty_list | Rule::ty_round => self.sole(node),
            Rule::ty_enum => self.alternatives(node),
            Rule::expr
            | Rule::operation
            | Rule::operand
            | Rule::call
            | Rule::index
            | Rule::round
            | Rule::list
            | Rule::record
            | Rule::if_expr
            | Rule::for_expr
            | Rule::try_expr => self.expression(node),
            _ => self.phrase(&node.children),
        }
    }

    /// A token with its comments.
    pub(super) fn token(self, node: &Node) -> Doc<'t> {
        let behind = self.tree.first(node).behind.map_or(Doc::nothing(), Doc::behind);
        Doc::parts(vec![self.word(node), behind])
    }

    /// A token with the comments above it.
    pub(super) fn word(self, node: &Node) -> Doc<'t> {
        let token = self.tree.first(node);
        let mut parts = Vec::new();
        for (place, comment) in token.above.iter().enumerate() {
            if place > 0 && comment.blank {
                parts.push(Doc::line_break(true));
            }
            parts.push(Doc::above(comment.text));
        }
        if token.blank_below_comments() {
            parts.push(Doc::line_break(true));
        }
        match node.rule {
            Rule::doc | Rule::module_doc => parts.push(Doc::above(token.text)),
            Rule::EOI => {}
            _ => parts.push(Doc::text(token.text)),
        }
        Doc::parts(parts)
    }

    /// Whether the author left an empty line before a form.
    pub(super) fn blank_above(self, node: &Node) -> bool {
        self.tree.first(node).blank_above()
    }

    /// Words in a row, such as `let name: T = value`. What `where` or `when` adds goes to a line of
    /// its own when it does not fit.
    pub(super) fn phrase(self, nodes: &[Node]) -> Doc<'t> {
        let mut phrase = Phrase::default();
        let mut nodes = nodes.iter();
        while let Some(node) = nodes.next() {
            match node.rule {
                Rule::doc => phrase.above(self.doc(node)),
                Rule::colon => phrase.tight(self.doc(node)),
                Rule::where_word | Rule::when_word => {
                    phrase.below(self.clause(node, nodes.next()).group());
                }
                _ => phrase.spaced(self.doc(node)),
            }
        }
        phrase.doc()
    }

    /// A word and what it says, one level further in where they start a line.
    pub(super) fn clause(self, word: &Node, what: Option<&Node>) -> Doc<'t> {
        let mut phrase = Phrase::default();
        phrase.spaced(self.doc(word));
        if let Some(what) = what {
            phrase.spaced(self.doc(what));
        }
        Doc::parts(vec![Doc::line(), phrase.doc()]).nest()
    }

    /// `stage name = rows with { … }`: before the policies of a `for` break, its body does.
    fn stage_item(self, node: &Node) -> Doc<'t> {
        let [value @ .., with_word, policies] = node.children.as_slice() else {
            return self.phrase(&node.children);
        };
        let each = value.last().is_some_and(|value| is_only(value, Rule::for_expr));
        if with_word.rule != Rule::with_word || !each {
            return self.phrase(&node.children);
        }
        let mut phrase = Phrase::default();
        phrase.spaced(self.phrase(value));
        phrase.spaced(self.doc(with_word));
        phrase.spaced(self.doc(policies).stiff());
        phrase.doc()
    }

    /// `def name(args) -> T { … }`
    fn def_item(self, node: &Node) -> Doc<'t> {
        let mut phrase = Phrase::default();
        let mut nodes = node.children.as_slice();
        while let [node, rest @ ..] = nodes {
            nodes = rest;
            if node.rule != Rule::open_round {
                phrase.spaced(self.doc(node));
                continue;
            }
            let close = rest.iter().position(|node| node.rule == Rule::close_round);
            let (args, rest) = rest.split_at(close.unwrap_or(rest.len()));
            if let [close, rest @ ..] = rest {
                let args = args.iter().map(|arg| self.item(arg)).collect();
                phrase.tight(self.bracket(self.open(node), args, close, Bracket::list()));
                nodes = rest;
            }
        }
        phrase.doc()
    }

    /// `{ let … result }`: on one line only when it is nothing but a result that fits.
    fn block(self, nodes: &[Node]) -> Doc<'t> {
        let [open, inside @ .., close] = nodes else {
            return self.phrase(nodes);
        };
        let steps = inside.iter().map(|step| self.item(step)).collect::<Vec<_>>();
        let form = if steps.len() > 1 { Bracket::steps() } else { Bracket::body() };
        self.bracket(self.open(open), steps, close, form)
    }

    /// `test "name" { … }`
    fn test_item(self, node: &Node) -> Doc<'t> {
        let mut phrase = Phrase::default();
        if let [word, name, open, steps @ .., close] = node.children.as_slice() {
            phrase.spaced(self.doc(word));
            phrase.spaced(self.doc(name));
            let steps = steps.iter().map(|step| self.item(step)).collect();
            phrase.spaced(self.bracket(self.open(open), steps, close, Bracket::steps()));
        }
        phrase.doc()
    }

    /// `T? -> U`
    fn ty(self, node: &Node) -> Doc<'t> {
        let mut phrase = Phrase::default();
        for part in &node.children {
            match part.rule {
                Rule::question => phrase.tight(self.doc(part)),
                _ => phrase.spaced(self.doc(part)),
            }
        }
        phrase.doc()
    }

    /// `"a" | "b"`
    fn alternatives(self, node: &Node) -> Doc<'t> {
        let mut parts = Vec::new();
        let mut nodes = node.children.iter();
        parts.extend(nodes.next().map(|first| self.doc(first)));
        while let Some(bar) = nodes.next() {
            parts.push(self.clause(bar, nodes.next()));
        }
        Doc::parts(parts).group()
    }
}

/// Whether an expression is nothing but one form.
pub(super) fn is_only(node: &Node, rule: Rule) -> bool {
    match (node.rule, node.children.as_slice()) {
        (found, _) if found == rule => true,
        (Rule::arg | Rule::expr | Rule::operation | Rule::operand | Rule::ty, [only]) => {
            is_only(only, rule)
        }
        _ => false,
    }
}
