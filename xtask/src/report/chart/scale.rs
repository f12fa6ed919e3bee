//! Axes: the positions of numbers between 0 and 1, and ticks at round numbers.

use crate::study::metric::Scale;

/// One axis: its range, its scale and its ticks.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    percent: bool,
    /// The ticks.
    pub(crate) ticks: Vec<Tick>,
}

/// One tick.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    /// Its number.
    pub(crate) value: f64,
    /// Its label.
    pub(crate) label: String,
}

/// Approximate number of ticks of an axis.
const WANTED: f64 = 4.0;

impl Axis {
    /// An axis that contains all values; values that the scale cannot represent are ignored.
    pub(crate) fn over(values: impl IntoIterator<Item = f64>, scale: Scale) -> Self {
        let shown = |value: &f64| value.is_finite() && (scale != Scale::Logarithmic || *value > 0.0);
        let range = values.into_iter().filter(shown).fold(None, |range: Option<(f64, f64)>, value| {
            Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        match scale {
            Scale::Logarithmic => Self::logarithmic(range.unwrap_or((1.0, 10.0))),
            Scale::Linear => Self::linear(range.unwrap_or((0.0, 1.0)), 1.0, ""),
            Scale::Percent => Self { percent: true, ..Self::linear(range.unwrap_or((0.0, 1.0)), 100.0, " %") },
        }
    }

    /// A linear axis of exactly this range, with the ticks inside it.
    pub(crate) fn exactly(low: f64, high: f64) -> Self {
        let mut axis = Self::linear((low, high), 1.0, "");
        (axis.low, axis.high) = (low, high);
        axis.ticks.retain(|tick| (low..=high).contains(&tick.value));
        axis
    }

    /// Whether its values are shares that are written in percent.
    pub(crate) fn is_percent(&self) -> bool {
        self.percent
    }

    /// An axis of names, at 0, 1, 2 and so on.
    pub(crate) fn named(names: &[String]) -> Self {
        let tick = |(index, name): (usize, &String)| Tick { value: index as f64, label: name.clone() };
        let high = names.len().max(1) as f64 - 0.5;
        Self {
            low: -0.5,
            high,
            logarithmic: false,
            percent: false,
            ticks: names.iter().enumerate().map(tick).collect(),
        }
    }

    /// The label of a value that has a tick of its own; none elsewhere.
    pub(crate) fn name_of(&self, value: f64) -> Option<&str> {
        self.ticks.iter().find(|tick| tick.value == value).map(|tick| tick.label.as_str())
    }

    /// The position of a value, 0 to 1 inside the axis; none if the scale cannot represent it.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let spread = |number: f64| if self.logarithmic { number.ln() } else { number };
        let place = (spread(value) - spread(self.low)) / (spread(self.high) - spread(self.low));
        place.is_finite().then_some(place)
    }

    fn linear((low, high): (f64, f64), factor: f64, unit: &str) -> Self {
        let pad = if high > low { 0.0 } else { low.abs().max(1.0) * 0.05 };
        let (low, high) = (low - pad, high + pad);
        let step = nice_step((high - low) / WANTED);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let decimals = decimals(step * factor);
        let ticks = (first..=last).map(|index| {
            let value = index as f64 * step;
            // Adding zero turns −0 into 0.
            Tick { value, label: format!("{:.decimals$}{unit}", value * factor + 0.0) }
        });
        Self {
            low: first as f64 * step,
            high: last as f64 * step,
            logarithmic: false,
            percent: false,
            ticks: ticks.collect(),
        }
    }

    fn logarithmic((low, high): (f64, f64)) -> Self {
        // A margin, so that the outermost curves do not touch the edge.
        let margin = (high / low).powf(0.04).max(1.05);
        let (low, high) = (low / margin, high * margin);
        let decades = (high / low).log10();
        let ticks = if decades < 0.6 { even_ticks(low, high) } else { decade_ticks(low, high, decades) };
        Self { low, high, logarithmic: true, percent: false, ticks }
    }
}

/// Evenly spaced ticks, for less than half a decade.
fn even_ticks(low: f64, high: f64) -> Vec<Tick> {
    let step = nice_step((high - low) / WANTED);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|index| Tick { value: index as f64 * step, label: plain(index as f64 * step) }).collect()
}

