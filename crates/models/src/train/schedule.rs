//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The factor of the base learning rate at each step: a linear warm-up, then a [`Course`].
///
/// **Conventions** steps count from 0. The course counts its steps from the end of the warm-up, except for milestones. During a
/// warm-up of w steps the factor is (step + 1)/w.
///
/// ```
/// use models::train::{Course, Schedule};
/// assert_eq!(Schedule::constant().factor(7, 10), 1.0);
/// assert_eq!(Schedule::cosine().factor(5, 10), 0.5);
/// assert_eq!(Schedule::cosine().with_warmup(4).factor(1, 10), 0.5);
/// assert_eq!(Schedule::step(3, 0.1).factor(3, 10), 0.1);
/// assert!(Schedule::cosine().over(8).validate(10).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Number of steps of the linear warm-up.
    #[serde(default)]
    pub warmup: u64,
    /// The course after the warm-up.
    #[serde(default)]
    pub course: Course,
    /// Number of steps that the schedule covers; by default those of the run. A longer run is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
}

/// The learning rate after the warm-up, as a factor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Course {
    /// 1 throughout.
    #[default]
    Constant,
    /// Multiplied by `gamma` after every `every` steps.
    Step {
        /// Steps between two changes.
        every: u64,
        /// Factor of one change.
        gamma: f64,
    },
    /// Multiplied by `gamma` at each of these steps, counted from the start of the run.
    Milestones {
        /// The steps, in increasing order.
        at: Vec<u64>,
        /// Factor of one change.
        gamma: f64,
    },
    /// Half a period of a cosine from 1 down to `floor` at the end.
    Cosine {
        /// The last factor.
        #[serde(default)]
        floor: f64,
    },
    /// One cycle: half a cosine from `start` up to 1, then half a cosine down to `end` at the last step. It takes no warm-up.
    ///
    /// **Source** L. Smith and N. Topin, arXiv 1708.07120; PyTorch's `OneCycleLR` with its defaults, without the cycle of the
    /// momentum.
    OneCycle {
        /// Share of the steps that rise (PyTorch's `pct_start`).
        #[serde(default = "rise")]
        rise: f64,
        /// The first factor (PyTorch's 1/`div_factor`).
        #[serde(default = "start")]
        start: f64,
        /// The last factor (PyTorch's 1/(`div_factor` · `final_div_factor`)).
        #[serde(default = "end")]
        end: f64,
    },
}

fn rise() -> f64 {
    0.3
}

fn start() -> f64 {
    1.0 / 25.0
}

fn end() -> f64 {
    1.0 / 25e4
}

/// The part of the way from `from` to `to` along half a cosine.
fn along_cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

impl Schedule {
    /// The base learning rate throughout.
    pub fn constant() -> Self {
        Self::default()
    }

    /// Multiplied by `gamma` after every `every` steps.
    pub fn step(every: u64, gamma: f64) -> Self {
        Self { course: Course::Step { every, gamma }, ..Self::default() }
    }

    /// Half a period of a cosine down to 0 at the end.
    pub fn cosine() -> Self {
        Self { course: Course::Cosine { floor: 0.0 }, ..Self::default() }
    }

    /// One cycle with PyTorch's defaults: up from 1/25 over 30 % of the steps, then down to 1/250,000.
    pub fn one_cycle() -> Self {
        Self { course: Course::OneCycle { rise: rise(), start: start(), end: end() }, ..Self::default() }
    }

    /// The same course after a linear warm-up of this many steps.
    pub fn with_warmup(self, warmup: u64) -> Self {
        Self { warmup, ..self }
    }

    /// The same schedule for this many steps.
    pub fn over(self, steps: u64) -> Self {
        Self { steps: Some(steps), ..self }
    }

    /// The factor at `step` of a run of `total` steps.
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let since = step - self.warmup;
        match &self.course {
            Course::Constant => 1.0,
            Course::Step { every, gamma } => gamma.powi((since / every.max(&1)).min(i32::MAX as u64) as i32),
            Course::Milestones { at, gamma } => gamma.powi(at.iter().filter(|at| **at <= step).count() as i32),
            Course::Cosine { floor } => {
                let span = self.steps.unwrap_or(total).saturating_sub(self.warmup).max(1) as f64;
                let progress = (since as f64 / span).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Course::OneCycle { rise, start, end } => {
                let last = self.steps.unwrap_or(total).saturating_sub(1) as f64;
                let top = (rise * (last + 1.0) - 1.0).clamp(0.0, last);
                let at = (step as f64).min(last);
                match at <= top {
                    true if top == 0.0 => 1.0,
                    true => along_cosine(*start, 1.0, at / top),
                    false => along_cosine(1.0, *end, (at - top) / (last - top)),
                }
            }
        }
    }

    /// Checks the schedule for a run of `total` steps.
    ///
    /// **Errors** [`Error::ScheduleEnds`] when it ends before the run; [`Error::Setting`] for a warm-up that is not shorter than the
    /// run, milestones after its end, and factors that are not finite and positive.
    pub fn validate(&self, total: u64) -> Result<()> {
        if let Some(steps) = self.steps.filter(|steps| *steps < total) {
            return Err(Error::ScheduleEnds { schedule: steps, run: total });
        }
        let refuse = |name, value: String, rule| Err(Error::Setting { op: "schedule", name, value, rule });
        if self.warmup >= total && self.warmup > 0 {
            return refuse("warmup", self.warmup.to_string(), "the warm-up is shorter than the run");
        }
        let factor = |gamma: f64| gamma.is_finite() && gamma > 0.0;
        match &self.course {
            Course::Step { every: 0, .. } => refuse("every", "0".into(), "it is at least 1"),
            Course::Step { gamma, .. } | Course::Milestones { gamma, .. } if !factor(*gamma) => {
                refuse("gamma", gamma.to_string(), "it is a finite number above 0")
            }
            Course::Milestones { at, .. } if !at.is_sorted_by(|a, b| a < b) => {
                refuse("at", format!("{at:?}"), "the steps increase")
            }
            Course::Milestones { at, .. } if at.last().is_some_and(|last| *last >= total) => {
                refuse("at", format!("{at:?}"), "every milestone is before the end of the run")
            }
            Course::OneCycle { .. } if self.warmup > 0 => {
                refuse("warmup", self.warmup.to_string(), "one cycle rises by itself and takes no warm-up")
            }
            Course::OneCycle { rise, .. } if !(*rise > 0.0 && *rise < 1.0) => {
                refuse("rise", rise.to_string(), "it is between 0 and 1")
            }
            Course::OneCycle { start, end, .. } if !(factor(*start) && factor(*end)) => {
                refuse("start and end", format!("{start} and {end}"), "they are finite numbers above 0")
            }
            Course::Cosine { floor } if !(0.0..=1.0).contains(floor) => {
                refuse("floor", floor.to_string(), "it is between 0 and 1")
            }
            _ => Ok(()),
        }
    }
}
