//! Fusion: neighbours in a sequence that one operation computes, as layers with the same contract.
//!
//! | fused | when |
//! |---|---|
//! | batch norm into the weights of the convolution in front of it | constants, evaluation mode, without tangents |
//! | a ReLU with the convolution with bias, batch norm of a batch or sum in front of it | always |
//! | convolution, ReLU and max pool | constants, without tangents |
//! | batch norm of a batch, ReLU and max pool | without tangents |
//! | the mask of such a ReLU with the VJP of the layer after it | a max pool, or a convolution with constants |
//! | the selection of one token with the layers in front of it that act on each token by itself | always, see `selection` |
//! | GELU in front of and layer scale behind a linear layer or pointwise convolution with that | always; convolutions not in mixed precision |
//! | a pointwise convolution in front of GELU, as a linear layer | not in mixed precision |
//! | two linear layers with GELU between them, and a norm of each row in front | without tangents |
//! | the linear layer of queries, keys and values with the attention behind it | without tangents |
//!
//! A convolution with a ReLU and a max pool stores less for the VJP than the three by themselves, and skips more products with
//! zeros. With variables, the layer in front of the ReLU computes the mask and its bias gradient in one pass over the memory.

use std::sync::Arc;

use candle_core::Tensor;
use ops::Activation;

use super::batch_norm::NormFusion;
use super::conv::{ConvFusion, ReluMask};
use super::linear_attention::LinearAttention;
use super::mlp::Mlp;
use super::selection::select_early;
use super::{BatchNorm2d, Conv2d, Kind, Layer, LayerInput, LayerLinearization, Linear, MaxPool, Sum};
use crate::{Pass, Result};

/// What fusion depends on beside the layers.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    /// Whether batch norm uses the statistics of the batch.
    pub(super) batch_statistics: bool,
    /// Whether tangents are asked for; also set for passes with candle's graph.
    pub(super) tangents: bool,
    /// Whether convolutions multiply in bf16 or TF32.
    pub(super) mixed_precision: bool,
}

impl Mode {
    /// The number of modes.
    pub(super) const COUNT: usize = 8;

    /// The mode of a pass, with or without tangents.
    pub(super) fn of(pass: &Pass, tangents: bool) -> Self {
        let mixed_precision = pass.accuracy.rounds_factors();
        Self { batch_statistics: pass.batch_statistics, tangents, mixed_precision }
    }

    /// The place of this mode among all.
    pub(super) fn index(self) -> usize {
        [self.batch_statistics, self.tangents, self.mixed_precision]
            .iter()
            .fold(0, |index, set| 2 * index + usize::from(*set))
    }
}

/// The layers with neighbours fused.
pub(super) fn compile<'a>(layers: impl Iterator<Item = &'a Arc<dyn Layer>>, mode: Mode) -> Vec<Arc<dyn Layer>> {
    let layers = select_early(layers.cloned().collect());
    let (mut compiled, mut rest) = (Vec::new(), layers.as_slice());
    let (mut masks_input, mut after_bias) = (false, false);
    while let Some(first) = rest.first() {
        let Fused { layer, count, mask } = fuse(rest, Before { masks_input, after_bias }, mode);
        after_bias = count == 1 && matches!(first.kind(), Kind::Conv2d(conv) if conv.has_bias() && conv.is_tracked());
        compiled.push(layer.unwrap_or_else(|| Arc::clone(first)));
        masks_input = mask == Some(ReluMask::NextLayer);
        rest = rest.get(count..).unwrap_or_default();
    }
    compiled
}

/// The first layers of a sequence as one.
struct Fused {
    /// None for the first layer as it is.
    layer: Option<Arc<dyn Layer>>,
    /// The number of layers.
    count: usize,
    /// Who applies the mask of the ReLU at the end, if there is one.
    mask: Option<ReluMask>,
}

/// What the first layers depend on before them.
#[derive(Clone, Copy)]
struct Before {
    /// Whether their input is the output of a ReLU whose mask they apply.
    masks_input: bool,
    /// Whether their input is the output of a convolution with a bias that is a variable.
    after_bias: bool,
}

