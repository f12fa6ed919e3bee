//! Values between two measured points of a run, at a given evaluation loss.

use crate::study::measurement::Measurement;
use crate::study::metric::{Metric, Scale};

/// A measured point of a run, or a point between two of them.
#[derive(Clone, Copy)]
pub(super) enum Point<'a> {
    /// A measured point.
    Measured(&'a Measurement),
    /// A point between two measured ones.
    Between {
        /// The measured point before it.
        before: &'a Measurement,
        /// The measured point after it.
        after: &'a Measurement,
        /// Its position on the way from the one to the other, in (0, 1).
        share: f64,
    },
}

/// The point at which the loss first falls to `level`, from the measurements in the order of training with their losses.
///
/// **Definition** Between the last measurement above the level and the first one at or below it, log loss is taken to change
/// linearly, and with it the logarithm of every metric on a logarithmic scale, or the metric itself on a linear scale.
///
/// None if the loss is never above the level, never falls to it, or is not positive.
pub(super) fn at_loss<'a>(losses: &[(&'a Measurement, f64)], level: f64) -> Option<Point<'a>> {
    let first = losses.iter().position(|(_, loss)| *loss <= level)?;
    let (before, above) = *losses.get(first.checked_sub(1)?)?;
    let (after, below) = *losses.get(first)?;
    if below == level {
        return Some(Point::Measured(after));
    }
    let share = (above / level).ln() / (above / below).ln();
    share.is_finite().then_some(Point::Between { before, after, share })
}

impl Point<'_> {
    /// The mean training loss over the last window of images there.
    pub(super) fn train_loss(&self) -> Option<f64> {
        match self {
            Self::Measured(measurement) => measurement.train_loss,
            Self::Between { before, after, share } => {
                let (before, after) = (before.train_loss?, after.train_loss?);
                Some(before * (after / before).powf(*share))
            }
        }
    }

    /// The value of a metric there; none if it is undefined at one of the two points.
    pub(super) fn value(&self, metric: Metric) -> Option<f64> {
        match self {
            Self::Measured(measurement) => measurement.value(metric),
            Self::Between { before, after, share } => {
                let (before, after) = (before.value(metric)?, after.value(metric)?);
                let logarithmic = metric.scale() == Scale::Logarithmic && before > 0.0 && after > 0.0;
                Some(if logarithmic {
                    before * (after / before).powf(*share)
                } else {
                    before + share * (after - before)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::measurement::{Measured, MeasuringPoint};
    use crate::study::metric::measures;

    fn measurement(step: usize, loss: f64, gc: f64, accuracy: f64) -> Measurement {
        let values = [(measures::EVALUATION_LOSS, loss), (measures::GC, gc), (measures::TEST_ACCURACY, accuracy)];
        Measurement {
            measuring_point: MeasuringPoint::Schedule { share: 0.5 },
            step,
            epoch: 1.0,
            train_loss: None,
            values: values.into_iter().map(|(metric, value)| (metric, Measured::new(value, None, 1))).collect(),
            estimates: Vec::new(),
            layers: Vec::new(),
        }
    }

    fn point(measurements: &[Measurement], level: f64) -> Option<Point<'_>> {
        let losses: Vec<_> = measurements.iter().map(|at| (at, at.value(measures::EVALUATION_LOSS).unwrap())).collect();
        at_loss(&losses, level)
    }

    #[test]
    fn the_loss_at_the_point_is_the_level_and_powers_of_it_are_exact() {
        // GC = loss² and accuracy = 1 − ln(loss)/ln 8 are interpolated without an error.
        let at = |step: usize, loss: f64| measurement(step, loss, loss * loss, 1.0 - loss.ln() / 8f64.ln());
        let course = [at(0, 8.0), at(10, 4.0), at(20, 1.0), at(30, 2.0)];
        let found = point(&course, 3.0).unwrap();
        assert!((found.value(measures::EVALUATION_LOSS).unwrap() - 3.0).abs() < 1e-12);
        assert!((found.value(measures::GC).unwrap() - 9.0).abs() < 1e-12);
        assert!((found.value(measures::TEST_ACCURACY).unwrap() - (1.0 - 3f64.ln() / 8f64.ln())).abs() < 1e-12);
        assert_eq!(found.value(measures::NC), None);
        // A measured point at the level itself is taken as it is.
        assert!(matches!(point(&course, 4.0), Some(Point::Measured(measurement)) if measurement.step == 10));
    }

    #[test]
    fn a_level_that_is_never_crossed_has_no_point() {
        let course = [measurement(0, 4.0, 1.0, 0.1), measurement(10, 2.0, 1.0, 0.2)];
        assert!(point(&course, 1.0).is_none());
        assert!(point(&course, 5.0).is_none());
        assert!(point(&[], 1.0).is_none());
    }
}
