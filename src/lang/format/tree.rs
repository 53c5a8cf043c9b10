//! Tokens with the comments that belong to them, in the tree that the grammar gives them.
//!
//! A comment behind a token on its line belongs to that token; every other one belongs to the token
//! that follows it. Commas are no tokens here: the layout puts them where they belong, so a comment
//! on either side of one belongs to the item before it.

use pest::iterators::{Pair, Pairs};

use crate::lang::syntax::Rule;

/// A file's tokens and their tree.
pub(super) struct Tree<'t> {
    pub(super) root: Node,
    pub(super) tokens: Vec<Token<'t>>,
}

/// A token as it was written.
pub(super) struct Token<'t> {
    pub(super) text: &'t str,
    /// Comments above it, each on a line of its own.
    pub(super) above: Vec<Comment<'t>>,
    /// The comment behind it on its line.
    pub(super) behind: Option<&'t str>,
    /// Whether an empty line stands before it, after the comments above it.
    blank: bool,
    /// Whether it, or the first comment above it, starts a line.
    pub(super) starts_line: bool,
}

/// A comment on a line of its own.
pub(super) struct Comment<'t> {
    pub(super) text: &'t str,
    /// Whether an empty line stands before it.
    pub(super) blank: bool,
}

/// A form of the grammar, or one token.
pub(super) struct Node {
    pub(super) rule: Rule,
    /// The place of its first token.
    pub(super) token: usize,
    /// Its parts; none for a token.
    pub(super) children: Vec<Node>,
}

impl Token<'_> {
    /// Whether an empty line stands before the token itself, below the comments above it.
    pub(super) fn blank_below_comments(&self) -> bool {
        self.blank && !self.above.is_empty()
    }

    /// Whether an empty line stands before the token and its comments.
    pub(super) fn blank_above(&self) -> bool {
        self.above.first().map_or(self.blank, |comment| comment.blank)
    }
}

/// Forms that are written as one word, whatever they are made of. Strings are among them: what
/// stands in their holes is the author's.
fn is_word(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::text
            | Rule::long_text
            | Rule::raw
            | Rule::raw_long
            | Rule::number
            | Rule::row_path
            | Rule::field
            | Rule::ty_name
            | Rule::use_path
    )
}

/// The bracket that a form of expressions starts with.
fn opening(rule: Rule) -> Option<Rule> {
    match rule {
        Rule::call | Rule::round => Some(Rule::open_round),
        Rule::index | Rule::list => Some(Rule::open_square),
        Rule::record => Some(Rule::open_curly),
        _ => None,
    }
}

impl<'t> Tree<'t> {
    /// The tree of the pairs of `text`.
    pub(super) fn of(pairs: Pairs<'t, Rule>, text: &'t str) -> Tree<'t> {
        let mut lifter = Lifter { text, tokens: Vec::new(), above: Vec::new(), end: 0, line: true };
        let children = pairs
            .flat_map(Pair::into_inner)
            .filter_map(|pair| lifter.lift(pair))
            .collect::<Vec<Node>>();
        let root = Node { rule: Rule::file, token: 0, children };
        Tree { root, tokens: lifter.tokens }
    }

    /// The first token of a form.
    pub(super) fn first(&self, node: &Node) -> &Token<'t> {
        &self.tokens[node.token]
    }

    /// The token after a token; the last one has none.
    pub(super) fn after(&self, node: &Node) -> Option<&Token<'t>> {
        self.tokens.get(node.token + 1)
    }
}

/// Walks the pairs in the order of the text and hands out the comments.
struct Lifter<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    /// Comments that wait for the token below them.
    above: Vec<Comment<'t>>,
    /// Where what was seen last ends.
    end: usize,
    /// Whether what comes next starts a line.
    line: bool,
}

impl<'t> Lifter<'t> {
    fn lift(&mut self, pair: Pair<'t, Rule>) -> Option<Node> {
        let (rule, span) = (pair.as_rule(), pair.as_span());
        let token = self.tokens.len();
        match rule {
            Rule::COMMENT => {
                self.comment(span.as_str().trim_end(), span.start());
                self.end = span.end();
                return None;
            }
            Rule::comma => {
                self.end = span.end();
                return None;
            }
            _ => {}
        }
        let mut children = Vec::new();
        if !is_word(rule) {
            // Calls and indices have no pair for their opening bracket, and pest drops that of
            // lists, records and parentheses.
            let mut inner = pair.into_inner().peekable();
            if let Some(open) = opening(rule) {
                self.token(span.start(), span.start() + 1);
                children.push(Node { rule: open, token, children: Vec::new() });
                inner.next_if(|inner| inner.as_rule() == open);
            }
            children.extend(inner.filter_map(|pair| self.lift(pair)));
        }
        if children.is_empty() {
            self.token(span.start(), span.end());
        }
        Some(Node { rule, token, children })
    }

    fn lines_before(&self, start: usize) -> usize {
        self.text[self.end..start].matches('\n').count()
    }

    fn comment(&mut self, text: &'t str, start: usize) {
        let lines = self.lines_before(start);
        match self.tokens.last_mut() {
            Some(token) if lines == 0 && self.above.is_empty() && token.behind.is_none() => {
                token.behind = Some(text);
            }
            _ => {
                self.line |= lines > 0;
                self.above.push(Comment { text, blank: lines > 1 });
            }
        }
    }

    fn token(&mut self, start: usize, end: usize) {
        let lines = self.lines_before(start);
        let starts_line = self.line || lines > 0;
        self.tokens.push(Token {
            text: self.text[start..end].trim_end(),
            above: std::mem::take(&mut self.above),
            behind: None,
            blank: lines > 1,
            starts_line,
        });
        self.end = end;
        self.line = false;
    }
}
