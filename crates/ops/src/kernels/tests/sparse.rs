//! The sparsity-aware input gradient, with products skipped and with all products, compared with the definition.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::reference::products;
use super::{any_geometry, cast, geometry};
use crate::kernels::elementwise::relu_mask;
use crate::kernels::pool::{self, PoolGeometry};
use crate::kernels::sparse::{Following, MaxPoolOutput, SparseInputGradient};
use crate::kernels::{Accuracy, ConvGeometry, Element};

/// A convolution with the outputs of ReLUs on both sides, about a third of them positive.
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

    /// The result by the definition, and the largest Σ|products|.
    fn expected(&self, masked_output: bool, masked_input: bool) -> (Vec<f64>, f64) {
        let g = &self.geometry;
        let (mut grad_x, mut mass) = (vec![0.0; self.cotangents * g.input_len()], 1.0f64);
        for k in 0..self.cotangents {
            let (grad_x, grad_y) = (&mut grad_x[k * g.input_len()..], &self.grad_y[k * g.output_len()..]);
            let mut masses = vec![0.0; g.input_len()];
            products(g, |x, w, y| {
                let cotangent = if masked_output { relu_mask(grad_y[y], self.y[y]) } else { grad_y[y] };
                let product = if masked_input { relu_mask(cotangent, self.x[x]) } else { cotangent } * self.weight[w];
                grad_x[x] += product;
                masses[x] += product.abs();
            });
            mass = masses.into_iter().fold(mass, f64::max);
        }
        (grad_x, mass)
    }

    /// The largest error relative to the largest Σ|products|: with products skipped, and with all products.
    fn errors<T: Element>(&self, masked_output: bool, masked_input: bool) -> [f64; 2] {
        let [weight, grad_y, y, x] = [&self.weight, &self.grad_y, &self.y, &self.x].map(|values| cast::<T>(values));
        let conv = SparseInputGradient {
            geometry: self.geometry,
            accuracy: Accuracy::Fast,
            weight: &weight,
            following: if masked_output { Following::Relu(&y) } else { Following::Nothing },
            preceding_relu: masked_input.then_some(&x[..]),
        };
        let (expected, mass) = self.expected(masked_output, masked_input);
        [true, false].map(|pays| {
            let grad_x = conv.input_grad_if(&grad_y, |_, _| pays);
            assert_eq!(grad_x.len(), expected.len());
            let errors = grad_x.iter().zip(&expected).map(|(got, want)| (got.to_f64() - want).abs());
            errors.fold(0.0, |worst: f64, error| if error.is_nan() { f64::MAX } else { worst.max(error) }) / mass
        })
    }

    fn check(&self) -> Result<(), String> {
        for (masked_output, masked_input) in [(true, true), (true, false), (false, true), (false, false)] {
            for (errors, bound) in [
                (self.errors::<f32>(masked_output, masked_input), 4e-6),
                (self.errors::<f64>(masked_output, masked_input), 1e-15),
            ] {
                if errors.iter().any(|error| *error > bound) {
                    return Err(format!(
                        "{errors:?} above {bound:e}, {masked_output}, {masked_input}, {:?}",
                        self.geometry
                    ));
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
    // Several blocks of weights, several strips, and partial panels.
    Case::new(geometry(2, [4, 5], [70, 400], 3), 33, 1).check().unwrap();
    Case::new(geometry(1, [2, 2], [512, 300], 3), 40, 2).check().unwrap();
}

#[test]
fn only_zeros_common_to_all_cotangents_are_skipped() {
    let mut case = Case::new(geometry(2, [5, 4], [6, 7], 3), 40, 3);
    // Some channels are non-zero in one cotangent only, and some in none.
    for (place, value) in case.grad_y.iter_mut().enumerate() {
        if place % 7 == 2 || (place % 7 == 5 && place / case.geometry.output_len() != 11) {
            *value = 0.0;
        }
    }
    case.check().unwrap();
}

#[test]
fn no_active_channel_gives_zeros() {
    let mut case = Case::new(geometry(1, [3, 3], [4, 5], 3), 32, 4);
    case.y.fill(-1.0);
    case.check().unwrap();
    case.x.fill(0.0);
    case.check().unwrap();
}

/// With a third of the channels active on either side a ninth of the direct sum remains, and Winograd's scheme needs a quarter.
#[test]
fn products_are_skipped_where_fewer_remain() {
    let case = Case::new(geometry(2, [8, 8], [24, 32], 3), 64, 8);
    let [weight, grad_y, y, x] = [&case.weight, &case.grad_y, &case.y, &case.x].map(|values| cast::<f32>(values));
    for (following, preceding_relu, fewer) in [
        (Following::Relu(&y[..]), Some(&x[..]), true),
        (Following::Nothing, None, false),
        (Following::Nothing, Some(&x), false),
    ] {
        let conv = SparseInputGradient {
            geometry: case.geometry,
            accuracy: Accuracy::Fast,
            weight: &weight,
            following,
            preceding_relu,
        };
        let chosen = std::cell::Cell::new(None);
        conv.input_grad_if(&grad_y, |active, each| {
            chosen.set(Some(conv.pays(active, each)));
            false
        });
        assert_eq!(chosen.get(), Some(fewer));
    }
}

/// A NaN that the ReLU masks does not reach the gradient; any other NaN does.
#[test]
fn nan_reaches_the_gradient_unless_masked() {
    let mut case = Case::new(geometry(1, [3, 3], [4, 5], 1), 32, 5);
    case.grad_y[7] = f64::NAN;
    for (output, seen) in [(-1.0, false), (1.0, true)] {
        case.y[7] = output;
        let weight = &case.weight[..];
        let conv = SparseInputGradient {
            geometry: case.geometry,
            accuracy: Accuracy::Fast,
            weight,
            following: Following::Relu(&case.y),
            preceding_relu: None,
        };
        for pays in [true, false] {
            assert_eq!(conv.input_grad_if(&case.grad_y, |_, _| pays).iter().any(|value| value.is_nan()), seen);
        }
    }
}

/// Compares a ReLU and max pool with a ReLU alone whose cotangents were scattered by the pool first.
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
        ceil_mode: false,
        count_include_pad: false,
    };
    let y: Vec<f64> = case.y.iter().map(|value| value.max(0.0)).collect();
    let (values, positions) = pool::max_and_positions(&geometry, &y);
    let cotangents: Vec<f64> = case.grad_y.iter().copied().take(40 * values.len()).collect();
    let scattered = pool::scatter(&PoolGeometry { batch: 80, ..geometry }, &cotangents, &positions);
    let conv = |following| SparseInputGradient {
        geometry: g,
        accuracy: Accuracy::Fast,
        weight: &case.weight,
        following,
        preceding_relu: Some(&case.x),
    };
    let expected = conv(Following::Relu(&y)).input_grad_if(&scattered, |_, _| false);
    assert!(expected.iter().any(|value| *value != 0.0));
    let pool = Following::ReluMaxPool(MaxPoolOutput { geometry, values: &values, positions: &positions });
    for pays in [true, false] {
        let found = conv(pool).input_grad_if(&cotangents, |_, _| pays);
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
fn a_max_pool_after_the_relu_gives_the_scattered_cotangents() {
    check_pool([6, 8], 2, 2, 0);
    check_pool([7, 5], 2, 2, 0);
    // Pixels between the windows, padding, and overlapping windows.
    check_pool([8, 7], 2, 3, 0);
    check_pool([6, 7], 2, 2, 1);
    check_pool([7, 8], 3, 2, 1);
}

#[test]
#[should_panic(expected = "cotangents for each image")]
fn a_partial_cotangent_is_refused() {
    let case = Case::new(geometry(2, [3, 3], [4, 5], 3), 33, 7);
    let conv = SparseInputGradient {
        geometry: case.geometry,
        accuracy: Accuracy::Fast,
        weight: &case.weight,
        following: Following::Nothing,
        preceding_relu: None,
    };
    let one = case.geometry.output_len() / 2;
    conv.input_grad(&case.grad_y[..65 * one]);
}
