//! Charts as SVG. Every colour is a custom property, so that a drawing fits light and dark pages.

mod better;
mod by_estimator;
mod by_layer;
mod by_sweep;
mod course_plots;
mod decomposition;
mod figure;
mod lines;
mod names;
mod overlay;
#[cfg(test)]
mod palette;
mod plot_area;
mod quantity;
mod scale;
mod scatter;
mod scatter_plots;

pub(crate) use better::Better;
pub(crate) use by_layer::by_layer;
pub(crate) use course_plots::course_plots;
pub(crate) use decomposition::{DecompositionPanels, decomposition};
pub(crate) use figure::{Column, standalone};
pub(crate) use lines::{LinePanel, Series};
pub(crate) use plot_area::marker;
pub(crate) use scale::{Axis, plain};
pub(crate) use scatter::{Group, Mark, ScatterPanel};
pub(crate) use scatter_plots::scatters;

use crate::report::results::Results;
use crate::study::experiment::Sweep;

/// The style sheet: custom properties of light and dark drawings, and the classes that use them.
pub(crate) const STYLE: &str = include_str!("chart.css");

/// Colours of the sequential palette, from the lowest swept value to the highest.
const STEPS: usize = 6;

/// The colour of the `index`-th of `count` ordered values.
pub(crate) fn step(index: usize, count: usize) -> usize {
    if count < 2 { STEPS / 2 } else { (index * (STEPS - 1) + (count - 1) / 2) / (count - 1) }
}

/// Number of colours for categories.
const CATEGORIES: usize = 4;

/// The names of the levels of a sweep, for people.
pub(crate) fn level_names(sweep: &Sweep) -> Vec<String> {
    if sweep.is_ordered() { sweep.numbers().into_iter().map(plain).collect() } else { sweep.names() }
}

/// The class of the colour of a level: by order, or, of categories, one of a few colours that repeat; the shapes of marks do not.
pub(crate) fn level_class(sweep: &Sweep, index: usize) -> String {
    if sweep.is_ordered() {
        format!("seq-{}", step(index, sweep.values.len()))
    } else if index % (CATEGORIES + 1) == CATEGORIES {
        "cat-base".to_owned()
    } else {
        format!("cat-{}", index % (CATEGORIES + 1))
    }
}

/// Every column of the figure: the sweeps, the overlays, the estimators of GC.
pub(crate) fn columns(results: &Results) -> Vec<Column> {
    let mut columns = by_sweep::columns(results);
    columns.extend(overlay::columns(results));
    columns.extend(by_estimator::columns(results));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_values_use_the_whole_palette_in_order() {
        assert_eq!((0..4).map(|index| step(index, 4)).collect::<Vec<_>>(), [0, 2, 3, 5]);
        assert_eq!((0..6).map(|index| step(index, 6)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(step(0, 1), 3);
    }
}
