//! The block of MobileNets and EfficientNets: a 1×1 convolution that widens, a depthwise convolution, squeeze-and-excitation, and a
//! 1×1 convolution that narrows.

use ops::{Activation, ConvSettings};
use serde::{Deserialize, Serialize};

use super::blocks::{ConvNorm, same_size};
use super::family::{require_count, require_size};
use crate::Result;
use crate::layer::{
    ActivationLayer, AdaptiveAvgPool, BatchNorm2d, Conv2d, ConvSizes, Flatten, GlobalAvgPool, Sequential,
    SqueezeExcitation, StochasticDepth, Sum,
};
use crate::params::Builder;

/// Blocks of one width of a MobileNetV2 or an EfficientNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileStage {
    /// The width inside a block as a multiple of its input.
    pub expansion: usize,
    /// Channels of the output.
    pub channels: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Side of the depthwise window.
    #[serde(default = "three")]
    pub kernel: usize,
}

fn three() -> usize {
    3
}

impl MobileStage {
    /// Stages from rows of expansion, channels, blocks, stride and kernel.
    pub(super) fn rows(rows: &[[usize; 5]]) -> Vec<Self> {
        let stage = |&[expansion, channels, blocks, stride, kernel]: &[usize; 5]| Self {
            expansion,
            channels,
            blocks,
            stride,
            kernel,
        };
        rows.iter().map(stage).collect()
    }

    fn require(&self) -> Result<()> {
        require_size("expansion", self.expansion)?;
        require_size("channels", self.channels)?;
        require_count("blocks", self.blocks)?;
        require_size("stride", self.stride)?;
        require_size("kernel", self.kernel)
    }
}

/// The parts that MobileNets and EfficientNets share: a stem, blocks, a 1×1 convolution and the mean over all pixels.
pub(super) struct MobileBody<'a, 'b> {
    pub(super) builder: &'a mut Builder<'b>,
    pub(super) body: Sequential,
    /// The activation after each batch norm outside blocks, and the ε of all batch norms.
    pub(super) form: (Activation, f64),
    /// Channels of the last layer.
    pub(super) channels: usize,
    /// Blocks that were appended.
    pub(super) blocks: usize,
}

impl<'a, 'b> MobileBody<'a, 'b> {
    /// The stem, from and to these channels, with this stride.
    pub(super) fn with_stem(
        builder: &'a mut Builder<'b>,
        [inputs, channels, stride]: [usize; 3],
        form: (Activation, f64),
    ) -> Result<Self> {
        require_size("stem_channels", channels)?;
        require_size("stem_stride", stride)?;
        let mut body = Sequential::default();
        let sizes = ConvSizes { inputs, outputs: channels, kernel: 3 };
        push_conv_norm(&mut body, builder, "features.0", (sizes, same_size(3, stride, 1)), form)?;
        Ok(Self { builder, body, form, channels, blocks: 0 })
    }

    /// Appends a block.
    pub(super) fn push(&mut self, block: InvertedResidual<'_>, name: &str) -> Result<()> {
        (self.channels, self.blocks) = (block.outputs, self.blocks + 1);
        block.push(&mut self.body, self.builder, name)
    }

    /// Appends stages. `block` changes the common block of a stage and names it, given the numbers of the stage and of the block in it.
    pub(super) fn push_stages(
        &mut self,
        stages: &[MobileStage],
        block: impl Fn(&Self, InvertedResidual<'static>, [usize; 2]) -> (InvertedResidual<'static>, String),
    ) -> Result<()> {
        for (index, stage) in stages.iter().enumerate() {
            stage.require()?;
            for number in 0..stage.blocks {
                let common = InvertedResidual {
                    container: "block",
                    inputs: self.channels,
                    expanded: self.channels * stage.expansion,
                    outputs: stage.channels,
                    kernel: stage.kernel,
                    stride: if number == 0 { stage.stride } else { 1 },
                    squeeze: None,
                    activation: self.form.0,
                    epsilon: self.form.1,
                    flat_end: false,
                    stochastic_depth: 0.0,
                };
                let (block, name) = block(self, common, [index, number]);
                self.push(block, &name)?;
            }
        }
        Ok(())
    }

    /// Appends the 1×1 convolution to this many channels, under the number of this layer, and the mean over all pixels.
    pub(super) fn end(mut self, index: usize, outputs: usize) -> Result<Sequential> {
        let sizes = ConvSizes { inputs: self.channels, outputs, kernel: 1 };
        let name = format!("features.{index}");
        push_conv_norm(&mut self.body, self.builder, &name, (sizes, same_size(1, 1, 1)), self.form)?;
        self.body.push("avgpool", GlobalAvgPool);
        Ok(self.body)
    }
}

/// `width` times `factor` by the rule of MobileNets; 0, which is refused later, for a factor that is not finite and positive.
pub(super) fn scaled_by_8(width: usize, factor: f64) -> usize {
    if factor.is_finite() && factor > 0.0 { super::blocks::divisible_by_8(width as f64 * factor) } else { 0 }
}

