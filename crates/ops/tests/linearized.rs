//! The operations of transformers and light convolutional networks, linearized: every derivative in f64 against central
//! differences, against their compositions of candle operations, in candle's graph, and in f32.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "support/linearized.rs"]
mod check;
mod support;

use candle_core::{DType, Device, Tensor};
use check::{Operation, draw};
use ops::{
    Activation, ActivationLinearization, AttentionLinearization, AttentionMask, AttentionSettings, Error,
    LinearLinearization, Linearized, PreluLinearization, RowJacobians, SampleNormLinearization, SampleNormSettings,
    SoftmaxLinearization,
};
use support::numbers;

fn check_norm(name: &str, settings: SampleNormSettings, x: &Tensor, parameters: &[Tensor]) {
    Operation {
        name,
        at: &|x, p| Ok(Box::new(SampleNormLinearization::at(x, p.first(), p.get(1), settings)?)),
        value: &|x, p| ops::sample_norm(x, p.first(), p.get(1), settings),
        jvp: &|x, dx, p| ops::sample_norm_jvp(x, dx, p.first(), p.get(1), settings),
    }
    .check(x, parameters);
}

#[test]
fn norms_of_each_sample() {
    // The channels are neither a multiple of the vector width nor below it.
    for channels in [6, 42] {
        let x = draw(&[3, 5, 2, channels], 100);
        let (gamma, beta) = (draw(&[channels], 101), draw(&[channels], 102));
        let both = [gamma.clone(), beta];
        for epsilon in [1e-5, 0.3] {
            check_norm("layer norm", SampleNormSettings::layer_norm(epsilon), &x, &both);
            check_norm("layer norm without parameters", SampleNormSettings::layer_norm(epsilon), &x, &[]);
            check_norm("RMS norm", SampleNormSettings::rms_norm(epsilon), &x, std::slice::from_ref(&gamma));
            check_norm("group norm", SampleNormSettings::group_norm(3, epsilon), &x, &both);
            check_norm("group norm of one group", SampleNormSettings::group_norm(1, epsilon), &x, &both);
            check_norm("instance norm", SampleNormSettings::instance_norm(epsilon), &x, &[]);
        }
    }
    // Several tasks, whose sums are added in order.
    let (x, gamma, beta) = (draw(&[9, 70, 65], 103), draw(&[65], 104), draw(&[65], 105));
    check_norm("layer norm of many rows", SampleNormSettings::layer_norm(1e-6), &x, &[gamma.clone(), beta.clone()]);
    check_norm("group norm of many pixels", SampleNormSettings::group_norm(5, 1e-6), &x, &[gamma, beta]);
}

#[test]
fn norms_of_constant_rows_and_large_values() {
    let constant = Tensor::new(&[[7f64, 7., 7.], [1e150, -1e150, 0.]], &Device::Cpu).unwrap();
    let norm = SampleNormLinearization::at(&constant, None, None, SampleNormSettings::layer_norm(1e-5)).unwrap();
    let y = numbers(&norm.value().unwrap());
    assert_eq!(y[..3], [0.0; 3]);
    assert!((y[3] - 1.5f64.sqrt()).abs() < 1e-12, "{y:?}");
    // The gradient of a constant row is g minus its mean, divided by √ε.
    let g = Tensor::new(&[[3f64, 0., 0.], [1., 0., 0.]], &Device::Cpu).unwrap();
    let by_input = numbers(&norm.gradients(&g, false).unwrap().input);
    let scale = 1e-5f64.sqrt();
    for (found, expected) in by_input.iter().zip([2.0, -1.0, -1.0]) {
        assert!((found * scale - expected).abs() < 1e-12, "{by_input:?}");
    }
    assert!(by_input.iter().all(|value| value.is_finite()));
}

