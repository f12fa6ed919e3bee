//! Adam and AdamW.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::formula::{Formula, Scalar};
use super::in_place::Update;
use super::{NOT_NEGATIVE, OptimizerState, POSITIVE, SHARE, is_not_negative, is_positive, require};
use crate::Result;
use crate::params::Params;
use crate::train::Gradients;

/// Adam with bias correction, PyTorch's `Adam` (with `l2`) and `AdamW` (with `decay`).
///
/// **Definition** g ← g + l2·w; m ← β₁·m + (1 − β₁)·g; v ← β₂·v + (1 − β₂)·g²;
/// w ← (1 − rate·decay)·w − rate·m̂ / (√v̂ + ε) with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) at the t-th step. Both decays
/// apply to every trainable parameter and never to running statistics.
///
/// **Source** D. Kingma and J. Ba, ICLR 2015 (arXiv 1412.6980); I. Loshchilov and F. Hutter, ICLR 2019 (arXiv 1711.05101).
///
/// ```
/// use models::train::{Adam, Fit, Optimizer};
/// let fit = Fit::new(100, Adam::decoupled(1e-3, 1e-2));
/// assert_eq!(fit.optimizer.learning_rate(), 1e-3);
/// assert!(Optimizer::from(Adam { beta2: 1.0, ..Adam::new(1e-3) }).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    /// Base learning rate.
    pub learning_rate: f64,
    /// Weight of the previous first moment, β₁.
    #[serde(default = "beta1")]
    pub beta1: f64,
    /// Weight of the previous second moment, β₂.
    #[serde(default = "beta2")]
    pub beta2: f64,
    /// ε, added to the root of the second moment.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
    /// Coefficient of w in the gradient (the `weight_decay` of PyTorch's `Adam`).
    #[serde(default)]
    pub l2: f64,
    /// Decoupled decay (the `weight_decay` of PyTorch's `AdamW`).
    #[serde(default)]
    pub decay: f64,
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

