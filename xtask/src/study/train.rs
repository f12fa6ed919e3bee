//! The training of a run: the settings of `models::train::Fit`, with times in epochs.

use anyhow::{Result, anyhow, bail};
use gc_core::Probe;
use models::DeviceName;
use models::train::{Adam, Course, Fit, GcPenalty, Optimizer, Sgd, TargetLoss};
use serde::{Deserialize, Serialize};

use super::configuration::{is_default, positive, rising};

/// How a network is trained. What a configuration does not set is left out of its TOML, so that its key stays that of earlier
/// versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Train {
    /// Base learning rate, which the schedule multiplies.
    pub(crate) learning_rate: f64,
    /// Images per batch.
    pub(crate) batch_size: usize,
    /// Weight decay of SGD and Adam: this times the parameter is added to the gradient.
    #[serde(default)]
    pub(crate) l2: f64,
    /// Momentum of SGD.
    #[serde(default)]
    pub(crate) momentum: f64,
    /// λ of the penalty λ·GC on the training loss, with GC estimated from one random projection per image; 0 for none.
    #[serde(default)]
    pub(crate) gc_penalty: f64,
    /// Passes over the training images.
    pub(crate) epochs: f64,
    /// The device; the last digits of the results depend on it.
    #[serde(default, skip_serializing_if = "is_cpu")]
    pub(crate) device: DeviceName,
    /// Whether convolutions multiply in bf16 during training, which needs a CUDA device and cuDNN. Measurements never do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) mixed_precision: bool,
    /// Whether convolutions multiply in TF32 during training, under the same conditions. Measurements never do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) tf32: bool,
    /// The optimiser.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) optimizer: OptimizerName,
    /// Whether the momentum of SGD is Nesterov's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) nesterov: bool,
    /// Decoupled weight decay of AdamW (and of SGD): each step shrinks the weights by the factor 1 − rate·decay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) decay: f64,
    /// β₁ of Adam and AdamW.
    #[serde(default = "beta1", skip_serializing_if = "is_beta1")]
    pub(crate) beta1: f64,
    /// β₂ of Adam and AdamW.
    #[serde(default = "beta2", skip_serializing_if = "is_beta2")]
    pub(crate) beta2: f64,
    /// ε of Adam and AdamW.
    #[serde(default = "epsilon", skip_serializing_if = "is_epsilon")]
    pub(crate) epsilon: f64,
    /// Largest norm of the gradient of a step; 0 for no limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) clip: f64,
    /// Batches whose gradients are averaged for one step.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) accumulate: usize,
    /// Share of the target distribution that is spread evenly over all classes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) label_smoothing: f64,
    /// Training ends early once the running training loss is at most this share of ln k; 0 for never.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) target_loss: f64,
    /// Decay of the exponential moving average of the parameters by which the network is measured; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) ema: f64,
    /// The learning rate along training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) schedule: LearningRateSchedule,
}

/// The name of an optimiser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OptimizerName {
    /// Stochastic gradient descent.
    #[default]
    Sgd,
    /// Adam with L2 in the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

impl OptimizerName {
    /// The name in experiment files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::Adam => "adam",
            Self::AdamW => "adamw",
        }
    }
}

/// The learning rate along training, as a factor of the base learning rate. Times are in epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LearningRateSchedule {
    /// Its course after the warm-up.
    pub(crate) kind: CourseName,
    /// Length of the linear warm-up.
    pub(crate) warmup_epochs: f64,
    /// Of `step`: the time between two changes.
    pub(crate) every_epochs: f64,
    /// Of `milestones`: the times of the changes.
    pub(crate) at_epochs: Vec<f64>,
    /// Of `step` and `milestones`: the factor of one change.
    pub(crate) gamma: f64,
    /// Of `cosine`: the last factor.
    pub(crate) floor: f64,
    /// Of `one-cycle`: the share of training in which the learning rate rises.
    pub(crate) rise: f64,
    /// Of `one-cycle`: the first factor.
    pub(crate) start: f64,
    /// Of `one-cycle`: the last factor.
    pub(crate) end: f64,
}

