//! The operations and a training step on a CUDA device against the CPU's kernels.
//!
//! Only built with the feature `cuda`. Without a device the tests print that they ran nothing.

#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that cannot go on may panic")]

mod support;

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor, Var};
use gc_core::{GeometricComplexity, Penalty, Probe};
use models::ops::{self, ConvSettings, PoolSettings};
use models::train::{Fit, GcPenalty, Gradients, Progress, Sgd};
use models::{Accuracy, Architecture, Initialisation, Network, Pass};
use support::{assert_close, labelled, numbers, relative_distance};

/// One test at a time: the count of reads is that of the process.
static ALONE: Mutex<()> = Mutex::new(());

fn device() -> Option<(Device, MutexGuard<'static, ()>)> {
    match Device::new_cuda(0) {
        Ok(device) => Some((device, ALONE.lock().unwrap_or_else(PoisonError::into_inner))),
        Err(error) => {
            // The first line only: a backtrace follows.
            let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
            eprintln!("skipped, nothing was run: no CUDA device ({reason})");
            None
        }
    }
}

fn draw(shape: &[usize], dtype: DType, address: u64) -> Tensor {
    let values = streams::standard_normal(&mut streams::stream(11, "tests/cuda", address), shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// `f` of the arguments, and the gradient of ⟨f, g⟩ by each of them, on one device.
fn with_gradients(device: &Device, arguments: &[Tensor], f: &dyn Fn(&[Tensor]) -> ops::Result<Tensor>) -> Vec<Tensor> {
    let vars: Vec<Var> =
        arguments.iter().map(|argument| Var::from_tensor(&argument.to_device(device).unwrap()).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tracked).unwrap();
    let g = draw(y.dims(), y.dtype(), 99).to_device(device).unwrap();
    let gradients = (&y * &g).unwrap().sum_all().unwrap().backward().unwrap();
    let all = vars.iter().map(|var| gradients.get(var).unwrap().clone());
    std::iter::once(y.detach()).chain(all).map(|tensor| tensor.to_device(&Device::Cpu).unwrap()).collect()
}

fn compare(what: &str, device: &Device, shapes: &[&[usize]], f: &dyn Fn(&[Tensor]) -> ops::Result<Tensor>) {
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
        let arguments: Vec<Tensor> =
            shapes.iter().enumerate().map(|(index, shape)| draw(shape, dtype, index as u64)).collect();
        let expected = with_gradients(&Device::Cpu, &arguments, f);
        let found = with_gradients(device, &arguments, f);
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_close(&format!("{what} in {dtype:?}, {index}"), found, expected, tolerance);
        }
    }
}

#[test]
fn every_operation_and_its_gradients() {
    let Some((device, _alone)) = device() else { return };
    let base = ConvSettings { accuracy: Accuracy::Accurate, ..ConvSettings::default() };
    for settings in [
        ConvSettings { padding: [1, 1], ..base },
        ConvSettings { stride: [2, 2], padding: [1, 1], ..base },
        ConvSettings { stride: [1, 2], padding: [2, 0], ..base },
        ConvSettings { dilation: [2, 1], padding: [2, 1], ..base },
        ConvSettings { groups: 2, padding: [1, 1], ..base },
    ] {
        let weight = [6, 4 / settings.groups, 3, 2];
        let shapes: [&[usize]; 3] = [&[2, 7, 5, 4], &weight, &[6]];
        compare(&format!("{settings:?}"), &device, &shapes, &|a| {
            ops::nhwc::conv2d(&a[0], &a[1], Some(&a[2]), settings)
        });
    }
    let window = PoolSettings { kernel: [3, 2], stride: [2, 1], padding: [1, 1], ..Default::default() };
    let image: &[usize] = &[2, 7, 5, 3];
    compare("max pool", &device, &[image], &|a| ops::nhwc::max_pool2d(&a[0], window));
    compare("mean pool", &device, &[image], &|a| ops::nhwc::avg_pool2d(&a[0], window));
    compare("batch norm", &device, &[image, &[3], &[3]], &|a| {
        Ok(ops::nhwc::batch_norm_train(&a[0], &a[1], &a[2], 1e-5)?.0)
    });
    compare("linear", &device, &[&[5, 3], &[4, 3], &[4]], &|a| ops::linear(&a[0], &a[1], Some(&a[2])));
    compare("channel dot", &device, &[image, image], &|a| ops::nhwc::channel_dot(&a[0], &a[1]));
    use ops::Activation::{Gelu, Relu, Silu, Softplus, Tanh};
    for activation in [Relu, Gelu, Silu, Tanh, Softplus] {
        compare(&format!("{activation:?}"), &device, &[image], &|a| activation.forward(&a[0]));
    }
    compare("cross-entropy", &device, &[&[6, 4]], &|a| {
        let labels = Tensor::new(&[0u32, 3, 1, 1, 2, 0], a[0].device())?;
        ops::cross_entropy(&a[0], &labels, 0.1)
    });
}

