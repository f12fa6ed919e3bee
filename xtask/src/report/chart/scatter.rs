//! A scatter plot of one quantity against another.

use maud::{Markup, html};

use super::plot_area::{PlotArea, marker};
use super::scale::Axis;

/// Size of a scatter plot, in the units of its view box: about its pixels on a phone, so that its text is readable there.
pub(super) const PLOT: (f64, f64) = (390.0, 248.0);

/// A scatter plot.
#[derive(Debug, Clone)]
pub(crate) struct ScatterPanel {
    /// Unique in the page.
    pub(crate) id: String,
    /// Title, in one line.
    pub(crate) title: String,
    /// Description for screen readers.
    pub(crate) description: String,
    /// Names of the horizontal and the vertical axis.
    pub(crate) names: (String, String),
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// The groups of marks, in the order of the key.
    pub(crate) groups: Vec<Group>,
    /// The marks.
    pub(crate) marks: Vec<Mark>,
}

/// The marks of one colour and shape.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Name in the key.
    pub(crate) label: String,
    /// Class of its colour.
    pub(crate) class: String,
    /// The shape of its marks.
    pub(crate) shape: usize,
}

/// A mark: one run.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Index of its group.
    pub(crate) group: usize,
    /// Its values.
    pub(crate) at: (f64, f64),
    /// Whether a rule excludes it from verdicts.
    pub(crate) excluded: bool,
    /// Its tooltip.
    pub(crate) label: String,
}

impl ScatterPanel {
    /// The plot as an SVG element.
    pub(crate) fn svg(&self) -> Markup {
        let (width, height) = PLOT;
        let area = PlotArea::within(width, height);
        let axes = (&self.x, &self.y);
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) role="img" tabindex="0"
                aria-labelledby=(format!("{id}-t {id}-d", id = self.id)) {
                title id=(format!("{}-t", self.id)) { (self.title) }
                desc id=(format!("{}-d", self.id)) { (self.description) }
                (area.draw(axes, (&self.names.0, &self.names.1)))
                @for mark in &self.marks {
                    @let group = &self.groups[mark.group];
                    @if let Some(place) = area.at(axes, mark.at) {
                        g class=(group.class) {
                            (marker(group.shape, place, 4.2, if mark.excluded { "mark hollow" } else { "mark" }, Some(&mark.label)))
                        }
                    }
                }
            }
        }
    }
}
