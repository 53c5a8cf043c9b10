//! The parser that pest makes of the grammar, and its errors in words.

use std::collections::BTreeSet;

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};
use pest::iterators::Pairs;

use crate::lang::diagnostic::Diagnostic;
use crate::lang::source::{FileId, Span};

#[derive(pest_derive::Parser)]
#[grammar = "grammar/claw.pest"]
struct Grammar;

/// Parses `text` by one rule. `offset` is where the text starts in its file.
pub(super) fn parse(
    rule: Rule,
    text: &str,
    file: FileId,
    offset: usize,
) -> Result<Pairs<'_, Rule>, Diagnostic> {
    Grammar::parse(rule, text).map_err(|err| in_words(&err, text, file, offset))
}

/// How a rule reads in "expected …"; `None` for what nobody misses.
///
/// The match names every rule, so that a new rule of the grammar does not compile until somebody
/// decides how it reads.
fn symbol(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::file | Rule::lone_item | Rule::lone_expr => return None,
        Rule::module_doc | Rule::doc | Rule::COMMENT | Rule::bad_item | Rule::doc_line => {
            return None;
        }
        Rule::EOI => "the end",
        Rule::item
        | Rule::item_start
        | Rule::use_item
        | Rule::param_item
        | Rule::let_item
        | Rule::type_item
        | Rule::def_item
        | Rule::stage_item
        | Rule::output_item
        | Rule::test_item
        | Rule::use_word
        | Rule::param_word
        | Rule::secret_word
        | Rule::type_word
        | Rule::def_word
        | Rule::extern_word
        | Rule::stage_word
        | Rule::output_word
        | Rule::test_word => {
            "a declaration (`use`, `param`, `let`, `type`, `def`, `stage`, `output`, `test`)"
        }
        Rule::let_word | Rule::binding => "`let`",
        Rule::given | Rule::given_word => "`given`",
        Rule::assertion | Rule::assert_word => "`assert`",
        Rule::accept | Rule::accept_word => "`accept`",
        Rule::feedback => "`feedback = …`",
        Rule::when_word => "`when`",
        Rule::use_path | Rule::use_part => "a module such as `std/persona`",
        Rule::def_arg => "an argument such as `count: int`",
        Rule::block => "`{ … }`",
        Rule::ty
        | Rule::ty_operand
        | Rule::ty_list
        | Rule::ty_record
        | Rule::ty_enum
        | Rule::ty_round
        | Rule::ty_name => "a type",
        Rule::ty_field => "a field such as `name: str`",
        Rule::expr
        | Rule::operation
        | Rule::operand
        | Rule::primary
        | Rule::prefix
        | Rule::if_expr
        | Rule::for_expr
        | Rule::try_expr
        | Rule::try_word
        | Rule::round
        | Rule::list
        | Rule::record
        | Rule::row_path
        | Rule::raw_long
        | Rule::raw
        | Rule::long_text
        | Rule::number
        | Rule::digits
        | Rule::exponent
        | Rule::unit
        | Rule::true_word
        | Rule::false_word
        | Rule::null_word
        | Rule::for_word
        | Rule::if_word => "an expression",
        Rule::text => "a string",
        Rule::infix => "an operator",
        Rule::in_word => "`in`",
        // After an operand these are always possible and never what was forgotten.
        Rule::call | Rule::index | Rule::field | Rule::question | Rule::hole => return None,
        Rule::dot => "`.`",
        Rule::arg => "an argument",
        Rule::generator => "`name in rows`",
        Rule::entry => "a field such as `name: value`",
        Rule::quote | Rule::chunk | Rule::escape | Rule::braces | Rule::stray => "`\"`",
        Rule::long_quote | Rule::long_chunk => "`\"\"\"`",
        Rule::word | Rule::name | Rule::field_name => "a name",
        Rule::reserved | Rule::end | Rule::WHITESPACE => return None,
        Rule::as_word => "`as`",
        Rule::with_word => "`with`",
        Rule::where_word => "`where`",
        Rule::then_word => "`then`",
        Rule::else_word => "`else`",
        Rule::equals => "`=`",
        Rule::colon => "`:`",
        Rule::comma => "`,`",
        Rule::bar => "`|`",
        Rule::arrow => "`->`",
        Rule::open_round => "`(`",
        Rule::close_round => "`)`",
        Rule::open_square => "`[`",
        Rule::close_square => "`]`",
        Rule::open_curly => "`{`",
        Rule::close_curly => "`}`",
    })
}

