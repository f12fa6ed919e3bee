//! Reductions and products per channel of NHWC data, seen as rows of `channels` values.
//!
//! Rows are reduced in blocks of a fixed size: within a block in the precision of the data, across blocks in f64 and in order.
//! The result does not depend on the number of threads.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Element;
use super::elementwise::relu_mask;
use super::instruction_set::InstructionSet;
use super::shared::Shared;
use super::uninitialised::{self, WAKING};

/// Values that one task reduces or writes.
const BLOCK: usize = 1 << 13;
/// Values per pass of an inner loop: several rows of few channels are processed together, to fill the vectors.
const WIDE: usize = 64;

/// Values of a wide row: whole rows with about `WIDE` values together.
pub(super) fn wide_row(channels: usize) -> usize {
    channels * (WIDE / channels.max(1)).max(1)
}

/// Values per block: whole wide rows.
pub(super) fn block_len(channels: usize) -> usize {
    let wide = wide_row(channels);
    wide * (BLOCK / wide.max(1)).clamp(1, 256)
}

/// One value per channel, repeated to the length of a wide row.
pub(super) fn repeated<T: Element>(channels: usize, values: impl Fn(usize) -> T) -> Vec<T> {
    (0..wide_row(channels)).map(|index| values(index % channels)).collect()
}

/// `sums` sums per channel over all rows. `term` adds one wide row to the accumulators.
pub(super) fn reduce<T: Element, F>(x: &[T], other: &[T], channels: usize, sums: usize, term: F) -> Vec<f64>
where
    F: Fn(&[T], &[T], &mut [T]) + Sync,
{
    let (wide, block) = (wide_row(channels), block_len(channels));
    let partial = |(x, other): (&[T], &[T])| {
        let mut accumulators = vec![T::default(); sums * wide];
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (x, other) in x.chunks(wide).zip(other.chunks(wide)) {
                    term(x, other, &mut accumulators);
                }
            },
        );
        accumulators
    };
    let partials: Vec<Vec<T>> = if x.len() <= WAKING {
        x.chunks(block).zip(other.chunks(block)).map(partial).collect()
    } else {
        x.par_chunks(block).zip(other.par_chunks(block)).map(partial).collect()
    };
    totals(&partials, channels, sums)
}

/// The sum of the blocks in f64 and in order: `sums` times one value per channel.
pub(super) fn totals<T: Element>(partials: &[Vec<T>], channels: usize, sums: usize) -> Vec<f64> {
    let mut total = vec![0.0; sums * channels];
    for accumulators in partials {
        for (sum, accumulators) in accumulators.chunks(wide_row(channels)).enumerate() {
            for (index, value) in accumulators.iter().enumerate() {
                total[sum * channels + index % channels] += value.to_f64();
            }
        }
    }
    total
}

/// Σ x over the rows, per channel.
pub(crate) fn sum<T: Element>(x: &[T], channels: usize) -> Vec<f64> {
    reduce(x, x, channels, 1, |x, _, sums| sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += *x))
}

/// Σ a·b over the rows, per channel.
pub(crate) fn dot<T: Element>(a: &[T], b: &[T], channels: usize) -> Vec<f64> {
    reduce(a, b, channels, 1, |a, b, sums| {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += *a * *b);
    })
}

/// Mean and variance (divisor: the number of rows) per channel, reading the data from memory once.
///
/// Each block is summed, then centred at its own mean and squared while it is in the cache. Blocks are merged in
/// order by the formula of Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
/// Variances" (1979): with n and m rows, means a and b, the sum of squares about the common mean is the sum of
/// both plus (b − a)²·nm/(n + m).
pub(crate) fn moments<T: Element>(x: &[T], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let block = block_len(channels);
    let blocks: Vec<Vec<Centred>> = if x.len() <= WAKING {
        x.chunks(block).map(|x| block_moments(x, channels)).collect()
    } else {
        x.par_chunks(block).map(|x| block_moments(x, channels)).collect()
    };
    let (mut rows, mut total) = (0.0, vec![Centred { mean: 0.0, squares: 0.0 }; channels]);
    for (index, of_block) in blocks.iter().enumerate() {
        let more = (block.min(x.len() - index * block) / channels.max(1)) as f64;
        let share = more / (rows + more);
        for (total, block) in total.iter_mut().zip(of_block) {
            let apart = block.mean - total.mean;
            total.mean += apart * share;
            total.squares += block.squares + apart * apart * rows * share;
        }
        rows += more;
    }
    total.into_iter().map(|total| (total.mean, total.squares / rows)).unzip()
}

/// The mean of some values, and the sum of their squared distances from it.
#[derive(Clone, Copy)]
struct Centred {
    mean: f64,
    squares: f64,
}

