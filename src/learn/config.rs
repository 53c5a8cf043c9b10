//! The shape of a network: what `config.json` says of a Qwen3 model, as far as it matters here.

use serde_json::{Value, json};

use super::LearnError;

/// Weights that this room is willing to train or decode: beyond it, an external trainer and a
/// serving engine do the work in a fraction of the time.
const MOST_WEIGHTS: usize = 64 << 20;

/// The shape of a decoder-only transformer in the Qwen3 family: RMSNorm before attention and before
/// a SwiGLU layer, rotary positions, grouped-query attention with normalised queries and keys, and
/// the embedding used again as the output layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Rows of the embedding.
    pub vocab: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub hidden: usize,
    /// Base of the rotary frequencies.
    pub theta: f64,
    /// Added to mean squares before their root is taken.
    pub eps: f64,
    /// Positions at most.
    pub context: usize,
}

impl Config {
    /// The embedded default: 0.66 M weights, found by measurement to be what two cores can teach
    /// in minutes.
    pub fn tiny() -> Config {
        Config {
            vocab: 768,
            width: 128,
            layers: 3,
            heads: 4,
            kv_heads: 4,
            head_dim: 32,
            hidden: 320,
            theta: 1e4,
            eps: 1e-6,
            context: 1024,
        }
    }

    /// Width of all query heads together.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together, which is also that of all value heads.
    pub(crate) fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Width of queries, keys and values side by side.
    pub(crate) fn qkv_width(&self) -> usize {
        self.query_width() + 2 * self.key_width()
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        let layer = 2 * self.width
            + 2 * self.head_dim
            + self.width * (self.qkv_width() + self.query_width())
            + 3 * self.width * self.hidden;
        self.vocab * self.width + self.layers * layer + self.width
    }

    /// `config.json` as Hugging Face writes it for Qwen3; `stop` is the token that ends a turn and
    /// `pad` the one that ends a text.
    pub fn to_json(&self, stop: u32, pad: u32) -> Value {
        json!({
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": pad,
            "eos_token_id": stop,
            "pad_token_id": pad,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.width,
            "initializer_range": 0.02,
            "intermediate_size": self.hidden,
            "max_position_embeddings": self.context,
            "max_window_layers": self.layers,
            "model_type": "qwen3",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": self.eps,
            "rope_scaling": null,
            "rope_theta": self.theta,
            "sliding_window": null,
            "tie_word_embeddings": true,
            "torch_dtype": "float32",
            "use_cache": true,
            "use_sliding_window": false,
            "vocab_size": self.vocab,
        })
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it is not a Qwen3 configuration, or one that the network here does not implement
    /// (separate output layer, attention biases, sliding windows, scaled positions), or too big.
    pub fn from_json(value: &Value) -> Result<Config, LearnError> {
        let bad = |what: String| LearnError::checkpoint("config.json", what);
        let kind = value.get("model_type").and_then(Value::as_str).unwrap_or("missing");
        if kind != "qwen3" {
            return Err(bad(format!(
                "model_type is {kind}, and only qwen3 is supported in process; \
                 serve other models with an OpenAI-compatible server and name its address"
            )));
        }
        for (key, want) in [
            ("tie_word_embeddings", true),
            ("attention_bias", false),
            ("use_sliding_window", false),
        ] {
            let is = value.get(key).and_then(Value::as_bool).unwrap_or(false);
            if is != want {
                return Err(bad(format!("{key} is {is}, and only {want} is supported in process")));
            }
        }
        let activation = value.get("hidden_act").and_then(Value::as_str).unwrap_or("silu");
        if activation != "silu" {
            return Err(bad(format!("hidden_act is {activation}, and only silu is supported")));
        }
        let rope = value.get("rope_parameters").filter(|v| !v.is_null());
        let scaling = value.get("rope_scaling").filter(|v| !v.is_null()).or(rope);
        let scaled = scaling.and_then(|v| v.get("rope_type").or(v.get("type"))?.as_str());
        if scaled.is_some_and(|kind| kind != "default") {
            return Err(bad("scaled rotary positions are not supported in process".into()));
        }
        let number = |key: &str| {
            let n = value.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            n.filter(|n| *n > 0 && *n <= 1 << 24)
                .ok_or_else(|| bad(format!("{key} is missing or not a sensible positive number")))
        };
        let theta = value.get("rope_theta").or_else(|| rope?.get("rope_theta"));
        let (width, heads) = (number("hidden_size")?, number("num_attention_heads")?);
        let config = Config {
            vocab: number("vocab_size")?,
            width,
            layers: number("num_hidden_layers")?,
            heads,
            kv_heads: number("num_key_value_heads")?,
            head_dim: if value.get("head_dim").is_some_and(|v| !v.is_null()) {
                number("head_dim")?
            } else {
                width / heads
            },
            hidden: number("intermediate_size")?,
            theta: theta.and_then(Value::as_f64).unwrap_or(1e4),
            eps: value.get("rms_norm_eps").and_then(Value::as_f64).unwrap_or(1e-6),
            context: number("max_position_embeddings")?,
        };
        config.check().map_err(bad)?;
        Ok(config)
    }

    /// Whether the network can have this shape; else what stands against it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [self.vocab, self.width, self.layers, self.kv_heads, self.hidden];
        if sizes.contains(&0) || self.context == 0 {
            return Err("a network needs at least one of everything".into());
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "{} heads cannot share {} key-value heads evenly",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) || self.head_dim == 0 {
            return Err(format!("head_dim is {}, and it must be even", self.head_dim));
        }
        // Products of numbers below 2^24 each could overflow, so the factors are bounded first.
        let wide = [self.vocab, self.width, self.hidden, self.heads * self.head_dim];
        if wide.iter().any(|n| *n > 1 << 20) || self.layers > 1 << 10 || self.context > 1 << 20 {
            return Err("it is too big to be run in process".into());
        }
        if self.weights() > MOST_WEIGHTS {
            return Err(format!(
                "it has {} weights, and at most {MOST_WEIGHTS} are supported in process; \
                 serve it with an OpenAI-compatible server and name its address",
                self.weights()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    #[test]
    fn the_tiny_shape_survives_its_file() {
        let config = Config::tiny();
        assert_eq!(config.weights(), 664_640);
        assert_eq!(Config::from_json(&config.to_json(1, 2)).expect("read"), config);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let mut value = Config::tiny().to_json(1, 2);
        value["tie_word_embeddings"] = json!(false);
        let error = Config::from_json(&value).expect_err("refused").to_string();
        assert!(error.contains("tie_word_embeddings"), "{error}");
        value["tie_word_embeddings"] = json!(true);
        value["model_type"] = json!("llama");
        assert!(Config::from_json(&value).expect_err("refused").to_string().contains("llama"));
        value["model_type"] = json!("qwen3");
        value["vocab_size"] = json!(900_000);
        value["hidden_size"] = json!(4096);
        assert!(Config::from_json(&value).expect_err("refused").to_string().contains("at most"));
    }
}
