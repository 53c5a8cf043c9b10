//! `tokenizer.json` in the form of Hugging Face's `tokenizers`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{MARKS, Tokenizer};
use crate::learn::LearnError;

/// How text is cut, as a regular expression. On bytes it is the same as on characters, because all
/// of a character beyond ASCII falls into the last class.
const PATTERN: &str = r"[A-Za-z]+|[0-9]|[ \t\r\n]+|\\[!-~]?|[^A-Za-z0-9 \t\r\n\\]+";

/// The visible stand-ins that byte-level BPE writes for bytes.
fn stand_ins() -> [char; 256] {
    let mut spare = 256u32;
    std::array::from_fn(|byte| {
        let visible = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if visible {
            byte as u32
        } else {
            spare += 1;
            spare - 1
        };
        char::from_u32(code).unwrap_or('\u{fffd}')
    })
}

impl Tokenizer {
    /// The content of `tokenizer.json`.
    pub fn to_json(&self) -> Value {
        let letters = stand_ins();
        let write = |id: u32| -> String {
            self.tokens[id as usize].iter().map(|b| letters[*b as usize]).collect()
        };
        let marks = self.mark_ids();
        let vocab: Map<String, Value> = (0..self.size() as u32)
            .filter(|id| !self.tokens[*id as usize].is_empty() && !marks.contains(id))
            .map(|id| (write(id), id.into()))
            .collect();
        let merges: Vec<Value> =
            self.order.iter().map(|(l, r)| json!([write(*l), write(*r)])).collect();
        let added: Vec<Value> = MARKS
            .iter()
            .zip(marks)
            .map(|(mark, id)| {
                json!({
                    "id": id, "content": mark, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": mark.contains('|'),
                })
            })
            .collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": pre_tokenizer(),
            "post_processor": null,
            "decoder": {
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
                "use_regex": false,
            },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": merges,
            },
        })
    }

    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// When it is not byte-level BPE, cuts text in another way, or lacks one of the chat marks.
    pub fn from_json(value: &Value) -> Result<Tokenizer, LearnError> {
        let bad = |what: String| LearnError::checkpoint("tokenizer.json", what);
        let model = &value["model"];
        if model["type"] != "BPE" {
            return Err(bad(format!("the model is {}, and only BPE is supported", model["type"])));
        }
        if value["pre_tokenizer"] != pre_tokenizer() || !value["normalizer"].is_null() {
            return Err(bad("it cuts text in another way than the tokenizers trained here, so a \
                            checkpoint of another origin; serve it with an OpenAI-compatible \
                            server and name its address"
                .into()));
        }
        let byte_of: HashMap<char, u8> = stand_ins().into_iter().zip(0..=255u8).collect();
        let vocab = model["vocab"].as_object().ok_or_else(|| bad("it has no vocabulary".into()))?;
        let mut tokens: Vec<Vec<u8>> = Vec::new();
        let mut ids: HashMap<&str, u32> = HashMap::new();
        for (text, id) in vocab {
            let id = small(id).ok_or_else(|| bad(format!("the id of `{text}` is no number")))?;
            let bytes: Option<Vec<u8>> = text.chars().map(|c| byte_of.get(&c).copied()).collect();
            let bytes = bytes.ok_or_else(|| bad(format!("`{text}` is not byte-level")))?;
            place(&mut tokens, id, bytes);
            ids.insert(text, id);
        }
        let bytes: Result<Vec<u32>, LearnError> = stand_ins()
            .iter()
            .map(|c| {
                ids.get(c.to_string().as_str())
                    .copied()
                    .ok_or_else(|| bad(format!("the byte `{c}` is no token")))
            })
            .collect();
        let listed = model["merges"].as_array().ok_or_else(|| bad("it has no merges".into()))?;
        let mut merges = Vec::with_capacity(listed.len());
        for merge in listed {
            let pair = match merge {
                Value::String(text) => text.split_once(' '),
                Value::Array(two) => {
                    two.first().and_then(Value::as_str).zip(two.get(1).and_then(Value::as_str))
                }
                _ => None,
            };
            let known = pair.and_then(|(l, r)| {
                let result = ids.get(format!("{l}{r}").as_str())?;
                Some(((*ids.get(l)?, *ids.get(r)?), *result))
            });
            merges.push(known.ok_or_else(|| bad(format!("the merge {merge} is of no tokens")))?);
        }
        let mut marks = [0; MARKS.len()];
        for (slot, mark) in marks.iter_mut().zip(MARKS) {
            let added = value["added_tokens"].as_array().into_iter().flatten();
            let id = added.filter(|a| a["content"] == mark).find_map(|a| small(&a["id"]));
            *slot = id.ok_or_else(|| bad(format!("the chat mark `{mark}` is no added token")))?;
            place(&mut tokens, *slot, mark.as_bytes().to_vec());
        }
        Ok(Tokenizer::assemble(tokens, bytes?, merges, marks))
    }
}

/// An id, if it is a sensible one.
fn small(id: &Value) -> Option<u32> {
    id.as_u64().filter(|id| *id < 1 << 22).and_then(|id| u32::try_from(id).ok())
}

fn place(tokens: &mut Vec<Vec<u8>>, id: u32, bytes: Vec<u8>) {
    let at = id as usize;
    if tokens.len() <= at {
        tokens.resize(at + 1, Vec::new());
    }
    tokens[at] = bytes;
}

fn pre_tokenizer() -> Value {
    json!({
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split", "pattern": { "Regex": PATTERN }, "behavior": "Isolated",
                "invert": false,
            },
            {
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
                "use_regex": false,
            },
        ],
    })
}
