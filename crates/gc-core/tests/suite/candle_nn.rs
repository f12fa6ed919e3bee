//! Networks of candle-nn, built as users build them.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use candle_nn::{Linear, Module, VarBuilder, VarMap};
use gc_core::{GeometricComplexity, check_derivatives, frozen_weights};

use crate::support::{CPU, entries};

/// The golden perceptron up to its features, of candle-nn's layers.
struct Perceptron(Linear, Linear, Linear);

impl Perceptron {
    fn new(builder: &VarBuilder) -> candle_core::Result<Self> {
        let embed = builder.pp("embed");
        Ok(Self(
            candle_nn::linear(6, 8, embed.pp("0"))?,
            candle_nn::linear(8, 8, embed.pp("2"))?,
            candle_nn::linear(8, 5, embed.pp("4"))?,
        ))
    }

    fn features(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.2.forward(&self.1.forward(&self.0.forward(x)?.tanh()?)?.tanh()?)
    }
}

fn golden() -> HashMap<String, Tensor> {
    let file = format!("{}/tests/golden/mlp_tanh_f64.safetensors", env!("CARGO_MANIFEST_DIR"));
    candle_core::safetensors::load(file, &CPU).unwrap()
}

#[test]
fn a_network_of_candle_nn_has_the_golden_complexity() {
    let golden = golden();
    let weights =
        golden.iter().filter_map(|(name, value)| Some((name.strip_prefix("param.")?.to_owned(), value.clone())));
    let network = Perceptron::new(&VarBuilder::from_tensors(weights.collect(), DType::F64, &CPU)).unwrap();
    let map = |x: &Tensor| network.features(x);
    let exact = GeometricComplexity::exact().measure_inputs(&map, &golden["x"]).unwrap();
    assert!((exact.value / entries(&golden["mean_gc"])[0] - 1.0).abs() < 1e-12);
    check_derivatives(&map, &golden["x"], 0).unwrap().require(1e-6).unwrap();
}

#[test]
fn a_network_in_training_is_measured_with_and_without_frozen_weights() {
    let variables = VarMap::new();
    let trained = Perceptron::new(&VarBuilder::from_varmap(&variables, DType::F64, &CPU)).unwrap();
    let x = &golden()["x"];
    let tracked = GeometricComplexity::exact().measure_inputs(&|x: &Tensor| trained.features(x), x).unwrap();
    assert_eq!(tracked.tracked_weights.unwrap().count, 6);
    let frozen = frozen_weights(&variables.data().lock().unwrap());
    let network = Perceptron::new(&VarBuilder::from_tensors(frozen, DType::F64, &CPU)).unwrap();
    let measure = || {
        let map = |x: &Tensor| network.features(x);
        GeometricComplexity::exact().measure_inputs(&map, x).unwrap().value
    };
    let before = measure();
    assert_eq!(before, tracked.value);
    // If the weights of the last layer double, the Jacobian doubles, and the complexity is multiplied by 4.
    for (name, variable) in variables.data().lock().unwrap().iter().filter(|(name, _)| name.starts_with("embed.4")) {
        variable.set(&(variable.as_tensor() * 2.0).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!((measure() / before / 4.0 - 1.0).abs() < 1e-12);
}
