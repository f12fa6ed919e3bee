//! The input gradient of a convolution between ReLUs, for many cotangents of each image at once.
//!
//! All cotangents of an image meet the same ReLUs. At a pixel the same channels of every cotangent are stopped, and of the
//! gradient the same channels are of no use. With half of the channels alive on either side a quarter of the direct sum's
//! products is left; a max pool behind the convolution leaves one pixel in four of each channel, and a ninth of the products.
//! Fast schemes, which mix pixels before they multiply, know no zeros.
//!
//! The numbers alive of all cotangents are gathered side by side, and for each pixel the weights between channels alive, so
//! that the products are dense ones. A weight gathered once is multiplied with every cotangent.

mod alive;
mod gathered;
mod products;

use super::elementwise::{gate, zip_apply, zip_map};
use super::instruction_set::InstructionSet;
use super::pool::{self, PoolGeometry};
use super::{Accuracy, ConvGeometry, Element, conv, conv_input_grad_to_vec};
use alive::Alive;

/// With fewer cotangents of an image, gathering its weights costs more than it saves.
const FEWEST_COTANGENTS: usize = 32;
/// Multiplications that take as long as gathering one weight.
const GATHERING: f64 = 16.0;

/// A convolution of images with a ReLU behind it, in front of it, or both.
pub(crate) struct BetweenRelus<'a, T> {
    /// Of the images, of which each may have many cotangents.
    pub(crate) geometry: ConvGeometry,
    pub(crate) accuracy: Accuracy,
    pub(crate) weight: &'a [T],
    pub(crate) behind: Behind<'a, T>,
    /// The output of the ReLU in front, if the gradient is wanted only where that is positive; it is zero elsewhere.
    pub(crate) in_front: Option<&'a [T]>,
}

/// What the cotangents are still to pass on their way back to the convolution.
#[derive(Clone, Copy)]
pub(crate) enum Behind<'a, T> {
    Nothing,
    /// A ReLU with this output.
    Relu(&'a [T]),
    /// A max pool and a ReLU in front of it.
    Pool(Pooled<'a, T>),
}

/// What a max pool saw: its output and where that came from.
#[derive(Clone, Copy)]
pub(crate) struct Pooled<'a, T> {
    pub(crate) geometry: PoolGeometry,
    pub(crate) values: &'a [T],
    pub(crate) positions: &'a [u32],
}

/// What is alive behind a convolution and in front of it, in one image.
pub(super) struct AliveAround {
    behind: Alive,
    in_front: Alive,
}

impl<T: Element> BetweenRelus<'_, T> {
    /// The input gradient `[k·batch, height, width, in]` for cotangents `[k·batch, …]` of what is behind, whose row r belongs to
    /// image r mod batch.
    ///
    /// # Panics
    /// If a slice has not the length that the geometry demands.
    pub(crate) fn input_grad(&self, cotangents: &[T]) -> Vec<T> {
        self.input_grad_if(cotangents, |alive, each| self.pays(alive, each))
    }

    /// The same with this rule for whether products with zeros are left out.
    pub(super) fn input_grad_if(&self, cotangents: &[T], pays: impl Fn(&[AliveAround], usize) -> bool) -> Vec<T> {
        let g = &self.geometry;
        let rows = cotangents.len() / self.row_len().max(1);
        self.check(cotangents.len(), rows);
        let gathers = match self.behind {
            Behind::Pool(pooled) => pooled.geometry.apart(),
            _ => true,
        };
        if g.groups == 1 && gathers && rows >= FEWEST_COTANGENTS * g.batch {
            let alive: Vec<AliveAround> = (0..g.batch).map(|image| self.alive(image, cotangents)).collect();
            if pays(&alive, rows / g.batch) {
                return products::between(InstructionSet::best(), g, self.weight, cotangents, &alive, rows / g.batch);
            }
        }
        self.all_products(cotangents, rows)
    }

    /// Lengths are those of the geometry, on which the unsafe code below relies.
    fn check(&self, length: usize, rows: usize) {
        let g = &self.geometry;
        assert!(rows.is_multiple_of(g.batch) && length == rows * self.row_len(), "cotangents for each image of {g:?}");
        assert_eq!(self.weight.len(), g.weight_len(), "length of the weight for {g:?}");
        let around = self.in_front.is_none_or(|x| x.len() == g.input_len())
            && match self.behind {
                Behind::Nothing => true,
                Behind::Relu(y) => y.len() == g.output_len(),
                Behind::Pool(Pooled { geometry, values, positions }) => {
                    let [height, width] = [g.out_height(), g.out_width()];
                    [geometry.batch, geometry.height, geometry.width, geometry.channels]
                        == [g.batch, height, width, g.out_channels]
                        && [values.len(), positions.len()] == [g.batch * geometry.pooled_len(); 2]
                }
            };
        assert!(around, "lengths of what is around a convolution of {g:?}");
    }

    /// Length of the cotangent of one image.
    fn row_len(&self) -> usize {
        match self.behind {
            Behind::Pool(pooled) => pooled.geometry.pooled_len(),
            _ => self.geometry.output_len() / self.geometry.batch,
        }
    }

    /// Every product, by the fastest scheme.
    fn all_products(&self, cotangents: &[T], rows: usize) -> Vec<T> {
        let geometry = ConvGeometry { batch: rows, ..self.geometry };
        let passed = match self.behind {
            Behind::Nothing => None,
            Behind::Relu(y) => Some(zip_map(cotangents, y, gate)),
            Behind::Pool(Pooled { geometry, values, positions }) => {
                let gated = zip_map(cotangents, values, gate);
                Some(pool::scatter(&PoolGeometry { batch: rows, ..geometry }, &gated, positions))
            }
        };
        let grad_y = passed.as_deref().unwrap_or(cotangents);
        let mut grad_x = conv_input_grad_to_vec(&geometry, self.accuracy, grad_y, self.weight);
        if let Some(x) = self.in_front {
            zip_apply(&mut grad_x, x, gate);
        }
        grad_x
    }

    fn alive(&self, image: usize, cotangents: &[T]) -> AliveAround {
        let g = &self.geometry;
        let length = self.row_len();
        let behind = match self.behind {
            Behind::Nothing => {
                let rows = cotangents.chunks(length).skip(image).step_by(g.batch);
                Alive::in_any(rows, g.out_height() * g.out_width(), g.out_channels)
            }
            Behind::Relu(y) => Alive::positive(&y[image * length..][..length], g.out_channels),
            Behind::Pool(pooled) => {
                let (values, positions) = (&pooled.values[image * length..], &pooled.positions[image * length..]);
                Alive::before_pool(&pooled.geometry, &values[..length], &positions[..length])
            }
        };
        let length = g.input_len() / g.batch;
        let in_front = match self.in_front {
            Some(x) => Alive::positive(&x[image * length..][..length], g.in_channels),
            None => Alive::everywhere(g.height * g.width, g.in_channels),
        };
        AliveAround { behind, in_front }
    }

    /// Whether the products between what is alive cost less than those of the fastest scheme.
    pub(super) fn pays(&self, alive: &[AliveAround], cotangents: usize) -> bool {
        let products: usize = alive.iter().map(|alive| products::count(&self.geometry, alive)).sum();
        let all = conv::input_grad_products(&self.geometry, self.accuracy, T::DOUBLE);
        // Otherwise a product of gathered numbers costs what one of the fast schemes does with its transforms.
        products as f64 * (1.0 + GATHERING / cotangents as f64) < all as f64
    }
}
