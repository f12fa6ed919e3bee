//! Vision transformers: A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (arXiv 2010.11929); H. Touvron et al.,
//! "Training data-efficient image transformers" (DeiT), ICML 2021 (arXiv 2012.12877).

use ops::{Activation, AttentionSettings, ConvSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::{LAYER_NORM_EPSILON, append, push_mlp, push_stochastic_depth, scaled_in_steps};
use super::family::{Family, ImagePositions, gelu, require_count, require_images, require_size, rgb, takes_images};
use crate::layer::{
    Attention, ClassToken, Conv2d, ConvSizes, LayerScale, PositionEmbedding, SampleNorm, Sequential, Sum, TokenPool,
    Tokens, require_heads,
};
use crate::params::Builder;
use crate::{Error, Result};

/// The name of the position embeddings.
const POSITIONS: &str = "pos_embed";

/// How the tokens become the features.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TokenFeatures {
    /// The class token after the last norm.
    #[default]
    Token,
    /// The norm of the mean over all tokens, without a class token.
    Mean,
}

/// Patches as tokens, a class token, positions, blocks of attention and two linear layers, then the head.
///
/// **Features** timm's `forward_head(pre_logits=True)`: the class token after `norm`, or `fc_norm` of the mean over all tokens.
///
/// **Conventions** timm's names: `cls_token`, `pos_embed`, `patch_embed.proj`, `blocks.0.norm1`, `blocks.0.attn.qkv`,
/// `blocks.0.mlp.fc1`, `norm`, `head`. Layer norms have ε = 1e-6. The positions belong to one image size
/// (see [`WeightsFile::interpolate_positions`](crate::WeightsFile::interpolate_positions)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Side of a patch in pixels; divides both sides of the images.
    pub patch: usize,
    /// Numbers in one token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Heads of every attention; divides the width.
    pub heads: usize,
    /// The width between the two linear layers of a block, as a multiple of `width`.
    #[serde(default = "super::family::four")]
    pub mlp_ratio: usize,
    /// How the tokens become the features.
    #[serde(default)]
    pub features: TokenFeatures,
    /// The initial factors of layer scale; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_scale: Option<f64>,
    /// Probability with which the last block is dropped in training; it grows linearly with the index of the block.
    #[serde(default)]
    pub stochastic_depth: f64,
    /// The activation between the two linear layers of a block.
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

impl VitConfig {
    /// timm's names; `vit-tiny-cifar` and `vit-mini-cifar` are for 32×32 images, with patches of 4×4 and 8×8 pixels.
    fn named(name: &str) -> Option<Self> {
        let (width, heads, depth) = match name {
            "vit_tiny_patch16_224" | "deit_tiny_patch16_224" | "vit-tiny-cifar" => (192, 3, 12),
            "vit_small_patch16_224" | "deit_small_patch16_224" => (384, 6, 12),
            "vit_base_patch16_224" | "deit_base_patch16_224" => (768, 12, 12),
            "vit-mini-cifar" => (128, 4, 4),
            _ => return None,
        };
        let (patch, side, classes) = match name {
            "vit-tiny-cifar" => (4, 32, 10),
            "vit-mini-cifar" => (8, 32, 10),
            _ => (16, 224, 1000),
        };
        Some(Self {
            patch,
            width,
            depth,
            heads,
            mlp_ratio: super::family::four(),
            features: TokenFeatures::Token,
            layer_scale: None,
            stochastic_depth: 0.0,
            activation: gelu(),
            in_channels: rgb(),
            input_size: [side; 2],
            classes,
        })
    }

    fn push_block(&self, body: &mut Sequential, builder: &mut Builder<'_>, block: usize) -> Result<()> {
        let name = format!("blocks.{block}");
        let mut builder = builder.under(&name);
        let settings = AttentionSettings::new(self.heads);
        let mut attention = Sequential::default();
        attention.push("norm1", SampleNorm::layer_norm(builder.under("norm1"), self.width, LAYER_NORM_EPSILON)?);
        for (inside, layer) in Attention::between_linear_layers(builder.under("attn"), self.width, settings)? {
            attention.push_shared(inside, layer);
        }
        self.push_end(&mut attention, &mut builder, &name, "ls1", block)?;
        body.push(format!("{name}.attn"), Sum::residual(attention));
        let mut mlp = Sequential::default();
        mlp.push("norm2", SampleNorm::layer_norm(builder.under("norm2"), self.width, LAYER_NORM_EPSILON)?);
        let widths = [self.width, self.width * self.mlp_ratio, self.width];
        push_mlp(&mut mlp, builder.under("mlp"), widths, self.activation)?;
        self.push_end(&mut mlp, &mut builder, &name, "ls2", block)?;
        body.push(format!("{name}.mlp"), Sum::residual(mlp));
        Ok(())
    }

