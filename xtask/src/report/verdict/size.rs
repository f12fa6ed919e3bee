//! The size of a trend or an association: a factor or percentage points, with an interval over seeds.

use serde::Serialize;
use statistics::{ChangeScale, Effect};

use crate::report::chart::plain;
use crate::report::table::three_digits;
use crate::study::experiment::Rules;

/// The size of a trend or an association.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Size {
    /// Mean over seeds: a factor (geometric mean), or a difference in percentage points.
    pub(crate) change: f64,
    /// Student's t-interval over seeds; none for one seed.
    pub(crate) interval: Option<(f64, f64)>,
    /// The unit of the change.
    pub(crate) unit: SizeUnit,
    /// What the change is over.
    pub(crate) over: SizeOver,
    /// Number of seeds.
    pub(crate) seeds: usize,
}

/// The unit of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SizeUnit {
    /// The metric is multiplied by this factor.
    Factor,
    /// This is added to the metric, in percentage points.
    Points,
}

/// What the change of a size is over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum SizeOver {
    /// From the smallest to the largest of the swept values that have a run in every seed.
    Sweep {
        /// The smallest of these values.
        from: f64,
        /// The largest of these values.
        to: f64,
        /// Whether these are the smallest and the largest value of the sweep.
        whole: bool,
    },
    /// From one level of a contrast to the other.
    Contrast,
    /// For each doubling of the other metric of an association.
    Doubling,
}

impl SizeUnit {
    /// The word in CSV.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Factor => "factor",
            Self::Points => "points",
        }
    }
}

impl Size {
    /// The size of a trend from its effect: the logarithm of a factor, or a difference.
    pub(crate) fn of(effect: &Effect, (from, to): (f64, f64), scale: ChangeScale, values: &[f64]) -> Self {
        let whole = values.first() == Some(&from) && values.last() == Some(&to);
        Self::from_effect(effect, scale, 1.0, SizeOver::Sweep { from, to, whole })
    }

    /// The size of a contrast from its effect: the logarithm of a factor, or a difference.
    pub(crate) fn of_contrast(effect: &Effect, scale: ChangeScale) -> Self {
        Self::from_effect(effect, scale, 1.0, SizeOver::Contrast)
    }

    /// The size of an association from its slope on the logarithm of the other metric.
    pub(crate) fn of_doubling(slope: &Effect, scale: ChangeScale) -> Self {
        Self::from_effect(slope, scale, std::f64::consts::LN_2, SizeOver::Doubling)
    }

    fn from_effect(effect: &Effect, scale: ChangeScale, times: f64, over: SizeOver) -> Self {
        let (unit, back): (SizeUnit, fn(f64) -> f64) = match scale {
            ChangeScale::Factor => (SizeUnit::Factor, f64::exp),
            ChangeScale::Difference => (SizeUnit::Points, |value| value),
        };
        let interval = effect.interval.map(|interval| (back(times * interval.low), back(times * interval.high)));
        Self { change: back(times * effect.mean), interval, unit, over, seeds: effect.per_seed.len() }
    }

    /// The swept values at the ends of a trend.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        match self.over {
            SizeOver::Sweep { from, to, .. } => Some((from, to)),
            SizeOver::Contrast | SizeOver::Doubling => None,
        }
    }

    /// The number with its interval, such as `0.72 [0.66, 0.79]` or `+4.0 points [+1.2, +6.8]`.
    pub(crate) fn number(&self) -> String {
        let unit = if self.unit == SizeUnit::Points { " points" } else { "" };
        let interval =
            self.interval.map_or_else(String::new, |(low, high)| format!(" [{}, {}]", self.one(low), self.one(high)));
        format!("{}{unit}{interval}", self.one(self.change))
    }

    fn one(&self, value: f64) -> String {
        match self.unit {
            SizeUnit::Factor => three_digits(value),
            SizeUnit::Points => format!("{value:+.1}").replace('-', "−"),
        }
    }

    /// The size in words, such as `×0.72 over the sweep, [0.66, 0.79]`.
    pub(crate) fn words(&self) -> String {
        let interval = self.interval.map_or_else(
            || ", one seed".to_owned(),
            |(low, high)| format!(", [{}, {}]", self.one(low), self.one(high)),
        );
        let over = match self.over {
            SizeOver::Sweep { whole: true, .. } => " over the sweep".to_owned(),
            SizeOver::Sweep { from, to, .. } => format!(" from {} to {}", plain(from), plain(to)),
            SizeOver::Contrast => String::new(),
            SizeOver::Doubling => " for each doubling".to_owned(),
        };
        match self.unit {
            SizeUnit::Factor => format!("×{}{over}{interval}", self.one(self.change)),
            SizeUnit::Points => format!("{} points{over}{interval}", self.one(self.change)),
        }
    }
}

/// The margin within which the rules call a change negligible, on the scale of an effect.
pub(super) fn margin(scale: ChangeScale, rules: &Rules) -> (f64, f64) {
    match scale {
        ChangeScale::Factor => (-rules.negligible_factor.ln(), rules.negligible_factor.ln()),
        ChangeScale::Difference => (-rules.negligible_points, rules.negligible_points),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statistics::{SeedValue, SweepRun, trend_size};

    #[test]
    fn sizes_have_their_range_unit_and_interval_in_words() {
        let run = |seed, x, y| SweepRun { seed, x, y };
        let rows = [run(0, 0.0, 50.0), run(0, 1.0, 53.0), run(1, 0.0, 50.0), run(1, 1.0, 55.0)];
        let (effect, range) = trend_size(&rows, ChangeScale::Difference, 0.95).unwrap();
        let size = Size::of(&effect, range, ChangeScale::Difference, &[0.0, 0.1, 1.0]);
        // Mean of 3 and 5 points; s = √2, t(1, 97.5 %) = 12.7062.
        assert_eq!(size.words(), "+4.0 points over the sweep, [−8.7, +16.7]");
        assert_eq!((size.number(), size.seeds), ("+4.0 points [−8.7, +16.7]".to_owned(), 2));
        let (effect, range) = trend_size(&rows[..2], ChangeScale::Factor, 0.95).unwrap();
        let size = Size::of(&effect, range, ChangeScale::Factor, &[0.0, 1.0, 2.0]);
        assert_eq!((size.words(), size.interval), ("×1.06 from 0 to 1, one seed".to_owned(), None));
    }

    #[test]
    fn the_size_of_an_association_is_for_a_doubling() {
        // y ∝ x^0.5: each doubling multiplies y by √2.
        let seeds = (0..2).map(|seed| SeedValue { seed, value: 0.5 }).collect();
        let effect = statistics::Effect::over_seeds(seeds, 0.95).unwrap();
        let size = Size::of_doubling(&effect, ChangeScale::Factor);
        assert!((size.change - 2f64.sqrt()).abs() < 1e-12 && size.range().is_none());
        assert_eq!(size.words(), "×1.41 for each doubling, [1.41, 1.41]");
    }

    #[test]
    fn margins_are_on_the_scale_of_the_effect() {
        let rules = crate::study::experiment::Experiment::resolve("fig4", "quick", None, None, &[]).unwrap().plan.rules;
        let (low, high) = margin(ChangeScale::Factor, &rules);
        assert!((low + 1.05f64.ln()).abs() < 1e-15 && (high - 1.05f64.ln()).abs() < 1e-15);
        assert_eq!(margin(ChangeScale::Difference, &rules), (-1.0, 1.0));
    }
}
