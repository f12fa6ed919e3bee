//! The geometric complexities of a report: one number, and one for each class.

use std::collections::BTreeMap;

use super::ReportOptions;
use crate::convention::Singletons;
use crate::geometric::{require_complexity, require_per_class};
use crate::{ClassMoments, Error, Result};

/// The geometric complexities of the options, over the samples that take part.
pub(super) struct Complexity {
    pub(super) mean: Option<f64>,
    /// The standard error of the mean over the mean; 0 for complexities of classes alone.
    pub(super) relative_error: f64,
    /// Of the classes that take part.
    pub(super) per_class: Option<BTreeMap<usize, f64>>,
}

impl Complexity {
    pub(super) fn of(options: &ReportOptions, labels: &[u32], moments: &ClassMoments) -> Result<Self> {
        const OPERATION: &str = "report";
        let (mut mean, mut of_samples) = (options.gc, 0.0);
        let classes = moments.classes_with(Singletons::LeftOut);
        let mut per_class: Option<BTreeMap<usize, f64>> = None;
        if let Some(gc) = &options.gc_per_class {
            require_per_class(OPERATION, moments, gc)?;
            per_class = Some(classes.iter().map(|&class| (class, gc[class])).collect());
        }
        if let Some(gc) = &options.gc_per_sample {
            if gc.len() != labels.len() {
                return Err(Error::Shape {
                    operation: OPERATION,
                    expected: format!("a geometric complexity for each of the {} samples", labels.len()),
                    actual: format!("[{}]", gc.len()),
                });
            }
            let mut sums: BTreeMap<usize, (f64, u64)> = classes.iter().map(|&class| (class, (0.0, 0))).collect();
            let mut total = 0.0;
            for (&label, value) in labels.iter().zip(gc) {
                if let Some(sum) = sums.get_mut(&(label as usize)) {
                    *sum = (sum.0 + value, sum.1 + 1);
                    total += value;
                }
            }
            let count = moments.measured_samples() as f64;
            mean = mean.or(Some(total / count));
            if total > 0.0 {
                let taken = labels.iter().zip(gc).filter(|(label, _)| sums.contains_key(&(**label as usize)));
                let squares: f64 = taken.map(|(_, value)| (value * count / total - 1.0).powi(2)).sum();
                of_samples = (squares / (count - 1.0) / count).sqrt();
            }
            let means = || sums.iter().map(|(&class, &(sum, count))| (class, sum / count as f64)).collect();
            let found = per_class.get_or_insert_with(means);
            found.values().try_for_each(|&value| require_complexity(OPERATION, value))?;
        }
        let relative_error = match options.gc_std_error {
            Some(error) if !(error.is_finite() && error >= 0.0) => {
                let what = "the standard error of a geometric complexity";
                return Err(Error::OutOfRange {
                    operation: OPERATION,
                    what,
                    range: "finite and not negative",
                    value: error,
                });
            }
            Some(error) => mean.filter(|mean| *mean > 0.0).map_or(0.0, |mean| error / mean),
            None => of_samples,
        };
        Ok(Self { mean, relative_error, per_class })
    }
}
