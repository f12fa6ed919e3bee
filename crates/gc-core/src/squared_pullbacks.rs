//! ‖Jᵀv‖² and a scalar that has its gradient with respect to the weights, for any map.

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::by_reference::ByReference;
use crate::reverse_mode::ReverseMode;
use crate::tensors::{check_features, check_finite, in_f64, row_squared_norms};
use crate::{Error, FeatureMap, InputUnits, Quantity, Result};

/// The result of [`FeatureMap::squared_pullbacks`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SquaredPullbacks {
    /// The features `[n, p]` with their graph, so that the other terms of the loss can share the forward pass.
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

/// How the gradient of a penalty was obtained: by a tangent J u, or by differentiating twice.
///
/// `mismatch` is |Σ⟨v, J u⟩/Σ‖u‖² − 1| over cotangents and samples. With u = Jᵀv both sums are equal, so the mismatch
/// measures the error of the tangent, and a wrong derivative rule shows in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tangent {
    /// J u by the map's own [`FeatureMap::squared_pullbacks`].
    OwnRules,
    /// J u by [`FeatureMap::jvp`].
    Jvp {
        /// The relative difference of Σ⟨v, J u⟩ and Σ‖u‖².
        mismatch: f64,
    },
    /// J u by a central difference of the features along u.
    CentralDifference {
        /// The largest perturbation of the inputs, ‖h u‖ over ‖x‖.
        step: f64,
        /// The relative difference of Σ⟨v, J u⟩ and Σ‖u‖².
        mismatch: f64,
    },
    /// No tangent: candle differentiated ½‖u‖² itself, because its environment variable `CANDLE_GRAD_DO_NOT_DETACH` is set.
    DoubleBackward {
        /// The relative difference of Σ⟨v, J u⟩, by a central difference for the first cotangent, and ‖u‖².
        mismatch: f64,
    },
}

impl Tangent {
    /// The relative difference of Σ⟨v, J u⟩ and Σ‖u‖², if it was computed.
    pub fn mismatch(&self) -> Option<f64> {
        match self {
            Self::OwnRules => None,
            Self::Jvp { mismatch } | Self::CentralDifference { mismatch, .. } | Self::DoubleBackward { mismatch } => {
                Some(*mismatch)
            }
        }
    }
}

/// ‖Jᵀv‖² and its gradient for any map: u = Jᵀv in reverse mode, then ⟨v, J u⟩ by the map's JVP or by a central difference,
/// or ½‖u‖² if candle can differentiate it.
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
    let reverse = ReverseMode::attached(frozen.as_deref().unwrap_or(&unfrozen), x)?;
    check_finite(reverse.features(), &indices, Quantity::Features, || map.first_non_finite_layer(x))?;
    let mut sums = Sums { rule: Rule::of(map, frozen.is_some(), &reverse)?, ..Sums::default() };
    for cotangent in draw(reverse.features())? {
        let attached = units.divide(&reverse.vjp(&cotangent)?)?;
        let u = attached.detach();
        let norms = row_squared_norms(&u)?;
        let squared: f64 = norms.iter().sum();
        sums.squared_norms.push(norms);
        let direction = units.divide(&u)?;
        let difference = |step: f64| central_difference(map, x, &direction, step);
        match sums.rule {
            Rule::Jvp => {
                let (features, tangent) = map.jvp(x, &direction)?;
                check_features(&features, samples)?;
                sums.features.get_or_insert(features);
                sums.add((tangent * &cotangent)?.sum_all()?, squared)?;
            }
            Rule::CentralDifference => {
                let step = step(x, reverse.features(), &cotangent, &direction, squared)?;
                sums.step = sums.step.max(step * norm(&direction)? / norm(x)?.max(f64::MIN_POSITIVE));
                sums.add((difference(step)? * &cotangent)?.sum_all()?, squared)?;
            }
            Rule::DoubleBackward => {
                if sums.term.is_none() {
                    let step = step(x, reverse.features(), &cotangent, &direction, squared)?;
                    sums.compare(&(difference(step)? * &cotangent)?.sum_all()?, squared)?;
                }
                sums.add_uncompared((attached.sqr()?.sum_all()? * 0.5)?)?;
            }
        }
    }
    let features = match sums.features.take() {
        Some(features) => features,
        // The graph of the reverse pass reaches the weights unless the map was frozen.
        None if frozen.is_none() => reverse.features().clone(),
        None => map.features(x)?,
    };
    sums.finish(features)
}

