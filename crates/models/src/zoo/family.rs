//! The trait of all families of architectures, their common defaults and checks.

use ops::Activation;

use super::BodyAndHead;
use crate::params::Builder;
use crate::{Error, Result};

/// The sizes of one family.
pub(crate) trait Family {
    /// Outputs of the head.
    fn classes(&self) -> usize;

    fn set_classes(&mut self, classes: usize);

    /// Shape of one input, without the batch.
    fn input_shape(&self) -> Vec<usize>;

    /// Sets the channels and the `[height, width]` of the images.
    fn set_input(&mut self, channels: usize, size: [usize; 2]);

    /// Multiplies every width.
    fn scale_width(&mut self, factor: f64);

    /// Sets the activation.
    fn set_activation(&mut self, activation: Activation);

    /// Whether it has batch norm.
    fn has_batch_norm(&self) -> bool;

    /// The name of the head.
    fn head_name(&self) -> String;

    /// The layers.
    ///
    /// # Errors
    /// [`Error::Setting`] for impossible sizes.
    fn build(&self, builder: Builder<'_>) -> Result<BodyAndHead>;
}

pub(super) fn relu() -> Activation {
    Activation::Relu
}

pub(super) fn is_relu(activation: &Activation) -> bool {
    *activation == relu()
}

pub(super) fn gelu() -> Activation {
    Activation::Gelu
}

pub(super) fn imagenet_size() -> [usize; 2] {
    [224, 224]
}

pub(super) fn thousand() -> usize {
    1000
}

pub(super) fn rgb() -> usize {
    3
}

pub(super) fn cifar_size() -> [usize; 2] {
    [32, 32]
}

pub(super) fn ten() -> usize {
    10
}

/// A width times `factor`, at least one; 0, which is refused later, for a factor that is not finite and positive.
pub(super) fn scaled(width: usize, factor: f64) -> usize {
    if factor.is_finite() && factor > 0.0 { ((width as f64 * factor).round() as usize).max(1) } else { 0 }
}

/// The methods of [`Family`] that the families for images share; they have fields of these names.
macro_rules! takes_images {
    () => {
        fn classes(&self) -> usize {
            self.classes
        }

        fn set_classes(&mut self, classes: usize) {
            self.classes = classes;
        }

        fn input_shape(&self) -> Vec<usize> {
            vec![self.in_channels, self.input_size[0], self.input_size[1]]
        }

        fn set_input(&mut self, channels: usize, size: [usize; 2]) {
            (self.in_channels, self.input_size) = (channels, size);
        }

        fn set_activation(&mut self, activation: Activation) {
            self.activation = activation;
        }
    };
}
pub(super) use takes_images;

/// The methods of [`Family`] that the families for embedded sequences share; they have fields of these names.
macro_rules! takes_sequences {
    () => {
        fn classes(&self) -> usize {
            self.classes
        }

        fn set_classes(&mut self, classes: usize) {
            self.classes = classes;
        }

        fn input_shape(&self) -> Vec<usize> {
            vec![self.tokens, self.width]
        }

        /// The pixels become tokens, and the channels the numbers in each.
        fn set_input(&mut self, channels: usize, size: [usize; 2]) {
            (self.tokens, self.width) = (size[0].saturating_mul(size[1]), channels);
        }

        fn set_activation(&mut self, activation: Activation) {
            self.activation = activation;
        }

        fn has_batch_norm(&self) -> bool {
            false
        }
    };
}
pub(super) use takes_sequences;

/// Larger sizes are mistakes, and products of them would overflow.
const LARGEST_SIZE: usize = 1 << 24;

/// Refuses a size of zero and a size beyond [`LARGEST_SIZE`].
pub(super) fn require_size(name: &'static str, value: usize) -> Result<()> {
    if (1..=LARGEST_SIZE).contains(&value) {
        return Ok(());
    }
    let rule = "it lies between 1 and 16777216";
    Err(Error::Setting { op: "architecture", name, value: value.to_string(), rule })
}

/// Refuses impossible images and numbers of classes.
pub(super) fn require_images(in_channels: usize, input_size: [usize; 2], classes: usize) -> Result<()> {
    require_size("in_channels", in_channels)?;
    input_size.into_iter().try_for_each(|side| require_size("input_size", side))?;
    require_size("classes", classes)
}

/// Refuses a number of layers or blocks outside 1 to 4096.
pub(super) fn require_count(name: &'static str, value: usize) -> Result<()> {
    if (1..=4096).contains(&value) {
        return Ok(());
    }
    Err(Error::Setting { op: "architecture", name, value: value.to_string(), rule: "it lies between 1 and 4096" })
}

/// Pixels of an image after halving its sides this number of times; an odd row or column is dropped each time.
pub(super) fn pixels_after_halving(size: [usize; 2], times: usize) -> Result<usize> {
    let halved = |size: usize| (0..times).fold(size, |size, _| size / 2);
    match halved(size[0]).saturating_mul(halved(size[1])) {
        0 => Err(Error::Setting {
            op: "architecture",
            name: "input_size",
            value: format!("{size:?}"),
            rule: "each stage halves both sides, and none may reach 0; pad or resize the images, or use fewer stages",
        }),
        pixels => Ok(pixels),
    }
}

/// Refuses a probability outside [0, 1).
pub(super) fn require_probability(dropout: f64) -> Result<()> {
    if (0.0..1.0).contains(&dropout) {
        return Ok(());
    }
    let value = dropout.to_string();
    Err(Error::Setting { op: "architecture", name: "dropout", value, rule: "it is a probability in [0, 1)" })
}
