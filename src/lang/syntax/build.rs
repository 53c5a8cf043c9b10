//! Pairs to the tree: files, declarations and types. Expressions are built in [`super::expression`].

use pest::iterators::Pair;

use crate::lang::diagnostic::{Diagnostic, is_enough};
use crate::lang::source::{FileId, Span};

use super::ast::{
    Def, DefArg, Expr, FieldType, Item, ItemKind, Let, Module, Name, Output, Param, Stage, Step,
    Test, TypeExpr, TypeItem, TypeKind, Use, UsePath,
};
use super::nesting;
use super::parser::{self, Rule, parse};
use super::pieces;
use super::{MAX_DEPTH, MAX_PARTS};

/// Builds one file's tree and collects what is wrong with it.
pub(super) struct Builder<'d> {
    pub(super) file: FileId,
    /// Where the text that is being built starts in its file.
    pub(super) offset: usize,
    pub(super) found: &'d mut Vec<Diagnostic>,
    /// How deep the builder stands.
    pub(super) depth: usize,
}

/// The tree of a file. Declarations that do not parse are told and left out.
pub(crate) fn module(text: &str, file: FileId, found: &mut Vec<Diagnostic>) -> Module {
    if let Some(at) = nesting::too_deep(text) {
        found.push(parser::too_deep(Span { file, start: at as u32, end: at as u32 + 1 }));
        return Module::default();
    }
    pieces::module(text, file).unwrap_or_else(|| part(text, file, 0, found))
}

/// The tree of a part of a file, or of all of it; `offset` is where it starts there.
pub(super) fn part(text: &str, file: FileId, offset: usize, found: &mut Vec<Diagnostic>) -> Module {
    let mut module = Module::default();
    let pairs = match parse(Rule::file, text, file, offset) {
        Ok(pairs) => pairs,
        Err(diagnostic) => {
            found.push(diagnostic);
            return module;
        }
    };
    let mut builder = Builder { file, offset, found, depth: 0 };
    for pair in pairs.clone().flat_map(Pair::into_inner) {
        if pair.as_rule() == Rule::COMMENT {
            module.comments.push(builder.span(&pair));
        } else if may_hold_comment(pair.as_str()) {
            let inner = pair.into_inner().flatten();
            let comments = inner.filter(|pair| pair.as_rule() == Rule::COMMENT);
            module.comments.extend(comments.map(|pair| builder.span(&pair)));
        }
    }
    let mut pairs = pairs.flat_map(Pair::into_inner).peekable();
    while let Some(pair) = pairs.next() {
        match pair.as_rule() {
            Rule::module_doc => push_line(&mut module.doc, pair.as_str(), "//!"),
            Rule::item => {
                let start = pair.as_span().start();
                let end = start + pair.as_str().trim_end().len();
                // What goes on behind an item on its last line is a part of it that did not parse.
                let rest = pairs.next_if(|next| {
                    next.as_rule() == Rule::bad_item
                        && !text[end..next.as_span().start()].contains('\n')
                });
                match rest {
                    Some(rest) if is_enough(builder.found) => drop(rest),
                    Some(rest) => {
                        let text = &text[start..rest.as_span().end()];
                        module.broken.extend(builder.bad_item(text, start));
                    }
                    None => module.items.extend(builder.item(pair)),
                }
            }
            Rule::bad_item if is_enough(builder.found) => {}
            Rule::bad_item => {
                let start = pair.as_span().start();
                module.broken.extend(builder.bad_item(pair.as_str(), start));
            }
            _ => {}
        }
    }
    module
}

/// Whether a `//` stands in a declaration that begins no `///` line: most need not be searched.
fn may_hold_comment(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let doc = line.starts_with("///") && !line.starts_with("////");
        !doc && line.contains("//")
    })
}

/// The tree of a text that is one expression, such as a parameter's value on the command line.
pub(crate) fn lone_expression(
    text: &str,
    file: FileId,
    found: &mut Vec<Diagnostic>,
) -> Option<Expr> {
    if let Some(at) = nesting::too_deep(text) {
        found.push(parser::too_deep(Span { file, start: at as u32, end: at as u32 + 1 }));
        return None;
    }
    match parse(Rule::lone_expr, text, file, 0) {
        Ok(pairs) => {
            let mut builder = Builder { file, offset: 0, found, depth: 0 };
            let pair =
                pairs.flat_map(Pair::into_inner).find(|pair| pair.as_rule() == Rule::expr)?;
            Some(builder.expr(pair))
        }
        Err(diagnostic) => {
            found.push(diagnostic);
            None
        }
    }
}

