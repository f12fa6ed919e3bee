//! Optimisers against PyTorch 2.15 (f64), clipping, accumulation, schedules and invalid settings.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor, Var};
use models::train::{
    Adam, Divergence, Fit, FitOutcome, GcPenalty, Gradients, Observation, Observer, Optimizer, OptimizerState,
    Progress, Schedule, Sgd, TargetLoss,
};
use models::{Architecture, Error, Initialisation, Network, Result};
use support::numbers;

/// A net whose `head.bias` has three values.
fn network(dtype: DType) -> Network {
    let architecture = Architecture::from_toml("family = 'mlp'\ninputs = 4\nhidden = [5, 3]\nclasses = 3").unwrap();
    Network::new(&architecture, Initialisation::Pytorch, 4, dtype, &Device::Cpu).unwrap()
}

fn bias(network: &Network) -> Var {
    network.params().get("head.bias").unwrap().var.clone()
}

/// Five steps on ½‖b‖² + ⟨b, (0.3, −0.1, 0.7)⟩ from b = (1, −2, 0.5); clipped to `clip`.
fn five_steps(optimizer: Optimizer, clip: Option<f64>) -> Vec<f64> {
    let network = network(DType::F64);
    let var = bias(&network);
    var.set(&Tensor::new(&[1.0, -2.0, 0.5], &Device::Cpu).unwrap()).unwrap();
    let slope = Tensor::new(&[0.3, -0.1, 0.7], &Device::Cpu).unwrap();
    let mut state = OptimizerState::default();
    for _ in 0..5 {
        let b = var.as_tensor();
        let loss = ((b.sqr().unwrap() * 0.5).unwrap() + (b * &slope).unwrap()).unwrap().sum_all().unwrap();
        let mut gradients = Gradients::of(network.params(), &loss.backward().unwrap()).unwrap();
        if let Some(largest) = clip {
            gradients.clip(gradients.squared_norm().unwrap().sqrt(), largest).unwrap();
        }
        optimizer.step(network.params(), &gradients, 1.0, &mut state).unwrap();
    }
    numbers(&var)
}

fn assert_steps(what: &str, found: &[f64], expected: [f64; 3]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-14, "{what}: {found} against {expected}");
    }
}

/// `torch.optim` on the same loss: Adam(0.1); Adam(0.1, (0.8, 0.99), weight_decay 0.05); AdamW(0.1, eps 1e-4,
/// weight_decay 0.2); SGD(0.1, 0.9, weight_decay 0.05) and with Nesterov; SGD(0.1, 0.9) with clip_grad_norm_(0.5).
#[test]
fn five_steps_are_those_of_pytorch() {
    let sgd = Sgd { momentum: 0.9, l2: 0.05, ..Sgd::new(0.1) };
    for (what, optimizer, expected) in [
        ("adam", Adam::new(0.1).into(), [0.5053463756355336, -1.5027745558936498, 0.006016523217520289]),
        (
            "adam with l2",
            Adam { beta1: 0.8, beta2: 0.99, l2: 0.05, ..Adam::new(0.1) }.into(),
            [0.5092738902187157, -1.5050379422595872, 0.010557037969100319],
        ),
        (
            "adamw",
            Adam { epsilon: 1e-4, ..Adam::decoupled(0.1, 0.2) }.into(),
            [0.43026402030233935, -1.3316361776540708, -0.021768804334606914],
        ),
        ("sgd", sgd.into(), [-0.37180755920937514, 0.23553824463750025, -0.7447883407640624]),
        (
            "nesterov",
            Optimizer::from(Sgd { nesterov: true, ..sgd }),
            [-0.45910270637935363, 0.3777970029885765, -0.8240006039368208],
        ),
    ] {
        assert_steps(what, &five_steps(optimizer, None), expected);
    }
    let clipped = five_steps(Sgd { momentum: 0.9, ..Sgd::new(0.1) }.into(), Some(0.5));
    assert_steps("clipped", &clipped, [0.6888581909085632, -1.4973863083907555, 0.21279217622328903]);
    // A norm that is never reached changes nothing.
    assert_eq!(five_steps(sgd.into(), Some(1e9)), five_steps(sgd.into(), None));
}

