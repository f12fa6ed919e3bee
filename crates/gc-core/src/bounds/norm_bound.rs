//! Bounds of the norms of a network's Jacobian from the norms of its layers.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::bounds::spectral::norm;
use crate::bounds::{Evidence, Lipschitz, spectral_norm_bound};
use crate::tensors::in_f64;
use crate::{Error, Result};

/// Upper bounds of the operator norm and the Frobenius norm of a layer's Jacobian, at every input.
///
/// Bounds of layers combine to bounds of networks: [`NormBound::then`] for a composition, [`NormBound::plus`] for a sum of
/// branches. They hold at every input, and are usually far above measured norms.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use gc_core::bounds::NormBound;
///
/// let first = Tensor::new(&[[3f64, 0.], [0., 4.]], &Device::Cpu)?;
/// let second = Tensor::new(&[[1f64, 1.]], &Device::Cpu)?;
/// let network = NormBound::linear(&first)?.then(NormBound::contraction(2)).then(NormBound::linear(&second)?);
/// // ‖second‖_F · ‖first‖ = √2 · 4, up to the slack of the spectral norm.
/// assert!((network.frobenius / 32f64.sqrt() - 1.0).abs() < 1e-3);
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NormBound {
    /// A bound of the largest singular value.
    pub operator: f64,
    /// A bound of the Frobenius norm.
    pub frobenius: f64,
}

impl NormBound {
    /// Bounds that were found elsewhere.
    ///
    /// # Errors
    /// [`Error::Setting`] unless both are finite and not negative.
    pub fn new(operator: f64, frobenius: f64) -> Result<Self> {
        if !(operator.is_finite() && frobenius.is_finite() && operator >= 0.0 && frobenius >= 0.0) {
            let got = format!("{operator} and {frobenius}");
            return Err(Error::setting("NormBound::new", "norms that are finite and not negative", got));
        }
        Ok(Self { operator, frobenius })
    }

    /// The identity on `dimension` coordinates.
    pub fn identity(dimension: usize) -> Self {
        Self::contraction(dimension)
    }

    /// Any 1-Lipschitz map with `outputs` output coordinates: ReLU, tanh, max pooling without overlap. A Jacobian of rank r
    /// has ‖J‖_F ≤ √r ‖J‖.
    pub fn contraction(outputs: usize) -> Self {
        Self { operator: 1.0, frobenius: (outputs as f64).sqrt() }
    }

    /// A linear layer with weight `[out, in]`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless the weight is a matrix that is not empty, and finite.
    pub fn linear(weight: &Tensor) -> Result<Self> {
        Ok(Self { operator: spectral_norm_bound(weight)?, frobenius: norm(&in_f64(weight)?)? })
    }

    /// A convolution with zero padding, weight `[out, in, h, w]`, the same stride in both directions and `positions` output
    /// positions (height × width).
    ///
    /// **Definition** the operator norm is at most each of
    /// - Σ over taps of the norm of the tap's `[out, in]` matrix (a shift has norm 1),
    /// - √(⌈h/stride⌉⌈w/stride⌉) times the norm of the weight as `[out, in·h·w]` (the number of patches that contain an input),
    /// - √(h·w) times the norm of the weight as `[out·h·w, in]` (the number of terms of an output),
    ///
    /// and the Frobenius norm at most √positions times that of the weight. The first two are those of Tsuzuku, Sato and
    /// Sugiyama, 2018 (arXiv 1802.04034), and Yoshida and Miyato, 2017 (arXiv 1705.10941), made rigorous for zero padding.
    ///
    /// # Errors
    /// [`Error::Setting`] unless the weight has four dimensions, is not empty and finite, and the stride is positive.
    pub fn convolution(weight: &Tensor, stride: usize, positions: usize) -> Result<Self> {
        let &[out, inp, height, width] = weight.dims() else {
            return Err(Error::setting("convolution", "a weight [out, in, h, w]", format!("{:?}", weight.dims())));
        };
        if stride == 0 {
            return Err(Error::setting("convolution", "a stride of at least 1", 0));
        }
        let weight = in_f64(weight)?;
        // Taps first: [h·w, out, in].
        let taps = weight.permute((2, 3, 0, 1))?.contiguous()?.reshape((height * width, out, inp))?;
        let mut by_taps = 0.0;
        for tap in 0..height * width {
            by_taps += spectral_norm_bound(&taps.get(tap)?)?;
        }
        let patches = (height.div_ceil(stride) * width.div_ceil(stride)) as f64;
        let by_patches = patches.sqrt() * spectral_norm_bound(&weight.reshape((out, inp * height * width))?)?;
        let terms = (height * width) as f64;
        let by_terms = terms.sqrt() * spectral_norm_bound(&taps.reshape((height * width * out, inp))?)?;
        Ok(Self {
            operator: by_taps.min(by_patches).min(by_terms),
            frobenius: (positions as f64).sqrt() * norm(&weight)?,
        })
    }

    /// Each channel times its own factor, at `positions` positions: batch norm in evaluation mode with
    /// γ/√(running variance + ε).
    ///
    /// # Errors
    /// [`Error::Setting`] unless there is at least one factor and all are finite.
    pub fn channel_scale(factors: &[f64], positions: usize) -> Result<Self> {
        if factors.is_empty() || factors.iter().any(|factor| !factor.is_finite()) {
            return Err(Error::setting("channel_scale", "at least one factor, all finite", format!("{factors:?}")));
        }
        let squares: f64 = factors.iter().map(|factor| factor * factor).sum();
        let largest = factors.iter().fold(0.0, |largest: f64, factor| largest.max(factor.abs()));
        Ok(Self { operator: largest, frobenius: (positions as f64 * squares).sqrt() })
    }

    /// Average pooling without overlap: `outputs` averages of `window` coordinates each.
    pub fn average_pool(window: usize, outputs: usize) -> Self {
        let operator = 1.0 / (window.max(1) as f64).sqrt();
        Self { operator, frobenius: operator * (outputs as f64).sqrt() }
    }

    /// The composition of this layer and the next: ‖BA‖ ≤ ‖B‖‖A‖ and ‖BA‖_F ≤ min(‖B‖‖A‖_F, ‖B‖_F‖A‖).
    pub fn then(self, next: Self) -> Self {
        Self {
            operator: self.operator * next.operator,
            frobenius: (self.frobenius * next.operator).min(self.operator * next.frobenius),
        }
    }

    /// The sum of two branches, as in a residual block.
    pub fn plus(self, other: Self) -> Self {
        Self { operator: self.operator + other.operator, frobenius: self.frobenius + other.frobenius }
    }

    /// The bound on ‖J‖_F as a certified Lipschitz constant.
    pub fn lipschitz(self) -> Lipschitz {
        Lipschitz { value: self.frobenius, evidence: Evidence::Certified }
    }
}
