//! Whether the derivative that a map's operations give is the derivative of its values.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::reverse_mode::{ReverseMode, check_finite, check_shape, in_f64, row_squared_norms};
use crate::{Error, FeatureMap, Quantity, Result};

/// Directions that are tried.
const DIRECTIONS: usize = 4;

/// How far the derivative of a map is from the differences of its values.
///
/// **Definition** for a sample x, a direction u with standard normal coordinates and the step h, the central difference is
/// d = (f(x + hu) − f(x − hu))/2h. In forward mode the error is ‖J u − d‖/‖d‖, in reverse mode |⟨Jᵀ d, u⟩/‖d‖² − 1|; both
/// are the largest over samples and directions.
///
/// **Reading it** for a right derivative expect about 1e-7 in f64 and 1e-3 in f32; more where many ReLUs switch within
/// the step, and no meaning where an input lies on a kink. A wrong constant shows as itself: candle's own 2×2 max pooling
/// gives 0.75.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DerivativeCheck {
    /// Largest relative error of the reverse mode, through which rows are measured.
    pub reverse: f64,
    /// Largest relative error of [`FeatureMap::jvp`], where there is one.
    pub forward: Option<f64>,
    /// Pairs of a sample and a direction that were compared; those along which no feature changes are left out.
    pub compared: usize,
    /// The step h.
    pub step: f64,
}

impl DerivativeCheck {
    /// Refuses a derivative whose relative error is above `tolerance` in either mode.
    ///
    /// # Errors
    /// [`Error::WrongDerivative`].
    pub fn require(&self, tolerance: f64) -> Result<()> {
        let modes = [("reverse", Some(self.reverse)), ("forward", self.forward)];
        for (mode, error) in modes.into_iter().filter_map(|(mode, error)| Some((mode, error?))) {
            // A NaN is no agreement.
            if error.is_nan() || error > tolerance {
                return Err(Error::WrongDerivative { mode, error, tolerance });
            }
        }
        Ok(())
    }
}

/// Compares the derivative of a map at `inputs` `[n, …]` with finite differences of its values, along a few directions.
///
/// A gradient that is wrong by a constant still trains a network, but makes its geometric complexity wrong outright; a few
/// samples show it. It costs 8 forward passes, 4 forward and backward ones, and 4 of forward mode where there is one. The
/// same seed gives the same directions.
///
/// # Errors
/// [`Error::Flat`] if no feature changes along any direction, [`Error::NonFinite`], and those of measuring by rows.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use gc_core::check_derivatives;
///
/// let inputs = Tensor::new(&[[0.5f64, -1.0], [2.0, 0.25]], &Device::Cpu)?;
/// check_derivatives(&|x: &Tensor| x.sin(), &inputs, 0)?.require(1e-6)?;
/// // One factor of x³ is held constant, so that the derivative comes out as 2x² and not 3x².
/// let wrong = check_derivatives(&|x: &Tensor| x.sqr()? * x.detach(), &inputs, 0)?;
/// assert!(wrong.require(1e-6).is_err());
/// # Ok::<(), gc_core::Error>(())
/// ```
pub fn check_derivatives<M: FeatureMap + ?Sized>(map: &M, inputs: &Tensor, seed: u64) -> Result<DerivativeCheck> {
    match map.frozen() {
        Some(frozen) => check(&*frozen, inputs, seed),
        None => check(&crate::feature_map::ByReference(map), inputs, seed),
    }
}

fn check(map: &dyn FeatureMap, inputs: &Tensor, seed: u64) -> Result<DerivativeCheck> {
    let inputs = inputs.detach();
    let samples = inputs.dims().first().copied().unwrap_or(0);
    if inputs.elem_count() == 0 {
        return Err(Error::EmptyData);
    }
    check_finite(&inputs, &(0..samples).collect::<Vec<_>>(), Quantity::Inputs, || None)?;
    let step = step(&inputs)?;
    let mut result = DerivativeCheck { reverse: 0.0, forward: map.has_jvp().then_some(0.0), compared: 0, step };
    for index in 0..DIRECTIONS {
        let mut stream = streams::stream(seed, "gc-core/derivative-check", index as u64);
        let direction = streams::standard_normal(&mut stream, inputs.elem_count());
        let direction = Tensor::from_vec(direction, inputs.dims(), inputs.device())?.to_dtype(inputs.dtype())?;
        result.include(map, &inputs, &direction)?;
    }
    if result.compared == 0 { Err(Error::Flat { samples }) } else { Ok(result) }
}

/// The step that balances the rounding of the difference against its curvature, for inputs of their own size.
fn step(inputs: &Tensor) -> Result<f64> {
    let size = (row_squared_norms(inputs)?.iter().sum::<f64>() / inputs.elem_count() as f64).sqrt();
    let relative = if inputs.dtype() == DType::F64 { 1e-5 } else { 5e-3 };
    Ok(relative * if size > 0.0 { size } else { 1.0 })
}

impl DerivativeCheck {
    fn include(&mut self, map: &dyn FeatureMap, inputs: &Tensor, direction: &Tensor) -> Result<()> {
        let difference = difference(map, inputs, direction, self.step)?;
        let squares = row_squared_norms(&difference)?;
        let moved: Vec<usize> = (0..squares.len()).filter(|&row| squares[row] > 0.0).collect();
        self.compared += moved.len();

        let reverse = ReverseMode::new(map, inputs, 1)?;
        let gradient = reverse.vjp(&difference.to_dtype(reverse.features().dtype())?)?;
        let along = in_f64(&gradient)?.flatten_from(1)?.mul(&in_f64(direction)?.flatten_from(1)?)?.sum(1)?;
        let along = along.to_vec1::<f64>()?;
        self.reverse = moved.iter().map(|&row| (along[row] / squares[row] - 1.0).abs()).fold(self.reverse, larger);

        if let Some(forward) = self.forward {
            let tangent = in_f64(&map.jvp(inputs, direction)?.1)?;
            let errors = row_squared_norms(&(tangent - in_f64(&difference)?)?)?;
            self.forward = Some(moved.iter().map(|&row| (errors[row] / squares[row]).sqrt()).fold(forward, larger));
        }
        Ok(())
    }
}

/// (f(x + hu) − f(x − hu))/2h in f64, on the device of the features where that has f64.
fn difference(map: &dyn FeatureMap, inputs: &Tensor, direction: &Tensor, step: f64) -> Result<Tensor> {
    let samples = inputs.dim(0)?;
    let at = |step: f64| -> Result<Tensor> {
        let features = map.features(&(inputs + (direction * step)?)?)?;
        check_shape(&features, samples)?;
        check_finite(&features, &(0..samples).collect::<Vec<_>>(), Quantity::Features, || None)?;
        in_f64(&features)
    };
    Ok(((at(step)? - at(-step)?)? / (2.0 * step))?)
}

/// The larger of two errors, where NaN is larger than anything.
fn larger(one: f64, other: f64) -> f64 {
    if one.is_nan() || one > other { one } else { other }
}
