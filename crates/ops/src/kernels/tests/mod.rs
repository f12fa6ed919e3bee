//! The kernels compared with their definition, on every instruction set of this machine.

mod reference;
mod sparse;
mod vectors;

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reference::{Case, Expected};

use super::conv::{forward_with, input_grad_with, weight_grad_with};
use super::instruction_set::InstructionSet;
use super::operands::Operands;
use super::panel::{Onto, PanelProduct};
use super::uninitialised::writable;
use super::{
    Accuracy, ConvGeometry, Element, GeometryError, Matrix, conv_forward, conv_forward_to_vec, conv_input_grad,
    conv_input_grad_to_vec, conv_weight_grad, conv_weight_grad_to_vec, matmul, winograd,
};

/// A square kernel with "same" padding, stride 1, dilation 1 and one group. Tests change single fields.
fn geometry(batch: usize, [height, width]: [usize; 2], channels: [usize; 2], kernel: usize) -> ConvGeometry {
    ConvGeometry {
        batch,
        height,
        width,
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [1; 2],
        padding: [kernel / 2; 2],
        dilation: [1; 2],
        groups: 1,
    }
}

fn cast<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// Output, input gradient and weight gradient. Buffers start as NaN, so that an element that is not written is found.
fn results<T: Element>(set: InstructionSet, accuracy: Accuracy, case: &Case) -> [Vec<T>; 3] {
    let g = &case.geometry;
    let [x, weight, bias, grad_y] = [&case.x, &case.weight, &case.bias, &case.grad_y].map(|values| cast::<T>(values));
    let nan = |count: usize| vec![T::from_f64(f64::NAN); count];
    let mut results = [nan(g.output_len()), nan(g.input_len()), nan(g.weight_len())];
    let operands = Operands { x: &x, weight: &weight, bias: Some(&bias) };
    forward_with(set, g, accuracy, operands, writable(&mut results[0]));
    input_grad_with(set, g, accuracy, &grad_y, &weight, writable(&mut results[1]));
    weight_grad_with(set, g, accuracy, &x, &grad_y, writable(&mut results[2]));
    results
}

/// The largest error of each result, relative to the largest sum of absolute products.
fn errors<T: Element>(results: &[Vec<T>; 3], expected: &Expected) -> [f64; 3] {
    let wanted = [&expected.y, &expected.grad_x, &expected.grad_weight];
    std::array::from_fn(|index| {
        let pairs = results[index].iter().zip(wanted[index]);
        // A NaN counts as the largest error.
        let error = pairs.map(|(got, want)| (got.to_f64() - want).abs()).map(|e| if e.is_nan() { f64::MAX } else { e });
        error.fold(0.0, f64::max) / expected.mass[index]
    })
}

/// Checks one case on every instruction set, in f32 with both accuracies and in f64.
fn check(case: &Case) -> Result<(), String> {
    let expected = case.expected();
    let demand = |name: &dyn Debug, errors: [f64; 3], bound: f64| {
        let passed = errors.iter().all(|&error| error <= bound);
        passed.then_some(()).ok_or_else(|| format!("{name:?}: {errors:?} above {bound:e} for {:?}", case.geometry))
    };
    for set in InstructionSet::available() {
        let fast = errors(&results::<f32>(set, Accuracy::Fast, case), &expected);
        demand(&(set, "f32 fast"), fast, 4e-6)?;
        let accurate = errors(&results::<f32>(set, Accuracy::Accurate, case), &expected);
        demand(&(set, "f32 accurate"), accurate, 4e-7)?;
        let double = errors(&results::<f64>(set, Accuracy::Fast, case), &expected);
        demand(&(set, "f64"), double, 1e-15)?;
    }
    Ok(())
}

/// Valid geometries of every kind.
fn any_geometry() -> impl Strategy<Value = ConvGeometry> {
    let pair = |range: std::ops::RangeInclusive<usize>| (range.clone(), range).prop_map(|(a, b)| [a, b]);
    let channels = (1usize..=4, 1usize..=17, 1usize..=17);
    let shape = (1usize..=3, pair(1..=9), pair(1..=5), pair(1..=3), pair(0..=3), pair(1..=2));
    (shape, channels).prop_filter_map("the kernel must fit", |(shape, (groups, in_depth, out_depth))| {
        let (batch, [height, width], kernel, stride, padding, dilation) = shape;
        let (in_channels, out_channels) = (groups * in_depth, groups * out_depth);
        let g =
            ConvGeometry { batch, height, width, in_channels, out_channels, kernel, stride, padding, dilation, groups };
        g.validated().ok()
    })
}

