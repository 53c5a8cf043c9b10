//! Checkpoints as files, in the layout of Hugging Face: what other engines load as a Qwen3 model.
//!
//! ```text
//! config.json  generation_config.json  model.safetensors      the network
//! tokenizer.json  tokenizer_config.json                       the tokenizer and the chat template
//! training.json                                               how it came to be: settings, data, loss
//! ```

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::network::layout::Layout;
use super::{CHAT_TEMPLATE, Config, LearnError, Tokenizer};

/// A model: its shape, its words, its weights, and how they came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The network's shape.
    pub config: Config,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// All weights, in the order of [`Checkpoint::to_files`]' tensors.
    pub(crate) weights: Vec<f32>,
    /// The trainings that led here, in order.
    pub history: Vec<Stage>,
}

/// One training in a checkpoint's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What kind: `base`, `sft`.
    pub kind: String,
    /// All of its settings.
    pub settings: Value,
    /// What it was trained on, by name: digests and the like.
    pub data: BTreeMap<String, String>,
    /// Sequences that it could draw from.
    pub examples: usize,
    /// Sequences that were left out because they were too long or had nothing to learn.
    pub dropped: usize,
    /// Tokens that went through the network.
    pub tokens: u64,
    /// The loss over time.
    pub curve: Vec<Point>,
}

/// The mean loss of the steps up to and including `step`, since the point before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps done.
    pub step: usize,
    /// Mean of `-ln p` over counted tokens.
    pub loss: f64,
}

impl Stage {
    pub(crate) fn new(kind: &str, settings: &impl Serialize) -> Stage {
        Stage {
            kind: kind.to_string(),
            settings: serde_json::to_value(settings).unwrap_or(Value::Null),
            data: BTreeMap::new(),
            examples: 0,
            dropped: 0,
            tokens: 0,
            curve: Vec::new(),
        }
    }
}

/// Gathers losses into at most about a hundred points.
pub(crate) struct Curve {
    every: usize,
    steps: usize,
    done: usize,
    sum: f64,
    held: usize,
    points: Vec<Point>,
}

impl Curve {
    pub(crate) fn new(steps: usize) -> Curve {
        let every = steps.div_ceil(100).max(1);
        Curve { every, steps, done: 0, sum: 0.0, held: 0, points: Vec::new() }
    }

    pub(crate) fn push(&mut self, loss: f64) {
        self.done += 1;
        self.sum += loss;
        self.held += 1;
        if self.held == self.every || self.done == self.steps {
            self.points.push(Point { step: self.done, loss: self.sum / self.held as f64 });
            (self.sum, self.held) = (0.0, 0);
        }
    }

    pub(crate) fn points(self) -> Vec<Point> {
        self.points
    }
}

/// The name under which the weights are stored.
const WEIGHTS: &str = "model.safetensors";

