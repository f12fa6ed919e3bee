//! Whole networks against PyTorch: values, Jacobians, directional derivatives, gradients, SGD steps, batch norm.
//!
//! Tolerances are relative (norm of the difference over norm): 1e-10 in f64 and 1e-5 in f32 for values, 1e-9 and 1e-4
//! for gradients.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use candle_core::{DType, Tensor, Var};
use gc_core::FeatureMap;
use models::{Pass, ops};
use support::{Golden, assert_close, numbers};

fn gradient_tolerance(golden: &Golden) -> f64 {
    golden.tolerance * 10.0
}

#[test]
fn embeddings_and_logits() {
    for golden in Golden::all() {
        let view = golden.network.frozen();
        let features = view.features(golden.value("x"), &Pass::evaluation()).unwrap();
        assert_close(&golden.name, &features, golden.value("embedding"), golden.tolerance);
        let logits = view.logits(golden.value("x"), &Pass::evaluation()).unwrap();
        assert_close(&golden.name, &logits, golden.value("logits"), golden.tolerance);
    }
}

#[test]
fn jvp_and_vjp() {
    for golden in Golden::all() {
        let map = golden.network.frozen().feature_map(Pass::evaluation(), None).unwrap();
        let (features, tangent) = map.jvp(golden.value("x"), golden.value("jvp.tangent")).unwrap();
        assert_close(&golden.name, &features, golden.value("embedding"), golden.tolerance);
        assert_close(&golden.name, &tangent, golden.value("jvp.out"), golden.tolerance);

        let x = Var::from_tensor(golden.value("x")).unwrap();
        let inner = (map.features(&x).unwrap() * golden.value("vjp.cotangent")).unwrap().sum_all().unwrap();
        let vjp = inner.backward().unwrap().get(&x).unwrap().clone();
        assert_close(&golden.name, &vjp, golden.value("vjp.out"), golden.tolerance);
    }
}

#[test]
fn forward_and_reverse_mode_agree() {
    for golden in Golden::all() {
        let map = golden.network.frozen().feature_map(Pass::evaluation(), None).unwrap();
        let (_, ju) = map.jvp(golden.value("x"), golden.value("jvp.tangent")).unwrap();
        let left: f64 = numbers(&(ju * golden.value("vjp.cotangent")).unwrap()).iter().sum();
        let right: f64 = numbers(&(golden.value("vjp.out") * golden.value("jvp.tangent")).unwrap()).iter().sum();
        let tolerance = if golden.tolerance < 1e-9 { 1e-12 } else { 1e-5 };
        assert!((left - right).abs() <= tolerance * right.abs().max(1.0), "{}: {left} against {right}", golden.name);
    }
}

#[test]
fn exact_geometric_complexity_by_rows_and_columns() {
    for golden in Golden::all() {
        let map = golden.network.frozen().feature_map(Pass::evaluation(), None).unwrap();
        let expected = numbers(golden.value("gc_per_sample"));
        let by_rows = squared_rows(&map, golden.value("x"));
        let by_columns = squared_columns(&map, golden.value("x"));
        for (sample, expected) in expected.iter().enumerate() {
            for (route, found) in [("rows", by_rows[sample]), ("columns", by_columns[sample])] {
                let error = (found - expected).abs() / expected;
                assert!(error <= golden.tolerance, "{} sample {sample} by {route}: {error:e}", golden.name);
            }
        }
    }
}

/// Σ over rows of the Jacobian, one backward pass per feature.
fn squared_rows(map: &impl FeatureMap, x: &Tensor) -> Vec<f64> {
    let x = Var::from_tensor(x).unwrap();
    let features = map.features(&x).unwrap();
    let mut total = vec![0.0; x.dims()[0]];
    for feature in 0..features.dims()[1] {
        let gradients = features.narrow(1, feature, 1).unwrap().sum_all().unwrap().backward().unwrap();
        add_squares(&mut total, gradients.get(&x).unwrap());
    }
    total
}

/// Σ over columns of the Jacobian, one forward-mode pass per input coordinate.
fn squared_columns(map: &impl FeatureMap, x: &Tensor) -> Vec<f64> {
    let samples = x.dims()[0];
    let coordinates = x.elem_count() / samples;
    let mut total = vec![0.0; samples];
    for coordinate in 0..coordinates {
        let mut direction = vec![0.0; x.elem_count()];
        (0..samples).for_each(|sample| direction[sample * coordinates + coordinate] = 1.0);
        let direction = Tensor::from_vec(direction, x.shape(), x.device()).unwrap().to_dtype(x.dtype()).unwrap();
        add_squares(&mut total, &map.jvp(x, &direction).unwrap().1);
    }
    total
}