/// Mean and sum of squares per channel, for one block of rows.
fn block_moments<T: Element>(x: &[T], channels: usize) -> Vec<Centred> {
    let (wide, rows) = (wide_row(channels), (x.len() / channels.max(1)) as f64);
    let by_channel = |accumulators: &[T]| {
        let mut totals = vec![0.0; channels];
        for (index, value) in accumulators.iter().enumerate() {
            totals[index % channels] += value.to_f64();
        }
        totals
    };
    let set = InstructionSet::best();
    let mut sums = vec![T::default(); wide];
    set.vectorised(|| x.chunks(wide).for_each(|x| sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += *x)));
    let centre: Vec<T> = by_channel(&sums).into_iter().map(|sum| T::from_f64(sum / rows)).collect();
    let about = repeated(channels, |channel| centre[channel]);
    let (mut squares, mut remainders) = (vec![T::default(); wide], vec![T::default(); wide]);
    set.vectorised(|| {
        for x in x.chunks(wide) {
            for (((x, about), square), rest) in x.iter().zip(&about).zip(&mut squares).zip(&mut remainders) {
                let centred = *x - *about;
                *square += centred * centred;
                *rest += centred;
            }
        }
    });
    // The centre is rounded to the precision of the data; the remainders correct it.
    let moments = by_channel(&squares).into_iter().zip(by_channel(&remainders)).zip(centre);
    moments
        .map(|((squares, rest), centre)| Centred {
            mean: centre.to_f64() + rest / rows,
            squares: (squares - rest * rest / rows).max(0.0),
        })
        .collect()
}

/// A copy of x to which `function` is applied per wide row, together with the same row of `other`.
pub(super) fn map_rows<T: Element, F>(x: &[T], other: &[T], channels: usize, function: F) -> Vec<T>
where
    F: Fn(&mut [T], &[T]) + Send + Sync,
{
    let (wide, block, set) = (wide_row(channels), block_len(channels), InstructionSet::best());
    uninitialised::changed_copy(x, block, |index, y| {
        let other = &other[index * block..][..y.len()];
        set.vectorised(|| y.chunks_mut(wide).zip(other.chunks(wide)).for_each(|(y, other)| function(y, other)));
    })
}

/// g where `reference` is positive and 0 elsewhere, and the sum of the result over the rows, per channel.
pub(crate) fn relu_mask_with_sum<T: Element>(g: &[T], reference: &[T], channels: usize) -> (Vec<T>, Vec<f64>) {
    let (wide, block, set) = (wide_row(channels), block_len(channels), InstructionSet::best());
    let mut partials = vec![T::default(); g.len().div_ceil(block.max(1)) * wide];
    let all = Shared::new(partials.as_mut_ptr());
    let write = |index: usize, masked: &mut [MaybeUninit<T>]| {
        let part = index * block..index * block + masked.len();
        let (g, reference) = (&g[part.clone()], &reference[part]);
        // SAFETY: there is one wide row of sums per block, and only the task of this block writes it.
        let sums = unsafe { std::slice::from_raw_parts_mut(all.get().add(index * wide), wide) };
        set.vectorised(|| {
            for ((masked, g), reference) in masked.chunks_mut(wide).zip(g.chunks(wide)).zip(reference.chunks(wide)) {
                for (((masked, g), reference), sum) in masked.iter_mut().zip(g).zip(reference).zip(&mut *sums) {
                    *sum += *masked.write(relu_mask(*g, *reference));
                }
            }
        });
    };
    // SAFETY: every number of every block is written.
    let masked =
        unsafe { uninitialised::written(g.len(), |masked| uninitialised::for_each_block(masked, block.max(1), write)) };
    let mut total = vec![0.0; channels];
    for (index, value) in partials.iter().enumerate() {
        total[index % channels] += value.to_f64();
    }
    (masked, total)
}

/// x·scale + shift, per channel.
pub(crate) fn affine<T: Element>(x: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
    let channels = scale.len();
    let (scale, shift) = (repeated(channels, |c| scale[c]), repeated(channels, |c| shift[c]));
    map_rows(x, x, channels, |y, _| {
        y.iter_mut().zip(&scale).zip(&shift).for_each(|((y, scale), shift)| *y = *y * *scale + *shift);
    })
}

/// x·scale, per channel.
pub(crate) fn scale<T: Element>(x: &[T], scale: &[T]) -> Vec<T> {
    let wide = repeated(scale.len(), |c| scale[c]);
    map_rows(x, x, scale.len(), |y, _| y.iter_mut().zip(&wide).for_each(|(y, scale)| *y = *y * *scale))
}

/// x + shift, per channel.
pub(crate) fn shift<T: Element>(x: &[T], shift: &[T]) -> Vec<T> {
    let wide = repeated(shift.len(), |c| shift[c]);
    map_rows(x, x, shift.len(), |y, _| y.iter_mut().zip(&wide).for_each(|(y, shift)| *y += *shift))
}