/// Squeeze-and-excitation of a block.
#[derive(Clone, Copy)]
pub(super) struct Squeeze {
    /// Channels between the two 1×1 convolutions.
    pub(super) channels: usize,
    pub(super) activation: Activation,
    pub(super) gate: Activation,
}

/// One block.
pub(super) struct InvertedResidual<'a> {
    /// The name of torchvision's container: `conv` or `block`.
    pub(super) container: &'a str,
    pub(super) inputs: usize,
    pub(super) expanded: usize,
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) squeeze: Option<Squeeze>,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
    /// Whether the last convolution and its batch norm have numbers of their own (MobileNetV2) or one together.
    pub(super) flat_end: bool,
    /// Probability with which the block is dropped in training.
    pub(super) stochastic_depth: f64,
}

impl InvertedResidual<'_> {
    /// Appends the block, as a sum where input and output have one shape.
    fn push(self, body: &mut Sequential, builder: &mut Builder<'_>, name: &str) -> Result<()> {
        let mut builder = builder.under(name);
        let mut layers = Sequential::default();
        let mut count = 0;
        let mut next = |parts: [&str; 2]| {
            let names = parts.map(|part| format!("{}.{count}{part}", self.container));
            count += 1;
            names
        };
        if self.expanded != self.inputs {
            let sizes = ConvSizes { inputs: self.inputs, outputs: self.expanded, kernel: 1 };
            let names = next([".0", ".1"]);
            self.conv_norm(&names, sizes, same_size(1, 1, 1), Some(self.activation)).push(&mut layers, &mut builder)?;
        }
        let sizes = ConvSizes { inputs: self.expanded, outputs: self.expanded, kernel: self.kernel };
        let settings = same_size(self.kernel, self.stride, self.expanded);
        let names = next([".0", ".1"]);
        self.conv_norm(&names, sizes, settings, Some(self.activation)).push(&mut layers, &mut builder)?;
        if let Some(squeeze) = self.squeeze {
            let [name, _] = next(["", ""]);
            let layer = squeeze.layer(builder.under(&name), self.expanded)?;
            layers.push(name, layer);
        }
        let sizes = ConvSizes { inputs: self.expanded, outputs: self.outputs, kernel: 1 };
        let names = if self.flat_end {
            let [[conv, _], [norm, _]] = [next(["", ""]), next(["", ""])];
            [conv, norm]
        } else {
            next([".0", ".1"])
        };
        self.conv_norm(&names, sizes, same_size(1, 1, 1), None).push(&mut layers, &mut builder)?;
        if self.stride == 1 && self.inputs == self.outputs {
            if self.stochastic_depth > 0.0 {
                let depth = StochasticDepth { name: format!("{name}.drop"), probability: self.stochastic_depth };
                layers.push("stochastic_depth", depth);
            }
            body.push(name, Sum::residual(layers));
        } else {
            super::blocks::append(body, name, layers);
        }
        Ok(())
    }

    fn conv_norm<'b>(
        &self,
        names: &'b [String; 2],
        sizes: ConvSizes,
        settings: ConvSettings,
        activation: Option<Activation>,
    ) -> ConvNorm<'b> {
        let names = names.each_ref().map(String::as_str);
        ConvNorm { names, sizes, settings, epsilon: self.epsilon, activation }
    }
}

impl Squeeze {
    pub(super) fn layer(self, mut builder: Builder<'_>, width: usize) -> Result<SqueezeExcitation> {
        let pointwise = |builder: Builder<'_>, inputs, outputs| {
            Conv2d::new(builder, ConvSizes { inputs, outputs, kernel: 1 }, ConvSettings::new(1, 0), true)
        };
        let mut factors = Sequential::default();
        factors.push("avgpool", AdaptiveAvgPool([1, 1]));
        factors.push("fc1", pointwise(builder.under("fc1"), width, self.channels)?);
        factors.push("activation", ActivationLayer(self.activation));
        factors.push("fc2", pointwise(builder.under("fc2"), self.channels, width)?);
        factors.push("scale_activation", ActivationLayer(self.gate));
        factors.push("flatten", Flatten);
        Ok(SqueezeExcitation { factors })
    }
}

/// Appends a convolution, batch norm and an activation as torchvision's `Conv2dNormActivation`: `<name>.0` and `<name>.1`.
pub(super) fn push_conv_norm(
    body: &mut Sequential,
    builder: &mut Builder<'_>,
    name: &str,
    (sizes, settings): (ConvSizes, ConvSettings),
    (activation, epsilon): (Activation, f64),
) -> Result<()> {
    let [conv, norm] = [0, 1].map(|index| format!("{name}.{index}"));
    body.push(conv.clone(), Conv2d::new(builder.under(&conv), sizes, settings, false)?);
    body.push(norm.clone(), BatchNorm2d::with_epsilon(builder.under(&norm), sizes.outputs, epsilon)?);
    body.push(format!("{name}.2"), ActivationLayer(activation));
    Ok(())
}