fn add_squares(total: &mut [f64], rows: &Tensor) {
    let values = numbers(rows);
    let width = values.len() / total.len();
    total.iter_mut().zip(values.chunks(width)).for_each(|(sum, row)| *sum += row.iter().map(|v| v * v).sum::<f64>());
}

#[test]
fn cross_entropy_and_its_gradients() {
    for golden in Golden::all() {
        let x = Var::from_tensor(golden.value("x")).unwrap();
        let logits = golden.network.tracked().logits(&x, &Pass::evaluation()).unwrap();
        let loss = ops::cross_entropy(&logits, &golden.labels(), 0.0).unwrap();
        assert_close(&golden.name, &loss, golden.value("ce"), golden.tolerance);
        let gradients = loss.backward().unwrap();
        assert_close(&golden.name, gradients.get(&x).unwrap(), golden.value("grad_ce_x"), gradient_tolerance(&golden));
        for (name, var) in golden.network.params().trainable() {
            let expected = golden.value(&format!("grad_ce.{name}"));
            assert_close(
                &format!("{} {name}", golden.name),
                gradients.get(var).unwrap(),
                expected,
                gradient_tolerance(&golden),
            );
        }
    }
}

/// ½‖Jᵀv‖² has the gradient ∇θ ⟨v, J u⟩ with u = Jᵀv held fixed: one backward pass.
#[test]
fn the_gradient_of_the_probe_estimate_needs_one_backward_pass() {
    for golden in Golden::all() {
        let probes = golden.value("hutch.probes");
        let (count, samples) = (probes.dims()[0], probes.dims()[1]);
        let mut terms = Vec::new();
        for probe in 0..count {
            let v = probes.get(probe).unwrap();
            terms.push(term(&golden, &v));
        }
        let scale = 2.0 / (count * samples) as f64;
        let total = (terms.into_iter().reduce(|a, b| (a + b).unwrap()).unwrap() * scale).unwrap();
        let gradients = total.backward().unwrap();
        for (name, var) in golden.network.params().trainable() {
            let expected = golden.value(&format!("grad_hutch.{name}"));
            let found = gradients.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
            assert_close(&format!("{} {name}", golden.name), &found, expected, gradient_tolerance(&golden));
        }
    }
}

fn term(golden: &Golden, v: &Tensor) -> Tensor {
    term_in(golden, v, &Pass::evaluation())
}

/// ⟨v, J u⟩ with u = Jᵀv held fixed, summed over the batch.
fn term_in(golden: &Golden, v: &Tensor, pass: &Pass) -> Tensor {
    let frozen = golden.network.frozen().feature_map(*pass, None).unwrap();
    let x = Var::from_tensor(golden.value("x")).unwrap();
    let u = (frozen.features(&x).unwrap() * v).unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
    let (_, tangent) = golden.network.tracked().features_jvp(golden.value("x"), &u, pass).unwrap();
    (tangent * v).unwrap().sum_all().unwrap()
}

