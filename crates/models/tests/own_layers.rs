//! Networks of one's own: a convnet and a transformer block written with candle-nn, beside layers of this crate. They are
//! trained, checkpointed, measured exactly and by estimates, penalised, and measured layer by layer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::ops::ControlFlow;

use candle_core::{D, DType, Device, Module, Tensor, Var};
use candle_nn::{Conv2dConfig, VarBuilder, VarMap};
use gc_core::{GeometricComplexity, Penalty, Probe};
use models::layer::{
    ActivationLayer, BatchNorm2d, CandleModule, Conv2d, ConvSizes, GlobalAvgPool, Layer, Linear, MaxPool, Sequential,
    Sum,
};
use models::ops::{Activation, ConvSettings, PoolSettings};
use models::train::{Adam, Checkpoint, Fit, GcPenalty, Gradients, Progress};
use models::{
    Architecture, BodyAndHead, Builder, Error, Family, Initialisation, Network, Pass, Result, Role, takes_images,
};
use serde::{Deserialize, Serialize};
use support::layer_check::{LayerCheck, draw};
use support::{assert_close, labelled, numbers};

const PIXELS: [usize; 3] = [3, 8, 8];

fn padded() -> Conv2dConfig {
    Conv2dConfig { padding: 1, ..Conv2dConfig::default() }
}

/// Convolutions of candle-nn with GELU, a max pool and a batch norm of this crate.
fn convnet(mut builder: Builder<'_>) -> Result<BodyAndHead> {
    let mut body = Sequential::default();
    body.push("conv1", CandleModule::new(candle_nn::conv2d(3, 4, 3, padded(), builder.under("conv1").var_builder())?));
    body.push("act1", CandleModule::new(|x: &Tensor| x.gelu_erf()));
    body.push("pool1", MaxPool(PoolSettings::square(2)));
    body.push("conv2", CandleModule::new(candle_nn::conv2d(4, 5, 3, padded(), builder.under("conv2").var_builder())?));
    body.push("norm2", BatchNorm2d::new(builder.under("norm2"), 5)?);
    body.push("act2", ActivationLayer(Activation::Silu));
    body.push("pool2", GlobalAvgPool);
    BodyAndHead::new(body, builder, "fc", 5, 4)
}

/// Patches of an image as tokens, `[n, h, w, c]` to `[n, h·w, c]`.
struct Tokens;

impl Layer for Tokens {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(x.flatten(1, 2)?)
    }
}

/// Self-attention of one head behind a normalisation without parameters, from candle's own operations.
struct Attention {
    query: candle_nn::Linear,
    key: candle_nn::Linear,
    value: candle_nn::Linear,
}

impl Attention {
    fn new(width: usize, vb: VarBuilder<'_>) -> candle_core::Result<Self> {
        let linear = |name: &str| candle_nn::linear(width, width, vb.pp(name));
        Ok(Self { query: linear("query")?, key: linear("key")?, value: linear("value")? })
    }
}

impl Module for Attention {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let x = x.broadcast_div(&(x.sqr()?.mean_keepdim(D::Minus1)? + 1e-3)?.sqrt()?)?;
        let scores = self.query.forward(&x)?.matmul(&self.key.forward(&x)?.transpose(1, 2)?)?;
        candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&self.value.forward(&x)?)
    }
}

fn transformer_layers(mut builder: Builder<'_>) -> Result<Sequential> {
    let mut body = Sequential::default();
    let (sizes, settings) = (ConvSizes { inputs: 3, outputs: 6, kernel: 4 }, ConvSettings::new(4, 0));
    body.push("patches", Conv2d::new(builder.under("patches"), sizes, settings, true)?);
    body.push("tokens", Tokens);
    let mut attention = Sequential::default();
    attention.push("attn", CandleModule::new(Attention::new(6, builder.under("block.attn").var_builder())?));
    body.push("block.1", Sum::residual(attention));
    let mut mlp = Sequential::default();
    mlp.push("up", Linear::new(builder.under("block.up"), 6, 12)?);
    mlp.push("act", ActivationLayer(Activation::Gelu));
    mlp.push("down", Linear::new(builder.under("block.down"), 12, 6)?);
    body.push("block.2", Sum::residual(mlp));
    body.push("mean", CandleModule::new(|x: &Tensor| x.mean(1)));
    Ok(body)
}

