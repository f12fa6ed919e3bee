//! ‖Jᵀv‖² and a scalar that has its gradient with respect to the weights, for any map.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::by_reference::ByReference;
use crate::reverse_mode::ReverseMode;
use crate::tensors::{check_features, check_finite, in_f64, row_squared_norms};
use crate::{Error, FeatureMap, InputUnits, Quantity, Result};

/// The result of [`FeatureMap::squared_pullbacks`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SquaredPullbacks {
    /// The features `[n, p]` with their graph, so that the rest of the loss can share the forward pass.
    pub features: Tensor,
    /// For each cotangent v the norms ‖Jᵀv‖² of each sample (row norms of Jᵀv), in the input units of the call.
    pub squared_norms: Vec<Vec<f64>>,
    /// A scalar whose gradient with respect to the weights is that of Σ ½‖Jᵀv‖² over cotangents and samples, such as
    /// Σ⟨v, J u⟩ with u = Jᵀv held fixed. Only its gradient is used.
    pub tangent_cotangent_term: Tensor,
    /// How J u was computed, and how well it agrees with u.
    pub tangent: Tangent,
}

impl SquaredPullbacks {
    /// The result of a map that computes all three by rules of its own.
    pub fn new(features: Tensor, squared_norms: Vec<Vec<f64>>, tangent_cotangent_term: Tensor) -> Self {
        Self { features, squared_norms, tangent_cotangent_term, tangent: Tangent::OwnRules }
    }
}

/// How the tangent J u of a penalty was computed.
///
/// `mismatch` is |Σ⟨v, J u⟩/Σ‖u‖² − 1| over cotangents and samples. With u = Jᵀv both sums are equal, so the mismatch
/// measures the error of the tangent, and a wrong derivative rule shows in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tangent {
    /// By the map's own [`FeatureMap::squared_pullbacks`].
    OwnRules,
    /// By [`FeatureMap::jvp`].
    Jvp {
        /// The relative difference of Σ⟨v, J u⟩ and Σ‖u‖².
        mismatch: f64,
    },
    /// By a central difference of the features along u.
    CentralDifference {
        /// The largest perturbation of the inputs, ‖h u‖ over ‖x‖.
        step: f64,
        /// The relative difference of Σ⟨v, J u⟩ and Σ‖u‖².
        mismatch: f64,
    },
}

impl Tangent {
    /// The relative difference of Σ⟨v, J u⟩ and Σ‖u‖², where it was computed.
    pub fn mismatch(&self) -> Option<f64> {
        match self {
            Self::OwnRules => None,
            Self::Jvp { mismatch } | Self::CentralDifference { mismatch, .. } => Some(*mismatch),
        }
    }
}

/// Squared pullbacks of any map: u in reverse mode, then ⟨v, J u⟩ by the map's JVP or by a central difference.
pub(crate) fn of_any_map<M: FeatureMap + ?Sized>(
    map: &M,
    x: &Tensor,
    draw: &dyn Fn(&Tensor) -> Result<Vec<Tensor>>,
    units: &InputUnits,
) -> Result<SquaredPullbacks> {
    let x = &x.detach();
    let samples = x.dims().first().copied().unwrap_or(0);
    let indices: Vec<usize> = (0..samples).collect();
    let (frozen, unfrozen) = (map.frozen(), ByReference(map));
    let reverse = ReverseMode::new(frozen.as_deref().unwrap_or(&unfrozen), x, 1)?;
    check_finite(reverse.features(), &indices, Quantity::Features, || map.first_non_finite_layer(x))?;
    let mut sums = Sums::default();
    for cotangent in draw(reverse.features())? {
        let pullback = units.divide(&reverse.vjp(&cotangent)?)?.detach();
        let norms = row_squared_norms(&pullback)?;
        let squared: f64 = norms.iter().sum();
        sums.squared_norms.push(norms);
        let direction = units.divide(&pullback)?;
        let tangent = if map.has_jvp() {
            let (features, tangent) = map.jvp(x, &direction)?;
            check_features(&features, samples)?;
            sums.features.get_or_insert(features);
            tangent
        } else {
            let step = step(x, reverse.features(), &cotangent, &direction, squared)?;
            sums.step = sums.step.max(step * norm(&direction)? / norm(x)?.max(f64::MIN_POSITIVE));
            central_difference(map, x, &direction, step)?
        };
        sums.add((tangent * &cotangent)?.sum_all()?)?;
    }
    let features = match sums.features.take() {
        Some(features) => features,
        // The graph of the reverse pass has the weights below it unless the map was frozen.
        None if frozen.is_none() => reverse.features().clone(),
        None => map.features(x)?,
    };
    sums.finish(features, map.has_jvp())
}