/// w ← (1 − rate·decay)·w − rate·v with v free of the decay, by hand.
#[test]
fn decoupled_decay_of_sgd_does_not_change_the_velocity() {
    for nesterov in [false, true] {
        let found = five_steps(Sgd { momentum: 0.9, nesterov, decay: 0.2, ..Sgd::new(0.1) }.into(), None);
        let (mut w, mut v) = ([1.0, -2.0, 0.5], [0.0; 3]);
        for _ in 0..5 {
            for ((w, v), slope) in w.iter_mut().zip(&mut v).zip([0.3, -0.1, 0.7]) {
                let g = *w + slope;
                *v = 0.9 * *v + g;
                *w = (1.0 - 0.1 * 0.2) * *w - 0.1 * if nesterov { g + 0.9 * *v } else { *v };
            }
        }
        assert_steps("decoupled", &found, w);
    }
}

#[test]
fn no_decay_changes_running_statistics() {
    let architecture = Architecture::from_toml("family = 'conv4'\nchannels = [3]\ninput_size = [4, 4]").unwrap();
    for optimizer in [
        Optimizer::from(Sgd { l2: 0.5, momentum: 0.9, ..Sgd::new(0.1) }),
        Sgd { decay: 0.5, ..Sgd::new(0.1) }.into(),
        Adam { l2: 0.5, ..Adam::new(0.1) }.into(),
        Adam::decoupled(0.1, 0.5).into(),
    ] {
        let network = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu).unwrap();
        let images = Tensor::ones((2, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
        let pass = models::Pass::training(0, 0).without_update();
        let loss = network.tracked().logits(&images, &pass).unwrap().sum_all().unwrap();
        let gradients = Gradients::of(network.params(), &loss.backward().unwrap()).unwrap();
        optimizer.step(network.params(), &gradients, 1.0, &mut OptimizerState::default()).unwrap();
        let value = |name: &str| numbers(&network.params().get(name).unwrap().var);
        assert_eq!(value("encoder.0.1.running_var"), [1.0; 3], "{optimizer:?}");
        assert_eq!(value("encoder.0.1.running_mean"), [0.0; 3], "{optimizer:?}");
        assert_eq!(value("encoder.0.1.num_batches_tracked"), [0.0], "{optimizer:?}");
        assert_ne!(value("encoder.0.1.weight"), [1.0; 3], "γ is trained and decays: {optimizer:?}");
    }
}

/// Four vectors of four numbers; batch `index` of halves is half of batch `index / 2` of wholes.
fn samples(first: usize, count: usize) -> candle_core::Result<(Tensor, Tensor)> {
    let draws = streams::standard_normal(&mut streams::stream(1, "tests/samples", 0), 64 * 4);
    let images = Tensor::new(draws[first * 4..(first + count) * 4].to_vec(), &Device::Cpu)?.reshape((count, 4))?;
    let labels: Vec<u32> = (first..first + count).map(|sample| (sample % 3) as u32).collect();
    Ok((images, Tensor::new(labels, &Device::Cpu)?))
}

fn run(fit: &Fit, size: usize) -> (Vec<Observation>, Vec<f64>, FitOutcome) {
    let network = network(DType::F64);
    let mut seen = Vec::new();
    let mut batches = |index: u64| samples(index as usize % (64 / size) * size, size);
    let outcome = fit.run(&network, &mut Progress::default(), &mut batches, |_, observation| {
        seen.push(observation);
        Ok(ControlFlow::Continue(()))
    });
    let weights = network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect();
    (seen, weights, outcome.unwrap())
}

#[test]
fn two_accumulated_halves_give_the_step_of_the_whole_batch() {
    let whole = Fit::new(6, Sgd { momentum: 0.9, ..Sgd::new(0.1) });
    let halves = Fit { accumulate: 2, ..whole.clone() };
    let ((seen, weights, _), (seen_halves, weights_halves, _)) = (run(&whole, 8), run(&halves, 4));
    assert_eq!(seen.len(), seen_halves.len());
    for (a, b) in seen.iter().zip(&seen_halves).skip(1) {
        assert!((a.loss.unwrap() - b.loss.unwrap()).abs() < 1e-13);
        let (a, b) = (a.squared_gradient_norm.unwrap(), b.squared_gradient_norm.unwrap());
        assert!((a - b).abs() < 1e-12, "{a} against {b}");
    }
    assert!(weights.iter().zip(&weights_halves).all(|(a, b)| (a - b).abs() < 1e-13));
}

#[test]
fn a_clipped_run_reports_the_norm_before_clipping() {
    let free = Fit::new(1, Sgd::new(0.1));
    let clipped = Fit { clip: Some(1e-3), ..free.clone() };
    let ((seen, moved, _), (seen_clipped, moved_clipped, _)) = (run(&free, 8), run(&clipped, 8));
    assert_eq!(seen, seen_clipped);
    let start: Vec<f64> = network(DType::F64).params().iter().flat_map(|(_, p)| numbers(&p.var)).collect();
    let length = |end: &[f64]| end.iter().zip(&start).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    assert!(length(&moved) > 1e-2 && (length(&moved_clipped) / 1e-4 - 1.0).abs() < 0.01, "{}", length(&moved_clipped));
}

#[test]
fn a_target_loss_ends_the_run_once_the_window_is_full() {
    let fit = Fit { target_loss: Some(TargetLoss { loss: 0.9, window: 3 }), ..Fit::new(400, Adam::new(0.02)) };
    let (seen, _, outcome) = run(&fit, 8);
    let FitOutcome::ReachedTarget { step } = outcome else { panic!("{outcome:?}") };
    let losses: Vec<f64> = seen.iter().filter_map(|seen| seen.loss).collect();
    let mean = |end: usize| losses[end - 3..end].iter().sum::<f64>() / 3.0;
    assert_eq!(losses.len() as u64, step);
    assert!(mean(losses.len()) <= 0.9 && (3..losses.len()).all(|end| mean(end) > 0.9), "{step}");
}

#[test]
fn schedules_give_their_factors() {
    let milestones: Schedule =
        toml::from_str("warmup = 2\ncourse = { kind = 'milestones', at = [4, 6], gamma = 0.1 }").unwrap();
    let factors: Vec<f64> = (0..8).map(|step| milestones.factor(step, 8)).collect();
    for (found, expected) in factors.iter().zip([0.5, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]) {
        assert!((found - expected).abs() < 1e-15, "{factors:?}");
    }
    let floor: Schedule = toml::from_str("course = { kind = 'cosine', floor = 0.2 }").unwrap();
    assert_eq!((floor.factor(0, 10), floor.factor(10, 10)), (1.0, 0.2));
    assert_eq!(Schedule::step(2, 0.5).with_warmup(2).factor(4, 9), 0.5);
    // A cosine over more steps than the run has is cut off, not compressed.
    assert_eq!(Schedule::cosine().over(20).factor(10, 10), 0.5);
}

#[test]
fn one_cycle_is_that_of_pytorch() {
    // torch.optim.lr_scheduler.OneCycleLR, max_lr 1, total_steps 10, default options: it rises over 0.3 · 10 − 1 = 2 steps.
    let cycle = Schedule::one_cycle();
    let cosine = |progress: f64| 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    let down = |step: f64| 4e-6 + (1.0 - 4e-6) * cosine((step - 2.0) / 7.0);
    for (step, expected) in [(0, 0.04), (1, 0.52), (2, 1.0), (3, down(3.0)), (6, down(6.0)), (9, 4e-6)] {
        let found = cycle.factor(step, 10);
        assert!((found - expected).abs() < 1e-15, "step {step}: {found} instead of {expected}");
    }
    // A run of one step has no cycle.
    assert_eq!(cycle.factor(0, 1), 1.0);
    assert!(cycle.validate(10).is_ok() && cycle.clone().with_warmup(2).validate(10).is_err());
    let read: Schedule = toml::from_str("course = { kind = 'one-cycle' }").unwrap();
    assert_eq!(read, cycle);
    for bad in ["rise = 1.0", "start = 0.0", "end = -1.0"] {
        let read: Schedule = toml::from_str(&format!("course = {{ kind = 'one-cycle', {bad} }}")).unwrap();
        assert!(matches!(read.validate(10), Err(Error::Setting { .. })), "{bad}");
    }
}

/// An observer that records the parameters that it sees at each step, and does not look at some steps.
struct Seen {
    weights: Vec<(u64, Vec<f64>)>,
    looks: fn(u64) -> bool,
}

impl Observer for Seen {
    fn observe(&mut self, network: &Network, seen: Observation) -> Result<ControlFlow<()>> {
        let weights = network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect();
        self.weights.push((seen.step, weights));
        Ok(ControlFlow::Continue(()))
    }

    fn reads_network(&self, seen: Observation) -> bool {
        (self.looks)(seen.step)
    }
}

fn observed(fit: &Fit, looks: fn(u64) -> bool) -> (Vec<(u64, Vec<f64>)>, Vec<f64>) {
    let network = network(DType::F64);
    let mut seen = Seen { weights: Vec::new(), looks };
    let mut batches = |index: u64| samples(index as usize % 8 * 8, 8);
    fit.run_observed(&network, &mut Progress::default(), &mut batches, &mut seen).unwrap();
    (seen.weights, network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect())
}

#[test]
fn observers_see_the_moving_average_and_training_does_not() {
    let plain = Fit::new(6, Sgd { momentum: 0.9, ..Sgd::new(0.1) });
    let averaged = Fit { ema: Some(0.75), ..plain.clone() };
    let ((own, end), (seen, end_averaged)) = (observed(&plain, |_| true), observed(&averaged, |_| true));
    assert_eq!(end, end_averaged, "the average changes no step of the training");
    // e ← ¾ e + ¼ θ by hand, from the initial parameters on.
    let mut expected = own[0].1.clone();
    assert_eq!(seen[0].1, expected);
    for ((_, own), (step, seen)) in own.iter().zip(&seen).skip(1) {
        expected.iter_mut().zip(own).for_each(|(average, own)| *average = 0.75 * *average + 0.25 * own);
        assert!(expected.iter().zip(seen).all(|(a, b)| (a - b).abs() < 1e-14), "step {step}");
        assert_ne!(seen, own);
    }
    // An observer that does not look at a step gets the parameters of the training.
    let (some, _) = observed(&averaged, |step| step == 6);
    assert_eq!((&some[3].1, &some[6].1), (&own[3].1, &seen[6].1));
    // Decay 0 is no average.
    assert_eq!(observed(&Fit { ema: Some(0.0), ..plain }, |_| true).0, own);
}

#[test]
fn schedules_that_do_not_fit_the_run_are_refused() {
    let ends = Schedule::cosine().over(8).validate(10).unwrap_err();
    assert!(matches!(ends, Error::ScheduleEnds { schedule: 8, run: 10 }), "{ends}");
    let fit = Fit { schedule: Schedule::cosine().over(8), ..Fit::new(10, Sgd::new(0.1)) };
    let refused = fit.run(&network(DType::F64), &mut Progress::default(), &mut |_| samples(0, 4), |_, _| {
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(refused, Err(Error::ScheduleEnds { .. })));
    let setting = |text: &str| match toml::from_str::<Schedule>(text).unwrap().validate(10).unwrap_err() {
        Error::Setting { op: "schedule", name, .. } => name,
        other => panic!("{text}: {other}"),
    };
    assert_eq!(setting("warmup = 10"), "warmup");
    assert_eq!(setting("course = { kind = 'step', every = 0, gamma = 0.1 }"), "every");
    assert_eq!(setting("course = { kind = 'step', every = 1, gamma = -0.1 }"), "gamma");
    assert_eq!(setting("course = { kind = 'milestones', at = [3, 3], gamma = 0.1 }"), "at");
    assert_eq!(setting("course = { kind = 'milestones', at = [3, 10], gamma = 0.1 }"), "at");
    assert_eq!(setting("course = { kind = 'cosine', floor = 2.0 }"), "floor");
    assert!(toml::from_str::<Schedule>("course = { kind = 'linear' }").is_err());
}

#[test]
fn invalid_settings_of_runs_are_refused_by_name() {
    let refused = |fit: Fit| {
        let ended = fit.run(&network(DType::F64), &mut Progress::default(), &mut |_| samples(0, 4), |_, _| {
            Ok(ControlFlow::Continue(()))
        });
        match ended.unwrap_err() {
            Error::Setting { name, .. } => name,
            other => panic!("{other}"),
        }
    };
    let fit = Fit::new(3, Sgd::new(0.1));
    assert_eq!(refused(Fit { steps: 0, ..fit.clone() }), "steps");
    assert_eq!(refused(Fit { accumulate: 0, ..fit.clone() }), "accumulate");
    assert_eq!(refused(Fit { clip: Some(0.0), ..fit.clone() }), "clip");
    assert_eq!(refused(Fit { ema: Some(1.0), ..fit.clone() }), "ema");
    assert_eq!(refused(Fit { label_smoothing: 1.0, ..fit.clone() }), "label smoothing");
    let target = |loss, window| Some(TargetLoss { loss, window });
    assert_eq!(refused(Fit { target_loss: target(-1.0, 2), ..fit.clone() }), "target loss");
    assert_eq!(refused(Fit { target_loss: target(1.0, 0), ..fit.clone() }), "target loss window");
    for (name, optimizer) in [
        ("momentum", Optimizer::from(Sgd { nesterov: true, ..Sgd::new(0.1) })),
        ("decay", Sgd { decay: -1.0, ..Sgd::new(0.1) }.into()),
        ("learning rate", Adam::new(f64::INFINITY).into()),
        ("beta1", Adam { beta1: 1.0, ..Adam::new(0.1) }.into()),
        ("beta2", Adam { beta2: -0.1, ..Adam::new(0.1) }.into()),
        ("epsilon", Adam { epsilon: 0.0, ..Adam::new(0.1) }.into()),
    ] {
        assert_eq!(refused(Fit { optimizer, ..fit.clone() }), name);
    }
    let text = "kind = 'adam'\nlearning_rate = 0.1\nbeta1 = 0.5";
    assert_eq!(toml::from_str::<Optimizer>(text).unwrap(), Adam { beta1: 0.5, ..Adam::new(0.1) }.into());
}

/// A finite loss above the bound is divergence too. It is reported, and the step is not done.
#[test]
fn a_loss_above_the_bound_is_divergence() {
    let fit = Fit { divergence: Divergence { largest_loss: 0.1 }, ..Fit::new(5, Sgd::new(0.1)) };
    let (seen, weights, outcome) = run(&fit, 8);
    let FitOutcome::Diverged { step: 0, loss } = outcome else { panic!("{outcome:?}") };
    assert!(loss.is_finite() && loss > 0.1, "{loss}");
    let start: Vec<f64> = network(DType::F64).params().iter().flat_map(|(_, p)| numbers(&p.var)).collect();
    assert_eq!((seen.len(), weights), (1, start), "only the observation before the first step");
}

/// A gradient that overflows ends a run as such a loss does, with the weights of the step before.
#[test]
fn a_gradient_that_is_not_finite_is_divergence() {
    let network = network(DType::F64);
    let mut batches = |index: u64| {
        let (images, labels) = samples(0, 4)?;
        // In the second batch the loss is finite because it saturates; its gradient is not finite.
        Ok((if index == 1 { (images * 1e308)? } else { images }, labels))
    };
    let mut last = Vec::new();
    let outcome = Fit::new(5, Sgd::new(0.1)).run(&network, &mut Progress::default(), &mut batches, |network, _| {
        last = network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect();
        Ok(ControlFlow::Continue(()))
    });
    let FitOutcome::Diverged { step: 1, .. } = outcome.unwrap() else { panic!() };
    let now: Vec<f64> = network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect();
    assert_eq!(now, last);
}

/// The forward pass of the diverged step updated the running statistics: they are restored.
#[test]
fn divergence_leaves_the_network_of_the_step_before_with_its_statistics() {
    let architecture = Architecture::from_toml("family = 'conv4'\nchannels = [3]\ninput_size = [4, 4]").unwrap();
    let network = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu).unwrap();
    let mut batches = |index: u64| {
        let pixel = if index == 3 { f32::NAN } else { index as f32 };
        let images = Tensor::full(pixel, (2, 3, 4, 4), &Device::Cpu)?;
        Ok((images, Tensor::new(&[0u32, 1], &Device::Cpu)?))
    };
    let values = |network: &Network| -> Vec<f64> {
        network.params().iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect()
    };
    let mut last = Vec::new();
    // Step 1 uses the batches 2 and 3.
    let fit = Fit { accumulate: 2, ..Fit::new(5, Sgd::new(0.1)) };
    let outcome = fit.run(&network, &mut Progress::default(), &mut batches, |network, _| {
        last = values(network);
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(outcome.unwrap(), FitOutcome::Diverged { step: 1, loss } if loss.is_nan()));
    assert_eq!(values(&network), last);
    assert_eq!(numbers(&network.params().get("encoder.0.1.num_batches_tracked").unwrap().var), [2.0]);
}

/// Invalid batches are refused by name, and the network is unchanged.
#[test]
fn batches_that_do_not_fit_are_refused() {
    let run = |images: Tensor, labels: Tensor| {
        let network = network(DType::F64);
        let mut batches = |_: u64| Ok((images.clone(), labels.clone()));
        let before: Vec<f64> = network.params().iter().flat_map(|(_, p)| numbers(&p.var)).collect();
        let ended = Fit::new(2, Sgd::new(0.1))
            .run(&network, &mut Progress::default(), &mut batches, |_, _| Ok(ControlFlow::Continue(())));
        let after: Vec<f64> = network.params().iter().flat_map(|(_, p)| numbers(&p.var)).collect();
        assert_eq!(before, after);
        ended.unwrap_err()
    };
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let labels = |labels: &[u32]| Tensor::new(labels, &Device::Cpu).unwrap();
    let f64s = DType::F64;
    let shape =
        |error: Error| matches!(error, Error::Shape { .. } | Error::Operation(models::ops::Error::Shape { .. }));
    assert!(shape(run(zeros(&[2, 5], f64s), labels(&[0, 1]))), "five inputs where four are expected");
    assert!(shape(run(zeros(&[2, 4], f64s), labels(&[0, 1, 2]))), "three labels for two samples");
    assert!(shape(run(zeros(&[2, 4], f64s), labels(&[0, 3]))), "a fourth class where there are three");
    assert!(shape(run(zeros(&[0, 4], f64s), zeros(&[0], DType::U32))), "no samples");
    let error = run(zeros(&[2, 4], DType::F32), labels(&[0, 1]));
    assert!(
        matches!(error, Error::DType { .. } | Error::Operation(models::ops::Error::DType { .. })),
        "f32 samples for an f64 network: {error}"
    );
    let error = run(zeros(&[2, 4], f64s), zeros(&[2], DType::I64));
    assert!(matches!(error, Error::Operation(models::ops::Error::DType { .. })), "i64 labels: {error}");
}

#[test]
fn the_settings_of_a_run_can_be_written_and_read() {
    let penalty =
        GcPenalty { strength: 1e-3, estimator: gc_core::Penalty::projections(gc_core::Probe::Sphere, 2).seed(3) };
    let fit = Fit {
        penalty: Some(penalty),
        schedule: Schedule::cosine().over(8),
        target_loss: Some(TargetLoss { loss: 0.9, window: 3 }),
        ..Fit::new(400, Adam::new(0.02))
    };
    let restored: Fit = serde_json::from_str(&serde_json::to_string(&fit).unwrap()).unwrap();
    assert_eq!(restored, fit);
}