#[test]
fn softmax_of_rows() {
    let operation = Operation {
        name: "softmax",
        at: &|x, _| Ok(Box::new(SoftmaxLinearization::at(x)?)),
        value: &|x, _| ops::softmax(x),
        jvp: &|x, dx, _| ops::softmax_jvp(x, dx),
    };
    operation.check(&draw(&[3, 4, 7], 110), &[]);
    operation.check(&draw(&[2, 19], 111), &[]);
    // Differences of 1e4 between logits: exact zeros and ones, and no NaN.
    let far = Tensor::new(&[[1e4f32, -1e4, 0.], [-3e38, -3e38, -3e38]], &Device::Cpu).unwrap();
    let y = ops::softmax(&far).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(y[0], [1.0, 0.0, 0.0]);
    assert!(y[1].iter().all(|value| (value - 1.0 / 3.0).abs() < 1e-7));
    let undefined = Tensor::new(&[[f64::NAN, 1.]], &Device::Cpu).unwrap();
    assert!(numbers(&ops::softmax(&undefined).unwrap()).iter().all(|value| value.is_nan()));
}

fn check_linear(activation: Option<Activation>, x: &Tensor, parameters: &[Tensor]) {
    let of = |p: &[Tensor]| (p[0].clone(), p.get(1).cloned());
    Operation {
        name: &format!("linear after {activation:?}"),
        at: &|x, p| {
            let (weight, bias) = of(p);
            Ok(Box::new(LinearLinearization::at(x, &weight, bias.as_ref(), activation)?))
        },
        value: &|x, p| ops::activated_linear(x, &of(p).0, of(p).1.as_ref(), activation),
        jvp: &|x, dx, p| ops::activated_linear_jvp(x, dx, &of(p).0, of(p).1.as_ref(), activation),
    }
    .check(x, parameters);
}

#[test]
fn linear_layers_of_activations() {
    for activation in [None, Some(Activation::Gelu), Some(Activation::Silu)] {
        // More and fewer outputs than inputs, whose weight gradients are products of either order.
        for [inputs, outputs] in [[5, 19], [19, 5]] {
            let (x, weight) = (draw(&[3, 2, inputs], 140), draw(&[outputs, inputs], 141));
            check_linear(activation, &x, &[weight.clone(), draw(&[outputs], 142)]);
            check_linear(activation, &x, &[weight.reshape((outputs, inputs, 1, 1)).unwrap()]);
        }
    }
    // Several blocks of rows, panels of columns, chains and slabs.
    for [inputs, outputs] in [[7, 53], [53, 7]] {
        let parameters = [draw(&[outputs, inputs], 143), draw(&[outputs], 144)];
        check_linear(Some(Activation::Gelu), &draw(&[9, 61, inputs], 145), &parameters);
    }
}

#[test]
fn linear_layers_refuse_other_sizes_and_activations() {
    let (x, weight) = (draw(&[2, 3], 150), draw(&[4, 3], 151));
    let at = |x: &Tensor, weight: &Tensor, activation| LinearLinearization::at(x, weight, None, activation).map(|_| ());
    assert!(at(&x, &weight, None).is_ok());
    assert!(matches!(at(&draw(&[2, 4], 152), &weight, None), Err(Error::Shape { .. })));
    assert!(matches!(at(&draw(&[3], 153), &weight, None), Err(Error::Shape { .. })));
    assert!(matches!(at(&x, &draw(&[4, 3, 2, 2], 154), None), Err(Error::Shape { .. })));
    assert!(matches!(at(&x, &weight, Some(Activation::Relu)), Err(Error::Setting { .. })));
    assert!(matches!(at(&x.to_dtype(DType::F32).unwrap(), &weight, None), Err(Error::DType { .. })));
    let kept = LinearLinearization::at(&x, &weight, None, None).unwrap().without_unused_input();
    assert!(matches!(kept.value(), Err(Error::Setting { .. })));
    assert!(matches!(kept.gradients(&draw(&[2, 3], 155), false), Err(Error::Shape { .. })));
}

