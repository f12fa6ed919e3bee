//! Accuracies and their differences as text.

use std::fmt::{self, Formatter};

use crate::Interval;

/// Writes an accuracy in percent: `87.2 ± 0.6 %`, or `100.0 % (99.4 to 100.0 %)` where the mean is not the centre.
pub(super) fn accuracy(f: &mut Formatter<'_>, mean: f64, interval: &Interval) -> fmt::Result {
    let (mean, half) = (100.0 * mean, 100.0 * interval.half_width());
    let decimals = decimals(half);
    let (low, high) = (100.0 * interval.low, 100.0 * interval.high);
    if is_central(mean, low, high) {
        write!(f, "{mean:.decimals$} ± {half:.decimals$} %")
    } else {
        write!(f, "{mean:.decimals$} % ({low:.decimals$} to {high:.decimals$} %)")
    }
}

/// Writes a difference of accuracies in percentage points: `+1.2 ± 0.3 points`.
pub(super) fn difference(f: &mut Formatter<'_>, mean: f64, interval: &Interval) -> fmt::Result {
    let (mean, half) = (100.0 * mean, 100.0 * interval.half_width());
    let decimals = decimals(half);
    let (low, high) = (100.0 * interval.low, 100.0 * interval.high);
    if is_central(mean, low, high) {
        write!(f, "{mean:+.decimals$} ± {half:.decimals$} points")
    } else {
        write!(f, "{mean:+.decimals$} points ({low:+.decimals$} to {high:+.decimals$})")
    }
}

fn is_central(mean: f64, low: f64, high: f64) -> bool {
    (0.5 * (low + high) - mean).abs() < 1e-6
}

/// Number of decimals that shows one significant digit of `half`, and two where the first one is 1.
fn decimals(half: f64) -> usize {
    if !(half > 0.0 && half.is_finite()) {
        return 1;
    }
    let magnitude = half.log10().floor();
    let digits = if half / 10f64.powf(magnitude) < 1.95 { 2.0 } else { 1.0 };
    (digits - 1.0 - magnitude).clamp(0.0, 6.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Accuracy(f64, Interval);

    impl fmt::Display for Accuracy {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            accuracy(f, self.0, &self.1)
        }
    }

    struct Difference(f64, Interval);

    impl fmt::Display for Difference {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            difference(f, self.0, &self.1)
        }
    }

    #[test]
    fn text_shows_the_digits_that_the_error_supports() {
        let around = |mean: f64, half: f64| Interval::new(mean - half, mean + half, 0.95);
        assert_eq!(Accuracy(0.8724, around(0.8724, 0.0063)).to_string(), "87.2 ± 0.6 %");
        assert_eq!(Accuracy(0.8724, around(0.8724, 0.0013)).to_string(), "87.24 ± 0.13 %");
        assert_eq!(Accuracy(0.5, around(0.5, 0.25)).to_string(), "50 ± 25 %");
        assert_eq!(Accuracy(1.0, Interval::new(0.994, 1.0, 0.95)).to_string(), "100.0 % (99.4 to 100.0 %)");
        assert_eq!(Difference(0.0124, around(0.0124, 0.0031)).to_string(), "+1.2 ± 0.3 points");
        assert_eq!(Difference(0.0, around(0.0, 0.0061)).to_string(), "+0.0 ± 0.6 points");
    }
}
