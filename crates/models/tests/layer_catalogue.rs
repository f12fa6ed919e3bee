//! The derivatives of the layers of transformers and light convolutional networks, against finite differences and against candle's
//! graph, in f64.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::sync::Arc;

use candle_core::Tensor;
use models::layer::{
    ActivationLayer, AdaptiveAvgPool, Attention, AvgPool, ChannelShuffle, ClassToken, Concatenation, Conv1d, Conv2d,
    ConvSizes, DivideWindows, GlobalAvgPool, JoinWindows, Layer, LayerScale, Linear, MergePatches, PositionEmbedding,
    Prelu, SampleNorm, Sequential, SqueezeExcitation, StochasticDepth, Sum, TokenPool, Tokens, TransposeTokens,
    WindowAttention, Windows,
};
use models::ops::{Activation, AttentionMask, AttentionSettings, Conv1dSettings, ConvSettings, PoolSettings};
use models::{Builder, Error, Pass, Result};
use support::layer_check::{LayerCheck, draw};

#[test]
fn norms_of_each_sample() {
    let tokens = [3, 5, 6];
    LayerCheck::new("layer norm", &tokens, |builder| SampleNorm::layer_norm(builder, 6, 1e-5)).run();
    LayerCheck::new("RMS norm", &tokens, |builder| SampleNorm::rms_norm(builder, 6, 1e-5)).run();
    let images = [2, 3, 4, 6];
    LayerCheck::new("group norm", &images, |builder| SampleNorm::group_norm(builder, 3, 6, 1e-5)).run();
    LayerCheck::new("instance norm", &images, |_| Ok(SampleNorm::instance_norm(1e-5))).run();
}

#[test]
fn activations() {
    for activation in [
        Activation::GeluTanh,
        Activation::Sigmoid,
        Activation::Mish,
        Activation::Relu6,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::LeakyRelu { negative_slope: 0.1 },
        Activation::Elu { alpha: 0.7 },
    ] {
        LayerCheck::new(&format!("{activation:?}"), &[3, 4, 5], |_| Ok(ActivationLayer(activation))).run();
    }
    LayerCheck::new("PReLU", &[3, 4, 5], |builder| Prelu::new(builder, 5)).run();
    LayerCheck::new("PReLU with one slope", &[3, 4, 5], |builder| Prelu::new(builder, 1)).run();
}

#[test]
fn attention() {
    let causal = AttentionSettings { causal: true, ..AttentionSettings::new(2) };
    LayerCheck::new("attention", &[3, 5, 12], |_| Ok(Attention::new(AttentionSettings::new(2)))).run();
    LayerCheck::new("causal attention", &[3, 5, 12], |_| Ok(Attention::new(causal))).run();
    let padding = Tensor::new(&[[[1u8, 1, 1, 1, 0]]], &candle_core::Device::Cpu).unwrap();
    let mask = AttentionMask::new(&padding).unwrap();
    LayerCheck::new("masked attention", &[3, 5, 12], |_| {
        Ok(Attention::new(AttentionSettings::new(2)).with_mask(mask.clone()))
    })
    .run();
    LayerCheck::new("attention between linear layers", &[2, 4, 6], |builder| {
        Attention::between_linear_layers(builder, 6, AttentionSettings::new(3))
    })
    .run();
}

/// Fused: GELU in front and layer scale behind, of a linear layer and of a pointwise convolution, at the end of a residual branch.
#[test]
fn linear_layers_with_their_neighbours() {
    for gelu in [false, true] {
        for residual in [false, true] {
            let layers = |mut builder: Builder<'_>, convolution: bool| {
                let mut layers = Sequential::default();
                layers.push("norm", SampleNorm::layer_norm(builder.under("norm"), 5, 1e-5)?);
                if gelu {
                    layers.push("act", ActivationLayer(Activation::Gelu));
                }
                if convolution {
                    let sizes = ConvSizes { inputs: 5, outputs: 5, kernel: 1 };
                    layers.push("fc", Conv2d::new(builder.under("fc"), sizes, ConvSettings::new(1, 0), true)?);
                } else {
                    layers.push("fc", Linear::without_bias(builder.under("fc"), 5, 5)?);
                }
                layers.push("ls", LayerScale::new(builder.under("ls"), "gamma", 5, 0.7)?);
                Ok(if residual {
                    Sequential::from_iter([("sum".into(), Arc::new(Sum::residual(layers)) as _)])
                } else {
                    layers
                })
            };
            let what = format!("GELU {gelu}, residual {residual}");
            LayerCheck::new(&format!("linear, {what}"), &[2, 3, 5], |builder| layers(builder, false)).run();
            LayerCheck::new(&format!("convolution, {what}"), &[2, 3, 2, 5], |builder| layers(builder, true)).run();
        }
    }
}

