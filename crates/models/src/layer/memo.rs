//! A value of the last VJP that the penalty uses again.

use std::cell::RefCell;

use candle_core::{Tensor, TensorId};

/// What the VJP for a cotangent computed, until the penalty for the same cotangent takes it.
pub(super) struct Memo<T>(RefCell<Option<(TensorId, T)>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

impl<T> Memo<T> {
    /// Keeps `value` for the cotangent `g`, in place of an earlier one.
    pub(super) fn keep(&self, g: &Tensor, value: T) {
        self.0.replace(Some((g.id(), value)));
    }

    /// The value kept for the cotangent `g`, which is removed.
    pub(super) fn take(&self, g: &Tensor) -> Option<T> {
        self.0.take().filter(|(id, _)| *id == g.id()).map(|(_, value)| value)
    }
}
