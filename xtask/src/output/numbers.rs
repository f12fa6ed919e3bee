//! Numbers for people: as many digits as the standard error leaves.

/// A number with its standard error, such as `17.2 ± 0.6`; without one, with four digits.
///
/// The error has two digits if they are at most 35, else one, as the Particle Data Group rounds; the value ends at the same digit.
pub(crate) fn measured(value: f64, error: Option<f64>) -> String {
    match error {
        Some(error) if usable(value, error) => joined(value, error, [value, error], " ± "),
        Some(0.0) => format!("{} ± 0", plain(value)),
        _ => plain(value),
    }
}

/// The ends of an interval, such as `16.1 to 18.4`, with the digits and in the notation of the value and its standard error.
pub(crate) fn interval(value: f64, error: f64, [low, high]: [f64; 2]) -> String {
    if usable(value, error) {
        joined(value, error, [low, high], " to ")
    } else {
        format!("{} to {}", plain(low), plain(high))
    }
}

fn usable(value: f64, error: f64) -> bool {
    value.is_finite() && error.is_finite() && error > 0.0
}

/// Two numbers with the digits that the error leaves to the value.
fn joined(value: f64, error: f64, numbers: [f64; 2], by: &str) -> String {
    let last = last_digit(error);
    let size = value.abs().max(error);
    if (1e-3..1e6).contains(&size) {
        return numbers.map(|number| fixed(number, last)).join(by);
    }
    let exponent = size.log10().floor() as i32;
    let scaled = numbers.map(|number| fixed(number / 10f64.powi(exponent), last - exponent));
    format!("({})e{exponent}", scaled.join(by))
}

/// A number with four digits, in the shorter of the two notations.
fn plain(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.decimals$}")
}

/// The power of ten of the last digit that an error leaves.
fn last_digit(error: f64) -> i32 {
    let exponent = error.log10().floor() as i32;
    let leading = (error / 10f64.powi(exponent - 1)).round();
    if leading <= 35.0 { exponent - 1 } else { exponent }
}

/// A number rounded to a multiple of 10 to the power of `last`.
fn fixed(value: f64, last: i32) -> String {
    if last < 0 {
        let decimals = last.unsigned_abs() as usize;
        return format!("{value:.decimals$}");
    }
    let unit = 10f64.powi(last);
    format!("{:.0}", (value / unit).round() * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_decides_on_the_digits() {
        for (value, error, expected) in [
            (17.234, 0.62, "17.2 ± 0.6"),
            (15.9412, 0.158, "15.94 ± 0.16"),
            (15.9412, 0.352, "15.94 ± 0.35"),
            (15.9412, 0.361, "15.9 ± 0.4"),
            (0.004_217, 0.000_9, "0.0042 ± 0.0009"),
            (123_456.0, 789.0, "123500 ± 800"),
            (1.234e-7, 3.4e-9, "(1.234 ± 0.034)e-7"),
            (2.5e9, 4.2e7, "(2.50 ± 0.04)e9"),
            (0.2, 31.0, "0 ± 31"),
            (-1.25, 0.5, "-1.2 ± 0.5"),
        ] {
            assert_eq!(measured(value, Some(error)), expected);
        }
    }

    #[test]
    fn without_an_error_there_are_four_digits() {
        let read: Vec<String> =
            [0.0, 1.5, 123.456_789, 0.012_345_678, 1.0e-7, 2.5e9, 42_137.0].map(|x| measured(x, None)).to_vec();
        assert_eq!(read, ["0", "1.500", "123.5", "0.01235", "1.000e-7", "2.500e9", "42137"]);
        assert_eq!(measured(42.0, Some(0.0)), "42.00 ± 0");
        assert_eq!(measured(f64::NAN, Some(1.0)), "NaN");
        assert_eq!(measured(1.0, Some(f64::NAN)), "1.000");
    }

    #[test]
    fn the_ends_of_an_interval_have_the_digits_of_the_value() {
        assert_eq!(interval(17.234, 0.62, [16.018, 18.449]), "16.0 to 18.4");
        assert_eq!(interval(1.234e-7, 3.4e-9, [1.167e-7, 1.301e-7]), "(1.167 to 1.301)e-7");
        assert_eq!(interval(1.0, 0.0, [1.0, 1.0]), "1.000 to 1.000");
    }
}
