//! The derivatives of every layer against finite differences and against candle's graph, in f64.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use candle_core::{DType, Device, Tensor};
use models::layer::{
    ActivationLayer, BatchNorm2d, Conv2d, ConvSizes, Dropout, Flatten, GlobalAvgPool, GradientAccumulator, Layer,
    LayerInput, Linear, MaxPool, Sequential, Sum, Tape,
};
use models::ops::{self, Activation, ConvSettings, PoolSettings};
use models::{Access, Builder, Error, Initialisation, Params, Pass, Result, Role};
use support::layer_check::{LayerCheck, draw};

fn conv(builder: Builder<'_>, inputs: usize, outputs: usize, bias: bool) -> Result<Conv2d> {
    Conv2d::new(builder, ConvSizes { inputs, outputs, kernel: 3 }, ConvSettings::new(1, 1), bias)
}

#[test]
fn layers_alone() {
    LayerCheck::new("linear", &[4, 5], |builder| Linear::new(builder, 5, 3)).run();
    LayerCheck::new("linear of tokens", &[2, 3, 5], |builder| Linear::without_bias(builder, 5, 4)).run();
    LayerCheck::new("convolution", &[2, 4, 5, 3], |builder| conv(builder, 3, 4, true)).run();
    LayerCheck::new("grouped convolution", &[2, 4, 5, 4], |builder| {
        let settings = ConvSettings { groups: 2, ..ConvSettings::new(2, 1) };
        Conv2d::new(builder, ConvSizes { inputs: 4, outputs: 6, kernel: 3 }, settings, false)
    })
    .run();
    LayerCheck::new("batch norm", &[3, 2, 3, 4], |builder| BatchNorm2d::new(builder, 4)).run();
    LayerCheck::new("max pool", &[2, 6, 4, 3], |_| Ok(MaxPool(PoolSettings::square(2)))).run();
    LayerCheck::new("global average pool", &[2, 3, 4, 5], |_| Ok(GlobalAvgPool)).run();
    LayerCheck::new("flatten", &[2, 3, 4, 5], |_| Ok(Flatten)).run();
    LayerCheck::new("flatten of tokens", &[2, 3, 4], |_| Ok(Flatten)).run();
    LayerCheck::new("dropout", &[4, 6], |_| Ok(Dropout { name: "drop".into(), probability: 0.3 })).run();
    for activation in [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Tanh, Activation::Identity] {
        LayerCheck::new(&format!("{activation:?}"), &[3, 4, 5], |_| Ok(ActivationLayer(activation))).run();
    }
}

/// Convolution, batch norm, ReLU, max pool: all that is fused, in every order that networks have.
fn fused(mut builder: Builder<'_>) -> Result<Sequential> {
    let mut layers = Sequential::default();
    layers.push("conv1", conv(builder.under("conv1"), 3, 4, true)?);
    layers.push("relu1", ActivationLayer(Activation::Relu));
    layers.push("pool1", MaxPool(PoolSettings::square(2)));
    layers.push("conv2", conv(builder.under("conv2"), 4, 4, false)?);
    layers.push("bn2", BatchNorm2d::new(builder.under("bn2"), 4)?);
    layers.push("relu2", ActivationLayer(Activation::Relu));
    layers.push("conv3", conv(builder.under("conv3"), 4, 4, true)?);
    layers.push("relu3", ActivationLayer(Activation::Relu));
    layers.push("conv4", conv(builder.under("conv4"), 4, 4, true)?);
    layers.push("bn4", BatchNorm2d::new(builder.under("bn4"), 4)?);
    layers.push("relu4", ActivationLayer(Activation::Relu));
    layers
        .push("pool4", MaxPool(PoolSettings { kernel: [3; 2], stride: [1; 2], padding: [1; 2], ..Default::default() }));
    Ok(layers)
}

/// A sum of two paths inside a branch of another sum, with smooth and piecewise linear parts.
fn nested(mut builder: Builder<'_>) -> Result<Sequential> {
    let mut inner = Sequential::default();
    inner.push("conv", conv(builder.under("inner.conv"), 3, 3, false)?);
    inner.push("bn", BatchNorm2d::new(builder.under("inner.bn"), 3)?);
    inner.push("act", ActivationLayer(Activation::Gelu));
    let mut branch = Sequential::default();
    branch.push("act", ActivationLayer(Activation::Silu));
    branch.push("inner", Sum::residual(inner));
    branch.push("relu", ActivationLayer(Activation::Relu));
    branch.push("conv", conv(builder.under("conv"), 3, 3, true)?);
    let mut shortcut = Sequential::default();
    shortcut.push("bn", BatchNorm2d::new(builder.under("shortcut"), 3)?);
    let mut layers = Sequential::default();
    layers.push("block", Sum { branch, shortcut });
    layers.push("relu", ActivationLayer(Activation::Relu));
    layers.push("tail", conv(builder.under("tail"), 3, 2, true)?);
    Ok(layers)
}

