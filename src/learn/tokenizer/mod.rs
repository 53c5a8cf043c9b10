//! Text to tokens and back: byte-level BPE made for a model that copies.
//!
//! Text is cut into runs of letters, single digits, runs of white space, escapes (a backslash and what
//! it stands before) and runs of anything else, and pairs are only merged within a run. A space never
//! becomes part of a word (in GPT-2's way `foo` and ` foo` are different tokens), nor does the `n` of
//! the `\n` before it, so a word looks the same wherever it stands, and a small model can learn to
//! copy it. Every byte is a token, so any text can be written, and decoding gives
//! back exactly what was encoded.
//!
//! The marks of the chat format are tokens of their own. They are never found in ordinary text:
//! [`Tokenizer::encode`] spells `<|im_end|>` out, so what a file says cannot end a turn.

mod files;
mod train;

use std::collections::{BinaryHeap, HashMap};

/// The marks of the chat format, in the order of their ids. Those with a bar are special in Hugging
/// Face's sense; the tool marks are ordinary added tokens, as in Qwen3.
const MARKS: [&str; 7] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
];

/// Ids of the marks of the chat format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// `<|endoftext|>`.
    pub end_of_text: u32,
    /// `<|im_start|>`: opens a turn.
    pub turn: u32,
    /// `<|im_end|>`: ends a turn.
    pub end_of_turn: u32,
    /// `<tool_call>`.
    pub call: u32,
    /// `</tool_call>`.
    pub end_of_call: u32,
    /// `<tool_response>`.
    pub response: u32,
    /// `</tool_response>`.
    pub end_of_response: u32,
}

/// A byte-level BPE tokenizer.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokenizer {
    /// The bytes of each token, by id. Ids without a token have none.
    tokens: Vec<Vec<u8>>,
    /// The id of each single byte.
    bytes: Vec<u32>,
    /// Which pairs merge: into what, and the order of merging.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// The pairs in that order.
    order: Vec<(u32, u32)>,
    marks: Marks,
}

/// What a byte is to the cutting of text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Digit,
    Space,
    Backslash,
    Other,
}

fn kind(byte: u8) -> Kind {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Kind::Letter,
        b'0'..=b'9' => Kind::Digit,
        b' ' | b'\t' | b'\r' | b'\n' => Kind::Space,
        b'\\' => Kind::Backslash,
        _ => Kind::Other,
    }
}

/// Cuts text into the runs that merges stay within.
fn runs(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let first = kind(*text.first()?);
        let len = match first {
            Kind::Digit => 1,
            Kind::Backslash => 1 + usize::from(text.get(1).is_some_and(u8::is_ascii_graphic)),
            _ => text.iter().take_while(|b| kind(**b) == first).count(),
        };
        let (run, rest) = text.split_at(len);
        text = rest;
        Some(run)
    })
}

impl Tokenizer {
    /// Learns the merges that shorten `texts` most, until there are `vocab` tokens (at least the
    /// bytes and the marks; fewer when nothing occurs twice any more). Equal counts are decided by
    /// the tokens' bytes, so the order of the texts does not matter.
    pub fn train<T: AsRef<str>>(texts: &[T], vocab: usize) -> Tokenizer {
        let merges = vocab.saturating_sub(256 + MARKS.len());
        let learnt = train::learn(texts.iter().map(|t| t.as_ref().as_bytes()), merges);
        let mut tokens: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
        for (left, right) in &learnt {
            let joined = [&tokens[*left as usize][..], &tokens[*right as usize][..]].concat();
            tokens.push(joined);
        }
        let first = tokens.len() as u32;
        tokens.extend(MARKS.iter().map(|m| m.as_bytes().to_vec()));
        let ids = std::array::from_fn(|i| first + i as u32);
        let results = 256..;
        let order: Vec<((u32, u32), u32)> = learnt.into_iter().zip(results).collect();
        Tokenizer::assemble(tokens, (0..256).collect(), order, ids)
    }

