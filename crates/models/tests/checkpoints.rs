//! Checkpoints: bit-identical continuation, which checkpoints are kept, and files that cannot be used.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use models::train::{
    Adam, Checkpoint, Checkpoints, Fit, FitOutcome, GcPenalty, Keep, Observation, Observer, Optimizer, Progress,
    Schedule, Sgd, TargetLoss,
};
use models::{Architecture, Error, Initialisation, Network, Result};
use serde_json::json;
use support::numbers;

/// With batch norm and dropout, running statistics and random numbers are part of the state.
fn architecture() -> Architecture {
    let text = "family = 'vgg'\nstages = [[4], [6]]\nbatch_norm = true\nhidden = [8]\nin_channels = 1\ninput_size = [8, 6]\n\
                classes = 3";
    Architecture::from_toml(text).unwrap()
}

fn network(seed: u64) -> Network {
    Network::new(&architecture(), Initialisation::HeNormal, seed, DType::F32, &Device::Cpu).unwrap()
}

fn batch(index: u64) -> candle_core::Result<(Tensor, Tensor)> {
    let draws = streams::standard_normal(&mut streams::stream(1, "tests/batch", index), 8 * 48);
    let images = Tensor::from_vec(draws, (8, 1, 8, 6), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::new((0..8).map(|i| (i % 3) as u32).collect::<Vec<_>>(), &Device::Cpu)?;
    Ok((images, labels))
}

fn fits() -> Vec<Fit> {
    let penalty = GcPenalty { strength: 1e-3, estimator: gc_core::Penalty::projections(gc_core::Probe::Rademacher, 1) };
    let base = |optimizer: Optimizer| Fit { seed: 5, ..Fit::new(8, optimizer) };
    vec![
        base(Sgd::new(0.05).into()),
        Fit {
            schedule: Schedule::cosine().with_warmup(2),
            ..base(Sgd { momentum: 0.9, nesterov: true, l2: 1e-3, ..Sgd::new(0.05) }.into())
        },
        Fit { accumulate: 2, clip: Some(0.5), penalty: Some(penalty), ..base(Adam::decoupled(1e-2, 0.1).into()) },
        Fit { target_loss: Some(TargetLoss { loss: 0.02, window: 4 }), ..base(Adam::new(1e-2).into()) },
        Fit { ema: Some(0.7), ..base(Adam::decoupled(1e-2, 0.1).into()) },
    ]
}

fn weights(network: &Network) -> Vec<f64> {
    network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect()
}

/// Saves after every step, and ends the run after step `until`.
struct Saver<'a> {
    fit: &'a Fit,
    checkpoints: &'a Checkpoints,
    losses: Vec<f64>,
    until: u64,
}

