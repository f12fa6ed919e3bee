//! Layers that are linear in their input up to a constant: convolution and the fully connected layer.

use candle_core::Tensor;

use super::{Arrived, BatchNorm2d, ByParameter, Cotangents, Footprint, Layer, MaxPool, Pairings, Record, Relu, Traced};
use crate::params::{Builder, Role};
use crate::{Pass, Result};
use ops::{
    ConvSettings, Passed, channel_sum, conv2d, conv2d_input_gradient, conv2d_relu, conv2d_weight_gradient,
    gated_with_sum, input_gradient_between_relus, linear, max_pool2d_traced,
};

/// Convolution with PyTorch's parameter names `weight` and `bias`.
#[derive(Clone)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    settings: ConvSettings,
}

impl Conv2d {
    /// `channels` is (in, out); `kernel` is the side of a square window.
    pub(crate) fn new(
        mut builder: Builder<'_>,
        channels: (usize, usize),
        kernel: usize,
        settings: ConvSettings,
        with_bias: bool,
    ) -> Result<Self> {
        let per_group = channels.0 / settings.groups.max(1);
        let weight = builder.tensor("weight", &[channels.1, per_group, kernel, kernel], Role::Weight)?;
        let fan_in = per_group * kernel * kernel;
        let bias = with_bias.then(|| builder.tensor("bias", &[channels.1], Role::Bias { fan_in })).transpose()?;
        Ok(Self { weight, bias, settings })
    }

    fn settings(&self, pass: &Pass) -> ConvSettings {
        ConvSettings { accuracy: pass.accuracy, ..self.settings }
    }

    /// This convolution with a batch norm behind it that only scales and shifts, as one convolution, unless one of their
    /// parameters is a variable, whose gradient the one convolution would not give.
    pub(super) fn with_batch_norm(&self, norm: &BatchNorm2d) -> Result<Option<Conv2d>> {
        let Some((factor, summand)) = norm.constants()?.filter(|_| !self.is_tracked()) else { return Ok(None) };
        let weight = self.weight.broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?;
        let bias = match &self.bias {
            Some(bias) => ((bias * &factor)? + summand)?,
            None => summand,
        };
        Ok(Some(Self { weight, bias: Some(bias), settings: self.settings }))
    }

    fn is_tracked(&self) -> bool {
        self.weight.track_op() || self.bias.as_ref().is_some_and(Tensor::track_op)
    }

    /// As [`Layer::trace`], independent of this layer's life.
    pub(super) fn traced(&self, arrived: &Arrived, pass: &Pass) -> Result<Traced<'static>> {
        let bias = self.bias.as_ref().map(Tensor::detach);
        let y = conv2d(&arrived.x, &self.weight.detach(), bias.as_ref(), self.settings(pass))?;
        Ok(self.way_back(y, None, arrived, pass))
    }

    /// As [`Layer::trace_with_relu`], independent of this layer's life.
    pub(super) fn traced_with_relu(
        &self,
        arrived: &Arrived,
        relu: Relu,
        pass: &Pass,
    ) -> Result<Option<Traced<'static>>> {
        let Some(y) = self.rectified(arrived, pass)? else { return Ok(None) };
        let gate = (relu == Relu::Gates).then(|| y.clone());
        Ok(Some(self.way_back(y, gate, arrived, pass)))
    }

    /// This convolution, a ReLU and a max pool behind it as one, which keep less for the way back than each by itself and
    /// multiply with fewer zeros; unless there is a variable or there are to be records.
    pub(super) fn traced_with_pool(
        &self,
        arrived: &Arrived,
        pool: &MaxPool,
        pass: &Pass,
    ) -> Result<Option<Traced<'static>>> {
        if self.is_tracked() || arrived.recorded {
            return Ok(None);
        }
        let Some(y) = self.rectified(arrived, pass)? else { return Ok(None) };
        let (pooled, positions) = max_pool2d_traced(&y, pool.0)?;
        // The output before the pool is kept by nobody, but tensors of its size come and go.
        let inside = Footprint { total: positions.bytes(), ..Footprint::of(&y) };
        let passed = Passed::Pool(positions, pooled.clone());
        Ok(Some(Traced { inside, ..self.way_back_of_constants(pooled, passed, arrived, pass) }))
    }

    /// The positive part of the output; a convolution without a bias has no operation for it.
    fn rectified(&self, arrived: &Arrived, pass: &Pass) -> Result<Option<Tensor>> {
        let Some(bias) = &self.bias else { return Ok(None) };
        Ok(Some(conv2d_relu(&arrived.x, &self.weight.detach(), &bias.detach(), self.settings(pass))?))
    }

    /// The way back; `gate` is the output of a ReLU behind the convolution, if the cotangents are still to pass it.
    fn way_back(&self, y: Tensor, gate: Option<Tensor>, arrived: &Arrived, pass: &Pass) -> Traced<'static> {
        if self.is_tracked() {
            return self.way_back_of_variables(y, gate, arrived, pass);
        }
        self.way_back_of_constants(y, gate.map_or(Passed::Nothing, Passed::Relu), arrived, pass)
    }

    /// The same without variables, and with what lies between the convolution and `y`.
    fn way_back_of_constants(&self, y: Tensor, passed: Passed, arrived: &Arrived, pass: &Pass) -> Traced<'static> {
        let (weight, settings, shape) = (self.weight.clone(), self.settings(pass), arrived.x.dims().to_vec());
        let in_front = arrived.ungated.then(|| arrived.x.clone());
        let back = move |g: &Tensor, _: &mut ByParameter| {
            Ok(Some(input_gradient_between_relus(g, &weight, &shape, (&passed, in_front.as_ref()), settings)?))
        };
        Traced::leaf(y, arrived.wanted, back)
    }

    /// The same where weight or bias is a variable.
    fn way_back_of_variables(
        &self,
        y: Tensor,
        gate: Option<Tensor>,
        arrived: &Arrived,
        pass: &Pass,
    ) -> Traced<'static> {
        let (weight, settings, wanted) = (self.weight.clone(), self.settings(pass), arrived.wanted);
        let bias = self.bias.clone().filter(Tensor::track_op);
        let (shape, x) = (arrived.x.dims().to_vec(), weight.track_op().then(|| arrived.x.clone()));
        let back = move |g: &Tensor, into: &mut ByParameter| -> Result<Option<Tensor>> {
            let g = match (&gate, &bias) {
                (Some(reference), Some(bias)) => {
                    let (g, sum) = gated_with_sum(g, reference)?;
                    into.add(bias, sum)?;
                    g
                }
                (Some(reference), None) => ops::gate(g, reference)?,
                (None, Some(bias)) => {
                    into.add(bias, channel_sum(g)?)?;
                    g.clone()
                }
                (None, None) => g.clone(),
            };
            if let Some(x) = &x {
                into.add(&weight, conv2d_weight_gradient(x, &g, weight.dims(), settings)?)?;
            }
            Ok(wanted.then(|| conv2d_input_gradient(&g, &weight.detach(), &shape, settings)).transpose()?)
        };
        Traced::leaf(y, true, back)
    }
}

