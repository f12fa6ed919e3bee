//! Neural collapse of every layer of every family of `models`, against its definition.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "../../models/tests/support/narrow_families.rs"]
#[allow(unreachable_pub, reason = "shared with the tests of another crate")]
mod narrow_families;

use std::collections::BTreeSet;

use assess::{LayerImages, LayerMeasures, LayerOptions, Network, Options};
use candle_core::{DType, Device, Tensor};
use gc_core::{GeometricComplexity, Probe};
use models::{Architecture, Initialisation, Pass};

const CLASSES: usize = 3;
const PER_CLASS: usize = 4;

/// Families that have no names of timm or torchvision, or only older ones.
const MORE: [(&str, &str, &[usize]); 3] = [
    (
        "wide_resnet",
        "family = 'wide_resnet'\ndepth = 10\nwiden_factor = 1\nbase_channels = 4\ninput_size = [12, 8]",
        &[1, 3, 12, 8],
    ),
    ("conv4", "family = 'conv4'\nchannels = [4, 4, 6, 6]\ninput_size = [16, 16]", &[1, 3, 16, 16]),
    ("mlp", "family = 'mlp'\ninputs = 10\nhidden = [7, 6]\nclasses = 3", &[1, 10]),
];

/// Images of one centre for each class, with noise of a twentieth of its size.
fn images(shape: &[usize], dtype: DType) -> (Tensor, Vec<u32>) {
    let labels: Vec<u32> = (0..CLASSES * PER_CLASS).map(|image| (image % CLASSES) as u32).collect();
    let size: usize = shape.iter().skip(1).product();
    let draw = |address: u64| streams::standard_normal(&mut streams::stream(1, "assess/families", address), size);
    let one = |(image, label): (usize, &u32)| -> Vec<f64> {
        let (centre, noise) = (draw(u64::from(*label)), draw(100 + image as u64));
        centre.iter().zip(noise).map(|(centre, noise)| centre + 0.05 * noise).collect()
    };
    let values: Vec<f64> = labels.iter().enumerate().flat_map(one).collect();
    let shape = [&[labels.len()], shape.get(1..).unwrap()].concat();
    (Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap(), labels)
}

/// None where an estimated squared distance is not positive; else the mean over pairs of classes of (V_a + V_b)/(2·(‖μ_a − μ_b‖² − V_a/n_a − V_b/n_b)) with variances of divisor n − 1.
fn by_definition(outputs: &Tensor, labels: &[u32]) -> Option<f64> {
    let rows: Vec<Vec<f64>> = outputs.to_dtype(DType::F64).unwrap().flatten_from(1).unwrap().to_vec2().unwrap();
    let count = PER_CLASS as f64;
    let of_class = |class: usize| {
        let rows: Vec<&Vec<f64>> =
            rows.iter().zip(labels).filter(|(_, label)| **label as usize == class).map(|(row, _)| row).collect();
        let mean: Vec<f64> = (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / count).collect();
        let squares: f64 = rows.iter().flat_map(|row| row.iter().zip(&mean).map(|(x, mean)| (x - mean).powi(2))).sum();
        (mean, squares / (count - 1.0))
    };
    let classes: Vec<_> = (0..CLASSES).map(of_class).collect();
    let mut values = Vec::new();
    for (index, (mean, variance)) in classes.iter().enumerate() {
        for (other, of_other) in &classes[..index] {
            let apart: f64 = mean.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum();
            let distance = apart - (variance + of_other) / count;
            if distance <= 0.0 {
                return None;
            }
            values.push((variance + of_other) / (2.0 * distance));
        }
    }
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

#[test]
fn collapse_of_every_layer_of_every_family() {
    let mut seen = BTreeSet::new();
    for (name, text, shape) in narrow_families::NETS.into_iter().chain(MORE) {
        let architecture = Architecture::from_toml(text).unwrap();
        seen.insert(architecture.family_name());
        let mut collapses = Vec::new();
        for dtype in [DType::F64, DType::F32] {
            let network =
                models::Network::new(&architecture, Initialisation::HeNormal, 3, dtype, &Device::Cpu).unwrap();
            let view = network.frozen();
            let (x, labels) = images(shape, dtype);
            // A layer inside the windows of a Swin has a row for each window, and is refused.
            let all = view.layer_names();
            let outputs = view.features_at_each(&x, &all, &Pass::evaluation()).unwrap();
            let each_image = |(_, outputs): &(String, Tensor)| outputs.dims()[0] == labels.len();
            let (names, outputs): (Vec<_>, Vec<_>) = all.into_iter().zip(outputs).filter(each_image).unzip();
            let train = vec![(x.clone(), labels.clone())];
            let layers = LayerOptions { names: names.clone(), head: "ncm".parse().unwrap(), most_episodes: 1 };
            // Complexity has a test of its own in `models`.
            let few_passes = GeometricComplexity::projections(Probe::Rademacher, 1).trust_derivatives();
            let one_image = vec![(x.narrow(0, 0, 1).unwrap(), labels[..1].to_vec())];
            let options = Options::default().with_complexity(few_passes).with_layers(layers);
            let given = LayerImages::new(&train, &one_image, &train);
            let measured = LayerMeasures::of(&Network::of_view(view).unwrap(), &given, CLASSES, &options).unwrap();
            assert_eq!(measured.len(), names.len());
            for ((measures, layer), outputs) in measured.iter().zip(&names).zip(&outputs) {
                let (found, expected) = (measures.nc_unbiased.value, by_definition(outputs, &labels));
                // The moments are accumulated in f64, from outputs of either dtype.
                let close = |(found, expected): (f64, f64)| (found / expected - 1.0).abs() < 1e-6;
                let agree = found.is_some() == expected.is_some() && found.zip(expected).is_none_or(close);
                assert!(agree, "{name}, {layer}, {dtype:?}: {found:?}, {expected:?}");
            }
            collapses.push(measured.into_iter().map(|measures| measures.nc_unbiased.value).collect::<Vec<_>>());
        }
        let [double, single] = collapses.try_into().unwrap();
        assert!(double.iter().flatten().count() > 2, "{name}");
        for (double, single) in double.into_iter().zip(single).filter_map(|(double, single)| double.zip(single)) {
            assert!((single / double - 1.0).abs() < 1e-2, "{name}: {single} in f32, {double} in f64");
        }
    }
    // Every family of the crate but the one for a user's own layers.
    assert_eq!(seen.len(), 16, "{seen:?}");
}