#[test]
fn cross_attention() {
    let settings = AttentionSettings::new(2);
    LayerCheck::new("cross-attention", &[2, 2 + 3, 6], |builder| Attention::across(builder, 6, [2, 3], settings)).run();
    LayerCheck::new("residual cross-attention after layer norm", &[2, 3 + 2, 4], |mut builder| {
        let mut branch = Sequential::default();
        branch.push("norm", SampleNorm::layer_norm(builder.under("norm"), 4, 1e-5)?);
        for (name, layer) in Attention::across(builder.under("attn"), 4, [3, 2], settings)? {
            branch.push_shared(name, layer);
        }
        Ok(Sum::residual(branch))
    })
    .run();
}

/// One head of width 1 with q = k = v = x: a target sees the memory alone, with weights from its own value.
#[test]
fn targets_see_the_memory_alone() {
    let mut params = models::Params::new(candle_core::DType::F64, &candle_core::Device::Cpu);
    let builder = params.builder(models::Initialisation::Pytorch, 0, models::Access::Frozen);
    let layers = Attention::across(builder, 1, [2, 2], AttentionSettings::new(1)).unwrap();
    let set = |name: &str, values: &[f64], shape: &[usize]| {
        let values = Tensor::from_vec(values.to_vec(), shape, &candle_core::Device::Cpu).unwrap();
        params.get(name).unwrap().var.set(&values).unwrap();
    };
    set("qkv.weight", &[1.0; 3], &[3, 1]);
    set("qkv.bias", &[0.0; 3], &[3]);
    set("proj.weight", &[2.0], &[1, 1]);
    set("proj.bias", &[1.0], &[1]);
    let x = Tensor::new(&[[[0f64], [1.0], [3.0], [5.0]]], &candle_core::Device::Cpu).unwrap();
    let y = layers.forward(&x, &Pass::evaluation()).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    // Equal weights for the target 0; e^3 and e^5 for the target 1.
    let second = (3.0 * 3f64.exp() + 5.0 * 5f64.exp()) / (3f64.exp() + 5f64.exp());
    let expected = [2.0 * 4.0 + 1.0, 2.0 * second + 1.0, 0.0, 0.0];
    assert!(y.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-14), "{y:?}");
    let builder = params.builder(models::Initialisation::Pytorch, 0, models::Access::Frozen);
    let refused = Attention::across(builder, 1, [0, 2], AttentionSettings::new(1));
    assert!(matches!(refused, Err(Error::Setting { op: "cross-attention", .. })));
}

#[test]
fn tokens() {
    LayerCheck::new("tokens", &[2, 3, 4, 5], |_| Ok(Tokens)).run();
    LayerCheck::new("transposed tokens", &[2, 3, 4], |_| Ok(TransposeTokens)).run();
    for pool in [TokenPool::Mean, TokenPool::Last, TokenPool::Token(1)] {
        LayerCheck::new(&format!("{pool:?}"), &[2, 3, 4], |_| Ok(pool)).run();
    }
    LayerCheck::new("class token", &[2, 3, 4], |builder| ClassToken::new(builder, "cls_token", 4)).run();
    LayerCheck::new("positions", &[2, 3, 4], |builder| PositionEmbedding::new(builder, "pos_embed", 3, 4)).run();
}