/// Geometries of the minimal-multiplication schemes, with any numbers of channels.
fn any_winograd() -> impl Strategy<Value = ConvGeometry> {
    (1usize..=3, 2usize..=9, 2usize..=9, 1usize..=70, 1usize..=70, 0usize..=2, 0usize..=2).prop_filter_map(
        "the kernel must fit",
        |(batch, height, width, in_channels, out_channels, down, right)| {
            let simple = geometry(batch, [height, width], [in_channels, out_channels], 3);
            ConvGeometry { padding: [down, right], ..simple }.validated().ok()
        },
    )
}

/// Geometries with stride 2 and padding 1, with enough channels for the strided scheme.
fn any_strided() -> impl Strategy<Value = ConvGeometry> {
    (1usize..=3, 1usize..=14, 1usize..=14, 44usize..=80, 44usize..=80).prop_map(
        |(batch, height, width, in_channels, out_channels)| {
            geometry(batch, [height, width], [in_channels, out_channels], 3).with_stride(2)
        },
    )
}

proptest! {
#![proptest_config(ProptestConfig {
        cases: 96, failure_persistence: None, rng_seed: RngSeed::Fixed(20_240_515), ..ProptestConfig::default()
    })]

    #[test]
    fn any_geometry_matches_the_definition(g in any_geometry(), seed in 0u64..1000) {
        check(&Case::new(g, seed)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn three_by_three_matches_the_definition(g in prop_oneof![any_winograd(), any_strided()], seed in 0u64..1000) {
        check(&Case::new(g, seed)).map_err(TestCaseError::fail)?;
    }

    /// T(x, w, g) is the same number, computed from any of its three derivatives.
    #[test]
    fn the_three_are_derivatives_of_one_form(g in prop_oneof![any_geometry(), any_winograd(), any_strided()], seed in 0u64..1000) {
        let mut case = Case::new(g, seed);
        case.bias.fill(0.0);
        let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let read = |results: [Vec<f64>; 3]| [
            inner(&results[0], &case.grad_y), inner(&results[1], &case.x), inner(&results[2], &case.weight),
        ];
        let mut scale = 1.0;
        reference::products(&g, |x, w, y| scale += (case.x[x] * case.weight[w] * case.grad_y[y]).abs());
        let best = InstructionSet::best();
        let double = read(results::<f64>(best, Accuracy::Fast, &case));
        let single = results::<f32>(best, Accuracy::Fast, &case);
        let single = read(single.map(|values| values.into_iter().map(f64::from).collect()));
        for (values, bound) in [(double, 1e-14), (single, 1e-6)] {
            for pair in [[0, 1], [1, 2]] {
                let difference = (values[pair[0]] - values[pair[1]]).abs() / scale;
                prop_assert!(difference <= bound, "{values:?} differ by {difference:e} of {scale}");
            }
        }
    }

    #[test]
    fn matrix_products_match_the_definition(
        m in 1usize..80, n in 1usize..80, k in 0usize..60, turned in any::<[bool; 2]>(), seed in 0u64..1000,
    ) {
        let mut stream = streams::stream(seed, "models/kernels/tests/matmul", 0);
        let (a, b) = (streams::standard_normal(&mut stream, m * k), streams::standard_normal(&mut stream, k * n));
        let strides = [if turned[0] { [1, m] } else { [k, 1] }, if turned[1] { [1, k] } else { [n, 1] }];
        let mut out = vec![f64::NAN; m * n];
        let left = Matrix { elements: &a, sizes: [m, k], strides: strides[0] };
        matmul(left, Matrix { elements: &b, sizes: [k, n], strides: strides[1] }, &mut out);
        for (index, &got) in out.iter().enumerate() {
            let (row, column) = (index / n, index % n);
            let at = |step: usize| (row * strides[0][0] + step * strides[0][1], step * strides[1][0] + column * strides[1][1]);
            let want: f64 = (0..k).map(at).map(|(left, right)| a[left] * b[right]).sum();
            prop_assert!((got - want).abs() <= 1e-12, "[{row}, {column}]: {got}, expected {want}");
        }
    }
}

/// Geometries that cover every code path: many channels, full and partial panels, every division into tasks.
fn landmarks() -> Vec<ConvGeometry> {
    let strided = ConvGeometry { stride: [2, 2], ..geometry(3, [12, 10], [40, 72], 3) };
    let pointwise = geometry(4, [9, 8], [70, 130], 1);
    vec![
        geometry(16, [16, 14], [24, 40], 3),
        geometry(4, [8, 8], [130, 65], 3),
        geometry(5, [7, 6], [65, 260], 3),
        geometry(2, [4, 4], [300, 270], 3),
        geometry(40, [2, 2], [96, 264], 3),
        geometry(3, [3, 3], [8, 8], 3),
        geometry(2, [1, 1], [30, 20], 3),
        geometry(6, [17, 15], [3, 20], 3),
        geometry(2, [9, 20], [1, 8], 5),
        // Few channels: lines of several vectors, several bands of lines, and lines longer than a chain of additions.
        geometry(3, [33, 70], [2, 19], 3),
        geometry(2, [140, 130], [3, 70], 3),
        ConvGeometry { padding: [3, 4], ..geometry(5, [6, 35], [4, 33], 3) },
        ConvGeometry { stride: [2, 2], ..geometry(2, [40, 300], [3, 24], 7) },
        ConvGeometry { dilation: [3, 2], ..geometry(2, [20, 40], [3, 16], 3) },
        ConvGeometry { stride: [2, 2], padding: [0, 0], ..pointwise },
        pointwise,
        strided,
        ConvGeometry { stride: [1, 3], dilation: [2, 1], ..strided },
        ConvGeometry { groups: 40, out_channels: 40, ..strided },
        ConvGeometry { groups: 40, out_channels: 80, ..strided },
        ConvGeometry { groups: 8, ..strided },
        // As many output channels as a panel has columns, in groups that do not fill a vector.
        ConvGeometry { groups: 4, ..geometry(3, [5, 4], [20, 16], 3) },
        ConvGeometry { groups: 8, ..geometry(2, [6, 5], [16, 16], 1) },
        ConvGeometry { groups: 4, ..geometry(2, [5, 7], [12, 64], 3) },
        geometry(2, [10, 9], [600, 20], 3).with_stride(2),
        geometry(3, [12, 8], [50, 72], 3).with_stride(2),
        geometry(5, [16, 12], [49, 65], 3).with_stride(2),
        geometry(8, [8, 16], [70, 260], 3).with_stride(2),
        geometry(40, [15, 16], [48, 56], 3).with_stride(2),
    ]
}

impl ConvGeometry {
    fn with_stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }
}

