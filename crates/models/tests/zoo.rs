//! Every family against PyTorch: features of torchvision's ResNet-18 with both stems, of bottleneck blocks, batch-norm
//! VGGs, Wide ResNets, Conv-4 and MLPs, on inputs that are not square, for weights that both sides compute by the same formula.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use gc_core::{GeometricComplexity, Side};
use models::{Architecture, Initialisation, Network, Pass};
use support::assert_close;

const BOTTLENECK: &str = "family = 'resnet'\nblock = 'bottleneck'\nclasses = 5\n\
    stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 2, stride = 2 }]\n";

/// Name in the fixture, description, shape of the inputs; as `benches/peers/zoo.py` has them.
fn nets() -> Vec<(&'static str, Architecture, Vec<usize>)> {
    let toml = |text: &str| Architecture::from_toml(text).unwrap();
    let named = |name: &str, size| Architecture::named(name).unwrap().with_input(3, size);
    vec![
        ("resnet18", named("resnet18", [64, 48]), vec![2, 3, 64, 48]),
        ("resnet18-cifar", named("resnet18-cifar", [16, 12]), vec![2, 3, 16, 12]),
        ("bottleneck-cifar", toml(&format!("{BOTTLENECK}input_size = [10, 14]")), vec![3, 3, 10, 14]),
        (
            "bottleneck-imagenet",
            toml(&format!("{BOTTLENECK}stem = 'imagenet'\ninput_size = [33, 26]")),
            vec![3, 3, 33, 26],
        ),
        (
            "vgg-batch-norm",
            toml("family = 'vgg'\nstages = [[4, 6], [8], [5, 7]]\nbatch_norm = true\ninput_size = [11, 17]"),
            vec![3, 3, 11, 17],
        ),
        (
            "vgg-hidden",
            toml("family = 'vgg'\nstages = [[4], [6, 6]]\nhidden = [9, 7]\ninput_size = [8, 12]"),
            vec![3, 3, 8, 12],
        ),
        (
            "wide-resnet10-2",
            toml("family = 'wide_resnet'\ndepth = 10\nwiden_factor = 2\nbase_channels = 4\ninput_size = [12, 8]"),
            vec![2, 3, 12, 8],
        ),
        ("wide-resnet28-4", named("wide-resnet28-4", [16, 8]), vec![2, 3, 16, 8]),
        ("conv4", toml("family = 'conv4'\nchannels = [5, 6, 7, 8]\ninput_size = [16, 32]"), vec![3, 3, 16, 32]),
        (
            "mlp-gelu",
            toml(
                "family = 'mlp'\ninputs = 10\nhidden = [7, 6, 4]\nactivation = 'gelu'\nactivation_before_head = false\nclasses = 3",
            ),
            vec![4, 10],
        ),
        (
            "mlp-silu",
            toml(
                "family = 'mlp'\ninputs = 10\nhidden = [7, 4]\nactivation = 'silu'\nactivation_before_head = false\nclasses = 3",
            ),
            vec![4, 10],
        ),
    ]
}

/// The networks with thousands of units.
const WIDE: [&str; 3] = ["resnet18", "resnet18-cifar", "wide-resnet28-4"];

/// Numbers in [0, 1) from a name and their positions, as `uniform` in `benches/peers/zoo.py`.
fn uniform(name: &str, count: usize) -> Vec<f64> {
    let seed = name.bytes().fold(0u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mixed = |index: usize| {
        let mut h = (index as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
        for _ in 0..2 {
            h = (h ^ (h >> 16)).wrapping_mul(0x45D_9F3B);
        }
        f64::from(h ^ (h >> 16)) / 2f64.powi(32)
    };
    (0..count).map(mixed).collect()
}

fn weight(name: &str, shape: &[usize]) -> Tensor {
    if name.ends_with("num_batches_tracked") {
        return Tensor::new(7i64, &Device::Cpu).unwrap();
    }
    let fan_in: usize = shape.iter().skip(1).product();
    let values = uniform(name, shape.iter().product()).into_iter().map(|u| match shape.len() {
        _ if name.ends_with("running_var") => 0.5 + u,
        2.. => (2.0 * u - 1.0) * (6.0 / fan_in as f64).sqrt(),
        _ if name.ends_with("weight") => 0.7 + 0.6 * u,
        _ => 0.3 * (2.0 * u - 1.0),
    });
    Tensor::from_vec(values.collect::<Vec<f64>>(), shape, &Device::Cpu).unwrap()
}

fn network(name: &str, architecture: &Architecture, shape: &[usize], dtype: DType) -> (Network, Tensor) {
    let network = Network::new(architecture, Initialisation::HeNormal, 3, dtype, &Device::Cpu).unwrap();
    let weights: HashMap<String, Tensor> =
        network.params().iter().map(|(name, known)| (name.to_owned(), weight(name, known.var.dims()))).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    candle_core::safetensors::save(&weights, file.path()).unwrap();
    network.params().load(file.path()).unwrap();
    let x: Vec<f64> = uniform(&format!("{name}/x"), shape.iter().product()).iter().map(|u| 2.0 * u - 1.0).collect();
    (network, Tensor::from_vec(x, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
}

#[test]
fn features_are_those_of_pytorch() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/zoo.safetensors");
    let expected = candle_core::safetensors::load(fixture, &Device::Cpu).unwrap();
    assert_eq!(nets().len(), expected.len());
    for (name, architecture, shape) in nets() {
        for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-5)] {
            let (network, x) = network(name, &architecture, &shape, dtype);
            let found = network.frozen().features(&x, &Pass::evaluation()).unwrap();
            assert_eq!(found.dims(), expected[name].dims(), "{name}");
            assert_close(name, &found, &expected[name], tolerance);
        }
    }
}

/// The features' complexity in f32 is within 1e-5 of that in f64, for the same weights. Of the 366,592 ReLUs of the wide networks rounding
/// decides none otherwise.
#[test]
fn single_precision_gives_the_complexity_of_double_precision() {
    for (name, architecture, shape) in nets() {
        let of = |dtype| {
            let (network, x) = network(name, &architecture, &shape, dtype);
            let map = network.frozen().feature_map(Pass::evaluation(), None).unwrap();
            let x = x.narrow(0, 0, 1).unwrap();
            GeometricComplexity::exact().by(Side::Rows).measure_inputs(&map, &x).unwrap().value
        };
        let (found, expected) = (of(DType::F32), of(DType::F64));
        assert!((found / expected - 1.0).abs() < 1e-5, "{name}: {found} against {expected}");
    }
}

/// Rows of the Jacobian come from reverse mode and columns from forward mode, which share no code above the kernels.
#[test]
fn forward_and_reverse_mode_agree_at_the_features_and_inside_blocks() {
    for (name, architecture, shape) in nets() {
        if WIDE.contains(&name) {
            continue; // The same blocks with thousands of inputs; the small networks cover them.
        }
        let (network, x) = network(name, &architecture, &shape, DType::F64);
        let x = x.narrow(0, 0, 1).unwrap();
        let inner =
            network.frozen().layer_names().into_iter().find(|layer| layer.contains("conv2") || layer == "features.4");
        for layer in [None, inner.as_deref()] {
            let map = network.frozen().feature_map(Pass::evaluation(), layer).unwrap();
            let by = |side| GeometricComplexity::exact().by(side).measure_inputs(&map, &x).unwrap().value;
            let (rows, columns) = (by(Side::Rows), by(Side::Columns));
            assert!((rows / columns - 1.0).abs() < 1e-10, "{name} {layer:?}: {rows} against {columns}");
        }
    }
}