#[test]
fn scales_and_pools() {
    LayerCheck::new("layer scale", &[2, 3, 4], |builder| LayerScale::new(builder, "gamma", 4, 1e-5)).run();
    let depth = || StochasticDepth { name: "drop".into(), probability: 0.4 };
    LayerCheck::new("stochastic depth", &[6, 3], |_| Ok(depth())).run();
    let padded = PoolSettings { ceil_mode: true, count_include_pad: true, padding: [1; 2], ..PoolSettings::square(2) };
    LayerCheck::new("average pool", &[2, 5, 4, 3], |_| Ok(AvgPool(PoolSettings::square(2)))).run();
    LayerCheck::new("average pool with padding", &[2, 5, 4, 3], |_| Ok(AvgPool(padded))).run();
    LayerCheck::new("adaptive pool", &[2, 5, 4, 3], |_| Ok(AdaptiveAvgPool([2, 3]))).run();
    LayerCheck::new("channel shuffle", &[2, 3, 2, 6], |_| Ok(ChannelShuffle { groups: 2 })).run();
    LayerCheck::new("1-D convolution", &[2, 9, 4], |builder| {
        let settings = Conv1dSettings { stride: 2, padding: 1, groups: 2, ..Conv1dSettings::default() };
        Conv1d::new(builder, ConvSizes { inputs: 4, outputs: 6, kernel: 3 }, settings, true)
    })
    .run();
}

/// Squeeze-and-excitation as MobileNetV3 has it, with smooth activations.
fn squeeze(mut builder: Builder<'_>) -> Result<SqueezeExcitation> {
    let mut factors = Sequential::default();
    factors.push("avgpool", GlobalAvgPool);
    factors.push("fc1", Linear::new(builder.under("fc1"), 4, 3)?);
    factors.push("activation", ActivationLayer(Activation::Silu));
    factors.push("fc2", Linear::new(builder.under("fc2"), 3, 4)?);
    factors.push("scale_activation", ActivationLayer(Activation::Sigmoid));
    Ok(SqueezeExcitation { factors })
}

fn conv(builder: Builder<'_>, inputs: usize, outputs: usize) -> Result<Conv2d> {
    Conv2d::new(builder, ConvSizes { inputs, outputs, kernel: 3 }, ConvSettings::new(1, 1), true)
}

#[test]
fn gates_and_concatenations() {
    LayerCheck::new("squeeze-and-excitation", &[2, 3, 4, 4], squeeze).run();
    LayerCheck::new("squeeze-and-excitation between others", &[2, 3, 4, 3], |mut builder| {
        let mut branch = Sequential::default();
        branch.push("squeeze", squeeze(builder.under("se"))?);
        let mut layers = Sequential::default();
        layers.push("conv", conv(builder.under("conv"), 3, 4)?);
        layers.push("act", ActivationLayer(Activation::Mish));
        layers.push("block", Sum::residual(branch));
        layers.push("last", conv(builder.under("last"), 4, 2)?);
        Ok(layers)
    })
    .run();
    let dense = |mut builder: Builder<'_>| {
        let mut branch = Sequential::default();
        branch.push("act", ActivationLayer(Activation::Gelu));
        branch.push("conv", conv(builder.under("conv"), 3, 2)?);
        Ok(Concatenation::with_input(branch))
    };
    LayerCheck::new("concatenation", &[2, 3, 4, 3], dense).run();
    LayerCheck::new("concatenation between others", &[2, 3, 4, 2], |mut builder| {
        let mut layers = Sequential::default();
        layers.push("first", conv(builder.under("first"), 2, 3)?);
        layers.push("act", ActivationLayer(Activation::Silu));
        layers.push("dense", dense(builder.under("dense"))?);
        layers.push("shuffle", ChannelShuffle { groups: 5 });
        layers.push("last", conv(builder.under("last"), 5, 2)?);
        Ok(layers)
    })
    .run();
}