#[test]
fn every_code_path_matches_the_definition() {
    for (seed, g) in landmarks().into_iter().enumerate() {
        check(&Case::new(g, seed as u64)).unwrap();
    }
}

/// Work is divided by shape only, so results are bit-identical.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let pool = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let pools = [pool(1), pool(2), pool(3)];
    for (seed, g) in landmarks().into_iter().enumerate() {
        let case = Case::new(g, seed as u64);
        for accuracy in [Accuracy::Fast, Accuracy::Accurate] {
            let runs =
                pools.each_ref().map(|pool| pool.install(|| results::<f32>(InstructionSet::best(), accuracy, &case)));
            let bits = runs.map(|run| run.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>()));
            assert!(bits[0] == bits[1] && bits[1] == bits[2], "{g:?} {accuracy:?}");
        }
    }
    let mut stream = streams::stream(1, "models/kernels/tests/threads", 0);
    let (a, b) = (cast::<f32>(&streams::standard_normal(&mut stream, 200 * 90)), cast::<f32>(&[0.5; 90 * 70]));
    let product = || {
        let mut out = vec![0.0f32; 200 * 70];
        matmul(Matrix::row_major(&a, [200, 90]), Matrix::row_major(&b, [90, 70]), &mut out);
        out.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
    };
    let runs = pools.each_ref().map(|pool| pool.install(product));
    assert!(runs[0] == runs[1] && runs[1] == runs[2]);
}

/// The rounding error of each algorithm at sizes of real networks, relative to the root mean square of the result.
#[test]
fn rounding_stays_within_its_bounds() {
    let wide = geometry(2, [8, 8], [256, 64], 3);
    let small = geometry(4, [2, 2], [256, 256], 3);
    for (g, accuracy, bound) in [
        (wide, Accuracy::Fast, 2.5e-6),
        (small, Accuracy::Fast, 1e-6),
        (geometry(2, [16, 16], [256, 64], 3).with_stride(2), Accuracy::Fast, 1e-6),
        (wide, Accuracy::Accurate, 1e-6),
        (small, Accuracy::Accurate, 1e-6),
    ] {
        let case = Case::new(g, 7);
        let expected = case.expected();
        let wanted = [&expected.y, &expected.grad_x, &expected.grad_weight];
        for set in InstructionSet::available() {
            for (index, got) in results::<f32>(set, accuracy, &case).iter().enumerate() {
                let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
                let error = square(&mut got.iter().zip(wanted[index]).map(|(&got, want)| f64::from(got) - want));
                let relative = (error / square(&mut wanted[index].iter().copied())).sqrt();
                assert!(relative <= bound, "{set:?} {accuracy:?} {g:?}, result {index}: {relative:e} above {bound:e}");
            }
        }
    }
}

