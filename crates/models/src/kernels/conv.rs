//! The three derivatives of T(x, w, g) = ⟨conv(x, w), g⟩.

use rayon::prelude::*;

use super::{Accuracy, ConvGeometry, Element};

/// Writes conv(x, weight) + bias into `y`.
///
/// # Panics
/// If the geometry is not [valid](ConvGeometry::validated) or a slice has not the length that it demands.
pub fn conv_forward<T: Element>(
    geometry: &ConvGeometry,
    _accuracy: Accuracy,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    check(geometry, x.len(), weight.len(), y.len());
    assert!(bias.is_none_or(|bias| bias.len() == geometry.out_channels), "one bias for each output channel");
    let image = geometry.out_height() * geometry.out_width() * geometry.out_channels;
    y.par_chunks_mut(image).enumerate().for_each(|(n, y)| {
        match bias {
            Some(bias) => y.chunks_mut(bias.len()).for_each(|pixel| pixel.copy_from_slice(bias)),
            None => y.fill(T::default()),
        }
        taps(geometry, n, |x_at, w_at, y_at| y[y_at] += x[x_at] * weight[w_at]);
    });
}

/// Writes the gradient of ⟨conv(x, weight), grad_y⟩ with respect to `x` into `grad_x`.
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_input_grad<T: Element>(
    geometry: &ConvGeometry,
    _accuracy: Accuracy,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [T],
) {
    check(geometry, grad_x.len(), weight.len(), grad_y.len());
    let image = geometry.height * geometry.width * geometry.in_channels;
    let out_image = geometry.out_height() * geometry.out_width() * geometry.out_channels;
    grad_x.par_chunks_mut(image).enumerate().for_each(|(n, grad_x)| {
        grad_x.fill(T::default());
        taps(geometry, n, |x_at, w_at, y_at| {
            grad_x[x_at - n * image] += grad_y[n * out_image + y_at] * weight[w_at];
        });
    });
}

/// Writes the gradient of ⟨conv(x, weight), grad_y⟩ with respect to `weight` into `grad_weight`.
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_weight_grad<T: Element>(
    geometry: &ConvGeometry,
    _accuracy: Accuracy,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [T],
) {
    check(geometry, x.len(), grad_weight.len(), grad_y.len());
    grad_weight.fill(T::default());
    let out_image = geometry.out_height() * geometry.out_width() * geometry.out_channels;
    for n in 0..geometry.batch {
        taps(geometry, n, |x_at, w_at, y_at| grad_weight[w_at] += x[x_at] * grad_y[n * out_image + y_at]);
    }
}

fn check(geometry: &ConvGeometry, input: usize, weight: usize, output: usize) {
    assert!(geometry.validated().is_ok(), "invalid convolution geometry {geometry:?}");
    assert_eq!(input, geometry.input_len(), "length of the input for {geometry:?}");
    assert_eq!(weight, geometry.weight_len(), "length of the weight for {geometry:?}");
    assert_eq!(output, geometry.output_len(), "length of the output for {geometry:?}");
}

/// Calls `visit(x index, weight index, y index within the image)` for every product of image `n`.
fn taps(g: &ConvGeometry, n: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let (depth, width_out) = (g.group_in_channels(), g.group_out_channels());
    for oh in 0..g.out_height() {
        for ow in 0..g.out_width() {
            for kh in 0..g.kernel[0] {
                for kw in 0..g.kernel[1] {
                    let (h, w) = (oh * g.stride[0] + kh * g.dilation[0], ow * g.stride[1] + kw * g.dilation[1]);
                    let (Some(h), Some(w)) = (h.checked_sub(g.padding[0]), w.checked_sub(g.padding[1])) else {
                        continue;
                    };
                    if h >= g.height || w >= g.width {
                        continue;
                    }
                    for co in 0..g.out_channels {
                        let first = co / width_out * depth;
                        for ci in 0..depth {
                            visit(
                                ((n * g.height + h) * g.width + w) * g.in_channels + first + ci,
                                ((co * depth + ci) * g.kernel[0] + kh) * g.kernel[1] + kw,
                                (oh * g.out_width() + ow) * g.out_channels + co,
                            );
                        }
                    }
                }
            }
        }
    }
}
