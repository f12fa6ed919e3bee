//! The slope of the loss along a path of training steps.

use candle_core::Var;
use candle_core::backprop::GradStore;
use serde::{Deserialize, Serialize};

use crate::tensors::row_squared_norms;
use crate::{Error, Result};

/// ‖∇_θ loss‖² at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Slope {
    /// The sum of squares of all entries of the gradient, in f64.
    pub squared_norm: f64,
    /// The number of entries of the gradient.
    pub entries: usize,
    /// Parameters on which the loss does not depend; their gradient counts as 0.
    pub without_gradient: Vec<String>,
}

impl Slope {
    /// The slope from the gradients of the loss with respect to `parameters`. The sum is taken in their order: pass them in
    /// the same order in every run, for example by name, to get the same bits.
    ///
    /// # Errors
    /// [`Error::NonFiniteParameter`] if a gradient is not finite.
    ///
    /// **Source** Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706): it bounds geometric complexity along the path.
    ///
    /// ```
    /// use candle_core::{Device, Var};
    /// let weight = Var::new(&[3f64, -1.0], &Device::Cpu)?;
    /// let gradients = weight.sqr()?.sum_all()?.backward()?;
    /// assert_eq!(gc_core::Slope::new(&gradients, [("weight", &weight)])?.squared_norm, 40.0);
    /// # Ok::<(), gc_core::Error>(())
    /// ```
    pub fn new<'a>(gradients: &GradStore, parameters: impl IntoIterator<Item = (&'a str, &'a Var)>) -> Result<Self> {
        let mut slope = Self { squared_norm: 0.0, entries: 0, without_gradient: Vec::new() };
        for (name, parameter) in parameters {
            let Some(gradient) = gradients.get(parameter) else {
                slope.without_gradient.push(name.to_string());
                continue;
            };
            let squares: f64 = row_squared_norms(&gradient.flatten_all()?.unsqueeze(0)?)?.iter().sum();
            if !squares.is_finite() {
                return Err(Error::NonFiniteParameter { name: name.to_string() });
            }
            slope.squared_norm += squares;
            slope.entries += gradient.elem_count();
        }
        Ok(slope)
    }
}

/// The running mean of ‖∇_θ loss‖² over the steps of a path.
///
/// ```
/// let mut path = gc_core::LearningPath::default();
/// path.push(2.0);
/// path.push(4.0);
/// assert_eq!((path.steps, path.mean), (2, 3.0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LearningPath {
    /// The number of steps.
    pub steps: u64,
    /// The mean squared gradient norm over the steps.
    pub mean: f64,
}

impl LearningPath {
    /// Adds the squared gradient norm of a step.
    pub fn push(&mut self, squared_norm: f64) {
        self.steps += 1;
        self.mean += (squared_norm - self.mean) / self.steps as f64;
    }
}
