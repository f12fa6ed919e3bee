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
mod products;

use super::elementwise::{gate, zip_map};
use super::instruction_set::InstructionSet;
use super::{Accuracy, ConvGeometry, Element, conv, conv_input_grad_to_vec};
use alive::Alive;

/// With fewer cotangents of an image, gathering its weights costs more than it saves.
const FEWEST_COTANGENTS: usize = 32;
/// Multiplications that take as long as gathering one weight.
const GATHERING: f64 = 16.0;
/// How much dearer a product of gathered numbers is than one of the fast schemes with their transforms.
const DEARER: f64 = 1.0;

/// A convolution of images with a ReLU behind it, in front of it, or both.
pub(crate) struct BetweenRelus<'a, T> {
    /// Of the images, of which each may have many cotangents.
    pub(crate) geometry: ConvGeometry,
    pub(crate) accuracy: Accuracy,
    pub(crate) weight: &'a [T],
    /// The output of the ReLU behind, if the cotangents are still to pass it.
    pub(crate) y: Option<&'a [T]>,
    /// The output of the ReLU in front, if the gradient is wanted only where that is positive; it is zero elsewhere.
    pub(crate) x: Option<&'a [T]>,
}

/// What is alive behind a convolution and in front of it, in one image.
pub(super) struct AliveAround {
    behind: Alive,
    in_front: Alive,
}

impl<T: Element> BetweenRelus<'_, T> {
    /// The input gradient `[k·batch, height, width, in]` for cotangents `[k·batch, out height, out width, out]`, whose row
    /// r belongs to image r mod batch.
    pub(crate) fn input_grad(&self, grad_y: &[T]) -> Vec<T> {
        self.input_grad_if(grad_y, |alive, cotangents| self.pays(alive, cotangents))
    }

    /// The same with this rule for whether products with zeros are left out.
    pub(super) fn input_grad_if(&self, grad_y: &[T], pays: impl Fn(&[AliveAround], usize) -> bool) -> Vec<T> {
        let g = &self.geometry;
        let cotangents = grad_y.len() / g.output_len().max(1);
        if g.groups == 1 && cotangents >= FEWEST_COTANGENTS {
            let alive: Vec<AliveAround> = (0..g.batch).map(|image| self.alive(image, grad_y)).collect();
            if pays(&alive, cotangents) {
                return products::between(InstructionSet::best(), g, self.weight, grad_y, &alive);
            }
        }
        self.all_products(grad_y, cotangents)
    }

    /// Every product, by the fastest scheme.
    fn all_products(&self, grad_y: &[T], cotangents: usize) -> Vec<T> {
        let geometry = ConvGeometry { batch: self.geometry.batch * cotangents, ..self.geometry };
        let gated = self.y.map(|y| zip_map(grad_y, y, gate));
        let grad_y = gated.as_deref().unwrap_or(grad_y);
        let grad_x = conv_input_grad_to_vec(&geometry, self.accuracy, grad_y, self.weight);
        match self.x {
            Some(x) => zip_map(&grad_x, x, gate),
            None => grad_x,
        }
    }

    fn alive(&self, image: usize, grad_y: &[T]) -> AliveAround {
        let g = &self.geometry;
        let (pixels, out_pixels) = (g.height * g.width, g.out_height() * g.out_width());
        let (length, out_length) = (pixels * g.in_channels, out_pixels * g.out_channels);
        let behind = match self.y {
            Some(y) => Alive::positive(&y[image * out_length..][..out_length], g.out_channels),
            None => {
                Alive::in_any(grad_y.chunks(out_length).skip(image).step_by(g.batch), out_pixels, g.out_channels)
            }
        };
        let in_front = match self.x {
            Some(x) => Alive::positive(&x[image * length..][..length], g.in_channels),
            None => Alive::everywhere(pixels, g.in_channels),
        };
        AliveAround { behind, in_front }
    }

    /// Whether the products between what is alive cost less than those of the fastest scheme.
    fn pays(&self, alive: &[AliveAround], cotangents: usize) -> bool {
        let products: usize = alive.iter().map(|alive| products::count(&self.geometry, alive)).sum();
        let all = conv::input_grad_products(&self.geometry, self.accuracy, T::DOUBLE);
        products as f64 * (DEARER + GATHERING / cotangents as f64) < all as f64
    }
}
