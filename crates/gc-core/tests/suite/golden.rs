//! Values and gradients against PyTorch's double backpropagation (see `tests/golden/README.md`).

use std::collections::HashMap;

use candle_core::{Tensor, Var};
use gc_core::{FeatureMap, GeometricComplexity, Penalty, Side};

use crate::support::{Activation, CPU, entries, perceptron, relative_difference, tracked};

/// Relative tolerances of values and of gradients.
const F64: (f64, f64) = (1e-12, 1e-9);
const F32: (f64, f64) = (1e-6, 1e-4);

struct Golden {
    values: HashMap<String, Tensor>,
    activation: Activation,
}

const PARAMETERS: [&str; 6] =
    ["embed.0.weight", "embed.0.bias", "embed.2.weight", "embed.2.bias", "embed.4.weight", "embed.4.bias"];

impl Golden {
    fn each(check: impl Fn(&Self, (f64, f64))) {
        for (kind, activation) in [("tanh", Activation::Tanh), ("relu", Activation::Relu)] {
            for (precision, tolerance) in [("f64", F64), ("f32", F32)] {
                let file = format!("{}/tests/golden/mlp_{kind}_{precision}.safetensors", env!("CARGO_MANIFEST_DIR"));
                let values = candle_core::safetensors::load(file, &CPU).unwrap();
                check(&Self { values, activation }, tolerance);
            }
        }
    }

    fn get(&self, name: &str) -> &Tensor {
        self.values.get(name).unwrap_or_else(|| panic!("no golden value {name}"))
    }

    fn map(&self) -> (Vec<Var>, impl FeatureMap) {
        let weights: Vec<Tensor> = PARAMETERS.iter().map(|name| self.get(&format!("param.{name}")).clone()).collect();
        let (variables, weights) = tracked(&weights);
        (variables, perceptron(weights, self.activation))
    }

    fn labels(&self) -> Vec<u32> {
        self.get("y").to_vec1::<i64>().unwrap().into_iter().map(|label| label as u32).collect()
    }
}

#[test]
fn exact_values_from_rows_and_from_columns() {
    Golden::each(|golden, (tolerance, _)| {
        let (_, map) = golden.map();
        let expected = entries(golden.get("gc_per_sample"));
        for side in [Side::Rows, Side::Columns] {
            let batch = (golden.get("x").clone(), golden.labels());
            let exact = GeometricComplexity::exact().by(side).per_sample().per_class();
            let estimate = exact.measure(&map, [Ok::<_, gc_core::Error>(batch)]).unwrap();
            assert!(relative_difference(&estimate.per_sample.unwrap(), &expected) < tolerance, "{side:?}");
            assert!(relative_difference(&[estimate.value], &entries(golden.get("mean_gc"))) < tolerance);
            for class in estimate.per_class.unwrap() {
                let labels = golden.labels();
                let members: Vec<f64> =
                    (0..7).filter(|&sample| labels[sample] == class.label).map(|sample| expected[sample]).collect();
                let mean = members.iter().sum::<f64>() / members.len() as f64;
                assert_eq!(class.samples, members.len());
                assert!((class.value / mean - 1.0).abs() < tolerance, "class {}", class.label);
            }
        }
    });
}

#[test]
fn features_and_both_derivatives() {
    Golden::each(|golden, (tolerance, _)| {
        let (_, map) = golden.map();
        let x = golden.get("x");
        let (features, tangent) = map.jvp(x, golden.get("jvp.tangent")).unwrap();
        assert!(relative_difference(&entries(&features), &entries(golden.get("embedding"))) < tolerance);
        assert!(relative_difference(&entries(&tangent), &entries(golden.get("jvp.out"))) < tolerance);
        // ‖Jᵀc‖² of the golden cotangent, computed by the penalty, which accepts any cotangents.
        let term = Penalty::exact().term_along(&map, x, &[golden.get("vjp.cotangent").clone()]).unwrap();
        let expected: Vec<f64> = entries(&golden.get("vjp.out").sqr().unwrap().sum(1).unwrap());
        assert!(relative_difference(&term.per_sample, &expected) < tolerance);
    });
}

/// The entries of all gradients, 0 for variables without a gradient.
fn gradients(loss: &Tensor, variables: &[Var]) -> Vec<f64> {
    let store = loss.backward().unwrap();
    let gradient = |variable: &Var| match store.get(variable) {
        Some(gradient) => entries(gradient),
        None => vec![0.0; variable.elem_count()],
    };
    variables.iter().flat_map(gradient).collect()
}

fn golden_gradients(golden: &Golden, kind: &str) -> Vec<f64> {
    PARAMETERS.iter().flat_map(|name| entries(golden.get(&format!("{kind}.{name}")))).collect()
}

#[test]
fn the_gradient_of_the_mean_with_respect_to_every_weight() {
    Golden::each(|golden, (value, gradient)| {
        let (variables, map) = golden.map();
        let term = Penalty::exact().term(&map, golden.get("x"), 0).unwrap();
        assert!(relative_difference(&entries(&term.loss), &entries(golden.get("mean_gc"))) < value);
        assert!(relative_difference(&term.per_sample, &entries(golden.get("gc_per_sample"))) < value);
        let got = gradients(&term.loss, &variables);
        assert!(relative_difference(&got, &golden_gradients(golden, "grad_gc")) < gradient);
    });
}

#[test]
fn the_gradient_of_an_estimate_with_given_probes() {
    Golden::each(|golden, (value, gradient)| {
        let (variables, map) = golden.map();
        let probes: Vec<Tensor> = (0..3).map(|probe| golden.get("hutch.probes").get(probe).unwrap()).collect();
        let penalty = Penalty::exact();
        let term = penalty.term_along(&map, golden.get("x"), &probes).unwrap();
        let got = gradients(&term.loss, &variables);
        assert!(relative_difference(&got, &golden_gradients(golden, "grad_hutch")) < gradient);
        for (probe, expected) in golden
            .get("hutch.per_sample")
            .to_dtype(candle_core::DType::F64)
            .unwrap()
            .to_vec2::<f64>()
            .unwrap()
            .iter()
            .enumerate()
        {
            let one = penalty.term_along(&map, golden.get("x"), &probes[probe..=probe]).unwrap();
            assert!(relative_difference(&one.per_sample, expected) < value);
        }
    });
}
