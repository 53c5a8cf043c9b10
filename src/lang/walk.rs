//! Ways through an expression: its children, a rewriting from the leaves up, its size.
//!
//! All of them recurse; trees are at most [`MAX_TREE`] deep, which the checker sees to.

use std::collections::BTreeSet;

use smallvec::{SmallVec, smallvec};

use super::program::{Call, Expr, ExprKind, For, Function, Try};
use super::value::Value;

/// How deep a checked expression may be, with everything that was written out in it.
pub(crate) const MAX_TREE: usize = 512;

impl Expr {
    /// The expressions directly in this one, in the order in which they are evaluated.
    pub fn children(&self) -> SmallVec<[&Expr; 4]> {
        match &self.kind {
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Local(_) | ExprKind::Stage(_) => {
                SmallVec::new()
            }
            ExprKind::Field(of, _)
            | ExprKind::Unary(_, of)
            | ExprKind::Source(_, of)
            | ExprKind::Length(of) => smallvec![&**of],
            ExprKind::Template(template, args) => {
                std::iter::once(&**template).chain(args.iter().map(|(_, arg)| arg)).collect()
            }
            ExprKind::Index(a, b) | ExprKind::Binary(_, a, b) => smallvec![&**a, &**b],
            ExprKind::List(items) | ExprKind::Text(items) => items.iter().collect(),
            ExprKind::Record(fields) | ExprKind::Builtin(_, fields) => {
                fields.iter().map(|(_, field)| field).collect()
            }
            ExprKind::If(test, yes, no) => smallvec![&**test, &**yes, &**no],
            ExprKind::Range { from, to, .. } => smallvec![&**from, &**to],
            ExprKind::Filter(rows, test) => smallvec![&**rows, &test.body],
            ExprKind::Function(function) => smallvec![&function.body],
            ExprKind::Call(call) => call.args.iter().map(|(_, arg)| arg).collect(),
            ExprKind::For(each) => each
                .generators
                .iter()
                .map(|(_, rows)| rows)
                .chain(each.condition.as_deref())
                .chain([&*each.body])
                .collect(),
            ExprKind::Block(bindings, result) => {
                bindings.iter().map(|(_, value)| value).chain([&**result]).collect()
            }
            ExprKind::Try(tried) => std::iter::once(&*tried.attempts)
                .chain(tried.bindings.iter().map(|(_, value)| value))
                .chain(tried.when.as_deref())
                .chain([&*tried.accepted])
                .chain(tried.next.as_deref())
                .collect(),
        }
    }

    /// The expression with `change` applied to each of its direct children.
    pub fn map_children(self, change: &mut dyn FnMut(Expr) -> Expr) -> Expr {
        let mut boxed = |of: Box<Expr>| Box::new(change(*of));
        let kind = match self.kind {
            ExprKind::Field(of, name) => ExprKind::Field(boxed(of), name),
            ExprKind::Unary(op, of) => ExprKind::Unary(op, boxed(of)),
            ExprKind::Source(kind, of) => ExprKind::Source(kind, boxed(of)),
            ExprKind::Length(of) => ExprKind::Length(boxed(of)),
            ExprKind::Template(template, args) => {
                let template = boxed(template);
                ExprKind::Template(template, each_value(args, change))
            }
            ExprKind::Index(of, index) => ExprKind::Index(boxed(of), boxed(index)),
            ExprKind::Binary(op, a, b) => ExprKind::Binary(op, boxed(a), boxed(b)),
            ExprKind::If(test, yes, no) => ExprKind::If(boxed(test), boxed(yes), boxed(no)),
            ExprKind::Range { from, to, inclusive } => {
                ExprKind::Range { from: boxed(from), to: boxed(to), inclusive }
            }
            ExprKind::List(items) => ExprKind::List(items.into_iter().map(change).collect()),
            ExprKind::Text(items) => ExprKind::Text(items.into_iter().map(change).collect()),
            ExprKind::Record(fields) => ExprKind::Record(each_value(fields, change)),
            ExprKind::Builtin(name, fields) => ExprKind::Builtin(name, each_value(fields, change)),
            ExprKind::Filter(rows, test) => {
                let rows = boxed(rows);
                let body = change(test.body);
                ExprKind::Filter(rows, Box::new(Function { param: test.param, body }))
            }
            ExprKind::Function(function) => {
                let body = change(function.body);
                ExprKind::Function(Box::new(Function { param: function.param, body }))
            }
            ExprKind::Call(call) => {
                ExprKind::Call(Call { args: each_value(call.args, change), ..call })
            }
            ExprKind::For(each) => {
                let generators = each_value(each.generators, change);
                let condition = each.condition.map(|condition| Box::new(change(*condition)));
                let body = Box::new(change(*each.body));
                ExprKind::For(For { generators, condition, body })
            }
            ExprKind::Block(bindings, result) => {
                let bindings = each_value(bindings, change);
                ExprKind::Block(bindings, Box::new(change(*result)))
            }
            ExprKind::Try(tried) => {
                let attempts = boxed(tried.attempts);
                let bindings = each_value(tried.bindings, change);
                let mut boxed = |of: Box<Expr>| Box::new(change(*of));
                ExprKind::Try(Try {
                    attempts,
                    feedback: tried.feedback,
                    bindings,
                    when: tried.when.map(&mut boxed),
                    accepted: boxed(tried.accepted),
                    next: tried.next.map(&mut boxed),
                })
            }
            leaf => leaf,
        };
        Expr { kind, ..self }
    }

