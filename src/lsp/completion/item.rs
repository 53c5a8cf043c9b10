//! One thing that is offered.

use gen_lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTextEdit, Documentation, InsertTextFormat,
    Range, TextEdit,
};

use super::words::Word;
use crate::lsp::signature::markdown;

/// How near an offer is to what is asked for: the nearest come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// What the place itself takes: an argument, a field.
    Slot,
    /// A value of the type that is asked for.
    Fits,
    /// Anything else that is known here.
    Known,
    /// A word of the language.
    Word,
}

/// Something that may stand at the cursor.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) label: String,
    pub(super) kind: CompletionItemKind,
    pub(super) detail: String,
    pub(super) doc: String,
    /// What is put in, as a snippet; the label where there is none.
    pub(super) snippet: Option<String>,
    pub(super) rank: Rank,
}

impl Offer {
    pub(super) fn plain(label: &str, kind: CompletionItemKind) -> Offer {
        Offer {
            label: label.to_string(),
            kind,
            detail: String::new(),
            doc: String::new(),
            snippet: None,
            rank: Rank::Known,
        }
    }

    pub(super) fn word(word: &Word, in_expression: bool) -> Offer {
        Offer {
            detail: word.about.to_string(),
            snippet: Some(word.snippet.to_string()),
            rank: if in_expression { Rank::Word } else { Rank::Slot },
            ..Offer::plain(word.name, CompletionItemKind::Keyword)
        }
    }

    #[must_use]
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Offer {
        self.detail = detail.into();
        self
    }

    #[must_use]
    pub(super) fn doc(mut self, doc: &str) -> Offer {
        self.doc = doc.to_string();
        self
    }

    #[must_use]
    pub(super) fn puts(mut self, snippet: impl Into<String>) -> Offer {
        self.snippet = Some(snippet.into());
        self
    }

    #[must_use]
    pub(super) fn ranked(mut self, rank: Rank) -> Offer {
        self.rank = rank;
        self
    }

    /// In the words of the protocol. `place` keeps offers of a rank in the order they were made.
    pub(super) fn item(self, place: usize, replaced: Range, snippets: bool) -> CompletionItem {
        let snippet = self.snippet.unwrap_or_else(|| escaped(&self.label));
        let (new_text, format) = match snippets {
            true => (snippet, InsertTextFormat::Snippet),
            false => (without_gaps(&snippet), InsertTextFormat::PlainText),
        };
        let documentation: Option<Documentation> =
            (!self.doc.is_empty()).then(|| markdown(self.doc));
        CompletionItem {
            label: self.label,
            kind: Some(self.kind),
            detail: (!self.detail.is_empty()).then_some(self.detail),
            documentation,
            sort_text: Some(format!("{}{place:05}", self.rank as u8)),
            insert_text_format: Some(format),
            text_edit: Some(CompletionItemTextEdit::TextEdit(TextEdit {
                range: replaced,
                new_text,
            })),
            ..CompletionItem::default()
        }
    }
}

/// A text that stands for itself in a snippet.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('$', "\\$").replace('}', "\\}")
}

/// A snippet up to its first gap, for editors that fill in none.
fn without_gaps(snippet: &str) -> String {
    let mut out = String::new();
    let mut chars = snippet.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '$' => break,
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snippets_without_gaps() {
        assert_eq!(without_gaps("let ${1:name} = $0"), "let ");
        assert_eq!(without_gaps(&escaped("$20 {a}\\")), "$20 {a}\\");
    }
}
