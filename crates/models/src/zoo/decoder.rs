//! A GPT-like decoder of embedded sequences: A. Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).

use ops::{Activation, AttentionSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::push_feed_forward;
use super::family::{Family, SequenceSizes, takes_sequences};
use crate::Result;
use crate::layer::{Attention, Linear, SampleNorm, Sequential, Sum, TokenPool};
use crate::params::Builder;

/// PyTorch's and GPT-2's ε of layer norms.
const EPSILON: f64 = 1e-5;

/// Pre-norm blocks of causal attention and two linear layers on embedded sequences, then the head on the last token.
///
/// **Input** `[n, t, d]`: the sum of token and position embeddings. Geometric complexity is by this input.
///
/// **Features** the last token after `ln_f`, from which the next token is predicted.
///
/// **Conventions** the names of GPT-2 with linear layers: `h.0.ln_1`, `h.0.attn.c_attn`, `h.0.attn.c_proj`, `h.0.mlp.c_fc`,
/// `h.0.mlp.c_proj`, `ln_f`, `lm_head` without bias. GPT-2's own files transpose the weights of its `Conv1D` layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Numbers in one embedded token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Heads of every attention; divides the width.
    pub heads: usize,
    /// The width between the two linear layers of a block, as a multiple of `width`.
    #[serde(default = "super::family::four")]
    pub mlp_ratio: usize,
    /// The activation between the two linear layers of a block.
    #[serde(default = "gelu_tanh")]
    pub activation: Activation,
    /// Outputs of the head: the size of the vocabulary.
    pub classes: usize,
}

fn gelu_tanh() -> Activation {
    Activation::GeluTanh
}

impl DecoderConfig {
    fn sizes(&self) -> SequenceSizes {
        let Self { tokens, width, depth, heads, mlp_ratio, classes, .. } = *self;
        SequenceSizes { tokens, width, depth, heads, mlp_ratio, classes }
    }

    /// The sizes of `gpt2` for sequences of 1024 tokens.
    fn named(name: &str) -> Option<Self> {
        (name == "gpt2").then(|| Self {
            tokens: 1024,
            width: 768,
            depth: 12,
            heads: 12,
            mlp_ratio: super::family::four(),
            activation: gelu_tanh(),
            classes: 50257,
        })
    }

    fn push_block(&self, body: &mut Sequential, mut builder: Builder<'_>, name: &str) -> Result<()> {
        let norm = |builder: Builder<'_>| SampleNorm::layer_norm(builder, self.width, EPSILON);
        let mut attention = Sequential::default();
        attention.push("ln_1", norm(builder.under("ln_1"))?);
        attention.push("c_attn", Linear::new(builder.under("attn.c_attn"), self.width, 3 * self.width)?);
        let settings = AttentionSettings { causal: true, ..AttentionSettings::new(self.heads) };
        attention.push("attention", Attention::new(settings));
        attention.push("c_proj", Linear::new(builder.under("attn.c_proj"), self.width, self.width)?);
        body.push(format!("{name}.attn"), Sum::residual(attention));
        let mut mlp = Sequential::default();
        mlp.push("ln_2", norm(builder.under("ln_2"))?);
        let widths = [self.width, self.mlp_ratio * self.width, self.width];
        let names = [["c_fc", "c_fc"], ["c_proj", "c_proj"]];
        push_feed_forward(&mut mlp, &mut builder.under("mlp"), names, widths, self.activation)?;
        body.push(format!("{name}.mlp"), Sum::residual(mlp));
        Ok(())
    }
}

impl Family for DecoderConfig {
    const NAME: &'static str = "decoder";
    const PRESETS: &'static [&'static str] = &["gpt2"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_sequences!();

    fn head_name(&self) -> String {
        "lm_head".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        self.sizes().require()?;
        let mut body = Sequential::default();
        for block in 0..self.depth {
            let name = format!("h.{block}");
            self.push_block(&mut body, builder.under(&name), &name)?;
        }
        body.push("ln_f", SampleNorm::layer_norm(builder.under("ln_f"), self.width, EPSILON)?);
        body.push("pool", TokenPool::Last);
        let head = Linear::without_bias(builder.under("lm_head"), self.width, self.classes)?;
        BodyAndHead::with_head(body, &self.head_name(), head)
    }
}
