//! Linearizations without a graph, against candle's backward pass on the same network, against the forward-mode pass and against
//! finite differences. Tolerances are relative to the norm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use candle_core::{DType, Device, Tensor, Var};
use gc_core::{Penalty, Probe};
use models::train::{GcPenalty, Gradients};
use models::{Architecture, Error, Initialisation, Linearization, Network, Pass, ops};
use support::{Golden, assert_close, labelled, numbers};

/// Networks of every family with every combination of layers that is fused or treated separately: ReLU after convolution, batch
/// norm and sums, max pooling after ReLU, other activations, dropout, hidden layers, all forms of blocks.
const NETS: [&str; 10] = [
    "family = 'mlp'\ninputs = 30\nhidden = [7, 6, 4]\nactivation = 'gelu'\nactivation_before_head = false\nclasses = 3",
    "family = 'mlp'\ninputs = 30\nhidden = [7]\nactivation = 'relu'\nclasses = 3",
    "family = 'vgg'\nstages = [[4, 6], [8]]\nhidden = [9]\ndropout = 0.3\ninput_size = [9, 11]\nclasses = 4",
    "family = 'vgg'\nstages = [[4, 6], [8]]\nbatch_norm = true\ninput_size = [9, 11]\nclasses = 4",
    "family = 'vgg'\nstages = [[4], [5]]\nbatch_norm = true\nactivation = 'tanh'\ninput_size = [8, 6]\nclasses = 4",
    "family = 'resnet'\ninput_size = [8, 6]\nclasses = 3\n\
     stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 2, stride = 2 }]",
    "family = 'resnet'\nblock = 'bottleneck'\nstem = 'imagenet'\ninput_size = [33, 26]\nclasses = 3\n\
     stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 3, blocks = 1, stride = 2 }]",
    "family = 'resnet'\nactivation = 'silu'\ninput_size = [8, 6]\nclasses = 3\n\
     stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 1, stride = 2 }]",
    "family = 'wide_resnet'\ndepth = 10\nwiden_factor = 2\nbase_channels = 3\ndropout = 0.2\ninput_size = [8, 4]\nclasses = 3",
    "family = 'conv4'\nchannels = [5, 6, 7]\ninput_size = [8, 16]\nclasses = 3",
];

