//! Results with a standard error as text: `17.2 ± 0.6`.

use std::fmt;

use crate::{Agreement, Cdnv, GeometricCollapse, NearestMeanError};

/// Writes a value and its standard error, the error to one significant digit and the value to the same decimal. Without
/// an error the value is written to four significant digits.
fn write(out: &mut fmt::Formatter<'_>, value: f64, error: Option<f64>) -> fmt::Result {
    let exponent = |number: f64| if number == 0.0 { 0 } else { number.abs().log10().floor() as i32 };
    let Some(error) = error.filter(|error| error.is_finite() && *error > 0.0) else {
        let plain = value.is_finite() && (-4..=6).contains(&exponent(value));
        if !plain {
            return write!(out, "{value:.3e}");
        }
        let decimals = (3 - exponent(value)).max(0) as usize;
        return write!(out, "{value:.decimals$}");
    };
    // The error may round up to the next power of ten: 0.096 is 0.1.
    let digit = 10f64.powi(exponent(error));
    let last = exponent((error / digit).round() * digit * 1.000_001);
    let largest = exponent(value).max(last);
    if (-4..=6).contains(&largest) && last <= 0 {
        let decimals = last.unsigned_abs() as usize;
        return write!(out, "{value:.decimals$} ± {error:.decimals$}");
    }
    let (scale, decimals) = (10f64.powi(largest), (largest - last) as usize);
    write!(out, "({:.decimals$} ± {:.decimals$})e{largest}", value / scale, error / scale)
}

impl fmt::Display for Cdnv {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(out, self.mean, self.std_error)
    }
}

impl fmt::Display for GeometricCollapse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(out, self.value, self.std_error)
    }
}

impl fmt::Display for NearestMeanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(out, self.error, Some(self.std_error))
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(out, self.agreement, Some(self.std_error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair(f64, Option<f64>);

    impl fmt::Display for Pair {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(out, self.0, self.1)
        }
    }

    #[test]
    fn values_are_rounded_to_the_first_digit_of_the_error() {
        let text = |value, error| Pair(value, error).to_string();
        assert_eq!(text(17.21, Some(0.63)), "17.2 ± 0.6");
        assert_eq!(text(17.21, Some(0.096)), "17.2 ± 0.1");
        assert_eq!(text(3.0, Some(2.0)), "3 ± 2");
        assert_eq!(text(0.025, Some(0.0004)), "0.0250 ± 0.0004");
        assert_eq!(text(2.514e-7, Some(3e-9)), "(2.51 ± 0.03)e-7");
        assert_eq!(text(12348.0, Some(67.0)), "(1.235 ± 0.007)e4");
        assert_eq!(text(0.025, None), "0.02500");
        assert_eq!(text(2.5e-9, None), "2.500e-9");
        assert_eq!(text(0.0, None), "0.000");
    }
}
