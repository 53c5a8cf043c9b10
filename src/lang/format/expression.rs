//! Where expressions may break over lines.

use crate::lang::syntax::Rule;

use super::bracket::Bracket;
use super::document::{Doc, Phrase};
use super::layout::Layout;
use super::tree::Node;

/// How tight an operator binds, loosest first, as the parser has it.
fn level(sign: &str) -> u8 {
    match sign {
        "or" => 1,
        "and" => 2,
        "==" | "!=" | "<=" | ">=" | "<" | ">" | "in" => 4,
        "..=" | ".." => RANGE,
        "+" | "-" => 6,
        _ => 7,
    }
}

const RANGE: u8 = 5;

impl<'t> Layout<'_, 't> {
    pub(super) fn expression(self, node: &Node) -> Doc<'t> {
        match node.rule {
            Rule::expr => self.filter(&node.children),
            Rule::operation => self.operation(&node.children),
            Rule::operand => Doc::parts(node.children.iter().map(|part| self.doc(part)).collect()),
            Rule::call => self.listed(node, Bracket::list()),
            Rule::list if node.children.iter().all(is_number_or_bracket) => {
                self.listed(node, Bracket::numbers())
            }
            Rule::list => self.listed(node, Bracket::list()),
            Rule::record => self.listed(node, Bracket::record()),
            Rule::if_expr => self.choice(&node.children),
            Rule::for_expr => self.rows(&node.children),
            Rule::try_expr => self.attempts(&node.children),
            _ => self.sole(node),
        }
    }

    /// `rows where test where test`
    fn filter(self, nodes: &[Node]) -> Doc<'t> {
        let [first, clauses @ ..] = nodes else {
            return Doc::nothing();
        };
        let mut parts = vec![self.doc(first)];
        parts.extend(clauses.chunks(2).map(|clause| self.clause(&clause[0], clause.get(1))));
        if parts.len() == 1 { parts.remove(0) } else { Doc::parts(parts).group() }
    }

    /// Operands and operators in a row. The loosest operators break together; what they join stands
    /// on one line as long as it fits.
    fn operation(self, nodes: &[Node]) -> Doc<'t> {
        let sign =
            |node: &Node| (node.rule == Rule::infix).then(|| level(self.tree.first(node).text));
        let Some(loosest) = nodes.iter().filter_map(sign).min() else {
            return self.prefixed(nodes);
        };
        let mut segments = nodes.split_inclusive(|node| sign(node) == Some(loosest));
        let mut phrase = Phrase::default();
        let mut rest = Vec::new();
        let mut infix: Option<&Node> = None;
        for segment in segments.by_ref() {
            let (segment, next) = match segment {
                [segment @ .., last] if sign(last) == Some(loosest) => (segment, Some(last)),
                all => (all, None),
            };
            let operand = self.operation(segment);
            match infix.take() {
                None => phrase.tight(operand),
                Some(infix) if loosest == RANGE => {
                    phrase.tight(self.doc(infix));
                    phrase.tight(operand);
                }
                Some(infix) => {
                    let mut line = Phrase::default();
                    line.spaced(self.doc(infix));
                    line.spaced(operand);
                    rest.push(Doc::line());
                    rest.push(line.doc());
                }
            }
            infix = next;
        }
        phrase.below(Doc::parts(rest).nest());
        phrase.doc().group()
    }

    /// `not -x`
    fn prefixed(self, nodes: &[Node]) -> Doc<'t> {
        let mut phrase = Phrase::default();
        let mut touches = false;
        for node in nodes {
            if touches {
                phrase.tight(self.doc(node));
            } else {
                phrase.spaced(self.doc(node));
            }
            touches = node.rule == Rule::prefix && self.tree.first(node).text == "-";
        }
        phrase.doc()
    }

    /// `if a then b else c`: on one line, else each branch on its own.
    fn choice(self, nodes: &[Node]) -> Doc<'t> {
        let [if_word, test, then_word, yes, else_word, no] = nodes else {
            return self.phrase(nodes);
        };
        let mut phrase = Phrase::default();
        phrase.spaced(self.doc(if_word));
        phrase.spaced(self.doc(test));
        phrase.below(self.clause(then_word, Some(yes)));
        self.otherwise(&mut phrase, else_word, no);
        phrase.doc().group()
    }

    /// The branches after the first one: `else if` stays together, and keeps its `then` where that
    /// fits.
    fn otherwise(self, phrase: &mut Phrase<'t>, else_word: &Node, no: &Node) {
        let Some([if_word, test, then_word, yes, next_word, next]) = lone_choice(no) else {
            phrase.below(self.clause(else_word, Some(no)));
            return;
        };
        let mut branch = Phrase::default();
        branch.spaced(self.doc(else_word));
        branch.spaced(self.doc(if_word));
        branch.spaced(self.doc(test));
        branch.below(self.clause(then_word, Some(yes)));
        phrase.below(Doc::parts(vec![Doc::line(), branch.doc().group()]).nest());
        self.otherwise(phrase, next_word, next);
    }

    /// `for a in xs, b in ys where test { body }`: the head on one line, else each part of it on its
    /// own, with the opening bracket below them. A head of one part breaks inside of it.
    fn rows(self, nodes: &[Node]) -> Doc<'t> {
        let [head @ .., open, body, close] = nodes else {
            return self.phrase(nodes);
        };
        let mut phrase = Phrase::default();
        let mut parts = 0;
        let mut head = head.iter();
        while let Some(node) = head.next() {
            match node.rule {
                Rule::generator => {
                    parts += 1;
                    if parts == 1 {
                        phrase.spaced(self.doc(node));
                    } else {
                        phrase.tight(Doc::text(","));
                        phrase.below(Doc::parts(vec![Doc::line(), self.doc(node)]).nest());
                    }
                }
                Rule::where_word => {
                    parts += 1;
                    phrase.below(self.clause(node, head.next()));
                }
                _ => phrase.spaced(self.doc(node)),
            }
        }
        let head = if parts > 1 {
            phrase.below(Doc::parts(vec![Doc::line(), self.word(open)]));
            phrase.doc().group()
        } else {
            phrase.spaced(self.word(open));
            phrase.doc()
        };
        let body = vec![self.item(body)];
        Doc::parts(vec![head, self.bracket(self.opened(open), body, close, Bracket::body())])
    }

    /// `try 4 with feedback { … }`
    fn attempts(self, nodes: &[Node]) -> Doc<'t> {
        let mut phrase = Phrase::default();
        let at = nodes.iter().position(|node| node.rule == Rule::open_curly);
        let (head, block) = nodes.split_at(at.unwrap_or(nodes.len()));
        for node in head {
            phrase.spaced(self.doc(node));
        }
        if let [open, steps @ .., close] = block {
            let steps = steps.iter().map(|step| self.item(step)).collect();
            phrase.spaced(self.bracket(self.open(open), steps, close, Bracket::steps()));
        }
        phrase.doc()
    }
}

/// The parts of an `if` that is all of an operation.
fn lone_choice(node: &Node) -> Option<&[Node]> {
    match (node.rule, node.children.as_slice()) {
        (Rule::if_expr, nodes) => Some(nodes),
        (Rule::operation | Rule::operand, [only]) => lone_choice(only),
        _ => None,
    }
}

fn is_number_or_bracket(node: &Node) -> bool {
    match (node.rule, node.children.as_slice()) {
        (Rule::number | Rule::open_square | Rule::close_square, _) => true,
        (Rule::expr | Rule::operand, [only]) => is_number_or_bracket(only),
        (Rule::operation, [rest @ .., last]) => {
            rest.iter().all(|node| node.rule == Rule::prefix) && is_number_or_bracket(last)
        }
        _ => false,
    }
}