    /// Layer scale and stochastic depth at the end of a branch.
    fn push_end(
        &self,
        branch: &mut Sequential,
        builder: &mut Builder<'_>,
        block_name: &str,
        scale: &str,
        block: usize,
    ) -> Result<()> {
        if let Some(value) = self.layer_scale {
            branch.push(scale, LayerScale::new(builder.under(scale), "gamma", self.width, value)?);
        }
        let name = format!("{block_name}.{scale}.drop_path");
        push_stochastic_depth(branch, name, [block, self.depth], self.stochastic_depth)
    }
}

/// The number of patches of an image.
pub(super) fn patches(input_size: [usize; 2], patch: usize) -> Result<usize> {
    require_size("patch", patch)?;
    if input_size.iter().all(|side| side.is_multiple_of(patch)) {
        return Ok(input_size.iter().map(|side| side / patch).product());
    }
    let rule = "the patch divides both sides of the images; resize the images or choose another patch";
    Err(Error::Setting { op: "architecture", name: "patch", value: format!("{patch} for {input_size:?}"), rule })
}

/// Appends the convolution that makes a token of every patch, under this name.
pub(super) fn push_patches(
    body: &mut Sequential,
    builder: &mut Builder<'_>,
    name: &str,
    [inputs, outputs, patch]: [usize; 3],
) -> Result<()> {
    let sizes = ConvSizes { inputs, outputs, kernel: patch };
    let mut layers = Sequential::default();
    layers.push("proj", Conv2d::new(builder.under(name).under("proj"), sizes, ConvSettings::new(patch, 0), true)?);
    layers.push("tokens", Tokens);
    append(body, name, layers);
    Ok(())
}

impl Family for VitConfig {
    const NAME: &'static str = "vit";
    const PRESETS: &'static [&'static str] = &[
        "vit_tiny_patch16_224",
        "vit_small_patch16_224",
        "vit_base_patch16_224",
        "deit_tiny_patch16_224",
        "deit_small_patch16_224",
        "deit_base_patch16_224",
        "vit-tiny-cifar",
        "vit-mini-cifar",
    ];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        self.width = scaled_in_steps(self.width, factor, self.heads);
    }

    fn has_batch_norm(&self) -> bool {
        false
    }

    fn head_name(&self) -> String {
        "head".into()
    }

    fn image_positions(&self) -> Option<ImagePositions> {
        let grid = self.input_size.map(|side| side / self.patch.max(1));
        Some(ImagePositions {
            name: POSITIONS,
            tokens_before: usize::from(self.features == TokenFeatures::Token),
            grid,
        })
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_size("width", self.width)?;
        require_size("mlp_ratio", self.mlp_ratio)?;
        require_count("depth", self.depth)?;
        require_heads(self.width, self.heads)?;
        let tokens = patches(self.input_size, self.patch)?;
        let mut body = Sequential::default();
        push_patches(&mut body, &mut builder, "patch_embed", [self.in_channels, self.width, self.patch])?;
        let by_token = self.features == TokenFeatures::Token;
        if by_token {
            body.push("cls_token", ClassToken::new(builder.under(""), "cls_token", self.width)?);
        }
        let positions = tokens + usize::from(by_token);
        body.push(POSITIONS, PositionEmbedding::new(builder.under(""), POSITIONS, positions, self.width)?);
        for block in 0..self.depth {
            self.push_block(&mut body, &mut builder, block)?;
        }
        let norm = |builder: Builder<'_>| SampleNorm::layer_norm(builder, self.width, LAYER_NORM_EPSILON);
        if by_token {
            body.push("norm", norm(builder.under("norm"))?);
            body.push("pool", TokenPool::Token(0));
        } else {
            body.push("pool", TokenPool::Mean);
            body.push("fc_norm", norm(builder.under("fc_norm"))?);
        }
        BodyAndHead::new(body, builder, &self.head_name(), self.width, self.classes)
    }
}