impl Default for LearningRateSchedule {
    fn default() -> Self {
        Self {
            kind: CourseName::Constant,
            warmup_epochs: 0.0,
            every_epochs: 0.0,
            at_epochs: Vec::new(),
            gamma: 0.1,
            floor: 0.0,
            rise: 0.3,
            start: 0.04,
            end: 4e-6,
        }
    }
}

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CourseName {
    /// The base learning rate.
    #[default]
    Constant,
    /// Multiplied by gamma after equal times.
    Step,
    /// Multiplied by gamma at given times.
    Milestones,
    /// Half a cosine down to the floor.
    Cosine,
    /// Half a cosine up, then half a cosine down.
    OneCycle,
}

impl CourseName {
    fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Step => "step",
            Self::Milestones => "milestones",
            Self::Cosine => "cosine",
            Self::OneCycle => "one-cycle",
        }
    }
}

/// The most passes over the training images.
const MOST_EPOCHS: f64 = 1e6;

/// The training images, by which epochs become steps and shares of ln k become nats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrainingSet {
    /// Number of images.
    pub(crate) images: usize,
    /// Number of classes.
    pub(crate) classes: usize,
}

impl Train {
    /// Images per step.
    pub(crate) fn images_per_step(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate)
    }

    /// The training as `models` describes it. `loss_window` is the number of images over which the running loss is averaged.
    pub(crate) fn fit(&self, set: TrainingSet, seed: u64, steps: u64, loss_window: usize) -> Fit {
        let penalty = (self.gc_penalty > 0.0).then(|| GcPenalty {
            strength: self.gc_penalty,
            estimator: gc_core::Penalty::projections(Probe::Rademacher, 1).seed(seed),
        });
        let per_epoch = set.images as f64 / self.images_per_step() as f64;
        let target_loss = (self.target_loss > 0.0).then(|| TargetLoss {
            loss: self.target_loss * (set.classes as f64).ln(),
            window: (loss_window / self.images_per_step()).max(1),
        });
        Fit {
            seed,
            penalty,
            mixed_precision: self.mixed_precision,
            tf32: self.tf32,
            schedule: self.schedule.in_steps(per_epoch),
            label_smoothing: self.label_smoothing,
            clip: (self.clip > 0.0).then_some(self.clip),
            accumulate: self.accumulate,
            target_loss,
            ema: (self.ema > 0.0).then_some(self.ema),
            ..Fit::new(steps, self.optimizer())
        }
    }

    fn optimizer(&self) -> Optimizer {
        let &Self { learning_rate, l2, decay, momentum, nesterov, beta1, beta2, epsilon, .. } = self;
        match self.optimizer {
            OptimizerName::Sgd => Sgd { momentum, nesterov, l2, decay, ..Sgd::new(learning_rate) }.into(),
            OptimizerName::Adam | OptimizerName::AdamW => {
                Adam { beta1, beta2, epsilon, l2, decay, ..Adam::new(learning_rate) }.into()
            }
        }
    }

    /// Refuses settings out of their range, settings of another optimiser, and schedules that do not fit the training. The numbers of
    /// images and steps are those of the training, or stand for them where they are not known yet.
    pub(crate) fn check(&self, set: TrainingSet, seed: u64, steps: u64) -> Result<()> {
        positive("train.learning_rate", self.learning_rate)?;
        positive("train.epochs", self.epochs)?;
        if self.epochs > MOST_EPOCHS {
            bail!("train.epochs: expected at most {MOST_EPOCHS}, got {:e}", self.epochs);
        }
        for (name, count) in [("train.batch_size", self.batch_size), ("train.accumulate", self.accumulate)] {
            if count == 0 {
                bail!("{name}: expected at least 1, got 0");
            }
        }
        for (name, value) in [
            ("train.l2", self.l2),
            ("train.decay", self.decay),
            ("train.gc_penalty", self.gc_penalty),
            ("train.clip", self.clip),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                bail!("{name}: expected zero or a positive number, got {value}");
            }
        }
        for (name, value) in [
            ("train.momentum", self.momentum),
            ("train.label_smoothing", self.label_smoothing),
            ("train.target_loss", self.target_loss),
            ("train.ema", self.ema),
        ] {
            if !(0.0..1.0).contains(&value) {
                bail!("{name}: expected a number in [0, 1), got {value}");
            }
        }
        for (name, set) in [("train.mixed_precision", self.mixed_precision), ("train.tf32", self.tf32)] {
            if set && !matches!(self.device, DeviceName::Cuda(_)) {
                bail!(
                    "{name}: it takes a CUDA device and cuDNN, but train.device is `{}`; set one of them to something else",
                    self.device
                );
            }
        }
        self.check_optimizer()?;
        self.schedule.check(self.epochs)?;
        self.fit(set, seed, steps, 1).validate().map_err(|error| anyhow!("train: {error}"))
    }

    /// Refuses settings that the optimiser does not have.
    fn check_optimizer(&self) -> Result<()> {
        let (own, adam) = (self.optimizer.name(), self.optimizer != OptimizerName::Sgd);
        let foreign: [(&str, bool, &str); 7] = [
            ("train.momentum", adam && self.momentum != 0.0, "of sgd; set it to 0"),
            ("train.nesterov", adam && self.nesterov, "of sgd; set it to false"),
            ("train.beta1", !adam && !is_beta1(&self.beta1), "of adam and adamw"),
            ("train.beta2", !adam && !is_beta2(&self.beta2), "of adam and adamw"),
            ("train.epsilon", !adam && !is_epsilon(&self.epsilon), "of adam and adamw"),
            (
                "train.l2",
                self.optimizer == OptimizerName::AdamW && self.l2 != 0.0,
                "of sgd and adam; adamw has train.decay",
            ),
            (
                "train.decay",
                self.optimizer == OptimizerName::Adam && self.decay != 0.0,
                "of adamw and sgd; adam has train.l2",
            ),
        ];
        match foreign.iter().find(|(_, given, _)| *given) {
            Some((key, _, of)) => bail!("{key} contradicts train.optimizer = \"{own}\": it is a setting {of}"),
            None => Ok(()),
        }
    }
}