fn transformer(mut builder: Builder<'_>) -> Result<BodyAndHead> {
    let body = transformer_layers(builder.under(""))?;
    BodyAndHead::new(body, builder, "head", 6, 4)
}

type Build = fn(Builder<'_>) -> Result<BodyAndHead>;
const NETS: [(&str, Build); 2] = [("convnet", convnet), ("transformer", transformer)];

fn network(name: &str, build: Build, seed: u64, dtype: DType) -> Network {
    Network::of_layers(name, &PIXELS, Initialisation::Pytorch, seed, (dtype, &Device::Cpu), build).unwrap()
}

fn images(samples: usize) -> Tensor {
    draw(&[samples, 3, 8, 8], 1)
}

fn labels(samples: usize) -> Tensor {
    Tensor::new((0..samples as u32).map(|sample| sample % 4).collect::<Vec<_>>(), &Device::Cpu).unwrap()
}

fn close(what: &str, found: f64, expected: f64, relative: f64) {
    assert!((found - expected).abs() <= relative * expected.abs(), "{what}: {found} against {expected}");
}

#[test]
fn their_layers_have_right_derivatives() {
    LayerCheck::new("transformer", &[2, 8, 8, 3], transformer_layers).by_graph().run();
    LayerCheck::new("attention", &[2, 3, 6], |builder| {
        Ok(CandleModule::new(Attention::new(6, builder.var_builder())?))
    })
    .by_graph()
    .run();
}

#[test]
fn geometric_complexity_is_that_of_the_closure() {
    for (name, build) in NETS {
        let network = network(name, build, 3, DType::F64);
        let x = images(5);
        let names = network.frozen().layer_names();
        let layers = names.iter().map(|layer| Some(layer.as_str())).chain([None]);
        for layer in layers {
            let pass = Pass::evaluation();
            let map = network.frozen().feature_map(pass, layer).unwrap();
            // candle's graph of the same forward pass.
            let closure = |x: &Tensor| match layer {
                Some(layer) => network.frozen().features_at(x, layer, &pass).map_err(candle_core::Error::wrap),
                None => network.frozen().features(x, &pass).map_err(candle_core::Error::wrap),
            };
            let found = GeometricComplexity::exact().measure_inputs(&map, &x).unwrap();
            let expected = GeometricComplexity::exact().measure_inputs(&closure, &x).unwrap();
            close(&format!("{name} at {layer:?}"), found.value, expected.value, 1e-10);
        }
        let map = network.frozen().feature_map(Pass::evaluation(), None).unwrap();
        let exact = GeometricComplexity::exact().measure_inputs(&map, &x).unwrap();
        assert!(matches!(exact.derivatives, gc_core::Derivatives::Checked(_)), "{:?}", exact.derivatives);
        let estimate = GeometricComplexity::projections(Probe::Rademacher, 64).measure_inputs(&map, &x).unwrap();
        close(name, estimate.value, exact.value, 0.3);
    }
}

/// The gradients of loss + λ·complexity, against central differences of that sum along random directions in all parameters.
#[test]
fn the_penalised_gradients_match_finite_differences() {
    for (name, build) in NETS {
        let network = network(name, build, 3, DType::F64);
        let (x, y) = (images(5), labels(5));
        let penalty = GcPenalty { strength: 0.7, estimator: Penalty::projections(Probe::Rademacher, 2) };
        let pass = Pass::training(0, 0).without_update();
        let run = || Gradients::of_penalised_loss(&network, &labelled(&x, &y, 0.0), &penalty, 4, &pass).unwrap();
        let penalised = run();
        let (gradients, mismatch) = (penalised.gradients, penalised.mismatch);
        assert!(mismatch > 0.0 && mismatch < 1e-6, "{name}: {mismatch}");
        let start: Vec<(String, Var, Tensor, Tensor)> = network
            .params()
            .trainable()
            .enumerate()
            .map(|(index, (name, var))| {
                (name.to_owned(), var.clone(), var.copy().unwrap(), draw(var.dims(), 300 + index as u64))
            })
            .collect();
        let at = |step: f64| {
            for (_, var, value, direction) in &start {
                var.set(&(value + (direction * step).unwrap()).unwrap()).unwrap();
            }
            let penalised = run();
            penalised.loss + 0.7 * penalised.complexity
        };
        let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
        at(0.0);
        let inner = |name: &str, direction: &Tensor| -> f64 {
            let gradient = numbers(gradients.get(name).unwrap());
            gradient.iter().zip(numbers(direction)).map(|(a, b)| a * b).sum()
        };
        let found: f64 = start.iter().map(|(name, _, _, direction)| inner(name, direction)).sum();
        assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{name}: {found} against {expected}");
    }
}

#[test]
fn training_lowers_the_loss_and_continues_from_a_checkpoint_with_the_same_bits() {
    for (name, build) in NETS {
        for penalised in [false, true] {
            let estimator = Penalty::projections(Probe::Rademacher, 1);
            let penalty = penalised.then_some(GcPenalty { strength: 1e-3, estimator });
            let fit = Fit { penalty, ..Fit::new(12, Adam::new(0.02)) };
            let mut batch = |index: u64| Ok((draw(&[8, 3, 8, 8], index % 2).to_dtype(DType::F32)?, labels(8)));
            let mut losses = Vec::new();
            let whole = network(name, build, 3, DType::F32);
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut progress = Progress::default();
            fit.run(&whole, &mut progress, &mut batch, |network, seen| {
                losses.extend(seen.loss);
                if seen.step == 5 {
                    network.params().save(file.path())?;
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            assert!(losses[10] + losses[11] < losses[0] + losses[1], "{name}: {losses:?}");

            // The same run, stopped after 5 steps and continued by another network.
            let (first, mut progress) = (network(name, build, 3, DType::F32), Progress::default());
            fit.run(&first, &mut progress, &mut batch, |_, seen| {
                Ok(if seen.step == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            Checkpoint::write(file.path(), &fit, &first, &progress, None, serde_json::Value::Null).unwrap();
            let (second, mut progress) = (network(name, build, 99, DType::F32), Progress::default());
            Checkpoint::open(file.path()).unwrap().restore(&fit, &second, &mut progress).unwrap();
            fit.run(&second, &mut progress, &mut batch, |_, _| Ok(ControlFlow::Continue(()))).unwrap();
            for (name, var) in whole.params().trainable() {
                assert_eq!(numbers(var), numbers(&second.params().get(name).unwrap().var), "{name}");
            }
            // A checkpoint of one network is refused by the other.
            let (other, build) = NETS.into_iter().find(|(other, _)| *other != name).unwrap();
            let found = Checkpoint::open(file.path()).unwrap();
            let refused = found.restore(&fit, &network(other, build, 3, DType::F32), &mut Progress::default());
            assert!(matches!(refused, Err(Error::CheckpointMismatch { what: "architecture", .. })));
        }
    }
}

/// A model that exists already, with its variables in a `VarMap`.
#[test]
fn the_variables_of_a_var_map_become_parameters() {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F64, &Device::Cpu);
    let hidden = candle_nn::linear(6, 5, vb.pp("hidden")).unwrap();
    let network =
        Network::of_layers("adopted", &[6], Initialisation::Pytorch, 0, (DType::F64, &Device::Cpu), |mut builder| {
            for (name, var) in variables.data().lock().unwrap().iter() {
                builder.adopt(name, var, Role::Weight)?;
            }
            let mut body = Sequential::default();
            body.push("hidden", CandleModule::new(hidden.clone()));
            body.push("tanh", ActivationLayer(Activation::Tanh));
            BodyAndHead::new(body, builder, "head", 5, 3)
        })
        .unwrap();
    assert_eq!(
        network.params().names().collect::<Vec<_>>(),
        ["head.bias", "head.weight", "hidden.bias", "hidden.weight"]
    );
    let x = draw(&[4, 6], 1);
    let map = network.frozen().feature_map(Pass::evaluation(), None).unwrap();
    let found = GeometricComplexity::exact().measure_inputs(&map, &x).unwrap();
    let expected = GeometricComplexity::exact().measure_inputs(&|x: &Tensor| hidden.forward(x)?.tanh(), &x).unwrap();
    close("adopted", found.value, expected.value, 1e-12);
    let fit = Fit::new(3, Adam::new(0.1));
    let before = hidden.weight().copy().unwrap();
    let y = labels(4).to_dtype(DType::F64).unwrap().clamp(0.0, 2.0).unwrap().to_dtype(DType::U32).unwrap();
    let mut batch = |_: u64| Ok((x.clone(), y.clone()));
    fit.run(&network, &mut Progress::default(), &mut batch, |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    assert!(support::relative_distance(hidden.weight(), &before) > 1e-3, "the model's own variables are trained");
}

/// GC by the embedded sequence: the input is `[t, d]`.
#[test]
fn a_network_of_tokens_takes_embedded_sequences() {
    let build = |mut builder: Builder<'_>| {
        let mut body = Sequential::default();
        body.push("attn", CandleModule::new(Attention::new(6, builder.under("attn").var_builder())?));
        body.push("fc", Linear::new(builder.under("fc"), 6, 5)?);
        body.push("mean", CandleModule::new(|x: &Tensor| x.mean(1)));
        BodyAndHead::new(body, builder, "head", 5, 3)
    };
    let at = (DType::F64, &Device::Cpu);
    let network = Network::of_layers("tokens", &[7, 6], Initialisation::Pytorch, 0, at, build).unwrap();
    let x = draw(&[3, 7, 6], 1);
    let pass = Pass::evaluation();
    assert_eq!(network.frozen().features_at(&x, "fc", &pass).unwrap().dims(), [3, 7 * 5]);
    let map = network.frozen().feature_map(pass, None).unwrap();
    let closure = |x: &Tensor| network.frozen().features(x, &pass).map_err(candle_core::Error::wrap);
    let found = GeometricComplexity::exact().measure_inputs(&map, &x).unwrap().value;
    close("tokens", found, GeometricComplexity::exact().measure_inputs(&closure, &x).unwrap().value, 1e-11);
    let linearization = network.frozen().linearize(&x, &pass).unwrap();
    assert_eq!(linearization.vjp(&draw(&[6, 5], 2)).unwrap().dims(), [6, 7, 6]);
}

/// A network with one more layer.
fn with_layer(layer: fn() -> Box<dyn Layer>) -> Network {
    struct Boxed(Box<dyn Layer>);
    impl Layer for Boxed {
        fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
            self.0.forward(x, pass)
        }
    }
    let build = move |mut builder: Builder<'_>| {
        let mut body = Sequential::default();
        let sizes = ConvSizes { inputs: 3, outputs: 4, kernel: 3 };
        body.push("conv", Conv2d::new(builder.under("conv"), sizes, ConvSettings::new(1, 1), true)?);
        body.push("odd", Boxed(layer()));
        body.push("pool", GlobalAvgPool);
        BodyAndHead::new(body, builder, "head", 4, 4)
    };
    Network::of_layers("odd", &PIXELS, Initialisation::Pytorch, 0, (DType::F64, &Device::Cpu), build).unwrap()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the wrong gradient of candle's max pool must be found")]
fn layers_that_cannot_be_measured_are_refused() {
    let measured = |network: &Network| {
        let map = network.frozen().feature_map(Pass::evaluation(), None).unwrap();
        GeometricComplexity::exact().measure_inputs(&map, &images(3)).unwrap_err()
    };
    // candle's own max pool has a wrong gradient.
    let pool = with_layer(|| Box::new(CandleModule::new(|x: &Tensor| x.max_pool2d(2))));
    assert!(matches!(measured(&pool), gc_core::Error::WrongDerivative { .. }), "{}", measured(&pool));
    let penalty = GcPenalty { strength: 0.1, estimator: Penalty::projections(Probe::Rademacher, 1) };
    let pass = Pass::training(0, 0);
    let (x, y) = (images(3), labels(3));
    let refused = Gradients::of_penalised_loss(&pool, &labelled(&x, &y, 0.0), &penalty, 0, &pass).unwrap_err();
    assert!(matches!(refused, Error::TangentMismatch { .. }), "{refused}");
    let mixing = with_layer(|| Box::new(CandleModule::new(|x: &Tensor| x.broadcast_sub(&x.mean_keepdim(0)?))));
    assert!(matches!(measured(&mixing), gc_core::Error::MixesSamples { .. }), "{}", measured(&mixing));
    let random = with_layer(|| Box::new(CandleModule::new(|x: &Tensor| candle_nn::ops::dropout(x, 0.5))));
    assert!(matches!(measured(&random), gc_core::Error::NotDeterministic { .. }), "{}", measured(&random));
    let refused = Gradients::of_penalised_loss(&random, &labelled(&x, &y, 0.0), &penalty, 0, &pass).unwrap_err();
    assert!(matches!(refused, Error::NotDeterministic { .. }), "{refused}");
    let detached = with_layer(|| Box::new(CandleModule::new(|x: &Tensor| Ok(x.detach()))));
    let refused = Gradients::of_loss(&detached, &labelled(&x, &y, 0.0), &pass).unwrap_err();
    assert!(matches!(refused, Error::NotDifferentiable { .. }), "{refused}");
}

#[test]
fn features_that_are_no_vectors_are_refused() {
    let build = |mut builder: Builder<'_>| {
        let mut body = Sequential::default();
        body.push("fc", Linear::new(builder.under("fc"), 6, 5)?);
        BodyAndHead::new(body, builder, "head", 5, 3)
    };
    let at = (DType::F64, &Device::Cpu);
    let network = Network::of_layers("tokens", &[7, 6], Initialisation::Pytorch, 0, at, build).unwrap();
    let x = draw(&[3, 7, 6], 1);
    let refused = network.frozen().logits(&x, &Pass::evaluation()).unwrap_err();
    assert!(matches!(refused, Error::Shape { op: "features", .. }) && refused.to_string().contains("class token"));
    let refused = Gradients::of_loss(&network, &labelled(&x, &labels(3), 0.0), &Pass::evaluation()).unwrap_err();
    assert!(matches!(refused, Error::Shape { op: "features", .. }));
}

/// A family of another crate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wide {
    width: usize,
    #[serde(default = "gelu")]
    activation: Activation,
    in_channels: usize,
    input_size: [usize; 2],
    classes: usize,
}

fn gelu() -> Activation {
    Activation::Gelu
}

impl Family for Wide {
    const NAME: &'static str = "wide";
    const PRESETS: &'static [&'static str] = &["wide-9"];
    takes_images!();

    fn preset(name: &str) -> Option<Self> {
        let wide = Self { width: 9, activation: gelu(), in_channels: 3, input_size: [8, 8], classes: 4 };
        (name == "wide-9").then_some(wide)
    }

    fn scale_width(&mut self, factor: f64) {
        self.width = (self.width as f64 * factor).round() as usize;
    }

    fn has_batch_norm(&self) -> bool {
        false
    }

    fn head_name(&self) -> String {
        "head".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        let mut body = Sequential::default();
        let sizes = ConvSizes { inputs: self.in_channels, outputs: self.width, kernel: 3 };
        body.push("conv", Conv2d::new(builder.under("conv"), sizes, ConvSettings::new(1, 1), true)?);
        body.push("act", ActivationLayer(self.activation));
        body.push("pool", GlobalAvgPool);
        BodyAndHead::new(body, builder, "head", self.width, self.classes)
    }
}

#[test]
fn a_family_of_another_crate_is_an_architecture() {
    let text = "family = 'wide'\nwidth = 3\nin_channels = 3\ninput_size = [8, 8]\nclasses = 4";
    assert!(matches!(Architecture::from_toml(text), Err(Error::UnknownName { what: "architecture family", .. })));
    Architecture::register::<Wide>().unwrap();
    Architecture::register::<Wide>().unwrap();
    let wide = Architecture::from_toml(text).unwrap();
    assert_eq!(wide.config::<Wide>().unwrap().activation, Activation::Gelu);
    assert_eq!(Architecture::from_toml(&wide.to_toml().unwrap()).unwrap(), wide);
    let json = serde_json::to_string(&wide).unwrap();
    assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), wide);
    let wrong = Architecture::from_toml(&format!("{text}\ndepth = 2"));
    assert!(matches!(wrong, Err(Error::UnknownKey { key, family: "wide", .. }) if key == "depth"));
    let preset = Architecture::named("wide-9").unwrap().with_width(2.0).with_classes(3);
    assert!(Architecture::names().contains(&"wide-9"));
    let network = Network::new(&preset, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu).unwrap();
    assert_eq!(network.frozen().features(&images(2), &Pass::evaluation()).unwrap().dims(), [2, 18]);
    // The key `family` of another type with the same name.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Impostor {
        classes: usize,
        in_channels: usize,
        input_size: [usize; 2],
        activation: Activation,
    }
    impl Family for Impostor {
        const NAME: &'static str = "vgg";
        takes_images!();
        fn scale_width(&mut self, _: f64) {}
        fn has_batch_norm(&self) -> bool {
            false
        }
        fn head_name(&self) -> String {
            "head".into()
        }
        fn build(&self, builder: Builder<'_>) -> Result<BodyAndHead> {
            BodyAndHead::new(Sequential::default(), builder, "head", 1, 1)
        }
    }
    assert!(matches!(Architecture::register::<Impostor>(), Err(Error::Setting { op: "register", .. })));
}