fn fuse(layers: &[Arc<dyn Layer>], Before { masks_input, after_bias }: Before, mode: Mode) -> Fused {
    let kind = |index: usize| layers.get(index).map_or(Kind::Other, |layer| layer.kind());
    // The mask of a ReLU at this place.
    let relu = |index: usize| {
        matches!(kind(index), Kind::Activation(Activation::Relu)).then(|| match kind(index + 1) {
            Kind::MaxPool(_) => ReluMask::NextLayer,
            Kind::Conv2d(next) if !next.is_tracked() => ReluMask::NextLayer,
            _ => ReluMask::ThisLayer,
        })
    };
    if let Some(fused) = fused_linear(layers, mode) {
        return fused;
    }
    match kind(0) {
        Kind::Conv2d(conv) => {
            let constant = !conv.is_tracked();
            let norm = match kind(1) {
                Kind::BatchNorm2d(norm) if constant && !norm.is_tracked() => Some(norm.clone()),
                _ => None,
            };
            let norm = norm.filter(|_| !mode.batch_statistics && !mode.tangents);
            let mut count = 1 + usize::from(norm.is_some());
            let mut mask = relu(count).filter(|_| norm.is_some() || conv.has_bias());
            let mut pool = None;
            if mask.is_some() {
                count += 1;
                if let Kind::MaxPool(after) = kind(count)
                    && constant
                    && !mode.tangents
                {
                    (pool, mask, count) = (Some(*after), Some(ReluMask::ThisLayer), count + 1);
                }
            }
            let fusion = ConvFusion { masks_input, relu: mask, pool: pool.map(|pool| pool.0) };
            let layer: Arc<dyn Layer> = Arc::new(FusedConv { conv: conv.clone(), norm, fusion });
            Fused { layer: Some(layer), count, mask }
        }
        Kind::BatchNorm2d(norm) if mode.batch_statistics => match relu(1) {
            Some(mask) => {
                let pool = match kind(2) {
                    Kind::MaxPool(pool) if !mode.tangents => Some(*pool),
                    _ => None,
                };
                let fusion = NormFusion { relu: Some(mask), after_bias, pool };
                let layer: Arc<dyn Layer> = Arc::new(NormRelu { norm: norm.clone(), fusion });
                let (count, mask) = if pool.is_some() { (3, None) } else { (2, Some(mask)) };
                Fused { layer: Some(layer), count, mask }
            }
            None => Fused { layer: None, count: 1, mask: None },
        },
        Kind::Sum(sum) => match relu(1) {
            Some(mask) => {
                Fused { layer: Some(Arc::new(SumRelu { sum: sum.clone(), mask })), count: 2, mask: Some(mask) }
            }
            None => Fused { layer: None, count: 1, mask: None },
        },
        Kind::Linear(linear) if !mode.tangents => match kind(1) {
            Kind::Attention(attention) => {
                let both = LinearAttention { linear: linear.clone(), attention: attention.clone() };
                Fused { layer: Some(Arc::new(both)), count: 2, mask: None }
            }
            _ => Fused { layer: None, count: 1, mask: None },
        },
        Kind::MaxPool(pool) if masks_input => {
            Fused { layer: Some(Arc::new(MaskingMaxPool(*pool))), count: 1, mask: None }
        }
        _ => Fused { layer: None, count: 1, mask: None },
    }
}

/// The first layers as one linear layer, with their number: perhaps GELU, the linear layer or pointwise convolution, and perhaps layer
/// scale. The values of GELU are computed where they are multiplied, which is faster than reading them again; the factors are multiplied
/// by the weight.
fn linear_with_neighbours(layers: &[Arc<dyn Layer>], mode: Mode) -> Option<(Linear, usize)> {
    let kind = |index: usize| layers.get(index).map_or(Kind::Other, |layer| layer.kind());
    let gelu = |index: usize| match kind(index) {
        Kind::Activation(Activation::Gelu) => Some(Activation::Gelu),
        _ => None,
    };
    let at = usize::from(gelu(0).is_some());
    let linear = match kind(at) {
        Kind::Linear(linear) => linear.clone(),
        // In mixed precision a convolution rounds its factors, and a linear layer does not.
        Kind::Conv2d(conv) if !mode.mixed_precision => conv.as_linear()?,
        _ => return None,
    };
    let factors = match kind(at + 1) {
        Kind::LayerScale(scale) => Some(scale.factors().clone()),
        _ => None,
    };
    let count = at + 1 + usize::from(factors.is_some());
    let fuses = at > 0 || factors.is_some() || gelu(at + 1).is_some();
    fuses.then(|| (linear.between(gelu(0), factors), count))
}