impl LearningRateSchedule {
    /// The schedule in steps, with this number of steps per epoch.
    fn in_steps(&self, per_epoch: f64) -> models::train::Schedule {
        let steps = |epochs: f64| (epochs * per_epoch).round() as u64;
        let &Self { gamma, floor, rise, start, end, .. } = self;
        let course = match self.kind {
            CourseName::Constant => Course::Constant,
            CourseName::Step => Course::Step { every: steps(self.every_epochs).max(1), gamma },
            CourseName::Milestones => {
                Course::Milestones { at: self.at_epochs.iter().map(|epochs| steps(*epochs)).collect(), gamma }
            }
            CourseName::Cosine => Course::Cosine { floor },
            CourseName::OneCycle => Course::OneCycle { rise, start, end },
        };
        models::train::Schedule { warmup: steps(self.warmup_epochs), course, steps: None }
    }

    /// Refuses settings of another course, and times outside the training.
    fn check(&self, epochs: f64) -> Result<()> {
        use CourseName::{Cosine, Milestones, OneCycle, Step};
        let plain = Self::default();
        let changes = matches!(self.kind, Step | Milestones);
        let foreign: [(&str, bool, &str); 7] = [
            ("every_epochs", self.kind != Step && self.every_epochs != plain.every_epochs, "step"),
            ("at_epochs", self.kind != Milestones && self.at_epochs != plain.at_epochs, "milestones"),
            ("gamma", !changes && self.gamma != plain.gamma, "step and milestones"),
            ("floor", self.kind != Cosine && self.floor != plain.floor, "cosine"),
            ("rise", self.kind != OneCycle && self.rise != plain.rise, "one-cycle"),
            ("start", self.kind != OneCycle && self.start != plain.start, "one-cycle"),
            ("end", self.kind != OneCycle && self.end != plain.end, "one-cycle"),
        ];
        if let Some((key, _, of)) = foreign.iter().find(|(_, given, _)| *given) {
            let own = self.kind.name();
            bail!("train.schedule.{key} contradicts train.schedule.kind = \"{own}\": it is a setting of {of}");
        }
        let longer = |name: &str, time: f64| {
            format!("train.schedule.{name} = {time}: the training ends after train.epochs = {epochs}")
        };
        if !(self.warmup_epochs.is_finite() && self.warmup_epochs >= 0.0) {
            bail!("train.schedule.warmup_epochs: expected zero or a positive number, got {}", self.warmup_epochs);
        }
        if self.warmup_epochs >= epochs {
            bail!("{}, so there would be nothing but warm-up", longer("warmup_epochs", self.warmup_epochs));
        }
        if self.kind == Step {
            positive("train.schedule.every_epochs", self.every_epochs)?;
            if self.every_epochs >= epochs {
                bail!("{}, so nothing would change", longer("every_epochs", self.every_epochs));
            }
        }
        if self.kind == Milestones {
            rising("train.schedule.at_epochs", &self.at_epochs, f64::MIN_POSITIVE, f64::MAX)?;
            match self.at_epochs.last() {
                None => bail!("train.schedule.at_epochs: expected at least one time, in epochs"),
                Some(last) if *last >= epochs => bail!("{}", longer("at_epochs", *last)),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn is_cpu(device: &DeviceName) -> bool {
    *device == DeviceName::Cpu
}

fn one() -> usize {
    1
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn beta1() -> f64 {
    Adam::new(1.0).beta1
}

fn beta2() -> f64 {
    Adam::new(1.0).beta2
}

fn epsilon() -> f64 {
    Adam::new(1.0).epsilon
}

fn is_beta1(value: &f64) -> bool {
    *value == beta1()
}

fn is_beta2(value: &f64) -> bool {
    *value == beta2()
}

fn is_epsilon(value: &f64) -> bool {
    *value == epsilon()
}

#[cfg(test)]
mod tests {
    use models::train::Schedule;

    use super::*;

    const SET: TrainingSet = TrainingSet { images: 640, classes: 10 };

    fn train(more: &str) -> Train {
        let text = format!(
            "learning_rate = 0.1\nbatch_size = 32\nl2 = 0.0\nmomentum = 0.0\ngc_penalty = 0.0\nepochs = 5.0\n{more}"
        );
        toml::from_str(&text).unwrap()
    }

    fn fit(more: &str) -> Fit {
        train(more).fit(SET, 7, 100, 64)
    }

    fn refused(more: &str) -> String {
        train(more).check(SET, 7, 100).unwrap_err().to_string()
    }

    #[test]
    fn a_configuration_of_earlier_keys_is_written_as_before() {
        let text = toml::to_string(&train("")).unwrap();
        assert_eq!(
            text,
            "learning_rate = 0.1\nbatch_size = 32\nl2 = 0.0\nmomentum = 0.0\ngc_penalty = 0.0\nepochs = 5.0\n"
        );
        assert_eq!(fit(""), Fit { seed: 7, ..Fit::new(100, Sgd::new(0.1)) });
    }

    #[test]
    fn every_setting_of_a_fit_has_its_key() {
        let adam = Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-6, ..Adam::decoupled(0.1, 0.05) };
        let found = fit("optimizer = 'adamw'\ndecay = 0.05\nbeta1 = 0.8\nbeta2 = 0.99\nepsilon = 1e-6\nclip = 2.0\n\
                         accumulate = 2\nlabel_smoothing = 0.1\ntarget_loss = 0.5\nema = 0.9\n\
                         schedule = { kind = 'cosine', warmup_epochs = 0.5, floor = 0.01 }");
        // 64 images a step are 10 steps an epoch; the window of 64 images is one step.
        let schedule = Schedule { warmup: 5, course: Course::Cosine { floor: 0.01 }, steps: None };
        let expected = Fit {
            seed: 7,
            clip: Some(2.0),
            accumulate: 2,
            label_smoothing: 0.1,
            target_loss: Some(TargetLoss { loss: 0.5 * 10f64.ln(), window: 1 }),
            ema: Some(0.9),
            schedule,
            ..Fit::new(100, adam)
        };
        assert_eq!(found, expected);
        let sgd = fit("nesterov = true\ndecay = 0.1").optimizer;
        assert_eq!(sgd, Optimizer::Sgd(Sgd { nesterov: true, decay: 0.1, ..Sgd::new(0.1) }));
        // 20 steps an epoch.
        let course = |text: &str| fit(&format!("schedule = {text}")).schedule.course;
        assert_eq!(course("{ kind = 'step', every_epochs = 1.5 }"), Course::Step { every: 30, gamma: 0.1 });
        let milestones = Course::Milestones { at: vec![20, 60], gamma: 0.2 };
        assert_eq!(course("{ kind = 'milestones', at_epochs = [1.0, 3.0], gamma = 0.2 }"), milestones);
        assert_eq!(course("{ kind = 'one-cycle' }"), Schedule::one_cycle().course);
    }

    #[test]
    fn settings_of_another_optimiser_or_course_are_refused() {
        let adam = |more: &str| refused(&format!("optimizer = 'adamw'\n{more}"));
        assert!(adam("nesterov = true").starts_with("train.nesterov contradicts train.optimizer = \"adamw\""));
        assert!(refused("beta1 = 0.5").ends_with("it is a setting of adam and adamw"));
        let mut momentum = train("optimizer = 'adam'");
        momentum.momentum = 0.9;
        assert!(momentum.check(SET, 0, 100).unwrap_err().to_string().contains("a setting of sgd; set it to 0"));
        let mut l2 = train("optimizer = 'adamw'");
        l2.l2 = 1e-3;
        assert!(l2.check(SET, 0, 100).unwrap_err().to_string().contains("adamw has train.decay"));
        assert!(refused("optimizer = 'adam'\ndecay = 0.1").contains("adam has train.l2"));
        let course = |text: &str| refused(&format!("schedule = {text}"));
        assert!(
            course("{ floor = 0.1 }").contains("train.schedule.floor contradicts train.schedule.kind = \"constant\"")
        );
        assert!(course("{ kind = 'step', every_epochs = 1.0, rise = 0.5 }").contains("a setting of one-cycle"));
    }

    #[test]
    fn schedules_longer_than_the_training_and_values_out_of_range_are_refused() {
        let course = |text: &str| refused(&format!("schedule = {text}"));
        for (text, words) in [
            ("{ warmup_epochs = 5.0 }", "the training ends after train.epochs = 5"),
            ("{ warmup_epochs = -1.0 }", "expected zero or a positive number"),
            ("{ kind = 'step', every_epochs = 9.0 }", "so nothing would change"),
            ("{ kind = 'step' }", "train.schedule.every_epochs: expected a positive number, got 0"),
            ("{ kind = 'milestones', at_epochs = [2.0, 7.0] }", "train.schedule.at_epochs = 7"),
            ("{ kind = 'milestones', at_epochs = [3.0, 2.0] }", "expected rising numbers"),
            ("{ kind = 'milestones' }", "expected at least one time"),
            ("{ kind = 'one-cycle', warmup_epochs = 1.0 }", "takes no warm-up"),
            ("{ kind = 'cosine', floor = 2.0 }", "it is between 0 and 1"),
        ] {
            let message = course(text);
            assert!(message.contains(words) && !message.contains('\n'), "{text}: {message}");
        }
        for (text, words) in [
            ("ema = 1.0", "train.ema: expected a number in [0, 1)"),
            ("label_smoothing = -0.1", "train.label_smoothing"),
            ("target_loss = 2.0", "train.target_loss"),
            ("clip = -1.0", "train.clip: expected zero or a positive number"),
            ("accumulate = 0", "train.accumulate: expected at least 1"),
            ("nesterov = true", "Nesterov's form needs a momentum above 0"),
        ] {
            let message = refused(text);
            assert!(message.contains(words) && !message.contains('\n'), "{text}: {message}");
        }
    }
}
