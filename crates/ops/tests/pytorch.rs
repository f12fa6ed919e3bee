//! Operations compared with PyTorch in f64: `golden/README.md` states where the values come from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use ops::{
    Activation, ActivationLinearization, AttentionLinearization, AttentionMask, AttentionSettings, Conv1dSettings,
    Linearized, PoolSettings, PreluLinearization, SampleNormLinearization, SampleNormSettings, SoftmaxLinearization,
};
use support::assert_close;

/// Relative; PyTorch and this crate sum in different orders.
const TOLERANCE: f64 = 1e-12;

struct Golden(HashMap<String, Tensor>);

impl Golden {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pytorch.safetensors");
        Self(candle_core::safetensors::load(path, &Device::Cpu).unwrap())
    }

    fn find(&self, case: &str, name: &str) -> Option<&Tensor> {
        self.0.get(&format!("{case}.{name}"))
    }

    fn get(&self, case: &str, name: &str) -> &Tensor {
        self.find(case, name).unwrap_or_else(|| panic!("{case}.{name} is missing"))
    }

    fn check(&self, case: &str, name: &str, found: &Tensor) {
        assert_close(&format!("{case}, {name}"), found, self.get(case, name), TOLERANCE);
    }

    /// Everything that a linearization gives, and that there is nothing else in the file.
    fn check_linearized(&self, case: &str, at: impl Fn(&Tensor, &[Tensor]) -> ops::Result<Box<dyn Linearized>>) {
        let parameters: Vec<Tensor> = (0..).map_while(|index| self.find(case, &format!("p{index}")).cloned()).collect();
        let (g, t) = (self.get(case, "g"), self.get(case, "t"));
        let operation = at(self.get(case, "x"), &parameters).unwrap();
        let gradients = operation.gradients(g, true).unwrap();
        let term = operation.tangent_cotangent_term(g, t).unwrap();
        self.check(case, "y", &operation.value().unwrap());
        self.check(case, "by_x", &gradients.input);
        self.check(case, "jvp", &operation.tangent(t).unwrap());
        let zero = |like: &Tensor| like.zeros_like().unwrap();
        let by_input = term.by_input.unwrap_or_else(|| zero(self.get(case, "x")));
        self.check(case, "term_x", &by_input);
        assert_eq!((gradients.parameters.len(), term.by_parameters.len()), (parameters.len(), parameters.len()));
        for (index, (first, second)) in gradients.parameters.iter().zip(term.by_parameters).enumerate() {
            self.check(case, &format!("by_p{index}"), first);
            let second = second.unwrap_or_else(|| zero(&parameters[index]));
            self.check(case, &format!("term_p{index}"), &second);
        }
    }
}

#[test]
fn norms() {
    let golden = Golden::open();
    for (case, settings) in [
        ("layer_norm", SampleNormSettings::layer_norm(1e-5)),
        ("rms_norm", SampleNormSettings::rms_norm(1e-5)),
        ("group_norm", SampleNormSettings::group_norm(3, 1e-5)),
        ("instance_norm", SampleNormSettings::instance_norm(1e-5)),
    ] {
        golden.check_linearized(case, |x, p| {
            Ok(Box::new(SampleNormLinearization::at(x, p.first(), p.get(1), settings)?))
        });
    }
}

#[test]
fn softmax_and_attention() {
    let golden = Golden::open();
    golden.check_linearized("softmax", |x, _| Ok(Box::new(SoftmaxLinearization::at(x)?)));
    let mask = AttentionMask::new(golden.get("attention_padding", "mask")).unwrap();
    let causal = AttentionSettings { causal: true, ..AttentionSettings::new(2) };
    for (case, settings, mask) in [
        ("attention", AttentionSettings::new(2), None),
        ("attention_causal_bias", causal, None),
        ("attention_padding", AttentionSettings::new(2), Some(&mask)),
    ] {
        golden.check_linearized(case, |x, p| Ok(Box::new(AttentionLinearization::at(x, p.first(), mask, settings)?)));
    }
}

