//! Where each tensor lies in the one flat buffer that holds all weights (and all gradients).
//!
//! Tensors that are multiplied with the same input lie side by side (`q`, `k`, `v`; `gate`, `up`),
//! so that one matrix product does them all.

use std::ops::Range;

use crate::learn::Config;

/// Where the tensors of one layer lie.
#[derive(Debug, Clone)]
pub(crate) struct LayerLayout {
    pub(crate) input_norm: Range<usize>,
    /// `q`, `k` and `v` as one matrix.
    pub(crate) qkv: Range<usize>,
    pub(crate) q_norm: Range<usize>,
    pub(crate) k_norm: Range<usize>,
    pub(crate) o: Range<usize>,
    pub(crate) post_norm: Range<usize>,
    /// `gate` and `up` as one matrix.
    pub(crate) gate_up: Range<usize>,
    pub(crate) down: Range<usize>,
}

/// One tensor under its Hugging Face name.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Rows and columns; one number for a vector.
    pub(crate) shape: Vec<usize>,
    pub(crate) range: Range<usize>,
    /// Whether it is a matrix inside a layer: not the embedding, and no gain.
    pub(crate) inner: bool,
    /// Whether it writes into the residual stream, which makes it start smaller.
    pub(crate) residual: bool,
}

impl Tensor {
    /// Whether it is a matrix: those are drawn at random and decay; vectors are gains.
    pub(crate) fn is_matrix(&self) -> bool {
        self.shape.len() == 2
    }
}

/// Where all tensors lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) embed: Range<usize>,
    pub(crate) layers: Vec<LayerLayout>,
    pub(crate) norm: Range<usize>,
    /// Weights in all.
    pub(crate) len: usize,
    pub(crate) tensors: Vec<Tensor>,
}

impl Layout {
    pub(crate) fn new(config: &Config) -> Layout {
        let mut tensors: Vec<Tensor> = Vec::new();
        let mut at = 0;
        let mut place = |name: String, shape: &[usize]| {
            let range = at..at + shape.iter().product::<usize>();
            at = range.end;
            let residual = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
            let (inner, shape) = (name.contains("_proj."), shape.to_vec());
            tensors.push(Tensor { name, shape, range: range.clone(), inner, residual });
            range
        };
        let (width, hidden) = (config.width, config.hidden);
        let (queries, keys) = (config.query_width(), config.key_width());
        let embed = place("model.embed_tokens.weight".into(), &[config.vocab, width]);
        let layers = (0..config.layers)
            .map(|layer| {
                let mut place = |name: &str, shape: &[usize]| {
                    place(format!("model.layers.{layer}.{name}.weight"), shape)
                };
                let input_norm = place("input_layernorm", &[width]);
                let q = place("self_attn.q_proj", &[queries, width]);
                place("self_attn.k_proj", &[keys, width]);
                let v = place("self_attn.v_proj", &[keys, width]);
                let q_norm = place("self_attn.q_norm", &[config.head_dim]);
                let k_norm = place("self_attn.k_norm", &[config.head_dim]);
                let o = place("self_attn.o_proj", &[width, queries]);
                let post_norm = place("post_attention_layernorm", &[width]);
                let gate = place("mlp.gate_proj", &[hidden, width]);
                let up = place("mlp.up_proj", &[hidden, width]);
                let down = place("mlp.down_proj", &[width, hidden]);
                LayerLayout {
                    input_norm,
                    qkv: q.start..v.end,
                    q_norm,
                    k_norm,
                    o,
                    post_norm,
                    gate_up: gate.start..up.end,
                    down,
                }
            })
            .collect();
        let norm = place("model.norm.weight".into(), &[width]);
        Layout { embed, layers, norm, len: at, tensors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_fill_the_buffer_without_gaps() {
        let config = Config { kv_heads: 2, ..Config::tiny() };
        let layout = Layout::new(&config);
        let mut at = 0;
        for tensor in &layout.tensors {
            assert_eq!(tensor.range.start, at, "{}", tensor.name);
            at = tensor.range.end;
        }
        assert_eq!(at, layout.len);
        assert_eq!(at, config.weights());
    }
}
