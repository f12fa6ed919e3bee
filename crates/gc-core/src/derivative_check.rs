//! Comparison of a map's derivatives with finite differences of its features.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::by_reference::ByReference;
use crate::reverse_mode::ReverseMode;
use crate::tensors::{check_features, check_finite, in_f64, row_inner_products, row_squared_norms};
use crate::{Error, FeatureMap, Passes, Quantity, Result};

/// Random directions per check.
const DIRECTIONS: usize = 4;
/// Samples of an automatic check.
pub(crate) const SAMPLES: usize = 4;
/// The standard deviation of the noise that is added to the inputs, relative to their root mean square.
const NOISE: f64 = 0.25;
/// A finite difference whose own uncertainty is larger than this share is not compared.
const ROUGH: f64 = 0.3;

/// How well the derivatives of a map agree with finite differences of its features.
///
/// **Definition** for a sample x, a direction u with standard normal coordinates and a step h, the central difference is
/// d_h = (f(x + hu) − f(x − hu))/2h. The relative error of reverse mode is |⟨Jᵀd, u⟩/‖d‖² − 1| with d = d_{h/2}, that of
/// forward mode ‖J u − d‖/‖d‖. The uncertainty of d itself is estimated as three times c = ‖d_h − d_{h/2}‖/‖d‖. A pair of a
/// sample and a direction
/// - is compared if d ≠ 0 is finite and 3c is below 0.3,
/// - disagrees if its relative error exceeds τ + 3c, with τ = 1e-4 in f64, 1e-2 in f32 and 0.2 in half precision.
///
/// A derivative counts as wrong if more than half of the compared pairs disagree.
///
/// **Conventions** x is an input plus Gaussian noise of a quarter of the inputs' root mean square. On images with constant
/// regions many maxima are tied and many ReLUs are at 0, where no difference decides which derivative is right; the noise
/// moves x away from these kinks. The check therefore cannot find a wrong rule that applies at kinks only. Inputs and
/// features are computed in f64 if the map accepts f64 inputs. If most differences are too uncertain, other steps are tried.
///
/// **Typical values** right derivatives have median relative errors below 1e-6 in f64 and below 0.05 in f32. candle's 2×2 max pooling, whose
/// gradient is a quarter of the right one, has 0.75.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DerivativeCheck {
    /// Agreement of reverse mode (VJPs), if it was checked.
    pub reverse: Option<Agreement>,
    /// Agreement of [`FeatureMap::jvp`], if it was checked.
    pub forward: Option<Agreement>,
    /// Pairs of a sample and a direction.
    pub pairs: usize,
    /// The step h, in the units of the inputs.
    pub step: f64,
    /// The dtype in which features were computed, as candle prints it.
    pub dtype: String,
    /// The cost of the check: passes of one sample through the map.
    pub passes: Passes,
}

/// How well the derivatives of one mode agree with finite differences, over pairs of a sample and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Agreement {
    /// Pairs that were compared.
    pub compared: usize,
    /// Compared pairs that disagree.
    pub disagreeing: usize,
    /// The median relative error of the compared pairs; 0 if none was compared.
    pub median: f64,
    /// The largest relative error of the compared pairs; 0 if none was compared.
    pub largest: f64,
    /// The relative error τ that is allowed beyond the uncertainty of the differences.
    pub tolerance: f64,
}

/// How the derivatives of a measured map were checked, as recorded with a measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Derivatives {
    /// No record: the result was written before such checks existed.
    #[default]
    Unrecorded,
    /// Not checked: the map has rules of its own ([`FeatureMap::linearize`], [`FeatureMap::has_own_derivatives`]).
    OwnRules,
    /// Not checked, because the check was switched off with `trust_derivatives`.
    Trusted,
    /// Compared with finite differences on the first samples, without a disagreement.
    Checked(DerivativeCheck),
}

impl Agreement {
    fn is_wrong(&self) -> bool {
        2 * self.disagreeing > self.compared
    }
}

impl DerivativeCheck {
    fn modes(&self) -> impl Iterator<Item = (&'static str, Agreement)> {
        let modes = [("reverse", self.reverse), ("forward", self.forward)];
        modes.into_iter().filter_map(|(mode, agreement)| Some((mode, agreement?)))
    }

    /// The fewest pairs that were compared in a mode.
    fn compared(&self) -> usize {
        self.modes().map(|(_, agreement)| agreement.compared).min().unwrap_or(0)
    }