/// The source of the gradient of ½‖u‖².
#[derive(Clone, Copy, Default, PartialEq)]
enum Rule {
    Jvp,
    #[default]
    CentralDifference,
    DoubleBackward,
}

impl Rule {
    fn of<M: FeatureMap + ?Sized>(map: &M, frozen: bool, reverse: &ReverseMode<'_>) -> Result<Self> {
        if map.has_jvp() {
            return Ok(Self::Jvp);
        }
        let tracked = !frozen && reverse.tracked_weights().is_some();
        Ok(if tracked && gradients_have_graphs()? { Self::DoubleBackward } else { Self::CentralDifference })
    }
}

/// Whether candle keeps the graph of gradients in this thread. It detaches them unless `CANDLE_GRAD_DO_NOT_DETACH` is set.
fn gradients_have_graphs() -> Result<bool> {
    let x = Var::new(1f64, &Device::Cpu)?;
    let missing = || Error::NotDifferentiable;
    let first = x.sqr()?.sqr()?.backward()?.get(&x).cloned().ok_or_else(missing)?;
    // The second derivative of x⁴ at 1 is 12. With detached gradients one factor is constant, and the result is 4.
    let second = first.backward()?.get(&x).map(Tensor::to_scalar::<f64>).transpose()?;
    Ok(second == Some(12.0))
}

/// Sums over cotangents.
#[derive(Default)]
struct Sums {
    rule: Rule,
    features: Option<Tensor>,
    squared_norms: Vec<Vec<f64>>,
    term: Option<Tensor>,
    step: f64,
    /// Σ⟨v, J u⟩ and Σ‖u‖² over the cotangents for which they were compared.
    products: f64,
    squares: f64,
}

impl Sums {
    /// Adds ⟨v, J u⟩ to the term, and compares it with ‖u‖².
    fn add(&mut self, product: Tensor, squared: f64) -> Result<()> {
        self.compare(&product, squared)?;
        self.add_uncompared(product)
    }

    fn add_uncompared(&mut self, term: Tensor) -> Result<()> {
        self.term = Some(match self.term.take() {
            None => term,
            Some(sum) => (sum + term)?,
        });
        Ok(())
    }

    fn compare(&mut self, product: &Tensor, squared: f64) -> Result<()> {
        self.products += in_f64(product)?.to_scalar::<f64>()?;
        self.squares += squared;
        Ok(())
    }

    fn finish(self, features: Tensor) -> Result<SquaredPullbacks> {
        let tangent_cotangent_term = self.term.ok_or_else(|| Error::setting("cotangents", "at least 1", 0))?;
        let equal = self.products == self.squares;
        let mismatch = if equal { 0.0 } else { (self.products / self.squares - 1.0).abs() };
        let tangent = match self.rule {
            Rule::Jvp => Tangent::Jvp { mismatch },
            Rule::CentralDifference => Tangent::CentralDifference { step: self.step, mismatch },
            Rule::DoubleBackward => Tangent::DoubleBackward { mismatch },
        };
        Ok(SquaredPullbacks { features, squared_norms: self.squared_norms, tangent_cotangent_term, tangent })
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

/// The relative change of the features that a step aims at.
///
/// The error of a central difference is of the order of its square (curvature) plus the rounding of the dtype divided by it.
/// In f64 it is smaller than the best value for smooth maps, so that a step seldom crosses a kink of a ReLU.
fn relative_change(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-8,
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
