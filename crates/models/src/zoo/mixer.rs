//! MLP-Mixer: I. Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision", NeurIPS 2021 (arXiv 2105.01601).

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::{LAYER_NORM_EPSILON, push_mlp, scaled_in_steps};
use super::family::{Family, gelu, require_count, require_images, require_size, rgb, takes_images};
use super::vit::{patches, push_patches};
use crate::Result;
use crate::layer::{SampleNorm, Sequential, Sum, TokenPool, TransposeTokens};
use crate::params::Builder;

/// Patches as tokens, blocks of linear layers over tokens and over channels, the mean over all tokens, then the head.
///
/// **Features** timm's `forward_head(pre_logits=True)`: the mean over all tokens after `norm`.
///
/// **Conventions** timm's names: `stem.proj`, `blocks.0.norm1`, `blocks.0.mlp_tokens.fc1`, `blocks.0.mlp_channels.fc1`, `norm`,
/// `head`. Layer norms have ε = 1e-6. The layers over tokens belong to one image size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixerConfig {
    /// Side of a patch in pixels; divides both sides of the images.
    pub patch: usize,
    /// Numbers in one token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// The width between the two linear layers over tokens.
    pub token_width: usize,
    /// The width between the two linear layers over channels.
    pub channel_width: usize,
    /// The activation between two linear layers.
    #[serde(default = "gelu")]
    pub activation: Activation,
    /// Channels of the images.
    #[serde(default = "rgb")]
    pub in_channels: usize,
    /// `[height, width]` of the images.
    #[serde(default = "super::family::imagenet_size")]
    pub input_size: [usize; 2],
    /// Outputs of the head.
    #[serde(default = "super::family::thousand")]
    pub classes: usize,
}

impl MixerConfig {
    /// timm's names.
    fn named(name: &str) -> Option<Self> {
        let (width, depth) = match name {
            "mixer_s16_224" => (512, 8),
            "mixer_b16_224" => (768, 12),
            _ => return None,
        };
        Some(Self {
            patch: 16,
            width,
            depth,
            token_width: width / 2,
            channel_width: 4 * width,
            activation: gelu(),
            in_channels: rgb(),
            input_size: [224; 2],
            classes: 1000,
        })
    }

    fn push_block(&self, body: &mut Sequential, builder: &mut Builder<'_>, name: &str, tokens: usize) -> Result<()> {
        let mut builder = builder.under(name);
        let norm = |builder: Builder<'_>| SampleNorm::layer_norm(builder, self.width, LAYER_NORM_EPSILON);
        let mut over_tokens = Sequential::default();
        over_tokens.push("norm1", norm(builder.under("norm1"))?);
        over_tokens.push("transpose", TransposeTokens);
        let widths = [tokens, self.token_width, tokens];
        push_mlp(&mut over_tokens, builder.under("mlp_tokens"), widths, self.activation)?;
        over_tokens.push("transpose_back", TransposeTokens);
        body.push(format!("{name}.mlp_tokens"), Sum::residual(over_tokens));
        let mut over_channels = Sequential::default();
        over_channels.push("norm2", norm(builder.under("norm2"))?);
        let widths = [self.width, self.channel_width, self.width];
        push_mlp(&mut over_channels, builder.under("mlp_channels"), widths, self.activation)?;
        body.push(format!("{name}.mlp_channels"), Sum::residual(over_channels));
        Ok(())
    }
}

impl Family for MixerConfig {
    const NAME: &'static str = "mixer";
    const PRESETS: &'static [&'static str] = &["mixer_s16_224", "mixer_b16_224"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        for width in [&mut self.width, &mut self.token_width, &mut self.channel_width] {
            *width = scaled_in_steps(*width, factor, 1);
        }
    }

    fn has_batch_norm(&self) -> bool {
        false
    }

    fn head_name(&self) -> String {
        "head".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        let sizes = [("width", self.width), ("token_width", self.token_width), ("channel_width", self.channel_width)];
        sizes.into_iter().try_for_each(|(name, size)| require_size(name, size))?;
        require_count("depth", self.depth)?;
        let tokens = patches(self.input_size, self.patch)?;
        let mut body = Sequential::default();
        push_patches(&mut body, &mut builder, "stem", [self.in_channels, self.width, self.patch])?;
        for block in 0..self.depth {
            self.push_block(&mut body, &mut builder, &format!("blocks.{block}"), tokens)?;
        }
        body.push("norm", SampleNorm::layer_norm(builder.under("norm"), self.width, LAYER_NORM_EPSILON)?);
        body.push("pool", TokenPool::Mean);
        BodyAndHead::new(body, builder, &self.head_name(), self.width, self.classes)
    }
}
