//! Fused operations of a training step against the separate ones, bit by bit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

use std::sync::Arc;

use candle_core::{DType, Device, IndexOp, Tensor};
use models::layer::{
    ActivationLayer, BatchNorm2d, Conv2d, ConvSizes, GradientAccumulator, Layer, LayerInput, LayerLinearization,
    LayerScale, Linear, MaxPool, SampleNorm, Sequential, Sum, Tape,
};
use models::ops::nhwc::{BatchNormLinearization, channel_sum, from_nchw, max_pool2d_with_positions, to_nchw};
use models::ops::{
    Activation, ConvSettings, LinearLinearization, Linearized, PoolSettings, SampleNormLinearization,
    SampleNormSettings, add_detached, relu_mask_rows,
};
use models::{Access, Initialisation, Params, Pass};

fn values(shape: &[usize], offset: f64, dtype: DType) -> Tensor {
    let values: Vec<f64> =
        (0..shape.iter().product()).map(|index: usize| (index as f64 * 1.7 + offset).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    let values = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    values.into_iter().map(f64::to_bits).collect()
}

#[track_caller]
fn assert_same(found: &Tensor, expected: &Tensor) {
    assert!(bits(found) == bits(expected));
}

/// Channels below, at and beyond a vector; images with and without a rest of pixels.
fn sizes() -> impl Iterator<Item = ([usize; 4], DType)> {
    let channels = [1, 3, 7, 8, 16, 31, 64, 70];
    let images = [[1, 2, 2], [3, 4, 6], [5, 10, 14], [9, 16, 16]];
    let both = channels.into_iter().flat_map(move |channels| images.map(|[n, h, w]| [n, h, w, channels]));
    both.flat_map(|size| [(size, DType::F32), (size, DType::F64)])
}

#[test]
fn batch_norm_with_relu_and_max_pool() {
    for (size, dtype) in sizes() {
        let [n, h, w, channels] = size;
        let x = values(&size, 0.3, dtype);
        let (gamma, beta) = (values(&[channels], 1.0, dtype), values(&[channels], 2.0, dtype));
        let batch = BatchNormLinearization::of_batch(&x, &gamma, &beta, 1e-5, true).unwrap();
        let batch = batch.with_input_gradient_sum(true);
        let (maxima, positions) = batch.pooled_value(PoolSettings::square(2)).unwrap().unwrap();
        let separate = max_pool2d_with_positions(&batch.value().unwrap(), PoolSettings::square(2)).unwrap();
        assert_same(&maxima, &separate.0);
        let g = values(&[n, h / 2, w / 2, channels], 4.0, dtype);
        assert_same(&positions.scatter(&g).unwrap(), &separate.1.scatter(&g).unwrap());
        let found = batch.pooled_gradients(&g, &maxima, &positions, true).unwrap();
        let behind = separate.1.scatter(&relu_mask_rows(&g, &separate.0).unwrap()).unwrap();
        let expected = batch.with_fused_relu(false).gradients(&behind, true, None).unwrap();
        let input = expected.input.unwrap();
        assert_same(&found.input.unwrap(), &input);
        assert_same(&found.gamma, &expected.gamma);
        assert_same(&found.beta, &expected.beta);
        let sum = channel_sum(&input).unwrap();
        assert_same(&found.input_sum.unwrap(), &sum);
        assert_same(&expected.input_sum.unwrap(), &sum);
    }
}

#[test]
fn batch_norm_with_the_sum_of_a_residual_block() {
    for (size, dtype) in sizes() {
        let (x, addend) = (values(&size, 0.3, dtype), values(&size, 7.0, dtype));
        let (gamma, beta) = (values(&size[3..], 1.0, dtype), values(&size[3..], 2.0, dtype));
        let batch = BatchNormLinearization::of_batch(&x, &gamma, &beta, 1e-5, false).unwrap();
        for relu in [false, true] {
            let separate = add_detached(&batch.value().unwrap(), &addend, relu).unwrap();
            assert_same(&batch.value_plus(&addend, relu).unwrap(), &separate);
        }
    }
}

#[test]
fn linear_layer_with_the_sum_of_a_residual_block() {
    for ([samples, tokens, inputs, outputs], dtype) in [[1, 1, 1, 1], [3, 5, 7, 9], [2, 33, 40, 70]]
        .map(|size| (size, DType::F32))
        .into_iter()
        .chain([([3, 5, 7, 9], DType::F64)])
    {
        let x = values(&[samples, tokens, inputs], 0.3, dtype);
        let (weight, bias) = (values(&[outputs, inputs], 1.0, dtype), values(&[outputs], 2.0, dtype));
        let addend = values(&[samples, tokens, outputs], 7.0, dtype);
        for activation in [None, Some(Activation::Gelu)] {
            let linear = LinearLinearization::at(&x, &weight, Some(&bias), activation).unwrap();
            let separate = add_detached(&linear.value().unwrap(), &addend, false).unwrap();
            assert_same(&linear.value_plus(&addend).unwrap(), &separate);
            assert!(linear.value_plus(&x.i(..0).unwrap()).is_err());
        }
    }
}

#[test]
fn norm_with_the_sum_of_a_residual_block() {
    for (size, dtype) in sizes() {
        let x = values(&size, 0.3, dtype);
        let (gamma, beta) = (values(&size[3..], 1.0, dtype), values(&size[3..], 2.0, dtype));
        let settings = SampleNormSettings::layer_norm(1e-6);
        let norm = SampleNormLinearization::at(&x, Some(&gamma), Some(&beta), settings).unwrap();
        for cotangents in [1, 2] {
            let rows = [&[cotangents * size[0]], &size[1..]].concat();
            let (g, addend) = (values(&rows, 3.0, dtype), values(&rows, 5.0, dtype));
            let by_parameters = cotangents == 1;
            let separate = norm.gradients(&g, by_parameters).unwrap();
            let found = norm.gradients_plus(&g, by_parameters, Some(&addend)).unwrap();
            assert_same(&found.input, &add_detached(&separate.input, &addend, false).unwrap());
            for (found, separate) in found.parameters.iter().zip(&separate.parameters) {
                assert_same(found, separate);
            }
        }
    }
}

/// A residual branch of norm, two linear layers and layer scale, with more cotangents of a sample than the layers are wide: all in one
/// pass, in passes of which the number of all is known, and one by one.
#[test]
fn two_linear_layers_by_the_jacobian_of_each_row() {
    for ([samples, tokens, width, hidden], cotangents, dtype, tolerance) in [
        ([1, 1, 3, 5], 20, DType::F64, 1e-13),
        ([2, 5, 7, 30], 50, DType::F64, 1e-13),
        ([1, 33, 40, 160], 101, DType::F64, 1e-13),
        ([1, 33, 40, 160], 101, DType::F32, 3e-6),
    ] {
        let mut params = Params::new(dtype, &Device::Cpu);
        let mut builder = params.builder(Initialisation::Pytorch, 0, Access::Frozen);
        let mut branch = Sequential::default();
        branch.push("norm", SampleNorm::layer_norm(builder.under("norm"), width, 1e-5).unwrap());
        branch.push("fc1", Linear::new(builder.under("fc1"), width, hidden).unwrap());
        branch.push("act", ActivationLayer(Activation::Gelu));
        branch.push("fc2", Linear::new(builder.under("fc2"), hidden, width).unwrap());
        branch.push("ls", LayerScale::new(builder.under("ls"), "gamma", width, 0.7).unwrap());
        let layer = Sum::residual(branch);
        let input = LayerInput::new(&values(&[samples, tokens, width], 0.3, dtype)).by_input();
        let g = values(&[cotangents * samples, tokens, width], 2.0, dtype);
        let linearized = || layer.linearize(&input, &Pass::evaluation()).unwrap();
        let (one_by_one, of_many) = (linearized(), linearized());
        let parts = |at: &LayerLinearization<'_>, each: usize, all: usize| {
            let of_part = |first: usize| {
                let g = g.i(first * samples..(first + each).min(cotangents) * samples).unwrap();
                at.tape.vjp(&g, &mut GradientAccumulator::of_input().of_many(all)).unwrap().unwrap()
            };
            Tensor::cat(&(0..cotangents).step_by(each).map(of_part).collect::<Vec<_>>(), 0).unwrap()
        };
        let expected = parts(&one_by_one, 1, 1);
        let size = expected.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        for found in
            [parts(&linearized(), cotangents, 1), parts(&of_many, 9, cotangents), parts(&of_many, 1, cotangents)]
        {
            let difference = (&found - &expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let relative = (difference / &size).unwrap().to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
            assert!(relative < tolerance, "{samples}, {tokens}, {width}, {hidden}: {relative:e}");
        }
    }
}

#[test]
fn layouts_of_images() {
    for (size, dtype) in sizes() {
        let x = values(&size, 0.3, dtype);
        let nchw = x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        assert_same(&to_nchw(&x).unwrap(), &nchw);
        assert_same(&from_nchw(&nchw).unwrap(), &x);
    }
}

/// A network with every fusion of a training step: its output and the gradients of all weights, against one layer at a time.
#[test]
fn networks() {
    let mut params = Params::new(DType::F32, &Device::Cpu);
    let mut builder = params.builder(Initialisation::HeNormal, 0, Access::Tracked);
    let sizes = |inputs, outputs| ConvSizes { inputs, outputs, kernel: 3 };
    let same = ConvSettings::new(1, 1);
    let relu = || -> Arc<dyn Layer> { Arc::new(ActivationLayer(Activation::Relu)) };
    let mut branch = Sequential::default();
    branch.push("c", Conv2d::new(builder.under("b.c"), sizes(8, 8), same, false).unwrap());
    branch.push("n", BatchNorm2d::new(builder.under("b.n"), 8).unwrap());
    let mut before = Sequential::default();
    before.push("n", BatchNorm2d::new(builder.under("p.n"), 8).unwrap());
    before.push("r", ActivationLayer(Activation::Relu));
    before.push("c", Conv2d::new(builder.under("p.c"), sizes(8, 8), same, true).unwrap());
    let layers: Vec<Arc<dyn Layer>> = vec![
        Arc::new(Conv2d::new(builder.under("a"), sizes(3, 8), same, true).unwrap()),
        Arc::new(BatchNorm2d::new(builder.under("an"), 8).unwrap()),
        relu(),
        Arc::new(MaxPool(PoolSettings::square(2))),
        Arc::new(Sum::residual(branch)),
        relu(),
        Arc::new(Sum::residual(before)),
        Arc::new(Conv2d::new(builder.under("z"), sizes(8, 16), same, true).unwrap()),
        Arc::new(BatchNorm2d::new(builder.under("zn"), 16).unwrap()),
        relu(),
        Arc::new(MaxPool(PoolSettings::square(2))),
    ];
    let fused: Sequential = layers.iter().map(|layer| (String::new(), Arc::clone(layer))).collect();
    let mut separate = Sequential::default();
    for layer in &layers {
        separate.push("", Sequential::from_iter([(String::new(), Arc::clone(layer))]));
    }
    for size in [8, 9, 16] {
        let x = values(&[5, size, size, 3], 0.0, DType::F32);
        let of = |layers: &Sequential, tangents: bool| {
            let pass = Pass::training(0, 0).without_update();
            let input = LayerInput::new(&x);
            let input = if tangents { input.by_input().with_tangents() } else { input };
            let (y, tape) = layers.tape(&input, &pass).unwrap();
            let mut into = GradientAccumulator::of_parameters();
            tape.vjp(&y.affine(0.5, 1.0).unwrap(), &mut into).unwrap();
            let gradients = params.trainable().map(|(_, var)| bits(&into.take(var.as_tensor()).unwrap()));
            (bits(&y), gradients.collect::<Vec<_>>())
        };
        let expected = of(&separate, false);
        assert!(of(&fused, false) == expected, "{size}");
        assert!(of(&fused, true) == expected, "with tangents, {size}");
    }
}