#[test]
fn the_accurate_mode_uses_no_scheme_and_f64_never_does() {
    let g = geometry(2, [8, 8], [64, 64], 3);
    let case = Case::new(g, 3);
    let best = InstructionSet::best();
    assert_eq!(winograd::choose(&g), Some(winograd::Choice::Four));
    assert_ne!(results::<f32>(best, Accuracy::Fast, &case)[0], results::<f32>(best, Accuracy::Accurate, &case)[0]);
    assert_eq!(results::<f64>(best, Accuracy::Fast, &case), results::<f64>(best, Accuracy::Accurate, &case));
}

#[test]
fn schemes_are_chosen_by_shape() {
    use winograd::{Choice, choose};
    let simple = geometry(1, [8, 8], [16, 16], 3);
    assert_eq!(choose(&simple), Some(Choice::Four));
    assert_eq!(choose(&geometry(1, [2, 2], [16, 16], 3)), Some(Choice::Toeplitz));
    assert_eq!(choose(&geometry(1, [1, 1], [16, 16], 3)), None);
    assert_eq!(choose(&geometry(1, [8, 8], [3, 16], 3)), None);
    assert_eq!(choose(&geometry(1, [8, 8], [16, 16], 5)), None);
    assert_eq!(choose(&simple.with_stride(2)), None);
    let halving = geometry(1, [8, 8], [48, 64], 3).with_stride(2);
    assert_eq!(choose(&geometry(1, [8, 8], [32, 64], 3).with_stride(2)), None);
    assert_eq!(choose(&halving), Some(Choice::Strided));
    assert_eq!(choose(&ConvGeometry { padding: [0, 0], ..halving }), None);
    assert_eq!(choose(&ConvGeometry { padding: [2, 1], ..halving }), None);
    assert_eq!(choose(&geometry(1, [6, 6], [48, 64], 3).with_stride(2)), None);
    assert_eq!(choose(&halving.with_stride(3)), None);
    assert_eq!(choose(&ConvGeometry { dilation: [2, 2], ..simple }), None);
    assert_eq!(choose(&ConvGeometry { groups: 2, ..simple }), None);
    assert_eq!(choose(&ConvGeometry { padding: [3, 3], ..simple }), None);
}

/// Sums of zeros are exactly zero.
#[test]
fn zeros_give_zeros() {
    for g in landmarks() {
        let mut case = Case::new(g, 1);
        case.x.fill(0.0);
        case.bias.fill(0.0);
        for set in InstructionSet::available() {
            let [y, _, grad_weight] = results::<f32>(set, Accuracy::Fast, &case);
            assert!(y.iter().chain(&grad_weight).all(|&value| value == 0.0), "{set:?} {g:?}");
        }
        case.grad_y.fill(0.0);
        let [_, grad_x, _] = results::<f32>(InstructionSet::best(), Accuracy::Fast, &case);
        assert!(grad_x.iter().all(|&value| value == 0.0), "{g:?}");
    }
}

/// Scratch memory keeps the contents of earlier calls, which must not change a result.
#[test]
fn results_do_not_depend_on_earlier_calls() {
    for g in landmarks() {
        let case = Case::new(g, 5);
        let first = results::<f32>(InstructionSet::best(), Accuracy::Fast, &case);
        let mut poisoned = case.clone();
        poisoned.x.fill(f64::NAN);
        poisoned.weight.fill(f64::NAN);
        poisoned.grad_y.fill(f64::NAN);
        results::<f32>(InstructionSet::best(), Accuracy::Fast, &poisoned);
        assert_eq!(results::<f32>(InstructionSet::best(), Accuracy::Fast, &case), first, "{g:?}");
    }
}

#[test]
fn new_vectors_equal_results_in_given_slices() {
    for g in landmarks() {
        let case = Case::new(g, 2);
        let [x, weight, grad_y] = [&case.x, &case.weight, &case.grad_y].map(|values| cast::<f32>(values));
        let fast = Accuracy::Fast;
        let [y, grad_x, grad_weight] = results::<f32>(InstructionSet::best(), fast, &case);
        let bias = cast::<f32>(&case.bias);
        assert_eq!(conv_forward_to_vec(&g, fast, &x, &weight, Some(&bias)), y);
        assert_eq!(conv_input_grad_to_vec(&g, fast, &grad_y, &weight), grad_x);
        assert_eq!(conv_weight_grad_to_vec(&g, fast, &x, &grad_y), grad_weight);
    }
}

