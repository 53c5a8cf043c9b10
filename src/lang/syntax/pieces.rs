//! A long file is parsed in pieces, several at a time.
//!
//! The grammar's parser keeps every token that it meets until the tree is built, and there is one of
//! it. So a long text is cut where a line begins with the first word of a declaration, outside of all
//! brackets and strings: no declaration that ends before such a line goes on behind it. If anything
//! in any piece is not right, whatever it is, the whole is parsed as one, and says what it always did.

use crate::lang::source::FileId;
use crate::lang::stack::roomy_each;

use super::ast::Module;
use super::build::part;
use super::nesting::outer_lines;

/// Texts with fewer bytes are not cut.
const LONG: usize = 64 << 10;
/// Bytes of a piece, about: its tokens stay where the processor has them at hand, and the next piece
/// takes their place.
const PIECE: usize = 8 << 10;

/// The words that begin a declaration without a word in front.
const FIRST_WORDS: &[&str] =
    &["use", "param", "let", "type", "def", "stage", "output", "test", "secret", "extern"];

/// The tree of a text that nests nowhere too deep, if it is long and all of it is right.
pub(super) fn module(text: &str, file: FileId) -> Option<Module> {
    if text.len() < LONG { None } else { in_pieces(text, file, PIECE) }
}

fn in_pieces(text: &str, file: FileId, size: usize) -> Option<Module> {
    let cuts = cuts(text, size);
    let ends = cuts.iter().copied().skip(1).chain([text.len()]);
    let pieces: Vec<(usize, &str)> =
        cuts.iter().zip(ends).map(|(start, end)| (*start, &text[*start..end])).collect();
    let modules = roomy_each(&pieces, |(offset, piece)| {
        let mut found = Vec::new();
        let module = part(piece, file, *offset, &mut found);
        found.is_empty().then_some(module)
    })?;
    let mut whole = Module::default();
    for (number, module) in modules.into_iter().enumerate() {
        let module = module?;
        if number == 0 {
            whole.doc = module.doc;
        }
        whole.items.extend(module.items);
        whole.comments.extend(module.comments);
    }
    Some(whole)
}

/// Where the pieces begin.
fn cuts(text: &str, size: usize) -> Vec<usize> {
    let mut cuts = vec![0];
    let mut last = 0;
    for line in outer_lines(text) {
        if line - last >= size && begins_declaration(&text[line..]) && !follows_comment(text, line)
        {
            cuts.push(line);
            last = line;
        }
    }
    cuts
}

fn begins_declaration(text: &str) -> bool {
    FIRST_WORDS
        .iter()
        .any(|word| text.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t'])))
}

/// Whether a comment comes last before it: it may belong to what comes.
fn follows_comment(text: &str, line: usize) -> bool {
    let before = text[..line].trim_end().lines().next_back().unwrap_or_default();
    before.trim_start().starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Declarations and what else stands between them, some of it wrong.
    const LINES: &[&str] = &[
        "stage a = [1, 2]\n",
        "stage b =\n",
        "  a\n",
        "stage + 1\n",
        "let x = \"\"\"\nstage c = 1\n\"\"\"\n",
        "output a as \"a.json\"\n",
        "output a\n",
        "as \"b\"\n",
        "/// What it is.\n",
        "//! Of the file.\n",
        "// A remark.\n",
        "\n",
        "def f(n: int) -> int {\n  let y = n // one\n  y\n}\n",
        "extern\n",
        "def g(n: int) -> int\n",
        "secret param key: str\n",
        "param n: int = -\n",
        "5 where n > 0\n",
        "let = 4\n",
        "stage é = { a: \"{b\nuse std/exec\n",
        "}\n",
        "\"\n",
    ];

    /// Whether the pieces gave a tree. It is that of the whole then.
    fn given(text: &str, size: usize) -> bool {
        let file = FileId(0);
        let Some(pieced) = in_pieces(text, file, size) else {
            return false;
        };
        let mut found = Vec::new();
        let whole = part(text, file, 0, &mut found);
        assert!(found.is_empty(), "{text}");
        assert_eq!(format!("{pieced:?}"), format!("{whole:?}"), "{text}");
        true
    }

    proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(
            lines in prop::collection::vec(prop::sample::select(LINES), 0..30),
            size in 1usize..60,
        ) {
            given(&lines.concat(), size);
        }

        #[test]
        fn so_do_those_of_right_texts(
            lines in prop::collection::vec(
                prop::sample::select(
                    [0, 4, 5, 8, 10, 11, 12, 14, 15].map(|number| LINES[number]).to_vec(),
                ),
                0..60,
            ),
            size in 1usize..60,
        ) {
            // With something for a `///` at the end to belong to.
            prop_assert!(given(&(lines.concat() + "let last = 1\n"), size));
        }
    }
}
