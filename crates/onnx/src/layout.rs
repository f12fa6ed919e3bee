//! How a tensor of a linearization is stored: the samples always come first, so that several cotangents per sample are more rows.

use candle_core::Tensor;

use crate::Result;
use crate::free_batch::place_of;

/// How a tensor of the standard is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The standard's `[n, c, h, w]` as `[n, h, w, c]`.
    Image,
    /// The standard's tensor with its samples moved to the front.
    Rows(Rows),
}

/// Where the samples are in a tensor of the standard: dimension `at` has `outer`·n·`inner` elements, in this order.
///
/// It is stored as `[n, …dimensions before `at`, outer, inner, …dimensions after it]`, without `outer` and `inner` where they are 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) at: usize,
    pub(crate) outer: usize,
    pub(crate) inner: usize,
}

impl Layout {
    /// The samples are the first dimension of the standard.
    pub(crate) const FIRST: Self = Self::Rows(Rows { at: 0, outer: 1, inner: 1 });

    /// The sizes in the standard's order of a tensor that is stored with these sizes.
    pub(crate) fn standard(self, stored: &[usize]) -> Vec<usize> {
        match (self, stored) {
            (Self::Image, &[n, h, w, c]) => vec![n, c, h, w],
            (Self::Image, other) => other.to_vec(),
            (Self::Rows(rows), stored) => rows.standard(stored),
        }
    }
}

impl Rows {
    /// The number of stored dimensions for `outer` and `inner`.
    fn extra(self) -> usize {
        usize::from(self.outer > 1) + usize::from(self.inner > 1)
    }

    fn standard(self, stored: &[usize]) -> Vec<usize> {
        let samples = stored.first().copied().unwrap_or(1);
        let before = stored.iter().skip(1).take(self.at);
        let after = stored.iter().skip(1 + self.at + self.extra());
        before.chain([&(self.outer * samples * self.inner)]).chain(after).copied().collect()
    }

    /// The sizes as stored, for sizes in the standard's order.
    pub(crate) fn stored(self, standard: &[usize], samples: usize) -> Vec<usize> {
        let (before, after) = (standard.iter().take(self.at), standard.iter().skip(self.at + 1));
        let within = [self.outer, self.inner].into_iter().filter(|size| *size > 1);
        std::iter::once(samples).chain(before.copied()).chain(within).chain(after.copied()).collect()
    }

    /// The stored dimension of a dimension of the standard; none for that of the samples.
    pub(crate) fn place(self, axis: usize) -> Option<usize> {
        match axis.cmp(&self.at) {
            std::cmp::Ordering::Less => Some(axis + 1),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(axis + self.extra()),
        }
    }

    /// The layout after a transposition, and the permutation of the stored dimensions.
    pub(crate) fn transposed(self, permutation: &[usize]) -> Option<(Self, Vec<usize>)> {
        let at = permutation.iter().position(|axis| *axis == self.at)?;
        let mut stored = vec![0];
        for axis in permutation {
            match self.place(*axis) {
                Some(place) => stored.push(place),
                None => stored.extend(1 + self.at..1 + self.at + self.extra()),
            }
        }
        Some((Self { at, ..self }, stored))
    }

    /// The layout after a reshape of the standard's sizes `from` to `to`: the same elements lie before and behind the samples.
    pub(crate) fn reshaped(self, from: &[usize], to: &[usize], samples: usize) -> Option<Self> {
        let before = from.iter().take(self.at).product::<usize>() * self.outer;
        let after = from.iter().skip(self.at + 1).product::<usize>() * self.inner;
        let (at, outer) = place_of(to, samples, before, after)?;
        Some(Self { at, outer, inner: to.get(at)? / (outer * samples).max(1) })
    }

    /// The layout without these dimensions of the standard, none of which is that of the samples.
    pub(crate) fn without(self, axes: &[usize]) -> Self {
        Self { at: self.at - axes.iter().filter(|axis| **axis < self.at).count(), ..self }
    }
}

/// The way from the layout that a rule uses back to that of the stored tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Back {
    /// The layouts are the same.
    Same,
    /// From `[n, c, h, w]` to `[n, h, w, c]`.
    ToImage,
    /// From `[n, h, w, c]` to `[n, c, h, w]`.
    FromImage,
}

impl Back {
    pub(crate) fn apply(self, g: Tensor) -> Result<Tensor> {
        match self {
            Self::Same => Ok(g),
            Self::ToImage => to_image(&g),
            Self::FromImage => from_image(&g),
        }
    }
}

/// `[n, c, h, w]` as `[n, h, w, c]`.
pub(crate) fn to_image(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 2, 3, 1))?.contiguous()?)
}

/// `[n, h, w, c]` as `[n, c, h, w]`.
pub(crate) fn from_image(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Rows = Rows { at: 0, outer: 1, inner: 1 };

    #[test]
    fn samples_move_with_transpositions() {
        // [n, t, 3, h, d] to [3, n, h, t, d].
        let (rows, permutation) = FIRST.transposed(&[2, 0, 3, 1, 4]).unwrap();
        assert_eq!((rows, permutation), (Rows { at: 1, ..FIRST }, vec![0, 2, 3, 1, 4]));
        assert_eq!(rows.standard(&[2, 3, 4, 5, 6]), [3, 2, 4, 5, 6]);
        assert_eq!(rows.stored(&[3, 2, 4, 5, 6], 2), [2, 3, 4, 5, 6]);
        assert_eq!((rows.place(0), rows.place(1), rows.place(2)), (Some(1), None, Some(2)));
        assert_eq!(rows.without(&[0]), FIRST);
    }

    #[test]
    fn samples_are_found_in_merged_dimensions() {
        // [t, n, h·d] to [t, n·h, d], and from there to [n·h, t, d] and [n, h, t, d].
        let rows = Rows { at: 1, ..FIRST };
        let merged = rows.reshaped(&[5, 2, 12], &[5, 6, 4], 2).unwrap();
        assert_eq!(merged, Rows { at: 1, outer: 1, inner: 3 });
        assert_eq!(merged.stored(&[5, 6, 4], 2), [2, 5, 3, 4]);
        let (first, permutation) = merged.transposed(&[1, 0, 2]).unwrap();
        assert_eq!((first.at, first.inner, permutation), (0, 3, vec![0, 2, 1, 3]));
        assert_eq!(first.standard(&[2, 3, 5, 4]), [6, 5, 4]);
        assert_eq!(first.reshaped(&[6, 5, 4], &[2, 3, 5, 4], 2), Some(FIRST));
        // [t, n, d] to [t·n, d]: the tokens are outside the samples.
        let flat = rows.reshaped(&[5, 2, 12], &[10, 12], 2).unwrap();
        assert_eq!(flat, Rows { at: 0, outer: 5, inner: 1 });
        assert_eq!(flat.stored(&[10, 12], 2), [2, 5, 12]);
        assert_eq!(flat.standard(&[2, 5, 12]), [10, 12]);
    }

    #[test]
    fn images_have_their_channels_last() {
        assert_eq!(Layout::Image.standard(&[2, 3, 4, 5]), [2, 5, 3, 4]);
    }
}