fn in_words(err: &Error<Rule>, text: &str, file: FileId, offset: usize) -> Diagnostic {
    let at = match err.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at.min(text.len()),
    };
    let found = token(&text[at..]);
    let span = Span { file, start: (offset + at) as u32, end: (offset + at + found.len()) as u32 };
    let ErrorVariant::ParsingError { positives, .. } = &err.variant else {
        return too_deep(span);
    };
    let mut expected: BTreeSet<&str> = positives.iter().filter_map(|rule| symbol(*rule)).collect();
    // What may always go on is only worth telling when nothing else was possible.
    if expected.contains("`\"`") {
        expected.remove("`{`");
    }
    let may_end = expected.remove("the end");
    for possible in
        ["`(`", "`[`", "`.`", "`as`", "`with`", "`where`", "`in`", "an operator", "`|`", "`->`"]
    {
        if expected.len() > 1 || may_end {
            expected.remove(possible);
        }
    }
    let expected: Vec<&str> = expected.into_iter().collect();
    let expected = match expected.as_slice() {
        [] => None,
        [one] => Some((*one).to_string()),
        [most @ .., last] => Some(format!("{} or {last}", most.join(", "))),
    };
    let (found_text, place) = match found {
        "" if at < text.len() => {
            ("the end of the line".to_string(), "something is missing here".to_string())
        }
        "" => ("the end of the declaration".to_string(), "something is missing here".to_string()),
        found => match found.chars().next() {
            Some(c) if c.is_control() || c == '\u{feff}' => {
                let place = "remove this character".to_string();
                (format!("the invisible character U+{:04X}", u32::from(c)), place)
            }
            _ => (format!("`{found}`"), "not expected here".to_string()),
        },
    };
    let message = match expected {
        Some(expected) => format!("expected {expected}, found {found_text}"),
        None => format!("{found_text} does not belong here"),
    };
    Diagnostic::error("E0004", message).at(span, place).maybe_help(habit(found, &text[..at]))
}

/// What people write who come from other languages, and how it is written here.
fn habit(found: &str, before: &str) -> Option<String> {
    let line = before.rsplit('\n').next().unwrap_or("");
    Some(
        match found {
            "&&" => "write `and`",
            "||" => "write `or`",
            "!" => "write `not`",
            ";" => "declarations end by themselves: leave the `;` out",
            "'" => "strings stand in double quotes",
            "#" => "comments start with `//`",
            "=" => "arguments and fields are written `name: value`",
            "=>" => "a function's result is written after `->`",
            "///" => "a `///` comment stands above what it describes; elsewhere write `//`",
            "//!" => "`//!` comments stand at the top of the file",
            "def" | "stage" | "output" | "param" | "use" | "type" if line.trim().is_empty() => {
                "is a bracket above still open?"
            }
            "test" => "`test` blocks are not part of this version of the language",
            "try" => "`try` is not part of this version of the language",
            "" if line.contains('"') => "is a string still open?",
            "" => "is a bracket still open?",
            _ => return None,
        }
        .to_string(),
    )
}

/// The message for what nests deeper than anything here walks.
pub(super) fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error("E0005", "this nests too deep")
        .at(span, format!("more than {} levels", super::MAX_DEPTH))
        .help("give parts of it names with `let` or as stages of their own")
}

/// The word or sign that a text starts with.
fn token(text: &str) -> &str {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let Some(first) = text.chars().next() else {
        return "";
    };
    let length = if word(first) {
        text.find(|c| !word(c)).unwrap_or(text.len())
    } else {
        let signs =
            ["//!", "///", "..=", "&&", "||", "=>", "->", "==", "!=", "<=", ">=", "..", "\"\"\""];
        signs
            .iter()
            .find(|sign| text.starts_with(**sign))
            .map_or(first.len_utf8(), |sign| sign.len())
    };
    let token = &text[..length];
    if token == "\n" || token == "\r" { "" } else { token }
}
