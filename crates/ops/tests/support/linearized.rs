//! Checks of a linearized operation against finite differences, its composition of candle operations, candle's graph, and f32.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]
#![allow(unreachable_pub, reason = "a module of a test binary")]
#![allow(clippy::type_complexity, reason = "the closures of one operation")]

use candle_core::{DType, Device, Tensor, Var};
use ops::{Linearized, Result};

use super::support::{assert_close, numbers};

const STEP: f64 = 1e-6;
/// Relative to the larger of 1 and the value. Central differences have a relative error of about 1e-9.
const TOLERANCE: f64 = 1e-6;

pub fn draw(shape: &[usize], address: u64) -> Tensor {
    let values = streams::standard_normal(&mut streams::stream(6, "tests/linearized", address), shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub fn inner(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    numbers(a).iter().zip(numbers(b)).map(|(a, b)| a * b).sum()
}

/// An operation: its linearization, its value in candle's graph and its value and JVP in candle's graph.
pub struct Operation<'a> {
    pub name: &'a str,
    pub at: &'a dyn Fn(&Tensor, &[Tensor]) -> Result<Box<dyn Linearized>>,
    pub value: &'a dyn Fn(&Tensor, &[Tensor]) -> Result<Tensor>,
    pub jvp: &'a dyn Fn(&Tensor, &Tensor, &[Tensor]) -> Result<(Tensor, Tensor)>,
}

impl Operation<'_> {
    /// All checks at `x` with these parameters, in f64, and agreement of f32 with f64.
    pub fn check(&self, x: &Tensor, parameters: &[Tensor]) {
        self.check_against_differences(x, parameters);
        self.check_composition(x, parameters);
        self.check_graph(x, parameters);
        self.check_several_cotangents(x, parameters);
        self.check_single_precision(x, parameters);
    }

    /// The arguments with argument `index` (0 is x) moved by `step` times `direction`.
    fn moved(x: &Tensor, parameters: &[Tensor], index: usize, direction: &Tensor, step: f64) -> (Tensor, Vec<Tensor>) {
        let mut all: Vec<Tensor> = std::iter::once(x).chain(parameters).cloned().collect();
        all[index] = (&all[index] + (direction * step).unwrap()).unwrap();
        let parameters = all.split_off(1);
        (all.remove(0), parameters)
    }

    fn check_against_differences(&self, x: &Tensor, parameters: &[Tensor]) {
        let linearization = (self.at)(x, parameters).unwrap();
        let y = linearization.value().unwrap();
        let (g, t) = (draw(y.dims(), 1), draw(x.dims(), 2));
        let gradients = linearization.gradients(&g, true).unwrap();
        let term = linearization.tangent_cotangent_term(&g, &t).unwrap();
        let tangent = linearization.tangent(&t).unwrap();
        assert_close(&format!("{}: tangent of the term", self.name), &term.tangent, &tangent, 1e-13);
        assert_eq!(gradients.parameters.len(), parameters.len(), "{}", self.name);
        assert_eq!(term.by_parameters.len(), parameters.len(), "{}", self.name);
        let first: Vec<Option<Tensor>> =
            std::iter::once(gradients.input).chain(gradients.parameters).map(Some).collect();
        let second: Vec<Option<Tensor>> = std::iter::once(term.by_input).chain(term.by_parameters).collect();
        let values: [(&str, &dyn Fn(&dyn Linearized) -> f64, &[Option<Tensor>]); 2] = [
            ("VJP", &|at| inner(&at.value().unwrap(), &g), &first),
            ("term", &|at| inner(&at.tangent(&t).unwrap(), &g), &second),
        ];
        for (what, value, found) in values {
            for (index, found) in found.iter().enumerate() {
                let argument = if index == 0 { x } else { &parameters[index - 1] };
                let direction = draw(argument.dims(), 10 + index as u64);
                let at = |step: f64| {
                    let (x, parameters) = Self::moved(x, parameters, index, &direction, step);
                    value(&*(self.at)(&x, &parameters).unwrap())
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let found = found.as_ref().map_or(0.0, |found| inner(found, &direction));
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(error < TOLERANCE, "{}, {what}, argument {index}: {found} against {expected}", self.name);
            }
        }
        let at = |step: f64| {
            let moved = (x + (&t * step).unwrap()).unwrap();
            (self.at)(&moved, parameters).unwrap().value().unwrap()
        };
        let expected = ((at(STEP) - at(-STEP)).unwrap() / (2.0 * STEP)).unwrap();
        assert_close(&format!("{}: JVP", self.name), &tangent, &expected, TOLERANCE);
    }

    /// Everything that a linearization gives, with a name each.
    fn results(&self, x: &Tensor, parameters: &[Tensor], rows: usize) -> Vec<(String, Tensor)> {
        let linearization = (self.at)(x, parameters).unwrap();
        let y = linearization.value().unwrap();
        let draw = |shape: &[usize], address| draw(shape, address).to_dtype(x.dtype()).unwrap();
        let (g, t) = (draw(y.dims(), 1), draw(x.dims(), 2));
        let mut shape = y.dims().to_vec();
        shape[0] *= rows;
        let gradients = linearization.gradients(&draw(&shape, 1), true).unwrap();
        let term = linearization.tangent_cotangent_term(&g, &t).unwrap();
        let mut results = vec![
            ("value".to_owned(), y),
            ("VJP".to_owned(), gradients.input),
            ("JVP".to_owned(), linearization.tangent(&t).unwrap()),
            ("tangent of the term".to_owned(), term.tangent),
        ];
        results.extend(term.by_input.map(|by_input| ("term by the input".to_owned(), by_input)));
        for (index, gradient) in gradients.parameters.into_iter().enumerate() {
            results.push((format!("gradient by parameter {index}"), gradient));
        }
        for (index, gradient) in term.by_parameters.into_iter().enumerate() {
            results.extend(gradient.map(|gradient| (format!("term by parameter {index}"), gradient)));
        }
        results
    }

    fn check_composition(&self, x: &Tensor, parameters: &[Tensor]) {
        for rows in [1, 3] {
            let composed = ops::composed(|| self.results(x, parameters, rows));
            for ((what, kernel), (_, composed)) in self.results(x, parameters, rows).iter().zip(&composed) {
                assert_close(&format!("{}: composed {what}", self.name), composed, kernel, 1e-12);
            }
        }
    }

    fn check_single_precision(&self, x: &Tensor, parameters: &[Tensor]) {
        let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let parameters_single: Vec<Tensor> = parameters.iter().map(single).collect();
        let found = self.results(&single(x), &parameters_single, 2);
        for ((what, double), (_, single)) in self.results(x, parameters, 2).iter().zip(&found) {
            assert_close(&format!("{}: f32 {what}", self.name), single, double, 1e-5);
        }
    }

    /// Row r of k·n cotangents belongs to sample r mod n.
    fn check_several_cotangents(&self, x: &Tensor, parameters: &[Tensor]) {
        let linearization = (self.at)(x, parameters).unwrap();
        let y = linearization.value().unwrap();
        let each: Vec<Tensor> = (0..3).map(|k| draw(y.dims(), 20 + k)).collect();
        let together = linearization.gradients(&Tensor::cat(&each, 0).unwrap(), true).unwrap();
        let alone: Vec<_> = each.iter().map(|g| linearization.gradients(g, true).unwrap()).collect();
        let inputs: Vec<&Tensor> = alone.iter().map(|gradients| &gradients.input).collect();
        assert_close(self.name, &together.input, &Tensor::cat(&inputs, 0).unwrap(), 1e-13);
        for (index, together) in together.parameters.iter().enumerate() {
            let sum = alone.iter().skip(1).fold(alone[0].parameters[index].clone(), |sum, gradients| {
                (sum + &gradients.parameters[index]).unwrap()
            });
            assert_close(self.name, together, &sum, 1e-13);
        }
        assert!(
            linearization.gradients(&together.input.narrow(0, 0, 1).unwrap(), false).is_err() || x.dims() == y.dims()
        );
    }

    /// The gradients of the value, and of the JVP, by candle's backward pass.
    fn check_graph(&self, x: &Tensor, parameters: &[Tensor]) {
        let (x_var, t_var) = (Var::from_tensor(x).unwrap(), Var::from_tensor(&draw(x.dims(), 2)).unwrap());
        let vars: Vec<Var> = parameters.iter().map(|parameter| Var::from_tensor(parameter).unwrap()).collect();
        let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let linearization = (self.at)(x, parameters).unwrap();
        let y = (self.value)(&x_var, &tracked).unwrap();
        assert_close(self.name, &y, &linearization.value().unwrap(), 1e-14);
        let g = draw(y.dims(), 1);
        let expected = linearization.gradients(&g, true).unwrap();
        let store = (&y * &g).unwrap().sum_all().unwrap().backward().unwrap();
        assert_close(self.name, store.get(&x_var).unwrap(), &expected.input, 1e-14);
        for (var, expected) in vars.iter().zip(&expected.parameters) {
            assert_close(self.name, store.get(var).unwrap(), expected, 1e-14);
        }
        let (y, dy) = (self.jvp)(&x_var, &t_var, &tracked).unwrap();
        let term = linearization.tangent_cotangent_term(&g, &t_var.as_detached_tensor()).unwrap();
        assert_close(self.name, &y, &linearization.value().unwrap(), 1e-14);
        assert_close(self.name, &dy, &term.tangent, 1e-13);
        let store = (&dy * &g).unwrap().sum_all().unwrap().backward().unwrap();
        assert_close(self.name, store.get(&t_var).unwrap(), &expected.input, 1e-14);
        let pairs = std::iter::once((&x_var, &term.by_input)).chain(vars.iter().zip(&term.by_parameters));
        for (var, expected) in pairs {
            match (store.get(var), expected) {
                (Some(found), Some(expected)) => assert_close(self.name, found, expected, 1e-13),
                (Some(found), None) => assert!(numbers(found).iter().all(|value| *value == 0.0), "{}", self.name),
                (None, expected) => assert!(expected.is_none(), "{}", self.name),
            }
        }
        // Without a variable there is no graph.
        assert!(!(self.value)(x, parameters).unwrap().track_op());
    }
}