#[test]
fn a_training_step() {
    let Some((device, _alone)) = device() else { return };
    for name in ["vgg-small", "resnet18-cifar"] {
        let architecture = Architecture::named(name).unwrap().with_input(3, [32, 32]).with_classes(10);
        let images = draw(&[8, 3, 32, 32], DType::F64, 1);
        let gradients = |device: &Device| {
            let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F64, device).unwrap();
            let labels = Tensor::new(&[0u32, 1, 2, 3, 4, 5, 6, 7], device).unwrap();
            let (images, pass) = (images.to_device(device).unwrap(), Pass::training(1, 0));
            let logits = network.tracked().logits(&images, &pass).unwrap();
            let by_graph = ops::cross_entropy(&logits, &labels, 0.0).unwrap().backward().unwrap();
            let (_, without_graph) = Gradients::of_loss(&network, &labelled(&images, &labels, 0.0), &pass).unwrap();
            let of = |(name, var): (&str, &Var)| {
                let both = [by_graph.get(var), without_graph.get(name)];
                let both = both.map(|gradient| gradient.unwrap_or_else(|| panic!("no gradient of {name}")));
                (name.to_owned(), both.map(|gradient| gradient.to_device(&Device::Cpu).unwrap()))
            };
            network.params().trainable().map(of).collect::<Vec<_>>()
        };
        for ((parameter, expected), (_, found)) in gradients(&Device::Cpu).iter().zip(&gradients(&device)) {
            for (route, found) in ["by the graph", "without it"].into_iter().zip(found) {
                let distance = relative_distance(found, &expected[0]);
                // The gradient of a bias in front of batch norm is 0 up to rounding.
                let zero = numbers(&expected[0]).iter().all(|value| value.abs() < 1e-12);
                assert!(zero || distance < 1e-9, "{name}, {parameter}, {route}: {distance:e}");
            }
        }
    }
}

#[test]
fn geometric_complexity() {
    let Some((device, _alone)) = device() else { return };
    for name in ["vgg13", "vgg-small", "resnet18-cifar"] {
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-3)] {
            let images = draw(&[4, 3, 32, 32], dtype, 3);
            let values = |device: &Device| {
                let architecture = Architecture::named(name).unwrap().with_input(3, [32, 32]).with_classes(10);
                let network = Network::new(&architecture, Initialisation::HeNormal, 1, dtype, device).unwrap();
                let view = network.frozen();
                let map = view.feature_map(Pass::evaluation(), None).unwrap();
                let measure = GeometricComplexity::exact().per_sample();
                let estimate = measure.measure_inputs(&map, &images.to_device(device).unwrap()).unwrap();
                (estimate.value, estimate.per_sample.unwrap())
            };
            let (expected, found) = (values(&Device::Cpu), values(&device));
            let distance = (found.0 / expected.0 - 1.0).abs();
            assert!(distance < tolerance, "{name} in {dtype:?}: {} against {}", found.0, expected.0);
            eprintln!("{name} in {dtype:?}: GC {} on the CPU, {distance:e} (relative) from it on CUDA", expected.0);
        }
    }
}

#[test]
fn tensors_on_two_devices_are_refused() {
    let Some((device, _alone)) = device() else { return };
    let x = draw(&[2, 3], DType::F32, 1);
    let error = ops::hadamard(&x, &x.to_device(&device).unwrap()).unwrap_err();
    assert!(matches!(error, ops::Error::Device { op: "hadamard", .. }), "{error}");
}

/// cuDNN's Winograd algorithms, which need many channels, and tensors that are slices of larger ones.
#[test]
fn fast_convolutions() {
    let Some((device, _alone)) = device() else { return };
    let settings = ConvSettings::new(1, 1);
    let arguments = [draw(&[3, 9, 7, 48], DType::F32, 1), draw(&[40, 48, 3, 3], DType::F32, 2)];
    let convolution =
        |accuracy| move |a: &[Tensor]| ops::nhwc::conv2d(&a[0], &a[1], None, ConvSettings { accuracy, ..settings });
    let expected = with_gradients(&Device::Cpu, &arguments, &convolution(Accuracy::Accurate));
    for (found, expected) in with_gradients(&device, &arguments, &convolution(Accuracy::Fast)).iter().zip(&expected) {
        assert_close("Winograd", found, expected, 2e-5);
    }
    let part = |x: &Tensor| x.narrow(0, 1, 2).unwrap();
    let (x, weight) = (arguments[0].to_device(&device).unwrap(), arguments[1].to_device(&device).unwrap());
    let found = ops::relu(&ops::nhwc::conv2d(&part(&x), &weight, None, settings).unwrap()).unwrap();
    assert_close("a part", &found.to_device(&Device::Cpu).unwrap(), &ops::relu(&part(&expected[0])).unwrap(), 2e-5);
}

