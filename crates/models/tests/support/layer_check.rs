//! A check of the derivatives of any layer, in f64: against central differences, and against candle's graph of its forward pass.
//!
//! ```ignore
//! LayerCheck::new("linear", &[3, 5], |builder| Linear::new(builder, 5, 4)).run();
//! ```

#![allow(dead_code, unreachable_pub, reason = "a module of several test binaries, each of which uses its own part")]

use candle_core::{DType, Device, Tensor, Var};
use models::layer::{GradientAccumulator, Layer, LayerInput, LayerLinearization, Tape};
use models::{Access, Builder, Initialisation, Params, Pass, Result};

use super::numbers;

/// The step of central differences, and their tolerance relative to the size of what is compared.
const STEP: f64 = 1e-6;
const DIFFERENCE: f64 = 2e-7;
/// The tolerance for two exact computations of one value.
const EXACT: f64 = 1e-11;

type Build<'a> = dyn Fn(Builder<'_>) -> Result<Box<dyn Layer>> + 'a;

/// What is checked, and how.
pub struct LayerCheck<'a> {
    what: String,
    /// The shape of the input, samples first.
    input: Vec<usize>,
    build: Box<Build<'a>>,
    passes: Vec<Pass>,
    /// Whether the samples of a batch are independent in evaluation mode, so that several cotangents are allowed.
    independent: bool,
    /// Whether the layer must have a rule of its own.
    own_rule: bool,
}

impl<'a> LayerCheck<'a> {
    /// A layer that `build` makes, at random inputs of this shape, in evaluation mode and in training mode.
    pub fn new<L: Layer + 'static>(what: &str, input: &[usize], build: impl Fn(Builder<'_>) -> Result<L> + 'a) -> Self {
        Self {
            what: what.to_owned(),
            input: input.to_vec(),
            build: Box::new(move |builder| Ok(Box::new(build(builder)?))),
            passes: vec![Pass::evaluation(), Pass::training(5, 2).without_update()],
            independent: true,
            own_rule: true,
        }
    }

    /// The same for a layer that candle's graph differentiates.
    pub fn by_graph(self) -> Self {
        Self { own_rule: false, ..self }
    }

    /// Checks everything.
    pub fn run(&self) {
        for pass in &self.passes {
            let setting = Setting::new(self, *pass);
            setting.values();
            setting.vjp();
            setting.jvp();
            setting.penalty();
            setting.several_cotangents();
            setting.parameters_alone();
        }
    }
}

/// A layer without rules of its own: candle's graph of the layer inside.
struct ByGraph<'a>(&'a dyn Layer);

impl Layer for ByGraph<'_> {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.0.forward(x, pass)
    }
}

/// One layer with random parameters at one input.
struct Setting<'a> {
    check: &'a LayerCheck<'a>,
    what: String,
    pass: Pass,
    layer: Box<dyn Layer>,
    frozen: Box<dyn Layer>,
    parameters: Vec<(String, Var)>,
    x: Tensor,
}

/// Gradients by input and by each parameter.
struct Gradients {
    input: Tensor,
    parameters: Vec<Tensor>,
}