fn decade_ticks(low: f64, high: f64, decades: f64) -> Vec<Tick> {
    let within = if decades < 1.2 {
        &[1.0, 2.0, 3.0, 5.0][..]
    } else if decades < 2.2 {
        &[1.0, 3.0][..]
    } else {
        &[1.0][..]
    };
    let every = (decades / 6.0).ceil().max(1.0) as i32;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last)
        .filter(|decade| decade % every == 0)
        .flat_map(|decade| within.iter().map(move |digit| digit * 10f64.powi(decade)))
        .filter(|value| (low..=high).contains(value))
        .map(|value| Tick { value, label: plain(value) })
        .collect()
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `raw`.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let digit = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|digit| digit * power >= raw * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * power
}

/// Number of decimals that a step of this size needs.
fn decimals(step: f64) -> usize {
    (0..6)
        .find(|digits| {
            let scaled = step * 10f64.powi(*digits);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        })
        .unwrap_or(6) as usize
}

/// A number without trailing zeros; very small and very large ones as powers of ten.
pub(crate) fn plain(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(9.99e-4..1e6).contains(&size) {
        let exponent = size.log10().floor() as i32;
        let digit = value / 10f64.powi(exponent);
        let mantissa = if (digit - 1.0).abs() < 1e-9 { String::new() } else { format!("{}·", shortest(digit)) };
        return format!("{mantissa}10{}", superscript(exponent));
    }
    shortest(value)
}

fn shortest(value: f64) -> String {
    let rounded = format!("{value:.6}");
    rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn superscript(exponent: i32) -> String {
    let digit = |character: char| match character {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    };
    exponent.to_string().chars().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], scale: Scale) -> Vec<String> {
        Axis::over(values.iter().copied(), scale).ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_at_round_numbers() {
        assert_eq!(labels(&[2.1, 3.9], Scale::Linear), ["2.0", "2.5", "3.0", "3.5", "4.0"]);
        assert_eq!(labels(&[0.31, 0.58], Scale::Percent), ["30 %", "40 %", "50 %", "60 %"]);
        assert_eq!(labels(&[3.0, 2500.0], Scale::Logarithmic), ["10", "100", "1000"]);
        assert_eq!(labels(&[14.0, 1024.0], Scale::Logarithmic), ["30", "100", "300", "1000"]);
        assert_eq!(labels(&[20.0, 110.0], Scale::Logarithmic), ["20", "30", "50", "100"]);
        assert_eq!(labels(&[5.0, 7.0], Scale::Logarithmic), ["5", "6", "7"]);
        assert_eq!(labels(&[1e-9, 1.0], Scale::Logarithmic), ["10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1"].map(String::from));
    }

    #[test]
    fn an_exact_axis_has_its_range() {
        let axis = Axis::exactly(0.0, 5.0);
        assert_eq!(axis.place(5.0), Some(1.0));
        assert_eq!(axis.ticks.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>(), ["0", "2", "4"]);
    }

    #[test]
    fn values_have_positions_except_zero_on_a_logarithmic_axis() {
        let axis = Axis::over([10.0, 1000.0], Scale::Logarithmic);
        assert!((axis.place(100.0).unwrap() - 0.5).abs() < 1e-12);
        assert!(axis.place(0.0).is_none() && axis.place(-1.0).is_none());
        let single = Axis::over([0.5], Scale::Percent);
        assert!((0.0..=1.0).contains(&single.place(0.5).unwrap()));
        assert!(!Axis::over([], Scale::Linear).ticks.is_empty());
    }

    #[test]
    fn numbers_are_written_without_trailing_zeros() {
        assert_eq!(plain(0.005), "0.005");
        assert_eq!(plain(128.0), "128");
        assert_eq!(plain(1e-5), "10⁻⁵");
        assert_eq!(plain(3e7), "3·10⁷");
        assert_eq!(plain(0.0), "0");
    }
}