#[test]
fn activations() {
    let golden = Golden::open();
    for (case, activation) in [
        ("relu", Activation::Relu),
        ("gelu", Activation::Gelu),
        ("gelu_tanh", Activation::GeluTanh),
        ("silu", Activation::Silu),
        ("sigmoid", Activation::Sigmoid),
        ("softplus", Activation::Softplus),
        ("mish", Activation::Mish),
        ("relu6", Activation::Relu6),
        ("hardsigmoid", Activation::HardSigmoid),
        ("hardswish", Activation::HardSwish),
        ("leakyrelu", Activation::LeakyRelu { negative_slope: 0.1 }),
        ("elu", Activation::Elu { alpha: 0.7 }),
    ] {
        golden.check_linearized(case, |x, _| Ok(Box::new(ActivationLinearization::at(activation, x)?)));
    }
    golden.check_linearized("prelu", |x, p| Ok(Box::new(PreluLinearization::at(x, &p[0])?)));
}

#[test]
fn convolution_pooling_and_products() {
    let golden = Golden::open();
    let settings = Conv1dSettings { stride: 2, padding: 1, dilation: 2, groups: 2 };
    let of = |case, name| golden.get(case, name);
    let [x, weight, bias, g, t] = ["x", "p0", "p1", "g", "t"].map(|name| of("conv1d", name));
    golden.check("conv1d", "y", &ops::nhwc::conv1d(x, weight, Some(bias), settings).unwrap());
    golden.check("conv1d", "jvp", &ops::nhwc::conv1d(t, weight, None, settings).unwrap());
    golden.check("conv1d", "by_x", &ops::nhwc::conv1d_input_gradient(g, weight, x.dims(), settings).unwrap());
    golden.check("conv1d", "by_p0", &ops::nhwc::conv1d_weight_gradient(x, g, weight.dims(), settings).unwrap());
    golden.check("conv1d", "term_p0", &ops::nhwc::conv1d_weight_gradient(t, g, weight.dims(), settings).unwrap());

    let pool =
        PoolSettings { kernel: [3, 2], stride: [3, 4], padding: [1, 0], ceil_mode: true, count_include_pad: true };
    let inside = PoolSettings { count_include_pad: false, ..pool };
    type Map<'a> = &'a dyn Fn(&Tensor) -> ops::Result<Tensor>;
    let linear: [(&str, Map); 4] = [
        ("adaptive_avg_pool2d", &|x| ops::nhwc::adaptive_avg_pool2d(x, [3, 4])),
        ("avg_pool2d_ceil", &|x| ops::nhwc::avg_pool2d(x, pool)),
        ("avg_pool2d_ceil_inside", &|x| ops::nhwc::avg_pool2d(x, inside)),
        ("channel_shuffle", &|x| ops::nhwc::channel_shuffle(x, 2)),
    ];
    for (case, map) in linear {
        golden.check(case, "y", &map(of(case, "x")).unwrap());
        golden.check(case, "jvp", &map(of(case, "t")).unwrap());
        let x = candle_core::Var::from_tensor(of(case, "x")).unwrap();
        let store = (map(&x).unwrap() * of(case, "g")).unwrap().sum_all().unwrap().backward().unwrap();
        golden.check(case, "by_x", store.get(&x).unwrap());
    }
    let case = "max_pool2d_ceil";
    let (y, positions) = ops::nhwc::max_pool2d_with_positions(of(case, "x"), pool).unwrap();
    golden.check(case, "y", &y);
    golden.check(case, "by_x", &positions.scatter(of(case, "g")).unwrap());
    golden.check(case, "jvp", &positions.gather(of(case, "t")).unwrap());

    let [x, s, g, t] = ["x", "p0", "g", "t"].map(|name| of("squeeze_scale", name));
    golden.check("squeeze_scale", "y", &ops::nhwc::sample_scale(x, s).unwrap());
    golden.check("squeeze_scale", "by_x", &ops::nhwc::sample_scale(g, s).unwrap());
    golden.check("squeeze_scale", "by_p0", &ops::nhwc::sample_dot(g, x).unwrap());
    golden.check("squeeze_scale", "term_p0", &ops::nhwc::sample_dot(g, t).unwrap());
}
