//! Swin transformers: Z. Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021
//! (arXiv 2103.14030).

use ops::{Activation, ConvSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::{push_mlp, push_stochastic_depth, scaled_in_steps};
use super::family::{Family, gelu, require_count, require_images, require_size, rgb, takes_images};
use super::vit::patches;
use crate::layer::{
    Conv2d, ConvSizes, DivideWindows, GlobalAvgPool, JoinWindows, Linear, MergePatches, SampleNorm, Sequential, Sum,
    WindowAttention, Windows, require_heads,
};
use crate::params::Builder;
use crate::{Error, Result};

/// PyTorch's ε of layer norms.
const EPSILON: f64 = 1e-5;

/// Patches, stages of attention in windows that are shifted in every second block, with merged patches between stages, the mean over
/// all pixels, then the head.
///
/// **Features** timm's `forward_head(pre_logits=True)`: the mean over all pixels after `norm`.
///
/// **Conventions** timm's names: `patch_embed.proj`, `layers.0.blocks.0.attn.qkv`,
/// `layers.0.blocks.0.attn.relative_position_bias_table`, `layers.1.downsample.reduction`, `norm`, `head.fc`. A stage whose images are no
/// larger than a window has one window and no shift. Windows divide the images of every stage: there is no padding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwinConfig {
    /// Side of a patch in pixels; divides both sides of the images.
    #[serde(default = "super::family::four")]
    pub patch: usize,
    /// Numbers in one token of the first stage; each later stage has twice as many.
    pub width: usize,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Heads of the attention of each stage.
    pub heads: Vec<usize>,
    /// Side of a window in tokens.
    pub window: usize,
    /// The width between the two linear layers of a block, as a multiple of the tokens'.
    #[serde(default = "super::family::four")]
    pub mlp_ratio: usize,
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

/// One block of a stage.
struct BlockPlace {
    width: usize,
    heads: usize,
    windows: Windows,
    /// Its number among all blocks, and their number.
    number: [usize; 2],
}

impl SwinConfig {
    /// timm's `swin_tiny_patch4_window7_224`.
    fn named(name: &str) -> Option<Self> {
        (name == "swin_tiny_patch4_window7_224").then(|| Self {
            patch: super::family::four(),
            width: 96,
            blocks: vec![2, 2, 6, 2],
            heads: vec![3, 6, 12, 24],
            window: 7,
            mlp_ratio: super::family::four(),
            stochastic_depth: 0.0,
            activation: gelu(),
            in_channels: rgb(),
            input_size: [224; 2],
            classes: 1000,
        })
    }

    fn push_block(
        &self,
        body: &mut Sequential,
        mut builder: Builder<'_>,
        name: &str,
        place: &BlockPlace,
    ) -> Result<()> {
        let &BlockPlace { width, heads, windows, number } = place;
        let mut attention = Sequential::default();
        attention.push("norm1", SampleNorm::layer_norm(builder.under("norm1"), width, EPSILON)?);
        attention.push("windows", DivideWindows(windows));
        attention.push("qkv", Linear::new(builder.under("attn.qkv"), width, 3 * width)?);
        attention.push("attention", WindowAttention::new(builder.under("attn"), windows, heads)?);
        attention.push("proj", Linear::new(builder.under("attn.proj"), width, width)?);
        attention.push("image", JoinWindows(windows));
        push_stochastic_depth(&mut attention, format!("{name}.drop_path1"), number, self.stochastic_depth)?;
        body.push(format!("{name}.attn"), Sum::residual(attention));
        let mut mlp = Sequential::default();
        mlp.push("norm2", SampleNorm::layer_norm(builder.under("norm2"), width, EPSILON)?);
        push_mlp(&mut mlp, builder.under("mlp"), [width, self.mlp_ratio * width, width], self.activation)?;
        push_stochastic_depth(&mut mlp, format!("{name}.drop_path2"), number, self.stochastic_depth)?;
        body.push(format!("{name}.mlp"), Sum::residual(mlp));
        Ok(())
    }

    /// The windows of a stage whose images have this size; every second block shifts them.
    fn windows(&self, size: [usize; 2], block: usize) -> Result<Windows> {
        let smaller = size.iter().any(|side| *side <= self.window);
        let window = if smaller { size[0].min(size[1]) } else { self.window };
        if window == 0 || size.iter().any(|side| !side.is_multiple_of(window)) {
            let rule = "windows divide the images of every stage; choose another image size or window";
            let value = format!("{} for images of {size:?} tokens", self.window);
            return Err(Error::Setting { op: "architecture", name: "window", value, rule });
        }
        if smaller && size[0] != size[1] {
            let rule = "images no larger than a window are square; choose another image size or window";
            let value = format!("{} for images of {size:?} tokens", self.window);
            return Err(Error::Setting { op: "architecture", name: "window", value, rule });
        }
        Ok(Windows { size, window, shift: if smaller || block.is_multiple_of(2) { 0 } else { window / 2 } })
    }

    fn require_sizes(&self) -> Result<()> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        let sizes = [("width", self.width), ("window", self.window), ("mlp_ratio", self.mlp_ratio)];
        sizes.into_iter().try_for_each(|(name, size)| require_size(name, size))?;
        require_count("blocks", self.blocks.len())?;
        if self.blocks.len() == self.heads.len() && self.blocks.len() <= 16 {
            return self.blocks.iter().try_for_each(|blocks| require_count("blocks", *blocks));
        }
        let value = format!("{} blocks and {} heads", self.blocks.len(), self.heads.len());
        let rule = "there is one number of blocks and of heads for each stage, and at most 16 stages";
        Err(Error::Setting { op: "architecture", name: "blocks", value, rule })
    }
}