/// The Jacobian of two linear layers with GELU between them, against the VJPs of the unit vectors, and its product with cotangents.
#[test]
fn jacobians_of_two_linear_layers_at_each_row() {
    for [samples, tokens, inputs, hidden, outputs] in [[1, 1, 2, 3, 1], [2, 3, 5, 9, 4], [2, 40, 19, 33, 70]] {
        let x = draw(&[samples, tokens, inputs], 300);
        let (first, second) = (draw(&[hidden, inputs], 301), draw(&[outputs, hidden], 302));
        let first = LinearLinearization::at(&x, &first, None, None).unwrap();
        let value = first.value().unwrap();
        let second = LinearLinearization::at(&value, &second, None, Some(Activation::Gelu)).unwrap();
        let through = |g: &Tensor| {
            let between = second.gradients(g, false).unwrap().input;
            first.gradients(&between, false).unwrap().input
        };
        let of_output = |output: usize| {
            let unit: Vec<f64> = (0..outputs).map(|index| f64::from(u8::from(index == output))).collect();
            Tensor::new(unit, x.device())
                .unwrap()
                .broadcast_as((samples, tokens, outputs))
                .unwrap()
                .contiguous()
                .unwrap()
        };
        let gradients: Vec<Tensor> = (0..outputs).map(|output| through(&of_output(output))).collect();
        let gradients = Tensor::cat(&gradients, 0).unwrap();
        let found = first.jacobians_through(&second, 1_000).unwrap().unwrap();
        assert_near("Jacobians", &found, &gradients, 1e-13);
        assert!(first.jacobians_through(&second, 1).unwrap().is_none(), "one cotangent is faster through the layers");
        let refused = second.jacobians_through(&second, 1_000);
        assert!(matches!(refused, Err(Error::Shape { op: "linear", .. })), "{refused:?}");

        let jacobians = RowJacobians::of(&found, x.dims()).unwrap();
        for cotangents in [1, 2, 49, 101] {
            let g = draw(&[cotangents * samples, tokens, outputs], 303);
            let addend = draw(&[cotangents * samples, tokens, inputs], 304);
            let expected = through(&g);
            assert_near("gradient", &jacobians.input_gradient(&g, None).unwrap(), &expected, 1e-13);
            let sum = jacobians.input_gradient(&g, Some(&addend)).unwrap();
            assert_near("gradient with a sum", &sum, &(expected + addend).unwrap(), 1e-13);
        }
        let refused = jacobians.input_gradient(&draw(&[samples, tokens, outputs + 1], 305), None);
        assert!(matches!(refused, Err(Error::Shape { op: "row_jacobians", .. })));
        let g = of_output(0);
        assert!(matches!(jacobians.input_gradient(&g, Some(&draw(&[1], 306))), Err(Error::Shape { .. })));
        let single = g.to_dtype(DType::F32).unwrap();
        assert!(matches!(jacobians.input_gradient(&single, None), Err(Error::DType { .. })));
    }
    assert!(matches!(RowJacobians::of(&draw(&[3, 2], 307), &[2, 2]), Err(Error::Shape { .. })));
    assert!(matches!(RowJacobians::of(&draw(&[2, 2], 307), &[]), Err(Error::Shape { .. })));
}