#[test]
fn shifted_windows() {
    for shift in [0, 1] {
        let windows = Windows { size: [4, 6], window: 2, shift };
        let what = |name: &str| format!("{name} with shift {shift}");
        LayerCheck::new(&what("windows"), &[2, 4, 6, 3], |_| Ok(DivideWindows(windows))).run();
        LayerCheck::new(&what("windows and back"), &[2, 4, 6, 6], |mut builder| {
            let mut layers = Sequential::default();
            layers.push("divide", DivideWindows(windows));
            layers.push("attention", WindowAttention::new(builder.under("attn"), windows, 2)?);
            layers.push("join", JoinWindows(windows));
            layers.push("merge", MergePatches);
            Ok(layers)
        })
        .run();
    }
    let windows = Windows { size: [4, 6], window: 2, shift: 1 };
    let (x, pass) = (draw(&[2, 4, 6, 3], 1), Pass::evaluation());
    let there = DivideWindows(windows).forward(&x, &pass).unwrap();
    assert_eq!(support::numbers(&JoinWindows(windows).forward(&there, &pass).unwrap()), support::numbers(&x));
    assert!(matches!(DivideWindows(windows).forward(&draw(&[2, 4, 5, 3], 1), &pass), Err(Error::Shape { .. })));
}

/// A whole pre-norm transformer block with layer scale.
#[test]
fn transformer_block() {
    LayerCheck::new("transformer block", &[2, 4, 6], |mut builder| {
        let mut attention = Sequential::default();
        attention.push("norm1", SampleNorm::layer_norm(builder.under("norm1"), 6, 1e-6)?);
        attention.push("attn", Attention::between_linear_layers(builder.under("attn"), 6, AttentionSettings::new(2))?);
        attention.push("ls1", LayerScale::new(builder.under("ls1"), "gamma", 6, 0.1)?);
        let mut layers = Sequential::default();
        layers.push("attention", Sum::residual(attention));
        let mut mlp = Sequential::default();
        mlp.push("norm2", SampleNorm::layer_norm(builder.under("norm2"), 6, 1e-6)?);
        mlp.push("fc1", Linear::new(builder.under("fc1"), 6, 9)?);
        mlp.push("act", ActivationLayer(Activation::Gelu));
        mlp.push("fc2", Linear::new(builder.under("fc2"), 9, 6)?);
        layers.push("mlp", Sum::residual(mlp));
        layers.push("pool", TokenPool::Mean);
        Ok(layers)
    })
    .run();
}

#[test]
fn stochastic_depth_is_off_in_evaluation_and_reproducible_in_training() {
    let layer = StochasticDepth { name: "blocks.0.drop_path".into(), probability: 0.5 };
    let x = draw(&[64, 3], 1);
    let at = |pass: Pass| support::numbers(&layer.forward(&x, &pass).unwrap());
    assert_eq!(at(Pass::evaluation()), support::numbers(&x));
    assert_eq!(at(Pass::training(1, 2)), at(Pass::training(1, 2)));
    assert_ne!(at(Pass::training(1, 2)), at(Pass::training(1, 3)));
    let dropped = at(Pass::training(1, 2)).chunks(3).filter(|row| row.iter().all(|value| *value == 0.0)).count();
    assert!((16..48).contains(&dropped), "{dropped} of 64 dropped");
}

#[test]
fn impossible_sizes_are_errors() {
    let (x, pass) = (draw(&[2, 3, 4], 1), Pass::evaluation());
    let of = |layer: &dyn Layer| layer.forward(&x, &pass).map(|_| ());
    assert!(matches!(of(&TokenPool::Token(3)), Err(Error::Setting { op: "token pool", .. })));
    assert!(matches!(of(&Concatenation { paths: Vec::new() }), Err(Error::Setting { op: "concatenation", .. })));
    assert!(matches!(of(&ChannelShuffle { groups: 3 }), Err(Error::Operation(_))));
    assert!(matches!(of(&Attention::new(AttentionSettings::new(1))), Err(Error::Operation(_))));
    assert!(matches!(TokenPool::Mean.forward(&draw(&[2, 3], 1), &pass), Err(Error::Shape { op: "tokens", .. })));
    let mut params = models::Params::new(candle_core::DType::F64, &candle_core::Device::Cpu);
    let builder = params.builder(models::Initialisation::Pytorch, 0, models::Access::Frozen);
    let positions = PositionEmbedding::new(builder, "pos_embed", 5, 4).unwrap();
    assert!(matches!(of(&positions), Err(Error::Shape { op: "position embedding", .. })));
}