impl Observer for Saver<'_> {
    fn observe(&mut self, _: &Network, seen: Observation) -> Result<ControlFlow<()>> {
        self.losses.extend(seen.loss);
        Ok(if seen.step == self.until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn save(&mut self, network: &Network, progress: &Progress) -> Result<()> {
        let metric = self.losses.last().copied();
        let state = json!({ "losses": self.losses });
        self.checkpoints.save(self.fit, network, progress, metric, state).map(|_| ())
    }
}

#[test]
fn a_continued_run_gives_the_bits_of_an_uninterrupted_one() {
    for fit in fits() {
        let whole = network(3);
        let mut expected = Vec::new();
        let ended = fit.run(&whole, &mut Progress::default(), &mut batch, |_, seen| {
            expected.extend(seen.loss);
            Ok(ControlFlow::Continue(()))
        });
        for until in [1, 3, 7] {
            let folder = tempfile::tempdir().unwrap();
            let checkpoints = Checkpoints::new(folder.path(), Keep::default()).unwrap();
            let mut saver = Saver { fit: &fit, checkpoints: &checkpoints, losses: Vec::new(), until };
            fit.run_observed(&network(3), &mut Progress::default(), &mut batch, &mut saver).unwrap();

            // As in another process: other initial weights, and only the file in common.
            let (other, mut progress) = (network(77), Progress::default());
            let found = checkpoints.newest().unwrap().unwrap();
            found.restore(&fit, &other, &mut progress).unwrap();
            assert_eq!((progress.step, found.header.next_batch), (until, until * fit.accumulate as u64));
            let losses = serde_json::from_value(found.header.state["losses"].clone()).unwrap();
            let mut saver = Saver { fit: &fit, checkpoints: &checkpoints, losses, until: u64::MAX };
            let outcome = fit.run_observed(&other, &mut progress, &mut batch, &mut saver).unwrap();
            assert_eq!(outcome, *ended.as_ref().unwrap());
            assert_eq!(saver.losses, expected, "{fit:?}");
            assert_eq!(weights(&other), weights(&whole), "{fit:?}");
            assert_eq!(progress.average().is_some(), fit.ema.is_some());
        }
    }
}

#[test]
fn the_moving_average_continues_with_the_same_bits() {
    let fit = &fits()[4];
    let averages = |start: &mut Progress, network: &Network| {
        let mut seen = Vec::new();
        let outcome = fit.run(network, start, &mut batch, |network, _| {
            seen.push(weights(network));
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!(outcome.unwrap(), FitOutcome::Finished);
        seen
    };
    let whole = averages(&mut Progress::default(), &network(3));
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path(), Keep::default()).unwrap();
    let mut saver = Saver { fit, checkpoints: &checkpoints, losses: Vec::new(), until: 3 };
    fit.run_observed(&network(3), &mut Progress::default(), &mut batch, &mut saver).unwrap();
    let (other, mut progress) = (network(77), Progress::default());
    checkpoints.newest().unwrap().unwrap().restore(fit, &other, &mut progress).unwrap();
    assert_eq!(averages(&mut progress, &other), whole[4..]);
    // Another decay, or none, is another training.
    for ema in [None, Some(0.8)] {
        let refused =
            checkpoints.newest().unwrap().unwrap().restore(&Fit { ema, ..fit.clone() }, &other, &mut progress);
        assert!(matches!(refused, Err(Error::CheckpointMismatch { what: "settings of the training", .. })));
    }
    // Without an average the header is that of earlier versions.
    let header = |fit: &Fit| Checkpoint::read_header(saved(folder.path(), fit, 9, None)).unwrap().fit;
    assert!(!header(&fits()[0]).contains("ema") && header(fit).contains("ema: Some(0.7)"));
}

fn saved(folder: &Path, fit: &Fit, step: u64, metric: Option<f64>) -> std::path::PathBuf {
    let keep = Keep { last: usize::MAX, ..Keep::default() };
    let mut progress = Progress::default();
    progress.step = step;
    Checkpoints::new(folder, keep).unwrap().save(fit, &network(1), &progress, metric, json!(null)).unwrap()
}

#[test]
fn the_policy_keeps_the_last_the_best_and_every_nth() {
    let fit = &fits()[0];
    let kept = |keep: Keep| {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path(), keep).unwrap();
        for (step, metric) in [(1, 3.0), (2, 1.0), (3, 2.0), (4, f64::NAN), (5, 4.0), (6, 5.0), (7, 1.5)] {
            let mut progress = Progress::default();
            progress.step = step;
            checkpoints.save(fit, &network(1), &progress, Some(metric), json!(null)).unwrap();
        }
        let steps: Vec<u64> = checkpoints.steps().unwrap().into_iter().map(|(step, _)| step).collect();
        checkpoints.clear().unwrap();
        assert!(checkpoints.newest().unwrap().is_none());
        steps
    };
    assert_eq!(kept(Keep { last: 1, ..Keep::default() }), [7]);
    assert_eq!(kept(Keep::default()), [6, 7]);
    assert_eq!(kept(Keep { last: 1, best: true, every: None }), [2, 7]);
    assert_eq!(kept(Keep { last: 2, best: true, every: Some(3) }), [2, 3, 6, 7]);
    for keep in [Keep { last: 0, ..Keep::default() }, Keep { every: Some(0), ..Keep::default() }] {
        assert!(matches!(Checkpoints::new("unused", keep), Err(Error::Setting { op: "checkpoints", .. })));
    }
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_error_names_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let fit = &fits()[0];
    let (first, second) = (saved(folder.path(), fit, 3, None), saved(folder.path(), fit, 6, None));
    let checkpoints = Checkpoints::new(folder.path(), Keep::default()).unwrap();
    let whole = std::fs::read(&second).unwrap();
    let reason = |bytes: &[u8]| {
        std::fs::write(&second, bytes).unwrap();
        let error = checkpoints.newest().unwrap_err();
        assert!(error.to_string().contains(&first.display().to_string()), "{error}");
        match error {
            Error::Checkpoint { path, reason, previous } if path == second && previous == Some(first.clone()) => reason,
            other => panic!("{other}"),
        }
    };
    for cut in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        reason(&whole[..cut]);
    }
    for at in [8, 300, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        reason(&flipped);
    }
    assert!(reason(&[whole.as_slice(), b"more"].concat()).contains("checksum"));
    assert!(reason(b"not a checkpoint at all, but long enough").contains("cut short"));
    checkpoints.discard(&second).unwrap();
    assert_eq!(checkpoints.newest().unwrap().unwrap().header.step, 3);
    std::fs::write(&first, b"").unwrap();
    assert!(matches!(checkpoints.newest().unwrap_err(), Error::Checkpoint { previous: None, .. }));
    // Two damaged files: the error names the one before only if it is undamaged.
    std::fs::write(&second, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(checkpoints.newest().unwrap_err(), Error::Checkpoint { previous: None, .. }));
    std::fs::remove_file(&second).unwrap();
    // A file of weights is no checkpoint.
    network(1).params().save(&first).unwrap();
    assert!(matches!(checkpoints.newest().unwrap_err(), Error::Checkpoint { .. }));
}

