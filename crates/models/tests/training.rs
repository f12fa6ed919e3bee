//! Training: PyTorch's SGD steps with L2 and the GC penalty, bit-identity for any number of threads, divergence.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use gc_core::Penalty;
use models::train::{Fit, FitOutcome, GcPenalty, Gradients, OptimizerState, Progress, Sgd};
use models::{Architecture, Error, Initialisation, Network, Pass, ops};
use support::{Golden, assert_close, numbers};

/// Three steps on cross-entropy + 0.01·GC with L2 0.001 and rate 0.05, evaluation-mode batch norm.
#[test]
fn three_steps_with_l2_and_the_exact_penalty() {
    for golden in Golden::all() {
        let optimizer = Sgd { l2: 0.001, ..Sgd::new(0.05) };
        let tolerance = if golden.tolerance < 1e-9 { 1e-9 } else { 1e-4 };
        for step in 0..3 {
            let map = golden.network.tracked().feature_map(Pass::evaluation(), None).unwrap();
            let term = Penalty::exact().term(&map, golden.value("x"), step).unwrap();
            let logits = golden.network.tracked().head(&term.features, &Pass::evaluation()).unwrap();
            let loss = ops::cross_entropy(&logits, &golden.labels(), 0.0).unwrap();
            let total = (loss + (term.loss * 0.01).unwrap().to_dtype(golden.value("x").dtype()).unwrap()).unwrap();
            let expected = numbers(golden.value("sgd3_loss"))[step as usize];
            assert!((numbers(&total)[0] - expected).abs() <= tolerance * expected, "{} step {step}", golden.name);
            let gradients = Gradients::of(golden.network.params(), &total.backward().unwrap()).unwrap();
            optimizer.step(golden.network.params(), &gradients, 1.0, &mut OptimizerState::default()).unwrap();
        }
        for (name, var) in golden.network.params().trainable() {
            let expected = golden.value(&format!("sgd3.{name}"));
            assert_close(&format!("{} {name}", golden.name), var, expected, tolerance);
        }
    }
}

/// Momentum and Nesterov by hand on one weight w with loss ½(w·1)²: PyTorch's recurrences.
#[test]
fn momentum_and_nesterov_follow_their_recurrences() {
    for nesterov in [false, true] {
        let golden = Golden::open("mlp_tanh", DType::F64);
        let sgd = Sgd { momentum: 0.9, nesterov, l2: 0.01, ..Sgd::new(0.1) };
        let name = "head.bias";
        let var = golden.network.params().get(name).unwrap().var.clone();
        let mut w = numbers(&var);
        let mut v: Vec<f64> = vec![0.0; w.len()];
        let mut state = OptimizerState::default();
        for _ in 0..4 {
            // The loss ½‖b‖² has gradient b.
            let loss = (var.as_tensor().sqr().unwrap().sum_all().unwrap() * 0.5).unwrap();
            let gradients = Gradients::of(golden.network.params(), &loss.backward().unwrap()).unwrap();
            sgd.step(golden.network.params(), &gradients, 1.0, &mut state).unwrap();
            for (w, v) in w.iter_mut().zip(&mut v) {
                let g = *w + 0.01 * *w;
                *v = 0.9 * *v + g;
                *w -= 0.1 * if nesterov { g + 0.9 * *v } else { *v };
            }
        }
        for (found, expected) in numbers(&var).iter().zip(&w) {
            assert!((found - expected).abs() < 1e-14, "nesterov {nesterov}: {found} against {expected}");
        }
    }
}

fn network() -> Network {
    let architecture = Architecture::named("vgg-small").unwrap().with_input(1, [16, 16]).with_classes(3);
    Network::new(&architecture, Initialisation::HeNormal, 4, DType::F32, &Device::Cpu).unwrap()
}