/// The first layers as one linear layer, or as two with GELU between them and perhaps a norm in front.
fn fused_linear(layers: &[Arc<dyn Layer>], mode: Mode) -> Option<Fused> {
    let norm = layers.first().filter(|layer| matches!(layer.kind(), Kind::Other) && layer.is_pointwise());
    let norms = usize::from(norm.is_some());
    let (first, count) = linear_with_neighbours(layers.get(norms..)?, mode)?;
    let count = norms + count;
    let second = layers.get(count..).and_then(|rest| linear_with_neighbours(rest, mode));
    let (layer, count): (Arc<dyn Layer>, usize) = match second.filter(|(second, _)| second.is_activated()) {
        Some((second, more)) if !mode.tangents && !first.is_activated() => {
            (Arc::new(Mlp { norm: norm.cloned(), linears: [first, second] }), count + more)
        }
        _ if norms > 0 => return None,
        _ => (Arc::new(first), count),
    };
    Some(Fused { layer: Some(layer), count, mask: None })
}

/// A convolution with batch norm, ReLU and max pool after it, as far as they are fused.
struct FusedConv {
    conv: Conv2d,
    norm: Option<BatchNorm2d>,
    fusion: ConvFusion,
}

impl Layer for FusedConv {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let Self { conv, norm, fusion } = self;
        let fused = if norm.is_none() && fusion.relu.is_some() { conv.forward_with_relu(x, pass)? } else { None };
        let mut y = match (fused, norm) {
            (Some(y), _) => y,
            (None, Some(norm)) => norm.forward(&conv.forward(x, pass)?, pass)?,
            (None, None) => conv.forward(x, pass)?,
        };
        if norm.is_some() && fusion.relu.is_some() {
            y = ops::relu(&y)?;
        }
        fusion.pool.map_or(Ok(y.clone()), |pool| MaxPool(pool).forward(&y, pass))
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        match &self.norm {
            // The running statistics may have changed since the last pass.
            Some(norm) => self.conv.with_batch_norm(norm)?.linearize_fused(self.fusion, input, pass),
            None => self.conv.linearize_fused(self.fusion, input, pass),
        }
    }
}

/// Batch norm with the statistics of the batch, a ReLU, and perhaps a max pool.
struct NormRelu {
    norm: BatchNorm2d,
    fusion: NormFusion,
}

impl Layer for NormRelu {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let y = ops::relu(&self.norm.forward(x, pass)?)?;
        self.fusion.pool.map_or(Ok(y.clone()), |pool| pool.forward(&y, pass))
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        self.norm.linearize_training(self.fusion, input, pass)
    }
}

/// A sum of two paths, and a ReLU.
struct SumRelu {
    sum: Sum,
    mask: ReluMask,
}

impl Layer for SumRelu {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(ops::relu(&self.sum.forward(x, pass)?)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        self.sum.linearize_fused(Some(self.mask), input, pass)
    }
}

/// Max pooling of the output of a ReLU whose mask its VJP applies.
struct MaskingMaxPool(MaxPool);

impl Layer for MaskingMaxPool {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.0.forward(x, pass)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        self.0.linearize_masking(true, input)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use ops::{AttentionSettings, ConvSettings, PoolSettings};

    use super::*;
    use crate::layer::{ActivationLayer, Attention, ConvSizes, Flatten, GradientAccumulator, Sequential};
    use crate::{Access, Builder, Initialisation, Params};

    fn conv(builder: Builder<'_>, bias: bool) -> Conv2d {
        let sizes = ConvSizes { inputs: 2, outputs: 2, kernel: 3 };
        Conv2d::new(builder, sizes, ConvSettings::new(1, 1), bias).unwrap()
    }

    /// The results are the same without fusion, so only the number of layers shows it.
    #[test]
    fn neighbours_are_fused_as_the_table_says() {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let mut fused = |access, batch_statistics, tangents| {
            let mut builder = params.builder(Initialisation::HeNormal, 0, access);
            let relu = || -> Arc<dyn Layer> { Arc::new(ActivationLayer(Activation::Relu)) };
            let layers: Vec<Arc<dyn Layer>> = vec![
                Arc::new(conv(builder.under("a"), true)),
                relu(),
                Arc::new(MaxPool(PoolSettings::square(2))),
                Arc::new(conv(builder.under("b"), false)),
                Arc::new(BatchNorm2d::new(builder.under("norm"), 2).unwrap()),
                relu(),
                Arc::new(conv(builder.under("c"), true)),
                relu(),
                Arc::new(Sum::residual(Sequential::default())),
                relu(),
                Arc::new(Flatten),
            ];
            compile(layers.iter(), Mode { batch_statistics, tangents, mixed_precision: false }).len()
        };
        // conv+relu+pool, conv+norm+relu, conv+relu, sum+relu, flatten.
        assert_eq!(fused(Access::Frozen, false, false), 5);
        // conv+relu, pool, conv, norm, relu, conv+relu, sum+relu, flatten.
        assert_eq!(fused(Access::Frozen, false, true), 8);
        assert_eq!(fused(Access::Tracked, false, false), 8);
        // conv+relu+pool, conv, norm+relu, conv+relu, sum+relu, flatten.
        assert_eq!(fused(Access::Frozen, true, false), 6);
        assert_eq!(fused(Access::Tracked, true, false), 7);
        assert_eq!(fused(Access::Tracked, true, true), 7);
    }