/// The gradient through attention and the linear layer in front of it, against that through one after the other.
#[test]
fn attention_and_the_linear_layer_of_its_queries_keys_and_values() {
    let mask = Tensor::new(&[[[1u8, 1, 0, 1, 1]], [[1, 1, 1, 1, 0]]], &Device::Cpu).unwrap();
    let mask = AttentionMask::new(&mask).unwrap();
    for (samples, tokens, heads, head_width, inputs, mask) in
        [(1, 17, 3, 16, 48, None), (2, 5, 2, 13, 11, Some(&mask)), (3, 1, 1, 7, 7, None), (1, 33, 1, 70, 65, None)]
    {
        let width = heads * head_width;
        let what = format!("{samples} samples of {tokens} tokens, {heads} heads of {head_width}, {inputs} inputs");
        let linear = |x: &Tensor| {
            let (weight, bias) = (draw(&[3 * width, inputs], 311), draw(&[3 * width], 312));
            LinearLinearization::at(x, &weight, Some(&bias), None).unwrap()
        };
        let before = linear(&draw(&[samples, tokens, inputs], 310));
        let settings = AttentionSettings { causal: tokens == 33, ..AttentionSettings::new(heads) };
        let attention = AttentionLinearization::at(&before.value().unwrap(), None, mask, settings).unwrap();
        for cotangents in [16, 35] {
            let g = draw(&[cotangents * samples, tokens, width], 313);
            let addend = draw(&[cotangents * samples, tokens, inputs], 314);
            let at_packed = attention.gradients(&g, false).unwrap().input;
            let expected = before.gradients(&at_packed, false).unwrap().input;
            let found = attention.gradient_through(&before, &g, None).unwrap().expect("many cotangents");
            assert_near(&what, &found, &expected, 1e-12);
            let found = attention.gradient_through(&before, &g, Some(&addend)).unwrap().expect("many cotangents");
            assert_near(&what, &found, &(expected + addend).unwrap(), 1e-12);
        }
        let g = draw(&[16 * samples, tokens, width], 313);
        let few = attention.gradient_through(&before, &draw(&[samples, tokens, width], 313), None).unwrap();
        assert!(few.is_none(), "one cotangent is faster through one after the other");
        let refused = attention.gradient_through(&before, &g, Some(&draw(&[1], 314)));
        assert!(matches!(refused, Err(Error::Shape { op: "attention", .. })), "{refused:?}");
        let refused = attention.gradient_through(&before, &draw(&[1, tokens, width + 1], 313), None);
        assert!(matches!(refused, Err(Error::Shape { op: "attention", .. })), "{refused:?}");
        let refused = attention.gradient_through(&linear(&draw(&[samples + 1, tokens, inputs], 310)), &g, None);
        assert!(matches!(refused, Err(Error::Shape { op: "attention", .. })), "{refused:?}");
        let single = attention.gradient_through(&before, &g.to_dtype(DType::F32).unwrap(), None);
        assert!(matches!(single, Err(Error::DType { op: "attention", .. })), "{single:?}");
    }
    // With many tokens of narrow heads it is faster through one after the other.
    let before = LinearLinearization::at(&draw(&[1, 60, 12], 310), &draw(&[36, 12], 311), None, None).unwrap();
    let settings = AttentionSettings::new(6);
    let attention = AttentionLinearization::at(&before.value().unwrap(), None, None, settings).unwrap();
    assert!(attention.gradient_through(&before, &draw(&[40, 60, 12], 313), None).unwrap().is_none());
}

#[track_caller]
fn assert_near(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (numbers(found), numbers(expected));
    let size = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= tolerance * size, "{what}: {found} and {expected}, relative to {size}");
    }
}

/// Without an activation the value and the gradients have the bits of the pointwise convolution, in both dtypes.
#[test]
fn a_linear_layer_is_a_pointwise_convolution() {
    for dtype in [DType::F32, DType::F64] {
        // Depths of one and of several chains of additions.
        for [rows, inputs, outputs] in [[50, 70, 33], [130, 600, 21], [200, 9, 520]] {
            let draw = |shape: &[usize], seed| draw(shape, seed).to_dtype(dtype).unwrap();
            let (x, g) = (draw(&[rows, inputs], 160), draw(&[rows, outputs], 161));
            let (weight, bias) = (draw(&[outputs, inputs], 162), draw(&[outputs], 163));
            let layer = LinearLinearization::at(&x, &weight, Some(&bias), None).unwrap();
            let gradients = layer.gradients(&g, true).unwrap();
            let row = |x: &Tensor| x.reshape((1, 1, rows, ())).unwrap();
            let (kernel, settings) = (weight.reshape((outputs, inputs, 1, 1)).unwrap(), ops::ConvSettings::default());
            let by_input = ops::nhwc::conv2d_input_gradient(&row(&g), &kernel, row(&x).dims(), settings).unwrap();
            let by_weight = ops::nhwc::conv2d_weight_gradient(&row(&x), &row(&g), kernel.dims(), settings).unwrap();
            assert_eq!(numbers(&layer.value().unwrap()), numbers(&ops::linear(&x, &weight, Some(&bias)).unwrap()));
            assert_eq!(numbers(&gradients.input), numbers(&by_input));
            assert_eq!(numbers(&gradients.parameters[0]), numbers(&by_weight));
            assert_eq!(numbers(&gradients.parameters[1]), numbers(&ops::nhwc::channel_sum(&g).unwrap()));
        }
    }
}