/// Appends the norm and the linear layer that halve the sides of an image and double its channels.
fn push_downsample(body: &mut Sequential, builder: &mut Builder<'_>, name: &str, width: usize) -> Result<()> {
    let mut builder = builder.under(name);
    body.push(format!("{name}.merge"), MergePatches);
    let norm = SampleNorm::layer_norm(builder.under("norm"), 4 * width, EPSILON)?;
    body.push(format!("{name}.norm"), norm);
    let reduction = Linear::without_bias(builder.under("reduction"), 4 * width, 2 * width)?;
    body.push(format!("{name}.reduction"), reduction);
    Ok(())
}

impl Family for SwinConfig {
    const NAME: &'static str = "swin";
    const PRESETS: &'static [&'static str] = &["swin_tiny_patch4_window7_224"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        self.width = scaled_in_steps(self.width, factor, self.heads.first().copied().unwrap_or(1));
    }

    fn has_batch_norm(&self) -> bool {
        false
    }

    fn head_name(&self) -> String {
        "head.fc".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        self.require_sizes()?;
        patches(self.input_size, self.patch)?;
        let mut size = self.input_size.map(|side| side / self.patch);
        let mut body = Sequential::default();
        let sizes = ConvSizes { inputs: self.in_channels, outputs: self.width, kernel: self.patch };
        let conv = Conv2d::new(builder.under("patch_embed.proj"), sizes, ConvSettings::new(self.patch, 0), true)?;
        body.push("patch_embed.proj", conv);
        let norm = SampleNorm::layer_norm(builder.under("patch_embed.norm"), self.width, EPSILON)?;
        body.push("patch_embed.norm", norm);
        let (mut width, mut done, total) = (self.width, 0, self.blocks.iter().sum());
        for (stage, (blocks, heads)) in self.blocks.iter().zip(&self.heads).enumerate() {
            let name = format!("layers.{stage}");
            if stage > 0 {
                push_downsample(&mut body, &mut builder, &format!("{name}.downsample"), width)?;
                (width, size) = (2 * width, size.map(|side| side / 2));
            }
            require_heads(width, *heads)?;
            for block in 0..*blocks {
                let name = format!("{name}.blocks.{block}");
                let windows = self.windows(size, block)?;
                let place = BlockPlace { width, heads: *heads, windows, number: [done, total] };
                self.push_block(&mut body, builder.under(&name), &name, &place)?;
                done += 1;
            }
        }
        body.push("norm", SampleNorm::layer_norm(builder.under("norm"), width, EPSILON)?);
        body.push("head.global_pool", GlobalAvgPool);
        BodyAndHead::new(body, builder, &self.head_name(), width, self.classes)
    }
}
