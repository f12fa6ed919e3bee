//! The input gradient between ReLUs: products left out and products with zeros against the definition.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::reference::products;
use super::{any_geometry, cast, geometry};
use crate::kernels::between_relus::{Behind, BetweenRelus, Pooled};
use crate::kernels::elementwise::gate;
use crate::kernels::pool::{self, PoolGeometry};
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
            behind: if behind { Behind::Relu(&y) } else { Behind::Nothing },
            in_front: in_front.then_some(&x[..]),
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

/// With a third alive on either side a ninth of the direct sum is left, where Winograd's scheme makes a quarter; with all alive
/// all of it.
#[test]
fn products_are_left_out_where_that_makes_fewer() {
    let case = Case::new(geometry(2, [8, 8], [24, 32], 3), 64, 8);
    let [weight, grad_y, y, x] = [&case.weight, &case.grad_y, &case.y, &case.x].map(|values| cast::<f32>(values));
    for (behind, in_front, fewer) in
        [(Behind::Relu(&y[..]), Some(&x[..]), true), (Behind::Nothing, None, false), (Behind::Nothing, Some(&x), false)]
    {
        let conv =
            BetweenRelus { geometry: case.geometry, accuracy: Accuracy::Fast, weight: &weight, behind, in_front };
        let chosen = std::cell::Cell::new(None);
        conv.input_grad_if(&grad_y, |alive, each| {
            chosen.set(Some(conv.pays(alive, each)));
            false
        });
        assert_eq!(chosen.get(), Some(fewer));
    }
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
            behind: Behind::Relu(&case.y),
            in_front: None,
        };
        for pays in [true, false] {
            assert_eq!(conv.input_grad_if(&case.grad_y, |_, _| pays).iter().any(|value| value.is_nan()), seen);
        }
    }
}

/// A pool behind the ReLU: the same as a ReLU alone with the cotangents brought back through the pool first.
fn check_pool(size: [usize; 2], kernel: usize, stride: usize, padding: usize) {
    let case = Case::new(geometry(2, size, [5, 9], 3), 40, 6);
    let g = case.geometry;
    let geometry = PoolGeometry {
        batch: g.batch,
        height: g.out_height(),
        width: g.out_width(),
        channels: g.out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    let y: Vec<f64> = case.y.iter().map(|value| value.max(0.0)).collect();
    let (values, positions) = pool::max_and_positions(&geometry, &y);
    let cotangents: Vec<f64> = case.grad_y.iter().copied().take(40 * values.len()).collect();
    let scattered = pool::scatter(&PoolGeometry { batch: 80, ..geometry }, &cotangents, &positions);
    let conv = |behind| BetweenRelus {
        geometry: g,
        accuracy: Accuracy::Fast,
        weight: &case.weight,
        behind,
        in_front: Some(&case.x),
    };
    let expected = conv(Behind::Relu(&y)).input_grad_if(&scattered, |_, _| false);
    assert!(expected.iter().any(|value| *value != 0.0));
    let pooled = Behind::Pool(Pooled { geometry, values: &values, positions: &positions });
    for pays in [true, false] {
        let found = conv(pooled).input_grad_if(&cotangents, |_, _| pays);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 1e-13,
                "{found} {expected}, {size:?}, {kernel}, {stride}, {padding}, {pays}"
            );
        }
    }
}

#[test]
fn a_pool_is_passed_with_its_relu() {
    check_pool([6, 8], 2, 2, 0);
    check_pool([7, 5], 2, 2, 0);
    // With pixels between the windows, a border, and windows that overlap.
    check_pool([8, 7], 2, 3, 0);
    check_pool([6, 7], 2, 2, 1);
    check_pool([7, 8], 3, 2, 1);
}

#[test]
#[should_panic(expected = "cotangents for each image")]
fn cotangents_of_half_an_image_are_refused() {
    let case = Case::new(geometry(2, [3, 3], [4, 5], 3), 33, 7);
    let conv = BetweenRelus {
        geometry: case.geometry,
        accuracy: Accuracy::Fast,
        weight: &case.weight,
        behind: Behind::Nothing,
        in_front: None,
    };
    let one = case.geometry.output_len() / 2;
    conv.input_grad(&case.grad_y[..65 * one]);
}