impl Layer for Conv2d {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(conv2d(x, &self.weight, self.bias.as_ref(), self.settings(pass))?)
    }

    fn forward_with_relu(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        Ok(self.bias.as_ref().map(|bias| conv2d_relu(x, &self.weight, bias, self.settings(pass))).transpose()?)
    }

    fn trace<'a>(&'a self, arrived: &Arrived, pass: &Pass) -> Result<Traced<'a>> {
        self.traced(arrived, pass)
    }

    fn trace_with_relu<'a>(&'a self, arrived: &Arrived, relu: Relu, pass: &Pass) -> Result<Option<Traced<'a>>> {
        self.traced_with_relu(arrived, relu, pass)
    }

    fn gates_for_relu(&self) -> bool {
        // With variables, the gate in front is one pass over the memory with the gradient of that layer's bias.
        !self.is_tracked()
    }

    fn as_convolution(&self) -> Option<&Conv2d> {
        Some(self)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((self.forward(x, pass)?, conv2d(dx, &self.weight, None, self.settings(pass))?))
    }

    fn pullback(&self, record: &Record, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        let input = conv2d_input_gradient(g, &self.weight.detach(), record.x.dims(), self.settings(pass))?;
        Ok(Cotangents::leaf(g, input))
    }

    fn pair(
        &self,
        _: &Record,
        cotangents: Cotangents,
        t: &Tensor,
        pass: &Pass,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        if self.weight.track_op() {
            let settings = self.settings(pass);
            let gradient = conv2d_weight_gradient(t, &cotangents.output, self.weight.dims(), settings)?;
            pairings.add(&self.weight, gradient)?;
        }
        Ok(conv2d(t, &self.weight.detach(), None, self.settings(pass))?)
    }
}

/// Fully connected layer with PyTorch's parameter names `weight` and `bias`.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(mut builder: Builder<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = builder.tensor("weight", &[outputs, inputs], Role::Weight)?;
        let bias = builder.tensor("bias", &[outputs], Role::Bias { fan_in: inputs })?;
        Ok(Self { weight, bias })
    }

    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub(crate) fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// The gradients of the 1×1 convolution that a linear layer is: see [`linear`].
    fn way_back(&self, x: &Tensor, g: &Tensor, wanted: bool, into: &mut ByParameter) -> Result<Option<Tensor>> {
        let (samples, inputs) = x.dims2()?;
        let outputs = self.bias.elem_count();
        let cotangents = g.dim(0)?;
        let (settings, row) = (ConvSettings::default(), g.reshape((1, 1, cotangents, outputs))?);
        if self.bias.track_op() {
            into.add(&self.bias, channel_sum(g)?)?;
        }
        if self.weight.track_op() {
            let x = x.reshape((1, 1, samples, inputs))?;
            let gradient = conv2d_weight_gradient(&x, &row, &[outputs, inputs, 1, 1], settings)?;
            into.add(&self.weight, gradient.reshape((outputs, inputs))?)?;
        }
        if !wanted {
            return Ok(None);
        }
        let weight = self.weight.detach().reshape((outputs, inputs, 1, 1))?;
        let input = conv2d_input_gradient(&row, &weight, &[1, 1, cotangents, inputs], settings)?;
        Ok(Some(input.reshape((cotangents, inputs))?))
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(linear(x, &self.weight, Some(&self.bias))?)
    }

    fn trace<'a>(&'a self, arrived: &Arrived, _: &Pass) -> Result<Traced<'a>> {
        let y = linear(&arrived.x, &self.weight.detach(), Some(&self.bias.detach()))?;
        let (x, wanted) = (arrived.x.clone(), arrived.wanted);
        let back = move |g: &Tensor, into: &mut ByParameter| self.way_back(&x, g, wanted, into);
        Ok(Traced::leaf(y, arrived.wants(&[&self.weight, &self.bias]), back))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((self.forward(x, pass)?, linear(dx, &self.weight, None)?))
    }

    fn pullback(&self, _: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        Ok(Cotangents::leaf(g, g.matmul(&self.weight.detach())?))
    }

    fn pair(
        &self,
        _: &Record,
        cotangents: Cotangents,
        t: &Tensor,
        _: &Pass,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        if self.weight.track_op() {
            pairings.add(&self.weight, cotangents.output.t()?.matmul(t)?)?;
        }
        Ok(linear(t, &self.weight.detach(), None)?)
    }
}
