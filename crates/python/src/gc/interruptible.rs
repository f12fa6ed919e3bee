//! Ctrl-C between passes of a network.

use candle_core::Tensor;
use gc_core::{BatchNormMode, FeatureMap, Linearization, ResidualBytes, Result};

use crate::raised::Raised;

/// A map that checks for signals before every pass.
pub(super) struct Interruptible<'a> {
    pub(super) map: Box<dyn FeatureMap + 'a>,
    pub(super) raised: &'a Raised,
}

impl FeatureMap for Interruptible<'_> {
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        self.raised.check_signals()?;
        self.map.features(x)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
        self.raised.check_signals()?;
        self.map.jvp(x, dx)
    }

    fn has_jvp(&self) -> bool {
        self.map.has_jvp()
    }

    fn has_own_derivatives(&self) -> bool {
        self.map.has_own_derivatives()
    }

    fn first_non_finite_layer(&self, x: &Tensor) -> Option<String> {
        self.map.first_non_finite_layer(x)
    }

    fn batch_norm(&self) -> BatchNormMode {
        self.map.batch_norm()
    }

    fn linearize(&self, x: &Tensor) -> Result<Option<Box<dyn Linearization + '_>>> {
        self.raised.check_signals()?;
        let Some(inner) = self.map.linearize(x)? else { return Ok(None) };
        Ok(Some(Box::new(InterruptibleLinearization { inner, raised: self.raised })))
    }
}

struct InterruptibleLinearization<'a> {
    inner: Box<dyn Linearization + 'a>,
    raised: &'a Raised,
}

impl Linearization for InterruptibleLinearization<'_> {
    fn features(&self) -> &Tensor {
        self.inner.features()
    }

    fn vjp(&self, cotangents: &Tensor) -> Result<Tensor> {
        self.raised.check_signals()?;
        self.inner.vjp(cotangents)
    }

    fn expect(&mut self, cotangents: usize) {
        self.inner.expect(cotangents);
    }

    fn has_own_derivatives(&self) -> bool {
        self.inner.has_own_derivatives()
    }

    fn bytes(&self) -> ResidualBytes {
        self.inner.bytes()
    }
}