/// The rounding of bf16 and of TF32 (on a device with tensor cores for it), in a convolution and in the loss of a network.
#[cfg(feature = "cudnn")]
#[test]
fn rounded_products() {
    let Some((device, _alone)) = device() else { return };
    for (accuracy, rounding, largest) in [(Accuracy::Bf16, 1e-4..1e-2, 0.05), (Accuracy::Tf32, 1e-5..2e-3, 0.01)] {
        // A 3×3 convolution, and a pointwise one, which without rounding is a matrix product.
        for (kernel, padding) in [(3, 1), (1, 0)] {
            let shapes: [&[usize]; 2] = [&[2, 9, 7, 16], &[24, 16, kernel, kernel]];
            let arguments: Vec<Tensor> =
                shapes.iter().zip(0..).map(|(shape, at)| draw(shape, DType::F32, at)).collect();
            let convolution = |accuracy| {
                let settings = ConvSettings { accuracy, ..ConvSettings::new(1, padding) };
                move |a: &[Tensor]| ops::nhwc::conv2d(&a[0], &a[1], None, settings)
            };
            let expected = with_gradients(&Device::Cpu, &arguments, &convolution(Accuracy::Accurate));
            let found = with_gradients(&device, &arguments, &convolution(accuracy));
            for (found, expected) in found.iter().zip(&expected) {
                let distance = relative_distance(found, expected);
                assert!(rounding.contains(&distance), "{distance:e} is not the rounding of {accuracy:?}");
            }
        }
        let losses = [Accuracy::Fast, accuracy].map(|accuracy| {
            let architecture = Architecture::named("resnet18-cifar").unwrap().with_input(3, [32, 32]).with_classes(10);
            let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &device).unwrap();
            let images = draw(&[8, 3, 32, 32], DType::F32, 1).to_device(&device).unwrap();
            let labels = Tensor::new(&[0u32, 1, 2, 3, 4, 5, 6, 7], &device).unwrap();
            let pass = Pass { accuracy, ..Pass::training(1, 0) };
            Gradients::of_loss(&network, &labelled(&images, &labels, 0.0), &pass).unwrap().0
        });
        let distance = (losses[1] / losses[0] - 1.0).abs();
        assert!(distance > 0.0 && distance < largest, "loss {} in f32, {} in {accuracy:?}", losses[0], losses[1]);
    }
}

/// A step on the device makes the one read of its values, and reaches the parameters and running statistics of the CPU.
#[test]
fn a_step_reads_once() {
    let Some((device, _alone)) = device() else { return };
    let penalty = GcPenalty { strength: 0.1, estimator: Penalty::projections(Probe::Rademacher, 1) };
    for penalty in [None, Some(penalty)] {
        let run = |device: &Device| {
            let architecture = Architecture::named("resnet18-cifar").unwrap().with_input(3, [32, 32]).with_classes(10);
            let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F64, device).unwrap();
            let images = draw(&[8, 3, 32, 32], DType::F64, 1).to_device(device).unwrap();
            // Labels on the CPU are read without a wait.
            let labels = Tensor::new(&[0u32, 1, 2, 3, 4, 5, 6, 7], &Device::Cpu).unwrap();
            let mut batches = |_: u64| Ok((images.clone(), labels.clone()));
            let fit = Fit { penalty: penalty.clone(), ..Fit::new(2, Sgd::new(1e-3)) };
            let before = ops::host::reads();
            fit.run(&network, &mut Progress::default(), &mut batches, |_, _| Ok(ControlFlow::Continue(()))).unwrap();
            let reads = ops::host::reads() - before;
            let values = network
                .params()
                .iter()
                .map(|(name, parameter)| (name.to_owned(), parameter.var.to_device(&Device::Cpu).unwrap()));
            (reads, values.collect::<Vec<_>>())
        };
        let ((none, expected), (reads, found)) = (run(&Device::Cpu), run(&device));
        assert_eq!((none, reads), (0, 2));
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            let distance =
                relative_distance(&found.to_dtype(DType::F64).unwrap(), &expected.to_dtype(DType::F64).unwrap());
            assert!(distance < 1e-8, "{name}: {distance:e}");
        }
    }
}
