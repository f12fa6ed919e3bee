//! One quantity against another at the end of training, a mark for each run.

use maud::{Markup, html};

use super::frame::{Frame, marker};
use super::scale::Axis;

/// Size of a scatter plot, in the units of its view box: about the pixels that it has on a phone, where its text must be
/// readable too.
pub(super) const PLOT: (f64, f64) = (390.0, 248.0);

/// Runs as marks on two axes.
#[derive(Debug, Clone)]
pub(crate) struct ScatterPanel {
    /// Unique in the page.
    pub(crate) id: String,
    /// What is drawn, in a line.
    pub(crate) title: String,
    /// What can be seen, for those who do not see it.
    pub(crate) description: String,
    /// Names of the horizontal and the vertical axis.
    pub(crate) names: (String, String),
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// What the colours mean, in order.
    pub(crate) groups: Vec<Group>,
    /// The runs.
    pub(crate) marks: Vec<Mark>,
}

/// The runs of one colour and shape.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Name in the key.
    pub(crate) label: String,
    /// Class of its colour.
    pub(crate) class: String,
    /// Its shape of mark.
    pub(crate) shape: usize,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Index of its group.
    pub(crate) group: usize,
    /// Its values.
    pub(crate) at: (f64, f64),
    /// Whether a rule excludes it from verdicts.
    pub(crate) excluded: bool,
    /// What it is.
    pub(crate) label: String,
}

impl ScatterPanel {
    /// The plot as a drawing of its own.
    pub(crate) fn svg(&self) -> Markup {
        let (width, height) = PLOT;
        let frame = Frame::within(width, height);
        let axes = (&self.x, &self.y);
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) role="img" tabindex="0"
                aria-labelledby=(format!("{id}-t {id}-d", id = self.id)) {
                title id=(format!("{}-t", self.id)) { (self.title) }
                desc id=(format!("{}-d", self.id)) { (self.description) }
                (frame.draw(axes, (&self.names.0, &self.names.1)))
                @for mark in &self.marks {
                    @let group = &self.groups[mark.group];
                    @if let Some(place) = frame.at(axes, mark.at) {
                        g class=(group.class) {
                            (marker(group.shape, place, 4.2, if mark.excluded { "mark hollow" } else { "mark" }, Some(&mark.label)))
                        }
                    }
                }
            }
        }
    }
}