pub fn draw(shape: &[usize], address: u64) -> Tensor {
    let values = streams::standard_normal(&mut streams::stream(11, "tests/layer", address), shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn inner(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    numbers(a).iter().zip(numbers(b)).map(|(a, b)| a * b).sum()
}

fn size(a: &Tensor) -> f64 {
    inner(a, a).sqrt()
}

impl<'a> Setting<'a> {
    fn new(check: &'a LayerCheck<'a>, pass: Pass) -> Self {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let mut build = |access| (check.build)(params.builder(Initialisation::Pytorch, 3, access)).unwrap();
        let (frozen, layer) = (build(Access::Frozen), build(Access::Tracked));
        let mut parameters = Vec::new();
        for (index, (name, parameter)) in params.iter().enumerate() {
            let noise = (draw(parameter.var.dims(), 50 + index as u64) * 0.2).unwrap();
            if parameter.role.is_trainable() {
                parameter.var.set(&(parameter.var.as_tensor() + noise).unwrap()).unwrap();
                parameters.push((name.to_owned(), parameter.var.clone()));
            } else if name.contains("running") {
                // A variance stays positive.
                parameter.var.set(&(parameter.var.as_tensor() + noise.sqr().unwrap()).unwrap()).unwrap();
            }
        }
        let mode = if pass.batch_statistics { "training" } else { "evaluation" };
        let what = format!("{} in {mode} mode", check.what);
        Self { check, what, pass, layer, frozen, parameters, x: draw(&check.input, 1) }
    }

    fn input(&self) -> LayerInput {
        LayerInput::new(&self.x).by_input().with_tangents()
    }

    fn linearized(&self) -> LayerLinearization<'_> {
        self.layer.linearize(&self.input(), &self.pass).unwrap()
    }

    fn output_at(&self, x: &Tensor) -> Tensor {
        self.layer.forward(x, &self.pass).unwrap().detach()
    }

    /// Asserts |found − expected| ≤ tolerance · scale.
    fn assert_near(&self, of: &str, found: f64, expected: f64, scale: f64, tolerance: f64) {
        let difference = (found - expected).abs();
        let bound = tolerance * scale.max(expected.abs()).max(1e-8);
        assert!(difference <= bound, "{}: {of}: {found} against {expected}, {difference:e} above {bound:e}", self.what);
    }

    fn assert_same(&self, of: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
        self.assert_same_to(of, found, expected, tolerance * size(expected).max(1e-6));
    }

    fn assert_same_to(&self, of: &str, found: &Tensor, expected: &Tensor, bound: f64) {
        assert_eq!(found.dims(), expected.dims(), "{}: shape of {of}", self.what);
        let difference = size(&(found - expected).unwrap());
        assert!(difference <= bound, "{}: {of}: {difference:e} above {bound:e}", self.what);
    }

    /// The linearization gives the output of the forward pass, outside any graph.
    fn values(&self) {
        let at = self.linearized();
        self.assert_same("output", &at.output, &self.output_at(&self.x), EXACT);
        assert!(!at.output.track_op(), "{}: the output is in a graph", self.what);
        assert_eq!(at.by_graph, !self.check.own_rule, "{}: differentiated by the graph", self.what);
        assert_eq!(at.has_variables, !self.parameters.is_empty(), "{}: `with_parameters` is incomplete", self.what);
        let without = self.layer.linearize(&LayerInput::new(&self.x).by_input(), &self.pass).unwrap();
        self.assert_same("output without tangents", &without.output, &at.output, EXACT);
    }

    /// The gradients that `pass` collects; the gradient by the input is what it returns plus what it keeps for the input.
    fn collect(&self, input: &LayerInput, pass: impl FnOnce(&mut GradientAccumulator) -> Option<Tensor>) -> Gradients {
        let mut into = GradientAccumulator::of_all();
        let returned = pass(&mut into);
        let kept = into.take(&input.x);
        let input = match (returned, kept) {
            (Some(one), Some(other)) => (one + other).unwrap(),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => self.x.zeros_like().unwrap(),
        };
        let of = |var: &Var| into.take(var).unwrap_or_else(|| var.zeros_like().unwrap().detach());
        Gradients { input, parameters: self.parameters.iter().map(|(_, var)| var).map(of).collect() }
    }

    /// The gradients of a scalar that `scalar` computes at an input and the current parameters, along random directions.
    fn against_differences(&self, of: &str, found: &Gradients, scalar: &dyn Fn(&Tensor) -> f64) {
        let along = |value: &Tensor, set: &dyn Fn(&Tensor) -> f64, gradient: &Tensor, name: &str| {
            for address in [70, 71] {
                let direction = draw(value.dims(), address);
                let at = |step: f64| set(&(value + (&direction * step).unwrap()).unwrap());
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let scale = size(gradient) * size(&direction) + scalar(&self.x).abs();
                self.assert_near(&format!("{of} by {name}"), inner(gradient, &direction), expected, scale, DIFFERENCE);
            }
        };
        along(&self.x, &|x| scalar(x), &found.input, "the input");
        for ((name, var), gradient) in self.parameters.iter().zip(&found.parameters) {
            let start = var.as_detached_tensor().copy().unwrap();
            let set = |value: &Tensor| {
                var.set(value).unwrap();
                let result = scalar(&self.x);
                var.set(&start).unwrap();
                result
            };
            along(&start, &set, gradient, name);
        }
    }

    /// Compares gradients relative to their size. A gradient that is zero in exact arithmetic, such as that by a bias before batch
    /// norm, is rounding only: it is compared relative to the size of all gradients.
    fn assert_same_gradients(&self, of: &str, found: &Gradients, expected: &Gradients, tolerance: f64) {
        let all = expected.parameters.iter().chain([&expected.input]).map(|gradient| size(gradient).powi(2));
        let least = 0.1 * all.sum::<f64>().sqrt();
        let compare = |name: &str, found: &Tensor, expected: &Tensor| {
            let bound = tolerance * size(expected).max(least).max(1e-6);
            self.assert_same_to(&format!("{of} by {name}"), found, expected, bound);
        };
        compare("the input", &found.input, &expected.input);
        let both = found.parameters.iter().zip(&expected.parameters);
        for ((name, _), (found, expected)) in self.parameters.iter().zip(both) {
            compare(name, found, expected);
        }
    }

    fn vjp(&self) {
        let (at, input) = (self.linearized(), self.input());
        let g = draw(at.output.dims(), 2);
        let at = self.layer.linearize(&input, &self.pass).unwrap();
        let found = self.collect(&input, |into| at.tape.vjp(&g, into).unwrap());
        self.against_differences("VJP", &found, &|x| inner(&self.output_at(x), &g));
        let graph = ByGraph(self.layer.as_ref());
        let by_graph = graph.linearize(&input, &self.pass).unwrap();
        let expected = self.collect(&input, |into| by_graph.tape.vjp(&g, into).unwrap());
        self.assert_same_gradients("VJP against the graph", &found, &expected, 1e-10);
    }

    fn jvp(&self) {
        let (at, t) = (self.linearized(), draw(self.x.dims(), 3));
        let tangent = at.tape.jvp(&t).unwrap();
        let around = |step: f64| self.output_at(&(&self.x + (&t * step).unwrap()).unwrap());
        let expected = ((around(STEP) - around(-STEP)).unwrap() / (2.0 * STEP)).unwrap();
        self.assert_same("JVP", &tangent, &expected, DIFFERENCE);
        let g = draw(at.output.dims(), 4);
        let pulled = at.tape.vjp(&g, &mut GradientAccumulator::of_input()).unwrap().unwrap();
        let tolerance = if self.check.own_rule { EXACT } else { DIFFERENCE };
        let scale = size(&g) * size(&tangent);
        self.assert_near("⟨g, J t⟩ against ⟨Jᵀg, t⟩", inner(&pulled, &t), inner(&g, &tangent), scale, tolerance);
    }

    fn penalty(&self) {
        let (input, t) = (self.input(), draw(self.x.dims(), 3));
        let at = self.layer.linearize(&input, &self.pass).unwrap();
        let g = draw(at.output.dims(), 5);
        let tolerance = if self.check.own_rule { EXACT } else { DIFFERENCE };
        let run = |tape: &dyn Tape| {
            let mut tangent = None;
            let gradients = self.collect(&input, |into| {
                tangent = Some(tape.penalty(&g, &t, into).unwrap());
                // The pass that carries on what was kept for the inputs of layers inside.
                tape.vjp(&g.zeros_like().unwrap(), into).unwrap()
            });
            (tangent.unwrap(), gradients)
        };
        let (tangent, found) = run(at.tape.as_ref());
        self.assert_same("tangent of the penalty", &tangent, &at.tape.jvp(&t).unwrap(), tolerance);
        // The same after a VJP for the same cotangent, of which a tape may use what it kept.
        at.tape.vjp(&g, &mut GradientAccumulator::of_input()).unwrap();
        let (_, again) = run(at.tape.as_ref());
        self.assert_same_gradients("penalty after a VJP", &again, &found, tolerance);
        if self.check.own_rule {
            let product = |x: &Tensor| {
                let at = self.layer.linearize(&LayerInput::new(x).by_input().with_tangents(), &self.pass).unwrap();
                inner(&at.tape.jvp(&t).unwrap(), &g)
            };
            self.against_differences("penalty", &found, &product);
        }
        let graph = ByGraph(self.layer.as_ref());
        let by_graph = graph.linearize(&input, &self.pass).unwrap();
        let (_, expected) = run(by_graph.tape.as_ref());
        self.assert_same_gradients("penalty against the graph", &found, &expected, 1e-6);
    }

    /// k cotangents for each sample give the VJPs of each.
    fn several_cotangents(&self) {
        if self.pass.batch_statistics || !self.check.independent {
            return;
        }
        let at = self.frozen.linearize(&LayerInput::new(&self.x).by_input(), &self.pass).unwrap();
        let each: Vec<Tensor> = (0..3).map(|k| draw(at.output.dims(), 20 + k)).collect();
        let vjp = |g: &Tensor| at.tape.vjp(g, &mut GradientAccumulator::of_input()).unwrap().unwrap();
        let together = vjp(&Tensor::cat(&each, 0).unwrap());
        let expected: Vec<Tensor> = each.iter().map(vjp).collect();
        self.assert_same("VJP of three cotangents", &together, &Tensor::cat(&expected, 0).unwrap(), EXACT);
    }

    /// Gradients by parameters alone are the same, and the cotangent of the input is not computed.
    fn parameters_alone(&self) {
        let all = self.linearized();
        let g = draw(all.output.dims(), 6);
        let expected = self.collect(&self.input(), |into| all.tape.vjp(&g, into).unwrap());
        let alone = self.layer.linearize(&LayerInput::new(&self.x), &self.pass).unwrap();
        let mut into = GradientAccumulator::of_parameters();
        let by_input = alone.tape.vjp(&g, &mut into).unwrap();
        assert!(by_input.is_none(), "{}: a cotangent of the input that was not asked for", self.what);
        for ((name, var), expected) in self.parameters.iter().zip(&expected.parameters) {
            let found = into.take(var).unwrap_or_else(|| var.zeros_like().unwrap().detach());
            let bound = EXACT * size(expected).max(1e-3);
            self.assert_same_to(&format!("gradient by {name} alone"), &found, expected, bound);
        }
    }
}