fn draw(shape: &[usize], address: u64) -> Tensor {
    let values = streams::standard_normal(&mut streams::stream(7, "tests/traced", address), shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A network whose running statistics, scales and shifts are not the initial ones, with a batch of images and labels.
fn setting(text: &str, dtype: DType) -> (Network, Tensor, Tensor) {
    let architecture = Architecture::from_toml(text).unwrap();
    let network = Network::new(&architecture, Initialisation::HeNormal, 3, dtype, &Device::Cpu).unwrap();
    for (index, (name, parameter)) in network.params().iter().enumerate() {
        if parameter.var.rank() == 1 {
            let noise = (draw(parameter.var.dims(), 50 + index as u64) * 0.2).unwrap();
            let start = parameter.var.as_detached_tensor().to_dtype(DType::F64).unwrap();
            let moved = if name.ends_with("running_var") { start + noise.sqr().unwrap() } else { start + noise };
            parameter.var.set(&moved.unwrap().to_dtype(dtype).unwrap()).unwrap();
        }
    }
    let mut shape = architecture.input_shape();
    shape.insert(0, 4);
    let classes = architecture.classes() as u32;
    let labels: Vec<u32> = (0..4).map(|sample| sample % classes).collect();
    (network, draw(&shape, 1).to_dtype(dtype).unwrap(), Tensor::new(labels, &Device::Cpu).unwrap())
}

/// The loss and its gradients by candle's backward pass.
fn by_graph(network: &Network, images: &Tensor, labels: &Tensor, pass: &Pass) -> (f64, Gradients) {
    let logits = network.tracked().logits(images, pass).unwrap();
    let loss = ops::cross_entropy(&logits, labels, 0.1).unwrap();
    let gradients = Gradients::of(network.params(), &loss.backward().unwrap()).unwrap();
    (loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap(), gradients)
}

fn assert_same(what: &str, network: &Network, found: &Gradients, expected: &Gradients, tolerance: f64) {
    for (name, var) in network.params().trainable() {
        let (found, expected) = (found.get(name), expected.get(name));
        let (Some(found), Some(expected)) = (found, expected) else {
            panic!("{what}: gradient by {name} found {}, expected {}", found.is_some(), expected.is_some());
        };
        assert_eq!(found.dims(), var.dims(), "{what}: {name}");
        // A bias in front of batch norm has the gradient 0 up to rounding.
        let norm = numbers(expected).iter().map(|value| value * value).sum::<f64>().sqrt();
        if norm > 1e-9 {
            assert_close(&format!("{what}: {name}"), found, expected, tolerance);
        }
    }
}

fn assert_same_statistics(what: &str, found: &Network, expected: &Network) {
    let statistics = |network: &Network| -> Vec<f64> {
        let of = |(name, parameter): (&str, &models::Parameter)| {
            name.contains("running").then(|| numbers(parameter.var.as_tensor()))
        };
        network.params().iter().filter_map(of).flatten().collect()
    };
    for (found, expected) in statistics(found).iter().zip(statistics(expected)) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{what}");
    }
}

#[test]
fn the_gradients_of_a_loss_are_those_of_the_graph() {
    for text in NETS {
        for (mode, pass) in [("training", Pass::training(5, 2)), ("evaluation", Pass::evaluation())] {
            let what = format!("{mode} of {text}");
            let (network, images, labels) = setting(text, DType::F64);
            let (loss, found) = Gradients::of_loss(&network, &labelled(&images, &labels, 0.1), &pass).unwrap();
            let (other, ..) = setting(text, DType::F64);
            let (expected_loss, expected) = by_graph(&other, &images, &labels, &pass);
            assert!((loss - expected_loss).abs() <= 1e-12 * expected_loss, "{what}: {loss}, {expected_loss}");
            assert_same(&what, &network, &found, &expected, 1e-10);
            assert_same_statistics(&what, &network, &other);
            let composed = ops::composed(|| {
                Gradients::of_loss(&setting(text, DType::F64).0, &labelled(&images, &labels, 0.1), &pass)
            });
            let (other, ..) = setting(text, DType::F64);
            assert_same(&format!("{what}, composed"), &other, &composed.unwrap().1, &expected, 1e-9);
        }
    }
}

/// The loss with the penalty by candle's backward pass.
fn penalised_by_graph(
    network: &Network,
    (images, labels): (&Tensor, &Tensor),
    penalty: &GcPenalty,
    pass: &Pass,
) -> (f64, Gradients) {
    let view = network.tracked();
    let term = penalty.estimator.term(&view.feature_map(*pass, None).unwrap(), images, 4).unwrap();
    let loss = ops::cross_entropy(&view.head(&term.features, pass).unwrap(), labels, 0.1).unwrap();
    let total = (loss + (term.loss * penalty.strength).unwrap()).unwrap();
    (term.value, Gradients::of(network.params(), &total.backward().unwrap()).unwrap())
}

/// The penalty is weighted so that its gradient is as large as that of the loss: neither can hide an error in the other.
#[test]
fn the_gradients_of_a_penalised_loss_are_those_of_the_graph() {
    for text in NETS {
        for (mode, pass) in [("training", Pass::training(5, 2)), ("evaluation", Pass::evaluation())] {
            for probes in [1, 3] {
                let what = format!("{mode} of {text} with {probes} probes");
                let (network, images, labels) = setting(text, DType::F64);
                let estimator = Penalty::projections(Probe::Rademacher, probes).seed(8);
                let plain = penalised_by_graph(
                    &network,
                    (&images, &labels),
                    &GcPenalty { strength: 0.0, estimator: estimator.clone() },
                    &pass.without_update(),
                );
                let alone = penalised_by_graph(
                    &network,
                    (&images, &labels),
                    &GcPenalty { strength: 1.0, estimator: estimator.clone() },
                    &pass.without_update(),
                );
                let norm = |gradients: &Gradients| gradients.squared_norm().unwrap().sqrt();
                let strength = norm(&plain.1) / norm(&alone.1);
                let penalty = GcPenalty { strength, estimator };
                let (other, ..) = setting(text, DType::F64);
                let (expected_complexity, expected) = penalised_by_graph(&other, (&images, &labels), &penalty, &pass);
                let penalised =
                    Gradients::of_penalised_loss(&network, &labelled(&images, &labels, 0.1), &penalty, 4, &pass)
                        .unwrap();
                let (expected_loss, _) = by_graph(&setting(text, DType::F64).0, &images, &labels, &pass);
                let values = [(penalised.loss, expected_loss), (penalised.complexity, expected_complexity)];
                for (found, expected) in values {
                    assert!((found / expected - 1.0).abs() <= 1e-11, "{what}: {found}, {expected}");
                }
                assert_same(&what, &network, &penalised.gradients, &expected, 1e-10);
                assert_same_statistics(&what, &network, &other);
                let composed = ops::composed(|| {
                    let (network, ..) = setting(text, DType::F64);
                    Gradients::of_penalised_loss(&network, &labelled(&images, &labels, 0.1), &penalty, 4, &pass)
                        .unwrap()
                        .gradients
                });
                assert_same(&format!("{what}, composed"), &network, &composed, &expected, 1e-9);
            }
        }
    }
}

#[test]
fn the_vjp_is_that_of_the_graph_and_the_adjoint_of_the_jvp() {
    for text in NETS {
        let (network, images, _) = setting(text, DType::F64);
        let pass = Pass::evaluation();
        let map = network.frozen().linearize(&images, &pass).unwrap();
        let variable = Var::from_tensor(&images).unwrap();
        let features = network.frozen().features(&variable, &pass).unwrap();
        assert_close(text, map.features(), &features, 1e-12);
        // The linearization can be applied repeatedly.
        for address in [2, 3] {
            let v = draw(features.dims(), address);
            let graph = (&features * &v).unwrap().sum_all().unwrap().backward().unwrap();
            let pulled = map.vjp(&v).unwrap();
            assert_close(text, &pulled, graph.get(&variable).unwrap(), 1e-11);
            let u = draw(images.dims(), 4);
            let (_, tangent) = network.frozen().features_jvp(&images, &u, &pass).unwrap();
            let inner = |a: &Tensor, b: &Tensor| numbers(a).iter().zip(numbers(b)).map(|(a, b)| a * b).sum::<f64>();
            let scale = (inner(&tangent, &tangent) * inner(&v, &v)).sqrt();
            let difference = (inner(&tangent, &v) - inner(&u, &pulled)).abs();
            assert!(difference <= 1e-12 * scale, "{text}: {difference:e} of {scale}");
        }
    }
}

/// The derivative along a random direction in all parameters at once, against central differences with a step of 1e-7. No ReLU of
/// these networks switches within 1e-7; one does within 1e-6.
#[test]
fn the_gradients_of_whole_networks_match_finite_differences() {
    for text in NETS {
        let (network, images, labels) = setting(text, DType::F64);
        let pass = Pass::training(5, 2).without_update();
        let loss = || Gradients::of_loss(&network, &labelled(&images, &labels, 0.0), &pass).unwrap();
        let gradients = loss().1;
        let start: Vec<(Var, Tensor, Tensor)> = network
            .params()
            .trainable()
            .enumerate()
            .map(|(index, (_, var))| (var.clone(), var.copy().unwrap(), draw(var.dims(), 300 + index as u64)))
            .collect();
        let at = |step: f64| {
            for (var, value, direction) in &start {
                var.set(&(value + (direction * step).unwrap()).unwrap()).unwrap();
            }
            loss().0
        };
        let expected = (at(1e-7) - at(-1e-7)) / 2e-7;
        let found: f64 = network
            .params()
            .trainable()
            .zip(&start)
            .map(|((name, _), (_, _, direction))| {
                let gradient = numbers(gradients.get(name).unwrap());
                gradient.iter().zip(numbers(direction)).map(|(a, b)| a * b).sum::<f64>()
            })
            .sum();
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{text}: {found} against {expected}");
    }
}

#[test]
fn single_precision_gives_the_gradients_of_the_graph() {
    for golden in Golden::all() {
        let (images, labels) = (golden.value("x"), golden.labels());
        let pass = Pass::evaluation();
        let (_, found) = Gradients::of_loss(&golden.network, &labelled(images, &labels, 0.1), &pass).unwrap();
        let (_, expected) = by_graph(&golden.network, images, &labels, &pass);
        assert_same(&golden.name, &golden.network, &found, &expected, golden.tolerance);
    }
}

#[test]
fn wrong_shapes_are_refused_by_name() {
    let (network, images, labels) = setting(NETS[3], DType::F64);
    let pass = Pass::evaluation();
    let map = network.frozen().linearize(&images, &pass).unwrap();
    assert!(matches!(map.vjp(&draw(&[4, 3], 1)), Err(Error::Shape { op: "vjp", .. })));
    assert!(matches!(
        network.frozen().linearize(&draw(&[4, 3, 2, 2], 1), &pass),
        Err(Error::Shape { op: "network", .. })
    ));
    let wrong = Tensor::new(&[0u32, 9, 0, 0], &Device::Cpu).unwrap();
    let refused = Gradients::of_loss(&network, &labelled(&images, &wrong, 0.0), &pass).map(|_| ());
    assert!(matches!(refused, Err(Error::Operation(ops::Error::Shape { op: "cross-entropy", .. }))));
    assert!(matches!(
        Gradients::of_loss(&network, &labelled(&images, &labels, 1.5), &pass).map(|_| ()),
        Err(Error::Operation(ops::Error::Setting { op: "cross-entropy", .. }))
    ));
    let (x, gamma) = (draw(&[2, 3, 3, 2], 1), draw(&[2], 2));
    let refused = ops::nhwc::batch_norm_train_vjp(&x, &draw(&[2, 3, 3, 1], 1), &gamma, 1e-5);
    assert!(matches!(refused, Err(ops::Error::Shape { op: "batch-norm", .. })));
}

/// From this many cotangents on, the sparsity-aware path is used.
#[test]
fn many_cotangents_of_an_image_give_the_vjps_of_each() {
    const EACH: usize = 37;
    for text in NETS {
        for (mode, pass) in [("training", Pass::training(5, 2).without_update()), ("evaluation", Pass::evaluation())] {
            let what = format!("{mode} of {text}");
            let (network, images, _) = setting(text, DType::F64);
            let map = network.frozen().linearize(&images, &pass).unwrap();
            let cotangents: Vec<Tensor> = (0..EACH).map(|k| draw(map.features().dims(), 20 + k as u64)).collect();
            let together = map.vjp(&Tensor::cat(&cotangents, 0).unwrap());
            if pass.batch_statistics && network.architecture().has_batch_norm() {
                assert!(matches!(together, Err(Error::Operation(ops::Error::Shape { .. }))), "{what}");
                continue;
            }
            let alone = |map: &Linearization| {
                let pulled: Vec<Tensor> = cotangents.iter().map(|one| map.vjp(one).unwrap()).collect();
                Tensor::cat(&pulled, 0).unwrap()
            };
            let (together, alone) = (together.unwrap(), alone(&map));
            assert_eq!(together.dims(), alone.dims());
            assert_close(&what, &together, &alone, 1e-13);
            let composed = ops::composed(|| {
                let map = network.frozen().linearize(&images, &pass)?;
                map.vjp(&Tensor::cat(&cotangents, 0)?)
            });
            assert_close(&format!("{what}, composed"), &composed.unwrap(), &alone, 1e-12);
        }
    }
}
