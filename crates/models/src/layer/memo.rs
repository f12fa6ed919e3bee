//! A value of the last VJP that the penalty uses again.

use std::sync::{Mutex, PoisonError};

use candle_core::{Tensor, TensorId};

/// What the VJP for a cotangent computed, until the penalty for the same cotangent takes it.
pub(super) struct Memo<T>(Mutex<Option<(TensorId, T)>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Memo<T> {
    /// Keeps `value` for the cotangent `g`, in place of an earlier one.
    pub(super) fn keep(&self, g: &Tensor, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((g.id(), value));
    }

    /// The value kept for the cotangent `g`, which is removed.
    pub(super) fn take(&self, g: &Tensor) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.filter(|(id, _)| *id == g.id()).map(|(_, value)| value)
    }
}
