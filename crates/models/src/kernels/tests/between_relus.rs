//! The input gradient between ReLUs: products left out and products with zeros against the definition.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::reference::products;
use super::{any_geometry, cast, geometry};
use crate::kernels::between_relus::BetweenRelus;
use crate::kernels::elementwise::gate;
use crate::kernels::{Accuracy, ConvGeometry, Element};

/// A convolution with numbers on both sides, about a third of them alive.
struct Case {
    geometry: ConvGeometry,
    cotangents: usize,
    weight: Vec<f64>,
    grad_y: Vec<f64>,
    y: Vec<f64>,
    x: Vec<f64>,
}

impl Case {
    fn new(geometry: ConvGeometry, cotangents: usize, seed: u64) -> Self {
        let draw = |index: u64, count: usize, shift: f64| -> Vec<f64> {
            let mut stream = streams::stream(seed, "models/kernels/tests/between-relus", index);
            let draws = streams::standard_normal(&mut stream, count);
            draws.into_iter().map(|value| f64::from((value + shift) as f32)).collect()
        };
        Self {
            geometry,
            cotangents,
            weight: draw(0, geometry.weight_len(), 0.0),
            grad_y: draw(1, cotangents * geometry.output_len(), 0.0),
            y: draw(2, geometry.output_len(), -0.5),
            x: draw(3, geometry.input_len(), -0.5),
        }
    }

    /// By the definition, and the largest Σ|products|.
    fn expected(&self, behind: bool, in_front: bool) -> (Vec<f64>, f64) {
        let g = &self.geometry;
        let (mut grad_x, mut mass) = (vec![0.0; self.cotangents * g.input_len()], 1.0f64);
        for k in 0..self.cotangents {
            let (grad_x, grad_y) = (&mut grad_x[k * g.input_len()..], &self.grad_y[k * g.output_len()..]);
            let mut masses = vec![0.0; g.input_len()];
            products(g, |x, w, y| {
                let cotangent = if behind { gate(grad_y[y], self.y[y]) } else { grad_y[y] };
                let product = if in_front { gate(cotangent, self.x[x]) } else { cotangent } * self.weight[w];
                grad_x[x] += product;
                masses[x] += product.abs();
            });
            mass = masses.into_iter().fold(mass, f64::max);
        }
        (grad_x, mass)
    }

    /// The largest error in units of the largest Σ|products|, with products left out and without.
    fn errors<T: Element>(&self, behind: bool, in_front: bool) -> [f64; 2] {
        let [weight, grad_y, y, x] = [&self.weight, &self.grad_y, &self.y, &self.x].map(|values| cast::<T>(values));
        let conv = BetweenRelus {
            geometry: self.geometry,
            accuracy: Accuracy::Fast,
            weight: &weight,
            y: behind.then_some(&y[..]),
            x: in_front.then_some(&x[..]),
        };
        let (expected, mass) = self.expected(behind, in_front);
        [true, false].map(|pays| {
            let grad_x = conv.input_grad_if(&grad_y, |_, _| pays);
            assert_eq!(grad_x.len(), expected.len());
            let errors = grad_x.iter().zip(&expected).map(|(got, want)| (got.to_f64() - want).abs());
            errors.fold(0.0, |worst: f64, error| if error.is_nan() { f64::MAX } else { worst.max(error) }) / mass
        })
    }

    fn check(&self) -> Result<(), String> {
        for (behind, in_front) in [(true, true), (true, false), (false, true), (false, false)] {
            for (errors, bound) in
                [(self.errors::<f32>(behind, in_front), 4e-6), (self.errors::<f64>(behind, in_front), 1e-15)]
            {
                if errors.iter().any(|error| *error > bound) {
                    return Err(format!("{errors:?} above {bound:e}, {behind}, {in_front}, {:?}", self.geometry));
                }
            }
        }
        Ok(())
    }
}

proptest! {
#![proptest_config(ProptestConfig {
        cases: 24, failure_persistence: None, rng_seed: RngSeed::Fixed(20_240_515), ..ProptestConfig::default()
    })]

    #[test]
    fn any_geometry_matches_the_definition(g in any_geometry(), cotangents in 1usize..70, seed in 0u64..1000) {
        Case::new(g, cotangents, seed).check().map_err(TestCaseError::fail)?;
    }
}