/// The same gradient from residuals, in evaluation and in training mode, against candle's backward pass of ⟨v, J u⟩.
#[test]
fn the_penalty_from_residuals_has_the_gradient_of_the_graph() {
    for golden in Golden::all() {
        let probes = golden.value("hutch.probes");
        let cotangents: Vec<Tensor> = (0..probes.dims()[0]).map(|probe| probes.get(probe).unwrap()).collect();
        let map = golden.network.tracked().feature_map(Pass::evaluation(), None).unwrap();
        let penalty = gc_core::Penalty::projections(gc_core::Probe::Rademacher, 1);
        let term = penalty.term_along(&map, golden.value("x"), &cotangents).unwrap();
        let expected: f64 = numbers(golden.value("hutch.per_sample")).iter().sum::<f64>() / probes.elem_count() as f64
            * probes.dims()[2] as f64;
        assert!((term.value - expected).abs() <= golden.tolerance * expected, "{}", golden.name);
        let gradients = term.loss.backward().unwrap();
        for (name, var) in golden.network.params().trainable() {
            let expected = golden.value(&format!("grad_hutch.{name}"));
            let found = gradients.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
            assert_close(&format!("{} {name}", golden.name), &found, expected, gradient_tolerance(&golden));
        }

        let pass = Pass::training(0, 0).without_update();
        let map = golden.network.tracked().feature_map(pass, None).unwrap();
        let from_residuals = penalty.term_along(&map, golden.value("x"), &cotangents[..1]).unwrap();
        let from_residuals = from_residuals.loss.backward().unwrap();
        let scale = 2.0 / golden.value("x").dims()[0] as f64;
        let plain = (term_in(&golden, &cotangents[0], &pass) * scale).unwrap().backward().unwrap();
        for (name, var) in golden.network.params().trainable() {
            let zero = var.zeros_like().unwrap();
            let (found, expected) = (from_residuals.get(var).unwrap_or(&zero), plain.get(var).unwrap_or(&zero));
            // β of a batch norm in front of another has gradient zero up to rounding: its error is compared with the whole value.
            let distance = support::relative_distance(found, expected);
            let rounding = numbers(&(found - expected).unwrap()).iter().map(|d| d * d).sum::<f64>().sqrt();
            let tolerance = gradient_tolerance(&golden);
            assert!(
                distance <= tolerance || rounding <= tolerance * term.value,
                "{} {name}: {distance:e}",
                golden.name
            );
        }
    }
}

#[test]
fn the_gradient_of_mean_geometric_complexity_sums_over_basis_vectors() {
    for golden in Golden::all() {
        let (samples, features) = golden.value("embedding").dims2().unwrap();
        let dtype = golden.value("x").dtype();
        let mut total: Option<Tensor> = None;
        for feature in 0..features {
            let mut basis = vec![0.0; samples * features];
            (0..samples).for_each(|sample| basis[sample * features + feature] = 1.0);
            let v = Tensor::from_vec(basis, (samples, features), golden.value("x").device()).unwrap();
            let basis_term = term(&golden, &v.to_dtype(dtype).unwrap());
            total = Some(total.map_or_else(|| basis_term.clone(), |sum| (sum + &basis_term).unwrap()));
        }
        let mean = (total.unwrap() * (2.0 / samples as f64)).unwrap();
        let gradients = mean.backward().unwrap();
        for (name, var) in golden.network.params().trainable() {
            let expected = golden.value(&format!("grad_gc.{name}"));
            let found = gradients.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
            assert_close(&format!("{} {name}", golden.name), &found, expected, gradient_tolerance(&golden));
        }
    }
}

#[test]
fn a_training_mode_batch_norm_step() {
    for dtype in [DType::F64, DType::F32] {
        let golden = Golden::open("resnet_tiny", dtype);
        let logits = golden.network.tracked().logits(golden.value("x"), &Pass::training(0, 0)).unwrap();
        let loss = ops::cross_entropy(&logits, &golden.labels(), 0.0).unwrap();
        assert_close("loss", &loss, golden.value("bn_train.ce"), golden.tolerance);
        let gradients = loss.backward().unwrap();
        for (name, parameter) in golden.network.params().iter() {
            if parameter.role.is_trainable() {
                let expected = golden.value(&format!("bn_train.grad_ce.{name}"));
                assert_close(name, gradients.get(&parameter.var).unwrap(), expected, gradient_tolerance(&golden));
            } else {
                let expected = golden.value(&format!("bn_train.after.{name}"));
                assert_close(name, &parameter.var, expected, golden.tolerance);
            }
        }
    }
}

#[test]
fn a_forward_mode_pass_through_training_mode_batch_norm_matches_finite_differences() {
    let golden = Golden::open("resnet_tiny", DType::F64);
    let pass = Pass::training(0, 0).without_update();
    let view = golden.network.frozen();
    let (x, direction) = (golden.value("x"), golden.value("jvp.tangent"));
    let (_, tangent) = view.features_jvp(x, direction, &pass).unwrap();
    let step = 1e-7;
    let at = |sign: f64| view.features(&(x + (direction * (sign * step)).unwrap()).unwrap(), &pass).unwrap();
    let difference = ((at(1.0) - at(-1.0)).unwrap() / (2.0 * step)).unwrap();
    assert_close("tangent", &tangent, &difference, 1e-6);
}