/// A 2×3 image and a kernel of one row and two columns, computed by hand.
#[test]
fn a_convolution_by_hand() {
    let g = ConvGeometry { kernel: [1, 2], padding: [0, 0], ..geometry(1, [2, 3], [1, 1], 1) };
    let (x, weight) = ([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [10.0, 1.0]);
    // Row 0: 10·1 + 2, 10·2 + 4; row 1: 10·8 + 16, 10·16 + 32; plus the bias 0.5.
    let mut y = [0.0; 4];
    conv_forward(&g, Accuracy::Accurate, &x, &weight, Some(&[0.5]), &mut y);
    assert_eq!(y, [12.5, 24.5, 96.5, 192.5]);
    // With g = (1, 2, 3, 4), pixel by pixel: 10·1, 1·1 + 10·2, 1·2; 10·3, 1·3 + 10·4, 1·4.
    let mut grad_x = [0.0; 6];
    conv_input_grad(&g, Accuracy::Accurate, &[1.0, 2.0, 3.0, 4.0], &weight, &mut grad_x);
    assert_eq!(grad_x, [10.0, 21.0, 2.0, 30.0, 43.0, 4.0]);
    // Tap 0: 1·1 + 2·2 + 8·3 + 16·4; tap 1: 2·1 + 4·2 + 16·3 + 32·4.
    let mut grad_weight = [0.0; 2];
    conv_weight_grad(&g, Accuracy::Accurate, &x, &[1.0, 2.0, 3.0, 4.0], &mut grad_weight);
    assert_eq!(grad_weight, [93.0, 186.0]);
}

#[test]
fn invalid_geometries_are_refused_with_the_rule() {
    let simple = geometry(1, [5, 4], [4, 6], 3);
    let error = |g: ConvGeometry| g.validated().unwrap_err();
    assert_eq!(simple.validated(), Ok(simple));
    assert_eq!(error(ConvGeometry { batch: 0, ..simple }), GeometryError::Zero { what: "batch" });
    assert_eq!(error(simple.with_stride(0)), GeometryError::Zero { what: "vertical stride" });
    assert_eq!(
        error(ConvGeometry { groups: 4, ..simple }),
        GeometryError::Groups { what: "out_channels", channels: 6, groups: 4 }
    );
    assert_eq!(
        error(ConvGeometry { padding: [0, 0], dilation: [1, 2], ..simple }),
        GeometryError::KernelTooLarge { axis: "width", kernel: 5, padded: 4 }
    );
    assert_eq!(error(ConvGeometry { batch: usize::MAX / 8, ..simple }), GeometryError::Overflow);
    assert_eq!(error(ConvGeometry { padding: [usize::MAX / 2, 0], ..simple }), GeometryError::Overflow);
    let message = error(ConvGeometry { groups: 4, ..simple }).to_string();
    assert_eq!(message, "groups must divide out_channels: 6 is not a multiple of 4");
}

#[test]
#[should_panic(expected = "length of the weight")]
fn a_slice_of_the_wrong_length_is_refused() {
    let g = geometry(1, [4, 4], [2, 2], 3);
    conv_forward(&g, Accuracy::Fast, &vec![0.0f32; g.input_len()], &[0.0; 3], None, &mut vec![0.0; g.output_len()]);
}

#[test]
#[should_panic(expected = "6 numbers of the right operand, 5 readable")]
fn a_panel_beyond_its_operand_is_refused() {
    let (a, b, mut c) = ([1.0f64; 2], [1.0f64; 5], [0.0f64; 1]);
    // Each row of B is read as a vector of four: the second row reaches from 2 to 6.
    let product = PanelProduct {
        rows: 1,
        depth: 2,
        columns: 1,
        a: a.as_ptr(),
        a_row: 2,
        a_depth: 1,
        b: b.as_ptr(),
        b_row: 2,
        b_len: b.len(),
        c: c.as_mut_ptr(),
        c_row: 1,
        onto: Onto::Zero,
    };
    // SAFETY: the lengths are checked before anything is read.
    unsafe { product.compute(InstructionSet::Portable) }
}

#[test]
fn a_product_with_a_broadcast_operand() {
    // Both rows of the left operand are (1, 2): the stride from row to row is zero.
    let mut out = [0.0f32; 4];
    let left = Matrix { elements: &[1.0, 2.0], sizes: [2, 2], strides: [0, 1] };
    matmul(left, Matrix::row_major(&[1.0, 10.0, 100.0, 1000.0], [2, 2]), &mut out);
    assert_eq!(out, [201.0, 2010.0, 201.0, 2010.0]);
}
