//! A BERT-like encoder of embedded sequences: J. Devlin et al., "BERT", NAACL 2019 (arXiv 1810.04805).

use ops::{Activation, AttentionSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::push_feed_forward;
use super::family::{Family, SequenceSizes, gelu, takes_sequences};
use crate::Result;
use crate::layer::{ActivationLayer, Attention, Concatenation, Linear, SampleNorm, Sequential, Sum, TokenPool};
use crate::params::Builder;

/// BERT's ε of layer norms.
const EPSILON: f64 = 1e-12;

/// Post-norm blocks of attention and two linear layers on embedded sequences, the pooler on the first token, then the head.
///
/// **Input** `[n, t, d]`: the output of BERT's embeddings. Geometric complexity is by this input. All tokens are visible.
///
/// **Features** the pooler's tanh of the first token.
///
/// **Conventions** BERT's names: `encoder.layer.0.attention.self.query`, `encoder.layer.0.attention.output.dense`,
/// `encoder.layer.0.attention.output.LayerNorm`, `encoder.layer.0.intermediate.dense`, `encoder.layer.0.output.dense`,
/// `encoder.layer.0.output.LayerNorm`, `pooler.dense`, `classifier`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
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
    #[serde(default = "gelu")]
    pub activation: Activation,
    /// Outputs of the head.
    pub classes: usize,
}

impl EncoderConfig {
    fn sizes(&self) -> SequenceSizes {
        let Self { tokens, width, depth, heads, mlp_ratio, classes, .. } = *self;
        SequenceSizes { tokens, width, depth, heads, mlp_ratio, classes }
    }

    /// The sizes of BERT base for sequences of 512 tokens and two classes.
    fn named(name: &str) -> Option<Self> {
        (name == "bert-base").then(|| Self {
            tokens: 512,
            width: 768,
            depth: 12,
            heads: 12,
            mlp_ratio: super::family::four(),
            activation: gelu(),
            classes: 2,
        })
    }

    /// Queries, keys and values by three linear layers, the attention, and the linear layer after it.
    fn attention(&self, builder: &mut Builder<'_>) -> Result<Sequential> {
        let path = |builder: Builder<'_>, name: &str| -> Result<Sequential> {
            let mut path = Sequential::default();
            path.push(name, Linear::new(builder, self.width, self.width)?);
            Ok(path)
        };
        let paths = ["query", "key", "value"]
            .into_iter()
            .map(|name| path(builder.under(format!("attention.self.{name}")), name))
            .collect::<Result<Vec<_>>>()?;
        let mut layers = Sequential::default();
        layers.push("self", Concatenation { paths });
        layers.push("weighting", Attention::new(AttentionSettings::new(self.heads)));
        layers.push("dense", Linear::new(builder.under("attention.output.dense"), self.width, self.width)?);
        Ok(layers)
    }

    fn push_block(&self, body: &mut Sequential, mut builder: Builder<'_>, name: &str) -> Result<()> {
        let attention = self.attention(&mut builder)?;
        body.push(format!("{name}.attention"), Sum::residual(attention));
        for (norm, feed_forward) in [("attention.output.LayerNorm", true), ("output.LayerNorm", false)] {
            let layer = SampleNorm::layer_norm(builder.under(norm), self.width, EPSILON)?;
            body.push(format!("{name}.{norm}"), layer);
            if feed_forward {
                let mut layers = Sequential::default();
                let widths = [self.width, self.mlp_ratio * self.width, self.width];
                let names = [["intermediate", "intermediate.dense"], ["dense", "output.dense"]];
                push_feed_forward(&mut layers, &mut builder, names, widths, self.activation)?;
                body.push(format!("{name}.output"), Sum::residual(layers));
            }
        }
        Ok(())
    }
}

impl Family for EncoderConfig {
    const NAME: &'static str = "encoder";
    const PRESETS: &'static [&'static str] = &["bert-base"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_sequences!();

    fn head_name(&self) -> String {
        "classifier".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        self.sizes().require()?;
        let mut body = Sequential::default();
        for block in 0..self.depth {
            let name = format!("encoder.layer.{block}");
            self.push_block(&mut body, builder.under(&name), &name)?;
        }
        body.push("first_token", TokenPool::Token(0));
        body.push("pooler.dense", Linear::new(builder.under("pooler.dense"), self.width, self.width)?);
        body.push("pooler.activation", ActivationLayer(Activation::Tanh));
        BodyAndHead::new(body, builder, &self.head_name(), self.width, self.classes)
    }
}