#[test]
fn a_checkpoint_of_another_training_is_refused_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let fit = &fits()[1];
    let found = Checkpoint::open(saved(folder.path(), fit, 3, Some(0.5))).unwrap();
    assert_eq!((found.header.metric, found.header.seed, found.header.step), (Some(0.5), 5, 3));
    let (target, mut progress) = (network(2), Progress::default());
    let before = weights(&target);
    let mut mismatch = |fit: &Fit, network: &Network| match found.restore(fit, network, &mut progress).unwrap_err() {
        Error::CheckpointMismatch { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(mismatch(&Fit { steps: 9, ..fit.clone() }, &target), "settings of the training");
    assert_eq!(mismatch(&Fit { optimizer: Sgd::new(0.05).into(), ..fit.clone() }, &target), "settings of the training");
    let other = Network::new(&architecture().with_classes(4), Initialisation::HeNormal, 1, DType::F32, &Device::Cpu);
    assert_eq!(mismatch(fit, &other.unwrap()), "architecture");
    let other = Network::new(&architecture(), Initialisation::HeNormal, 1, DType::F64, &Device::Cpu);
    assert_eq!(mismatch(fit, &other.unwrap()), "kind of numbers");
    assert_eq!((weights(&target), progress.step), (before, 0));
    let missing = Checkpoint::open(folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

/// A run that was killed after the step that reached the target, and before it ended, is not trained further.
#[test]
fn a_run_that_had_reached_its_target_is_not_trained_further() {
    let fit = Fit { target_loss: Some(TargetLoss { loss: 0.9, window: 2 }), ..Fit::new(200, Adam::new(1e-2)) };
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path(), Keep::default()).unwrap();
    let mut saver = Saver { fit: &fit, checkpoints: &checkpoints, losses: Vec::new(), until: u64::MAX };
    let whole = network(3);
    let ended = fit.run_observed(&whole, &mut Progress::default(), &mut batch, &mut saver).unwrap();
    assert!(matches!(ended, FitOutcome::ReachedTarget { step } if step < 200), "{ended:?}");
    let (other, mut progress) = (network(77), Progress::default());
    checkpoints.newest().unwrap().unwrap().restore(&fit, &other, &mut progress).unwrap();
    let outcome = fit.run(&other, &mut progress, &mut batch, |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    assert_eq!((outcome, weights(&other)), (ended, weights(&whole)));
}

/// Half-written files of killed processes, and a damaged file among the older ones, do not make saving fail.
#[test]
fn saving_removes_half_written_files_and_ignores_damaged_ones() {
    let folder = tempfile::tempdir().unwrap();
    let fit = &fits()[0];
    let first = saved(folder.path(), fit, 1, Some(0.1));
    // The names of temporary files, now and in earlier versions.
    let leftovers = [".step-000000000002.safetensors.x1Y2z3.partial", "step-000000000002.safetensors.4242.part"];
    let leftovers = leftovers.map(|name| folder.path().join(name));
    let other = folder.path().join("notes.part");
    for damaged in [b"".as_slice(), b"\x10\0\0\0\0\0\0\0cut"] {
        std::fs::write(&first, damaged).unwrap();
        leftovers.iter().for_each(|leftover| std::fs::write(leftover, b"half").unwrap());
        std::fs::write(&other, b"not ours").unwrap();
        let keep = Keep { last: 2, best: true, every: None };
        let mut progress = Progress::default();
        progress.step = 3;
        let checkpoints = Checkpoints::new(folder.path(), keep).unwrap();
        checkpoints.save(fit, &network(1), &progress, Some(0.5), json!(null)).unwrap();
        assert!(leftovers.iter().all(|leftover| !leftover.exists()) && other.exists());
        assert_eq!(checkpoints.newest().unwrap().unwrap().header.step, 3);
    }
}

/// Measuring in a hook, at any number of steps, changes no bit of the parameters.
#[test]
fn hooks_that_measure_do_not_change_the_training() {
    for fit in fits() {
        let run = |measured: bool| {
            let network = network(3);
            let outcome = fit.run(&network, &mut Progress::default(), &mut batch, |network, seen| {
                if measured && seen.step % 2 == 0 {
                    let map = network.frozen().feature_map(models::Pass::evaluation(), None)?;
                    let images = batch(100 + seen.step)?.0;
                    gc_core::GeometricComplexity::projections(gc_core::Probe::Rademacher, 2)
                        .seed(seen.step)
                        .measure_inputs(&map, &images)?;
                }
                Ok(ControlFlow::Continue(()))
            });
            assert_eq!(outcome.unwrap(), FitOutcome::Finished);
            weights(&network)
        };
        assert_eq!(run(true), run(false));
    }
}

/// Checkpoints of an MLP from before its description had the key: it had no activation before the head.
#[test]
fn a_checkpoint_without_the_mlps_key_means_no_activation_before_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.safetensors");
    let network = |key: bool| {
        let text = format!("family = 'mlp'\ninputs = 4\nhidden = [3]\nclasses = 2\nactivation_before_head = {key}");
        let architecture = Architecture::from_toml(&text).unwrap();
        Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu).unwrap()
    };
    let fit = Fit::new(3, Sgd::new(0.1));
    Checkpoint::write(&path, &fit, &network(false), &Progress::default(), None, json!(null)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    let old = header.replace(r#"\"activation_before_head\":false,"#, "");
    assert_ne!(old, header);
    // Spaces keep the length of the header, and the digest is taken again.
    let old = format!("{old:<length$}");
    let digest = Checkpoint::read_header(&path).unwrap().sha256;
    let blank = old.replace(&digest, &"0".repeat(64));
    let file = |header: &str| [&bytes[..8], header.as_bytes(), &bytes[8 + length..]].concat();
    std::fs::write(&path, file(&blank.replace(&"0".repeat(64), &support_sha256(&file(&blank))))).unwrap();
    let found = Checkpoint::open(&path).unwrap();
    found.restore(&fit, &network(false), &mut Progress::default()).unwrap();
    let error = found.restore(&fit, &network(true), &mut Progress::default()).unwrap_err();
    assert!(matches!(error, Error::CheckpointMismatch { what: "architecture", .. }), "{error}");
}

fn support_sha256(bytes: &[u8]) -> String {
    ::support::sha256(bytes)
}