fn batch(step: u64) -> candle_core::Result<(Tensor, Tensor)> {
    let draws = streams::standard_normal(&mut streams::stream(1, "tests/batch", step), 8 * 256);
    let images = Tensor::from_vec(draws, (8, 1, 16, 16), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::new((0..8).map(|i| (i % 3) as u32).collect::<Vec<_>>(), &Device::Cpu)?;
    Ok((images, labels))
}

fn train(fit: &Fit) -> (Vec<f64>, Vec<f64>) {
    let network = network();
    let mut losses = Vec::new();
    fit.run(&network, &mut Progress::default(), &mut batch, |_, seen| {
        losses.extend(seen.loss);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    (losses, network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect())
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let fit = Fit::new(5, Sgd { momentum: 0.9, l2: 1e-3, ..Sgd::new(0.05) });
    let reference = train(&fit);
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| train(&fit)), reference, "{threads} threads");
    }
}

#[test]
fn stopping_and_continuing_changes_nothing() {
    let fit = Fit::new(6, Sgd { momentum: 0.9, ..Sgd::new(0.05) });
    let (_, expected) = train(&fit);
    let network = network();
    let mut progress = Progress::default();
    let stop_at = |at: u64| {
        move |_: &Network, seen: models::train::Observation| {
            Ok(if seen.step == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        }
    };
    let outcome = fit.run(&network, &mut progress, &mut batch, stop_at(2)).unwrap();
    assert_eq!(outcome, FitOutcome::Stopped { step: 2 });
    assert_eq!(fit.run(&network, &mut progress, &mut batch, stop_at(9)).unwrap(), FitOutcome::Finished);
    let found: Vec<f64> = network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect();
    assert_eq!(found, expected);
}

#[test]
fn l2_never_changes_running_statistics() {
    let network = network();
    let before = numbers(&network.params().get("features.1.running_var").unwrap().var);
    let images = batch(0).unwrap().0;
    let loss = network.tracked().logits(&images, &Pass::training(0, 0).without_update()).unwrap().sum_all().unwrap();
    let sgd = Sgd { l2: 0.5, momentum: 0.9, ..Sgd::new(0.1) };
    let gradients = Gradients::of(network.params(), &loss.backward().unwrap()).unwrap();
    sgd.step(network.params(), &gradients, 1.0, &mut OptimizerState::default()).unwrap();
    assert_eq!(numbers(&network.params().get("features.1.running_var").unwrap().var), before);
}

/// The penalty lowers the complexity, updates the running statistics once per step, and draws new probes from the seed.
#[test]
fn a_penalised_run_ends_with_lower_complexity() {
    let run = |strength: f64| {
        let estimator = Penalty::projections(gc_core::Probe::Rademacher, 1).seed(7);
        let fit = Fit { penalty: Some(GcPenalty { strength, estimator }), ..Fit::new(15, Sgd::new(0.05)) };
        let network = network();
        let mut complexity = Vec::new();
        fit.run(&network, &mut Progress::default(), &mut batch, |_, seen| {
            complexity.extend(seen.penalised_complexity);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        let batches = numbers(&network.params().get("features.1.num_batches_tracked").unwrap().var);
        assert_eq!(batches, [15.0]);
        complexity
    };
    let (without, with) = (run(0.0), run(0.01));
    assert_eq!(run(0.01), with);
    assert_eq!(without[0], with[0], "the first step has the same probes and weights");
    assert!(with[14] < 0.7 * without[14], "{} against {}", with[14], without[14]);
}

#[test]
fn divergence_ends_a_run_and_reports_the_step() {
    let outcome = Fit::new(50, Sgd::new(1e6))
        .run(&network(), &mut Progress::default(), &mut batch, |_, _| Ok(ControlFlow::Continue(())))
        .unwrap();
    let FitOutcome::Diverged { step, loss } = outcome else { panic!("{outcome:?}") };
    assert!(step >= 1 && (!loss.is_finite() || loss > 1e3), "{step} {loss}");
}

#[test]
fn invalid_settings_are_refused_by_name() {
    let run = |fit: Fit| {
        let mut progress = Progress::default();
        fit.run(&network(), &mut progress, &mut batch, |_, _| Ok(ControlFlow::Continue(()))).unwrap_err().to_string()
    };
    assert!(run(Fit::new(0, Sgd::new(0.1))).contains("steps is 0"));
    assert!(run(Fit::new(1, Sgd::new(-0.1))).contains("learning rate is -0.1"));
    assert!(run(Fit::new(1, Sgd { momentum: 1.0, ..Sgd::new(0.1) })).contains("momentum is 1"));
    assert!(run(Fit::new(1, Sgd { l2: f64::NAN, ..Sgd::new(0.1) })).contains("l2 is NaN"));
}

mod weights {
    use super::*;

    fn saved() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        network().params().save(&path).unwrap();
        (folder, path)
    }

    fn rewrite(path: &std::path::Path, change: impl Fn(&mut std::collections::HashMap<String, Tensor>)) {
        let mut tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        change(&mut tensors);
        candle_core::safetensors::save(&tensors, path).unwrap();
    }

    #[test]
    fn survive_a_round_trip() {
        let (_folder, path) = saved();
        let architecture = network().architecture().clone();
        let other = Network::new(&architecture, Initialisation::Pytorch, 9, DType::F32, &Device::Cpu).unwrap();
        other.params().load(&path).unwrap();
        for ((name, a), (_, b)) in network().params().iter().zip(other.params().iter()) {
            assert_eq!(numbers(&a.var), numbers(&b.var), "{name}");
        }
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no part file is left");
    }

    #[test]
    fn of_another_shape_are_refused_with_every_difference() {
        let (_folder, path) = saved();
        rewrite(&path, |tensors| {
            tensors.remove("features.0.bias");
            tensors.insert("extra".into(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
            tensors.insert("classifier.weight".into(), Tensor::zeros((7, 2), DType::F32, &Device::Cpu).unwrap());
        });
        let before = numbers(&network().params().get("features.4.weight").unwrap().var);
        let network = network();
        let error = network.params().load(&path).unwrap_err();
        let Error::Weights { report, .. } = &error else { panic!("{error}") };
        assert_eq!(
            (report.missing[0].name.as_str(), report.missing[0].shape.as_slice()),
            ("features.0.bias", &[8][..])
        );
        assert_eq!((report.unexpected[0].name.as_str(), report.unexpected[0].shape.as_slice()), ("extra", &[1][..]));
        assert_eq!((report.missing.len(), report.unexpected.len()), (1, 1));
        assert_eq!(report.misshapen.len(), 1);
        assert_eq!(numbers(&network.params().get("features.4.weight").unwrap().var), before, "nothing was changed");
        assert!(error.to_string().contains("`classifier.weight` is [7, 2] where [3, 32] is expected"), "{error}");
    }

    /// The body of a trained network with a new head, in half precision as files of the Hub often are.
    #[test]
    fn of_another_head_are_read_where_they_match() {
        let (_folder, path) = saved();
        rewrite(&path, |tensors| {
            tensors.values_mut().filter(|tensor| tensor.dtype() == DType::F32).for_each(|tensor| {
                *tensor = tensor.to_dtype(DType::BF16).unwrap();
            });
        });
        let other = network().architecture().clone().with_classes(5);
        let other = Network::new(&other, Initialisation::Pytorch, 9, DType::F32, &Device::Cpu).unwrap();
        let before = numbers(&other.params().get("classifier.weight").unwrap().var);
        let report = other.params().load_matching(&path).unwrap();
        let misshapen: Vec<&str> = report.misshapen.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(misshapen, ["classifier.bias", "classifier.weight"]);
        assert!(report.missing.is_empty() && report.unexpected.is_empty());
        assert_eq!(numbers(&other.params().get("classifier.weight").unwrap().var), before);
        for (name, parameter) in other.params().iter().filter(|(name, _)| !name.starts_with("classifier")) {
            let stored = network().params().get(name).unwrap().var.to_dtype(DType::BF16).unwrap();
            assert_eq!(numbers(&parameter.var), numbers(&stored.to_dtype(DType::F32).unwrap()), "{name}");
        }
        // A file in which nothing fits belongs to another network.
        rewrite(&path, |tensors| *tensors = [("a".into(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap())].into());
        assert!(matches!(other.params().load_matching(&path), Err(Error::Weights { .. })));
    }

    #[test]
    fn with_nan_cut_short_or_absent_are_refused() {
        let (_folder, path) = saved();
        let load = || network().params().load(&path).unwrap_err();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(load(), Error::SafeTensors { .. }));
        std::fs::write(&path, &whole).unwrap();
        rewrite(&path, |tensors| {
            tensors.insert("features.0.bias".into(), Tensor::full(f32::NAN, 8, &Device::Cpu).unwrap());
        });
        assert!(matches!(load(), Error::NonFiniteWeights { count: 8, .. }));
        for (start, part) in [
            (b"\x80\x02 and so on".as_slice(), "pickle"),
            (b"\x89HDF\r\n and so on", "HDF5"),
            (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        ] {
            std::fs::write(&path, start).unwrap();
            let error = load();
            assert!(matches!(error, Error::WeightsFormat { .. }) && error.to_string().contains(part), "{error}");
        }
        let yes = safetensors::tensor::TensorView::new(safetensors::Dtype::BOOL, vec![2], &[1, 0]).unwrap();
        std::fs::write(&path, safetensors::serialize([("mask", yes)], None).unwrap()).unwrap();
        match load() {
            Error::WeightsNumbers { tensor, stored, .. } => {
                assert_eq!((tensor.as_str(), stored.as_str()), ("mask", "BOOL"))
            }
            other => panic!("{other}"),
        }
        // Whole numbers are quantised weights, whose scales are stored elsewhere.
        std::fs::write(&path, &whole).unwrap();
        rewrite(&path, |tensors| {
            tensors.insert("features.0.bias".into(), Tensor::zeros(8, DType::U8, &Device::Cpu).unwrap());
        });
        match load() {
            Error::WeightsNumbers { tensor, stored, .. } => {
                assert_eq!((tensor.as_str(), stored.as_str()), ("features.0.bias", "u8"))
            }
            other => panic!("{other}"),
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(load(), Error::Io { .. }));
        let nowhere = path.join("no/such/folder/weights.safetensors");
        assert!(matches!(network().params().save(nowhere).unwrap_err(), Error::Io { .. }));
    }
}

#[test]
fn a_parameter_starts_the_same_whatever_is_built_before_it() {
    let small = network();
    let architecture = Architecture::named("vgg11").unwrap().with_width(0.125).with_input(1, [32, 32]);
    let large = Network::new(&architecture, Initialisation::HeNormal, 4, DType::F32, &Device::Cpu).unwrap();
    let weight = |network: &Network| numbers(&network.params().get("features.0.weight").unwrap().var);
    assert_eq!(weight(&small), weight(&large));
}

#[test]
fn initial_values_have_their_stated_spread() {
    let architecture = Architecture::named("vgg11").unwrap();
    let fan_in = 64.0 * 9.0;
    for (initialisation, variance) in [
        (Initialisation::HeNormal, 2.0 / fan_in),
        (Initialisation::HeUniform, 2.0 / fan_in),
        (Initialisation::Pytorch, 1.0 / (3.0 * fan_in)),
        (Initialisation::Flax, 1.0 / fan_in),
        (Initialisation::FlaxHeNormal, 2.0 / fan_in),
    ] {
        let network = Network::new(&architecture, initialisation, 0, DType::F64, &Device::Cpu).unwrap();
        let values = numbers(&network.params().get("features.3.weight").unwrap().var);
        let found = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        // 73,728 draws: the sample variance is within 2 % at far more than three standard errors.
        assert!((found / variance - 1.0).abs() < 0.02, "{initialisation:?}: {found} against {variance}");
    }
}
