//! Costs with their units.

/// A cost with three significant digits, in the unit that suits its size.
pub(super) fn cost(value: f64, unit: &str) -> String {
    if unit != "s" {
        return format!("{value:.0} {unit}");
    }
    let (scaled, unit) = match value {
        value if value >= 1.0 => (value, "s"),
        value if value >= 1e-3 => (value * 1e3, "ms"),
        value if value >= 1e-6 => (value * 1e6, "µs"),
        value => (value * 1e9, "ns"),
    };
    let decimals = if scaled >= 99.95 {
        0
    } else if scaled >= 9.995 {
        1
    } else {
        2
    };
    format!("{scaled:.decimals$} {unit}")
}
