//! Statistics of a sample's inputs, known without a pass through the map.

use candle_core::{D, Tensor};
use reductions::Widen;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::tensors::{OfRow, in_f64, of_each_row};

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
    let sums = Sums { image: inputs.dims().get(1..).and_then(image) };
    let sums = match of_each_row(inputs, &sums)? {
        Some(sums) => sums,
        None => by_tensors(inputs)?,
    };
    let size = inputs.elem_count() as f64 / inputs.dim(0)?.max(1) as f64;
    let covariates = |sums: [f64; 3]| {
        let [mean, square, steps] = sums.map(|sum| sum / size);
        let mut all = vec![mean, square, (square - mean * mean).max(0.0).sqrt()];
        all.extend((inputs.rank() >= 3).then_some(steps));
        all
    };
    Ok(sums.into_iter().map(covariates).collect())
}

/// Height and width of samples of this shape, if they have two dimensions or more.
fn image(sample: &[usize]) -> Option<[usize; 2]> {
    sample.last_chunk().copied()
}

/// Σ x, Σ x² and Σ (x_i − x_j)² over neighbours of one sample, whose last two dimensions are those of an image.
struct Sums {
    image: Option<[usize; 2]>,
}

impl OfRow for Sums {
    type Output = [f64; 3];

    fn of_row<T: Widen>(&self, row: &[T]) -> [f64; 3] {
        reductions::vectorized(
            #[inline(always)]
            || {
                let [sum, square] = reductions::lane_sums(row.len(), |at| {
                    let x = row[at].widen();
                    [x, x * x]
                });
                let steps = self.image.map_or(0.0, |image| squared_steps(row, image));
                [sum, square, steps]
            },
        )
    }
}

/// Σ (x_i − x_j)² over neighbours within images of this height and width.
#[inline(always)]
fn squared_steps<T: Widen>(row: &[T], [height, width]: [usize; 2]) -> f64 {
    let between = |one: &[T], other: &[T]| {
        let [sum] = reductions::lane_sums(one.len().min(other.len()), |at| {
            let step = other[at].widen() - one[at].widen();
            [step * step]
        });
        sum
    };
    let mut total = 0.0;
    for image in row.chunks_exact((height * width).max(1)) {
        total += between(image, &image[width.min(image.len())..]);
        for line in image.chunks_exact(width.max(1)) {
            total += between(line, &line[1.min(line.len())..]);
        }
    }
    total
}

/// The same sums by operations on tensors, on devices other than the CPU.
fn by_tensors(inputs: &Tensor) -> Result<Vec<[f64; 3]>> {
    let inputs = in_f64(inputs)?;
    let flat = inputs.flatten_from(1)?;
    let (sums, squares) = (flat.sum(1)?.to_vec1::<f64>()?, flat.sqr()?.sum(1)?.to_vec1::<f64>()?);
    let mut steps = vec![0.0; sums.len()];
    if inputs.rank() >= 3 {
        for dimension in [D::Minus2, D::Minus1] {
            steps.iter_mut().zip(neighbours(&inputs, dimension)?).for_each(|(total, steps)| *total += steps);
        }
    }
    Ok(sums.into_iter().zip(squares).zip(steps).map(|((sum, square), steps)| [sum, square, steps]).collect())
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
    use candle_core::{DType, Device};

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

    /// Sizes that fill no vector, samples of several dimensions, and a part of a larger tensor.
    #[test]
    fn one_pass_has_the_sums_of_tensor_operations() {
        for shape in [&[3usize, 5][..], &[2, 1], &[4, 7, 9], &[3, 2, 5, 11], &[2, 3, 1, 1], &[2, 2, 33, 17]] {
            let draws: Vec<f64> = (0..shape.iter().product::<usize>()).map(|at| (at as f64 * 1.7).sin()).collect();
            let all = Tensor::from_vec(draws, shape, &Device::Cpu).unwrap();
            let single = all.to_dtype(DType::F32).unwrap();
            for inputs in [all.clone(), all.narrow(0, 1, shape[0] - 1).unwrap(), single] {
                let found = of_each_row(&inputs, &Sums { image: image(&shape[1..]) }).unwrap().unwrap();
                let expected = by_tensors(&inputs).unwrap();
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    for (sum, of_tensors) in found.iter().zip(expected) {
                        // Relative to Σ x².
                        assert!((sum - of_tensors).abs() <= 1e-13 * expected[1], "{shape:?}: {found:?}, {expected:?}");
                    }
                }
            }
        }
    }
}