    fn assemble(
        tokens: Vec<Vec<u8>>,
        bytes: Vec<u32>,
        merges: Vec<((u32, u32), u32)>,
        marks: [u32; MARKS.len()],
    ) -> Tokenizer {
        let [end_of_text, turn, end_of_turn, call, end_of_call, response, end_of_response] = marks;
        let ranked = merges.iter().enumerate();
        Tokenizer {
            tokens,
            bytes,
            order: merges.iter().map(|(pair, _)| *pair).collect(),
            merges: ranked.map(|(rank, (pair, id))| (*pair, (rank as u32, *id))).collect(),
            marks: Marks {
                end_of_text,
                turn,
                end_of_turn,
                call,
                end_of_call,
                response,
                end_of_response,
            },
        }
    }

    /// The highest id and one.
    pub fn size(&self) -> usize {
        self.tokens.len()
    }

    /// The ids of the chat marks.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// The tokens of a text. Marks in it are spelt out.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.encode_bytes(text.as_bytes())
    }

    /// The tokens of any bytes.
    pub fn encode_bytes(&self, text: &[u8]) -> Vec<u32> {
        let mut out = Vec::with_capacity(text.len() / 2);
        for run in runs(text) {
            self.encode_run(run, &mut out);
        }
        out
    }

    /// The tokens of a text in which marks stand for themselves, as Hugging Face's tokenizers read
    /// it. Only for text that this program wrote.
    pub fn encode_marked(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        let mut rest = text;
        loop {
            let found = MARKS.iter().filter_map(|m| Some((rest.find(m)?, *m)));
            let Some((at, mark)) = found.min_by_key(|(at, _)| *at) else {
                out.extend(self.encode(rest));
                return out;
            };
            out.extend(self.encode(&rest[..at]));
            out.push(self.mark_ids()[MARKS.iter().position(|m| *m == mark).unwrap_or(0)]);
            rest = &rest[at + mark.len()..];
        }
    }

    /// The bytes of some tokens; marks are written as they look, unknown ids as nothing.
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        let bytes = tokens.iter().filter_map(|t| self.tokens.get(*t as usize));
        bytes.flatten().copied().collect()
    }

    fn mark_ids(&self) -> [u32; MARKS.len()] {
        let m = &self.marks;
        [m.end_of_text, m.turn, m.end_of_turn, m.call, m.end_of_call, m.response, m.end_of_response]
    }

    /// Merges the pair that was learnt first, the leftmost of equals, until none is left. A heap of
    /// candidates over a linked list keeps long runs from taking quadratic time.
    fn encode_run(&self, run: &[u8], out: &mut Vec<u32>) {
        const NONE: usize = usize::MAX;
        struct Symbol {
            id: u32,
            before: usize,
            after: usize,
        }
        let mut symbols: Vec<Symbol> = run
            .iter()
            .enumerate()
            .map(|(i, byte)| Symbol {
                id: self.bytes[*byte as usize],
                before: i.checked_sub(1).unwrap_or(NONE),
                after: if i + 1 < run.len() { i + 1 } else { NONE },
            })
            .collect();
        let mut heap = BinaryHeap::new();
        let candidate = |symbols: &[Symbol], at: usize| {
            let left = symbols.get(at)?;
            let right = symbols.get(left.after)?;
            let (rank, _) = self.merges.get(&(left.id, right.id))?;
            Some(std::cmp::Reverse((*rank, at, left.id, right.id)))
        };
        heap.extend((0..symbols.len()).filter_map(|at| candidate(&symbols, at)));
        while let Some(std::cmp::Reverse((_, at, left, right))) = heap.pop() {
            let after = symbols[at].after;
            // Candidates go stale when a neighbour merges first; a merged-away symbol has no `after`
            // that could match, because it is cut out of the list below.
            if symbols[at].id != left || after == NONE || symbols[after].id != right {
                continue;
            }
            let Some((_, id)) = self.merges.get(&(left, right)) else { continue };
            let beyond = symbols[after].after;
            symbols[at].id = *id;
            symbols[at].after = beyond;
            symbols[after].after = NONE;
            if let Some(beyond) = symbols.get_mut(beyond) {
                beyond.before = at;
            }
            heap.extend(candidate(&symbols, at));
            let before = symbols[at].before;
            if before != NONE {
                heap.extend(candidate(&symbols, before));
            }
        }
        let mut at = 0;
        while let Some(symbol) = symbols.get(at) {
            out.push(symbol.id);
            at = symbol.after;
        }
    }
}