#[test]
fn wide_layers_match_the_definition() {
    // Several blocks of weights, several strips, and panels that are not full.
    Case::new(geometry(2, [4, 5], [70, 400], 3), 33, 1).check().unwrap();
    Case::new(geometry(1, [2, 2], [512, 300], 3), 40, 2).check().unwrap();
}

#[test]
fn zeros_in_all_cotangents_are_left_out_and_others_are_not() {
    let mut case = Case::new(geometry(2, [5, 4], [6, 7], 3), 40, 3);
    // Alive in one cotangent only, and nowhere.
    for (place, value) in case.grad_y.iter_mut().enumerate() {
        if place % 7 == 2 || (place % 7 == 5 && place / case.geometry.output_len() != 11) {
            *value = 0.0;
        }
    }
    case.check().unwrap();
}

#[test]
fn nothing_alive_gives_zeros() {
    let mut case = Case::new(geometry(1, [3, 3], [4, 5], 3), 32, 4);
    case.y.fill(-1.0);
    case.check().unwrap();
    case.x.fill(0.0);
    case.check().unwrap();
}

/// A NaN behind a closed gate stays behind it, as with a gate of its own; elsewhere it is seen.
#[test]
fn not_a_number_is_seen_where_it_counts() {
    let mut case = Case::new(geometry(1, [3, 3], [4, 5], 1), 32, 5);
    case.grad_y[7] = f64::NAN;
    for (alive, seen) in [(-1.0, false), (1.0, true)] {
        case.y[7] = alive;
        let weight = &case.weight[..];
        let conv = BetweenRelus {
            geometry: case.geometry,
            accuracy: Accuracy::Fast,
            weight,
            y: Some(&case.y),
            x: None,
        };
        for pays in [true, false] {
            assert_eq!(conv.input_grad_if(&case.grad_y, |_, _| pays).iter().any(|value| value.is_nan()), seen);
        }
    }
}

#[test]
#[ignore]
fn timing() {
    for (size, channels, pooled) in [
        (32, [3, 64], false),
        (32, [64, 64], true),
        (16, [64, 128], false),
        (16, [128, 128], true),
        (8, [128, 256], false),
        (8, [256, 256], true),
        (4, [256, 512], false),
        (4, [512, 512], true),
        (2, [512, 512], false),
    ] {
        for cotangents in [64, 256] {
            let g = geometry(1, [size, size], channels, 3);
            let mut s = streams::stream(1, "t", 0);
            let mut draw = |count: usize| -> Vec<f32> {
                streams::standard_normal(&mut s, count).into_iter().map(|v| v as f32).collect()
            };
            let (weight, mut grad_y, y, x) =
                (draw(g.weight_len()), draw(cotangents * g.output_len()), draw(g.output_len()), draw(g.input_len()));
            if pooled {
                for row in grad_y.chunks_mut(g.output_len()) {
                    for (v, y) in row.iter_mut().zip(&y) {
                        if *y < 0.75 { *v = 0.0 }
                    }
                }
            }
            let conv = BetweenRelus {
                geometry: g, accuracy: Accuracy::Fast, weight: &weight,
                y: (!pooled).then_some(&y[..]), x: (pooled).then_some(&x[..]),
            };
            let mut best = [f64::MAX; 3];
            for _ in 0..5 {
                for (i, b) in best.iter_mut().enumerate() {
                    let start = std::time::Instant::now();
                    let r = match i { 0 => conv.input_grad_if(&grad_y, |_, _| true), 1 => conv.input_grad_if(&grad_y, |_, _| false), _ => conv.input_grad(&grad_y) };
                    *b = b.min(start.elapsed().as_secs_f64());
                    std::hint::black_box(r);
                }
            }
            let dense = g.multiplications() as f64 * cotangents as f64;
            eprintln!("{size} {channels:?} {pooled} x{cotangents}: between {:.2} ms, dense {:.2} ms, auto {:.2} ms; direct-equivalent {:.0} vs {:.0} GMAC/s", best[0]*1e3, best[1]*1e3, best[2]*1e3, dense/best[0]/1e9, dense/best[1]/1e9);
        }
    }
}