impl Checkpoint {
    /// The files of the checkpoint, by name. The same checkpoint gives the same bytes.
    ///
    /// # Errors
    /// When the weights cannot be written in their format.
    pub fn to_files(&self) -> Result<Vec<(String, Vec<u8>)>, LearnError> {
        let marks = self.tokenizer.marks();
        let (stop, pad) = (marks.end_of_turn, marks.end_of_text);
        let generation = json!({
            "bos_token_id": pad, "eos_token_id": [stop, pad], "pad_token_id": pad,
            "do_sample": false, "max_length": self.config.context,
        });
        let tokenizer_config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": false,
            "add_prefix_space": false,
            "bos_token": null,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": null,
            "clean_up_tokenization_spaces": false,
            "model_max_length": self.config.context,
            "chat_template": CHAT_TEMPLATE,
        });
        let history = serde_json::to_value(&self.history)
            .map_err(|e| LearnError::checkpoint("training.json", e.to_string()))?;
        let text = |value: &Value| format!("{value:#}\n").into_bytes();
        Ok(vec![
            ("config.json".into(), text(&self.config.to_json(stop, pad))),
            ("generation_config.json".into(), text(&generation)),
            (WEIGHTS.into(), self.weights_file()?),
            ("tokenizer.json".into(), text(&self.tokenizer.to_json())),
            ("tokenizer_config.json".into(), text(&tokenizer_config)),
            ("training.json".into(), text(&json!({ "stages": history }))),
        ])
    }

    fn weights_file(&self) -> Result<Vec<u8>, LearnError> {
        let bad = |e: safetensors::SafeTensorError| LearnError::checkpoint(WEIGHTS, e.to_string());
        let layout = Layout::new(&self.config);
        let bytes: Vec<u8> = self.weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut views = Vec::with_capacity(layout.tensors.len());
        for tensor in &layout.tensors {
            let part = &bytes[tensor.range.start * 4..tensor.range.end * 4];
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), part).map_err(bad)?;
            views.push((tensor.name.clone(), view));
        }
        let about = [("format".to_string(), "pt".to_string())].into();
        safetensors::serialize(views, Some(about)).map_err(bad)
    }

    /// Reads a checkpoint; `file` gives the content of a file by its name.
    ///
    /// # Errors
    /// When a file is missing or broken, or the model is not one that can be run in process: see
    /// [`Config::from_json`] and [`Tokenizer::from_json`].
    pub fn from_files(file: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Checkpoint, LearnError> {
        let json = |name: &str| -> Result<Value, LearnError> {
            let bytes = file(name)
                .ok_or_else(|| LearnError::checkpoint(name, "the checkpoint has no such file"))?;
            serde_json::from_slice(&bytes).map_err(|e| LearnError::checkpoint(name, e.to_string()))
        };
        let config = Config::from_json(&json("config.json")?)?;
        let tokenizer = Tokenizer::from_json(&json("tokenizer.json")?)?;
        if tokenizer.size() > config.vocab {
            return Err(LearnError::checkpoint(
                "tokenizer.json",
                format!(
                    "it has tokens up to {}, and the network knows {}",
                    tokenizer.size(),
                    config.vocab
                ),
            ));
        }
        let history = match file("training.json") {
            None => Vec::new(),
            Some(_) => serde_json::from_value(json("training.json")?["stages"].take())
                .map_err(|e| LearnError::checkpoint("training.json", e.to_string()))?,
        };
        let bytes = file(WEIGHTS).ok_or_else(|| {
            let what = if file("model.safetensors.index.json").is_some() {
                "the weights are in several files, and only one is supported in process"
            } else {
                "the checkpoint has no such file"
            };
            LearnError::checkpoint(WEIGHTS, what)
        })?;
        let weights = read_weights(&config, &bytes)?;
        Ok(Checkpoint { config, tokenizer, weights, history })
    }
}

fn read_weights(config: &Config, bytes: &[u8]) -> Result<Vec<f32>, LearnError> {
    let bad = |what: String| LearnError::checkpoint(WEIGHTS, what);
    let file = SafeTensors::deserialize(bytes).map_err(|e| bad(e.to_string()))?;
    let layout = Layout::new(config);
    let mut weights = vec![0.0; layout.len];
    for tensor in &layout.tensors {
        let found = file.tensor(&tensor.name).map_err(|e| bad(e.to_string()))?;
        if found.shape() != tensor.shape {
            return Err(bad(format!(
                "{} has the shape {:?}, and config.json makes it {:?}",
                tensor.name,
                found.shape(),
                tensor.shape
            )));
        }
        let out = &mut weights[tensor.range.clone()];
        match found.dtype() {
            Dtype::F32 => {
                for (w, b) in out.iter_mut().zip(found.data().as_chunks::<4>().0) {
                    *w = f32::from_le_bytes(*b);
                }
            }
            // The upper half of an f32.
            Dtype::BF16 => {
                for (w, b) in out.iter_mut().zip(found.data().as_chunks::<2>().0) {
                    *w = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
                }
            }
            other => {
                return Err(bad(format!(
                    "{} is of type {other:?}; only F32 and BF16 are supported in process",
                    tensor.name
                )));
            }
        }
    }
    Ok(weights)
}
