//! Inspection of a map on the first two samples: sizes, memory, and properties without which it cannot be measured.

use candle_core::Tensor;

use crate::reverse_mode::ReverseMode;
use crate::tensors::{check_features, check_finite, in_f64, rounding, row_squared_norms};
use crate::{Error, FeatureMap, Quantity, ResidualBytes, Result, Side, TrackedWeights};

/// The properties of a map that a measurement depends on.
pub(crate) struct Inspection {
    /// Input coordinates d of a sample.
    pub(crate) inputs: usize,
    /// Features p of a sample.
    pub(crate) outputs: usize,
    /// Estimated bytes that one sample needs while it is measured.
    pub(crate) bytes_per_sample: usize,
    /// Whether the map has its own linearization, whose VJPs take many cotangents per sample.
    pub(crate) has_linearization: bool,
    /// Whether that linearization follows tested rules of its own.
    pub(crate) has_own_derivatives: bool,
    /// The weights whose gradients each backward pass computes in addition.
    pub(crate) tracked_weights: Option<TrackedWeights>,
}

/// The largest relative difference of two computations of the same features that counts as rounding.
///
/// Kernels round differently for other batch sizes. 1e-3 is far above that in f32, and far below the effect of batch
/// statistics.
const BATCH_ROUNDING: f64 = 1e-3;

/// Inspects a map on the first sample or the first two samples, `first`.
///
/// Returns an error for a map that mixes samples, draws random numbers, or whose features have a wrong shape or dtype.
pub(crate) fn inspect(
    map: &dyn FeatureMap,
    first: &Tensor,
    side: impl Fn(usize, usize) -> Result<Side>,
) -> Result<Inspection> {
    let pair = as_pair(first)?;
    check_finite(first, &[0, 1], Quantity::Inputs, || None)?;
    let sample = pair.narrow(0, 0, 1)?.contiguous()?;
    let alone = map.features(&sample)?;
    check_features(&alone, 1)?;
    check_finite(&alone, &[0], Quantity::Features, || map.first_non_finite_layer(&first.narrow(0, 0, 1).ok()?))?;
    check_deterministic(map, &sample, &alone)?;
    let inputs = pair.elem_count() / 2;
    let outputs = alone.dim(1)?;
    let seen = match side(inputs, outputs)? {
        Side::Rows => by_rows(map, &pair, outputs)?,
        Side::Columns => by_columns(map, &pair)?,
    };
    check_batch_size(&alone, &seen.features)?;
    if seen.cross[1] > BATCH_ROUNDING * BATCH_ROUNDING * seen.cross[0] {
        let evidence = "the features of one sample have a derivative with respect to the inputs of another".to_string();
        return Err(Error::MixesSamples { evidence });
    }
    Ok(Inspection {
        inputs,
        outputs,
        bytes_per_sample: seen.bytes_per_sample,
        has_linearization: seen.has_linearization,
        has_own_derivatives: seen.has_own_derivatives,
        tracked_weights: seen.tracked_weights,
    })
}

/// Two different samples: a single sample is completed by a changed copy of itself.
fn as_pair(first: &Tensor) -> Result<Tensor> {
    let first = first.detach();
    match first.dim(0)? {
        1 => Ok(Tensor::cat(&[&first, &first.affine(0.75, 0.125)?], 0)?),
        _ => Ok(first.narrow(0, 0, 2)?.contiguous()?),
    }
}

/// A pair of samples mapped and differentiated.
struct PairOutcome {
    features: Tensor,
    /// Squared norms of the derivatives between sample 0 and both samples: its own, and that across samples.
    cross: Vec<f64>,
    bytes_per_sample: usize,
    has_linearization: bool,
    has_own_derivatives: bool,
    tracked_weights: Option<TrackedWeights>,
}