    /// Whether `is` holds for the expression or anything in it.
    pub fn any(&self, is: &dyn Fn(&Expr) -> bool) -> bool {
        is(self) || self.children().into_iter().any(|child| child.any(is))
    }

    /// How many expressions and values it is made of, and how deep it is; both stop counting a
    /// little above the limits that anybody asks about.
    pub(crate) fn size(&self) -> Size {
        let mut size = Size { nodes: 1, depth: 1 };
        if let ExprKind::Const(value) = &self.kind {
            size = value_size(value);
        }
        for child in self.children() {
            size.hold(child.size());
        }
        size
    }

    /// Whether some [`ExprKind::Local`] in it is bound outside of it.
    pub fn has_free_locals(&self) -> bool {
        fn free(expr: &Expr, bound: &mut Vec<String>) -> bool {
            let depth = bound.len();
            let found = match &expr.kind {
                ExprKind::Local(name) => !bound.contains(name),
                ExprKind::Filter(rows, test) => {
                    free(rows, bound) || {
                        bound.push(test.param.clone());
                        free(&test.body, bound)
                    }
                }
                ExprKind::Function(function) => {
                    bound.push(function.param.clone());
                    free(&function.body, bound)
                }
                ExprKind::For(each) => {
                    each.generators.iter().any(|(name, rows)| {
                        let found = free(rows, bound);
                        bound.push(name.clone());
                        found
                    }) || each.condition.as_ref().is_some_and(|test| free(test, bound))
                        || free(&each.body, bound)
                }
                ExprKind::Block(bindings, result) => {
                    bindings.iter().any(|(name, value)| {
                        let found = free(value, bound);
                        bound.push(name.clone());
                        found
                    }) || free(result, bound)
                }
                ExprKind::Try(tried) => {
                    free(&tried.attempts, bound) || {
                        bound.extend(tried.feedback.clone());
                        let found = tried.bindings.iter().any(|(name, value)| {
                            let found = free(value, bound);
                            bound.push(name.clone());
                            found
                        });
                        found
                            || free(&tried.accepted, bound)
                            || tried.when.as_ref().is_some_and(|when| free(when, bound))
                            || tried.next.as_ref().is_some_and(|next| free(next, bound))
                    }
                }
                _ => expr.children().into_iter().any(|child| free(child, bound)),
            };
            bound.truncate(depth);
            found
        }
        free(self, &mut Vec::new())
    }
}

/// The stages that an expression reads, each once, sorted by name: every [`ExprKind::Stage`] in it.
pub fn references(expr: &Expr) -> Vec<String> {
    fn collect(expr: &Expr, names: &mut BTreeSet<String>) {
        if let ExprKind::Stage(name) = &expr.kind {
            names.insert(name.clone());
        }
        expr.children().into_iter().for_each(|child| collect(child, names));
    }
    let mut names = BTreeSet::new();
    collect(expr, &mut names);
    names.into_iter().collect()
}

fn each_value(
    fields: Vec<(String, Expr)>,
    change: &mut dyn FnMut(Expr) -> Expr,
) -> Vec<(String, Expr)> {
    fields.into_iter().map(|(name, field)| (name, change(field))).collect()
}

/// How large a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) depth: usize,
}

impl Size {
    fn hold(&mut self, child: Size) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.depth = self.depth.max(child.depth + 1);
    }
}

/// How large a value is.
pub(crate) fn value_size(value: &Value) -> Size {
    let mut size = Size { nodes: 1, depth: 1 };
    match value {
        Value::List(items) => items.iter().for_each(|item| size.hold(value_size(item))),
        Value::Record(fields) => fields.values().for_each(|field| size.hold(value_size(field))),
        // Long texts count by their length, so that sizes stand for memory.
        Value::Str(text) => size.nodes += text.len() / 64,
        _ => {}
    }
    size
}