fn check_attention(
    name: &str,
    settings: AttentionSettings,
    mask: Option<&AttentionMask>,
    x: &Tensor,
    parameters: &[Tensor],
) {
    Operation {
        name,
        at: &|x, p| Ok(Box::new(AttentionLinearization::at(x, p.first(), mask, settings)?)),
        value: &|x, p| ops::attention(x, p.first(), mask, settings),
        jvp: &|x, dx, p| ops::attention_jvp(x, dx, p.first(), mask, settings),
    }
    .check(x, parameters);
}

/// Masks of two samples of 5 tokens: padding of the last tokens, and arbitrary ones.
fn masks() -> [AttentionMask; 2] {
    let padding = Tensor::new(&[[[1u8, 1, 1, 0, 0]], [[1, 1, 1, 1, 0]]], &Device::Cpu).unwrap();
    let arbitrary: Vec<u8> = (0..50).map(|index| u8::from(index % 3 != 1)).collect();
    let arbitrary = Tensor::from_vec(arbitrary, (2, 5, 5), &Device::Cpu).unwrap();
    [padding, arbitrary].map(|mask| AttentionMask::new(&mask).unwrap())
}

#[test]
fn attention_with_every_setting() {
    let x = draw(&[4, 5, 18], 120);
    for heads in [1, 2, 3] {
        for causal in [false, true] {
            for scale in [None, Some(0.7)] {
                let settings = AttentionSettings { heads, causal, scale };
                let what = format!("{settings:?}");
                check_attention(&what, settings, None, &x, &[]);
                check_attention(&format!("{what} with bias"), settings, None, &x, &[draw(&[heads, 5, 5], 121)]);
            }
        }
    }
    for mask in &masks() {
        let settings = AttentionSettings::new(2);
        check_attention("masked", settings, Some(mask), &x, &[draw(&[2, 5, 5], 121)]);
        check_attention("masked and causal", AttentionSettings { causal: true, ..settings }, Some(mask), &x, &[]);
    }
    // More samples than parts, and enough work for several tasks.
    check_attention(
        "many samples",
        AttentionSettings::new(2),
        None,
        &draw(&[19, 33, 60], 122),
        &[draw(&[2, 33, 33], 123)],
    );
}

