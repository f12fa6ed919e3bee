//! Tests of the colours: their contrast with the ground, and their distances as people with colour blindness see them.

use super::STYLE;

/// Matrices on linear RGB that show what people without one kind of cone see: the identity, then protanopia, deuteranopia and
/// tritanopia at severity 1 (Machado, Oliveira, Fernandes 2009, table 1).
const VISION: [[[f64; 3]; 3]; 4] = [
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
];

/// From linear RGB to CIE XYZ, and the white point (IEC 61966-2-1).
const XYZ: [[f64; 3]; 3] = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];
const WHITE: [f64; 3] = [0.9505, 1.0, 1.089];

/// The light and the dark palette: names with linear RGB.
fn palettes() -> [Vec<(String, [f64; 3])>; 2] {
    let (light, dark) = STYLE.split_once("@media").unwrap();
    [light, dark].map(|text| {
        let entries = text.split("--").skip(1).filter_map(|entry| entry.split_once(": #"));
        entries.map(|(name, rest)| (name.to_owned(), linear(&rest[..6]))).collect()
    })
}

fn linear(hexadecimal: &str) -> [f64; 3] {
    [0, 2, 4].map(|at| {
        let value = f64::from(u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    })
}

fn times(matrix: &[[f64; 3]; 3], colour: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row.iter().zip(colour).map(|(weight, value)| weight * value).sum())
}

/// Contrast of WCAG 2.2, from 1 to 21.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour| times(&XYZ, colour)[1] + 0.05;
    let (one, other) = (luminance(one), luminance(other));
    one.max(other) / one.min(other)
}

/// CIELAB of a colour as seen with this matrix.
fn lab(colour: [f64; 3], vision: &[[f64; 3]; 3]) -> [f64; 3] {
    let seen = times(vision, colour).map(|value| value.clamp(0.0, 1.0));
    let xyz = times(&XYZ, seen);
    let root = |at: usize| {
        let share = xyz[at] / WHITE[at];
        if share > 0.008856 { share.cbrt() } else { 7.787 * share + 16.0 / 116.0 }
    };
    [116.0 * root(1) - 16.0, 500.0 * (root(0) - root(1)), 200.0 * (root(1) - root(2))]
}

fn distance(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn text_and_marks_stand_out_from_the_ground() {
    for palette in palettes() {
        let ground = palette.iter().find(|(name, _)| name == "ground").unwrap().1;
        for (name, colour) in &palette {
            let least = match name.as_str() {
                "ink" | "quiet" | "link" | "holds" | "fails" => 4.5,
                "ground" | "rule" => continue,
                _ => 3.0,
            };
            let found = contrast(*colour, ground);
            assert!(found >= least, "{name} has a contrast of {found:.2}");
        }
    }
    assert!((contrast([1.0; 3], [0.0; 3]) - 21.0).abs() < 1e-9);
}

#[test]
fn colours_of_one_key_differ_for_every_kind_of_colour_vision() {
    for palette in palettes() {
        for (kind, count) in [("seq-", 6), ("cat-", 5)] {
            let own: Vec<&(String, [f64; 3])> = palette.iter().filter(|(name, _)| name.starts_with(kind)).collect();
            assert_eq!(own.len(), count);
            for vision in &VISION {
                for (index, (name, one)) in own.iter().enumerate() {
                    for (other_name, other) in &own[index + 1..] {
                        let found = distance(lab(*one, vision), lab(*other, vision));
                        assert!(found > 20.0, "{name} and {other_name} are {found:.1} apart");
                    }
                }
            }
        }
    }
}

#[test]
fn ordered_colours_become_lighter_step_by_step() {
    for palette in palettes() {
        let steps = palette.iter().filter(|(name, _)| name.starts_with("seq-"));
        let lightness: Vec<f64> = steps.map(|(_, colour)| lab(*colour, &VISION[0])[0]).collect();
        assert!(lightness.windows(2).all(|pair| pair[0] + 2.0 < pair[1]), "{lightness:?}");
    }
}
