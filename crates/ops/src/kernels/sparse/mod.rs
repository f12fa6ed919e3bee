//! Sparsity-aware input gradient of a convolution next to ReLUs, for many cotangents per image.
//!
//! All cotangents of an image have the same ReLU masks. At a pixel, the ReLU after the convolution sets the same channels of
//! every cotangent to zero, and the ReLU before the convolution discards the same channels of every gradient. If half of
//! the channels are active on either side, a quarter of the products of the direct sum remains. After a 2×2 max pool one
//! pixel in four is active, and a ninth remains. Winograd schemes mix pixels before they multiply, so they cannot skip zeros.
//!
//! For each pixel, the rows of active channels of all cotangents and the weights between active channels are gathered. Their
//! product is a dense matrix product, in which each gathered weight is multiplied with every cotangent.

mod active_channels;
mod gathered_rows;
mod products;

use super::elementwise::{mask, relu_mask, zip_map};
use super::instruction_set::InstructionSet;
use super::pool::{self, PoolGeometry};
use super::{Accuracy, ConvGeometry, Element, conv, conv_input_grad_to_vec};
use active_channels::ActiveChannels;

/// With fewer cotangents per image, gathering the weights costs more than it saves.
const FEWEST_COTANGENTS: usize = 32;
/// Multiplications that take as long as gathering one weight.
const GATHERING: f64 = 16.0;

/// The input gradient of a convolution with a ReLU after it, before it, or both.
pub(crate) struct SparseInputGradient<'a, T> {
    /// The geometry of the images. Each image may have several cotangents.
    pub(crate) geometry: ConvGeometry,
    pub(crate) accuracy: Accuracy,
    pub(crate) weight: &'a [T],
    pub(crate) following: Following<'a, T>,
    /// The output of the ReLU before the convolution, if the gradient is masked by it.
    pub(crate) preceding_relu: Option<&'a [T]>,
}

/// The operations after the convolution. Their VJP is applied to the cotangents first.
#[derive(Clone, Copy)]
pub(crate) enum Following<'a, T> {
    Nothing,
    /// A ReLU with this output.
    Relu(&'a [T]),
    /// A ReLU, then a max pool.
    ReluMaxPool(MaxPoolOutput<'a, T>),
}

/// The output of a max pool and the pixel of each maximum.
#[derive(Clone, Copy)]
pub(crate) struct MaxPoolOutput<'a, T> {
    pub(crate) geometry: PoolGeometry,
    pub(crate) values: &'a [T],
    pub(crate) positions: &'a [u32],
}

/// The active channels of the output and of the input of a convolution, in one image.
pub(super) struct ActiveAround {
    output: ActiveChannels,
    input: ActiveChannels,
}