/// Whether a text is one declaration that parses.
pub fn is_declaration(text: &str) -> bool {
    nesting::too_deep(text).is_none() && parse(Rule::lone_item, text, FileId(0), 0).is_ok()
}

/// Whether a text is a name that a declaration may have.
pub fn is_name(text: &str) -> bool {
    parse(Rule::name, text, FileId(0), 0).is_ok_and(|pairs| pairs.as_str() == text)
}

/// The parts of a pair that carry meaning: punctuation and comments are left out.
pub(super) fn parts<'i>(pair: Pair<'i, Rule>) -> impl Iterator<Item = Pair<'i, Rule>> {
    pair.into_inner().filter(|part| {
        !matches!(
            part.as_rule(),
            Rule::COMMENT
                | Rule::comma
                | Rule::colon
                | Rule::equals
                | Rule::dot
                | Rule::bar
                | Rule::arrow
                | Rule::open_round
                | Rule::close_round
                | Rule::open_square
                | Rule::close_square
                | Rule::open_curly
                | Rule::close_curly
                | Rule::quote
                | Rule::long_quote
                | Rule::use_word
                | Rule::param_word
                | Rule::let_word
                | Rule::type_word
                | Rule::def_word
                | Rule::stage_word
                | Rule::output_word
                | Rule::as_word
                | Rule::with_word
                | Rule::for_word
                | Rule::if_word
                | Rule::then_word
                | Rule::else_word
                | Rule::test_word
                | Rule::given_word
                | Rule::assert_word
                | Rule::try_word
                | Rule::accept_word
                | Rule::when_word
        )
    })
}

fn push_line(doc: &mut String, line: &str, mark: &str) {
    let line = line.trim_start_matches(mark);
    if !doc.is_empty() {
        doc.push('\n');
    }
    doc.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end());
}

