//! The direct sum for any geometry: patches are gathered block by block (im2col) and multiplied as matrices.

mod columns;
mod depthwise;
mod lines;
mod patches;
mod product;
mod transposed_lines;
mod weight_grad;
mod weights;

pub(crate) use weight_grad::weight_grad;

use std::mem::MaybeUninit;

use super::instruction_set::InstructionSet;
use super::operands::Operands;
use super::shared::{Shared, for_each_task};
use super::{ConvGeometry, Element};
use patches::{Axis, Patches};
use product::{Destination, multiply};
use weights::{Packed, WeightView};

/// Writes conv(x, weight) + bias into `y`. Slices have the lengths of the geometry.
pub(crate) fn forward<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    operands: Operands<'_, T>,
    y: &mut [MaybeUninit<T>],
) {
    if depthwise::suits(g) {
        return depthwise::forward(set, g, operands, y);
    }
    if lines::suits(set.lanes::<T>(), g) {
        return lines::forward(set, g, operands, y);
    }
    let Operands { x, weight, bias } = operands;
    for group in 0..g.groups {
        let patches = forward_patches(g, group);
        let (depth, columns) = (g.group_in_channels(), g.group_out_channels());
        let plane = g.kernel[0] * g.kernel[1];
        let view = WeightView {
            first: group * columns * depth * plane,
            depth: plane,
            column: depth * plane,
            taps: patches.weight_taps(g),
        };
        let mut packed = Packed::new(set, weight, &view, depth, columns);
        let bias = bias.map(|bias| &bias[group * columns..][..columns]);
        let to = Rows { base: Shared::new(y[group * columns..].as_mut_ptr().cast::<T>()), stride: g.out_channels };
        if patches.len() == 0 {
            fill(&to, patches.positions(), columns, bias);
            continue;
        }
        // SAFETY: `x` holds the images; `y` has one row per position, and each group writes its own columns.
        unsafe { multiply(set, &patches, x.as_ptr(), &mut packed, bias, &to) }
    }
}

/// Writes the input gradient into `grad_x`. Slices have the lengths of the geometry.
pub(crate) fn input_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [MaybeUninit<T>],
) {
    if depthwise::suits(g) {
        return depthwise::input_grad(set, g, grad_y, weight, grad_x);
    }
    if transposed_lines::suits(set.lanes::<T>(), g) {
        return transposed_lines::input_grad(set, g, grad_y, weight, grad_x);
    }
    if columns::suits(set.lanes::<T>(), g) {
        return columns::input_grad(set, g, grad_y, weight, grad_x);
    }
    let base = Shared::<T>::new(grad_x.as_mut_ptr().cast());
    for group in 0..g.groups {
        for top in 0..g.stride[0].min(g.height) {
            for left in 0..g.stride[1].min(g.width) {
                input_grad_class(set, g, grad_y, weight, base, group, [top, left]);
            }
        }
    }
}

/// Writes the gradient at pixels `first + n * stride` for the channels of one group.
fn input_grad_class<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    grad_y: &[T],
    weight: &[T],
    grad_x: Shared<T>,
    group: usize,
    first: [usize; 2],
) {
    let (depth, columns) = (g.group_out_channels(), g.group_in_channels());
    let patches = Patches {
        batch: g.batch,
        rows: Axis::input_grad(g, 0, first[0]),
        columns: Axis::input_grad(g, 1, first[1]),
        channels: g.out_channels,
        first_channel: group * depth,
        depth,
    };
    let plane = g.kernel[0] * g.kernel[1];
    let view = WeightView {
        first: group * depth * columns * plane,
        depth: columns * plane,
        column: plane,
        taps: patches.weight_taps(g),
    };
    // SAFETY: the channels of the group lie within a pixel.
    let base = Shared::new(unsafe { grad_x.get().add(group * columns) });
    if g.stride == [1, 1] {
        let to = Rows { base, stride: g.in_channels };
        class_product(set, &patches, grad_y, weight, &view, columns, &to);
    } else {
        let grid = [patches.rows.positions, patches.columns.positions];
        let to =
            StridedPixels { base, grid, first, step: g.stride, size: [g.height, g.width], channels: g.in_channels };
        class_product(set, &patches, grad_y, weight, &view, columns, &to);
    }
}

fn class_product<T: Element>(
    set: InstructionSet,
    patches: &Patches,
    grad_y: &[T],
    weight: &[T],
    view: &WeightView,
    columns: usize,
    to: &impl Destination<T>,
) {
    if patches.len() == 0 {
        return fill(to, patches.positions(), columns, None);
    }
    let mut packed = Packed::new(set, weight, view, patches.depth, columns);
    // SAFETY: `grad_y` holds the images; each position of each class has its own pixel.
    unsafe { multiply(set, patches, grad_y.as_ptr(), &mut packed, None, to) }
}

/// Writes the bias, or zeros, into every row: the convolution if every tap reads the padding only.
fn fill<T: Element>(to: &impl Destination<T>, positions: usize, columns: usize, bias: Option<&[T]>) {
    const ROWS: usize = 256;
    for_each_task(positions.div_ceil(ROWS), positions * columns, |task| {
        for position in task * ROWS..positions.min((task + 1) * ROWS) {
            let row = to.row(position);
            for column in 0..columns {
                let value = bias.map_or(T::default(), |bias| bias[column]);
                // SAFETY: every row is writable for these columns and belongs to one position.
                unsafe { row.add(column).write(value) };
            }
        }
    });
}

/// The patches of the forward pass for the input channels of one group.
fn forward_patches(g: &ConvGeometry, group: usize) -> Patches {
    let depth = g.group_in_channels();
    Patches {
        batch: g.batch,
        rows: Axis::forward(g, 0),
        columns: Axis::forward(g, 1),
        channels: g.in_channels,
        first_channel: group * depth,
        depth,
    }
}

/// Every pixel in order.
struct Rows<T> {
    base: Shared<T>,
    stride: usize,
}

impl<T> Destination<T> for Rows<T> {
    fn in_place(&self) -> bool {
        true
    }
    fn row(&self, position: usize) -> *mut T {
        // Positions are pixels, so the address lies within the image.
        self.base.get().wrapping_add(position * self.stride)
    }
    fn stride(&self) -> usize {
        self.stride
    }
}

/// Every `step`-th pixel from `first` on.
struct StridedPixels<T> {
    base: Shared<T>,
    grid: [usize; 2],
    first: [usize; 2],
    step: [usize; 2],
    size: [usize; 2],
    channels: usize,
}

impl<T> Destination<T> for StridedPixels<T> {
    fn in_place(&self) -> bool {
        false
    }
    fn row(&self, position: usize) -> *mut T {
        let (line, column) = (position / self.grid[1], position % self.grid[1]);
        let (image, row) = (line / self.grid[0], line % self.grid[0]);
        let (y, x) = (self.first[0] + row * self.step[0], self.first[1] + column * self.step[1]);
        self.base.get().wrapping_add(((image * self.size[0] + y) * self.size[1] + x) * self.channels)
    }
    fn stride(&self) -> usize {
        self.channels
    }
}
