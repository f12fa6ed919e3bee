//! Statistics of a sample's inputs, known without a pass through the map.

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::tensors::in_f64;

/// A statistic of the input of a sample, on which per-sample GC is regressed.
///
/// **Definition** of an input x with d coordinates: see each. The sums of [`Covariate::Roughness`] are over the pairs of
/// neighbours along the last two dimensions (height and width of an image).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Covariate {
    /// Σ x_i/d.
    Mean,
    /// Σ x_i²/d.
    MeanSquare,
    /// The square root of Σ x_i²/d − (Σ x_i/d)².
    StandardDeviation,
    /// Σ (x_i − x_j)²/d over neighbours i, j; inputs of at least two dimensions have it.
    Roughness,
}

impl Covariate {
    /// The covariates of samples of this shape.
    pub(crate) fn of_shape(sample: &[usize]) -> Vec<Self> {
        let mut all = vec![Self::Mean, Self::MeanSquare, Self::StandardDeviation];
        all.extend((sample.len() >= 2).then_some(Self::Roughness));
        all
    }
}

/// The covariates of each sample of `inputs` `[n, …]`, in the order of [`Covariate::of_shape`].
pub(crate) fn of_inputs(inputs: &Tensor) -> Result<Vec<Vec<f64>>> {
    let inputs = in_f64(inputs)?;
    let flat = inputs.flatten_from(1)?;
    let size = flat.dim(1)? as f64;
    let means = flat.mean(1)?.to_vec1::<f64>()?;
    let squares = flat.sqr()?.mean(1)?.to_vec1::<f64>()?;
    let mut all: Vec<Vec<f64>> = means
        .into_iter()
        .zip(squares)
        .map(|(mean, square)| vec![mean, square, (square - mean * mean).max(0.0).sqrt()])
        .collect();
    if inputs.rank() >= 3 {
        let rows = neighbours(&inputs, D::Minus2)?.into_iter().zip(neighbours(&inputs, D::Minus1)?);
        all.iter_mut().zip(rows).for_each(|(of_sample, (down, across))| of_sample.push((down + across) / size));
    }
    Ok(all)
}

/// Σ (x_i − x_j)² over neighbours along a dimension, for each sample.
fn neighbours(inputs: &Tensor, dimension: D) -> Result<Vec<f64>> {
    let length = inputs.dim(dimension)?;
    if length < 2 {
        return Ok(vec![0.0; inputs.dim(0)?]);
    }
    let steps = (inputs.narrow(dimension, 1, length - 1)? - inputs.narrow(dimension, 0, length - 1)?)?;
    Ok(steps.flatten_from(1)?.sqr()?.sum(1)?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn covariates_are_those_computed_by_hand() {
        let image = Tensor::new(&[[[[1f32, 2.], [4., 5.]]], [[[3., 3.], [3., 3.]]]], &Device::Cpu).unwrap();
        let found = of_inputs(&image).unwrap();
        // Mean 3, mean square 46/4, variance 11.5 − 9; differences 3, 3 down and 1, 1 across.
        assert_eq!(found[0], [3.0, 11.5, 2.5f64.sqrt(), 20.0 / 4.0]);
        assert_eq!(found[1], [3.0, 9.0, 0.0, 0.0]);
        assert_eq!(Covariate::of_shape(&[1, 2, 2]).len(), 4);
        let row = Tensor::new(&[[1f64, 3.0]], &Device::Cpu).unwrap();
        assert_eq!(of_inputs(&row).unwrap(), [[2.0, 5.0, 1.0]]);
        assert_eq!(Covariate::of_shape(&[2]).len(), 3);
    }
}