#[test]
fn layers_fused_and_nested() {
    LayerCheck::new("fused", &[2, 8, 6, 3], fused).run();
    LayerCheck::new("nested", &[2, 3, 4, 3], nested).run();
}

/// A layer that has `forward` only: x·w + tanh(x) ⊙ s, with two parameters.
struct Plain {
    weight: Tensor,
    scale: Tensor,
}

impl Layer for Plain {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok((x.matmul(&self.weight)? + x.tanh()?.broadcast_mul(&self.scale)?)?)
    }
}

fn plain(mut builder: Builder<'_>) -> Result<Plain> {
    let weight = builder.tensor("weight", &[4, 4], Role::Weight)?;
    Ok(Plain { weight, scale: builder.tensor("scale", &[4], Role::NormScale)? })
}

#[test]
fn a_layer_with_forward_only_is_differentiated_by_the_graph() {
    LayerCheck::new("forward only", &[3, 4], plain).by_graph().run();
    LayerCheck::new("forward only, between others", &[3, 5], |mut builder| {
        let mut branch = Sequential::default();
        branch.push("plain", plain(builder.under("plain"))?);
        let mut layers = Sequential::default();
        layers.push("first", Linear::new(builder.under("first"), 5, 4)?);
        layers.push("block", Sum::residual(branch));
        layers.push("gelu", ActivationLayer(Activation::Gelu));
        layers.push("last", Linear::new(builder.under("last"), 4, 2)?);
        Ok(layers)
    })
    .by_graph()
    .run();
}

/// A layer whose tape gives the VJP times `factor`: the check must find it.
struct Wrong(f64);

impl Layer for Wrong {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok((x * 2.0)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<models::layer::LayerLinearization<'a>> {
        let y = self.forward(&input.x, pass)?;
        let tape = models::layer::LinearTape::new(|t: &Tensor| Ok((t * 2.0)?), |g: &Tensor| Ok((g * self.0)?));
        Ok(models::layer::LayerLinearization::new(y, tape))
    }
}

#[test]
fn the_check_finds_a_wrong_rule() {
    LayerCheck::new("right", &[3, 4], |_| Ok(Wrong(2.0))).run();
    let wrong = std::panic::catch_unwind(|| LayerCheck::new("wrong", &[3, 4], |_| Ok(Wrong(2.001))).run());
    assert!(wrong.is_err());
}

#[test]
fn what_cannot_be_differentiated_is_refused() {
    /// Leaves candle's graph.
    struct Detached;
    impl Layer for Detached {
        fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
            Ok(x.detach())
        }
    }
    let (x, pass) = (draw(&[2, 3], 1), Pass::evaluation());
    let refused = Detached.linearize(&LayerInput::new(&x), &pass).map(|_| ());
    assert!(matches!(refused, Err(Error::NotDifferentiable { .. })));
    let mut layers = Sequential::default();
    layers.push("act", ActivationLayer(Activation::Gelu));
    let (_, tape) = layers.tape(&LayerInput::new(&x).by_input(), &pass).unwrap();
    assert!(matches!(tape.jvp(&x), Err(Error::Setting { op: "jvp", .. })));
    let mut into = GradientAccumulator::of_parameters();
    assert!(matches!(tape.penalty(&x, &x, &mut into), Err(Error::Setting { op: "jvp", .. })));
}

/// A layer that is pushed after a pass is part of the next one.
#[test]
fn a_sequence_can_grow_between_passes() {
    let mut params = Params::new(DType::F64, &Device::Cpu);
    let mut layers = fused(params.builder(Initialisation::HeNormal, 0, Access::Frozen)).unwrap();
    let (x, pass) = (draw(&[1, 8, 6, 3], 1), Pass::evaluation());
    let input = LayerInput::new(&x).by_input();
    let (before, _) = layers.tape(&input, &pass).unwrap();
    layers.push("flatten", Flatten);
    let (after, _) = layers.tape(&input, &pass).unwrap();
    assert_eq!((before.rank(), after.rank()), (4, 2));
}

#[test]
fn a_layer_runs_once_in_a_pass() {
    struct Counted(std::sync::Arc<std::sync::atomic::AtomicUsize>);
    impl Layer for Counted {
        fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(ops::relu(x)?)
        }
    }
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut layers = Sequential::default();
    layers.push("counted", Counted(count.clone()));
    layers.tape(&LayerInput::new(&draw(&[2, 3], 1)).by_input(), &Pass::evaluation()).unwrap();
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
}
