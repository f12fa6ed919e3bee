//! A panel for each cost curve: points, fitted power and roofline, on logarithmic axes.

use maud::{Markup, html};

use super::curves::{Curve, curves};
use super::recorded::Recorded;
use super::units::cost;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 40.0;
const COLUMNS: usize = 2;

/// The picture of all curves; `None` without curves.
pub(super) fn picture(recorded: &Recorded) -> Option<Markup> {
    let curves: Vec<Curve> = recorded.topics.values().flatten().flat_map(curves).collect();
    if curves.is_empty() {
        return None;
    }
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * curves.len().div_ceil(COLUMNS) as f64 + 24.0);
    Some(html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width:.0} {height:.0}")) role="img" {
            title { "Cost against size, with the fitted power and what the machine's peaks allow" }
            style { (super::svg::STYLE) }
            rect class="paper" width=(width) height=(height) {}
            @for (index, curve) in curves.iter().enumerate() {
                @let (column, row) = (index % COLUMNS, index / COLUMNS);
                g transform=(format!("translate({:.0} {:.0})", column as f64 * WIDTH, row as f64 * HEIGHT)) { (panel(curve)) }
            }
            g transform=(format!("translate(20 {:.0})", height - 12.0)) {
                circle class="point" cx="0" cy="-4" r="4" {}
                text x="10" y="0" { "measured" }
                line class="fit" x1="90" x2="116" y1="-4" y2="-4" {}
                text x="122" y="0" { "fitted power" }
                line class="roof" x1="220" x2="246" y1="-4" y2="-4" {}
                text x="252" y="0" { "roofline: least work at the measured peaks of gemm and copy" }
            }
        }
    })
}

/// Logarithmic axes over whole powers of ten in height, and over the sizes themselves in width.
struct Axes {
    sizes: (f64, f64),
    costs: (f64, f64),
}

impl Axes {
    fn of(curve: &Curve) -> Self {
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
        };
        let costs = &mut curve.points.iter().flat_map(|point| {
            [Some(point.cost), point.roofline.map(|roof| roof.seconds)].into_iter().flatten().map(f64::log10)
        });
        let costs = ends(costs);
        let sizes = ends(&mut curve.points.iter().map(|point| point.size.ln()));
        Self { sizes, costs: (costs.0.floor(), costs.1.ceil().max(costs.0.floor() + 1.0)) }
    }

    fn x(&self, size: f64) -> f64 {
        LEFT + (size.ln() - self.sizes.0) / (self.sizes.1 - self.sizes.0) * (WIDTH - LEFT - RIGHT - 20.0) + 10.0
    }

    fn y(&self, cost: f64) -> f64 {
        HEIGHT - BOTTOM - (cost.log10() - self.costs.0) / (self.costs.1 - self.costs.0) * (HEIGHT - TOP - BOTTOM)
    }
}

fn panel(curve: &Curve) -> Markup {
    let axes = Axes::of(curve);
    let at = |size: f64, cost: f64| format!("{:.1},{:.1}", axes.x(size), axes.y(cost));
    let line = |cost: &dyn Fn(f64, usize) -> Option<f64>| {
        let points = curve.points.iter().enumerate();
        points
            .map(|(index, point)| Some(at(point.size, cost(point.size, index)?)))
            .collect::<Option<Vec<_>>>()
            .map(|points| points.join(" "))
    };
    let (name, size) = curve.name.rsplit_once("against ").unwrap_or((&curve.name, "size"));
    let fit = curve.fit();
    let shown = |fit: Option<super::curves::Fit>| fit.map_or("–".to_owned(), |fit| format!("{:.2}", fit.exponent));
    html! {
        text class="head" x=(LEFT) y="20" { (name.trim_end_matches([' ', ','])) }
        text x=(LEFT) y="36" { "grows as " (size) "^" (shown(fit)) ", the roofline as ^" (shown(curve.roofline_fit())) }
        @for power in axes.costs.0 as i32..=axes.costs.1 as i32 {
            @let y = axes.y(10f64.powi(power));
            line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(place(y)) y2=(place(y)) {}
            text x=(LEFT - 6.0) y=(place(y + 4.0)) text-anchor="end" { (decade(power)) }
        }
        @for point in &curve.points {
            text x=(place(axes.x(point.size))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (point.size) }
        }
        text x=(WIDTH - RIGHT) y=(HEIGHT - 6.0) text-anchor="end" { (size) }
        @if let Some(points) = line(&|_, index| Some(curve.points[index].roofline?.seconds)) {
            polyline class="roof" points=(points) {}
        }
        @if let Some(points) = fit.and_then(|fit| line(&|size, _| Some(fit.at(size)))) {
            polyline class="fit" points=(points) {}
        }
        @for point in &curve.points {
            circle class="point" cx=(place(axes.x(point.size))) cy=(place(axes.y(point.cost))) r="4" {
                title { (cost(point.cost, "s")) " at " (point.size) }
            }
        }
    }
}

/// A power of ten of seconds, without decimals.
fn decade(power: i32) -> String {
    let (unit, shift) = match power {
        0.. => ("s", 0),
        -3..=-1 => ("ms", 3),
        -6..=-4 => ("µs", 6),
        _ => ("ns", 9),
    };
    format!("{} {unit}", 10f64.powi(power + shift).round())
}

fn place(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::curves::tests::session;
    use super::*;

    #[test]
    fn a_panel_holds_points_fit_and_roofline() {
        let recorded = Recorded { topics: BTreeMap::from([("collapse".to_owned(), vec![session()])]) };
        let drawn = picture(&recorded).unwrap().into_string();
        assert_eq!(drawn.matches("<circle").count(), 4, "three points and the legend's");
        assert_eq!((drawn.matches("<polyline").count(), drawn.contains("NaN")), (2, false));
        assert!(drawn.contains("grows as samples^1.00, the roofline as ^1.00"), "{drawn}");
        assert!(picture(&Recorded::default()).is_none());
    }

    #[test]
    fn decades_are_whole() {
        assert_eq!([0, -1, -3, -4, -6, -9].map(decade), ["1 s", "100 ms", "1 ms", "100 µs", "1 µs", "1 ns"]);
    }
}
