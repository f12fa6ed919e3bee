//! Names below a horizontal axis, slanted where they would overlap.

use maud::{Markup, html};

use super::plot_area::round;

/// The mean width of a character at the size of tick labels, 11 pixels, rounded up.
const CHARACTER: f64 = 6.2;

/// The space between two labels.
const GAP: f64 = 6.0;

/// The height of a line of labels.
const LINE: f64 = 12.0;

/// The angle of slanted names, in degrees.
const ANGLE: f64 = 35.0;

/// The most characters of a slanted name; longer ones lose characters in their middle.
const MOST: usize = 20;

fn width(label: &str) -> f64 {
    label.chars().count() as f64 * CHARACTER
}

/// The height of slanted labels beyond that of upright ones; 0 where upright ones fit, in a drawing of this width.
pub(super) fn height(labels: &[(f64, &str)], drawing: f64) -> f64 {
    let fits = |pair: &[(f64, &str)]| match pair {
        [(left, one), (right, other)] => (width(one) + width(other)) / 2.0 + GAP <= right - left,
        _ => true,
    };
    let inside = |(x, label): &(f64, &str)| x - width(label) / 2.0 >= 0.0 && x + width(label) / 2.0 <= drawing;
    if labels.windows(2).all(fits) && labels.iter().all(inside) {
        return 0.0;
    }
    let longest = labels.iter().map(|(x, label)| width(&shown(*x, label))).fold(0.0, f64::max);
    longest * ANGLE.to_radians().sin()
}

/// How many names there are for each slanted one that is written, so that their lines do not touch.
pub(super) fn every(labels: &[(f64, &str)]) -> usize {
    let gaps = labels.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let apart = gaps.fold(f64::INFINITY, f64::min) * ANGLE.to_radians().sin();
    (LINE / apart).ceil().max(1.0) as usize
}

/// A name that ends below its tick and rises to it. The whole name is its tooltip, where it was shortened.
pub(super) fn slanted(x: f64, bottom: f64, label: &str) -> Markup {
    let shown = shown(x, label);
    let (x, y) = (round(x + 4.0), round(bottom + 14.0));
    html! {
        text.quiet x=(x) y=(y) text-anchor="end" transform=(format!("rotate(-{ANGLE} {x} {y})")) {
            @if shown != label { title { (label) } }
            (shown)
        }
    }
}

/// The name with at most as many characters as there is room for to the left of its tick.
fn shown(x: f64, label: &str) -> String {
    let room = (x / ANGLE.to_radians().cos() / CHARACTER).floor() as usize;
    let most = MOST.min(room).max(3);
    let count = label.chars().count();
    if count <= most {
        return label.to_owned();
    }
    let end = (most - 1) / 2;
    let start: String = label.chars().take(most - 1 - end).collect();
    start + "…" + &label.chars().skip(count - end).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::super::plot_area::PlotArea;
    use super::super::scale::Axis;
    use super::*;

    /// The axis as SVG in a panel of 340 × 236.
    fn drawn(names: &[&str]) -> (PlotArea, String) {
        let axis = Axis::named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let area = PlotArea::above(340.0, 236.0, &axis);
        let vertical = Axis::exactly(0.0, 1.0);
        (area, area.draw((&axis, &vertical), ("network", "NC"), None).into_string())
    }

    /// The value of an attribute of an element.
    fn number(element: &str, attribute: &str) -> f64 {
        element.split(&format!(" {attribute}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    }

    #[test]
    fn short_names_stand_upright() {
        let (area, svg) = drawn(&["SGD", "Adam", "AdamW"]);
        assert_eq!(area.height, PlotArea::within(340.0, 236.0).height);
        assert!(!svg.contains("rotate"), "{svg}");
    }

    #[test]
    fn long_names_are_slanted_and_do_not_overlap() {
        let long = ["resnet18-cifar, width 0.25", "resnet18-cifar, width 0.5", "vit-tiny with crop and flip", "vgg13"];
        let (area, svg) = drawn(&long);
        let labels: Vec<&str> = svg.split("<text").filter(|element| element.contains("rotate")).collect();
        assert_eq!(labels.len(), 4, "{svg}");
        assert!(svg.contains("<title>resnet18-cifar, width 0.25</title>") && svg.contains(">vgg13<"), "{svg}");
        // Parallel lines of text, 11 pixels high: their distance is the sine of the distance of their ends.
        let ends: Vec<f64> = labels.iter().map(|label| number(label, "x")).collect();
        assert!(ends.windows(2).all(|pair| (pair[1] - pair[0]) * ANGLE.to_radians().sin() > 11.0), "{ends:?}");
        for (label, name) in labels.iter().zip(long) {
            let (x, y) = (number(label, "x"), number(label, "y"));
            let length = width(&shown(x - 4.0, name));
            let (left, low) = (x - length * ANGLE.to_radians().cos(), y + length * ANGLE.to_radians().sin());
            // The name of the axis is below them, and all of it in the panel.
            let below = area.top + area.height + 33.0 + (236.0 - 40.0 - area.top - area.height);
            assert!(left >= 0.0 && low <= below + 1.0 && below <= 236.0, "{name}: {left} {low} {below}");
        }
        assert!(area.height > 80.0, "{}", area.height);
    }

    #[test]
    fn of_many_names_every_second_or_third_is_written() {
        let names: Vec<String> = (0..30).map(|layer| format!("features.{layer}")).collect();
        let (_, svg) = drawn(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let shown: Vec<bool> = names.iter().map(|name| svg.contains(&format!(">{name}<"))).collect();
        assert!(shown[0] && shown[3] && !shown[1] && !shown[2], "{svg}");
        assert_eq!(svg.matches("rotate").count(), 10);
    }

    #[test]
    fn a_name_at_the_edge_keeps_its_ends() {
        assert_eq!(shown(1000.0, "a name of thirty characters ok"), "a name of …acters ok");
        assert_eq!(shown(1000.0, "short"), "short");
        assert_eq!(shown(30.0, "resnet18").chars().count(), 5);
    }
}
