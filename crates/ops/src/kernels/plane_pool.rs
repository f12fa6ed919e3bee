//! Max pooling of planes, images of one channel, by 2×2 windows without padding: vectors go along the lines.

use std::mem::MaybeUninit;

use super::Element;
use super::instruction_set::InstructionSet;
use super::pool::PoolGeometry;

/// The maxima of one plane and their pixels, with 2×2 windows without padding.
pub(super) fn max<T: Element>(
    g: &PoolGeometry,
    plane: &[T],
    values: &mut [MaybeUninit<T>],
    positions: &mut [MaybeUninit<u32>],
) {
    let (width, across) = (g.width, g.out_width());
    let set = InstructionSet::best();
    let rows = values.chunks_exact_mut(across).zip(positions.chunks_exact_mut(across));
    for (row, outputs) in rows.enumerate() {
        let first = row * g.stride[0] * width;
        let lines = [&plane[first..][..width], &plane[first + width..][..width]];
        match g.stride[1] {
            // A constant distance, so that the compiler reads whole vectors.
            2 => set.vectorised(
                #[inline(always)]
                || max_of_lines(lines, first, 2, outputs),
            ),
            stride => max_of_lines(lines, first, stride, outputs),
        }
    }
}

/// The maxima of the 2×2 windows in two lines of a plane, of which `first` is the first pixel.
#[inline(always)]
fn max_of_lines<T: Element>(
    [upper, lower]: [&[T]; 2],
    first: usize,
    stride: usize,
    (values, positions): (&mut [MaybeUninit<T>], &mut [MaybeUninit<u32>]),
) {
    let (count, width) = (values.len(), upper.len());
    assert!(positions.len() == count && lower.len() == width && (count - 1) * stride + 2 <= width);
    for column in 0..count {
        let left = column * stride;
        let at = |offset: usize| (first + left + offset) as u32;
        let above = larger((upper[left], at(0)), (upper[left + 1], at(1)));
        let below = larger((lower[left], at(width)), (lower[left + 1], at(width + 1)));
        let (best, pixel) = larger(above, below);
        values[column].write(best);
        positions[column].write(pixel);
    }
}

/// A value and its pixel.
type Candidate<T> = (T, u32);

/// The later of two candidates if it is larger or the first NaN, else the earlier one.
#[inline(always)]
#[allow(clippy::eq_op, clippy::neg_cmp_op_on_partial_ord, reason = "a NaN compares as larger and is kept")]
fn larger<T: Element>((earlier, at): Candidate<T>, (later, later_at): Candidate<T>) -> Candidate<T> {
    let wins = !(later <= earlier) & (earlier == earlier);
    (if wins { later } else { earlier }, if wins { later_at } else { at })
}

/// The adjoint of [`max`] for one plane whose windows are two pixels apart: every pixel of a window is written.
pub(super) fn scatter<T: Element>(geometry: &PoolGeometry, g: &[T], positions: &[u32], plane: &mut [MaybeUninit<T>]) {
    let (width, down, across) = (geometry.width, geometry.stride[0] * geometry.width, geometry.out_width());
    let set = InstructionSet::best();
    for (row, (g, positions)) in g.chunks_exact(across).zip(positions.chunks_exact(across)).enumerate() {
        let lines = plane[row * down..][..2 * width].split_at_mut(width);
        set.vectorised(
            #[inline(always)]
            || scatter_to_lines(g, positions, row * down, lines),
        );
    }
}

/// Writes the values of the windows in two lines of a plane, of which `first` is the first pixel.
#[inline(always)]
fn scatter_to_lines<T: Element>(
    g: &[T],
    positions: &[u32],
    first: usize,
    (upper, lower): (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]),
) {
    let (count, width) = (g.len(), upper.len());
    assert!(positions.len() == count && lower.len() == width && 2 * count <= width);
    for column in 0..count {
        let left = 2 * column;
        let value = |offset: usize| {
            let here = positions[column] == (first + left + offset) as u32;
            if here { g[column] } else { T::default() }
        };
        upper[left].write(value(0));
        upper[left + 1].write(value(1));
        lower[left].write(value(width));
        lower[left + 1].write(value(width + 1));
    }
}
