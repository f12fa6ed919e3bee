//! The gradients that a backward pass is asked for, and their sums.

use std::collections::HashMap;

use candle_core::{Tensor, TensorId};
use ops::add_detached;
use ops::nhwc::channel_sum;

use crate::Result;

/// What a backward pass is asked for, and the sums of the gradients that it gives.
///
/// Gradients are kept by tensor: by parameter, and by the input of a layer. A gradient by the input of a layer that the penalty
/// gives stays here until the backward pass of the loss comes to that layer and adds it to the cotangent there.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use models::layer::GradientAccumulator;
/// let weight = Var::new(&[1f64], &Device::Cpu)?;
/// let mut gradients = GradientAccumulator::of_parameters();
/// assert!(gradients.wants(&weight) && !gradients.wants(&weight.as_detached_tensor()) && !gradients.wants_input());
/// gradients.add(&weight, Tensor::new(&[2f64], &Device::Cpu)?)?;
/// gradients.add(&weight, Tensor::new(&[3f64], &Device::Cpu)?)?;
/// assert_eq!(gradients.take(&weight).unwrap().to_vec1::<f64>()?, [5.]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug)]
pub struct GradientAccumulator {
    sums: HashMap<TensorId, Tensor>,
    /// A cotangent with its sum per channel, which the layer that computed it has summed in the same pass.
    channel_sum: Option<(TensorId, Tensor)>,
    parameters: bool,
    input: bool,
    /// See [`GradientAccumulator::cotangents`].
    cotangents: usize,
}

impl GradientAccumulator {
    /// Gradients by the parameters alone.
    pub fn of_parameters() -> Self {
        Self::asking(true, false)
    }

    /// The gradient by the input alone.
    pub fn of_input() -> Self {
        Self::asking(false, true)
    }

    /// Gradients by the parameters and by the input.
    pub fn of_all() -> Self {
        Self::asking(true, true)
    }

    fn asking(parameters: bool, input: bool) -> Self {
        Self { sums: HashMap::new(), channel_sum: None, parameters, input, cotangents: 1 }
    }

    /// The same, of a pass that is one of several at the same input, with this many cotangents of each sample in all of them.
    pub fn of_many(self, cotangents: usize) -> Self {
        Self { cotangents, ..self }
    }

    /// The number of cotangents of each sample in all passes, or 1 if it is not known. A layer may compute what makes so many cheaper.
    pub fn cotangents(&self) -> usize {
        self.cotangents
    }

    /// Whether the gradient by this parameter is asked for: it is a variable, and the pass is by parameters.
    pub fn wants(&self, parameter: &Tensor) -> bool {
        self.parameters && parameter.track_op()
    }

    /// Whether gradients by parameters are asked for.
    pub fn wants_parameters(&self) -> bool {
        self.parameters
    }

    /// Whether the cotangent of the layer's input is asked for.
    pub fn wants_input(&self) -> bool {
        self.input
    }

    /// Runs `pass`, in which the cotangent of the input is asked for or not. For layers with layers inside.
    ///
    /// # Errors
    /// Those of `pass`.
    pub fn asking_input<R>(&mut self, wants_input: bool, pass: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let before = std::mem::replace(&mut self.input, wants_input);
        let result = pass(self);
        self.input = before;
        result
    }

    /// Adds a gradient by this parameter, or by this input of a layer.
    ///
    /// # Errors
    /// When the gradients by one tensor have two shapes.
    pub fn add(&mut self, tensor: &Tensor, gradient: Tensor) -> Result<()> {
        self.add_to(tensor.id(), gradient)
    }

    pub(super) fn add_to(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let total = self.take_sum(id, gradient)?;
        self.sums.insert(id, total);
        Ok(())
    }

    /// The cotangent of a tensor plus the gradient kept for the same tensor, which is removed.
    ///
    /// # Errors
    /// When the two have different shapes.
    pub fn with_kept(&mut self, tensor: &Tensor, cotangent: Tensor) -> Result<Tensor> {
        self.take_sum(tensor.id(), cotangent)
    }

    pub(super) fn take_sum(&mut self, id: TensorId, cotangent: Tensor) -> Result<Tensor> {
        match self.sums.remove(&id) {
            Some(known) => Ok(add_detached(&known, &cotangent, false)?),
            None => Ok(cotangent),
        }
    }

    /// Keeps the sum per channel of a cotangent for the layer before, until the next one is kept.
    pub(super) fn keep_channel_sum(&mut self, cotangent: &Tensor, sum: Tensor) {
        self.channel_sum = Some((cotangent.id(), sum));
    }

    /// The sum per channel of a cotangent: the one that is kept, or computed here.
    pub(super) fn channel_sum_of(&mut self, cotangent: &Tensor) -> Result<Tensor> {
        match self.channel_sum.take() {
            Some((id, sum)) if id == cotangent.id() => Ok(sum),
            _ => Ok(channel_sum(cotangent)?),
        }
    }

    /// Removes and returns the gradient by this tensor, if there is one.
    pub fn take(&mut self, tensor: &Tensor) -> Option<Tensor> {
        self.take_kept(tensor.id())
    }

    pub(super) fn take_kept(&mut self, id: TensorId) -> Option<Tensor> {
        self.sums.remove(&id)
    }

    /// The number of tensors for which a gradient is kept.
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether a gradient by this tensor is kept.
    pub(crate) fn holds(&self, tensor: &Tensor) -> bool {
        self.sums.contains_key(&tensor.id())
    }
}