    /// Returns an error if the median relative error exceeds `tolerance` in a mode that was checked.
    ///
    /// # Errors
    /// [`Error::WrongDerivative`].
    pub fn require(&self, tolerance: f64) -> Result<()> {
        match self.modes().find(|(_, agreement)| !agreement.median.le(&tolerance)) {
            None => Ok(()),
            Some((mode, agreement)) => Err(wrong(mode, Agreement { tolerance, ..agreement })),
        }
    }

    /// Returns an error if more than half of the compared pairs of a mode disagree.
    pub(crate) fn require_agreement(&self) -> Result<()> {
        match self.modes().find(|(_, agreement)| agreement.is_wrong()) {
            None => Ok(()),
            Some((mode, agreement)) => Err(wrong(mode, agreement)),
        }
    }
}

fn wrong(mode: &'static str, agreement: Agreement) -> Error {
    let Agreement { compared, disagreeing, median, tolerance, .. } = agreement;
    Error::WrongDerivative { mode, compared, disagreeing, median, tolerance }
}

/// Compares the derivatives of a map near `inputs` `[n, …]` with finite differences of its features.
///
/// A gradient that is wrong by a constant still trains a network, but makes its geometric complexity wrong; a few samples
/// show it. Measuring does this comparison by itself, on its first 4 samples. The cost per sample is 16 forward passes, one
/// forward and 4 backward passes, and 4 JVPs if the map has a forward mode. The same seed gives the same directions.
///
/// # Errors
/// [`Error::NothingToCompare`] if no pair could be compared, [`Error::NonFinite`] for inputs that are not finite, and the
/// errors of the map.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use gc_core::check_derivatives;
///
/// let inputs = Tensor::new(&[[0.5f64, -1.0], [2.0, 0.25]], &Device::Cpu)?;
/// check_derivatives(&|x: &Tensor| x.sin(), &inputs, 0)?.require(1e-6)?;
/// // One factor of x³ is detached, so its derivative comes out as 2x² instead of 3x².
/// let wrong = check_derivatives(&|x: &Tensor| x.sqr()? * x.detach(), &inputs, 0)?;
/// assert!(wrong.require(1e-6).is_err());
/// # Ok::<(), gc_core::Error>(())
/// ```
pub fn check_derivatives<M: FeatureMap + ?Sized>(map: &M, inputs: &Tensor, seed: u64) -> Result<DerivativeCheck> {
    let samples = inputs.dims().first().copied().unwrap_or(0);
    if inputs.elem_count() == 0 {
        return Err(Error::EmptyData);
    }
    check_finite(inputs, &(0..samples).collect::<Vec<_>>(), Quantity::Inputs, || None)?;
    let comparison = Comparison { reverse: true, forward: map.has_jvp(), whole_batch: false, seed };
    let check = match map.frozen() {
        Some(frozen) => comparison.run(&*frozen, inputs),
        None => comparison.run(&ByReference(map), inputs),
    }?;
    if check.compared() == 0 { Err(Error::NothingToCompare { samples }) } else { Ok(check) }
}

/// Which derivatives are compared, and how.
pub(crate) struct Comparison {
    /// Whether reverse mode is checked.
    pub(crate) reverse: bool,
    /// Whether forward mode is checked.
    pub(crate) forward: bool,
    /// Whether the batch counts as one sample, for maps that mix samples.
    pub(crate) whole_batch: bool,
    /// The seed of directions and noise.
    pub(crate) seed: u64,
}

impl Comparison {
    /// Compares at the first step and dtype at which most pairs can be compared.
    pub(crate) fn run(&self, map: &dyn FeatureMap, inputs: &Tensor) -> Result<DerivativeCheck> {
        let inputs = inputs.detach();
        let mut passes = Passes::default();
        let mut best: Option<DerivativeCheck> = None;
        for precision in Precision::candidates(&inputs) {
            let found = match self.run_with(precision, map, &inputs, &mut passes) {
                // A map on f32 weights refuses f64 inputs, or computes in f32 all the same.
                Err(_) if !precision.native => continue,
                found => found?,
            };
            let most = 2 * found.compared() >= found.pairs;
            if best.as_ref().is_none_or(|best| found.compared() > best.compared()) {
                best = Some(found);
            }
            if most {
                break;
            }
        }
        best.map(|check| DerivativeCheck { passes, ..check }).ok_or(Error::EmptyData)
    }

