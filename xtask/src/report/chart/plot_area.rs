//! The elements of every chart: the plot area, its two axes, marks.

use maud::{Markup, html};

use super::better::Better;
use super::names;
use super::scale::Axis;

/// The rectangle inside the axes, in the units of the view box.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlotArea {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// The height of slanted names below the horizontal axis; 0 for labels that stand beside each other.
    names: f64,
}

impl PlotArea {
    /// The plot area of a drawing of this size, without the margins for labels.
    pub(super) fn within(width: f64, height: f64) -> Self {
        Self { left: 46.0, top: 26.0, width: width - 60.0, height: height - 66.0, names: 0.0 }
    }

    /// The same, with room for the names of the horizontal axis where they are so long that they have to be slanted.
    pub(super) fn above(width: f64, height: f64, axis: &Axis) -> Self {
        let area = Self::within(width, height);
        let names = names::height(&area.ticks(axis), width);
        Self { height: area.height - names, names, ..area }
    }

    /// The labels of the horizontal axis with their positions.
    fn ticks<'a>(&self, axis: &'a Axis) -> Vec<(f64, &'a str)> {
        axis.ticks.iter().filter_map(|tick| Some((self.x(axis.place(tick.value)?), tick.label.as_str()))).collect()
    }

    pub(super) fn x(&self, place: f64) -> f64 {
        self.left + place * self.width
    }

    pub(super) fn y(&self, place: f64) -> f64 {
        self.top + (1.0 - place) * self.height
    }

    /// The position of a point; none if it is outside of an axis.
    pub(super) fn at(&self, axes: (&Axis, &Axis), point: (f64, f64)) -> Option<(f64, f64)> {
        let inside = |place: &f64| (-1e-9..=1.0 + 1e-9).contains(place);
        let (x, y) = (axes.0.place(point.0).filter(inside)?, axes.1.place(point.1).filter(inside)?);
        Some((self.x(x), self.y(y)))
    }

    /// The position of a value on the vertical axis, moved to the nearest edge if it is outside.
    pub(super) fn y_inside(&self, axis: &Axis, value: f64) -> f64 {
        self.y(axis.place(value).unwrap_or(0.0).clamp(0.0, 1.0))
    }

    /// The position of a value on the horizontal axis, moved to the nearest edge if it is outside.
    pub(super) fn x_inside(&self, axis: &Axis, value: f64) -> f64 {
        self.x(axis.place(value).unwrap_or(0.0).clamp(0.0, 1.0))
    }

    /// Its left, top, right and bottom edge, as the script of the page reads them.
    pub(super) fn corners(&self) -> String {
        format!("{} {} {} {}", self.left, self.top, self.left + self.width, self.top + self.height)
    }

    /// Grid, ticks and names of both axes, and the direction in which the vertical quantity is better. The name of the
    /// vertical axis is horizontal, above it.
    pub(super) fn draw(&self, axes: (&Axis, &Axis), titles: (&str, &str), better: Option<Better>) -> Markup {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        let ticks = self.ticks(axes.0);
        let every = if self.names > 0.0 { names::every(&ticks) } else { 1 };
        html! {
            @for tick in &axes.1.ticks {
                @if let Some(place) = axes.1.place(tick.value) {
                    @let y = round(self.y(place));
                    line.grid x1=(round(self.left)) y1=(y) x2=(round(right)) y2=(y) {}
                    text.quiet x=(round(self.left - 6.0)) y=(y) dy="0.35em" text-anchor="end" { (tick.label) }
                }
            }
            line.axis x1=(round(self.left)) y1=(round(bottom)) x2=(round(right)) y2=(round(bottom)) {}
            @for (index, (x, label)) in ticks.into_iter().enumerate() {
                line.axis x1=(round(x)) y1=(round(bottom)) x2=(round(x)) y2=(round(bottom + 4.0)) {}
                @if self.names == 0.0 {
                    text.quiet x=(round(x)) y=(round(bottom + 17.0)) text-anchor="middle" { (label) }
                } @else if index % every == 0 {
                    (names::slanted(x, bottom, label))
                }
            }
            text x=(round(self.left - 40.0)) y=(round(self.top - 12.0)) { (titles.1) }
            @if let Some(better) = better {
                text.quiet x=(round(right)) y=(round(self.top - 12.0)) text-anchor="end" { (better.words()) }
            }
            text.quiet x=(round(right)) y=(round(bottom + 33.0 + self.names)) text-anchor="end" { (titles.0) }
        }
    }
}

/// A mark of one of six shapes, so that groups do not differ by colour alone.
pub(crate) fn marker(shape: usize, (x, y): (f64, f64), size: f64, class: &str, title: Option<&str>) -> Markup {
    let path = match shape % 6 {
        0 => circle(x, y, size),
        1 => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)], x, y, size),
        2 => polygon(&[(0.0, -1.2), (1.1, 0.85), (-1.1, 0.85)], x, y, size),
        3 => polygon(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)], x, y, size),
        4 => polygon(&[(0.0, 1.2), (1.1, -0.85), (-1.1, -0.85)], x, y, size),
        _ => polygon(&[(-0.55, -1.2), (0.55, -1.2), (1.2, 0.0), (0.55, 1.2), (-0.55, 1.2), (-1.2, 0.0)], x, y, size),
    };
    html! { path class=(class) d=(path) { @if let Some(title) = title { title { (title) } } } }
}

/// A cross at the end of a curve whose training diverged.
pub(super) fn cross((x, y): (f64, f64), size: f64) -> Markup {
    let (left, right, top, bottom) = (round(x - size), round(x + size), round(y - size), round(y + size));
    html! { path.end d=(format!("M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}")) {} }
}

fn circle(x: f64, y: f64, radius: f64) -> String {
    let (start, r) = (round(x - radius), round(radius));
    format!("M{start} {}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", round(y), d = round(2.0 * radius))
}

fn polygon(corners: &[(f64, f64)], x: f64, y: f64, size: f64) -> String {
    let points = corners.iter().map(|(dx, dy)| format!("{} {}", round(x + dx * size), round(y + dy * size)));
    format!("M{}z", points.collect::<Vec<_>>().join("L"))
}

/// A path through points.
pub(super) fn path(points: &[(f64, f64)]) -> String {
    let points = points.iter().map(|(x, y)| format!("{} {}", round(*x), round(*y)));
    format!("M{}", points.collect::<Vec<_>>().join("L"))
}

/// Rounds to hundredths, which are not visible, so that the text is the same on every machine.
pub(super) fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