/// Large logits give exact one-hot weights, and a token that sees nothing has value and derivative 0.
#[test]
fn attention_of_large_logits_and_hidden_rows() {
    let x = (draw(&[2, 5, 12], 130) * 1e4).unwrap();
    let attention = AttentionLinearization::at(&x, None, None, AttentionSettings::new(2)).unwrap();
    assert!(numbers(&attention.value().unwrap()).iter().all(|value| value.is_finite()));
    let (g, t) = (draw(&[2, 5, 4], 131), draw(&[2, 5, 12], 132));
    let term = attention.tangent_cotangent_term(&g, &t).unwrap();
    for results in [attention.gradients(&g, true).unwrap().input, term.tangent, term.by_input.unwrap()] {
        assert!(numbers(&results).iter().all(|value| value.is_finite()));
    }
    let hidden = Tensor::new(&[[[0u8, 0], [1, 1]]], &Device::Cpu).unwrap();
    let mask = AttentionMask::new(&hidden).unwrap();
    let x = draw(&[3, 2, 12], 133);
    check_attention("a hidden row", AttentionSettings::new(2), Some(&mask), &x, &[]);
    let y = ops::attention(&x, None, Some(&mask), AttentionSettings::new(2)).unwrap();
    assert!(numbers(&y.narrow(1, 0, 1).unwrap()).iter().all(|value| *value == 0.0));
    assert!(numbers(&y.narrow(1, 1, 1).unwrap()).iter().all(|value| *value != 0.0));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let x = draw(&[19, 33, 60], 122).to_dtype(DType::F32).unwrap();
    let (gamma, bias) = (draw(&[60], 124).to_dtype(DType::F32).unwrap(), draw(&[2, 33, 33], 123).to_dtype(DType::F32));
    let bias = bias.unwrap();
    let all = || {
        let norm = SampleNormLinearization::at(&x, Some(&gamma), Some(&gamma), SampleNormSettings::layer_norm(1e-5));
        let attention = AttentionLinearization::at(&x, Some(&bias), None, AttentionSettings::new(2));
        let operations: [Box<dyn Linearized>; 2] = [Box::new(norm.unwrap()), Box::new(attention.unwrap())];
        let mut values = Vec::new();
        for operation in operations {
            let y = operation.value().unwrap();
            let gradients = operation.gradients(&y, true).unwrap();
            values.extend(numbers(&y));
            values.extend(gradients.parameters.iter().chain([&gradients.input]).flat_map(numbers));
            let term = operation.tangent_cotangent_term(&y, &x).unwrap();
            values.extend(term.by_parameters.iter().flatten().chain(&term.by_input).flat_map(numbers));
        }
        values
    };
    let with_threads = |threads| rayon_pool(threads, all);
    assert_eq!(with_threads(1), with_threads(3));
}

fn rayon_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn wrong_settings_shapes_and_dtypes_are_errors() {
    let x = draw(&[2, 5, 12], 140);
    let of_norm = |settings, gamma: &Tensor| SampleNormLinearization::at(&x, Some(gamma), None, settings).map(|_| ());
    let of_attention = |x: &Tensor, heads, bias: Option<&Tensor>, mask: Option<&AttentionMask>| {
        AttentionLinearization::at(x, bias, mask, AttentionSettings::new(heads)).map(|_| ())
    };
    for error in [
        of_norm(SampleNormSettings::group_norm(5, 1e-5), &draw(&[12], 1)),
        of_norm(SampleNormSettings::group_norm(0, 1e-5), &draw(&[12], 1)),
        of_norm(SampleNormSettings::layer_norm(-1.0), &draw(&[12], 1)),
        of_norm(SampleNormSettings::layer_norm(f64::NAN), &draw(&[12], 1)),
        of_attention(&x, 3, None, None),
        of_attention(&x, 0, None, None),
    ] {
        assert!(matches!(error, Err(Error::Setting { .. })), "{error:?}");
    }
    let wrong = of_attention(&x, 3, None, None).unwrap_err().to_string();
    assert!(wrong.contains("3 for a width of 4") && wrong.contains("divides the width"), "{wrong}");
    let three_tokens = AttentionMask::new(&Tensor::ones((1, 1, 3), DType::U8, &Device::Cpu).unwrap()).unwrap();
    let three_samples = AttentionMask::new(&Tensor::ones((3, 1, 5), DType::U8, &Device::Cpu).unwrap()).unwrap();
    let norm = SampleNormLinearization::at(&x, None, None, SampleNormSettings::layer_norm(1e-5)).unwrap();
    let attention = AttentionLinearization::at(&x, None, None, AttentionSettings::new(2)).unwrap();
    let softmax = SoftmaxLinearization::at(&x).unwrap();
    for error in [
        of_norm(SampleNormSettings::layer_norm(1e-5), &draw(&[5], 1)),
        SampleNormLinearization::at(&draw(&[0, 3], 1), None, None, SampleNormSettings::layer_norm(1e-5)).map(|_| ()),
        of_attention(&draw(&[2, 5, 10], 1), 1, None, None),
        of_attention(&draw(&[5, 12], 1), 1, None, None),
        of_attention(&x, 2, Some(&draw(&[2, 5, 4], 1)), None),
        of_attention(&x, 2, None, Some(&three_tokens)),
        of_attention(&x, 2, None, Some(&three_samples)),
        AttentionMask::new(&Tensor::ones((1, 2, 3), DType::U8, &Device::Cpu).unwrap()).map(|_| ()),
        SoftmaxLinearization::at(&draw(&[0, 3], 1)).map(|_| ()),
        norm.gradients(&draw(&[2, 5, 11], 1), true).map(|_| ()),
        norm.gradients(&draw(&[3, 5, 12], 1), true).map(|_| ()),
        norm.tangent(&draw(&[4, 5, 12], 1)).map(|_| ()),
        norm.tangent_cotangent_term(&draw(&[4, 5, 12], 1), &x).map(|_| ()),
        attention.gradients(&x, true).map(|_| ()),
        attention.tangent(&draw(&[2, 5, 4], 1)).map(|_| ()),
        attention.tangent_cotangent_term(&x, &x).map(|_| ()),
        softmax.gradients(&draw(&[2, 5, 11], 1), true).map(|_| ()),
        softmax.tangent_cotangent_term(&draw(&[4, 5, 12], 1), &x).map(|_| ()),
    ] {
        assert!(matches!(error, Err(Error::Shape { .. })), "{error:?}");
    }
    let single = x.to_dtype(DType::F32).unwrap();
    for error in [
        SoftmaxLinearization::at(&x.to_dtype(DType::F16).unwrap()).map(|_| ()),
        norm.gradients(&single, true).map(|_| ()),
        norm.tangent(&single).map(|_| ()),
        attention.tangent(&single).map(|_| ()),
        softmax.tangent(&single).map(|_| ()),
        of_attention(&x, 2, Some(&draw(&[2, 5, 5], 1).to_dtype(DType::F32).unwrap()), None),
        AttentionMask::new(&single).map(|_| ()),
    ] {
        assert!(matches!(error, Err(Error::DType { .. })), "{error:?}");
    }
}

