//! The operands of a convolution.

/// The slices that a convolution reads.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a, T> {
    /// `[batch, height, width, in]`
    pub(crate) x: &'a [T],
    /// `[out, in / groups, kernel height, kernel width]`
    pub(crate) weight: &'a [T],
    /// `[out]`
    pub(crate) bias: Option<&'a [T]>,
}
