//! The sizes of one convolution and their validation.

use std::fmt;

/// How much rounding a convolution in f32 may add.
///
/// It matters only for f32: f64 always takes the direct algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Accuracy {
    /// The fastest algorithm, including Winograd F(4×4, 3×3): error about 2e-6 of the output's root mean square.
    #[default]
    Fast,
    /// Direct sums only: error about 5e-7 of the output's root mean square.
    Accurate,
    /// Mixed precision: factors of f32 products are rounded to bf16 (eight bits of mantissa) and summed in f32. The error is
    /// about 3e-3 of the output's root mean square. Operations return an error unless the tensors are on CUDA (compute capability
    /// 8.0 or above) and the feature `cudnn` is on. The CPU kernels treat it as [`Accuracy::Accurate`].
    Bf16,
    /// TF32: factors of f32 products are rounded to ten bits of mantissa and summed in f32, as in PyTorch's convolutions on CUDA by
    /// default. A factor changes by at most 2⁻¹⁰ of itself, in bf16 by 2⁻⁸. It has the conditions of [`Accuracy::Bf16`].
    Tf32,
}

impl Accuracy {
    /// Whether the factors of f32 products are rounded to fewer bits, which only convolutions on CUDA with the feature `cudnn` do.
    ///
    /// ```
    /// use ops::Accuracy;
    /// let rounds = [Accuracy::Fast, Accuracy::Accurate, Accuracy::Bf16, Accuracy::Tf32].map(Accuracy::rounds_factors);
    /// assert_eq!(rounds, [false, false, true, true]);
    /// ```
    pub fn rounds_factors(self) -> bool {
        matches!(self, Self::Bf16 | Self::Tf32)
    }
}

/// The sizes of one 2-D convolution: activations NHWC, weights `[out, in / groups, kernel height, kernel width]`.
///
/// Pairs are (vertical, horizontal). The convolution is PyTorch's: a cross-correlation with zero padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Images in the batch.
    pub batch: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step between neighbouring outputs.
    pub stride: [usize; 2],
    /// Rows and columns of zeros on each side.
    pub padding: [usize; 2],
    /// Step between neighbouring taps of the kernel.
    pub dilation: [usize; 2],
    /// Independent groups of channels.
    pub groups: usize,
}

/// The rule that a geometry violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// A size is zero that must be at least one.
    Zero {
        /// The name of the size.
        what: &'static str,
    },
    /// `groups` does not divide a channel count.
    Groups {
        /// `"in_channels"` or `"out_channels"`.
        what: &'static str,
        /// The channel count.
        channels: usize,
        /// The number of groups.
        groups: usize,
    },
    /// The dilated kernel is larger than the padded image.
    KernelTooLarge {
        /// `"height"` or `"width"`.
        axis: &'static str,
        /// Extent of the dilated kernel along the axis.
        kernel: usize,
        /// Extent of the padded image along the axis.
        padded: usize,
    },
    /// The number of elements of a tensor does not fit the address space.
    Overflow,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Zero { what } => write!(f, "{what} must be at least 1, got 0"),
            Self::Groups { what, channels, groups } => {
                write!(f, "groups must divide {what}: {channels} is not a multiple of {groups}")
            }
            Self::KernelTooLarge { axis, kernel, padded } => write!(
                f,
                "the dilated kernel must fit the padded image: along {axis} it spans {kernel}, the image {padded}"
            ),
            Self::Overflow => write!(f, "the number of elements exceeds the address space"),
        }
    }
}

impl std::error::Error for GeometryError {}

impl ConvGeometry {
    /// The same geometry, if it is valid.
    ///
    /// # Errors
    /// [`GeometryError`] is the first rule that the geometry violates.
    pub fn validated(self) -> Result<Self, GeometryError> {
        for (what, size) in [
            ("batch", self.batch),
            ("height", self.height),
            ("width", self.width),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("kernel height", self.kernel[0]),
            ("kernel width", self.kernel[1]),
            ("vertical stride", self.stride[0]),
            ("horizontal stride", self.stride[1]),
            ("vertical dilation", self.dilation[0]),
            ("horizontal dilation", self.dilation[1]),
            ("groups", self.groups),
        ] {
            if size == 0 {
                return Err(GeometryError::Zero { what });
            }
        }
        for (what, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if channels % self.groups != 0 {
                return Err(GeometryError::Groups { what, channels, groups: self.groups });
            }
        }
        for (axis, index, image) in [("height", 0, self.height), ("width", 1, self.width)] {
            let kernel = (self.kernel[index] - 1)
                .checked_mul(self.dilation[index])
                .and_then(|span| span.checked_add(1))
                .ok_or(GeometryError::Overflow)?;
            let padded = self.padding[index]
                .checked_mul(2)
                .and_then(|both| both.checked_add(image))
                .ok_or(GeometryError::Overflow)?;
            if kernel > padded {
                return Err(GeometryError::KernelTooLarge { axis, kernel, padded });
            }
        }
        self.sizes_fit().then_some(self).ok_or(GeometryError::Overflow)
    }

    /// Whether every tensor of this convolution has a length in bytes that fits an `isize`.
    fn sizes_fit(&self) -> bool {
        let fits = |sizes: [usize; 4]| {
            let length = sizes.iter().try_fold(size_of::<f64>(), |product, &size| product.checked_mul(size));
            length.is_some_and(|bytes| isize::try_from(bytes).is_ok())
        };
        fits([self.batch, self.height, self.width, self.in_channels])
            && fits([self.batch, self.out_height(), self.out_width(), self.out_channels])
            && fits([self.out_channels, self.group_in_channels(), self.kernel[0], self.kernel[1]])
    }

    /// Height of the output.
    pub fn out_height(&self) -> usize {
        self.out_extent(self.height, 0)
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        self.out_extent(self.width, 1)
    }

    fn out_extent(&self, image: usize, axis: usize) -> usize {
        let span = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        (image + 2 * self.padding[axis] - span) / self.stride[axis] + 1
    }

    /// Input channels per group.
    pub fn group_in_channels(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels per group.
    pub fn group_out_channels(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Elements of the input, `[batch, height, width, in_channels]`.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Elements of the weight, `[out_channels, in_channels / groups, kernel height, kernel width]`.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.group_in_channels() * self.kernel[0] * self.kernel[1]
    }

    /// Elements of the output, `[batch, out_height, out_width, out_channels]`.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Multiply–adds of the direct algorithm, the same for all three operations.
    pub fn multiplications(&self) -> usize {
        self.output_len() * self.group_in_channels() * self.kernel[0] * self.kernel[1]
    }
}