    fn run_with(
        &self,
        precision: Precision,
        map: &dyn FeatureMap,
        inputs: &Tensor,
        passes: &mut Passes,
    ) -> Result<DerivativeCheck> {
        let inputs = inputs.to_dtype(precision.dtype)?;
        let size = root_mean_square(&inputs)?;
        let mut point = (&inputs + (self.normal("gc-core/derivative-check/noise", 0, &inputs)? * (NOISE * size))?)?;
        let mut start = self.start(precision, map, &point)?;
        // The noise can leave the domain of the map, as that of a logarithm.
        if !start.is_finite()? {
            point = inputs;
            start = self.start(precision, map, &point)?;
        }
        let reverse = start.into_reverse();
        let samples = point.dim(0)?;
        passes.forward += samples as u64;
        let step = precision.relative_step * size;
        let (mut of_reverse, mut of_forward) = (Vec::new(), Vec::new());
        let mut pairs = 0;
        for index in 0..DIRECTIONS {
            let direction = self.normal("gc-core/derivative-check", index, &point)?;
            let difference = self.difference(precision, map, &point, &direction, step)?;
            pairs += difference.squares.len();
            passes.forward += 4 * samples as u64;
            if let Some(reverse) = &reverse {
                let cotangent = difference.fine.to_device(point.device())?.to_dtype(reverse.features().dtype())?;
                let gradient = reverse.vjp(&cotangent)?;
                passes.backward += samples as u64;
                let along = row_inner_products(&self.rows(&gradient)?, &self.rows(&direction)?)?;
                let error = |row: usize| (along[row] / difference.squares[row] - 1.0).abs();
                of_reverse.extend(difference.pairs(error));
            }
            if self.forward {
                let (_, tangent) = map.jvp(&point, &direction)?;
                passes.forward += samples as u64;
                passes.tangent += samples as u64;
                let off = row_squared_norms(&self.rows(&(in_f64(&tangent)? - &difference.fine)?)?)?;
                of_forward.extend(difference.pairs(|row| (off[row] / difference.squares[row]).sqrt()));
            }
        }
        Ok(DerivativeCheck {
            reverse: self.reverse.then(|| agreement(&of_reverse, precision.tolerance)),
            forward: self.forward.then(|| agreement(&of_forward, precision.tolerance)),
            pairs,
            step,
            dtype: precision.dtype.as_str().to_string(),
            passes: *passes,
        })
    }

    /// One row per sample, or a single row for the whole batch.
    fn rows(&self, tensor: &Tensor) -> Result<Tensor> {
        Ok(if self.whole_batch { tensor.flatten_all()?.unsqueeze(0)? } else { tensor.flatten_from(1)? })
    }

    fn normal(&self, purpose: &str, index: usize, like: &Tensor) -> Result<Tensor> {
        let mut stream = streams::stream(self.seed, purpose, index as u64);
        let drawn = streams::standard_normal(&mut stream, like.elem_count());
        Ok(Tensor::from_vec(drawn, like.dims(), like.device())?.to_dtype(like.dtype())?)
    }

    /// The map at the point around which differences are taken, run once for its features and its reverse mode.
    fn start<'a>(&self, precision: Precision, map: &'a dyn FeatureMap, point: &Tensor) -> Result<Start<'a>> {
        if !self.reverse {
            return Ok(Start::Features(precision.features(map, point)?));
        }
        let reverse = ReverseMode::new(map, point, 1)?;
        precision.require_dtype(reverse.features())?;
        Ok(Start::Reverse(reverse))
    }

    /// The features at four points `[n, …]`, in f64: one pass of all their samples, unless the batch counts as one sample.
    fn features_at(&self, precision: Precision, map: &dyn FeatureMap, points: [Tensor; 4]) -> Result<[Tensor; 4]> {
        let features = |point: &Tensor| in_f64(&precision.features(map, point)?);
        if self.whole_batch {
            let [one, two, three, four] = &points;
            return Ok([features(one)?, features(two)?, features(three)?, features(four)?]);
        }
        let all = features(&Tensor::cat(&points, 0)?)?;
        let samples = all.dim(0)? / points.len();
        let part = |index: usize| all.narrow(0, index * samples, samples);
        Ok([part(0)?, part(1)?, part(2)?, part(3)?])
    }

    fn difference(
        &self,
        precision: Precision,
        map: &dyn FeatureMap,
        point: &Tensor,
        direction: &Tensor,
        step: f64,
    ) -> Result<Difference> {
        let (moved, half) = ((direction * step)?, (direction * (step / 2.0))?);
        let points = [(point + &moved)?, (point - &moved)?, (point + &half)?, (point - &half)?];
        let [ahead, back, near_ahead, near_back] = self.features_at(precision, map, points)?;
        let coarse = ((ahead - back)? / (2.0 * step))?;
        let fine = ((near_ahead - near_back)? / step)?;
        let squares = row_squared_norms(&self.rows(&fine)?)?;
        let changes = row_squared_norms(&self.rows(&(coarse - &fine)?)?)?;
        let uncertainties = changes.iter().zip(&squares).map(|(change, square)| 3.0 * (change / square).sqrt());
        Ok(Difference { uncertainties: uncertainties.collect(), squares, fine })
    }
}

