//! A look at the map on the first two samples: sizes, memory, and whether samples are mixed.

use candle_core::Tensor;

use crate::reverse_mode::{ReverseMode, check_finite, check_shape, in_f64, row_squared_norms};
use crate::{Error, FeatureMap, Quantity, Result, Side};

/// What the first two samples tell about a map.
pub(crate) struct Inspection {
    /// Input coordinates d and features p of a sample.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Estimated bytes that one sample needs while it is measured.
    pub(crate) bytes_per_sample: usize,
    /// Whether the map has its own linearization, of which a pass takes many rows of each sample.
    pub(crate) linearises: bool,
}

/// Relative difference of two ways to compute the same features or derivative that is still rounding.
///
/// Kernels round differently for other batch sizes; 1e-3 is far above that in f32 and far below what batch statistics do.
const ROUNDING: f64 = 1e-3;

/// Measures sizes and refuses maps that mix samples. `first` holds the first sample, or the first two.
pub(crate) fn inspect(
    map: &dyn FeatureMap,
    first: &Tensor,
    side: impl Fn(usize, usize) -> Result<Side>,
) -> Result<Inspection> {
    let pair = as_pair(first)?;
    check_finite(first, &[0, 1], Quantity::Inputs, || None)?;
    let alone = map.features(&pair.narrow(0, 0, 1)?.contiguous()?)?;
    check_shape(&alone, 1)?;
    check_finite(&alone, &[0], Quantity::Features, || map.first_non_finite_layer(&first.narrow(0, 0, 1).ok()?))?;
    let inputs = pair.elem_count() / 2;
    let outputs = alone.dim(1)?;
    let (features, cross, bytes_per_sample, linearises) = match side(inputs, outputs)? {
        Side::Rows => reverse(map, &pair, outputs)?,
        Side::Columns => forward(map, &pair)?,
    };
    check_features(&alone, &features)?;
    if cross[1] > ROUNDING * ROUNDING * cross[0] {
        let evidence = "the features of one sample have a derivative by the inputs of another".to_string();
        return Err(Error::MixesSamples { evidence });
    }
    Ok(Inspection { inputs, outputs, bytes_per_sample, linearises })
}

/// Two different samples: a single one is joined by a changed copy of itself.
fn as_pair(first: &Tensor) -> Result<Tensor> {
    let first = first.detach();
    match first.dim(0)? {
        1 => Ok(Tensor::cat(&[&first, &first.affine(0.75, 0.125)?], 0)?),
        _ => Ok(first.narrow(0, 0, 2)?.contiguous()?),
    }
}

/// Features of the pair, squared norms of the derivative of sample 0 by both inputs, bytes of a sample, and whether the
/// map has its own linearization.
fn reverse(map: &dyn FeatureMap, pair: &Tensor, outputs: usize) -> Result<(Tensor, Vec<f64>, usize, bool)> {
    let reverse = ReverseMode::new(map, pair, 1)?;
    let features = reverse.features();
    let mut cotangent = vec![0.0; 2 * outputs];
    cotangent[..outputs].copy_from_slice(&generic_direction(outputs));
    let cotangent = Tensor::from_vec(cotangent, features.dims(), features.device())?.to_dtype(features.dtype())?;
    let cross = row_squared_norms(&reverse.vjp(&cotangent)?)?;
    let (graph, largest) = reverse.bytes();
    // During the reverse pass a handful of gradients of the largest size live beside the graph.
    let own = matches!(reverse, ReverseMode::Own(_));
    Ok((reverse.features().detach(), cross, (graph + 4 * largest) / 2, own))
}

/// As [`reverse`], with the derivative of both samples along a direction in the inputs of sample 0.
fn forward(map: &dyn FeatureMap, pair: &Tensor) -> Result<(Tensor, Vec<f64>, usize, bool)> {
    let inputs = pair.elem_count() / 2;
    let mut direction = vec![0.0; 2 * inputs];
    direction[..inputs].copy_from_slice(&generic_direction(inputs));
    let direction = Tensor::from_vec(direction, pair.dims(), pair.device())?.to_dtype(pair.dtype())?;
    let (features, tangent) = map.jvp(pair, &direction)?;
    check_shape(&features, 2)?;
    let cross = row_squared_norms(&tangent)?;
    // A forward pass keeps no graph; what one would hold bounds what lives at any time. Maps without a reverse mode give
    // no such figure, and count as holding ten times their inputs and features.
    let graph = ReverseMode::new(map, pair, 1)
        .map(|reverse| reverse.bytes().0)
        .unwrap_or_else(|_| 10 * (pair.elem_count() + features.elem_count()) * pair.dtype().size_in_bytes());
    Ok((features, cross, graph, false))
}

/// The same features must come out of a batch of one and a batch of two.
fn check_features(alone: &Tensor, together: &Tensor) -> Result<()> {
    check_shape(together, 2)?;
    if together.dim(1)? != alone.dim(1)? {
        return Err(Error::FeatureShape { samples: 2, got: together.dims().to_vec() });
    }
    let (alone, together) = (in_f64(alone)?, in_f64(&together.narrow(0, 0, 1)?)?);
    let difference = row_squared_norms(&(&alone - &together)?)?[0];
    let scale = row_squared_norms(&alone)?[0].max(row_squared_norms(&together)?[0]);
    if difference > ROUNDING * ROUNDING * scale {
        let evidence = "the features of a sample change with the other samples of its batch".to_string();
        return Err(Error::MixesSamples { evidence });
    }
    Ok(())
}

/// A direction without symmetries: no small set of outputs cancels along it.
fn generic_direction(dimension: usize) -> Vec<f64> {
    streams::standard_normal(&mut streams::stream(0, "gc-core/mixing-check", 0), dimension)
}