#[test]
fn activations() {
    let x = draw(&[4, 3, 7], 150);
    // Both bounds of the piecewise activations lie inside.
    let wide = (draw(&[4, 3, 7], 151) * 4.0).unwrap();
    for activation in [
        Activation::Identity,
        Activation::Relu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Sigmoid,
        Activation::Mish,
        Activation::Relu6,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::LeakyRelu { negative_slope: 0.1 },
        Activation::Elu { alpha: 0.7 },
    ] {
        for x in [&x, &wide] {
            Operation {
                name: &format!("{activation:?}"),
                at: &|x, _| Ok(Box::new(ActivationLinearization::at(activation, x)?)),
                value: &|x, _| activation.forward(x),
                jvp: &|x, dx, _| activation.jvp(x, dx),
            }
            .check(x, &[]);
        }
    }
}

#[test]
fn prelu_with_one_and_several_slopes() {
    let x = draw(&[4, 3, 7], 152);
    let operation = Operation {
        name: "PReLU",
        at: &|x, p| Ok(Box::new(PreluLinearization::at(x, &p[0])?)),
        value: &|x, p| ops::prelu(x, &p[0]),
        jvp: &|x, dx, p| ops::prelu_jvp(x, dx, &p[0]),
    };
    operation.check(&x, &[draw(&[7], 153)]);
    operation.check(&x, &[draw(&[1], 154)]);
    assert!(matches!(ops::prelu(&x, &draw(&[3], 1)), Err(Error::Shape { op: "prelu", .. })));
    let zero = Tensor::new(&[[0f64]], &Device::Cpu).unwrap();
    let at_zero = PreluLinearization::at(&zero, &Tensor::new(&[0.25f64], &Device::Cpu).unwrap()).unwrap();
    let gradients = at_zero.gradients(&Tensor::ones((1, 1), DType::F64, &Device::Cpu).unwrap(), true).unwrap();
    assert_eq!((numbers(&gradients.input), numbers(&gradients.parameters[0])), (vec![0.25], vec![0.0]));
}