/// What a family says of batch norm is what its layers have.
#[test]
fn families_know_whether_they_have_batch_norm() {
    for name in Architecture::names() {
        let small = Architecture::named(name).unwrap().with_width(1.0 / 64.0);
        let network = Network::new(&small, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu).unwrap();
        let has_statistics = network.params().names().any(|parameter| parameter.ends_with("running_mean"));
        assert_eq!(small.has_batch_norm(), has_statistics, "{name}");
    }
}

#[test]
fn a_network_of_code_is_not_built_from_its_description() {
    let network = network("convnet", convnet, 0, DType::F32);
    let read = Architecture::from_toml(&network.architecture().to_toml().unwrap()).unwrap();
    assert_eq!(&read, network.architecture());
    let refused = Network::new(&read, Initialisation::Pytorch, 0, DType::F32, &Device::Cpu).err().unwrap();
    assert!(refused.to_string().contains("Network::of_layers"), "{refused}");
    assert_close("same", &images(1), &images(1), 0.0);
}

/// candle-nn's batch norm copies constants, so its running statistics must be the variables of the network.
#[test]
fn a_frozen_batch_norm_of_candle_sees_statistics_that_are_loaded() {
    let build = |mut builder: Builder<'_>| {
        let mut body = Sequential::default();
        body.push("norm", CandleModule::new(candle_nn::batch_norm(2, 0.0, builder.under("norm").var_builder())?));
        body.push("pool", GlobalAvgPool);
        BodyAndHead::new(body, builder, "head", 2, 2)
    };
    let on = (DType::F64, &Device::Cpu);
    let net = Network::of_layers("norm", &[2, 1, 1], Initialisation::Pytorch, 0, on, build).unwrap();
    for (name, values) in [("norm.running_mean", [1f64, -2.0]), ("norm.running_var", [4.0, 0.25])] {
        net.params().get(name).unwrap().var.set(&Tensor::new(&values, &Device::Cpu).unwrap()).unwrap();
    }
    let image = Tensor::new(&[3f64, 1.0], &Device::Cpu).unwrap().reshape((1, 2, 1, 1)).unwrap();
    for view in [net.frozen(), net.tracked()] {
        // (3 − 1)/2 and (1 + 2)/0.5.
        let features = view.features(&image, &Pass::evaluation()).unwrap();
        assert_eq!(features.to_vec2::<f64>().unwrap(), [[1.0, 6.0]]);
    }
}
