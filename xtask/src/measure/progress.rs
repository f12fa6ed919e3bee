//! The progress of a measurement in a terminal, counted in passes, and the samples that a tolerance needs.

use std::cell::{Cell, RefCell};

use gc_core::{Plan, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::note;

/// The number of samples from which the variance between samples is known well enough to say how many are needed.
const PILOT: usize = 32;

/// A bar that counts passes of one sample through the network; hidden where standard error is no terminal.
pub(crate) struct PassBar {
    bar: ProgressBar,
    /// Samples that can be measured.
    available: usize,
    tolerance: Option<f64>,
    max_passes: Option<u64>,
    has_told: Cell<bool>,
    /// The layer that is measured, before the counts; empty for a single measurement.
    layer: RefCell<String>,
}

impl PassBar {
    /// A bar for at most `available` samples.
    pub(crate) fn new(available: usize, tolerance: Option<f64>, max_passes: Option<u64>) -> Self {
        let style = ProgressStyle::with_template("{bar:24.cyan/black.bright} {pos}/{len} passes, {msg}, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style);
        Self { bar, available, tolerance, max_passes, has_told: Cell::new(false), layer: RefCell::default() }
    }

    /// Begins anew for the layer at this position.
    pub(crate) fn begin_layer(&self, position: usize, count: usize) {
        self.has_told.set(false);
        *self.layer.borrow_mut() = format!("layer {}/{count}, ", position + 1);
    }

    /// Shows the progress. Once, as soon as it is known, a line says how many samples the tolerance needs.
    pub(crate) fn show(&self, progress: &Progress) {
        let seen = Seen::of(progress);
        if let Some(needed) = self.needed(&seen)
            && !self.has_told.replace(true)
        {
            self.bar.suspend(|| note!("{}{}", self.layer.borrow(), needed.described()));
        }
        self.bar.set_length(self.total(&seen));
        self.bar.set_position(seen.passes);
        self.bar.set_message(format!("{}{}/{} samples", self.layer.borrow(), seen.samples, self.available));
    }

    /// Removes the bar.
    pub(crate) fn close(&self) {
        self.bar.finish_and_clear();
    }

    /// The passes of the whole measurement, as far as they are known.
    fn total(&self, seen: &Seen) -> u64 {
        let samples = self.needed(seen).map_or(self.available, |needed| needed.samples.min(self.available));
        let left = samples.saturating_sub(seen.samples) as u64 * seen.passes_per_sample;
        let total = (seen.complete + left).max(seen.passes);
        self.max_passes.map_or(total, |most| total.min(most.max(seen.passes)))
    }

    /// The samples that the tolerance needs: those of the plan, or as many as the error of the first ones asks for.
    fn needed(&self, seen: &Seen) -> Option<Needed> {
        let tolerance = self.tolerance?;
        let (samples, error) = match (seen.planned, seen.relative_error) {
            (Some(planned), _) => (planned.samples, planned.relative_error),
            (None, Some(reached)) if seen.samples >= PILOT => {
                let samples = seen.samples as f64 * (reached / tolerance).powi(2);
                ((samples.ceil() as usize).max(seen.samples), tolerance)
            }
            _ => return None,
        };
        // The error falls with the square root of the number of samples.
        let all =
            if samples > self.available { error * (samples as f64 / self.available as f64).sqrt() } else { error };
        Some(Needed {
            tolerance,
            samples,
            available: self.available,
            probes: seen.planned.map(|planned| planned.probes),
            short: (all > 1.001 * tolerance).then_some(all),
        })
    }
}

/// What is shown of a [`Progress`].
struct Seen {
    samples: usize,
    passes: u64,
    /// The passes of the samples that are complete, as far as they are known.
    complete: u64,
    passes_per_sample: u64,
    relative_error: Option<f64>,
    planned: Option<Planned>,
}

/// What is shown of a [`Plan`].
#[derive(Clone, Copy)]
struct Planned {
    samples: usize,
    probes: usize,
    relative_error: f64,
}

impl Seen {
    fn of(progress: &Progress) -> Self {
        let planned = |plan: &Plan| Planned {
            samples: plan.samples,
            probes: plan.probes,
            relative_error: plan.predicted_relative_error,
        };
        Self {
            samples: progress.samples,
            passes: progress.passes,
            complete: progress.complete_passes,
            passes_per_sample: progress.passes_per_sample,
            relative_error: progress.relative_error,
            planned: progress.plan.as_ref().map(planned),
        }
    }
}

/// The samples that a tolerance needs.
struct Needed {
    tolerance: f64,
    samples: usize,
    available: usize,
    /// Random directions for each sample.
    probes: Option<usize>,
    /// Where there are too few: the relative standard error that all of them would give.
    short: Option<f64>,
}

impl Needed {
    fn described(&self) -> String {
        let probes = match self.probes {
            Some(1) => " with one probe each".to_owned(),
            Some(probes) => format!(" with {probes} probes each"),
            None => String::new(),
        };
        let Self { samples, available, .. } = self;
        let percent = 100.0 * self.tolerance;
        match self.short {
            None => format!("{percent} % needs about {samples} samples{probes}; there are {available}"),
            Some(error) => format!(
                "{percent} % needs more than the {available} samples there are (about {samples}{probes}); expect about {:.2} %",
                100.0 * error
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(samples: usize, passes: u64, passes_per_sample: u64, relative_error: Option<f64>) -> Seen {
        let complete = samples as u64 * passes_per_sample;
        Seen { samples, passes, complete, passes_per_sample, relative_error, planned: None }
    }

    #[test]
    fn the_bar_is_full_when_all_passes_are_done() {
        let bar = PassBar::new(10, None, None);
        let at = |samples: usize, passes: u64| seen(samples, passes, 5, None);
        assert_eq!(bar.total(&at(0, 3)), 50);
        assert_eq!(bar.total(&at(4, 22)), 50);
        assert_eq!(bar.total(&at(10, 50)), 50);
        assert_eq!(PassBar::new(10, None, Some(20)).total(&at(2, 12)), 20);
    }

    #[test]
    fn the_samples_that_a_tolerance_needs_are_told() {
        let needed = |available: usize, error: f64| {
            PassBar::new(available, Some(0.01), None)
                .needed(&seen(40, 80, 2, Some(error)))
                .map(|needed| needed.described())
        };
        // Four times the error needs sixteen times the samples.
        assert_eq!(needed(5000, 0.04).unwrap(), "1 % needs about 640 samples; there are 5000");
        let short = needed(160, 0.04).unwrap();
        assert_eq!(short, "1 % needs more than the 160 samples there are (about 640); expect about 2.00 %");
        assert!(PassBar::new(100, Some(0.01), None).needed(&seen(8, 16, 2, Some(0.04))).is_none(), "too few to say");
        let planned = Planned { samples: 310, probes: 2, relative_error: 0.01 };
        let with_plan = |available| {
            let seen = Seen { planned: Some(planned), ..seen(32, 96, 3, Some(0.05)) };
            PassBar::new(available, Some(0.01), None).needed(&seen).unwrap().described()
        };
        assert_eq!(with_plan(5000), "1 % needs about 310 samples with 2 probes each; there are 5000");
        assert!(with_plan(100).contains("expect about 1.76 %"), "{}", with_plan(100));
    }
}