impl<T: Element> SparseInputGradient<'_, T> {
    /// The input gradient `[k·batch, height, width, in]` for cotangents `[k·batch, …]` of the last following operation. Row r
    /// belongs to image r mod batch.
    ///
    /// # Panics
    /// If a slice does not have the length of the geometry.
    pub(crate) fn input_grad(&self, cotangents: &[T]) -> Vec<T> {
        self.input_grad_if(cotangents, |active, each| self.pays(active, each))
    }

    /// [`SparseInputGradient::input_grad`] with this rule for whether products with zeros are skipped.
    pub(super) fn input_grad_if(&self, cotangents: &[T], pays: impl Fn(&[ActiveAround], usize) -> bool) -> Vec<T> {
        let g = &self.geometry;
        let rows = cotangents.len() / self.row_len().max(1);
        self.check(cotangents.len(), rows);
        let windows_are_disjoint = match self.following {
            Following::ReluMaxPool(pool) => pool.geometry.disjoint(),
            _ => true,
        };
        if g.groups == 1 && windows_are_disjoint && rows >= FEWEST_COTANGENTS * g.batch {
            let active: Vec<ActiveAround> = (0..g.batch).map(|image| self.active(image, cotangents)).collect();
            if pays(&active, rows / g.batch) {
                return products::input_grad(
                    InstructionSet::best(),
                    g,
                    self.weight,
                    cotangents,
                    &active,
                    rows / g.batch,
                );
            }
        }
        self.all_products(cotangents, rows)
    }

    /// Checks every length against the geometry, on which the unsafe code relies.
    fn check(&self, length: usize, rows: usize) {
        let g = &self.geometry;
        assert!(rows.is_multiple_of(g.batch) && length == rows * self.row_len(), "cotangents for each image of {g:?}");
        assert_eq!(self.weight.len(), g.weight_len(), "length of the weight for {g:?}");
        let masks = self.preceding_relu.is_none_or(|x| x.len() == g.input_len())
            && match self.following {
                Following::Nothing => true,
                Following::Relu(y) => y.len() == g.output_len(),
                Following::ReluMaxPool(MaxPoolOutput { geometry, values, positions }) => {
                    let [height, width] = [g.out_height(), g.out_width()];
                    [geometry.batch, geometry.height, geometry.width, geometry.channels]
                        == [g.batch, height, width, g.out_channels]
                        && [values.len(), positions.len()] == [g.batch * geometry.pooled_len(); 2]
                }
            };
        assert!(masks, "lengths of the ReLU masks around a convolution of {g:?}");
    }

    /// Length of one cotangent of one image.
    fn row_len(&self) -> usize {
        match self.following {
            Following::ReluMaxPool(pool) => pool.geometry.pooled_len(),
            _ => self.geometry.output_len() / self.geometry.batch,
        }
    }

    /// The dense gradient by the fastest scheme, masked before and after.
    fn all_products(&self, cotangents: &[T], rows: usize) -> Vec<T> {
        let geometry = ConvGeometry { batch: rows, ..self.geometry };
        let masked = match self.following {
            Following::Nothing => None,
            Following::Relu(y) => Some(zip_map(cotangents, y, relu_mask)),
            Following::ReluMaxPool(MaxPoolOutput { geometry, values, positions }) => {
                let masked = zip_map(cotangents, values, relu_mask);
                Some(pool::scatter(&PoolGeometry { batch: rows, ..geometry }, &masked, positions))
            }
        };
        let grad_y = masked.as_deref().unwrap_or(cotangents);
        let mut grad_x = conv_input_grad_to_vec(&geometry, self.accuracy, grad_y, self.weight);
        if let Some(x) = self.preceding_relu {
            mask(&mut grad_x, x);
        }
        grad_x
    }

    /// The active channels of one image.
    fn active(&self, image: usize, cotangents: &[T]) -> ActiveAround {
        let g = &self.geometry;
        let length = self.row_len();
        let output = match self.following {
            Following::Nothing => {
                let rows = cotangents.chunks(length).skip(image).step_by(g.batch);
                ActiveChannels::non_zero_in_any(rows, g.out_height() * g.out_width(), g.out_channels)
            }
            Following::Relu(y) => ActiveChannels::positive(&y[image * length..][..length], g.out_channels),
            Following::ReluMaxPool(pool) => {
                let (values, positions) = (&pool.values[image * length..], &pool.positions[image * length..]);
                ActiveChannels::before_pool(&pool.geometry, &values[..length], &positions[..length])
            }
        };
        let length = g.input_len() / g.batch;
        let input = match self.preceding_relu {
            Some(x) => ActiveChannels::positive(&x[image * length..][..length], g.in_channels),
            None => ActiveChannels::all(g.height * g.width, g.in_channels),
        };
        ActiveAround { output, input }
    }

    /// Whether the products between active channels cost less than the products of the fastest scheme.
    pub(super) fn pays(&self, active: &[ActiveAround], cotangents: usize) -> bool {
        let products: usize = active.iter().map(|active| products::count(&self.geometry, active)).sum();
        let all = conv::input_grad_products(&self.geometry, self.accuracy, T::DOUBLE);
        // Apart from gathering, a product of gathered numbers costs as much as one of a fast scheme with its transforms.
        products as f64 * (1.0 + GATHERING / cotangents as f64) < all as f64
    }
}
