//! DenseNet: G. Huang et al., "Densely Connected Convolutional Networks", CVPR 2017 (arXiv 1608.06993).

use ops::{Activation, ConvSettings, PoolSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::family::{Family, is_relu, relu, require_count, require_images, require_size, rgb, scaled, takes_images};
use crate::layer::{
    ActivationLayer, AvgPool, BatchNorm2d, Concatenation, Conv2d, ConvSizes, GlobalAvgPool, MaxPool, Sequential,
};
use crate::params::Builder;
use crate::{Error, Result};

/// A stem, blocks whose layers each append `growth` channels, with transitions that halve channels and sides, the mean over all
/// pixels, then the head.
///
/// **Features** the mean over all pixels after the last batch norm and activation.
///
/// **Conventions** torchvision's names: `features.conv0`, `features.denseblock1.denselayer1.norm1`, `features.transition1.conv`,
/// `features.norm5`, `classifier`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseNetConfig {
    /// Channels of the stem.
    pub stem_channels: usize,
    /// Whether the stem is a 7×7 convolution with stride 2 and max pooling, or for small images a 3×3 convolution.
    #[serde(default = "yes")]
    pub imagenet_stem: bool,
    /// Channels that each layer appends.
    pub growth: usize,
    /// Channels between the two convolutions of a layer, as a multiple of `growth`.
    #[serde(default = "four")]
    pub bottleneck: usize,
    /// Layers of each block.
    pub blocks: Vec<usize>,
    /// The activation after each batch norm.
    #[serde(default = "relu", skip_serializing_if = "is_relu")]
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

fn yes() -> bool {
    true
}

fn four() -> usize {
    4
}

impl DenseNetConfig {
    /// torchvision's `densenet121`.
    fn named(name: &str) -> Option<Self> {
        (name == "densenet121").then(|| Self {
            stem_channels: 64,
            imagenet_stem: true,
            growth: 32,
            bottleneck: four(),
            blocks: vec![6, 12, 24, 16],
            activation: relu(),
            in_channels: rgb(),
            input_size: [224; 2],
            classes: 1000,
        })
    }

    /// Appends batch norm, an activation and a convolution without bias, whose names end with `suffix`.
    fn push_norm_conv(
        &self,
        layers: &mut Sequential,
        builder: &mut Builder<'_>,
        suffix: &str,
        sizes: ConvSizes,
    ) -> Result<()> {
        let [norm, act, conv] = ["norm", "relu", "conv"].map(|name| format!("{name}{suffix}"));
        layers.push(norm.clone(), BatchNorm2d::new(builder.under(&norm), sizes.inputs)?);
        layers.push(act, ActivationLayer(self.activation));
        let settings = ConvSettings::new(1, sizes.kernel / 2);
        layers.push(conv.clone(), Conv2d::new(builder.under(&conv), sizes, settings, false)?);
        Ok(())
    }

    fn push_stem(&self, body: &mut Sequential, builder: &mut Builder<'_>) -> Result<()> {
        let (kernel, stride) = if self.imagenet_stem { (7, 2) } else { (3, 1) };
        let sizes = ConvSizes { inputs: self.in_channels, outputs: self.stem_channels, kernel };
        let settings = ConvSettings::new(stride, kernel / 2);
        body.push("features.conv0", Conv2d::new(builder.under("features.conv0"), sizes, settings, false)?);
        body.push("features.norm0", BatchNorm2d::new(builder.under("features.norm0"), self.stem_channels)?);
        body.push("features.relu0", ActivationLayer(self.activation));
        if self.imagenet_stem {
            let pool = PoolSettings { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ..PoolSettings::default() };
            body.push("features.pool0", MaxPool(pool));
        }
        Ok(())
    }
}

impl Family for DenseNetConfig {
    const NAME: &'static str = "densenet";
    const PRESETS: &'static [&'static str] = &["densenet121"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        self.stem_channels = scaled(self.stem_channels, factor);
        self.growth = scaled(self.growth, factor);
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "classifier".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        let sizes = [("stem_channels", self.stem_channels), ("growth", self.growth), ("bottleneck", self.bottleneck)];
        sizes.into_iter().try_for_each(|(name, size)| require_size(name, size))?;
        if self.blocks.is_empty() {
            let rule = "there is at least one block";
            return Err(Error::Setting { op: "architecture", name: "blocks", value: "[]".into(), rule });
        }
        let mut body = Sequential::default();
        self.push_stem(&mut body, &mut builder)?;
        let mut channels = self.stem_channels;
        for (index, layers) in self.blocks.iter().enumerate() {
            require_count("blocks", *layers)?;
            for layer in 0..*layers {
                let name = format!("features.denseblock{}.denselayer{}", index + 1, layer + 1);
                let (mut builder, inside) = (builder.under(&name), self.bottleneck * self.growth);
                let mut branch = Sequential::default();
                let first = ConvSizes { inputs: channels, outputs: inside, kernel: 1 };
                self.push_norm_conv(&mut branch, &mut builder, "1", first)?;
                let second = ConvSizes { inputs: inside, outputs: self.growth, kernel: 3 };
                self.push_norm_conv(&mut branch, &mut builder, "2", second)?;
                body.push(name, Concatenation::with_input(branch));
                channels += self.growth;
            }
            if index + 1 < self.blocks.len() {
                let name = format!("features.transition{}", index + 1);
                let mut layers = Sequential::default();
                let sizes = ConvSizes { inputs: channels, outputs: channels / 2, kernel: 1 };
                require_size("channels", sizes.outputs)?;
                self.push_norm_conv(&mut layers, &mut builder.under(&name), "", sizes)?;
                layers.push("pool", AvgPool(PoolSettings::square(2)));
                super::blocks::append(&mut body, &name, layers);
                channels = sizes.outputs;
            }
        }
        body.push("features.norm5", BatchNorm2d::new(builder.under("features.norm5"), channels)?);
        body.push("features.relu5", ActivationLayer(self.activation));
        body.push("avgpool", GlobalAvgPool);
        BodyAndHead::new(body, builder, &self.head_name(), channels, self.classes)
    }
}