impl Builder<'_> {
    pub(super) fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        Span {
            file: self.file,
            start: (self.offset + span.start()) as u32,
            end: (self.offset + span.end()) as u32,
        }
    }

    /// The span of a pair without the blanks and comments that it ends with.
    fn written(&self, pair: &Pair<'_, Rule>) -> Span {
        let whole = self.span(pair);
        // The last token is the last part of the last part.
        let mut last = pair.clone();
        while let Some(inner) =
            last.clone().into_inner().rev().find(|part| part.as_rule() != Rule::COMMENT)
        {
            last = inner;
        }
        Span { end: (self.offset + last.as_span().end()) as u32, ..whole }
    }

    pub(super) fn tell(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// Goes one level down, unless that is too deep. Every `Some` is paired with `self.depth -= 1`.
    pub(super) fn deeper(&mut self, span: Span) -> Option<()> {
        if self.depth >= MAX_DEPTH {
            self.tell(parser::too_deep(span));
            return None;
        }
        self.depth += 1;
        Some(())
    }

    /// Leaves only so many parts as anybody means to write in one place.
    pub(super) fn few<T>(&mut self, mut parts: Vec<T>, what: &str, span: Span) -> Vec<T> {
        if parts.len() > MAX_PARTS {
            self.tell(
                Diagnostic::error("E0009", format!("{} {what} in one place", parts.len()))
                    .at(span, format!("at most {MAX_PARTS}"))
                    .help("put what belongs together into a record or a list"),
            );
            parts.truncate(MAX_PARTS);
        }
        parts
    }

    pub(super) fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        Name { text: pair.as_str().to_string(), span: self.span(pair) }
    }

    /// Parses a broken declaration alone, to learn what is wrong with it. Gives the name that it
    /// was going to declare.
    fn bad_item(&mut self, text: &str, offset: usize) -> Option<String> {
        let text = text.trim_end();
        match parse(Rule::lone_item, text, self.file, self.offset + offset) {
            Err(diagnostic) => self.tell(diagnostic),
            // It parses alone, but not where it stands.
            Ok(_) => {
                let start = (self.offset + offset) as u32;
                let span = Span { file: self.file, start, end: start + 3 };
                self.tell(
                    Diagnostic::error("E0004", "this does not belong here")
                        .at(span, "not expected here")
                        .help("`//!` comments stand at the top of the file"),
                );
            }
        }
        let line = text.lines().find(|line| !line.starts_with("//"))?;
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut words =
            words.filter(|word| !word.is_empty() && !matches!(*word, "secret" | "extern"));
        match words.next()? {
            "param" | "let" | "type" | "def" | "stage" => words.next().map(str::to_string),
            _ => None,
        }
    }

    fn item(&mut self, pair: Pair<'_, Rule>) -> Option<Item> {
        let mut doc = String::new();
        for part in parts(pair) {
            let span = self.written(&part);
            let kind = match part.as_rule() {
                Rule::doc => {
                    push_line(&mut doc, part.as_str(), "///");
                    continue;
                }
                Rule::use_item => ItemKind::Use(self.use_item(part)?),
                Rule::param_item => ItemKind::Param(self.param(part)?),
                Rule::let_item => ItemKind::Let(self.binding(part)?),
                Rule::type_item => {
                    let mut parts = parts(part);
                    let name = self.name(&parts.next()?);
                    ItemKind::Type(TypeItem { name, ty: self.ty(parts.next()?) })
                }
                Rule::def_item => ItemKind::Def(self.def(part)?),
                Rule::stage_item => ItemKind::Stage(self.stage(part)?),
                Rule::output_item => {
                    let mut parts = parts(part);
                    let stage = self.name(&parts.next()?);
                    let path = parts.next().map(|text| (self.plain_text(&text), self.span(&text)));
                    ItemKind::Output(Output { stage, path })
                }
                Rule::test_item => ItemKind::Test(self.test(part)?),
                _ => continue,
            };
            return Some(Item { doc, kind, span });
        }
        None
    }

    fn use_item(&mut self, pair: Pair<'_, Rule>) -> Option<Use> {
        let mut parts = parts(pair);
        let path = parts.next()?;
        let span = self.span(&path);
        let path = match path.as_rule() {
            Rule::text => UsePath::File(self.plain_text(&path)),
            _ => UsePath::Module(path.as_str().to_string()),
        };
        Some(Use { path, span, alias: parts.next().map(|name| self.name(&name)) })
    }

    fn param(&mut self, pair: Pair<'_, Rule>) -> Option<Param> {
        let mut secret = false;
        let mut name = None;
        let mut ty = None;
        let (mut default, mut bound) = (None, None);
        let mut in_bound = false;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::secret_word => secret = true,
                Rule::name => name = Some(self.name(&part)),
                Rule::ty => ty = Some(self.ty(part)),
                Rule::where_word => in_bound = true,
                Rule::operation if in_bound => bound = Some(self.operation(part)),
                Rule::operation => default = Some(self.operation(part)),
                _ => {}
            }
        }
        Some(Param { secret, name: name?, ty: ty?, default, bound })
    }

    fn test(&mut self, pair: Pair<'_, Rule>) -> Option<Test> {
        let mut parts = parts(pair);
        let name = parts.next()?;
        let span = self.span(&name);
        let name = self.plain_text(&name);
        let mut steps = Vec::new();
        for part in parts {
            let rule = part.as_rule();
            if rule == Rule::binding {
                steps.extend(self.binding(part).map(Step::Let));
                continue;
            }
            let mut given = None;
            for part in self::parts(part) {
                match part.as_rule() {
                    Rule::name => given = Some(self.name(&part)),
                    Rule::expr => {
                        let value = self.expr(part);
                        steps.push(match given.take() {
                            Some(name) => Step::Given(name, value),
                            None => Step::Assert(value),
                        });
                    }
                    _ => {}
                }
            }
        }
        Some(Test { name, span, steps })
    }

    pub(super) fn binding(&mut self, pair: Pair<'_, Rule>) -> Option<Let> {
        let mut name = None;
        let mut ty = None;
        let mut value = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::ty => ty = Some(self.ty(part)),
                Rule::expr => value = Some(self.expr(part)),
                _ => {}
            }
        }
        Some(Let { name: name?, ty, value: value? })
    }

    fn def(&mut self, pair: Pair<'_, Rule>) -> Option<Def> {
        let mut external = false;
        let mut name = None;
        let mut args = Vec::new();
        let mut returns = None;
        let mut body = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::extern_word => external = true,
                Rule::name => name = Some(self.name(&part)),
                Rule::def_arg => args.extend(self.def_arg(part)),
                Rule::ty => returns = Some(self.ty(part)),
                Rule::block => body = self.block(part),
                _ => {}
            }
        }
        let name = name?;
        let args = self.few(args, "arguments", name.span);
        Some(Def { external, name, args, returns: returns?, body })
    }

    fn def_arg(&mut self, pair: Pair<'_, Rule>) -> Option<DefArg> {
        let mut doc = String::new();
        let mut name = None;
        let mut ty = None;
        let mut default = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::doc => push_line(&mut doc, part.as_str(), "///"),
                Rule::field_name => name = Some(self.name(&part)),
                Rule::ty => ty = Some(self.ty(part)),
                Rule::expr => default = Some(self.expr(part)),
                _ => {}
            }
        }
        Some(DefArg { doc, name: name?, ty: ty?, default })
    }

    fn block(&mut self, pair: Pair<'_, Rule>) -> Option<(Vec<Let>, Expr)> {
        let span = self.span(&pair);
        let mut bindings = Vec::new();
        let mut result = None;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::binding => bindings.extend(self.binding(part)),
                Rule::expr => result = Some(self.expr(part)),
                _ => {}
            }
        }
        Some((self.few(bindings, "bindings", span), result?))
    }

    fn stage(&mut self, pair: Pair<'_, Rule>) -> Option<Stage> {
        let mut name = None;
        let mut ty = None;
        let mut value = None;
        let mut policy = Vec::new();
        for part in parts(pair) {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::ty => ty = Some(self.ty(part)),
                Rule::expr => value = Some(self.expr(part)),
                Rule::record => policy = self.entries(part),
                _ => {}
            }
        }
        Some(Stage { name: name?, ty, value: value?, policy })
    }

    /// A type. Brackets were counted before; `a -> b -> …` and `T????` are counted here.
    fn ty(&mut self, pair: Pair<'_, Rule>) -> TypeExpr {
        let span = self.span(&pair);
        if self.deeper(span).is_none() {
            return TypeExpr { kind: TypeKind::Record(Vec::new()), span };
        }
        let mut result: Option<TypeExpr> = None;
        let mut marks = 0;
        for part in parts(pair) {
            match part.as_rule() {
                Rule::question => {
                    // `T??` says no more than `T?`.
                    marks += 1;
                    if marks == 1
                        && let Some(of) = result.take()
                    {
                        result = Some(TypeExpr { kind: TypeKind::Optional(Box::new(of)), span });
                    }
                }
                Rule::ty => {
                    let to = self.ty(part);
                    if let Some(from) = result.take() {
                        let kind = TypeKind::Function(Box::new(from), Box::new(to));
                        result = Some(TypeExpr { kind, span });
                    }
                }
                _ => result = Some(self.ty_operand(part)),
            }
        }
        self.depth -= 1;
        result.unwrap_or(TypeExpr { kind: TypeKind::Record(Vec::new()), span })
    }

    fn ty_operand(&mut self, pair: Pair<'_, Rule>) -> TypeExpr {
        let span = self.span(&pair);
        let nothing = TypeExpr { kind: TypeKind::Record(Vec::new()), span };
        let kind = match pair.as_rule() {
            Rule::ty_round => {
                return parts(pair).next().map_or(nothing, |inner| self.ty(inner));
            }
            Rule::ty_list => match parts(pair).next() {
                Some(item) => TypeKind::List(Box::new(self.ty(item))),
                None => return nothing,
            },
            Rule::ty_record => {
                let mut fields = Vec::new();
                for field in parts(pair) {
                    let mut doc = String::new();
                    let mut name = None;
                    for part in parts(field) {
                        match (part.as_rule(), &name) {
                            (Rule::doc, _) => push_line(&mut doc, part.as_str(), "///"),
                            (Rule::ty, Some(_)) => {
                                let ty = self.ty(part);
                                let doc = std::mem::take(&mut doc);
                                fields.extend(name.take().map(|name| FieldType { doc, name, ty }));
                            }
                            _ => name = Some(self.name(&part)),
                        }
                    }
                }
                TypeKind::Record(fields)
            }
            Rule::ty_enum => {
                let words = parts(pair).map(|word| self.plain_text(&word)).collect();
                TypeKind::Enum(self.few(words, "words", span))
            }
            _ => {
                let mut names: Vec<Name> = parts(pair).map(|part| self.name(&part)).collect();
                match (names.pop(), names.pop()) {
                    (Some(name), module) => TypeKind::Name(module, name),
                    (None, _) => return nothing,
                }
            }
        };
        TypeExpr { kind, span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_kept_by_place() {
        let text = "//! doc\n// a\nstage x = [ // b\n  \"// no\", {n: 1 // c\n}.n\n] //// d\n/// doc\n\
                    let y = f(a: 1) // e";
        let mut found = Vec::new();
        let module = module(text, FileId(0), &mut found);
        assert_eq!(found, []);
        let comments: Vec<&str> = module
            .comments
            .iter()
            .map(|span| &text[span.start as usize..span.end as usize])
            .collect();
        assert_eq!(comments, ["// a", "// b", "// c", "//// d", "// e"]);
        assert_eq!((module.items.len(), module.doc.as_str()), (2, "doc"));
        assert_eq!(module.items[1].doc, "doc");
    }
}
