//! Random programs that mean something, as words, and random layouts of them.
//!
//! A program is drawn from a list of dice, one decision a die, so that a failing one shrinks by
//! taking dice away. Every word may be followed by any blanks, line breaks and comments, unless it
//! must touch the next one.

use proptest::prelude::*;

use super::writer::Writer;

/// Words that programs are made of, and some that they are not.
#[rustfmt::skip]
pub const SOUP: &[&str] = &[
    "stage", "param", "let", "def", "type", "use", "output", "test", "given", "assert", "try", "accept", "when",
    "a", "b", "=", ":", "(", ")", "[", "]", "{", "}", "for", "in", "where", "if", "then", "else", "1", "2.5", "20%",
    "5s", "\"x\"", "\"{", "}\"", ".f", "..", "..=", "+", "-", "*", "/", "%", "==", "<", "and", "not", "int", "str",
    "->", "?", ",", "\n", "// c\n", "/// d\n", "//! m\n", "std/rows", "take(", "dedup", "with", "as", "null", "true",
    "extern", "secret", "\"\"\"", "r\"", "stage x =", "let y = [", "]\n", ")\n", "}\n", "f(a: 1", "let z = 1\n",
];

/// A word, and how it stands to the one before it.
#[derive(Debug, Clone)]
pub struct Word {
    pub text: String,
    /// It touches the word before it: `f(`, `x[`, `.n`.
    pub glued: bool,
}

/// A program and its layout.
#[derive(Debug, Clone)]
pub struct Program {
    words: Vec<Word>,
    /// What stands before each word, and after the last one.
    gaps: Vec<String>,
    comments: Vec<String>,
}

/// Draws a program.
pub fn program() -> impl Strategy<Value = Program> {
    let dice = || proptest::collection::vec(any::<u32>(), 20..500);
    (dice(), dice()).prop_map(|(words, layout)| Program::drawn(words, &layout))
}

impl Program {
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (place, gap) in self.gaps.iter().enumerate() {
            text.push_str(gap);
            text.extend(self.words.get(place).map(|word| word.text.as_str()));
        }
        text
    }

    /// Its comments in order, documentation included.
    pub fn comments(&self) -> &[String] {
        &self.comments
    }

    fn drawn(dice: Vec<u32>, layout: &[u32]) -> Program {
        let words = Writer::write(dice);
        let mut layout = layout.iter().copied().cycle();
        // Some programs have no comment, some have one at every other place.
        let comments_in = [0, 1, 4, 12][layout.next().unwrap_or(0) as usize % 4];
        let mut drawn = Program { words: Vec::new(), gaps: Vec::new(), comments: Vec::new() };
        for (place, word) in words.iter().enumerate() {
            let before = place.checked_sub(1).map(|place| words[place].text.as_str());
            let die = layout.next().unwrap_or(0);
            let gap = match before {
                _ if word.glued => String::new(),
                _ => drawn.gap(before, Some(&word.text), die, comments_in),
            };
            drawn.gaps.push(gap);
            if word.text.starts_with("//") {
                drawn.comments.push(word.text.trim_end().to_string());
            }
        }
        let last = words.last().map(|word| word.text.as_str());
        let gap = drawn.gap(last, None, layout.next().unwrap_or(0), comments_in);
        drawn.gaps.push(gap);
        drawn.words = words;
        drawn
    }

    fn gap(
        &mut self,
        before: Option<&str>,
        after: Option<&str>,
        die: u32,
        comments_in: u32,
    ) -> String {
        let mut gap = String::new();
        // Documentation takes all of its line.
        if before.is_some_and(|before| before.starts_with("//")) {
            gap.push('\n');
        }
        if die % 24 < comments_in {
            for more in 0..=(die / 24 % 2) {
                let number = self.comments.len();
                let comment = match die / 48 % 4 {
                    0 => format!("//{number}"),
                    1 => format!("// \"{number}, é {{ ("),
                    2 => format!("//// {number}"),
                    _ => format!("// c{number}"),
                };
                let start = [" ", "\n  ", "\n\n", "\n\n\n\t"][((die / 192 + more) % 4) as usize];
                let end = ["\n", "\r\n", "\n\n\n", "\t\n   "][(die / 768 % 4) as usize];
                gap.push_str(&format!("{start}{comment}{end}"));
                self.comments.push(comment);
            }
            return gap;
        }
        gap.push_str(match die / 24 % 12 {
            0 => "\n",
            1 => "\n\n",
            2 => "\r\n\t",
            3 => "\n \n\n\n    ",
            4 => "   ",
            5..8 => "",
            _ => " ",
        });
        let opens = |text: &str| text.ends_with(['(', '[', '{', ',', ':']);
        let closes = |text: &str| text.starts_with([')', ']', '}', ',', ':']);
        let free = before.is_none_or(opens) || after.is_none_or(closes);
        if gap.is_empty() && !free {
            gap.push(' ');
        }
        gap
    }
}
