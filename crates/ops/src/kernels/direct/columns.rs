//! The input gradient for an input of few channels at strides above 1, as in a first layer for large images: one matrix product for all
//! taps, then a sum over taps per pixel (col2im). Vectors are filled by taps times channels instead of by few channels.

use std::mem::MaybeUninit;

use super::weights::{Packed, WeightView};
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::{ConvGeometry, Element};

/// Whether the input channels fill at most half of a vector.
pub(crate) fn suits(lanes: usize, g: &ConvGeometry) -> bool {
    g.groups == 1 && g.kernel != [1, 1] && 2 * g.in_channels <= lanes
}

/// Writes the input gradient into `grad_x`. Slices have the lengths of the geometry.
pub(crate) fn input_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [MaybeUninit<T>],
) {
    let plane = g.kernel[0] * g.kernel[1];
    let columns = plane * g.in_channels;
    // Columns in the order (tap, channel): the channels of one tap are adjacent.
    let mut ordered = Scratch::<T>::new(g.out_channels * columns);
    for (to, from) in ordered.slice().chunks_mut(columns).zip(weight.chunks(columns)) {
        for (index, to) in to.iter_mut().enumerate() {
            *to = from[index % g.in_channels * plane + index / g.in_channels];
        }
    }
    let view = WeightView { first: 0, depth: columns, column: 1, taps: vec![0] };
    let mut packed = Packed::new(set, ordered.slice(), &view, g.out_channels, columns);
    let weights = Shared::reading(packed.pointer());
    let pixels = g.out_height() * g.out_width();
    let image = g.height * g.width * g.in_channels;
    let (out, packed) = (Shared::new(grad_x.as_mut_ptr()), &packed);
    for_each_task(g.batch, g.multiplications(), |n| {
        let mut parts = Scratch::<T>::new(pixels * columns);
        for panel in 0..packed.panels() {
            let column = panel * packed.width;
            // SAFETY: cotangent, packed weights and scratch have these sizes; the scratch belongs to this task.
            unsafe {
                let product = PanelProduct {
                    rows: pixels,
                    depth: g.out_channels,
                    columns: packed.used(panel),
                    a: grad_y.as_ptr().add(n * pixels * g.out_channels),
                    a_row: g.out_channels,
                    a_depth: 1,
                    b: weights.get().add(panel * packed.rows * packed.width),
                    b_row: packed.width,
                    b_len: packed.rows * packed.width,
                    c: parts.pointer().add(column),
                    c_row: columns,
                    onto: Onto::Zero,
                };
                product.compute(set);
            }
        }
        // SAFETY: each task has its own image, which is filled before it is read.
        unsafe {
            let grad_x = std::slice::from_raw_parts_mut(out.get().add(n * image), image);
            grad_x.fill(MaybeUninit::new(T::default()));
            collect(g, parts.slice(), grad_x.assume_init_mut());
        }
    });
}

/// Adds the parts `[output pixel][tap][channel]` of one image to their input pixels.
fn collect<T: Element>(g: &ConvGeometry, parts: &[T], grad_x: &mut [T]) {
    let (channels, across) = (g.in_channels, g.out_width());
    let length = g.kernel[0] * g.kernel[1] * channels;
    for (row, parts) in parts.chunks_exact(across * length).enumerate() {
        for tap in 0..g.kernel[0] * g.kernel[1] {
            let (down, right) = (tap / g.kernel[1], tap % g.kernel[1]);
            let line = row * g.stride[0] + down * g.dilation[0];
            let Some(line) = line.checked_sub(g.padding[0]).filter(|&line| line < g.height) else { continue };
            let line = &mut grad_x[line * g.width * channels..][..g.width * channels];
            for (column, part) in parts.chunks_exact(length).enumerate() {
                let pixel = column * g.stride[1] + right * g.dilation[1];
                let Some(pixel) = pixel.checked_sub(g.padding[1]).filter(|&pixel| pixel < g.width) else { continue };
                let pixel = &mut line[pixel * channels..][..channels];
                for (sum, &part) in pixel.iter_mut().zip(&part[tap * channels..][..channels]) {
                    *sum += part;
                }
            }
        }
    }
}