    #[test]
    fn batch_norm_is_fused_with_relu_and_pool_unless_tangents_are_asked_for() {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let mut builder = params.builder(Initialisation::HeNormal, 0, Access::Tracked);
        let layers: Vec<Arc<dyn Layer>> = vec![
            Arc::new(conv(builder.under("a"), true)),
            Arc::new(BatchNorm2d::new(builder.under("norm"), 2).unwrap()),
            Arc::new(ActivationLayer(Activation::Relu)),
            Arc::new(MaxPool(PoolSettings::square(2))),
        ];
        let fused = |batch_statistics, tangents| {
            compile(layers.iter(), Mode { batch_statistics, tangents, mixed_precision: false }).len()
        };
        assert_eq!(fused(true, false), 2);
        // conv, norm+relu, pool.
        assert_eq!(fused(true, true), 3);
        // conv, norm, relu, pool.
        assert_eq!(fused(false, false), 4);
    }

    #[test]
    fn attention_is_fused_with_the_linear_layer_in_front_unless_tangents_are_asked_for() {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let mut builder = params.builder(Initialisation::Pytorch, 0, Access::Frozen);
        let layers: Vec<Arc<dyn Layer>> = vec![
            Arc::new(Linear::new(builder.under("qkv"), 4, 12).unwrap()),
            Arc::new(Attention::new(AttentionSettings::new(2))),
            Arc::new(Linear::new(builder.under("proj"), 4, 4).unwrap()),
        ];
        let mode = |tangents| Mode { batch_statistics: false, tangents, mixed_precision: false };
        assert_eq!([false, true].map(|tangents| compile(layers.iter(), mode(tangents)).len()), [2, 3]);
    }

    /// Odd images have a rest that no window covers, for which there is no fused kernel.
    #[test]
    fn fused_pooling_has_the_bits_of_single_layers() {
        let mut params = Params::new(DType::F32, &Device::Cpu);
        let mut builder = params.builder(Initialisation::HeNormal, 0, Access::Tracked);
        let layers: Vec<Arc<dyn Layer>> = vec![
            Arc::new(conv(builder.under("a"), true)),
            Arc::new(BatchNorm2d::new(builder.under("norm"), 2).unwrap()),
            Arc::new(ActivationLayer(Activation::Relu)),
            Arc::new(MaxPool(PoolSettings::square(2))),
            Arc::new(conv(builder.under("b"), true)),
        ];
        for size in [8, 9] {
            let values: Vec<f32> = (0..3 * size * size * 2).map(|index| (index as f32 * 1.3).sin()).collect();
            let x = Tensor::from_vec(values, (3, size, size, 2), &Device::Cpu).unwrap();
            let fused: Sequential = layers.iter().map(|layer| (String::new(), Arc::clone(layer))).collect();
            // A sequence of one layer has no neighbours to fuse.
            let single = layers.iter().map(|layer| Sequential::from_iter([(String::new(), Arc::clone(layer))]));
            let mut nested = Sequential::default();
            single.for_each(|layer| nested.push("", layer));
            let gradients = |layers: &Sequential| {
                let pass = Pass::training(0, 0).without_update();
                let (y, tape) = layers.tape(&LayerInput::new(&x), &pass).unwrap();
                let mut into = GradientAccumulator::of_parameters();
                tape.into_vjp(y.affine(0.5, 1.0).unwrap(), &mut into).unwrap();
                let bits = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let gradients = params.trainable().map(|(_, var)| bits(into.take(var.as_tensor()).unwrap()));
                (bits(y), gradients.collect::<Vec<_>>())
            };
            assert_eq!(gradients(&fused), gradients(&nested), "{size}x{size}");
        }
    }
}
