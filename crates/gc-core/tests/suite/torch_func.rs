//! A convolutional network and an attention block against `torch.func` (see `tests/golden/README.md`).

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use gc_core::{Error, GeometricComplexity, Penalty, Probe};

use crate::networks::{Attention, Cnn, Pooling};
use crate::support::{CPU, entries, relative_difference};

fn golden(name: &str) -> HashMap<String, Tensor> {
    let file = format!("{}/tests/golden/{name}_f64.safetensors", env!("CARGO_MANIFEST_DIR"));
    candle_core::safetensors::load(file, &CPU).unwrap()
}

/// The network that `build` makes, on variables with the golden weights.
fn trained<N>(golden: &HashMap<String, Tensor>, build: impl FnOnce(&VarBuilder) -> Result<N>) -> (VarMap, N) {
    let variables = VarMap::new();
    let network = build(&VarBuilder::from_varmap(&variables, DType::F64, &CPU)).unwrap();
    for (name, variable) in variables.data().lock().unwrap().iter() {
        variable.set(&golden[&format!("param.{name}")]).unwrap();
    }
    (variables, network)
}

/// Compares complexity, penalty and the gradient of the penalty, with these relative tolerances of values and of the gradient.
fn compare(
    golden: &HashMap<String, Tensor>,
    variables: &VarMap,
    map: &impl Fn(&Tensor) -> Result<Tensor>,
    (of_value, of_gradient): (f64, f64),
) {
    let close = |what: &str, found: &[f64], name: &str, tolerance: f64| {
        let difference = relative_difference(found, &entries(&golden[name]));
        assert!(difference < tolerance, "{what}: relative difference {difference:.2e}, allowed {tolerance:.0e}");
    };
    let x = &golden["x"];
    close("features", &entries(&map(x).unwrap()), "features", 1e-12);
    let exact = GeometricComplexity::exact().per_sample().measure_inputs(map, x).unwrap();
    close("samples", &exact.per_sample.unwrap(), "gc_per_sample", of_value);
    close("mean", &[exact.value], "mean_gc", of_value);
    // A block of as many orthogonal directions as features has no variance.
    let block = golden["features"].dims()[1];
    let probes = GeometricComplexity::projections(Probe::Orthogonal { block }, block);
    close("orthogonal probes", &[probes.measure_inputs(map, x).unwrap().value], "mean_gc", of_value.max(1e-10));

    let term = Penalty::exact().term(map, x, 0).unwrap();
    close("penalty", &[term.value], "mean_gc", of_value);
    let gradients = term.loss.backward().unwrap();
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for (name, variable) in variables.data().lock().unwrap().iter() {
        let Some(golden) = golden.get(&format!("grad_gc.{name}")) else { continue }; // running statistics
        expected.extend(entries(golden));
        found.extend(gradients.get(variable).map_or_else(|| vec![0.0; golden.elem_count()], entries));
    }
    let difference = relative_difference(&found, &expected);
    assert!(difference < of_gradient, "gradient: relative difference {difference:.2e}, allowed {of_gradient:.0e}");
}

#[test]
fn a_convolutional_network_of_candle_nn_equals_torch_func() {
    let golden = golden("cnn");
    let (variables, network) = trained(&golden, |builder| Cnn::new(builder, 3, 8, Pooling::Max));
    // The tangent of the penalty is a central difference.
    compare(&golden, &variables, &|x: &Tensor| network.features(x), (1e-12, 1e-6));
}

#[test]
fn an_attention_block_of_candle_nn_equals_torch_func() {
    let golden = golden("attention");
    let (variables, network) = trained(&golden, Attention::new);
    // The constants in the derivative of candle's `gelu` have six digits.
    compare(&golden, &variables, &|x: &Tensor| network.features(x), (1e-5, 1e-4));
}

#[test]
fn the_same_network_with_candles_own_pooling_is_refused_by_name() {
    let golden = golden("cnn");
    let (_, network) = trained(&golden, |builder| Cnn::new(builder, 3, 8, Pooling::CandleMax));
    let map = |x: &Tensor| network.features(x);
    for estimator in [GeometricComplexity::exact(), GeometricComplexity::projections(Probe::Rademacher, 2)] {
        let refused = estimator.measure_inputs(&map, &golden["x"]).unwrap_err();
        assert!(matches!(refused, Error::WrongDerivative { .. }), "{refused}");
        assert!(refused.to_string().contains("ops::nchw::max_pool2d"), "{refused}");
    }
    let refused = Penalty::projections(Probe::Rademacher, 1).term(&map, &golden["x"], 0).unwrap_err();
    assert!(matches!(refused, Error::WrongDerivative { .. }), "{refused}");
    // Trusted, the wrong gradient gives a value that is many times too small.
    let trusted = GeometricComplexity::exact().trust_derivatives().measure_inputs(&map, &golden["x"]).unwrap();
    assert!(trusted.value < 0.05 * entries(&golden["mean_gc"])[0], "{}", trusted.value);
}
