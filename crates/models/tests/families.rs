//! Families with timm's and torchvision's names: features, logits and exact geometric complexity of narrow networks against PyTorch,
//! for weights that both sides compute by the same formula. `golden/families.py` states what the fixture holds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "support/narrow_families.rs"]
#[allow(unreachable_pub, reason = "shared with the tests of another crate")]
mod narrow_families;
mod support;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use gc_core::{GeometricComplexity, Probe, Side};
use models::train::Gradients;
use models::{Architecture, Error, Initialisation, Network, Pass};
use narrow_families::NETS;
use support::{assert_close, labelled, numbers};

/// Numbers in [0, 1) from a name and their positions, as `uniform` in `golden/families.py`.
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

fn network(name: &str, text: &str, shape: &[usize], dtype: DType) -> (Network, Tensor) {
    let architecture = Architecture::from_toml(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let network = Network::new(&architecture, Initialisation::HeNormal, 3, dtype, &Device::Cpu).unwrap();
    let weights: HashMap<String, Tensor> =
        network.params().iter().map(|(name, known)| (name.to_owned(), weight(name, known.var.dims()))).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    candle_core::safetensors::save(&weights, file.path()).unwrap();
    network.params().load(file.path()).unwrap();
    let x: Vec<f64> = uniform(&format!("{name}/x"), shape.iter().product()).iter().map(|u| 2.0 * u - 1.0).collect();
    (network, Tensor::from_vec(x, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
}

fn fixture() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/families.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

#[test]
fn state_dicts_have_the_names_of_timm_and_torchvision() {
    let expected = fixture();
    for (name, text, shape) in NETS {
        let (network, _) = network(name, text, shape, DType::F64);
        let bytes: Vec<u8> = expected[&format!("{name}.names")].to_vec1().unwrap();
        let theirs: Vec<String> = String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
        let ours: Vec<&str> = network.params().names().collect();
        assert_eq!(ours, theirs, "{name}");
    }
}

/// Features and logits to 1e-10 in f64 and 1e-5 in f32, exact geometric complexity to 1e-9 and 1e-5, all relative.
#[test]
fn features_and_complexity_are_those_of_pytorch() {
    let expected = fixture();
    assert_eq!(expected.len(), 4 * NETS.len());
    for (name, text, shape) in NETS {
        for (dtype, tolerance, of_gc) in [(DType::F64, 1e-10, 1e-9), (DType::F32, 1e-5, 1e-5)] {
            let (network, x) = network(name, text, shape, dtype);
            let (view, pass) = (network.frozen(), Pass::evaluation());
            let features = view.features(&x, &pass).unwrap();
            assert_close(name, &features, &expected[&format!("{name}.features")], tolerance);
            assert_close(name, &view.logits(&x, &pass).unwrap(), &expected[&format!("{name}.logits")], tolerance);
            let map = view.feature_map(pass, None).unwrap();
            let found = GeometricComplexity::exact().by(Side::Rows).measure_inputs(&map, &x).unwrap().value;
            let gc = numbers(&expected[&format!("{name}.gc")])[0];
            assert!((found / gc - 1.0).abs() < of_gc, "{name} in {dtype:?}: GC {found} against {gc}");
        }
    }
}

/// Complexity and features of every layer: f32 within 1e-4 of f64 for the same probes, and vectors of finite numbers. Layers inside the
/// windows of a Swin have a row for each window, not for each sample, and are refused.
#[test]
fn every_layer_of_every_family_is_measured() {
    for (name, text, shape) in NETS {
        let of = |dtype: DType| {
            let (network, x) = network(name, text, shape, dtype);
            let (view, pass) = (network.frozen(), Pass::evaluation());
            let layers = view.layer_names();
            let features = view.features_at_each(&x, &layers, &pass).unwrap();
            let measure = |(layer, features): (&String, &Tensor)| {
                assert!(numbers(features).iter().all(|value| value.is_finite()), "{name}, {layer}");
                let map = view.feature_map(pass, Some(layer)).unwrap();
                let measured = GeometricComplexity::projections(Probe::Rademacher, 2).measure_inputs(&map, &x);
                if features.dims()[0] != 2 {
                    assert!(name == "swin" && measured.is_err(), "{name}, {layer}");
                    return None;
                }
                Some((layer.clone(), measured.unwrap().value))
            };
            layers.iter().zip(&features).filter_map(measure).collect::<Vec<_>>()
        };
        let (double, single) = (of(DType::F64), of(DType::F32));
        assert!(double.iter().filter(|(_, value)| *value > 0.0).count() > 2, "{name}");
        for ((layer, expected), (_, found)) in double.into_iter().zip(single) {
            // All ReLUs of a narrow squeeze can be off: the complexity is 0 then, in both dtypes.
            assert!((found - expected).abs() <= 1e-4 * expected, "{name}, {layer}: {found}, {expected}");
        }
    }
}

/// Rows of the Jacobian come from reverse mode and columns from forward mode.
#[test]
fn forward_and_reverse_mode_agree() {
    for (name, text, shape) in NETS {
        if shape.iter().skip(1).product::<usize>() > 1000 {
            continue; // Thousands of columns; the other networks have the same layers.
        }
        let (network, x) = network(name, text, shape, DType::F64);
        let x = x.narrow(0, 0, 1).unwrap();
        let map = network.frozen().feature_map(Pass::evaluation(), None).unwrap();
        let by = |side| GeometricComplexity::exact().by(side).measure_inputs(&map, &x).unwrap().value;
        let (rows, columns) = (by(Side::Rows), by(Side::Columns));
        assert!((rows / columns - 1.0).abs() < 1e-10, "{name}: {rows} against {columns}");
    }
}

/// The gradients of the loss in training mode against candle's graph.
#[test]
fn gradients_of_a_loss_are_those_of_the_graph() {
    for (name, text, shape) in NETS {
        let (by_tape, images) = network(name, text, shape, DType::F64);
        let labels = Tensor::new(&[0u32, 3], &Device::Cpu).unwrap();
        let pass = Pass::training(5, 2);
        let (loss, found) = Gradients::of_loss(&by_tape, &labelled(&images, &labels, 0.1), &pass).unwrap();
        let (by_graph, _) = network(name, text, shape, DType::F64);
        let logits = by_graph.tracked().logits(&images, &pass).unwrap();
        let expected_loss = ops_cross_entropy(&logits, &labels);
        let value = numbers(&expected_loss)[0];
        assert!((loss - value).abs() <= 1e-11 * value, "{name}: {loss} against {value}");
        let expected = Gradients::of(by_graph.params(), &expected_loss.backward().unwrap()).unwrap();
        for (parameter, _) in by_tape.params().trainable() {
            let (Some(found), Some(expected)) = (found.get(parameter), expected.get(parameter)) else {
                panic!("{name}: no gradient by {parameter}");
            };
            // A bias in front of batch norm has the gradient 0 up to rounding.
            let norm = numbers(expected).iter().map(|value| value * value).sum::<f64>().sqrt();
            if norm > 1e-7 {
                assert_close(&format!("{name}: {parameter}"), found, expected, 1e-9);
            }
        }
    }
}

fn ops_cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    models::ops::cross_entropy(logits, labels, 0.1).unwrap()
}

#[test]
fn known_names_build_their_sizes() {
    // Parameters as timm and torchvision count them; statistics are not counted.
    for (name, parameters) in [
        ("vit_tiny_patch16_224", 5_717_416),
        ("deit_small_patch16_224", 22_050_664),
        ("swin_tiny_patch4_window7_224", 28_288_354),
        ("convnext_atto", 3_695_520),
        ("mixer_s16_224", 18_528_264),
        ("mobilenet_v2", 3_504_872),
        ("mobilenet_v3_small", 2_542_856),
        ("mobilenet_v3_large", 5_483_032),
        ("efficientnet_b0", 5_288_548),
        ("densenet121", 7_978_856),
        ("regnet_x_400mf", 5_495_976),
        ("regnet_y_400mf", 4_344_144),
        ("resnext50_32x4d", 25_028_904),
        ("resnet18d", 11_708_744),
    ] {
        let architecture = Architecture::named(name).unwrap();
        assert_eq!(Architecture::from_toml(&architecture.to_toml().unwrap()).unwrap(), architecture);
        let network = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(network.params().trainable_count(), parameters, "{name}");
    }
    for name in Architecture::names() {
        let architecture = Architecture::named(name).unwrap();
        assert!(!architecture.with_width(0.25).to_toml().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn impossible_sizes_are_errors() {
    let build = |text: &str| {
        let architecture = Architecture::from_toml(text).unwrap();
        Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu).map(|_| ())
    };
    let vit = "family = 'vit'\npatch = 4\nwidth = 12\ndepth = 1\ninput_size = [8, 12]\nclasses = 5\n";
    let heads = build(&format!("{vit}heads = 5")).unwrap_err();
    assert!(matches!(heads, Error::Setting { name: "heads", .. }));
    assert!(heads.to_string().contains("5 for a width of 12"), "{heads}");
    let patch = build(&vit.replace("patch = 4", "patch = 5\nheads = 3"));
    assert!(matches!(patch, Err(Error::Setting { name: "patch", .. })));
    let stages = build("family = 'convnext'\nchannels = [4, 6]\nblocks = [1]\ninput_size = [32, 32]");
    assert!(matches!(stages, Err(Error::Setting { name: "channels", .. })));
    let window = build("family = 'swin'\nwidth = 6\nblocks = [1]\nheads = [2]\nwindow = 3\ninput_size = [32, 48]");
    assert!(matches!(window, Err(Error::Setting { name: "window", .. })));
    let groups = build("family = 'resnet'\ngroups = 2\nstages = [{ channels = 4, blocks = 1, stride = 1 }]");
    assert!(matches!(groups, Err(Error::Setting { name: "groups", .. })));
    let depth = build(&format!("{vit}heads = 3\nstochastic_depth = 1.0"));
    assert!(matches!(depth, Err(Error::Setting { name: "dropout", .. })));
}