impl Adam {
    /// PyTorch's defaults: β = (0.9, 0.999), ε = 10⁻⁸, no decay.
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, beta1: beta1(), beta2: beta2(), epsilon: epsilon(), l2: 0.0, decay: 0.0 }
    }

    /// AdamW: the same with decoupled decay.
    pub fn decoupled(learning_rate: f64, decay: f64) -> Self {
        Self { decay, ..Self::new(learning_rate) }
    }

    /// Checks the settings.
    ///
    /// **Errors** [`Error::Setting`](crate::Error::Setting) for the first invalid one.
    pub fn validate(&self) -> Result<()> {
        require(
            "adam",
            &[
                ("learning rate", self.learning_rate, is_positive(self.learning_rate), POSITIVE),
                ("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), SHARE),
                ("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), SHARE),
                ("epsilon", self.epsilon, is_positive(self.epsilon), POSITIVE),
                ("l2", self.l2, is_not_negative(self.l2), NOT_NEGATIVE),
                ("decay", self.decay, is_not_negative(self.decay), NOT_NEGATIVE),
            ],
        )
    }

    /// One step, in place, on every trainable parameter that has a gradient, at `factor` times the learning rate.
    ///
    /// **Errors** as [`Optimizer::step`](super::Optimizer::step).
    pub fn step(&self, params: &Params, gradients: &Gradients, factor: f64, state: &mut OptimizerState) -> Result<()> {
        state.steps += 1;
        let &Self { beta1, beta2, epsilon, l2, decay, .. } = self;
        let rate = self.learning_rate * factor;
        let count = state.steps.min(i32::MAX as u64) as i32;
        let (first, second) = (1.0 - beta1.powi(count), 1.0 - beta2.powi(count));
        for (name, weight) in params.trainable() {
            let Some(gradient) = gradients.checked(name, weight)? else { continue };
            let mean = state.entry("first-moment", name, weight)?;
            let square = state.entry("second-moment", name, weight)?;
            let (root, decay) = (second.sqrt(), rate * decay);
            let step = Step { beta1, beta2, l2, rate: rate / first, root, epsilon, decay };
            step.apply(weight, [&mean, &square], gradient)?;
        }
        Ok(())
    }
}

/// The coefficients of one step: m ← beta1·m + (1 − beta1)·(g + l2·w); v ← beta2·v + (1 − beta2)·(g + l2·w)²;
/// w ← (1 − decay)·w − rate·m / (√v/root + epsilon).
#[derive(Debug, Clone, Copy)]
struct Step {
    beta1: f64,
    beta2: f64,
    l2: f64,
    rate: f64,
    root: f64,
    epsilon: f64,
    decay: f64,
}

impl Step {
    /// Updates weight and moments in place.
    fn apply(self, weight: &Var, [mean, square]: [&Var; 2], gradient: &Tensor) -> Result<()> {
        if weight.device().is_cpu() {
            return self.apply_in_place([weight, mean, square], gradient);
        }
        self.by_formulas(weight, [mean, square], gradient)
    }

    /// The same as three passes.
    fn by_formulas(self, weight: &Var, [mean, square]: [&Var; 2], gradient: &Tensor) -> Result<()> {
        let Self { beta1, beta2, l2, rate, root, epsilon, decay } = self;
        let before = weight.as_detached_tensor();
        Formula::Mean { keep: beta1, l2 }.apply(mean, gradient, &before)?;
        Formula::Square { keep: beta2, l2 }.apply(square, gradient, &before)?;
        let moments = [mean, square].map(Var::as_detached_tensor);
        Formula::Adapt { rate, root, epsilon, decay }.apply(weight, &moments[0], &moments[1])
    }
}

/// The update in the precision of the numbers. Its roundings are those of [`Step::by_formulas`].
impl Update<3> for Step {
    fn block<T: Scalar>(self, [weight, mean, square]: [&mut [T]; 3], gradient: &[T]) {
        let Self { beta1, beta2, l2, rate, root, epsilon, decay } = self;
        let of = T::of;
        let (mean_rest, square_rest, keep) = (of(1.0 - beta1), of(1.0 - beta2), of(1.0 - decay));
        let [beta1, beta2, l2, rate, root, epsilon] = [beta1, beta2, l2, rate, root, epsilon].map(of);
        let moments = mean.iter_mut().zip(square);
        for ((weight, (mean, square)), gradient) in weight.iter_mut().zip(moments).zip(gradient) {
            let gradient = *gradient + l2 * *weight;
            *mean = beta1 * *mean + mean_rest * gradient;
            *square = beta2 * *square + square_rest * gradient * gradient;
            *weight = keep * *weight - rate * *mean / (square.root() / root + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::in_place::BLOCK;
    use super::*;

    #[test]
    fn one_pass_has_the_bits_of_several() {
        for dtype in [DType::F32, DType::F64] {
            // More than one block.
            let numbers = |offset: f64| {
                let values: Vec<f64> = (0..BLOCK + 5).map(|i| (i as f64 * 0.7 + offset).sin()).collect();
                Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let by = Step { beta1: 0.9, beta2: 0.99, l2: 0.03, rate: 0.1, root: 0.4, epsilon: 1e-4, decay: 0.02 };
            let run = |in_place: bool| {
                let variables = [numbers(0.0), numbers(1.0), numbers(2.0).sqr().unwrap()];
                let [weight, mean, square] = variables.map(|values| Var::from_tensor(&values).unwrap());
                for step in 0..3 {
                    let (moments, gradient) = ([&mean, &square], numbers(f64::from(step)));
                    let apply = if in_place { Step::apply } else { Step::by_formulas };
                    apply(by, &weight, moments, &gradient).unwrap();
                }
                [weight, mean, square].map(|var| var.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap())
            };
            assert!(run(true) == run(false), "{dtype:?}");
        }
    }
}
