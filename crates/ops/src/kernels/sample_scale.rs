//! Products and sums with one factor per sample and channel, as squeeze-and-excitation needs them.

use super::Element;
use super::instruction_set::InstructionSet;
use super::uninitialised;

/// x·s, where a sample of x has `sample` values and `s` one value per sample and channel. Rows of `s` are repeated if `x` has more
/// samples.
pub(crate) fn scale<T: Element>(x: &[T], s: &[T], sample: usize, channels: usize) -> Vec<T> {
    uninitialised::changed_copy(x, sample.max(1), |index, block| {
        let start = index * channels % s.len();
        let s = &s[start..start + channels];
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for pixel in block.chunks_mut(channels) {
                    pixel.iter_mut().zip(s).for_each(|(x, s)| *x = *x * *s);
                }
            },
        );
    })
}

/// Σ a·b over the pixels of each sample, per channel, in f64. Samples of `b` are repeated if `a` has more.
pub(crate) fn dot<T: Element>(a: &[T], b: &[T], sample: usize, channels: usize) -> Vec<T> {
    let samples = a.len() / sample.max(1);
    uninitialised::filled(T::default(), samples * channels, channels, |index, sums| {
        let a = &a[index * sample..][..sample];
        let b = &b[index * sample % b.len()..][..sample];
        let mut totals = vec![0.0; channels];
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (a, b) in a.chunks(channels).zip(b.chunks(channels)) {
                    for ((total, a), b) in totals.iter_mut().zip(a).zip(b) {
                        *total += a.to_f64() * b.to_f64();
                    }
                }
            },
        );
        sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum = T::from_f64(total));
    })
}
