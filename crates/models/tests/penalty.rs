//! The penalty from residuals against the general implementation, which needs only a JVP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use candle_core::{DType, Device, Tensor, Var};
use gc_core::{FeatureMap, InputUnits, Penalty, Probe};
use models::{Architecture, Features, Initialisation, Network, Pass};

/// The same map with the penalty of any map that has a JVP.
struct General<'a>(Features<'a>);

impl FeatureMap for General<'_> {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        self.0.features(x)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> gc_core::Result<(Tensor, Tensor)> {
        self.0.jvp(x, dx)
    }

    fn has_jvp(&self) -> bool {
        true
    }

    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        self.0.frozen()
    }
}

/// Every gradient of the term, by name.
fn gradients(network: &Network, loss: &Tensor) -> Vec<(String, Vec<f64>)> {
    let store = loss.backward().unwrap();
    let entries = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let gradient = |(name, variable): (&str, &candle_core::Var)| {
        let zeros = || vec![0.0; variable.elem_count()];
        (name.to_string(), store.get(variable).map_or_else(zeros, entries))
    };
    network.params().trainable().map(gradient).collect()
}

#[test]
fn the_penalty_from_residuals_is_the_general_one() {
    let penalty = Penalty::projections(Probe::Rademacher, 2).seed(3);
    let pixels = InputUnits::Pixel { std: vec![0.2, 0.5, 0.3] };
    for name in ["vgg-small", "vgg11", "resnet18-cifar", "resnet50-cifar"] {
        let architecture = Architecture::named(name).unwrap().with_input(3, [36, 32]).with_classes(4).with_width(0.125);
        let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F64, &Device::Cpu).unwrap();
        let draws = streams::standard_normal(&mut streams::stream(2, "models/tests/penalty", 0), 3 * 3 * 36 * 32);
        let images = Tensor::from_vec(draws, (3, 3, 36, 32), &Device::Cpu).unwrap();
        for pass in [Pass::evaluation(), Pass::training(0, 0).without_update()] {
            for units in [InputUnits::Normalised, pixels.clone()] {
                let penalty = penalty.clone().units(units);
                let map = || network.tracked().feature_map(pass, None).unwrap();
                let short = penalty.term(&map(), &images, 5).unwrap();
                let general = penalty.term(&General(map()), &images, 5).unwrap();
                assert!((short.value / general.value - 1.0).abs() < 1e-10, "{name}: {} {}", short.value, general.value);
                let (short, general) = (gradients(&network, &short.loss), gradients(&network, &general.loss));
                // A bias in front of batch norm has gradient 0 up to rounding, so the error is relative to the gradient by all parameters.
                let scale: f64 = general.iter().flat_map(|(_, entries)| entries).map(|entry| entry * entry).sum();
                for ((parameter, short), (_, general)) in short.iter().zip(&general) {
                    let difference: f64 = short.iter().zip(general).map(|(a, b)| (a - b).powi(2)).sum();
                    assert!(difference <= 1e-20 * scale, "{name} {pass:?} {parameter}: {difference} of {scale}");
                }
            }
        }
    }
}

#[test]
fn vjps_are_those_of_the_graph() {
    for name in ["vgg-small", "vgg11_bn", "resnet18-cifar", "resnet50-cifar"] {
        let architecture = Architecture::named(name).unwrap().with_input(3, [36, 32]).with_classes(4).with_width(0.125);
        let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F64, &Device::Cpu).unwrap();
        let draw = |index: u64, shape: &[usize]| {
            let count = shape.iter().product();
            let draws = streams::standard_normal(&mut streams::stream(2, "models/tests/recorded", index), count);
            Tensor::from_vec(draws, shape, &Device::Cpu).unwrap()
        };
        let images = draw(0, &[3, 3, 36, 32]);
        for pass in [Pass::evaluation(), Pass::training(0, 0).without_update()] {
            let map = network.frozen().feature_map(pass, None).unwrap();
            let linearization = map.linearize(&images).unwrap().expect("a frozen view is linearized");
            let input = Var::from_tensor(&images).unwrap();
            let features = map.features(&input).unwrap();
            let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
            // Evaluation-mode batch norm is folded into the convolution, which changes the rounding.
            let difference = norm(&(linearization.features() - features.detach()).unwrap());
            assert!(difference <= 1e-13 * norm(&features), "{name} {pass:?}");
            for index in 1..3 {
                let cotangent = draw(index, features.dims());
                let store = (&features * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();
                let expected = store.get(&input).unwrap();
                let pulled = linearization.vjp(&cotangent).unwrap();
                assert_eq!(pulled.dims(), images.dims());
                assert!(norm(&(&pulled - expected).unwrap()) <= 1e-13 * norm(expected), "{name} {pass:?}");
            }
            let gc_core::ResidualBytes { total: all, largest } = linearization.bytes();
            assert!(largest > images.elem_count() * 8 / 3 && all > largest, "{name}: {all} and {largest}");
            // A map whose parameters are variables is measured through the graph, which finds them.
            assert!(network.tracked().feature_map(pass, None).unwrap().linearize(&images).unwrap().is_none());
        }
    }
}