/// The first pass of a comparison.
enum Start<'a> {
    Features(Tensor),
    Reverse(ReverseMode<'a>),
}

impl<'a> Start<'a> {
    fn is_finite(&self) -> Result<bool> {
        let features = match self {
            Self::Features(features) => features,
            Self::Reverse(reverse) => reverse.features(),
        };
        Ok(row_squared_norms(features)?.iter().all(|norm| norm.is_finite()))
    }

    fn into_reverse(self) -> Option<ReverseMode<'a>> {
        match self {
            Self::Features(_) => None,
            Self::Reverse(reverse) => Some(reverse),
        }
    }
}

/// Central differences along one direction.
struct Difference {
    /// At half the step, in f64.
    fine: Tensor,
    /// Their squared norms, one for each row.
    squares: Vec<f64>,
    /// The relative uncertainty of each row.
    uncertainties: Vec<f64>,
}

/// The relative error of a derivative, and the relative uncertainty of the difference it was compared with.
struct Pair {
    error: f64,
    uncertainty: f64,
}

impl Difference {
    /// The rows that can be compared. A difference of 0 has the uncertainty NaN.
    fn pairs(&self, error: impl Fn(usize) -> f64) -> Vec<Pair> {
        let rows = self.uncertainties.iter().enumerate().filter(|(_, uncertainty)| **uncertainty < ROUGH);
        rows.map(|(row, &uncertainty)| Pair { error: error(row), uncertainty }).collect()
    }
}

fn agreement(pairs: &[Pair], tolerance: f64) -> Agreement {
    let mut errors: Vec<f64> = pairs.iter().map(|pair| pair.error).collect();
    errors.sort_by(f64::total_cmp);
    let disagreeing = pairs.iter().filter(|pair| !pair.error.le(&(tolerance + pair.uncertainty))).count();
    Agreement {
        compared: pairs.len(),
        disagreeing,
        median: errors.get(errors.len() / 2).copied().unwrap_or(0.0),
        largest: errors.last().copied().unwrap_or(0.0),
        tolerance,
    }
}

/// The dtype and the step of a comparison, and the relative error that is allowed in it.
#[derive(Clone, Copy)]
struct Precision {
    dtype: DType,
    /// Whether `dtype` is that of the inputs.
    native: bool,
    relative_step: f64,
    tolerance: f64,
}

impl Precision {
    /// The dtypes and steps to try, in order: f64 first, then the dtype of the inputs, with the step that balances rounding against
    /// curvature before larger and smaller ones.
    fn candidates(inputs: &Tensor) -> Vec<Self> {
        let with = |dtype, tolerance, steps: &[f64]| -> Vec<Self> {
            let native = dtype == inputs.dtype();
            steps.iter().map(|&relative_step| Self { dtype, native, relative_step, tolerance }).collect()
        };
        let native = match inputs.dtype() {
            DType::F64 => return with(DType::F64, 1e-4, &[1e-5, 1e-3, 1e-7]),
            DType::F32 => with(DType::F32, 1e-2, &[5e-3, 5e-2, 5e-4]),
            half => with(half, 0.2, &[0.2, 1.0]),
        };
        let first = if inputs.device().is_metal() { vec![] } else { with(DType::F64, 1e-4, &[1e-5]) };
        [first, native].concat()
    }

    /// The features. A map that was given f64 must return f64.
    fn features(self, map: &dyn FeatureMap, point: &Tensor) -> Result<Tensor> {
        let features = map.features(point)?;
        check_features(&features, point.dim(0)?)?;
        self.require_dtype(&features)?;
        Ok(features)
    }

    fn require_dtype(self, features: &Tensor) -> Result<()> {
        if self.native || features.dtype() == self.dtype {
            Ok(())
        } else {
            Err(Error::FeatureDType { got: features.dtype() })
        }
    }
}

/// The root mean square of all entries, 1 if they are all 0.
fn root_mean_square(tensor: &Tensor) -> Result<f64> {
    let size = (row_squared_norms(tensor)?.iter().sum::<f64>() / tensor.elem_count() as f64).sqrt();
    Ok(if size > 0.0 { size } else { 1.0 })
}