/// Sums over cotangents.
#[derive(Default)]
struct Sums {
    features: Option<Tensor>,
    squared_norms: Vec<Vec<f64>>,
    term: Option<Tensor>,
    step: f64,
}

impl Sums {
    fn add(&mut self, term: Tensor) -> Result<()> {
        self.term = Some(match self.term.take() {
            None => term,
            Some(sum) => (sum + term)?,
        });
        Ok(())
    }

    fn finish(self, features: Tensor, jvp: bool) -> Result<SquaredPullbacks> {
        let term = self.term.ok_or_else(|| Error::setting("cotangents", "at least 1", 0))?;
        let squared: f64 = self.squared_norms.iter().flatten().sum();
        let value = in_f64(&term)?.to_scalar::<f64>()?;
        let mismatch = if squared == value { 0.0 } else { (value / squared - 1.0).abs() };
        let tangent =
            if jvp { Tangent::Jvp { mismatch } } else { Tangent::CentralDifference { step: self.step, mismatch } };
        Ok(SquaredPullbacks { features, squared_norms: self.squared_norms, tangent_cotangent_term: term, tangent })
    }
}

/// (f(x + hu) − f(x − hu))/2h with the graph down to the weights.
fn central_difference<M: FeatureMap + ?Sized>(map: &M, x: &Tensor, u: &Tensor, h: f64) -> Result<Tensor> {
    let step = (u * h)?;
    let samples = x.dims().first().copied().unwrap_or(0);
    let (ahead, behind) = (map.features(&(x + &step)?)?, map.features(&(x - &step)?)?);
    check_features(&ahead, samples)?;
    check_features(&behind, samples)?;
    Ok(((ahead - behind)? / (2.0 * h))?)
}

/// The relative change of the features that a step aims at. The error of a central difference is of the order of its
/// square (curvature) plus the rounding of the dtype divided by it.
fn relative_change(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-5,
        DType::F32 => 1e-2,
        _ => 0.1,
    }
}

/// The step h for the whole batch: the features change by at most about δ‖f(x)‖ and the inputs by at most δ‖x‖, with δ the
/// [relative change](relative_change) of the dtype.
///
/// ‖J u‖ ≥ ⟨v, J u⟩/‖v‖ = ‖u‖²/‖v‖, so h = δ‖f(x)‖‖v‖/‖u‖² is the step at which the change along v is δ‖f(x)‖.
fn step(x: &Tensor, features: &Tensor, cotangent: &Tensor, direction: &Tensor, squared: f64) -> Result<f64> {
    let change = relative_change(x.dtype());
    let length = norm(direction)?;
    let by_features = change * norm(features)? * norm(cotangent)? / squared;
    let size = norm(x)?;
    let by_inputs = change * if size > 0.0 { size } else { (x.elem_count() as f64).sqrt() } / length;
    let step = if by_features > 0.0 { by_features.min(by_inputs) } else { by_inputs };
    // u = 0 along every sample: any step gives the tangent 0.
    Ok(if step.is_finite() && step > 0.0 { step } else { change })
}

fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(row_squared_norms(&tensor.flatten_all()?.unsqueeze(0)?)?.iter().sum::<f64>().sqrt())
}