/// `cross` is the derivative of the features of sample 0 with respect to the inputs of both samples.
fn by_rows(map: &dyn FeatureMap, pair: &Tensor, outputs: usize) -> Result<PairOutcome> {
    let reverse = ReverseMode::new(map, pair, 1)?;
    let features = reverse.features();
    if features.dim(1)? != outputs {
        return Err(Error::FeatureCount { alone: outputs, together: features.dim(1)? });
    }
    let mut cotangent = vec![0.0; 2 * outputs];
    cotangent[..outputs].copy_from_slice(&generic_direction(outputs));
    let cotangent = Tensor::from_vec(cotangent, features.dims(), features.device())?.to_dtype(features.dtype())?;
    let cross = row_squared_norms(&reverse.vjp(&cotangent)?)?;
    let ResidualBytes { total, largest } = reverse.bytes();
    Ok(PairOutcome {
        features: features.detach(),
        cross,
        // A backward pass holds about four gradients of the largest size beside the graph.
        bytes_per_sample: (total + 4 * largest) / 2,
        has_linearization: matches!(reverse, ReverseMode::Own(_)),
        has_own_derivatives: matches!(&reverse, ReverseMode::Own(own) if own.has_own_derivatives()),
        tracked_weights: reverse.tracked_weights(),
    })
}

/// `cross` is the derivative of the features of both samples along a direction in the inputs of sample 0.
fn by_columns(map: &dyn FeatureMap, pair: &Tensor) -> Result<PairOutcome> {
    let inputs = pair.elem_count() / 2;
    let mut direction = vec![0.0; 2 * inputs];
    direction[..inputs].copy_from_slice(&generic_direction(inputs));
    let direction = Tensor::from_vec(direction, pair.dims(), pair.device())?.to_dtype(pair.dtype())?;
    let (features, tangent) = map.jvp(pair, &direction)?;
    check_features(&features, 2)?;
    let cross = row_squared_norms(&tangent)?;
    // Forward mode keeps no graph; the bytes of a graph bound what it holds at any time. For a map without a reverse mode
    // they are estimated as ten times its inputs and features.
    let graph = ReverseMode::new(map, pair, 1)
        .map(|reverse| reverse.bytes().total)
        .unwrap_or_else(|_| 10 * (pair.elem_count() + features.elem_count()) * pair.dtype().size_in_bytes());
    Ok(PairOutcome {
        features,
        cross,
        bytes_per_sample: graph,
        has_linearization: false,
        has_own_derivatives: false,
        tracked_weights: None,
    })
}

/// Returns an error if a second pass on the same inputs gives other features.
pub(crate) fn check_deterministic(map: &dyn FeatureMap, inputs: &Tensor, features: &Tensor) -> Result<()> {
    let again = map.features(inputs)?;
    let rows = features.dims().first().copied().unwrap_or(0);
    check_features(&again, rows)?;
    let difference = relative_difference(features, &again)?;
    if difference > rounding(features.dtype()) { Err(Error::NotDeterministic { difference }) } else { Ok(()) }
}

/// Returns an error unless a batch of one and a batch of two give the same features of sample 0.
fn check_batch_size(alone: &Tensor, together: &Tensor) -> Result<()> {
    check_features(together, 2)?;
    if together.dim(1)? != alone.dim(1)? {
        return Err(Error::FeatureCount { alone: alone.dim(1)?, together: together.dim(1)? });
    }
    if relative_difference(alone, &together.narrow(0, 0, 1)?)? > BATCH_ROUNDING {
        let evidence = "the features of a sample change with the other samples of its batch".to_string();
        return Err(Error::MixesSamples { evidence });
    }
    Ok(())
}

/// ‖a − b‖ over the larger of the two norms; 0 if both are 0.
fn relative_difference(one: &Tensor, other: &Tensor) -> Result<f64> {
    let (one, other) = (in_f64(one)?, in_f64(other)?);
    let norm = |tensor: &Tensor| -> Result<f64> { Ok(row_squared_norms(tensor)?.iter().sum::<f64>().sqrt()) };
    let (difference, scale) = (norm(&(&one - &other)?)?, norm(&one)?.max(norm(&other)?));
    Ok(if difference == 0.0 { 0.0 } else { difference / scale })
}

/// A random direction, along which no small set of outputs cancels.
fn generic_direction(dimension: usize) -> Vec<f64> {
    streams::standard_normal(&mut streams::stream(0, "gc-core/mixing-check", 0), dimension)
}
