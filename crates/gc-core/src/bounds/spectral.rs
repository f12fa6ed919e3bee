//! The largest singular value of a matrix: an estimate from below and a bound from above.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::tensors::in_f64;
use crate::{Error, Result};

/// Squarings of the Gram matrix: with k of them the bound exceeds the norm of a matrix of rank r by a factor of at most
/// r^(1/2^(k+2)), here 1.0004 for r = 512.
const SQUARINGS: u32 = 12;

/// A relative slack above the rounding error of the norm of any matrix that fits in memory.
const ROUNDING: f64 = 1e-9;

/// The result of a power iteration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PowerIteration {
    /// The norm of the matrix along the last direction: never above the largest singular value.
    pub value: f64,
    /// The number of steps.
    pub steps: usize,
    /// Whether the last step changed the value by at most the tolerance.
    pub converged: bool,
}

/// An estimate of the largest singular value of a matrix `[rows, columns]` from below, by iterating v ↦ WᵀW v/‖WᵀW v‖.
///
/// Stops when a step changes the value by at most `tolerance` (relative), or after `steps`. `seed` selects the first v.
///
/// **Errors** [`Error::Setting`] unless the tensor is a matrix that is not empty, and finite.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let matrix = Tensor::new(&[[3f64, 0.], [0., -4.], [0., 0.]], &Device::Cpu)?;
/// let iteration = gc_core::bounds::power_iteration(&matrix, 1e-12, 1_000, 0)?;
/// assert!(iteration.converged && (iteration.value - 4.0).abs() < 1e-9);
/// # Ok::<(), gc_core::Error>(())
/// ```
pub fn power_iteration(matrix: &Tensor, tolerance: f64, steps: usize, seed: u64) -> Result<PowerIteration> {
    let matrix = checked(matrix)?;
    let columns = matrix.dim(1)?;
    let start = streams::standard_normal(&mut streams::stream(seed, "gc-core/power-iteration", 0), columns);
    let mut direction = Tensor::from_vec(start, (columns, 1), matrix.device())?;
    let mut outcome = PowerIteration { value: 0.0, steps: 0, converged: false };
    while outcome.steps < steps && !outcome.converged {
        let length = norm(&direction)?;
        if length == 0.0 {
            return Ok(PowerIteration { converged: true, ..outcome });
        }
        direction = (direction / length)?;
        let image = matrix.matmul(&direction)?;
        let value = norm(&image)?;
        outcome.converged = (value - outcome.value).abs() <= tolerance * value;
        outcome.value = value;
        outcome.steps += 1;
        direction = matrix.t()?.matmul(&image)?;
    }
    Ok(outcome)
}

/// An upper bound on the largest singular value of a matrix `[rows, columns]`. For rank 512 it is too large by a factor of at
/// most 1.0004.
///
/// **Definition** with G_0 = WᵀW and G_{t+1} = G_tᵀG_t, σ ≤ ‖G_t‖_F^(1/2^(t+1)) for every t, because the largest singular
/// value of a matrix is at most its Frobenius norm; the excess is at most rank^(1/2^(t+2)).
///
/// **Errors** [`Error::Setting`] unless the tensor is a matrix that is not empty, and finite.
///
/// **Source** Gram iteration: Delattre, Barthélemy, Araujo and Allauzen, 2023 (arXiv 2305.16173), Theorem 1.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let matrix = Tensor::new(&[[3f64, 0.], [0., -4.], [0., 0.]], &Device::Cpu)?;
/// let bound = gc_core::bounds::spectral_norm_bound(&matrix)?;
/// assert!(bound >= 4.0 && bound < 4.001);
/// # Ok::<(), gc_core::Error>(())
/// ```
pub fn spectral_norm_bound(matrix: &Tensor) -> Result<f64> {
    let matrix = checked(matrix)?;
    let (rows, columns) = matrix.dims2()?;
    let scale = norm(&matrix)?;
    if scale == 0.0 {
        return Ok(0.0);
    }
    let matrix = (matrix / scale)?;
    let mut gram = if rows < columns { matrix.matmul(&matrix.t()?)? } else { matrix.t()?.matmul(&matrix)? };
    // The Gram matrix is scaled to norm 1, and the logarithm of its norm is accumulated separately.
    let mut logarithm = 0.0;
    for squaring in 0..=SQUARINGS {
        let length = norm(&gram)?;
        logarithm = 2.0 * logarithm + length.ln();
        gram = (gram / length)?;
        if squaring < SQUARINGS {
            gram = gram.matmul(&gram)?;
        }
    }
    Ok(scale * (logarithm / 2f64.powi(SQUARINGS as i32 + 1)).exp() * (1.0 + ROUNDING))
}

pub(super) fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
}

fn checked(matrix: &Tensor) -> Result<Tensor> {
    let expected = "a matrix [rows, columns] that is not empty, with finite entries";
    if matrix.rank() != 2 || matrix.elem_count() == 0 || !matrix.dtype().is_float() {
        return Err(Error::setting("matrix", expected, format!("{:?} {:?}", matrix.dtype(), matrix.dims())));
    }
    let matrix = in_f64(matrix)?.to_dtype(DType::F64)?;
    match norm(&matrix)? {
        length if length.is_finite() => Ok(matrix),
        length => Err(Error::setting("matrix", expected, format!("a norm of {length}"))),
    }
}
